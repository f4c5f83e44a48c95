//! `/v1/users/REF/history` and `/v1/groups/REF/history`: what happened to one
//! object, oldest first, and why.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::check;
use super::freshness::Freshness;
use super::listing::Object;
use super::page::{Page, Position};
use super::parameters::Parameters;
use super::past::{At, Then};
use super::problem::Problem;
use super::resolve::{Candidate, Kind, Search, describe_object};
use super::sources::Sources;
use crate::clock;
use crate::index::DirectoryView;
use crate::model::MemberObject;
use crate::store::{Happening, What};
use crate::wire::{CauseBody, GroupBody, PreviousBody, UserBody};

/// Answers both.
///
/// # Errors
/// When the REF is unknown or ambiguous, or its directory stale.
pub fn answer(
    sources: &Sources,
    kind: Kind,
    text: &str,
    query: Option<&str>,
) -> Result<Vec<u8>, Problem> {
    let known = ["since", "until", "at", "limit", "cursor", "max_age"];
    let parameters = Parameters::parse(query, &known)?;
    let view = sources.view.load();
    let now = clock::now();
    let search = Search {
        view: &view,
        statuses: &sources.statuses,
        max_age: parameters.duration("max_age")?,
        now,
        then: check::then(sources, parameters.text("at"), view.seq, now)?,
    };
    let (Candidate { directory, slot }, known) = whom(sources, &search, kind, text)?;
    let range = Range::read(sources, &parameters, directory, view.seq)?;
    let list = format!("{}-history", kind.word());
    let limit = Page::read_limit(&parameters)?;
    let after = match parameters.text("cursor") {
        Some(cursor) => Position::decode_seq(&list, cursor).ok_or_else(Page::wrong_cursor)?,
        None => range.start,
    };
    let name = directory.name();
    let asked = range.start + 1..=range.end;
    let found = sources.journal.happenings(name, (kind.into(), slot), asked, after, limit + 1)?;
    let more = found.list.len() > limit;
    let shown: Vec<&Happening> = found.list.iter().take(limit).collect();
    let freshness = Freshness::of(&sources.statuses, name, now);
    let mut body = json!({
        "history": shown.iter().map(|one| entry(one)).collect::<Result<Vec<_>, _>>()?,
        "total": found.total,
        "seq": view.seq,
        "directory": name,
        "as_of": freshness.as_of.map(|at| at.to_string()),
        "age_seconds": freshness.age_seconds,
    });
    if let Some(last) = shown.last().filter(|_| more) {
        body["next_cursor"] = Position::encode_seq(&list, last.seq).into();
    }
    body["start"] = start(sources, kind, directory, slot, range.start)?;
    body[kind.word()] = described(sources, kind, (directory, slot), [range.end, known])?;
    serde_json::to_vec(&body).map_err(Problem::internal)
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

/// Whom a REF means: somebody of the moment that is asked about, or of now, or
/// else whoever was called so last; and a seq at which they were there.
fn whom<'v>(
    sources: &Sources,
    search: &Search<'v>,
    kind: Kind,
    text: &str,
) -> Result<(Candidate<'v>, u64), Problem> {
    let shown = search.then.map_or(search.view.seq, |then| then.at.seq);
    let unknown = match search.one(kind, text) {
        Err(problem)
            if search.then.is_none() && problem.status() == http::StatusCode::NOT_FOUND =>
        {
            problem
        }
        outcome => return outcome.map(|found| (found, shown)),
    };
    let mut found: Vec<(Candidate<'v>, u64)> = Vec::new();
    for directory in search.view.directories() {
        gather(sources, kind, directory, text, &mut found)?;
        let rest = text.strip_prefix(directory.name()).and_then(|rest| rest.strip_prefix('/'));
        if let Some(rest) = rest {
            gather(sources, kind, directory, rest, &mut found)?;
        }
    }
    match found.as_slice() {
        [] => Err(unknown),
        [only] => Ok(*only),
        several => Err(ambiguous(sources, kind, text, several)),
    }
}

fn gather<'v>(
    sources: &Sources,
    kind: Kind,
    directory: &'v Arc<DirectoryView>,
    text: &str,
    found: &mut Vec<(Candidate<'v>, u64)>,
) -> Result<(), Problem> {
    let journal = sources.journal.as_ref();
    for slot in journal.formerly_named(directory.name(), kind.into(), text)? {
        if let Some(seq) = journal.last_named(directory.name(), kind.into(), slot, text)? {
            found.push((Candidate { directory, slot }, seq));
        }
    }
    Ok(())
}

fn ambiguous(
    sources: &Sources,
    kind: Kind,
    text: &str,
    several: &[(Candidate<'_>, u64)],
) -> Problem {
    let describe = |(candidate, seq): &(Candidate<'_>, u64)| {
        let at = At { moment: None, seq: *seq };
        let then = Then { journal: sources.journal.as_ref(), at };
        let name = candidate.directory.name();
        match then.object(name, kind, candidate.slot) {
            Ok(Some(object)) => describe_object(name, &object),
            Ok(None) | Err(_) => json!({ "directory": name }),
        }
    };
    let shown: Vec<Value> = several.iter().take(20).map(describe).collect();
    let detail = format!(
        "nobody is called `{}` now, and {} {}s were",
        text.escape_debug(),
        several.len(),
        kind.word()
    );
    Problem::new(http::StatusCode::CONFLICT, "ambiguous", detail)
        .hint("name the one that is meant by its id, or a moment with `at`")
        .member("ambiguous", kind.word())
        .member("candidates", shown)
}

/// How it was where the range begins.
fn start(
    sources: &Sources,
    kind: Kind,
    directory: &DirectoryView,
    slot: u32,
    seq: u64,
) -> Result<Value, Problem> {
    let journal = sources.journal.as_ref();
    let then = Then { journal, at: At { moment: journal.time_of(seq)?, seq } };
    let past = then.of(directory);
    let exists = past.object(kind, slot)?.is_some();
    let mut start = json!({ "seq": seq, "exists": exists });
    if let Some(moment) = then.at.moment {
        start["at"] = moment.to_string().into();
    }
    if !exists {
        return Ok(start);
    }
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
fn described(
    sources: &Sources,
    kind: Kind,
    (directory, slot): (&DirectoryView, u32),
    [end, known]: [u64; 2],
) -> Result<Value, Problem> {
    let journal = sources.journal.as_ref();
    let object =
        |seq| Then { journal, at: At { moment: None, seq } }.object(directory.name(), kind, slot);
    let object = match object(end)? {
        Some(there) => Some(there),
        None => object(known)?,
    };
    Ok(object.map_or(Value::Null, |object| describe_object(directory.name(), &object)))
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
