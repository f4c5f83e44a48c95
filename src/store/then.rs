//! Users and groups as they were at an earlier seq: all of them, page by page.

use super::block::{Block, Entry, Told};
use super::engine::Engine;
use super::error::{StoreError, Trouble};
use super::row::{self, Kind, Stamp};
use super::{Store, events};
use crate::clock::Timestamp;
use crate::model::{MemberKind, MemberObject};

impl Store {
    /// The oldest seq whose state is known, and since when that was the state.
    ///
    /// After retention it is the seq before the oldest block: what it left is
    /// kept, and it stood until the events of that block.
    pub fn oldest_state(&self) -> Result<(u64, Option<Timestamp>), StoreError> {
        self.mend()?;
        let head = self.published();
        let floor = head.retained.floor;
        match head.floor_since {
            Some(since) => Ok((floor - 1, Some(Timestamp(since)))),
            None => Ok((floor, self.time_of(floor)?)),
        }
    }

    /// The oldest seq that a directory's past is known at; `None` when nothing was
    /// committed for it, or it is gone.
    pub fn history_start(&self, directory: &str) -> Result<Option<u64>, StoreError> {
        self.mend()?;
        let head = self.published();
        let oldest = head.retained.floor - u64::from(head.floor_since.is_some());
        Ok(head.dirs.get(directory).map(|dir| dir.first_seq.max(oldest)))
    }

    /// When the event was committed; `None` when it is no longer, or not yet, kept.
    pub fn time_of(&self, seq: u64) -> Result<Option<Timestamp>, StoreError> {
        self.mend()?;
        let head = self.published();
        if seq + 1 == head.retained.floor {
            return Ok(head.floor_since.map(Timestamp));
        }
        if seq < head.retained.floor || seq > head.marker.last_seq {
            return Ok(None);
        }
        let block = self.on_engine(|engine| block_of(engine, seq))?;
        Ok(block.map(|block| Timestamp(block.occurred_at)))
    }

    /// How many users or groups a directory had at a seq. Reads what was
    /// committed since.
    pub fn count_at(&self, directory: &str, kind: MemberKind, seq: u64) -> Result<u64, StoreError> {
        self.mend()?;
        let head = self.published();
        let Some(dir) = head.dirs.get(directory) else { return Ok(0) };
        let now = match kind {
            MemberKind::User => dir.users,
            MemberKind::Group => dir.groups,
        };
        let last = head.marker.last_seq;
        let since = self.on_engine(|engine| gained(engine, dir.id, kind.into(), seq, last))?;
        Ok(now.saturating_add_signed(-since))
    }

    /// The users or groups that a directory had at a seq: `limit` of them, from a
    /// slot on, in the order of slots, as they were.
    pub fn objects_at(
        &self,
        directory: &str,
        kind: MemberKind,
        from: u32,
        limit: usize,
        seq: u64,
    ) -> Result<Vec<(u32, MemberObject)>, StoreError> {
        let found = self.in_directory(directory, |engine, dir| {
            page(engine, (dir, kind.into()), from, limit, seq)
        })?;
        Ok(found.unwrap_or_default())
    }
}

/// The block with an event in it; `None` when retention took it.
pub(super) fn block_of(engine: &Engine, seq: u64) -> Result<Option<Block>, Trouble> {
    let found = engine.last(&row::block(0, 0), &row::block(seq, u64::MAX))?;
    let block = found.map(|row| Block::read(&row)).transpose()?;
    Ok(block.filter(|block| seq < block.next_seq()))
}

/// How many more there are at `last` than there were at `seq`.
fn gained(engine: &Engine, dir: u32, kind: Kind, seq: u64, last: u64) -> Result<i64, Trouble> {
    let start = engine.last(&row::block(0, 0), &row::block(seq + 1, u64::MAX))?;
    let start = start.map_or(row::BLOCKS.to_vec(), |row| row.key);
    let mut gained = 0;
    for found in engine.rows_from(row::BLOCKS, &start)? {
        let block = Block::read(&found?)?;
        if block.first_seq > last {
            break;
        }
        if block.dir != dir {
            continue;
        }
        let entries = block.numbered().filter(|(at, _)| (seq + 1..=last).contains(at));
        gained += entries.map(|(_, entry)| gain(entry, kind)).sum::<i64>();
    }
    Ok(gained)
}

fn gain(entry: &Entry, kind: Kind) -> i64 {
    match (entry, kind) {
        (Entry::User { put: Told::Created, .. }, Kind::User)
        | (Entry::Group { put: Told::Created, .. }, Kind::Group) => 1,
        (Entry::UserDeleted { visible: true, .. }, Kind::User)
        | (Entry::GroupDeleted { visible: true, .. }, Kind::Group) => -1,
        _ => 0,
    }
}

fn page(
    engine: &Engine,
    (dir, kind): (u32, Kind),
    from: u32,
    limit: usize,
    seq: u64,
) -> Result<Vec<(u32, MemberObject)>, Trouble> {
    let mut objects = Vec::new();
    let mut newest: Option<(u32, Vec<u8>)> = None;
    let start = row::version(dir, kind, from, Stamp { seq: 0, sub: 0 });
    for found in engine.rows_from(&row::versions(dir, kind), &start)? {
        let found = found?;
        let (slot, stamp) = row::read_version(&found.key)?;
        if newest.as_ref().is_some_and(|(before, _)| *before != slot) {
            take(kind, newest.take(), &mut objects)?;
            if objects.len() >= limit {
                return Ok(objects);
            }
        }
        if stamp.seq <= seq {
            newest = Some((slot, found.bytes().to_vec()));
        }
    }
    take(kind, newest, &mut objects)?;
    Ok(objects)
}

fn take(
    kind: Kind,
    version: Option<(u32, Vec<u8>)>,
    objects: &mut Vec<(u32, MemberObject)>,
) -> Result<(), Trouble> {
    if let Some((slot, record)) = version.filter(|(_, record)| !record.is_empty()) {
        objects.push((slot, object(kind, &record)?));
    }
    Ok(())
}

/// The object in a record.
pub(super) fn object(kind: Kind, record: &[u8]) -> Result<MemberObject, Trouble> {
    match kind {
        Kind::User => events::decode_user(record).map(MemberObject::User),
        Kind::Group => events::decode_group(record).map(MemberObject::Group),
    }
}
