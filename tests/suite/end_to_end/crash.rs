//! SIGKILL at random moments, fifty times, while a real OpenLDAP changes:
//! nothing is lost, nothing invented, no id has two bodies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::{assert_journal_is_the_picture, openldap};
use crate::harness::daemon::Daemon;
use crate::harness::fold::Fold;
use crate::harness::http;
use crate::harness::ldif::Shape;
use crate::harness::receiver::{Answer, Receiver};
use crate::harness::slapd::{Options, Slapd};
use crate::harness::{wait_until, write_private};

const KILLS: usize = 50;

#[test]
fn fifty_kills_lose_nothing_invent_nothing_and_repeat_no_id() {
    let shape = Shape { users: 300, groups: 30, groups_per_user: 3, everyone: 0, nested: true };
    let slapd = Slapd::start(Options { shape, ..Options::default() });
    let receiver = Receiver::start();
    let mut turn = 0_u32;
    receiver.answer(move |_| {
        turn += 1;
        match turn % 50 {
            17 => Answer::Status(500, Vec::new()),
            33 => Answer::AcceptAndHangUp,
            _ => Answer::accept(),
        }
    });
    let mut daemon = Daemon::prepare("");
    let secret = write_private(daemon.dir().join("webhook.secret"), receiver.secret());
    let often = openldap("corp", &slapd).replace("min_delay = \"1h\"", "min_delay = \"1s\"");
    daemon.configure(&format!(
        "{often}limits = {{ users_removed_percent_max = 100, groups_removed_percent_max = 100, \
         members_removed_percent_max = 100 }}\n\
         [webhook.audit]\nurl = \"{}\"\nsecret = {{ file = \"{}\" }}\nallow_private = true\n\
         retry_schedule = [\"1s\", \"1s\", \"1s\"]\n",
        receiver.url(),
        secret.display()
    ));

    let done = AtomicBool::new(false);
    let mut seen = BTreeMap::new();
    std::thread::scope(|scope| {
        scope.spawn(|| change_until(&slapd, &done));
        for _ in 0..KILLS {
            live_and_die(&mut daemon, &mut seen);
        }
        done.store(true, Ordering::Relaxed);
    });

    daemon.resume();
    daemon.wait_ready();
    daemon.sync_events("corp");
    let events = daemon.events(0);
    remember(&mut seen, &events);
    assert_eq!(seen.len(), events.len(), "an event that was once read is gone");
    assert_journal_is_the_picture(&daemon);
    assert_same_as_server(&events, &slapd);

    // How much is left to deliver is chance, and each failure costs a second:
    // what is shown from here on is that the rest arrives.
    receiver.answer(|_| Answer::accept());
    let last = events.last().and_then(|event| event["seq"].as_u64()).unwrap_or(0);
    wait_until("the receiver to have everything", Duration::from_secs(120), || {
        let has = receiver.events().len() as u64;
        if has == last { Ok(()) } else { Err(format!("{has} of {last}\n{}", daemon.log())) }
    });
    receiver.assert_no_complaints();
    assert_eq!(receiver.events(), events);
    println!("{KILLS} kills, {last} events, {} deliveries", receiver.attempts());
}

/// Starts the daemon, reads what it tells, and kills it at a random moment:
/// now before it has opened its store, now in the middle of a crawl.
fn live_and_die(daemon: &mut Daemon, seen: &mut BTreeMap<u64, Value>) {
    let mut process = daemon.spawn();
    let moment = rosterd::clock::instant() + Duration::from_millis(fastrand::u64(0..1_500));
    while rosterd::clock::instant() < moment {
        assert!(process.ended().is_none(), "it ended by itself:\n{}", daemon.log());
        let after = seen.keys().next_back().copied().unwrap_or(0);
        // Sometimes from the beginning: what was told must read the same for ever.
        let after = if fastrand::u8(..) < 32 { 0 } else { after };
        let path = format!("/v1/events?after={after}&limit=1000");
        match http::request(&daemon.socket(), "GET", &path, None) {
            Ok(page) if page.status() == 200 => {
                remember(seen, page.json()["events"].as_array().map_or(&[], Vec::as_slice));
            }
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    process.kill9();
}

fn remember(seen: &mut BTreeMap<u64, Value>, events: &[Value]) {
    for event in events {
        let seq = event["seq"].as_u64().expect("an event has a seq");
        let first = seen.entry(seq).or_insert_with(|| event.clone());
        assert_eq!(first, event, "seq {seq} has two bodies");
    }
    let mut ids: Vec<&str> = seen.values().filter_map(|event| event["id"].as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), seen.len(), "an id stands for two events");
}

/// Changes of every kind, until told to stop; refused ones (a member who is
/// one already) do not matter.
fn change_until(slapd: &Slapd, done: &AtomicBool) {
    let base = slapd.base();
    let mut next = 0_usize;
    while !done.load(Ordering::Relaxed) {
        next += 1;
        let (user, group) = (fastrand::usize(0..300), fastrand::usize(0..30));
        let (user_dn, group_dn) = (slapd.user_dn(user), slapd.group_dn(group));
        let changes = match fastrand::u8(0..8) {
            0 => format!("dn: {user_dn}\nchangetype: modify\nreplace: sn\nsn: S{next}\n"),
            1 => format!(
                "dn: uid=n{next},ou=people,{base}\nobjectClass: inetOrgPerson\nuid: n{next}\n\
                 cn: N\nsn: N\n\ndn: {group_dn}\nchangetype: modify\nadd: member\n\
                 member: uid=n{next},ou=people,{base}\n"
            ),
            2 => format!("dn: uid=n{},ou=people,{base}\nchangetype: delete\n", next / 2),
            3 => format!(
                "dn: cn=m{next},ou=groups,{base}\nobjectClass: groupOfNames\ncn: m{next}\n\
                 member: {user_dn}\nmember: {group_dn}\n"
            ),
            4 => format!("dn: cn=m{},ou=groups,{base}\nchangetype: delete\n", next / 2),
            5 => format!(
                "dn: uid=n{},ou=people,{base}\nchangetype: modrdn\nnewrdn: uid=r{next}\n\
                 deleteoldrdn: 1\n",
                next / 2
            ),
            6 => format!("dn: {group_dn}\nchangetype: modify\ndelete: member\nmember: {user_dn}\n"),
            _ => format!("dn: {group_dn}\nchangetype: modify\nadd: member\nmember: {user_dn}\n"),
        };
        slapd.try_modify(&changes);
    }
}

/// What the events add up to is what the server holds.
fn assert_same_as_server(events: &[Value], slapd: &Slapd) {
    let told = &Fold::of(events).expect("it folded before").directories["corp"];
    let name = |object: &Value, field: &str| object[field].as_str().unwrap_or("").to_owned();
    let users: BTreeMap<&String, String> =
        told.users.iter().map(|(id, user)| (id, name(user, "username"))).collect();
    let groups: BTreeMap<&String, String> =
        told.groups.iter().map(|(id, group)| (id, name(group, "name"))).collect();
    let mut memberships = BTreeSet::new();
    for (group, kind, member) in &told.memberships {
        let member = if *kind == "user" {
            format!("uid={},ou=people", users[member])
        } else {
            format!("cn={},ou=groups", groups[member])
        };
        memberships.insert((groups[group].clone(), member));
    }
    let found = slapd.people_and_groups();
    assert_eq!(users.values().cloned().collect::<BTreeSet<_>>(), found.users);
    assert_eq!(groups.values().cloned().collect::<BTreeSet<_>>(), found.groups);
    assert_eq!(memberships, found.memberships);
}
