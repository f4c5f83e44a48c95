//! The store as the journal that the socket asks.

use std::ops::RangeInclusive;

use async_trait::async_trait;
use tokio::sync::watch;

use super::audit::Wanted;
use super::journal::{Journal, JournalError};
use super::sources::AuditTrail;
use crate::audit::Trail;
use crate::clock::Timestamp;
use crate::model::{Act, Group, MemberKind, MemberObject, User};
use crate::store::{Asked, AuditPage, EventsError, Happenings, Part, Store, StoreError};

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
        Store::history_start(self, directory).map_err(failed)
    }

    fn seq_at(&self, at: Timestamp) -> Result<Option<u64>, JournalError> {
        Store::seq_at(self, at).map_err(failed)
    }

    fn oldest_state(&self) -> Result<(u64, Option<Timestamp>), JournalError> {
        Store::oldest_state(self).map_err(failed)
    }

    fn time_of(&self, seq: u64) -> Result<Option<Timestamp>, JournalError> {
        Store::time_of(self, seq).map_err(failed)
    }

    fn formerly_named(
        &self,
        directory: &str,
        kind: MemberKind,
        text: &str,
    ) -> Result<Vec<u32>, JournalError> {
        Store::formerly_named(self, directory, kind, text).map_err(failed)
    }

    fn last_named(
        &self,
        directory: &str,
        kind: MemberKind,
        slot: u32,
        text: &str,
    ) -> Result<Option<u64>, JournalError> {
        Store::last_named(self, directory, kind, slot, text).map_err(failed)
    }

    fn count_at(&self, directory: &str, kind: MemberKind, seq: u64) -> Result<u64, JournalError> {
        Store::count_at(self, directory, kind, seq).map_err(failed)
    }

    fn objects_at(
        &self,
        directory: &str,
        kind: MemberKind,
        from: u32,
        limit: usize,
        seq: u64,
    ) -> Result<Vec<(u32, MemberObject)>, JournalError> {
        Store::objects_at(self, directory, kind, from, limit, seq).map_err(failed)
    }

    fn happenings(
        &self,
        directory: &str,
        object: (MemberKind, u32),
        range: RangeInclusive<u64>,
        after: u64,
        limit: usize,
    ) -> Result<Happenings, JournalError> {
        Store::happenings(self, directory, object, range, after, limit).map_err(failed)
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
