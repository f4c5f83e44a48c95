//! What happened to one user or group, from its versions and the runs: not the
//! whole journal is read.

use std::ops::RangeInclusive;

use super::block::Block;
use super::engine::Engine;
use super::error::{StoreError, Trouble};
use super::events::version_at;
use super::row::{self, Kind, Side};
use super::{Store, runs, then};
use crate::clock::Timestamp;
use crate::model::{Cause, MemberKind, MemberObject};

/// One thing that happened to a user or group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    pub seq: u64,
    pub occurred_at: Timestamp,
    pub what: What,
    pub cause: Cause,
}

/// What happened, with objects as they were then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Created(MemberObject),
    Updated {
        before: Box<MemberObject>,
        after: Box<MemberObject>,
    },
    Deleted(MemberObject),
    /// It became a direct member of a group, or was one no longer.
    Joined(MemberObject),
    Left(MemberObject),
    /// The group won or lost a direct member.
    Won(MemberObject),
    Lost(MemberObject),
}

/// The part of a biography that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Happenings {
    /// Oldest first.
    pub list: Vec<Happening>,
    /// How many there are in the whole range.
    pub total: u64,
}

impl Store {
    /// What happened to a user or group in a range of seqs, which lies in what
    /// is kept: the first `limit` after `after`.
    pub fn happenings(
        &self,
        directory: &str,
        (kind, slot): (MemberKind, u32),
        range: RangeInclusive<u64>,
        after: u64,
        limit: usize,
    ) -> Result<Happenings, StoreError> {
        let found = self.in_directory(directory, |engine, dir| {
            // Runs outlive their blocks for a while.
            let kept = self.published().retained.floor;
            let range = kept.max(*range.start())..=*range.end();
            let mut found = Found { after, limit, range, total: 0, kept: Vec::new() };
            let kind = kind.into();
            changes(engine, (dir, kind, slot), &mut found)?;
            memberships(engine, (dir, kind, slot), &mut found)?;
            found.kept.sort_unstable_by_key(|(seq, _)| *seq);
            found.kept.truncate(limit);
            let mut teller = Teller { engine, dir, kind, slot, block: None };
            let list = found.kept.into_iter().map(|(seq, bare)| teller.tell(seq, bare));
            Ok(Happenings { list: list.collect::<Result<_, _>>()?, total: found.total })
        })?;
        Ok(found.unwrap_or_default())
    }
}

/// A happening before it is read.
#[derive(Clone, Copy, Debug)]
enum Bare {
    Created,
    Updated,
    Deleted,
    /// Of the object: as the member, or as the group.
    Edge {
        other: u32,
        kind: Kind,
        added: bool,
        as_member: bool,
    },
}

/// Keeps the first few of what is found, and counts the rest.
struct Found {
    after: u64,
    limit: usize,
    range: RangeInclusive<u64>,
    total: u64,
    kept: Vec<(u64, Bare)>,
}

impl Found {
    fn take(&mut self, seq: u64, bare: Bare) {
        if !self.range.contains(&seq) {
            return;
        }
        self.total += 1;
        if seq <= self.after {
            return;
        }
        self.kept.push((seq, bare));
        // What comes is nearly in order, so that this is rare.
        if self.kept.len() >= self.limit.saturating_mul(4).max(64) {
            self.kept.sort_unstable_by_key(|(seq, _)| *seq);
            self.kept.truncate(self.limit);
        }
    }
}

/// Versions that were told: those whose stamp is the seq of an event of their own.
fn changes(
    engine: &Engine,
    (dir, kind, slot): (u32, Kind, u32),
    found: &mut Found,
) -> Result<(), Trouble> {
    let mut is_first = true;
    for version in engine.rows(&row::versions_of(dir, kind, slot))? {
        let version = version?;
        let (_, stamp) = row::read_version(&version.key)?;
        let bare = match (version.bytes().is_empty(), is_first) {
            (true, _) => Bare::Deleted,
            (false, true) => Bare::Created,
            (false, false) => Bare::Updated,
        };
        is_first = false;
        if stamp.sub == 0 {
            found.take(stamp.seq, bare);
        }
    }
    Ok(())
}

fn memberships(
    engine: &Engine,
    (dir, kind, slot): (u32, Kind, u32),
    found: &mut Found,
) -> Result<(), Trouble> {
    let before = found.range.start().saturating_sub(1);
    let mut side = |side: Side, as_member: bool| {
        runs::visit(engine, dir, side, slot, before, &mut |told| {
            let is_user = !as_member && told.of_user;
            let kind = if is_user { Kind::User } else { Kind::Group };
            let bare = Bare::Edge { other: told.other, kind, added: told.added, as_member };
            found.take(told.seq, bare);
        })
    };
    match kind {
        Kind::User => side(Side::GroupsOfUser, true),
        Kind::Group => {
            side(Side::MembersOfGroup, false)?;
            side(Side::ParentsOfGroup, true)
        }
    }
}

/// Adds what a reader wants to see, while the objects of one block come in a row.
struct Teller<'a> {
    engine: &'a Engine,
    dir: u32,
    kind: Kind,
    slot: u32,
    block: Option<Block>,
}

impl Teller<'_> {
    fn tell(&mut self, seq: u64, bare: Bare) -> Result<Happening, Trouble> {
        let (kind, slot) = (self.kind, self.slot);
        let what = match bare {
            Bare::Created => What::Created(self.object(kind, slot, seq)?),
            Bare::Updated => What::Updated {
                before: self.object(kind, slot, seq.saturating_sub(1))?.into(),
                after: self.object(kind, slot, seq)?.into(),
            },
            Bare::Deleted => What::Deleted(self.object(kind, slot, seq.saturating_sub(1))?),
            Bare::Edge { other, kind, added, as_member } => {
                let other = self.object(kind, other, seq)?;
                match (as_member, added) {
                    (true, true) => What::Joined(other),
                    (true, false) => What::Left(other),
                    (false, true) => What::Won(other),
                    (false, false) => What::Lost(other),
                }
            }
        };
        let block = self.block(seq)?;
        let (occurred_at, cause) = (Timestamp(block.occurred_at), block.cause.clone().into());
        Ok(Happening { seq, occurred_at, what, cause })
    }

    fn object(&self, kind: Kind, slot: u32, seq: u64) -> Result<MemberObject, Trouble> {
        match version_at(self.engine, self.dir, kind, slot, seq)? {
            Some(record) => then::object(kind, &record),
            None => Err(Trouble::Failed(format!(
                "the record of {kind:?} {slot} at seq {seq} is no longer kept"
            ))),
        }
    }

    fn block(&mut self, seq: u64) -> Result<&Block, Trouble> {
        let has = |block: &Block| (block.first_seq..block.next_seq()).contains(&seq);
        if !self.block.as_ref().is_some_and(has) {
            self.block = then::block_of(self.engine, seq)?;
        }
        self.block.as_ref().ok_or_else(|| {
            Trouble::Failed(format!("the journal's block with seq {seq} is no longer kept"))
        })
    }
}
