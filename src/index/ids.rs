//! A hash table from immutable ids to slots that versions share.
//!
//! Unlike the tables of `keys` it holds the ids themselves: every check asks
//! for two of them, and finding them in the records would cost twice the
//! memory accesses. A shard is one allocation: the offsets of its buckets,
//! then their entries (slot, length, id).

use std::hint::black_box;
use std::sync::Arc;

use super::keys::KeyHasher;
use super::lists::{least, pair, unpair};
use super::paged::Paged;

const BUCKETS: usize = 256;
const HEADER: usize = (BUCKETS + 1) * 4;
/// Entries to a shard after a rebuild; it is rebuilt when they are twice that.
/// (Tests have small directories.)
const SHARD: usize = if cfg!(test) { 8 } else { 512 };

#[derive(Clone, Debug)]
pub(super) struct IdTable {
    shards: Paged<Arc<[u8]>>,
    /// The number of shards is two to the power of this; 1 to 20.
    bits: u32,
    len: usize,
}

impl Default for IdTable {
    fn default() -> IdTable {
        IdTable { shards: Paged::default(), bits: 1, len: 0 }
    }
}

impl IdTable {
    /// The slots of this id (of which `hash` is the hash): one, or none.
    #[inline]
    pub fn slots<'a>(&'a self, hash: u32, id: &'a str) -> impl Iterator<Item = u32> + 'a {
        let bucket = bucket(self.shard(hash), self.bucket_of(hash));
        Entries(bucket).filter(move |(_, have)| *have == id.as_bytes()).map(|(slot, _)| slot)
    }

    /// Reads what [`IdTable::slots`] will read for these hashes.
    pub fn touch(&self, hashes: &[u32]) {
        for hash in hashes {
            black_box(self.shard(*hash).get(self.bucket_of(*hash) * 4).copied());
        }
        for hash in hashes {
            black_box(bucket(self.shard(*hash), self.bucket_of(*hash)).first().copied());
        }
    }

    #[inline]
    fn shard(&self, hash: u32) -> &[u8] {
        self.shards.get(self.shard_of(pair(hash, 0))).map_or(&[], |shard| shard)
    }

    /// Two slots that have the same id, if there are such.
    pub fn duplicate(&self) -> Option<(u32, u32)> {
        let buckets =
            self.shards.iter().flat_map(|shard| (0..BUCKETS).map(move |at| bucket(shard, at)));
        buckets.filter(|bucket| !bucket.is_empty()).find_map(|bucket| {
            let mut entries = Entries(bucket);
            while let Some((slot, id)) = entries.next() {
                if let Some((other, _)) = entries.clone().find(|(_, other)| *other == id) {
                    return Some((slot, other));
                }
            }
            None
        })
    }

    /// Takes entries out and puts entries in: pairs of hash and slot, both
    /// ascending, each once, none in both. `id` tells the ids of the new ones.
    pub fn edit<'a>(
        &mut self,
        removes: &[u64],
        adds: &[u64],
        hasher: &KeyHasher,
        id: impl Fn(u32) -> &'a str,
    ) {
        self.make_room(adds.len(), hasher);
        let (mut removes, mut adds) = (removes, adds);
        while let Some(first) = least(removes, adds) {
            let shard = self.shard_of(first);
            let (gone, come);
            (gone, removes) = self.until_shard_end(removes, shard);
            (come, adds) = self.until_shard_end(adds, shard);
            let come: Vec<(u64, &[u8])> =
                come.iter().map(|entry| (*entry, id(unpair(*entry).1).as_bytes())).collect();
            self.edit_shard(shard, gone, &come);
        }
    }

    fn edit_shard(&mut self, shard: usize, mut gone: &[u64], mut come: &[(u64, &[u8])]) {
        let old = self.shards.get(shard).cloned().unwrap_or_default();
        let grown: usize = come.iter().map(|(_, id)| id.len() + 8).sum();
        let mut new = Vec::with_capacity(old.len().max(HEADER) + grown);
        new.resize(HEADER, 0);
        for at in 0..BUCKETS {
            mark(&mut new, at);
            let (gone_here, come_here);
            (gone_here, gone) = split_bucket(gone, |entry| self.bucket_of(unpair(*entry).0) <= at);
            (come_here, come) =
                split_bucket(come, |(entry, _)| self.bucket_of(unpair(*entry).0) <= at);
            for (slot, id) in Entries(bucket(&old, at)) {
                if gone_here.iter().any(|entry| unpair(*entry).1 == slot) {
                    self.len = self.len.saturating_sub(1);
                } else {
                    write_entry(&mut new, slot, id);
                }
            }
            for (entry, id) in come_here {
                self.len += 1;
                write_entry(&mut new, unpair(*entry).1, id);
            }
        }
        mark(&mut new, BUCKETS);
        self.shards.set(shard, Arc::from(new));
    }

    fn make_room(&mut self, more: usize, hasher: &KeyHasher) {
        let len = self.len + more;
        if len <= (SHARD * 2) << self.bits || self.bits >= 20 {
            return;
        }
        let bits = (len / SHARD).max(2).ilog2().clamp(1, 20);
        let old = std::mem::replace(self, IdTable { bits, ..IdTable::default() });
        let mut entries: Vec<(u64, &[u8])> = Vec::with_capacity(old.len);
        for shard in old.shards.iter() {
            let all = shard.get(HEADER..).unwrap_or(&[]);
            entries.extend(Entries(all).map(|(slot, id)| (pair(hasher.bytes(id), slot), id)));
        }
        entries.sort_unstable();
        let mut rest = &entries[..];
        while let Some((first, _)) = rest.first() {
            let shard = self.shard_of(*first);
            let end = rest.partition_point(|(entry, _)| self.shard_of(*entry) <= shard);
            let (here, left) = rest.split_at(end);
            self.edit_shard(shard, &[], here);
            rest = left;
        }
    }

    #[inline]
    fn shard_of(&self, entry: u64) -> usize {
        (entry >> (64 - self.bits)) as usize
    }

    #[inline]
    fn bucket_of(&self, hash: u32) -> usize {
        ((hash << self.bits) >> 24) as usize
    }

    fn until_shard_end<'a>(&self, entries: &'a [u64], shard: usize) -> (&'a [u64], &'a [u64]) {
        entries.split_at(entries.partition_point(|entry| self.shard_of(*entry) <= shard))
    }
}

/// The entries written one after the other in some bytes.
#[derive(Clone)]
struct Entries<'a>(&'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = (u32, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<(u32, &'a [u8])> {
        let (slot, rest) = self.0.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (id, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        self.0 = rest;
        Some((u32::from_le_bytes(*slot), id))
    }
}

fn write_entry(shard: &mut Vec<u8>, slot: u32, id: &[u8]) {
    shard.extend_from_slice(&slot.to_le_bytes());
    shard.extend_from_slice(&(id.len() as u32).to_le_bytes());
    shard.extend_from_slice(id);
}

#[inline]
fn bucket(shard: &[u8], at: usize) -> &[u8] {
    let offset = |at: usize| {
        let bytes = shard.get(at * 4..at * 4 + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes) as usize)
    };
    offset(at).zip(offset(at + 1)).and_then(|(start, end)| shard.get(start..end)).unwrap_or(&[])
}

/// Writes where the bucket `at` starts.
fn mark(shard: &mut [u8], at: usize) {
    let start = (shard.len() as u32).to_le_bytes();
    if let Some(place) = shard.get_mut(at * 4..at * 4 + 4) {
        place.copy_from_slice(&start);
    }
}

fn split_bucket<T>(entries: &[T], here: impl Fn(&T) -> bool) -> (&[T], &[T]) {
    let end = entries.iter().position(|entry| !here(entry)).unwrap_or(entries.len());
    entries.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_while_the_table_grows_and_shrinks() {
        let hasher = KeyHasher::default();
        let ids: Vec<String> = (0..5_000).map(|n| format!("id-{n}")).collect();
        let entry = |n: u32| pair(hasher.exact(&ids[n as usize]), n);
        let sorted = |slots: &mut dyn Iterator<Item = u32>| {
            let mut entries: Vec<u64> = slots.map(entry).collect();
            entries.sort_unstable();
            entries
        };
        let mut table = IdTable::default();
        for step in 0..10_u32 {
            let adds = sorted(&mut (step * 500..step * 500 + 500));
            table.edit(&[], &adds, &hasher, |slot| &ids[slot as usize]);
        }
        let older = table.clone();
        table.edit(&sorted(&mut (0..5_000).step_by(2)), &[], &hasher, |_| "");
        assert_eq!((older.len, table.len), (5_000, 2_500));
        for (slot, id) in (0..).zip(&ids) {
            let hash = hasher.exact(id);
            assert!(older.slots(hash, id).eq([slot]));
            assert!(table.slots(hash, id).eq((slot % 2 == 1).then_some(slot)));
            assert_eq!(table.slots(hash, "else").count(), 0);
        }
        assert_eq!(older.duplicate(), None);
    }

    #[test]
    fn one_id_at_two_slots_is_found_out() {
        let hasher = KeyHasher::default();
        let hash = hasher.exact("same");
        let mut table = IdTable::default();
        table.edit(&[], &[pair(hash, 3), pair(hash, 9)], &hasher, |_| "same");
        assert_eq!(table.duplicate(), Some((3, 9)));
    }
}
