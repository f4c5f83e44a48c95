//! The rolling re-reading: a slice of the directory at every poll, so that all
//! of it is read again within `verify_within`, whatever the audit feed says.
//!
//! It goes through the pages of users, then of groups, each group with its
//! members. What it finds different are ordinary changes; what is gone without
//! the feed saying so shows at the next full crawl.

use serde::{Deserialize, Serialize};

use crate::clock::{Duration, Timestamp};
use crate::provider::Cursor;

/// A round is over a little before it has to be.
const HASTE: f64 = 0.9;

/// Where the re-reading stands. A page is one unit, and so is a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rolling {
    /// Users first, then groups.
    pub in_groups: bool,
    pub part: usize,
    /// The page to read next, or whose groups are being read.
    pub page: Option<String>,
    /// Units due, less what was read.
    owed: f64,
    /// Until when `owed` was reckoned; in milliseconds.
    until: u64,
    /// Units of a whole round, as far as it is known.
    units: f64,
    pub rounds: u64,
}

/// Groups of the page that is being read; lost with a restart or a crawl that
/// came to nothing, and then listed again.
pub struct Pending {
    /// The seal that it belongs to.
    pub cursor: Cursor,
    pub part: usize,
    pub page: Option<String>,
    pub next: Option<String>,
    /// By id: what the page said of them may be hours old when their turn comes.
    pub groups: Vec<String>,
}

impl Rolling {
    /// After everything was read.
    pub fn new(users: u64, groups: u64, now: Timestamp) -> Rolling {
        let pages = users.div_ceil(500) + groups.div_ceil(200);
        let units = (pages + groups) as f64;
        Rolling { units, until: now.0, ..Rolling::default() }
    }

    /// How many units are due.
    pub fn due(&mut self, now: Timestamp, within: Duration) -> u64 {
        let elapsed = now.0.saturating_sub(self.until) as f64;
        self.until = now.0;
        let span = (within.as_millis() as f64 * HASTE).max(1.0);
        self.owed = (self.owed + self.units * elapsed / span).min(self.units);
        self.owed.max(0.0).floor() as u64
    }

    pub fn spent(&mut self, units: u64) {
        self.owed -= units as f64;
    }

    /// Goes on with `next`, or with what comes after the last page.
    pub fn turn(&mut self, next: Option<String>, parts: usize) {
        self.page = next;
        if self.page.is_some() {
            return;
        }
        self.part += 1;
        if self.part < parts {
            return;
        }
        self.part = 0;
        self.in_groups = !self.in_groups;
        if !self.in_groups {
            self.rounds += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_read_within_its_time() {
        let day = Duration::from_hours(24);
        let mut rolling = Rolling::new(100_000, 10_000, Timestamp(0));
        let mut read = 0;
        for minute in 1..=24 * 60 {
            let due = rolling.due(Timestamp(minute * 60_000), day);
            assert!(due < 20, "{due} at once");
            rolling.spent(due);
            read += due;
        }
        assert!((10_250..12_000).contains(&read), "{read}");
    }

    #[test]
    fn nothing_is_due_at_once_and_never_more_than_a_round() {
        let mut rolling = Rolling::new(1000, 10, Timestamp(0));
        assert_eq!(rolling.due(Timestamp(1000), Duration::from_hours(24)), 0);
        assert_eq!(rolling.due(Timestamp(900_000_000), Duration::from_hours(24)), 13);
    }

    #[test]
    fn users_and_groups_take_turns() {
        let mut rolling = Rolling::default();
        rolling.turn(Some("p2".into()), 1);
        assert!(!rolling.in_groups && rolling.page.is_some());
        rolling.turn(None, 1);
        assert!(rolling.in_groups && rolling.rounds == 0);
        rolling.turn(None, 1);
        assert!(!rolling.in_groups && rolling.rounds == 1);
    }
}
