//! `/v1/users/REF/history` and `/v1/groups/REF/history`: what happened to one
//! object, oldest first, and why.

use serde_json::{Map, Value, json};

use super::check;
use super::freshness::Freshness;
use super::journal::JournalError;
use super::listing::Object;
use super::lives::Lives;
use super::page::{Page, Position};
use super::parameters::Parameters;
use super::past::{At, Then};
use super::problem::Problem;
use super::resolve::{Kind, Search, describe_object};
use super::sources::Sources;
use crate::clock;
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
    };
    let lives = Lives::find(sources, &search, kind, text)?;
    let name = lives.directory.name();
    let range = Range::read(sources, parameters, lives.directory, view.seq)?;
    let body = told(sources, kind, &lives, &range, parameters);
    let start = Then { journal, at: At { moment: None, seq: range.start.min(view.seq) } };
    for then in search.then.into_iter().chain([start]) {
        if !then.reaches(name)? {
            return Ok(Reading::Overtaken(then.unreached(name)?));
        }
    }
    let mut body = body?;
    let freshness = Freshness::of(&sources.statuses, name, now);
    body["seq"] = view.seq.into();
    body["directory"] = name.into();
    body["as_of"] = freshness.as_of.map(|at| at.to_string()).into();
    body["age_seconds"] = freshness.age_seconds.into();
    Ok(Reading::Whole(body))
}

/// All that is read from the journal of a range.
fn told(
    sources: &Sources,
    kind: Kind,
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
    let mut body = json!({
        "history": shown.iter().map(entry).collect::<Result<Vec<_>, _>>()?,
        "total": found.total,
        "start": start(sources, kind, lives, range.start)?,
    });
    if let Some(last) = shown.last().filter(|_| found.list.len() > limit) {
        body["next_cursor"] = Position::encode_seq(&list, last.seq).into();
    }
    body[kind.word()] = described(sources, kind, lives, range.end)?;
    Ok(body)
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
fn start(sources: &Sources, kind: Kind, lives: &Lives<'_>, seq: u64) -> Result<Value, Problem> {
    let journal = sources.journal.as_ref();
    let then = Then { journal, at: At { moment: journal.time_of(seq)?, seq } };
    let past = then.of(lives.directory);
    let there = there(then, kind, lives)?;
    let mut start = json!({ "seq": seq, "exists": there.is_some() });
    if let Some(moment) = then.at.moment {
        start["at"] = moment.to_string().into();
    }
    let Some((slot, _)) = there else { return Ok(start) };
    match kind {
        Kind::User => {
            let mut groups = Vec::new();
            for group in past.groups(slot, false)? {
                if let Some(Object::Group(group)) = past.object(Kind::Group, group)? {
                    groups.push(json!({ "id": group.id, "name": group.name }));
                }
            }
            start["groups"] = groups.into();
        }
        Kind::Group => {
            let (users, groups) = past.members(slot, false)?;
            start["users"] = users.len().into();
            start["groups"] = groups.len().into();
        }
    }
    Ok(start)
}

/// The object at the end of the range, or as it was when it was there.
fn described(sources: &Sources, kind: Kind, lives: &Lives<'_>, end: u64) -> Result<Value, Problem> {
    let then = Then { journal: sources.journal.as_ref(), at: At { moment: None, seq: end } };
    let there = there(then, kind, lives)?;
    let object = there.as_ref().map_or(&lives.known, |(_, object)| object);
    Ok(describe_object(lives.directory.name(), object))
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

/// `{"seq": …, "occurred_at": …, "what": "joined", "group": {…}, "cause": {…}}`
fn entry(happening: &Happening) -> Result<Value, Problem> {
    let mut body = Map::new();
    body.insert("seq".into(), happening.seq.into());
    body.insert("occurred_at".into(), happening.occurred_at.to_string().into());
    body.insert("what".into(), word(&happening.what).into());
    let (name, value) = match &happening.what {
        What::Created(object) | What::Deleted(object) => of_itself(object)?,
        What::Updated { before, after } => {
            let previous = previous(before, after)?;
            let changed: Vec<Value> = previous
                .as_object()
                .map(|fields| fields.keys().map(|name| name.as_str().into()).collect())
                .unwrap_or_default();
            body.insert("changed".into(), changed.into());
            body.insert("previous".into(), previous);
            of_itself(after)?
        }
        What::Joined(group) | What::Left(group) => ("group", short(group)),
        What::Won(member) | What::Lost(member) => {
            let mut shown = short(member);
            let is_user = matches!(member, MemberObject::User(_));
            shown["kind"] = if is_user { "user" } else { "group" }.into();
            ("member", shown)
        }
    };
    body.insert(name.into(), value);
    body.insert("cause".into(), to_value(CauseBody(&happening.cause))?);
    Ok(Value::Object(body))
}

fn word(what: &What) -> &'static str {
    match what {
        What::Created(_) => "created",
        What::Updated { .. } => "updated",
        What::Deleted(_) => "deleted",
        What::Joined(_) => "joined",
        What::Left(_) => "left",
        What::Won(_) => "member_joined",
        What::Lost(_) => "member_left",
    }
}

fn of_itself(object: &MemberObject) -> Result<(&'static str, Value), Problem> {
    match object {
        MemberObject::User(user) => Ok(("user", to_value(UserBody::from(user))?)),
        MemberObject::Group(group) => Ok(("group", to_value(GroupBody::from(group))?)),
    }
}

fn previous(before: &MemberObject, after: &MemberObject) -> Result<Value, Problem> {
    match (before, after) {
        (MemberObject::User(before), MemberObject::User(after)) => {
            to_value(PreviousBody::of_user(before, after))
        }
        (MemberObject::Group(before), MemberObject::Group(after)) => {
            to_value(PreviousBody::of_group(before, after))
        }
        _ => Ok(json!({})),
    }
}

fn short(object: &MemberObject) -> Value {
    match object {
        MemberObject::User(user) => json!({ "id": user.id, "username": user.username }),
        MemberObject::Group(group) => json!({ "id": group.id, "name": group.name }),
    }
}

fn to_value(body: impl serde::Serialize) -> Result<Value, Problem> {
    serde_json::to_value(body).map_err(Problem::internal)
}
