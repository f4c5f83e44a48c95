//! A hold as stored, in the row of its directory.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::model::{Category, Counts, HeldRemovals, Hold, Member, Pending, Removal};

/// [`Hold`] as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredHold {
    id: String,
    since: u64,
    reasons: Vec<(StoredCategory, String)>,
    /// In the order of [`Counts::named`].
    counts: [u64; 9],
    removals: [u64; 3],
    rejected: bool,
    whole: Option<String>,
    pending: Vec<StoredRemoval>,
    records: Vec<(u32, Vec<u8>)>,
    unlisted: Vec<(u32, StoredMember)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum StoredCategory {
    Users,
    Groups,
    Memberships,
    MembershipsOf(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum StoredRemoval {
    User(u32),
    Disabled(u32),
    Group(u32),
    Member(u32, StoredMember),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum StoredMember {
    User(u32),
    Group(u32),
}

impl From<&Hold> for StoredHold {
    fn from(hold: &Hold) -> StoredHold {
        let Hold { pending, removals, .. } = hold;
        let reasons = hold.reasons.iter();
        let unlisted = pending.unlisted.iter();
        StoredHold {
            id: hold.id.clone(),
            since: hold.since.0,
            reasons: reasons.map(|(of, text)| (StoredCategory::from(*of), text.clone())).collect(),
            counts: hold.counts.named().map(|(_, count)| count),
            removals: [removals.users, removals.groups, removals.memberships],
            rejected: hold.rejected,
            whole: hold.whole.clone(),
            pending: pending.removals.iter().copied().map(StoredRemoval::from).collect(),
            records: pending.records.iter().map(|(slot, bytes)| (*slot, bytes.clone())).collect(),
            unlisted: unlisted.map(|(group, member)| (*group, (*member).into())).collect(),
        }
    }
}

impl From<&StoredHold> for Hold {
    fn from(stored: &StoredHold) -> Hold {
        let reasons = stored.reasons.iter();
        let unlisted = stored.unlisted.iter();
        let [users, groups, memberships] = stored.removals;
        let pending = Pending {
            removals: stored.pending.iter().copied().map(Removal::from).collect(),
            records: stored.records.iter().cloned().collect(),
            unlisted: unlisted.map(|(group, member)| (*group, (*member).into())).collect(),
        };
        Hold {
            id: stored.id.clone(),
            since: Timestamp(stored.since),
            reasons: reasons.map(|(of, text)| (Category::from(*of), text.clone())).collect(),
            counts: counts(stored.counts),
            removals: HeldRemovals { users, groups, memberships },
            rejected: stored.rejected,
            whole: stored.whole.clone(),
            pending,
        }
    }
}

fn counts(numbers: [u64; 9]) -> Counts {
    let [users_created, users_updated, users_disabled, users_deleted, ..] = numbers;
    let [.., groups_created, groups_updated, groups_deleted, members_added, members_removed] =
        numbers;
    Counts {
        users_created,
        users_updated,
        users_disabled,
        users_deleted,
        groups_created,
        groups_updated,
        groups_deleted,
        members_added,
        members_removed,
    }
}

impl From<Category> for StoredCategory {
    fn from(category: Category) -> StoredCategory {
        match category {
            Category::Users => StoredCategory::Users,
            Category::Groups => StoredCategory::Groups,
            Category::Memberships => StoredCategory::Memberships,
            Category::MembershipsOf(group) => StoredCategory::MembershipsOf(group),
        }
    }
}

impl From<StoredCategory> for Category {
    fn from(stored: StoredCategory) -> Category {
        match stored {
            StoredCategory::Users => Category::Users,
            StoredCategory::Groups => Category::Groups,
            StoredCategory::Memberships => Category::Memberships,
            StoredCategory::MembershipsOf(group) => Category::MembershipsOf(group),
        }
    }
}

impl From<Removal> for StoredRemoval {
    fn from(removal: Removal) -> StoredRemoval {
        match removal {
            Removal::User(slot) => StoredRemoval::User(slot),
            Removal::Disabled(slot) => StoredRemoval::Disabled(slot),
            Removal::Group(slot) => StoredRemoval::Group(slot),
            Removal::Member { group, member } => StoredRemoval::Member(group, member.into()),
        }
    }
}

impl From<StoredRemoval> for Removal {
    fn from(stored: StoredRemoval) -> Removal {
        match stored {
            StoredRemoval::User(slot) => Removal::User(slot),
            StoredRemoval::Disabled(slot) => Removal::Disabled(slot),
            StoredRemoval::Group(slot) => Removal::Group(slot),
            StoredRemoval::Member(group, member) => {
                Removal::Member { group, member: member.into() }
            }
        }
    }
}

impl From<Member> for StoredMember {
    fn from(member: Member) -> StoredMember {
        match member {
            Member::User(slot) => StoredMember::User(slot),
            Member::Group(slot) => StoredMember::Group(slot),
        }
    }
}

impl From<StoredMember> for Member {
    fn from(stored: StoredMember) -> Member {
        match stored {
            StoredMember::User(slot) => Member::User(slot),
            StoredMember::Group(slot) => Member::Group(slot),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_comes_back_as_it_was_stored() {
        let user = Member::User(7);
        let pending = Pending {
            removals: [
                Removal::User(1),
                Removal::Disabled(2),
                Removal::Group(3),
                Removal::Member { group: 4, member: user },
                Removal::Member { group: 4, member: Member::Group(5) },
            ]
            .into(),
            records: [(2, vec![1, 2])].into(),
            unlisted: [(4, Member::User(1))].into(),
        };
        let reasons = [Category::Users, Category::Groups, Category::Memberships]
            .into_iter()
            .chain([Category::MembershipsOf(4)])
            .map(|category| (category, format!("{category:?}")));
        let hold = Hold {
            id: "hold_1".into(),
            since: Timestamp(9),
            reasons: reasons.collect(),
            counts: counts([1, 2, 3, 4, 5, 6, 7, 8, 9]),
            removals: HeldRemovals { users: 2, groups: 1, memberships: 2 },
            rejected: true,
            whole: Some("mixed".into()),
            pending,
        };
        assert_eq!(hold.counts.named().map(|(_, count)| count), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(Hold::from(&StoredHold::from(&hold)), hold);
    }
}
