//! References that nobody is, by group, as rows.
//!
//! A short list is one row. In a longer one a change would write all of it anew,
//! and a leaver stays as a name of nobody in every group he was in: so it is
//! spread, by digests of its names, and a change touches what it changes. Which
//! of the two a list is shows by the row of the whole; earlier versions had no
//! other. A list that was spread stays so until it is empty.
//!
//! Like memberships they are derived from blocks, which gives the same when it is
//! done twice: the row of the whole goes last when a list is spread.

use std::collections::{BTreeMap, BTreeSet};

use super::block::Name;
use super::engine::{Batch, Engine, Row};
use super::error::Trouble;
use super::row;
use crate::digest::sha256_number;
use crate::model::Reference;

/// Encoded references in the row of a whole list, at most.
const WHOLE_BYTES: usize = if cfg!(test) { 24 } else { 2000 };

/// Changes that wait to be written in the order of groups.
#[derive(Debug, Default)]
pub(super) struct Unresolved {
    groups: BTreeMap<u32, Changes>,
}

#[derive(Debug, Default)]
struct Changes {
    /// What was there before them goes.
    anew: bool,
    /// The last word on each name.
    names: BTreeMap<Name, bool>,
}

impl Unresolved {
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Takes names that came to the list of a group, or went from it.
    pub(super) fn gather(&mut self, group: u32, added: bool, names: &[Name]) {
        let changes = self.groups.entry(group).or_default();
        changes.names.extend(names.iter().map(|name| (name.clone(), added)));
    }

    /// Takes a complete list, as earlier versions told it.
    pub(super) fn replace(&mut self, group: u32, names: &[Name]) {
        self.groups.insert(group, Changes { anew: true, ..Changes::default() });
        self.gather(group, true, names);
    }

    /// Writes what was gathered, and forgets it.
    pub(super) fn write(
        &mut self,
        engine: &Engine,
        dir: u32,
        batch: &mut Batch,
    ) -> Result<(), Trouble> {
        for (group, changes) in std::mem::take(&mut self.groups) {
            let key = row::unresolved_of(dir, group);
            if changes.anew {
                forget(engine, dir, group, batch)?;
                // What is read next must be in the database.
                engine.write(batch)?;
            }
            match engine.get(&key)? {
                None if engine.rows(&key)?.next().transpose()?.is_some() => {
                    change_spread(engine, (dir, group), &changes, batch)?;
                }
                whole => change_whole(engine, (dir, group), whole.as_ref(), &changes, batch)?,
            }
            engine.write_if_full(batch)?;
        }
        Ok(())
    }
}

/// Removes the whole list of a group.
pub(super) fn forget(
    engine: &Engine,
    dir: u32,
    group: u32,
    batch: &mut Batch,
) -> Result<(), Trouble> {
    let prefix = row::unresolved_of(dir, group);
    engine.remove_from(&prefix, &prefix, batch)
}

/// Hands out the list of each group that has one.
pub(super) fn visit(
    engine: &Engine,
    dir: u32,
    take: &mut dyn FnMut(u32, Vec<Reference>),
) -> Result<(), Trouble> {
    let mut of: Option<(u32, Vec<Reference>)> = None;
    for found in engine.rows(&row::unresolved(dir))? {
        let found = found?;
        let group = row::read_unresolved(&found.key)?;
        if let Some((before, list)) = of.take_if(|(before, _)| *before != group) {
            take(before, list);
        }
        let names = found.decode::<Vec<Name>>()?.into_iter().map(Reference::from);
        of.get_or_insert_with(|| (group, Vec::new())).1.extend(names);
    }
    if let Some((group, list)) = of {
        take(group, list);
    }
    Ok(())
}

/// Changes a list that is one row, or none yet; spreads it when it gets long.
fn change_whole(
    engine: &Engine,
    (dir, group): (u32, u32),
    whole: Option<&Row>,
    changes: &Changes,
    batch: &mut Batch,
) -> Result<(), Trouble> {
    let mut names: BTreeSet<Name> = whole.map(Row::decode).transpose()?.unwrap_or_default();
    change(&mut names, changes.names.iter());
    let payload = row::encode(&names)?;
    let is_short = payload.len() <= WHOLE_BYTES;
    if !is_short {
        for (digest, names) in by_digest(names.iter().map(|name| (name, &true)))? {
            let names: Vec<&Name> = names.into_iter().map(|(name, _)| name).collect();
            batch.put_encoded(row::unresolved_at(dir, group, digest), &names)?;
            engine.write_if_full(batch)?;
        }
    }
    if let Some(whole) = whole {
        batch.remove_row(whole);
    }
    if is_short && !names.is_empty() {
        // In the same batch, where the last word on a key counts.
        batch.put(row::unresolved_of(dir, group), &payload);
    }
    Ok(())
}

fn change_spread(
    engine: &Engine,
    (dir, group): (u32, u32),
    changes: &Changes,
    batch: &mut Batch,
) -> Result<(), Trouble> {
    for (digest, changes) in by_digest(changes.names.iter())? {
        let key = row::unresolved_at(dir, group, digest);
        let found = engine.get(&key)?;
        let mut names: BTreeSet<Name> =
            found.as_ref().map(Row::decode).transpose()?.unwrap_or_default();
        change(&mut names, changes.into_iter());
        if let Some(found) = &found {
            batch.remove_row(found);
        }
        if !names.is_empty() {
            batch.put_encoded(key, &names)?;
        }
        engine.write_if_full(batch)?;
    }
    Ok(())
}

fn change<'a>(names: &mut BTreeSet<Name>, changes: impl Iterator<Item = (&'a Name, &'a bool)>) {
    for (name, added) in changes {
        if *added {
            names.insert(name.clone());
        } else {
            names.remove(name);
        }
    }
}

type Said<'a> = (&'a Name, &'a bool);

fn by_digest<'a>(
    names: impl Iterator<Item = Said<'a>>,
) -> Result<BTreeMap<u64, Vec<Said<'a>>>, Trouble> {
    let mut by_digest: BTreeMap<u64, Vec<Said<'a>>> = BTreeMap::new();
    for said in names {
        by_digest.entry(digest(said.0)?).or_default().push(said);
    }
    Ok(by_digest)
}

/// Names whose digests agree share a row. In tests many do.
fn digest(name: &Name) -> Result<u64, Trouble> {
    let digest = sha256_number(&row::encode(name)?);
    Ok(if cfg!(test) { digest % 16 } else { digest })
}
