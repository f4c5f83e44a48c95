//! Changes in words, for people who decide about them.

use std::collections::BTreeMap;

use crate::index::DirectoryView;
use crate::model::{Change, Layer, Put};
use crate::store::record::{GroupKeys, UserKeys};

/// The first `limit` visible changes, in the order of the journal:
/// `removes user ada (u1) from group ops (g7)`.
pub fn describe(changes: &[Change], base: &DirectoryView, limit: usize) -> Vec<String> {
    let names = Names::new(changes, base);
    changes.iter().flat_map(|change| names.sentences(change, limit)).take(limit).collect()
}

/// Names of slots: as they will be, or as they are.
struct Names<'a> {
    base: &'a DirectoryView,
    users: BTreeMap<u32, &'a [u8]>,
    groups: BTreeMap<u32, &'a [u8]>,
}

impl<'a> Names<'a> {
    fn new(changes: &'a [Change], base: &'a DirectoryView) -> Names<'a> {
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

    fn sentences(&self, change: &Change, limit: usize) -> Vec<String> {
        match change {
            Change::User { slot, put, .. } => match verb(*put) {
                Some(verb) => vec![format!("{verb} {}", self.user(*slot))],
                None => Vec::new(),
            },
            Change::Group { slot, put, .. } => match verb(*put) {
                Some(verb) => vec![format!("{verb} {}", self.group(*slot))],
                None => Vec::new(),
            },
            Change::UserDeleted { slot, visible: true } => {
                vec![format!("deletes {}", self.user(*slot))]
            }
            Change::GroupDeleted { slot, visible: true } => {
                vec![format!("deletes {}", self.group(*slot))]
            }
            Change::Edges { group, layer, added, visible: true, members } => {
                let group = self.group(*group);
                let (verb, link) = if *added { ("adds", "to") } else { ("removes", "from") };
                let member = |slot: &u32| match layer {
                    Layer::Subgroup => self.group(*slot),
                    Layer::Listed | Layer::Declared => self.user(*slot),
                };
                let sentence = |slot| format!("{verb} {} {link} {group}", member(slot));
                members.iter().take(limit).map(sentence).collect()
            }
            _ => Vec::new(),
        }
    }

    fn user(&self, slot: u32) -> String {
        let record = self.users.get(&slot).copied().or_else(|| self.base.user_record(slot));
        match record.map(UserKeys::read) {
            Some(Ok(keys)) => format!("user {} ({})", keys.username, keys.id),
            _ => format!("user number {slot}"),
        }
    }

    fn group(&self, slot: u32) -> String {
        let record = self.groups.get(&slot).copied().or_else(|| self.base.group_record(slot));
        match record.map(GroupKeys::read) {
            Some(Ok(keys)) => format!("group {} ({})", keys.name, keys.id),
            _ => format!("group number {slot}"),
        }
    }
}

fn verb(put: Put) -> Option<&'static str> {
    match put {
        Put::Created => Some("creates"),
        Put::Updated => Some("updates"),
        Put::Silent => None,
    }
}
