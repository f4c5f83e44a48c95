//! Hands out all committed rows of one directory.
//!
//! One thread reads and checks them while the caller's builds from them: each
//! takes about as long.

use std::sync::mpsc;

use super::block::Name;
use super::engine::Engine;
use super::error::Trouble;
use super::row::{self, Kind, Stamp};
use super::state::DirState;
use crate::model::{Layer, Reference};

/// Takes the rows of a directory, each kind in the order of slots: users,
/// groups, edges, unresolved references.
pub trait Rows {
    /// Slots from these numbers on were never used; comes first.
    fn next_slots(&mut self, user: u32, group: u32) {
        let _ = (user, group);
    }
    /// `version` is the seq since which the record shows as it does.
    fn user(&mut self, slot: u32, version: u64, record: Vec<u8>);
    fn group(&mut self, slot: u32, version: u64, record: Vec<u8>);
    /// Members of one group and layer, ascending; more of them may follow.
    fn edges(&mut self, group: u32, layer: Layer, members: &[u32]);
    fn unresolved(&mut self, group: u32, references: Vec<Reference>);
}

/// Rows that go from thread to thread at once, and how many such batches wait.
const BATCH: usize = if cfg!(test) { 3 } else { 1024 };
const BATCHES_AHEAD: usize = 8;

pub(super) fn load(engine: &Engine, dir: &DirState, rows: &mut dyn Rows) -> Result<(), Trouble> {
    std::thread::scope(|scope| {
        let (sender, batches) = mpsc::sync_channel(BATCHES_AHEAD);
        let work = move || {
            let mut sending = Sending { sender, batch: Vec::new() };
            read(engine, dir, &mut sending)?;
            sending.send();
            Ok(())
        };
        let reader = std::thread::Builder::new().name("load".to_owned()).spawn_scoped(scope, work);
        let reader = reader.map_err(|e| Trouble::Failed(format!("cannot start a thread: {e}")))?;
        batches.into_iter().flatten().for_each(|part| part.give(rows));
        let panicked = |_| Trouble::Failed("the thread that loads panicked".to_owned());
        reader.join().map_err(panicked)?
    })
}

fn read(engine: &Engine, dir: &DirState, rows: &mut dyn Rows) -> Result<(), Trouble> {
    rows.next_slots(dir.next_user, dir.next_group);
    let users = records(engine, dir.id, Kind::User, &mut |slot, seq, record| {
        rows.user(slot, seq, record);
    })?;
    let groups = records(engine, dir.id, Kind::Group, &mut |slot, seq, record| {
        rows.group(slot, seq, record);
    })?;
    if users < dir.users || groups < dir.groups {
        return Err(Trouble::Damaged(format!(
            "directory {} has {users} users and {groups} groups instead of {} and {}",
            dir.name, dir.users, dir.groups
        )));
    }
    for found in engine.rows(&row::edges(dir.id))? {
        let found = found?;
        let (group, layer, _) = row::read_chunk(&found.key)?;
        let (_, members) = row::read_members(&found)?;
        if !members.is_empty() {
            rows.edges(group, layer, &members);
        }
    }
    for found in engine.rows(&row::unresolved(dir.id))? {
        let found = found?;
        let names: Vec<Name> = found.decode()?;
        let references = names.into_iter().map(Reference::from).collect();
        rows.unresolved(row::read_unresolved(&found.key)?, references);
    }
    Ok(())
}

/// The newest version of every object that was not deleted; returns how many.
fn records(
    engine: &Engine,
    dir: u32,
    kind: Kind,
    take: &mut dyn FnMut(u32, u64, Vec<u8>),
) -> Result<u64, Trouble> {
    let mut count = 0;
    let mut newest: Option<(u32, Stamp, Vec<u8>)> = None;
    let mut give = |version: Option<(u32, Stamp, Vec<u8>)>| {
        if let Some((slot, stamp, record)) = version
            && !record.is_empty()
        {
            count += 1;
            take(slot, stamp.seq, record);
        }
    };
    for found in engine.rows(&row::versions(dir, kind))? {
        let found = found?;
        let (slot, stamp) = row::read_version(&found.key)?;
        if newest.as_ref().is_some_and(|(before, ..)| *before != slot) {
            give(newest.take());
        }
        newest = Some((slot, stamp, found.bytes().to_vec()));
    }
    give(newest);
    Ok(count)
}

/// One call of [`Rows`], on its way.
enum Part {
    NextSlots(u32, u32),
    User(u32, u64, Vec<u8>),
    Group(u32, u64, Vec<u8>),
    Edges(u32, Layer, Vec<u32>),
    Unresolved(u32, Vec<Reference>),
}

impl Part {
    fn give(self, rows: &mut dyn Rows) {
        match self {
            Part::NextSlots(user, group) => rows.next_slots(user, group),
            Part::User(slot, version, record) => rows.user(slot, version, record),
            Part::Group(slot, version, record) => rows.group(slot, version, record),
            Part::Edges(group, layer, members) => rows.edges(group, layer, &members),
            Part::Unresolved(group, references) => rows.unresolved(group, references),
        }
    }
}

/// Sends rows to the other thread, which takes them to the end.
struct Sending {
    sender: mpsc::SyncSender<Vec<Part>>,
    batch: Vec<Part>,
}

impl Sending {
    fn push(&mut self, part: Part) {
        self.batch.push(part);
        if self.batch.len() >= BATCH {
            self.send();
        }
    }

    fn send(&mut self) {
        // An error means that the taker panicked, and the scope with it.
        let _ = self.sender.send(std::mem::take(&mut self.batch));
    }
}

impl Rows for Sending {
    fn next_slots(&mut self, user: u32, group: u32) {
        self.push(Part::NextSlots(user, group));
    }

    fn user(&mut self, slot: u32, version: u64, record: Vec<u8>) {
        self.push(Part::User(slot, version, record));
    }

    fn group(&mut self, slot: u32, version: u64, record: Vec<u8>) {
        self.push(Part::Group(slot, version, record));
    }

    fn edges(&mut self, group: u32, layer: Layer, members: &[u32]) {
        self.push(Part::Edges(group, layer, members.to_vec()));
    }

    fn unresolved(&mut self, group: u32, references: Vec<Reference>) {
        self.push(Part::Unresolved(group, references));
    }
}
