//! Rounds of changes (delta queries), merged: one entry for each object,
//! whatever number of pages told of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::config::Wanted;
use super::graph::incomplete;
use super::map;
use crate::model::Reference;
use crate::provider::{Item, PullError};

/// What a round says of users, or of what is read like them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Touched(pub BTreeMap<String, Touch>);

/// What happened to one object. What it is now is read anew: an entry may
/// hold the changed properties only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    Removed,
    Changed {
        /// It may be new, or restored: its memberships are not told again.
        may_be_new: bool,
    },
}

/// What a round says of groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TouchedGroups(pub BTreeMap<String, GroupTouch>);

/// What happened to one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GroupTouch {
    pub is_removed: bool,
    /// Its own properties changed, or it is new, or restored.
    pub is_changed: bool,
    /// By id: who joined (`true`) or left last.
    pub members: BTreeMap<String, (Reference, bool)>,
}

/// What is newer than any list that is read meanwhile: replicas lag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    users: BTreeSet<String>,
    groups: TouchedGroups,
}

impl Window {
    pub(super) fn new<'a>(
        users: impl Iterator<Item = &'a Touched>,
        groups: &TouchedGroups,
    ) -> Window {
        let users = users.flat_map(|touched| touched.0.keys().cloned()).collect();
        Window { users, groups: groups.clone() }
    }

    /// With what a later round tells: that counts more, since each may be
    /// answered by another replica.
    pub(super) fn then(mut self, later: &Window) -> Window {
        self.users.extend(later.users.iter().cloned());
        for (id, touch) in &later.groups.0 {
            let known = self.groups.0.entry(id.clone()).or_default();
            if touch.is_removed {
                *known = touch.clone();
                continue;
            }
            known.is_removed = false;
            known.is_changed |= touch.is_changed;
            known.members.extend(touch.members.clone());
        }
        self
    }

    /// Whether it told of this user: what a list says of it may be older.
    pub(super) fn tells_of_user(&self, id: &str) -> bool {
        self.users.contains(id)
    }

    /// Whether it told that this group changed itself, or is gone: that was
    /// reason enough to read it.
    pub(super) fn tells_of_group(&self, id: &str) -> bool {
        self.groups.0.get(id).is_some_and(|touch| touch.is_removed || touch.is_changed)
    }

    /// Who joined and left the group, to be handed over after its list.
    pub(super) fn members(&self, id: &str) -> Vec<Item> {
        self.groups.0.get(id).map(|touch| touch.items(id)).unwrap_or_default()
    }
}

impl Touched {
    /// Whether it tells of somebody whose memberships it does not tell.
    pub(super) fn has_new(&self) -> bool {
        self.0.values().any(|touch| *touch == Touch::Changed { may_be_new: true })
    }

    /// Takes one page in.
    ///
    /// # Errors
    /// When an entry does not say whose it is.
    pub(super) fn take(&mut self, page: &[Json]) -> Result<(), PullError> {
        for entry in page {
            let id = id(entry)?;
            let touch = if entry.get("@removed").is_some() {
                Touch::Removed
            } else {
                // A restored user gets its name back, and a new one has one;
                // with `Prefer: return=minimal` others do not repeat it.
                let is_named = ["userPrincipalName", "appId", "deviceId"]
                    .iter()
                    .any(|name| entry.get(name).is_some());
                let was_removed = self.0.get(id) == Some(&Touch::Removed);
                let was_new = self.0.get(id) == Some(&Touch::Changed { may_be_new: true });
                Touch::Changed { may_be_new: is_named || was_removed || was_new }
            };
            self.0.insert(id.to_owned(), touch);
        }
        Ok(())
    }
}

impl TouchedGroups {
    /// Whether it tells of more than members.
    pub(super) fn has_changed(&self) -> bool {
        self.0.values().any(|touch| touch.is_changed)
    }

    /// Takes one page in. A group may come on any number of pages; its entries
    /// are applied in their order.
    ///
    /// # Errors
    /// When an entry does not say whose it is, or its members are no list.
    pub(super) fn take(&mut self, wanted: &Wanted, page: &[Json]) -> Result<(), PullError> {
        for entry in page {
            let touch = self.0.entry(id(entry)?.to_owned()).or_default();
            if entry.get("@removed").is_some() {
                *touch = GroupTouch { is_removed: true, ..GroupTouch::default() };
                continue;
            }
            let is_own = |name: &String| name != "id" && !name.contains('@');
            let names_more = entry.as_object().is_some_and(|fields| fields.keys().any(is_own));
            touch.is_changed |= names_more || touch.is_removed;
            touch.is_removed = false;
            match entry.get("members@delta") {
                None => {}
                Some(Json::Array(members)) => {
                    for one in members {
                        touch.member(wanted, one)?;
                    }
                }
                Some(_) => return Err(incomplete("`members@delta` is no list".to_owned())),
            }
        }
        Ok(())
    }
}

impl GroupTouch {
    fn member(&mut self, wanted: &Wanted, entry: &Json) -> Result<(), PullError> {
        let joined = entry.get("@removed").is_none();
        if let Some(reference) = map::member(wanted, entry)? {
            self.members.insert(id(entry)?.to_owned(), (reference, joined));
        }
        Ok(())
    }

    /// Who joined and who left, as what to hand over.
    fn items(&self, id: &str) -> Vec<Item> {
        if self.is_removed {
            return Vec::new();
        }
        let group = Reference::Group(id.to_owned());
        let (joined, left) = (self.who(true), self.who(false));
        let mut items = Vec::new();
        if !joined.is_empty() {
            items.push(Item::MembersAdded { group: group.clone(), members: joined });
        }
        if !left.is_empty() {
            items.push(Item::MembersRemoved { group, members: left });
        }
        items
    }

    /// Who joined, or who left.
    pub(super) fn who(&self, joined: bool) -> Vec<Reference> {
        let alike = self.members.values().filter(|(_, did)| *did == joined);
        alike.map(|(reference, _)| reference.clone()).collect()
    }
}

fn id(entry: &Json) -> Result<&str, PullError> {
    map::id_of(entry).ok_or_else(|| incomplete("a change has no id".to_owned()))
}

#[cfg(test)]
mod tests;
