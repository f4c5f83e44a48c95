//! Lets the store forget what is past its retention, and shrink.
//!
//! What is forgotten is gone, so a clock that jumps ahead is not believed at
//! once: for a day the retention goes by the time that has passed. How many
//! events there are needs no clock.

use tracing::{info, warn};

use crate::clock::{self, Duration, Instant, Timestamp};
use crate::config::{AuditConfig, StoreConfig};
use crate::store::{AuditRetention, Kept, Retention, Store, StoreError};
use crate::task::{self, Task};

/// How often there is a look.
const EVERY: Duration = Duration::from_mins(10);

/// By how much the clock may run ahead of the time that has passed: a process
/// that was stopped for a while knows nothing of that while.
const AHEAD: Duration = Duration::from_hours(24);

/// How often the date is noted for the next process.
const NOTED_EVERY: Duration = Duration::from_hours(1);

/// A clock that stays ahead for so long is believed.
const DOUBT: Duration = Duration::from_hours(24);

/// Between pieces of one work, so that commits come to their turn.
const PAUSE: Duration = Duration::from_millis(5);

/// Starts looking after `store`.
pub fn start(store: Store, config: StoreConfig, audit: AuditConfig) -> Task {
    task::spawn("upkeep", async move {
        let retention = retention(&config);
        let audit = AuditRetention { age: audit.retention, entries_max: audit.entries_max };
        let mut calendar = Calendar::new(passed(&store).await);
        loop {
            tokio::time::sleep(EVERY).await;
            let (store, now) = (store.clone(), calendar.look(clock::now(), clock::instant()));
            let work = move || {
                note(&store, now);
                tend(&store, &retention, &audit, now);
            };
            if let Err(end) = task::blocking("upkeep", work).await {
                warn!(error = %end, "looking after the store failed");
            }
        }
    })
}

fn retention(config: &StoreConfig) -> Retention {
    let kept = |age, events: Option<u64>| Kept { age, events_max: events.unwrap_or(u64::MAX) };
    Retention {
        journal: kept(config.journal_retention, config.journal_events_max),
        history: kept(config.history_retention, config.history_events_max),
    }
}

/// A moment that has surely passed: the date that was believed last, or else
/// when the last event happened.
async fn passed(store: &Store) -> Option<Timestamp> {
    let store = store.clone();
    let read = move || {
        store.noted_date().or_else(|| {
            let events = store.events(store.last_seq().saturating_sub(1), 1).ok()?;
            events.first().map(|event| event.occurred_at)
        })
    };
    task::blocking("upkeep", read).await.ok().flatten()
}

/// The date that the retention goes by.
#[derive(Debug)]
struct Calendar {
    believed: Option<(Timestamp, Instant)>,
    /// Since when the clock has been ahead.
    ahead_since: Option<Instant>,
}

impl Calendar {
    /// Starts with a moment that has passed, if one is known.
    fn new(passed: Option<Timestamp>) -> Calendar {
        let believed = passed.map(|moment| (moment, clock::instant()));
        Calendar { believed, ahead_since: None }
    }

    /// What is believed of `wall`, which the clock shows at `instant`.
    fn look(&mut self, wall: Timestamp, instant: Instant) -> Timestamp {
        let date = match self.believed {
            Some((then, at)) => {
                let passed = then.plus(instant.saturating_duration_since(at));
                if wall > passed.plus(AHEAD) { self.doubt(wall, passed, instant) } else { wall }
            }
            None => wall,
        };
        if date == wall {
            self.ahead_since = None;
        }
        self.believed = Some((date, instant));
        date
    }

    fn doubt(&mut self, wall: Timestamp, passed: Timestamp, instant: Instant) -> Timestamp {
        let since = *self.ahead_since.get_or_insert_with(|| {
            warn!(
                clock = %wall,
                expected = %passed,
                "the clock is ahead of the time that has passed; for a day nothing is forgotten \
                 because of it"
            );
            instant
        });
        if instant.saturating_duration_since(since) >= DOUBT { wall } else { passed }
    }
}

fn note(store: &Store, now: Timestamp) {
    if store.noted_date().is_some_and(|date| date <= now && now < date.plus(NOTED_EVERY)) {
        return;
    }
    if let Err(error) = store.note_date(now) {
        warn!(%error, "cannot note the date");
    }
}

fn tend(store: &Store, retention: &Retention, audit: &AuditRetention, now: Timestamp) {
    loop {
        match store.prune(now, retention) {
            Ok(pruned) => {
                if pruned.blocks > 0 {
                    info!(blocks = pruned.blocks, "forgot what is past its retention");
                }
                if !pruned.more {
                    break;
                }
            }
            Err(error) => {
                warn!(%error, "cannot forget old events");
                break;
            }
        }
    }
    match store.prune_audit(now, audit) {
        Ok(0) => {}
        Ok(entries) => info!(entries, "forgot what is past the retention of the audit trail"),
        Err(error) => warn!(%error, "cannot forget old entries of the audit trail"),
    }
    match store.prune_attempts(now) {
        Ok(0) => {}
        Ok(attempts) => info!(attempts, "forgot what is past the retention of delivery logs"),
        Err(error) => warn!(%error, "cannot forget old entries of delivery logs"),
    }
    if let Err(error) = merge(store) {
        warn!(%error, "cannot merge membership changes; they are tried again");
    }
    match store.rewrite_if_grown() {
        Ok(None) => {}
        Ok(Some(rewritten)) => info!(
            bytes_before = rewritten.bytes_before,
            bytes_after = rewritten.bytes_after,
            "rewrote the store"
        ),
        Err(error) => warn!(%error, "cannot rewrite the store"),
    }
}

/// Merges the membership changes that wait, where there are many.
fn merge(store: &Store) -> Result<(), StoreError> {
    while let Some(mut merging) = store.begin_merge()? {
        loop {
            let more = store.merge(&mut merging)?;
            // The lock is not fair: without it a commit would wait for all the pieces.
            std::thread::sleep(PAUSE);
            if !more {
                break;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, Change, Commit, EventKind, Layer, Progress, Put};
    use crate::store::record;

    const HOUR: Duration = Duration::from_hours(1);
    const DAY: Duration = Duration::from_hours(24);

    fn noon() -> Timestamp {
        Timestamp::parse("2026-11-20T12:00:00Z").unwrap()
    }

    #[test]
    fn a_clock_that_jumps_400_days_ahead_is_believed_after_a_day() {
        let start = clock::instant();
        let mut calendar = Calendar::new(None);
        assert_eq!(calendar.look(noon(), start), noon());
        let jumped = noon().plus(DAY * 400);
        for hours in 1..=24 {
            let passed = HOUR * hours;
            assert_eq!(calendar.look(jumped.plus(passed), start + passed), noon().plus(passed));
        }
        let (later, passed) = (jumped.plus(HOUR * 25), HOUR * 25);
        assert_eq!(calendar.look(later, start + passed), later);
        let later = later.plus(HOUR);
        assert_eq!(calendar.look(later, start + passed + HOUR), later);
    }

    #[test]
    fn a_clock_that_returns_is_believed_at_once() {
        let start = clock::instant();
        let mut calendar = Calendar::new(None);
        calendar.look(noon(), start);
        calendar.look(noon().plus(DAY * 400), start + HOUR);
        let two = noon().plus(HOUR * 2);
        assert_eq!(calendar.look(two, start + HOUR * 2), two);
        let back = noon().minus(HOUR);
        assert_eq!(calendar.look(back, start + HOUR * 3), back);
        let (jumped, passed) = (noon().plus(DAY * 400), HOUR * 4);
        assert_eq!(calendar.look(jumped, start + passed), noon(), "the doubt begins anew");
    }

    #[test]
    fn after_a_start_the_last_event_is_what_is_known() {
        let mut calendar = Calendar::new(Some(noon()));
        let start = clock::instant();
        let date = calendar.look(noon().plus(DAY * 400), start);
        assert!(date < noon().plus(HOUR), "{date}");
        let mut empty = Calendar::new(None);
        assert_eq!(empty.look(noon(), start), noon());
    }

    #[test]
    fn a_restart_during_the_doubt_does_not_end_it() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), crate::store::Options::default()).unwrap();
        note(&store, noon());
        let jumped = noon().plus(DAY * 400);
        let mut calendar = Calendar::new(store.noted_date());
        let date = calendar.look(jumped, clock::instant());
        assert!(date < noon().plus(HOUR), "{date}");
        note(&store, date);
        assert_eq!(store.noted_date(), Some(noon()));
    }

    #[test]
    fn a_number_of_events_is_kept_whatever_the_clock_shows() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), crate::store::Options::default()).unwrap();
        for _ in 0..5 {
            store.commit(&notice()).unwrap();
        }
        let config = StoreConfig { journal_events_max: Some(2), ..StoreConfig::default() };
        let audit = AuditRetention { age: DAY, entries_max: 1_000 };
        let mut calendar = Calendar::new(Some(noon()));
        let jumped = noon().plus(DAY * 400);
        let date = calendar.look(jumped, clock::instant());
        tend(&store, &retention(&config), &audit, date);
        assert_eq!((store.oldest_seq(), store.oldest_history_seq()), (4, 1));
        tend(&store, &retention(&config), &audit, noon().minus(DAY * 400));
        assert_eq!(store.oldest_seq(), 4);
    }

    #[test]
    fn memberships_that_wait_are_merged() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), crate::store::Options::default()).unwrap();
        let put = Put::Created;
        let user = Change::User { slot: 0, record: record::encode_user(&Default::default()), put };
        let group =
            Change::Group { slot: 0, record: record::encode_group(&Default::default()), put };
        store.commit(&Commit { changes: vec![user, group], ..notice() }).unwrap();
        for added in [true, false].repeat(10) {
            let layer = Layer::Listed;
            let change = Change::Edges { group: 0, layer, added, visible: true, members: vec![0] };
            store.commit(&Commit { changes: vec![change], ..notice() }).unwrap();
        }
        assert!(store.begin_merge().unwrap().is_some());
        let audit = AuditRetention { age: DAY, entries_max: 1_000 };
        tend(&store, &retention(&StoreConfig::default()), &audit, noon());
        assert!(store.begin_merge().unwrap().is_none());
    }

    fn notice() -> Commit {
        Commit {
            directory: "corp".to_owned(),
            tenant: "t".to_owned(),
            product: "p".to_owned(),
            occurred_at: noon(),
            changes: vec![Change::Notice {
                kind: EventKind::DirectorySynced,
                details: std::collections::BTreeMap::new(),
            }],
            cause: Cause::First,
            progress: Progress::default(),
        }
    }

    #[test]
    fn what_is_kept_survives_a_jump() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), crate::store::Options::default()).unwrap();
        store.commit(&notice()).unwrap();
        let retention = retention(&StoreConfig::default());
        let start = clock::instant();
        let mut calendar = Calendar::new(Some(noon()));
        let jumped = noon().plus(DAY * 400);
        let audit = AuditRetention { age: DAY, entries_max: 1_000 };
        tend(&store, &retention, &audit, calendar.look(jumped, start + HOUR));
        assert_eq!(store.events(0, 9).unwrap().len(), 1);
        tend(&store, &retention, &audit, calendar.look(jumped.plus(DAY), start + HOUR + DAY));
        assert_eq!(store.oldest_seq(), 2);
    }
}
