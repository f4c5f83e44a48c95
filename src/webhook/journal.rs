//! What an endpoint needs of the store.

use crate::clock::Timestamp;
use crate::model::Event;

/// The journal and the cursors of the endpoints. All calls may block.
pub trait Journal: Clone + Send + Sync + 'static {
    /// Up to `limit` events after the seq `after`, in order; none when there
    /// are none yet.
    ///
    /// # Errors
    /// When events after `after` are no longer kept, or the store fails.
    fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, JournalError>;

    /// Where the endpoint is; `None` for a new one.
    ///
    /// # Errors
    /// When the store fails.
    fn position(&self, endpoint: &str) -> Result<Option<Position>, JournalError>;

    /// Remembers where the endpoint is, durably.
    ///
    /// # Errors
    /// When the store fails.
    fn set_position(&self, endpoint: &str, position: &Position) -> Result<(), JournalError>;
}

/// Where an endpoint is in the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The last event that was accepted or filtered out; 0 before the first.
    pub seq: u64,
    /// Failures in a row of the next one.
    pub failures: u32,
    /// When the first of them was.
    pub failing_since: Option<Timestamp>,
    pub next_attempt_at: Option<Timestamp>,
}

/// Why the journal could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// What was asked for is older than what is kept, which starts at `oldest`.
    #[error("events before {oldest} are no longer kept")]
    Gone { oldest: u64 },
    #[error("{0}")]
    Failed(String),
}
