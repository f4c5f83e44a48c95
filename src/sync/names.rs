//! Whom slots mean while changes are under way: as they will be, or as they are.

use std::collections::BTreeMap;

use crate::index::DirectoryView;
use crate::model::Change;

/// The records of all objects that `changes` and `base` know.
pub(super) struct Names<'a> {
    base: &'a DirectoryView,
    users: BTreeMap<u32, &'a [u8]>,
    groups: BTreeMap<u32, &'a [u8]>,
}

impl<'a> Names<'a> {
    pub(super) fn new(changes: &'a [Change], base: &'a DirectoryView) -> Names<'a> {
        let mut names = Names { base, users: BTreeMap::new(), groups: BTreeMap::new() };
        for change in changes {
            match change {
                Change::User { slot, record, .. } => names.users.insert(*slot, record.as_slice()),
                Change::Group { slot, record, .. } => names.groups.insert(*slot, record.as_slice()),
                _ => None,
            };
        }
        names
    }

    pub(super) fn user(&self, slot: u32) -> Option<&'a [u8]> {
        self.users.get(&slot).copied().or_else(|| self.base.user_record(slot))
    }

    pub(super) fn group(&self, slot: u32) -> Option<&'a [u8]> {
        self.groups.get(&slot).copied().or_else(|| self.base.group_record(slot))
    }
}
