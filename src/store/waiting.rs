//! Membership changes that wait to be merged into chunks.
//!
//! A commit of a hundred thousand memberships touches nearly as many chunks,
//! each with a page of its own. So its changes are written as they are, sorted by
//! group: a few rows. What is a member is said by the chunks and then, in order,
//! by what waits. Once enough waits it is merged, chunk by chunk, each once
//! for all the commits; a piece at a time, so that commits go on between the pieces.
//!
//! Saying a last word again changes nothing, so a merge that a crash cut short is
//! simply begun anew: what waited goes when all of it was merged. And what is
//! merged is always the oldest that waits, up to some commit, so that nothing older
//! is said after something younger.

use std::collections::btree_map;
use std::iter::Peekable;

use super::chunks::{self, Lists};
use super::engine::{Batch, Engine};
use super::error::{StoreError, Trouble};
use super::row;
use super::state::Head;
use super::{Store, Writer};
use crate::model::Layer;

/// Encoded changes in one row, about.
const ROW_BYTES: usize = if cfg!(test) { 20 } else { 3500 };
/// Rows that may wait before they are merged: about 400,000 changes, which a
/// restart reads in a quarter of a second.
const ROWS_MAX: usize = if cfg!(test) { 6 } else { 500 };
/// Lists that one call merges.
const PIECE_LISTS: usize = if cfg!(test) { 3 } else { 4_000 };

/// A merge under way: what waited in one directory when it began.
#[derive(Debug)]
pub struct Merging {
    /// Of the store that it was read from.
    epoch: u64,
    /// Which of the store's merges it is.
    number: u64,
    dir: u32,
    /// The last commit that is merged.
    until: u64,
    lists: Peekable<btree_map::IntoIter<(u32, Layer), chunks::Changes>>,
}

impl Store {
    /// Begins a merge where enough waits for one; `None` when nowhere. One that
    /// was begun before is over: what is older must not be merged beside this.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn merging(&self) -> Result<Option<Merging>, StoreError> {
        let mut writer = self.writer();
        self.mend_writer(&mut writer)?;
        self.begin(&mut writer, ROWS_MAX)
    }

    fn begin(&self, writer: &mut Writer, rows_max: usize) -> Result<Option<Merging>, StoreError> {
        let marker = &writer.head.marker;
        let (epoch, until, number) = (marker.epoch, marker.commit, writer.merges + 1);
        let begun = self.on_engine(|engine| {
            let Some(dir) = due(engine, &writer.head, rows_max)? else { return Ok(None) };
            let lists = read(engine, dir)?.into_iter().peekable();
            Ok(Some(Merging { epoch, number, dir, until, lists }))
        })?;
        writer.merges = number;
        Ok(begun)
    }

    /// Merges all that waits, however little it is.
    #[cfg(test)]
    pub(crate) fn merge_all(&self) -> Result<(), StoreError> {
        loop {
            let Some(mut merging) = self.begin(&mut self.writer(), 1)? else { return Ok(()) };
            while self.merge(&mut merging)? {}
        }
    }

    /// Merges a piece of what waits. Returns whether there is more of it.
    ///
    /// # Errors
    /// When the store cannot be read or written; what waits goes on waiting.
    pub fn merge(&self, merging: &mut Merging) -> Result<bool, StoreError> {
        let mut writer = self.writer();
        self.mend_writer(&mut writer)?;
        let head = &writer.head;
        let stands = writer.merges == merging.number
            && head.marker.epoch == merging.epoch
            && head.dirs.values().any(|dir| dir.id == merging.dir);
        if !stands {
            return Ok(false);
        }
        self.on_engine(|engine| step(engine, merging))
    }
}

/// The first directory in which so many rows wait.
fn due(engine: &Engine, head: &Head, rows_max: usize) -> Result<Option<u32>, Trouble> {
    for dir in head.dirs.values() {
        let mut rows = engine.rows(&row::waiting(dir.id))?;
        if rows.nth(rows_max - 1).transpose()?.is_some() {
            return Ok(Some(dir.id));
        }
    }
    Ok(None)
}

/// Writes the changes of one commit, or the `part` of them that came to hand,
/// sorted and with one word on each member.
pub(super) fn write(
    engine: &Engine,
    (dir, commit, part): (u32, u64, u32),
    lists: &Lists,
    batch: &mut Batch,
) -> Result<(), Trouble> {
    let mut row = Vec::new();
    let (mut piece, mut before) = (0, 0);
    for (&(group, layer), changes) in lists {
        for &(member, added) in changes {
            row::put_number(
                &mut row,
                u64::from(group - before) << 2 | u64::from(row::layer_code(layer)),
            );
            row::put_number(&mut row, u64::from(member) << 1 | u64::from(added));
            before = group;
            if row.len() >= ROW_BYTES {
                batch.put(row::waiting_at(dir, commit, part, piece), &row);
                engine.write_if_full(batch)?;
                row.clear();
                (piece, before) = (piece + 1, 0);
            }
        }
    }
    if !row.is_empty() {
        batch.put(row::waiting_at(dir, commit, part, piece), &row);
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

fn step(engine: &Engine, merging: &mut Merging) -> Result<bool, Trouble> {
    let mut batch = Batch::default();
    for ((group, layer), changes) in merging.lists.by_ref().take(PIECE_LISTS) {
        chunks::change(engine, merging.dir, (group, layer), &changes, &mut batch)?;
        engine.write_if_full(&mut batch)?;
    }
    engine.write(&mut batch)?;
    if merging.lists.peek().is_some() {
        return Ok(true);
    }
    for found in engine.rows(&row::waiting(merging.dir))? {
        let found = found?;
        if row::read_waiting(&found.key)? > merging.until {
            break;
        }
        batch.remove_row(&found);
        engine.write_if_full(&mut batch)?;
    }
    engine.write(&mut batch)?;
    Ok(false)
}
