//! List, then watch: the feed of the real daemon while its directories change
//! all the time.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::bundle;
use crate::harness::daemon::Daemon;
use crate::harness::fold::Fold;
use crate::harness::{http, write};

const STEPS: usize = 24;
const NAMES: [&str; 2] = ["one", "two"];

/// Two directories of two tenants, read once.
fn started() -> Daemon {
    let mut daemon = Daemon::prepare("");
    let config: String = NAMES.iter().map(|name| bundle(&daemon, name)).collect();
    let tenant = "[directory.two]\ntenant = \"zeta\"\n";
    daemon.configure(&config.replace("[directory.two]\n", tenant));
    NAMES.iter().for_each(|name| change(&daemon, name, 0));
    daemon.resume();
    daemon.wait_ready();
    daemon
}

/// Each step a user comes, one is renamed, one leaves the group and one is back.
fn change(daemon: &Daemon, name: &str, step: usize) {
    let count = 20 + step;
    let users: Vec<Value> = (0..count)
        .map(|n| {
            let title = if n == 0 { format!("title {step}") } else { "none".to_owned() };
            json!({"id": format!("u{n}"), "username": format!("user{n}"), "title": title})
        })
        .collect();
    let members: Vec<Value> = (0..count)
        .filter(|n| n % 20 != step % 20)
        .map(|n| json!({"group": "g", "user": format!("u{n}")}))
        .collect();
    let groups = [json!({"id": "g", "name": "group"})];
    let content = json!({"users": users, "groups": groups, "memberships": members});
    let file = daemon.dir().join(format!("{name}.json"));
    let fresh = write(file.with_extension("new"), content.to_string());
    std::fs::rename(fresh, file).unwrap();
}

fn snapshot(daemon: &Daemon, query: &str) -> Fold {
    let answer = daemon.request("GET", &format!("/v1/snapshot{query}"), None);
    assert_eq!(answer.status(), 200, "{}", answer.text());
    Fold::of_snapshot(&answer.text()).unwrap_or_else(|complaint| panic!("{complaint}"))
}

/// Again and again until the changes end: a snapshot, then what `watch` gives
/// up to the seq of a later snapshot, which must be the same.
fn list_then_watch(
    daemon: &Daemon,
    done: &AtomicBool,
    query: &str,
    watch: impl Fn(&mut Fold, u64),
) -> usize {
    let mut compared = 0;
    loop {
        let is_last = done.load(Ordering::SeqCst);
        let mut fold = snapshot(daemon, query);
        for _ in 0..4 {
            let later = snapshot(daemon, query);
            watch(&mut fold, later.seq);
            assert_eq!(fold.seq, later.seq);
            assert_eq!(fold.clone().trimmed(), later.trimmed(), "at {}", fold.seq);
            compared += 1;
        }
        if is_last {
            return compared;
        }
    }
}

fn apply(fold: &mut Fold, event: &Value) {
    fold.apply(event).unwrap_or_else(|complaint| panic!("{complaint}"));
}

fn by_long_poll(daemon: &Daemon, fold: &mut Fold, until: u64) {
    while fold.seq < until {
        let limit = (until - fold.seq).min(3);
        let page = daemon.get(&format!("/v1/events?after={}&limit={limit}&wait=30s", fold.seq));
        page["events"].as_array().unwrap().iter().for_each(|event| apply(fold, event));
        assert_eq!(page["seq"], fold.seq);
    }
}

fn by_stream(daemon: &Daemon, fold: &mut Fold, until: u64) {
    let path = format!("/v1/events?after={}", fold.seq);
    let count = usize::try_from(until - fold.seq).unwrap();
    let stream = http::event_stream(&daemon.socket(), &path).unwrap();
    stream.take(count).for_each(|event| apply(fold, &event));
}

/// Of one directory: the seqs between are others'.
fn by_filter(daemon: &Daemon, fold: &mut Fold, until: u64) {
    let path = format!("/v1/events?after={}&limit=1000&tenant=zeta", fold.seq);
    for event in daemon.get(&path)["events"].as_array().unwrap() {
        let seq = event["seq"].as_u64().unwrap();
        assert!(seq > fold.seq && event["directory"] == "two", "{event}");
        if seq <= until {
            fold.seq = seq - 1;
            apply(fold, event);
        }
    }
    fold.seq = until;
}

#[test]
fn w4_a_watch_from_the_seq_of_a_snapshot_misses_nothing_and_repeats_nothing() {
    let (daemon, done) = (started(), AtomicBool::new(false));
    let (daemon, done) = (&daemon, &done);
    std::thread::scope(|scope| {
        let readers = [
            scope.spawn(|| {
                list_then_watch(daemon, done, "", |fold, until| by_long_poll(daemon, fold, until))
            }),
            scope.spawn(|| {
                list_then_watch(daemon, done, "", |fold, until| by_stream(daemon, fold, until))
            }),
            scope.spawn(|| {
                let query = "?directory=two";
                list_then_watch(daemon, done, query, |fold, until| by_filter(daemon, fold, until))
            }),
        ];
        for step in 1..=STEPS {
            let name = NAMES[step % 2];
            change(daemon, name, step);
            assert_eq!(daemon.sync(name)["consecutive_failures"], 0);
        }
        done.store(true, Ordering::SeqCst);
        for reader in readers {
            assert!(reader.join().unwrap() >= 8);
        }
    });
    assert!(daemon.last_seq() > STEPS as u64 * 3, "the directories did change");
    super::assert_journal_is_the_picture(daemon);
}

#[test]
fn the_command_shows_what_was_asked_for() {
    let daemon = started();
    let shown = |words: &[&str]| -> Vec<Value> {
        let output = daemon.command(&[&["events", "--json"], words].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        serde_json::Deserializer::from_str(&text).into_iter().map(Result::unwrap).collect()
    };
    let wanted = |event: &&Value| event["type"] == "user.created" && event["directory"] == "two";
    let all = daemon.events(0);
    let expected: Vec<Value> = all.iter().filter(wanted).cloned().collect();
    assert_eq!(expected.len(), 20);
    assert_eq!(shown(&["--type", "user.*", "--directory", "two"]), expected);
    assert_eq!(shown(&["--type", "user.*,group.updated", "--tenant", "zeta"]), expected);
    let first = &expected[0];
    let after = first["seq"].to_string();
    let words = ["--type=user.created", "--product=default", "--tenant=zeta", "--limit=3"];
    let next = shown(&[&words[..], &["--after", &after]].concat());
    assert_eq!(next, expected[1..4]);
    assert!(shown(&["--tenant", "nobody"]).is_empty());
    let output = daemon.command(&["events", "--type", "usr.*"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("`usr.*`"), "{said}");
    assert!(said.contains("user.created"), "the hint names what there is: {said}");
}
