//! Membership changes that wait to be merged into chunks.
//!
//! A commit of a hundred thousand memberships touches nearly as many chunks,
//! each with a page of its own. So its changes are written as they are, sorted by
//! group: a few rows. What is a member is said by the chunks and then, in order,
//! by what waits. Once enough waits, the oldest of it is merged, each chunk once
//! for many commits; a piece at a time, so that commits go on between the pieces.
//!
//! Saying a last word again changes nothing, so a merge that was cut short is
//! begun anew: what waited goes when all of it was merged. Two things must not
//! happen, and [`Writer::merge`] sees to it. Nothing older may be said after
//! something younger: so only the merge that was begun last goes on. And
//! nothing may go that was not merged: so none goes on after an error, nor after the
//! database was opened again, which may have lost the last pieces.

use std::collections::btree_map;
use std::iter::Peekable;

use super::chunks::{self, Lists};
use super::engine::{Batch, Engine};
use super::error::{StoreError, Trouble};
use super::{Store, Writer, rewrite, row};
use crate::model::Layer;

/// Encoded changes in one row, about.
const ROW_BYTES: usize = if cfg!(test) { 20 } else { 3500 };
/// From so many rows on they are merged: about 400,000 changes, which a restart
/// reads in a quarter of a second.
const ROWS_DUE: usize = if cfg!(test) { 6 } else { 500 };
/// Rows that one merge takes.
const ROWS_TAKEN: usize = if cfg!(test) { 9 } else { 1_000 };
/// Beyond so many rows loading merges first, so as not to hold all of them.
const ROWS_LOADED: usize = if cfg!(test) { 20 } else { 4_000 };
/// Lists that one call merges, and changes of them, about.
const PIECE_LISTS: usize = if cfg!(test) { 3 } else { 4_000 };
const PIECE_CHANGES: usize = if cfg!(test) { 20 } else { 20_000 };
/// Changes of one list that are merged at a time, so that no batch gets large.
const SLICE: usize = if cfg!(test) { 5 } else { 100_000 };

/// A merge under way.
#[derive(Debug)]
pub struct Merging {
    /// Which of the store's merges it is.
    number: u64,
    taken: Taken,
}

/// The oldest of what waits in one directory.
#[derive(Debug)]
struct Taken {
    dir: u32,
    /// The key of its last row.
    last: Vec<u8>,
    lists: Peekable<btree_map::IntoIter<(u32, Layer), chunks::Changes>>,
}

/// Which changes those are that wait together: a directory's, of a commit, or the
/// so manieth part of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub dir: u32,
    pub commit: u64,
    pub part: u32,
}

impl Store {
    /// Begins a merge where enough waits for one; `None` when nowhere. One that
    /// was begun before is over.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn begin_merge(&self) -> Result<Option<Merging>, StoreError> {
        self.begin_merge_of(ROWS_DUE)
    }

    /// Merges a piece of what was taken. Returns whether there is more of it.
    ///
    /// # Errors
    /// When the store cannot be read or written: the merge is over, and what waits
    /// goes on waiting.
    pub fn merge(&self, merging: &mut Merging) -> Result<bool, StoreError> {
        let mut writer = self.writer();
        self.mend_writer(&mut writer)?;
        if writer.merge != merging.number {
            return Ok(false);
        }
        let dir = merging.taken.dir;
        if !writer.head.dirs.values().any(|stands| stands.id == dir) {
            return Ok(false);
        }
        let piece = self.on_engine(|engine| step(engine, &mut merging.taken));
        piece.inspect_err(|_| writer.end_merge())
    }

    fn begin_merge_of(&self, rows_due: usize) -> Result<Option<Merging>, StoreError> {
        let mut writer = self.writer();
        self.mend_writer(&mut writer)?;
        writer.end_merge();
        let number = writer.merge;
        let taken = self.on_engine(|engine| {
            for dir in writer.head.dirs.values() {
                if is_due(engine, dir.id, rows_due)? {
                    return take(engine, dir.id);
                }
            }
            Ok(None)
        })?;
        Ok(taken.map(|taken| Merging { number, taken }))
    }

    /// Merges all that waits, however little it is.
    #[cfg(test)]
    pub(crate) fn merge_all(&self) -> Result<(), StoreError> {
        while let Some(mut merging) = self.begin_merge_of(1)? {
            while self.merge(&mut merging)? {}
        }
        Ok(())
    }
}

impl Writer {
    /// No merge that was begun so far goes on.
    pub(super) fn end_merge(&mut self) {
        self.merge += 1;
    }
}

/// Writes changes that are sorted and have one word on each member.
pub(super) fn write(
    engine: &Engine,
    of: Part,
    lists: &Lists,
    batch: &mut Batch,
) -> Result<(), Trouble> {
    let key = |piece| row::waiting_at(of.dir, of.commit, of.part, piece);
    let mut row = Vec::new();
    let (mut piece, mut before) = (0, 0);
    for (&(group, layer), changes) in lists {
        let layer = u64::from(row::layer_code(layer));
        for &(member, added) in changes {
            row::put_number(&mut row, u64::from(group - before) << 2 | layer);
            row::put_number(&mut row, u64::from(member) << 1 | u64::from(added));
            before = group;
            if row.len() >= ROW_BYTES {
                batch.put(key(piece), &row);
                engine.write_if_full(batch)?;
                row.clear();
                (piece, before) = (piece + 1, 0);
            }
        }
    }
    if !row.is_empty() {
        batch.put(key(piece), &row);
    }
    Ok(())
}

/// What waits in a directory: sorted, with one word on each member.
pub(super) fn read(engine: &Engine, dir: u32) -> Result<Lists, Trouble> {
    let mut lists = Lists::new();
    for found in engine.rows(&row::waiting(dir))? {
        let found = found?;
        unpack(&found.key, found.bytes(), &mut lists)?;
    }
    lists.values_mut().for_each(chunks::sort);
    Ok(lists)
}

/// Whether so much waits that [`read`] should not hold it.
pub(super) fn is_much(engine: &Engine, dir: u32) -> Result<bool, Trouble> {
    is_due(engine, dir, ROWS_LOADED)
}

/// Merges until that is so no longer. No other merge may go on.
pub(super) fn thin_out(engine: &Engine, dir: u32) -> Result<(), Trouble> {
    while is_much(engine, dir)? {
        let Some(mut taken) = take(engine, dir)? else { break };
        while step(engine, &mut taken)? {}
    }
    Ok(())
}

/// Removes what an attempt at a commit left that was not finished.
pub(super) fn forget(engine: &Engine, dir: u32, commit: u64) -> Result<(), Trouble> {
    let mut batch = Batch::default();
    engine.remove_from(&row::waiting(dir), &row::waiting_at(dir, commit, 0, 0), &mut batch)?;
    engine.write(&mut batch)
}

/// Adds the changes in the row at `key`.
pub(super) fn unpack(key: &[u8], payload: &[u8], lists: &mut Lists) -> Result<(), Trouble> {
    let mut group = 0u32;
    let mut numbers = row::numbers(payload);
    while let Some(head) = numbers.next() {
        let word = numbers.next().ok_or_else(|| row::damaged(key, "it is cut off"))?;
        group = group.wrapping_add((head >> 2) as u32);
        let list = lists.entry((group, row::layer_of(head & 3)?)).or_default();
        list.push(((word >> 1) as u32, word & 1 != 0));
    }
    Ok(())
}

/// Whether at least so many rows wait.
fn is_due(engine: &Engine, dir: u32, rows: usize) -> Result<bool, Trouble> {
    let last = engine.rows(&row::waiting(dir))?.nth(rows.saturating_sub(1));
    Ok(last.transpose()?.is_some())
}

/// The oldest rows; `None` when there are none.
fn take(engine: &Engine, dir: u32) -> Result<Option<Taken>, Trouble> {
    let (mut lists, mut last) = (Lists::new(), None);
    for found in engine.rows(&row::waiting(dir))?.take(ROWS_TAKEN) {
        let found = found?;
        unpack(&found.key, found.bytes(), &mut lists)?;
        last = Some(found.key);
    }
    lists.values_mut().for_each(chunks::sort);
    Ok(last.map(|last| Taken { dir, last, lists: lists.into_iter().peekable() }))
}

fn step(engine: &Engine, taken: &mut Taken) -> Result<bool, Trouble> {
    let mut batch = Batch::default();
    let (mut lists, mut merged) = (0, 0);
    while lists < PIECE_LISTS
        && merged < PIECE_CHANGES
        && let Some((list, changes)) = taken.lists.next()
    {
        for slice in changes.chunks(SLICE) {
            chunks::change(engine, taken.dir, list, slice, &mut batch)?;
            if slice.len() == SLICE {
                // What is read next must be in the database.
                engine.write(&mut batch)?;
            }
        }
        engine.write_if_full(&mut batch)?;
        lists += 1;
        merged += changes.len();
    }
    engine.write(&mut batch)?;
    if taken.lists.peek().is_some() {
        return Ok(true);
    }
    for found in engine.rows(&row::waiting(taken.dir))? {
        let found = found?;
        if found.key > taken.last {
            break;
        }
        batch.remove_row(&found);
        engine.write_if_full(&mut batch)?;
    }
    engine.write(&mut batch)?;
    rewrite::keep_count(engine)?;
    Ok(false)
}
