//! The encoded records of one kind of object, by slot, packed into leaves that
//! versions share.
//!
//! A leaf is one allocation: the offsets of its records, then the records. So
//! a record costs its bytes and four more, and reading one costs a page, an
//! offset and the bytes.

use std::hint::black_box;
use std::sync::Arc;

use super::paged::Paged;
use crate::store::record::id_of;

/// Slots to a leaf: what one changed record copies.
const LEAF: usize = 64;
const HEADER: usize = (LEAF + 1) * 4;
/// Bytes that a processor fetches from memory at once.
const CACHE_LINE: usize = 64;
/// Where a record's keys nearly always end; attributes and raw answers lie behind.
const TOUCHED_BYTES: usize = 256;

/// The largest record and the longest id taken, in bytes: they keep the offsets
/// of leaves, and of the shards of `ids`, well within 32 bits.
const RECORD_MAX: usize = 16 << 20;
const ID_MAX: usize = 64 << 10;

/// Why these bytes cannot be kept, if so.
pub(super) fn unfit(record: &[u8]) -> Option<String> {
    if record.is_empty() || record.len() > RECORD_MAX {
        return Some(format!("the record has {} bytes", record.len()));
    }
    match id_of(record) {
        Ok(id) if id.len() <= ID_MAX => None,
        Ok(id) => Some(format!("the id has {} bytes", id.len())),
        Err(error) => Some(error.to_string()),
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    leaves: Paged<Arc<[u8]>>,
    count: usize,
    next: u32,
}

impl Records {
    #[inline]
    pub fn get(&self, slot: u32) -> Option<&[u8]> {
        let (leaf, at) = split(slot);
        record(self.leaves.get(leaf)?, at)
    }

    /// Reads what reading these records will read.
    pub fn touch(&self, slots: &[u32]) {
        for slot in slots {
            let (leaf, at) = split(*slot);
            black_box(self.leaves.get(leaf).and_then(|leaf| offset(leaf, at)));
        }
        for slot in slots {
            let record = self.get(*slot).unwrap_or_default();
            let head = record.iter().take(TOUCHED_BYTES).step_by(CACHE_LINE);
            head.for_each(|byte| _ = black_box(*byte));
        }
    }

    pub fn contains(&self, slot: u32) -> bool {
        self.get(slot).is_some()
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// The lowest slot that was never used.
    pub fn next(&self) -> u32 {
        self.next
    }

    /// Declares all slots below `next` as used, present or not.
    pub fn used_up_to(&mut self, next: u32) {
        self.next = self.next.max(next);
    }

    /// The slots in use from `from` on, ascending.
    pub fn slots_from(&self, from: u32) -> impl Iterator<Item = u32> + '_ {
        (from..self.next).filter(|slot| self.contains(*slot))
    }

    /// Sets (`Some`) and clears (`None`) records; `changes` ascend by slot, each once.
    pub fn edit<B: AsRef<[u8]>>(&mut self, changes: &[(u32, Option<B>)]) {
        for part in changes.chunk_by(|a, b| split(a.0).0 == split(b.0).0) {
            if let Some((first, _)) = part.first() {
                self.edit_leaf(split(*first).0, part);
            }
        }
        if let Some((last, _)) = changes.last() {
            self.used_up_to(last.saturating_add(1));
        }
    }

    fn edit_leaf<B: AsRef<[u8]>>(&mut self, leaf: usize, changes: &[(u32, Option<B>)]) {
        let old = self.leaves.get(leaf).cloned().unwrap_or_default();
        let grown: usize =
            changes.iter().filter_map(|(_, new)| Some(new.as_ref()?.as_ref().len())).sum();
        let mut new = Vec::with_capacity(HEADER + old.len() + grown);
        new.resize(HEADER, 0);
        let mut changes = changes.iter().peekable();
        for at in 0..LEAF {
            write_offset(&mut new, at);
            let before = record(&old, at);
            let after = match changes.next_if(|(slot, _)| split(*slot).1 == at) {
                Some((_, change)) => change.as_ref().map(AsRef::as_ref),
                None => before,
            };
            self.count -= usize::from(before.is_some());
            if let Some(bytes) = after.filter(|bytes| !bytes.is_empty()) {
                self.count += 1;
                new.extend_from_slice(bytes);
            }
        }
        write_offset(&mut new, LEAF);
        self.leaves.set(leaf, Arc::from(new));
    }
}

fn split(slot: u32) -> (usize, usize) {
    (slot as usize / LEAF, slot as usize % LEAF)
}

#[inline]
fn record(leaf: &[u8], at: usize) -> Option<&[u8]> {
    let bytes = leaf.get(offset(leaf, at)?..offset(leaf, at + 1)?)?;
    (!bytes.is_empty()).then_some(bytes)
}

#[inline]
fn offset(leaf: &[u8], at: usize) -> Option<usize> {
    let bytes = leaf.get(at * 4..at * 4 + 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(bytes) as usize)
}

fn write_offset(leaf: &mut [u8], at: usize) {
    // RECORD_MAX keeps the length of a leaf well within 32 bits.
    let end = (leaf.len() as u32).to_le_bytes();
    if let Some(place) = leaf.get_mut(at * 4..at * 4 + 4) {
        place.copy_from_slice(&end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_and_go_without_touching_older_versions() {
        let mut first = Records::default();
        first.edit(&[(0, Some("a")), (63, Some("b")), (64, Some("c"))]);
        let mut second = first.clone();
        second.edit(&[(0, None), (64, Some("cc")), (200, Some("d"))]);
        assert_eq!(first.get(0), Some(&b"a"[..]));
        assert_eq!(first.get(64), Some(&b"c"[..]));
        assert_eq!((first.count(), first.next()), (3, 65));
        assert_eq!(second.get(0), None);
        assert_eq!(second.get(63), Some(&b"b"[..]));
        assert_eq!(second.get(64), Some(&b"cc"[..]));
        assert_eq!((second.count(), second.next()), (3, 201));
        assert_eq!(second.slots_from(0).collect::<Vec<_>>(), [63, 64, 200]);
        assert_eq!(second.slots_from(64).collect::<Vec<_>>(), [64, 200]);
        assert_eq!(second.get(u32::MAX), None);
    }
}
