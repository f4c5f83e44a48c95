//! Groups whose lists hold fewer members than Google counts.
//!
//! The count lags behind, and a page may be missing from a list; both look
//! alike. So such a list adds members but removes none, until the very same
//! difference has stood for `verify_within`: then it is a quirk of the count,
//! and the list is believed.

use std::collections::BTreeMap;

use crate::clock::{Duration, Timestamp};

/// What is known of them, by group.
#[derive(Clone, Debug, Default)]
pub struct Shortages(BTreeMap<String, Shortage>);

#[derive(Clone, Copy, Debug)]
struct Shortage {
    missing: u64,
    since: Timestamp,
}

impl Shortages {
    /// Notes that the list of `group` lacks `missing` members; whether that has
    /// been so for long enough to believe the list.
    pub fn note(&mut self, group: &str, missing: u64, now: Timestamp, enough: Duration) -> bool {
        let fresh = Shortage { missing, since: now };
        let known = self.0.entry(group.to_owned()).or_insert(fresh);
        if known.missing != missing || known.since > now {
            *known = fresh;
        }
        now >= known.since.plus(enough) && known.since != now
    }

    /// The list of `group` and the count agree.
    pub fn clear(&mut self, group: &str) {
        self.0.remove(group);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r1_a_short_list_is_believed_only_when_the_difference_stands() {
        let day = Duration::from_hours(24);
        let at = |hours: u64| Timestamp(hours * 3_600_000);
        let mut shortages = Shortages::default();
        assert!(!shortages.note("g", 200, at(1), day));
        assert!(!shortages.note("g", 200, at(20), day));
        assert!(!shortages.note("g", 150, at(24), day), "another difference starts over");
        assert!(!shortages.note("g", 150, at(47), day));
        assert!(shortages.note("g", 150, at(48), day));
        shortages.clear("g");
        assert!(!shortages.note("g", 150, at(49), day));
    }
}
