//! Incremental crawls: what filters, the System Log and the rolling slice find.

use serde_json::json;

use super::scene::{DAY, Scene, small};
use crate::harness::vendor::When;

#[tokio::test]
async fn r7_a_user_who_is_deleted_after_the_listing_leaves_with_the_same_poll() {
    let scene = Scene::open("", small);
    scene.sync_exactly().await;
    scene.change(|org| org.put_user("00ucyd", "ACTIVE", json!({"title": "Engineer"})));
    let deleted = scene.server.meanwhile(When::nth(2), |acme| acme.org.delete_user("00ucyd"));
    scene.sync_exactly().await;
    assert_eq!(scene.server.fired(deleted), 1);
}

#[tokio::test]
async fn r7_a_user_whose_deletion_takes_a_while_leaves_once_it_is_done() {
    let scene = Scene::open("", small);
    scene.sync_exactly().await;
    // The event comes first, and only once.
    scene.change(|org| org.tell("user.lifecycle.delete.initiated", &[("00ucyd", "User")]));
    scene.sync_exactly().await;
    scene.change(|org| {
        org.delete_user("00ucyd");
        org.events.pop();
    });
    scene.sync_exactly().await;
}

#[tokio::test]
async fn r7_deleted_groups_and_users_leave_between_full_crawls() {
    let scene = Scene::open("", small);
    scene.sync_exactly().await;
    scene.change(|org| {
        org.delete_group("00gsales");
        org.delete_user("00ucyd");
    });
    assert_eq!(scene.sync_exactly().await, 3 + 2, "each is proved once: {:?}", scene.lines());
    assert_eq!(scene.sync_exactly().await, 3);
}

#[tokio::test]
async fn r7_deleted_groups_leave_also_without_the_system_log() {
    let scene = Scene::open("", |org| {
        small(org);
        org.log_forbidden = true;
    });
    scene.sync_exactly().await;
    scene.sync_exactly().await;
    scene.change(|org| org.delete_group("00gsales"));
    // Users, groups, the ids of all groups, and the proof; the log is not asked each time.
    assert_eq!(scene.sync_exactly().await, 4, "{:?}", scene.lines());
}

#[tokio::test]
async fn r18_a_membership_that_is_logged_but_not_dated_is_found() {
    let scene = Scene::open("", small);
    scene.sync_exactly().await;
    scene.change(|org| {
        org.add("00gsales", "00ucyd", false);
        org.tell("group.user_membership.add", &[("00ucyd", "User"), ("00gsales", "UserGroup")]);
    });
    // Only the log names the group, so it is counted, too.
    assert_eq!(scene.sync_exactly().await, 3 + 2, "{:?}", scene.lines());
}

#[tokio::test]
async fn r18_a_membership_that_nothing_tells_of_is_found_within_the_time_to_verify() {
    let scene = Scene::open("verify_within = \"24h\"", small);
    scene.sync_exactly().await;
    scene.change(|org| org.add("00gsales", "00ucyd", false));
    scene.change(|org| org.ahead += DAY / 2);
    assert_eq!(scene.sync().await, 3, "nothing is due yet: {:?}", scene.lines());
    assert!(!scene.has("00gsales", "00ucyd"));
    scene.change(|org| org.ahead += DAY / 2);
    // Two lists of users, one of groups, and two groups with members of their own.
    assert_eq!(scene.sync_exactly().await, 3 + 2 + 1 + 2, "{:?}", scene.lines());
    let status = scene.parts.statuses.get("corp").unwrap();
    let verified = status.last_crawl.as_ref().unwrap().verified;
    assert_eq!((status.drift, verified.requests, verified.groups), (1, 2 + 1, 3), "and counted");
    assert_eq!(scene.sync_exactly().await, 3, "the next round has just begun");
}

#[tokio::test]
async fn r19_a_deactivated_user_is_inactive_at_the_next_poll() {
    let scene = Scene::open("", small);
    scene.sync_exactly().await;
    scene.change(|org| org.put_user("00uada", "DEPROVISIONED", json!({})));
    scene.sync_exactly().await;
    assert_eq!(scene.parts.roster().users["00uada"], "- inactive");
    assert!(scene.has("00gengineers", "00uada"), "as Okta shows it");
}

#[tokio::test]
async fn an_event_that_shows_late_is_found_within_the_overlap() {
    let scene = Scene::open("", small);
    scene.sync_exactly().await;
    scene.change(|org| {
        org.ahead += DAY / 96;
        org.add("00gsales", "00ucyd", false);
        org.tell("group.user_membership.add", &[("00ucyd", "User"), ("00gsales", "UserGroup")]);
    });
    let late = scene.change(|org| org.events.pop().unwrap());
    scene.change(|org| org.ahead += DAY / 480);
    assert_eq!(scene.sync().await, 3);
    assert!(!scene.has("00gsales", "00ucyd"), "nothing tells of it yet");
    // Published before the last poll, but only visible now.
    scene.change(|org| org.events.push(late));
    // Only the log names the group, so it is counted, too.
    assert_eq!(scene.sync_exactly().await, 3 + 2, "{:?}", scene.lines());
    assert_eq!(scene.sync_exactly().await, 3, "and acted on once: {:?}", scene.lines());
}
