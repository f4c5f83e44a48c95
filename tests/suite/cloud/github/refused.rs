//! What is refused, or malformed, in one place takes nothing away in another.

use std::time::Duration;

use rosterd::provider::{PullError, Start};

use super::world::{Org, World};
use super::{block, open};
use crate::cloud::{Crawl, Vendor};
use crate::harness::copy::{Copy, PATIENCE};
use crate::harness::parts::{Manner, Parts};
use crate::harness::roster::Lens;
use crate::harness::vendor::{Hazard, Request, When};

fn some(world: &mut World) {
    let ids: Vec<u64> = (0..9).map(|n| world.member(0, &format!("u{n}"))).collect();
    for n in 0..5 {
        world.make_team(0, &format!("g{n}"), &ids[n..]);
    }
    world.page = 2;
}

#[tokio::test]
async fn r15_null_in_the_place_of_a_refused_team_loses_no_other() {
    for more in ["", "api = \"rest\""] {
        let (server, mut directory) = open(more, some);
        let mut copy = Copy::full(&mut *directory).await;
        let kept = copy.members("acme/g0");
        server.with(|world| {
            world.hazard = Some("forbidden team");
            let newcomer = world.member(0, "new");
            for team in 0..5 {
                let id = world.team_called(&format!("g{team}"));
                world.change_team(id).members.insert(newcomer, false);
            }
        });
        let (seal, _) = copy.crawl(&mut *directory, Start::Full).await.unwrap();
        assert_eq!(copy.members("acme/g0"), kept, "it stays as it was");
        for team in 1..5 {
            assert!(copy.members(&format!("acme/g{team}")).contains("new"), "g{team}");
        }
        assert_eq!((seal.malformed, copy.groups.len()), (1, 7));
    }
}

#[tokio::test]
async fn r15_a_refused_team_is_named_also_when_it_is_asked_for_by_itself() {
    let (server, mut directory) =
        open("pending_invitations = \"off\"\noutside_collaborators = \"off\"", |world| {
            some(world);
            world.orgs[0].log = Some(Vec::new());
        });
    let mut copy = Copy::full(&mut *directory).await;
    let before = copy.picture();
    server.with(|world| {
        world.hazard = Some("forbidden team");
        world.log(0, "team.add_member", serde_json::json!({ "team": "acme/g0" }));
    });
    let followed = copy.follow(&mut *directory).await;
    assert!(followed.is_changes(), "{:?}", followed.seal);
    assert_eq!((copy.picture(), followed.seal.malformed), (before, 1));
}

#[tokio::test]
async fn all_teams_refused_is_a_missing_permission() {
    let (server, mut directory) = open("", |world| {
        let ann = world.member(0, "ann");
        world.make_team(0, "only", &[ann]);
    });
    Copy::full(&mut *directory).await;
    server.with(|world| world.hazard = Some("forbidden team"));
    let error = directory.crawl(Start::Full, &mut Crawl::default()).await.unwrap_err();
    assert!(matches!(error, PullError::Unauthorized { permission: Some(_), .. }), "{error}");
}

#[tokio::test]
async fn an_address_that_is_not_on_the_allow_list_is_told() {
    for more in ["", "api = \"rest\""] {
        let (server, mut directory) = open(more, some);
        let before = Copy::full(&mut *directory).await.picture();
        server.with(|world| world.hazard = Some("allow list"));
        let error = directory.crawl(Start::Full, &mut Crawl::default()).await.unwrap_err();
        assert!(matches!(error, PullError::Unauthorized { .. }), "{error}");
        assert!(error.to_string().contains("IP allow list"), "{error}");
        server.with(|world| world.hazard = None);
        assert_eq!(Copy::full(&mut *directory).await.picture(), before);
    }
}

/// Ann and Bob in both organizations.
fn two(world: &mut World) {
    let boss = *world.people.keys().next().unwrap();
    let [ann, bob] = ["ann", "bob"].map(|login| world.member(0, login));
    world.orgs.push(Org { id: 2, login: "globex".into(), ..Org::default() });
    world.orgs[1].members.extend([(boss, false), (ann, false), (bob, true)]);
    world.make_team(0, "devs", &[ann, bob]);
    world.make_team(1, "devs", &[ann]);
    world.page = 2;
}

const TWO: &str = "organizations = [\"acme\", \"globex\"]\noutside_collaborators = \"off\"\n\
    pending_invitations = \"off\"";

fn asks_for_members(of: &'static str) -> impl Fn(&Request) -> bool + Send + 'static {
    move |request| {
        let body = request.json();
        body["variables"]["login"] == of && body["query"].to_string().contains("first: $first")
    }
}

#[tokio::test]
async fn r12_who_is_malformed_in_one_organization_stays_as_in_both() {
    let (server, mut directory) = open(TWO, two);
    let mut copy = Copy::full(&mut *directory).await;
    let before = copy.picture();
    let armed = When::next(1).only(asks_for_members("globex"));
    let armed = server.meanwhile(armed, |world: &mut World| world.hazard = Some("malformed user"));
    let (seal, _) = copy.crawl(&mut *directory, Start::Full).await.unwrap();
    assert_eq!((server.fired(armed), seal.malformed), (1, 1));
    assert_eq!(copy.picture(), before);
}

#[tokio::test]
async fn r16_trouble_with_one_organization_loses_nothing_of_another() {
    let (server, mut directory) = open(TWO, two);
    let whole = Copy::full(&mut *directory).await.picture();
    // In the same process, and in another one.
    for is_restarted in [false, true] {
        let mut first = Crawl::default();
        server.arm(Hazard::Refuse, When::matching(asks_for_members("globex")));
        directory.crawl(Start::Full, &mut first).await.unwrap_err();
        server.disarm();
        let token = first.checkpoints.pop().expect("it can go on");
        if is_restarted {
            directory = block(&server.url(), TWO).open(PATIENCE);
        }
        server.forget();
        let mut second = Crawl::default();
        let seal = directory.crawl(Start::Resume(token), &mut second).await.unwrap();
        let of_acme = |part: &str| {
            let asks = |request: &Request| {
                request.json()["variables"]["login"] == "acme"
                    && request.json()["query"].to_string().contains(part)
            };
            server.count(asks)
        };
        assert_eq!(of_acme("teams(first: $first"), 0, "its teams were read");
        let people = of_acme("membersWithRole(first: $first");
        assert_eq!(people > 0, is_restarted, "its people are known, or needed");
        let mut copy = Copy::default();
        let items = first.collected.items.into_iter().chain(second.collected.items);
        copy.apply(items.collect(), seal.extent);
        assert_eq!(copy.picture(), whole);
    }
}

/// A full crawl has no cursor; what was visible is recalled all the same.
#[tokio::test]
async fn r1_a_permission_that_was_lost_before_a_full_crawl_is_no_removal() {
    let (server, _directory) = open("", |world| {
        some(world);
        let eve = world.person("eve");
        world.orgs[0].outside.insert(eve);
    });
    let folder = tempfile::tempdir().unwrap();
    let lens = Lens { user: World::user_words, group: World::group_words };
    let manner = Manner { full_every: Duration::ZERO, ..Manner::unguarded(lens) };
    let parts = Parts::open(folder.path(), block(&server.url(), ""), manner);
    parts.sync().await.unwrap();
    let before = parts.roster();
    assert!(before.users.len() == 11, "eve is there");
    parts.close().await;
    server.with(|world| world.caller_is_owner = false);
    let parts = Parts::open(folder.path(), block(&server.url(), ""), manner);
    let error = parts.sync().await.unwrap_err();
    assert!(error.contains("visible before"), "{error}");
    assert_eq!(parts.roster(), before);
    server.with(|world| world.caller_is_owner = true);
    parts.sync().await.unwrap();
    parts.close().await;
}
