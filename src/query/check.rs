//! `/v1/check`: is this user in this group? The question that must be cheap.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::freshness::{self, Freshnesses};
use super::parameters::Parameters;
use super::past::Past;
use super::problem::Problem;
use super::resolve::{Pair, Search};
use super::sources::Sources;
use crate::clock::{self, Timestamp};
use crate::config::duration;
use crate::store::record::{self, UserSummary};

/// The answer to one check.
#[derive(Serialize)]
struct Body<'a> {
    member: bool,
    seq: u64,
    directory: &'a str,
    // Not flattened: that costs the hot path more than two lines do here.
    #[serde(serialize_with = "freshness::moment_or_null")]
    as_of: Option<Timestamp>,
    age_seconds: Option<u64>,
    /// The moment that was asked for.
    #[serde(serialize_with = "freshness::moment_or_null", skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    /// The seq of that moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_seq: Option<u64>,
    user: UserBody<'a>,
    group: GroupBody<'a>,
}

/// The user as of now, also when the question was about the past.
#[derive(Serialize)]
struct UserBody<'a> {
    id: &'a str,
    username: &'a str,
    active: bool,
}

#[derive(Serialize)]
struct GroupBody<'a> {
    id: &'a str,
    name: &'a str,
}

/// Answers `GET /v1/check`. Blocks when the query asks about the past (`at`).
///
/// # Errors
/// A problem instead of an answer: never "no" for want of knowledge.
pub fn answer(sources: &Sources, query: Option<&str>) -> Result<Vec<u8>, Problem> {
    let parameters = Parameters::parse(query, &["user", "group", "max_age", "at"])?;
    let view = sources.view.load();
    let search = Search {
        view: &view,
        statuses: &sources.statuses,
        max_age: parameters.duration("max_age")?,
        now: clock::now(),
    };
    let (pair, freshness) =
        search.pair(parameters.required("user")?, parameters.required("group")?)?;
    let at = parameters.moment("at")?;
    let (member, at_seq) = decide(sources, &pair, at, search.now)?;
    let body = Body {
        member,
        seq: view.seq,
        directory: pair.directory.name(),
        as_of: freshness.as_of,
        age_seconds: freshness.age_seconds,
        at: at_seq.and(at),
        at_seq,
        user: user_body(&pair)?,
        group: group_body(&pair)?,
    };
    serde_json::to_vec(&body).map_err(Problem::internal)
}

/// Whether the query asks for what only the store knows.
pub fn asks_about_the_past(query: &str) -> bool {
    let mut keys = query.split('&').map(|part| part.split_once('=').map_or(part, |(key, _)| key));
    keys.any(|key| key == "at" || key.contains('%'))
}

/// The answer, and the seq it holds for when that is in the past.
fn decide(
    sources: &Sources,
    pair: &Pair<'_>,
    at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(bool, Option<u64>), Problem> {
    let Some(at) = at else {
        return Ok((pair.directory.is_member(pair.user, pair.group), None));
    };
    let past = Past::at(sources.journal.as_ref(), pair.directory, at, now)?;
    let member = past.is_member(pair.user, pair.group)?;
    Ok((member, Some(past.seq)))
}

fn user_body<'a>(pair: &Pair<'a>) -> Result<UserBody<'a>, Problem> {
    let record = pair.directory.user_record(pair.user).unwrap_or_default();
    let user = UserSummary::read(record).map_err(Problem::internal)?;
    Ok(UserBody { id: user.id, username: user.username, active: user.active })
}

fn group_body<'a>(pair: &Pair<'a>) -> Result<GroupBody<'a>, Problem> {
    let record = pair.directory.group_record(pair.group).unwrap_or_default();
    let (id, name) = record::id_and_name_of(record).map_err(Problem::internal)?;
    Ok(GroupBody { id, name })
}

/// What `POST /v1/check` takes: a list of pairs, alone or with what goes for all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Batch<'a> {
    #[serde(borrow)]
    checks: Vec<Question<'a>>,
    max_age: Option<String>,
    at: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question<'a> {
    #[serde(borrow)]
    user: Cow<'a, str>,
    #[serde(borrow)]
    group: Cow<'a, str>,
}

#[derive(Serialize)]
struct Results<'a> {
    seq: u64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    past: Option<At>,
    directories: Freshnesses,
    total: usize,
    /// In the order of the questions.
    checks: Vec<Outcome<'a>>,
}

#[derive(Clone, Copy, Serialize)]
struct At {
    #[serde(serialize_with = "freshness::moment")]
    at: Timestamp,
}

/// `{"member": …, "directory": …, "user": …, "group": …}`, or
/// `{"problem": …}` without `member` where there is no answer.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome<'a> {
    Answer { member: bool, directory: &'a str, user: UserBody<'a>, group: GroupBody<'a> },
    Problem { problem: serde_json::Value },
}

/// Answers `POST /v1/check`. Blocks when it asks about the past.
///
/// # Errors
/// When the request as a whole is wrong; what is wrong with one question is
/// told in its place.
pub fn answer_batch(sources: &Sources, body: &[u8]) -> Result<Vec<u8>, Problem> {
    let batch = read_batch(body)?;
    let at = batch.at.as_deref().map(Timestamp::parse).transpose();
    let at = at.map_err(Problem::bad_request)?;
    let max_age = batch.max_age.as_deref().map(duration::parse).transpose();
    let view = sources.view.load();
    let search = Search {
        view: &view,
        statuses: &sources.statuses,
        max_age: max_age.map_err(Problem::bad_request)?,
        now: clock::now(),
    };
    let checks: Vec<Outcome<'_>> = batch
        .checks
        .iter()
        .map(|question| {
            one_of_many(sources, &search, question, at)
                .unwrap_or_else(|problem| Outcome::Problem { problem: problem.body() })
        })
        .collect();
    let results = Results {
        seq: view.seq,
        past: at.map(|at| At { at }),
        directories: freshness::of_all(&sources.statuses, None, search.now),
        total: checks.len(),
        checks,
    };
    serde_json::to_vec(&results).map_err(Problem::internal)
}

/// Whether a batch is short enough to be answered on the spot.
pub fn is_short(body: &[u8]) -> bool {
    const SHORT_BYTES: usize = 16 << 10;
    body.len() <= SHORT_BYTES && !body.windows(4).any(|window| window == b"\"at\"")
}

fn one_of_many<'v>(
    sources: &Sources,
    search: &Search<'v>,
    question: &Question<'_>,
    at: Option<Timestamp>,
) -> Result<Outcome<'v>, Problem> {
    let (pair, _) = search.pair(&question.user, &question.group)?;
    let (member, _) = decide(sources, &pair, at, search.now)?;
    Ok(Outcome::Answer {
        member,
        directory: pair.directory.name(),
        user: user_body(&pair)?,
        group: group_body(&pair)?,
    })
}

pub(super) fn read_batch(body: &[u8]) -> Result<Batch<'_>, Problem> {
    let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let batch = if is_list {
        serde_json::from_slice(body).map(|checks| Batch { checks, max_age: None, at: None })
    } else {
        serde_json::from_slice(body)
    };
    batch.map_err(|reason| {
        Problem::bad_request(format!("the body is no list of checks: {reason}"))
            .hint(r#"send {"checks": [{"user": "…", "group": "…"}, …]}, or that list alone"#)
    })
}
