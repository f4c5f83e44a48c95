//! One directory as it was at an earlier seq: the view of now, with what
//! happened since undone group by group.

use std::collections::BTreeSet;

use super::journal::{Journal, JournalError};
use super::listing::Object;
use super::problem::Problem;
use super::resolve::Kind;
use crate::clock::Timestamp;
use crate::index::DirectoryView;

/// A directory at a seq. Its reads block.
#[derive(Clone, Copy)]
pub struct Past<'a> {
    journal: &'a dyn Journal,
    directory: &'a DirectoryView,
    pub seq: u64,
}

impl<'a> Past<'a> {
    /// The directory as it was at a moment, which is at or after the start of
    /// its history and not in the future.
    ///
    /// # Errors
    /// 410 when the history does not reach back so far, 400 for the future.
    pub fn at(
        journal: &'a dyn Journal,
        directory: &'a DirectoryView,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<Past<'a>, Problem> {
        if at > now {
            return Err(Problem::bad_request(format!("{at} lies in the future")));
        }
        let name = directory.name();
        let start = journal.history_start(name)?;
        let seq = journal.seq_at(at)?;
        match (seq, start) {
            (Some(seq), Some(start)) if seq >= start => Ok(Past { journal, directory, seq }),
            _ => {
                let detail = format!("what is kept of {name} does not reach back to {at}");
                let problem = Problem::new(http::StatusCode::GONE, "gone", detail);
                Err(problem.member("directory", name).member("oldest", start))
            }
        }
    }

    /// Whether the user was in the group, directly or through nested groups.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn is_member(&self, user: u32, group: u32) -> Result<bool, JournalError> {
        let direct = self.groups_of_user(user)?;
        if direct.contains(&group) {
            return Ok(true);
        }
        Ok(self.closure(direct, |group| self.parents(group))?.contains(&group))
    }

    /// The groups the user was in, sorted.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn groups(&self, user: u32, nested: bool) -> Result<Vec<u32>, JournalError> {
        let mut direct = self.groups_of_user(user)?;
        direct.sort_unstable();
        if !nested {
            return Ok(direct);
        }
        Ok(self.closure(direct, |group| self.parents(group))?.into_iter().collect())
    }

    /// The users and the groups in the group, each sorted.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn members(&self, group: u32, nested: bool) -> Result<(Vec<u32>, Vec<u32>), JournalError> {
        let (mut users, mut groups) = self.direct_members(group)?;
        if nested {
            let below = self.closure(groups, |inner| Ok(self.direct_members(inner)?.1))?;
            for inner in &below {
                users.extend(self.direct_members(*inner)?.0);
            }
            groups = below.into_iter().filter(|inner| *inner != group).collect();
        }
        users.sort_unstable();
        users.dedup();
        groups.sort_unstable();
        Ok((users, groups))
    }

    /// A user or a group as it was; `None` when it did not exist.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn object(&self, kind: Kind, slot: u32) -> Result<Option<Object>, JournalError> {
        let name = self.directory.name();
        match kind {
            Kind::User => Ok(self.journal.user_at(name, slot, self.seq)?.map(Object::User)),
            Kind::Group => Ok(self.journal.group_at(name, slot, self.seq)?.map(Object::Group)),
        }
    }

    fn groups_of_user(&self, user: u32) -> Result<Vec<u32>, JournalError> {
        let current = self.directory.groups_of_user(user);
        self.journal.groups_of_user_at(self.directory.name(), user, current, self.seq)
    }

    fn parents(&self, group: u32) -> Result<Vec<u32>, JournalError> {
        let current = self.directory.parents_of_group(group);
        self.journal.parents_of_group_at(self.directory.name(), group, current, self.seq)
    }

    fn direct_members(&self, group: u32) -> Result<(Vec<u32>, Vec<u32>), JournalError> {
        let users = self.directory.direct_users(group);
        let current = (users.as_ref(), self.directory.subgroups(group));
        self.journal.members_of_group_at(self.directory.name(), group, current, self.seq)
    }

    /// Everything that `next` leads to from `start`, with `start`; enters each once.
    fn closure(
        &self,
        start: Vec<u32>,
        next: impl Fn(u32) -> Result<Vec<u32>, JournalError>,
    ) -> Result<BTreeSet<u32>, JournalError> {
        let mut seen: BTreeSet<u32> = start.iter().copied().collect();
        let mut open = start;
        while let Some(group) = open.pop() {
            open.extend(next(group)?.into_iter().filter(|other| seen.insert(*other)));
        }
        Ok(seen)
    }
}

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Problem {
        match error {
            JournalError::Gone { oldest } => Problem::gone(oldest),
            JournalError::Failed(reason) => Problem::unreadable(reason),
        }
    }
}
