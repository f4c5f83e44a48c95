//! The store as the journal that the socket asks.

use async_trait::async_trait;
use tokio::sync::watch;

use super::audit::Wanted;
use super::journal::{Journal, JournalError};
use super::sources::AuditTrail;
use crate::audit::Trail;
use crate::clock::Timestamp;
use crate::model::{Act, Group, User};
use crate::store::{Asked, AuditPage, EventsError, Part, Store, StoreError};

#[async_trait]
impl AuditTrail for Trail {
    fn read(&self, wanted: &Wanted) -> Result<AuditPage, JournalError> {
        let accepts = |entry: &_| wanted.accepts(entry);
        self.store().audit(wanted.after, wanted.limit, &accepts).map_err(unreadable)
    }

    fn moved(&self) -> watch::Receiver<u64> {
        self.subscribe()
    }

    async fn record(&self, act: Act) {
        // An error was logged, with the act: nobody here can do more.
        let _ = Trail::record(self, act).await;
    }
}

impl Journal for Store {
    fn oldest_seq(&self) -> u64 {
        Store::oldest_seq(self)
    }

    fn read(&self, asked: &Asked<'_>) -> Result<Part, JournalError> {
        self.events_asked(asked).map_err(unreadable)
    }

    fn history_start(&self, directory: &str) -> Result<Option<u64>, JournalError> {
        let rows = self.directories().map_err(failed)?;
        let row = rows.into_iter().find(|row| row.name == directory);
        Ok(row.map(|row| row.first_seq.max(self.oldest_history_seq())))
    }

    fn seq_at(&self, at: Timestamp) -> Result<Option<u64>, JournalError> {
        Store::seq_at(self, at).map_err(failed)
    }

    fn groups_of_user_at(
        &self,
        directory: &str,
        user: u32,
        current: &[u32],
        seq: u64,
    ) -> Result<Vec<u32>, JournalError> {
        Store::groups_of_user_at(self, directory, user, current, seq).map_err(failed)
    }

    fn parents_of_group_at(
        &self,
        directory: &str,
        group: u32,
        current: &[u32],
        seq: u64,
    ) -> Result<Vec<u32>, JournalError> {
        Store::parents_of_group_at(self, directory, group, current, seq).map_err(failed)
    }

    fn members_of_group_at(
        &self,
        directory: &str,
        group: u32,
        (users, groups): (&[u32], &[u32]),
        seq: u64,
    ) -> Result<(Vec<u32>, Vec<u32>), JournalError> {
        let members = Store::members_of_group_at(self, directory, group, users, groups, seq);
        members.map(|members| (members.users, members.groups)).map_err(failed)
    }

    fn user_at(&self, directory: &str, user: u32, seq: u64) -> Result<Option<User>, JournalError> {
        let item = Store::user_at(self, directory, user, seq).map_err(failed)?;
        Ok(item.map(|item| item.user))
    }

    fn group_at(
        &self,
        directory: &str,
        group: u32,
        seq: u64,
    ) -> Result<Option<Group>, JournalError> {
        let item = Store::group_at(self, directory, group, seq).map_err(failed)?;
        Ok(item.map(|item| item.group))
    }
}

fn unreadable(error: EventsError) -> JournalError {
    match error {
        EventsError::Gone { oldest } => JournalError::Gone { oldest },
        EventsError::Store(error) => failed(error),
    }
}

fn failed(error: StoreError) -> JournalError {
    JournalError::Failed(error.to_string())
}
