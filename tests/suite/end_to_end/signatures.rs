//! What receivers that others wrote get: signatures that their libraries
//! verify, also while a secret is rotated, and the bodies of Ory Polis.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::bundle;
use crate::harness::daemon::Daemon;
use crate::harness::http::Message;
use crate::harness::recorder::{self, Recorder};
use crate::harness::{clients, secrets, wait_until, write, write_private};

const PATIENCE: Duration = Duration::from_secs(60);

/// People whose objects JavaScript would write differently if it could.
fn odd_people() -> String {
    json!({
        "users": [
            {"id": "a", "username": "ada", "given_name": "Ada", "10": "ten", "9": 1.0, "q": 1e3,
             "big": 9_007_199_254_740_993_u64, "é\u{2028}": "\u{7f}/\u{1}"},
            {"id": "b", "username": "bob", "active": false},
        ],
        "groups": [{"id": "c", "name": "crew"}, {"id": "d", "name": "all"}],
        "memberships": [{"group": "c", "user": "a"}, {"group": "d", "member_group": "c"}],
    })
    .to_string()
}

fn odd_bundle(path: &Path) -> String {
    format!(
        "[directory.corp]\ntenant = \"acme\"\nproduct = \"vpn\"\nkeep_raw = true\n\
         poll = {{ min_delay = \"1h\", max_delay = \"1h\" }}\n\
         provider.bundle = {{ path = \"{}\" }}\n",
        path.display()
    )
}

fn webhook(name: &str, receiver: &Recorder, secret: &Path, more: &str) -> String {
    format!(
        "[webhook.{name}]\nurl = \"{}\"\nsecret = {{ file = \"{}\" }}\nallow_private = true\n{more}\n",
        receiver.url(),
        secret.display()
    )
}

#[test]
fn libraries_of_others_verify_every_delivery_and_nothing_else() {
    let (standard, polis) = (Recorder::start(), Recorder::start());
    let (newest, older) = (secrets::webhook(), secrets::webhook());
    let shared = secrets::password();
    let mut daemon = Daemon::prepare("");
    let people = write(daemon.dir().join("people.json"), odd_people());
    let both = write_private(daemon.dir().join("both"), format!("{newest}\n{older}\n"));
    let one = write_private(daemon.dir().join("one"), &shared);
    daemon.configure(&format!(
        "{}{}{}",
        odd_bundle(&people),
        webhook("ours", &standard, &both, ""),
        webhook("theirs", &polis, &one, "format = \"polis\""),
    ));
    daemon.resume();
    daemon.wait_ready();
    let events = daemon.events(0);
    let is_theirs = |event: &&Value| {
        let kind = event["type"].as_str().expect("a type");
        kind.starts_with("user.") || (kind.starts_with("group.") && !kind.contains("group_"))
    };
    let ours = standard.wait_for(events.len());
    let theirs = polis.wait_for(events.iter().filter(is_theirs).count());

    assert_told(&theirs, &events.iter().filter(is_theirs).collect::<Vec<_>>());
    let lines = ours.iter().map(|each| recorder::line("standard", each, &[&newest, &older]));
    let lines: String =
        lines.chain(theirs.iter().map(|each| recorder::line("polis", each, &[&shared]))).collect();
    // Each secret is right once and wrong once, and a stranger's is wrong.
    let (ours, theirs) = (5 * ours.len(), 3 * theirs.len());
    let python = clients::run("webhooks.py", &[], &lines);
    assert_eq!(python, json!({ "right": ours + theirs }));
    let javascript = clients::run("webhooks.mjs", &[], &lines);
    assert_eq!(javascript, json!({ "right": 2 * ours + theirs }));
}

/// The deliveries in the format of Polis say what these events of ours say.
fn assert_told(theirs: &[Message], events: &[&Value]) {
    assert_eq!(theirs.len(), events.len());
    for (delivery, event) in theirs.iter().zip(events) {
        let body = delivery.json();
        assert_eq!(delivery.header("webhook-id"), event["id"].as_str());
        assert_eq!(body["event"], event["type"]);
        assert_eq!((&body["tenant"], &body["product"]), (&json!("acme"), &json!("vpn")));
        assert_eq!(body["directory_id"], "corp");
        let (user, group) = (&event["data"]["user"], &event["data"]["group"]);
        let kind = event["type"].as_str().expect("a type");
        if kind.starts_with("group.user_") {
            assert_eq!(
                (&body["data"]["id"], &body["data"]["group"]["id"]),
                (&user["id"], &group["id"])
            );
        } else {
            let object = if user.is_null() { group } else { user };
            assert_eq!(body["data"]["id"], object["id"]);
        }
    }
    let ada = theirs.iter().map(Message::json).find(|body| body["data"]["id"] == "a");
    let ada = ada.expect("ada is told");
    assert_eq!((&ada["data"]["first_name"], &ada["data"]["email"]), (&json!("Ada"), &json!("ada")));
    assert_eq!(ada["data"]["raw"]["big"], "9007199254740993");
}

#[test]
fn a_rotated_secret_signs_beside_the_old_one_until_that_is_dropped() {
    let receiver = Recorder::start();
    let old = secrets::webhook();
    let mut daemon = Daemon::prepare("");
    let file = write_private(daemon.dir().join("secret"), format!("{old}\n"));
    let corp = bundle(&daemon, "corp");
    daemon.configure(&format!("{corp}{}", webhook("audit", &receiver, &file, "")));
    daemon.resume();
    daemon.wait_ready();
    let mut told = daemon.events(0).len();
    let first = receiver.wait_for(told);
    assert!(verifies(&old, first.last().expect("some")));

    let rotated = command(&daemon, &["--json", "webhook", "rotate", "audit"]);
    assert!(rotated.status.success(), "{rotated:?}");
    let answer: Value = serde_json::from_slice(&rotated.stdout).expect("JSON");
    let new = secrets::note(answer["secret"].as_str().expect("a secret").to_owned());
    assert_eq!(answer["kept"], 1);
    let both = next_delivery(&daemon, &receiver, &mut told);
    assert!(verifies(&old, &both) && verifies(&new, &both), "{both:?}");

    let finished = command(&daemon, &["webhook", "rotate", "audit", "--finish"]);
    assert!(finished.status.success(), "{finished:?}");
    let only = next_delivery(&daemon, &receiver, &mut told);
    assert!(!verifies(&old, &only) && verifies(&new, &only), "{only:?}");
    assert_eq!(std::fs::read_to_string(&file).expect("readable"), format!("{new}\n"));
}

/// Reloads, makes one more event, and waits until it is delivered.
fn next_delivery(daemon: &Daemon, receiver: &Recorder, told: &mut usize) -> Message {
    let before = daemon.log().len();
    daemon.signal(Signal::HUP);
    wait_until("the reload", PATIENCE, || {
        let said = daemon.log().split_off(before);
        if said.contains("reloaded") { Ok(()) } else { Err(said) }
    });
    let path = daemon.dir().join("corp.json");
    let content = std::fs::read_to_string(&path).expect("readable");
    let mut content: Value = serde_json::from_str(&content).expect("JSON");
    let users = content["users"].as_array_mut().expect("a list");
    users.push(json!({ "id": format!("new-{told}"), "username": format!("new-{told}") }));
    write(&path, content.to_string());
    let events = daemon.sync_events("corp");
    assert!(!events.is_empty());
    *told += events.len();
    receiver.wait_for(*told).last().expect("some").clone()
}

fn verifies(secret: &str, delivery: &Message) -> bool {
    let mut headers = ::http::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let value = delivery.header(name).expect("a signed delivery");
        headers.insert(name, value.parse().expect("a header"));
    }
    let webhook = standardwebhooks::Webhook::new(secret).expect("a secret");
    webhook.verify(&delivery.body, &headers).is_ok()
}

fn command(daemon: &Daemon, words: &[&str]) -> Output {
    let config = daemon.config();
    let config = ["--config", config.to_str().expect("a path in UTF-8")];
    daemon.command(&[&config, words].concat())
}

#[test]
fn rotate_keeps_what_it_is_told_and_refuses_what_it_cannot_do() {
    let receiver = Recorder::start();
    let (old, shared) = (secrets::webhook(), secrets::password());
    let daemon = Daemon::prepare("");
    let ours = write_private(daemon.dir().join("ours"), &old);
    let theirs = write_private(daemon.dir().join("theirs"), &shared);
    let blocks = format!(
        "{}{}{}[webhook.set]\nurl = \"https://hooks.example.org/\"\n",
        bundle(&daemon, "corp"),
        webhook("ours", &receiver, &ours, ""),
        webhook("theirs", &receiver, &theirs, "format = \"polis\""),
    );
    daemon.configure(&format!("{blocks}secret = {{ file = \"{}\" }}\n", ours.display()));

    let kept = command(&daemon, &["webhook", "rotate", "ours", "--keep", "0"]);
    let new = text(&kept.stdout);
    secrets::note(new.trim().to_owned());
    assert_eq!(
        std::fs::read_to_string(&ours).expect("readable"),
        new,
        "only the secret is printed"
    );
    assert!(new.starts_with("whsec_") && !text(&kept.stderr).contains("whsec_"));
    assert!(text(&kept.stderr).contains("webhook pause ours"), "{}", text(&kept.stderr));

    let polis = command(&daemon, &["webhook", "rotate", "theirs"]);
    let new = secrets::note(text(&polis.stdout).trim().to_owned());
    assert_eq!(new.len(), 64);
    assert_eq!(std::fs::read_to_string(&theirs).expect("readable"), format!("{new}\n"));

    assert_refused(&daemon, &["theirs", "--finish"], "only one secret can sign");
    assert_refused(&daemon, &["other"], "the configuration has: ours, set, theirs");
    assert_refused(&daemon, &["ours", "--keep", "5"], "5 is not in 0..5");
    // Of all variables this one is set everywhere, and long enough.
    daemon.configure(&format!("{blocks}secret = {{ env = \"PATH\" }}\nformat = \"polis\"\n"));
    assert_refused(&daemon, &["set"], "the environment variable PATH, which cannot be written");
    daemon.configure(&format!("{blocks}secret = {{ env = \"NOT_SET_BY_ANYBODY\" }}\n"));
    assert_refused(&daemon, &["set"], "the configuration has mistakes");
}

fn assert_refused(daemon: &Daemon, words: &[&str], expected: &str) {
    let outcome = command(daemon, &[&["webhook", "rotate"], words].concat());
    assert_eq!(outcome.status.code(), Some(2), "{words:?}: {outcome:?}");
    assert!(outcome.stdout.is_empty(), "{words:?}: {outcome:?}");
    let said = text(&outcome.stderr);
    assert!(said.contains(expected), "{words:?}: {said}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
