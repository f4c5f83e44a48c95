//! References that nobody is: rows of long lists, of short ones, of earlier versions.

use std::collections::BTreeMap;

use super::world::{World, group, loaded, open};
use crate::clock::Timestamp;
use crate::model::{Cause, Change, Commit, Progress, Put, Reference};
use crate::store::block::{Block, Entry, Name};
use crate::store::engine::Batch;
use crate::store::{Store, commit, record, row};

const LONG: u32 = 3000;

fn id(number: u32) -> Reference {
    Reference::User(format!("somebody {number:06}"))
}

fn ids(numbers: impl IntoIterator<Item = u32>) -> Vec<Reference> {
    numbers.into_iter().map(id).collect()
}

fn told(store: &Store, changes: Vec<Change>) {
    let commit = Commit {
        directory: "corp".into(),
        tenant: "acme".into(),
        product: "vpn".into(),
        occurred_at: Timestamp(1000),
        changes,
        cause: Cause::Unknown,
        progress: Progress { as_of: Some(Timestamp(1)), ..Progress::default() },
    };
    store.commit(&commit).unwrap();
}

fn change(store: &Store, added: bool, references: Vec<Reference>) {
    told(store, vec![Change::Unresolved { group: 0, added, references }]);
}

/// A store with one group, in whose list are so many that nobody is.
fn with_list(dir: &std::path::Path, count: u32) -> Store {
    let store = open(dir);
    let record = record::encode_group(&group(0, &mut fastrand::Rng::with_seed(1)));
    told(&store, vec![Change::Group { slot: 0, record, put: Put::Created }]);
    change(&store, true, ids((0..count).map(|number| number * 2)));
    store
}

fn list(store: &Store) -> Vec<Reference> {
    loaded(store, "corp").unresolved.remove(&0).unwrap_or_default()
}

/// All rows of one kind with their values.
fn rows(store: &Store, prefix: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let slot = store.slot();
    let rows = slot.as_ref().unwrap().rows(prefix).unwrap();
    rows.map(|row| row.map(|row| (row.key.clone(), row.bytes().to_vec())).unwrap()).collect()
}

fn bytes_of_new_rows(store: &Store, prefix: &[u8], work: impl FnOnce()) -> usize {
    let before = rows(store, prefix);
    work();
    let new = rows(store, prefix).into_iter().filter(|(key, value)| before.get(key) != Some(value));
    new.map(|(key, value)| key.len() + value.len()).sum()
}

#[test]
fn what_a_change_writes_does_not_grow_with_the_list() {
    let written = |count: u32| {
        let dir = tempfile::tempdir().unwrap();
        let store = with_list(dir.path(), count);
        let journal = bytes_of_new_rows(&store, row::BLOCKS, || {
            change(&store, true, vec![id(7)]);
            change(&store, false, vec![id(4)]);
        });
        let state = bytes_of_new_rows(&store, &row::unresolved(0), || {
            change(&store, true, vec![id(9)]);
        });
        let left: Vec<u32> = (0..count).map(|number| number * 2).filter(|n| *n != 4).collect();
        let mut expected = ids(left.into_iter().chain([7, 9]));
        expected.sort();
        assert_eq!(list(&store), expected);
        (journal, state)
    };
    let (journal, state) = written(40);
    let (journal_of_long, state_of_long) = written(LONG);
    // Numbers of blocks and commits may be a byte longer.
    assert!(journal_of_long <= journal + 8, "{journal} and then {journal_of_long}");
    // In tests sixteen rows share a list, so it is a share that is written.
    assert!(state > 0 && state_of_long < LONG as usize * 20 / 16 * 2, "{state_of_long}");
}

#[test]
fn a_long_list_of_an_earlier_version_is_read_and_then_spread() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_list(dir.path(), 0);
    let names: Vec<Name> = ids(0..200).iter().map(Name::from).collect();
    let key = row::unresolved_of(0, 0);
    let mut batch = Batch::default();
    batch.put_encoded(key.clone(), &names).unwrap();
    store.slot().as_ref().unwrap().write(&mut batch).unwrap();
    assert_eq!(list(&store), ids(0..200));
    change(&store, false, ids([3, 5]));
    assert_eq!(list(&store), ids((0..200).filter(|number| ![3, 5].contains(number))));
    assert!(!rows(&store, &key).contains_key(&key), "it is spread");
    let part = [b"p", key.as_slice(), &0u32.to_be_bytes()].concat();
    let part = store.slot().as_ref().unwrap().get(&part).unwrap();
    assert!(part.is_none(), "its parts are gone too");
    change(&store, false, ids((0..200).filter(|number| ![3, 5].contains(number))));
    assert_eq!((list(&store), rows(&store, &key)), (vec![], BTreeMap::new()));
    change(&store, true, ids([1]));
    assert_eq!((list(&store), rows(&store, &key).len()), (ids([1]), 1));
}

/// The commit of an earlier version that was made, but not applied.
#[test]
fn a_complete_list_that_an_earlier_version_journaled_replaces_what_was_there() {
    for before in [0, 2, 100] {
        let dir = tempfile::tempdir().unwrap();
        let store = with_list(dir.path(), before);
        let references: Vec<Name> = ids(500..700).iter().map(Name::from).collect();
        let mut marker = store.writer().head.marker.clone();
        (marker.commit, marker.first_seq) = (marker.commit + 1, marker.last_seq + 1);
        (marker.first_block, marker.next_block) = (marker.next_block, marker.next_block + 1);
        let block = Block {
            number: marker.first_block,
            commit: marker.commit,
            directory: "corp".into(),
            first_seq: marker.first_seq,
            entries: vec![Entry::AllUnresolved { group: 0, references }],
            ..Block::default()
        };
        let mut batch = Batch::default();
        batch.put(block.key(), &block.encode().unwrap());
        {
            let slot = store.slot();
            let engine = slot.as_ref().unwrap();
            engine.write(&mut batch).unwrap();
            commit::set_marker(engine, &marker).unwrap();
        }
        drop(store);
        let store = open(dir.path());
        assert_eq!(list(&store), ids(500..700));
        assert_eq!(store.events(0, usize::MAX).unwrap().len(), 1, "it tells nobody");
    }
}

#[test]
fn a_deleted_group_leaves_none_of_its_names() {
    for count in [2, LONG] {
        let dir = tempfile::tempdir().unwrap();
        let store = with_list(dir.path(), count);
        told(&store, vec![Change::GroupDeleted { slot: 0, visible: true }]);
        assert_eq!(rows(&store, &row::unresolved(0)), BTreeMap::new());
        let World { groups, unresolved, .. } = loaded(&store, "corp");
        assert!(groups.is_empty() && unresolved.is_empty());
    }
}
