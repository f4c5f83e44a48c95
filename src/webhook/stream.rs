//! A part of the journal on its way to an endpoint: what is read, and what of
//! it is still to be delivered.

use super::queue::{Queue, Rules};
use crate::model::Event;
use crate::store::{Beyond, DeliveryRow, ReplayRow};

/// Events read at once.
const READ_EVENTS: usize = 128;

#[derive(Debug)]
pub(super) struct Stream {
    pub queue: Queue,
    /// What was done out of order before the daemon started.
    done_before: Option<Beyond>,
    /// Where a replay ends.
    until: Option<u64>,
    /// There was no more when it was last read.
    exhausted: bool,
}

/// What is to be read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub after: u64,
    pub limit: usize,
}

impl Stream {
    /// All that waits behind the stored position.
    pub(super) fn of(rules: Rules, position: &DeliveryRow) -> Stream {
        let queue = Queue::new(rules, position.seq, &position.failing);
        Stream { queue, done_before: position.beyond.clone(), until: None, exhausted: false }
    }

    /// What is sent once more.
    pub(super) fn of_replay(rules: Rules, replay: ReplayRow) -> Stream {
        let queue = Queue::new(rules, replay.next.saturating_sub(1), &[]);
        Stream { queue, done_before: None, until: Some(replay.to), exhausted: false }
    }

    /// What to read, if there may be more and it is of use now.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        let room = self.queue.room();
        let after = self.next_after();
        let left = self.until.map_or(u64::MAX, |until| until.saturating_sub(after));
        if self.exhausted || room == 0 || left == 0 {
            return None;
        }
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        Some(Wanted { after, limit: room.min(READ_EVENTS).min(left) })
    }

    /// Takes what was read; what `admits` does not let through is done.
    pub(super) fn take(
        &mut self,
        wanted: Wanted,
        events: Vec<Event>,
        admits: impl Fn(&Event) -> bool,
    ) {
        self.exhausted = events.len() < wanted.limit;
        self.queue.skip_to(wanted.after);
        for event in events {
            if self.is_open(event.seq) && admits(&event) {
                self.queue.add(event);
            } else {
                self.queue.skip_to(event.seq);
            }
        }
    }

    /// There may be more to read now.
    pub(super) fn look_again(&mut self) {
        self.exhausted = false;
    }

    /// Goes on with `oldest`, since nothing before it is kept; how many events
    /// were lost by that.
    pub(super) fn jump_to(&mut self, oldest: u64) -> u64 {
        let (read, last) = (self.queue.read(), oldest.saturating_sub(1));
        let last = self.until.map_or(last, |until| last.min(until));
        let lost = match &self.done_before {
            Some(done) => {
                let open = done.unfinished.iter().filter(|seq| (read + 1..=last).contains(seq));
                open.count() as u64 + last.saturating_sub(read.max(done.read))
            }
            None => last.saturating_sub(read),
        };
        self.queue.skip_to(last);
        lost
    }

    /// What is done beyond the cursor, also by an earlier run.
    pub(super) fn beyond(&self) -> Option<Beyond> {
        let read = self.queue.read();
        match &self.done_before {
            Some(done) if read < done.read => {
                let open = done.unfinished.iter().copied().filter(|seq| *seq > read);
                let unfinished = self.queue.unfinished().chain(open).collect();
                Some(Beyond { read: done.read, unfinished })
            }
            _ => self.queue.beyond(),
        }
    }

    /// Whether a replay is over.
    pub(super) fn is_over(&self) -> bool {
        self.queue.len() == 0 && self.until.is_some_and(|until| self.queue.read() >= until)
    }

    fn is_open(&self, seq: u64) -> bool {
        let done = self.done_before.as_ref();
        done.is_none_or(|done| seq > done.read || done.unfinished.binary_search(&seq).is_ok())
    }

    /// Events that were done before need not be read again.
    fn next_after(&self) -> u64 {
        let read = self.queue.read();
        let Some(done) = &self.done_before else { return read };
        match done.unfinished.iter().find(|seq| **seq > read) {
            Some(open) => open.saturating_sub(1).max(read),
            None => read.max(done.read),
        }
    }
}
