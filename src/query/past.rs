//! The past: moments, whom a REF meant then, and one directory as it was: the
//! view of now, with what happened since undone group by group.

use std::collections::BTreeSet;

use super::journal::{Journal, JournalError};
use super::listing::Object;
use super::problem::Problem;
use super::resolve::Kind;
use crate::clock::Timestamp;
use crate::fold::same_folded;
use crate::index::DirectoryView;

/// A moment of the past, as the last seq of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// As it was asked for; of a seq, when that was committed.
    pub moment: Option<Timestamp>,
    pub seq: u64,
}

impl At {
    /// Reads a seq or a time in RFC 3339. `shown` is the last seq of the view.
    ///
    /// # Errors
    /// 400 for the future, or for what is neither; 410 when the history does not
    /// reach back so far.
    pub fn read(
        journal: &dyn Journal,
        text: &str,
        shown: u64,
        now: Timestamp,
    ) -> Result<At, Problem> {
        let at = At::find(journal, text, shown, now)?;
        let (oldest, since) = journal.oldest_state()?;
        match at {
            Some(at) if at.seq >= oldest => Ok(at),
            _ => Err(gone(text, None, oldest, since)),
        }
    }

    /// The same without a look at what is kept; `None` when all that is kept is later.
    ///
    /// # Errors
    /// 400 for the future, or for what is neither a seq nor a time.
    pub fn find(
        journal: &dyn Journal,
        text: &str,
        shown: u64,
        now: Timestamp,
    ) -> Result<Option<At>, Problem> {
        if let Ok(seq) = text.parse::<u64>() {
            if seq > shown {
                let detail = format!("seq {seq} lies in the future: the last one is {shown}");
                return Err(Problem::bad_request(detail));
            }
            return Ok(Some(At { moment: journal.time_of(seq)?, seq }));
        }
        let moment = Timestamp::parse(text).map_err(|reason| {
            let hint = "give a time like 2026-11-20T10:15:00Z or a seq; in a query `+` means a space: write it as `%2B`";
            Problem::bad_request(format!("`{}` is no moment: {reason}", text.escape_debug())).hint(hint)
        })?;
        if moment > now {
            return Err(Problem::bad_request(format!("{moment} lies in the future")));
        }
        // What was committed a moment ago is not shown to anybody yet.
        let seq = journal.seq_at(moment)?.map(|seq| seq.min(shown));
        Ok(seq.map(|seq| At { moment: Some(moment), seq }))
    }
}

/// The journal at a moment. Its reads block.
#[derive(Clone, Copy)]
pub struct Then<'v> {
    pub journal: &'v dyn Journal,
    pub at: At,
}

impl<'v> Then<'v> {
    /// Whether what is kept of a directory reaches back to the moment.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn reaches(&self, directory: &str) -> Result<bool, Problem> {
        let start = self.journal.history_start(directory)?;
        Ok(start.is_some_and(|start| start <= self.at.seq))
    }

    /// Refuses when it does not reach back. Asked once more after reading, since
    /// retention goes on meanwhile.
    ///
    /// # Errors
    /// 410 when it does not.
    pub fn require(&self, directory: &str) -> Result<(), Problem> {
        if self.reaches(directory)? { Ok(()) } else { Err(self.unreached(directory)?) }
    }

    /// 410: what is kept of the directory begins later.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn unreached(&self, directory: &str) -> Result<Problem, Problem> {
        let start = self.journal.history_start(directory)?;
        let Some(oldest) = start else {
            let detail = format!("nothing is kept of {directory}");
            return Ok(
                Problem::new(http::StatusCode::GONE, "gone", detail).member("directory", directory)
            );
        };
        let since = self.journal.time_of(oldest)?;
        Ok(gone(&format!("seq {}", self.at.seq), Some(directory), oldest, since))
    }

    /// Whom a REF meant in a directory: an id wins, as it does now.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn candidates(
        &self,
        kind: Kind,
        directory: &DirectoryView,
        text: &str,
    ) -> Result<Vec<u32>, Problem> {
        let name = directory.name();
        let mut slots: BTreeSet<u32> = named_now(kind, directory, text).collect();
        slots.extend(self.journal.formerly_named(name, kind.into(), text)?);
        let (mut by_id, mut by_name) = (Vec::new(), Vec::new());
        for slot in slots {
            match self.object(name, kind, slot)? {
                Some(object) if object.id() == text => by_id.push(slot),
                Some(object) if object.is_named(text) => by_name.push(slot),
                _ => {}
            }
        }
        Ok(if by_id.is_empty() { by_name } else { by_id })
    }

    /// A user or a group as it was; `None` when it did not exist.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn object(
        &self,
        directory: &str,
        kind: Kind,
        slot: u32,
    ) -> Result<Option<Object>, JournalError> {
        let seq = self.at.seq;
        match kind {
            Kind::User => Ok(self.journal.user_at(directory, slot, seq)?.map(Object::User)),
            Kind::Group => Ok(self.journal.group_at(directory, slot, seq)?.map(Object::Group)),
        }
    }

    /// A directory as it was.
    pub fn of(&self, directory: &'v DirectoryView) -> Past<'v> {
        Past { then: *self, directory }
    }
}

impl Object {
    /// The immutable id.
    pub fn id(&self) -> &str {
        match self {
            Object::User(user) => &user.id,
            Object::Group(group) => &group.id,
        }
    }

    /// Whether it has this name or address, in any case. An empty one is nobody's.
    pub fn is_named(&self, text: &str) -> bool {
        let is = |name: &String| !text.is_empty() && same_folded(name, text);
        match self {
            Object::User(user) => is(&user.username) || user.emails.iter().any(is),
            Object::Group(group) => is(&group.name) || group.email.iter().any(is),
        }
    }
}

/// All that are found by a text now, by whatever it is of them.
fn named_now<'v>(
    kind: Kind,
    directory: &'v DirectoryView,
    text: &'v str,
) -> Box<dyn Iterator<Item = u32> + 'v> {
    match kind {
        Kind::User => Box::new(
            (directory.user_by_id(text).into_iter())
                .chain(directory.users_by_username(text))
                .chain(directory.users_by_email(text)),
        ),
        Kind::Group => Box::new(
            (directory.group_by_id(text).into_iter())
                .chain(directory.groups_by_name(text))
                .chain(directory.groups_by_email(text)),
        ),
    }
}

fn gone(asked: &str, directory: Option<&str>, oldest: u64, since: Option<Timestamp>) -> Problem {
    let what =
        directory.map_or_else(|| "what is kept".to_owned(), |d| format!("what is kept of {d}"));
    let from = since.map(|at| format!(", {at}")).unwrap_or_default();
    let detail =
        format!("{what} does not reach back to {asked}: it begins with seq {oldest}{from}");
    let problem = Problem::new(http::StatusCode::GONE, "gone", detail).member("oldest", oldest);
    let problem = match since {
        Some(since) => problem.member("oldest_at", since.to_string()),
        None => problem,
    };
    match directory {
        Some(directory) => problem.member("directory", directory),
        None => problem.hint("`history_retention` says how far back it is kept"),
    }
}

/// A directory at a moment. Its reads block.
#[derive(Clone, Copy)]
pub struct Past<'v> {
    then: Then<'v>,
    directory: &'v DirectoryView,
}

impl Past<'_> {
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
        self.then.object(self.directory.name(), kind, slot)
    }

    fn groups_of_user(&self, user: u32) -> Result<Vec<u32>, JournalError> {
        let current = self.directory.groups_of_user(user);
        self.then.journal.groups_of_user_at(self.directory.name(), user, current, self.then.at.seq)
    }

    fn parents(&self, group: u32) -> Result<Vec<u32>, JournalError> {
        let current = self.directory.parents_of_group(group);
        self.then.journal.parents_of_group_at(
            self.directory.name(),
            group,
            current,
            self.then.at.seq,
        )
    }

    fn direct_members(&self, group: u32) -> Result<(Vec<u32>, Vec<u32>), JournalError> {
        let users = self.directory.direct_users(group);
        let current = (users.as_ref(), self.directory.subgroups(group));
        self.then.journal.members_of_group_at(
            self.directory.name(),
            group,
            current,
            self.then.at.seq,
        )
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
