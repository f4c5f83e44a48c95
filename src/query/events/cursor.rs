//! One reader's position in the journal, and how it moves on.

use std::sync::Arc;

use tokio::sync::watch;

use crate::clock::{self, Duration};
use crate::model::{Event, Filter};
use crate::query::journal::{Journal, JournalError};
use crate::query::problem::Problem;
use crate::query::sources::Sources;
use crate::store::{Asked, Part};
use crate::task;

/// Events that one reading of the store passes over at most, about: it holds a
/// thread for a moment only.
const STEP: u64 = 10_000;
/// Events that one answer passes over at most, about; then the reader is told
/// how far it came and asks again.
const PASSED_MAX: u64 = if cfg!(test) { 50 } else { 100_000 };

/// One reader's position in the journal.
pub struct Cursor {
    /// Every event up to this seq was given, or is of no interest to the filter.
    pub after: u64,
    pub filter: Arc<Filter>,
    moved: watch::Receiver<u64>,
    journal: Arc<dyn Journal>,
    shutdown: task::Shutdown,
}

impl Cursor {
    /// Starts after a seq, or with the oldest event that is kept.
    pub fn start(sources: &Sources, after: Option<u64>, filter: Filter) -> Result<Cursor, Problem> {
        let moved = sources.view.subscribe();
        let seq = *moved.borrow();
        let after =
            after.unwrap_or_else(|| sources.journal.oldest_seq().saturating_sub(1).min(seq));
        if after > seq {
            let detail = format!("seq {after} is not yet given: the last one is {seq}");
            return Err(Problem::bad_request(detail)
                .hint("was the state of the daemon replaced? take /v1/snapshot and go on from its seq")
                .member("last_seq", seq));
        }
        let (journal, shutdown) = (Arc::clone(&sources.journal), sources.shutdown.clone());
        Ok(Cursor { after, filter: Arc::new(filter), moved, journal, shutdown })
    }

    /// The last event there is, as far as readers may know.
    pub fn last_seq(&self) -> u64 {
        (*self.moved.borrow()).max(self.after)
    }

    pub fn is_shutting_down(&self) -> bool {
        self.shutdown.is_requested()
    }

    /// The events that are there, up to `limit`, and moves on to the last of
    /// them; without any, to the last one that was passed over.
    pub async fn read(&mut self, limit: usize) -> Result<Vec<Event>, Problem> {
        let visible = *self.moved.borrow_and_update();
        let enough = self.after.saturating_add(PASSED_MAX);
        while self.after < visible {
            let part = self.step(visible, limit).await?;
            self.after = part.upto;
            if !part.events.is_empty() || self.after >= enough {
                return Ok(part.events);
            }
        }
        Ok(Vec::new())
    }

    /// Reads a bounded piece of what is visible.
    async fn step(&self, visible: u64, limit: usize) -> Result<Part, Problem> {
        let (journal, filter, after) =
            (Arc::clone(&self.journal), Arc::clone(&self.filter), self.after);
        let passed_max = STEP.min(PASSED_MAX);
        let read = task::blocking("read events", move || {
            journal.read(&Asked { filter: &filter, after, until: visible, limit, passed_max })
        });
        let part = read.await.map_err(Problem::internal)??;
        // Whoever does not get on must not be read for again and again.
        if part.upto <= after {
            let reason = format!("it ends before seq {visible}");
            return Err(JournalError::Failed(reason).into());
        }
        Ok(part)
    }

    /// As [`Cursor::read`], waiting for the first event. Ends early, with what
    /// there is, when it passed over so many that the reader should be told.
    pub async fn wait_for(&mut self, limit: usize, wait: Duration) -> Result<Vec<Event>, Problem> {
        let deadline = clock::instant() + wait;
        let enough = self.after.saturating_add(PASSED_MAX);
        loop {
            let events = self.read(limit).await?;
            let ends = !events.is_empty() || self.after >= enough;
            if ends || !self.changed_before(deadline).await {
                return Ok(events);
            }
        }
    }

    /// Waits until the seq moved on from what [`Cursor::read`] saw.
    async fn changed_before(&mut self, deadline: clock::Instant) -> bool {
        tokio::select! {
            moved = self.moved.changed() => moved.is_ok(),
            () = tokio::time::sleep_until(deadline) => false,
            () = self.shutdown.requested() => false,
        }
    }
}
