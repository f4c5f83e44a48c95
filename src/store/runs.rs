//! Membership changes by object, for questions about the past.
//!
//! A row for each object and commit would cost more than the commit. So the
//! changes of a commit are sorted by object and written as *runs*: rows of many
//! objects, found by the first one. A question looks into each run since the
//! moment it asks for; most commits are small, and their runs are one row.

use super::engine::{Batch, Engine, Row};
use super::error::Trouble;
use super::row::{self, Side};
use crate::model::Layer;

/// Encoded changes in one row, about.
const ROW_BYTES: usize = if cfg!(test) { 20 } else { 3500 };

/// One membership that came or went, as one of its two objects sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Told {
    pub slot: u32,
    pub seq: u64,
    pub other: u32,
    pub added: bool,
    /// Whether the member is a user.
    pub of_user: bool,
}

/// Changes that wait to be sorted and written.
#[derive(Debug, Default)]
pub(super) struct Runs {
    sides: [Vec<Told>; 3],
    first_seq: Option<u64>,
    last_seq: u64,
}

/// What the rows of one run share, and one row's changes.
#[derive(serde::Serialize, serde::Deserialize)]
struct RunRow {
    last_seq: u64,
    /// The run has no other row.
    only: bool,
    packed: Vec<u8>,
}

impl Runs {
    /// Takes one entry of the journal whose first event is `seq`.
    pub(super) fn gather(
        &mut self,
        seq: u64,
        group: u32,
        layer: Layer,
        added: bool,
        members: &[u32],
    ) {
        let of_user = layer != Layer::Subgroup;
        let side = if of_user { Side::GroupsOfUser } else { Side::ParentsOfGroup };
        for (seq, &member) in (seq..).zip(members) {
            let told = Told { slot: member, seq, other: group, added, of_user };
            self.sides[side as usize].push(told);
            let told = Told { slot: group, other: member, ..told };
            self.sides[Side::MembersOfGroup as usize].push(told);
            self.first_seq.get_or_insert(seq);
            self.last_seq = seq;
        }
    }

    /// Writes what was gathered as one run, and forgets it.
    pub(super) fn write(
        &mut self,
        engine: &Engine,
        dir: u32,
        batch: &mut Batch,
    ) -> Result<(), Trouble> {
        let Some(first_seq) = self.first_seq.take() else { return Ok(()) };
        for side in Side::ALL {
            let mut told = std::mem::take(&mut self.sides[side as usize]);
            told.sort_unstable();
            let rows = in_rows(&told, first_seq);
            let only = rows.len() == 1;
            let mut before = None;
            let mut piece = 0;
            for (slot, packed) in rows {
                piece = if before == Some(slot) { piece + 1 } else { 0 };
                before = Some(slot);
                let key = row::history_at(dir, side, first_seq, slot, piece);
                batch.put_encoded(key, &RunRow { last_seq: self.last_seq, only, packed })?;
                engine.write_if_full(batch)?;
            }
        }
        Ok(())
    }
}

/// What was told of an object after `seq`, oldest first.
pub(super) fn since(
    engine: &Engine,
    dir: u32,
    side: Side,
    slot: u32,
    seq: u64,
) -> Result<Vec<Told>, Trouble> {
    let mut told = Vec::new();
    visit(engine, dir, side, slot, seq, &mut |one| told.push(one))?;
    Ok(told)
}

/// The same, one by one.
pub(super) fn visit(
    engine: &Engine,
    dir: u32,
    side: Side,
    slot: u32,
    seq: u64,
    take: &mut dyn FnMut(Told),
) -> Result<(), Trouble> {
    let mut run = run_at(engine, dir, side, seq)?;
    let prefix = row::history_side(dir, side);
    'runs: loop {
        for found in engine.rows_from(&prefix, &row::history_at(dir, side, run, 0, 0))? {
            let found = found?;
            let (at, _) = row::read_history(&found.key)?;
            let only = found.decode::<RunRow>()?.only;
            if only {
                unpack(&found, slot, seq, take)?;
                continue;
            }
            search(engine, (dir, side, at), slot, seq, take)?;
            run = at + 1;
            continue 'runs;
        }
        return Ok(());
    }
}

/// Removes runs whose last event is below `floor`, `limit` rows at most; returns
/// how many it removed.
pub(super) fn prune(engine: &Engine, dir: u32, floor: u64, limit: u64) -> Result<u64, Trouble> {
    let mut batch = Batch::default();
    let mut removed = 0;
    for side in Side::ALL {
        for found in engine.rows(&row::history_side(dir, side))? {
            let found = found?;
            if removed >= limit || found.decode::<RunRow>()?.last_seq >= floor {
                break;
            }
            batch.remove_row(&found);
            removed += 1;
            engine.write_if_full(&mut batch)?;
        }
    }
    engine.write(&mut batch)?;
    Ok(removed)
}

/// Removes the runs that begin with the event `first` or a later one.
pub(super) fn forget_from(engine: &Engine, dir: u32, first: u64) -> Result<(), Trouble> {
    let mut batch = Batch::default();
    for side in Side::ALL {
        let from = row::history_at(dir, side, first, 0, 0);
        engine.remove_from(&row::history_side(dir, side), &from, &mut batch)?;
    }
    engine.write(&mut batch)
}

/// The run that `seq` may lie in.
fn run_at(engine: &Engine, dir: u32, side: Side, seq: u64) -> Result<u64, Trouble> {
    let first = row::history_at(dir, side, 0, 0, 0);
    let last = row::history_at(dir, side, seq, u32::MAX, u32::MAX);
    match engine.last(&first, &last)? {
        Some(found) => Ok(row::read_history(&found.key)?.0),
        None => Ok(seq),
    }
}

/// Looks an object up in a run of several rows.
fn search(
    engine: &Engine,
    (dir, side, run): (u32, Side, u64),
    slot: u32,
    seq: u64,
    take: &mut dyn FnMut(Told),
) -> Result<(), Trouble> {
    let first = row::history_at(dir, side, run, 0, 0);
    // The object's first changes may end a row that begins with another one.
    let before = match slot.checked_sub(1) {
        Some(before) => engine.last(&first, &row::history_at(dir, side, run, before, u32::MAX))?,
        None => None,
    };
    let start = before.map_or(first, |row| row.key);
    for found in engine.rows_from(&row::history_side(dir, side), &start)? {
        let found = found?;
        let (at, from) = row::read_history(&found.key)?;
        if at != run || from > slot {
            break;
        }
        unpack(&found, slot, seq, take)?;
    }
    Ok(())
}

/// Cuts a sorted run into rows, each with its first slot.
fn in_rows(told: &[Told], first_seq: u64) -> Vec<(u32, Vec<u8>)> {
    let mut rows: Vec<(u32, Vec<u8>)> = Vec::new();
    let mut before = 0;
    for one in told {
        if rows.last().is_none_or(|(_, packed)| packed.len() >= ROW_BYTES) {
            rows.push((one.slot, Vec::new()));
            before = one.slot;
        }
        let Some((_, packed)) = rows.last_mut() else { continue };
        let flags = u64::from(one.added) << 1 | u64::from(one.of_user);
        row::put_number(packed, u64::from(one.slot - before) << 2 | flags);
        row::put_number(packed, u64::from(one.other));
        row::put_number(packed, one.seq - first_seq);
        before = one.slot;
    }
    rows
}

/// Adds what a row says of `slot` after `seq`.
fn unpack(found: &Row, slot: u32, seq: u64, take: &mut dyn FnMut(Told)) -> Result<(), Trouble> {
    let (first_seq, mut at) = row::read_history(&found.key)?;
    let row: RunRow = found.decode()?;
    let mut numbers = row::numbers(&row.packed);
    while let (Some(head), Some(other), Some(ahead)) =
        (numbers.next(), numbers.next(), numbers.next())
    {
        at = at.wrapping_add((head >> 2) as u32);
        if at > slot {
            break;
        }
        let one = Told {
            slot: at,
            seq: first_seq + ahead,
            other: other as u32,
            added: head & 2 != 0,
            of_user: head & 1 != 0,
        };
        if at == slot && one.seq > seq {
            take(one);
        }
    }
    Ok(())
}
