//! The whole document as JSON, written straight from the view.

use std::collections::{BTreeMap, HashSet};

use serde::ser::{Error, Serialize, SerializeMap, Serializer};

use super::facts::{GroupBody, UserBody};
use super::feed::State;
use super::revision::Revision;
use super::scope::Place;
use crate::fold::fold;
use crate::index::DirectoryView;
use crate::store::record::{GroupKeys, RecordError, UserSummary, emails_of, id_and_name_of, id_of};

/// What stands under `data.rosterd`.
pub struct Document<'s>(pub &'s State);

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Document(state) = self;
        let Revision { seq, .. } = state.revision;
        let ages: BTreeMap<&str, Option<String>> = state.places.iter().map(age).collect();
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("revision", &state.revision.to_string())?;
        let held = BTreeMap::from([(state.revision.to_string(), true)]);
        map.serialize_entry("held", &held)?;
        map.serialize_entry("seq", &seq)?;
        map.serialize_entry("as_of", &ages)?;
        map.serialize_entry("directories", &Directories(state))?;
        map.end()
    }
}

fn age(place: &Place) -> (&str, Option<String>) {
    (&place.name, place.as_of.map(|at| at.to_string()))
}

struct Directories<'s>(&'s State);

impl Serialize for Directories<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let State { view, places, scope, .. } = self.0;
        let mut map = serializer.serialize_map(Some(places.len()))?;
        for place in places {
            let empty;
            let directory: &DirectoryView = match view.directory(&place.name) {
                Some(directory) => directory,
                None => {
                    empty = DirectoryView::empty(&place.name, &place.tenant, &place.product);
                    &empty
                }
            };
            let shown = Shown::of(directory, scope.group_prefix.as_deref());
            let shown = shown.map_err(S::Error::custom)?;
            map.serialize_entry(&place.name, &Directory { place, shown: &shown })?;
        }
        map.end()
    }
}

struct Directory<'a> {
    place: &'a Place,
    shown: &'a Shown<'a>,
}

impl Serialize for Directory<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Directory { place, shown } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("tenant", &place.tenant)?;
        map.serialize_entry("product", &place.product)?;
        map.serialize_entry("users", &Users(shown))?;
        map.serialize_entry("groups", &Groups(shown))?;
        for index in [Index::Usernames, Index::Emails, Index::GroupNames, Index::GroupEmails] {
            map.serialize_entry(index.name(), &IndexBody { shown, index })?;
        }
        map.end()
    }
}

/// A directory and the groups of it that are in scope.
struct Shown<'v> {
    directory: &'v DirectoryView,
    /// `None` for all.
    groups: Option<HashSet<u32>>,
}

impl<'v> Shown<'v> {
    fn of(directory: &'v DirectoryView, prefix: Option<&str>) -> Result<Shown<'v>, RecordError> {
        let Some(prefix) = prefix else { return Ok(Shown { directory, groups: None }) };
        let mut open = Vec::new();
        for slot in directory.group_slots() {
            let (_, name) = id_and_name_of(directory.group_record(slot).unwrap_or_default())?;
            if fold(name).starts_with(prefix) {
                open.push(slot);
            }
        }
        let found = reach(open, |group| directory.subgroups(group));
        Ok(Shown { directory, groups: Some(found) })
    }

    fn has_group(&self, slot: u32) -> bool {
        self.groups.as_ref().is_none_or(|groups| groups.contains(&slot))
    }

    fn has_user(&self, slot: u32) -> bool {
        self.groups.as_ref().is_none_or(|groups| {
            self.directory.groups_of_user(slot).iter().any(|group| groups.contains(group))
        })
    }

    fn users(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let slots = self.directory.user_slots().filter(|slot| self.has_user(*slot));
        slots.filter_map(|slot| Some((slot, self.directory.user_record(slot)?)))
    }

    fn groups(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let slots = self.directory.group_slots().filter(|slot| self.has_group(*slot));
        slots.filter_map(|slot| Some((slot, self.directory.group_record(slot)?)))
    }

    /// The groups above one, however far.
    fn ancestors(&self, slot: u32) -> Vec<u32> {
        let above = |group| self.directory.parents_of_group(group);
        if above(slot).is_empty() {
            return Vec::new();
        }
        let found = reach(above(slot).to_vec(), above);
        found.into_iter().filter(|group| *group != slot && self.has_group(*group)).collect()
    }
}

fn reach<'v>(start: Vec<u32>, next: impl Fn(u32) -> &'v [u32]) -> HashSet<u32> {
    let mut found: HashSet<u32> = start.iter().copied().collect();
    let mut open = start;
    while let Some(slot) = open.pop() {
        for other in next(slot) {
            if found.insert(*other) {
                open.push(*other);
            }
        }
    }
    found
}

struct Users<'a>(&'a Shown<'a>);

impl Serialize for Users<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Users(shown) = self;
        let mut map = serializer.serialize_map(None)?;
        for (slot, record) in shown.users() {
            let user = UserSummary::read(record).map_err(S::Error::custom)?;
            let email = emails_of(record).map_err(S::Error::custom)?.next();
            let groups = shown.directory.groups_of_user(slot).iter().copied();
            let groups = groups.filter(|group| shown.has_group(*group)).collect();
            let groups = GroupSet { directory: shown.directory, groups };
            let UserSummary { id, username, active } = user;
            map.serialize_entry(id, &UserBody { username, email, active, groups })?;
        }
        map.end()
    }
}

struct Groups<'a>(&'a Shown<'a>);

impl Serialize for Groups<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Groups(shown) = self;
        let mut map = serializer.serialize_map(None)?;
        for (slot, record) in shown.groups() {
            let GroupKeys { id, name, email, .. } =
                GroupKeys::read(record).map_err(S::Error::custom)?;
            let groups = shown.ancestors(slot);
            let ancestors = GroupSet { directory: shown.directory, groups };
            map.serialize_entry(id, &GroupBody { name, email, ancestors })?;
        }
        map.end()
    }
}

/// Groups as a set of ids.
struct GroupSet<'v> {
    directory: &'v DirectoryView,
    groups: Vec<u32>,
}

impl Serialize for GroupSet<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let records = self.groups.iter().filter_map(|slot| self.directory.group_record(*slot));
        serialize_set(serializer, records)
    }
}

fn serialize_set<'v, S: Serializer>(
    serializer: S,
    records: impl Iterator<Item = &'v [u8]>,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    for record in records {
        map.serialize_entry(id_of(record).map_err(S::Error::custom)?, &true)?;
    }
    map.end()
}

/// By which name objects are found.
#[derive(Clone, Copy)]
enum Index {
    Usernames,
    Emails,
    GroupNames,
    GroupEmails,
}

impl Index {
    fn name(self) -> &'static str {
        match self {
            Index::Usernames => "usernames",
            Index::Emails => "emails",
            Index::GroupNames => "group_names",
            Index::GroupEmails => "group_emails",
        }
    }

    /// The names of an object, as they are written.
    fn texts(self, record: &[u8]) -> Result<Vec<&str>, RecordError> {
        Ok(match self {
            Index::Usernames => vec![UserSummary::read(record)?.username],
            Index::Emails => emails_of(record)?.collect(),
            Index::GroupNames => vec![GroupKeys::read(record)?.name],
            Index::GroupEmails => GroupKeys::read(record)?.email.into_iter().collect(),
        })
    }

    fn is_of_users(self) -> bool {
        matches!(self, Index::Usernames | Index::Emails)
    }

    /// Those in scope who have the name, in order.
    fn owners(self, shown: &Shown<'_>, text: &str) -> Vec<u32> {
        let directory = shown.directory;
        let mut slots: Vec<u32> = match self {
            Index::Usernames => directory.users_by_username(text).collect(),
            Index::Emails => directory.users_by_email(text).collect(),
            Index::GroupNames => directory.groups_by_name(text).collect(),
            Index::GroupEmails => directory.groups_by_email(text).collect(),
        };
        let is_user = self.is_of_users();
        slots.retain(|slot| if is_user { shown.has_user(*slot) } else { shown.has_group(*slot) });
        slots.sort_unstable();
        slots.dedup();
        slots
    }
}

struct IndexBody<'a> {
    shown: &'a Shown<'a>,
    index: Index,
}

impl Serialize for IndexBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.index.is_of_users() {
            for (slot, record) in self.shown.users() {
                self.object(&mut map, slot, record)?;
            }
        } else {
            for (slot, record) in self.shown.groups() {
                self.object(&mut map, slot, record)?;
            }
        }
        map.end()
    }
}

impl IndexBody<'_> {
    /// Writes the names of which this object is the first owner: each name once,
    /// and no list of all of them is kept.
    fn object<M: SerializeMap>(
        &self,
        map: &mut M,
        slot: u32,
        record: &[u8],
    ) -> Result<(), M::Error> {
        let texts = self.index.texts(record).map_err(M::Error::custom)?;
        let mut written: Vec<String> = Vec::new();
        for text in texts.into_iter().filter(|text| !text.is_empty()) {
            let key = fold(text).into_owned();
            let owners = self.index.owners(self.shown, text);
            if owners.first() != Some(&slot) || written.contains(&key) {
                continue;
            }
            map.serialize_entry(&key, &Owners { body: self, owners })?;
            written.push(key);
        }
        Ok(())
    }
}

struct Owners<'a> {
    body: &'a IndexBody<'a>,
    owners: Vec<u32>,
}

impl Serialize for Owners<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let IndexBody { shown, index } = self.body;
        let record = |slot: &u32| match index.is_of_users() {
            true => shown.directory.user_record(*slot),
            false => shown.directory.group_record(*slot),
        };
        serialize_set(serializer, self.owners.iter().filter_map(record))
    }
}
