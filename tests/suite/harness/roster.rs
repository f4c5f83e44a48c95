//! A directory as far as tests compare it, and what a receiver makes of the
//! events: it insists on what their contract promises.

use std::collections::{BTreeMap, BTreeSet};

use rosterd::index::DirectoryView;
use rosterd::model::{Event, EventKind, Group, MemberObject, Payload, User};
use rosterd::store;

/// What of a user and of a group is compared, in words.
#[derive(Clone, Copy, Debug)]
pub struct Lens {
    pub user: fn(&User) -> String,
    pub group: fn(&Group) -> String,
}

/// Users and groups by id, with what the lens sees of them, and the direct
/// memberships as pairs of a group's id and a member's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    pub users: BTreeMap<String, String>,
    pub groups: BTreeMap<String, String>,
    pub members: BTreeSet<(String, String)>,
}

impl Roster {
    /// What readers see.
    pub fn of(view: &DirectoryView, lens: Lens) -> Roster {
        let mut roster = Roster::default();
        let user_id =
            |slot| store::record::id_of(view.user_record(slot).unwrap()).unwrap().to_owned();
        let group_id =
            |slot| store::record::id_of(view.group_record(slot).unwrap()).unwrap().to_owned();
        for slot in view.user_slots() {
            let item = store::record::decode_user(view.user_record(slot).unwrap()).unwrap();
            roster.users.insert(item.user.id.clone(), (lens.user)(&item.user));
            for group in view.groups_of_user(slot) {
                roster.members.insert((group_id(*group), user_id(slot)));
            }
        }
        for slot in view.group_slots() {
            let item = store::record::decode_group(view.group_record(slot).unwrap()).unwrap();
            roster.groups.insert(item.group.id.clone(), (lens.group)(&item.group));
            for member in view.subgroups(slot) {
                roster.members.insert((group_id(slot), group_id(*member)));
            }
        }
        roster
    }

    /// Applies one event, as a receiver does.
    pub fn fold(&mut self, event: &Event, lens: Lens) {
        match (&event.kind, &event.payload) {
            (EventKind::UserCreated, Payload::User { user, .. }) => {
                let before = self.users.insert(user.id.clone(), (lens.user)(user));
                assert_eq!(before, None, "created twice: {event:?}");
            }
            (EventKind::UserUpdated, Payload::User { user, previous }) => {
                let before = self.users.insert(user.id.clone(), (lens.user)(user));
                let previous = previous.as_ref().unwrap();
                assert_eq!(before, Some((lens.user)(&previous.0)), "{event:?}");
                assert_ne!(previous.0, *user, "an update that changes nothing");
            }
            (EventKind::UserDeleted, Payload::User { user, .. }) => {
                assert!(self.users.remove(&user.id).is_some(), "{event:?}");
                assert!(!self.members.iter().any(|(_, m)| *m == user.id), "still a member");
            }
            (EventKind::GroupCreated, Payload::Group { group, .. }) => {
                assert_eq!(self.groups.insert(group.id.clone(), (lens.group)(group)), None);
            }
            (EventKind::GroupUpdated, Payload::Group { group, previous }) => {
                let before = self.groups.insert(group.id.clone(), (lens.group)(group));
                assert_eq!(before, Some((lens.group)(&previous.as_ref().unwrap().0)));
            }
            (EventKind::GroupDeleted, Payload::Group { group, .. }) => {
                assert!(self.groups.remove(&group.id).is_some());
                assert!(!self.members.iter().any(|(g, m)| *g == group.id || *m == group.id));
            }
            (
                EventKind::GroupUserAdded
                | EventKind::GroupUserRemoved
                | EventKind::GroupGroupAdded
                | EventKind::GroupGroupRemoved,
                Payload::Membership { group, member },
            ) => self.fold_membership(event, group, member),
            (_, Payload::Directory { .. }) => {}
            (kind, payload) => panic!("{kind:?} with {payload:?}"),
        }
    }

    fn fold_membership(&mut self, event: &Event, group: &Group, member: &MemberObject) {
        let (id, is_there) = match member {
            MemberObject::User(user) => (&user.id, self.users.contains_key(&user.id)),
            MemberObject::Group(inner) => (&inner.id, self.groups.contains_key(&inner.id)),
        };
        assert!(is_there && self.groups.contains_key(&group.id), "{event:?}");
        let added = matches!(event.kind, EventKind::GroupUserAdded | EventKind::GroupGroupAdded);
        let pair = (group.id.clone(), id.clone());
        let changed = if added { self.members.insert(pair) } else { self.members.remove(&pair) };
        assert!(changed, "told twice: {event:?}");
    }
}
