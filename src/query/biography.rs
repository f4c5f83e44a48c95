//! `/v1/users/REF/history` and `/v1/groups/REF/history`: what happened to one
//! object, oldest first, and why.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::check;
use super::freshness::{Freshness, moment, moment_or_null};
use super::journal::JournalError;
use super::listing::Object;
use super::lives::Lives;
use super::page::{Page, Position};
use super::parameters::Parameters;
use super::past::{At, Then};
use super::problem::Problem;
use super::resolve::{CandidateBody, Kind, Search};
use super::sources::Sources;
use crate::clock::{self, Timestamp};
use crate::index::DirectoryView;
use crate::model::MemberObject;
use crate::store::{Happening, Happenings, What};
use crate::wire::{CauseBody, GroupBody, PreviousBody, UserBody};

/// How often an answer is read anew because retention went on meanwhile.
const READINGS_MAX: u32 = 3;

/// Answers both.
///
/// # Errors
/// When the REF is unknown or ambiguous, or its directory stale; when what is
/// asked for goes while it is read.
pub fn answer(
    sources: &Sources,
    kind: Kind,
    text: &str,
    query: Option<&str>,
) -> Result<Vec<u8>, Problem> {
    let known = ["since", "until", "at", "limit", "cursor", "max_age"];
    let parameters = Parameters::parse(query, &known)?;
    let mut reading = 1;
    loop {
        let gone = match read(sources, kind, text, &parameters)? {
            Reading::Whole(body) => return serde_json::to_vec(&body).map_err(Problem::internal),
            Reading::Overtaken(gone) => gone,
        };
        if reading == READINGS_MAX {
            return Err(gone);
        }
        reading += 1;
    }
}

/// What happened to one user or group, oldest first.
#[derive(Serialize, ToSchema)]
#[schema(as = History)]
pub(super) struct Body<'a> {
    history: Vec<EntryBody<'a>>,
    /// Of all pages.
    total: u64,
    /// How it was where the range begins.
    start: StartBody,
    /// Left out on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
    /// The user at the end of the range, or when it was there last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    user: Option<CandidateBody<'a>>,
    /// The group at the end of the range, or when it was there last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    group: Option<CandidateBody<'a>>,
    seq: u64,
    directory: &'a str,
    #[serde(flatten)]
    freshness: Freshness,
}

/// How it was where a range begins.
#[derive(Serialize, ToSchema)]
#[schema(as = HistoryStart)]
struct StartBody {
    seq: u64,
    /// Left out where it is not known.
    #[serde(serialize_with = "moment_or_null", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    at: Option<Timestamp>,
    exists: bool,
    /// Of a user the groups, of a group how many there were directly in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    groups: Option<StartGroups>,
    /// How many were directly in a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    users: Option<usize>,
}

/// The groups of a user, or the number of groups in a group.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = HistoryStartGroups)]
enum StartGroups {
    Of(Vec<NamedGroup>),
    In(usize),
}

/// A group by its names.
#[derive(Serialize, ToSchema)]
struct NamedGroup {
    id: String,
    name: String,
}

/// One thing that happened.
#[derive(Serialize, ToSchema)]
#[schema(as = HistoryEntry)]
struct EntryBody<'a> {
    seq: u64,
    #[serde(serialize_with = "moment")]
    occurred_at: Timestamp,
    what: Word,
    /// Of an update: the names of the fields that changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    changed: Option<Vec<&'static str>>,
    /// Of an update: these fields as they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    previous: Option<PreviousBody<'a>>,
    /// The user itself, as it was after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    user: Option<UserBody<'a>>,
    /// The group itself, as it was after it; or the group that was joined or left.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    group: Option<GroupShown<'a>>,
    /// Who joined or left the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    member: Option<ShortBody<'a>>,
    cause: CauseBody<'a>,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = HistoryWord)]
enum Word {
    Created,
    Updated,
    Deleted,
    Joined,
    Left,
    MemberJoined,
    MemberLeft,
}

/// A group, whole or by its names.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = HistoryGroup)]
enum GroupShown<'a> {
    Whole(GroupBody<'a>),
    Short(ShortBody<'a>),
}

/// A user or a group by its names.
#[derive(Serialize, ToSchema)]
#[schema(as = Named)]
struct ShortBody<'a> {
    /// Of a member: `user` or `group`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    kind: Option<&'static str>,
    id: &'a str,
    /// Of a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    username: Option<&'a str>,
    /// Of a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    name: Option<&'a str>,
}

enum Reading {
    Whole(Value),
    /// What it begins with is no longer kept, so that something may be missing.
    Overtaken(Problem),
}

fn read(
    sources: &Sources,
    kind: Kind,
    text: &str,
    parameters: &Parameters<'_>,
) -> Result<Reading, Problem> {
    let journal = sources.journal.as_ref();
    let view = sources.view.load();
    let now = clock::now();
    let search = Search {
        view: &view,
        statuses: &sources.statuses,
        max_age: parameters.duration("max_age")?,
        now,
        then: check::then(sources, parameters.text("at"), view.seq, now)?,
        only: None,
    };
    let lives = Lives::find(sources, &search, kind, text)?;
    let name = lives.directory.name();
    let range = Range::read(sources, parameters, lives.directory, view.seq)?;
    let about = About { kind, seq: view.seq, now };
    let body = told(sources, &about, &lives, &range, parameters);
    let start = Then { journal, at: At { moment: None, seq: range.start.min(view.seq) } };
    for then in search.then.into_iter().chain([start]) {
        if !then.reaches(name)? {
            return Ok(Reading::Overtaken(then.unreached(name)?));
        }
    }
    Ok(Reading::Whole(body?))
}

/// What an answer is about, and when it is made.
struct About {
    kind: Kind,
    /// Of the view.
    seq: u64,
    now: Timestamp,
}

/// All that is read from the journal of a range.
fn told(
    sources: &Sources,
    &About { kind, seq, now }: &About,
    lives: &Lives<'_>,
    range: &Range,
    parameters: &Parameters<'_>,
) -> Result<Value, Problem> {
    let list = format!("{}-history", kind.word());
    let limit = Page::read_limit(parameters)?;
    let after = match parameters.text("cursor") {
        Some(cursor) => Position::decode_seq(&list, cursor).ok_or_else(Page::wrong_cursor)?,
        None => range.start,
    };
    let found = happenings(sources, kind, lives, range, after, limit + 1)?;
    let shown = found.list.get(..limit).unwrap_or(&found.list);
    let last = shown.last().filter(|_| found.list.len() > limit);
    let at_end = at_end(sources, kind, lives, range.end)?;
    let directory = lives.directory.name();
    let described =
        CandidateBody::of(directory, at_end.as_ref().map_or(&lives.known, |(_, object)| object));
    let body = Body {
        history: shown.iter().map(entry).collect(),
        total: found.total,
        start: start(sources, kind, lives, range.start)?,
        next_cursor: last.map(|last| Position::encode_seq(&list, last.seq)),
        user: (kind == Kind::User).then_some(described),
        group: (kind == Kind::Group).then_some(described),
        seq,
        directory,
        freshness: Freshness::of(&sources.statuses, directory, now),
    };
    serde_json::to_value(body).map_err(Problem::internal)
}

/// What happened in all lives, as one log.
fn happenings(
    sources: &Sources,
    kind: Kind,
    lives: &Lives<'_>,
    range: &Range,
    after: u64,
    limit: usize,
) -> Result<Happenings, Problem> {
    let name = lives.directory.name();
    let mut all = Happenings::default();
    for &slot in &lives.slots {
        let asked = range.start + 1..=range.end;
        let life = sources.journal.happenings(name, (kind.into(), slot), asked, after, limit)?;
        all.total += life.total;
        all.list.extend(life.list);
    }
    all.list.sort_by_key(|one| one.seq);
    all.list.truncate(limit);
    Ok(all)
}

/// Seqs after `start`, up to `end`.
struct Range {
    start: u64,
    end: u64,
}

impl Range {
    /// What is asked for of what is kept.
    fn read(
        sources: &Sources,
        parameters: &Parameters<'_>,
        directory: &DirectoryView,
        shown: u64,
    ) -> Result<Range, Problem> {
        let journal = sources.journal.as_ref();
        let oldest = journal.history_start(directory.name())?.unwrap_or(shown);
        let find = |key: &str| match parameters.text(key) {
            Some(text) => {
                At::find(journal, text, shown, clock::now()).map(|at| at.map(|at| at.seq))
            }
            None => Ok(None),
        };
        let start = find("since")?.unwrap_or(oldest).max(oldest);
        let end = match parameters.text("until") {
            // What is older than all that is kept ends before it.
            Some(_) => find("until")?.unwrap_or(0),
            None => shown,
        };
        Ok(Range { start, end })
    }
}

/// How it was where the range begins.
fn start(sources: &Sources, kind: Kind, lives: &Lives<'_>, seq: u64) -> Result<StartBody, Problem> {
    let journal = sources.journal.as_ref();
    let then = Then { journal, at: At { moment: journal.time_of(seq)?, seq } };
    let past = then.of(lives.directory);
    let there = there(then, kind, lives)?;
    let (at, exists) = (then.at.moment, there.is_some());
    let start = StartBody { seq, at, exists, groups: None, users: None };
    let Some((slot, _)) = there else { return Ok(start) };
    match kind {
        Kind::User => {
            let mut groups = Vec::new();
            for group in past.groups(slot, false)? {
                if let Some(Object::Group(group)) = past.object(Kind::Group, group)? {
                    groups.push(NamedGroup { id: group.id, name: group.name });
                }
            }
            Ok(StartBody { groups: Some(StartGroups::Of(groups)), ..start })
        }
        Kind::Group => {
            let (users, groups) = past.members(slot, false)?;
            let (users, groups) = (Some(users.len()), Some(StartGroups::In(groups.len())));
            Ok(StartBody { users, groups, ..start })
        }
    }
}

/// The object at the end of the range, if it was there.
fn at_end(
    sources: &Sources,
    kind: Kind,
    lives: &Lives<'_>,
    end: u64,
) -> Result<Option<(u32, Object)>, JournalError> {
    there(
        Then { journal: sources.journal.as_ref(), at: At { moment: None, seq: end } },
        kind,
        lives,
    )
}

/// The life of a moment: the slot, and what was in it.
fn there(
    then: Then<'_>,
    kind: Kind,
    lives: &Lives<'_>,
) -> Result<Option<(u32, Object)>, JournalError> {
    for &slot in &lives.slots {
        if let Some(object) = then.object(lives.directory.name(), kind, slot)? {
            return Ok(Some((slot, object)));
        }
    }
    Ok(None)
}

fn entry(happening: &Happening) -> EntryBody<'_> {
    let body = EntryBody {
        seq: happening.seq,
        occurred_at: happening.occurred_at,
        what: Word::of(&happening.what),
        changed: None,
        previous: None,
        user: None,
        group: None,
        member: None,
        cause: CauseBody(&happening.cause),
    };
    match &happening.what {
        What::Created(object) | What::Deleted(object) => body.of_itself(object),
        What::Updated { before, after } => {
            let previous = previous(before, after);
            let mut changed: Vec<&str> = previous.names().collect();
            changed.sort_unstable();
            let body = EntryBody { changed: Some(changed), previous: Some(previous), ..body };
            body.of_itself(after)
        }
        What::Joined(group) | What::Left(group) => {
            EntryBody { group: Some(GroupShown::Short(short(group))), ..body }
        }
        What::Won(member) | What::Lost(member) => {
            let is_user = matches!(member, MemberObject::User(_));
            let kind = Some(if is_user { "user" } else { "group" });
            EntryBody { member: Some(ShortBody { kind, ..short(member) }), ..body }
        }
    }
}

impl Word {
    fn of(what: &What) -> Word {
        match what {
            What::Created(_) => Word::Created,
            What::Updated { .. } => Word::Updated,
            What::Deleted(_) => Word::Deleted,
            What::Joined(_) => Word::Joined,
            What::Left(_) => Word::Left,
            What::Won(_) => Word::MemberJoined,
            What::Lost(_) => Word::MemberLeft,
        }
    }
}

impl<'a> EntryBody<'a> {
    fn of_itself(self, object: &'a MemberObject) -> EntryBody<'a> {
        match object {
            MemberObject::User(user) => EntryBody { user: Some(user.into()), ..self },
            MemberObject::Group(group) => {
                EntryBody { group: Some(GroupShown::Whole(group.into())), ..self }
            }
        }
    }
}

fn previous<'a>(before: &'a MemberObject, after: &MemberObject) -> PreviousBody<'a> {
    match (before, after) {
        (MemberObject::User(before), MemberObject::User(after)) => {
            PreviousBody::of_user(before, after)
        }
        (MemberObject::Group(before), MemberObject::Group(after)) => {
            PreviousBody::of_group(before, after)
        }
        _ => PreviousBody::default(),
    }
}

fn short(object: &MemberObject) -> ShortBody<'_> {
    match object {
        MemberObject::User(user) => {
            ShortBody { kind: None, id: &user.id, username: Some(&user.username), name: None }
        }
        MemberObject::Group(group) => {
            ShortBody { kind: None, id: &group.id, username: None, name: Some(&group.name) }
        }
    }
}
