//! A clock that is set back by an hour, and ahead by four hundred days, while
//! the process runs.

use std::path::PathBuf;

use rosterd::clock::Timestamp;
use serde_json::Value;

use super::{Crew, PATIENCE, assert_nothing_lost, check, crew, wait_for_crew, wait_healthy};
use crate::harness::daemon::Daemon;
use crate::harness::receiver::Receiver;
use crate::harness::{wait_until, write, write_private};

/// Debian's libfaketime.
pub fn library() -> PathBuf {
    let folder = format!("/usr/lib/{}-linux-gnu/faketime", std::env::consts::ARCH);
    let library = PathBuf::from(folder).join("libfaketimeMT.so.1");
    assert!(library.exists(), "libfaketime is missing: `tests/run` installs it");
    library
}

/// The clock of one process.
struct Clock {
    file: PathBuf,
}

impl Clock {
    fn of(daemon: &mut Daemon) -> Clock {
        let clock = Clock { file: daemon.dir().join("offset") };
        clock.set("+0");
        daemon.wrap([
            "env".to_owned(),
            format!("LD_PRELOAD={}", library().display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", clock.file.display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
            // What has passed is told apart from what the clock says.
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
            "DONT_FAKE_MONOTONIC=1".to_owned(),
        ]);
        clock
    }

    fn set(&self, offset: &str) {
        let draft = write(self.file.with_extension("draft"), offset);
        std::fs::rename(draft, &self.file).expect("one's own directory");
    }
}

const JUMPS: [&str; 6] = ["-3600", "+0", "+34560000", "+0", "+34560000", "-3600"];

#[test]
fn a_clock_that_jumps_stops_no_poll_and_forgets_nothing() {
    let receiver = Receiver::start();
    let mut daemon = Daemon::prepare("");
    let clock = Clock::of(&mut daemon);
    let secret = write_private(daemon.dir().join("webhook.secret"), receiver.secret());
    let mut people = Crew::new(&daemon, 3);
    daemon.configure(&format!(
        "{}[webhook.audit]\nurl = \"{}\"\nsecret = {{ file = \"{}\" }}\nallow_private = true\n\
         retry_schedule = [\"1s\", \"1s\", \"1s\"]\n",
        people.block(),
        receiver.url(),
        secret.display()
    ));
    daemon.resume();
    daemon.wait_ready();
    for (round, jump) in JUMPS.iter().enumerate() {
        clock.set(jump);
        // Never negative, and never an answer that only claims to be fresh.
        let answer = check(&daemon, "&max_age=1h");
        match answer.status() {
            200 => assert!(age(&answer.json()) <= 3600, "{jump}: {}", answer.text()),
            status => assert_eq!((status, &answer.json()["title"]), (503, &"stale".into())),
        }
        people.join(&format!("late{round}"));
        wait_for_crew(&daemon, &people.names());
        // The poll that came over the jump may have ended before it.
        wait_until("a picture that is confirmed by the clock of now", PATIENCE, || {
            let status = wait_healthy(&daemon);
            match status["age_seconds"].as_u64().is_some_and(|age| age < 60) {
                true => Ok(()),
                false => Err(format!("{jump}: {status}")),
            }
        });
        assert_eq!(check(&daemon, "&max_age=1h").status(), 200, "{jump}");
    }
    clock.set("+0");
    people.join("last");
    wait_for_crew(&daemon, &people.names());
    assert_nothing_lost(&daemon);
    // Receivers refuse what was signed at another time, and get it again.
    wait_until("the receiver to have everything", PATIENCE, || {
        let (has, last) = (receiver.events().len() as u64, daemon.last_seq());
        if has == last { Ok(()) } else { Err(format!("{has} of {last}\n{}", daemon.log())) }
    });
    assert_eq!(receiver.events(), daemon.events(0));
}

fn age(answer: &Value) -> u64 {
    answer["age_seconds"].as_u64().unwrap_or_else(|| panic!("an age: {answer}"))
}

#[test]
fn an_age_that_the_clock_cannot_tell_is_stale_after_a_start() {
    let mut daemon = Daemon::prepare("");
    let clock = Clock::of(&mut daemon);
    let people = Crew::new(&daemon, 3);
    let rarely = people.block().replace("200ms", "1h").replace("500ms", "1h");
    daemon.configure(&rarely);
    daemon.resume();
    daemon.wait_ready();
    daemon.stop(PATIENCE);
    // The provider is gone, so that nothing confirms the picture.
    let source = daemon.dir().join("crew.json");
    let away = daemon.dir().join("away.json");
    std::fs::rename(&source, &away).expect("one's own directory");
    clock.set("-3600");
    daemon.resume();
    assert_eq!(crew(&daemon), people.names());
    let status = daemon.directory("corp");
    assert!(status["age_seconds"].is_null(), "{status}");
    let as_of = Timestamp::parse(status["as_of"].as_str().expect("restored")).expect("a moment");
    assert!(as_of > Timestamp::default());
    assert_eq!(check(&daemon, "").json()["member"], true);
    let refused = check(&daemon, "&max_age=1000h");
    assert_eq!(refused.status(), 503, "{}", refused.text());
    assert!(refused.text().contains("the clock was set back"), "{}", refused.text());
    // As soon as a poll confirms it, the age is known again.
    std::fs::rename(&away, &source).expect("one's own directory");
    daemon.post("/v1/directories/corp/sync", &Value::Null);
    wait_until("a fresh answer", PATIENCE, || {
        let answer = check(&daemon, "&max_age=1h");
        if answer.status() == 200 { Ok(()) } else { Err(answer.text()) }
    });
}
