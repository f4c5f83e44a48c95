//! What to change in the document of one directory after some events: only
//! what they could have touched is compared, then and now.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::facts::{GroupFacts, Person, Team, UserFacts, set};
use super::patch::Op;
use super::picture::{Before, Ids, Now, Picture, Read};
use super::scoped::Scoped;
use super::touched::Touched;
use crate::index::DirectoryView;

/// More is not compared: it would take as long as the whole.
pub const OBJECTS_MAX: usize = 100_000;
/// More is not patched: OPA compares each operation with all before it, and takes
/// three seconds for so many, eleven for twice as many.
pub const OPS_MAX: usize = 5_000;

/// The operations for one directory; `None` when the whole is the better answer.
///
/// # Errors
/// When a record is damaged.
pub fn of_directory(
    directory: &DirectoryView,
    touched: &Touched,
    group_prefix: Option<&str>,
) -> Read<Option<Vec<Op>>> {
    let now = Now(directory);
    let before = Before { now: &now, touched };
    let new = Scoped::new(&now, group_prefix)?;
    let old = Scoped::new(&before, group_prefix)?;
    let Some((users, groups)) = affected(&old, &new, touched)? else { return Ok(None) };
    let mut difference = Difference { name: directory.name(), ops: Vec::new() };
    difference.users(&old, &new, &users)?;
    difference.groups(&old, &new, &groups)?;
    Ok(Some(difference.ops).filter(|ops| ops.len() <= OPS_MAX))
}

/// The users and groups that may read differently now; `None` when too many.
fn affected(
    old: &Scoped<'_, Before<'_>>,
    new: &Scoped<'_, Now<'_>>,
    touched: &Touched,
) -> Read<Option<(Ids, Ids)>> {
    let crossing = crossing(old.groups(), new.groups());
    let mut users: Ids = touched.users.keys().cloned().collect();
    users.extend(touched.user_edges.members().map(str::to_owned));
    for group in &crossing {
        users.extend(old.picture().users_of(group)?);
        users.extend(new.picture().users_of(group)?);
        if users.len() > OBJECTS_MAX {
            return Ok(None);
        }
    }
    let mut moved: Ids = touched.group_edges.members().map(str::to_owned).collect();
    moved.extend(crossing);
    let mut groups: Ids = touched.groups.keys().cloned().collect();
    groups.extend(old.below(moved.clone())?);
    groups.extend(new.below(moved)?);
    Ok((users.len() + groups.len() <= OBJECTS_MAX).then_some((users, groups)))
}

/// The groups that came into scope or left it.
fn crossing(old: Option<&Ids>, new: Option<&Ids>) -> Ids {
    let empty = Ids::new();
    let (old, new) = (old.unwrap_or(&empty), new.unwrap_or(&empty));
    old.symmetric_difference(new).cloned().collect()
}

struct Difference<'a> {
    name: &'a str,
    ops: Vec<Op>,
}

/// A key of an index and who is found under it, of those that were compared.
type Found = BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>;

impl Difference<'_> {
    fn users(
        &mut self,
        old: &Scoped<'_, Before<'_>>,
        new: &Scoped<'_, Now<'_>>,
        ids: &Ids,
    ) -> Read<()> {
        let (mut names, mut emails) = (Found::new(), Found::new());
        for id in ids {
            let (was, is) = (old.user(id)?, new.user(id)?);
            let keys = |of: fn(&Person) -> Ids, facts: &Option<UserFacts>| {
                facts.as_ref().map(|facts| of(&facts.person)).unwrap_or_default()
            };
            find(&mut names, id, keys(Person::name_keys, &was), keys(Person::name_keys, &is));
            find(&mut emails, id, keys(Person::email_keys, &was), keys(Person::email_keys, &is));
            match (was, is) {
                (Some(was), Some(is)) => self.user(id, &was, &is),
                (was, is) => self.whole("users", id, was.is_some(), is.as_ref()),
            }
        }
        let view = new.picture().0;
        self.index("usernames", &names, |key| shown_users(new, view.users_by_username(key)))?;
        self.index("emails", &emails, |key| shown_users(new, view.users_by_email(key)))
    }

    fn groups(
        &mut self,
        old: &Scoped<'_, Before<'_>>,
        new: &Scoped<'_, Now<'_>>,
        ids: &Ids,
    ) -> Read<()> {
        let (mut names, mut emails) = (Found::new(), Found::new());
        for id in ids {
            let (was, is) = (old.group(id)?, new.group(id)?);
            let keys = |of: fn(&Team) -> Ids, facts: &Option<GroupFacts>| {
                facts.as_ref().map(|facts| of(&facts.team)).unwrap_or_default()
            };
            find(&mut names, id, keys(Team::name_keys, &was), keys(Team::name_keys, &is));
            find(&mut emails, id, keys(Team::email_keys, &was), keys(Team::email_keys, &is));
            match (was, is) {
                (Some(was), Some(is)) => self.group(id, &was, &is),
                (was, is) => self.whole("groups", id, was.is_some(), is.as_ref()),
            }
        }
        let view = new.picture().0;
        self.index("group_names", &names, |key| shown_groups(new, view.groups_by_name(key)))?;
        self.index("group_emails", &emails, |key| shown_groups(new, view.groups_by_email(key)))
    }

    fn user(&mut self, id: &str, was: &UserFacts, is: &UserFacts) {
        if was.person.username != is.person.username {
            self.put(&["users", id, "username"], is.person.username.as_str());
        }
        let (before, now) = (was.person.emails.first(), is.person.emails.first());
        self.optional(&["users", id, "email"], before, now);
        if was.person.active != is.person.active {
            self.put(&["users", id, "active"], is.person.active);
        }
        self.members(&["users", id, "groups"], &was.groups, &is.groups);
    }

    fn group(&mut self, id: &str, was: &GroupFacts, is: &GroupFacts) {
        if was.team.name != is.team.name {
            self.put(&["groups", id, "name"], is.team.name.as_str());
        }
        let (before, now) = (was.team.email.as_ref(), is.team.email.as_ref());
        self.optional(&["groups", id, "email"], before, now);
        self.members(&["groups", id, "ancestors"], &was.ancestors, &is.ancestors);
    }

    fn whole(&mut self, kind: &str, id: &str, was: bool, is: Option<&impl Serialize>) {
        match is {
            // Texts, flags and maps of them have no way to fail.
            Some(is) => self.put(&[kind, id], serde_json::to_value(is).unwrap_or_default()),
            None if was => self.remove(&[kind, id]),
            None => {}
        }
    }

    fn optional(&mut self, path: &[&str], was: Option<&String>, is: Option<&String>) {
        match is {
            Some(is) if was != Some(is) => self.put(path, is.as_str()),
            None if was.is_some() => self.remove(path),
            _ => {}
        }
    }

    fn members(&mut self, path: &[&str], was: &Ids, is: &Ids) {
        for gone in was.difference(is) {
            self.remove(&[path, &[gone]].concat());
        }
        for new in is.difference(was) {
            self.put(&[path, &[new]].concat(), true);
        }
    }

    /// What stands under each key whose objects changed; a key of nobody goes.
    fn index(&mut self, index: &str, found: &Found, now: impl Fn(&str) -> Read<Ids>) -> Read<()> {
        for (key, (were, are)) in found {
            if were == are {
                continue;
            }
            let all = now(key)?;
            if !all.is_empty() {
                let all = serde_json::to_value(set(&all)).unwrap_or_default();
                self.put(&[index, key], all);
            } else if !were.is_empty() {
                self.remove(&[index, key]);
            }
        }
        Ok(())
    }

    fn put(&mut self, path: &[&str], value: impl Into<Value>) {
        self.ops.push(Op::put(&[&["directories", self.name], path].concat(), value));
    }

    fn remove(&mut self, path: &[&str]) {
        self.ops.push(Op::remove(&[&["directories", self.name], path].concat()));
    }
}

fn find(found: &mut Found, id: &str, were: Ids, are: Ids) {
    for key in were {
        found.entry(key).or_default().0.insert(id.to_owned());
    }
    for key in are {
        found.entry(key).or_default().1.insert(id.to_owned());
    }
}

fn shown_users(new: &Scoped<'_, Now<'_>>, slots: impl Iterator<Item = u32>) -> Read<Ids> {
    let view = new.picture().0;
    let mut ids = Ids::new();
    for record in slots.filter_map(|slot| view.user_record(slot)) {
        let id = crate::store::record::id_of(record)?;
        if new.user(id)?.is_some() {
            ids.insert(id.to_owned());
        }
    }
    Ok(ids)
}

fn shown_groups(new: &Scoped<'_, Now<'_>>, slots: impl Iterator<Item = u32>) -> Read<Ids> {
    let view = new.picture().0;
    let mut ids = Ids::new();
    for record in slots.filter_map(|slot| view.group_record(slot)) {
        let id = crate::store::record::id_of(record)?;
        if new.group(id)?.is_some() {
            ids.insert(id.to_owned());
        }
    }
    Ok(ids)
}
