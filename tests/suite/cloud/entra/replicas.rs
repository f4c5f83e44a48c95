//! Replicas that lag, changes that are never told, and tokens that expire.

use std::time::Duration;

use rosterd::provider::{Directory, Start};
use serde_json::json;

use super::scene::{Scene, is_batch};
use super::{USER, block, settings, stub};
use crate::harness::copy::{Copy, PATIENCE};

/// Everything is read again every second.
const EVERY_SECOND: &str = "verify_within = \"1s\"\nquota_share = 1\n";

/// A leaver and a former member, whom rounds of changes told of.
async fn told_of_leavers(more: &str) -> (Scene, Box<dyn Directory>, Copy) {
    let scene = Scene::new("");
    let mut directory = settings("entra", &block(&scene.server.url(), more)).open(PATIENCE);
    let mut copy = Copy::full(&mut *directory).await;
    scene.change(|tenant| {
        tenant.bin_user("u1");
        tenant.delete_user("u3");
        tenant.remove("g2", "u2");
    });
    copy.follow(&mut *directory).await;
    assert_without_leavers(&copy);
    scene.arm(stub::LAG);
    (scene, directory, copy)
}

fn assert_without_leavers(copy: &Copy) {
    let users: Vec<&str> = copy.users.keys().map(String::as_str).collect();
    assert_eq!(users, ["u2", "u4", "u5"]);
    assert_eq!(copy.memberships().into_iter().collect::<Vec<_>>(), ["g1/g2"]);
}

#[tokio::test]
async fn a_lagging_replica_brings_nobody_back_in_a_full_crawl() {
    let (_scene, mut directory, mut copy) = told_of_leavers("").await;
    for _ in 0..2 {
        copy.crawl(&mut *directory, Start::Full).await.unwrap();
        assert_without_leavers(&copy);
    }
}

#[tokio::test]
async fn a_lagging_replica_brings_nobody_back_when_all_is_read_in_turn() {
    let (_scene, mut directory, mut copy) = told_of_leavers(EVERY_SECOND).await;
    for poll in 0.. {
        assert!(poll < 100_000, "nothing is read in turn");
        let followed = copy.follow(&mut *directory).await;
        assert_without_leavers(&copy);
        if followed.seal.proof.ends.contains(" 2 groups read again") {
            break;
        }
    }
}

#[tokio::test]
async fn a_lagging_replica_brings_no_member_back_into_a_group_that_changes() {
    let (scene, mut directory, mut copy) = told_of_leavers("").await;
    scene.change(|tenant| tenant.put_group("g2", json!({ "description": "changed" })));
    let followed = copy.follow(&mut *directory).await;
    assert_eq!(followed.anew, None);
    assert_without_leavers(&copy);
}

#[tokio::test]
async fn earlier_rounds_that_have_expired_are_done_without() {
    for how in ["changes are forgotten", "the state is lost"] {
        let (scene, mut directory, mut copy) = told_of_leavers("").await;
        scene.server.with(|contoso| contoso.stub.calm());
        scene.arm(how);
        copy.crawl(&mut *directory, Start::Full).await.unwrap();
        assert_without_leavers(&copy);
    }
}

#[tokio::test]
async fn r18_a_change_that_delta_forgets_is_found_by_reading_all_in_turn() {
    let scene = Scene::new(EVERY_SECOND);
    scene.sync_to_truth().await;
    scene.change(|tenant| {
        tenant.in_silence(|tenant| {
            tenant.put_user("u3", json!({ "jobTitle": "promoted", "accountEnabled": false }));
            tenant.put_user("u6", json!({ "jobTitle": "new" }));
            tenant.put_group("g1", json!({ "description": "new" }));
            tenant.add("g2", "u4", USER);
            tenant.remove("g1", "u1");
        });
    });
    until_found(&scene, |_| {}).await;
    let drift = scene.parts.statuses.get("corp").unwrap().drift;
    assert!(drift >= 4, "two users and two groups differed: {drift}");
}

#[tokio::test]
async fn a_page_token_that_expires_between_polls_leaves_no_page_unread() {
    let scene = Scene::new(EVERY_SECOND);
    scene.change(|tenant| (3..=5).for_each(|n| tenant.put_group(&format!("g{n}"), json!({}))));
    scene.server.with(|contoso| contoso.stub.page = 1);
    scene.sync_to_truth().await;
    scene.change(|tenant| {
        tenant.in_silence(|tenant| {
            tenant.put_user("u5", json!({ "jobTitle": "promoted" }));
            tenant.add("g5", "u5", USER);
        });
    });
    until_found(&scene, |scene| scene.arm("a page token expires between polls")).await;
}

/// Polls until the copy is exact, with something before each poll.
async fn until_found(scene: &Scene, before: impl Fn(&Scene)) {
    let truth = scene.truth();
    for _ in 0..100_000 {
        if scene.parts.roster() == truth {
            return;
        }
        before(scene);
        scene.sync().await.unwrap();
    }
    panic!("never found: {:?} is not {truth:?}", scene.parts.roster());
}

#[tokio::test]
async fn a_list_whose_page_token_expired_before_the_crawl_went_on_starts_over() {
    use crate::harness::vendor::{Hazard, When};
    let scene = Scene::new("parallel_requests_max = 1\n");
    scene.server.with(|contoso| contoso.stub.page = 2);
    // A token, two "latest", two counts, and the first page of users.
    scene.server.arm(Hazard::Refuse, When::from(7));
    scene.sync().await.unwrap_err();
    scene.server.disarm();
    scene.arm("a page token expires between polls");
    scene.sync_to_truth().await;
}

#[tokio::test]
async fn r17_parts_throttled_without_a_time_are_asked_again_ever_later() {
    let scene = Scene::new("");
    // Both parts of the first batch, and one of the second.
    scene.arm("throttled parts without a time");
    scene.sync_to_truth().await;
    let log = scene.server.log();
    let batches: Vec<_> = log.iter().filter(|seen| is_batch(&seen.request)).collect();
    let parts = |at: usize| batches[at].request.json()["requests"].as_array().unwrap().len();
    assert_eq!((batches.len(), parts(0), parts(1), parts(2)), (3, 2, 2, 1));
    let pause = |at: usize| batches[at + 1].received - batches[at].received;
    // The first delay and twice that, each less at most a fifth.
    assert!(pause(0) >= Duration::from_millis(160), "{:?}", pause(0));
    assert!(pause(1) >= Duration::from_millis(320), "{:?}", pause(1));
}
