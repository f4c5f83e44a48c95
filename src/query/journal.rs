//! What the socket asks of the journal and its history. All calls block.

use std::ops::RangeInclusive;

use crate::clock::Timestamp;
use crate::model::{Group, MemberKind, MemberObject, User};
use crate::store::{Asked, Happenings, Part};

/// The journal, as its readers see it: the store in the daemon, a list in tests.
pub trait Journal: Send + Sync {
    /// The first seq that can still be read.
    fn oldest_seq(&self) -> u64;

    /// The events that are asked for, in order, without a gap.
    ///
    /// # Errors
    /// When they are no longer kept, or cannot be read.
    fn read(&self, asked: &Asked<'_>) -> Result<Part, JournalError>;

    /// The first seq that questions about the past of a directory can be
    /// answered for; `None` when nothing was ever committed for it.
    ///
    /// # Errors
    /// When it cannot be read.
    fn history_start(&self, directory: &str) -> Result<Option<u64>, JournalError>;

    /// The last seq at or before a moment; `None` when all that is kept is later.
    ///
    /// # Errors
    /// When it cannot be read.
    fn seq_at(&self, at: Timestamp) -> Result<Option<u64>, JournalError>;

    /// The oldest seq whose state is known, and since when that was the state.
    ///
    /// # Errors
    /// When it cannot be read.
    fn oldest_state(&self) -> Result<(u64, Option<Timestamp>), JournalError>;

    /// When an event was committed; `None` when that is not kept.
    ///
    /// # Errors
    /// When it cannot be read.
    fn time_of(&self, seq: u64) -> Result<Option<Timestamp>, JournalError>;

    /// Who may have had this id, name or address once, and has it no longer.
    ///
    /// # Errors
    /// When it cannot be read.
    fn formerly_named(
        &self,
        directory: &str,
        kind: MemberKind,
        text: &str,
    ) -> Result<Vec<u32>, JournalError>;

    /// The last seq at which an object had this id, name or address.
    ///
    /// # Errors
    /// When it cannot be read.
    fn last_named(
        &self,
        directory: &str,
        kind: MemberKind,
        slot: u32,
        text: &str,
    ) -> Result<Option<u64>, JournalError>;

    /// How many users or groups there were at a seq.
    ///
    /// # Errors
    /// When it cannot be read.
    fn count_at(&self, directory: &str, kind: MemberKind, seq: u64) -> Result<u64, JournalError>;

    /// The users or groups that there were at a seq, from a slot on, as they were.
    ///
    /// # Errors
    /// When they cannot be read.
    fn objects_at(
        &self,
        directory: &str,
        kind: MemberKind,
        from: u32,
        limit: usize,
        seq: u64,
    ) -> Result<Vec<(u32, MemberObject)>, JournalError>;

    /// What happened to an object in a range of seqs: the first `limit` after `after`.
    ///
    /// # Errors
    /// When it cannot be read.
    fn happenings(
        &self,
        directory: &str,
        object: (MemberKind, u32),
        range: RangeInclusive<u64>,
        after: u64,
        limit: usize,
    ) -> Result<Happenings, JournalError>;

    /// The groups a user was directly in at a seq, given those of now.
    ///
    /// # Errors
    /// When they cannot be read.
    fn groups_of_user_at(
        &self,
        directory: &str,
        user: u32,
        current: &[u32],
        seq: u64,
    ) -> Result<Vec<u32>, JournalError>;

    /// The groups a group was directly in at a seq, given those of now.
    ///
    /// # Errors
    /// When they cannot be read.
    fn parents_of_group_at(
        &self,
        directory: &str,
        group: u32,
        current: &[u32],
        seq: u64,
    ) -> Result<Vec<u32>, JournalError>;

    /// The direct members (users, groups) of a group at a seq, given those of now.
    ///
    /// # Errors
    /// When they cannot be read.
    fn members_of_group_at(
        &self,
        directory: &str,
        group: u32,
        current: (&[u32], &[u32]),
        seq: u64,
    ) -> Result<(Vec<u32>, Vec<u32>), JournalError>;

    /// A user as it was at a seq; `None` when it did not exist.
    ///
    /// # Errors
    /// When it cannot be read.
    fn user_at(&self, directory: &str, user: u32, seq: u64) -> Result<Option<User>, JournalError>;

    /// A group as it was at a seq; `None` when it did not exist.
    ///
    /// # Errors
    /// When it cannot be read.
    fn group_at(
        &self,
        directory: &str,
        group: u32,
        seq: u64,
    ) -> Result<Option<Group>, JournalError>;
}

/// Why the journal did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// What was asked for is no longer kept.
    #[error("the journal starts at seq {oldest}")]
    Gone { oldest: u64 },
    /// It cannot be read now.
    #[error("the journal cannot be read: {0}")]
    Failed(String),
}
