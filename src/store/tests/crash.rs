//! Every write of a commit fails once: all of it is there afterwards, or nothing.

use proptest::prelude::*;

use super::world::{Folded, World, loaded, open};
use crate::model::{Commit, Event};
use crate::store::{Merging, Store, StoreError};

/// Two directories, their store, and what a reader of events has seen.
pub struct Run {
    pub dir: tempfile::TempDir,
    store: Option<Store>,
    pub worlds: [World; 2],
    pub seen: Vec<Event>,
    folded: [Folded; 2],
    merging: Option<Merging>,
}

pub const NAMES: [&str; 2] = ["corp", "lab"];

impl Run {
    pub fn new() -> Run {
        let dir = tempfile::tempdir().unwrap();
        let store = Some(open(dir.path()));
        Run {
            dir,
            store,
            worlds: Default::default(),
            seen: Vec::new(),
            folded: Default::default(),
            merging: None,
        }
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    pub fn reopen(&mut self) {
        (self.store, self.merging) = (None, None);
        self.store = Some(open(self.dir.path()));
    }

    /// Goes on with the merge of what waits, or begins one. What fails is begun
    /// anew the next time.
    fn merge_some(&mut self, pieces: u64) {
        for _ in 0..pieces {
            let begun =
                self.merging.take().map_or_else(|| self.store().begin_merge(), |m| Ok(Some(m)));
            let Ok(Some(mut merging)) = begun else { return };
            if self.store().merge(&mut merging) == Ok(true) {
                self.merging = Some(merging);
            }
        }
    }

    /// One commit, failing from the given write on (never, for 0).
    pub fn step(&mut self, which: usize, seed: u64, size: usize, fault: i64, reopen: bool) {
        let mut random = fastrand::Rng::with_seed(seed);
        self.merge_some(random.u64(0..3));
        let (after, commit) = self.worlds[which].step(&mut random, NAMES[which], size);
        if fault > 0 {
            self.store().slot().as_ref().unwrap().faults.fail_from(fault);
        }
        let outcome = self.store().commit(&commit);
        if reopen {
            self.reopen();
        }
        let stands = match outcome {
            Ok(_) => true,
            Err(StoreError::Uncertain { .. }) => self.stands(&commit),
            Err(StoreError::Unavailable { .. }) => false,
            Err(other) => panic!("{other}"),
        };
        if stands {
            self.worlds[which] = after;
        }
        self.check();
    }

    fn stands(&self, commit: &Commit) -> bool {
        let rows = self.store().directories().unwrap();
        match rows.iter().find(|row| row.name == commit.directory) {
            Some(row) => row.progress.fingerprint == commit.progress.fingerprint,
            None => commit.changes.first() == Some(&crate::model::Change::Cleared),
        }
    }

    pub fn check(&mut self) {
        for (name, world) in NAMES.iter().zip(&self.worlds) {
            assert_eq!(loaded(self.store(), name), *world);
        }
        let new = self.store().events(self.seen.len() as u64, usize::MAX).unwrap();
        for event in &new {
            let which = usize::from(event.directory == NAMES[1]);
            assert_eq!(event.seq, self.seen.len() as u64 + 1);
            self.folded[which].follow(event);
            self.seen.push(event.clone());
        }
        for (folded, world) in self.folded.iter().zip(&self.worlds) {
            assert_eq!(*folded, world.folded());
        }
        assert_eq!(self.store().last_seq(), self.seen.len() as u64);
    }

    /// What was read once reads the same for ever.
    pub fn finish(mut self) {
        self.reopen();
        self.check();
        assert_eq!(self.store().events(0, usize::MAX).unwrap(), self.seen);
    }
}

#[test]
fn a_commit_that_fails_at_any_write_is_whole_or_not_there() {
    for reopen in [false, true] {
        let mut run = Run::new();
        run.step(0, 1, 10, 0, false);
        for fault in 1..40 {
            run.step(0, 100 + fault as u64, 10, fault, reopen);
        }
        run.finish();
    }
}

#[test]
fn what_a_killed_process_leaves_has_every_commit() {
    let mut run = Run::new();
    for seed in 0..12 {
        run.step((seed % 2) as usize, seed, 9, 0, false);
        let image = tempfile::tempdir().unwrap();
        copy_all(run.dir.path(), image.path());
        let store = open(image.path());
        assert_eq!(store.events(0, usize::MAX).unwrap(), run.seen);
        for (name, world) in NAMES.iter().zip(&run.worlds) {
            assert_eq!(loaded(&store, name), *world);
        }
    }
}

/// Copies what another process would find on disk now.
pub fn copy_all(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_folded_journal_is_the_committed_directory_at_every_seq(
        steps in prop::collection::vec(
            (0..2usize, any::<u64>(), 0..14usize, prop_oneof![2 => Just(0), 1 => 1..25i64], prop::bool::weighted(0.2)),
            1..20,
        )
    ) {
        let mut run = Run::new();
        for (which, seed, size, fault, reopen) in steps {
            run.step(which, seed, size, fault, reopen);
        }
        run.finish();
    }
}
