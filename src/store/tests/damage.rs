//! Damaged files are never believed: they are set aside, and a new store goes on.

use std::fs;
use std::path::Path;

use super::crash::{NAMES, Run, copy_all};
use super::world::{World, loaded, notice, user};
use crate::clock::Timestamp;
use crate::model::{Change, Commit, EventKind, Progress, Put};
use crate::store::error::Trouble;
use crate::store::faults;
use crate::store::{EventsError, OpenError, Opening, Options, Store, StoreError, record};

/// A closed store with something in it.
fn stored() -> Run {
    let mut run = Run::new();
    for seed in 40..46 {
        run.step((seed % 2) as usize, seed, 14, 0, false);
    }
    run.reopen();
    run
}

fn reopened(dir: &Path) -> (Store, Opening) {
    Store::open(dir, Options { cache_bytes: 1 << 20 }).unwrap()
}

/// What the store says is what was committed, or it says that it is damaged.
fn is_right_or_rebuilt(run: &Run, dir: &Path) -> bool {
    let (store, opening) = reopened(dir);
    if opening == Opening::Existing {
        if says_the_same(run, &store).is_ok() {
            return true;
        }
        store.set_aside("a row is damaged").unwrap();
    }
    goes_on_anew(run, &store);
    false
}

fn says_the_same(run: &Run, store: &Store) -> Result<(), StoreError> {
    match store.events(0, usize::MAX) {
        Ok(events) => assert!(events == run.seen, "wrong events were told"),
        Err(EventsError::Store(error)) => return Err(damage(error)),
        Err(other) => panic!("{other}"),
    }
    for (name, world) in NAMES.iter().zip(&run.worlds) {
        let mut found = World::default();
        store.load(name, &mut found).map_err(damage)?;
        assert!(found == *world, "a wrong directory was loaded");
    }
    Ok(())
}

fn damage(error: StoreError) -> StoreError {
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    error
}

/// After a rebuild nothing is there, no seq is used again, and commits work.
fn goes_on_anew(run: &Run, store: &Store) {
    let last = run.seen.len() as u64;
    assert_eq!((store.last_seq(), store.oldest_seq()), (last, last + 1));
    assert_eq!(store.events(0, 1), Err(EventsError::Gone { oldest: last + 1 }));
    assert_eq!(store.events(last, 10).unwrap(), []);
    for (name, world) in NAMES.iter().zip(&run.worlds) {
        assert_eq!(store.is_rebuilding(name), *world != World::default());
        assert_eq!(loaded(store, name), World::default());
    }
    assert!(store.directories().unwrap().iter().all(|row| row.rebuilding));
    let record = record::encode_user(&user(0, &mut fastrand::Rng::with_seed(5)));
    let changes = vec![
        Change::User { slot: 0, record, put: Put::Silent },
        notice(EventKind::DirectorySynced),
    ];
    let commit = Commit {
        directory: NAMES[0].into(),
        tenant: "acme".into(),
        product: "vpn".into(),
        occurred_at: Timestamp(9),
        changes,
        cause: crate::model::Cause::First,
        progress: Progress { as_of: Some(Timestamp(9)), ..Progress::default() },
    };
    assert_eq!(store.commit(&commit).unwrap().first_seq, last + 1);
    assert!(!store.is_rebuilding(NAMES[0]));
    let events = store.events(last, 10).unwrap();
    assert_eq!(
        events.iter().map(|event| event.kind).collect::<Vec<_>>(),
        [EventKind::DirectorySynced]
    );
    assert_ne!(events[0].id[..20], run.seen[0].id[..20]);
    assert_eq!(loaded(store, NAMES[0]).users.len(), 1);
}

#[test]
fn a_flipped_bit_never_gives_wrong_data() {
    let run = stored();
    let image = tempfile::tempdir().unwrap();
    copy_all(run.dir.path(), image.path());
    let database = fs::read(image.path().join("db-1/db")).unwrap();
    let used: Vec<usize> = (0..database.len()).filter(|&at| database[at] != 0).collect();
    let mut random = fastrand::Rng::with_seed(17);
    for _ in 0..40 {
        let copy = tempfile::tempdir().unwrap();
        copy_all(image.path(), copy.path());
        let mut bytes = database.clone();
        bytes[used[random.usize(..used.len())]] ^= 1 << random.u8(..8);
        fs::write(copy.path().join("db-1/db"), bytes).unwrap();
        is_right_or_rebuilt(&run, copy.path());
    }
}

#[test]
fn damaged_settings_of_the_engine_are_damage() {
    let run = stored();
    let image = tempfile::tempdir().unwrap();
    copy_all(run.dir.path(), image.path());
    let settings = fs::read(image.path().join("db-1/conf")).unwrap();
    for at in (0..settings.len()).step_by(3) {
        let copy = tempfile::tempdir().unwrap();
        copy_all(image.path(), copy.path());
        let mut bytes = settings.clone();
        bytes[at] ^= 1;
        fs::write(copy.path().join("db-1/conf"), bytes).unwrap();
        is_right_or_rebuilt(&run, copy.path());
    }
}

#[test]
fn a_cut_off_file_is_set_aside() {
    let run = stored();
    let image = tempfile::tempdir().unwrap();
    copy_all(run.dir.path(), image.path());
    let len = fs::metadata(image.path().join("db-1/db")).unwrap().len();
    for part in 0..10 {
        let copy = tempfile::tempdir().unwrap();
        copy_all(image.path(), copy.path());
        let file = fs::OpenOptions::new().write(true).open(copy.path().join("db-1/db")).unwrap();
        file.set_len(len * part / 10 + part).unwrap();
        is_right_or_rebuilt(&run, copy.path());
    }
}

#[test]
fn a_database_that_lost_its_last_commits_is_set_aside() {
    let mut run = stored();
    let image = tempfile::tempdir().unwrap();
    copy_all(run.dir.path(), image.path());
    run.step(0, 99, 10, 0, true);
    fs::copy(run.dir.path().join("high-water"), image.path().join("high-water")).unwrap();
    assert!(!is_right_or_rebuilt(&run, image.path()));
    let names: Vec<String> = fs::read_dir(image.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.contains(&"db-1.damaged-1".to_owned()), "{names:?}");
}

#[test]
fn a_missing_database_is_rebuilt() {
    let run = stored();
    let image = tempfile::tempdir().unwrap();
    copy_all(run.dir.path(), image.path());
    fs::remove_dir_all(image.path().join("db-1")).unwrap();
    assert!(!is_right_or_rebuilt(&run, image.path()));
    assert_eq!(reopened(image.path()).1, Opening::Existing);
}

#[test]
fn a_damaged_pointer_costs_nothing() {
    let run = stored();
    for pointer in ["", "\u{7f}", "db-", "db-3\n", "dc-1\n"] {
        let image = tempfile::tempdir().unwrap();
        copy_all(run.dir.path(), image.path());
        fs::write(image.path().join("current"), pointer).unwrap();
        assert!(is_right_or_rebuilt(&run, image.path()), "{pointer:?}");
        assert_eq!(fs::read_to_string(image.path().join("current")).unwrap(), "db-1\n");
    }
}

#[test]
fn a_pointer_to_one_of_two_that_is_not_there_is_damage() {
    let run = stored();
    let image = tempfile::tempdir().unwrap();
    copy_all(run.dir.path(), image.path());
    fs::create_dir(image.path().join("db-2")).unwrap();
    copy_all(&image.path().join("db-1"), &image.path().join("db-2"));
    fs::write(image.path().join("current"), "db-3\n").unwrap();
    assert!(!is_right_or_rebuilt(&run, image.path()));
    assert!(image.path().join("db-1.damaged-1/db").exists());
}

#[test]
fn damage_that_is_met_twice_is_believed() {
    let run = stored();
    let image = tempfile::tempdir().unwrap();
    copy_all(run.dir.path(), image.path());
    let (store, _) = reopened(image.path());
    assert!(!store.is_in_doubt());
    let met = || store.met(Trouble::Damaged("a bad moment".to_owned()));
    met();
    assert!(store.is_in_doubt());
    store.settle_doubt().unwrap();
    assert!(!store.is_in_doubt());
    says_the_same(&run, &store).unwrap();
    met();
    let believed = store.settle_doubt().unwrap_err();
    assert!(matches!(believed, StoreError::Corrupt { .. }), "{believed}");
    store.set_aside("it was met twice").unwrap();
    goes_on_anew(&run, &store);
    met();
    store.settle_doubt().unwrap();
}

#[test]
fn a_damaged_snapshot_costs_nothing() {
    let run = stored();
    let image = tempfile::tempdir().unwrap();
    copy_all(run.dir.path(), image.path());
    fs::write(image.path().join("db-1/snap.00000000FFFFFFFF"), b"no snapshot").unwrap();
    assert!(is_right_or_rebuilt(&run, image.path()));
}

#[test]
fn what_is_no_damage_sets_nothing_aside() {
    let run = stored();
    let image = tempfile::tempdir().unwrap();
    copy_all(run.dir.path(), image.path());
    let (file, kept) = (image.path().join("db-1/db"), image.path().join("db-1/kept"));
    fs::rename(&file, &kept).unwrap();
    fs::create_dir(&file).unwrap();
    let refused = Store::open(image.path(), Options::default()).unwrap_err();
    assert!(matches!(refused, OpenError::Unavailable { .. }), "{refused}");
    fs::remove_dir(&file).unwrap();
    fs::rename(&kept, &file).unwrap();
    assert!(is_right_or_rebuilt(&run, image.path()));
}

#[test]
fn without_a_mark_no_seq_is_used_again() {
    let run = stored();
    let image = tempfile::tempdir().unwrap();
    copy_all(run.dir.path(), image.path());
    for name in ["high-water", "db-1/db", "directories"] {
        fs::write(image.path().join(name), b"x").unwrap();
    }
    let (store, opening) = reopened(image.path());
    assert!(matches!(opening, Opening::Rebuilt { .. }), "{opening:?}");
    assert!(store.last_seq() > 1_000_000_000_000);
    assert!(store.is_rebuilding("whoever"));
}

#[test]
fn several_read_errors_in_a_row_at_the_start_cost_nothing() {
    let run = stored();
    let copy = tempfile::tempdir().unwrap();
    copy_all(run.dir.path(), copy.path());
    faults::fail_reads(3);
    let (store, opening) = reopened(copy.path());
    assert_eq!((opening, faults::reads_left()), (Opening::Existing, 0));
    says_the_same(&run, &store).unwrap();
}

#[test]
fn several_read_errors_in_a_row_while_it_is_opened_again_cost_nothing() {
    let run = stored();
    run.store().slot().as_ref().unwrap().give_up();
    faults::fail_reads(3);
    for left in (0..3).rev() {
        let error = run.store().events(0, 1).unwrap_err();
        assert!(
            matches!(&error, EventsError::Store(StoreError::Unavailable { .. })),
            "refuses, and tries again: {error}"
        );
        assert_eq!(faults::reads_left(), left);
    }
    assert!(!run.store().is_in_doubt(), "a disk that cannot be read is no damage");
    says_the_same(&run, run.store()).unwrap();
}
