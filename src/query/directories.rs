//! `/v1/directories`: how each directory fares, and what operators ask of it.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use serde_json::{Value, json};

use super::freshness::{Freshness, moment, moment_or_null};
use super::objects::unknown_directory;
use super::parameters::Parameters;
use super::problem::Problem;
use super::sources::{OperatorError, Sources};
use crate::clock::{self, Timestamp};
use crate::index::View;
use crate::model::Caller;
use crate::sync::status::{Compared, Counts, CrawlSummary, DirectoryStatus, HoldSummary};

/// How long a rejection stands.
const REJECTED_UNTIL: &str = "these removals stay out, and are not told again, until the \
                              provider's answer about them changes or you approve them";

/// One directory, as operators see it.
#[derive(Serialize)]
struct Body<'a> {
    name: &'a str,
    tenant: &'a str,
    product: &'a str,
    provider: &'a str,
    origin: &'a str,
    /// `new`, `healthy`, `failing` or `held`.
    state: &'static str,
    #[serde(flatten)]
    freshness: Freshness,
    /// How old it may become before that is told; `null` without an objective.
    freshness_objective_seconds: Option<u64>,
    /// Whether the objective is met.
    fresh: Option<bool>,
    users: usize,
    groups: usize,
    memberships: usize,
    /// References of groups to nobody known.
    unresolved: u64,
    crawling: bool,
    #[serde(serialize_with = "moment_or_null")]
    last_attempt: Option<Timestamp>,
    #[serde(serialize_with = "moment_or_null")]
    last_success: Option<Timestamp>,
    #[serde(serialize_with = "moment_or_null")]
    next_poll_at: Option<Timestamp>,
    consecutive_failures: u32,
    last_error: Option<&'a str>,
    crawls_sealed: u64,
    crawls_failed: u64,
    /// Differences that only reading again found, since the daemon started.
    drift: u64,
    last_crawl: Option<CrawlBody<'a>>,
    hold: Option<HoldBody<'a>>,
}

#[derive(Serialize)]
struct CrawlBody<'a> {
    /// `full` or `incremental`.
    kind: &'static str,
    duration_ms: u64,
    pages: u64,
    counts: Value,
    requests: &'a std::collections::BTreeMap<String, u64>,
    /// Which lists came to their ends.
    proof: &'a str,
    /// Counts that the provider offers, beside what was read.
    compared: Vec<Value>,
    /// How it is known that everything was visible.
    visibility: Option<&'a str>,
    /// What was read again although no feed named it, and what that cost.
    verified: Value,
    malformed: u64,
    drift: u64,
}

#[derive(Serialize)]
pub(super) struct HoldBody<'a> {
    id: &'a str,
    #[serde(serialize_with = "moment")]
    since: Timestamp,
    /// All of `reasons` in one line.
    reason: &'a str,
    /// One for each limit that is exceeded.
    reasons: &'a [String],
    /// What is held, by category.
    removals: Value,
    /// What letting it through would do.
    counts: Value,
    rejected: bool,
    /// Why everything that changed is held, not these removals alone.
    whole: Option<&'a str>,
}

/// Answers `/v1/directories`.
///
/// # Errors
/// When a parameter is given: it takes none.
pub fn list(sources: &Sources, query: Option<&str>) -> Result<Response, Problem> {
    Parameters::parse(query, &[])?;
    let view = sources.view.load();
    let (all, now) = (sources.statuses.all(), clock::now());
    let bodies: Vec<Body<'_>> = all.iter().map(|status| body(&view, status, now)).collect();
    json_response(
        StatusCode::OK,
        &json!({ "directories": bodies, "total": all.len(), "seq": view.seq }),
    )
}

/// Answers `/v1/directories/NAME`.
///
/// # Errors
/// When there is none of that name.
pub fn one(sources: &Sources, name: &str, query: Option<&str>) -> Result<Response, Problem> {
    Parameters::parse(query, &[])?;
    let status = sources.statuses.get(name).ok_or_else(|| unknown_directory(name))?;
    let view = sources.view.load();
    let mut directory =
        serde_json::to_value(body(&view, &status, clock::now())).map_err(Problem::internal)?;
    directory["seq"] = view.seq.into();
    json_response(StatusCode::OK, &directory)
}

/// Answers `POST /v1/directories/NAME/sync`: the poll is on its way.
///
/// # Errors
/// When there is no such directory.
pub async fn sync(sources: &Sources, name: &str, by: Caller) -> Result<Response, Problem> {
    sources.operator.sync(name, by).await?;
    let seq = sources.view.load().seq;
    json_response(
        StatusCode::ACCEPTED,
        &json!({ "directory": name, "requested": true, "seq": seq }),
    )
}

/// Answers `POST /v1/directories/NAME/hold/ID/approve` and `…/reject`.
///
/// # Errors
/// When that very set is not held.
pub async fn decide(
    sources: &Sources,
    name: &str,
    id: &str,
    approve: bool,
    by: Caller,
) -> Result<Response, Problem> {
    let decision = if approve {
        sources.operator.approve(name, id, by).await?;
        "approved"
    } else {
        sources.operator.reject(name, id, by).await?;
        "rejected"
    };
    let seq = sources.view.load().seq;
    let until = if approve { Value::Null } else { REJECTED_UNTIL.into() };
    json_response(
        StatusCode::OK,
        &json!({ "directory": name, "id": id, "decision": decision, "until": until, "seq": seq }),
    )
}

impl From<OperatorError> for Problem {
    fn from(error: OperatorError) -> Problem {
        let detail = error.to_string();
        match error {
            OperatorError::UnknownDirectory(name) => unknown_directory(&name),
            OperatorError::NothingHeld(_) => {
                Problem::new(StatusCode::NOT_FOUND, "nothing-held", detail)
            }
            OperatorError::OtherHold { held, .. } => {
                Problem::new(StatusCode::CONFLICT, "other-hold", detail)
                    .hint("look at what is held now before deciding about it")
                    .member("held", held)
            }
            OperatorError::PlanGone(_) => Problem::new(StatusCode::GONE, "plan-gone", detail)
                .hint("ask for the plan again, without a cursor"),
            OperatorError::NotReadAgain(_) => {
                Problem::new(StatusCode::CONFLICT, "not-read-again", detail)
                    .hint("`rosterd sync NAME` reads it now")
            }
            OperatorError::Failed(_) => Problem::new(StatusCode::BAD_GATEWAY, "failed", detail)
                .hint("`rosterd doctor` shows what is missing"),
        }
    }
}

fn body<'a>(view: &View, status: &'a DirectoryStatus, now: Timestamp) -> Body<'a> {
    let directory = view.directory(&status.name);
    Body {
        name: &status.name,
        tenant: &status.tenant,
        product: &status.product,
        provider: status.provider,
        origin: &status.origin,
        state: state(status),
        freshness: Freshness::at(status, now),
        freshness_objective_seconds: status.freshness_objective.map(|age| age.as_secs()),
        fresh: status.is_fresh(now),
        users: directory.map_or(0, |directory| directory.user_count()),
        groups: directory.map_or(0, |directory| directory.group_count()),
        memberships: directory.map_or(0, |directory| directory.membership_count()),
        unresolved: status.unresolved,
        crawling: status.crawling,
        last_attempt: status.last_attempt,
        last_success: status.last_success,
        next_poll_at: status.next_poll_at,
        consecutive_failures: status.consecutive_failures,
        last_error: status.last_error.as_deref(),
        crawls_sealed: status.crawls_sealed,
        crawls_failed: status.crawls_failed,
        drift: status.drift,
        last_crawl: status.last_crawl.as_ref().map(crawl_body),
        hold: status.hold.as_ref().map(hold_body),
    }
}

fn state(status: &DirectoryStatus) -> &'static str {
    match status {
        DirectoryStatus { consecutive_failures: 1.., .. } => "failing",
        DirectoryStatus { hold: Some(_), .. } => "held",
        DirectoryStatus { as_of: None, .. } => "new",
        _ => "healthy",
    }
}

fn crawl_body(crawl: &CrawlSummary) -> CrawlBody<'_> {
    CrawlBody {
        kind: crawl.kind(),
        duration_ms: u64::try_from(crawl.duration.as_millis()).unwrap_or(u64::MAX),
        pages: crawl.pages,
        counts: counts(&crawl.counts),
        requests: &crawl.requests,
        proof: &crawl.proof.ends,
        compared: crawl.proof.compared.iter().map(compared).collect(),
        visibility: crawl.proof.visibility.as_deref(),
        verified: json!({
            "users": crawl.verified.users,
            "groups": crawl.verified.groups,
            "requests": crawl.verified.requests,
        }),
        malformed: crawl.malformed,
        drift: crawl.drift,
    }
}

pub(super) fn compared(count: &Compared) -> Value {
    json!({ "what": count.what, "announced": count.announced, "read": count.read })
}

pub(super) fn hold_body(hold: &HoldSummary) -> HoldBody<'_> {
    HoldBody {
        id: &hold.id,
        since: hold.since,
        reason: &hold.reason,
        reasons: &hold.reasons,
        removals: by_name(&hold.held.named()),
        counts: counts(&hold.counts),
        rejected: hold.rejected,
        whole: hold.whole.as_deref(),
    }
}

pub(super) fn counts(counts: &Counts) -> Value {
    by_name(&counts.named())
}

fn by_name(named: &[(&str, u64)]) -> Value {
    named.iter().map(|(name, count)| ((*name).to_owned(), Value::from(*count))).collect()
}

pub(super) fn json_response(status: StatusCode, body: &Value) -> Result<Response, Problem> {
    Ok((status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response())
}
