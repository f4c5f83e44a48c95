//! How far a full crawl got: the token of its checkpoints.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::again::Again;
use crate::clock::Timestamp;
use crate::provider::PullError;

const VERSION: u8 = 2;

/// Which list is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    Users,
    Groups,
    Members,
}

/// All that a crawl needs to go on. Page tokens are good for three days.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    version: u8,
    /// In milliseconds.
    started: u64,
    pub phase: Phase,
    /// Which domain, and the page to read next.
    pub part: usize,
    pub page: Option<String>,
    pub users: u64,
    pub groups: u64,
    /// Groups whose members are still to be read, with their counts.
    pub pending: BTreeMap<String, Option<u64>>,
    /// Groups whose members were handed over.
    pub done: BTreeSet<String>,
    /// Members of our own domains whom the list of users did not name.
    pub suspects: BTreeMap<String, String>,
    /// Groups in groups that the list of groups did not name.
    pub suspect_groups: BTreeSet<String>,
    /// Groups with everybody as a member.
    pub everybody: BTreeSet<String>,
    /// Our own customer id.
    pub customer: Option<String>,
    pub malformed: u64,
    pub forbidden: u64,
    /// Groups whose lists are shorter than their counts.
    pub short: u64,
    pub again: Again,
}

impl Progress {
    pub fn new(started: Timestamp) -> Progress {
        Progress {
            version: VERSION,
            started: started.0,
            phase: Phase::Users,
            part: 0,
            page: None,
            users: 0,
            groups: 0,
            pending: BTreeMap::new(),
            done: BTreeSet::new(),
            suspects: BTreeMap::new(),
            suspect_groups: BTreeSet::new(),
            everybody: BTreeSet::new(),
            customer: None,
            malformed: 0,
            forbidden: 0,
            short: 0,
            again: Again::default(),
        }
    }

    /// # Errors
    /// [`PullError::CursorExpired`] when it is none of ours.
    pub fn read(token: &[u8]) -> Result<Progress, PullError> {
        let expired = |reason: String| PullError::CursorExpired { reason };
        let progress: Progress = serde_json::from_slice(token)
            .map_err(|error| expired(format!("the checkpoint cannot be read: {error}")))?;
        if progress.version != VERSION {
            return Err(expired("the checkpoint is of another version".to_owned()));
        }
        Ok(progress)
    }

    pub fn token(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub fn started(&self) -> Timestamp {
        Timestamp(self.started)
    }

    /// The list of users from its beginning, in whatever phase the crawl is.
    pub fn start_users(&mut self) {
        (self.part, self.page, self.users) = (0, None, 0);
    }

    /// The list of groups from its beginning, whatever an attempt had of it.
    pub fn start_groups(&mut self) {
        self.enter(Phase::Groups);
        self.groups = 0;
    }

    /// Goes on with the first page of the next list.
    pub fn enter(&mut self, phase: Phase) {
        (self.phase, self.part, self.page) = (phase, 0, None);
    }
}
