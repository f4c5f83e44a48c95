//! The cursor of incremental crawls, and the token of one that goes on.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::shortage::Shortages;
use crate::clock::{Duration, Timestamp};
use crate::provider::{Cursor, PullError};

/// To be changed with the meaning of what follows.
const VERSION: u8 = 1;

/// Where the next incremental crawl starts. Times are those of Okta's clock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bookmark {
    pub version: u8,
    /// When the last crawl began.
    pub read_at: u64,
    /// What happened before this was there when the last full crawl read it.
    pub settled: u64,
    /// Events that were acted on and may come again, being within the overlap.
    pub events: BTreeSet<String>,
    /// Groups that may come again: how they were when they were read.
    pub groups: BTreeMap<String, String>,
    /// The id of the built-in group of all users, where it is visible.
    pub everyone: Option<String>,
    /// When the System Log was refused.
    pub log_refused: Option<u64>,
    /// The ids of all groups, unless the System Log tells which are deleted.
    pub group_ids: Option<BTreeSet<String>>,
    /// Objects that could not be used, to be asked for again.
    pub unsure: Unsure,
    #[serde(default)]
    pub shortages: Shortages,
    pub rolling: Rolling,
}

/// Objects whose last good record stands, though they may have changed: they
/// were malformed, or closed to us.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsure {
    pub users: BTreeSet<String>,
    pub groups: BTreeSet<String>,
}

/// How far the rolling re-verification has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rolling {
    /// When this round began.
    pub since: u64,
    pub users: Track,
    pub groups: Track,
}

/// One listing that is read again bit by bit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// Objects in it, as of the last time.
    pub total: u64,
    /// Objects read in this round.
    pub done: u64,
    /// Whether the round is in the list of deprovisioned users.
    pub in_second_list: bool,
    /// Where it goes on; `None`: at the beginning.
    pub next: Option<String>,
    /// Read to the end in this round.
    pub ended: bool,
}

/// A full crawl, or the reading of changes, that goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Token {
    pub version: u8,
    /// When it began, by Okta's clock.
    pub started: u64,
    pub users: u64,
    /// Groups whose members were read.
    pub readable: u64,
    pub phase: Phase,
}

/// What is to be read next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Phase {
    Users { next: Option<String> },
    Deprovisioned { next: Option<String> },
    Groups { next: Option<String> },
    Members { left: Vec<String> },
    Changes(Box<Paused>),
}

/// Changes of which some groups are still to be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paused {
    pub left: Vec<String>,
    /// The cursor of this crawl, once it is done.
    pub bookmark: Bookmark,
    pub proof: String,
}

/// Each costs a request at every poll; the others wait for their turn in the
/// rolling re-verification.
const UNSURE_MAX: usize = 25;

impl Unsure {
    pub fn user(&mut self, id: &str) {
        note(&mut self.users, id);
    }

    pub fn group(&mut self, id: &str) {
        note(&mut self.groups, id);
    }

    pub fn extend(&mut self, other: Unsure) {
        other.users.iter().for_each(|id| self.user(id));
        other.groups.iter().for_each(|id| self.group(id));
    }
}

fn note(ids: &mut BTreeSet<String>, id: &str) {
    if ids.len() < UNSURE_MAX {
        ids.insert(id.to_owned());
    }
}

impl Bookmark {
    pub fn new(read_at: Timestamp, settled: Timestamp) -> Bookmark {
        Bookmark { version: VERSION, read_at: read_at.0, settled: settled.0, ..Bookmark::default() }
    }

    /// # Errors
    /// [`PullError::CursorExpired`] when it was made by another version.
    pub fn read(bytes: &[u8]) -> Result<Bookmark, PullError> {
        let bookmark: Option<Bookmark> = serde_json::from_slice(bytes).ok();
        bookmark.filter(|bookmark| bookmark.version == VERSION).ok_or_else(foreign)
    }

    pub fn write(&self) -> Cursor {
        // A struct of texts and numbers always becomes JSON.
        Cursor(serde_json::to_vec(self).unwrap_or_default())
    }

    /// The moment after which changes are asked for.
    pub fn since(&self, overlap: Duration) -> Timestamp {
        Timestamp(self.read_at).minus(overlap).max(Timestamp(self.settled))
    }
}

impl Token {
    pub fn new(started: Timestamp, phase: Phase) -> Token {
        Token { version: VERSION, started: started.0, users: 0, readable: 0, phase }
    }

    /// # Errors
    /// [`PullError::CursorExpired`] when it was made by another version.
    pub fn read(bytes: &[u8]) -> Result<Token, PullError> {
        let token: Option<Token> = serde_json::from_slice(bytes).ok();
        token.filter(|token| token.version == VERSION).ok_or_else(foreign)
    }

    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

fn foreign() -> PullError {
    PullError::CursorExpired { reason: "it was made by another version".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bookmarks_and_tokens_read_what_they_write() {
        let mut bookmark = Bookmark::new(Timestamp(90_000), Timestamp(60_000));
        bookmark.events.insert("e1".to_owned());
        bookmark.groups.insert("g1".to_owned(), "a b".to_owned());
        assert_eq!(Bookmark::read(&bookmark.write().0).unwrap(), bookmark);
        let paused = Paused { left: vec!["g1".to_owned()], bookmark, proof: String::new() };
        let token = Token::new(Timestamp(7), Phase::Changes(Box::new(paused)));
        assert_eq!(Token::read(&token.write()).unwrap(), token);
    }

    #[test]
    fn what_another_version_wrote_leads_to_a_full_crawl() {
        for bytes in [&b"{}"[..], b"", b"{\"version\":0}"] {
            assert!(matches!(Bookmark::read(bytes), Err(PullError::CursorExpired { .. })));
            assert!(matches!(Token::read(bytes), Err(PullError::CursorExpired { .. })));
        }
    }

    #[test]
    fn changes_are_asked_for_with_an_overlap_but_not_from_before_the_full_crawl() {
        let since = |read_at, settled| {
            Bookmark::new(Timestamp(read_at), Timestamp(settled)).since(Duration::from_secs(10))
        };
        assert_eq!(since(60_000, 0), Timestamp(50_000));
        assert_eq!(since(60_000, 55_000), Timestamp(55_000));
    }
}
