//! Hands out all committed rows of one directory.

use super::engine::Engine;
use super::error::Trouble;
use super::row::{self, Kind, Stamp};
use super::state::DirState;
use super::{chunks, unresolved, waiting};
use crate::model::{Layer, Reference};

/// Takes the rows of a directory, each kind in the order of slots: users,
/// groups, edges, unresolved references.
pub trait Rows {
    /// Slots from these numbers on were never used; comes first.
    fn next_slots(&mut self, user: u32, group: u32) {
        let _ = (user, group);
    }
    /// `version` is the seq since which the record shows as it does.
    fn user(&mut self, slot: u32, version: u64, record: Vec<u8>);
    fn group(&mut self, slot: u32, version: u64, record: Vec<u8>);
    /// All members of one group and layer, ascending.
    fn edges(&mut self, group: u32, layer: Layer, members: &[u32]);
    fn unresolved(&mut self, group: u32, references: Vec<Reference>);
}

pub(super) fn load(engine: &Engine, dir: &DirState, rows: &mut dyn Rows) -> Result<(), Trouble> {
    rows.next_slots(dir.next_user, dir.next_group);
    let users = records(engine, dir.id, Kind::User, &mut |slot, seq, record| {
        rows.user(slot, seq, record);
    })?;
    let groups = records(engine, dir.id, Kind::Group, &mut |slot, seq, record| {
        rows.group(slot, seq, record);
    })?;
    if users < dir.users || groups < dir.groups {
        return Err(Trouble::Damaged(format!(
            "directory {} has {users} users and {groups} groups instead of {} and {}",
            dir.name, dir.users, dir.groups
        )));
    }
    memberships(engine, dir.id, rows)?;
    unresolved::visit(engine, dir.id, &mut |group, references| {
        rows.unresolved(group, references);
    })
}

/// What the chunks say, and then what waits to be merged into them.
fn memberships(engine: &Engine, dir: u32, rows: &mut dyn Rows) -> Result<(), Trouble> {
    let mut waiting = waiting::read(engine, dir)?.into_iter().peekable();
    let mut give = |(list, mut members): ((u32, Layer), Vec<u32>)| {
        while let Some((before, changes)) = waiting.next_if(|(before, _)| *before <= list) {
            if before == list {
                members = chunks::merge(&members, &changes);
            } else {
                told(rows, before, &chunks::merge(&[], &changes));
            }
        }
        told(rows, list, &members);
    };
    let mut of: Option<((u32, Layer), Vec<u32>)> = None;
    for found in engine.rows(&row::edges(dir))? {
        let found = found?;
        let (group, layer, _) = row::read_chunk(&found.key)?;
        let (_, members) = row::read_members(&found)?;
        match &mut of {
            Some((list, before)) if *list == (group, layer) => before.extend(members),
            _ => of.replace(((group, layer), members)).into_iter().for_each(&mut give),
        }
    }
    of.into_iter().for_each(&mut give);
    for (list, changes) in waiting {
        told(rows, list, &chunks::merge(&[], &changes));
    }
    Ok(())
}

fn told(rows: &mut dyn Rows, (group, layer): (u32, Layer), members: &[u32]) {
    if !members.is_empty() {
        rows.edges(group, layer, members);
    }
}

/// The newest version of every object that was not deleted; returns how many.
fn records(
    engine: &Engine,
    dir: u32,
    kind: Kind,
    take: &mut dyn FnMut(u32, u64, Vec<u8>),
) -> Result<u64, Trouble> {
    let mut count = 0;
    let mut newest: Option<(u32, Stamp, Vec<u8>)> = None;
    let mut give = |version: Option<(u32, Stamp, Vec<u8>)>| {
        if let Some((slot, stamp, record)) = version
            && !record.is_empty()
        {
            count += 1;
            take(slot, stamp.seq, record);
        }
    };
    for found in engine.rows(&row::versions(dir, kind))? {
        let found = found?;
        let (slot, stamp) = row::read_version(&found.key)?;
        if newest.as_ref().is_some_and(|(before, ..)| *before != slot) {
            give(newest.take());
        }
        newest = Some((slot, stamp, found.bytes().to_vec()));
    }
    give(newest);
    Ok(count)
}
