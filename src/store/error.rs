//! What can go wrong with the store, one variant per reaction of the caller.

use std::path::PathBuf;

/// Why a call on an open store failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The disk or the system refused. Nothing is lost and, for a commit,
    /// nothing has changed; the next call opens the files again.
    #[error("the store in {} cannot be used: {reason}\nhint: look at free space, permissions and the health of the disk; it is tried again by itself", dir.display())]
    Unavailable { dir: PathBuf, reason: String },
    /// A row or a file is damaged. Set the files aside
    /// ([`Store::set_aside`](super::Store::set_aside)) and read the directories anew.
    #[error("the store in {} is damaged: {what}\nhint: it is set aside and rebuilt from the directories; check the disk", dir.display())]
    Corrupt { dir: PathBuf, what: String },
    /// The commit may have happened: whoever keeps a picture of the state loads
    /// it again.
    #[error("the store in {} failed while committing, and the commit may stand: {reason}\nhint: look at free space and the health of the disk", dir.display())]
    Uncertain { dir: PathBuf, reason: String },
    /// The commit contradicts what is stored (a program error); nothing was written.
    #[error("a commit that does not fit what is stored was refused: {reason}")]
    Malformed { reason: String },
}

/// Why events could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventsError {
    /// Events after the asked one are no longer kept.
    #[error("events before {oldest} are no longer kept")]
    Gone { oldest: u64 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a store did not open. None of these touches the files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("the store in {} is in use by {}\nhint: stop that process, or give this one another state_dir", dir.display(), holder(*pid))]
    Locked { dir: PathBuf, pid: Option<u32> },
    #[error("the store in {} has format {found}, and this version knows formats up to {known}\nhint: run the newer version, or give this one another state_dir", dir.display())]
    Newer { dir: PathBuf, found: u32, known: u32 },
    #[error("the store in {} cannot be opened: {reason}\nhint: the directory must be writable for this user, with space left, on a disk that works", dir.display())]
    Unavailable { dir: PathBuf, reason: String },
}

/// What went wrong below, before it is known which call it fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Something says that data is damaged.
    Damaged(String),
    /// The system refused; the data may be well.
    Failed(String),
    /// The caller asked for something impossible.
    Malformed(String),
}

impl Trouble {
    pub(super) fn into_error(self, dir: &std::path::Path) -> StoreError {
        let dir = dir.to_owned();
        match self {
            Trouble::Damaged(what) => StoreError::Corrupt { dir, what },
            Trouble::Failed(reason) => StoreError::Unavailable { dir, reason },
            Trouble::Malformed(reason) => StoreError::Malformed { reason },
        }
    }

    pub(super) fn is_damage(&self) -> bool {
        matches!(self, Trouble::Damaged(_))
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Trouble::Damaged(text) | Trouble::Failed(text) | Trouble::Malformed(text) => text,
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}
