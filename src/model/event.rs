//! What the journal tells its readers.

use super::{Group, User};
use crate::clock::Timestamp;

/// What happened, by the names receivers filter on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    UserCreated,
    UserUpdated,
    UserDeleted,
    GroupCreated,
    GroupUpdated,
    GroupDeleted,
    GroupUserAdded,
    GroupUserRemoved,
    GroupGroupAdded,
    GroupGroupRemoved,
    DirectorySynced,
    DirectoryFailing,
    DirectoryRecovered,
    DirectoryHeld,
    DirectoryRemoved,
    /// Of no directory: the names in the event are empty.
    WebhookDisabled,
}

impl EventKind {
    /// Every kind, in the order of the contract.
    pub const ALL: [EventKind; 16] = [
        EventKind::UserCreated,
        EventKind::UserUpdated,
        EventKind::UserDeleted,
        EventKind::GroupCreated,
        EventKind::GroupUpdated,
        EventKind::GroupDeleted,
        EventKind::GroupUserAdded,
        EventKind::GroupUserRemoved,
        EventKind::GroupGroupAdded,
        EventKind::GroupGroupRemoved,
        EventKind::DirectorySynced,
        EventKind::DirectoryFailing,
        EventKind::DirectoryRecovered,
        EventKind::DirectoryHeld,
        EventKind::DirectoryRemoved,
        EventKind::WebhookDisabled,
    ];

    /// The `type` on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::UserCreated => "user.created",
            EventKind::UserUpdated => "user.updated",
            EventKind::UserDeleted => "user.deleted",
            EventKind::GroupCreated => "group.created",
            EventKind::GroupUpdated => "group.updated",
            EventKind::GroupDeleted => "group.deleted",
            EventKind::GroupUserAdded => "group.user_added",
            EventKind::GroupUserRemoved => "group.user_removed",
            EventKind::GroupGroupAdded => "group.group_added",
            EventKind::GroupGroupRemoved => "group.group_removed",
            EventKind::DirectorySynced => "directory.synced",
            EventKind::DirectoryFailing => "directory.failing",
            EventKind::DirectoryRecovered => "directory.recovered",
            EventKind::DirectoryHeld => "directory.held",
            EventKind::DirectoryRemoved => "directory.removed",
            EventKind::WebhookDisabled => "webhook.disabled",
        }
    }
}

/// One entry of the journal, whole: what a receiver is told.
///
/// The same `id` and `seq` never carry two different bodies, however often
/// and whenever the event is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `evt_…`, unique for ever; the `webhook-id`.
    pub id: String,
    /// Gapless, from 1.
    pub seq: u64,
    pub kind: EventKind,
    pub occurred_at: Timestamp,
    pub tenant: String,
    pub product: String,
    pub directory: String,
    pub payload: Payload,
}

/// The objects an event speaks of, as they are after the change (as they
/// were, for removals).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// `previous` only on `user.updated`.
    User {
        user: User,
        previous: Option<Previous<User>>,
    },
    /// `previous` only on `group.updated`.
    Group {
        group: Group,
        previous: Option<Previous<Group>>,
    },
    Membership {
        group: Group,
        member: MemberObject,
    },
    /// `directory.*` and `webhook.*`: names and counts, already in a stable order.
    Directory {
        details: super::Attributes,
    },
}

/// The object as it was before an update; writers show only the fields that
/// differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous<T>(pub T);

/// The member of a membership event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberObject {
    User(User),
    Group(Group),
}
