//! Webhooks of the real process: the summary of a first sync, and endpoints that
//! are given up.

use std::time::Duration;

use serde_json::{Value, json};

use super::bundle;
use crate::harness::daemon::Daemon;
use crate::harness::fold::Fold;
use crate::harness::receiver::{Answer, Receiver};
use crate::harness::{wait_until, write, write_private};

const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon that is not started yet, with one directory and one endpoint.
fn prepare(receiver: &Receiver, more: &str) -> Daemon {
    let daemon = Daemon::prepare("");
    let secret = write_private(daemon.dir().join("secret"), receiver.secret());
    daemon.configure(&format!(
        "{}[webhook.audit]\nurl = \"{}\"\nsecret = {{ file = \"{}\" }}\nallow_private = true\n\
         {more}\n",
        bundle(&daemon, "corp"),
        receiver.url(),
        secret.display()
    ));
    daemon
}

fn told(daemon: &Daemon, kind: &str) -> Vec<Value> {
    daemon.events(0).into_iter().filter(|event| event["type"] == kind).collect()
}

#[test]
fn w7_a_receiver_of_summaries_takes_a_snapshot_and_folds_what_follows() {
    let receiver = Receiver::start();
    let mut daemon = prepare(&receiver, "on_first_sync = \"summary\"");
    daemon.resume();
    daemon.wait_ready();
    wait_until("the summary", PATIENCE, || match receiver.events().is_empty() {
        true => Err(daemon.log()),
        false => Ok(()),
    });
    let first = receiver.events();
    let types: Vec<&Value> = first.iter().map(|event| &event["type"]).collect();
    assert_eq!(types, ["directory.synced"]);
    let data = &first[0]["data"];
    assert_eq!(
        (&data["reason"], &data["users"], &data["groups"], &data["memberships"]),
        (&json!("first"), &json!(2), &json!(2), &json!(2))
    );
    assert_eq!(first[0]["seq"], daemon.last_seq(), "it is the last of its commit");
    let snapshot = daemon.request("GET", "/v1/snapshot", None).text();
    let mut fold = Fold::of_snapshot(&snapshot).unwrap();

    let content = json!({
        "users": [
            {"id": "a", "username": "ada"},
            {"id": "b", "username": "bob", "active": false},
            {"id": "e", "username": "eve"},
        ],
        "groups": [{"id": "c", "name": "crew"}, {"id": "d", "name": "all"}],
        "memberships": [{"group": "c", "user": "e"}, {"group": "d", "member_group": "c"}],
    });
    write(daemon.dir().join("corp.json"), content.to_string());
    daemon.sync_events("corp");
    let last = daemon.last_seq();
    wait_until("the rest", PATIENCE, || match receiver.events().last() {
        Some(event) if event["seq"] == last => Ok(()),
        _ => Err(daemon.log()),
    });
    for event in receiver.events().iter().skip(1) {
        fold.apply(event).unwrap();
    }
    let now = daemon.request("GET", "/v1/snapshot", None).text();
    assert_eq!(fold.trimmed(), Fold::of_snapshot(&now).unwrap());
    receiver.assert_no_complaints();
}

#[test]
fn an_endpoint_that_wants_no_more_is_disabled_once_and_stays_so() {
    let receiver = Receiver::start();
    receiver.answer(|_| Answer::Status(410, Vec::new()));
    let mut daemon = prepare(&receiver, "");
    daemon.resume();
    daemon.wait_ready();
    let notice = wait_until("the notice", PATIENCE, || {
        told(&daemon, "webhook.disabled").pop().ok_or_else(|| daemon.log())
    });
    assert_eq!((&notice["directory"], &notice["tenant"]), (&json!(""), &json!("")));
    assert_eq!((&notice["data"]["webhook"], &notice["data"]["seq"]), (&json!("audit"), &json!(0)));
    let audit = daemon.request("GET", "/v1/audit", None).text();
    assert_eq!(audit.matches("webhook.disable").count(), 1, "{audit}");
    let shown = |daemon: &Daemon| {
        wait_until("the metric", PATIENCE, || {
            let text = daemon.request("GET", "/metrics", None).text();
            let line = "rosterd_webhook_disabled{webhook=\"audit\"} 1\n";
            if text.contains(line) { Ok(()) } else { Err(text) }
        });
    };
    shown(&daemon);
    super::assert_journal_is_the_picture(&daemon);
    daemon.kill9();
    daemon.resume();
    daemon.wait_ready();
    shown(&daemon);
    assert_eq!((receiver.attempts(), told(&daemon, "webhook.disabled").len()), (1, 1));
    super::assert_journal_is_the_picture(&daemon);
}
