//! Where a crawl stands: the cursor between crawls, and the token to go on
//! with one that failed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::{Duration, Timestamp};
use crate::provider::{Cursor, PullError};

/// To be changed with the meaning of what is stored, so that a new version
/// reads everything anew.
const VERSION: u8 = 3;

/// So far behind the others a replica of the directory may be. Graph names no
/// bound ("delays vary"); its own examples are minutes.
const LAG_MAX: Duration = Duration::from_mins(15);

/// Where rounds of changes start: by the collection's name.
pub(super) type Links = BTreeMap<String, String>;

/// Between crawls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Place {
    pub version: u8,
    /// Where the next rounds of changes start.
    pub rounds: Links,
    pub earlier: Earlier,
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

/// Where rounds of changes started a while ago. What they told since then is
/// newer than any list: a replica that lags may show who was removed, and hide
/// who came.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Earlier {
    /// At least [`LAG_MAX`] ago, as soon as rounds are followed for that long.
    pub links: Links,
    /// What takes the place of those in time, and since when it is there.
    newer: Links,
    at: u64,
}

/// The rolling re-reading.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Patrol {
    pub users: Walk,
    pub groups: Walk,
    /// Groups that were listed, and whose turn comes.
    pub waiting: Vec<String>,
}

/// One list, read over many polls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Walk {
    /// When it was last taken further, in ms since 1970.
    pub at: u64,
    /// How many there were at the last full crawl.
    pub total: u64,
    /// Where it goes on; `None`: at the beginning.
    pub next: Option<String>,
    /// Pages read of it.
    pub pages: u64,
}

/// In a full crawl.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub version: u8,
    /// The rounds of changes to drain in the end, unless `earlier` will do.
    pub rounds: Links,
    pub earlier: Earlier,
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
    /// Nothing is pending, and nothing was read again yet.
    pub(super) fn new(rounds: Links, earlier: Earlier) -> Place {
        let (pending, patrol) = (Pending::default(), Patrol::default());
        Place { version: VERSION, rounds, earlier, pending, patrol }
    }

    pub(super) fn read(cursor: &Cursor) -> Result<Place, PullError> {
        decode(&cursor.0).and_then(|place: Place| current(place.version).map(|()| place))
    }

    pub(super) fn cursor(&self) -> Cursor {
        Cursor(encode(self))
    }
}

impl Earlier {
    /// After rounds that started at `links`.
    pub(super) fn pass(&mut self, links: &Links, now: Timestamp) {
        if self.links.is_empty() {
            *self = Earlier { links: links.clone(), newer: links.clone(), at: now.0 };
        } else if Timestamp(self.at).plus(LAG_MAX) <= now || Timestamp(self.at) > now {
            let newer = std::mem::replace(&mut self.newer, links.clone());
            (self.links, self.at) = (newer, now.0);
        }
    }
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.objects.values().all(BTreeMap::is_empty)
    }
}

impl Patrol {
    /// From the beginning, after everything was read at `now`.
    pub(super) fn new(users: u64, groups: u64, now: Timestamp) -> Patrol {
        let walk = |total| Walk { at: now.0, total, ..Walk::default() };
        Patrol { users: walk(users), groups: walk(groups), waiting: Vec::new() }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn links(name: &str) -> Links {
        Links::from([("users".to_owned(), name.to_owned())])
    }

    #[test]
    fn the_earlier_links_are_as_old_as_replicas_lag_and_not_much_older() {
        let mut earlier = Earlier::default();
        let minute = |n: u64| Timestamp(n * 60_000);
        for n in 0..100 {
            earlier.pass(&links(&n.to_string()), minute(n));
            let kept: u64 = earlier.links["users"].parse().unwrap();
            assert!(kept + 15 <= n || kept == 0, "{kept} at {n}");
            assert!(kept + 30 >= n, "{kept} at {n}");
        }
    }
}
