//! Users, groups, memberships, and what happens to them: plain values that
//! know no provider, no engine and no wire format.
//!
//! The words are those of RFC 7643 where it has one.

mod attribute;
mod audit;
mod cause;
mod change;
mod counts;
mod delivery;
mod event;
mod filter;
mod hold;

pub use attribute::{Attributes, Value};
pub use audit::{Act, Action, Actor, AuditEntry, Caller, Target};
pub use cause::Cause;
pub use change::{Change, Commit, Layer, Progress, Put, Reference};
pub use counts::Counts;
pub use delivery::Attempt;
pub use event::{Event, EventKind, MemberObject, Payload, Previous};
pub use filter::{Filter, UnknownKind};
pub use hold::{Category, HeldRemovals, Hold, Member, Pending, Removal};

/// One person or account of a directory.
///
/// `id` is the provider's immutable id: it survives renames, and a re-created
/// account has another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The provider's immutable id (`entryUUID`, `objectGUID`, …).
    pub id: String,
    /// The name the person signs in with; may change.
    pub username: String,
    /// All addresses, the primary one first.
    pub emails: Vec<String>,
    pub display_name: Option<String>,
    pub given_name: Option<String>,
    pub family_name: Option<String>,
    /// Whether the account may sign in, by the provider's own rule.
    pub active: bool,
    /// The provider's own word for its state, unchanged.
    pub status: Option<String>,
    pub title: Option<String>,
    pub department: Option<String>,
    /// The manager as the provider names them: an id or a distinguished name.
    pub manager: Option<String>,
    /// What else the operator asked for, by the provider's attribute names.
    pub attributes: Attributes,
    /// The object as the provider sent it, only when the operator asked to keep it.
    pub raw: Option<String>,
}

impl User {
    /// The primary address.
    pub fn email(&self) -> Option<&str> {
        self.emails.first().map(String::as_str)
    }
}

/// One group of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// The provider's immutable id.
    pub id: String,
    pub name: String,
    pub email: Option<String>,
    pub description: Option<String>,
    pub attributes: Attributes,
    /// The object as the provider sent it, only when the operator asked to keep it.
    pub raw: Option<String>,
}

/// What a direct member of a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberKind {
    User,
    Group,
}

impl MemberKind {
    /// `user` or `group`.
    pub fn as_str(self) -> &'static str {
        match self {
            MemberKind::User => "user",
            MemberKind::Group => "group",
        }
    }
}
