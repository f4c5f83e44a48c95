//! Records by slot: found as fast as by a hash, told in the order of slots.
//!
//! A first crawl looks into a million of them ten times each, for every member
//! that is named by an alias; a tree would wait for memory at each of its levels.

use hashbrown::HashMap;

/// Records by slot.
#[derive(Clone, Debug, Default)]
pub(super) struct BySlot {
    records: HashMap<u32, Vec<u8>, foldhash::fast::RandomState>,
}

impl BySlot {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn contains(&self, slot: u32) -> bool {
        self.records.contains_key(&slot)
    }

    pub(super) fn get(&self, slot: u32) -> Option<&[u8]> {
        self.records.get(&slot).map(Vec::as_slice)
    }

    pub(super) fn insert(&mut self, slot: u32, record: Vec<u8>) {
        self.records.insert(slot, record);
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Vec<u8>> {
        self.records.remove(&slot)
    }

    /// All slots, ascending.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> + use<> {
        let mut slots: Vec<u32> = self.records.keys().copied().collect();
        slots.sort_unstable();
        slots.into_iter()
    }

    /// All records, in the order of slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.slots().filter_map(|slot| Some((slot, self.get(slot)?)))
    }

    /// The same, for good.
    pub(super) fn into_sorted(self) -> impl Iterator<Item = (u32, Vec<u8>)> {
        let mut records: Vec<(u32, Vec<u8>)> = self.records.into_iter().collect();
        records.sort_unstable_by_key(|(slot, _)| *slot);
        records.into_iter()
    }
}
