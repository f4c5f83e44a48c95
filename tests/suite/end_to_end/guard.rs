//! Crawls that would remove suspiciously much: held, approved, rejected, and
//! cleared by themselves.

use serde_json::{Value, json};

use crate::harness::daemon::Daemon;
use crate::harness::story::story;
use crate::harness::write;

/// A file with this many users, all in one group, replaced in one move.
pub(super) fn roster(daemon: &Daemon, users: usize) {
    let user = |n: usize| json!({"id": format!("u{n}"), "username": format!("u{n}")});
    let members: Vec<String> = (0..users).map(|n| format!("u{n}")).collect();
    let bundle = json!({
        "users": (0..users).map(user).collect::<Value>(),
        "groups": [{"id": "g", "name": "crew"}],
        "memberships": [{"group": "g", "users": members}],
    });
    let fresh = write(daemon.dir().join("fresh.json"), bundle.to_string());
    std::fs::rename(fresh, daemon.dir().join("roster.json")).unwrap();
}

pub(super) fn started() -> Daemon {
    let mut daemon = Daemon::prepare("");
    roster(&daemon, 20);
    daemon.configure(&format!(
        "[directory.corp]\npoll = {{ min_delay = \"1h\", max_delay = \"1h\" }}\n\
         provider.bundle = {{ path = \"{}\" }}\n",
        daemon.dir().join("roster.json").display()
    ));
    daemon.resume();
    daemon.wait_ready();
    daemon
}

fn users(daemon: &Daemon) -> u64 {
    daemon.get("/v1/users")["total"].as_u64().unwrap()
}

pub(super) fn hold(daemon: &Daemon) -> String {
    let status = daemon.directory("corp");
    let id = status["hold"]["id"].as_str().unwrap_or_else(|| panic!("no hold: {status}"));
    id.to_owned()
}

#[test]
fn g1_a_mass_removal_is_held_and_nothing_of_it_is_applied() {
    let daemon = started();
    roster(&daemon, 10);
    let events = daemon.sync_events("corp");
    assert_eq!(story(&events), ["directory.held"]);
    assert_eq!(users(&daemon), 20);
    assert_eq!(daemon.sync_events("corp"), [Value::Null; 0], "told once");

    let held = hold(&daemon);
    let shown = daemon.get("/v1/directories/corp/hold");
    assert!(shown.to_string().contains(&held), "{shown}");
    let wrong = daemon.request("POST", "/v1/directories/corp/hold/nonsense/approve", None);
    assert!(wrong.status() >= 400, "{}", wrong.text());
    assert_eq!(users(&daemon), 20);
}

#[test]
fn an_approval_lets_exactly_that_set_through() {
    let daemon = started();
    roster(&daemon, 10);
    daemon.sync("corp");
    let approved = hold(&daemon);
    roster(&daemon, 5);
    daemon.sync("corp");
    let other = hold(&daemon);
    assert_ne!(approved, other);
    let refused =
        daemon.request("POST", &format!("/v1/directories/corp/hold/{approved}/approve"), None);
    assert!(refused.status() >= 400, "an approval is for one set: {}", refused.text());

    daemon.post(&format!("/v1/directories/corp/hold/{other}/approve"), &Value::Null);
    crate::harness::wait_until("the approved set", std::time::Duration::from_secs(30), || {
        let left = users(&daemon);
        if left == 5 { Ok(()) } else { Err(format!("{left} users")) }
    });
    super::assert_journal_is_the_picture(&daemon);
    assert_eq!(daemon.directory("corp")["hold"], Value::Null);
}

#[test]
fn a_rejected_set_stays_out_and_a_leaver_is_not_delayed() {
    let daemon = started();
    roster(&daemon, 10);
    daemon.sync("corp");
    let rejected = hold(&daemon);
    daemon.post(&format!("/v1/directories/corp/hold/{rejected}/reject"), &Value::Null);
    assert_eq!(daemon.sync_events("corp"), [Value::Null; 0]);
    assert_eq!(users(&daemon), 20);

    roster(&daemon, 19);
    let told = story(&daemon.sync_events("corp"));
    assert!(told.contains(&"user.deleted u19".to_owned()), "{told:?}");
    assert_eq!(users(&daemon), 19);
}

#[test]
fn g3_a_harmless_crawl_clears_the_hold_by_itself() {
    let mut daemon = started();
    roster(&daemon, 10);
    daemon.sync("corp");
    let held = hold(&daemon);
    daemon.kill9();
    daemon.resume();
    daemon.sync("corp");
    assert_eq!(hold(&daemon), held, "the same set after a restart");
    roster(&daemon, 20);
    let status = daemon.sync("corp");
    assert_eq!(status["hold"], Value::Null, "{status}");
    assert_eq!(users(&daemon), 20);
    let held: Vec<Value> =
        daemon.events(0).into_iter().filter(|event| event["type"] == "directory.held").collect();
    assert_eq!(held.len(), 1, "told once, also over a restart: {held:#?}");
}
