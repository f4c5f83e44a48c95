//! Derives the next version of a directory from a commit's changes.
//!
//! The changes are first gathered into a draft, as differences to the base:
//! so every leaf and shard they touch is copied once however many of them fall
//! into it, and nothing is built from changes that contradict what they are
//! applied to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::directory::DirectoryView;
use super::keyed::KeyEdits;
use super::lists::{Lists, pair};
use super::records::{Records, unfit};
use crate::model::{Change, Layer, Put, Reference};

/// Changes that cannot be true of the view they were applied to: an unknown
/// slot, an edge that is there already, an object deleted with memberships left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("changes of directory {directory} contradict its view: {reason}")]
pub struct ApplyError {
    directory: String,
    reason: String,
}

impl DirectoryView {
    /// The version after `changes`, whose first event has `first_seq`. This
    /// version stays as it is.
    ///
    /// # Errors
    /// When the changes contradict this version; none of them is applied then.
    pub fn apply(&self, changes: &[Change], first_seq: u64) -> Result<DirectoryView, ApplyError> {
        let mut next: Option<DirectoryView> = None;
        for part in changes.split(|change| *change == Change::Cleared) {
            let cleared = next.as_ref().map(DirectoryView::cleared);
            next = Some(self.apply_part(cleared.as_ref().unwrap_or(self), part)?);
        }
        let mut next = next.unwrap_or_else(|| self.clone());
        let events: u64 = changes.iter().map(Change::events).sum();
        if events > 0 {
            next.last_seq = first_seq.saturating_add(events - 1);
        }
        Ok(next)
    }

    fn apply_part(&self, base: &Self, changes: &[Change]) -> Result<Self, ApplyError> {
        let drafted = Draft::of(base, changes).and_then(Draft::finish);
        drafted.map_err(|reason| ApplyError { directory: self.name().to_owned(), reason })
    }
}

/// Differences to `base`.
struct Draft<'a> {
    base: &'a DirectoryView,
    users: Objects<'a>,
    groups: Objects<'a>,
    listed: Deltas<'a>,
    declared: Deltas<'a>,
    subgroups: Deltas<'a>,
    /// By group, the references that come (`true`) or go.
    unresolved: BTreeMap<u32, BTreeMap<&'a Reference, bool>>,
}

/// New records by slot; `None` is a deletion.
struct Objects<'a> {
    kind: &'static str,
    old: &'a Records,
    new: BTreeMap<u32, Option<&'a [u8]>>,
    /// No slot may reach this: slots are dense.
    end: u32,
}

/// By group, the members that come (`true`) or go, sorted.
struct Deltas<'a> {
    old: &'a Lists,
    new: BTreeMap<u32, Vec<(u32, bool)>>,
}

/// One group's share of [`Deltas`].
struct OfGroup<'a> {
    old: &'a [u32],
    delta: &'a [(u32, bool)],
}

impl<'a> Draft<'a> {
    fn of(base: &'a DirectoryView, changes: &'a [Change]) -> Result<Draft<'a>, String> {
        let room = u32::try_from(changes.len()).unwrap_or(u32::MAX);
        let mut draft = Draft {
            base,
            users: Objects::of("user", &base.users, room),
            groups: Objects::of("group", &base.groups, room),
            listed: Deltas::of(&base.listed),
            declared: Deltas::of(&base.declared),
            subgroups: Deltas::of(&base.subgroups),
            unresolved: BTreeMap::new(),
        };
        changes.iter().try_for_each(|change| draft.note(change))?;
        Ok(draft)
    }

    fn note(&mut self, change: &'a Change) -> Result<(), String> {
        match change {
            Change::User { slot, record, put } => self.users.put(*slot, record, *put),
            Change::Group { slot, record, put } => self.groups.put(*slot, record, *put),
            Change::UserDeleted { slot, .. } => self.users.delete(*slot),
            Change::GroupDeleted { slot, .. } => {
                let gone = self.base.unresolved(*slot).iter().map(|reference| (reference, false));
                self.unresolved.insert(*slot, gone.collect());
                self.groups.delete(*slot)
            }
            Change::Edges { group, layer, added, members, .. } => {
                let deltas = match layer {
                    Layer::Listed => &mut self.listed,
                    Layer::Declared => &mut self.declared,
                    Layer::Subgroup => &mut self.subgroups,
                };
                deltas.note(*group, *added, members)
            }
            Change::Unresolved { group, added, references } => {
                self.note_unresolved(*group, *added, references)
            }
            Change::Cleared | Change::Notice { .. } => Ok(()),
        }
    }

    fn note_unresolved(
        &mut self,
        group: u32,
        added: bool,
        references: &'a [Reference],
    ) -> Result<(), String> {
        if !references.is_sorted_by(|a, b| a < b) {
            return Err(format!("the unresolved references of group {group} are unsorted"));
        }
        let old = self.base.unresolved(group);
        let delta = self.unresolved.entry(group).or_default();
        for reference in references {
            let earlier = delta.insert(reference, added);
            if earlier.unwrap_or_else(|| old.binary_search(reference).is_ok()) == added {
                let what = if added { "added twice" } else { "removed, but is none" };
                return Err(format!("an unresolved reference of group {group} is {what}"));
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<DirectoryView, String> {
        let mut next = self.base.clone();
        self.edit_objects(&mut next)?;
        self.listed.check_known(&next.groups, &next.users)?;
        self.declared.check_known(&next.groups, &next.users)?;
        self.subgroups.check_known(&next.groups, &next.groups)?;
        self.edit_layers(&mut next);
        self.check_deleted(&next)?;
        self.users.check_ids(|id, slot| next.other_user(id, slot))?;
        self.groups.check_ids(|id, slot| next.other_group(id, slot))?;
        Ok(next)
    }

    fn edit_objects(&self, next: &mut DirectoryView) -> Result<(), String> {
        let mut keys = KeyEdits::default();
        for (slot, new) in &self.users.new {
            let old = self.base.users.get(*slot);
            keys.user(&next.hasher, *slot, old, *new).map_err(|e| format!("user {slot}: {e}"))?;
        }
        for (slot, new) in &self.groups.new {
            let old = self.base.groups.get(*slot);
            keys.group(&next.hasher, *slot, old, *new).map_err(|e| format!("group {slot}: {e}"))?;
        }
        for (group, delta) in &self.unresolved {
            let old = self.base.unresolved(*group);
            let references = merged(old, delta);
            if !references.is_empty() && !self.groups.present(*group) {
                return Err(format!("unknown group {group} has unresolved references"));
            }
            if references != old {
                keys.waiting(&next.hasher, *group, old, &references);
                let list = (!references.is_empty()).then(|| Arc::from(references));
                next.unresolved.set(*group as usize, list);
            }
        }
        next.users.edit(&self.users.sorted());
        next.groups.edit(&self.groups.sorted());
        next.keys.edit(keys, &next.hasher, &next.users, &next.groups);
        Ok(())
    }

    fn edit_layers(&self, next: &mut DirectoryView) {
        next.listed.edit_by(self.listed.edits());
        next.declared.edit_by(self.declared.edits());
        next.subgroups.edit_by(self.subgroups.edits());
        next.groups_of_users.edit_by(self.membership_edits());
        let mut parents = self.subgroups.edits();
        parents.turn_round();
        next.parents.edit_by(parents);
        let nested: Vec<u32> = self.subgroups.new.keys().copied().collect();
        next.renew_closures(&nested);
    }

    /// What the layers' differences mean for "is a direct member", by user.
    fn membership_edits(&self) -> Edits {
        let mut edits = Edits::default();
        let groups: BTreeSet<u32> =
            self.listed.new.keys().chain(self.declared.new.keys()).copied().collect();
        for group in groups {
            let (listed, declared) = (self.listed.in_group(group), self.declared.in_group(group));
            for (user, comes) in listed.delta {
                let (before, after) = declared.state(*user);
                edits.note(pair(*user, group), before || !comes, after || *comes);
            }
            for (user, comes) in declared.delta {
                let (before, after) = listed.state(*user);
                if before == after {
                    edits.note(pair(*user, group), before || !comes, after || *comes);
                }
            }
        }
        edits.sort();
        edits
    }

    /// What is deleted is in no list.
    fn check_deleted(&self, next: &DirectoryView) -> Result<(), String> {
        for user in self.users.deleted() {
            if !next.groups_of_user(user).is_empty() {
                return Err(format!("user {user} is deleted with memberships left"));
            }
        }
        for group in self.groups.deleted() {
            let members = [Layer::Listed, Layer::Declared, Layer::Subgroup]
                .iter()
                .any(|layer| !next.edges(group, *layer).is_empty());
            if members || !next.parents_of_group(group).is_empty() {
                return Err(format!("group {group} is deleted with memberships left"));
            }
        }
        Ok(())
    }
}

impl<'a> Objects<'a> {
    fn of(kind: &'static str, old: &'a Records, room: u32) -> Objects<'a> {
        Objects { kind, old, new: BTreeMap::new(), end: old.next().saturating_add(room) }
    }

    fn present(&self, slot: u32) -> bool {
        self.new.get(&slot).map_or_else(|| self.old.contains(slot), Option::is_some)
    }

    fn put(&mut self, slot: u32, record: &'a [u8], put: Put) -> Result<(), String> {
        let (kind, present) = (self.kind, self.present(slot));
        match put {
            Put::Created if present => return Err(format!("{kind} {slot} is created twice")),
            Put::Updated if !present => return Err(format!("unknown {kind} {slot} is updated")),
            _ => {}
        }
        if !present && (slot < self.old.next() || self.new.contains_key(&slot)) {
            return Err(format!("{kind} {slot} is used a second time"));
        }
        if slot >= self.end {
            return Err(format!("{kind} {slot} leaves a gap"));
        }
        if let Some(why) = unfit(record) {
            return Err(format!("{kind} {slot}: {why}"));
        }
        self.new.insert(slot, Some(record));
        Ok(())
    }

    fn delete(&mut self, slot: u32) -> Result<(), String> {
        if !self.present(slot) {
            return Err(format!("unknown {} {slot} is deleted", self.kind));
        }
        self.new.insert(slot, None);
        Ok(())
    }

    fn sorted(&self) -> Vec<(u32, Option<&'a [u8]>)> {
        self.new.iter().map(|(slot, record)| (*slot, *record)).collect()
    }

    fn deleted(&self) -> impl Iterator<Item = u32> + '_ {
        self.new.iter().filter(|(_, new)| new.is_none()).map(|(slot, _)| *slot)
    }

    /// `other` finds another object of the same id.
    fn check_ids(&self, other: impl Fn(&str, u32) -> Option<u32>) -> Result<(), String> {
        for (slot, record) in &self.new {
            let id = record.and_then(|record| crate::store::record::id_of(record).ok());
            if let Some(other) = id.and_then(|id| other(id, *slot)) {
                return Err(format!("{0}s {slot} and {other} have the same id", self.kind));
            }
        }
        Ok(())
    }
}

impl<'a> Deltas<'a> {
    fn of(old: &'a Lists) -> Deltas<'a> {
        Deltas { old, new: BTreeMap::new() }
    }

    fn in_group(&self, group: u32) -> OfGroup<'_> {
        OfGroup { old: self.old.get(group), delta: self.new.get(&group).map_or(&[], Vec::as_slice) }
    }

    fn note(&mut self, group: u32, added: bool, members: &[u32]) -> Result<(), String> {
        if !members.is_sorted_by(|a, b| a < b) {
            return Err(format!("the edges of group {group} are unsorted"));
        }
        let delta = self.new.entry(group).or_default();
        let (old, earlier) = (self.old.get(group), std::mem::take(delta));
        delta.reserve(earlier.len() + members.len());
        let mut earlier = earlier.into_iter().peekable();
        for member in members {
            delta.extend(std::iter::from_fn(|| earlier.next_if(|(other, _)| other < member)));
            let undone = earlier.next_if(|(other, _)| other == member);
            let before =
                undone.map_or_else(|| old.binary_search(member).is_ok(), |(_, comes)| comes);
            if before == added {
                let what = if added { "added twice" } else { "removed, but is none" };
                return Err(format!("member {member} of group {group} is {what}"));
            }
            if undone.is_none() {
                delta.push((*member, added));
            }
        }
        delta.extend(earlier);
        Ok(())
    }

    fn edits(&self) -> Edits {
        let mut edits = Edits::default();
        for (group, delta) in &self.new {
            for (member, comes) in delta {
                edits.note(pair(*group, *member), !comes, *comes);
            }
        }
        edits
    }

    /// Whatever gets members is there in the end, and so are they.
    fn check_known(&self, groups: &Records, members: &Records) -> Result<(), String> {
        for (group, delta) in &self.new {
            let come = || delta.iter().filter(|(_, comes)| *comes).map(|(member, _)| *member);
            if !groups.contains(*group) && come().next().is_some() {
                return Err(format!("unknown group {group} has members"));
            }
            if let Some(member) = come().find(|member| !members.contains(*member)) {
                return Err(format!("unknown member {member} of group {group}"));
            }
        }
        Ok(())
    }
}

impl OfGroup<'_> {
    /// Whether the member is in the list before and after.
    fn state(&self, member: u32) -> (bool, bool) {
        match self.delta.binary_search_by_key(&member, |(member, _)| *member) {
            Ok(at) => self.delta.get(at).map_or((false, false), |(_, comes)| (!comes, *comes)),
            Err(_) => {
                let is = self.old.binary_search(&member).is_ok();
                (is, is)
            }
        }
    }
}

/// Pairs to take out of lists and to put into them, both sorted.
#[derive(Default)]
struct Edits {
    removes: Vec<u64>,
    adds: Vec<u64>,
}

impl Edits {
    fn note(&mut self, pair: u64, before: bool, after: bool) {
        match (before, after) {
            (true, false) => self.removes.push(pair),
            (false, true) => self.adds.push(pair),
            _ => {}
        }
    }

    /// From members by list to lists by member.
    fn turn_round(&mut self) {
        for pair in self.removes.iter_mut().chain(&mut self.adds) {
            *pair = pair.rotate_left(32);
        }
        self.sort();
    }

    fn sort(&mut self) {
        self.removes.sort_unstable();
        self.adds.sort_unstable();
    }
}

impl Lists {
    fn edit_by(&mut self, edits: Edits) {
        self.edit(&edits.removes, &edits.adds);
    }
}

/// The references after the changes, sorted.
fn merged(old: &[Reference], delta: &BTreeMap<&Reference, bool>) -> Vec<Reference> {
    let stays = old.iter().filter(|reference| !delta.contains_key(reference));
    let come = delta.iter().filter(|(_, comes)| **comes).map(|(reference, _)| *reference);
    let mut merged: Vec<Reference> = stays.chain(come).cloned().collect();
    merged.sort();
    merged
}
