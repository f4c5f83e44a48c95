//! Reads the journal: compact entries and versions become whole events.

use std::collections::HashMap;

use super::block::{self, Block, Entry, Told};
use super::engine::Engine;
use super::error::Trouble;
use super::record;
use super::row::{self, Kind, Stamp};
use crate::clock::Timestamp;
use crate::model::{Event, EventKind, Group, Layer, MemberObject, Payload, Previous, User};

/// Reads at most `limit` events after `after`, none beyond `last`.
pub(super) fn read(
    engine: &Engine,
    epoch: u64,
    after: u64,
    last: u64,
    limit: usize,
) -> Result<Vec<Event>, Trouble> {
    let mut events = Vec::new();
    if after >= last || limit == 0 {
        return Ok(events);
    }
    let until = last.min(after.saturating_add(limit as u64));
    let mut objects = Objects { engine, users: HashMap::new(), groups: HashMap::new() };
    for found in blocks_from(engine, after + 1)? {
        let block = found?;
        if block.first_seq > until {
            break;
        }
        let wanted = Wanted { epoch, from: after + 1, until };
        wanted.take(&block, &mut objects, &mut events)?;
    }
    if events.len() as u64 != until - after {
        return Err(Trouble::Damaged(format!("the journal has a gap after seq {after}")));
    }
    Ok(events)
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

/// Which events of a block are wanted.
struct Wanted {
    epoch: u64,
    from: u64,
    until: u64,
}

impl Wanted {
    fn take(
        &self,
        block: &Block,
        objects: &mut Objects<'_>,
        events: &mut Vec<Event>,
    ) -> Result<(), Trouble> {
        for (first, entry) in block.numbered() {
            objects.pass(block.dir, entry);
            let end = first + entry.events();
            if end <= self.from || first > self.until || end == first {
                continue;
            }
            let telling = Telling { block, wanted: self };
            telling.entry(first, entry, objects, events)?;
        }
        Ok(())
    }
}

struct Telling<'a> {
    block: &'a Block,
    wanted: &'a Wanted,
}

impl Telling<'_> {
    fn entry(
        &self,
        seq: u64,
        entry: &Entry,
        objects: &mut Objects<'_>,
        events: &mut Vec<Event>,
    ) -> Result<(), Trouble> {
        let dir = self.block.dir;
        let (kind, payload) = match entry {
            Entry::User { slot, put } => {
                let user = objects.user(dir, *slot, seq)?;
                let previous = match put {
                    Told::Updated => Some(Previous(objects.user_before(dir, *slot, seq)?)),
                    _ => None,
                };
                let kind = if previous.is_some() {
                    EventKind::UserUpdated
                } else {
                    EventKind::UserCreated
                };
                (kind, Payload::User { user, previous })
            }
            Entry::Group { slot, put } => {
                let group = objects.group(dir, *slot, seq)?;
                let previous = match put {
                    Told::Updated => Some(Previous(objects.group_before(dir, *slot, seq)?)),
                    _ => None,
                };
                let kind = if previous.is_some() {
                    EventKind::GroupUpdated
                } else {
                    EventKind::GroupCreated
                };
                (kind, Payload::Group { group, previous })
            }
            Entry::UserDeleted { slot, .. } => {
                let user = objects.user_before(dir, *slot, seq)?;
                (EventKind::UserDeleted, Payload::User { user, previous: None })
            }
            Entry::GroupDeleted { slot, .. } => {
                let group = objects.group_before(dir, *slot, seq)?;
                (EventKind::GroupDeleted, Payload::Group { group, previous: None })
            }
            Entry::Edges { .. } => return self.edges(seq, entry, objects, events),
            Entry::Notice { kind, details } => {
                let details = block::attributes(details);
                (block::event_kind(kind)?, Payload::Directory { details })
            }
            Entry::Unresolved { .. } | Entry::Cleared => return Ok(()),
        };
        events.push(self.event(seq, kind, payload));
        Ok(())
    }

    fn edges(
        &self,
        first: u64,
        entry: &Entry,
        objects: &mut Objects<'_>,
        events: &mut Vec<Event>,
    ) -> Result<(), Trouble> {
        let Entry::Edges { group, layer, added, packed, .. } = entry else { return Ok(()) };
        let dir = self.block.dir;
        let of_users = row::layer_of(u64::from(*layer))? != Layer::Subgroup;
        let kind = match (of_users, *added) {
            (true, true) => EventKind::GroupUserAdded,
            (true, false) => EventKind::GroupUserRemoved,
            (false, true) => EventKind::GroupGroupAdded,
            (false, false) => EventKind::GroupGroupRemoved,
        };
        for (seq, member) in (first..).zip(row::unpack(packed)) {
            if seq < self.wanted.from {
                continue;
            }
            if seq > self.wanted.until {
                break;
            }
            let member = if of_users {
                MemberObject::User(objects.user(dir, member, seq)?)
            } else {
                MemberObject::Group(objects.group(dir, member, seq)?)
            };
            let group = objects.group(dir, *group, seq)?;
            events.push(self.event(seq, kind, Payload::Membership { group, member }));
        }
        Ok(())
    }

    fn event(&self, seq: u64, kind: EventKind, payload: Payload) -> Event {
        let block = self.block;
        Event {
            id: format!("evt_{:016x}{seq:012x}", self.wanted.epoch),
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
