//! What an endpoint needs of the store.

use crate::clock::Timestamp;
use crate::model::Event;
use crate::store::{DeliveryRow, EventsError, Store, StoreError};

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

impl Journal for Store {
    fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, JournalError> {
        Ok(Store::events(self, after, limit)?)
    }

    fn position(&self, endpoint: &str) -> Result<Option<Position>, JournalError> {
        Ok(self.delivery(endpoint)?.map(Position::from))
    }

    fn set_position(&self, endpoint: &str, position: &Position) -> Result<(), JournalError> {
        Ok(self.set_delivery(endpoint, &DeliveryRow::from(position))?)
    }
}

impl From<EventsError> for JournalError {
    fn from(error: EventsError) -> JournalError {
        match error {
            EventsError::Gone { oldest } => JournalError::Gone { oldest },
            EventsError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for JournalError {
    fn from(error: StoreError) -> JournalError {
        JournalError::Failed(error.to_string())
    }
}

impl From<DeliveryRow> for Position {
    fn from(row: DeliveryRow) -> Position {
        Position {
            seq: row.seq,
            failures: row.attempts,
            failing_since: row.failing_since,
            next_attempt_at: row.next_attempt_at,
        }
    }
}

impl From<&Position> for DeliveryRow {
    fn from(position: &Position) -> DeliveryRow {
        DeliveryRow {
            seq: position.seq,
            disabled: false,
            attempts: position.failures,
            failing_since: position.failing_since,
            next_attempt_at: position.next_attempt_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Attributes, Change, Commit, EventKind, Progress};
    use crate::store::Options;

    #[test]
    fn the_store_is_a_journal() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), Options::default()).unwrap();
        assert_eq!(Journal::events(&store, 0, 10).unwrap(), []);
        assert_eq!(store.position("audit").unwrap(), None);
        store
            .commit(&Commit {
                directory: "corp".into(),
                tenant: "acme".into(),
                product: "vpn".into(),
                occurred_at: Timestamp(1),
                changes: vec![Change::Notice {
                    kind: EventKind::DirectoryFailing,
                    details: Attributes::new(),
                }],
                cause: crate::model::Cause::First,
                progress: Progress::default(),
            })
            .unwrap();
        assert_eq!(Journal::events(&store, 0, 10).unwrap().len(), 1);
        let position = Position { seq: 1, failures: 2, ..Position::default() };
        store.set_position("audit", &position).unwrap();
        assert_eq!(store.position("audit").unwrap(), Some(position));
    }
}
