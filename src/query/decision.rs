//! Yes or no, and why: what decisions for enforcement points are made of.
//!
//! A check tells *unknown* from *no*; whoever enforces a decision can only let
//! through or not. So what is unknown, ambiguous, stale or disabled is no, and
//! the reason says which.

use std::sync::Arc;

use super::check::{self, GroupBody, UserBody};
use super::freshness::Freshness;
use super::objects::unknown_directory;
use super::problem::Problem;
use super::resolve::Search;
use super::sources::Sources;
use crate::clock::{self, Duration};
use crate::index::{DirectoryView, View};

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    pub user: &'q str,
    pub group: &'q str,
    /// The only directory to look in.
    pub directory: Option<&'q str>,
    /// `None`: any age will do.
    pub max_age: Option<Duration>,
    /// Whether users who are disabled are members all the same.
    pub allow_inactive: bool,
}

/// The answer where both are known.
#[derive(Debug)]
pub struct Decision<'v> {
    pub reason: Reason,
    pub directory: &'v str,
    pub freshness: Freshness,
    pub user: UserBody<'v>,
    pub group: GroupBody<'v>,
}

/// Why it is yes or no. The words do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Member,
    NotMember,
    /// A member, but disabled (R19: who is disabled loses access at once).
    Inactive,
}

impl Reason {
    /// As on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Member => "member",
            Reason::NotMember => "not-member",
            Reason::Inactive => "inactive",
        }
    }

    /// Whether it is yes.
    pub fn allows(self) -> bool {
        self == Reason::Member
    }
}

/// Everything that decisions look at, at one moment.
pub struct Moment<'s> {
    sources: &'s Sources,
    view: Arc<View>,
    now: clock::Timestamp,
}

impl<'s> Moment<'s> {
    /// This one.
    pub fn now(sources: &'s Sources) -> Moment<'s> {
        Moment { sources, view: sources.view.load(), now: clock::now() }
    }

    /// What they look at is as of this seq.
    pub fn seq(&self) -> u64 {
        self.view.seq
    }

    fn directory(
        &self,
        name: &str,
        max_age: Option<Duration>,
    ) -> Result<&Arc<DirectoryView>, Problem> {
        let freshness = Freshness::of(&self.sources.statuses, name, self.now);
        freshness.require(name, max_age)?;
        self.view.directory(name).ok_or_else(|| unknown_directory(name))
    }

    /// Decides.
    ///
    /// # Errors
    /// Where there is no knowledge to decide by; that is no, too.
    pub fn decide(&self, question: Question<'_>) -> Result<Decision<'_>, Problem> {
        let only = question.directory.map(|name| self.directory(name, question.max_age));
        let search = Search {
            view: &self.view,
            statuses: &self.sources.statuses,
            max_age: question.max_age,
            now: self.now,
            then: None,
            only: only.transpose()?,
        };
        let (pair, freshness) = search.pair(question.user, question.group)?;
        let user = check::user_body(&pair)?;
        let group = check::group_body(&pair)?;
        let reason = match pair.directory.is_member(pair.user, pair.group) {
            false => Reason::NotMember,
            true if user.active || question.allow_inactive => Reason::Member,
            true => Reason::Inactive,
        };
        Ok(Decision { reason, directory: pair.directory.name(), freshness, user, group })
    }
}

/// Why there is no knowledge to decide by, in one word that does not change.
pub fn reason_of(problem: &Problem) -> &'static str {
    match (problem.word(), problem.about("unknown"), problem.about("ambiguous")) {
        (_, Some("user"), _) => "unknown-user",
        (_, Some("group"), _) => "unknown-group",
        (_, Some(_), _) => "no-common-directory",
        (_, _, Some("user")) => "ambiguous-user",
        (_, _, Some(_)) => "ambiguous-group",
        (word, _, _) => word,
    }
}
