//! Changes in words, for people who decide about them.

use super::names::Names;
use crate::index::DirectoryView;
use crate::model::{Change, Layer, Put};
use crate::store::record::{GroupKeys, UserKeys, UserSummary};

/// `limit` visible changes from the `offset`th on, in the order of the journal:
/// `removes user ada (u1) from group ops (g7)`.
pub fn describe(
    changes: &[Change],
    base: &DirectoryView,
    mut offset: usize,
    limit: usize,
) -> Vec<String> {
    let words = Words { names: Names::new(changes, base), base };
    let mut sentences = Vec::new();
    for change in changes {
        let events = usize::try_from(change.events()).unwrap_or(usize::MAX);
        if sentences.len() >= limit {
            break;
        }
        if offset >= events {
            offset -= events;
            continue;
        }
        sentences.extend(words.sentences(change, offset, limit - sentences.len()));
        offset = 0;
    }
    sentences
}

/// Puts changes into words.
struct Words<'a> {
    names: Names<'a>,
    base: &'a DirectoryView,
}

impl Words<'_> {
    fn sentences(&self, change: &Change, offset: usize, limit: usize) -> Vec<String> {
        match change {
            Change::User { slot, put: Put::Updated, record } if self.disables(*slot, record) => {
                vec![format!("disables {}", self.user(*slot))]
            }
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
                members.iter().skip(offset).take(limit).map(sentence).collect()
            }
            _ => Vec::new(),
        }
    }

    fn disables(&self, slot: u32, record: &[u8]) -> bool {
        let is_active = |record: &[u8]| UserSummary::read(record).is_ok_and(|user| user.active);
        self.base.user_record(slot).is_some_and(is_active) && !is_active(record)
    }

    fn user(&self, slot: u32) -> String {
        match self.names.user(slot).map(UserKeys::read) {
            Some(Ok(keys)) => format!("user {} ({})", keys.username, keys.id),
            _ => format!("user number {slot}"),
        }
    }

    fn group(&self, slot: u32) -> String {
        match self.names.group(slot).map(GroupKeys::read) {
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
