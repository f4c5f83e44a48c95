//! Hash tables from text to slots that versions share.
//!
//! An entry is 32 bits of hash and the slot, in one number. Entries are kept
//! sorted in small shards picked by the leading bits of the hash, so a shard
//! needs no slack, a look-up starts where the hash says it should be, and a
//! changed entry copies one shard. Whether a slot really has the text is for
//! the caller to see in its record.

use std::hash::{BuildHasher, Hasher};
use std::hint::black_box;
use std::sync::Arc;

use super::lists::{least, pair, unpair};
use super::paged::Paged;
pub(super) use crate::fold::{fold, same_folded};

/// Entries to a shard after a rebuild; it is rebuilt when they are twice that. So few
/// that an entry is nearly always in the cache line where its hash says, or next to it.
/// (Tests have small directories.)
const SHARD: usize = if cfg!(test) { 4 } else { 32 };
/// Longer shards (many slots with the same text) are searched by halving.
const SHARD_LONG: usize = 2048;

#[derive(Clone, Debug)]
pub(super) struct KeyTable {
    shards: Paged<Arc<[u64]>>,
    /// The number of shards is two to the power of this; 1 to 31.
    bits: u32,
    len: usize,
}

impl Default for KeyTable {
    fn default() -> KeyTable {
        KeyTable { shards: Paged::default(), bits: 1, len: 0 }
    }
}

impl KeyTable {
    /// The slots that may have the text of this hash, ascending.
    #[inline]
    pub fn candidates(&self, hash: u32) -> impl Iterator<Item = u32> + '_ {
        let shard = self.shard(hash);
        let start = self.lower_bound(shard, hash);
        let entries = shard.get(start..).unwrap_or(&[]).iter();
        entries.take_while(move |entry| unpair(**entry).0 == hash).map(|entry| unpair(*entry).1)
    }

    /// Reads what [`KeyTable::candidates`] will read for these hashes.
    pub fn touch(&self, hashes: &[u32]) {
        for hash in hashes {
            let shard = self.shard(*hash);
            black_box(shard.get(self.about(shard, *hash)).copied());
        }
    }

    #[inline]
    fn shard(&self, hash: u32) -> &[u64] {
        self.shards.get(self.shard_of(pair(hash, 0))).map_or(&[], |shard| shard)
    }

    /// Takes entries out and puts entries in. Both ascend, each entry once;
    /// none is in both.
    pub fn edit(&mut self, removes: &[u64], adds: &[u64]) {
        self.make_room(adds.len());
        let (mut removes, mut adds) = (removes, adds);
        while let Some(first) = least(removes, adds) {
            let shard = self.shard_of(first);
            let (gone, removes_left) = self.until_shard_end(removes, shard);
            let (come, adds_left) = self.until_shard_end(adds, shard);
            self.edit_shard(shard, gone, come);
            (removes, adds) = (removes_left, adds_left);
        }
    }

    fn edit_shard(&mut self, shard: usize, gone: &[u64], come: &[u64]) {
        let old = self.shards.get(shard).cloned().unwrap_or_default();
        let mut new = Vec::with_capacity(old.len() + come.len());
        new.extend(old.iter().filter(|entry| gone.binary_search(entry).is_err()));
        new.extend_from_slice(come);
        new.sort_unstable();
        new.dedup();
        self.len = (self.len + new.len()).saturating_sub(old.len());
        self.shards.set(shard, Arc::from(new));
    }

    fn make_room(&mut self, more: usize) {
        let len = self.len + more;
        if len <= (SHARD * 2) << self.bits || self.bits >= 31 {
            return;
        }
        let entries: Vec<u64> =
            self.shards.iter().flat_map(|shard| shard.iter().copied()).collect();
        let bits = (len / SHARD).max(2).ilog2().clamp(1, 31);
        *self = KeyTable { bits, ..KeyTable::default() };
        let mut rest = &entries[..];
        while let Some(first) = rest.first() {
            let shard = self.shard_of(*first);
            let (here, left) = self.until_shard_end(rest, shard);
            self.shards.set(shard, Arc::from(here));
            rest = left;
        }
        self.len = entries.len();
    }

    #[inline]
    fn shard_of(&self, entry: u64) -> usize {
        (entry >> (64 - self.bits)) as usize
    }

    fn until_shard_end<'a>(&self, entries: &'a [u64], shard: usize) -> (&'a [u64], &'a [u64]) {
        entries.split_at(entries.partition_point(|entry| self.shard_of(*entry) <= shard))
    }

    /// Where the entries of `hash` are, about: hashes spread evenly, so the bits
    /// behind the shard's number tell.
    #[inline]
    fn about(&self, shard: &[u64], hash: u32) -> usize {
        let position = u64::from(hash << self.bits) * shard.len() as u64;
        (position >> 32) as usize
    }

    /// Where the entries of `hash` start.
    #[inline]
    fn lower_bound(&self, shard: &[u64], hash: u32) -> usize {
        let least = pair(hash, 0);
        if shard.len() > SHARD_LONG {
            return shard.partition_point(|entry| *entry < least);
        }
        let mut at = self.about(shard, hash);
        while at > 0 && shard.get(at - 1).is_some_and(|entry| *entry >= least) {
            at -= 1;
        }
        while shard.get(at).is_some_and(|entry| *entry < least) {
            at += 1;
        }
        at
    }
}

/// Hashes keys with a seed of this process's own, which no directory can aim at.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyHasher(foldhash::quality::RandomState);

impl KeyHasher {
    #[inline]
    pub fn exact(&self, text: &str) -> u32 {
        self.bytes(text.as_bytes())
    }

    #[inline]
    pub fn bytes(&self, bytes: &[u8]) -> u32 {
        let mut hasher = self.0.build_hasher();
        hasher.write(bytes);
        (hasher.finish() >> 32) as u32
    }

    /// The same for texts that differ in case only.
    #[inline]
    pub fn folded(&self, text: &str) -> u32 {
        let mut buffer = [0; 64];
        match buffer.get_mut(..text.len()) {
            Some(short) if text.is_ascii() => {
                short.copy_from_slice(text.as_bytes());
                short.make_ascii_lowercase();
                self.bytes(short)
            }
            _ => self.exact(&fold(text)),
        }
    }

    pub fn reference(&self, reference: &crate::model::Reference) -> u32 {
        (self.0.hash_one(reference) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_while_the_table_grows_and_shrinks() {
        let hasher = KeyHasher::default();
        let entry = |n: u32| pair(hasher.exact(&n.to_string()), n);
        let mut table = KeyTable::default();
        for step in 0..20_u32 {
            let mut adds: Vec<u64> = (step * 500..step * 500 + 500).map(entry).collect();
            adds.sort_unstable();
            table.edit(&[], &adds);
        }
        let older = table.clone();
        let mut removes: Vec<u64> = (0..10_000).filter(|n| n % 2 == 0).map(entry).collect();
        removes.sort_unstable();
        table.edit(&removes, &[]);
        assert_eq!((older.len, table.len), (10_000, 5_000));
        for n in 0..10_000_u32 {
            let hash = hasher.exact(&n.to_string());
            assert!(older.candidates(hash).any(|slot| slot == n));
            assert_eq!(table.candidates(hash).any(|slot| slot == n), n % 2 == 1);
        }
    }

    #[test]
    fn many_slots_may_share_one_text() {
        let mut table = KeyTable::default();
        let adds: Vec<u64> = (0..5_000).map(|slot| pair(77, slot)).collect();
        table.edit(&[], &adds);
        assert_eq!(table.candidates(77).collect::<Vec<_>>(), (0..5_000).collect::<Vec<_>>());
        assert_eq!(table.candidates(78).count(), 0);
    }
}
