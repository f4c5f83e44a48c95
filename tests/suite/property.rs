//! Whatever happens, the folded events equal the committed directory, and what
//! is committed is a state that the provider had (invariants 1, 5 and 6).
//!
//! A scripted provider lives through random changes, errors, half crawls,
//! panics, expired cursors and mass deletions, while the daemon's own parts
//! (poller, reconciler, guard, ledger, store, view) follow it and are thrown
//! away and reopened in between. What the guard holds never shows, what it
//! does not hold does, and an approval leads to what the provider had.

mod large;
mod receivers;
mod restarts;
mod world;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use rosterd::index::DirectoryView;
use rosterd::model::{Caller, Event, EventKind, Payload, Removal, Value};
use rosterd::provider::{Extent, Start};
use rosterd::store::record;
use rosterd::sync::guard::{Limits, OnHold};
use rosterd::sync::poller::HoldError;

use crate::harness::parts::{Manner, Parts, Receiver};
use crate::harness::roster::Roster;
use world::{LENS, Member, Mode, Op, World, mode, op, open};

#[derive(Clone, Debug)]
enum Step {
    Change(Vec<Op>),
    Crawl(Mode),
    /// Fails like that, and goes on in another process.
    Abandon(Mode),
    /// The process ends in the middle of a crawl, after so many items.
    CutShort(u8),
    Restart,
    /// Approves what is held, if anything is.
    Approve,
    Reject,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(op(), 1..6).prop_map(Step::Change),
        6 => mode().prop_map(Step::Crawl),
        1 => mode().prop_map(Step::Abandon),
        2 => (0..12u8).prop_map(Step::CutShort),
        1 => Just(Step::Restart),
        1 => Just(Step::Approve),
        1 => Just(Step::Reject),
    ]
}

/// What is committed is the provider's directory but for what is held.
fn assert_apart(parts: &Parts, before: &Roster, expected: &Roster, when: &str) {
    let got = parts.roster();
    let Some(hold) = parts.ledger.progress("corp").hold else {
        return assert_eq!(&got, expected, "nothing is held {when}");
    };
    if hold.whole.is_some() {
        return assert_eq!(&got, before, "everything is held {when}");
    }
    let held = Held::of(&hold.pending.removals, &parts.ledger.directory("corp"));
    let mut users = expected.users.clone();
    users.extend(
        held.users.iter().chain(&held.disabled).map(|id| (id.clone(), before.users[id].clone())),
    );
    assert_eq!(got.users, users, "{held:?} are held {when}");
    let mut groups = expected.groups.clone();
    groups.extend(held.groups.iter().map(|id| (id.clone(), before.groups[id].clone())));
    assert_eq!(got.groups, groups, "{held:?} are held {when}");
    let lives = |id: &String| users.contains_key(id) || groups.contains_key(id);
    let stays = |(group, member): &&(String, String)| {
        let held_ends = held.groups.contains(group)
            || held.groups.contains(member)
            || held.users.contains(member)
            || held.members.contains(&(group.clone(), member.clone()));
        held_ends && lives(group) && lives(member)
    };
    let mut members = expected.members.clone();
    members.extend(before.members.iter().filter(stays).cloned());
    assert_eq!(got.members, members, "{held:?} are held {when}");
}

/// Held removals by ids.
#[derive(Debug, Default)]
struct Held {
    users: BTreeSet<String>,
    disabled: BTreeSet<String>,
    groups: BTreeSet<String>,
    members: BTreeSet<(String, String)>,
}

impl Held {
    fn of(removals: &BTreeSet<Removal>, view: &DirectoryView) -> Held {
        let id = |record: Option<&[u8]>| record::id_of(record.unwrap()).unwrap().to_owned();
        let user = |slot| id(view.user_record(slot));
        let group = |slot| id(view.group_record(slot));
        let mut held = Held::default();
        for removal in removals {
            match *removal {
                Removal::User(slot) => held.users.insert(user(slot)),
                Removal::Disabled(slot) => held.disabled.insert(user(slot)),
                Removal::Group(slot) => held.groups.insert(group(slot)),
                Removal::Member { group: of, member } => {
                    let member = match member {
                        rosterd::model::Member::User(slot) => user(slot),
                        rosterd::model::Member::Group(slot) => group(slot),
                    };
                    held.members.insert((group(of), member))
                }
            };
        }
        held
    }
}

async fn run(steps: Vec<Step>, manner: Manner) {
    let folder = tempfile::tempdir().unwrap();
    let world = Arc::new(Mutex::new(World::default()));
    let mut parts = open(folder.path(), &world, manner);
    let mut receiver = Receiver::new(LENS);
    // What the provider had when it was last read.
    let mut read = Roster::default();
    for step in steps.into_iter().chain([Step::Crawl(Mode::Well), Step::Crawl(Mode::Well)]) {
        match step {
            Step::Change(ops) => {
                let mut world = world.lock().unwrap();
                for op in &ops {
                    world.apply(op);
                }
            }
            Step::Crawl(mode) => {
                let before = parts.roster();
                world.lock().unwrap().mode = Some(mode);
                let outcome = parts.sync().await;
                read = world.lock().unwrap().roster();
                match outcome {
                    Ok(()) => assert_apart(&parts, &before, &read, &format!("after {mode:?}")),
                    Err(_) => assert_eq!(parts.roster(), before, "unsealed, and yet visible"),
                }
                // The next poll goes well and recovers from whatever this one did.
                let before = parts.roster();
                parts.sync().await.unwrap();
                assert_apart(&parts, &before, &read, &format!("when recovered from {mode:?}"));
                let quiet = parts.ledger.store().last_seq();
                parts.sync().await.unwrap();
                assert_eq!(parts.ledger.store().last_seq(), quiet, "an idle poll told something");
            }
            Step::Abandon(mode) => {
                world.lock().unwrap().mode = Some(mode);
                let _well_or_badly = parts.sync().await;
                parts.close().await;
                parts = open(folder.path(), &world, manner);
                read = recover(&parts, &world).await;
            }
            Step::CutShort(after) => {
                let before = parts.roster();
                cut_short(parts, &world, after).await;
                parts = open(folder.path(), &world, manner);
                assert_eq!(parts.roster(), before, "unsealed, and yet visible");
                read = recover(&parts, &world).await;
            }
            Step::Restart => {
                parts.close().await;
                parts = open(folder.path(), &world, manner);
            }
            Step::Approve => {
                let hold = parts.statuses.get("corp").unwrap().hold.clone();
                if let Some(hold) = hold {
                    parts.poller.remote().approve("hold_0", Caller::daemon()).await.unwrap_err();
                    let approved = parts.poller.remote().approve(&hold.id, Caller::daemon()).await;
                    match approved {
                        Ok(()) => assert_eq!(parts.roster(), read, "approved"),
                        Err(HoldError::NotReadAgain { .. }) => assert!(hold.whole.is_some()),
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            Step::Reject => {
                let hold = parts.statuses.get("corp").unwrap().hold.clone();
                if let Some(hold) = hold {
                    parts.poller.remote().reject("hold_0", Caller::daemon()).await.unwrap_err();
                    parts.poller.remote().reject(&hold.id, Caller::daemon()).await.unwrap();
                    assert!(parts.ledger.progress("corp").hold.unwrap().rejected);
                }
            }
        }
        receiver.follow(&parts);
    }
}

/// The process ends while a crawl that has read so many items waits for more.
async fn cut_short(parts: Parts, world: &Arc<Mutex<World>>, after: u8) {
    let hangs = {
        let mut world = world.lock().unwrap();
        world.mode = Some(Mode::Hangs(after));
        world.hangs.clone()
    };
    parts.poller.remote().nudge();
    hangs.notified().await;
    parts.close().await;
}

/// The next poll goes well, whatever there was before.
async fn recover(parts: &Parts, world: &Arc<Mutex<World>>) -> Roster {
    let before = parts.roster();
    parts.sync().await.unwrap();
    let read = world.lock().unwrap().roster();
    assert_apart(parts, &before, &read, "after a restart");
    read
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

#[test]
fn only_what_was_asked_for_in_full_postpones_the_next_full_crawl() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let parts = open(folder.path(), &world, Manner::new(LENS, Limits::default()));
        let full_at = || parts.ledger.progress("corp").full_at;
        let change = |user, mode| {
            let mut world = world.lock().unwrap();
            world.apply(&Op::PutUser(user, 0));
            world.mode = Some(mode);
        };
        change(1, Mode::Well);
        parts.sync().await.unwrap();
        let first = full_at();
        assert!(first.is_some());
        change(2, Mode::Whole);
        parts.sync().await.unwrap();
        assert_eq!(parts.roster().users.len(), 2);
        assert_eq!(full_at(), first, "a delta that read everything passed for a full crawl");
    });
}

#[test]
fn r16_a_crawl_that_failed_goes_on_where_it_was() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let parts = open(folder.path(), &world, Manner::new(LENS, Limits::default()));
        for user in 0..6 {
            world.lock().unwrap().apply(&Op::PutUser(user, 0));
        }
        world.lock().unwrap().mode = Some(Mode::Breaks(3));
        parts.sync().await.unwrap_err();
        assert_eq!(parts.roster(), Roster::default(), "unsealed, and yet visible");
        parts.sync().await.unwrap();
        assert_eq!(parts.roster().users.len(), 6);
        // Three pages before the failure; then the third again, and the other three.
        let crawl = parts.statuses.get("corp").unwrap().last_crawl.clone().unwrap();
        assert_eq!(crawl.pages, 3 + 4);
    });
}

#[test]
fn r16_a_crawl_that_rests_for_its_quota_is_no_failure() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let parts = open(folder.path(), &world, Manner::new(LENS, Limits::default()));
        for user in 0..6 {
            world.lock().unwrap().apply(&Op::PutUser(user, 0));
        }
        for (after, failures) in [(3, 0), (5, 0), (0, 1)] {
            world.lock().unwrap().mode = Some(Mode::Throttled(after));
            parts.sync().await.unwrap_err();
            let status = parts.statuses.get("corp").unwrap();
            // Getting no further is a failure all the same.
            assert_eq!(status.consecutive_failures, failures, "after {after}");
        }
        parts.sync().await.unwrap();
        assert_eq!(parts.roster().users.len(), 6);
        // Three pages; then the third again and two more; none; the fifth again
        // and the last. The place is kept by one that got nowhere, too.
        let crawl = parts.statuses.get("corp").unwrap().last_crawl.clone().unwrap();
        assert_eq!(crawl.pages, 3 + 3 + 2);
    });
}

/// The kinds of all events so far, with the reason of those that have one.
fn told(parts: &Parts) -> Vec<(EventKind, Option<Value>)> {
    let events = parts.ledger.store().events(0, 1000).unwrap();
    let reason = |event: &Event| match &event.payload {
        Payload::Directory { details } => details.get("reason").cloned(),
        _ => None,
    };
    events.iter().map(|event| (event.kind, reason(event))).collect()
}

#[test]
fn a_missed_freshness_objective_is_told_once_and_taken_back() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let objective = Some(rosterd::clock::Duration::from_millis(10));
        let manner =
            Manner { freshness_objective: objective, ..Manner::new(LENS, Limits::default()) };
        let parts = open(folder.path(), &world, manner);
        while told(&parts).is_empty() {
            tokio::task::yield_now().await;
        }
        world.lock().unwrap().mode = Some(Mode::Breaks(0));
        parts.sync().await.unwrap_err();
        parts.sync().await.unwrap();
        let failing = |reason| (EventKind::DirectoryFailing, Some(Value::from(reason)));
        let expected = [
            failing("freshness_objective"),
            failing("poll"),
            (EventKind::DirectoryRecovered, None),
            (EventKind::DirectorySynced, Some(Value::from("first"))),
        ];
        assert_eq!(told(&parts)[..4], expected);
    });
}

#[test]
fn whatever_was_told_to_fail_is_taken_back_exactly_once() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let objective = Some(rosterd::clock::Duration::from_millis(10));
        let manner =
            Manner { freshness_objective: objective, ..Manner::new(LENS, Limits::default()) };
        let parts = open(folder.path(), &world, manner);
        let news = || {
            let is_news = |kind: &EventKind| {
                matches!(kind, EventKind::DirectoryFailing | EventKind::DirectoryRecovered)
            };
            told(&parts).into_iter().map(|(kind, _)| kind).filter(is_news).collect::<Vec<_>>()
        };
        // Each time only the objective is missed: no poll fails.
        for round in 0..3 {
            while news().len() == 2 * round {
                tokio::task::yield_now().await;
            }
            parts.sync().await.unwrap();
        }
        let one = [EventKind::DirectoryFailing, EventKind::DirectoryRecovered];
        assert_eq!(news()[..6], one.repeat(3));
    });
}

#[test]
fn the_third_incomplete_crawl_in_a_row_is_told_with_what_differs() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let parts = open(folder.path(), &world, Manner::new(LENS, Limits::default()));
        world.lock().unwrap().apply(&Op::PutGroup(1, 0));
        for failures in 1..=3 {
            assert_eq!(told(&parts), [], "before failure {failures}");
            world.lock().unwrap().mode = Some(Mode::Forgets);
            parts.sync().await.unwrap_err();
        }
        let event = parts.ledger.store().events(0, 10).unwrap().remove(0);
        assert_eq!(event.kind, EventKind::DirectoryFailing);
        let Payload::Directory { details } = event.payload else { panic!("{:?}", event.kind) };
        let Value::Text(error) = &details["error"] else { panic!("{details:?}") };
        assert!(error.contains("the group g1#1") && error.contains("were not read"), "{error}");
    });
}

#[test]
fn an_approval_reads_nothing_so_the_picture_gets_no_younger() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let parts = open(folder.path(), &world, Manner::new(LENS, strict()));
        (0..8).for_each(|user| world.lock().unwrap().apply(&Op::PutUser(user, 0)));
        parts.sync().await.unwrap();
        (0..4).for_each(|user| world.lock().unwrap().apply(&Op::DeleteUser(user)));
        parts.sync().await.unwrap();
        let before = parts.ledger.progress("corp");
        let hold = before.hold.expect("half of all users are held");
        assert_eq!(hold.whole, None);
        parts.poller.remote().approve(&hold.id, Caller::daemon()).await.unwrap();
        let after = parts.ledger.progress("corp");
        assert_eq!((after.hold, after.as_of), (None, before.as_of));
        assert_eq!(parts.roster(), world.lock().unwrap().roster());
    });
}

#[test]
fn what_the_feed_forgot_is_found_by_reading_again_and_counted() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let full_every = rosterd::clock::Duration::ZERO;
        let manner = Manner { full_every, ..Manner::new(LENS, Limits::default()) };
        let parts = open(folder.path(), &world, manner);
        world.lock().unwrap().apply(&Op::PutUser(1, 0));
        parts.sync().await.unwrap();
        let drift = || parts.statuses.get("corp").unwrap().drift;
        world.lock().unwrap().apply(&Op::PutUser(2, 0));
        parts.sync().await.unwrap();
        assert_eq!(drift(), 0, "the feed told of it");
        world.lock().unwrap().apply(&Op::PutUser(1, 7));
        world.lock().unwrap().touched.clear();
        parts.sync().await.unwrap();
        assert_eq!(drift(), 1);
        assert_eq!(parts.roster(), world.lock().unwrap().roster());
    });
}

#[test]
fn what_a_full_crawl_that_rested_finds_is_counted_too() {
    for restarts in [false, true] {
        block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let world = Arc::new(Mutex::new(World::default()));
            let full_every = rosterd::clock::Duration::ZERO;
            let manner = Manner { full_every, ..Manner::new(LENS, Limits::default()) };
            let mut parts = open(folder.path(), &world, manner);
            (0..6).for_each(|user| world.lock().unwrap().apply(&Op::PutUser(user, 0)));
            parts.sync().await.unwrap();
            {
                let mut world = world.lock().unwrap();
                world.apply(&Op::PutUser(1, 7));
                world.apply(&Op::PutUser(5, 7));
                world.touched.clear();
                // What the feed has to tell is read first; then the full crawl rests.
                (world.mode, world.then) = (Some(Mode::Well), Some(Mode::Throttled(3)));
                world.starts.clear();
            }
            parts.sync().await.unwrap_err();
            if restarts {
                parts.close().await;
                parts = open(folder.path(), &world, manner);
            }
            parts.sync().await.unwrap();
            assert!(
                matches!(
                    world.lock().unwrap().starts[..3],
                    [Start::Incremental(_), Start::Full, Start::Resume(_)]
                ),
                "it went on"
            );
            assert_eq!(parts.statuses.get("corp").unwrap().drift, 2, "restarts: {restarts}");
            assert_eq!(parts.roster(), world.lock().unwrap().roster());
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn w7_folded_events_equal_the_directory(steps in prop::collection::vec(step(), 1..30)) {
        block_on(run(steps, Manner::unguarded(LENS)));
    }

    #[test]
    fn the_same_holds_when_the_guard_holds(steps in prop::collection::vec(step(), 1..30)) {
        // Nothing is written before the process is asked to end.
        let checkpoint_every = std::time::Duration::from_secs(3600);
        let manner = Manner::new(LENS, strict());
        block_on(run(steps, Manner { checkpoint_every, on_hold: OnHold::HoldAll, ..manner }));
    }

    #[test]
    fn the_same_holds_when_the_guard_holds_a_part(steps in prop::collection::vec(step(), 1..30)) {
        block_on(run(steps, Manner::new(LENS, strict())));
    }
}

/// Two removals of a kind may be too many already.
fn strict() -> Limits {
    Limits { floor: 1, ..Limits::default() }
}
