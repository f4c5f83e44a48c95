//! The audit trail: gapless, durable, and exactly what happened.

use std::time::Duration;

use super::crash::copy_all;
use super::world::{notice, open};
use crate::clock::Timestamp;
use crate::model::{
    Act, Action, Actor, AuditEntry, Caller, Commit, EventKind, Progress, Target, Value,
};
use crate::store::{AuditRetention, EventsError, Opening, Options, Store};

fn act(number: u64) -> Act {
    Act::of(Action::DIRECTORY_SYNC, Caller::peer(1000, 100, Some(7)))
        .on("directory", "corp")
        .with("number", number)
}

fn record(store: &Store, number: u64) -> u64 {
    store.record(Timestamp(number * 1_000), &act(number)).unwrap()
}

fn entries(store: &Store) -> Vec<AuditEntry> {
    store.audit(None, usize::MAX, &|_| true).unwrap().entries
}

fn seqs(store: &Store) -> Vec<u64> {
    entries(store).iter().map(|entry| entry.seq).collect()
}

fn commit(number: u64) -> Commit {
    Commit {
        directory: "corp".into(),
        tenant: "acme".into(),
        product: "vpn".into(),
        occurred_at: Timestamp(number),
        changes: vec![notice(EventKind::DirectoryHeld)],
        cause: crate::model::Cause::First,
        progress: Progress { fingerprint: number.to_string(), ..Progress::default() },
    }
}

#[test]
fn an_act_reads_as_it_was_written_whoever_did_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let list = Value::List(vec![Value::Bool(true), Value::Integer(-3), "x".into()]);
    let acts: Vec<Act> = [
        Actor::Daemon,
        Actor::Process { uid: 0, gid: None, pid: None },
        Actor::Token("query.token".into()),
        Actor::Stranger(Some([127, 0, 0, 1].into())),
        Actor::Stranger(None),
    ]
    .map(|actor| Act {
        action: Action::named("of.a.newer.version".into()),
        actor,
        targets: vec![Target { kind: "hold".into(), name: "h1".into() }],
        context: [("via".to_owned(), "tcp".into())].into(),
        metadata: [("list".to_owned(), list.clone())].into(),
    })
    .into();
    for (position, act) in acts.iter().enumerate() {
        assert_eq!(store.record(Timestamp(5), act).unwrap(), position as u64 + 1);
    }
    let found = entries(&store);
    assert!(found.iter().all(|entry| entry.at == Timestamp(5)));
    assert_eq!(found.into_iter().map(|entry| entry.act).collect::<Vec<_>>(), acts);
}

#[test]
fn what_is_too_long_is_cut_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let list: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    let act = act(1).with("text", "ø".repeat(1 << 20)).with("list", list);
    store.record(Timestamp(5), &act).unwrap();
    let metadata = entries(&store).remove(0).act.metadata;
    let Value::Text(text) = &metadata["text"] else { panic!("{metadata:?}") };
    assert!(text.len() < 5_000 && text.ends_with('…'));
    let Value::List(list) = &metadata["list"] else { panic!("{metadata:?}") };
    assert_eq!(list.last(), Some(&"… and 300 more".into()));
}

#[test]
fn numbers_have_no_gap_over_restarts_and_what_was_answered_is_there_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    for number in 1..20 {
        assert_eq!(record(&store, number), number);
        // What another process would find, had this one been killed right now.
        let image = tempfile::tempdir().unwrap();
        copy_all(dir.path(), image.path());
        let survivor = open(image.path());
        assert_eq!(seqs(&survivor), (1..=number).collect::<Vec<_>>());
        assert_eq!(record(&survivor, 77), number + 1);
        if number % 3 == 0 {
            drop(store);
            store = open(dir.path());
        }
    }
}

#[test]
fn an_act_of_a_commit_stands_exactly_when_the_commit_does() {
    for reopen in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        let mut expected = Vec::new();
        for fault in 1..12 {
            store.slot().as_ref().unwrap().faults.fail_from(fault);
            let made = commit(fault as u64);
            let _ = store.commit_recorded(&made, Some(&act(fault as u64)));
            if reopen {
                drop(store);
                store = open(dir.path());
            }
            let row = store.directories().unwrap().pop();
            let stands =
                row.is_some_and(|row| row.progress.fingerprint == made.progress.fingerprint);
            if stands {
                expected.push(fault as u64);
            }
            let numbers =
                entries(&store).into_iter().map(|entry| entry.act.metadata["number"].clone());
            let wanted: Vec<Value> = expected.iter().map(|number| Value::from(*number)).collect();
            assert_eq!(numbers.collect::<Vec<_>>(), wanted, "fault {fault}, reopen {reopen}");
            assert_eq!(seqs(&store), (1..=expected.len() as u64).collect::<Vec<_>>());
        }
        assert!(expected.len() > 1 && expected.len() < 11, "both ways were tried: {expected:?}");
        assert_eq!(record(&store, 99), expected.len() as u64 + 1);
    }
}

#[test]
fn an_act_that_could_not_be_written_takes_no_number() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    record(&store, 1);
    store.slot().as_ref().unwrap().faults.fail_from(1);
    store.record(Timestamp(0), &act(2)).unwrap_err();
    assert_eq!(record(&store, 3), 2);
    assert_eq!(entries(&store)[1].act, act(3));
}

#[test]
fn retention_takes_the_oldest_by_age_and_by_count_and_never_a_number_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 1..=20 {
        record(&store, number);
    }
    let keep = |now: u64, seconds: u64, entries_max: u64| {
        let age = Duration::from_secs(seconds);
        store.prune_audit(Timestamp(now * 1_000), &AuditRetention { age, entries_max }).unwrap()
    };
    assert_eq!(keep(20, 100, 100), 0);
    assert_eq!(keep(20, 15, 100), 4);
    assert_eq!(seqs(&store), (5..=20).collect::<Vec<_>>());
    assert_eq!(keep(20, 15, 6), 10);
    assert_eq!(seqs(&store), (15..=20).collect::<Vec<_>>());
    let gone = store.audit(Some(13), 9, &|_| true);
    assert_eq!(gone, Err(EventsError::Gone { oldest: 15 }));
    assert_eq!(store.audit(Some(14), 9, &|_| true).unwrap().total, 6);
    assert_eq!(keep(1_000, 1, 6), 6);
    assert_eq!(entries(&store), []);
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.audit(None, 9, &|_| true).unwrap().last, 20);
    assert_eq!(record(&store, 21), 21);
}

#[test]
fn a_page_counts_all_that_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 1..=9 {
        record(&store, number);
    }
    let odd = |entry: &AuditEntry| entry.seq % 2 == 1;
    let page = store.audit(Some(2), 2, &odd).unwrap();
    assert_eq!(page.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [3, 5]);
    assert_eq!((page.total, page.oldest, page.last), (4, 1, 9));
}

#[test]
fn a_rewrite_carries_the_trail_along() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 1..=5 {
        record(&store, number);
    }
    store.commit_recorded(&commit(6), Some(&act(6))).unwrap();
    let retention = AuditRetention { age: Duration::from_secs(100), entries_max: 4 };
    store.prune_audit(Timestamp(0), &retention).unwrap();
    let before = entries(&store);
    store.rewrite(&mut store.writer()).unwrap();
    assert_eq!(entries(&store), before);
    assert_eq!(record(&store, 7), 7);
    drop(store);
    assert_eq!(seqs(&open(dir.path())), [3, 4, 5, 6, 7]);
}

#[test]
fn what_can_be_read_of_a_trail_outlives_the_store_that_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 1..=3 {
        record(&store, number);
    }
    store.commit_recorded(&commit(4), Some(&act(4))).unwrap();
    let before = entries(&store);
    store.set_aside("a test says so").unwrap();
    assert_eq!(entries(&store), before);
    assert_eq!(record(&store, 5), 5);
    drop(store);
    // The commit of the fourth is gone with its store: that is no reason to drop the act.
    assert_eq!(seqs(&open(dir.path())), [1, 2, 3, 4, 5]);
}

#[test]
fn a_trail_that_is_lost_whole_goes_on_behind_its_last_number() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.commit(&commit(1)).unwrap();
    for number in 1..=3 {
        record(&store, number);
    }
    drop(store);
    std::fs::write(dir.path().join("db-1/db"), b"nothing of it").unwrap();
    std::fs::write(dir.path().join("db-1/conf"), b"").unwrap();
    let (store, opening) = Store::open(dir.path(), Options { cache_bytes: 1 << 20 }).unwrap();
    assert!(matches!(opening, Opening::Rebuilt { .. }), "{opening:?}");
    assert_eq!(record(&store, 9), 4);
    assert_eq!(seqs(&store), [4]);
}
