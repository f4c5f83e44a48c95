//! What an endpoint needs of the store.

use crate::model::{Attempt, Event, EventKind, Payload};
use crate::store::{EventsError, Store, StoreError};

pub use crate::store::DeliveryRow as Position;

/// Notices that may follow `directory.synced` in the first commit of a directory.
const LATER_NOTICES: u64 = 4;

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

    /// Where the first sync of a directory ends: what it told of users and
    /// groups up to there, its `directory.synced` sums up. 0 when there is no
    /// such event; `u64::MAX` for a directory that is no more.
    ///
    /// # Errors
    /// When the store fails.
    fn first_sync_end(&self, directory: &str) -> Result<u64, JournalError>;

    /// Writes an attempt into the delivery log.
    fn note_attempt(&self, _endpoint: &str, _attempt: &Attempt) {}
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
        Ok(self.delivery(endpoint)?)
    }

    fn set_position(&self, endpoint: &str, position: &Position) -> Result<(), JournalError> {
        Ok(self.set_delivery(endpoint, position)?)
    }

    fn first_sync_end(&self, directory: &str) -> Result<u64, JournalError> {
        let rows = self.directories()?;
        let Some(row) = rows.into_iter().find(|row| row.name == directory) else {
            return Ok(u64::MAX);
        };
        let end = row.first_seq;
        let last = |after| Journal::events(self, after, LATER_NOTICES as usize);
        let events = match last(end.saturating_sub(LATER_NOTICES)) {
            Err(JournalError::Gone { oldest }) if oldest <= end => last(oldest - 1),
            // Nobody is told of what is gone.
            Err(JournalError::Gone { .. }) => return Ok(0),
            events => events,
        };
        Ok(if is_summed_up(&events?, directory, end) { end } else { 0 })
    }

    fn note_attempt(&self, endpoint: &str, attempt: &Attempt) {
        // A delivery is worth more than its entry.
        if let Err(error) = Store::note_attempt(self, endpoint, attempt) {
            tracing::warn!(webhook = endpoint, %error, "an attempt is not in the delivery log");
        }
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

/// Whether the events up to `end` close with `directory.synced`, but for other
/// notices of the directory.
fn is_summed_up(events: &[Event], directory: &str, end: u64) -> bool {
    let mut last = events.iter().rev().skip_while(|event| event.seq > end);
    let notice = |event: &&Event| {
        event.directory == directory && matches!(event.payload, Payload::Directory { .. })
    };
    last.by_ref().take_while(notice).any(is_first_sync)
}

/// After an empty first sync, a recovery may be what brings the first objects;
/// its `directory.synced` sums up nothing.
fn is_first_sync(event: &Event) -> bool {
    let Payload::Directory { details } = &event.payload else { return false };
    event.kind == EventKind::DirectorySynced && details.get("reason") == Some(&"first".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
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
        let position = Position { seq: 1, paused: true, ..Position::default() };
        store.set_position("audit", &position).unwrap();
        assert_eq!(store.position("audit").unwrap(), Some(position));
    }
}
