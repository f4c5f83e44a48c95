//! Without crashes: what goes in comes out, now and as it was.

use super::world::{World, loaded, notice, open, user};
use crate::clock::Timestamp;
use crate::model::{Change, Commit, EventKind, Layer, Payload, Progress, Put};
use crate::store::{
    Beyond, DeliveryRow, DisabledRow, EventsError, FailingRow, ReplayRow, StoreError, record,
};

fn commit(changes: Vec<Change>) -> Commit {
    Commit {
        directory: "corp".into(),
        tenant: "acme".into(),
        product: "vpn".into(),
        occurred_at: Timestamp(5_000_000_000),
        changes,
        cause: crate::model::Cause::First,
        progress: Progress { as_of: Some(Timestamp(1)), ..Progress::default() },
    }
}

fn created(slot: u32) -> Change {
    let record = record::encode_user(&user(slot, &mut fastrand::Rng::with_seed(1)));
    Change::User { slot, record, put: Put::Created }
}

#[test]
fn an_empty_store_has_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!((store.last_seq(), store.oldest_seq()), (0, 1));
    assert_eq!(store.directories().unwrap(), []);
    assert_eq!(store.events(0, 10).unwrap(), []);
    assert_eq!(store.seq_at(Timestamp(u64::MAX)).unwrap(), None);
    assert_eq!(loaded(&store, "corp"), World::default());
}

#[test]
fn a_commit_is_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let done = store.commit(&commit(vec![created(0), created(1)])).unwrap();
    assert_eq!((done.first_seq, done.last_seq), (1, 2));
    let (events, world) = (store.events(0, 10).unwrap(), loaded(&store, "corp"));
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2]);
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.last_seq(), 2);
    assert_eq!(store.events(0, 10).unwrap(), events);
    assert_eq!(loaded(&store, "corp"), world);
    let row = store.directories().unwrap().remove(0);
    assert_eq!((row.name.as_str(), row.first_seq, row.rebuilding), ("corp", 2, false));
    assert_eq!(row.progress.as_of, Some(Timestamp(1)));
}

#[test]
fn who_joins_a_large_group_touches_one_of_its_chunks() {
    let edges = |added, members| {
        let (group, layer, visible) = (0, Layer::Listed, true);
        Change::Edges { group, layer, added, visible, members }
    };
    let writes = |members: u32| {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        store.commit(&commit(vec![edges(true, (0..members).map(|n| n * 3).collect())])).unwrap();
        // The first and the last chunk, and none of those between.
        let far = vec![1, (members - 1) * 3 + 1];
        let slot = store.slot();
        let faults = &slot.as_ref().unwrap().faults;
        faults.fail_from(1000);
        store.commit(&commit(vec![edges(true, far.clone())])).unwrap();
        let took = 1000 - faults.left();
        let world = loaded(&store, "corp");
        assert_eq!(world.edges.len() as u32, members + 2);
        assert!(far.into_iter().all(|user| world.edges.contains(&(0, Layer::Listed, user))));
        took
    };
    // Two hundred members are some sixty chunks here, and twelve fill a batch.
    assert_eq!(writes(200), writes(8));
}

#[test]
fn a_commit_that_does_not_fit_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.commit(&commit(vec![created(0)])).unwrap();
    for changes in [
        vec![created(1), created(0)],
        vec![Change::UserDeleted { slot: 9, visible: true }],
        vec![Change::UserDeleted { slot: 0, visible: true }; 2],
        vec![Change::User { slot: 3, record: vec![1], put: Put::Updated }],
    ] {
        let refused = store.commit(&commit(changes)).unwrap_err();
        assert!(matches!(refused, StoreError::Malformed { .. }), "{refused}");
    }
    assert_eq!(store.last_seq(), 1);
    assert_eq!(loaded(&store, "corp").users.len(), 1);
}

#[test]
fn a_commit_without_events_keeps_the_progress() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut silent = commit(vec![]);
    silent.progress.cursor = Some(b"cookie".to_vec());
    let done = store.commit(&silent).unwrap();
    assert!(done.first_seq > done.last_seq);
    drop(store);
    let rows = open(dir.path()).directories().unwrap();
    assert_eq!(rows[0].progress.cursor.as_deref(), Some(b"cookie".as_slice()));
}

#[test]
fn time_stands_still_for_a_small_step_back_and_follows_a_large_one() {
    const HOUR: u64 = 3_600_000;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for (hours, slot) in [(10, 0), (11, 1), (900, 2), (12, 3), (11, 4), (13, 5)] {
        let mut commit = commit(vec![created(slot)]);
        commit.occurred_at = Timestamp(hours * HOUR + slot as u64);
        store.commit(&commit).unwrap();
    }
    let hours: Vec<_> =
        store.events(0, 10).unwrap().iter().map(|event| event.occurred_at.0 / HOUR).collect();
    assert_eq!(hours, [10, 11, 900, 12, 12, 13]);
    let at = |hour: u64| store.seq_at(Timestamp(hour * HOUR + 10)).unwrap();
    assert_eq!(at(9), None);
    assert_eq!([at(10), at(11), at(12), at(13), at(950)], [1, 2, 5, 6, 6].map(Some));
}

#[test]
fn deliveries_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(store.delivery("audit").unwrap(), None);
    let row = DeliveryRow {
        seq: 7,
        beyond: Some(Beyond { read: 12, unfinished: vec![8, 11] }),
        failing: vec![FailingRow { first: 8, last: 8, failures: 2, since: Timestamp(3) }],
        paused: true,
        disabled: Some(DisabledRow {
            at: Timestamp(9),
            failing_since: Timestamp(3),
            reason: "it answers 410".into(),
            untold_after: Some(12),
        }),
        replays: vec![ReplayRow { next: 2, to: 5 }],
    };
    store.set_delivery("audit", &row).unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.delivery("audit").unwrap(), Some(row));
    assert_eq!(store.delivery("audi").unwrap(), None);
}

#[test]
fn events_are_read_in_pieces_of_any_size() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut random = fastrand::Rng::with_seed(3);
    let mut world = World::default();
    for _ in 0..6 {
        let (after, commit) = world.step(&mut random, "corp", 12);
        store.commit(&commit).unwrap();
        world = after;
    }
    let all = store.events(0, usize::MAX).unwrap();
    assert_eq!(all.len() as u64, store.last_seq());
    for size in [1, 2, 7, 50] {
        let mut pieces = Vec::new();
        while let Some(piece) = Some(store.events(pieces.len() as u64, size).unwrap())
            && !piece.is_empty()
        {
            pieces.extend(piece);
        }
        assert_eq!(pieces, all);
    }
    let ids: std::collections::BTreeSet<_> = all.iter().map(|event| &event.id).collect();
    assert_eq!(ids.len(), all.len());
    assert_eq!(store.events(all.len() as u64 + 5, 3).unwrap(), []);
}

#[test]
fn a_cleared_directory_begins_anew_and_its_events_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.commit(&commit(vec![created(0)])).unwrap();
    let before = store.events(0, 10).unwrap();
    store.commit(&commit(vec![Change::Cleared, notice(EventKind::DirectoryRemoved)])).unwrap();
    assert_eq!(store.directories().unwrap(), []);
    assert_eq!(loaded(&store, "corp"), World::default());
    let mut renamed = commit(vec![created(0)]);
    renamed.tenant = "other".into();
    store.commit(&renamed).unwrap();
    let events = store.events(0, 10).unwrap();
    assert_eq!(events[..1], before);
    assert!(matches!(events[1].payload, Payload::Directory { .. }));
    assert_eq!(
        events.iter().map(|e| e.tenant.as_str()).collect::<Vec<_>>(),
        ["acme", "acme", "other"]
    );
}

#[test]
fn the_past_is_answered_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut random = fastrand::Rng::with_seed(11);
    let mut past: Vec<(u64, World)> = Vec::new();
    let mut world = World::default();
    for _ in 0..14 {
        let (after, mut commit) = world.step(&mut random, "corp", 12);
        if commit.changes.first() == Some(&Change::Cleared) {
            continue;
        }
        commit.occurred_at = Timestamp(1);
        let done = store.commit(&commit).unwrap();
        world = after;
        past.push((done.last_seq, world.clone()));
    }
    for (seq, then) in &past {
        for slot in 0..world.next_user {
            let current = world.groups_of_user(slot);
            let found = store.groups_of_user_at("corp", slot, &current, *seq).unwrap();
            assert_eq!(found, then.groups_of_user(slot), "user {slot} at {seq}");
            assert_eq!(
                store.user_at("corp", slot, *seq).unwrap().map(|item| item.user),
                then.users.get(&slot).map(|item| item.user.clone())
            );
        }
        for slot in 0..world.next_group {
            let now = world.members_of_group(slot);
            let found =
                store.members_of_group_at("corp", slot, &now.users, &now.groups, *seq).unwrap();
            assert_eq!(found, then.members_of_group(slot), "group {slot} at {seq}");
            let parents = world.parents_of_group(slot);
            let found = store.parents_of_group_at("corp", slot, &parents, *seq).unwrap();
            assert_eq!(found, then.parents_of_group(slot));
            assert_eq!(
                store.group_at("corp", slot, *seq).unwrap().is_some(),
                then.groups.contains_key(&slot)
            );
        }
    }
}

#[test]
fn two_handles_are_one_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let other = store.clone();
    other.commit(&commit(vec![created(0)])).unwrap();
    assert_eq!(store.last_seq(), 1);
    assert!(!matches!(store.events(0, 1), Err(EventsError::Gone { .. })));
}

#[test]
fn a_disabled_webhook_stays_so_when_the_store_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let row = DeliveryRow { seq: 7, paused: true, ..DeliveryRow::default() };
    store.set_delivery("audit", &row).unwrap();
    store.set_aside("a test says so").unwrap();
    assert_eq!(store.delivery("audit").unwrap(), Some(row));
}
