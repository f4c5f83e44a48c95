//! From the journal to the state: the second half of a commit, and all of recovery.
//!
//! Every step gives the same result when done twice, so a crash in the middle
//! is mended by doing all of it again.

use std::collections::HashSet;

use super::block::{Block, Entry};
use super::engine::{Batch, Engine, Row};
use super::error::Trouble;
use super::row::{self, Side};
use super::state::Marker;
use crate::model::Layer;

/// Members in one row of memberships, at most.
const CHUNK_MEMBERS: usize = if cfg!(test) { 4 } else { 1000 };

/// Derives the state of the commit that the marker names, and writes that it is done.
pub(super) fn apply(engine: &Engine, marker: &Marker) -> Result<(), Trouble> {
    let mut state = State { engine, batch: Batch::default(), touched: HashSet::new() };
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
        let block: Block = found.decode()?;
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
        .map(|found| found.and_then(|row| row.decode::<Block>()))
        .take_while(move |block| block.as_ref().map_or(true, |block| block.number < next)))
}

struct State<'a> {
    engine: &'a Engine,
    batch: Batch,
    /// Memberships in `batch` that the database does not show yet.
    touched: HashSet<(u32, Layer)>,
}

impl State<'_> {
    fn block(&mut self, block: &Block) -> Result<(), Trouble> {
        for (seq, entry) in block.numbered() {
            match entry {
                Entry::Edges { group, layer, added, visible, packed, .. } => {
                    let edges = Edges {
                        group: *group,
                        layer: row::layer_of(u64::from(*layer))?,
                        added: *added,
                        members: row::unpack(packed),
                    };
                    self.change_edges(block.dir, &edges)?;
                    if *visible && !block.baseline {
                        self.remember(block.dir, &edges, packed, seq)?;
                    }
                }
                Entry::GroupDeleted { slot, .. } => self.forget_group(block.dir, *slot)?,
                Entry::Unresolved { group, references } => {
                    let key = row::unresolved_of(block.dir, *group);
                    if references.is_empty() {
                        self.remove(&key)?;
                    } else {
                        self.batch.put_encoded(key, references)?;
                    }
                }
                // Their rows are versions, which were written with the block.
                Entry::User { .. }
                | Entry::Group { .. }
                | Entry::UserDeleted { .. }
                | Entry::Cleared
                | Entry::Notice { .. } => {}
            }
            self.write_if_full()?;
        }
        Ok(())
    }

    fn finish(&mut self, marker: &Marker) -> Result<(), Trouble> {
        for dir in &marker.gone {
            self.batch.remove(row::directory(*dir));
            self.batch.put_encoded(row::dead(*dir), &marker.last_seq)?;
        }
        if let Some(dir) = &marker.directory {
            self.batch.put_encoded(row::directory(dir.id), dir)?;
        }
        self.batch.put_encoded(row::APPLIED.to_vec(), &marker.commit)?;
        self.engine.write(&mut self.batch)
    }

    /// Merges members into the chunks of one group and layer.
    fn change_edges(&mut self, dir: u32, edges: &Edges) -> Result<(), Trouble> {
        let (Some(&first), Some(&last)) = (edges.members.first(), edges.members.last()) else {
            return Ok(());
        };
        if !self.touched.insert((edges.group, edges.layer)) {
            self.write()?;
            self.touched.insert((edges.group, edges.layer));
        }
        let chunks = self.chunks(dir, edges, first, last)?;
        for (index, (from, present)) in chunks.iter().enumerate() {
            let next = chunks.get(index + 1).map(|(from, _)| *from);
            let here = between(&edges.members, *from, next);
            let merged = if edges.added { union(present, here) } else { difference(present, here) };
            self.put_chunk(dir, edges, *from, &merged);
        }
        Ok(())
    }

    /// The chunks that `first..=last` fall into; the first one always exists.
    fn chunks(
        &self,
        dir: u32,
        edges: &Edges,
        first: u32,
        last: u32,
    ) -> Result<Vec<(u32, Vec<u32>)>, Trouble> {
        let (group, layer) = (edges.group, edges.layer);
        let key = |from| row::chunk(dir, group, layer, from);
        let Some(start) = self.engine.last(&key(0), &key(first))? else {
            return Ok(vec![(0, Vec::new())]);
        };
        let mut chunks = Vec::new();
        for found in self.engine.rows_from(&row::edges_of(dir, group, layer), &start.key)? {
            let found = found?;
            let (_, _, from) = row::read_chunk(&found.key)?;
            if from > last {
                break;
            }
            chunks.push((from, row::unpack(found.bytes())));
        }
        Ok(chunks)
    }

    fn put_chunk(&mut self, dir: u32, edges: &Edges, from: u32, members: &[u32]) {
        let key = |from| row::chunk(dir, edges.group, edges.layer, from);
        if members.is_empty() && from != 0 {
            return self.batch.remove(key(from));
        }
        if members.len() <= CHUNK_MEMBERS {
            return self.batch.put(key(from), &row::pack(members));
        }
        for (index, piece) in members.chunks(CHUNK_MEMBERS * 3 / 4).enumerate() {
            let from = if index == 0 { from } else { piece.first().copied().unwrap_or(from) };
            self.batch.put(key(from), &row::pack(piece));
        }
    }

    /// Writes what questions about the past are answered from.
    fn remember(
        &mut self,
        dir: u32,
        edges: &Edges,
        packed: &[u8],
        seq: u64,
    ) -> Result<(), Trouble> {
        let of_users = edges.layer != Layer::Subgroup;
        let side = if of_users { Side::GroupsOfUser } else { Side::ParentsOfGroup };
        let payload = row::encode(&(edges.added, edges.group))?;
        for (at, &member) in (seq..).zip(&edges.members) {
            self.batch.put(row::history_at(dir, side, member, at), &payload);
            self.write_if_full()?;
        }
        let payload = row::encode(&(edges.added, of_users, packed))?;
        let key = row::history_at(dir, Side::MembersOfGroup, edges.group, seq);
        self.batch.put(key, &payload);
        Ok(())
    }

    /// Removes what is left of a deleted group's memberships: empty chunks, and
    /// references nobody resolved.
    fn forget_group(&mut self, dir: u32, group: u32) -> Result<(), Trouble> {
        self.write()?;
        for layer in [Layer::Listed, Layer::Declared, Layer::Subgroup] {
            let rows: Vec<Row> =
                self.engine.rows(&row::edges_of(dir, group, layer))?.collect::<Result<_, _>>()?;
            rows.iter().for_each(|row| self.batch.remove_row(row));
        }
        self.remove(&row::unresolved_of(dir, group))
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), Trouble> {
        if let Some(row) = self.engine.get(key)? {
            self.batch.remove_row(&row);
        }
        Ok(())
    }

    fn write_if_full(&mut self) -> Result<(), Trouble> {
        if self.batch.is_full() { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Trouble> {
        self.touched.clear();
        self.engine.write(&mut self.batch)
    }
}

struct Edges {
    group: u32,
    layer: Layer,
    added: bool,
    members: Vec<u32>,
}

/// The members at or after `from` and before `next`.
fn between(members: &[u32], from: u32, next: Option<u32>) -> &[u32] {
    let start = members.partition_point(|&member| member < from);
    let end = next.map_or(members.len(), |next| members.partition_point(|&member| member < next));
    members.get(start..end).unwrap_or_default()
}

/// Both ascending lists in one.
fn union(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut all = Vec::with_capacity(a.len() + b.len());
    all.extend_from_slice(a);
    all.extend_from_slice(b);
    all.sort_unstable();
    all.dedup();
    all
}

/// What of `a` is not in `b`.
fn difference(a: &[u32], b: &[u32]) -> Vec<u32> {
    a.iter().copied().filter(|member| b.binary_search(member).is_err()).collect()
}
