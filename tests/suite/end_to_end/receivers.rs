//! What receivers of the real process end up with: killed, reloaded and told
//! badly, the process still tells each of them everything and nothing twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering as Atomic};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{assert_journal_is_the_picture, bundle};
use crate::harness::daemon::Daemon;
use crate::harness::fold::Fold;
use crate::harness::http;
use crate::harness::receiver::{Answer, Ordering, Receiver};
use crate::harness::{wait_until, write, write_private};

const PATIENCE: Duration = Duration::from_secs(120);

/// An endpoint's block, with room for what the test adds.
fn webhook(daemon: &Daemon, name: &str, receiver: &Receiver, more: &str) -> String {
    let secret = write_private(daemon.dir().join(name), receiver.secret());
    format!(
        "[webhook.{name}]\nurl = \"{}\"\nsecret = {{ file = {secret:?} }}\n\
         allow_private = true\n{more}\n",
        receiver.url()
    )
}

fn wait_for_all(daemon: &Daemon, receiver: &Receiver) {
    let last = daemon.last_seq();
    wait_until("the receiver to have everything", PATIENCE, || {
        let has = receiver.count() as u64;
        if has == last { Ok(()) } else { Err(format!("{has} of {last}\n{}", daemon.log())) }
    });
}

#[test]
fn w1_a_dead_endpoint_costs_the_others_nothing() {
    let (dead, alive) = (Receiver::start(), Receiver::start());
    dead.answer(|_| Answer::Silence);
    let mut daemon = Daemon::prepare("");
    daemon.configure(
        &(bundle(&daemon, "corp")
            + &webhook(&daemon, "dead", &dead, "timeout = \"1m\"")
            + &webhook(&daemon, "alive", &alive, "")),
    );
    daemon.resume();
    daemon.wait_ready();
    wait_until("a delivery to the dead one", PATIENCE, || {
        if dead.attempts() > 0 { Ok(()) } else { Err("none yet") }
    });
    for round in 0..20 {
        let path = daemon.dir().join("corp.json");
        let groups: Vec<Value> =
            (0..round).map(|n| json!({"id": n.to_string(), "members": []})).collect();
        write(path, json!({"users": [], "groups": groups}).to_string());
        daemon.sync_events("corp");
        wait_for_all(&daemon, &alive);
    }
    // All of that went by while the first delivery to the other was under way.
    assert_eq!((dead.attempts(), dead.count()), (1, 0));
    alive.assert_no_complaints();
}

#[test]
fn w2_a_dead_endpoint_blocks_no_events_of_another_directory() {
    let (dead, alive) = (Receiver::start(), Receiver::start());
    dead.answer(|_| Answer::Silence);
    let mut daemon = Daemon::prepare("");
    daemon.configure(
        &(bundle(&daemon, "one")
            + &bundle(&daemon, "two")
            + &webhook(&daemon, "dead", &dead, "timeout = \"1m\"\ndirectories = [\"one\"]")
            + &webhook(&daemon, "alive", &alive, "directories = [\"two\"]")),
    );
    daemon.resume();
    daemon.wait_ready();
    wait_until("a delivery to the dead one", PATIENCE, || {
        if dead.attempts() > 0 { Ok(()) } else { Err("none yet") }
    });
    let of_two = |event: &Value| event["directory"] == "two";
    let expected: Vec<Value> = daemon.events(0).into_iter().filter(of_two).collect();
    assert!(!expected.is_empty());
    wait_until("all of the other directory", PATIENCE, || {
        let has = alive.count();
        if has == expected.len() { Ok(()) } else { Err(has) }
    });
    assert_eq!(alive.events(), expected);
    assert_eq!((dead.attempts(), dead.count()), (1, 0));
}

#[test]
fn w3_every_2xx_is_enough() {
    let receiver = Receiver::start();
    let mut turn = 0;
    receiver.answer(move |_| {
        turn += 1;
        Answer::Status([204, 202, 200, 299][turn % 4], Vec::new())
    });
    let mut daemon = Daemon::prepare("");
    daemon.configure(&(bundle(&daemon, "corp") + &webhook(&daemon, "w", &receiver, "")));
    daemon.resume();
    daemon.wait_ready();
    wait_for_all(&daemon, &receiver);
    assert!(daemon.stop(PATIENCE).success());
    assert_eq!(receiver.attempts(), receiver.count());
}

#[test]
fn w8_the_process_delivers_to_no_private_address_unless_allowed() {
    let receiver = Receiver::start();
    let daemon = Daemon::prepare("");
    let (directory, webhook) = (bundle(&daemon, "corp"), webhook(&daemon, "w", &receiver, "# end"));
    for url in ["https://127.0.0.1", "https://[::ffff:10.0.0.1]", "https://2130706433"] {
        let block = webhook
            .replace(&receiver.url(), &format!("{url}/hook"))
            .replace("allow_private = true\n", "");
        daemon.configure(&(directory.clone() + &block));
        let before = daemon.log().len();
        let mut process = daemon.spawn();
        assert!(!process.wait(PATIENCE).success(), "{url} was taken");
        let said = daemon.log().split_off(before);
        assert!(said.contains("leads to this host or a private network"), "{url}: {said}");
    }
    assert_eq!(receiver.attempts(), 0);
}

const KILLS: usize = 20;
const USERS: usize = 40;
const GROUPS: usize = 8;

/// The endpoints, and in which order they promise to tell.
const MANNERS: [(&str, &str, Ordering); 3] = [
    ("ordered", "", Ordering::BySeq),
    ("per_user", "ordering = \"per_user\"\nconcurrency = 4", Ordering::PerObject),
    ("batches", "batch_max = 10", Ordering::BySeq),
];

/// The whole directory, which changes at random.
#[derive(Default)]
struct Crew {
    users: BTreeMap<usize, u32>,
    groups: BTreeMap<usize, BTreeSet<(bool, usize)>>,
}

impl Crew {
    fn change(&mut self) {
        let (user, group) = (fastrand::usize(0..USERS), fastrand::usize(0..GROUPS));
        match fastrand::u8(0..10) {
            0..3 => drop(self.users.insert(user, fastrand::u32(..))),
            3 => drop(self.users.remove(&user)),
            4 => drop(self.groups.remove(&group)),
            5 => drop(self.groups.entry(group).or_default()),
            6 => {
                // Only upwards: a circle would be an error.
                let inner = fastrand::usize(0..=group);
                if inner < group && self.groups.contains_key(&inner) {
                    self.groups.entry(group).or_default().insert((true, inner));
                }
            }
            7 => drop(self.groups.entry(group).or_default().remove(&(false, user))),
            _ => drop(self.groups.entry(group).or_default().insert((false, user))),
        }
    }

    fn to_json(&self) -> String {
        let users = self
            .users
            .iter()
            .map(|(n, title)| json!({"id": format!("u{n}"), "title": title.to_string()}));
        let member = |&(is_group, n): &(bool, usize)| {
            let there =
                if is_group { self.groups.contains_key(&n) } else { self.users.contains_key(&n) };
            let (kind, letter) = if is_group { ("group", "g") } else { ("user", "u") };
            there.then(|| json!({"kind": kind, "id": format!("{letter}{n}")}))
        };
        let groups = self.groups.iter().map(|(n, members)| {
            let members: Vec<Value> = members.iter().filter_map(member).collect();
            json!({"id": format!("g{n}"), "members": members})
        });
        let (users, groups): (Vec<Value>, Vec<Value>) = (users.collect(), groups.collect());
        json!({"users": users, "groups": groups}).to_string()
    }
}

#[test]
fn w7_twenty_kills_leave_every_receiver_with_the_directory() {
    let receivers = MANNERS.map(|(_, _, ordering)| Receiver::start_with(ordering));
    let moods = receivers.each_ref().map(moody);
    let mut daemon = Daemon::prepare("");
    let file = daemon.dir().join("corp.json");
    let config = |timeout: usize| {
        let schedule = vec!["\"50ms\", \"200ms\""; 100].join(", ");
        let block = |((name, more, _), receiver): (&(&str, &str, Ordering), &Receiver)| {
            let more = format!("timeout = \"{timeout}s\"\nretry_schedule = [{schedule}]\n{more}");
            webhook(&daemon, name, receiver, &more)
        };
        let blocks: String = MANNERS.iter().zip(&receivers).map(block).collect();
        format!(
            "[directory.corp]\npoll = {{ min_delay = \"1s\" }}\n\
             provider.bundle = {{ path = {file:?} }}\n\
             limits = {{ users_removed_percent_max = 100, groups_removed_percent_max = 100, \
             members_removed_percent_max = 100, group_members_removed_percent_max = 100 }}\n{blocks}"
        )
    };
    let configs = [config(1), config(2)];
    let mut crew = Crew::default();
    change(&mut crew, &file);
    daemon.configure(&configs[0]);

    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Atomic::Relaxed) {
                change(&mut crew, &file);
            }
        });
        for kill in 0..KILLS {
            moods.iter().for_each(|mood| mood.store(fastrand::u8(..), Atomic::Relaxed));
            live_and_die(&daemon, &configs[kill % 2]);
        }
        done.store(true, Atomic::Relaxed);
    });

    moods.iter().for_each(|mood| mood.store(WELL, Atomic::Relaxed));
    daemon.resume();
    daemon.wait_ready();
    daemon.sync_events("corp");
    assert_journal_is_the_picture(&daemon);
    let snapshot = daemon.request("GET", "/v1/snapshot", None).text();
    let held = Fold::of_snapshot(&snapshot).unwrap();
    for ((name, _, _), receiver) in MANNERS.iter().zip(&receivers) {
        wait_for_all(&daemon, receiver);
        receiver.assert_no_complaints();
        let mut told = Fold::default();
        for event in receiver.arrivals() {
            told.take(&event).unwrap_or_else(|complaint| panic!("{name}: {complaint}"));
        }
        assert_eq!(told.trimmed(), held, "{name}");
    }
    assert_idle_polls_send_nothing(&mut daemon, &receivers);
}

/// Behaves as its mood says: well, out of order for a while, or now this, now that.
fn moody(receiver: &Receiver) -> Arc<AtomicU8> {
    let mood = Arc::new(AtomicU8::new(WELL));
    let felt = mood.clone();
    let mut turn = 0_u8;
    receiver.answer(move |_| {
        turn = turn.wrapping_add(1);
        match felt.load(Atomic::Relaxed) {
            0..40 => Answer::HangUp,
            40..60 => Answer::Status(503, vec!["retry-after: 0".to_owned()]),
            60..75 => Answer::AcceptInSilence,
            75..120 => Answer::AcceptAndHangUp,
            120..200 if turn.is_multiple_of(5) => Answer::Status(500, Vec::new()),
            120..200 if turn.is_multiple_of(7) => Answer::AcceptAndHangUp,
            _ => Answer::accept(),
        }
    });
    mood
}

const WELL: u8 = 255;

fn change(crew: &mut Crew, file: &std::path::Path) {
    (0..fastrand::u8(1..20)).for_each(|_| crew.change());
    let new = write(file.with_extension("new"), crew.to_json());
    std::fs::rename(new, file).expect("renames in one folder");
    std::thread::sleep(Duration::from_millis(20));
}

/// Starts the daemon, has it reload now and then, and kills it at a random
/// moment: now before it has opened its store, now in the middle of a delivery.
fn live_and_die(daemon: &Daemon, config: &str) {
    let mut process = daemon.spawn();
    let moment = rosterd::clock::instant() + Duration::from_millis(fastrand::u64(0..2_000));
    let reload = rosterd::clock::instant() + Duration::from_millis(fastrand::u64(0..1_000));
    let mut reloaded = false;
    while rosterd::clock::instant() < moment {
        assert!(process.ended().is_none(), "it ended by itself:\n{}", daemon.log());
        // Who answers has its signals in hand.
        let answers = http::request(&daemon.socket(), "GET", "/healthz", None).is_ok();
        if answers && !reloaded && rosterd::clock::instant() > reload {
            daemon.configure(config);
            process.signal(Signal::HUP);
            reloaded = true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    process.kill9();
}

/// As many polls as there are in a minute, and a restart.
fn assert_idle_polls_send_nothing(daemon: &mut Daemon, receivers: &[Receiver]) {
    let attempts = || receivers.iter().map(Receiver::attempts).collect::<Vec<_>>();
    let (before, last) = (attempts(), daemon.last_seq());
    let sealed = |daemon: &Daemon| daemon.directory("corp")["crawls_sealed"].as_u64().unwrap_or(0);
    let goal = sealed(daemon) + 60;
    while sealed(daemon) < goal {
        daemon.sync("corp");
    }
    assert_eq!(daemon.last_seq(), last, "w6: nothing changed, and it was told");
    assert!(daemon.stop(PATIENCE).success());
    daemon.resume();
    daemon.wait_ready();
    daemon.sync("corp");
    assert!(daemon.stop(PATIENCE).success());
    assert_eq!(attempts(), before, "w6: nothing changed, and it was told");
}
