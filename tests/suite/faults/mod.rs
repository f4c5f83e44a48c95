//! Faults, tried for real: what breaks between the real process and the world
//! below it, and what operators and clients see of it.
//!
//! In each: a clear error, the last good answers or an honest refusal, nothing
//! lost, and recovery without help when the fault ends.

mod clock;
mod descriptors;
mod disk;
mod network;
mod store_files;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use rosterd::clock::Timestamp;
use serde_json::{Value, json};

pub use self::clock::library as clock_library;
use crate::harness::daemon::Daemon;
use crate::harness::fold::Fold;
use crate::harness::{http, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);

/// A directory of one file: everybody in it is in the group `crew`.
pub struct Crew {
    path: PathBuf,
    names: BTreeSet<String>,
}

impl Crew {
    /// With so many people, who are `u0`, `u1` and so on.
    pub fn new(daemon: &Daemon, people: usize) -> Crew {
        let names = (0..people).map(|number| format!("u{number}")).collect();
        let crew = Crew { path: daemon.dir().join("crew.json"), names };
        crew.write();
        crew
    }

    /// The directory `corp`, polled all the time.
    pub fn block(&self) -> String {
        format!(
            "[directory.corp]\npoll = {{ min_delay = \"200ms\", max_delay = \"500ms\" }}\n\
             provider.bundle = {{ path = \"{}\" }}\n",
            self.path.display()
        )
    }

    pub fn join(&mut self, name: &str) {
        self.join_all([name.to_owned()]);
    }

    pub fn join_all(&mut self, names: impl IntoIterator<Item = String>) {
        self.names.extend(names);
        self.write();
    }

    fn write(&self) {
        let users: Vec<Value> =
            self.names.iter().map(|name| json!({"id": name, "username": name})).collect();
        let memberships: Vec<Value> =
            self.names.iter().map(|name| json!({"group": "crew", "user": name})).collect();
        let content = json!({
            "users": users,
            "groups": [{"id": "crew", "name": "crew"}],
            "memberships": memberships,
        });
        let draft = self.path.with_extension("draft");
        crate::harness::write(&draft, content.to_string());
        std::fs::rename(draft, &self.path).expect("one's own directory");
    }

    pub fn names(&self) -> BTreeSet<String> {
        self.names.clone()
    }
}

/// The names of those who are in `crew`, as the socket says.
pub fn crew(daemon: &Daemon) -> BTreeSet<String> {
    held(daemon).into_iter().map(|(_, member)| member).collect()
}

/// Pairs of group and member, by id, as the socket says.
pub fn held(daemon: &Daemon) -> BTreeSet<(String, String)> {
    let snapshot = daemon.request("GET", "/v1/snapshot", None).text();
    let fold = Fold::of_snapshot(&snapshot).unwrap_or_else(|complaint| panic!("{complaint}"));
    let Some(roster) = fold.directories.get("corp") else { return BTreeSet::new() };
    let pair = |(group, _, member): &(String, &str, String)| (group.clone(), member.clone());
    roster.memberships.iter().map(pair).collect()
}

/// Whether `u0` is in `crew`: the answer, which may be a refusal.
pub fn check(daemon: &Daemon, more: &str) -> http::Message {
    daemon.request("GET", &format!("/v1/check?user=u0&group=crew{more}"), None)
}

/// Waits, without asking for a poll, until the socket shows them.
pub fn wait_for_crew(daemon: &Daemon, names: &BTreeSet<String>) {
    wait_until("the directory to be as it is at the provider", PATIENCE, || {
        let found = crew(daemon);
        if found == *names { Ok(()) } else { Err(format!("{found:?}\n{}", daemon.log())) }
    });
}

/// Waits, without asking for a poll, until polls go well again.
pub fn wait_healthy(daemon: &Daemon) -> Value {
    wait_for_status(daemon, "polls to go well", |status| status["state"] == "healthy")
}

/// Waits until a poll has failed, and hands the status back.
pub fn wait_failing(daemon: &Daemon) -> Value {
    wait_for_status(daemon, "a poll to fail", |status| status["state"] == "failing")
}

pub fn wait_for_status(daemon: &Daemon, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    wait_until(what, PATIENCE, || {
        let status = daemon.directory("corp");
        if is_so(&status) { Ok(status) } else { Err(format!("{status}\n{}", daemon.log())) }
    })
}

/// Waits for a word in the log.
pub fn wait_for_log(daemon: &Daemon, words: &str) {
    wait_until(&format!("`{words}` in the log"), PATIENCE, || {
        let log = daemon.log();
        if log.contains(words) { Ok(()) } else { Err(log) }
    });
}

/// The answers are those of the last good poll, and say so: their age is what
/// has passed since it, at least.
pub fn assert_last_good(daemon: &Daemon, as_of: &Value) {
    let asked = rosterd::clock::now();
    let status = daemon.directory("corp");
    assert_eq!(status["as_of"], *as_of, "{status}\n{}", daemon.log());
    let then = Timestamp::parse(as_of.as_str().expect("it was synced")).expect("a moment");
    let age = status["age_seconds"].as_u64().expect("an age");
    assert!(age >= then.seconds_until(asked), "{status}");
}

/// The events from the first on add up to what the socket shows, and end with
/// a recovery for each failure that was told.
pub fn assert_nothing_lost(daemon: &Daemon) {
    crate::end_to_end::assert_journal_is_the_picture(daemon);
    let mut failing = false;
    for event in daemon.events(0) {
        match event["type"].as_str().unwrap_or_default() {
            "directory.failing" => {
                assert!(!failing, "told twice: {event}");
                failing = true;
            }
            "directory.recovered" => {
                assert!(failing, "recovered from nothing: {event}");
                failing = false;
            }
            _ => {}
        }
    }
    assert!(!failing, "its recovery was never told");
}

/// Lines of the log that hold all of these words.
pub fn lines(daemon: &Daemon, words: &[&str]) -> String {
    let log = daemon.log();
    let found = log.lines().filter(|line| words.iter().all(|word| line.contains(word)));
    found.fold(String::new(), |mut all, line| {
        writeln!(all, "{line}").expect("a string takes all");
        all
    })
}
