//! What many look-ups will read, read ahead.
//!
//! At a million users a look-up waits for memory at nearly each of its steps, and the next
//! step cannot begin before. Those of other look-ups could. So whoever has many to make has
//! them touched first: one step of all of them, then the next one, in loops that are short
//! enough for the processor to wait for many at a time. It changes no answer.

use std::hint::black_box;

use super::directory::{AliasHash, DirectoryView};
use super::keyed::Key;
use super::records::Records;
use crate::model::Reference;

/// How many look-ups to touch at a time: what they read should fit the caches of a core.
/// (Tests have few to make.)
pub const TOUCHED: usize = if cfg!(test) { 3 } else { 128 };

impl DirectoryView {
    /// What finding users by these ids, usernames or addresses reads.
    pub fn touch_users(&self, texts: &[&str]) {
        self.keys.user_ids.touch(&self.exact(texts.iter().copied()));
        let names = texts.iter().filter(|text| self.user_by_id(text).is_none());
        self.touch_named(names, &self.users, [Key::Username, Key::UserEmail]);
    }

    /// What finding groups by these ids, names or addresses reads.
    pub fn touch_groups(&self, texts: &[&str]) {
        self.keys.group_ids.touch(&self.exact(texts.iter().copied()));
        let names = texts.iter().filter(|text| self.group_by_id(text).is_none());
        self.touch_named(names, &self.groups, [Key::GroupName, Key::GroupEmail]);
    }

    fn touch_named<'t>(
        &self,
        names: impl Iterator<Item = &'t &'t str>,
        records: &Records,
        keys: [Key; 2],
    ) {
        let hashes: Vec<u32> = names.map(|name| self.hasher.folded(name)).collect();
        keys.iter().for_each(|key| records.touch(&self.first_of(*key, &hashes)));
    }

    /// What [`DirectoryView::is_member`] reads of these users and groups, and their records.
    pub fn touch_pairs(&self, users: &[u32], groups: &[u32]) {
        self.groups_of_users.touch(users);
        groups.iter().for_each(|group| _ = black_box(self.closures.get(*group).is_none()));
        self.users.touch(users);
        self.groups.touch(groups);
    }

    /// What finding users and groups by these ids reads, and the heads of their records.
    pub fn touch_ids(&self, users: &[&str], groups: &[&str]) {
        if self.user_count() == 0 {
            return;
        }
        self.keys.user_ids.touch(&self.exact(users.iter().copied()));
        self.keys.group_ids.touch(&self.exact(groups.iter().copied()));
        let slots: Vec<u32> = users.iter().filter_map(|id| self.user_by_id(id)).collect();
        self.users.touch(&slots);
        let slots: Vec<u32> = groups.iter().filter_map(|id| self.group_by_id(id)).collect();
        self.groups.touch(&slots);
    }

    /// What [`DirectoryView::resolve`] reads for each of these; returns their hashes,
    /// which are of use for those that are aliases.
    pub fn touch_references(&self, references: &[Reference]) -> Vec<AliasHash> {
        let hash = |reference: &Reference| match reference {
            Reference::Alias(alias) => self.hasher.exact(alias),
            // Nobody is found by an id yet.
            _ if self.user_count() == 0 => 0,
            Reference::User(id) | Reference::Group(id) | Reference::Id(id) => self.hasher.exact(id),
        };
        let hashes: Vec<u32> = references.iter().map(hash).collect();
        if self.user_count() > 0 {
            let of = |which: fn(&Reference) -> bool| -> Vec<u32> {
                let hashed = references.iter().zip(&hashes);
                hashed.filter(|(reference, _)| which(reference)).map(|(_, hash)| *hash).collect()
            };
            let users = of(|of| matches!(of, Reference::User(_) | Reference::Id(_)));
            self.keys.user_ids.touch(&users);
            let groups = of(|of| matches!(of, Reference::Group(_) | Reference::Id(_)));
            self.keys.group_ids.touch(&groups);
            let aliases = of(|of| matches!(of, Reference::Alias(_)));
            self.users.touch(&self.first_of(Key::UserAlias, &aliases));
            self.groups.touch(&self.first_of(Key::GroupAlias, &aliases));
        }
        hashes.into_iter().map(AliasHash).collect()
    }

    fn exact<'t>(&self, texts: impl Iterator<Item = &'t str>) -> Vec<u32> {
        texts.map(|text| self.hasher.exact(text)).collect()
    }

    /// Slots that may have the texts of these hashes, at most one for each.
    fn first_of(&self, key: Key, hashes: &[u32]) -> Vec<u32> {
        let table = self.keys.of(key);
        table.touch(hashes);
        hashes.iter().filter_map(|hash| table.candidates(*hash).next()).collect()
    }
}
