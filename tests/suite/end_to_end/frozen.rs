//! A server that stops answering in the middle of a crawl.

use std::time::Duration;

use serde_json::Value;

use super::openldap;
use crate::harness::daemon::Daemon;
use crate::harness::ldif::Shape;
use crate::harness::slapd::{Options, Slapd};
use crate::harness::wait_until;

const PATIENCE: Duration = Duration::from_secs(60);

/// Without syncprov every crawl is full, so there is time to freeze it.
fn full_crawls_only() -> Slapd {
    let shape = Shape { users: 5_000, groups: 200, groups_per_user: 5, everyone: 0, nested: false };
    Slapd::start(Options { shape, syncprov: false, ..Options::default() })
}

/// Starts a poll and freezes the server while it runs.
fn freeze_mid_crawl(daemon: &Daemon, slapd: &Slapd, name: &str) {
    wait_until("a crawl caught in the middle", PATIENCE, || {
        let sealed = daemon.directory(name)["crawls_sealed"].clone();
        daemon.post(&format!("/v1/directories/{name}/sync"), &Value::Null);
        wait_until("the crawl to begin", PATIENCE, || {
            let status = daemon.directory(name);
            let begun = status["crawling"] == true || status["crawls_sealed"] != sealed;
            if begun { Ok(()) } else { Err(status.to_string()) }
        });
        slapd.freeze();
        let status = daemon.directory(name);
        if status["crawling"] == true && status["crawls_sealed"] == sealed {
            return Ok(());
        }
        slapd.thaw();
        Err("it had ended")
    });
}

#[test]
fn a_frozen_server_fails_within_its_deadline_and_nobody_else_notices() {
    let (slapd, other) = (full_crawls_only(), Slapd::start(Options::default()));
    let hasty = openldap("frozen", &slapd).replace(
        "max_delay = \"1h\"",
        "max_delay = \"1h\", request_timeout = \"3s\", stall_timeout = \"6s\"",
    );
    let daemon = Daemon::start(&format!("{hasty}{}", openldap("other", &other)));
    daemon.wait_ready();
    let check = "/v1/check?user=frozen%2Fu000001&group=frozen%2Fg00001";
    let good = daemon.get(check);
    assert_eq!(good["member"], true);
    let age = |answer: &Value| answer["age_seconds"].as_f64().expect("every answer has its age");

    freeze_mid_crawl(&daemon, &slapd, "frozen");
    let failing = wait_until("the crawl to fail", Duration::from_secs(15), || {
        let status = daemon.directory("frozen");
        if status["consecutive_failures"] == 0 { Err(status.to_string()) } else { Ok(status) }
    });
    assert!(failing["last_error"].as_str().is_some_and(|error| !error.is_empty()), "{failing}");

    // The other directory polls and tells, as if nothing were.
    other.member(&other.group_dn(1), &other.user_dn(0), true);
    assert_eq!(daemon.sync_events("other").iter().filter(|e| e["directory"] == "other").count(), 1);
    let older = wait_until("the answer to age", PATIENCE, || {
        let answer = daemon.get(check);
        if age(&answer) > age(&good) + 1.0 { Ok(answer) } else { Err(answer.to_string()) }
    });
    assert_eq!(older["member"], true);
    let stale = daemon.request("GET", &format!("{check}&max_age=1s"), None);
    assert_eq!(stale.status(), 503, "{}", stale.text());

    slapd.thaw();
    let recovered = wait_until("it to recover", PATIENCE, || {
        let status = daemon.sync("frozen");
        if status["consecutive_failures"] == 0 { Ok(status) } else { Err(status.to_string()) }
    });
    assert_eq!(recovered["last_error"], Value::Null);
    assert!(age(&daemon.get(check)) < age(&older));
    let told = |kind: &str| {
        let of = |event: &&Value| event["type"] == kind && event["directory"] == "frozen";
        daemon.events(0).iter().filter(of).count()
    };
    assert_eq!((told("directory.failing"), told("directory.recovered")), (1, 1));
    let other_log = daemon.events(0).into_iter().filter(|event| event["directory"] == "other");
    assert_eq!(other_log.filter(|event| event["type"] == "directory.failing").count(), 0);
}
