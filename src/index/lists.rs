//! Sorted lists of slots by slot (the members of a group, the groups of a
//! user), packed into leaves that versions share.
//!
//! A leaf is one allocation: the offsets of its lists, then the lists. A list
//! that is too long to be copied along with its neighbours stands alone.

use std::hint::black_box;
use std::sync::Arc;

use super::paged::Paged;

/// Lists to a leaf.
const LEAF: usize = 128;
/// From this length on a list stands alone. (Tests have small ones.)
const LONG: usize = if cfg!(test) { 12 } else { 1024 };

#[derive(Clone, Debug, Default)]
pub(super) struct Lists {
    leaves: Paged<Leaf>,
    total: usize,
}

#[derive(Clone, Debug, Default)]
struct Leaf {
    packed: Arc<[u32]>,
    long: Option<Arc<Vec<LongList>>>,
}

#[derive(Clone, Debug)]
struct LongList {
    at: usize,
    members: Arc<[u32]>,
}

/// A list and one of its members, in one number that sorts by list, then member.
#[inline]
pub(super) fn pair(list: u32, member: u32) -> u64 {
    u64::from(list) << 32 | u64::from(member)
}

/// What [`pair`] joined.
#[inline]
pub(super) fn unpair(pair: u64) -> (u32, u32) {
    ((pair >> 32) as u32, pair as u32)
}

impl Lists {
    #[inline]
    pub fn get(&self, list: u32) -> &[u32] {
        let (leaf, at) = split(list);
        self.leaves.get(leaf).map_or(&[], |leaf| leaf.get(at))
    }

    /// Reads what reading the first members of these lists will read.
    pub fn touch(&self, lists: &[u32]) {
        for list in lists {
            let (leaf, at) = split(*list);
            black_box(self.leaves.get(leaf).and_then(|leaf| leaf.packed.get(at).copied()));
        }
        for list in lists {
            black_box(self.get(*list).first().copied());
        }
    }

    /// The length of all lists together.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Takes pairs out and puts pairs in. Both ascend, each pair once; none is in both.
    pub fn edit(&mut self, removes: &[u64], adds: &[u64]) {
        let (mut removes, mut adds) = (removes, adds);
        while let Some(first) = least(removes, adds) {
            let leaf = split(unpair(first).0).0;
            let (gone, removes_left) = until_leaf_end(removes, leaf);
            let (come, adds_left) = until_leaf_end(adds, leaf);
            self.edit_leaf(leaf, gone, come);
            (removes, adds) = (removes_left, adds_left);
        }
    }

    fn edit_leaf(&mut self, leaf: usize, mut gone: &[u64], mut come: &[u64]) {
        let old = self.leaves.get(leaf).cloned().unwrap_or_default();
        let mut packed = Vec::with_capacity(LEAF + 1 + old.packed.len() + come.len());
        packed.resize(LEAF + 1, 0);
        let mut long = Vec::new();
        let mut list = (leaf * LEAF) as u32;
        for at in 0..LEAF {
            mark(&mut packed, at);
            let (gone_here, come_here);
            (gone_here, gone) = until_list_end(gone, list);
            (come_here, come) = until_list_end(come, list);
            let before = old.get(at);
            let length = (before.len() + come_here.len()).saturating_sub(gone_here.len());
            self.total = (self.total + length).saturating_sub(before.len());
            if length < LONG {
                merge(before, gone_here, come_here, &mut packed);
            } else if gone_here.is_empty() && come_here.is_empty() {
                long.extend(old.long(at).cloned());
            } else {
                long.push(LongList { at, members: merged(before, gone_here, come_here, length) });
            }
            list = list.wrapping_add(1);
        }
        mark(&mut packed, LEAF);
        let long = (!long.is_empty()).then(|| Arc::new(long));
        self.leaves.set(leaf, Leaf { packed: Arc::from(packed), long });
    }
}

impl Leaf {
    #[inline]
    fn get(&self, at: usize) -> &[u32] {
        let (Some(&start), Some(&end)) = (self.packed.get(at), self.packed.get(at + 1)) else {
            return &[];
        };
        if start == end {
            return self.long(at).map_or(&[], |long| &long.members);
        }
        self.packed.get(start as usize..end as usize).unwrap_or(&[])
    }

    #[inline]
    fn long(&self, at: usize) -> Option<&LongList> {
        self.long.as_ref()?.iter().find(|long| long.at == at)
    }
}

fn split(list: u32) -> (usize, usize) {
    (list as usize / LEAF, list as usize % LEAF)
}

/// The lower of the two first pairs.
pub(super) fn least(a: &[u64], b: &[u64]) -> Option<u64> {
    match (a.first(), b.first()) {
        (Some(a), Some(b)) => Some(*a.min(b)),
        (a, b) => a.or(b).copied(),
    }
}

fn until_leaf_end(pairs: &[u64], leaf: usize) -> (&[u64], &[u64]) {
    pairs.split_at(pairs.partition_point(|pair| split(unpair(*pair).0).0 <= leaf))
}

fn until_list_end(pairs: &[u64], list: u32) -> (&[u64], &[u64]) {
    if pairs.first().is_none_or(|pair| unpair(*pair).0 > list) {
        return (&[], pairs);
    }
    pairs.split_at(pairs.partition_point(|pair| unpair(*pair).0 <= list))
}

/// Writes where the list `at` starts.
fn mark(packed: &mut [u32], at: usize) {
    // LEAF lists below LONG: far from 32 bits.
    let start = packed.len() as u32;
    if let Some(place) = packed.get_mut(at) {
        *place = start;
    }
}

fn merge(before: &[u32], gone: &[u64], come: &[u64], out: &mut Vec<u32>) {
    runs(before, gone, come, |run| out.extend_from_slice(run));
}

fn merged(before: &[u32], gone: &[u64], come: &[u64], length: usize) -> Arc<[u32]> {
    let mut out = Vec::with_capacity(length);
    merge(before, gone, come, &mut out);
    Arc::from(out)
}

/// Calls `emit` with what is left of `before` without `gone` and with `come`, in order.
fn runs(before: &[u32], mut gone: &[u64], mut come: &[u64], mut emit: impl FnMut(&[u32])) {
    let mut rest = before;
    loop {
        let (leaves, member) = match (gone.first(), come.first()) {
            (Some(out), Some(new)) if out < new => (true, unpair(*out).1),
            (Some(out), None) => (true, unpair(*out).1),
            (_, Some(new)) => (false, unpair(*new).1),
            (None, None) => break,
        };
        let (run, after) = rest.split_at(rest.partition_point(|have| *have < member));
        emit(run);
        let present = after.first() == Some(&member);
        if leaves {
            rest = after.get(usize::from(present)..).unwrap_or(&[]);
            gone = gone.get(1..).unwrap_or(&[]);
        } else {
            if !present {
                emit(&[member]);
            }
            rest = after;
            come = come.get(1..).unwrap_or(&[]);
        }
    }
    emit(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: u32, members: impl IntoIterator<Item = u32>) -> Vec<u64> {
        members.into_iter().map(|member| pair(list, member)).collect()
    }

    #[test]
    fn lists_change_without_touching_older_versions() {
        let mut first = Lists::default();
        first.edit(&[], &[pairs(3, [1, 5, 9]), pairs(64, [7])].concat());
        let mut second = first.clone();
        second.edit(&pairs(3, [5]), &[pairs(2, [4]), pairs(3, [0, 6, 10])].concat());
        assert_eq!(first.get(3), [1, 5, 9]);
        assert_eq!(first.total(), 4);
        assert_eq!(second.get(2), [4]);
        assert_eq!(second.get(3), [0, 1, 6, 9, 10]);
        assert_eq!(second.get(64), [7]);
        assert_eq!(second.get(65), [0; 0]);
        assert_eq!(second.get(u32::MAX), [0; 0]);
        assert_eq!(second.total(), 7);
    }

    #[test]
    fn long_lists_stand_alone_and_come_back() {
        let mut lists = Lists::default();
        lists.edit(&[], &[pairs(1, 0..5000), pairs(2, [8])].concat());
        assert_eq!(lists.get(1).len(), 5000);
        let long = lists.get(1).as_ptr();
        lists.edit(&[], &pairs(2, [9]));
        assert_eq!(lists.get(1).as_ptr(), long, "a neighbour's change copied the long list");
        lists.edit(&pairs(1, 10..5000), &[]);
        assert_eq!(lists.get(1), (0..10).collect::<Vec<_>>());
        assert_eq!(lists.get(2), [8, 9]);
        assert_eq!(lists.total(), 12);
    }
}
