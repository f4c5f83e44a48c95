//! From the journal to the state: the second half of a commit, and all of recovery.
//!
//! Every step gives the same result when done twice, so a crash in the middle
//! is mended by doing all of it again.

use super::block::{Block, Entry};
use super::chunks::{self, Lists};
use super::engine::{Batch, Engine};
use super::error::Trouble;
use super::names;
use super::row;
use super::runs::{self, Runs};
use super::state::Marker;
use super::unresolved::{self, Unresolved};
use super::waiting::{self, Part};

/// Membership changes that are gathered before they are written in the order of
/// groups.
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

/// Does it again. What the attempt before wrote may have been cut into other rows, by
/// an older version.
pub(super) fn again(engine: &Engine, marker: &Marker) -> Result<(), Trouble> {
    let stands = marker.directory.iter().map(|dir| dir.id);
    for dir in stands.chain(marker.gone.iter().copied()) {
        waiting::forget(engine, dir, marker.commit)?;
        runs::forget_from(engine, dir, marker.first_seq)?;
    }
    apply(engine, marker)
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
    edges: Lists,
    /// They are the first of their directory: nothing waits that is older, and all
    /// that there is would have to wait.
    are_first: bool,
    commit: u64,
    /// How often changes were left to wait.
    parts: u32,
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
            edges: Lists::new(),
            are_first: false,
            commit: 0,
            parts: 0,
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
        (self.are_first, self.commit) = (block.baseline, block.commit);
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
        let mut lists = std::mem::take(&mut self.edges);
        lists.values_mut().for_each(chunks::sort);
        if self.are_first {
            for (list, changes) in lists {
                chunks::change(self.engine, self.dir, list, &changes, &mut self.batch)?;
                self.engine.write_if_full(&mut self.batch)?;
            }
        } else {
            let part = Part { dir: self.dir, commit: self.commit, part: self.parts };
            waiting::write(self.engine, part, &lists, &mut self.batch)?;
            self.parts += 1;
        }
        self.unresolved.write(self.engine, self.dir, &mut self.batch)?;
        self.gathered = 0;
        self.runs.write(self.engine, self.dir, &mut self.batch)?;
        // What is read next must be in the database.
        self.engine.write(&mut self.batch)
    }

    /// Removes the chunks of a deleted group, and references nobody resolved. What waits
    /// says of each member that it went: a deletion comes after that of every member.
    fn forget_group(&mut self, group: u32) -> Result<(), Trouble> {
        let may_be_written = self.are_first && !self.edges.is_empty();
        if may_be_written || !self.unresolved.is_empty() {
            self.settle()?;
        }
        chunks::forget(self.engine, self.dir, group, &mut self.batch)?;
        unresolved::forget(self.engine, self.dir, group, &mut self.batch)
    }
}
