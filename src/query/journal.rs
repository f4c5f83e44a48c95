//! What the socket asks of the journal and its history. All calls block.

use crate::clock::Timestamp;
use crate::model::{Group, User};
use crate::store::{Asked, Part};

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
