//! The audit trail over HTTP, page by page and by waiting.

use serde_json::{Value, json};

use super::fixture::{World, world};
use crate::model::{Act, Action, Caller};
use crate::query::sources::AuditTrail;

async fn recorded() -> World {
    let world = world();
    for action in [Action::DAEMON_START, Action::HOLD, Action::HOLD_APPROVE, Action::HOLD] {
        world.trail.record(Act::of_daemon(action)).await;
    }
    world
}

fn numbers(page: &Value) -> Vec<u64> {
    let entries = page["entries"].as_array().unwrap();
    entries.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn pages_follow_each_other_with_the_true_total() {
    let world = recorded().await;
    let (status, first) = world.get("/v1/audit?limit=3").await;
    assert_eq!(status, 200);
    assert_eq!((numbers(&first), &first["total"]), (vec![1, 2, 3], &json!(4)));
    assert_eq!(first["next_cursor"], "3");
    let (_, second) = world.get("/v1/audit?limit=3&cursor=3").await;
    assert_eq!((numbers(&second), &second["next_cursor"]), (vec![4], &Value::Null));
    assert_eq!((&second["seq"], &second["last_seq"]), (&json!(4), &json!(4)));
}

#[tokio::test]
async fn entries_are_chosen_by_action_and_time() {
    let world = recorded().await;
    let (_, holds) = world.get("/v1/audit?action=*.hold").await;
    assert_eq!((numbers(&holds), &holds["total"]), (vec![2, 4], &json!(2)));
    let (_, page) = world.get("/v1/audit?action=*.hold&limit=1").await;
    assert_eq!(page["next_cursor"], "2");
    let (_, later) = world.get("/v1/audit?since=1970-01-01T00:00:03Z").await;
    assert_eq!(numbers(&later), [3, 4]);
    let (_, none) = world.get("/v1/audit?action=nothing").await;
    assert_eq!((numbers(&none), &none["seq"]), (vec![], &json!(4)), "go on from the end");
}

#[tokio::test]
async fn a_position_that_is_gone_or_not_yet_given_is_refused() {
    let world = recorded().await;
    assert_eq!(world.get("/v1/audit?after=9").await.0, 400);
    assert_eq!(world.get("/v1/audit?after=1&cursor=1").await.0, 400);
    assert_eq!(world.get("/v1/audit?wait=2h").await.0, 400);
    *world.trail.oldest.lock().unwrap() = 3;
    let (status, problem) = world.get("/v1/audit?after=1").await;
    assert_eq!((status.as_u16(), &problem["oldest"]), (410, &json!(3)));
    assert_eq!(world.get("/v1/audit?after=2").await.0, 200);
}

#[tokio::test]
async fn whoever_waits_is_told_of_what_was_asked_for() {
    let world = recorded().await;
    let wanted = world.get("/v1/audit?after=4&action=daemon.*&wait=60s");
    let told = async {
        world.trail.record(Act::of_daemon(Action::HOLD_CLEAR)).await;
        tokio::task::yield_now().await;
        world.trail.record(Act::of(Action::DAEMON_STOP, Caller::peer(1, 2, None))).await;
    };
    let ((_, page), ()) = tokio::join!(wanted, told);
    assert_eq!(numbers(&page), [6]);
    assert_eq!(page["entries"][0]["actor"], json!({"kind": "process", "uid": 1, "gid": 2}));
}
