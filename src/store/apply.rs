//! From the journal to the state: the second half of a commit, and all of recovery.
//!
//! Every step gives the same result when done twice, so a crash in the middle
//! is mended by doing all of it again.

use std::collections::BTreeMap;

use super::block::{Block, Entry};
use super::engine::{Batch, Engine, Row};
use super::error::Trouble;
use super::names;
use super::row;
use super::runs::Runs;
use super::state::Marker;
use super::unresolved::{self, Unresolved};
use crate::model::Layer;

/// Members in one row of memberships, at most.
const CHUNK_MEMBERS: usize = if cfg!(test) { 4 } else { 1000 };
/// Membership changes that are gathered before they are written in the order of
/// groups, each chunk once.
const GATHERED: usize = if cfg!(test) { 9 } else { 300_000 };

/// Derives the state of the commit that the marker names, and writes that it is done.
pub(super) fn apply(engine: &Engine, marker: &Marker) -> Result<(), Trouble> {
    let mut state = State::new(engine);
    let mut expected = marker.first_block;
    for block in blocks_of(engine, marker)? {
        let block = block?;
        if block.number != expected || block.commit != marker.commit {
            return Err(Trouble::Damaged(format!("journal block {expected} is missing")));
        }
        expected += 1;
        state.block(&block)?;
    }
    if expected != marker.next_block {
        return Err(Trouble::Damaged(format!("journal block {expected} is missing")));
    }
    state.finish(marker)
}

/// Removes what a commit wrote that never reached its marker.
pub(super) fn drop_beyond(engine: &Engine, marker: &Marker) -> Result<(), Trouble> {
    let mut batch = Batch::default();
    let from = row::block(marker.last_seq + 1, marker.next_block);
    for found in engine.rows_from(row::BLOCKS, &from)? {
        let found = found?;
        let block = Block::read(&found)?;
        for (seq, entry) in block.numbered() {
            if let Some(touched) = entry.touched() {
                let stamp = block.stamp(touched, seq);
                let key = row::version(block.dir, touched.kind, touched.slot, stamp);
                if let Some(version) = engine.get(&key)? {
                    batch.remove_row(&version);
                }
            }
        }
        batch.remove_row(&found);
        engine.write(&mut batch)?;
    }
    Ok(())
}

/// The blocks of the marker's commit, in order.
pub(super) fn blocks_of<'a>(
    engine: &'a Engine,
    marker: &Marker,
) -> Result<impl Iterator<Item = Result<Block, Trouble>> + use<'a>, Trouble> {
    let next = marker.next_block;
    let rows = engine.rows_from(row::BLOCKS, &row::block(marker.first_seq, marker.first_block))?;
    Ok(rows
        .map(|found| found.and_then(|row| Block::read(&row)))
        .take_while(move |block| block.as_ref().map_or(true, |block| block.number < next)))
}

struct State<'a> {
    engine: &'a Engine,
    batch: Batch,
    dir: u32,
    /// By group and layer: members, and whether they came.
    edges: BTreeMap<(u32, Layer), Vec<(u32, bool)>>,
    unresolved: Unresolved,
    gathered: usize,
    runs: Runs,
}

impl<'a> State<'a> {
    fn new(engine: &'a Engine) -> State<'a> {
        State {
            engine,
            batch: Batch::default(),
            dir: 0,
            edges: BTreeMap::new(),
            unresolved: Unresolved::default(),
            gathered: 0,
            runs: Runs::default(),
        }
    }

    fn block(&mut self, block: &Block) -> Result<(), Trouble> {
        if block.dir != self.dir {
            self.settle()?;
            self.dir = block.dir;
        }
        for (seq, entry) in block.numbered() {
            self.names(block, seq, entry)?;
            match entry {
                Entry::Edges { group, layer, added, visible, packed, .. } => {
                    let layer = row::layer_of(u64::from(*layer))?;
                    let members = row::unpack(packed);
                    if *visible && !block.baseline {
                        self.runs.gather(seq, *group, layer, *added, &members);
                    }
                    self.gathered += members.len();
                    let edges = self.edges.entry((*group, layer)).or_default();
                    edges.extend(members.iter().map(|member| (*member, *added)));
                }
                Entry::GroupDeleted { slot, .. } => self.forget_group(*slot)?,
                Entry::Unresolved { group, added, references } => {
                    self.gathered += references.len();
                    self.unresolved.gather(*group, *added, references);
                }
                Entry::AllUnresolved { group, references } => {
                    self.gathered += references.len();
                    self.unresolved.replace(*group, references);
                }
                // Their rows are versions, which were written with the block.
                Entry::User { .. }
                | Entry::Group { .. }
                | Entry::UserDeleted { .. }
                | Entry::Cleared
                | Entry::Notice { .. } => {}
            }
            self.engine.write_if_full(&mut self.batch)?;
        }
        if self.gathered >= GATHERED { self.settle() } else { Ok(()) }
    }

    /// Notes the names that an entry takes away. A new object had none before.
    fn names(&mut self, block: &Block, seq: u64, entry: &Entry) -> Result<(), Trouble> {
        if entry.is_first_of_its_slot(block.baseline) {
            return Ok(());
        }
        let Some(touched) = entry.touched() else { return Ok(()) };
        let object = (block.dir, touched.kind, touched.slot);
        names::note(self.engine, object, block.stamp(touched, seq), &mut self.batch)
    }

    fn finish(&mut self, marker: &Marker) -> Result<(), Trouble> {
        self.settle()?;
        for dir in &marker.gone {
            self.batch.remove(row::directory(*dir));
            self.batch.put_encoded(row::dead(*dir), &marker.last_seq)?;
        }
        if let Some(dir) = &marker.directory {
            self.batch.put_encoded(row::directory(dir.id), dir)?;
        }
        self.batch.put_encoded(row::APPLIED.to_vec(), &marker.commit)?;
        if let Some(live) = self.engine.live() {
            self.batch.put_encoded(row::LIVE.to_vec(), &live)?;
        }
        self.engine.write(&mut self.batch)
    }

    /// Writes what was gathered.
    fn settle(&mut self) -> Result<(), Trouble> {
        for ((group, layer), mut changes) in std::mem::take(&mut self.edges) {
            changes.sort_by_key(|(member, _)| *member);
            self.change_edges(group, layer, &last_of_each(&changes))?;
            self.engine.write_if_full(&mut self.batch)?;
        }
        self.unresolved.write(self.engine, self.dir, &mut self.batch)?;
        self.gathered = 0;
        self.runs.write(self.engine, self.dir, &mut self.batch)?;
        // What is read next must be in the database.
        self.engine.write(&mut self.batch)
    }

    /// Merges sorted changes into the chunks of one group and layer.
    fn change_edges(
        &mut self,
        group: u32,
        layer: Layer,
        changes: &[(u32, bool)],
    ) -> Result<(), Trouble> {
        let (Some(&(first, _)), Some(&(last, _))) = (changes.first(), changes.last()) else {
            return Ok(());
        };
        let Chunks { more, chunks } = self.chunks(group, layer, first, last)?;
        for (index, (from, row)) in chunks.iter().enumerate() {
            let next = chunks.get(index + 1).map(|(from, _)| *from);
            let changes = between(changes, *from, next);
            if changes.is_empty() {
                continue;
            }
            let mut present = Vec::new();
            if let Some(row) = row {
                self.batch.replaces(row);
                present = row::read_members(row)?.1;
            }
            self.put_chunk((group, layer, *from), more, &merge(&present, changes));
        }
        Ok(())
    }

    /// The chunks that `first..=last` fall into; the first one always exists.
    fn chunks(&self, group: u32, layer: Layer, first: u32, last: u32) -> Result<Chunks, Trouble> {
        let key = |from| row::chunk(self.dir, group, layer, from);
        let Some(only) = self.engine.get(&key(0))? else {
            return Ok(Chunks { more: false, chunks: vec![(0, None)] });
        };
        // Nearly all groups have one chunk, and `get` is the cheapest read.
        if !row::has_more(&only)? {
            return Ok(Chunks { more: false, chunks: vec![(0, Some(only))] });
        }
        let start = self.engine.last(&key(0), &key(first))?.map_or(key(0), |row| row.key);
        let mut chunks = Vec::new();
        for found in self.engine.rows_from(&row::edges_of(self.dir, group, layer), &start)? {
            let found = found?;
            let (_, _, from) = row::read_chunk(&found.key)?;
            if from > last {
                break;
            }
            chunks.push((from, Some(found)));
        }
        Ok(Chunks { more: true, chunks })
    }

    fn put_chunk(&mut self, (group, layer, from): (u32, Layer, u32), more: bool, members: &[u32]) {
        let key = |from| row::chunk(self.dir, group, layer, from);
        if members.is_empty() && from != 0 {
            return self.batch.remove(key(from));
        }
        if members.len() <= CHUNK_MEMBERS {
            return self.batch.put(key(from), &row::members(more, members));
        }
        for (index, piece) in members.chunks(CHUNK_MEMBERS * 3 / 4).enumerate() {
            let from = if index == 0 { from } else { piece.first().copied().unwrap_or(from) };
            self.batch.put(key(from), &row::members(true, piece));
        }
    }

    /// Removes what is left of a deleted group's memberships: empty chunks, and
    /// references nobody resolved.
    fn forget_group(&mut self, group: u32) -> Result<(), Trouble> {
        if !self.edges.is_empty() || !self.unresolved.is_empty() {
            self.settle()?;
        }
        for layer in [Layer::Listed, Layer::Declared, Layer::Subgroup] {
            let prefix = row::edges_of(self.dir, group, layer);
            let rows: Vec<Row> = self.engine.rows(&prefix)?.collect::<Result<_, _>>()?;
            rows.iter().for_each(|row| self.batch.remove_row(row));
        }
        unresolved::forget(self.engine, self.dir, group, &mut self.batch)
    }
}

/// Some chunks of one group and layer, each with its first possible member.
struct Chunks {
    /// Whether the group and layer has, or had, more than one chunk.
    more: bool,
    chunks: Vec<(u32, Option<Row>)>,
}

/// The last word on each member.
fn last_of_each(changes: &[(u32, bool)]) -> Vec<(u32, bool)> {
    changes.chunk_by(|(a, _), (b, _)| a == b).filter_map(|of_one| of_one.last().copied()).collect()
}

/// The changes at or after `from` and before `next`.
fn between(changes: &[(u32, bool)], from: u32, next: Option<u32>) -> &[(u32, bool)] {
    let before = |limit: u32| changes.partition_point(|(member, _)| *member < limit);
    let end = next.map_or(changes.len(), before);
    changes.get(before(from)..end).unwrap_or_default()
}

/// The members after the changes; both lists ascending.
fn merge(present: &[u32], changes: &[(u32, bool)]) -> Vec<u32> {
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
