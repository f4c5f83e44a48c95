//! The events about the daemon's own work.

use super::status::{Counts, HoldSummary};
use crate::clock::Timestamp;
use crate::index::DirectoryView;
use crate::model::{Attributes, Change, EventKind, Put, Value};

/// A notice without details.
pub fn plain(kind: EventKind) -> Change {
    Change::Notice { kind, details: Attributes::new() }
}

/// `directory.synced`: why, and how much is there now.
pub fn synced(reason: &str, base: &DirectoryView, counts: &Counts) -> Change {
    let after = |before: usize, added: u64, removed: u64| {
        let total = (before as u64).saturating_add(added).saturating_sub(removed);
        Value::Integer(i64::try_from(total).unwrap_or(i64::MAX))
    };
    let details = [
        ("reason".to_owned(), Value::from(reason)),
        ("users".to_owned(), after(base.user_count(), counts.users_created, counts.users_deleted)),
        (
            "groups".to_owned(),
            after(base.group_count(), counts.groups_created, counts.groups_deleted),
        ),
        (
            "memberships".to_owned(),
            after(base.membership_count(), counts.members_added, counts.members_removed),
        ),
    ];
    Change::Notice { kind: EventKind::DirectorySynced, details: details.into() }
}

/// `directory.failing`: which condition (`poll` or `freshness_objective`), what
/// went wrong, and since when nothing was confirmed.
pub fn failing(reason: &str, error: &str, as_of: Option<Timestamp>) -> Change {
    let mut details = Attributes::from([
        ("reason".to_owned(), Value::from(reason)),
        ("error".to_owned(), Value::from(error)),
    ]);
    if let Some(as_of) = as_of {
        details.insert("as_of".to_owned(), Value::Text(as_of.to_string()));
    }
    Change::Notice { kind: EventKind::DirectoryFailing, details }
}

/// `directory.held`: which set, and why.
pub fn held(hold: &HoldSummary) -> Change {
    let mut details = Attributes::from([
        ("hold".to_owned(), Value::from(hold.id.as_str())),
        ("reason".to_owned(), Value::from(hold.reason.as_str())),
    ]);
    for (name, count) in hold.counts.named() {
        details.insert(name.to_owned(), Value::Integer(i64::try_from(count).unwrap_or(i64::MAX)));
    }
    Change::Notice { kind: EventKind::DirectoryHeld, details }
}

/// `directory.removed`: the directory left the configuration.
pub fn removed(base: &DirectoryView) -> Vec<Change> {
    let count = |n: usize| Value::Integer(i64::try_from(n).unwrap_or(i64::MAX));
    let details = [
        ("users".to_owned(), count(base.user_count())),
        ("groups".to_owned(), count(base.group_count())),
        ("memberships".to_owned(), count(base.membership_count())),
    ];
    vec![
        Change::Cleared,
        Change::Notice { kind: EventKind::DirectoryRemoved, details: details.into() },
    ]
}

/// Takes the events out of changes: a rebuilt store must not tell the whole
/// directory again.
pub fn silence(changes: &mut [Change]) {
    for change in changes {
        match change {
            Change::User { put, .. } | Change::Group { put, .. } => *put = Put::Silent,
            Change::UserDeleted { visible, .. }
            | Change::GroupDeleted { visible, .. }
            | Change::Edges { visible, .. } => *visible = false,
            Change::Unresolved { .. } | Change::Cleared | Change::Notice { .. } => {}
        }
    }
}
