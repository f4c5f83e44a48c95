//! The words of the command that ask a running daemon.

use std::process::Output;

use serde_json::Value;

use super::bundle;
use crate::harness::daemon::Daemon;

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn json(daemon: &Daemon, words: &[&str]) -> Value {
    let output = daemon.command(&[words, &["--json"]].concat());
    assert!(output.status.success(), "{words:?}: {}", text(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output)))
}

fn started() -> Daemon {
    let mut daemon = Daemon::prepare("");
    daemon.configure(&bundle(&daemon, "corp"));
    daemon.resume();
    daemon.wait_ready();
    daemon
}

#[test]
fn is_member_ends_with_0_for_yes_1_for_no_and_2_for_cannot_tell() {
    let mut daemon = started();
    let code = |daemon: &Daemon, words: &[&str]| daemon.command(words).status.code();
    assert_eq!(code(&daemon, &["is-member", "ada", "crew"]), Some(0));
    assert_eq!(code(&daemon, &["is-member", "ada@example.org", "all"]), Some(0), "nested");
    assert_eq!(code(&daemon, &["is-member", "bob", "crew"]), Some(1));
    assert_eq!(code(&daemon, &["is-member", "nobody", "crew"]), Some(2));
    daemon.kill9();
    assert_eq!(code(&daemon, &["is-member", "ada", "crew"]), Some(2));
}

#[test]
fn every_question_is_answered_for_people_and_for_machines() {
    let daemon = started();
    for (words, expected) in [
        (&["status"][..], "corp"),
        (&["users"], "ada"),
        (&["groups"], "crew"),
        (&["user", "ada"], "ada@example.org"),
        (&["group", "crew"], "crew"),
        (&["why", "ada", "all"], "crew"),
        (&["events"], "user ada (a) joined group crew (c)"),
        (&["history", "user", "ada"], "was in crew"),
        (&["history", "group", "crew"], "had 1 users, 0 groups"),
        (&["sync", "corp"], ""),
        (&["hold"], ""),
    ] {
        let output = daemon.command(words);
        assert!(output.status.success(), "{words:?}: {}", text(&output));
        assert!(text(&output).contains(expected), "{words:?}: {}", text(&output));
        assert!(!text(&output).contains('\x1b'), "colours only on a terminal: {words:?}");
    }
    assert_eq!(json(&daemon, &["users"])["total"], 2);
    assert_eq!(json(&daemon, &["is-member", "ada", "all"])["member"], true);
    assert_eq!(json(&daemon, &["status"])["directories"][0]["name"], "corp");
}

#[test]
fn plan_and_doctor_change_nothing() {
    let daemon = started();
    let seq = daemon.last_seq();
    for words in [&["plan", "corp"][..], &["doctor"]] {
        let config = daemon.config();
        let output = daemon.command(&[words, &["--config", &config.to_string_lossy()]].concat());
        assert!(output.status.success(), "{words:?}: {}", text(&output));
    }
    assert_eq!(daemon.last_seq(), seq);
}
