//! How writers to databrokers are doing.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;

/// What a writer is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Not connected yet, or waiting after a failure.
    #[default]
    Waiting,
    /// Another holds the lease.
    Standby,
    /// Holds the lease.
    Writing,
}

/// One writer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriterStatus {
    pub name: String,
    pub state: State,
    /// Everything up to this event is written.
    pub seq: u64,
    /// Events beyond it; 0 while another writes.
    pub backlog: u64,
    pub put_total: u64,
    pub deleted_total: u64,
    pub failed_total: u64,
    /// How often everything was read from the databroker.
    pub listed_total: u64,
    /// Records that are larger than a request may be.
    pub refused: u64,
    /// Users with no id, or with one that others have too.
    pub left_out: u64,
    /// When everything was last known to be written.
    pub written_at: Option<Timestamp>,
    pub last_error: Option<String>,
}

/// All writers.
#[derive(Debug, Default)]
pub struct Statuses(Mutex<BTreeMap<String, WriterStatus>>);

impl Statuses {
    /// All writers by name; `last_seq` is the journal's.
    pub fn snapshot(&self, last_seq: u64) -> Vec<WriterStatus> {
        let all = self.lock();
        let backlog = |status: &WriterStatus| match status.state {
            State::Standby => 0,
            State::Waiting | State::Writing => last_seq.saturating_sub(status.seq),
        };
        all.values().map(|one| WriterStatus { backlog: backlog(one), ..one.clone() }).collect()
    }

    /// Forgets a writer that does not run any more.
    pub fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    /// Counters go on where one of this name was before.
    pub(super) fn add(&self, name: &str) {
        let mut all = self.lock();
        let status = all.entry(name.to_owned()).or_default();
        status.name = name.to_owned();
        status.state = State::Waiting;
    }

    pub(super) fn update(&self, name: &str, change: impl FnOnce(&mut WriterStatus)) {
        if let Some(status) = self.lock().get_mut(name) {
            change(status);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, WriterStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
