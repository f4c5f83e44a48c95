//! Answers about the past: membership as it was when a seq was told.
//!
//! The runs tell of each visible change. Going back from now, what an edge was at
//! a seq is decided by the first change after it: added then means it was not
//! there, removed means it was. Changes that the caller's picture does not
//! have yet do no harm to that rule.

use std::collections::{BTreeSet, HashSet};

use super::engine::Engine;
use super::error::{StoreError, Trouble};
use super::row::{Kind, Side};
use super::{Store, events, record, runs};
use crate::provider::{GroupItem, UserItem};

/// A group's direct members, slots ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MembersAt {
    pub users: Vec<u32>,
    pub groups: Vec<u32>,
}

/// Answers are right for seqs from the directory's `first_seq` and from
/// [`Store::oldest_history_seq`] on.
impl Store {
    /// The groups that a user was a direct member of at a seq, given those of now.
    pub fn groups_of_user_at(
        &self,
        directory: &str,
        slot: u32,
        current: &[u32],
        seq: u64,
    ) -> Result<Vec<u32>, StoreError> {
        self.in_directory(directory, |engine, dir| {
            groups_at(engine, dir, Side::GroupsOfUser, slot, current, seq)
        })
        .map(|past| past.unwrap_or_else(|| current.to_vec()))
    }

    /// The groups that a group was directly in at a seq, given those of now.
    pub fn parents_of_group_at(
        &self,
        directory: &str,
        slot: u32,
        current: &[u32],
        seq: u64,
    ) -> Result<Vec<u32>, StoreError> {
        self.in_directory(directory, |engine, dir| {
            groups_at(engine, dir, Side::ParentsOfGroup, slot, current, seq)
        })
        .map(|past| past.unwrap_or_else(|| current.to_vec()))
    }

    /// The direct members that a group had at a seq, given those of now.
    pub fn members_of_group_at(
        &self,
        directory: &str,
        group: u32,
        current_users: &[u32],
        current_groups: &[u32],
        seq: u64,
    ) -> Result<MembersAt, StoreError> {
        let current = (current_users, current_groups);
        self.in_directory(directory, |engine, dir| members_at(engine, dir, group, current, seq))
            .map(|past| {
                past.unwrap_or_else(|| MembersAt {
                    users: current.0.into(),
                    groups: current.1.into(),
                })
            })
    }

    /// A user as it was at a seq; `None` when it did not exist then.
    pub fn user_at(
        &self,
        directory: &str,
        slot: u32,
        seq: u64,
    ) -> Result<Option<UserItem>, StoreError> {
        let found = self.in_directory(directory, |engine, dir| {
            let record = events::version_at(engine, dir, Kind::User, slot, seq)?;
            record.as_deref().map(record::decode_user).transpose().map_err(Trouble::from)
        })?;
        Ok(found.flatten())
    }

    /// A group as it was at a seq; `None` when it did not exist then.
    pub fn group_at(
        &self,
        directory: &str,
        slot: u32,
        seq: u64,
    ) -> Result<Option<GroupItem>, StoreError> {
        let found = self.in_directory(directory, |engine, dir| {
            let record = events::version_at(engine, dir, Kind::Group, slot, seq)?;
            record.as_deref().map(record::decode_group).transpose().map_err(Trouble::from)
        })?;
        Ok(found.flatten())
    }

    pub(super) fn in_directory<T>(
        &self,
        directory: &str,
        ask: impl FnOnce(&Engine, u32) -> Result<T, Trouble>,
    ) -> Result<Option<T>, StoreError> {
        self.mend()?;
        let head = self.published();
        match head.dirs.get(directory) {
            Some(dir) => self.on_kept(&head, |engine| ask(engine, dir.id)).map(Some),
            None => Ok(None),
        }
    }
}

/// The groups that a user or group was a direct member of at `seq`.
fn groups_at(
    engine: &Engine,
    dir: u32,
    side: Side,
    slot: u32,
    current: &[u32],
    seq: u64,
) -> Result<Vec<u32>, Trouble> {
    let mut past = Past::new(current);
    for told in runs::since(engine, dir, side, slot, seq)? {
        past.undo(told.other, told.added);
    }
    Ok(past.into_list())
}

/// The direct members that a group had at `seq`.
fn members_at(
    engine: &Engine,
    dir: u32,
    group: u32,
    current: (&[u32], &[u32]),
    seq: u64,
) -> Result<MembersAt, Trouble> {
    let mut users = Past::new(current.0);
    let mut groups = Past::new(current.1);
    for told in runs::since(engine, dir, Side::MembersOfGroup, group, seq)? {
        let past = if told.of_user { &mut users } else { &mut groups };
        past.undo(told.other, told.added);
    }
    Ok(MembersAt { users: users.into_list(), groups: groups.into_list() })
}

struct Past {
    members: BTreeSet<u32>,
    decided: HashSet<u32>,
}

impl Past {
    fn new(current: &[u32]) -> Past {
        Past { members: current.iter().copied().collect(), decided: HashSet::new() }
    }

    fn undo(&mut self, member: u32, added: bool) {
        if !self.decided.insert(member) {
            return;
        }
        if added {
            self.members.remove(&member);
        } else {
            self.members.insert(member);
        }
    }

    fn into_list(self) -> Vec<u32> {
        self.members.into_iter().collect()
    }
}
