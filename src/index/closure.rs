//! By group, all groups nested in it: what makes a nested check as cheap as a
//! direct one.
//!
//! Kept only where it is affordable: groups can be nested such that the sets
//! together grow with the square of the groups. Where a set is missing,
//! readers walk.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::paged::Paged;

/// What all sets of a directory may take together, in bytes.
const BYTES_MAX: usize = 64 << 20;

#[derive(Clone, Debug, Default)]
pub(super) struct Closures {
    sets: Paged<Nested>,
    bytes: usize,
}

/// What is known about the groups in a group.
#[derive(Clone, Debug, Default)]
pub(super) enum Nested {
    /// There are none.
    #[default]
    None,
    Sorted(Arc<[u32]>),
    /// The same where that is smaller.
    Bits(Arc<Bits>),
    /// There are some, too many to keep them.
    TooMany,
}

impl Closures {
    #[inline]
    pub fn get(&self, group: u32) -> &Nested {
        self.sets.get(group as usize).unwrap_or(&Nested::None)
    }

    /// `nested` is missing where finding it took too long.
    pub fn set(&mut self, group: u32, nested: Option<BTreeSet<u32>>) {
        self.bytes = self.bytes.saturating_sub(self.get(group).bytes());
        let nested = nested.map(|slots| Nested::of(&slots));
        let nested = nested.filter(|nested| self.bytes + nested.bytes() <= BYTES_MAX);
        let nested = nested.unwrap_or(Nested::TooMany);
        self.bytes += nested.bytes();
        self.sets.set(group as usize, nested);
    }
}

impl Nested {
    #[inline]
    pub fn is_none(&self) -> bool {
        matches!(self, Nested::None)
    }

    fn of(slots: &BTreeSet<u32>) -> Nested {
        let Some(last) = slots.last() else { return Nested::None };
        if slots.len() * 32 <= *last as usize {
            return Nested::Sorted(slots.iter().copied().collect());
        }
        let mut bits = Bits::up_to(last.saturating_add(1));
        slots.iter().for_each(|slot| bits.set(*slot));
        Nested::Bits(Arc::new(bits))
    }

    fn bytes(&self) -> usize {
        match self {
            Nested::None | Nested::TooMany => 0,
            Nested::Sorted(slots) => 16 + slots.len() * 4,
            Nested::Bits(bits) => 32 + bits.bytes(),
        }
    }
}

/// Whether two sorted lists share a slot.
#[inline]
pub(super) fn meet(a: &[u32], b: &[u32]) -> bool {
    if a.len() < b.len() { any_in(a, b) } else { any_in(b, a) }
}

#[inline]
fn any_in(few: &[u32], many: &[u32]) -> bool {
    few.iter().any(|slot| many.binary_search(slot).is_ok())
}

/// A set of slots below an end, one bit each.
#[derive(Debug)]
pub(super) struct Bits(Box<[u64]>);

impl Bits {
    pub fn up_to(end: u32) -> Bits {
        Bits(vec![0; (end as usize).div_ceil(64)].into_boxed_slice())
    }

    pub fn set(&mut self, slot: u32) {
        if let Some(word) = self.0.get_mut(slot as usize / 64) {
            *word |= 1 << (slot % 64);
        }
    }

    #[inline]
    pub fn contains(&self, slot: u32) -> bool {
        self.0.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    pub fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub fn slots(&self) -> Vec<u32> {
        let mut slots = Vec::with_capacity(self.count());
        for (at, word) in self.0.iter().enumerate() {
            let mut word = *word;
            while word != 0 {
                slots.push((at * 64) as u32 + word.trailing_zeros());
                word &= word - 1;
            }
        }
        slots
    }

    fn bytes(&self) -> usize {
        self.0.len() * 8
    }
}
