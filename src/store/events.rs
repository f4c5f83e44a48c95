//! Reads the journal: compact entries and versions become whole events.

use std::collections::HashMap;

use super::block::{self, Block, Entry, Told};
use super::engine::Engine;
use super::error::Trouble;
use super::record;
use super::row::{self, Kind, Stamp};
use crate::clock::Timestamp;
use crate::model::{Event, EventKind, Filter, Group, Layer, MemberObject, Payload, Previous, User};

/// Which events of the journal are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub filter: &'a Filter,
    /// Those that follow this seq,
    pub after: u64,
    /// none beyond this one,
    pub until: u64,
    /// and at most so many.
    pub limit: usize,
    /// The reading ends when about so many were passed over.
    pub passed_max: u64,
}

/// A part of the journal as a filter shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    pub events: Vec<Event>,
    /// Every event up to here is among `events` or passed over.
    pub upto: u64,
}

/// Reads what is asked for; `asked.until` is committed.
pub(super) fn read(engine: &Engine, epoch: u64, asked: &Asked<'_>) -> Result<Part, Trouble> {
    let mut part = Part { events: Vec::new(), upto: asked.after };
    if asked.after >= asked.until || asked.limit == 0 {
        return Ok(part);
    }
    let mut objects = Objects { engine, users: HashMap::new(), groups: HashMap::new() };
    let mut passed = 0;
    for found in blocks_from(engine, asked.after + 1)? {
        let block = found?;
        if block.first_seq > part.upto + 1 {
            break;
        }
        let telling = Telling { block: &block, epoch, asked };
        passed += telling.take(&mut objects, &mut part)?;
        if telling.is_enough(&part) || passed >= asked.passed_max {
            return Ok(part);
        }
    }
    Err(Trouble::Damaged(format!("the journal has a gap after seq {}", part.upto)))
}

/// The last seq at or before a moment, `first..=last` being kept.
pub(super) fn seq_at(
    engine: &Engine,
    moment: Timestamp,
    first: u64,
    last: u64,
) -> Result<Option<u64>, Trouble> {
    let (mut low, mut high) = (first, last + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if time_of(engine, middle)? <= moment.0 {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok((low > first).then(|| low - 1))
}

/// The blocks from the one with `seq` on.
pub(super) fn blocks_from(
    engine: &Engine,
    seq: u64,
) -> Result<impl Iterator<Item = Result<Block, Trouble>> + use<'_>, Trouble> {
    let start = engine
        .last(&row::block(0, 0), &row::block(seq, u64::MAX))?
        .ok_or_else(|| Trouble::Damaged(format!("the journal has no block with seq {seq}")))?;
    let rows = engine.rows_from(row::BLOCKS, &start.key)?;
    Ok(rows.map(|found| found.and_then(|row| Block::read(&row))))
}

/// The record of an object as it was when `seq` was told; `None` when it did
/// not exist then.
pub(super) fn version_at(
    engine: &Engine,
    dir: u32,
    kind: Kind,
    slot: u32,
    seq: u64,
) -> Result<Option<Vec<u8>>, Trouble> {
    let key = |stamp| row::version(dir, kind, slot, stamp);
    let found = engine.last(&key(Stamp { seq: 0, sub: 0 }), &key(Stamp { seq, sub: u32::MAX }))?;
    Ok(found.map(|row| row.bytes().to_vec()).filter(|record| !record.is_empty()))
}

fn time_of(engine: &Engine, seq: u64) -> Result<u64, Trouble> {
    match blocks_from(engine, seq)?.next() {
        Some(block) => Ok(block?.occurred_at),
        None => Err(Trouble::Damaged(format!("the journal has no block with seq {seq}"))),
    }
}

/// Tells the events of one block that are asked for.
struct Telling<'a> {
    block: &'a Block,
    epoch: u64,
    asked: &'a Asked<'a>,
}

impl Telling<'_> {
    /// Goes on from where `part` is; returns how many events were passed over.
    fn take(&self, objects: &mut Objects<'_>, part: &mut Part) -> Result<u64, Trouble> {
        let mut passed = 0;
        for (first, entry) in self.block.numbered() {
            if self.is_enough(part) {
                break;
            }
            objects.pass(self.block.dir, entry);
            let end = first + entry.events();
            if end <= part.upto + 1 {
                continue;
            }
            match kind_of(entry)?.filter(|kind| self.is_wanted(*kind)) {
                Some(kind) => self.entry(first, kind, entry, objects, part)?,
                None => {
                    let before = std::mem::replace(&mut part.upto, self.asked.until.min(end - 1));
                    passed += part.upto - before;
                }
            }
        }
        Ok(passed)
    }

    fn is_enough(&self, part: &Part) -> bool {
        part.events.len() >= self.asked.limit || part.upto >= self.asked.until
    }

    /// Asked before objects are read: that is what costs.
    fn is_wanted(&self, kind: EventKind) -> bool {
        let block = self.block;
        self.asked.filter.admits(kind, &block.tenant, &block.product, &block.directory)
    }

    fn entry(
        &self,
        seq: u64,
        kind: EventKind,
        entry: &Entry,
        objects: &mut Objects<'_>,
        part: &mut Part,
    ) -> Result<(), Trouble> {
        let dir = self.block.dir;
        let payload = match entry {
            Entry::User { slot, put } => {
                let user = objects.user(dir, *slot, seq)?;
                let previous = match put {
                    Told::Updated => Some(Previous(objects.user_before(dir, *slot, seq)?)),
                    _ => None,
                };
                Payload::User { user, previous }
            }
            Entry::Group { slot, put } => {
                let group = objects.group(dir, *slot, seq)?;
                let previous = match put {
                    Told::Updated => Some(Previous(objects.group_before(dir, *slot, seq)?)),
                    _ => None,
                };
                Payload::Group { group, previous }
            }
            Entry::UserDeleted { slot, .. } => {
                Payload::User { user: objects.user_before(dir, *slot, seq)?, previous: None }
            }
            Entry::GroupDeleted { slot, .. } => {
                Payload::Group { group: objects.group_before(dir, *slot, seq)?, previous: None }
            }
            Entry::Edges { .. } => return self.edges(seq, kind, entry, objects, part),
            Entry::Notice { details, .. } => {
                Payload::Directory { details: block::attributes(details) }
            }
            Entry::AllUnresolved { .. } | Entry::Unresolved { .. } | Entry::Cleared => {
                return Ok(());
            }
        };
        part.events.push(self.event(seq, kind, payload));
        part.upto = seq;
        Ok(())
    }

    fn edges(
        &self,
        first: u64,
        kind: EventKind,
        entry: &Entry,
        objects: &mut Objects<'_>,
        part: &mut Part,
    ) -> Result<(), Trouble> {
        let Entry::Edges { group, packed, .. } = entry else { return Ok(()) };
        let dir = self.block.dir;
        let of_users = matches!(kind, EventKind::GroupUserAdded | EventKind::GroupUserRemoved);
        for (seq, member) in (first..).zip(row::unpack(packed)) {
            if seq <= part.upto {
                continue;
            }
            if self.is_enough(part) {
                break;
            }
            let member = if of_users {
                MemberObject::User(objects.user(dir, member, seq)?)
            } else {
                MemberObject::Group(objects.group(dir, member, seq)?)
            };
            let group = objects.group(dir, *group, seq)?;
            part.events.push(self.event(seq, kind, Payload::Membership { group, member }));
            part.upto = seq;
        }
        Ok(())
    }

    fn event(&self, seq: u64, kind: EventKind, payload: Payload) -> Event {
        let block = self.block;
        Event {
            id: format!("evt_{:016x}{seq:012x}", self.epoch),
            seq,
            kind,
            occurred_at: Timestamp(block.occurred_at),
            tenant: block.tenant.clone(),
            product: block.product.clone(),
            directory: block.directory.clone(),
            payload,
        }
    }
}

/// What the events of an entry are called; `None` when it has none.
fn kind_of(entry: &Entry) -> Result<Option<EventKind>, Trouble> {
    Ok(Some(match entry {
        Entry::User { put: Told::Updated, .. } => EventKind::UserUpdated,
        Entry::User { .. } => EventKind::UserCreated,
        Entry::Group { put: Told::Updated, .. } => EventKind::GroupUpdated,
        Entry::Group { .. } => EventKind::GroupCreated,
        Entry::UserDeleted { .. } => EventKind::UserDeleted,
        Entry::GroupDeleted { .. } => EventKind::GroupDeleted,
        Entry::Edges { layer, added, .. } => {
            match (row::layer_of(u64::from(*layer))? != Layer::Subgroup, *added) {
                (true, true) => EventKind::GroupUserAdded,
                (true, false) => EventKind::GroupUserRemoved,
                (false, true) => EventKind::GroupGroupAdded,
                (false, false) => EventKind::GroupGroupRemoved,
            }
        }
        Entry::Notice { kind, .. } => block::event_kind(kind)?,
        Entry::AllUnresolved { .. } | Entry::Unresolved { .. } | Entry::Cleared => {
            return Ok(None);
        }
    }))
}

/// Objects as they are at the entry being read. Entries come in order and each
/// one is passed, so an object stays valid until an entry touches it.
struct Objects<'a> {
    engine: &'a Engine,
    users: HashMap<(u32, u32), User>,
    groups: HashMap<(u32, u32), Group>,
}

impl Objects<'_> {
    fn pass(&mut self, dir: u32, entry: &Entry) {
        match entry.touched() {
            Some(touched) if touched.kind == Kind::User => {
                self.users.remove(&(dir, touched.slot));
            }
            Some(touched) => {
                self.groups.remove(&(dir, touched.slot));
            }
            None => {}
        }
    }

    fn user(&mut self, dir: u32, slot: u32, seq: u64) -> Result<User, Trouble> {
        if let Some(user) = self.users.get(&(dir, slot)) {
            return Ok(user.clone());
        }
        let user = decode_user(&self.record(dir, Kind::User, slot, seq)?)?;
        self.users.insert((dir, slot), user.clone());
        Ok(user)
    }

    fn group(&mut self, dir: u32, slot: u32, seq: u64) -> Result<Group, Trouble> {
        if let Some(group) = self.groups.get(&(dir, slot)) {
            return Ok(group.clone());
        }
        let group = decode_group(&self.record(dir, Kind::Group, slot, seq)?)?;
        self.groups.insert((dir, slot), group.clone());
        Ok(group)
    }

    fn user_before(&self, dir: u32, slot: u32, seq: u64) -> Result<User, Trouble> {
        decode_user(&self.record(dir, Kind::User, slot, seq.saturating_sub(1))?)
    }

    fn group_before(&self, dir: u32, slot: u32, seq: u64) -> Result<Group, Trouble> {
        decode_group(&self.record(dir, Kind::Group, slot, seq.saturating_sub(1))?)
    }

    fn record(&self, dir: u32, kind: Kind, slot: u32, seq: u64) -> Result<Vec<u8>, Trouble> {
        version_at(self.engine, dir, kind, slot, seq)?.ok_or_else(|| {
            Trouble::Damaged(format!("the record of {kind:?} {slot} at seq {seq} is missing"))
        })
    }
}

pub(super) fn decode_user(record: &[u8]) -> Result<User, Trouble> {
    let item = record::decode_user(record).map_err(|e| Trouble::Damaged(e.to_string()))?;
    Ok(item.user)
}

pub(super) fn decode_group(record: &[u8]) -> Result<Group, Trouble> {
    let item = record::decode_group(record).map_err(|e| Trouble::Damaged(e.to_string()))?;
    Ok(item.group)
}
