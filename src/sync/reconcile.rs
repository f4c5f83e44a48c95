//! Compares a crawl with what is committed, while it is read.
//!
//! An object that is equal to its committed record costs one bit. One that
//! differs is kept as bytes. A member list that is equal costs one bit, too;
//! one that differs is kept as slots. So memory grows with what changed, not
//! with the directory.
//!
//! References by alias are settled as soon as that is safe: the object they
//! mean was handed over in this crawl. One that means a committed object not
//! handed over (yet) is *provisional* and looked at again at the seal, when it
//! is known whether the object still has that alias.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;

use super::by_slot::BySlot;
use super::guard::Gate;
use super::slots::{SlotSet, difference, normalise};
use super::split::{self, Outcome};
use crate::index::{AliasHash, DirectoryView, Owner, TOUCHED};
use crate::model::{Layer, Member, Pending, Reference, Removal};
use crate::provider::{Extent, GroupItem, Item, PullError, UserItem};
use crate::store::record::{self, GroupKeys, UserKeys};

/// Takes the pages of one crawl.
pub struct Reconciler {
    pub(super) base: Arc<DirectoryView>,
    pub(super) users: Objects,
    pub(super) groups: Objects,
    pub(super) edits: BTreeMap<u32, Edit>,
    /// Lists of groups that were not known when they came.
    pub(super) unplaced: Vec<(Reference, Vec<Step>)>,
    pub(super) provisional: Vec<Provisional>,
    /// Groups whose list was handed over and is the committed one.
    pub(super) lists_equal: SlotSet,
    /// Of these, the ones that were only said to stand as they last came.
    lists_kept: SlotSet,
    /// Objects that were handed over, by alias: new and changed ones only.
    aliases: HashTable<(u64, Owner)>,
    hasher: foldhash::fast::RandomState,
    aliases_used: bool,
    pages: u64,
    /// Differences that only reading again found.
    drift: u64,
    trouble: Option<PullError>,
}

/// What a crawl said about the users, or about the groups.
#[derive(Default)]
pub(super) struct Objects {
    /// Committed slots that were handed over or kept.
    pub seen: SlotSet,
    /// Committed slots that were only said to stand as they last came.
    kept: SlotSet,
    /// Records that are new or differ, by slot.
    pub changed: BySlot,
    /// Committed slots that the crawl says are gone.
    pub deleted: BTreeSet<u32>,
    /// Records of new objects that are gone again: lists may have named them.
    withdrawn: BTreeMap<u32, Vec<u8>>,
    /// New slots by the hash of their id.
    new: HashTable<(u64, u32)>,
    next: u32,
}

/// What a crawl said about one group's members.
#[derive(Default)]
pub(super) struct Edit {
    /// The complete list, when one was handed over.
    pub list: Option<List>,
    /// Single additions (`true`) and removals, in order, after the list.
    pub steps: Vec<(bool, Reference)>,
}

/// A complete list, as far as it is settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    pub users: Vec<u32>,
    pub groups: Vec<u32>,
    pub rest: Vec<Reference>,
}

/// One part of an [`Edit`], before it is known whose.
pub(super) enum Step {
    List(Vec<Reference>),
    Single(bool, Reference),
}

/// A reference in the list of `group` that was taken to mean `owner`.
pub(super) struct Provisional {
    pub group: u32,
    pub reference: Reference,
    pub owner: Owner,
}

enum Settled {
    For(Owner),
    Provisionally(Owner),
    Not,
}

impl Reconciler {
    /// A crawl that is compared with `base`.
    pub fn new(base: Arc<DirectoryView>) -> Reconciler {
        let objects = |next| Objects { next, ..Objects::default() };
        Reconciler {
            users: objects(base.next_user_slot()),
            groups: objects(base.next_group_slot()),
            base,
            edits: BTreeMap::new(),
            unplaced: Vec::new(),
            provisional: Vec::new(),
            lists_equal: SlotSet::default(),
            lists_kept: SlotSet::default(),
            aliases: HashTable::new(),
            hasher: foldhash::fast::RandomState::default(),
            aliases_used: false,
            pages: 0,
            drift: 0,
            trouble: None,
        }
    }

    /// Compares one page.
    pub fn page(&mut self, items: Vec<Item>) {
        self.pages += 1;
        let mut items = items.into_iter();
        while !items.as_slice().is_empty() {
            self.touch(next_touched(items.as_slice()));
            for item in items.by_ref().take(TOUCHED) {
                if let Err(trouble) = self.item(item) {
                    self.trouble.get_or_insert(trouble);
                }
            }
        }
    }

    fn touch(&self, items: &[Item]) {
        let users = items.iter().filter_map(|item| match item {
            Item::User(item) => Some(item.user.id.as_str()),
            _ => None,
        });
        let groups = items.iter().filter_map(|item| match item {
            Item::Group(item) => Some(item.group.id.as_str()),
            _ => None,
        });
        self.base.touch_ids(&users.collect::<Vec<_>>(), &groups.collect::<Vec<_>>());
    }

    /// Compares one page that was read again although no feed named it.
    pub fn verified(&mut self, items: Vec<Item>) {
        let before = self.differences();
        self.page(items);
        self.drift += self.differences().saturating_sub(before);
    }

    fn differences(&self) -> u64 {
        let objects = [&self.users, &self.groups];
        let objects = objects.map(|of| of.changed.len() + of.deleted.len());
        (objects.iter().sum::<usize>() + self.edits.len()) as u64
    }

    /// How many pages came.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Ends the crawl: what differs, as far as `gate` lets it through, in the
    /// order of the journal.
    ///
    /// # Errors
    /// [`PullError::Incomplete`] when the crawl contradicts itself or lacks
    /// what the contract of [`Item`] asks for.
    pub fn seal(mut self, extent: Extent, gate: &Gate) -> Result<Outcome, PullError> {
        if let Some(trouble) = self.trouble.take() {
            return Err(trouble);
        }
        let drift = self.drift;
        Ok(Outcome { drift, ..split::seal(self, extent, gate)? })
    }

    /// Takes what the provider said before the cursor and what is not
    /// committed, as far as this crawl says nothing else. What it says stands
    /// as it last came, stands as it came *then*.
    pub(super) fn go_on_from(&mut self, pending: &Pending, extent: Extent) {
        if extent == Extent::Changes {
            for removal in &pending.removals {
                match *removal {
                    Removal::User(slot) if self.users.says_nothing(slot) => {
                        self.users.delete(slot);
                    }
                    Removal::Group(slot) if self.groups.says_nothing(slot) => {
                        self.groups.delete(slot);
                    }
                    _ => {}
                }
            }
        }
        for (slot, record) in &pending.records {
            let silent = extent == Extent::Changes && self.users.says_nothing(*slot);
            let kept = self.users.kept.contains(*slot) && self.users.stands(*slot);
            if (silent || kept)
                && let Ok(item) = record::decode_user(record)
            {
                self.users.differs(*slot, record.clone());
                self.know(Owner::User(*slot), &item.aliases);
            }
        }
        for (group, steps) in self.pending_steps(pending) {
            let edit = self.edits.get(&group);
            let silent = extent == Extent::Changes
                && !self.lists_equal.contains(group)
                && edit.is_none_or(|edit| edit.list.is_none());
            if silent || self.lists_kept.contains(group) {
                self.edits.entry(group).or_default().steps.splice(0..0, steps);
            }
        }
    }

    /// The members that groups lost before the cursor.
    fn pending_steps(&self, pending: &Pending) -> BTreeMap<u32, Vec<(bool, Reference)>> {
        let id = |record: Option<&[u8]>| {
            record.and_then(|bytes| record::id_of(bytes).ok()).unwrap_or_default().to_owned()
        };
        let mut steps: BTreeMap<u32, Vec<(bool, Reference)>> = BTreeMap::new();
        for (group, member) in pending.members() {
            let reference = match member {
                Member::User(slot) => Reference::User(id(self.base.user_record(slot))),
                Member::Group(slot) => Reference::Group(id(self.base.group_record(slot))),
            };
            steps.entry(group).or_default().push((false, reference));
        }
        steps
    }

    fn item(&mut self, item: Item) -> Result<(), PullError> {
        match item {
            Item::User(item) => self.user(&item)?,
            Item::Group(item) => self.group(&item)?,
            Item::Members { group, members } => self.list(group, members),
            Item::MembersAdded { group, members } => self.singles(&group, true, members),
            Item::MembersRemoved { group, members } => self.singles(&group, false, members),
            Item::UserDeleted(reference) => {
                if let Some(Owner::User(slot)) = self.committed(&reference, is_user) {
                    self.users.delete(slot);
                } else if let Some(slot) = self.new_user(&reference) {
                    self.users.withdraw(slot);
                }
            }
            Item::GroupDeleted(reference) => {
                if let Some(Owner::Group(slot)) = self.committed(&reference, is_group) {
                    self.groups.delete(slot);
                    self.edits.remove(&slot);
                } else if let Some(slot) = self.new_group(&reference) {
                    self.groups.withdraw(slot);
                    self.edits.remove(&slot);
                }
            }
            Item::Kept(reference) => match self.committed(&reference, |_| true) {
                Some(Owner::User(slot)) => {
                    self.users.keep(slot);
                    self.users.kept.insert(slot);
                }
                Some(Owner::Group(slot)) => {
                    self.groups.keep(slot);
                    self.lists_equal.insert(slot);
                    self.lists_kept.insert(slot);
                }
                _ => {}
            },
        }
        Ok(())
    }

    fn user(&mut self, item: &UserItem) -> Result<(), PullError> {
        let id = &item.user.id;
        let committed = self.base.user_by_id(id);
        let slot = self.users.slot(id, committed, &self.hasher);
        let base = committed.and_then(|slot| self.base.user_record(slot));
        if !self.users.changed.contains(slot) && base.is_some_and(|b| record::holds_user(b, item)) {
            self.users.equal(slot);
            return Ok(());
        }
        let bytes = record::encode_user(item);
        let earlier = self.users.earlier(slot, base);
        if let Some(earlier) = earlier
            && self.aliases_used
            && earlier != bytes
            && user_aliases(earlier) != user_aliases(&bytes)
        {
            return Err(moved("user", id));
        }
        if base == Some(&bytes) {
            self.users.equal(slot);
        } else {
            self.users.differs(slot, bytes);
            self.know(Owner::User(slot), &item.aliases);
        }
        Ok(())
    }

    fn group(&mut self, item: &GroupItem) -> Result<(), PullError> {
        let id = &item.group.id;
        let committed = self.base.group_by_id(id);
        let slot = self.groups.slot(id, committed, &self.hasher);
        let base = committed.and_then(|slot| self.base.group_record(slot));
        if !self.groups.changed.contains(slot) && base.is_some_and(|b| record::holds_group(b, item))
        {
            self.groups.equal(slot);
            return Ok(());
        }
        let bytes = record::encode_group(item);
        let earlier = self.groups.earlier(slot, base);
        if let Some(earlier) = earlier
            && self.aliases_used
            && earlier != bytes
            && group_aliases(earlier) != group_aliases(&bytes)
        {
            return Err(moved("group", id));
        }
        if base == Some(&bytes) {
            self.groups.equal(slot);
        } else {
            self.groups.differs(slot, bytes);
            self.know(Owner::Group(slot), &item.aliases);
        }
        Ok(())
    }

    fn know(&mut self, owner: Owner, aliases: &[String]) {
        for alias in aliases {
            let hash = self.hasher.hash_one(alias.as_str());
            if self.aliases.find(hash, |known| *known == (hash, owner)).is_none() {
                self.aliases.insert_unique(hash, (hash, owner), |(hash, _)| *hash);
            }
        }
    }

    fn list(&mut self, group: Reference, members: Vec<Reference>) {
        let Some(slot) = self.group_slot(&group) else {
            self.unplaced.push((group, vec![Step::List(members)]));
            return;
        };
        if self.edits.contains_key(&slot) || self.lists_equal.contains(slot) {
            self.provisional.retain(|earlier| earlier.group != slot);
        }
        let (list, provisional) = self.settle(slot, members);
        let equal = list.users == self.base.edges(slot, Layer::Listed)
            && list.groups == self.base.edges(slot, Layer::Subgroup)
            && same_names(&list.rest, self.base.unresolved(slot))
            && self.base.group_record(slot).is_some();
        self.provisional.extend(provisional);
        self.lists_kept.remove(slot);
        if equal {
            self.edits.remove(&slot);
            self.lists_equal.insert(slot);
        } else {
            self.lists_equal.remove(slot);
            self.edits.insert(slot, Edit { list: Some(list), steps: Vec::new() });
        }
    }

    fn singles(&mut self, group: &Reference, added: bool, members: Vec<Reference>) {
        match self.group_slot(group) {
            Some(slot) => {
                let steps = &mut self.edits.entry(slot).or_default().steps;
                steps.extend(members.into_iter().map(|member| (added, member)));
            }
            None => {
                let steps = members.into_iter().map(|member| Step::Single(added, member));
                self.unplaced.push((group.clone(), steps.collect()));
            }
        }
    }

    /// Sorts a list's references into slots and a rest.
    fn settle(&mut self, group: u32, members: Vec<Reference>) -> (List, Vec<Provisional>) {
        let mut list = List { users: Vec::with_capacity(members.len()), ..List::default() };
        let mut provisional = Vec::new();
        let mut members = members.into_iter();
        while !members.as_slice().is_empty() {
            let hashes = self.base.touch_references(next_touched(members.as_slice()));
            // The hashes first: what ends the pair must not take a member.
            for (hash, reference) in hashes.into_iter().zip(members.by_ref()) {
                match self.settled(&reference, hash) {
                    Settled::For(owner) => list.add(owner),
                    Settled::Provisionally(owner) => {
                        list.add(owner);
                        provisional.push(Provisional { group, reference, owner });
                    }
                    Settled::Not => list.rest.push(reference),
                }
            }
        }
        list.normalise();
        (list, provisional)
    }

    fn settled(&mut self, reference: &Reference, hash: AliasHash) -> Settled {
        let Reference::Alias(alias) = reference else {
            return self.known_by_id(reference).map_or(Settled::Not, Settled::For);
        };
        self.aliases_used = true;
        let handed_over = self.handed_over(alias);
        let (committed, another) = {
            let mut standing = self.standing_by(alias, hash);
            (standing.next(), standing.next())
        };
        match (handed_over.as_slice(), committed, another) {
            ([owner], None, None) => Settled::For(*owner),
            ([], Some(owner), None) if self.was_seen(owner) => Settled::For(owner),
            ([], Some(owner), None) => Settled::Provisionally(owner),
            _ => Settled::Not,
        }
    }

    /// Whom an id means; both committed and new objects count.
    pub(super) fn known_by_id(&self, reference: &Reference) -> Option<Owner> {
        let user = self.user_slot(reference).map(Owner::User);
        let group = self.group_slot_by_id(reference).map(Owner::Group);
        match reference {
            Reference::User(_) => user,
            Reference::Group(_) => group,
            Reference::Id(_) => match (user, group) {
                (Some(owner), None) | (None, Some(owner)) => Some(owner),
                _ => None,
            },
            Reference::Alias(_) => None,
        }
    }

    /// New and changed objects of this crawl that have the alias.
    pub(super) fn handed_over(&self, alias: &str) -> Vec<Owner> {
        // In most crawls nothing is new, and hashing ten million names takes a second.
        if self.aliases.is_empty() {
            return Vec::new();
        }
        let hash = self.hasher.hash_one(alias);
        self.aliases
            .iter_hash(hash)
            .filter(|(known, owner)| *known == hash && self.has_alias(*owner, alias))
            .map(|(_, owner)| *owner)
            .collect()
    }

    /// Committed objects that have the alias and are not said to have changed.
    pub(super) fn standing<'a>(&'a self, alias: &'a str) -> impl Iterator<Item = Owner> + 'a {
        self.standing_by(alias, self.base.alias_hash(alias))
    }

    fn standing_by<'a>(
        &'a self,
        alias: &'a str,
        hash: AliasHash,
    ) -> impl Iterator<Item = Owner> + 'a {
        self.base.alias_owners_by(alias, hash).filter(|owner| match owner {
            Owner::User(slot) => self.users.stands(*slot),
            Owner::Group(slot) => self.groups.stands(*slot),
            _ => false,
        })
    }

    fn has_alias(&self, owner: Owner, alias: &str) -> bool {
        match owner {
            Owner::User(slot) => {
                let record = self.users.changed.get(slot);
                record.is_some_and(|record| record::user_has_alias(record, alias))
            }
            Owner::Group(slot) => {
                let record = self.groups.changed.get(slot);
                record.is_some_and(|record| record::group_has_alias(record, alias))
            }
            _ => false,
        }
    }

    fn was_seen(&self, owner: Owner) -> bool {
        match owner {
            Owner::User(slot) => self.users.seen.contains(slot),
            Owner::Group(slot) => self.groups.seen.contains(slot),
            _ => false,
        }
    }

    /// The committed object a deletion or a "kept" speaks of.
    fn committed(&self, reference: &Reference, wanted: fn(&Owner) -> bool) -> Option<Owner> {
        let mut owners = match reference {
            Reference::User(id) => user_owner(self.base.user_by_id(id)),
            Reference::Group(id) => group_owner(self.base.group_by_id(id)),
            Reference::Id(id) => {
                let mut owners = user_owner(self.base.user_by_id(id));
                owners.extend(group_owner(self.base.group_by_id(id)));
                owners
            }
            Reference::Alias(alias) => self.base.alias_owners(alias).collect(),
        };
        owners.retain(wanted);
        match owners.as_slice() {
            [owner] => Some(*owner),
            _ => None,
        }
    }

    /// The slot of a group that is committed or came in this crawl.
    pub(super) fn group_slot(&self, reference: &Reference) -> Option<u32> {
        let Reference::Alias(alias) = reference else {
            return self.group_slot_by_id(reference);
        };
        let mut owners = self.handed_over(alias);
        owners.extend(self.standing(alias));
        match owners.as_slice() {
            [Owner::Group(slot)] => Some(*slot),
            _ => None,
        }
    }

    fn group_slot_by_id(&self, reference: &Reference) -> Option<u32> {
        match reference {
            Reference::Group(id) | Reference::Id(id) => {
                self.base.group_by_id(id).or_else(|| self.new_group(reference))
            }
            _ => None,
        }
    }

    fn user_slot(&self, reference: &Reference) -> Option<u32> {
        match reference {
            Reference::User(id) | Reference::Id(id) => {
                self.base.user_by_id(id).or_else(|| self.new_user(reference))
            }
            _ => None,
        }
    }

    fn new_user(&self, reference: &Reference) -> Option<u32> {
        match reference {
            Reference::User(id) | Reference::Id(id) => self.users.new_slot(id, &self.hasher),
            _ => None,
        }
    }

    fn new_group(&self, reference: &Reference) -> Option<u32> {
        match reference {
            Reference::Group(id) | Reference::Id(id) => self.groups.new_slot(id, &self.hasher),
            _ => None,
        }
    }
}

impl Objects {
    /// The committed slot, or the new one given to this id.
    fn slot(
        &mut self,
        id: &str,
        committed: Option<u32>,
        hasher: &foldhash::fast::RandomState,
    ) -> u32 {
        if let Some(slot) = committed {
            return slot;
        }
        let hash = hasher.hash_one(id);
        if let Some(slot) = self.new_slot(id, hasher) {
            return slot;
        }
        let slot = self.next;
        self.next = self.next.saturating_add(1);
        self.new.insert_unique(hash, (hash, slot), |(hash, _)| *hash);
        slot
    }

    fn new_slot(&self, id: &str, hasher: &foldhash::fast::RandomState) -> Option<u32> {
        let hash = hasher.hash_one(id);
        let is_it = |slot: &u32| {
            self.changed.get(*slot).and_then(|bytes| record::id_of(bytes).ok()) == Some(id)
        };
        self.new.iter_hash(hash).find(|(known, slot)| *known == hash && is_it(slot)).map(|e| e.1)
    }

    /// How the object came earlier in this crawl.
    fn earlier<'a>(&'a self, slot: u32, base: Option<&'a [u8]>) -> Option<&'a [u8]> {
        match self.changed.get(slot) {
            Some(bytes) => Some(bytes),
            None => base.filter(|_| self.seen.contains(slot)),
        }
    }

    fn equal(&mut self, slot: u32) {
        self.kept.remove(slot);
        self.seen.insert(slot);
        self.changed.remove(slot);
        self.deleted.remove(&slot);
    }

    fn differs(&mut self, slot: u32, bytes: Vec<u8>) {
        self.kept.remove(slot);
        self.seen.insert(slot);
        self.changed.insert(slot, bytes);
        self.deleted.remove(&slot);
    }

    fn keep(&mut self, slot: u32) {
        self.seen.insert(slot);
        self.deleted.remove(&slot);
    }

    fn delete(&mut self, slot: u32) {
        self.kept.remove(slot);
        self.seen.remove(slot);
        self.changed.remove(slot);
        self.deleted.insert(slot);
    }

    /// A new object is gone again.
    fn withdraw(&mut self, slot: u32) {
        self.withdrawn.extend(self.changed.remove(slot).map(|record| (slot, record)));
    }

    /// The record that came last, also of a new object that is gone again.
    pub(super) fn last_record(&self, slot: u32) -> Option<&[u8]> {
        self.changed.get(slot).or_else(|| self.withdrawn.get(&slot).map(Vec::as_slice))
    }

    /// Whether the crawl did not speak of it.
    fn says_nothing(&self, slot: u32) -> bool {
        !self.seen.contains(slot) && self.stands(slot)
    }

    /// Whether the committed record is the last word so far.
    fn stands(&self, slot: u32) -> bool {
        !self.changed.contains(slot) && !self.deleted.contains(&slot)
    }
}

impl List {
    fn add(&mut self, owner: Owner) {
        match owner {
            Owner::User(slot) => self.users.push(slot),
            Owner::Group(slot) => self.groups.push(slot),
            Owner::Nobody | Owner::Several => {}
        }
    }

    /// Adds one member, keeping the order.
    pub(super) fn insert(&mut self, owner: Owner) {
        let (list, slot) = match owner {
            Owner::User(slot) => (&mut self.users, slot),
            Owner::Group(slot) => (&mut self.groups, slot),
            Owner::Nobody | Owner::Several => return,
        };
        if let Err(at) = list.binary_search(&slot) {
            list.insert(at, slot);
        }
    }

    /// Removes one member.
    pub(super) fn remove(&mut self, owner: Owner) {
        let (list, slot) = match owner {
            Owner::User(slot) => (&mut self.users, slot),
            Owner::Group(slot) => (&mut self.groups, slot),
            Owner::Nobody | Owner::Several => return,
        };
        if let Ok(at) = list.binary_search(&slot) {
            list.remove(at);
        }
    }

    pub(super) fn normalise(&mut self) {
        normalise(&mut self.users);
        normalise(&mut self.groups);
        normalise(&mut self.rest);
    }
}

/// What of the rest to touch before it is taken.
fn next_touched<T>(rest: &[T]) -> &[T] {
    rest.get(..TOUCHED).unwrap_or(rest)
}

fn is_user(owner: &Owner) -> bool {
    matches!(owner, Owner::User(_))
}

fn is_group(owner: &Owner) -> bool {
    matches!(owner, Owner::Group(_))
}

fn user_owner(slot: Option<u32>) -> Vec<Owner> {
    slot.map(Owner::User).into_iter().collect()
}

fn group_owner(slot: Option<u32>) -> Vec<Owner> {
    slot.map(Owner::Group).into_iter().collect()
}

fn user_aliases(record: &[u8]) -> Vec<&str> {
    UserKeys::read(record).map(|keys| keys.aliases).unwrap_or_default()
}

fn group_aliases(record: &[u8]) -> Vec<&str> {
    GroupKeys::read(record).map(|keys| keys.aliases).unwrap_or_default()
}

/// Whether two lists of open references name the same. A provider may say only
/// the id of what is kept here as a user's id.
///
/// Both are sorted: only the few that differ are held against each other.
pub(super) fn same_names(a: &[Reference], b: &[Reference]) -> bool {
    if a == b || a.len() != b.len() {
        return a == b;
    }
    let (a, b) = (difference(a, b), difference(b, a));
    a.iter().all(|one| b.iter().any(|other| same_name(one, other)))
}

/// Whether two references name the same, as far as both say what it is.
pub(super) fn same_name(a: &Reference, b: &Reference) -> bool {
    match (a, b) {
        (Reference::Id(a), Reference::User(b) | Reference::Group(b))
        | (Reference::User(a) | Reference::Group(a), Reference::Id(b)) => a == b,
        _ => a == b,
    }
}

/// An object that came twice under different names: the lists read before and
/// after may mean different objects by the same name.
fn moved(kind: &str, id: &str) -> PullError {
    PullError::Incomplete {
        what: format!("the {kind} {id}"),
        reason: "it was renamed or moved while the directory was being read".to_owned(),
    }
}
