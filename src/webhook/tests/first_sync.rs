//! A first sync told as one summary.

use super::*;
use crate::model::{Cause, Change, Commit, Progress, Put};

#[tokio::test]
async fn the_first_sync_is_one_event_and_what_follows_is_told() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let receiver = Receiver::start().await;
    let create = |directory: &str, number| {
        let payload = Payload::User { user: user(number), previous: None };
        memory.append_to(directory, EventKind::UserCreated, payload);
    };
    let synced = || {
        let details = Attributes::from([("users".to_owned(), Value::Integer(2))]);
        let payload = Payload::Directory { details };
        memory.append_to("corp", EventKind::DirectorySynced, payload);
    };
    create("corp", 1);
    create("corp", 2);
    synced();
    create("other", 1);
    create("corp", 3);
    create("gone", 1);
    {
        let mut kept = memory.inner.lock().unwrap();
        kept.first_syncs.insert("corp".into(), 3);
        kept.first_syncs.insert("gone".into(), u64::MAX);
    }
    let _all = run(receiver.config("all", ""), &memory, &statuses);
    until("all is told", || memory.stored_seq("all") == Some(6)).await;
    assert_eq!(receiver.told(), [1, 2, 3, 4, 5, 6]);
    let summed = Receiver::start().await;
    let config = summed.config("summed", "on_first_sync = \"summary\"");
    let _summed = run(config, &memory, &statuses);
    until("all is told", || memory.stored_seq("summed") == Some(6)).await;
    assert_eq!(summed.told(), [3, 4, 5]);
}

const FIRST: (EventKind, &str) = (EventKind::DirectorySynced, "first");
const FAILING: (EventKind, &str) = (EventKind::DirectoryFailing, "poll");
const RECOVERED: (EventKind, &str) = (EventKind::DirectoryRecovered, "");
const HELD: (EventKind, &str) = (EventKind::DirectoryHeld, "limit");

/// Commits of one directory in a real store.
struct Committed {
    _dir: tempfile::TempDir,
    store: crate::store::Store,
    users: u32,
}

impl Committed {
    fn new() -> Committed {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = crate::store::Store::open(dir.path(), Default::default()).unwrap();
        Committed { _dir: dir, store, users: 0 }
    }

    /// New users, and then notices.
    fn commit(&mut self, users: u32, notices: &[(EventKind, &str)]) {
        let created = (self.users..self.users + users).map(|slot| {
            let user = user(slot as usize);
            let item = crate::provider::UserItem { user, ..Default::default() };
            let record = crate::store::record::encode_user(&item);
            Change::User { slot, record, put: Put::Created }
        });
        let notices = notices.iter().map(|(kind, reason)| {
            let details = [("reason".to_owned(), (*reason).into())].into();
            Change::Notice { kind: *kind, details }
        });
        let commit = Commit {
            directory: "corp".into(),
            tenant: "acme".into(),
            product: "vpn".into(),
            occurred_at: Timestamp(1),
            changes: created.chain(notices).collect(),
            cause: Cause::First,
            progress: Progress { as_of: Some(Timestamp(1)), ..Progress::default() },
        };
        self.store.commit(&commit).unwrap();
        self.users += users;
    }

    fn end(&self) -> u64 {
        self.store.first_sync_end("corp").unwrap()
    }
}

#[test]
fn the_first_sync_ends_with_its_summary() {
    let mut corp = Committed::new();
    assert_eq!(corp.end(), u64::MAX);
    corp.commit(0, &[FAILING]);
    assert_eq!(corp.end(), 0);
    corp.commit(3, &[RECOVERED, FIRST]);
    assert_eq!(corp.end(), 6);
    corp.commit(2, &[]);
    assert_eq!(corp.end(), 6);
}

#[test]
fn users_that_come_after_an_empty_first_sync_are_told() {
    let mut corp = Committed::new();
    corp.commit(0, &[FIRST]);
    corp.commit(1, &[]);
    assert_eq!(corp.end(), 0);
}

#[test]
fn a_recovery_after_an_empty_first_sync_sums_up_nothing() {
    let mut corp = Committed::new();
    corp.commit(0, &[FIRST]);
    corp.commit(0, &[FAILING]);
    corp.commit(2, &[RECOVERED, (EventKind::DirectorySynced, "recovered")]);
    assert_eq!(corp.end(), 0);
}

#[test]
fn a_hold_in_the_first_sync_follows_its_summary() {
    let mut corp = Committed::new();
    corp.commit(2, &[FIRST, HELD]);
    assert_eq!(corp.end(), 4);
}
