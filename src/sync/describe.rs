//! Changes in words, for people who decide about them.

use super::names::Names;
use crate::index::DirectoryView;
use crate::model::{Change, Layer, Put};
use crate::store::record::{GroupKeys, UserKeys};

/// The first `limit` visible changes, in the order of the journal:
/// `removes user ada (u1) from group ops (g7)`.
pub fn describe(changes: &[Change], base: &DirectoryView, limit: usize) -> Vec<String> {
    let words = Words(Names::new(changes, base));
    changes.iter().flat_map(|change| words.sentences(change, limit)).take(limit).collect()
}

/// Puts changes into words.
struct Words<'a>(Names<'a>);

impl Words<'_> {
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
        match self.0.user(slot).map(UserKeys::read) {
            Some(Ok(keys)) => format!("user {} ({})", keys.username, keys.id),
            _ => format!("user number {slot}"),
        }
    }

    fn group(&self, slot: u32) -> String {
        match self.0.group(slot).map(GroupKeys::read) {
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
