//! Lets go of the journal's oldest blocks, and of what only they needed.
//!
//! The order makes a crash harmless: first it is written that the seqs are gone,
//! then readers are told, then rows go, block by block.

use std::time::Duration;

use super::block::{Block, Entry};
use super::engine::{Batch, Engine, Row};
use super::error::{StoreError, Trouble};
use super::row::{self, Stamp};
use super::state::Retained;
use super::{Store, Writer, names, rewrite, runs};
use crate::clock::Timestamp;

/// Rows that one call removes, about.
const CALL_ROWS: u64 = 20_000;

/// How much of the past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Which events can be read.
    pub journal: Kept,
    /// How far questions about the past reach back; at least as far as the journal.
    pub history: Kept,
}

/// The end of the journal that is kept: where both limits meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What is younger than this,
    pub age: Duration,
    /// and no more than so many events.
    pub events_max: u64,
}

impl Kept {
    /// All that is younger than `age`.
    pub fn for_age(age: Duration) -> Kept {
        Kept { age, events_max: u64::MAX }
    }

    /// What either keeps, or more.
    fn or(self, other: Kept) -> Kept {
        Kept { age: self.age.max(other.age), events_max: self.events_max.max(other.events_max) }
    }
}

/// What one call of [`Store::prune`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Journal blocks that went.
    pub blocks: u64,
    /// Call again: there is more.
    pub more: bool,
}

impl Store {
    /// Lets go of what is beyond the retention: a bounded piece of it.
    pub fn prune(&self, now: Timestamp, retention: &Retention) -> Result<Pruned, StoreError> {
        let mut writer = self.writer();
        self.mend_writer(&mut writer)?;
        let first = |kept: Kept| {
            let aged = self.find_seq_at(&writer.head, now.minus(kept.age))?;
            let counted = (writer.head.marker.last_seq + 1).saturating_sub(kept.events_max);
            Ok::<u64, StoreError>(aged.map_or(0, |seq| seq + 1).max(counted))
        };
        let history = retention.history.or(retention.journal);
        let (oldest, floor) = (first(retention.journal)?, first(history)?);
        let blocks = self.on_engine(|engine| expired(engine, floor))?;
        let done = self.forget(&mut writer, oldest, &blocks)?;
        if done > 0 {
            self.on_engine(rewrite::keep_count)?;
        }
        let floor = writer.head.retained.floor;
        let dirs: Vec<u32> = writer.head.dirs.values().map(|dir| dir.id).collect();
        let finished = self.on_engine(|engine| {
            let mut left = CALL_ROWS;
            for dir in dirs {
                left -= runs::prune(engine, dir, floor, left)?;
            }
            Ok(left > 0 && bury(engine, floor)?)
        })?;
        Ok(Pruned { blocks: done, more: blocks.more || !finished })
    }

    fn forget(
        &self,
        writer: &mut Writer,
        oldest: u64,
        expired: &Expired,
    ) -> Result<u64, StoreError> {
        let before = writer.head.retained;
        let floor = expired.blocks.last().map_or(before.floor, |(_, block)| block.next_seq());
        let floor = floor.max(before.floor);
        let since = expired.state_since(floor).or(writer.head.floor_since);
        let retained = Retained { oldest: oldest.max(before.oldest).max(floor), floor };
        if retained != before {
            self.on_engine(|engine| {
                let mut batch = Batch::default();
                batch.put_encoded(row::RETAINED.to_vec(), &retained)?;
                if let Some(since) = since {
                    batch.put_encoded(row::FLOOR.to_vec(), &(floor, since))?;
                }
                engine.write(&mut batch)
            })?;
            writer.head.retained = retained;
            writer.head.floor_since = since;
            self.publish(&writer.head);
        }
        for (row, block) in &expired.blocks {
            self.on_engine(|engine| remove(engine, row, block))?;
        }
        Ok(expired.blocks.len() as u64)
    }
}

/// The oldest blocks, as many as one call may remove.
struct Expired {
    blocks: Vec<(Row, Block)>,
    more: bool,
}

impl Expired {
    /// When the state before `floor` came to be: with its last event. A block
    /// without events may be much younger, and moves no seq.
    fn state_since(&self, floor: u64) -> Option<u64> {
        let mut told = self.blocks.iter().rev().filter(|(_, block)| block.has_events());
        let (_, last) = told.next()?;
        (last.next_seq() == floor).then_some(last.occurred_at)
    }
}

/// The blocks all of whose events are below `floor`.
fn expired(engine: &Engine, floor: u64) -> Result<Expired, Trouble> {
    let mut blocks = Vec::new();
    let mut rows = 0;
    for found in engine.rows(row::BLOCKS)? {
        let found = found?;
        let block = Block::read(&found)?;
        if block.next_seq() > floor {
            break;
        }
        if rows >= CALL_ROWS {
            return Ok(Expired { blocks, more: true });
        }
        rows += 1 + block.entries.iter().map(rows_of).sum::<u64>();
        blocks.push((found, block));
    }
    Ok(Expired { blocks, more: false })
}

fn rows_of(entry: &Entry) -> u64 {
    match entry {
        Entry::Edges { .. } | Entry::Notice { .. } => 0,
        _ => 1,
    }
}

/// Removes a block and the versions that were replaced in it.
fn remove(engine: &Engine, row: &Row, block: &Block) -> Result<(), Trouble> {
    let mut batch = Batch::default();
    for (seq, entry) in block.numbered() {
        remove_versions(engine, block, seq, entry, &mut batch)?;
        engine.write_if_full(&mut batch)?;
    }
    batch.remove_row(row);
    engine.write(&mut batch)
}

/// Versions before the one that the entry put: no later event shows them.
fn remove_versions(
    engine: &Engine,
    block: &Block,
    seq: u64,
    entry: &Entry,
    batch: &mut Batch,
) -> Result<(), Trouble> {
    let is_new = entry.is_first_of_its_slot(block.baseline);
    let Some(touched) = entry.touched().filter(|_| !is_new) else { return Ok(()) };
    let object = (block.dir, touched.kind, touched.slot);
    let stamp = block.stamp(touched, seq);
    let start = row::version(block.dir, touched.kind, touched.slot, Stamp { seq: 0, sub: 0 });
    let prefix = row::versions_of(block.dir, touched.kind, touched.slot);
    for found in engine.rows_from(&prefix, &start)? {
        let found = found?;
        let (_, at) = row::read_version(&found.key)?;
        if at > stamp || (at == stamp && !touched.deleted) {
            break;
        }
        names::forget(engine, object, found.bytes(), stamp.seq, batch)?;
        batch.remove_row(&found);
    }
    Ok(())
}

/// Removes rows of directories that were cleared: their memberships at once,
/// their versions when no kept event shows them. Returns whether all is done.
fn bury(engine: &Engine, floor: u64) -> Result<bool, Trouble> {
    let mut batch = Batch::default();
    let mut left = CALL_ROWS;
    for found in engine.rows(row::DEAD)? {
        let found = found?;
        let (dir, until) = (row::read_dead(&found.key)?, found.decode::<u64>()?);
        let versions = (until < floor).then(|| row::all_versions(dir));
        let prefixes = [
            row::edges(dir),
            row::waiting(dir),
            row::unresolved(dir),
            row::history(dir),
            row::names(dir),
        ];
        for prefix in prefixes.into_iter().chain(versions.clone()) {
            for found in engine.rows(&prefix)? {
                if left == 0 {
                    engine.write(&mut batch)?;
                    return Ok(false);
                }
                left -= 1;
                batch.remove_row(&found?);
                engine.write_if_full(&mut batch)?;
            }
        }
        if versions.is_some() {
            batch.remove_row(&found);
        }
    }
    engine.write(&mut batch)?;
    Ok(true)
}
