//! How much a set of changes does.

/// How much a set of changes does, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub users_created: u64,
    pub users_updated: u64,
    /// Of those updated, the ones that may no longer sign in.
    pub users_disabled: u64,
    pub users_deleted: u64,
    pub groups_created: u64,
    pub groups_updated: u64,
    pub groups_deleted: u64,
    pub members_added: u64,
    pub members_removed: u64,
}

impl Counts {
    /// Each count with its name, in a stable order.
    pub fn named(&self) -> [(&'static str, u64); 9] {
        let Counts { users_created, users_updated, users_disabled, users_deleted, .. } = *self;
        let Counts { groups_created, groups_updated, groups_deleted, .. } = *self;
        [
            ("users_created", users_created),
            ("users_updated", users_updated),
            ("users_disabled", users_disabled),
            ("users_deleted", users_deleted),
            ("groups_created", groups_created),
            ("groups_updated", groups_updated),
            ("groups_deleted", groups_deleted),
            ("members_added", self.members_added),
            ("members_removed", self.members_removed),
        ]
    }

    /// All changes together; a disabled user is an updated one.
    pub fn total(&self) -> u64 {
        let all: u64 = self.named().iter().map(|(_, count)| count).sum();
        all - self.users_disabled
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Counts) -> Counts {
        Counts {
            users_created: self.users_created + other.users_created,
            users_updated: self.users_updated + other.users_updated,
            users_disabled: self.users_disabled + other.users_disabled,
            users_deleted: self.users_deleted + other.users_deleted,
            groups_created: self.groups_created + other.groups_created,
            groups_updated: self.groups_updated + other.groups_updated,
            groups_deleted: self.groups_deleted + other.groups_deleted,
            members_added: self.members_added + other.members_added,
            members_removed: self.members_removed + other.members_removed,
        }
    }
}
