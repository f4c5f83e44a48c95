//! Where a crawl stands, and the order in which it reads.

use serde::{Deserialize, Serialize};

use super::proof::Seen;
use super::riders::Riders;
use super::tally::Tally;
use crate::provider::PullError;

/// Where a crawl stands: what it hands to [`crate::provider::Sink::checkpoint`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    version: u8,
    pub step: usize,
    /// The page to read next; by REST, the last team that was read.
    pub after: Option<String>,
    pub tally: Tally,
    /// Teams that are not whole, to be read again from their start: the id of
    /// GraphQL's, and the number.
    pub pending: Vec<(String, u64)>,
    pub riders: Riders,
    /// When the crawl began, and what it counted so far.
    pub started: u64,
    pub counts: Counts,
    /// What it had counted when this step began.
    pub before: Counts,
    /// What was visible when this was made.
    pub seen: Seen,
}

/// To be changed with the meaning of a [`Place`].
const VERSION: u8 = 4;

/// What was read, for the proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub members: u64,
    pub outside: u64,
    pub invited: u64,
    pub teams: u64,
    /// Teams that the credential may not read; they stay as they were.
    pub refused: u64,
    pub malformed: u64,
    /// What GitHub counts of members and teams, where it does.
    pub members_told: Option<u64>,
    pub teams_told: Option<u64>,
    /// Teams that were listed, also those that are left out.
    pub teams_listed: u64,
}

impl Place {
    pub fn start(started: u64) -> Place {
        Place {
            version: VERSION,
            step: 0,
            after: None,
            tally: Tally::default(),
            pending: Vec::new(),
            riders: Riders::default(),
            started,
            counts: Counts::default(),
            before: Counts::default(),
            seen: Seen::default(),
        }
    }

    /// # Errors
    /// [`PullError::CursorExpired`] when the token is none of ours.
    pub fn of_token(token: &[u8]) -> Result<Place, PullError> {
        let place: Option<Place> = serde_json::from_slice(token).ok();
        place.filter(|place| place.version == VERSION).ok_or_else(|| PullError::CursorExpired {
            reason: "the checkpoint is of another version".to_owned(),
        })
    }

    pub fn token(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub fn is_start(&self) -> bool {
        self.step == 0 && self.after.is_none()
    }

    /// Goes on to the step after this one.
    pub fn next_step(&mut self, ended: Step) {
        self.step += 1;
        self.before = self.counts;
        self.rewind();
        if matches!(ended, Step::Teams(_)) {
            self.riders = Riders::default();
        }
    }

    /// Back to where this step began.
    pub fn rewind(&mut self) {
        self.after = None;
        self.tally = Tally::default();
        self.pending = Vec::new();
        self.counts = self.before;
    }
}

/// What a step reads, of which organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Members(usize),
    Outside(usize),
    Invited(usize),
    Teams(usize),
}

impl Step {
    pub fn organization(self) -> usize {
        match self {
            Step::Members(n) | Step::Outside(n) | Step::Invited(n) | Step::Teams(n) => n,
        }
    }

    pub fn is_of_people(self) -> bool {
        !matches!(self, Step::Teams(_))
    }
}

/// One organization after the other, so that trouble with one does not lose
/// what was read of those before it.
pub fn steps(organizations: usize) -> Vec<Step> {
    let of = |n| [Step::Members(n), Step::Outside(n), Step::Invited(n), Step::Teams(n)];
    (0..organizations).flat_map(of).collect()
}
