//! Which records the journal speaks of, so that after a restart the others
//! need not be asked for.

use std::collections::BTreeMap;

use super::people::{self, IdMode, Scope};
use super::records::{Key, Kind};
use crate::index::{DirectoryView, View};
use crate::model::{Event, EventKind, MemberObject, Payload, User};
use crate::store::{EventsError, Store, record};

/// With more than this, asking for all records is cheaper.
const EVENTS_MAX: usize = 50_000;
const PAGE: usize = 1000;

/// Records that may be others than before, with the directory they are of.
pub(super) type Touched = BTreeMap<Key, String>;

/// The records that events after `seq` up to the view's speak of; `None` when
/// the journal does not tell. Blocks.
pub(super) fn touched(store: &Store, view: &View, scope: &Scope, seq: u64) -> Option<Touched> {
    let mut touched = Touched::new();
    let mut after = seq;
    let mut left = EVENTS_MAX;
    while after < view.seq {
        let events = match store.events(after, PAGE.min(left)) {
            Ok(events) => events,
            Err(EventsError::Gone { .. } | EventsError::Store(_)) => return None,
        };
        after = events.last()?.seq;
        left = left.checked_sub(events.len()).filter(|left| *left > 0)?;
        // Events beyond the view are told again: their records differ then.
        for event in events.iter().filter(|event| event.seq <= view.seq) {
            touch(&mut touched, view, scope, event)?;
        }
    }
    Some(touched)
}

fn touch(touched: &mut Touched, view: &View, scope: &Scope, event: &Event) -> Option<()> {
    let Some(mode) = scope.get(&event.directory) else { return Some(()) };
    let mut add = |kind, id: Option<String>| {
        if let Some(id) = id {
            touched.insert(Key { kind, id: id.into() }, event.directory.clone());
        }
    };
    match &event.payload {
        Payload::User { user, previous } => {
            add(Kind::User, people::id_of(user, mode));
            let before = previous.as_ref().and_then(|before| people::id_of(&before.0, mode));
            add(Kind::User, before);
        }
        Payload::Group { group, .. } => {
            // Whether an id is unique concerns the members of both groups.
            let is_news = matches!(event.kind, EventKind::GroupCreated | EventKind::GroupDeleted);
            if is_news && is_elsewhere(view, scope, &event.directory, &group.id) {
                return None;
            }
            add(Kind::Group, Some(group.id.clone()));
        }
        Payload::Membership { member: MemberObject::User(user), .. } => {
            add(Kind::User, people::id_of(user, mode));
        }
        Payload::Membership { member: MemberObject::Group(group), .. } => {
            let directory = view.directory(&event.directory)?;
            for user in nested_users(directory, &group.id) {
                add(Kind::User, people::id_of(&user?, mode));
            }
        }
        Payload::Directory { details } => {
            // A rebuild tells of no differences; a removal of no objects.
            let is_rebuilt = details.get("reason") == Some(&"rebuilt".into());
            if event.kind == EventKind::DirectoryRemoved || is_rebuilt {
                return None;
            }
        }
    }
    Some(())
}

fn is_elsewhere(view: &View, scope: &BTreeMap<String, IdMode>, directory: &str, id: &str) -> bool {
    let others = scope.keys().filter(|name| *name != directory);
    let mut others = others.filter_map(|name| view.directory(name));
    others.any(|other| other.group_by_id(id).is_some())
}

/// The users in the group now; none when there is no such group any more: then
/// other events tell of its members.
fn nested_users<'v>(
    directory: &'v DirectoryView,
    group: &str,
) -> impl Iterator<Item = Option<User>> + 'v {
    let slots = directory.group_by_id(group).map(|slot| directory.nested_users(slot));
    slots.unwrap_or_default().into_iter().map(|slot| {
        let record = directory.user_record(slot)?;
        record::decode_user(record).ok().map(|item| item.user)
    })
}
