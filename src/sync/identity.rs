//! Names exactly one set of changes, so that an approval is for that set only.

use std::collections::BTreeSet;

use super::names::Names;
use super::plan::Plan;
use crate::digest::hex;
use crate::index::DirectoryView;
use crate::model::{Change, Layer, Member, Removal};
use crate::store::record;

/// Names exactly this set of removals, by ids.
pub(super) fn of_removals(removals: &BTreeSet<Removal>, base: &DirectoryView) -> String {
    let user = |slot: u32| id(base.user_record(slot));
    let group = |slot: u32| id(base.group_record(slot));
    let part = |removal: &Removal| match *removal {
        Removal::User(slot) => digest(&[b"user gone", user(slot).as_bytes()]),
        Removal::Disabled(slot) => digest(&[b"user disabled", user(slot).as_bytes()]),
        Removal::Group(slot) => digest(&[b"group gone", group(slot).as_bytes()]),
        Removal::Member { group: of, member: Member::User(slot) } => {
            digest(&[b"user left", group(of).as_bytes(), user(slot).as_bytes()])
        }
        Removal::Member { group: of, member: Member::Group(slot) } => {
            digest(&[b"group left", group(of).as_bytes(), group(slot).as_bytes()])
        }
    };
    named(removals.iter().map(part).collect())
}

impl Plan {
    /// Names exactly this set of changes, whatever slots they got: a digest
    /// over what would be created, changed and removed, by ids.
    pub fn id(&self, base: &DirectoryView) -> String {
        let digests = Digests(Names::new(&self.changes, base));
        named(self.changes.iter().flat_map(|change| digests.of(change)).collect())
    }
}

/// `hold_` and a digest of the parts, in whatever order they come.
fn named(mut parts: Vec<[u8; 32]>) -> String {
    parts.sort_unstable();
    let mut whole = ring::digest::Context::new(&ring::digest::SHA256);
    for part in &parts {
        whole.update(part);
    }
    let digest = hex(whole.finish().as_ref());
    format!("hold_{}", digest.get(..16).unwrap_or(&digest))
}

/// Ids instead of slots, for the digest that names a set of changes.
struct Digests<'a>(Names<'a>);

impl Digests<'_> {
    fn user(&self, slot: u32) -> String {
        id(self.0.user(slot))
    }

    fn group(&self, slot: u32) -> String {
        id(self.0.group(slot))
    }

    /// One digest for each thing that changes.
    fn of(&self, change: &Change) -> Vec<[u8; 32]> {
        match change {
            Change::User { record, .. } => vec![digest(&[b"user", record])],
            Change::Group { record, .. } => vec![digest(&[b"group", record])],
            Change::UserDeleted { slot, .. } => {
                vec![digest(&[b"user gone", self.user(*slot).as_bytes()])]
            }
            Change::GroupDeleted { slot, .. } => {
                vec![digest(&[b"group gone", self.group(*slot).as_bytes()])]
            }
            Change::Edges { group, layer, added, members, .. } => {
                let group = self.group(*group);
                let what = format!("{layer:?} {added}");
                let name = |slot: &u32| match layer {
                    Layer::Subgroup => self.group(*slot),
                    Layer::Listed | Layer::Declared => self.user(*slot),
                };
                let edge =
                    |slot| digest(&[what.as_bytes(), group.as_bytes(), name(slot).as_bytes()]);
                members.iter().map(edge).collect()
            }
            Change::Unresolved { .. } | Change::Cleared | Change::Notice { .. } => Vec::new(),
        }
    }
}

/// SHA-256 over the parts, each with its length before it.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

fn id(record: Option<&[u8]>) -> String {
    record.and_then(|bytes| record::id_of(bytes).ok()).unwrap_or_default().to_owned()
}
