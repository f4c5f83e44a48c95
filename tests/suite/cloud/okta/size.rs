//! What a large org costs: requests against the best strategy known, and time
//! against the limits of an org.

use std::time::Duration;

use rosterd::clock;

use super::block;
use super::scene::{Scene, server};
use super::stub::EVERYONE;
use crate::cloud::{Population, Vendor, settings};
use crate::harness::vendor::Seen;

/// What Okta publishes for a minute, five times over, as its largest contracts
/// have it: at less the test would take longer, but show no more.
const USERS: usize = 5 * 600;
const GROUPS: usize = 5 * 500;
const MINUTE: Duration = Duration::from_mins(1);

/// In no minute more than half of what the org allows.
fn assert_share(log: &[Seen], bucket: &str, most: usize) -> usize {
    let of_bucket = |seen: &&Seen| seen.request.segments().get(2) == Some(&bucket);
    let times: Vec<_> = log.iter().filter(of_bucket).map(|seen| seen.received).collect();
    for window in times.windows(most + 1) {
        assert!(window[most] - window[0] >= MINUTE, "more than {most} of {bucket} in a minute");
    }
    times.len()
}

#[tokio::test]
async fn a_large_org_takes_no_more_requests_than_it_must() {
    let server = server(|_| {});
    server.with(|acme| {
        acme.fill(Population::BIG);
        acme.org.limits.extend([("users", USERS), ("groups", GROUPS), ("logs", 120)]);
    });
    let settings = settings("okta", &block(&server.url(), "quota_share = 0.5"));
    let scene = Scene::follow(server, settings);
    let begin = clock::instant();
    let full = scene.sync_exactly().await;
    println!("{full} requests in {:.1} s", (clock::instant() - begin).as_secs_f64());
    let log = scene.server.log();
    assert_share(&log, "users", USERS / 2);
    let groups = assert_share(&log, "groups", GROUPS / 2);
    assert!(groups > GROUPS / 2, "the limit was never felt");
    // Pages of users and of groups, and each group's members: 10 pages of the
    // first, one of each other. Two more: deprovisioned users, and users that
    // changed meanwhile. Everyone's 20 pages are spared.
    assert!(full <= 100 + 11 + 10 + 1_999 + 2, "{full} requests");
    assert!(!scene.lines().contains(&format!("GET /api/v1/groups/{EVERYONE}/users")));
    assert_eq!(scene.sync_exactly().await, 3, "{:?}", scene.lines());
    scene.change(|org| {
        for group in 0..20 {
            org.add(&format!("00g{:06}", 100 + group), "00u000001", true);
        }
    });
    assert_eq!(scene.sync_exactly().await, 3 + 20, "{:?}", scene.lines());
    assert_eq!(scene.sync_exactly().await, 3, "handled once: {:?}", scene.lines());
    assert_eq!(scene.change(|org| org.over_limit), 0, "the quota was overdrawn");
}
