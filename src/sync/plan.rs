//! Turns a finished crawl into the changes to journal.
//!
//! At the seal it is known which objects live on and which aliases they have,
//! so every reference that was left open is settled here, and each group that
//! may have changed is compared layer by layer. What the guard holds is told
//! apart in [`super::split`].

use std::collections::{BTreeMap, BTreeSet};

use super::reconcile::{Edit, List, Reconciler, Step, same_name, same_names};
use super::slots::{SlotSet, difference, normalise, union};
use super::split::Kept;
use super::status::Counts;
use crate::index::{DirectoryView, Owner};
use crate::model::{Change, Layer, Member, Pending, Put, Reference, Removal};
use crate::provider::{Extent, PullError};
use crate::store::record::{self, GroupKeys, UserKeys, UserSummary};

/// What a sealed crawl would change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order of the journal.
    pub changes: Vec<Change>,
    pub counts: Counts,
}

/// A crawl of which it is known who lives on.
pub(super) struct Sealed {
    pub(super) crawl: Reconciler,
    extent: Extent,
    pub(super) dead_users: BTreeSet<u32>,
    pub(super) dead_groups: BTreeSet<u32>,
    /// The dead users, for lists of a million members; set while edges are compared.
    gone_users: SlotSet,
    /// Groups that lose members who do not live on; set while edges are compared.
    losing: BTreeSet<u32>,
    /// What stays although the crawl removes it.
    pub(super) kept: Kept,
}

/// Users that began (`true`) or ceased to declare a group, by group.
type Declared = BTreeMap<u32, BTreeMap<u32, bool>>;

/// Members of one layer that came (`true`) or went.
type Singles = BTreeMap<u32, bool>;

/// Differences of edges, by what receivers see of them.
#[derive(Default)]
pub(super) struct Edges {
    removed: Vec<Change>,
    removed_silently: Vec<Change>,
    pub(super) added: Vec<Change>,
    added_silently: Vec<Change>,
    unresolved: Vec<Change>,
    /// Memberships removed between users and groups that both live on.
    alone: BTreeSet<Removal>,
}

impl Sealed {
    /// Ends a crawl that covered `extent`; `pending` is what it goes on from.
    ///
    /// # Errors
    /// [`PullError::Incomplete`] when a group came without its members.
    pub(super) fn new(
        mut crawl: Reconciler,
        extent: Extent,
        pending: &Pending,
    ) -> Result<Sealed, PullError> {
        crawl.go_on_from(pending, extent);
        let mut sealed = Sealed::of(crawl, extent);
        sealed.place_late_lists();
        sealed.require_lists()?;
        sealed.recheck_provisional();
        Ok(sealed)
    }

    fn of(crawl: Reconciler, extent: Extent) -> Sealed {
        let base = crawl.base.clone();
        let (users, groups) = (&crawl.users, &crawl.groups);
        let (dead_users, dead_groups) = match extent {
            Extent::Whole => (
                base.user_slots().filter(|slot| !users.seen.contains(*slot)).collect(),
                base.group_slots().filter(|slot| !groups.seen.contains(*slot)).collect(),
            ),
            Extent::Changes => (
                only(&users.deleted, |slot| base.user_record(slot).is_some()),
                only(&groups.deleted, |slot| base.group_record(slot).is_some()),
            ),
        };
        Sealed::with(crawl, extent, dead_users, dead_groups)
    }

    /// Compares every group that may have changed.
    pub(super) fn edges(&mut self) -> Edges {
        self.gone_users = self.dead_users.iter().copied().collect();
        self.losing = self.find_losing();
        let declared = self.declared();
        let mut edges = Edges::default();
        for group in self.affected(&declared) {
            self.compare(group, &declared, &mut edges);
        }
        edges
    }

    /// The same without the lists, to be finished otherwise.
    pub(super) fn copy(&self) -> Sealed {
        let mut crawl = Reconciler::new(self.crawl.base.clone());
        crawl.users.changed = self.crawl.users.changed.clone();
        crawl.groups.changed = self.crawl.groups.changed.clone();
        let (dead_users, dead_groups) = (self.dead_users.clone(), self.dead_groups.clone());
        Sealed::with(crawl, self.extent, dead_users, dead_groups)
    }

    fn with(
        crawl: Reconciler,
        extent: Extent,
        dead_users: BTreeSet<u32>,
        dead_groups: BTreeSet<u32>,
    ) -> Sealed {
        Sealed {
            crawl,
            extent,
            dead_users,
            dead_groups,
            gone_users: SlotSet::default(),
            losing: BTreeSet::new(),
            kept: Kept::default(),
        }
    }

    /// All that the crawl takes away.
    pub(super) fn removals(&self, edges: &Edges) -> BTreeSet<Removal> {
        let base = &self.crawl.base;
        let is_active = |record: &[u8]| UserSummary::read(record).is_ok_and(|user| user.active);
        let disabled = self.crawl.users.changed.iter().filter(|(slot, record)| {
            base.user_record(*slot).is_some_and(is_active) && !is_active(record)
        });
        let mut removals = edges.alone.clone();
        removals.extend(self.dead_users.iter().copied().map(Removal::User));
        removals.extend(self.dead_groups.iter().copied().map(Removal::Group));
        removals.extend(disabled.map(|(slot, _)| Removal::Disabled(slot)));
        removals
    }

    /// Groups that wait for a name which some object gained or lost.
    fn find_waiting(&self) -> BTreeSet<u32> {
        let base = &self.crawl.base;
        let mut waiting = BTreeSet::new();
        if base.group_slots().all(|group| base.unresolved(group).is_empty()) {
            return waiting;
        }
        let mut note = |before: Keys<'_>, after: Keys<'_>| {
            if before.0 != after.0 {
                for id in before.0.iter().chain(after.0.iter()) {
                    let kinds = [Reference::User, Reference::Group, Reference::Id];
                    waiting.extend(kinds.iter().flat_map(|of| base.waiting_for(&of((*id).into()))));
                }
            }
            let lost = before.1.iter().filter(|alias| !after.1.contains(*alias));
            let gained = after.1.iter().filter(|alias| !before.1.contains(*alias));
            for alias in lost.chain(gained) {
                waiting.extend(base.waiting_for(&Reference::Alias((*alias).to_owned())));
            }
        };
        for (slot, record) in self.crawl.users.changed.iter() {
            note(user_names(base.user_record(slot)), user_names(Some(record)));
        }
        for (slot, record) in self.crawl.groups.changed.iter() {
            note(group_names(base.group_record(slot)), group_names(Some(record)));
        }
        for slot in &self.dead_users {
            note(user_names(base.user_record(*slot)), (None, Vec::new()));
        }
        for slot in &self.dead_groups {
            note(group_names(base.group_record(*slot)), (None, Vec::new()));
        }
        waiting
    }

    /// Lists that came before their group did.
    fn place_late_lists(&mut self) {
        for (group, steps) in std::mem::take(&mut self.crawl.unplaced) {
            let Some(slot) = self.crawl.group_slot(&group).filter(|slot| self.group_lives(*slot))
            else {
                continue;
            };
            for step in steps {
                match step {
                    Step::List(members) => {
                        let mut list = List { rest: members, ..List::default() };
                        self.settle_rest(&mut list);
                        self.crawl.edits.insert(slot, Edit { list: Some(list), steps: Vec::new() });
                    }
                    Step::Single(added, member) => {
                        self.crawl.edits.entry(slot).or_default().steps.push((added, member));
                    }
                }
            }
        }
    }

    /// Every group of a full crawl, and every new one, came with its members.
    fn require_lists(&self) -> Result<(), PullError> {
        let crawl = &self.crawl;
        let has_list = |slot: u32| {
            crawl.lists_equal.contains(slot)
                || crawl.edits.get(&slot).is_some_and(|edit| edit.list.is_some())
        };
        let new = |slot: u32| crawl.base.group_record(slot).is_none();
        let missing_new =
            crawl.groups.changed.slots().find(|slot| new(*slot) && !crawl.edits.contains_key(slot));
        let missing = match self.extent {
            Extent::Changes => missing_new,
            Extent::Whole => missing_new.or_else(|| {
                crawl.base.group_slots().find(|slot| self.group_lives(*slot) && !has_list(*slot))
            }),
        };
        match missing {
            None => Ok(()),
            Some(slot) => Err(PullError::Incomplete {
                what: format!("the group {}", self.group_id(slot)),
                reason: "its members were not read".to_owned(),
            }),
        }
    }

    /// References that were taken to mean a committed object: do they still?
    fn recheck_provisional(&mut self) {
        for item in std::mem::take(&mut self.crawl.provisional) {
            if !self.group_lives(item.group) {
                continue;
            }
            let now = self.resolve(&item.reference);
            if now == Some(item.owner) {
                continue;
            }
            let base = self.base_list(item.group);
            let edit = self.crawl.edits.entry(item.group).or_default();
            let list = edit.list.get_or_insert(base);
            list.remove(item.owner);
            match now {
                Some(owner) => list.insert(owner),
                None => list.rest.push(item.reference),
            }
        }
    }

    /// Which users began or ceased to state a group in their own record.
    fn declared(&self) -> Declared {
        let base = &self.crawl.base;
        let mut declared = Declared::new();
        for (user, record) in self.crawl.users.changed.iter() {
            self.compare_declared(user, record, &mut declared);
        }
        let mut groups = self.crawl.groups.changed.iter();
        let groups_shifted = groups.any(|(slot, record)| {
            group_names(base.group_record(slot)) != group_names(Some(record))
        });
        if base.has_stated_groups() && (groups_shifted || !self.dead_groups.is_empty()) {
            for user in base.user_slots() {
                let Some(record) = base.user_record(user) else { continue };
                if !record::states_groups(record) {
                    continue;
                }
                if self.user_lives(user) && !self.crawl.users.changed.contains(user) {
                    self.compare_declared(user, record, &mut declared);
                }
            }
        }
        declared
    }

    fn compare_declared(&self, user: u32, record: &[u8], declared: &mut Declared) {
        let base = &self.crawl.base;
        let now: BTreeSet<u32> = match UserKeys::read(record) {
            Ok(keys) => keys.groups().filter_map(|group| self.resolve_group(&group)).collect(),
            Err(_) => BTreeSet::new(),
        };
        let before = base
            .groups_of_user(user)
            .iter()
            .copied()
            .filter(|group| base.edges(*group, Layer::Declared).binary_search(&user).is_ok());
        let before: BTreeSet<u32> = before.collect();
        for group in before.difference(&now) {
            declared.entry(*group).or_default().insert(user, false);
        }
        for group in now.difference(&before) {
            declared.entry(*group).or_default().insert(user, true);
        }
    }

    /// Groups whose edges may differ.
    fn affected(&self, declared: &Declared) -> BTreeSet<u32> {
        let mut affected: BTreeSet<u32> = self.crawl.edits.keys().copied().collect();
        affected.extend(declared.keys());
        affected.extend(&self.dead_groups);
        affected.extend(&self.losing);
        affected.extend(self.find_waiting());
        affected
    }

    /// Groups of which the base has a member that does not live on.
    fn find_losing(&self) -> BTreeSet<u32> {
        let base = &self.crawl.base;
        let of_users = self.dead_users.iter().flat_map(|user| base.groups_of_user(*user));
        let of_groups = self.dead_groups.iter().flat_map(|group| base.parents_of_group(*group));
        let mut losing = BTreeSet::new();
        // One by one: when everyone is lost, that is one for each membership.
        losing.extend(of_users.chain(of_groups));
        losing
    }

    /// Which members single additions (`true`) and removals bring and take, where nothing
    /// else of the group can differ. So a feed does not copy a list of a million for one.
    fn singles(&mut self, group: u32, declared: &Declared) -> Option<(Singles, Singles)> {
        let base = self.crawl.base.clone();
        let edit = self.crawl.edits.get(&group)?;
        let nothing_else = edit.list.is_none()
            && self.group_lives(group)
            && !self.losing.contains(&group)
            && !declared.contains_key(&group)
            && base.edges(group, Layer::Declared).is_empty()
            && base.unresolved(group).is_empty()
            && self.kept.is_empty();
        if !nothing_else {
            return None;
        }
        let (mut users, mut groups) = (Singles::new(), Singles::new());
        for (added, reference) in &edit.steps {
            match (self.resolve(reference), added) {
                (Some(Owner::User(slot)), added) => _ = users.insert(slot, *added),
                (Some(Owner::Group(slot)), added) => _ = groups.insert(slot, *added),
                // One more name of nobody.
                (_, true) => return None,
                (_, false) => {}
            }
        }
        // If the crawl has to be compared once more, the same are meant, whoever lives on then.
        let of_users =
            users.iter().map(|(slot, added)| (*added, Reference::User(self.user_id(*slot))));
        let of_groups =
            groups.iter().map(|(slot, added)| (*added, Reference::Group(self.group_id(*slot))));
        let steps = of_users.chain(of_groups).collect();
        self.crawl.edits.insert(group, Edit { list: None, steps });
        let differs = |layer, slot: &u32, added: bool| {
            base.edges(group, layer).binary_search(slot).is_ok() != added
        };
        users.retain(|slot, added| differs(Layer::Listed, slot, *added));
        groups.retain(|slot, added| differs(Layer::Subgroup, slot, *added));
        Some((users, groups))
    }

    fn push_singles(&self, group: u32, singles: (Singles, Singles), out: &mut Edges) {
        let member: [fn(u32) -> Member; 2] = [Member::User, Member::Group];
        let layers = [Layer::Listed, Layer::Subgroup];
        for ((layer, singles), member) in layers.into_iter().zip([singles.0, singles.1]).zip(member)
        {
            let (added, removed): (Singles, Singles) =
                singles.into_iter().partition(|(_, added)| *added);
            let removed: Vec<u32> = removed.into_keys().collect();
            let removal = |slot: &u32| Removal::Member { group, member: member(*slot) };
            out.alone.extend(removed.iter().map(removal));
            push(&mut out.removed, group, layer, false, true, removed);
            push(&mut out.added, group, layer, true, true, added.into_keys().collect());
        }
    }

    /// Compares one group's edges with the committed ones.
    fn compare(&mut self, group: u32, declared: &Declared, out: &mut Edges) {
        if let Some(singles) = self.singles(group, declared) {
            return self.push_singles(group, singles, out);
        }
        let base = self.crawl.base.clone();
        let lives = self.group_lives(group);
        let (settled, declaring) = if lives {
            (self.final_list(group), self.final_declared(group, declared.get(&group)))
        } else {
            (List::default(), Vec::new())
        };
        let completed = (lives && !self.kept.is_empty()).then(|| {
            let mut list = settled.clone();
            self.kept.complete(group, &base, &mut list);
            list
        });
        let list = completed.as_ref().unwrap_or(&settled);
        let old_listed = base.edges(group, Layer::Listed);
        let old_declared = base.edges(group, Layer::Declared);
        let before = union(old_listed, old_declared);
        let after = union(&list.users, &declaring);
        for (layer, old, new) in
            [(Layer::Listed, old_listed, &list.users), (Layer::Declared, old_declared, &declaring)]
        {
            // A membership that holds by both layers is told by the first one.
            let other =
                if layer == Layer::Declared { difference(&before, old_listed) } else { vec![] };
            let removed = difference(old, new);
            let (told, silent) = split(&removed, |user| {
                after.binary_search(user).is_err()
                    && (layer == Layer::Listed || other.binary_search(user).is_ok())
            });
            if lives {
                let alone = told.iter().filter(|user| !self.dead_users.contains(user));
                let member = |user: &u32| Removal::Member { group, member: Member::User(*user) };
                out.alone.extend(alone.map(member));
            }
            push(&mut out.removed, group, layer, false, true, told);
            push(&mut out.removed_silently, group, layer, false, false, silent);
            let added = difference(new, old);
            let (told, silent) = split(&added, |user| {
                before.binary_search(user).is_err()
                    && (layer == Layer::Listed || list.users.binary_search(user).is_err())
            });
            push(&mut out.added, group, layer, true, true, told);
            push(&mut out.added_silently, group, layer, true, false, silent);
        }
        let old = base.edges(group, Layer::Subgroup);
        let removed = difference(old, &list.groups);
        if lives {
            let alone = removed.iter().filter(|member| !self.dead_groups.contains(member));
            let member = |inner: &u32| Removal::Member { group, member: Member::Group(*inner) };
            out.alone.extend(alone.map(member));
        }
        push(&mut out.removed, group, Layer::Subgroup, false, true, removed);
        push(&mut out.added, group, Layer::Subgroup, true, true, difference(&list.groups, old));
        let (old, new) = (base.unresolved(group), &list.rest);
        if lives && !same_names(old, new) {
            for (added, references) in [(false, difference(old, new)), (true, difference(new, old))]
            {
                if !references.is_empty() {
                    out.unresolved.push(Change::Unresolved { group, added, references });
                }
            }
        }
        if lives {
            self.remember(group, settled);
        }
    }

    /// Keeps the list in the place of the edit that it was made of. Nothing can be held
    /// of a first crawl; any other one may have to be compared once more, and all the
    /// names are in this list.
    fn remember(&mut self, group: u32, list: List) {
        if self.crawl.base.user_count() + self.crawl.base.group_count() > 0 {
            self.crawl.edits.insert(group, Edit { list: Some(list), steps: Vec::new() });
        }
    }

    /// The group's complete direct members by its own list, after the crawl. Takes the
    /// edit; [`Sealed::remember`] puts back what it came to.
    fn final_list(&mut self, group: u32) -> List {
        let mut edit = self.crawl.edits.remove(&group).unwrap_or_default();
        if self.kept.groups.contains(&group) {
            edit = Edit::default();
        }
        let mut list = edit.list.unwrap_or_else(|| self.base_list(group));
        self.drop_dead(&mut list);
        self.settle_rest(&mut list);
        for (added, reference) in edit.steps {
            match (self.resolve(&reference), added) {
                (Some(owner), true) => list.insert(owner),
                (Some(owner), false) => list.remove(owner),
                (None, true) => list.rest.push(reference),
                (None, false) => list.rest.retain(|known| !same_name(known, &reference)),
            }
        }
        list.normalise();
        list
    }

    /// Members that are gone. Their ids are kept as names of nobody: whoever is
    /// only out of sight (a filter, a permission, an undeleted account) is a
    /// member again when it comes back, and an id never means another.
    fn drop_dead(&self, list: &mut List) {
        let List { users, groups, rest } = list;
        users.retain(|slot| {
            let lives = self.listed_user_lives(*slot);
            rest.extend((!lives).then(|| Reference::User(self.user_id(*slot))));
            lives
        });
        groups.retain(|slot| {
            let lives = self.group_lives(*slot);
            rest.extend((!lives).then(|| Reference::Group(self.group_id(*slot))));
            lives
        });
    }

    fn settle_rest(&self, list: &mut List) {
        for reference in std::mem::take(&mut list.rest) {
            match self.resolve(&reference) {
                Some(Owner::User(slot)) => list.users.push(slot),
                Some(Owner::Group(slot)) => list.groups.push(slot),
                _ => list.rest.push(reference),
            }
        }
        list.normalise();
    }

    fn final_declared(&self, group: u32, changes: Option<&BTreeMap<u32, bool>>) -> Vec<u32> {
        let ceased = |user: &u32| changes.and_then(|c| c.get(user)) == Some(&false);
        let mut users: Vec<u32> = self
            .crawl
            .base
            .edges(group, Layer::Declared)
            .iter()
            .copied()
            .filter(|user| self.listed_user_lives(*user) && !ceased(user))
            .collect();
        users.extend(
            changes.into_iter().flatten().filter(|(_, began)| **began).map(|(user, _)| user),
        );
        normalise(&mut users);
        users
    }

    fn base_list(&self, group: u32) -> List {
        let base = &self.crawl.base;
        List {
            users: base.edges(group, Layer::Listed).to_vec(),
            groups: base.edges(group, Layer::Subgroup).to_vec(),
            rest: base.unresolved(group).to_vec(),
        }
    }

    /// Whom a reference means, now that all is read.
    fn resolve(&self, reference: &Reference) -> Option<Owner> {
        let lives = |owner: &Owner| match owner {
            Owner::User(slot) => self.user_lives(*slot),
            Owner::Group(slot) => self.group_lives(*slot),
            _ => false,
        };
        match reference {
            Reference::Id(id) => {
                let user = self.resolve(&Reference::User(id.clone()));
                let group = self.resolve(&Reference::Group(id.clone()));
                user.xor(group)
            }
            Reference::User(_) | Reference::Group(_) => {
                self.crawl.known_by_id(reference).filter(lives)
            }
            Reference::Alias(alias) => {
                let mut owners = self.crawl.handed_over(alias);
                owners.extend(self.crawl.standing(alias));
                owners.retain(lives);
                match owners.as_slice() {
                    [owner] => Some(*owner),
                    _ => None,
                }
            }
        }
    }

    pub(super) fn resolve_group(&self, reference: &Reference) -> Option<u32> {
        match self.resolve(reference) {
            Some(Owner::Group(slot)) => Some(slot),
            _ => None,
        }
    }

    fn user_lives(&self, slot: u32) -> bool {
        self.crawl.users.changed.contains(slot)
            || (self.crawl.base.user_record(slot).is_some() && !self.dead_users.contains(&slot))
    }

    /// The same for a user whom the base or this crawl knew: one bit.
    fn listed_user_lives(&self, slot: u32) -> bool {
        let is_new = slot >= self.crawl.base.next_user_slot();
        if is_new {
            self.crawl.users.changed.contains(slot)
        } else {
            !self.gone_users.contains(slot)
        }
    }

    fn group_lives(&self, slot: u32) -> bool {
        self.crawl.groups.changed.contains(slot)
            || (self.crawl.base.group_record(slot).is_some() && !self.dead_groups.contains(&slot))
    }

    fn user_id(&self, slot: u32) -> String {
        id(self.crawl.users.last_record(slot).or_else(|| self.crawl.base.user_record(slot)))
    }

    fn group_id(&self, slot: u32) -> String {
        id(self.crawl.groups.last_record(slot).or_else(|| self.crawl.base.group_record(slot)))
    }

    /// Puts everything in the order of the journal.
    pub(super) fn finish(self, edges: Edges) -> Plan {
        let base = self.crawl.base.clone();
        let users = self.crawl.users.changed.into_sorted().map(|(slot, record)| {
            let put = put(base.user_record(slot), &record, |bytes| {
                record::decode_user(bytes).map(|item| item.user)
            });
            Change::User { slot, record, put }
        });
        let groups = self.crawl.groups.changed.into_sorted().map(|(slot, record)| {
            let put = put(base.group_record(slot), &record, |bytes| {
                record::decode_group(bytes).map(|item| item.group)
            });
            Change::Group { slot, record, put }
        });
        let (silent, told): (Vec<Change>, Vec<Change>) =
            users.chain(groups).partition(|change| change.events() == 0);
        let visible = true;
        let mut changes = edges.removed;
        changes.extend(edges.removed_silently);
        changes.extend(self.dead_users.iter().map(|&slot| Change::UserDeleted { slot, visible }));
        changes.extend(self.dead_groups.iter().map(|&slot| Change::GroupDeleted { slot, visible }));
        changes.extend(told);
        changes.extend(edges.added);
        changes.extend(silent);
        changes.extend(edges.added_silently);
        changes.extend(edges.unresolved);
        let counts = count(&changes, &base);
        Plan { changes, counts }
    }
}

/// Counts what receivers would see.
fn count(changes: &[Change], base: &DirectoryView) -> Counts {
    let is_active = |record: &[u8]| UserSummary::read(record).is_ok_and(|user| user.active);
    let mut counts = Counts::default();
    for change in changes {
        match change {
            Change::User { put: Put::Created, .. } => counts.users_created += 1,
            Change::User { put: Put::Updated, slot, record } => {
                counts.users_updated += 1;
                let was_active = base.user_record(*slot).is_some_and(is_active);
                counts.users_disabled += u64::from(was_active && !is_active(record));
            }
            Change::Group { put: Put::Created, .. } => counts.groups_created += 1,
            Change::Group { put: Put::Updated, .. } => counts.groups_updated += 1,
            Change::UserDeleted { visible: true, .. } => counts.users_deleted += 1,
            Change::GroupDeleted { visible: true, .. } => counts.groups_deleted += 1,
            Change::Edges { added: true, .. } => counts.members_added += change.events(),
            Change::Edges { added: false, .. } => counts.members_removed += change.events(),
            _ => {}
        }
    }
    counts
}

/// An id (if the object exists) and the aliases.
type Keys<'a> = (Option<&'a str>, Vec<&'a str>);

fn user_names(record: Option<&[u8]>) -> Keys<'_> {
    match record.map(UserKeys::read) {
        Some(Ok(keys)) => (Some(keys.id), keys.aliases),
        _ => (None, Vec::new()),
    }
}

fn group_names(record: Option<&[u8]>) -> Keys<'_> {
    match record.map(GroupKeys::read) {
        Some(Ok(keys)) => (Some(keys.id), keys.aliases),
        _ => (None, Vec::new()),
    }
}

fn id(record: Option<&[u8]>) -> String {
    record.and_then(|bytes| record::id_of(bytes).ok()).unwrap_or_default().to_owned()
}

/// What receivers see of a record that differs in bytes.
fn put<T: PartialEq, E>(
    before: Option<&[u8]>,
    after: &[u8],
    decode: fn(&[u8]) -> Result<T, E>,
) -> Put {
    match before {
        None => Put::Created,
        Some(before) => match (decode(before), decode(after)) {
            (Ok(before), Ok(after)) if before == after => Put::Silent,
            _ => Put::Updated,
        },
    }
}

fn only(slots: &BTreeSet<u32>, which: impl Fn(u32) -> bool) -> BTreeSet<u32> {
    slots.iter().copied().filter(|slot| which(*slot)).collect()
}

fn split(slots: &[u32], first: impl Fn(&u32) -> bool) -> (Vec<u32>, Vec<u32>) {
    slots.iter().copied().partition(|slot| first(slot))
}

fn push(
    out: &mut Vec<Change>,
    group: u32,
    layer: Layer,
    added: bool,
    visible: bool,
    members: Vec<u32>,
) {
    if !members.is_empty() {
        out.push(Change::Edges { group, layer, added, visible, members });
    }
}
