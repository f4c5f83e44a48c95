//! `[store]`: how long the past is kept.

use std::time::Duration;

use super::Section;

const DAY: Duration = Duration::from_hours(24);
const HINT: &str = "events are told from the history";

/// Settings of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Events younger than this can be read again.
    pub journal_retention: Duration,
    /// And no more than so many of them.
    pub journal_events_max: Option<u64>,
    /// Questions about the past reach this far back; never shorter than the
    /// journal, whose events are told from the history.
    pub history_retention: Duration,
    /// And over no more than so many events; never fewer than the journal has.
    pub history_events_max: Option<u64>,
    /// What the storage engine may keep in memory.
    pub cache_bytes: u64,
}

impl StoreConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Option<StoreConfig> {
        let defaults = StoreConfig::default();
        let range = Duration::ZERO..=36_500 * DAY;
        let journal = section.duration_within("journal_retention", range.clone());
        let history = section.duration_within("history_retention", range);
        let events = 1_000..=i64::MAX;
        let mut count = |key| section.integer(key, events.clone()).map(i64::unsigned_abs);
        let (journal_events_max, history_events_max) =
            (count("journal_events_max"), count("history_events_max"));
        let cache = section.size("cache").unwrap_or(defaults.cache_bytes);
        if cache < 1 << 20 {
            section.error("cache", "`cache` must be at least 1MiB", None);
            return None;
        }
        if let (Some(journal), Some(history)) = (journal, history)
            && history < journal
        {
            let message = "`history_retention` must not be shorter than `journal_retention`";
            section.error("history_retention", message, Some(HINT.to_owned()));
            return None;
        }
        if let (Some(journal), Some(history)) = (journal_events_max, history_events_max)
            && history < journal
        {
            let message = "`history_events_max` must not be less than `journal_events_max`";
            section.error("history_events_max", message, Some(HINT.to_owned()));
            return None;
        }
        let journal_retention =
            journal.unwrap_or(defaults.journal_retention.min(history.unwrap_or(Duration::MAX)));
        Some(StoreConfig {
            journal_retention,
            journal_events_max: journal_events_max.or(history_events_max),
            history_events_max,
            history_retention: history.unwrap_or(defaults.history_retention.max(journal_retention)),
            cache_bytes: cache,
        })
    }
}

impl Default for StoreConfig {
    fn default() -> StoreConfig {
        StoreConfig {
            journal_retention: 30 * DAY,
            journal_events_max: None,
            history_events_max: None,
            history_retention: 90 * DAY,
            cache_bytes: 128 << 20,
        }
    }
}
