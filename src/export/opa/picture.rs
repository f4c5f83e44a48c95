//! A directory by ids: as it is, and as it was before some events.

use std::collections::BTreeSet;

use super::facts::{Person, Team};
use super::touched::{Edges, Touched};
use crate::fold::fold;
use crate::index::DirectoryView;
use crate::store::record::{RecordError, id_and_name_of, id_of};

/// What is read of a directory; an error is a damaged record.
pub type Read<T> = Result<T, RecordError>;
pub type Ids = BTreeSet<String>;

/// One directory at one moment.
pub trait Picture {
    fn user(&self, id: &str) -> Read<Option<Person>>;
    fn group(&self, id: &str) -> Read<Option<Team>>;
    /// The groups that a user is directly in.
    fn groups_of(&self, user: &str) -> Read<Ids>;
    /// The users directly in a group.
    fn users_of(&self, group: &str) -> Read<Ids>;
    /// The groups that a group is directly in.
    fn parents(&self, group: &str) -> Read<Ids>;
    /// The groups directly in a group.
    fn children(&self, group: &str) -> Read<Ids>;
    /// The groups whose folded name begins with `prefix`.
    fn groups_named(&self, prefix: &str) -> Read<Ids>;
}

/// As it is.
pub struct Now<'v>(pub &'v DirectoryView);

/// As it was before what was touched.
pub struct Before<'a> {
    pub now: &'a Now<'a>,
    pub touched: &'a Touched,
}

impl Now<'_> {
    fn ids_of_users(&self, slots: &[u32]) -> Read<Ids> {
        slots.iter().filter_map(|slot| self.0.user_record(*slot)).map(owned_id).collect()
    }

    fn ids_of_groups(&self, slots: &[u32]) -> Read<Ids> {
        slots.iter().filter_map(|slot| self.0.group_record(*slot)).map(owned_id).collect()
    }
}

impl Picture for Now<'_> {
    fn user(&self, id: &str) -> Read<Option<Person>> {
        let record = self.0.user_by_id(id).and_then(|slot| self.0.user_record(slot));
        record.map(Person::read).transpose()
    }

    fn group(&self, id: &str) -> Read<Option<Team>> {
        let record = self.0.group_by_id(id).and_then(|slot| self.0.group_record(slot));
        record.map(Team::read).transpose()
    }

    fn groups_of(&self, user: &str) -> Read<Ids> {
        let slots = self.0.user_by_id(user).map(|slot| self.0.groups_of_user(slot));
        self.ids_of_groups(slots.unwrap_or_default())
    }

    fn users_of(&self, group: &str) -> Read<Ids> {
        let slots = self.0.group_by_id(group).map(|slot| self.0.direct_users(slot));
        self.ids_of_users(&slots.unwrap_or_default())
    }

    fn parents(&self, group: &str) -> Read<Ids> {
        let slots = self.0.group_by_id(group).map(|slot| self.0.parents_of_group(slot));
        self.ids_of_groups(slots.unwrap_or_default())
    }

    fn children(&self, group: &str) -> Read<Ids> {
        let slots = self.0.group_by_id(group).map(|slot| self.0.subgroups(slot));
        self.ids_of_groups(slots.unwrap_or_default())
    }

    fn groups_named(&self, prefix: &str) -> Read<Ids> {
        let mut ids = Ids::new();
        for slot in self.0.group_slots() {
            let (id, name) = id_and_name_of(self.0.group_record(slot).unwrap_or_default())?;
            if fold(name).starts_with(prefix) {
                ids.insert(id.to_owned());
            }
        }
        Ok(ids)
    }
}

impl Picture for Before<'_> {
    fn user(&self, id: &str) -> Read<Option<Person>> {
        self.touched.users.get(id).cloned().map_or_else(|| self.now.user(id), Ok)
    }

    fn group(&self, id: &str) -> Read<Option<Team>> {
        self.touched.groups.get(id).cloned().map_or_else(|| self.now.group(id), Ok)
    }

    fn groups_of(&self, user: &str) -> Read<Ids> {
        Ok(undo(self.now.groups_of(user)?, self.touched.user_edges.of_member(user)))
    }

    fn users_of(&self, group: &str) -> Read<Ids> {
        Ok(undo(self.now.users_of(group)?, self.touched.user_edges.of_group(group)))
    }

    fn parents(&self, group: &str) -> Read<Ids> {
        Ok(undo(self.now.parents(group)?, self.group_edges().of_member(group)))
    }

    fn children(&self, group: &str) -> Read<Ids> {
        Ok(undo(self.now.children(group)?, self.group_edges().of_group(group)))
    }

    fn groups_named(&self, prefix: &str) -> Read<Ids> {
        let mut ids = self.now.groups_named(prefix)?;
        for (id, before) in &self.touched.groups {
            if before.as_ref().is_some_and(|team| fold(&team.name).starts_with(prefix)) {
                ids.insert(id.clone());
            } else {
                ids.remove(id);
            }
        }
        Ok(ids)
    }
}

impl Before<'_> {
    fn group_edges(&self) -> &Edges {
        &self.touched.group_edges
    }
}

fn undo<'a>(mut ids: Ids, touched: impl Iterator<Item = (&'a str, bool)>) -> Ids {
    for (id, was) in touched {
        if was {
            ids.insert(id.to_owned());
        } else {
            ids.remove(id);
        }
    }
    ids
}

fn owned_id(record: &[u8]) -> Read<String> {
    id_of(record).map(str::to_owned)
}
