//! What events touched in one directory, and how that was before them.

use std::collections::{BTreeMap, HashMap};

use super::facts::{Person, Team};
use crate::model::{Event, EventKind, MemberObject, Payload, Value};

/// What was touched, with how it was before the first event.
#[derive(Debug, Default)]
pub struct Touched {
    /// `None` where it was not there.
    pub users: BTreeMap<String, Option<Person>>,
    pub groups: BTreeMap<String, Option<Team>>,
    pub user_edges: Edges,
    pub group_edges: Edges,
}

/// Memberships that were touched: whether each was there before.
#[derive(Debug, Default)]
pub struct Edges {
    by_group: HashMap<String, BTreeMap<String, bool>>,
    by_member: HashMap<String, BTreeMap<String, bool>>,
}

/// What happened is not told event by event; only the whole helps.
#[derive(Debug)]
pub struct Untold;

impl Touched {
    /// Takes in the next event.
    ///
    /// # Errors
    /// When events do not tell what happened.
    pub fn note(&mut self, event: &Event) -> Result<(), Untold> {
        match (&event.payload, event.kind) {
            (Payload::User { user, previous }, kind) => {
                let before = match (kind, previous) {
                    (EventKind::UserCreated, _) => None,
                    (_, Some(previous)) if previous.0.id != user.id => return Err(Untold),
                    (_, Some(previous)) => Some(Person::from(&previous.0)),
                    (_, None) => Some(Person::from(user)),
                };
                self.users.entry(user.id.clone()).or_insert(before);
            }
            (Payload::Group { group, previous }, kind) => {
                let before = match (kind, previous) {
                    (EventKind::GroupCreated, _) => None,
                    (_, Some(previous)) if previous.0.id != group.id => return Err(Untold),
                    (_, Some(previous)) => Some(Team::from(&previous.0)),
                    (_, None) => Some(Team::from(group)),
                };
                self.groups.entry(group.id.clone()).or_insert(before);
            }
            (Payload::Membership { group, member }, kind) => {
                let was =
                    matches!(kind, EventKind::GroupUserRemoved | EventKind::GroupGroupRemoved);
                match member {
                    MemberObject::User(user) => self.user_edges.note(&group.id, &user.id, was),
                    MemberObject::Group(inner) => self.group_edges.note(&group.id, &inner.id, was),
                }
            }
            // A rebuilt store does not tell what differs from the one before,
            // and a directory that is dropped not what was in it.
            (Payload::Directory { details }, kind) => {
                let rebuilt = details.get("reason") == Some(&Value::from("rebuilt"));
                if kind == EventKind::DirectoryRemoved || rebuilt {
                    return Err(Untold);
                }
            }
        }
        Ok(())
    }

    /// How many things were touched.
    pub fn len(&self) -> usize {
        self.users.len() + self.groups.len() + self.user_edges.len() + self.group_edges.len()
    }
}

impl Edges {
    fn note(&mut self, group: &str, member: &str, was: bool) {
        let of_group = self.by_group.entry(group.to_owned()).or_default();
        of_group.entry(member.to_owned()).or_insert(was);
        let of_member = self.by_member.entry(member.to_owned()).or_default();
        of_member.entry(group.to_owned()).or_insert(was);
    }

    /// The members that came into the group or left it.
    pub fn of_group(&self, group: &str) -> impl Iterator<Item = (&str, bool)> {
        pairs(self.by_group.get(group))
    }

    /// The groups that the member came into or left.
    pub fn of_member(&self, member: &str) -> impl Iterator<Item = (&str, bool)> {
        pairs(self.by_member.get(member))
    }

    /// All members of any that were touched.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        self.by_member.keys().map(String::as_str)
    }

    fn len(&self) -> usize {
        self.by_group.values().map(BTreeMap::len).sum()
    }
}

fn pairs(found: Option<&BTreeMap<String, bool>>) -> impl Iterator<Item = (&str, bool)> {
    found.into_iter().flatten().map(|(name, was)| (name.as_str(), *was))
}
