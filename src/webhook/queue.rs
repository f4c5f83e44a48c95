//! Which delivery is sent next: events in, deliveries out, in an order that a
//! receiver can fold. Knows neither the network nor the store, nor the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::lanes::Lanes;
use crate::clock::{Instant, Timestamp};
use crate::model::Event;
use crate::store::{Beyond, FailingRow};

/// One delivery that fails says nothing of the others.
const DOWN_MIN: usize = 2;

/// How events become deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// Order is kept per user and group; else all events keep it.
    pub per_user: bool,
    /// Deliveries under way at once.
    pub concurrency: usize,
    /// Events in one delivery; more than one only without `per_user`.
    pub batch_max: usize,
    /// A batch has events of one directory only.
    pub batch_apart: bool,
    /// Unfinished events that are looked at.
    pub room: usize,
}

/// The events between the cursor and the last one read.
#[derive(Debug)]
pub(super) struct Queue {
    rules: Rules,
    /// All events up to it are done, or wait here.
    read: u64,
    waiting: BTreeMap<u64, Arc<Event>>,
    lanes: Lanes,
    /// Deliveries under way: first and last event.
    sending: BTreeMap<u64, u64>,
    failing: BTreeMap<u64, Failing>,
    /// Deliveries that failed since one was accepted.
    failed: BTreeSet<u64>,
    /// The receiver asked for nothing before that.
    floor: Option<Due>,
}

/// A delivery that failed.
#[derive(Clone, Copy, Debug)]
struct Failing {
    last: u64,
    failures: u32,
    since: Timestamp,
    /// When it is tried again; at once without.
    due: Option<Due>,
}

/// A moment to come, and as people read it.
type Due = (Instant, Timestamp);

/// Failures of one delivery in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failures {
    pub count: u32,
    /// When the first of them was.
    pub since: Timestamp,
}

/// Events that are sent together.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    /// Never empty.
    pub events: Vec<Arc<Event>>,
    pub first: u64,
    pub last: u64,
    /// From 1.
    pub number: u32,
}

impl Queue {
    /// Everything up to `cursor` is done.
    pub(super) fn new(rules: Rules, cursor: u64, failing: &[FailingRow]) -> Queue {
        let known = |row: &FailingRow| {
            let FailingRow { first, last, failures, since } = *row;
            (first, Failing { last, failures, since, due: None })
        };
        Queue {
            rules,
            read: cursor,
            waiting: BTreeMap::new(),
            lanes: Lanes::default(),
            sending: BTreeMap::new(),
            failing: failing.iter().map(known).collect(),
            failed: BTreeSet::new(),
            floor: None,
        }
    }

    /// All events up to it are done, or wait here.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// All events up to it are done.
    pub(super) fn cursor(&self) -> u64 {
        self.waiting.first_key_value().map_or(self.read, |(first, _)| first - 1)
    }

    /// Events that are read and not done.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How many events it has use for.
    pub(super) fn room(&self) -> usize {
        let Rules { per_user, batch_max, room, .. } = self.rules;
        if per_user {
            // Not one by one, when it is full: reading has its price.
            let left = room.saturating_sub(self.len());
            return if left >= room / 4 { left } else { 0 };
        }
        let rest_of_batch = self.next_failing().is_some_and(|failing| failing.last > self.read);
        if self.len() < batch_max || rest_of_batch { room.max(batch_max) } else { 0 }
    }

    /// The event that follows what was read.
    pub(super) fn add(&mut self, event: Event) {
        self.read = event.seq;
        if self.rules.per_user {
            self.lanes.add(&event);
        }
        self.waiting.insert(event.seq, Arc::new(event));
    }

    /// What follows, up to `seq`, is done.
    pub(super) fn skip_to(&mut self, seq: u64) {
        self.read = self.read.max(seq);
    }

    /// The next delivery that may begin; from then on it is under way.
    pub(super) fn next(&mut self, now: Instant) -> Option<Parcel> {
        if self.floor.is_some_and(|(floor, _)| floor > now) {
            return None;
        }
        let first = self.startable(now)?;
        let failing = self.failing.get(&first);
        let last = failing.map_or(u64::MAX, |failing| failing.last);
        let number = failing.map_or(1, |failing| failing.failures + 1);
        let batch = if self.rules.per_user { 1 } else { self.rules.batch_max };
        let apart = self.rules.batch_apart.then(|| self.waiting.get(&first)).flatten();
        let together =
            |event: &&Arc<Event>| apart.is_none_or(|first| first.directory == event.directory);
        let waiting = self.waiting.range(first..=last).map(|(_, event)| event).take(batch);
        let events: Vec<Arc<Event>> = waiting.take_while(together).cloned().collect();
        let last = events.last()?.seq;
        self.sending.insert(first, last);
        Some(Parcel { events, first, last, number })
    }

    /// When [`Queue::next`] may have something that it has not now, unless an
    /// outcome or an event comes before.
    pub(super) fn due(&self) -> Option<Instant> {
        self.next_due().max(self.floor).map(|(at, _)| at)
    }

    /// The delivery was accepted.
    pub(super) fn accepted(&mut self, first: u64) {
        let Some(last) = self.sending.remove(&first) else { return };
        while let Some((&seq, _)) = self.waiting.range(first..=last).next() {
            self.waiting.remove(&seq);
            self.lanes.remove(seq);
        }
        self.failed.clear();
        let (waiting, read) = (&self.waiting, self.read);
        self.failing.retain(|first, _| *first > read || waiting.contains_key(first));
    }

    /// The delivery failed, at `now`; how often in a row by now.
    pub(super) fn failed(&mut self, first: u64, now: Timestamp) -> Failures {
        let Some(last) = self.sending.remove(&first) else {
            return Failures { count: 0, since: now };
        };
        self.failed.insert(first);
        let new = Failing { last, failures: 0, since: now, due: None };
        let failing = self.failing.entry(first).or_insert(new);
        if failing.failures == 0 {
            failing.since = now;
        }
        failing.last = last;
        failing.failures = failing.failures.saturating_add(1);
        Failures { count: failing.failures, since: failing.since }
    }

    /// The failed delivery is not tried before that.
    pub(super) fn put_off(&mut self, first: u64, until: Instant, shown: Timestamp) {
        if let Some(failing) = self.failing.get_mut(&first) {
            failing.due = Some((until, shown));
        }
    }

    /// Nothing is tried before that.
    pub(super) fn hold_off(&mut self, until: Instant, shown: Timestamp) {
        self.floor = self.floor.max(Some((until, shown)));
    }

    /// What failed is tried again at once, and as if for the first time.
    pub(super) fn forgive(&mut self) {
        self.failed.clear();
        self.floor = None;
        for failing in self.failing.values_mut() {
            (failing.failures, failing.due) = (0, None);
        }
    }

    /// What is done beyond the cursor.
    pub(super) fn beyond(&self) -> Option<Beyond> {
        let gaps = self.read - self.cursor() > self.len() as u64;
        (self.rules.per_user && gaps)
            .then(|| Beyond { read: self.read, unfinished: self.unfinished().collect() })
    }

    /// Events that are read and not done.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = u64> + '_ {
        self.waiting.keys().copied()
    }

    /// What failed, the oldest first.
    pub(super) fn failing(&self) -> Vec<FailingRow> {
        let open = |first| first > self.read || self.waiting.contains_key(&first);
        let failing = self.failing.iter().filter(|(first, _)| open(**first));
        failing
            .map(|(first, failing)| {
                let Failing { last, failures, since, .. } = *failing;
                FailingRow { first: *first, last, failures, since }
            })
            .collect()
    }

    /// When something that waits after a failure is tried again; `None` while
    /// that is under way.
    pub(super) fn next_attempt_at(&self) -> Option<Timestamp> {
        let next = match self.is_one_by_one() {
            true if !self.sending.is_empty() => None,
            // It may have waited for its turn only: then the floor alone counts.
            true => self.next_due().max(self.floor),
            false => Some(self.next_due()?).max(self.floor),
        };
        next.map(|(_, shown)| shown)
    }

    fn next_due(&self) -> Option<Due> {
        if self.is_one_by_one() {
            return self.next_failing()?.due;
        }
        let idle = self.failing.iter().filter(|(first, _)| {
            self.waiting.contains_key(first) && !self.sending.contains_key(first)
        });
        idle.filter_map(|(_, failing)| failing.due).min()
    }

    /// Whether only one delivery at a time may be under way: always by order,
    /// and while the endpoint as a whole does not answer.
    fn is_one_by_one(&self) -> bool {
        !self.rules.per_user || self.failed.len() >= self.rules.concurrency.max(DOWN_MIN)
    }

    fn startable(&self, now: Instant) -> Option<u64> {
        let is_due = |first: u64| {
            let due = self.failing.get(&first).and_then(|failing| failing.due);
            due.is_none_or(|(at, _)| at <= now)
        };
        if self.is_one_by_one() {
            let (first, _) = self.waiting.first_key_value()?;
            return (self.sending.is_empty() && is_due(*first)).then_some(*first);
        }
        if self.sending.len() >= self.rules.concurrency {
            return None;
        }
        self.lanes.free().find(|seq| !self.sending.contains_key(seq) && is_due(*seq))
    }

    fn next_failing(&self) -> Option<&Failing> {
        let (first, _) = self.waiting.first_key_value()?;
        self.failing.get(first)
    }
}
