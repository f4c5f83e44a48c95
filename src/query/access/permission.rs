//! What one may be permitted: ask, list, watch, operate.

use serde_json::Value;

/// One thing that may be permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Single questions: is this user in this group, and why.
    Ask,
    /// Whole lists: users, groups, directories, the past, what engines are fed.
    List,
    /// What happens: events, the audit trail.
    Watch,
    /// Deciding: polls, plans, holds, webhooks.
    Operate,
}

/// Any number of them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Permissions(u8);

impl Permission {
    pub const ALL: [Permission; 4] =
        [Permission::Ask, Permission::List, Permission::Watch, Permission::Operate];

    /// Its name in the configuration and on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Permission::Ask => "ask",
            Permission::List => "list",
            Permission::Watch => "watch",
            Permission::Operate => "operate",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Permissions {
    pub const NONE: Permissions = Permissions(0);
    pub const ALL: Permissions = Permissions(0b1111);

    pub fn has(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// Those of both.
    #[must_use]
    pub fn and(self, others: Permissions) -> Permissions {
        Permissions(self.0 | others.0)
    }

    /// Whether all of `others` are among these.
    pub fn cover(self, others: Permissions) -> bool {
        others.0 & !self.0 == 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their names.
    pub fn words(self) -> Vec<&'static str> {
        Permission::ALL.into_iter().filter(|one| self.has(*one)).map(Permission::word).collect()
    }

    /// For keeping them in an atomic number.
    pub(super) fn bits(self) -> u8 {
        self.0
    }

    /// The reverse of [`Permissions::bits`].
    pub(super) fn of_bits(bits: u8) -> Permissions {
        Permissions(bits & Permissions::ALL.0)
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(all: I) -> Permissions {
        Permissions(all.into_iter().fold(0, |bits, one| bits | one.bit()))
    }
}

impl From<Permission> for Permissions {
    fn from(one: Permission) -> Permissions {
        Permissions(one.bit())
    }
}

impl From<Permissions> for Value {
    fn from(all: Permissions) -> Value {
        all.words().into()
    }
}

impl std::fmt::Debug for Permissions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.words()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_them_are_each_of_them() {
        assert_eq!(Permission::ALL.into_iter().collect::<Permissions>(), Permissions::ALL);
        for one in Permission::ALL {
            let rest: Permissions = Permission::ALL.into_iter().filter(|two| *two != one).collect();
            assert!(!rest.has(one) && !rest.cover(one.into()) && rest != Permissions::ALL);
            assert_eq!(rest.and(one.into()), Permissions::ALL);
            assert_eq!(Permissions::of_bits(rest.bits()), rest);
        }
    }
}
