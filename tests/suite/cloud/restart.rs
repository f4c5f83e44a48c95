//! The real process, killed at every request of a crawl in turn: it goes on
//! where it was (known failure R16), unless the settings are others.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use super::{Member, Op, Vendor};
use crate::harness::daemon::Daemon;
use crate::harness::fold::Fold;
use crate::harness::vendor::{Hazard, Request, VendorServer, When};
use crate::harness::wait_until;

const PATIENCE: Duration = Duration::from_secs(60);
const GOING_ON: &str = "going on with the crawl";

/// How the process is told of a vendor.
pub struct Setting {
    pub kind: &'static str,
    /// The text of the provider's block, for that address.
    pub block: fn(&str) -> String,
    /// Which page of users is asked for, if any.
    pub page: fn(&Request) -> Option<String>,
}

/// Kills it when a request is under way, for each request of a crawl.
pub fn killed_everywhere<V: Vendor>(setting: &Setting) {
    let server = populated::<V>();
    let config = setting.config(&server.url(), "");
    let (mut requests, mut gone_on) = (1, 0);
    loop {
        let at = requests;
        let mut daemon = stalled(&server, &config, at);
        daemon.kill9();
        server.disarm();
        // How many requests a crawl takes depends on how long ago changes were.
        if server.log().len() <= at {
            break;
        }
        requests += 1;
        let before = setting.pages(&server);
        server.forget();
        daemon.resume();
        wait_committed(&daemon);
        let now = setting.pages(&server);
        let again: Vec<&String> = now.intersection(&before).collect();
        assert!(again.len() <= 1, "killed at {at}, read again: {again:?}\n{}", daemon.log());
        gone_on += usize::from(has_gone_on(&daemon));
        assert_exact(&daemon, &server);
        assert!(!log_of(&daemon).exists(), "the log outlives its crawl");
    }
    assert!(requests > 8 && gone_on * 2 > requests, "{gone_on} of {requests} crawls went on");
}

/// Other settings in the middle of a crawl, and after it; at a restart, and
/// while it runs.
pub fn other_settings_are_another_directory<V: Vendor>(setting: &Setting, other: &str) {
    let server = populated::<V>();
    let (config, other) = (setting.config(&server.url(), ""), setting.config(&server.url(), other));
    let mut daemon = stalled(&server, &config, 4);
    daemon.kill9();
    server.disarm();
    let before = setting.pages(&server);
    assert!(!before.is_empty());
    server.forget();
    daemon.configure(&other);
    daemon.resume();
    wait_committed(&daemon);
    assert!(daemon.log().contains("the directory's settings are others now"), "{}", daemon.log());
    assert!(setting.pages(&server).is_superset(&before), "pages of before were believed");

    let full = full_crawls(&daemon);
    daemon.sync("corp");
    assert_eq!(full_crawls(&daemon), full, "{}", daemon.log());
    daemon.configure(&config);
    daemon.signal(Signal::HUP);
    wait_until("a full crawl under the new settings", PATIENCE, || {
        if full_crawls(&daemon) == full + 1 { Ok(()) } else { Err(daemon.log()) }
    });
    // Polling otherwise is no other directory.
    let polls = |daemon: &Daemon| daemon.log().matches("polled directory=corp").count();
    let before = polls(&daemon);
    daemon.configure(&config.replace("min_delay = \"1h\"", "min_delay = \"50m\""));
    daemon.signal(Signal::HUP);
    wait_until("the poll after the reload", PATIENCE, || {
        if polls(&daemon) == before + 1 { Ok(()) } else { Err(daemon.log()) }
    });
    assert_eq!(full_crawls(&daemon), full + 1, "{}", daemon.log());
    assert_exact(&daemon, &server);
}

/// Reloads in the middle of a crawl, that change only how it is polled.
pub fn goes_on_over_reloads<V: Vendor>(setting: &Setting) {
    let server = populated::<V>();
    // Nothing is written before the poller is asked to stop.
    let config = setting.config(&server.url(), "").replace("\"0s\"", "\"1h\"");
    let daemon = stalled(&server, &config, 4);
    assert!(!log_of(&daemon).exists());
    for reloads in 1..=4 {
        let other = format!("min_delay = \"{reloads}m\"");
        daemon.configure(&config.replace("min_delay = \"1h\"", &other));
        daemon.signal(Signal::HUP);
        wait_until("the crawl to go on", PATIENCE, || {
            let log = daemon.log();
            if log.matches(GOING_ON).count() == reloads { Ok(()) } else { Err(log) }
        });
    }
    let before = setting.pages(&server);
    server.disarm();
    server.forget();
    wait_committed(&daemon);
    let again = setting.pages(&server).intersection(&before).count();
    assert!(again <= 1, "{again} pages were read again\n{}", daemon.log());
    assert_exact(&daemon, &server);
}

impl Setting {
    /// Polls at the start and when asked; each checkpoint is written.
    fn config(&self, url: &str, more: &str) -> String {
        format!(
            "[directory.corp]\npoll = {{ min_delay = \"1h\", max_delay = \"1h\", \
             checkpoint_every = \"0s\" }}\n[directory.corp.provider.{}]\n{}\n{more}\n",
            self.kind,
            (self.block)(url)
        )
    }

    /// The pages of users that were answered.
    fn pages<V: Vendor>(&self, server: &VendorServer<V>) -> BTreeSet<String> {
        let log = server.log().into_iter();
        let answered = log.filter(|seen| seen.status == 200 && seen.hazard.is_none());
        answered.filter_map(|seen| (self.page)(&seen.request)).collect()
    }
}

/// Eight users and three groups, two objects a page.
fn populated<V: Vendor>() -> VendorServer<V> {
    let mut vendor = V::default();
    vendor.page(2);
    (0..8).for_each(|user| vendor.apply(&Op::PutUser(user, 1)));
    for group in 0..3 {
        vendor.apply(&Op::PutGroup(group, 1));
        vendor.apply(&Op::AddMember(group, Member::User(group)));
        vendor.apply(&Op::AddMember(group, Member::User(group + 3)));
    }
    VendorServer::start(vendor)
}

/// A process whose first crawl got that many answers and waits for the next, or
/// needed no more.
fn stalled<V: Vendor>(server: &VendorServer<V>, config: &str, answers: usize) -> Daemon {
    server.forget();
    let armed = server.arm(Hazard::Stall, When::from(answers + 1));
    let daemon = Daemon::start(config);
    wait_until("the crawl to wait", PATIENCE, || {
        if server.fired(armed) > 0 || is_committed(&daemon) { Ok(()) } else { Err(daemon.log()) }
    });
    daemon
}

fn wait_committed(daemon: &Daemon) {
    wait_until("the crawl to end well", PATIENCE, || {
        if is_committed(daemon) { Ok(()) } else { Err(daemon.log()) }
    });
}

fn is_committed(daemon: &Daemon) -> bool {
    let status = daemon.directory("corp");
    !status["as_of"].is_null() && status["crawling"] == false
}

fn has_gone_on(daemon: &Daemon) -> bool {
    daemon.log().contains(GOING_ON)
}

fn full_crawls(daemon: &Daemon) -> usize {
    daemon
        .log()
        .lines()
        .filter(|line| line.contains("polled") && line.contains("crawl=full"))
        .count()
}

fn log_of(daemon: &Daemon) -> PathBuf {
    daemon.state().join("checkpoints").join("corp.crawl")
}

/// What it serves is what the vendor has.
fn assert_exact<V: Vendor>(daemon: &Daemon, server: &VendorServer<V>) {
    let snapshot = daemon.request("GET", "/v1/snapshot", None).text();
    let fold = Fold::of_snapshot(&snapshot).unwrap_or_else(|complaint| panic!("{complaint}"));
    let (held, there) = (&fold.directories["corp"], server.with(|vendor| vendor.roster()));
    assert!(held.users.keys().eq(there.users.keys()));
    assert!(held.groups.keys().eq(there.groups.keys()));
    let members = held.memberships.iter().map(|(group, _, id)| (group.clone(), id.clone()));
    assert_eq!(members.collect::<BTreeSet<_>>(), there.members);
}
