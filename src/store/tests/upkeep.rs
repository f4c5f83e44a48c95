//! Retention and rewriting: less is kept, and what is kept stays as it was.

use std::time::Duration;

use super::crash::{NAMES, Run};
use super::world::{World, loaded, open};
use crate::clock::Timestamp;
use crate::model::{Change, Event, MemberKind, Put, Reference, User};
use crate::provider::UserItem;
use crate::store::engine::Batch;
use crate::store::events;
use crate::store::{DeliveryRow, EventsError, Kept, Retention, Store, record};

const SECOND: Duration = Duration::from_secs(1);

/// A store with one commit a second, and the world after each.
fn seconds(count: u64) -> (tempfile::TempDir, Store, Vec<(u64, World)>) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut random = fastrand::Rng::with_seed(23);
    let mut world = World::default();
    let mut past = Vec::new();
    for second in 0..count {
        let (mut after, mut commit) = world.step(&mut random, NAMES[0], 9);
        while commit.changes.first() == Some(&Change::Cleared) {
            (after, commit) = world.step(&mut random, NAMES[0], 9);
        }
        commit.occurred_at = Timestamp((second + 1) * 1000);
        world = after;
        past.push((store.commit(&commit).unwrap().last_seq, world.clone()));
    }
    (dir, store, past)
}

fn prune(store: &Store, now: u64, journal: u32, history: u32) {
    let [journal, history] = [journal, history].map(|age| Kept::for_age(SECOND * age));
    let retention = Retention { journal, history };
    while store.prune(Timestamp(now * 1000), &retention).unwrap().more {}
}

/// Prunes by number alone.
fn prune_to(store: &Store, journal: u64, history: u64) {
    let kept = |events_max| Kept { age: Duration::MAX, events_max };
    let retention = Retention { journal: kept(journal), history: kept(history) };
    while store.prune(Timestamp(16_000), &retention).unwrap().more {}
}

#[test]
fn what_retention_removes_while_it_is_read_is_no_damage() {
    let (_dir, store, _) = seconds(16);
    let all = store.published();
    let read = |store: &Store, head| {
        store.on_kept(head, |engine| {
            prune_to(store, 2, 2);
            events::seq_at(engine, Timestamp(1_000), 1, 2)
        })
    };
    read(&store, &all).unwrap_err();
    assert!(!store.is_in_doubt(), "it was there when it was asked for");
    read(&store, &store.published()).unwrap_err();
    assert!(store.is_in_doubt(), "nothing removed it");
}

#[test]
fn no_more_events_are_kept_than_were_asked_for() {
    let (_dir, store, past) = seconds(16);
    let (_, world) = past.last().unwrap();
    let all = store.events(0, usize::MAX).unwrap();
    let last = all.len() as u64;
    for (journal, history) in [(u64::MAX, last), (last - 5, last - 2), (30, 45), (8, 8), (2, 1)] {
        prune_to(&store, journal, history);
        let (oldest, floor) = (store.oldest_seq(), store.oldest_history_seq());
        assert_eq!(oldest, last.saturating_sub(journal) + 1);
        // The history goes block by block, and never says that it has less.
        let wanted = last.saturating_sub(history.max(journal)) + 1;
        assert!(floor <= wanted && floor + 20 > wanted, "{floor} {wanted}");
        assert_eq!(store.events(oldest - 1, usize::MAX).unwrap(), all[oldest as usize - 1..]);
        if oldest > 1 {
            assert_eq!(store.events(oldest - 2, 9), Err(EventsError::Gone { oldest }));
        }
        assert_eq!(loaded(&store, NAMES[0]), *world);
        for (seq, then) in past.iter().filter(|(seq, _)| *seq >= floor) {
            is_as_it_was(&store, world, *seq, then);
        }
    }
}

#[test]
fn age_and_number_each_let_go_of_events() {
    for (age, events_max) in [(6, 1_000), (1_000, 20), (6, 20), (2, 20)] {
        let (_dir, store, _) = seconds(16);
        let all = store.events(0, usize::MAX).unwrap();
        let journal = Kept { age: SECOND * age, events_max };
        let retention = Retention { journal, history: Kept::for_age(SECOND * 1_000) };
        while store.prune(Timestamp(16_000), &retention).unwrap().more {}
        let young = |event: &&Event| event.occurred_at.0 + u64::from(age) * 1_000 > 16_000;
        let kept = all.iter().filter(young).count().min(events_max as usize);
        assert_eq!(store.events(store.oldest_seq() - 1, usize::MAX).unwrap().len(), kept);
        assert_eq!(store.oldest_history_seq(), 1);
    }
}

#[test]
fn what_is_kept_reads_as_before() {
    let (_dir, store, past) = seconds(16);
    let (_, world) = past.last().unwrap();
    let all = store.events(0, usize::MAX).unwrap();
    for (now, journal, history) in [(16, 13, 14), (16, 6, 10), (16, 3, 2), (20, 1, 1)] {
        prune(&store, now, journal, history);
        let (oldest, floor) = (store.oldest_seq(), store.oldest_history_seq());
        assert!(floor <= oldest && oldest > 1);
        let first_kept = |age: u32| -> u64 {
            let kept = |event: &&Event| event.occurred_at.0 > (now - u64::from(age)) * 1000;
            all.iter().find(kept).map_or(all.len() as u64 + 1, |event| event.seq)
        };
        assert_eq!((oldest, floor), (first_kept(journal), first_kept(journal.max(history))));
        assert_eq!(store.events(oldest - 2, 9), Err(EventsError::Gone { oldest }));
        assert_eq!(store.events(oldest - 1, usize::MAX).unwrap(), all[oldest as usize - 1..]);
        assert_eq!(loaded(&store, NAMES[0]), *world);
        for (seq, then) in past.iter().filter(|(seq, _)| *seq >= floor) {
            is_as_it_was(&store, world, *seq, then);
        }
    }
}

fn is_as_it_was(store: &Store, world: &World, seq: u64, then: &World) {
    for slot in 0..world.next_user {
        let current = world.groups_of_user(slot);
        let found = store.groups_of_user_at(NAMES[0], slot, &current, seq).unwrap();
        assert_eq!(found, then.groups_of_user(slot));
        let found = store.user_at(NAMES[0], slot, seq).unwrap();
        assert_eq!(found.is_some(), then.users.contains_key(&slot));
    }
    for slot in 0..world.next_group {
        let now = world.members_of_group(slot);
        let found = store.members_of_group_at(NAMES[0], slot, &now.users, &now.groups, seq);
        assert_eq!(found.unwrap(), then.members_of_group(slot));
    }
}

#[test]
fn retention_leaves_no_rows_that_nobody_needs() {
    let (_dir, store, past) = seconds(20);
    let (_, world) = past.last().unwrap();
    prune(&store, 100, 1, 1);
    let slot = store.slot();
    let rows = |prefix: &[u8]| slot.as_ref().unwrap().rows(prefix).unwrap().count();
    assert_eq!(rows(b"j"), 0);
    assert_eq!((rows(b"h"), rows(b"n")), (0, 0));
    assert_eq!(rows(b"v"), world.users.len() + world.groups.len());
}

#[test]
fn a_cleared_directory_is_buried_with_its_last_event() {
    let (_dir, store, _) = seconds(10);
    let world = World::default();
    let mut random = fastrand::Rng::with_seed(1);
    let (_, mut commit) = world.step(&mut random, NAMES[0], 0);
    commit.occurred_at = Timestamp(10_000);
    commit.changes = vec![Change::Cleared];
    store.commit(&commit).unwrap();
    let all = store.events(0, usize::MAX).unwrap();
    let rows = |prefix: &[u8]| store.slot().as_ref().unwrap().rows(prefix).unwrap().count();
    prune(&store, 10, 100, 100);
    assert_eq!((rows(b"e"), rows(b"c"), rows(b"u"), rows(b"h"), rows(b"n")), (0, 0, 0, 0, 0));
    assert_eq!(store.events(0, usize::MAX).unwrap(), all);
    commit.changes = vec![super::world::notice(crate::model::EventKind::DirectoryRemoved)];
    commit.occurred_at = Timestamp(50_000);
    store.commit(&commit).unwrap();
    prune(&store, 100, 60, 60);
    assert_eq!((rows(b"v"), rows(b"x")), (0, 0));
}

#[test]
fn retention_that_crashes_anywhere_is_finished_later() {
    for fault in [1, 2, 3, 4, 5, 7, 10, 14, 20] {
        let (dir, store, past) = seconds(6);
        let (_, world) = past.last().unwrap();
        let all = store.events(0, usize::MAX).unwrap();
        store.slot().as_ref().unwrap().faults.fail_from(fault);
        let [journal, history] = [2, 3].map(|age| Kept::for_age(SECOND * age));
        let retention = Retention { journal, history };
        let _ = store.prune(Timestamp(5_000), &retention);
        drop(store);
        let store = open(dir.path());
        let oldest = store.oldest_seq();
        assert_eq!(store.events(oldest - 1, usize::MAX).unwrap(), all[oldest as usize - 1..]);
        assert_eq!(loaded(&store, NAMES[0]), *world);
        prune(&store, 5, 2, 3);
        let oldest = store.oldest_seq();
        assert!(oldest > 1);
        assert_eq!(store.events(oldest - 1, usize::MAX).unwrap(), all[oldest as usize - 1..]);
    }
}

#[test]
fn a_rewrite_changes_nothing_but_the_size() {
    let mut run = Run::new();
    for seed in 0..40 {
        run.step((seed % 2) as usize, seed, 12, 0, false);
    }
    let delivery = DeliveryRow { seq: 3, ..DeliveryRow::default() };
    run.store().set_delivery("audit", &delivery).unwrap();
    run.store().rewrite(&mut run.store().writer()).unwrap();
    assert_eq!(run.store().delivery("audit").unwrap(), Some(delivery));
    run.step(0, 41, 12, 0, false);
    assert_eq!(folders(&run), ["db-2"]);
    run.finish();
}

#[test]
fn a_rewrite_that_fails_anywhere_leaves_one_whole_store() {
    let mut run = Run::new();
    for seed in 0..6 {
        run.step((seed % 2) as usize, seed, 12, 0, false);
    }
    let mut succeeded = false;
    for fault in (1..6).chain((6..600).step_by(90)) {
        run.store().slot().as_ref().unwrap().faults.fail_from(fault);
        succeeded |= run.store().rewrite(&mut run.store().writer()).is_ok();
        run.reopen();
        run.check();
        run.step(0, 100 + fault as u64, 3, 0, false);
        assert_eq!(folders(&run).len(), 1);
    }
    assert!(succeeded);
    run.finish();
}

#[test]
fn readers_go_on_while_a_rewrite_runs() {
    let (_dir, store, _) = seconds(8);
    let all = store.events(0, usize::MAX).unwrap();
    std::thread::scope(|scope| {
        let rewriting = scope.spawn(|| store.rewrite(&mut store.writer()));
        while !rewriting.is_finished() {
            assert_eq!(store.events(0, usize::MAX).unwrap(), all);
        }
        rewriting.join().unwrap().unwrap();
    });
    assert_eq!(store.events(0, usize::MAX).unwrap(), all);
}

fn folders(run: &Run) -> Vec<String> {
    std::fs::read_dir(run.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("db-"))
        .collect()
}

/// A user by name, as the only change of a commit at a second.
fn named(store: &Store, second: u64, name: &str, put: Put) {
    let user = User { id: "u".into(), username: name.into(), ..User::default() };
    let record = record::encode_user(&UserItem { user, ..UserItem::default() });
    commit(store, second, Change::User { slot: 0, record, put });
}

fn commit(store: &Store, second: u64, change: Change) {
    let (_, mut commit) = World::default().step(&mut fastrand::Rng::with_seed(1), NAMES[0], 0);
    commit.occurred_at = Timestamp(second * 1000);
    commit.changes = vec![change];
    store.commit(&commit).unwrap();
}

fn name_at(store: &Store, second: u64) -> Option<String> {
    let seq = store.seq_at(Timestamp(second * 1000)).unwrap()?;
    store.user_at(NAMES[0], 0, seq).unwrap().map(|item| item.user.username)
}

#[test]
fn history_outlives_events_and_reaches_back_to_what_stood_before_its_oldest_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    named(&store, 10, "ada", Put::Created);
    named(&store, 40, "bea", Put::Updated);
    named(&store, 80, "cleo", Put::Updated);
    prune(&store, 100, 30, 90);
    assert_eq!((store.oldest_seq(), store.oldest_history_seq()), (3, 2));
    // Nothing changed between 10 and 40: what stood then is kept, and known from 10 on.
    assert_eq!(store.oldest_state().unwrap(), (1, Some(Timestamp(10_000))));
    let told = |store: &Store| [9, 10, 39, 40, 79, 80, 100].map(|second| name_at(store, second));
    let expected =
        [None, Some("ada"), Some("ada"), Some("bea"), Some("bea"), Some("cleo"), Some("cleo")]
            .map(|name| name.map(str::to_owned));
    assert_eq!(told(&store), expected);
    assert_eq!(store.formerly_named(NAMES[0], MemberKind::User, "ADA").unwrap(), [0]);
    store.rewrite(&mut store.writer()).unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(told(&store), expected);
    assert_eq!(store.formerly_named(NAMES[0], MemberKind::User, "ada").unwrap(), [0]);
    prune(&store, 500, 1, 1);
    assert_eq!(name_at(&store, 400).as_deref(), Some("cleo"), "a quiet time is no gap");
    assert_eq!((name_at(&store, 79), store.oldest_history_seq()), (None, 4));
    assert_eq!(store.formerly_named(NAMES[0], MemberKind::User, "ada").unwrap(), [0; 0]);
}

#[test]
fn commits_without_events_do_not_shorten_the_time_that_is_kept() {
    let silent = |store: &Store, second: u64| {
        let references = vec![Reference::Id(format!("nobody-{second}"))];
        commit(store, second, Change::Unresolved { group: 0, added: true, references });
        named(store, second + 1, "ada", Put::Silent);
    };
    for later in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        named(&store, 10, "ada", Put::Created);
        silent(&store, 40);
        silent(&store, 99);
        let last = 1 + u64::from(later);
        if later {
            named(&store, 190, "bea", Put::Updated);
        }
        for now in [101, 150, 200] {
            prune(&store, now, 1, 90);
            let told = [9, 10, 99, 189].map(|second| name_at(&store, second));
            let ada = Some("ada".to_owned());
            assert_eq!(told, [None, ada.clone(), ada.clone(), ada], "at {now}");
            assert_eq!(store.oldest_state().unwrap(), (1, Some(Timestamp(10_000))), "at {now}");
            assert_eq!(store.time_of(1).unwrap(), Some(Timestamp(10_000)), "at {now}");
        }
        // The second time there are only blocks without events.
        silent(&store, 200);
        prune(&store, 300, 1, 1);
        let since = if later { 190_000 } else { 10_000 };
        assert_eq!(store.oldest_state().unwrap(), (last, Some(Timestamp(since))));
        drop(store);
        let oldest = open(dir.path()).oldest_state().unwrap();
        assert_eq!(oldest, (last, Some(Timestamp(since))));
    }
}

#[test]
fn a_lost_name_is_found_though_the_id_is_another_spelling_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    named(&store, 1, "U", Put::Created);
    named(&store, 2, "ada", Put::Updated);
    assert_eq!(store.formerly_named(NAMES[0], MemberKind::User, "U").unwrap(), [0]);
}

#[test]
fn a_store_without_rows_of_lost_names_is_given_them_when_it_opens() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    named(&store, 1, "ada", Put::Created);
    named(&store, 2, "bea", Put::Updated);
    commit(&store, 3, Change::UserDeleted { slot: 0, visible: true });
    let names = |store: &Store| -> Vec<(Vec<u8>, Vec<u8>)> {
        let slot = store.slot();
        let rows = slot.as_ref().unwrap().rows(b"n").unwrap().map(Result::unwrap);
        rows.map(|row| (row.key.clone(), row.bytes().to_vec())).collect()
    };
    let derived = names(&store);
    assert_eq!(derived.len(), 3, "ada, bea and the id");
    {
        let slot = store.slot();
        let engine = slot.as_ref().unwrap();
        let mut batch = Batch::default();
        batch.remove(b"N".to_vec());
        derived.iter().for_each(|(key, _)| batch.remove(key.clone()));
        engine.write(&mut batch).unwrap();
    }
    assert_eq!(names(&store), []);
    drop(store);
    assert_eq!(names(&open(dir.path())), derived);
}
