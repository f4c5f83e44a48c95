//! Sets of slots: marks for what a crawl has seen, and sorted lists.

use std::borrow::Cow;

/// A growing bit set over slots: one bit a slot.
#[derive(Clone, Debug, Default)]
pub struct SlotSet {
    words: Vec<u64>,
}

impl SlotSet {
    /// Adds `slot`; whether it was new.
    pub fn insert(&mut self, slot: u32) -> bool {
        let word = slot as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let bit = 1u64 << (slot % 64);
        match self.words.get_mut(word) {
            Some(bits) => {
                let new = *bits & bit == 0;
                *bits |= bit;
                new
            }
            None => false,
        }
    }

    /// Removes `slot`.
    pub fn remove(&mut self, slot: u32) {
        if let Some(bits) = self.words.get_mut(slot as usize / 64) {
            *bits &= !(1u64 << (slot % 64));
        }
    }

    /// Whether `slot` is in.
    pub fn contains(&self, slot: u32) -> bool {
        self.words.get(slot as usize / 64).is_some_and(|bits| bits & (1u64 << (slot % 64)) != 0)
    }
}

impl FromIterator<u32> for SlotSet {
    fn from_iter<I: IntoIterator<Item = u32>>(slots: I) -> SlotSet {
        let mut set = SlotSet::default();
        slots.into_iter().for_each(|slot| _ = set.insert(slot));
        set
    }
}

/// What is in `a` and not in `b`; both sorted, without repeats.
pub fn difference<T: Ord + Clone>(a: &[T], b: &[T]) -> Vec<T> {
    let mut rest = b.iter().peekable();
    a.iter()
        .filter(|item| {
            while rest.next_if(|other| other < item).is_some() {}
            rest.peek() != Some(item)
        })
        .cloned()
        .collect()
}

/// What is in either; both sorted, without repeats.
pub fn union<'a>(a: &'a [u32], b: &[u32]) -> Cow<'a, [u32]> {
    if b.is_empty() {
        return a.into();
    }
    let mut all = Vec::with_capacity(a.len() + b.len());
    all.extend_from_slice(a);
    all.extend_from_slice(b);
    normalise(&mut all);
    all.into()
}

/// Sorts and drops repeats.
pub fn normalise<T: Ord>(list: &mut Vec<T>) {
    list.sort_unstable();
    list.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let mut set = SlotSet::default();
        assert!(set.insert(3));
        assert!(!set.insert(3));
        assert!(set.insert(200));
        assert!(set.contains(200) && set.contains(3) && !set.contains(4) && !set.contains(9_999));
        set.remove(3);
        assert!(!set.contains(3));
    }

    #[test]
    fn lists_subtract_and_add() {
        assert_eq!(difference(&[1, 2, 3, 9], &[2, 4, 9]), [1, 3]);
        assert_eq!(difference(&[], &[1]), [0u32; 0]);
        assert_eq!(union(&[1, 5], &[2, 5])[..], [1, 2, 5]);
        assert_eq!(union(&[1, 5], &[])[..], [1, 5]);
    }
}
