//! All open connections: who must go when there are too many, and who has
//! tried our patience.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::access::Seat;
use super::metrics::Metrics;
use super::server::Limits;
use super::watched::{Activity, Phase, Ticks};
use crate::task::Task;

/// Why a client is closed that does not read.
const DEAF: &str = "does not read";
/// Why one is closed that was used for what is no longer permitted.
const LOST: &str = "permission";

/// The open connections. A cheap handle.
#[derive(Clone)]
pub struct Connections {
    open: Arc<Mutex<Open>>,
    pub ticks: Arc<Ticks>,
    limits: Limits,
    metrics: Metrics,
    emptied: Arc<Notify>,
}

#[derive(Default)]
struct Open {
    next: u64,
    entries: BTreeMap<u64, Entry>,
}

struct Entry {
    activity: Arc<Activity>,
    seat: Arc<Seat>,
    /// Dropping it closes the connection.
    task: Task,
}

impl Connections {
    /// None yet.
    pub fn new(limits: Limits, metrics: Metrics, ticks: Arc<Ticks>) -> Connections {
        let (open, emptied) = (Arc::default(), Arc::default());
        Connections { open, ticks, limits, metrics, emptied }
    }

    /// Takes in a connection, if need be in place of the one that waited longest.
    ///
    /// `start` is given its number, for [`Connections::ended`].
    pub fn add(&self, activity: Arc<Activity>, seat: Arc<Seat>, start: impl FnOnce(u64) -> Task) {
        let mut open = self.lock();
        if open.entries.len() >= self.limits.connections_max {
            self.close_longest_waiting(&mut open);
        }
        let number = open.next;
        open.next += 1;
        open.entries.insert(number, Entry { activity, seat, task: start(number) });
        self.metrics.connections_accepted.inc();
        self.count(&open);
    }

    /// Forgets a connection that ended by itself.
    pub fn ended(&self, number: u64) {
        let mut open = self.lock();
        open.entries.remove(&number);
        self.count(&open);
    }

    /// Makes room when the system has no more descriptors.
    pub fn make_room(&self) {
        let mut open = self.lock();
        self.close_longest_waiting(&mut open);
        self.count(&open);
    }

    /// One tick: closes those that keep us waiting for too long.
    pub fn tick(&self) {
        self.ticks.advance();
        let mut open = self.lock();
        let metrics = &self.metrics;
        let mut deaf = 0;
        open.entries.retain(|_, entry| {
            let reason = overdue(&entry.activity, &self.limits);
            if let Some(reason) = reason {
                metrics.closed(reason);
                deaf += u64::from(entry.activity.is_feed());
            }
            reason.is_none() && !entry.task.is_finished()
        });
        self.count(&open);
        drop(open);
        self.tell_of(deaf);
    }

    /// Other rules are in force: closes those that were used for what is no longer
    /// permitted, so that no stream or wait goes on that would not begin now.
    pub fn close_those_who_lost(&self) {
        let mut open = self.lock();
        let metrics = &self.metrics;
        open.entries.retain(|_, entry| {
            let has_lost = entry.seat.has_lost();
            if has_lost {
                metrics.closed(LOST);
                metrics.feed.dropped(LOST, u64::from(entry.activity.is_feed()));
            }
            !has_lost
        });
        self.count(&open);
    }

    /// Returns when none is open.
    pub async fn all_ended(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.lock().entries.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    /// Closes all.
    pub fn close_all(&self) {
        let mut open = self.lock();
        open.entries.clear();
        self.count(&open);
    }

    fn close_longest_waiting(&self, open: &mut Open) {
        // Whoever waits for us goes last: that one is being served.
        let rank = |entry: &Entry| {
            let (phase, _, turn) = entry.activity.phase();
            (phase == Phase::Answer, turn)
        };
        let longest = open.entries.iter().min_by_key(|(_, entry)| rank(entry));
        if let Some(number) = longest.map(|(number, _)| *number) {
            let closed = open.entries.remove(&number);
            self.metrics.closed("full");
            if closed.is_some_and(|entry| entry.activity.is_feed()) {
                self.metrics.feed.dropped("full", 1);
            }
        }
    }

    /// Streams of events that were closed: their readers want to know why.
    fn tell_of(&self, deaf: u64) {
        if deaf > 0 {
            self.metrics.feed.dropped(DEAF, deaf);
            tracing::warn!(
                readers = deaf,
                patience = ?self.limits.stall,
                "dropped readers of events that did not read; they can go on from their last id"
            );
        }
    }

    fn count(&self, open: &Open) {
        self.metrics.connections_open.set(i64::try_from(open.entries.len()).unwrap_or(i64::MAX));
        if open.entries.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn overdue(activity: &Activity, limits: &Limits) -> Option<&'static str> {
    let (phase, ticks, _) = activity.phase();
    let (limit, reason) = match phase {
        Phase::Idle => (limits.idle, "idle"),
        Phase::Head => (limits.head, "slow request"),
        Phase::Blocked => (limits.stall, DEAF),
        Phase::Answer | Phase::Shared => return None,
    };
    (limits.tick * ticks > limit).then_some(reason)
}
