//! Builds the first version of a directory from what the store holds.

use std::sync::Arc;

use super::closure::Bits;
use super::directory::DirectoryView;
use super::keyed::KeyEdits;
use super::lists::{pair, unpair};
use super::records::{Records, unfit};
use crate::model::{Layer, Reference};
use crate::store::Rows;
use crate::store::record::RecordError;

/// How many records are gathered before they are packed.
const BATCH: usize = 4096;

/// Stored rows that cannot all be true.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored directory {directory} contradicts itself: {reason}")]
pub struct LoadError {
    directory: String,
    reason: String,
}

/// Takes the rows of one directory, in any order; ascending is fastest.
#[derive(Debug)]
pub struct Builder {
    view: DirectoryView,
    users: Pending,
    groups: Pending,
    keys: KeyEdits,
    edges: [Vec<u64>; 3],
    unresolved: Vec<(u32, Vec<Reference>)>,
    wrong: Option<String>,
}

/// Records waiting to be packed, ascending.
#[derive(Debug, Default)]
struct Pending(Vec<(u32, Option<Vec<u8>>)>);

impl Rows for Builder {
    fn next_slots(&mut self, users: u32, groups: u32) {
        self.view.users.used_up_to(users);
        self.view.groups.used_up_to(groups);
    }

    fn user(&mut self, slot: u32, version: u64, record: Vec<u8>) {
        let keyed = self.keys.user(&self.view.hasher, slot, None, Some(&record));
        let kept = self.users.push(&mut self.view.users, slot, record);
        self.note("user", slot, version, keyed, kept);
    }

    fn group(&mut self, slot: u32, version: u64, record: Vec<u8>) {
        let keyed = self.keys.group(&self.view.hasher, slot, None, Some(&record));
        let kept = self.groups.push(&mut self.view.groups, slot, record);
        self.note("group", slot, version, keyed, kept);
    }

    fn edges(&mut self, group: u32, layer: Layer, members: &[u32]) {
        let pairs = &mut self.edges[layer as usize];
        pairs.extend(members.iter().map(|member| pair(group, *member)));
    }

    fn unresolved(&mut self, group: u32, references: Vec<Reference>) {
        self.unresolved.push((group, references));
    }
}

impl Builder {
    pub fn new(name: &str, tenant: &str, product: &str) -> Builder {
        Builder {
            view: DirectoryView::empty(name, tenant, product),
            users: Pending::default(),
            groups: Pending::default(),
            keys: KeyEdits::default(),
            edges: Default::default(),
            unresolved: Vec::new(),
            wrong: None,
        }
    }

    /// The directory, complete.
    ///
    /// # Errors
    /// When a row is no record, or rows contradict each other.
    pub fn finish(mut self) -> Result<DirectoryView, LoadError> {
        let directory = self.view.name().to_owned();
        self.users.pack(&mut self.view.users);
        self.groups.pack(&mut self.view.groups);
        match self.place_all() {
            Ok(()) => Ok(self.view),
            Err(reason) => Err(LoadError { directory, reason }),
        }
    }

    /// Everything up to this event is in the rows. Memberships have no version of
    /// their own, so that their last change is known by this alone.
    pub fn told_up_to(&mut self, seq: u64) {
        self.view.last_seq = self.view.last_seq.max(seq);
    }

    fn note(
        &mut self,
        kind: &str,
        slot: u32,
        version: u64,
        keyed: Result<(), RecordError>,
        kept: Result<(), String>,
    ) {
        self.view.last_seq = self.view.last_seq.max(version);
        let wrong = keyed.err().map(|error| error.to_string()).or(kept.err());
        if let Some(reason) = wrong {
            self.wrong.get_or_insert(format!("{kind} {slot}: {reason}"));
        }
    }

    fn place_all(&mut self) -> Result<(), String> {
        if let Some(reason) = self.wrong.take() {
            return Err(reason);
        }
        self.place_unresolved()?;
        let edits = std::mem::take(&mut self.keys);
        let mut keys = std::mem::take(&mut self.view.keys);
        let (hasher, users) = (self.view.hasher.clone(), self.view.users.clone());
        let groups = self.view.groups.clone();
        // Names and memberships have nothing to do with each other, and each
        // takes about as long.
        let placed = std::thread::scope(|scope| {
            let work = || keys.edit(edits, &hasher, &users, &groups);
            let named = std::thread::Builder::new().name("names".to_owned());
            let named = named.spawn_scoped(scope, work).map_err(|error| error.to_string())?;
            let placed = self.place_edges();
            named.join().map_err(|_| "the thread for the names panicked".to_owned())?;
            placed
        });
        self.view.keys = keys;
        placed?;
        self.check_ids()
    }

    fn place_unresolved(&mut self) -> Result<(), String> {
        for (group, mut references) in std::mem::take(&mut self.unresolved) {
            if !self.view.groups.contains(group) {
                return Err(format!("unknown group {group} has unresolved references"));
            }
            references.sort();
            references.dedup();
            let before = self.view.unresolved(group);
            self.keys.waiting(&self.view.hasher, group, before, &references);
            let list = (!references.is_empty()).then(|| Arc::from(references));
            self.view.unresolved.set(group as usize, list);
        }
        Ok(())
    }

    fn check_ids(&self) -> Result<(), String> {
        let keys = &self.view.keys;
        for (kind, table) in [("user", &keys.user_ids), ("group", &keys.group_ids)] {
            if let Some((slot, other)) = table.duplicate() {
                return Err(format!("{kind}s {slot} and {other} have the same id"));
            }
        }
        Ok(())
    }

    fn place_edges(&mut self) -> Result<(), String> {
        let [listed, declared, subgroups] = std::mem::take(&mut self.edges);
        let view = &mut self.view;
        let (users, groups) = (known(&view.users), known(&view.groups));
        view.listed.edit(&[], &checked(listed, &groups, &users)?);
        view.declared.edit(&[], &checked(declared, &groups, &users)?);
        let mut nested = checked(subgroups, &groups, &groups)?;
        view.subgroups.edit(&[], &nested);
        nested.iter_mut().for_each(|pair| *pair = pair.rotate_left(32));
        nested.sort_unstable();
        view.parents.edit(&[], &nested);
        let nesting: Vec<u32> =
            view.group_slots().filter(|group| !view.subgroups(*group).is_empty()).collect();
        view.renew_closures(&nesting);
        let mut memberships = Vec::with_capacity(view.listed.total() + view.declared.total());
        for group in view.group_slots() {
            memberships.extend(view.direct_users(group).iter().map(|user| pair(*user, group)));
        }
        memberships.sort_unstable();
        view.groups_of_users.edit(&[], &memberships);
        Ok(())
    }
}

impl Pending {
    fn push(&mut self, records: &mut Records, slot: u32, record: Vec<u8>) -> Result<(), String> {
        if let Some(why) = unfit(&record) {
            return Err(why);
        }
        let ascends = self.0.last().is_none_or(|(last, _)| *last < slot);
        if !ascends || self.0.len() >= BATCH {
            self.pack(records);
        }
        if records.contains(slot) {
            return Err("there are two records".to_owned());
        }
        self.0.push((slot, Some(record)));
        Ok(())
    }

    fn pack(&mut self, records: &mut Records) {
        records.edit(&self.0);
        self.0.clear();
    }
}

/// The slots in use.
fn known(records: &Records) -> Bits {
    let mut known = Bits::up_to(records.next());
    records.slots_from(0).for_each(|slot| known.set(slot));
    known
}

/// Sorts pairs of group and member, each once, all known.
fn checked(mut pairs: Vec<u64>, groups: &Bits, members: &Bits) -> Result<Vec<u64>, String> {
    if !pairs.is_sorted() {
        pairs.sort_unstable();
    }
    pairs.dedup();
    for of_group in pairs.chunk_by(|a, b| a >> 32 == b >> 32) {
        let known = of_group.first().is_some_and(|first| groups.contains(unpair(*first).0));
        let unknown = of_group.iter().find(|pair| !known || !members.contains(unpair(**pair).1));
        if let Some(pair) = unknown {
            let (group, member) = unpair(*pair);
            return Err(format!("member {member} of group {group}: one of them is unknown"));
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::UserItem;
    use crate::store::record::encode_user;

    fn user(id: &str) -> Vec<u8> {
        let mut item = UserItem::default();
        item.user.id = id.to_owned();
        encode_user(&item)
    }

    fn reason(fill: impl FnOnce(&mut Builder)) -> String {
        let mut builder = Builder::new("corp", "t", "p");
        fill(&mut builder);
        builder.finish().unwrap_err().to_string()
    }

    #[test]
    fn rows_that_contradict_each_other_are_refused() {
        let two_ids = reason(|b| [0, 1].into_iter().for_each(|slot| b.user(slot, 1, user("u"))));
        assert!(two_ids.contains("the same id"), "{two_ids}");
        let two_records = reason(|b| ["u", "v"].into_iter().for_each(|id| b.user(7, 1, user(id))));
        assert!(two_records.contains("two records"), "{two_records}");
        let no_record = reason(|b| b.user(3, 1, vec![9]));
        assert!(no_record.contains("user 3"), "{no_record}");
        let no_group = reason(|b| {
            b.user(0, 1, user("u"));
            b.edges(5, Layer::Listed, &[0]);
        });
        assert!(no_group.contains("group 5"), "{no_group}");
    }

    #[test]
    fn used_slots_stay_used() {
        let mut builder = Builder::new("corp", "t", "p");
        builder.next_slots(10, 20);
        builder.user(3, 42, user("u"));
        let view = builder.finish().unwrap();
        assert_eq!((view.next_user_slot(), view.next_group_slot()), (10, 20));
        assert_eq!(view.last_seq(), 42);
    }
}
