//! Whom a REF means: a provider id, a username, a name or an email, in any
//! directory or, as `directory/REF`, in one.
//!
//! Within a directory an id wins: ids are given by the provider and never
//! change hands. Everything else that fits is a candidate, and two candidates
//! are an error rather than a guess: a user who takes another's address for a
//! name must not be taken for that other.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::freshness::{self, Freshness};
use super::listing::{Listed, Object};
use super::past::Then;
use super::problem::Problem;
use crate::clock::{Duration, Timestamp};
use crate::index::{DirectoryView, View};
use crate::model::MemberKind;
use crate::store::record::{GroupKeys, UserKeys};
use crate::sync::status::Statuses;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    User,
    Group,
}

/// An object that a REF may mean.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'v> {
    pub directory: &'v Arc<DirectoryView>,
    pub slot: u32,
}

/// A user and a group of the same directory.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'v> {
    pub directory: &'v Arc<DirectoryView>,
    pub user: u32,
    pub group: u32,
}

/// Where and by what rules to look.
#[derive(Clone, Copy)]
pub struct Search<'v> {
    pub view: &'v View,
    pub statuses: &'v Statuses,
    pub max_age: Option<Duration>,
    pub now: Timestamp,
    /// The moment whose objects and names are looked at, when it is not now.
    pub then: Option<Then<'v>>,
    /// The only directory to look in, whatever a REF says.
    pub only: Option<&'v Arc<DirectoryView>>,
}

impl<'v> Search<'v> {
    /// The one object that `text` means.
    ///
    /// # Errors
    /// 404 unknown, 409 ambiguous, or 503 when where it is, or may be, is stale.
    pub fn one(&self, kind: Kind, text: &str) -> Result<Candidate<'v>, Problem> {
        match self.candidates(kind, text)?.as_slice() {
            [] => Err(self.unknown(kind, text)?),
            [only] => {
                self.freshness(only.directory)?;
                Ok(*only)
            }
            several => Err(self.ambiguous(kind, text, several)),
        }
    }

    /// The user and the group that two REFs mean together: the directory of
    /// one narrows the other.
    ///
    /// # Errors
    /// As [`Search::one`]; 404 also when no directory has both.
    pub fn pair(&self, user: &str, group: &str) -> Result<(Pair<'v>, Freshness), Problem> {
        let users = self.candidates(Kind::User, user)?;
        let groups = self.candidates(Kind::Group, group)?;
        let pair = match (users.as_slice(), groups.as_slice()) {
            ([], _) => return Err(self.unknown(Kind::User, user)?),
            (_, []) => return Err(self.unknown(Kind::Group, group)?),
            ([one], [other]) if same(one, other) => pair_of(one, other),
            (users, groups) => self.only_pair((user, users), (group, groups))?,
        };
        Ok((pair, self.freshness(pair.directory)?))
    }

    /// Reads ahead what [`Search::pair`] will read for these.
    pub fn touch(&self, kind: Kind, texts: &[&str]) {
        if self.then.is_some() || self.only.is_some() {
            return;
        }
        let places: Vec<Option<(&str, &str)>> =
            texts.iter().map(|text| self.narrowed(text)).collect();
        for directory in self.view.directories() {
            let here = texts.iter().zip(&places).filter_map(|(text, place)| match place {
                None => Some(*text),
                Some((name, rest)) => (*name == directory.name()).then_some(*rest),
            });
            let here: Vec<&str> = here.collect();
            match kind {
                Kind::User => directory.touch_users(&here),
                Kind::Group => directory.touch_groups(&here),
            }
        }
    }

    /// Reads ahead what comparing these pairs, and showing both, will read.
    pub fn touch_pairs(&self, pairs: &[Result<Pair<'v>, Problem>]) {
        if self.then.is_some() {
            return;
        }
        for directory in self.view.directories() {
            let here = pairs.iter().flatten().filter(|of| Arc::ptr_eq(of.directory, directory));
            let (users, groups): (Vec<u32>, Vec<u32>) = here.map(|of| (of.user, of.group)).unzip();
            directory.touch_pairs(&users, &groups);
        }
    }

    fn only_pair(
        &self,
        (user, users): (&str, &[Candidate<'v>]),
        (group, groups): (&str, &[Candidate<'v>]),
    ) -> Result<Pair<'v>, Problem> {
        let together = |one: &Candidate<'v>| {
            let one = *one;
            groups
                .iter()
                .filter(move |other| same(&one, other))
                .map(move |other| pair_of(&one, other))
        };
        let pairs: Vec<Pair<'v>> = users.iter().flat_map(together).collect();
        match pairs.as_slice() {
            [] => {
                freshness::require_all(self.statuses, None, self.max_age, self.now)?;
                Err(apart((user, users), (group, groups)))
            }
            [only] => Ok(*only),
            [first, others @ ..]
                if others.iter().all(|other| {
                    other.user == first.user && Arc::ptr_eq(other.directory, first.directory)
                }) =>
            {
                Err(self.ambiguous(Kind::Group, group, groups))
            }
            _ => Err(self.ambiguous(Kind::User, user, users)),
        }
    }

    fn candidates(&self, kind: Kind, text: &str) -> Result<Vec<Candidate<'v>>, Problem> {
        let mut found = Vec::new();
        if let Some(directory) = self.only {
            self.add(&mut found, kind, directory, text)?;
            return Ok(found);
        }
        // What names a directory means nobody elsewhere, also while there is
        // nothing of that directory to look at: else whoever can choose a name
        // in one could pass for somebody, or for a group, of another.
        if let Some((name, rest)) = self.narrowed(text) {
            if let Some(directory) = self.view.directory(name) {
                self.add(&mut found, kind, directory, rest)?;
                self.add(&mut found, kind, directory, text)?;
            }
            return Ok(found);
        }
        for directory in self.view.directories() {
            self.add(&mut found, kind, directory, text)?;
        }
        Ok(found)
    }

    fn add(
        &self,
        found: &mut Vec<Candidate<'v>>,
        kind: Kind,
        directory: &'v Arc<DirectoryView>,
        text: &str,
    ) -> Result<(), Problem> {
        let Some(then) = self.then else {
            add(found, kind, directory, text);
            return Ok(());
        };
        if then.reaches(directory.name())? {
            let slots = then.candidates(kind, directory, text)?;
            slots.into_iter().for_each(|slot| push(found, directory, slot));
        }
        Ok(())
    }

    fn narrowed<'t>(&self, text: &'t str) -> Option<(&'t str, &'t str)> {
        let (name, rest) = text.split_once('/')?;
        let is_one = self.view.directory(name).is_some() || self.statuses.get(name).is_some();
        is_one.then_some((name, rest))
    }

    fn freshness(&self, directory: &DirectoryView) -> Result<Freshness, Problem> {
        let freshness = Freshness::of(self.statuses, directory.name(), self.now);
        freshness.require(directory.name(), self.max_age)?;
        Ok(freshness)
    }

    /// That nobody is called so; it may also be that nobody can tell.
    fn unknown(&self, kind: Kind, text: &str) -> Result<Problem, Problem> {
        let narrowed = || self.narrowed(text).map(|(name, _)| name);
        let only = self.only.map(|directory| directory.name()).or_else(narrowed);
        if let Err(stale) = freshness::require_all(self.statuses, only, self.max_age, self.now) {
            return Ok(stale);
        }
        if let Some(unreached) = self.unreached(only)? {
            return Ok(unreached);
        }
        let place =
            only.map_or("no directory has".to_owned(), |name| format!("{name} does not have"));
        let word = kind.word();
        let then = self.then.map(|then| format!(" at seq {}", then.at.seq)).unwrap_or_default();
        Ok(Problem::unknown(format!("{place} a {word} `{}`{then}", text.escape_debug()))
            .member("unknown", word)
            .hint(kind.hint()))
    }

    /// The first directory, or the one named, that is not kept back to the moment.
    fn unreached(&self, only: Option<&str>) -> Result<Option<Problem>, Problem> {
        let Some(then) = self.then else { return Ok(None) };
        for directory in self.view.directories().map(|directory| directory.name()) {
            if only.is_none_or(|only| only == directory) && !then.reaches(directory)? {
                return then.unreached(directory).map(Some);
            }
        }
        Ok(None)
    }

    fn ambiguous(&self, kind: Kind, text: &str, candidates: &[Candidate<'_>]) -> Problem {
        let describe = |candidate: &Candidate<'_>| match self.then {
            None => describe(kind, candidate).into(),
            Some(then) => describe_then(then, kind, candidate),
        };
        let shown: Vec<Value> = candidates.iter().take(20).map(describe).collect();
        let detail =
            format!("`{}` may mean {} {}s", text.escape_debug(), candidates.len(), kind.word());
        Problem::new(http::StatusCode::CONFLICT, "ambiguous", detail)
            .hint("name the one that is meant by its id, or as directory/REF")
            .member("ambiguous", kind.word())
            .member("candidates", shown)
    }
}

impl Kind {
    /// `user` or `group`.
    pub fn word(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Group => "group",
        }
    }

    /// `users` or `groups`.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::User => "users",
            Kind::Group => "groups",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Kind::User => "a user is named by id, username or email, or as directory/REF",
            Kind::Group => "a group is named by id, name or email, or as directory/REF",
        }
    }
}

fn add<'v>(
    found: &mut Vec<Candidate<'v>>,
    kind: Kind,
    directory: &'v Arc<DirectoryView>,
    text: &str,
) {
    let by_id = match kind {
        Kind::User => directory.user_by_id(text),
        Kind::Group => directory.group_by_id(text),
    };
    let mut push = |slot: u32| push(found, directory, slot);
    match (by_id, kind) {
        (Some(slot), _) => push(slot),
        (None, Kind::User) => {
            directory.users_by_username(text).for_each(&mut push);
            directory.users_by_email(text).for_each(&mut push);
        }
        (None, Kind::Group) => {
            directory.groups_by_name(text).for_each(&mut push);
            directory.groups_by_email(text).for_each(&mut push);
        }
    }
}

fn push<'v>(found: &mut Vec<Candidate<'v>>, directory: &'v Arc<DirectoryView>, slot: u32) {
    let known =
        |other: &Candidate<'_>| other.slot == slot && Arc::ptr_eq(other.directory, directory);
    if !found.iter().any(known) {
        found.push(Candidate { directory, slot });
    }
}

fn same(user: &Candidate<'_>, group: &Candidate<'_>) -> bool {
    Arc::ptr_eq(user.directory, group.directory)
}

fn pair_of<'v>(user: &Candidate<'v>, group: &Candidate<'v>) -> Pair<'v> {
    Pair { directory: user.directory, user: user.slot, group: group.slot }
}

fn describe<'v>(kind: Kind, candidate: &Candidate<'v>) -> CandidateBody<'v> {
    let directory = candidate.directory;
    let none = CandidateBody::nothing(directory.name());
    let described = match kind {
        Kind::User => directory.user_record(candidate.slot).and_then(|record| {
            let UserKeys { id, username, emails, .. } = UserKeys::read(record).ok()?;
            Some(none.user(id, username, emails.first().copied()))
        }),
        Kind::Group => directory.group_record(candidate.slot).and_then(|record| {
            let GroupKeys { id, name, email, .. } = GroupKeys::read(record).ok()?;
            Some(none.group(id, name, email))
        }),
    };
    described.unwrap_or(none)
}

fn describe_then(then: Then<'_>, kind: Kind, candidate: &Candidate<'_>) -> Value {
    let name = candidate.directory.name();
    match then.object(name, kind, candidate.slot) {
        Ok(Some(object)) => CandidateBody::of(name, &object).into(),
        Ok(None) | Err(_) => CandidateBody::nothing(name).into(),
    }
}

/// One object that a REF may mean. What cannot be read of it is left out.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = Candidate)]
pub struct CandidateBody<'a> {
    directory: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    id: Option<&'a str>,
    /// Of a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    username: Option<&'a str>,
    /// Of a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    name: Option<&'a str>,
    /// `null` when it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    email: Option<Option<&'a str>>,
}

impl<'a> CandidateBody<'a> {
    /// What a list of candidates shows of one.
    pub fn of(directory: &'a str, object: &'a Object) -> CandidateBody<'a> {
        let none = CandidateBody::nothing(directory);
        match object {
            Object::User(user) => none.user(&user.id, &user.username, user.email()),
            Object::Group(group) => none.group(&group.id, &group.name, group.email.as_deref()),
        }
    }

    fn nothing(directory: &'a str) -> CandidateBody<'a> {
        CandidateBody { directory, id: None, username: None, name: None, email: None }
    }

    fn user(self, id: &'a str, username: &'a str, email: Option<&'a str>) -> CandidateBody<'a> {
        CandidateBody { id: Some(id), username: Some(username), email: Some(email), ..self }
    }

    fn group(self, id: &'a str, name: &'a str, email: Option<&'a str>) -> CandidateBody<'a> {
        CandidateBody { id: Some(id), name: Some(name), email: Some(email), ..self }
    }
}

impl From<CandidateBody<'_>> for Value {
    fn from(body: CandidateBody<'_>) -> Value {
        // Texts have no way to fail.
        serde_json::to_value(body).unwrap_or_default()
    }
}

impl From<Kind> for Listed {
    fn from(kind: Kind) -> Listed {
        match kind {
            Kind::User => Listed::Users,
            Kind::Group => Listed::Groups,
        }
    }
}

impl From<Kind> for MemberKind {
    fn from(kind: Kind) -> MemberKind {
        match kind {
            Kind::User => MemberKind::User,
            Kind::Group => MemberKind::Group,
        }
    }
}

fn apart(
    (user, users): (&str, &[Candidate<'_>]),
    (group, groups): (&str, &[Candidate<'_>]),
) -> Problem {
    let names = |candidates: &[Candidate<'_>]| {
        let names: Vec<&str> =
            candidates.iter().map(|candidate| candidate.directory.name()).collect();
        names.join(", ")
    };
    let detail = format!(
        "no directory has both: the user `{}` is in {}, the group `{}` in {}",
        user.escape_debug(),
        names(users),
        group.escape_debug(),
        names(groups)
    );
    Problem::unknown(detail).member("unknown", "pair")
}
