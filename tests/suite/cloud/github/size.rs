//! What a large organization costs, and when requests are sent.

use std::collections::BTreeSet;

use rosterd::clock::Duration;
use rosterd::model::Reference;
use rosterd::provider::{Item, PullError, Start};

use super::world::World;
use super::{block, open};
use crate::cloud::{Crawl, Population, Vendor};
use crate::harness::copy::{Copy, PATIENCE};
use crate::harness::vendor::{Hazard, VendorServer, When};

const BARE: &str = "outside_collaborators = \"off\"\npending_invitations = \"off\"";
/// GraphQL's points for everybody in an hour, of which half are ours.
const SHARE: f64 = 2500.0;
/// What is asked once before anything is read, and at the end.
const ONCE: u64 = 3;

fn big() -> VendorServer<World> {
    let mut world = World::default();
    world.fill(Population::BIG);
    VendorServer::start(world)
}

/// A page of members for each hundred, and with them a hundred pages of the
/// largest team; then a page of teams for each hundred.
#[tokio::test]
async fn a_large_organization_costs_what_the_best_strategy_does() {
    let server = big();
    let mut directory = block(&server.url(), BARE).open(PATIENCE);
    let mut crawl = Crawl::default();
    let seal = directory.crawl(Start::Full, &mut crawl).await.unwrap();
    let sent: u64 = seal.requests.values().sum();
    assert_eq!(sent as usize, server.log().len(), "the audit is right");
    assert_eq!(sent, 201 + 20 + ONCE, "{:?}", seal.requests);
    assert!(sent <= 250, "the table of the best strategies, for a fifth of its size");
    let points: f64 = server.with(|world| world.spent.iter().map(|(.., cost)| cost).sum());
    assert!(points <= SHARE, "{points} points within an hour");
    exact(&crawl.collected.items);
    let compared = seal.proof.compared.iter();
    let compared: Vec<_> = compared.map(|one| (&*one.what, one.announced, one.read)).collect();
    assert_eq!(compared, [("members", 20_001, 20_001), ("teams", 2_000, 2_000)]);
    let (first, last) = (server.log()[0].received, server.log()[sent as usize - 1].received);
    println!("{sent} requests and {points} points in {:?}", last - first);
}

/// Every team has the members that it has at GitHub.
fn exact(items: &[Item]) {
    let mut world = World::default();
    world.fill(Population::BIG);
    let mut lists: Vec<(u64, BTreeSet<u64>)> = Vec::new();
    for item in items {
        let Item::Members { group: Reference::Group(id), members } = item else { continue };
        let Ok(id) = id.parse() else { continue };
        let ids = members.iter().map(|member| match member {
            Reference::User(id) => id.parse().unwrap(),
            other => panic!("{other:?}"),
        });
        lists.push((id, ids.collect()));
    }
    lists.sort_unstable();
    let teams = world.orgs[0].teams.values();
    let there: Vec<(u64, BTreeSet<u64>)> =
        teams.map(|team| (team.id, team.members.keys().copied().collect())).collect();
    assert!(lists == there, "not the same members");
}

#[tokio::test]
async fn a_first_crawl_interrupted_ten_times_at_random_pages_resumes_each_time() {
    let server = big();
    let settings = block(&server.url(), BARE);
    let mut random = fastrand::Rng::with_seed(20);
    let mut directory = settings.open(PATIENCE);
    let (mut start, mut items, mut interruptions) = (Start::Full, Vec::new(), 0);
    loop {
        let mut crawl = Crawl::default();
        if interruptions < 10 {
            // Before a tenth of it is over, so that there is time for ten.
            server.arm(Hazard::Refuse, When::from(random.usize(1..24)));
        }
        let outcome = directory.crawl(start, &mut crawl).await;
        server.disarm();
        items.append(&mut crawl.collected.items);
        match outcome {
            Ok(_) => break,
            Err(error) => assert!(matches!(error, PullError::Unauthorized { .. }), "{error}"),
        }
        interruptions += 1;
        start = crawl.checkpoints.pop().map_or(Start::Full, Start::Resume);
        // Every other time in another process.
        if interruptions % 2 == 0 {
            directory = settings.open(PATIENCE);
        }
    }
    assert_eq!(interruptions, 10);
    exact(&items);
    // Each attempt asks once for what is visible, and once in vain.
    let sent = server.log().len() as u64;
    let limit = 201 + 20 + ONCE + 10 * (ONCE + 1);
    assert!(sent <= limit, "{sent} requests, and {limit} would do");
}

fn some(world: &mut World) {
    let ids: Vec<u64> = (0..9).map(|n| world.member(0, &format!("u{n}"))).collect();
    for n in 0..5 {
        world.make_team(0, &format!("g{n}"), &ids[n..]);
    }
    world.page = 3;
}

/// What was announced with each throttle is kept, whatever the way of it.
#[tokio::test]
async fn r17_nothing_is_sent_before_the_time_that_was_announced() {
    for more in ["parallel_requests_max = 1", "api = \"rest\"\nparallel_requests_max = 1"] {
        let (server, mut directory) = open(more, |world| {
            some(world);
            // After a throttle it goes slowly for a while, by this measure.
            world.headers.push(("x-ratelimit-limit", "1000000".into()));
        });
        let before = Copy::full(&mut *directory).await.picture();
        let is_rest = more.contains("rest");
        if !is_rest {
            server.with(|world| world.hazard = Some("points used up"));
            assert_eq!(Copy::full(&mut *directory).await.picture(), before);
        }
        for _ in 0..3 {
            server.arm(Hazard::Throttle, When::nth(4));
            assert_eq!(Copy::full(&mut *directory).await.picture(), before);
            server.disarm();
        }
        let closed = server.with(|world| world.closed.clone());
        assert!(closed.len() >= if is_rest { 2 } else { 3 }, "{closed:?}");
        for (at, until) in closed {
            let log = server.log();
            let early = log.iter().filter(|seen| seen.received > at && seen.received < until);
            assert_eq!(early.count(), 0, "{more}");
            assert!(log.iter().any(|seen| seen.received >= until), "it went on");
        }
    }
}

/// A server of one's own has no limits, unless it tells some.
#[tokio::test]
async fn a_server_with_a_small_quota_sees_no_more_than_its_share_of_it() {
    for (limit, is_enough) in [(None, true), (Some(40.0), false)] {
        let (server, mut directory) = open(BARE, |world| {
            some(world);
            world.root = "/api/v3";
            world.page = 1;
            if let Some(limit) = limit {
                world.headers.push(("x-ratelimit-limit", format!("{limit}")));
            }
        });
        let mut outcome = Ok(());
        for _ in 0..4 {
            let mut crawl = Crawl::default();
            outcome = directory.crawl(Start::Full, &mut crawl).await.map(drop);
            if outcome.is_err() {
                assert!(!crawl.checkpoints.is_empty(), "it can go on");
                break;
            }
        }
        let points: f64 = server.with(|world| world.spent.iter().map(|(.., cost)| cost).sum());
        match (is_enough, limit) {
            (true, _) => assert!(outcome.is_ok() && points > 40.0, "{outcome:?}, {points}"),
            (false, limit) => {
                assert!(matches!(outcome, Err(PullError::Throttled { .. })), "{outcome:?}");
                assert!(points <= limit.unwrap() / 2.0, "{points} within an hour");
            }
        }
    }
}

/// Less is asked for after a pause, which grows.
#[tokio::test]
async fn r17_less_is_asked_for_after_a_pause_only() {
    let (server, mut directory) = open("", some);
    let before = Copy::full(&mut *directory).await.picture();
    let listing = |request: &crate::harness::vendor::Request| {
        request.json()["query"].to_string().contains("teams(first: $first")
    };
    server.arm(Hazard::ServerError, When::next(3).only(listing));
    server.forget();
    assert_eq!(Copy::full(&mut *directory).await.picture(), before);
    let log = server.log();
    let asked: Vec<_> = log.iter().filter(|seen| listing(&seen.request)).collect();
    let sizes: Vec<u64> = asked
        .iter()
        .filter_map(|seen| seen.request.json()["variables"]["first"].as_u64())
        .collect();
    assert_eq!(sizes[..4], [100, 50, 25, 12]);
    for (pair, least) in asked.windows(2).take(3).zip([400, 800, 1600]) {
        let pause = pair[1].received - pair[0].received;
        assert!(pause >= Duration::from_millis(least), "{pause:?} after the failure");
    }
}
