//! What the store remembers beside records: the marker and directory rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::error::Trouble;
use super::held::StoredHold;
use super::home::Known;
use super::row;
use crate::clock::Timestamp;
use crate::model::{Hold, Progress};

/// The commit point: everything that is needed to finish the commit it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    /// Drawn when the store is made; in every event id, so that a rebuilt store
    /// never repeats one.
    pub epoch: u64,
    pub commit: u64,
    /// The commit's events; `last_seq` is `first_seq - 1` when it has none.
    pub first_seq: u64,
    pub last_seq: u64,
    /// The commit's blocks: `first_block..next_block`.
    pub first_block: u64,
    pub next_block: u64,
    pub occurred_at: u64,
    pub next_dir: u32,
    /// Where the journal's time went back because the clock had been wrong.
    pub turns: Vec<Turn>,
    pub rebuilding: Rebuilding,
    /// The directory's new row; `None` when it is gone.
    pub directory: Option<DirState>,
    /// Directories that the commit dropped.
    pub gone: Vec<u32>,
}

/// From `seq` on, the journal's time runs anew from `time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Turn {
    pub seq: u64,
    pub time: u64,
}

/// The directories whose first commit after a rebuild is yet to come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rebuilding {
    /// The list was lost too: every name that is not stored.
    pub everyone: bool,
    pub known: Vec<Known>,
}

/// A directory's row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DirState {
    pub id: u32,
    pub name: String,
    pub tenant: String,
    pub product: String,
    pub progress: StoredProgress,
    /// Membership history begins after this seq.
    pub first_seq: u64,
    pub users: u64,
    pub groups: u64,
    pub next_user: u32,
    pub next_group: u32,
}

/// [`Progress`] as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredProgress {
    cursor: Option<Vec<u8>>,
    fingerprint: String,
    pub as_of: Option<u64>,
    full_at: Option<u64>,
    failing: bool,
    stale: bool,
    hold: Option<Box<StoredHold>>,
}

/// Which seqs are still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Retained {
    /// The first seq that readers of events are given.
    pub oldest: u64,
    /// The first seq whose block is kept, for questions about the past.
    pub floor: u64,
}

/// What the writer knows; the mutex around it serialises commits.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub marker: Marker,
    pub retained: Retained,
    /// Since when the state is known that the oldest block starts from.
    pub floor_since: Option<u64>,
    pub dirs: BTreeMap<String, DirState>,
}

impl Marker {
    /// The marker of a store in which nothing was committed yet.
    pub(super) fn first(epoch: u64, last_seq: u64, rebuilding: Rebuilding) -> Marker {
        Marker {
            epoch,
            commit: 0,
            first_seq: last_seq + 1,
            last_seq,
            first_block: 0,
            next_block: 0,
            occurred_at: 0,
            next_dir: 0,
            turns: Vec::new(),
            rebuilding,
            directory: None,
            gone: Vec::new(),
        }
    }
}

impl Rebuilding {
    pub(super) fn covers(&self, name: &str) -> bool {
        self.everyone || self.known.iter().any(|known| known.name == name)
    }

    pub(super) fn done(&mut self, name: &str) {
        self.known.retain(|known| known.name != name);
    }
}

impl Head {
    /// Reads what the database says.
    pub(super) fn read(engine: &Engine, marker: Marker) -> Result<Head, Trouble> {
        let mut dirs = BTreeMap::new();
        for found in engine.rows(row::DIRECTORIES)? {
            let dir: DirState = found?.decode()?;
            dirs.insert(dir.name.clone(), dir);
        }
        let retained = engine
            .get(row::RETAINED)?
            .ok_or_else(|| row::damaged(row::RETAINED, "it is missing"))?
            .decode::<Retained>()?;
        let since = engine.get(row::FLOOR)?.map(|row| row.decode::<(u64, u64)>()).transpose()?;
        let floor_since = since.and_then(|since| since_of(&retained, since));
        Ok(Head { marker, retained, floor_since, dirs })
    }

    /// Follows a commit that was made.
    pub(super) fn take(&mut self, marker: Marker, directory: &str) {
        match &marker.directory {
            Some(dir) => self.dirs.insert(dir.name.clone(), dir.clone()),
            None => self.dirs.remove(directory),
        };
        self.marker = marker;
    }

    /// Whether the directory's first sealed commit after a rebuild is yet to come.
    pub(super) fn is_rebuilding(&self, name: &str) -> bool {
        let settled = self.dirs.get(name).is_some_and(|dir| dir.progress.as_of.is_some());
        !settled && self.marker.rebuilding.covers(name)
    }
}

/// The row of the floor, when it is of this one.
fn since_of(retained: &Retained, (floor, since): (u64, u64)) -> Option<u64> {
    (retained.floor == floor).then_some(since)
}

impl DirState {
    pub(super) fn known(&self) -> Known {
        Known {
            name: self.name.clone(),
            tenant: self.tenant.clone(),
            product: self.product.clone(),
        }
    }

    /// Whether it never had a user or a group.
    pub(super) fn is_untouched(&self) -> bool {
        self.next_user == 0 && self.next_group == 0
    }
}

impl From<&Progress> for StoredProgress {
    fn from(progress: &Progress) -> StoredProgress {
        StoredProgress {
            cursor: progress.cursor.clone(),
            fingerprint: progress.fingerprint.clone(),
            as_of: progress.as_of.map(|moment| moment.0),
            full_at: progress.full_at.map(|moment| moment.0),
            failing: progress.failing,
            stale: progress.stale,
            hold: progress.hold.as_deref().map(|hold| Box::new(StoredHold::from(hold))),
        }
    }
}

impl From<&StoredProgress> for Progress {
    fn from(stored: &StoredProgress) -> Progress {
        Progress {
            cursor: stored.cursor.clone(),
            fingerprint: stored.fingerprint.clone(),
            as_of: stored.as_of.map(Timestamp),
            full_at: stored.full_at.map(Timestamp),
            failing: stored.failing,
            stale: stored.stale,
            hold: stored.hold.as_deref().map(|hold| Box::new(Hold::from(hold))),
        }
    }
}
