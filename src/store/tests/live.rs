//! How many bytes live is counted as they are written.

use std::time::Duration;

use super::crash::Run;
use crate::clock::Timestamp;
use crate::store::{Kept, Retention, Store, row};

/// Bytes of the rows that are counted, counted anew.
fn counted(store: &Store) -> u64 {
    let slot = store.slot();
    let engine = slot.as_ref().unwrap();
    let kinds: [&[u8]; 6] = [b"j", b"v", b"e", b"c", b"u", b"h"];
    let rows = kinds.into_iter().flat_map(|kind| engine.rows(kind).unwrap());
    rows.map(|row| row.map(|row| row::bytes(&row.key, row.bytes())).unwrap()).sum()
}

fn live(store: &Store) -> u64 {
    store.slot().as_ref().unwrap().live().unwrap()
}

#[test]
fn it_is_right_after_every_commit_and_pruning() {
    let mut run = Run::new();
    for seed in 0..60 {
        run.step(seed as usize % 2, seed, 14, 0, seed % 7 == 0);
        assert_eq!(live(run.store()), counted(run.store()), "after commit {seed}");
    }
    let before = live(run.store());
    let kept = Kept { age: Duration::MAX, events_max: 50 };
    let retention = Retention { journal: kept, history: kept };
    while run.store().prune(Timestamp(6_000_000), &retention).unwrap().more {}
    assert!(live(run.store()) < before);
    assert_eq!(live(run.store()), counted(run.store()));
    run.reopen();
    assert!(live(run.store()) >= counted(run.store()), "what went is noted with the next commit");
    // A hint may be off, and may be lost; a rewrite takes it along.
    run.store().slot().as_ref().unwrap().note_live(Some(7));
    run.store().rewrite_now().unwrap();
    run.reopen();
    assert_eq!(live(run.store()), 7);
}

#[test]
fn a_crash_puts_it_off_by_a_commit_at_most() {
    let mut whole = Run::new();
    whole.step(0, 1, 12, 0, false);
    let first = counted(whole.store());
    whole.step(0, 2, 12, 0, false);
    let commit = counted(whole.store()) - first;
    let mut off = 0;
    for fault in 1..30 {
        let mut run = Run::new();
        run.step(0, 1, 12, 0, false);
        run.step(0, 2, 12, fault, true);
        off = off.max(live(run.store()).abs_diff(counted(run.store())));
    }
    assert!(off > 0 && off <= commit * 2, "{off} of {commit}");
}
