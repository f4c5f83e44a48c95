//! Which texts an object is found by, and the tables that find it.

use super::ids::IdTable;
use super::keys::{KeyHasher, KeyTable};
use super::lists::pair;
use super::records::Records;
use crate::model::Reference;
use crate::store::record::{GroupKeys, RecordError, UserKeys, id_of, states_groups};

/// One table each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    UserId,
    Username,
    UserEmail,
    UserAlias,
    GroupId,
    GroupName,
    GroupEmail,
    GroupAlias,
    /// From a reference that nobody is to the groups that name it.
    Waiting,
}

const TABLES: usize = Key::Waiting as usize + 1;

/// The tables of all keys. Those of `UserId` and `GroupId` stay empty: ids have
/// tables of their own.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyTables {
    tables: [KeyTable; TABLES],
    /// How many users state groups in their own record.
    stating: usize,
    pub user_ids: IdTable,
    pub group_ids: IdTable,
}

impl KeyTables {
    /// Whether some user states groups in the own record.
    pub fn states_groups(&self) -> bool {
        self.stating > 0
    }

    #[inline]
    pub fn of(&self, key: Key) -> &KeyTable {
        &self.tables[key as usize]
    }

    /// Applies edits; `users` and `groups` hold the new records.
    pub fn edit(
        &mut self,
        mut edits: KeyEdits,
        hasher: &KeyHasher,
        users: &Records,
        groups: &Records,
    ) {
        self.stating = self.stating.saturating_add_signed(edits.stating);
        let (removes, adds) = edits.take(Key::UserId);
        self.user_ids.edit(&removes, &adds, hasher, |slot| id_at(users, slot));
        let (removes, adds) = edits.take(Key::GroupId);
        self.group_ids.edit(&removes, &adds, hasher, |slot| id_at(groups, slot));
        for key in [
            Key::Username,
            Key::UserEmail,
            Key::UserAlias,
            Key::GroupName,
            Key::GroupEmail,
            Key::GroupAlias,
            Key::Waiting,
        ] {
            let (removes, adds) = edits.take(key);
            self.tables[key as usize].edit(&removes, &adds);
        }
    }
}

fn id_at(records: &Records, slot: u32) -> &str {
    records.get(slot).and_then(|record| id_of(record).ok()).unwrap_or_default()
}

/// Entries to take out of each table and to put into it.
#[derive(Debug, Default)]
pub(super) struct KeyEdits {
    removes: [Vec<u64>; TABLES],
    adds: [Vec<u64>; TABLES],
    /// By how many more users state groups.
    stating: isize,
}

impl KeyEdits {
    /// Notes what `old` is no longer found by, and what `new` is.
    pub fn user(
        &mut self,
        hasher: &KeyHasher,
        slot: u32,
        old: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<(), RecordError> {
        let keys = |record: &[u8]| user_keys(hasher, record);
        self.note(slot, old.map(keys).transpose()?, new.map(keys).transpose()?);
        let states = |record: Option<&[u8]>| isize::from(record.is_some_and(states_groups));
        self.stating += states(new) - states(old);
        Ok(())
    }

    pub fn group(
        &mut self,
        hasher: &KeyHasher,
        slot: u32,
        old: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<(), RecordError> {
        let keys = |record: &[u8]| group_keys(hasher, record);
        self.note(slot, old.map(keys).transpose()?, new.map(keys).transpose()?);
        Ok(())
    }

    pub fn waiting(
        &mut self,
        hasher: &KeyHasher,
        group: u32,
        old: &[Reference],
        new: &[Reference],
    ) {
        let keys = |references: &[Reference]| {
            unique(references.iter().map(|r| (Key::Waiting, hasher.reference(r))).collect())
        };
        self.note(group, Some(keys(old)), Some(keys(new)));
    }

    /// What goes from and comes to one table, sorted.
    fn take(&mut self, key: Key) -> (Vec<u64>, Vec<u64>) {
        let mut removes = std::mem::take(&mut self.removes[key as usize]);
        let mut adds = std::mem::take(&mut self.adds[key as usize]);
        removes.sort_unstable();
        adds.sort_unstable();
        (removes, adds)
    }

    fn note(&mut self, slot: u32, old: Option<Vec<(Key, u32)>>, new: Option<Vec<(Key, u32)>>) {
        let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
        for (key, hash) in old.iter().filter(|entry| new.binary_search(entry).is_err()) {
            self.removes[*key as usize].push(pair(*hash, slot));
        }
        for (key, hash) in new.iter().filter(|entry| old.binary_search(entry).is_err()) {
            self.adds[*key as usize].push(pair(*hash, slot));
        }
    }
}

/// Empty names and addresses find nobody.
fn user_keys(hasher: &KeyHasher, record: &[u8]) -> Result<Vec<(Key, u32)>, RecordError> {
    let user = UserKeys::read(record)?;
    let mut keys = Vec::with_capacity(2 + user.emails.len() + user.aliases.len());
    keys.push((Key::UserId, hasher.exact(user.id)));
    let emails = user.emails.iter().map(|email| (Key::UserEmail, *email));
    let named = std::iter::once((Key::Username, user.username)).chain(emails);
    keys.extend(
        named.filter(|(_, text)| !text.is_empty()).map(|(k, text)| (k, hasher.folded(text))),
    );
    keys.extend(user.aliases.iter().map(|alias| (Key::UserAlias, hasher.exact(alias))));
    Ok(unique(keys))
}

fn group_keys(hasher: &KeyHasher, record: &[u8]) -> Result<Vec<(Key, u32)>, RecordError> {
    let group = GroupKeys::read(record)?;
    let mut keys = Vec::with_capacity(3 + group.aliases.len());
    keys.push((Key::GroupId, hasher.exact(group.id)));
    let email = group.email.map(|email| (Key::GroupEmail, email));
    let named = std::iter::once((Key::GroupName, group.name)).chain(email);
    keys.extend(
        named.filter(|(_, text)| !text.is_empty()).map(|(k, text)| (k, hasher.folded(text))),
    );
    keys.extend(group.aliases.iter().map(|alias| (Key::GroupAlias, hasher.exact(alias))));
    Ok(unique(keys))
}

fn unique(mut keys: Vec<(Key, u32)>) -> Vec<(Key, u32)> {
    keys.sort_unstable();
    keys.dedup();
    keys
}
