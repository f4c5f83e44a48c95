//! The first half of a commit: checks it, writes the journal, sets the marker.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::block::{self, Block, Entry, Name};
use super::engine::{Batch, Engine};
use super::error::Trouble;
use super::home::{Home, Known};
use super::row::{self, Kind, Stamp};
use super::state::{DirState, Head, Marker, Turn};
use crate::model::{Change, Commit, Put, Reference};

/// Encoded entries in one block, about.
const BLOCK_BYTES: usize = if cfg!(test) { 60 } else { 3000 };
/// Members in one entry, at most.
const ENTRY_MEMBERS: usize = if cfg!(test) { 3 } else { 700 };
/// Operations that closing a block may take.
const CLOSING_OPS: usize = 8;
/// The number of no directory, in blocks that belong to none.
const NO_DIRECTORY: u32 = u32::MAX;
/// How far the clock may go back before the journal follows it: up to then
/// times stand still, which nobody notices.
const CLOCK_SLACK_MILLIS: u64 = 3_600_000;

/// Finds out what the commit makes of the directory, writing nothing.
///
/// # Errors
/// [`Trouble::Malformed`] when it does not fit what is stored.
pub(super) fn plan(engine: &Engine, head: &Head, commit: &Commit) -> Result<Marker, Trouble> {
    if commit.directory.is_empty() {
        return plan_notices(head, commit);
    }
    let before = head.dirs.get(&commit.directory);
    let mut plan = Plan::new(engine, head, commit);
    for change in &commit.changes {
        plan.change(change)?;
    }
    let events: u64 = commit.changes.iter().map(Change::events).sum();
    let old = &head.marker;
    let mut marker = Marker {
        commit: old.commit + 1,
        first_seq: old.last_seq + 1,
        last_seq: old.last_seq + events,
        first_block: old.next_block,
        next_dir: plan.next_dir,
        gone: plan.gone,
        ..old.clone()
    };
    tell_time(&mut marker, head.retained.floor, commit.occurred_at.0);
    let mut dir = plan.dir;
    if before.is_none_or(DirState::is_untouched) || !marker.gone.is_empty() {
        dir.first_seq = marker.last_seq;
    }
    if plan.cleared || commit.progress.as_of.is_some() {
        marker.rebuilding.done(&commit.directory);
    }
    marker.directory = (!plan.cleared).then_some(dir);
    Ok(marker)
}

/// A commit of no directory: notices only, and no row is left of it.
fn plan_notices(head: &Head, commit: &Commit) -> Result<Marker, Trouble> {
    if !commit.changes.iter().all(|change| matches!(change, Change::Notice { .. })) {
        return Err(malformed("a directory without a name has changes".to_owned()));
    }
    let old = &head.marker;
    let mut marker = Marker {
        commit: old.commit + 1,
        first_seq: old.last_seq + 1,
        last_seq: old.last_seq + commit.changes.len() as u64,
        first_block: old.next_block,
        directory: None,
        gone: Vec::new(),
        ..old.clone()
    };
    tell_time(&mut marker, head.retained.floor, commit.occurred_at.0);
    Ok(marker)
}

/// Writes blocks and versions. Nobody sees them before the marker is set.
pub(super) fn write_journal(
    engine: &Engine,
    head: &Head,
    commit: &Commit,
    marker: &mut Marker,
) -> Result<(), Trouble> {
    let mut journal = Journal::new(engine, head, commit, marker);
    for change in &commit.changes {
        journal.change(change)?;
    }
    marker.next_block = journal.finish()?;
    Ok(())
}

/// The commit point.
pub(super) fn set_marker(engine: &Engine, marker: &Marker) -> Result<(), Trouble> {
    let mut batch = Batch::default();
    batch.put_encoded(row::MARKER.to_vec(), marker)?;
    engine.write(&mut batch)?;
    engine.sync()
}

/// Makes sure that a rebuilt store will know of the directory and go on after
/// the commit's last seq.
pub(super) fn prepare_rebuild(home: &Home, head: &Head, marker: &Marker) -> Result<(), Trouble> {
    if let Some(dir) = &marker.directory {
        let same = head.dirs.get(&dir.name).is_some_and(|before| before.known() == dir.known());
        if !same {
            let awaited = marker.rebuilding.known.iter().cloned();
            let stored = head.dirs.values().map(DirState::known);
            let all: BTreeMap<String, Known> = awaited
                .chain(stored)
                .chain([dir.known()])
                .map(|known| (known.name.clone(), known))
                .collect();
            home.remember(&all.into_values().collect::<Vec<_>>())?;
        }
    }
    if marker.last_seq > head.marker.last_seq {
        home.raise(marker.last_seq, head.marker.commit, true)?;
    }
    Ok(())
}

/// The journal's time never goes back by less than the slack: it stands still
/// until the clock has caught up. After a clock that had jumped far ahead it
/// follows the clock back, and the place is noted for look-ups by time.
fn tell_time(marker: &mut Marker, floor: u64, now: u64) {
    marker.turns.retain(|turn| turn.seq > floor);
    let last = marker.occurred_at;
    if now.saturating_add(CLOCK_SLACK_MILLIS) < last {
        marker.turns.push(Turn { seq: marker.first_seq, time: now });
        marker.occurred_at = now;
    } else {
        marker.occurred_at = now.max(last);
    }
}

struct Plan<'a> {
    engine: &'a Engine,
    dir: DirState,
    /// Objects below the first slots that the commit touches, and whether they
    /// exist by now.
    exists: HashMap<(Kind, u32), bool>,
    /// Slots from here on did not exist before the commit.
    fresh_user: u32,
    fresh_group: u32,
    /// Slots among those that the commit left out.
    skipped: Vec<(Kind, Range<u32>)>,
    next_dir: u32,
    gone: Vec<u32>,
    cleared: bool,
}

impl<'a> Plan<'a> {
    fn new(engine: &'a Engine, head: &Head, commit: &Commit) -> Plan<'a> {
        let before = head.dirs.get(&commit.directory).cloned();
        let fresh = before.is_none();
        let mut dir = before.unwrap_or_default();
        let mut next_dir = head.marker.next_dir;
        if fresh {
            dir.id = next_dir;
            next_dir += 1;
        }
        dir.name.clone_from(&commit.directory);
        dir.tenant.clone_from(&commit.tenant);
        dir.product.clone_from(&commit.product);
        dir.progress = (&commit.progress).into();
        Plan {
            engine,
            exists: HashMap::new(),
            fresh_user: dir.next_user,
            fresh_group: dir.next_group,
            skipped: Vec::new(),
            dir,
            next_dir,
            gone: Vec::new(),
            cleared: false,
        }
    }

    fn change(&mut self, change: &Change) -> Result<(), Trouble> {
        match change {
            Change::User { slot, put, .. } => self.put(Kind::User, *slot, *put),
            Change::Group { slot, put, .. } => self.put(Kind::Group, *slot, *put),
            Change::UserDeleted { slot, .. } => self.delete(Kind::User, *slot),
            Change::GroupDeleted { slot, .. } => self.delete(Kind::Group, *slot),
            Change::Edges { group, members, .. } => {
                self.cleared = false;
                if members.is_sorted_by(|a, b| a < b) {
                    Ok(())
                } else {
                    Err(malformed(format!("the members of group {group} are not sorted")))
                }
            }
            Change::Unresolved { group, references, .. } => {
                self.cleared = false;
                if references.is_sorted_by(|a, b| a < b) {
                    Ok(())
                } else {
                    Err(malformed(format!("the references of group {group} are not sorted")))
                }
            }
            Change::Cleared => {
                self.clear();
                Ok(())
            }
            Change::Notice { .. } => Ok(()),
        }
    }

    fn put(&mut self, kind: Kind, slot: u32, put: Put) -> Result<(), Trouble> {
        self.cleared = false;
        // An update of a slot that was once used is believed: looking each one up
        // would cost as much as writing it.
        let exists = match put {
            Put::Updated => slot < *self.counts(kind).1,
            Put::Created | Put::Silent => self.exists(kind, slot)?,
        };
        if put == Put::Created && exists {
            return Err(malformed(format!("{kind:?} {slot} is created twice")));
        }
        if put == Put::Updated && !exists {
            return Err(malformed(format!("{kind:?} {slot} is updated but was never created")));
        }
        let (count, next) = self.counts(kind);
        if !exists {
            *count += 1;
        }
        let expected = *next;
        *next = expected.max(slot.saturating_add(1));
        if slot < expected {
            self.exists.insert((kind, slot), true);
        } else if slot > expected {
            self.skipped.push((kind, expected..slot));
        }
        Ok(())
    }

    fn delete(&mut self, kind: Kind, slot: u32) -> Result<(), Trouble> {
        if !self.exists(kind, slot)? {
            return Err(malformed(format!("{kind:?} {slot} is deleted but does not exist")));
        }
        let (count, _) = self.counts(kind);
        *count = count.saturating_sub(1);
        self.exists.insert((kind, slot), false);
        Ok(())
    }

    /// A cleared directory's slots begin anew, so it lives on under another number.
    fn clear(&mut self) {
        self.gone.push(self.dir.id);
        self.exists.clear();
        self.skipped.clear();
        (self.fresh_user, self.fresh_group) = (0, 0);
        self.cleared = true;
        self.dir = DirState {
            id: self.next_dir,
            users: 0,
            groups: 0,
            next_user: 0,
            next_group: 0,
            ..std::mem::take(&mut self.dir)
        };
        self.next_dir += 1;
    }

    fn counts(&mut self, kind: Kind) -> (&mut u64, &mut u32) {
        match kind {
            Kind::User => (&mut self.dir.users, &mut self.dir.next_user),
            Kind::Group => (&mut self.dir.groups, &mut self.dir.next_group),
        }
    }

    fn exists(&mut self, kind: Kind, slot: u32) -> Result<bool, Trouble> {
        if slot >= *self.counts(kind).1 {
            return Ok(false);
        }
        if let Some(&known) = self.exists.get(&(kind, slot)) {
            return Ok(known);
        }
        let fresh = match kind {
            Kind::User => self.fresh_user,
            Kind::Group => self.fresh_group,
        };
        if slot >= fresh {
            let skipped = |(of, slots): &(Kind, Range<u32>)| *of == kind && slots.contains(&slot);
            return Ok(!self.skipped.iter().any(skipped));
        }
        let key = |stamp| row::version(self.dir.id, kind, slot, stamp);
        let newest = self
            .engine
            .last(&key(Stamp { seq: 0, sub: 0 }), &key(Stamp { seq: u64::MAX, sub: u32::MAX }))?;
        Ok(newest.is_some_and(|row| !row.bytes().is_empty()))
    }
}

struct Journal<'a> {
    engine: &'a Engine,
    batch: Batch,
    /// The block being filled.
    block: Block,
    size: usize,
    next_seq: u64,
    next_dir: u32,
}

impl<'a> Journal<'a> {
    fn new(engine: &'a Engine, head: &Head, commit: &Commit, marker: &Marker) -> Journal<'a> {
        let before = head.dirs.get(&commit.directory);
        let mut next_dir = head.marker.next_dir;
        let dir = match before {
            Some(dir) => dir.id,
            None if commit.directory.is_empty() => NO_DIRECTORY,
            None => next_dir,
        };
        next_dir += u32::from(before.is_none());
        let block = Block {
            number: marker.first_block,
            commit: marker.commit,
            dir,
            directory: commit.directory.clone(),
            tenant: commit.tenant.clone(),
            product: commit.product.clone(),
            occurred_at: marker.occurred_at,
            first_seq: marker.first_seq,
            baseline: before.is_none_or(DirState::is_untouched),
            entries: Vec::new(),
            cause: (&commit.cause).into(),
        };
        let next_seq = marker.first_seq;
        Journal { engine, batch: Batch::default(), block, size: 0, next_seq, next_dir }
    }

    fn change(&mut self, change: &Change) -> Result<(), Trouble> {
        match change {
            Change::User { slot, record, put } => {
                let entry = Entry::User { slot: *slot, put: (*put).into() };
                self.version(Kind::User, *slot, *put != Put::Silent, record)?;
                self.push(entry, 8)
            }
            Change::Group { slot, record, put } => {
                let entry = Entry::Group { slot: *slot, put: (*put).into() };
                self.version(Kind::Group, *slot, *put != Put::Silent, record)?;
                self.push(entry, 8)
            }
            Change::UserDeleted { slot, visible } => {
                self.version(Kind::User, *slot, *visible, &[])?;
                self.push(Entry::UserDeleted { slot: *slot, visible: *visible }, 7)
            }
            Change::GroupDeleted { slot, visible } => {
                self.version(Kind::Group, *slot, *visible, &[])?;
                self.push(Entry::GroupDeleted { slot: *slot, visible: *visible }, 7)
            }
            Change::Edges { group, layer, added, visible, members } => {
                for some in members.chunks(ENTRY_MEMBERS) {
                    let entry = Entry::edges(*group, *layer, *added, *visible, some);
                    self.push(entry, 12 + some.len() * 2)?;
                }
                Ok(())
            }
            Change::Unresolved { group, added, references } => {
                self.unresolved(*group, *added, references)
            }
            Change::Cleared => self.clear(),
            Change::Notice { kind, details } => self.push(Entry::notice(*kind, details), 200),
        }
    }

    /// A long list is told in pieces.
    fn unresolved(
        &mut self,
        group: u32,
        added: bool,
        references: &[Reference],
    ) -> Result<(), Trouble> {
        let mut names = references.iter().map(Name::from).peekable();
        while names.peek().is_some() {
            let mut size = 8;
            let mut references = Vec::new();
            while let Some(name) = names.next_if(|_| size < BLOCK_BYTES) {
                size += name.size();
                references.push(name);
            }
            self.push(Entry::Unresolved { group, added, references }, size)?;
        }
        Ok(())
    }

    /// The version row of the entry that is pushed next; an empty record says deleted.
    fn version(
        &mut self,
        kind: Kind,
        slot: u32,
        visible: bool,
        record: &[u8],
    ) -> Result<(), Trouble> {
        if !self.batch.has_room(CLOSING_OPS) {
            self.close()?;
            self.engine.write(&mut self.batch)?;
        }
        let stamp = block::stamp(visible, self.next_seq, self.block.commit);
        self.batch.put(row::version(self.block.dir, kind, slot, stamp), record);
        Ok(())
    }

    fn push(&mut self, entry: Entry, size: usize) -> Result<(), Trouble> {
        self.next_seq += entry.events();
        self.block.entries.push(entry);
        self.size += size;
        if self.size >= BLOCK_BYTES {
            self.close()?;
            self.engine.write_if_full(&mut self.batch)?;
        }
        Ok(())
    }

    /// Puts the block into the batch that has its versions.
    fn close(&mut self) -> Result<(), Trouble> {
        if self.block.entries.is_empty() {
            return Ok(());
        }
        self.batch.put(self.block.key(), &self.block.encode()?);
        self.block.number += 1;
        self.block.first_seq = self.next_seq;
        self.block.entries.clear();
        self.size = 0;
        Ok(())
    }

    fn clear(&mut self) -> Result<(), Trouble> {
        self.push(Entry::Cleared, 1)?;
        self.close()?;
        self.block.dir = self.next_dir;
        self.block.baseline = true;
        self.next_dir += 1;
        Ok(())
    }

    /// The number of the next block.
    fn finish(mut self) -> Result<u64, Trouble> {
        self.close()?;
        self.engine.write(&mut self.batch)?;
        Ok(self.block.number)
    }
}

fn malformed(reason: String) -> Trouble {
    Trouble::Malformed(reason)
}
