//! Reads the lists of a bundle and hands over what they say.

use std::collections::HashMap;
use std::collections::hash_map;
use std::sync::Arc;

use super::list::{Entry, List, Place};
use super::object;
use super::parts::{Memberships, Parts};
use crate::model::Reference;
use crate::provider::{GroupItem, Item, PullError, UserItem};

/// Items handed over at once.
const PAGE_ITEMS: usize = 500;

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) users: u64,
    pub(super) groups: u64,
    pub(super) memberships: u64,
    /// Members that nobody is, and memberships of groups that are not listed.
    pub(super) unresolved: u64,
}

/// Reads everything; `hand` takes each page and says whether to go on.
///
/// # Errors
/// The first mistake in the lists, with its place.
pub(super) fn read(
    parts: &Parts,
    keep_raw: bool,
    hand: &mut dyn FnMut(Vec<Item>) -> bool,
) -> Result<Counts, PullError> {
    let mut reading = Reading::new(keep_raw, hand);
    reading.users(parts)?;
    reading.groups(parts)?;
    if let Memberships::List(list) = &parts.memberships {
        reading.memberships(list)?;
    }
    reading.resolve_declared();
    reading.hand_over_members();
    Ok(reading.counts)
}

struct Reading<'a> {
    keep_raw: bool,
    pages: Pages<'a>,
    users: Known,
    groups: Known,
    /// By the index of the group.
    members: Vec<Members>,
    /// What users say of their groups: index of the user, id of the group.
    declared: Vec<(u32, String)>,
    counts: Counts,
}

/// The direct members of one group.
#[derive(Default)]
struct Members {
    users: Vec<u32>,
    groups: Vec<u32>,
    unknown: Vec<Reference>,
}

impl<'a> Reading<'a> {
    fn new(keep_raw: bool, hand: &'a mut dyn FnMut(Vec<Item>) -> bool) -> Reading<'a> {
        Reading {
            keep_raw,
            pages: Pages { hand, items: Vec::new(), is_stopped: false },
            users: Known::default(),
            groups: Known::default(),
            members: Vec::new(),
            declared: Vec::new(),
            counts: Counts::default(),
        }
    }

    fn users(&mut self, parts: &Parts) -> Result<(), PullError> {
        let by_users = matches!(parts.memberships, Memberships::InUsers);
        parts.users.each(self.keep_raw, |mut entry| {
            let place = entry.place;
            let groups = if by_users { object::take_group_ids(&mut entry)? } else { Vec::new() };
            let user = object::user(entry)?;
            let index = self.users.add(&user.id, place, &parts.users.file)?;
            self.declared.extend(groups.into_iter().map(|group| (index, group)));
            self.counts.users += 1;
            self.pages.push(Item::User(UserItem { user, ..UserItem::default() }))
        })
    }

    fn groups(&mut self, parts: &Parts) -> Result<(), PullError> {
        // Members of groups that come later in the list are resolved at the end.
        let mut listed: Vec<(u32, Vec<Reference>)> = Vec::new();
        let has_list = !matches!(parts.memberships, Memberships::InGroups);
        parts.groups.each(self.keep_raw, |entry: Entry| {
            let place = entry.place;
            let (group, members) = object::group(entry)?;
            let index = self.groups.add(&group.id, place, &parts.groups.file)?;
            if has_list && members.is_some() {
                return Err(twice_stated());
            }
            listed.extend(members.map(|members| (index, members)));
            self.members.push(Members::default());
            self.counts.groups += 1;
            self.pages.push(Item::Group(GroupItem { group, ..GroupItem::default() }))
        })?;
        if !has_list && listed.is_empty() && self.counts.groups > 0 {
            return Err(never_stated(&parts.groups.file));
        }
        for (group, members) in listed {
            self.join(group, members);
        }
        Ok(())
    }

    fn memberships(&mut self, list: &List) -> Result<(), PullError> {
        list.each(false, |entry| {
            let (group, members) = object::membership(entry)?;
            match self.groups.index(&group) {
                Some(index) => self.join(index, members),
                None => self.counts.unresolved += members.len().max(1) as u64,
            }
            self.pages.go_on()
        })
    }

    fn resolve_declared(&mut self) {
        for (user, group) in std::mem::take(&mut self.declared) {
            match self.groups.index(&group).and_then(|index| self.members.get_mut(index as usize)) {
                Some(members) => members.users.push(user),
                None => self.counts.unresolved += 1,
            }
        }
    }

    fn join(&mut self, group: u32, references: Vec<Reference>) {
        let Some(members) = self.members.get_mut(group as usize) else { return };
        for reference in references {
            let (user, group) = match &reference {
                Reference::User(id) => (self.users.index(id), None),
                Reference::Group(id) => (None, self.groups.index(id)),
                Reference::Id(id) | Reference::Alias(id) => {
                    (self.users.index(id), self.groups.index(id))
                }
            };
            match (user, group) {
                (Some(user), None) => members.users.push(user),
                (None, Some(group)) => members.groups.push(group),
                // Nobody, or a user and a group of the same id: it means nobody.
                _ => members.unknown.push(reference),
            }
        }
    }

    fn hand_over_members(&mut self) {
        for (index, members) in std::mem::take(&mut self.members).into_iter().enumerate() {
            let Some(group) = self.groups.ids.get(index) else { continue };
            let group = Reference::Group(group.to_string());
            let members = self.references(members);
            if self.pages.push(Item::Members { group, members }).is_err() {
                return;
            }
        }
        self.pages.flush();
    }

    fn references(&mut self, mut members: Members) -> Vec<Reference> {
        members.users.sort_unstable();
        members.users.dedup();
        members.groups.sort_unstable();
        members.groups.dedup();
        members.unknown.sort_unstable();
        members.unknown.dedup();
        self.counts.unresolved += members.unknown.len() as u64;
        self.counts.memberships += (members.users.len() + members.groups.len()) as u64;
        let users = members.users.iter().filter_map(|index| self.users.ids.get(*index as usize));
        let groups = members.groups.iter().filter_map(|index| self.groups.ids.get(*index as usize));
        users
            .map(|id| Reference::User(id.to_string()))
            .chain(groups.map(|id| Reference::Group(id.to_string())))
            .chain(members.unknown)
            .collect()
    }
}

/// The ids of a list, and where each was first seen.
#[derive(Default)]
struct Known {
    by_id: HashMap<Arc<str>, (u32, Place)>,
    ids: Vec<Arc<str>>,
}

impl Known {
    fn add(&mut self, id: &str, place: Place, file: &str) -> Result<u32, String> {
        let index = u32::try_from(self.ids.len()).map_err(|_| "too many entries")?;
        let id: Arc<str> = id.into();
        match self.by_id.entry(Arc::clone(&id)) {
            hash_map::Entry::Occupied(known) => {
                let (_, first) = known.get();
                Err(format!("the id `{}` was used before, at {file}:{first}", id.escape_debug()))
            }
            hash_map::Entry::Vacant(free) => {
                free.insert((index, place));
                self.ids.push(id);
                Ok(index)
            }
        }
    }

    fn index(&self, id: &str) -> Option<u32> {
        self.by_id.get(id).map(|(index, _)| *index)
    }
}

/// Collects items into pages.
struct Pages<'a> {
    hand: &'a mut dyn FnMut(Vec<Item>) -> bool,
    items: Vec<Item>,
    is_stopped: bool,
}

impl Pages<'_> {
    fn push(&mut self, item: Item) -> Result<(), String> {
        self.items.push(item);
        if self.items.len() >= PAGE_ITEMS {
            self.flush();
        }
        self.go_on()
    }

    fn flush(&mut self) {
        let page = std::mem::take(&mut self.items);
        self.is_stopped |= !(self.hand)(page);
    }

    fn go_on(&self) -> Result<(), String> {
        if self.is_stopped { Err("the crawl was stopped".into()) } else { Ok(()) }
    }
}

fn twice_stated() -> String {
    "this group lists `members`, and there is a list of memberships too\n\
     hint: keep one of them, so that losing the other is noticed"
        .into()
}

/// A list of memberships that has vanished must not empty every group.
fn never_stated(file: &str) -> PullError {
    PullError::Incomplete {
        what: file.to_owned(),
        reason: "no group lists `members`, and there is no list of memberships\n\
                 hint: a bundle without memberships says so with an empty list"
            .into(),
    }
}
