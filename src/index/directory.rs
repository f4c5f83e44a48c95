//! One directory as committed: look-ups by id, name, address and alias, and
//! the direct memberships.

use std::borrow::Cow;
use std::sync::Arc;

use super::closure::Closures;
use super::keyed::{Key, KeyTables};
use super::keys::{KeyHasher, same_folded};
use super::lists::Lists;
use super::paged::Paged;
use super::records::Records;
use crate::model::{Layer, Reference};
use crate::store::record::{self, GroupKeys};

/// The hash of an alias, as one directory makes it in this process.
#[derive(Clone, Copy, Debug)]
pub struct AliasHash(pub(super) u32);

/// An immutable version of one directory, sharing with its neighbours in time
/// all that is the same.
#[derive(Clone, Debug)]
pub struct DirectoryView {
    pub(super) identity: Arc<Identity>,
    pub(super) last_seq: u64,
    pub(super) hasher: KeyHasher,
    pub(super) users: Records,
    pub(super) groups: Records,
    pub(super) keys: KeyTables,
    pub(super) listed: Lists,
    pub(super) declared: Lists,
    pub(super) subgroups: Lists,
    /// By user: the groups of which the user is a direct member in either layer.
    pub(super) groups_of_users: Lists,
    /// By group: the groups that list it.
    pub(super) parents: Lists,
    pub(super) closures: Closures,
    pub(super) unresolved: Paged<Option<Arc<[Reference]>>>,
}

#[derive(Debug)]
pub(super) struct Identity {
    pub name: String,
    pub tenant: String,
    pub product: String,
}

/// Whom an alias or a reference means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Nobody,
    User(u32),
    Group(u32),
    /// More than one object: it means none of them.
    Several,
}

impl DirectoryView {
    /// A directory in which nothing is yet.
    pub fn empty(name: &str, tenant: &str, product: &str) -> DirectoryView {
        let (name, tenant, product) = (name.to_owned(), tenant.to_owned(), product.to_owned());
        DirectoryView {
            identity: Arc::new(Identity { name, tenant, product }),
            last_seq: 0,
            hasher: KeyHasher::default(),
            users: Records::default(),
            groups: Records::default(),
            keys: KeyTables::default(),
            listed: Lists::default(),
            declared: Lists::default(),
            subgroups: Lists::default(),
            groups_of_users: Lists::default(),
            parents: Lists::default(),
            closures: Closures::default(),
            unresolved: Paged::default(),
        }
    }

    /// The same directory with nothing in it; used slots stay used.
    pub(super) fn cleared(&self) -> DirectoryView {
        let mut empty = DirectoryView::empty(self.name(), self.tenant(), self.product());
        empty.last_seq = self.last_seq;
        empty.hasher = self.hasher.clone();
        empty.users.used_up_to(self.next_user_slot());
        empty.groups.used_up_to(self.next_group_slot());
        empty
    }

    /// The same content under another tenant and product (after a reload).
    pub fn with_labels(&self, tenant: &str, product: &str) -> DirectoryView {
        let name = self.name().to_owned();
        let (tenant, product) = (tenant.to_owned(), product.to_owned());
        let identity = Arc::new(Identity { name, tenant, product });
        DirectoryView { identity, ..self.clone() }
    }

    /// The configured name.
    pub fn name(&self) -> &str {
        &self.identity.name
    }

    pub fn tenant(&self) -> &str {
        &self.identity.tenant
    }

    pub fn product(&self) -> &str {
        &self.identity.product
    }

    /// The seq of the last event that changed this version; after a load, the
    /// last one of the store. No number ever stands for two contents.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    pub fn user_count(&self) -> usize {
        self.users.count()
    }

    pub fn group_count(&self) -> usize {
        self.groups.count()
    }

    /// Direct memberships: users in groups (once, however many reasons there
    /// are) and groups in groups.
    pub fn membership_count(&self) -> usize {
        self.groups_of_users.total() + self.subgroups.total()
    }

    /// The slot for the next new user: above every slot that was ever used.
    pub fn next_user_slot(&self) -> u32 {
        self.users.next()
    }

    /// The slot for the next new group: above every slot that was ever used.
    pub fn next_group_slot(&self) -> u32 {
        self.groups.next()
    }

    /// The user as encoded by [`crate::store::record::encode_user`].
    pub fn user_record(&self, slot: u32) -> Option<&[u8]> {
        self.users.get(slot)
    }

    /// The group as encoded by [`crate::store::record::encode_group`].
    pub fn group_record(&self, slot: u32) -> Option<&[u8]> {
        self.groups.get(slot)
    }

    /// All users, ascending by slot.
    pub fn user_slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.users.slots_from(0)
    }

    /// All groups, ascending by slot.
    pub fn group_slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.groups.slots_from(0)
    }

    /// The users from a slot on, ascending: the rest of a paged list.
    pub fn user_slots_from(&self, slot: u32) -> impl Iterator<Item = u32> + '_ {
        self.users.slots_from(slot)
    }

    /// The groups from a slot on, ascending: the rest of a paged list.
    pub fn group_slots_from(&self, slot: u32) -> impl Iterator<Item = u32> + '_ {
        self.groups.slots_from(slot)
    }

    /// By immutable id, case and all.
    #[inline]
    pub fn user_by_id(&self, id: &str) -> Option<u32> {
        self.keys.user_ids.slots(self.hasher.exact(id), id).next()
    }

    /// By immutable id, case and all.
    #[inline]
    pub fn group_by_id(&self, id: &str) -> Option<u32> {
        self.keys.group_ids.slots(self.hasher.exact(id), id).next()
    }

    /// All users of this username, whatever its case. An empty one is nobody's.
    pub fn users_by_username<'a>(&'a self, username: &'a str) -> impl Iterator<Item = u32> + 'a {
        self.users_by(Key::Username, username, |record, username| {
            record::id_and_username_of(record).is_ok_and(|(_, have)| same_folded(have, username))
        })
    }

    /// All users with this among their addresses, whatever its case.
    pub fn users_by_email<'a>(&'a self, email: &'a str) -> impl Iterator<Item = u32> + 'a {
        self.users_by(Key::UserEmail, email, |record, email| {
            record::emails_of(record)
                .is_ok_and(|mut emails| emails.any(|have| same_folded(have, email)))
        })
    }

    /// All groups of this name, whatever its case. An empty one is nobody's.
    pub fn groups_by_name<'a>(&'a self, name: &'a str) -> impl Iterator<Item = u32> + 'a {
        self.groups_by(Key::GroupName, name, |group, name| same_folded(group.name, name))
    }

    /// All groups of this address, whatever its case.
    pub fn groups_by_email<'a>(&'a self, email: &'a str) -> impl Iterator<Item = u32> + 'a {
        self.groups_by(Key::GroupEmail, email, |group, email| {
            group.email.is_some_and(|have| same_folded(have, email))
        })
    }

    /// Whom an alias means: exactly as written, among users and groups together.
    pub fn by_alias(&self, alias: &str) -> Owner {
        only(self.alias_owners(alias))
    }

    /// Every user and group that has the alias.
    pub fn alias_owners<'a>(&'a self, alias: &'a str) -> impl Iterator<Item = Owner> + 'a {
        self.alias_owners_by(alias, self.alias_hash(alias))
    }

    /// What [`DirectoryView::alias_owners_by`] finds an alias by.
    pub fn alias_hash(&self, alias: &str) -> AliasHash {
        AliasHash(self.hasher.exact(alias))
    }

    /// The same as [`DirectoryView::alias_owners`], for an alias whose hash is known.
    pub fn alias_owners_by<'a>(
        &'a self,
        alias: &'a str,
        hash: AliasHash,
    ) -> impl Iterator<Item = Owner> + 'a {
        let AliasHash(hash) = hash;
        let users = self.keys.of(Key::UserAlias).candidates(hash).filter(move |slot| {
            self.users.get(*slot).is_some_and(|record| record::user_has_alias(record, alias))
        });
        let groups = self.keys.of(Key::GroupAlias).candidates(hash).filter(move |slot| {
            self.groups.get(*slot).is_some_and(|record| record::group_has_alias(record, alias))
        });
        users.map(Owner::User).chain(groups.map(Owner::Group))
    }

    /// Whether some user states groups in the own record.
    pub fn has_stated_groups(&self) -> bool {
        self.keys.states_groups()
    }

    /// Whom a reference means.
    pub fn resolve(&self, reference: &Reference) -> Owner {
        match reference {
            Reference::User(id) => only(self.owner_user(id).into_iter()),
            Reference::Group(id) => only(self.owner_group(id).into_iter()),
            Reference::Id(id) => only(self.owner_user(id).into_iter().chain(self.owner_group(id))),
            Reference::Alias(alias) => self.by_alias(alias),
        }
    }

    /// The members of one layer of a group: user slots, or group slots for
    /// [`Layer::Subgroup`].
    pub fn edges(&self, group: u32, layer: Layer) -> &[u32] {
        self.layer(layer).get(group)
    }

    pub(super) fn layer(&self, layer: Layer) -> &Lists {
        match layer {
            Layer::Listed => &self.listed,
            Layer::Declared => &self.declared,
            Layer::Subgroup => &self.subgroups,
        }
    }

    /// The users in the group itself, for whichever reason.
    pub fn direct_users(&self, group: u32) -> Cow<'_, [u32]> {
        match (self.listed.get(group), self.declared.get(group)) {
            (users, []) | ([], users) => Cow::Borrowed(users),
            (listed, declared) => Cow::Owned(union(listed, declared)),
        }
    }

    /// The groups in the group itself.
    #[inline]
    pub fn subgroups(&self, group: u32) -> &[u32] {
        self.subgroups.get(group)
    }

    /// The groups of which the user is a direct member, for whichever reason.
    #[inline]
    pub fn groups_of_user(&self, user: u32) -> &[u32] {
        self.groups_of_users.get(user)
    }

    /// The groups that have the group as a direct member.
    #[inline]
    pub fn parents_of_group(&self, group: u32) -> &[u32] {
        self.parents.get(group)
    }

    /// What the group's list names and nobody is, sorted.
    pub fn unresolved(&self, group: u32) -> &[Reference] {
        self.unresolved.get(group as usize).and_then(Option::as_deref).unwrap_or(&[])
    }

    /// The groups whose list names this reference, which nobody was when the
    /// list was read.
    pub fn waiting_for(&self, reference: &Reference) -> Vec<u32> {
        let groups = self.keys.of(Key::Waiting).candidates(self.hasher.reference(reference));
        groups.filter(|group| self.unresolved(*group).binary_search(reference).is_ok()).collect()
    }

    fn owner_user(&self, id: &str) -> Option<Owner> {
        self.user_by_id(id).map(Owner::User)
    }

    fn owner_group(&self, id: &str) -> Option<Owner> {
        self.group_by_id(id).map(Owner::Group)
    }

    /// Another user of this id than the one at `slot`.
    pub(super) fn other_user(&self, id: &str, slot: u32) -> Option<u32> {
        self.keys.user_ids.slots(self.hasher.exact(id), id).find(|other| *other != slot)
    }

    /// Another group of this id than the one at `slot`.
    pub(super) fn other_group(&self, id: &str, slot: u32) -> Option<u32> {
        self.keys.group_ids.slots(self.hasher.exact(id), id).find(|other| *other != slot)
    }

    fn users_by<'a>(
        &'a self,
        key: Key,
        text: &'a str,
        is: impl Fn(&[u8], &str) -> bool + 'a,
    ) -> impl Iterator<Item = u32> + 'a {
        let slots = self.keys.of(key).candidates(self.hasher.folded(text));
        slots.filter(move |slot| self.users.get(*slot).is_some_and(|record| is(record, text)))
    }

    fn groups_by<'a>(
        &'a self,
        key: Key,
        text: &'a str,
        is: impl Fn(&GroupKeys<'_>, &str) -> bool + 'a,
    ) -> impl Iterator<Item = u32> + 'a {
        let slots = self.keys.of(key).candidates(self.hasher.folded(text));
        slots.filter(move |slot| {
            let keys = self.groups.get(*slot).and_then(|record| GroupKeys::read(record).ok());
            keys.is_some_and(|group| is(&group, text))
        })
    }
}

fn only(mut owners: impl Iterator<Item = Owner>) -> Owner {
    match (owners.next(), owners.next()) {
        (None, _) => Owner::Nobody,
        (Some(owner), None) => owner,
        (Some(_), Some(_)) => Owner::Several,
    }
}

/// Both sorted lists in one, each member once.
pub(super) fn union(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut all = [a, b].concat();
    all.sort();
    all.dedup();
    all
}
