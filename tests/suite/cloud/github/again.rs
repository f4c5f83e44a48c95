//! REST that asks again only for what changed.

use std::collections::BTreeSet;

use super::world::World;
use super::{block, block_with, open};
use crate::harness::copy::{Copy, PATIENCE};
use crate::harness::vendor::VendorServer;

/// Without the audit log, which this organization does not have.
const BY_REST: &str = "api = \"rest\"\nincremental = \"off\"";

/// More than a page of members, and two teams of more than one.
fn some(world: &mut World) {
    let ids: Vec<u64> = (0..250).map(|n| world.member(0, &format!("u{n}"))).collect();
    world.make_team(0, "large", &ids[..150]);
    world.make_team(0, "full", &ids[..100]);
    world.make_team(0, "small", &ids[..3]);
    let eve = world.person("eve");
    world.orgs[0].outside.insert(eve);
}

fn statuses(server: &VendorServer<World>) -> BTreeSet<u16> {
    server.log().iter().map(|seen| seen.status).collect()
}

fn spent(server: &VendorServer<World>) -> usize {
    server.with(|world| std::mem::take(&mut world.spent).len())
}

#[tokio::test]
async fn an_idle_poll_by_rest_is_answered_304_and_costs_next_to_nothing() {
    let (server, mut directory) = open(BY_REST, some);
    let before = Copy::full(&mut *directory).await.picture();
    server.forget();
    spent(&server);
    for _ in 0..3 {
        assert_eq!(Copy::full(&mut *directory).await.picture(), before);
    }
    // The team of exactly a hundred may have a second page by now.
    let dear: Vec<String> = server
        .log()
        .iter()
        .filter(|seen| seen.status != 304)
        .map(|seen| seen.request.path.clone())
        .collect();
    assert_eq!(dear, ["/orgs/acme/teams/full/members"; 3].map(str::to_owned));
    assert_eq!(statuses(&server), BTreeSet::from([200, 304]));
    assert_eq!(spent(&server), 3);
}

#[tokio::test]
async fn r18_what_changed_is_noticed_wherever_it_is() {
    type Change = fn(&mut World);
    let changes: [(&str, Change); 8] = [
        ("one more on the last page", |world| {
            world.member(0, "new");
        }),
        ("one less on the first page", |world| {
            let id = *world.orgs[0].members.keys().nth(1).unwrap();
            world.orgs[0].members.remove(&id);
            world.orgs[0]
                .teams
                .values_mut()
                .for_each(|team| team.members.retain(|one, _| *one != id));
        }),
        ("another owner", |world| {
            let id = *world.orgs[0].members.keys().last().unwrap();
            world.orgs[0].members.insert(id, true);
        }),
        ("one more in a team whose page was full", |world| {
            let id = *world.orgs[0].members.keys().last().unwrap();
            let full = world.team_called("full");
            world.change_team(full).members.insert(id, false);
        }),
        ("one less in a team of two pages", |world| {
            let large = world.team_called("large");
            let last = *world.change_team(large).members.keys().last().unwrap();
            world.change_team(large).members.remove(&last);
        }),
        ("another maintainer", |world| {
            let small = world.team_called("small");
            world.change_team(small).members.values_mut().for_each(|is| *is = true);
        }),
        ("another team", |world| {
            world.make_team(0, "new", &[]);
        }),
        ("an outsider less", |world| world.orgs[0].outside.clear()),
    ];
    let (server, mut directory) = open(BY_REST, some);
    Copy::full(&mut *directory).await;
    for (what, change) in changes {
        server.with(change);
        let anew = block(&server.url(), BY_REST).open(PATIENCE);
        let truth = Copy::full(&mut *{ anew }).await.picture();
        assert_eq!(Copy::full(&mut *directory).await.picture(), truth, "{what}");
    }
}

#[tokio::test]
async fn r1_half_an_answer_does_not_come_again_with_a_304() {
    use crate::harness::vendor::{Hazard, When};
    let (server, mut directory) = open(BY_REST, some);
    let before = Copy::full(&mut *directory).await.picture();
    let mut directory_of_one = block(&server.url(), BY_REST).open(PATIENCE);
    server.arm(Hazard::TruncatedJson, When::matching(|request| request.path.ends_with("/members")));
    let mut sink = crate::cloud::Crawl::default();
    directory_of_one.crawl(rosterd::provider::Start::Full, &mut sink).await.unwrap_err();
    server.disarm();
    assert_eq!(Copy::full(&mut *directory_of_one).await.picture(), before);
    assert_eq!(Copy::full(&mut *directory).await.picture(), before);
}

/// Two tokens at one address, of people who see different organizations.
#[tokio::test]
async fn two_directories_with_different_credentials_never_mix() {
    let (server, mut first) = open(BY_REST, |world| {
        some(world);
        world.orgs.push(super::world::Org { id: 2, login: "globex".into(), ..Default::default() });
        let boss = *world.people.keys().next().unwrap();
        world.orgs[1].members.insert(boss, true);
        let dan = world.member(1, "dan");
        world.make_team(1, "large", &[dan]);
        world.tokens.insert("other".to_owned());
    });
    for (api, is_rest) in [(BY_REST, true), ("incremental = \"off\"", false)] {
        let settings =
            block_with(&server.url(), "other", &format!("organizations = [\"globex\"]\n{api}"));
        let mut second = settings.open(PATIENCE);
        if !is_rest {
            first = block(&server.url(), api).open(PATIENCE);
        }
        server.forget();
        for round in 0..2 {
            let mut sinks = (Copy::default(), Copy::default());
            let (one, two) = tokio::join!(
                sinks.0.crawl(&mut *first, rosterd::provider::Start::Full),
                sinks.1.crawl(&mut *second, rosterd::provider::Start::Full),
            );
            one.and(two).unwrap();
            let (one, two) = sinks;
            assert_eq!((one.users.len(), two.users.len()), (252, 2), "{api}, round {round}");
            assert_eq!(two.members("globex/large"), BTreeSet::from(["dan".to_owned()]));
            assert!(one.groups.values().all(|group| group.group.name.starts_with("acme")));
            assert!(two.groups.values().all(|group| group.group.name.starts_with("globex")));
        }
        for seen in server.log() {
            let asked = seen.request.path.clone() + &seen.request.json().to_string();
            let other = if seen.request.bearer() == Some("other") { "acme" } else { "globex" };
            assert!(!asked.contains(other), "{:?} asks {asked}", seen.request.bearer());
        }
    }
    // The same organization, seen with another credential: no tag of the first
    // one's is sent with it.
    let settings = block_with(&server.url(), "other", BY_REST);
    server.forget();
    Copy::full(&mut *settings.open(PATIENCE)).await;
    let mut known = BTreeSet::new();
    for seen in server.log() {
        let address = format!("{}?{}", seen.request.path, seen.request.raw_query);
        let is_again = !known.insert(address.clone());
        assert!(is_again || seen.request.header("if-none-match").is_none(), "{address}");
    }
}
