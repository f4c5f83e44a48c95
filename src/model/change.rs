//! What a sealed crawl found different: the unit that is journaled, stored,
//! and applied to the view.
//!
//! Objects are named by *slots*: dense `u32` numbers, one series for users and
//! one for groups of each directory, never used twice. A [`Change`] holds all
//! that is needed to derive the new state from the old one, so the journal
//! alone can rebuild what a crash left half written.

use super::{Attributes, Cause, EventKind, Hold};
use crate::clock::Timestamp;

/// How objects refer to each other before it is known whom that means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// A user's immutable id.
    User(String),
    /// A group's immutable id.
    Group(String),
    /// An immutable id of a user or a group, where the provider does not say
    /// which; when both have it, it refers to nobody.
    Id(String),
    /// One of the aliases an object is known by: a normalised distinguished
    /// name, `uid:jdoe`, `rid:513`, … An alias that nobody has, or that two
    /// objects have, refers to nobody.
    Alias(String),
}

/// Why an edge from a group to a member exists. A user may be a member for
/// both reasons; readers see one membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// A user whom the group's own list names.
    Listed,
    /// A user whose own record names the group (AD primary group, POSIX `gidNumber`).
    Declared,
    /// A group that the group's own list names.
    Subgroup,
}

/// What a [`Change`] to a record means to receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Created,
    Updated,
    /// Only what receivers never see differs (aliases, say): no event.
    Silent,
}

/// One difference, in the order of the journal.
///
/// Within a commit: removed edges, deletions, creations and updates, added
/// edges, then what is silent, then notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `record` as encoded by `store::record`.
    User {
        slot: u32,
        record: Vec<u8>,
        put: Put,
    },
    Group {
        slot: u32,
        record: Vec<u8>,
        put: Put,
    },
    /// The user's edges were removed by earlier changes of the same commit.
    UserDeleted {
        slot: u32,
        visible: bool,
    },
    /// Comes after the removal of every member, and of the group from every other one.
    GroupDeleted {
        slot: u32,
        visible: bool,
    },
    /// Edges of one group and layer that came (`added`) or went. Sorted, each
    /// slot once. One event each when `visible`; not visible when the same
    /// membership holds by the other layer, or in a rebuild.
    Edges {
        group: u32,
        layer: Layer,
        added: bool,
        visible: bool,
        members: Vec<u32>,
    },
    /// References that nobody is, which came to (`added`) or went from what the
    /// group's list names. Sorted, each once.
    Unresolved {
        group: u32,
        added: bool,
        references: Vec<Reference>,
    },
    /// The whole directory is dropped. Silent; a notice goes with it.
    Cleared,
    /// One event about the daemon's own work.
    Notice {
        kind: EventKind,
        details: Attributes,
    },
}

impl Change {
    /// How many events (and so seqs) this change is told as.
    pub fn events(&self) -> u64 {
        match self {
            Change::User { put, .. } | Change::Group { put, .. } => u64::from(*put != Put::Silent),
            Change::UserDeleted { visible, .. } | Change::GroupDeleted { visible, .. } => {
                u64::from(*visible)
            }
            Change::Edges { visible, members, .. } => {
                if *visible {
                    members.len() as u64
                } else {
                    0
                }
            }
            Change::Unresolved { .. } | Change::Cleared => 0,
            Change::Notice { .. } => 1,
        }
    }
}

/// Everything one atomic, durable write changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The directory's configured name; empty for notices that are of none.
    pub directory: String,
    pub tenant: String,
    pub product: String,
    pub occurred_at: Timestamp,
    pub changes: Vec<Change>,
    /// What led to it.
    pub cause: Cause,
    /// What the poller wants to find after a restart.
    pub progress: Progress,
}

/// What is remembered of a directory beside its records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The provider's cursor, and the fingerprint of the settings it was made under.
    pub cursor: Option<Vec<u8>>,
    pub fingerprint: String,
    /// End of the last crawl that changed something; `None` before the first.
    pub as_of: Option<Timestamp>,
    /// Start of the last full crawl that is known of.
    pub full_at: Option<Timestamp>,
    /// `directory.failing` was told and not yet taken back.
    pub failing: bool,
    /// That the freshness objective is missed was told and not yet taken back.
    pub stale: bool,
    /// The set that waits for a person; it was told. The cursor stands after it.
    pub hold: Option<Box<Hold>>,
}
