//! The cursor of incremental crawls: how far the audit feed was followed, and
//! where the rolling re-reading stands.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::again::Again;
use super::feed::Event;
use super::progress::Progress;
use super::rolling::Rolling;
use crate::clock::{Duration, Timestamp};
use crate::provider::PullError;

const VERSION: u8 = 1;

/// Events come late, by minutes and sometimes more: so far back is read again.
const OVERLAP: Duration = Duration::from_hours(1);

/// A feed that was not followed for so long is not caught up with.
const AGE_MAX: Duration = Duration::from_hours(7 * 24);

/// What an incremental crawl starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bookmark {
    version: u8,
    /// Events before this need no attention; in milliseconds.
    floor: u64,
    /// Up to when what happened was read: when the feed was last, or when the
    /// full crawl began; in milliseconds.
    at: u64,
    /// Events within the overlap that were acted on, by time.
    seen: BTreeMap<u64, BTreeSet<u64>>,
    /// The application whose feed tells of members, once it is known to answer.
    pub members_application: Option<String>,
    /// Groups with everybody as a member.
    pub everybody: BTreeSet<String>,
    /// Our own customer id.
    pub customer: Option<String>,
    pub rolling: Rolling,
    pub again: Again,
}

impl Bookmark {
    /// After a full crawl that ended at `now`. What happened while it went on,
    /// which may have been hours, it may have missed; and what happened
    /// shortly before it may not have shown yet.
    pub fn new(progress: &Progress, now: Timestamp) -> Bookmark {
        Bookmark {
            version: VERSION,
            floor: progress.started().minus(OVERLAP).0,
            at: progress.started().0,
            seen: BTreeMap::new(),
            members_application: None,
            everybody: progress.everybody.clone(),
            customer: progress.customer.clone(),
            rolling: Rolling::new(progress.users, progress.groups, now),
            again: progress.again.clone(),
        }
    }

    /// # Errors
    /// [`PullError::CursorExpired`] when it is none of ours.
    pub fn read(cursor: &[u8]) -> Result<Bookmark, PullError> {
        let expired = |reason: String| PullError::CursorExpired { reason };
        let bookmark: Bookmark = serde_json::from_slice(cursor)
            .map_err(|error| expired(format!("it cannot be read: {error}")))?;
        if bookmark.version != VERSION {
            return Err(expired("it is of another version".to_owned()));
        }
        Ok(bookmark)
    }

    pub fn token(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// # Errors
    /// [`PullError::CursorExpired`] when the feed was not followed for too long.
    pub fn check_age(&self, now: Timestamp) -> Result<(), PullError> {
        if now < Timestamp(self.at).plus(AGE_MAX) {
            return Ok(());
        }
        Err(PullError::CursorExpired {
            reason: "the audit feed was not followed for a week".to_owned(),
        })
    }

    /// From when on the feed is read.
    pub fn start(&self) -> Timestamp {
        Timestamp(self.at).minus(OVERLAP).max(Timestamp(self.floor))
    }

    /// Those of `events` that were not acted on yet.
    pub fn fresh(&self, events: Vec<Event>) -> Vec<Event> {
        let is_seen = |event: &Event| {
            self.seen.get(&event.time.0).is_some_and(|keys| keys.contains(&event.key))
        };
        let floor = self.floor;
        let fresh = events.into_iter().filter(|event| event.time.0 >= floor && !is_seen(event));
        fresh.collect()
    }

    /// Notes what was acted on, and forgets what is older than the overlap.
    pub fn advance<'e>(&mut self, acted_on: impl IntoIterator<Item = &'e Event>, now: Timestamp) {
        for event in acted_on {
            self.seen.entry(event.time.0).or_default().insert(event.key);
        }
        self.at = now.0;
        let start = self.start().0;
        self.seen = self.seen.split_off(&start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(key: u64, minutes: u64) -> Event {
        Event { key, time: Timestamp(minutes * 60_000), ..Event::default() }
    }

    fn bookmark(started_minutes: u64) -> Bookmark {
        let started = Timestamp(started_minutes * 60_000);
        Bookmark::new(&Progress::new(started), started)
    }

    #[test]
    fn the_whole_time_of_a_full_crawl_is_caught_up_with() {
        let started = Timestamp(100 * 60_000);
        let sealed = started.plus(Duration::from_hours(3));
        let bookmark = Bookmark::new(&Progress::new(started), sealed);
        assert_eq!(bookmark.start(), started.minus(OVERLAP));
        let during = event(1, 101);
        assert_eq!(bookmark.fresh(vec![during.clone()]), [during]);
    }

    #[test]
    fn late_events_are_seen_once() {
        let mut bookmark = bookmark(100);
        let fresh = bookmark.fresh(vec![event(1, 101), event(2, 102)]);
        assert_eq!(fresh.len(), 2);
        bookmark.advance(&fresh, Timestamp(103 * 60_000));
        assert_eq!(bookmark.start(), Timestamp(43 * 60_000));
        let late = bookmark.fresh(vec![event(1, 101), event(3, 101), event(2, 102)]);
        assert_eq!(late, [event(3, 101)]);
        bookmark.advance(&late, Timestamp(200 * 60_000));
        assert_eq!(bookmark.start(), Timestamp(140 * 60_000));
        assert!(bookmark.seen.is_empty(), "what the feed is not asked for any more is forgotten");
    }

    #[test]
    fn what_a_full_crawl_saw_needs_no_attention() {
        assert_eq!(bookmark(100).fresh(vec![event(1, 39), event(2, 41)]), [event(2, 41)]);
    }

    #[test]
    fn r5_a_cursor_that_cannot_be_read_has_expired() {
        let read = Bookmark::read(&bookmark(1).token()).unwrap();
        assert_eq!(read, bookmark(1));
        assert!(matches!(Bookmark::read(b"{}"), Err(PullError::CursorExpired { .. })));
    }
}
