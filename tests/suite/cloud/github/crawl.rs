//! What a crawl makes of GitHub's world, and how many requests it takes.

use std::collections::BTreeSet;

use rosterd::clock::{self, Duration};
use rosterd::model::Value;
use rosterd::provider::http::jwt::SigningKey;
use rosterd::provider::{Extent, Outcome, PullError, Start};
use serde_json::json;

use super::app::AppAtGithub;
use super::world::{Org, Person, World};
use super::{block, open, secret_file};
use crate::cloud::{Crawl, Population, Vendor};
use crate::harness::copy::{Copy, PATIENCE};

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

/// Ann and Bob in the team `devs`, Bob and Cid in its child `core`.
fn small(world: &mut World) {
    let [ann, bob, cid] = ["ann", "bob", "cid"].map(|login| world.member(0, login));
    let devs = world.make_team(0, "devs", &[ann, bob]);
    let core = world.make_team(0, "core", &[bob, cid]);
    world.change_team(core).parent = Some(devs);
    world.change_team(devs).members.insert(ann, true);
    world.people.get_mut(&ann).unwrap().email = "ann@public.example".into();
}

#[tokio::test]
async fn members_teams_and_roles_are_read_by_graphql() {
    let (_server, mut directory) = open("", small);
    let copy = Copy::full(&mut *directory).await;
    assert_eq!(copy.usernames(), BTreeSet::from(["ann", "bob", "boss", "cid"]));
    assert_eq!(
        copy.memberships(),
        set([
            "acme/ann",
            "acme/bob",
            "acme/boss",
            "acme/cid",
            "acme:owners/boss",
            "acme/core/bob",
            "acme/core/cid",
            "acme/devs/ann",
            "acme/devs/bob",
            "acme/devs/acme/core",
        ])
    );
    let ann = &copy.user("ann").user;
    assert_eq!(ann.display_name.as_deref(), Some("The ann"));
    assert_eq!(ann.emails, ["ann@public.example"]);
    let devs = &copy.group("acme/devs").group;
    assert_eq!(devs.attributes["maintainers"], Value::List(vec![ann.id.as_str().into()]));
    assert_eq!(devs.attributes["privacy"], "visible".into());
}

#[tokio::test]
async fn both_interfaces_show_the_same_directory() {
    let make = |world: &mut World| {
        small(world);
        world
            .people
            .values_mut()
            .for_each(|one| *one = Person { name: None, email: String::new(), ..one.clone() });
    };
    let (_server, mut directory) = open("", make);
    let by_graphql = Copy::full(&mut *directory).await.picture();
    let (_server, mut directory) = open("api = \"rest\"", make);
    assert_eq!(Copy::full(&mut *directory).await.picture(), by_graphql);
    // A server without GraphQL is read by REST without being told so.
    let (_server, mut directory) = open("", |world| {
        make(world);
        world.has_graphql = false;
    });
    assert_eq!(Copy::full(&mut *directory).await.picture(), by_graphql);
}

#[tokio::test]
async fn an_older_server_that_mixes_in_the_members_of_child_teams_is_understood() {
    let (_server, mut directory) = open("api = \"rest\"", |world| {
        small(world);
        world.tells_inherited = false;
    });
    let copy = Copy::full(&mut *directory).await;
    // Bob is in both, which such a server does not tell from being in `core`.
    assert_eq!(copy.members("acme/devs"), set(["ann", "acme/core"]));
    assert_eq!(copy.members("acme/core"), set(["bob", "cid"]));
}

#[tokio::test]
async fn r14_equal_slugs_of_two_organizations_stay_apart() {
    let (_server, mut directory) = open("organizations = [\"acme\", \"globex\"]", |world| {
        small(world);
        let boss = *world.people.keys().next().unwrap();
        let ann = world.people.values().find(|one| one.login == "ann").unwrap().id;
        world.orgs.push(Org { id: 2, login: "globex".into(), ..Org::default() });
        world.orgs[1].members.extend([(boss, false), (ann, true)]);
        let dan = world.member(1, "dan");
        world.make_team(1, "devs", &[dan]);
    });
    let copy = Copy::full(&mut *directory).await;
    assert_eq!(copy.members("acme/devs"), set(["ann", "bob", "acme/core"]));
    assert_eq!(copy.members("globex/devs"), set(["dan"]));
    let all = copy.memberships();
    for one in ["acme/ann", "globex/ann", "globex:owners/ann", "acme:owners/boss", "globex/boss"] {
        assert!(all.contains(one), "{one} in {all:?}");
    }
    assert!(!all.contains("globex:owners/boss"));
}

#[tokio::test]
async fn outside_collaborators_and_invitations_are_what_they_are() {
    let (_server, mut directory) = open("", |world| {
        small(world);
        let eve = world.person("eve");
        world.orgs[0].outside.insert(eve);
        world.orgs[0].invitations.push((77, None, Some("new@corp.example".into())));
    });
    let copy = Copy::full(&mut *directory).await;
    let eve = &copy.user("eve").user;
    assert_eq!(eve.attributes["outside_collaborator_of"], Value::List(vec!["acme".into()]));
    assert!(eve.active);
    let invited = &copy.user("new@corp.example").user;
    assert_eq!((invited.id.as_str(), invited.active), ("invitation-77", false));
    assert_eq!(invited.status.as_deref(), Some("invited"));
    let all = copy.memberships();
    assert!(
        !all.iter().any(|one| one.ends_with("/eve") || one.ends_with("@corp.example")),
        "{all:?}"
    );
}

#[tokio::test]
async fn addresses_come_from_the_identity_provider_first() {
    let (_server, mut directory) = open("", |world| {
        small(world);
        world.orgs[0].saml = Some([("ann".to_owned(), "ann@corp.example".to_owned())].into());
    });
    let copy = Copy::full(&mut *directory).await;
    assert_eq!(copy.user("ann").user.emails, ["ann@corp.example", "ann@public.example"]);
    assert_eq!(copy.user("bob").user.emails, [""; 0]);
}

#[tokio::test]
async fn r19_a_suspended_account_of_a_server_is_not_active() {
    let (_server, mut directory) = open("", |world| {
        small(world);
        world.root = "/api/v3";
        world.people.values_mut().find(|one| one.login == "bob").unwrap().suspended = true;
    });
    let copy = Copy::full(&mut *directory).await;
    assert!(!copy.user("bob").user.active && copy.user("ann").user.active);
    assert_eq!(copy.user("bob").user.status.as_deref(), Some("suspended"));
}

#[tokio::test]
async fn secret_teams_can_be_left_out() {
    let make = |world: &mut World| {
        small(world);
        let secret = world.make_team(0, "plot", &[]);
        world.change_team(secret).secret = true;
    };
    for (more, is_there) in [
        ("", true),
        ("secret_teams = false", false),
        ("api = \"rest\"\nsecret_teams = false", false),
    ] {
        let (_server, mut directory) = open(more, make);
        let copy = Copy::full(&mut *directory).await;
        let found = copy.groups.values().any(|group| group.group.name == "acme/plot");
        assert_eq!(found, is_there, "{more}");
    }
}

#[tokio::test]
async fn an_app_gets_one_token_for_each_organization() {
    let key = rsa_key();
    let file = secret_file(&key);
    let more = format!(
        "organizations = [\"acme\", \"globex\"]\napp_id = \"12345\"\nprivate_key = {{ file = {:?} }}",
        file.path()
    );
    let (server, mut directory) = open(&more, |world| {
        small(world);
        world.caller_is_member = false;
        world.orgs.push(Org { id: 2, login: "globex".into(), ..Org::default() });
        let dan = world.member(1, "dan");
        world.make_team(1, "devs", &[dan]);
        let mut app = AppAtGithub::new(12345, &SigningKey::from_pem(&key).unwrap());
        app.installations = [("acme".to_owned(), 100), ("globex".to_owned(), 200)].into();
        world.app = Some(app);
    });
    Copy::full(&mut *directory).await;
    let tokens = |server: &crate::harness::vendor::VendorServer<World>| {
        server.count(|request| request.path.ends_with("/access_tokens"))
    };
    assert_eq!(tokens(&server), 2);
    for seen in server.log() {
        let Some(token) = seen.request.bearer().and_then(|token| token.strip_prefix("ghs_")) else {
            continue;
        };
        let body = seen.request.json().to_string() + &seen.request.path;
        let other = if token.starts_with("acme") { "globex" } else { "acme" };
        assert!(!body.contains(other), "{token} asks for {other}: {body}");
    }
    // R17: no token a call, and none a crawl.
    Copy::full(&mut *directory).await;
    assert_eq!(tokens(&server), 2);
    // One that was taken away is replaced.
    server.with(|world| world.tokens.clear());
    Copy::full(&mut *directory).await;
    assert_eq!(tokens(&server), 4);
}

#[tokio::test]
async fn an_app_is_told_what_it_lacks() {
    let key = rsa_key();
    let file = secret_file(&key);
    let more = format!("app_id = \"12345\"\nprivate_key = {{ file = {:?} }}", file.path());
    let attempt = async |change: fn(&mut AppAtGithub)| {
        let (_server, mut directory) = open(&more, |world| {
            small(world);
            let mut app = AppAtGithub::new(12345, &SigningKey::from_pem(&key).unwrap());
            app.installations = [("acme".to_owned(), 100)].into();
            change(&mut app);
            world.app = Some(app);
        });
        let findings = directory.examine().await;
        let bad =
            findings.iter().find(|finding| finding.outcome == Outcome::Bad).expect("it is bad");
        let error = directory.crawl(Start::Full, &mut Crawl::default()).await.unwrap_err();
        [bad.detail.clone(), error.to_string()]
    };
    for (change, part) in [
        (
            (|app| app.permissions = json!({ "metadata": "read" })) as fn(&mut AppAtGithub),
            "members: read",
        ),
        (|app| app.installations.clear(), "is not installed"),
        (|app| app.clock_ahead = 3600, "set the clock"),
        (|app| app.clock_ahead = -3600, "set the clock"),
    ] {
        for told in attempt(change).await {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}

/// The counts of the table in the issue, for a fifth of its size; `size` has
/// those of a full crawl.
#[tokio::test]
async fn a_large_organization_takes_few_requests_between_full_crawls() {
    let world = || {
        let mut world = World::default();
        world.fill(Population::BIG);
        world.orgs[0].log = Some(Vec::new());
        world
    };
    let server = crate::harness::vendor::VendorServer::start(world());
    let settings =
        block(&server.url(), "outside_collaborators = \"off\"\npending_invitations = \"off\"");
    let mut directory = settings.open(PATIENCE);
    let mut crawl = Crawl::default();
    let seal = directory.crawl(Start::Full, &mut crawl).await.unwrap();
    server.forget();
    let cursor = seal.cursor.expect("there is an audit log");
    let seal = directory.crawl(Start::Incremental(cursor), &mut crawl).await.unwrap();
    assert_eq!((seal.extent, server.log().len()), (Extent::Changes, 1), "an idle poll");

    server.with(|world| {
        let teams: Vec<u64> = world.orgs[0].teams.keys().skip(1).take(20).copied().collect();
        let newcomer = *world.orgs[0].members.keys().last().unwrap();
        for id in teams {
            world.change_team(id).members.insert(newcomer, false);
            let slug = format!("acme/{}", world.change_team(id).slug);
            world.log(0, "team.add_member", json!({ "team": slug }));
        }
    });
    server.forget();
    let cursor = seal.cursor.unwrap();
    let mut crawl = Crawl::default();
    let seal = directory.crawl(Start::Incremental(cursor), &mut crawl).await.unwrap();
    let groups = crawl
        .collected
        .items
        .iter()
        .filter(|item| matches!(item, rosterd::provider::Item::Group(_)));
    assert_eq!((seal.extent, groups.count()), (Extent::Changes, 20));
    assert!(server.log().len() <= 8, "{:?}", seal.requests);
}

#[tokio::test]
async fn the_audit_log_names_who_left_and_everything_is_read_anew_in_time() {
    let (server, mut directory) = open("verify_within = \"30s\"", |world| {
        small(world);
        world.orgs[0].log = Some(Vec::new());
    });
    let mut copy = Copy::full(&mut *directory).await;
    server.with(|world| {
        let bob = world.people.values().find(|one| one.login == "bob").unwrap().id;
        world.orgs[0].members.remove(&bob);
        world.orgs[0]
            .teams
            .values_mut()
            .for_each(|team| team.members.retain(|member, _| *member != bob));
        world.log(0, "org.remove_member", json!({ "user": "bob", "user_id": bob }));
        let cid = world.people.values().find(|one| one.login == "cid").unwrap().id;
        world.orgs[0].members.insert(cid, true);
        world.log(0, "org.update_member", json!({ "user": "cid", "user_id": cid }));
    });
    let followed = copy.follow(&mut *directory).await;
    assert!(followed.is_changes());
    let (url, picture) = (server.url(), copy.picture());
    assert_eq!(Copy::full(&mut *block(&url, "").open(PATIENCE)).await.picture(), picture);
    // A log that says nothing of a change is caught up with in `verify_within`.
    let since = clock::now().minus(Duration::from_secs(31)).0;
    let bookmark =
        json!({ "version": 3, "since": since, "whole_at": since, "seen": [], "handled": [] });
    copy.cursor = Some(rosterd::provider::Cursor(serde_json::to_vec(&bookmark).unwrap()));
    server.with(|world| world.make_team(0, "silent", &[]));
    let followed = copy.follow(&mut *directory).await;
    assert_eq!(followed.seal.extent, Extent::Whole);
    assert!(copy.groups.values().any(|group| group.group.name == "acme/silent"));
}

#[tokio::test]
async fn r4_r16_a_crawl_that_was_cut_off_goes_on_where_it_was() {
    use crate::harness::vendor::{Hazard, When};
    for more in ["", "api = \"rest\""] {
        let (server, mut directory) = open(more, |world| {
            small(world);
            // A server of one's own, which has no quota to keep to.
            world.root = "/api/v3";
            for n in 0..20 {
                world.member(0, &format!("user{n}"));
            }
            let all: Vec<u64> = world.orgs[0].members.keys().copied().collect();
            for n in 0..12 {
                world.make_team(0, &format!("team{n}"), &all[n..]);
            }
            world.page = 5;
        });
        let whole = Copy::full(&mut *directory).await;
        let requests = server.log().len();
        // By REST there are many requests of one kind.
        for at in (1..requests).step_by(if more.is_empty() { 1 } else { 5 }) {
            let mut first = Crawl::default();
            // Another process, which remembers no answers.
            let url = format!("{}/api/v3", server.url());
            let mut directory = block(&url, more).open(PATIENCE);
            server.arm(Hazard::Refuse, When::from(at));
            let error = directory.crawl(Start::Full, &mut first).await.unwrap_err();
            assert!(matches!(error, PullError::Unauthorized { .. }), "{error}");
            server.disarm();
            let Some(token) = first.checkpoints.last().cloned() else { continue };
            server.forget();
            let mut second = Crawl::default();
            let seal = directory.crawl(Start::Resume(token), &mut second).await.unwrap();
            let mut items = first.collected.items;
            items.extend(second.collected.items);
            let mut copy = Copy::default();
            copy.apply(items, seal.extent);
            assert_eq!(copy.picture(), whole.picture(), "cut off at {at}");
            assert!(
                server.log().len() < requests + 8,
                "it went on: {} of {requests}",
                server.log().len()
            );
        }
    }
    let (_server, mut directory) = open("", small);
    let error = directory.crawl(Start::Resume(b"nonsense".to_vec()), &mut Crawl::default()).await;
    assert!(matches!(error, Err(PullError::CursorExpired { .. })));
}

/// Made by `openssl`, which the tests need anyway for their servers.
pub fn rsa_key() -> String {
    let made = std::process::Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
        .output()
        .expect("openssl");
    String::from_utf8(made.stdout).unwrap()
}
