//! Looking after a webhook with the command, from the first refusal to a log
//! that is cleared: what an operator sees, asks, and leaves in the audit trail.

use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::bundle;
use crate::harness::daemon::Daemon;
use crate::harness::{http, secrets, wait_until, write, write_private};

const PATIENCE: Duration = Duration::from_secs(60);

/// A receiver that answers what it is told to, and keeps all it was sent.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    refuses: bool,
    /// `webhook-id` and body of each delivery that was accepted.
    accepted: Vec<(String, String)>,
}

impl Sink {
    /// Starts one that refuses everything; its address.
    fn start() -> (Sink, String) {
        let sink = Sink::default();
        sink.refuse(true);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let url = format!("http://{}/hook", listener.local_addr().expect("it is bound"));
        let serving = sink.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let sink = serving.clone();
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().expect("a descriptor"));
                    let mut stream = stream;
                    while let Ok(message) = http::read(&mut reader) {
                        if stream.write_all(sink.take(&message).as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        (sink, url)
    }

    fn refuse(&self, refuses: bool) {
        self.0.lock().expect("no panic under this lock").refuses = refuses;
    }

    fn take(&self, message: &http::Message) -> String {
        let mut kept = self.0.lock().expect("no panic under this lock");
        let (status, body) =
            if kept.refuses { ("503 x", "out of paper\u{1b}") } else { ("200 OK", "thanks") };
        if !kept.refuses {
            let id = message.header("webhook-id").expect("each has one").to_owned();
            kept.accepted.push((id, message.text()));
        }
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    fn accepted(&self) -> Vec<(String, String)> {
        self.0.lock().expect("no panic under this lock").accepted.clone()
    }

    /// The events accepted so far, without tests.
    fn seqs(&self) -> Vec<u64> {
        let bodies = self.accepted().into_iter().map(|(_, body)| body);
        let parsed = bodies.map(|body| serde_json::from_str(&body).expect("JSON"));
        parsed.filter_map(|event: Value| event["seq"].as_u64()).collect()
    }
}

/// The words of `rosterd webhook`, its output, and how it ended.
fn webhook(daemon: &Daemon, arguments: &[&str]) -> (i32, String) {
    let output = daemon.command(&[&["webhook"], arguments].concat());
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().expect("it ended"), String::from_utf8(text).expect("UTF-8"))
}

fn done(daemon: &Daemon, arguments: &[&str]) -> String {
    let (code, text) = webhook(daemon, arguments);
    assert_eq!(code, 0, "{arguments:?}: {text}\n{}", daemon.log());
    text
}

fn wait_for(daemon: &Daemon, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    wait_until(what, PATIENCE, || {
        let status = daemon.get("/v1/webhooks/audit");
        if is_so(&status) { Ok(status) } else { Err(format!("{status}\n{}", daemon.log())) }
    })
}

fn log(daemon: &Daemon) -> Vec<Value> {
    let page = daemon.get("/v1/webhooks/audit/deliveries?limit=1000");
    assert_eq!(page["total"].as_u64(), page["deliveries"].as_array().map(|all| all.len() as u64));
    page["deliveries"].as_array().expect("a list").clone()
}

/// A user more in the directory: one event.
fn hire(daemon: &Daemon, id: &str) -> u64 {
    let path = daemon.dir().join("corp.json");
    let text = std::fs::read_to_string(&path).expect("it is there");
    let mut content: Value = serde_json::from_str(&text).expect("JSON");
    let users = content["users"].as_array_mut().expect("a list");
    users.push(json!({"id": id, "username": id}));
    write(path, content.to_string());
    let events = daemon.sync_events("corp");
    assert_eq!(events.len(), 1, "{events:?}");
    events[0]["seq"].as_u64().expect("a seq")
}

fn started(url: &str) -> Daemon {
    let mut daemon = Daemon::prepare("");
    let secret = write_private(daemon.dir().join("webhook.secret"), secrets::webhook());
    daemon.configure(&format!(
        "{}[webhook.audit]\nurl = \"{url}\"\nsecret = {{ file = \"{}\" }}\nallow_private = true\n\
         retry_schedule = [\"100ms\", \"1h\"]\nlog_deliveries = true\n",
        bundle(&daemon, "corp"),
        secret.display()
    ));
    daemon.resume();
    daemon.wait_ready();
    daemon
}

#[test]
fn an_operator_sees_and_steers_every_delivery() {
    let (sink, url) = Sink::start();
    let mut daemon = started(&url);

    // It fails, and the log tells how.
    wait_for(&daemon, "two failures", |status| status["consecutive_failures"] == 2);
    let list = done(&daemon, &["list"]);
    for expected in ["WEBHOOK", "failing", &url, "audit: it answers 503"] {
        assert!(list.contains(expected), "{expected} in {list}");
    }
    let attempts = log(&daemon);
    assert_eq!(attempts.len(), 2, "{attempts:#?}");
    assert_eq!(attempts[0]["id"], attempts[1]["id"]);
    assert_eq!((&attempts[0]["attempt"], &attempts[1]["attempt"]), (&json!(2), &json!(1)));
    for attempt in &attempts {
        assert_eq!((&attempt["status"], &attempt["accepted"]), (&json!(503), &json!(false)));
        assert!(attempt["answer"].as_str().is_some_and(|text| text.contains("out of paper")));
        assert!(attempt["latency_ms"].is_u64(), "{attempt}");
    }
    let shown = done(&daemon, &["deliveries", "audit"]);
    assert!(shown.contains("out of paper") && !shown.contains('\u{1b}'), "{shown}");
    let (code, text) = webhook(&daemon, &["test", "audit"]);
    assert!(code == 1 && text.contains("503"), "{code} {text}");

    // Paused, and sent to again.
    done(&daemon, &["pause", "audit"]);
    assert_eq!(daemon.get("/v1/webhooks/audit")["state"], "paused");
    sink.refuse(false);
    done(&daemon, &["resume", "audit"]);
    let last = daemon.last_seq();
    wait_for(&daemon, "all delivered", |status| {
        status["state"] == "delivering" && status["last_delivered_seq"] == last
    });
    assert_eq!(sink.seqs(), (1..=last).collect::<Vec<_>>());
    let shown = done(&daemon, &["show", "audit"]);
    assert!(shown.contains("settings: log deliveries"), "{shown}");
    assert!(done(&daemon, &["test", "audit"]).contains("accepted"));

    // The same once more.
    let before = sink.accepted();
    assert!(before.last().expect("the test").1.contains("webhook.test"));
    assert!(done(&daemon, &["replay", "audit", "--from", "2", "--to", "4"]).contains("2 to 4"));
    wait_for(&daemon, "the replay", |status| status["replaying"] == json!([]));
    assert_eq!(sink.accepted()[before.len()..], before[1..4]);
    let (code, text) = webhook(&daemon, &["replay", "audit", "--from", "999"]);
    assert!(code == 2 && text.contains("999"), "{code} {text}");
    let (code, text) = webhook(&daemon, &["pause", "audti"]);
    assert!(code == 2 && text.contains("did you mean audit?"), "{code} {text}");

    // What is skipped is never sent.
    done(&daemon, &["pause", "audit"]);
    let skipped = hire(&daemon, "zoe");
    wait_for(&daemon, "one waits", |status| status["backlog"] == 1);
    done(&daemon, &["resume", "audit", "--skip"]);
    let later = hire(&daemon, "zac");
    wait_for(&daemon, "the later one", |status| status["last_delivered_seq"] == later);
    let seqs = sink.seqs();
    assert!(seqs.contains(&later) && !seqs.contains(&skipped), "{seqs:?}");

    // The log outlives the process, until it is cleared.
    let kept = log(&daemon);
    assert_eq!(kept.len(), sink.accepted().len() + 3, "each attempt is there");
    daemon.stop(PATIENCE);
    daemon.resume();
    assert_eq!(log(&daemon), kept);
    let cleared = done(&daemon, &["clear", "audit"]);
    assert!(cleared.contains(&format!("{} attempts", kept.len())), "{cleared}");
    assert_eq!(log(&daemon), Vec::<Value>::new());

    assert_eq!(
        decisions(&daemon),
        [
            "webhook.test failed",
            "webhook.pause applied",
            "webhook.resume applied",
            "webhook.test applied",
            "webhook.replay requested",
            "webhook.replay refused",
            "webhook.pause refused",
            "webhook.pause applied",
            "webhook.resume applied",
            "webhook.clear applied",
        ]
    );
}

/// What the audit trail has of webhooks, all of it by this user over the socket.
fn decisions(daemon: &Daemon) -> Vec<String> {
    let page = daemon.get("/v1/audit?limit=1000&action=webhook.*");
    let entries = page["entries"].as_array().expect("a list");
    let uid = rustix::process::getuid().as_raw();
    let decision = |entry: &Value| {
        assert_eq!(
            (&entry["actor"]["uid"], &entry["context"]["via"]),
            (&uid.into(), &json!("socket"))
        );
        assert_eq!(entry["targets"][0]["kind"], "webhook");
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{entry}")).to_owned();
        format!("{} {}", text(&entry["action"]), text(&entry["metadata"]["outcome"]))
    };
    entries.iter().map(decision).collect()
}

#[test]
fn an_endpoint_that_left_the_configuration_leaves_no_log() {
    let (sink, url) = Sink::start();
    sink.refuse(false);
    let mut daemon = started(&url);
    let last = daemon.last_seq();
    wait_for(&daemon, "all delivered", |status| status["last_delivered_seq"] == last);
    assert!(!log(&daemon).is_empty());
    let with = std::fs::read_to_string(daemon.config()).expect("it is there");
    let without = bundle(&daemon, "corp");
    daemon.configure(&without);
    daemon.signal(rustix::process::Signal::HUP);
    wait_until("the reload", PATIENCE, || {
        match daemon.request("GET", "/v1/webhooks/audit", None).status() {
            404 => Ok(()),
            status => Err(format!("{status}\n{}", daemon.log())),
        }
    });
    daemon.stop(PATIENCE);
    write_private(daemon.config(), with);
    daemon.resume();
    wait_for(&daemon, "it is back", |status| status["state"] == "delivering");
    assert_eq!(log(&daemon), Vec::<Value>::new());
}
