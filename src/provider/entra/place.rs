//! Where a crawl stands: the cursor between crawls, and the token to go on
//! with one that failed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::provider::{Cursor, PullError};

/// To be changed with the meaning of what is stored, so that a new version
/// reads everything anew.
const VERSION: u8 = 2;

/// Between crawls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Place {
    pub version: u8,
    /// Where the next rounds of changes start: by the collection's name.
    pub rounds: BTreeMap<String, String>,
    /// Objects that were told of and could not be read yet, with the number of
    /// attempts: the next crawl tries again.
    #[serde(default)]
    pub pending: Pending,
    #[serde(default)]
    pub patrol: Patrol,
}

/// Objects to read again, by id, with the number of vain attempts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Pending {
    /// By the collection's name.
    pub objects: BTreeMap<String, BTreeMap<String, u32>>,
    pub groups: BTreeMap<String, u32>,
}

/// The rolling re-reading.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Patrol {
    /// When the running rounds were last taken further, in ms since 1970.
    pub users_at: u64,
    pub groups_at: u64,
    /// Where they go on; `None`: at the beginning.
    pub users_next: Option<String>,
    pub groups_next: Option<String>,
    /// How many there were at the last full crawl.
    pub users: u64,
    pub groups: u64,
}

/// In a full crawl.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub version: u8,
    /// The rounds of changes to drain in the end.
    pub rounds: BTreeMap<String, String>,
    /// Collections to list still, the running one first.
    pub kinds: Vec<String>,
    /// Where the running list goes on; `None`: at its beginning.
    pub next: Option<String>,
    /// The running list was read to its end; what is left is to prove that.
    pub list_is_over: bool,
    /// Objects of the running list that showed no properties.
    pub stripped: u64,
    pub groups_are_listed: bool,
    /// Groups whose members are still to be read; `true`: perhaps hidden.
    pub groups: BTreeMap<String, bool>,
    /// Objects listed so far, and what was counted before, by collection.
    pub listed: BTreeMap<String, u64>,
    pub counted: BTreeMap<String, u64>,
    pub pending: Pending,
    pub malformed: u64,
    pub hidden: u64,
    /// Groups whose members were refused, and those whose members were seen.
    pub refused: u64,
    pub seen: u64,
    /// It did not show everything: to be read anew, and not to be gone on with.
    #[serde(skip)]
    pub is_void: bool,
}

impl Place {
    pub(super) fn new(rounds: BTreeMap<String, String>) -> Place {
        Place { version: VERSION, rounds, pending: Pending::default(), patrol: Patrol::default() }
    }

    pub(super) fn read(cursor: &Cursor) -> Result<Place, PullError> {
        decode(&cursor.0).and_then(|place: Place| current(place.version).map(|()| place))
    }

    pub(super) fn cursor(&self) -> Cursor {
        Cursor(encode(self))
    }
}

impl Progress {
    pub(super) fn new(kinds: Vec<String>) -> Progress {
        Progress { version: VERSION, kinds, ..Progress::default() }
    }

    pub(super) fn read(token: &[u8]) -> Result<Progress, PullError> {
        decode(token).and_then(|progress: Progress| current(progress.version).map(|()| progress))
    }

    /// The running list is done with; the next one starts at its beginning.
    pub(super) fn end_list(&mut self) {
        (self.next, self.list_is_over, self.stripped) = (None, false, 0);
    }

    pub(super) fn token(&self) -> Vec<u8> {
        encode(self)
    }
}

fn current(version: u8) -> Result<(), PullError> {
    if version == VERSION { Ok(()) } else { Err(expired("another version wrote it".to_owned())) }
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, PullError> {
    serde_json::from_slice(bytes).map_err(|error| expired(error.to_string()))
}

fn expired(reason: String) -> PullError {
    PullError::CursorExpired { reason }
}

/// Maps with text keys and plain values can always be written.
fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
