//! The audit trail of a real daemon: who did what, and how it ended.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Signal, getgid, getuid};
use serde_json::{Value, json};

use super::bundle;
use super::guard::{hold, roster, started};
use crate::harness::daemon::Daemon;
use crate::harness::{free_port, wait_until, write_private};

const PATIENCE: Duration = Duration::from_secs(30);

/// All entries of actions that the glob names.
fn acts(daemon: &Daemon, glob: &str) -> Vec<Value> {
    let page = daemon.get(&format!("/v1/audit?limit=1000&action={glob}"));
    assert!(page["next_cursor"].is_null(), "{page}");
    page["entries"].as_array().expect("a list").clone()
}

fn wait_for(daemon: &Daemon, glob: &str, count: usize) -> Vec<Value> {
    wait_until(glob, PATIENCE, || {
        let found = acts(daemon, glob);
        if found.len() >= count { Ok(found) } else { Err(format!("{found:?}\n{}", daemon.log())) }
    })
}

/// This test, as the kernel shows it to the daemon.
fn me() -> Value {
    json!({
        "kind": "process",
        "uid": getuid().as_raw(),
        "gid": getgid().as_raw(),
        "pid": std::process::id(),
    })
}

/// The same as the sender of a signal, whose group is not told.
fn sender() -> Value {
    json!({"kind": "process", "uid": getuid().as_raw(), "pid": std::process::id()})
}

fn decide(daemon: &Daemon, hold: &str, verb: &str) -> u16 {
    let path = format!("/v1/directories/corp/hold/{hold}/{verb}");
    daemon.request("POST", &path, None).status()
}

fn outcomes(entries: &[Value]) -> Vec<String> {
    let outcomes = entries.iter().map(|entry| entry["metadata"]["outcome"].as_str());
    outcomes.map(|outcome| outcome.expect("an outcome").to_owned()).collect()
}

fn assert_gapless(daemon: &Daemon) {
    let all = acts(daemon, "*");
    let numbers: Vec<u64> = all.iter().filter_map(|entry| entry["seq"].as_u64()).collect();
    assert_eq!(numbers, (1..=all.len() as u64).collect::<Vec<_>>());
}

#[test]
fn starts_and_stops_are_recorded_with_who_sent_the_signal() {
    let mut daemon = Daemon::prepare("");
    daemon.configure(&bundle(&daemon, "corp"));
    daemon.resume();
    daemon.stop(PATIENCE);
    daemon.resume();
    daemon.kill9();
    daemon.resume();

    let starts = acts(&daemon, "daemon.start");
    assert_eq!(starts.len(), 3, "{starts:#?}");
    assert!(starts.iter().all(|start| start["actor"] == json!({"kind": "daemon"})));
    assert_eq!(starts[0]["metadata"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(starts[0]["metadata"]["directories"], json!(["corp"]));
    let in_order: Vec<&Value> =
        starts.iter().map(|start| &start["metadata"]["stopped_in_order"]).collect();
    assert_eq!(in_order, [&Value::Null, &json!(true), &json!(false)]);
    let stops = acts(&daemon, "daemon.stop");
    assert_eq!(stops.len(), 1, "{stops:#?}");
    assert_eq!(stops[0]["actor"], sender());
    assert_eq!(stops[0]["context"], json!({"via": "signal", "signal": "SIGTERM"}));
    assert_gapless(&daemon);
}

#[test]
fn a_reload_is_recorded_with_what_changed_and_without_secrets() {
    let mut daemon = Daemon::prepare("");
    let (one, two) = (bundle(&daemon, "one"), bundle(&daemon, "two"));
    let secret = write_private(
        daemon.dir().join("secret"),
        "whsec_c2VjcmV0LW9uZS1pcy1sb25nLWVub3VnaC1ieS1ub3c=",
    );
    let hook = |path: &str| {
        format!(
            "[webhook.w]\nurl = \"https://hooks.example.org/{path}\"\nsecret = {{ file = \"{}\" }}\n\
             events = [\"user.deleted\"]\n",
            secret.display()
        )
    };
    daemon.configure(&format!("{one}{}", hook("t0ken-in-a-path")));
    daemon.resume();
    write_private(&secret, "whsec_c2VjcmV0LXR3by1pcy1sb25nLWVub3VnaC1ieS1ub3c=");
    let one = one.replace("max_delay = \"1h\"", "max_delay = \"2h\"");
    daemon.configure(&format!("{one}{two}{}", hook("an0ther-in-a-path")));
    daemon.signal(Signal::HUP);
    let reload = wait_for(&daemon, "config.reload", 1).remove(0);
    assert_eq!(reload["actor"], sender());
    assert_eq!(reload["context"], json!({"via": "signal", "signal": "SIGHUP"}));
    assert_eq!(reload["targets"][0]["name"], daemon.config().display().to_string());
    let metadata = &reload["metadata"];
    assert_eq!(
        metadata["changed"],
        json!([
            "directory.one.poll.max_delay: 1h -> 2h",
            "webhook.w.secret (content)",
            "webhook.w.url",
        ])
    );
    assert_eq!(metadata["removed"], json!([]));
    assert!(metadata["added"].to_string().contains("directory.two.provider.bundle.path"));
    let created = wait_for(&daemon, "directory_sync.create", 1).remove(0);
    assert_eq!(created["targets"], json!([{"kind": "directory", "name": "two"}]));
    assert_eq!(created["actor"], sender());

    daemon.configure("[directory.one]\nprovider.bundle = { pahth = \"x\" }\n[webhook.w]\nsecret = \"whsec_c2VjcmV0LXR3by1pcy1sb25nLWVub3VnaC1ieS1ub3c=\"\n");
    daemon.signal(Signal::HUP);
    let refused = wait_for(&daemon, "config.reload_refused", 1).remove(0);
    assert_eq!(refused["metadata"]["outcome"], "refused");
    assert!(refused["metadata"]["mistakes"].to_string().contains("pahth"), "{refused}");

    daemon.configure(&one);
    daemon.signal(Signal::HUP);
    let deleted = wait_for(&daemon, "directory_sync.delete", 1).remove(0);
    assert_eq!(deleted["targets"], json!([{"kind": "directory", "name": "two"}]));
    assert_eq!(deleted["actor"], sender());

    let told = acts(&daemon, "*").iter().map(Value::to_string).collect::<String>() + &daemon.log();
    for secret in ["c2VjcmV0", "ken-in-a-path", "ther-in-a-path"] {
        assert!(!told.contains(secret), "{secret} was told");
    }
    assert_gapless(&daemon);
}

#[test]
fn polls_that_somebody_asks_for_are_recorded_with_their_uid_and_pid() {
    let mut daemon = Daemon::prepare("");
    daemon.configure(&bundle(&daemon, "corp"));
    daemon.resume();
    daemon.post("/v1/directories/corp/sync", &Value::Null);
    assert_eq!(daemon.request("POST", "/v1/directories/nobody/sync", None).status(), 404);
    daemon.signal(Signal::USR1);
    let syncs = wait_for(&daemon, "directory_sync.sync", 3);
    assert_eq!(outcomes(&syncs), ["requested", "refused", "requested"]);
    assert_eq!((&syncs[0]["actor"], &syncs[1]["actor"]), (&me(), &me()));
    assert_eq!(syncs[0]["context"], json!({"via": "socket"}));
    assert_eq!(syncs[2]["actor"], sender());
    assert_eq!(syncs[2]["targets"], json!([{"kind": "directory", "name": "corp"}]));
    // An idle poll that nobody asked for is no entry.
    assert_eq!(acts(&daemon, "*").len(), 4);
}

#[test]
fn of_two_approvals_one_is_applied_and_one_refused_and_both_outlive_a_kill() {
    let mut daemon = started();
    roster(&daemon, 10);
    daemon.sync("corp");
    let held = hold(&daemon);
    assert_eq!(decide(&daemon, &held, "approve"), 200);
    assert_ne!(decide(&daemon, &held, "approve"), 200);
    daemon.kill9();
    daemon.resume();

    let holds = acts(&daemon, "directory_sync.hold");
    assert_eq!(holds.len(), 1, "{holds:#?}");
    assert_eq!(holds[0]["actor"], json!({"kind": "daemon"}));
    assert_eq!(holds[0]["metadata"]["users_deleted"], 10);
    let approvals = acts(&daemon, "directory_sync.hold.approve");
    assert_eq!(outcomes(&approvals), ["applied", "refused"]);
    for approval in &approvals {
        assert_eq!(approval["actor"], me());
        let targets = json!([
            {"kind": "directory", "name": "corp"},
            {"kind": "hold", "name": held},
        ]);
        assert_eq!(approval["targets"], targets);
    }
    assert_eq!(approvals[0]["metadata"]["users_deleted"], 10);
    assert!(approvals[1]["metadata"]["reason"].is_string(), "{approvals:#?}");
    assert_eq!(daemon.get("/v1/users")["total"], 10);
    assert_eq!(acts(&daemon, "directory_sync.hold.clear").len(), 0);
    assert_gapless(&daemon);
}

#[test]
fn a_rejection_and_a_hold_that_clears_by_itself_are_recorded() {
    let daemon = started();
    roster(&daemon, 10);
    daemon.sync("corp");
    let held = hold(&daemon);
    assert_ne!(decide(&daemon, "nonsense", "reject"), 200);
    assert_eq!(decide(&daemon, &held, "reject"), 200);
    let rejections = acts(&daemon, "directory_sync.hold.reject");
    assert_eq!(outcomes(&rejections), ["refused", "applied"]);
    assert!(rejections.iter().all(|rejection| rejection["actor"] == me()));

    roster(&daemon, 20);
    daemon.sync("corp");
    let cleared = acts(&daemon, "directory_sync.hold.clear");
    assert_eq!(cleared.len(), 1, "{cleared:#?}");
    assert_eq!(cleared[0]["actor"], json!({"kind": "daemon"}));
    assert_eq!(cleared[0]["targets"][1], json!({"kind": "hold", "name": held}));
}

/// One request over TCP; its status.
fn over_tcp(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn a_failed_authentication_is_recorded_and_a_token_by_its_name() {
    let mut daemon = Daemon::prepare("");
    let (port, token) = (free_port(), write_private(daemon.dir().join("token"), "t0p-s3cret"));
    daemon.configure(&format!(
        "query.listen = \"127.0.0.1:{port}\"\nquery.token = {{ file = \"{}\" }}\n{}",
        token.display(),
        bundle(&daemon, "corp")
    ));
    daemon.resume();
    let request = |token: &str| {
        over_tcp(
            port,
            &format!(
                "POST /v1/directories/corp/sync HTTP/1.1\r\nhost: localhost\r\n\
                 authorization: Bearer {token}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            ),
        )
    };
    for _ in 0..20 {
        assert_eq!(request("gu3ssed"), "401");
    }
    let denied = wait_for(&daemon, "access.denied", 1);
    assert_eq!(denied[0]["actor"], json!({"kind": "stranger", "address": "127.0.0.1"}));
    assert_eq!(denied[0]["metadata"]["outcome"], "refused");

    assert_eq!(request("t0p-s3cret"), "202");
    let sync = acts(&daemon, "directory_sync.sync").remove(0);
    assert_eq!(sync["actor"], json!({"kind": "token", "name": "query.token"}));
    assert_eq!(sync["context"]["via"], "tcp");

    daemon.stop(PATIENCE);
    daemon.resume();
    let counts = acts(&daemon, "access.denied").into_iter();
    let counts: Vec<u64> = counts.filter_map(|entry| entry["metadata"]["count"].as_u64()).collect();
    assert_eq!(counts.iter().sum::<u64>(), 20, "all are counted: {counts:?}");
    assert!(counts.len() < 20, "not one by one: {counts:?}");
    let told = acts(&daemon, "*").iter().map(Value::to_string).collect::<String>() + &daemon.log();
    assert!(!told.contains("s3cret") && !told.contains("gu3ssed"));
}

#[test]
fn the_command_shows_the_trail_to_people_and_machines() {
    let daemon = started();
    roster(&daemon, 10);
    daemon.sync("corp");
    let held = hold(&daemon);
    let approved = daemon.command(&["approve", &held]);
    assert!(approved.status.success(), "{approved:?}");
    let shown = |words: &[&str]| {
        let output = daemon.command(&[&["audit"], words].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let uid = getuid().as_raw();
    let line = shown(&["--action", "*.approve"]);
    for part in
        [&format!("uid {uid} (pid "), "directory_sync.hold.approve", &held, "outcome=applied"]
    {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(line.lines().count(), 1);
    let all = shown(&["--json"]);
    let entries: Vec<Value> =
        all.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(entries[0]["action"], "daemon.start");
    assert_eq!(shown(&["--since", "1d"]).lines().count(), entries.len());
    assert_eq!(shown(&["--since", "2099-01-01T00:00:00Z"]), "");
    assert_eq!(shown(&["--after", "1", "--limit", "1"]).lines().count(), 1);
    assert_eq!(shown(&["--follow", "--limit", "2"]).lines().count(), 2);
}

#[test]
fn a_reader_that_waits_is_told_and_pages_come_in_order() {
    let daemon = started();
    let last = daemon.get("/v1/audit")["last_seq"].as_u64().unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| daemon.get(&format!("/v1/audit?after={last}&wait=30s")));
        daemon.post("/v1/directories/corp/sync", &Value::Null);
        let page = reader.join().unwrap();
        assert_eq!(page["entries"][0]["action"], "directory_sync.sync", "{page}");
    });
    let first = daemon.get("/v1/audit?limit=1");
    assert_eq!(first["next_cursor"], "1");
    assert_eq!(first["total"], last + 1);
    let next = daemon.get("/v1/audit?limit=1&cursor=1");
    assert_eq!(next["entries"][0]["seq"], 2);
}
