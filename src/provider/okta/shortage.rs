//! Lists that hold fewer users than Okta counts (`usersCount`).
//!
//! A page may be missing without a word, or the count lags behind; both look
//! alike. Such a list is not believed, until about the same difference has
//! stood for `verify_within`: then it is a quirk of the count. A difference that
//! grows by more than a tenth is another one and starts over, so that nobody
//! who is hidden for good, or counted too often, holds up a directory for ever.
//!
//! Whether deprovisioned users count is not documented. They are among the users
//! that are read, so a count without them is merely smaller, which is no doubt.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::{Duration, Timestamp};

/// What is known of them, by the id of the group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortages(BTreeMap<String, Shortage>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Shortage {
    missing: u64,
    /// By Okta's clock.
    since: u64,
}

/// So many are kept in the cursor; those beyond it start over after a restart.
const KEPT_MAX: usize = 1000;

impl Shortages {
    /// Notes that the list of `group` lacks `missing` users; whether that has
    /// been so for long enough to believe the list.
    pub fn note(&mut self, group: &str, missing: u64, now: Timestamp, enough: Duration) -> bool {
        let fresh = Shortage { missing, since: now.0 };
        let known = self.0.entry(group.to_owned()).or_insert(fresh);
        if missing > known.missing + known.missing / 10 || known.since > now.0 {
            *known = fresh;
        }
        // A large difference that went away does not excuse the next one.
        known.missing = known.missing.min(missing);
        known.since != now.0 && now >= Timestamp(known.since).plus(enough)
    }

    /// The list of `group` holds all that are counted.
    pub fn clear(&mut self, group: &str) {
        self.0.remove(group);
    }

    /// Those that a cursor holds.
    pub fn kept(&self) -> Shortages {
        Shortages(self.0.iter().take(KEPT_MAX).map(|(id, one)| (id.clone(), *one)).collect())
    }

    /// Those of a cursor, where nothing newer is known.
    pub fn recall(&mut self, kept: &Shortages) {
        for (id, shortage) in &kept.0 {
            self.0.entry(id.clone()).or_insert(*shortage);
        }
    }
}

/// How many users a group has, where `expand=stats` was asked for.
pub fn users_count(group: &Value) -> Option<u64> {
    group.pointer("/_embedded/stats/usersCount").and_then(Value::as_u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: u64) -> Timestamp {
        Timestamp(hours * 3_600_000)
    }

    #[test]
    fn r1_a_short_list_is_believed_only_when_the_difference_stands() {
        let day = Duration::from_hours(24);
        let mut shortages = Shortages::default();
        assert!(!shortages.note("g", 200, at(1), day));
        assert!(!shortages.note("g", 190, at(20), day));
        assert!(!shortages.note("g", 400, at(24), day), "another page is missing");
        assert!(!shortages.note("g", 400, at(47), day));
        assert!(shortages.note("g", 410, at(48), day));
        shortages.clear("g");
        assert!(!shortages.note("g", 400, at(49), day));
    }

    #[test]
    fn r1_a_difference_that_shrank_does_not_excuse_one_that_grows() {
        let day = Duration::from_hours(24);
        let mut shortages = Shortages::default();
        assert!(!shortages.note("g", 1003, at(1), day));
        assert!(!shortages.note("g", 3, at(2), day));
        assert!(!shortages.note("g", 1003, at(26), day));
    }

    #[test]
    fn what_stood_before_a_restart_still_does() {
        let day = Duration::from_hours(24);
        let mut before = Shortages::default();
        before.note("g", 2, at(1), day);
        let mut after = Shortages::default();
        after.recall(&before.kept());
        assert!(after.note("g", 2, at(25), day));
        assert!(!after.note("other", 2, at(25), day));
    }
}
