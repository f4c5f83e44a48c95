//! Removals that the guard did not let through, as they are remembered.

use std::collections::{BTreeMap, BTreeSet};

use super::Counts;
use crate::clock::Timestamp;

/// One thing that the provider took away. By slot, like a [`super::Change`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Removal {
    User(u32),
    /// A user who may no longer sign in.
    Disabled(u32),
    Group(u32),
    /// A membership between a group and a member that both live on.
    Member {
        group: u32,
        member: Member,
    },
}

/// Whom a group's list names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    User(u32),
    Group(u32),
}

/// What a limit of the guard is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// Users removed or disabled.
    Users,
    Groups,
    /// Memberships, overall.
    Memberships,
    /// Memberships of one group.
    MembershipsOf(u32),
}

/// A set that waits for a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// Names exactly this set.
    pub id: String,
    /// When this very set was first held.
    pub since: Timestamp,
    /// Which limits it exceeds, in words.
    pub reasons: BTreeMap<Category, String>,
    /// What letting it through would do.
    pub counts: Counts,
    /// What is held, by category.
    pub removals: HeldRemovals,
    /// A person rejected it: it stays held and is not told again.
    pub rejected: bool,
    /// Why everything that the crawl found waits, where that is so.
    pub whole: Option<String>,
    pub pending: Pending,
}

/// What the provider's answer up to the cursor says beyond what is committed.
///
/// The cursor of an incremental directory moves on while removals are held, so
/// the provider does not name them again: the next crawl starts from here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    pub removals: BTreeSet<Removal>,
    /// Users that are committed other than they came, and how they came.
    pub records: BTreeMap<u32, Vec<u8>>,
    /// Memberships of held users and groups that the group's own list no
    /// longer names, by group.
    pub unlisted: BTreeSet<(u32, Member)>,
}

impl Pending {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.removals.is_empty() && self.records.is_empty() && self.unlisted.is_empty()
    }

    /// The memberships that ended, with their groups.
    pub fn members(&self) -> impl Iterator<Item = (u32, Member)> + '_ {
        let held = self.removals.iter().filter_map(|removal| match *removal {
            Removal::Member { group, member } => Some((group, member)),
            _ => None,
        });
        held.chain(self.unlisted.iter().copied())
    }

    /// About how many bytes it takes to remember.
    pub fn size(&self) -> usize {
        const EACH: usize = 9;
        let records: usize = self.records.values().map(|record| record.len() + EACH).sum();
        records + EACH * (self.removals.len() + self.unlisted.len())
    }
}

/// How many removals are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldRemovals {
    /// Removed or disabled.
    pub users: u64,
    pub groups: u64,
    pub memberships: u64,
}

impl HeldRemovals {
    /// Counts by category.
    pub fn of<'a>(removals: impl IntoIterator<Item = &'a Removal>) -> HeldRemovals {
        let mut counts = HeldRemovals::default();
        for removal in removals {
            match removal {
                Removal::User(_) | Removal::Disabled(_) => counts.users += 1,
                Removal::Group(_) => counts.groups += 1,
                Removal::Member { .. } => counts.memberships += 1,
            }
        }
        counts
    }

    /// Each number with its category.
    pub fn named(&self) -> [(&'static str, u64); 3] {
        [("users", self.users), ("groups", self.groups), ("memberships", self.memberships)]
    }
}
