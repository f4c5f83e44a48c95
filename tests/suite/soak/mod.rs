//! Six days of the real process in 20 minutes: its clock runs 432 times as fast.
//! Two directories that change all the time, providers and a receiver that fail
//! now and then, restarts and kills, and questions all along: memory, descriptors
//! and disk have to level off, and nothing may be lost.
//!
//! `cargo test --test suite -- --ignored --nocapture soak::six_days`
//! prints the table that is in docs/performance.md and draws `target/soak.svg`.

mod plot;
mod troubles;

use std::collections::BTreeSet;
use std::time::Duration;

use rosterd::clock::{self, Instant};
use serde_json::Value;

use self::plot::Sample;
use self::troubles::Troubles;
use crate::cloud::Vendor;
use crate::cloud::entra::Contoso;
use crate::harness::daemon::Daemon;
use crate::harness::fold::Fold;
use crate::harness::receiver::Receiver;
use crate::harness::vendor::VendorServer;
use crate::harness::{http, wait_until, write_private};
use crate::population::generated::Population;

/// By how much the process' clock is faster.
const SPEED: u32 = 432;
const HOURS: u32 = 6 * 24;
const HOUR: Duration = Duration::from_micros(3_600_000_000 / SPEED as u64);
const PATIENCE: Duration = Duration::from_secs(120);
/// Of `corp`; `cloud` has a hundred.
const USERS: u32 = 1_000;

/// The process, and what it runs with.
struct Soak {
    daemon: Daemon,
    began: Instant,
    receiver: Receiver,
    cloud: VendorServer<Contoso>,
    asked: u64,
}

#[test]
#[ignore = "takes 20 minutes"]
fn six_days() {
    let mut soak = Soak::start();
    let mut troubles = Troubles::new(Population::of(USERS), &soak.daemon);
    let mut samples = vec![soak.sample(0)];
    println!("{}", Sample::HEAD);
    for hour in 1..=HOURS {
        troubles.hour(hour, &soak.cloud, &soak.receiver);
        match hour % 24 {
            6 | 15 => soak.restart(false),
            21 => soak.restart(true),
            _ => {}
        }
        let end = soak.began + HOUR * hour;
        while clock::instant() < end {
            soak.ask();
            std::thread::sleep(Duration::from_millis(100));
        }
        samples.push(soak.sample(hour));
        if hour.is_multiple_of(6) {
            println!("{}", samples[hour as usize]);
        }
    }
    troubles.end(&soak.cloud, &soak.receiver);
    soak.assert_exact(&troubles);
    println!("{} questions; {}", soak.asked, troubles.told());
    plot::draw(&samples);
    plot::assert_level(&samples);
}

impl Soak {
    fn start() -> Soak {
        let daemon = Daemon::prepare("");
        let receiver = Receiver::start_at_any_time();
        let mut contoso = Contoso::default();
        troubles::populate(&mut contoso);
        let cloud = VendorServer::start(contoso);
        let secret = write_private(daemon.dir().join("webhook.secret"), receiver.secret());
        let common = "min_delay = \"10m\", max_delay = \"30m\", request_timeout = \"10m\", \
                      stall_timeout = \"30m\", full_every = \"12h\"";
        let limits = "limits = { users_removed_percent_max = 100, groups_removed_percent_max = \
                      100, members_removed_percent_max = 100 }";
        daemon.configure(&format!(
            "[store]\njournal_retention = \"36h\"\nhistory_retention = \"36h\"\n\
             [directory.corp]\npoll = {{ {common} }}\n{limits}\n\
             provider.bundle = {{ path = \"{}\" }}\n\
             [directory.cloud]\npoll = {{ {common} }}\n{limits}\n\
             [directory.cloud.provider.entra]\n{}\n\
             [webhook.audit]\nurl = \"{}\"\nsecret = {{ file = \"{}\" }}\nallow_private = true\n\
             timeout = \"59s\"\nretry_schedule = [\"1m\", \"5m\", \"30m\", \"2h\", \"5h\", \"10h\"]\n",
            troubles::bundle_of(&daemon).display(),
            crate::cloud::entra::block(&cloud.url(), "quota_share = 1\nverify_within = \"12h\"\n"),
            receiver.url(),
            secret.display(),
        ));
        let began = clock::instant();
        let mut soak = Soak { daemon, began, receiver, cloud, asked: 0 };
        Troubles::new(Population::of(USERS), &soak.daemon);
        soak.run();
        soak.daemon.wait_ready();
        soak
    }

    /// Starts the process with a clock that goes on where the last one's would be.
    fn run(&mut self) {
        let ahead = self.began.elapsed() * (SPEED - 1);
        self.daemon.wrap([
            "env".to_owned(),
            format!("LD_PRELOAD={}", crate::faults::clock_library().display()),
            format!("FAKETIME=+{} x{SPEED}", ahead.as_secs()),
        ]);
        self.daemon.resume();
    }

    fn restart(&mut self, kill: bool) {
        if kill {
            self.daemon.kill9();
        } else {
            self.daemon.stop(PATIENCE);
        }
        self.run();
    }

    /// What clients ask: checks, lists, the past, the journal.
    fn ask(&mut self) {
        let number = self.asked;
        let path = match number % 8 {
            0 => "/v1/users?limit=50".to_owned(),
            1 => "/v1/groups?limit=50".to_owned(),
            2 => format!("/v1/events?after={}&limit=100", self.receiver.count().max(200) - 200),
            3 => "/v1/directories".to_owned(),
            4 => "/metrics".to_owned(),
            5 if number.is_multiple_of(40) => "/v1/snapshot".to_owned(),
            _ => format!("/v1/check?user=corp/u{}&group=corp/nobody", number % 50),
        };
        let answer = http::request(&self.daemon.socket(), "GET", &path, None);
        let status =
            answer.unwrap_or_else(|e| panic!("{path}: {e}\n{}", self.daemon.log())).status();
        assert!([200, 404, 410].contains(&status), "{path}: {status}");
        self.asked += 1;
    }

    fn sample(&self, hour: u32) -> Sample {
        let pid = self.daemon.pid().as_raw_pid();
        let resident = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let resident = resident.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = resident.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("one's own child");
        Sample {
            hour,
            resident_kb: kilobytes.expect("a number"),
            descriptors: open.count() as u64,
            disk_kb: on_disk(&self.daemon.state()) / 1024,
            events: self.daemon.last_seq(),
            received: self.receiver.count() as u64,
        }
    }

    /// All faults are over: every copy is its provider's, and the receiver has
    /// all events, each once and in order.
    fn assert_exact(&self, troubles: &Troubles) {
        for name in ["corp", "cloud"] {
            self.daemon.post(&format!("/v1/directories/{name}/sync"), &Value::Null);
        }
        wait_until("both directories to be as they are at their providers", PATIENCE, || {
            let snapshot = self.daemon.request("GET", "/v1/snapshot", None).text();
            let fold = Fold::of_snapshot(&snapshot)?;
            let ids = |name: &str| -> BTreeSet<(String, String)> {
                let roster = &fold.directories[name];
                let pairs = roster.memberships.iter();
                pairs.map(|(group, _, id)| (group.clone(), id.clone())).collect()
            };
            if ids("corp") != troubles.memberships() {
                return Err("corp has other memberships".to_owned());
            }
            let there = self.cloud.with(|vendor| vendor.roster());
            if ids("cloud") != there.members {
                return Err("cloud has other memberships".to_owned());
            }
            Ok(())
        });
        wait_until("the receiver to have everything", PATIENCE, || {
            let (has, last) = (self.receiver.count() as u64, self.daemon.last_seq());
            if has == last { Ok(()) } else { Err(format!("{has} of {last}")) }
        });
        self.receiver.assert_no_complaints();
        let events = self.receiver.events();
        let fold = Fold::of(&events).unwrap_or_else(|complaint| panic!("{complaint}"));
        let snapshot = self.daemon.request("GET", "/v1/snapshot", None).text();
        let shown = Fold::of_snapshot(&snapshot).unwrap_or_else(|complaint| panic!("{complaint}"));
        assert!(fold.trimmed().directories == shown.trimmed().directories, "the events say else");
    }
}

/// Bytes that the files of a folder take.
fn on_disk(folder: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => on_disk(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        // Files come and go.
        Err(_) => 0,
    });
    sizes.sum()
}
