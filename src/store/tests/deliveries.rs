//! The delivery log: in order, bounded, and carried along by a rewrite.

use std::collections::BTreeMap;
use std::time::Duration;

use super::world::open;
use crate::clock::Timestamp;
use crate::model::Attempt;
use crate::store::{AttemptRetention, DeliveryRow, Store};

const HOUR: Duration = Duration::from_hours(1);

fn attempt(seq: u64) -> Attempt {
    Attempt {
        at: Timestamp(seq * 1_000),
        id: format!("evt_{seq}"),
        first_seq: seq,
        last_seq: seq + 2,
        events: 3,
        number: 2,
        status: Some(500),
        latency_ms: 17,
        answer: "out of paper".into(),
        error: Some("it answers 500".into()),
    }
}

fn note(store: &Store, endpoint: &str, seqs: impl IntoIterator<Item = u64>) {
    seqs.into_iter().for_each(|seq| store.note_attempt(endpoint, &attempt(seq)).unwrap());
}

fn seqs(store: &Store, endpoint: &str) -> Vec<u64> {
    let page = store.attempts(endpoint, None, 1_000).unwrap();
    assert_eq!(page.total, page.attempts.len() as u64);
    page.attempts.iter().map(|(_, attempt)| attempt.first_seq).collect()
}

fn keep(store: &Store, endpoints: &[&str], age: Duration, attempts_max: u64) {
    let retention = AttemptRetention { age, attempts_max };
    let all = endpoints.iter().map(|name| ((*name).to_owned(), retention));
    store.keep_attempts(all.collect::<BTreeMap<_, _>>()).unwrap();
}

#[test]
fn attempts_read_as_they_were_written_newest_first_and_page_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(store.attempts("audit", None, 10).unwrap().attempts, []);
    note(&store, "audit", 1..=5);
    note(&store, "audit2", 50..=50);
    let first = store.attempts("audit", None, 2).unwrap();
    assert_eq!(first.attempts, [(5, attempt(5)), (4, attempt(4))]);
    assert_eq!((first.total, first.next), (5, Some(4)));
    let second = store.attempts("audit", first.next, 2).unwrap();
    assert_eq!(second.attempts, [(3, attempt(3)), (2, attempt(2))]);
    let last = store.attempts("audit", second.next, 2).unwrap();
    assert_eq!((last.attempts, last.next), (vec![(1, attempt(1))], None));
    assert_eq!(seqs(&store, "audit2"), [50]);
}

#[test]
fn a_log_survives_the_process_with_the_cursor_that_is_stored_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    note(&store, "audit", 1..=3);
    store.set_delivery("audit", &DeliveryRow::default()).unwrap();
    drop(store);
    let store = open(dir.path());
    note(&store, "audit", 4..=4);
    assert_eq!(seqs(&store, "audit"), [4, 3, 2, 1]);
}

#[test]
fn a_log_never_grows_beyond_its_maximum_nor_keeps_what_is_old() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    keep(&store, &["audit"], HOUR, 10);
    note(&store, "audit", 1..=25);
    assert_eq!(seqs(&store, "audit"), (16..=25).rev().collect::<Vec<_>>());
    // A smaller maximum: by the next look.
    keep(&store, &["audit"], HOUR, 4);
    assert_eq!(store.prune_attempts(Timestamp(25_000)).unwrap(), 6);
    assert_eq!(seqs(&store, "audit"), [25, 24, 23, 22]);
    // Those of 22 and 23 seconds are over an hour old.
    let now = Timestamp(24_000).plus(HOUR);
    assert_eq!(store.prune_attempts(now).unwrap(), 2);
    assert_eq!(seqs(&store, "audit"), [25, 24]);
    assert_eq!(store.prune_attempts(now.plus(HOUR)).unwrap(), 2);
    assert_eq!(seqs(&store, "audit"), [0; 0]);
    note(&store, "audit", 7..=7);
    assert_eq!(seqs(&store, "audit"), [7]);
}

#[test]
fn what_is_cleared_or_left_the_configuration_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for endpoint in ["a", "ab", "b"] {
        note(&store, endpoint, 1..=300);
    }
    assert_eq!(store.clear_attempts("b").unwrap(), 300);
    assert_eq!(store.clear_attempts("b").unwrap(), 0);
    keep(&store, &["ab", "b"], HOUR, 1_000);
    assert_eq!((seqs(&store, "a").len(), seqs(&store, "ab").len()), (0, 300));
    drop(store);
    let store = open(dir.path());
    let lengths = ["a", "ab", "b"].map(|endpoint| seqs(&store, endpoint).len());
    assert_eq!(lengths, [0, 300, 0]);
}

#[test]
fn a_rewrite_carries_the_logs_along() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    note(&store, "audit", 1..=5);
    note(&store, "other", 1..=1);
    store.rewrite(&mut store.writer()).unwrap();
    note(&store, "audit", 6..=6);
    store.set_delivery("audit", &DeliveryRow::default()).unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(seqs(&store, "audit"), [6, 5, 4, 3, 2, 1]);
    assert_eq!(seqs(&store, "other"), [1]);
}

#[test]
fn a_rewrite_takes_over_what_came_and_went_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    note(&store, "grows", 1..=3);
    note(&store, "shrinks", 1..=3);
    note(&store, "cleared", 1..=3);
    note(&store, "renewed", 1..=3);
    let folder = tempfile::tempdir().unwrap();
    let slot = store.slot();
    let fresh = slot.as_ref().unwrap().open_beside(folder.path(), 1 << 20).unwrap();
    super::super::deliveries::copy(slot.as_ref().unwrap(), &fresh).unwrap();
    note(&store, "grows", 4..=5);
    keep(&store, &["grows", "shrinks", "renewed", "cleared"], HOUR, 2);
    store.prune_attempts(Timestamp(0)).unwrap();
    store.clear_attempts("cleared").unwrap();
    store.clear_attempts("renewed").unwrap();
    note(&store, "renewed", 4..=5);
    super::super::deliveries::copy(slot.as_ref().unwrap(), &fresh).unwrap();
    let rows = |engine: &crate::store::engine::Engine| {
        let rows = engine.rows(crate::store::row::ATTEMPTS).unwrap();
        rows.map(|row| row.unwrap().key).collect::<Vec<_>>()
    };
    let expected = rows(slot.as_ref().unwrap());
    assert_eq!(expected.len(), 6);
    assert_eq!(rows(&fresh), expected);
}

#[test]
fn a_store_that_is_set_aside_begins_its_logs_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    note(&store, "audit", 1..=3);
    store.set_aside("a test says so").unwrap();
    assert_eq!(seqs(&store, "audit"), [0; 0]);
    note(&store, "audit", 4..=4);
    assert_eq!(seqs(&store, "audit"), [4]);
}

#[test]
fn what_is_too_long_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let long = Attempt { answer: "ø".repeat(1 << 20), ..attempt(1) };
    store.note_attempt("audit", &long).unwrap();
    let page = store.attempts("audit", None, 1).unwrap();
    let answer = &page.attempts[0].1.answer;
    assert!(answer.len() < 1_100 && answer.ends_with('…'));
}
