//! Which events may overtake which, where order is kept per user and group.
//!
//! An event waits for every earlier unfinished one that shares a user or a
//! group with it. `directory.*` events wait for all earlier ones of their
//! directory, and hold back all later ones. Events of no directory are free.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::model::{Event, MemberObject, Payload};

/// The unfinished events, by what they speak of.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    tickets: BTreeMap<u64, Ticket>,
    lanes: HashMap<Lane, BTreeSet<u64>>,
    directories: HashMap<Arc<str>, Directory>,
    free: BTreeSet<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Lane {
    User(Arc<str>, String),
    Group(Arc<str>, String),
}

/// What an event waits behind.
#[derive(Clone, Debug)]
struct Ticket {
    directory: Arc<str>,
    lanes: Vec<Lane>,
}

#[derive(Debug, Default)]
struct Directory {
    all: BTreeSet<u64>,
    /// Those that speak of the directory as a whole.
    barriers: BTreeSet<u64>,
}

impl Lanes {
    /// Events that wait for no other, in order.
    pub(super) fn free(&self) -> impl Iterator<Item = u64> + '_ {
        self.free.iter().copied()
    }

    /// Adds the event, which comes after all others.
    pub(super) fn add(&mut self, event: &Event) {
        let ticket = Ticket::of(event);
        if !ticket.directory.is_empty() {
            let directory = self.directories.entry(Arc::clone(&ticket.directory)).or_default();
            directory.all.insert(event.seq);
            if ticket.is_barrier() {
                directory.barriers.insert(event.seq);
            }
        }
        for lane in &ticket.lanes {
            self.lanes.entry(lane.clone()).or_default().insert(event.seq);
        }
        self.tickets.insert(event.seq, ticket);
        self.free_if_first(event.seq);
    }

    /// The event is finished.
    pub(super) fn remove(&mut self, seq: u64) {
        self.free.remove(&seq);
        let Some(ticket) = self.tickets.remove(&seq) else { return };
        for lane in &ticket.lanes {
            if let Some(events) = self.lanes.get_mut(lane) {
                events.remove(&seq);
            }
            match self.lanes.get(lane).and_then(BTreeSet::first).copied() {
                Some(next) => self.free_if_first(next),
                None => drop(self.lanes.remove(lane)),
            }
        }
        for next in self.leave(&ticket, seq) {
            self.free_if_first(next);
        }
    }

    /// Takes the event out of its directory; who may be free by that.
    fn leave(&mut self, ticket: &Ticket, seq: u64) -> Vec<u64> {
        let Some(directory) = self.directories.get_mut(&ticket.directory) else {
            return Vec::new();
        };
        directory.all.remove(&seq);
        directory.barriers.remove(&seq);
        let first = directory.all.first().copied();
        let freed = match (first, directory.barriers.first().copied()) {
            (Some(first), Some(barrier)) if ticket.is_barrier() => {
                directory.all.range(first..=barrier).copied().collect()
            }
            (Some(_), None) if ticket.is_barrier() => directory.all.iter().copied().collect(),
            (Some(first), _) => vec![first],
            (None, _) => Vec::new(),
        };
        if first.is_none() {
            self.directories.remove(&ticket.directory);
        }
        freed
    }

    fn free_if_first(&mut self, seq: u64) {
        if self.tickets.get(&seq).is_some_and(|ticket| self.is_first(seq, ticket)) {
            self.free.insert(seq);
        }
    }

    fn is_first(&self, seq: u64, ticket: &Ticket) -> bool {
        let Some(directory) = self.directories.get(&ticket.directory) else { return true };
        if ticket.is_barrier() {
            return directory.all.first() == Some(&seq);
        }
        let leads = |lane| self.lanes.get(lane).and_then(BTreeSet::first) == Some(&seq);
        directory.barriers.first().is_none_or(|barrier| *barrier > seq)
            && ticket.lanes.iter().all(leads)
    }
}

impl Ticket {
    fn of(event: &Event) -> Ticket {
        let directory: Arc<str> = event.directory.as_str().into();
        let user = |id: &str| Lane::User(Arc::clone(&directory), id.to_owned());
        let group = |id: &str| Lane::Group(Arc::clone(&directory), id.to_owned());
        let mut lanes = match &event.payload {
            Payload::User { user: about, .. } => vec![user(&about.id)],
            Payload::Group { group: about, .. } => vec![group(&about.id)],
            Payload::Membership { group: about, member: MemberObject::User(member) } => {
                vec![group(&about.id), user(&member.id)]
            }
            Payload::Membership { group: about, member: MemberObject::Group(member) } => {
                vec![group(&about.id), group(&member.id)]
            }
            Payload::Directory { .. } => Vec::new(),
        };
        lanes.dedup();
        Ticket { directory, lanes }
    }

    fn is_barrier(&self) -> bool {
        self.lanes.is_empty() && !self.directory.is_empty()
    }
}
