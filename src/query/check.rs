//! `/v1/check`: is this user in this group? The question that must be cheap.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::freshness::{self, Freshness, Freshnesses};
use super::listing::{AtBody, Object};
use super::openapi::schemas;
use super::parameters::Parameters;
use super::past::{At, Then};
use super::problem::{Problem, ProblemBody};
use super::resolve::{Kind, Pair, Search};
use super::sources::Sources;
use crate::clock::{self, Timestamp};
use crate::config::duration;
use crate::index::TOUCHED;
use crate::store::record::{self, UserSummary};

/// The answer to one check.
#[derive(Serialize, ToSchema)]
#[schema(as = Check)]
pub(super) struct Body<'a> {
    /// Whether the user is in the group, directly or through nested groups.
    member: bool,
    /// The seq of the last event that the answer knows of.
    seq: u64,
    /// Where both are.
    directory: &'a str,
    // Not flattened: that costs the hot path more than two lines do here.
    /// End of the crawl that last confirmed the directory.
    #[serde(serialize_with = "freshness::moment_or_null")]
    #[schema(required)]
    as_of: Option<Timestamp>,
    /// `null` when the clock was set back behind `as_of`.
    #[schema(required)]
    age_seconds: Option<u64>,
    /// The moment that was asked for.
    #[serde(serialize_with = "freshness::moment_or_null", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    at: Option<Timestamp>,
    /// The seq of that moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    at_seq: Option<u64>,
    user: UserBody<'a>,
    group: GroupBody<'a>,
}

/// The user as of the moment that was asked about.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CheckedUser)]
pub(super) struct UserBody<'a> {
    pub id: Cow<'a, str>,
    pub username: Cow<'a, str>,
    pub active: bool,
}

/// The group as of that moment.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CheckedGroup)]
pub(super) struct GroupBody<'a> {
    pub id: Cow<'a, str>,
    pub name: Cow<'a, str>,
}

/// Answers `GET /v1/check`. Blocks when the query asks about the past (`at`).
///
/// # Errors
/// A problem instead of an answer: never "no" for want of knowledge.
pub fn answer(sources: &Sources, query: Option<&str>) -> Result<Vec<u8>, Problem> {
    let parameters = Parameters::parse(query, &["user", "group", "max_age", "at"])?;
    let view = sources.view.load();
    let now = clock::now();
    let search = Search {
        view: &view,
        statuses: &sources.statuses,
        max_age: parameters.duration("max_age")?,
        now,
        then: then(sources, parameters.text("at"), view.seq, now)?,
        only: None,
    };
    let (pair, freshness) =
        search.pair(parameters.required("user")?, parameters.required("group")?)?;
    let at = search.then.map(|then| then.at);
    let Decided { member, user, group } = decide(&pair, search.then)?;
    let body = Body {
        member,
        seq: view.seq,
        directory: pair.directory.name(),
        as_of: freshness.as_of,
        age_seconds: freshness.age_seconds,
        at: at.and_then(|at| at.moment),
        at_seq: at.map(|at| at.seq),
        user,
        group,
    };
    serde_json::to_vec(&body).map_err(Problem::internal)
}

/// Whether the query asks for what only the store knows.
pub fn asks_about_the_past(query: &str) -> bool {
    let mut keys = query.split('&').map(|part| part.split_once('=').map_or(part, |(key, _)| key));
    keys.any(|key| key == "at" || key.contains('%'))
}

/// The moment that is asked about, when it is not now. Blocks.
///
/// # Errors
/// As for [`At::read`].
pub fn then<'v>(
    sources: &'v Sources,
    at: Option<&str>,
    shown: u64,
    now: Timestamp,
) -> Result<Option<Then<'v>>, Problem> {
    let journal = sources.journal.as_ref();
    let at = at.map(|text| At::read(journal, text, shown, now)).transpose()?;
    Ok(at.map(|at| Then { journal, at }))
}

/// The answer, and the two as they were.
struct Decided<'a> {
    member: bool,
    user: UserBody<'a>,
    group: GroupBody<'a>,
}

fn decide<'a>(pair: &Pair<'a>, then: Option<Then<'a>>) -> Result<Decided<'a>, Problem> {
    let Some(then) = then else {
        let member = pair.directory.is_member(pair.user, pair.group);
        return Ok(Decided { member, user: user_body(pair)?, group: group_body(pair)? });
    };
    let past = then.of(pair.directory);
    let member = past.is_member(pair.user, pair.group)?;
    let user = past.object(Kind::User, pair.user)?;
    let group = past.object(Kind::Group, pair.group)?;
    then.require(pair.directory.name())?;
    let (Some(Object::User(user)), Some(Object::Group(group))) = (user, group) else {
        return Err(Problem::internal("what was found at a moment was not there then"));
    };
    let (id, username) = (user.id.into(), user.username.into());
    let user = UserBody { id, username, active: user.active };
    let group = GroupBody { id: group.id.into(), name: group.name.into() };
    Ok(Decided { member, user, group })
}

pub(super) fn user_body<'a>(pair: &Pair<'a>) -> Result<UserBody<'a>, Problem> {
    let record = pair.directory.user_record(pair.user).unwrap_or_default();
    let user = UserSummary::read(record).map_err(Problem::internal)?;
    let (id, username) = (user.id.into(), user.username.into());
    Ok(UserBody { id, username, active: user.active })
}

pub(super) fn group_body<'a>(pair: &Pair<'a>) -> Result<GroupBody<'a>, Problem> {
    let record = pair.directory.group_record(pair.group).unwrap_or_default();
    let (id, name) = record::id_and_name_of(record).map_err(Problem::internal)?;
    Ok(GroupBody { id: id.into(), name: name.into() })
}

/// What `POST /v1/check` takes: a list of pairs, alone or with what goes for all.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CheckBatch)]
pub(super) struct Batch<'a> {
    #[serde(borrow)]
    checks: Vec<Question<'a>>,
    /// Refuse to answer from what is older (`5m`).
    #[schema(value_type = Option<schemas::Duration>)]
    max_age: Option<String>,
    at: Option<Moment>,
}

/// A time or a seq.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
enum Moment {
    Seq(u64),
    #[schema(value_type = Timestamp)]
    Text(String),
}

/// What `POST /v1/check` takes, in both its forms.
#[derive(ToSchema)]
#[schema(as = CheckMany)]
#[serde(untagged)]
#[expect(dead_code, reason = "which of the two it is shows before it is read")]
pub(super) enum Asked<'a> {
    Batch(Batch<'a>),
    Questions(Vec<Question<'a>>),
}

/// One check of a batch.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CheckQuestion)]
pub(super) struct Question<'a> {
    /// An id, a username or an email; `directory/REF` narrows it.
    #[serde(borrow)]
    user: Cow<'a, str>,
    /// An id, a name or an email; `directory/REF` narrows it.
    #[serde(borrow)]
    group: Cow<'a, str>,
}

/// The answers to a batch of checks.
#[derive(Serialize, ToSchema)]
#[schema(as = CheckResults)]
pub(super) struct Results<'a> {
    /// The seq of the last event that the answers know of.
    seq: u64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = AtBody)]
    past: Option<AtBody>,
    /// How old each directory is, by name.
    #[schema(value_type = BTreeMap<String, Freshness>)]
    directories: Freshnesses,
    total: usize,
    /// In the order of the questions.
    checks: Vec<Outcome<'a>>,
}

/// `{"member": …, "directory": …, "user": …, "group": …}`, or
/// `{"problem": …}` without `member` where there is no answer.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = CheckResult)]
enum Outcome<'a> {
    Answer {
        member: bool,
        directory: &'a str,
        user: UserBody<'a>,
        group: GroupBody<'a>,
    },
    Problem {
        #[schema(value_type = ProblemBody)]
        problem: serde_json::Value,
    },
}

/// Answers `POST /v1/check`. Blocks when it asks about the past.
///
/// # Errors
/// When the request as a whole is wrong; what is wrong with one question is
/// told in its place.
pub fn answer_batch(sources: &Sources, body: &[u8]) -> Result<Vec<u8>, Problem> {
    let batch = read_batch(body)?;
    let at = batch.at.as_ref().map(|at| match at {
        Moment::Seq(seq) => seq.to_string(),
        Moment::Text(text) => text.clone(),
    });
    let max_age = batch.max_age.as_deref().map(duration::parse).transpose();
    let view = sources.view.load();
    let now = clock::now();
    let search = Search {
        view: &view,
        statuses: &sources.statuses,
        max_age: max_age.map_err(Problem::bad_request)?,
        now,
        then: then(sources, at.as_deref(), view.seq, now)?,
        only: None,
    };
    let checks = answer_many(&search, &batch.checks);
    let results = Results {
        seq: view.seq,
        past: search.then.map(|then| then.at.into()),
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

/// One answer for each question. Each step is made for many of them before the next one, so
/// that they wait for memory together.
fn answer_many<'v>(search: &Search<'v>, questions: &[Question<'_>]) -> Vec<Outcome<'v>> {
    let mut outcomes = Vec::with_capacity(questions.len());
    for some in questions.chunks(TOUCHED) {
        let (users, groups): (Vec<&str>, Vec<&str>) =
            some.iter().map(|of| (of.user.as_ref(), of.group.as_ref())).unzip();
        search.touch(Kind::User, &users);
        search.touch(Kind::Group, &groups);
        let pairs = users.iter().zip(&groups).map(|(user, group)| Ok(search.pair(user, group)?.0));
        let pairs: Vec<Result<Pair<'v>, Problem>> = pairs.collect();
        search.touch_pairs(&pairs);
        outcomes.extend(pairs.into_iter().map(|pair| {
            pair.and_then(|pair| one_of_many(&pair, search.then))
                .unwrap_or_else(|problem| Outcome::Problem { problem: problem.body() })
        }));
    }
    outcomes
}

fn one_of_many<'v>(pair: &Pair<'v>, then: Option<Then<'v>>) -> Result<Outcome<'v>, Problem> {
    let Decided { member, user, group } = decide(pair, then)?;
    Ok(Outcome::Answer { member, directory: pair.directory.name(), user, group })
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
