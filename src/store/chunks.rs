//! Memberships as rows: the members of one group and layer, up to 1,000 in each.
//!
//! A random change reads, decodes and logs a page of its own, so that changes are
//! not merged as they are committed: they wait ([`super::waiting`]), all but a
//! directory's first ones.

use std::collections::BTreeMap;

use super::engine::{Batch, Engine, Row};
use super::error::Trouble;
use super::row;
use crate::model::Layer;

/// Members in one row, at most.
const CHUNK_MEMBERS: usize = if cfg!(test) { 4 } else { 1000 };

/// Changes of one list: members, and whether they came; in order.
pub(super) type Changes = Vec<(u32, bool)>;
/// Changes by group and layer.
pub(super) type Lists = BTreeMap<(u32, Layer), Changes>;

/// Some chunks of one group and layer, each with its first possible member.
struct Chunks {
    /// Whether the group and layer has, or had, more than one chunk.
    more: bool,
    chunks: Vec<(u32, Option<Row>)>,
}

/// Sorts changes by member, and leaves the last word on each.
pub(super) fn sort(changes: &mut Changes) {
    changes.sort_by_key(|(member, _)| *member);
    // The later of two takes the place of the earlier one, which goes.
    changes.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            earlier.1 = later.1;
        }
        same
    });
}

/// The members after the changes; both sorted.
pub(super) fn merge(present: &[u32], changes: &[(u32, bool)]) -> Vec<u32> {
    let mut merged = Vec::with_capacity(present.len() + changes.len());
    let mut present = present.iter().copied().peekable();
    for &(member, added) in changes {
        merged.extend(std::iter::from_fn(|| present.next_if(|other| *other < member)));
        present.next_if_eq(&member);
        if added {
            merged.push(member);
        }
    }
    merged.extend(present);
    merged
}

/// Merges sorted changes into the chunks of one group and layer.
pub(super) fn change(
    engine: &Engine,
    dir: u32,
    (group, layer): (u32, Layer),
    changes: &[(u32, bool)],
    batch: &mut Batch,
) -> Result<(), Trouble> {
    let (Some(&(first, _)), Some(&(last, _))) = (changes.first(), changes.last()) else {
        return Ok(());
    };
    let Chunks { more, chunks } = chunks(engine, dir, (group, layer), first, last)?;
    for (index, (from, row)) in chunks.iter().enumerate() {
        let next = chunks.get(index + 1).map(|(from, _)| *from);
        let changes = between(changes, *from, next);
        if changes.is_empty() {
            continue;
        }
        let mut present = Vec::new();
        if let Some(row) = row {
            batch.replaces(row);
            present = row::read_members(row)?.1;
        }
        let merged = merge(&present, changes);
        let is_needed = row.is_some() || !merged.is_empty();
        if is_needed {
            put(batch, dir, (group, layer, *from), more, &merged);
            engine.write_if_full(batch)?;
        }
    }
    Ok(())
}

/// Removes all rows of a group.
pub(super) fn forget(
    engine: &Engine,
    dir: u32,
    group: u32,
    batch: &mut Batch,
) -> Result<(), Trouble> {
    for layer in [Layer::Listed, Layer::Declared, Layer::Subgroup] {
        let prefix = row::edges_of(dir, group, layer);
        engine.remove_from(&prefix, &prefix, batch)?;
    }
    Ok(())
}

/// The chunks that `first..=last` fall into; the first one always exists.
fn chunks(
    engine: &Engine,
    dir: u32,
    (group, layer): (u32, Layer),
    first: u32,
    last: u32,
) -> Result<Chunks, Trouble> {
    let key = |from| row::chunk(dir, group, layer, from);
    let Some(only) = engine.get(&key(0))? else {
        return Ok(Chunks { more: false, chunks: vec![(0, None)] });
    };
    // Nearly all groups have one chunk, and `get` is the cheapest read.
    if !row::has_more(&only)? {
        return Ok(Chunks { more: false, chunks: vec![(0, Some(only))] });
    }
    let start = engine.last(&key(0), &key(first))?.map_or(key(0), |row| row.key);
    let mut chunks = Vec::new();
    for found in engine.rows_from(&row::edges_of(dir, group, layer), &start)? {
        let found = found?;
        let (_, _, from) = row::read_chunk(&found.key)?;
        if from > last {
            break;
        }
        chunks.push((from, Some(found)));
    }
    Ok(Chunks { more: true, chunks })
}

/// Writes a chunk, as several where it got too long. An empty one goes, unless
/// there may be others behind it, which are found by the first.
fn put(
    batch: &mut Batch,
    dir: u32,
    (group, layer, from): (u32, Layer, u32),
    more: bool,
    members: &[u32],
) {
    let key = |from| row::chunk(dir, group, layer, from);
    if members.is_empty() && (from != 0 || !more) {
        return batch.remove(key(from));
    }
    if members.len() <= CHUNK_MEMBERS {
        return batch.put(key(from), &row::members(more, members));
    }
    for (index, piece) in members.chunks(CHUNK_MEMBERS * 3 / 4).enumerate() {
        let from = if index == 0 { from } else { piece.first().copied().unwrap_or(from) };
        batch.put(key(from), &row::members(true, piece));
    }
}

/// The changes at or after `from` and before `next`.
fn between(changes: &[(u32, bool)], from: u32, next: Option<u32>) -> &[(u32, bool)] {
    let before = |limit: u32| changes.partition_point(|(member, _)| *member < limit);
    let end = next.map_or(changes.len(), before);
    changes.get(before(from)..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_each_member_stands() {
        let mut changes = vec![(7, true), (3, false), (7, false), (3, true), (5, true), (3, false)];
        sort(&mut changes);
        assert_eq!(changes, [(3, false), (5, true), (7, false)]);
        assert_eq!(merge(&[3, 4, 7], &changes), [4, 5]);
    }
}
