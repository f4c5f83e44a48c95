//! One row of the journal: a few entries of one commit, compactly.
//!
//! Records are not in it: each is a version row that is written together with
//! the block that names it. From its blocks and those rows all that a commit
//! changes can be derived.

use serde::{Deserialize, Serialize};

use super::cause::StoredCause;
use super::error::Trouble;
use super::row::{self, Kind};
use crate::model::{Attributes, EventKind, Layer, Put, Reference, Value};

/// Some entries of one commit; the names are in it because configuration may
/// change them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Block {
    pub number: u64,
    pub commit: u64,
    pub dir: u32,
    pub directory: String,
    pub tenant: String,
    pub product: String,
    /// Milliseconds since the Unix epoch.
    pub occurred_at: u64,
    /// Seq of the first event in it; of the next one to come when it has none.
    pub first_seq: u64,
    /// The first objects of a directory: membership history begins after it.
    pub baseline: bool,
    pub entries: Vec<Entry>,
    /// What led to the commit; stands behind the fields (`Block::encode`).
    #[serde(skip)]
    pub cause: StoredCause,
}

/// One [`Change`](crate::model::Change), or a part of a long one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Entry {
    User {
        slot: u32,
        put: Told,
    },
    Group {
        slot: u32,
        put: Told,
    },
    UserDeleted {
        slot: u32,
        visible: bool,
    },
    GroupDeleted {
        slot: u32,
        visible: bool,
    },
    Edges {
        group: u32,
        layer: u8,
        added: bool,
        visible: bool,
        count: u32,
        packed: Vec<u8>,
    },
    /// A complete list, as earlier versions told it.
    AllUnresolved {
        group: u32,
        references: Vec<Name>,
    },
    Cleared,
    Notice {
        kind: String,
        details: Vec<(String, Detail)>,
    },
    Unresolved {
        group: u32,
        added: bool,
        references: Vec<Name>,
    },
}

/// [`Put`] as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Told {
    Created,
    Updated,
    Silent,
}

/// [`Reference`] as stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Name {
    User(String),
    Group(String),
    Id(String),
    Alias(String),
}

/// [`Value`] as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Detail {
    Bool(bool),
    Integer(i64),
    Text(String),
    List(Vec<Detail>),
}

/// An object that an entry puts or deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Touched {
    pub kind: Kind,
    pub slot: u32,
    pub visible: bool,
    pub deleted: bool,
}

impl Block {
    pub(super) fn key(&self) -> Vec<u8> {
        row::block(self.first_seq, self.number)
    }

    /// Entries with the seq of their first event, or of the next one to come.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (u64, &Entry)> {
        let mut next = self.first_seq;
        self.entries.iter().map(move |entry| {
            let seq = next;
            next += entry.events();
            (seq, entry)
        })
    }

    /// The seq after the last event in it.
    pub(super) fn next_seq(&self) -> u64 {
        self.first_seq + self.entries.iter().map(Entry::events).sum::<u64>()
    }

    pub(super) fn has_events(&self) -> bool {
        self.next_seq() > self.first_seq
    }

    /// Where the version row of an object lies that the entry at `seq` touches.
    pub(super) fn stamp(&self, touched: Touched, seq: u64) -> row::Stamp {
        stamp(touched.visible, seq, self.commit)
    }
}

/// The stamp of a version put at `seq` by `commit`.
pub(super) fn stamp(visible: bool, seq: u64, commit: u64) -> row::Stamp {
    if visible {
        row::Stamp { seq, sub: 0 }
    } else {
        row::Stamp { seq: seq.saturating_sub(1), sub: commit as u32 }
    }
}

impl Entry {
    pub(super) fn events(&self) -> u64 {
        match self {
            Entry::User { put, .. } | Entry::Group { put, .. } => u64::from(*put != Told::Silent),
            Entry::UserDeleted { visible, .. } | Entry::GroupDeleted { visible, .. } => {
                u64::from(*visible)
            }
            Entry::Edges { visible, count, .. } => {
                if *visible {
                    u64::from(*count)
                } else {
                    0
                }
            }
            Entry::AllUnresolved { .. } | Entry::Unresolved { .. } | Entry::Cleared => 0,
            Entry::Notice { .. } => 1,
        }
    }

    /// Whether it puts an object that was not there before.
    pub(super) fn is_first_of_its_slot(&self, baseline: bool) -> bool {
        match self {
            Entry::User { put, .. } | Entry::Group { put, .. } => {
                *put == Told::Created || (baseline && *put == Told::Silent)
            }
            _ => false,
        }
    }

    pub(super) fn touched(&self) -> Option<Touched> {
        let (kind, slot, visible, deleted) = match *self {
            Entry::User { slot, put } => (Kind::User, slot, put != Told::Silent, false),
            Entry::Group { slot, put } => (Kind::Group, slot, put != Told::Silent, false),
            Entry::UserDeleted { slot, visible } => (Kind::User, slot, visible, true),
            Entry::GroupDeleted { slot, visible } => (Kind::Group, slot, visible, true),
            _ => return None,
        };
        Some(Touched { kind, slot, visible, deleted })
    }

    pub(super) fn edges(
        group: u32,
        layer: Layer,
        added: bool,
        visible: bool,
        members: &[u32],
    ) -> Entry {
        Entry::Edges {
            group,
            layer: row::layer_code(layer),
            added,
            visible,
            count: members.len() as u32,
            packed: row::pack(members),
        }
    }

    pub(super) fn notice(kind: EventKind, details: &Attributes) -> Entry {
        Entry::Notice {
            kind: kind.as_str().to_owned(),
            details: details.iter().map(|(name, value)| (name.clone(), value.into())).collect(),
        }
    }
}

/// The kind that is stored under this name.
pub(super) fn event_kind(name: &str) -> Result<EventKind, Trouble> {
    EventKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == name)
        .ok_or_else(|| Trouble::Damaged(format!("`{name}` is no kind of event")))
}

pub(super) fn attributes(details: &[(String, Detail)]) -> Attributes {
    details.iter().map(|(name, detail)| (name.clone(), Value::from(detail))).collect()
}

impl Name {
    /// Bytes that it takes, about.
    pub(super) fn size(&self) -> usize {
        let (Name::User(text) | Name::Group(text) | Name::Id(text) | Name::Alias(text)) = self;
        text.len() + 2
    }
}

impl From<Put> for Told {
    fn from(put: Put) -> Told {
        match put {
            Put::Created => Told::Created,
            Put::Updated => Told::Updated,
            Put::Silent => Told::Silent,
        }
    }
}

impl From<&Reference> for Name {
    fn from(reference: &Reference) -> Name {
        match reference {
            Reference::User(id) => Name::User(id.clone()),
            Reference::Group(id) => Name::Group(id.clone()),
            Reference::Id(id) => Name::Id(id.clone()),
            Reference::Alias(alias) => Name::Alias(alias.clone()),
        }
    }
}

impl From<Name> for Reference {
    fn from(name: Name) -> Reference {
        match name {
            Name::User(id) => Reference::User(id),
            Name::Group(id) => Reference::Group(id),
            Name::Id(id) => Reference::Id(id),
            Name::Alias(alias) => Reference::Alias(alias),
        }
    }
}

impl From<&Value> for Detail {
    fn from(value: &Value) -> Detail {
        match value {
            Value::Bool(value) => Detail::Bool(*value),
            Value::Integer(value) => Detail::Integer(*value),
            Value::Text(text) => Detail::Text(text.clone()),
            Value::List(list) => Detail::List(list.iter().map(Detail::from).collect()),
        }
    }
}

impl From<&Detail> for Value {
    fn from(detail: &Detail) -> Value {
        match detail {
            Detail::Bool(value) => Value::Bool(*value),
            Detail::Integer(value) => Value::Integer(*value),
            Detail::Text(text) => Value::Text(text.clone()),
            Detail::List(list) => Value::List(list.iter().map(Value::from).collect()),
        }
    }
}
