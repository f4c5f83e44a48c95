//! Notices of no directory stand in the journal, and nowhere else.

use super::crash::{NAMES, Run};
use super::world::notice;
use crate::clock::Timestamp;
use crate::model::{Act, Action, Change, Commit, EventKind, Progress};
use crate::store::{Opening, Options, Store, StoreError};

fn commit(changes: Vec<Change>) -> Commit {
    Commit {
        directory: String::new(),
        tenant: String::new(),
        product: String::new(),
        occurred_at: Timestamp(5_000_000_000_000),
        changes,
        progress: Progress::default(),
    }
}

fn disabled() -> Commit {
    commit(vec![notice(EventKind::WebhookDisabled)])
}

#[test]
fn they_are_read_as_events_and_leave_no_directory() {
    let mut run = Run::new();
    run.step(0, 1, 12, 0, false);
    let rows = run.store().directories().unwrap();
    let act = Act::of_daemon(Action::WEBHOOK_DISABLE).on("webhook", "audit");
    let (done, recorded) = run.store().commit_recorded(&disabled(), Some(&act)).unwrap();
    assert_eq!((done.first_seq, recorded), (run.store().last_seq(), Some(1)));
    assert_eq!(run.store().directories().unwrap(), rows);
    let told = |run: &Run| run.store().events(done.first_seq - 1, 10).unwrap();
    let before = told(&run);
    let of = |event: &crate::model::Event| {
        let crate::model::Event { kind, tenant, product, directory, .. } = event.clone();
        (kind, tenant, product, directory)
    };
    assert_eq!(of(&before[0]), (EventKind::WebhookDisabled, "".into(), "".into(), "".into()));
    assert_eq!(before.len(), 1);
    run.reopen();
    run.store().rewrite(&mut run.store().writer()).unwrap();
    assert_eq!((told(&run), run.store().directories().unwrap()), (before, rows));
    // Directories go on as if nothing had been.
    run.step(1, 2, 12, 0, false);
    run.step(0, 3, 12, 0, true);
    run.finish();
}

#[test]
fn they_are_whole_or_not_there_whichever_write_fails() {
    for fault in 1..12 {
        let mut run = Run::new();
        run.step(0, 1, 12, 0, false);
        let rows = run.store().directories().unwrap();
        let before = run.store().last_seq();
        run.store().slot().as_ref().unwrap().faults.fail_from(fault);
        let outcome = run.store().commit(&disabled());
        run.reopen();
        let told = run.store().last_seq() - before;
        match outcome {
            Ok(_) => assert_eq!(told, 1, "fault {fault}"),
            Err(StoreError::Uncertain { .. }) => assert!(told <= 1, "fault {fault}"),
            Err(error) => assert_eq!(told, 0, "fault {fault}: {error}"),
        }
        assert_eq!(run.store().events(before, 10).unwrap().len() as u64, told);
        assert_eq!(run.store().directories().unwrap(), rows);
        run.step(0, 2, 12, 0, true);
        run.finish();
    }
}

#[test]
fn they_go_with_retention_and_a_rebuild_knows_nothing_of_them() {
    let mut run = Run::new();
    run.step(0, 1, 12, 0, false);
    run.store().commit(&disabled()).unwrap();
    let last = run.store().last_seq();
    run.store().set_aside("a test").unwrap();
    let names: Vec<String> =
        run.store().directories().unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!(names, [NAMES[0]]);
    assert!(!run.store().is_rebuilding(""));
    let done = run.store().commit(&disabled()).unwrap();
    assert_eq!(done.first_seq, last + 1);
    let retention = crate::store::Retention {
        journal: std::time::Duration::from_secs(1),
        history: std::time::Duration::from_secs(1),
    };
    while run.store().prune(Timestamp(6_000_000_000_000), &retention).unwrap().more {}
    assert_eq!(run.store().oldest_seq(), done.last_seq + 1);
}

#[test]
fn nothing_else_is_of_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (store, opening) = Store::open(dir.path(), Options::default()).unwrap();
    assert_eq!(opening, Opening::New);
    let refused = store.commit(&commit(vec![Change::Cleared])).unwrap_err();
    assert!(matches!(refused, StoreError::Malformed { .. }), "{refused}");
    assert_eq!(store.last_seq(), 0);
}
