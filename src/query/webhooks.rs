//! `/v1/webhooks`: how each endpoint fares, what was sent to it, and what
//! operators ask of it.

use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::directories::json_response;
use super::freshness::{moment, moment_or_null};
use super::parameters::Parameters;
use super::problem::Problem;
use super::sources::{Endpoint, EndpointSettings, Sources};
use crate::clock::Timestamp;
use crate::config::nearest;
use crate::model::{Attempt, Caller};
use crate::store::AttemptPage;
use crate::task;
use crate::webhook::{Done, Order, OrderError, State};

const DEFAULT_LIMIT: usize = 100;

/// All endpoints.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhooks)]
pub(super) struct ListBody<'a> {
    webhooks: Vec<Body<'a>>,
    total: usize,
    seq: u64,
}

/// One endpoint.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookAnswer)]
pub(super) struct OneBody<'a> {
    #[serde(flatten)]
    webhook: Body<'a>,
    seq: u64,
}

/// One endpoint, as operators see it.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(super) struct Body<'a> {
    name: &'a str,
    url: &'a str,
    /// `delivering`, `failing`, `paused`, `disabled` or `stopped`.
    state: &'static str,
    /// All events up to it were accepted or filtered out.
    last_delivered_seq: u64,
    /// Events that were neither.
    backlog: u64,
    in_flight: usize,
    consecutive_failures: u32,
    #[serde(serialize_with = "moment_or_null")]
    #[schema(required)]
    failing_since: Option<Timestamp>,
    #[schema(required)]
    last_error: Option<&'a str>,
    #[serde(serialize_with = "moment_or_null")]
    #[schema(required)]
    next_attempt_at: Option<Timestamp>,
    /// What is still to be sent once more.
    replaying: Vec<RangeBody>,
    #[schema(required)]
    disabled: Option<DisabledBody<'a>>,
    /// Since the daemon started.
    delivered_total: u64,
    failed_total: u64,
    /// Events that were never sent: the journal no longer had them.
    lost_total: u64,
    settings: &'a EndpointSettings,
}

/// Seqs, both included.
#[derive(Serialize, ToSchema)]
#[schema(as = SeqRange)]
struct RangeBody {
    from: u64,
    to: u64,
}

/// Since when and why an endpoint is given up.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookDisabled)]
struct DisabledBody<'a> {
    #[serde(serialize_with = "moment_or_null")]
    #[schema(required)]
    since: Option<Timestamp>,
    #[schema(required)]
    reason: Option<&'a str>,
}

/// A page of a delivery log, the newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Deliveries)]
pub(super) struct PageBody<'a> {
    deliveries: Vec<AttemptBody<'a>>,
    /// Of all pages.
    total: u64,
    /// Left out on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

/// What became of an order.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookDone)]
pub(super) struct DoneBody<'a> {
    webhook: &'a str,
    done: DoneWord,
    /// Of a replay: the first seq.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    from: Option<u64>,
    /// Of a replay: the last seq.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    to: Option<u64>,
    /// Of a test.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<AttemptBody<'a>>,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = WebhookDoneWord)]
enum DoneWord {
    Paused,
    Resumed,
    Replaying,
    Tested,
}

/// A delivery log is empty.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookCleared)]
pub(super) struct ClearedBody<'a> {
    webhook: &'a str,
    /// How many entries it had.
    cleared: u64,
}

/// One attempt of a delivery.
#[derive(Serialize, ToSchema)]
#[schema(as = Delivery)]
struct AttemptBody<'a> {
    /// Left out for a test, whose attempt is answered before it is in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    number: Option<u64>,
    #[serde(serialize_with = "moment")]
    at: Timestamp,
    /// The `webhook-id`.
    id: &'a str,
    first_seq: u64,
    last_seq: u64,
    events: u32,
    /// From 1 for each delivery.
    attempt: u32,
    accepted: bool,
    /// The HTTP status; `null` when there was no answer.
    #[schema(required)]
    status: Option<u16>,
    latency_ms: u32,
    /// How the answer began.
    answer: &'a str,
    #[schema(required)]
    error: Option<&'a str>,
}

/// Answers `/v1/webhooks`.
///
/// # Errors
/// When a parameter is given: it takes none.
pub fn list(sources: &Sources, query: Option<&str>) -> Result<Response, Problem> {
    Parameters::parse(query, &[])?;
    let all = sources.endpoints.all();
    let seq = sources.view.load().seq;
    let answer = ListBody { webhooks: all.iter().map(body).collect(), total: all.len(), seq };
    json_response(StatusCode::OK, &answer)
}

/// Answers `/v1/webhooks/NAME`.
///
/// # Errors
/// When there is none of that name.
pub fn one(sources: &Sources, name: &str, query: Option<&str>) -> Result<Response, Problem> {
    Parameters::parse(query, &[])?;
    let endpoint = find(sources, name)?;
    let seq = sources.view.load().seq;
    json_response(StatusCode::OK, &OneBody { webhook: body(&endpoint), seq })
}

/// Answers `/v1/webhooks/NAME/deliveries`, the newest first.
///
/// # Errors
/// When there is no such endpoint, or it has no log.
pub async fn deliveries(
    sources: &Sources,
    name: &str,
    query: Option<&str>,
) -> Result<Response, Problem> {
    let parameters = Parameters::parse(query, &["limit", "cursor"])?;
    let (limit, before) = (parameters.limit(DEFAULT_LIMIT)?, parameters.number("cursor")?);
    let endpoint = find(sources, name)?;
    let (endpoints, asked) = (Arc::clone(&sources.endpoints), name.to_owned());
    let read = move || endpoints.attempts(&asked, before, limit);
    let read = task::blocking("read a delivery log", read).await;
    let page = read.map_err(Problem::internal)?.map_err(Problem::from)?;
    if page.total == 0 && !endpoint.settings.log_deliveries {
        let detail = format!("deliveries to {name} are not logged");
        return Err(Problem::new(StatusCode::CONFLICT, "not-logged", detail).hint(format!(
            "set log_deliveries = true in [webhook.{name}], and reload the configuration"
        )));
    }
    json_response(StatusCode::OK, &page_body(&page))
}

/// Answers `POST /v1/webhooks/NAME/pause`.
///
/// # Errors
/// When there is no such endpoint, or it cannot be done.
pub async fn pause(
    sources: &Sources,
    name: &str,
    query: Option<&str>,
    by: Caller,
) -> Result<Response, Problem> {
    Parameters::parse(query, &[])?;
    obey(sources, name, Order::Pause, by).await
}

/// Answers `POST /v1/webhooks/NAME/resume?skip=`.
///
/// # Errors
/// When there is no such endpoint, or it cannot be done.
pub async fn resume(
    sources: &Sources,
    name: &str,
    query: Option<&str>,
    by: Caller,
) -> Result<Response, Problem> {
    let parameters = Parameters::parse(query, &["skip"])?;
    obey(sources, name, Order::Resume { skip: parameters.flag("skip")? }, by).await
}

/// Answers `POST /v1/webhooks/NAME/replay?from=&to=`.
///
/// # Errors
/// When there is no such endpoint, the events are no longer kept, or the range
/// makes no sense.
pub async fn replay(
    sources: &Sources,
    name: &str,
    query: Option<&str>,
    by: Caller,
) -> Result<Response, Problem> {
    let parameters = Parameters::parse(query, &["from", "to"])?;
    parameters.required("from")?;
    let (from, to) = (parameters.number("from")?.unwrap_or_default(), parameters.number("to")?);
    if to.is_some_and(|to| to < from) {
        return Err(Problem::bad_request("the parameter `to` is before `from`"));
    }
    obey(sources, name, Order::Replay { from, to }, by).await
}

/// Answers `POST /v1/webhooks/NAME/test`.
///
/// # Errors
/// When there is no such endpoint. A test that is not accepted is an answer.
pub async fn test(
    sources: &Sources,
    name: &str,
    query: Option<&str>,
    by: Caller,
) -> Result<Response, Problem> {
    Parameters::parse(query, &[])?;
    obey(sources, name, Order::Test, by).await
}

/// Answers `POST /v1/webhooks/NAME/clear`: the log is empty.
///
/// # Errors
/// When there is no such endpoint, or the store fails.
pub async fn clear(
    sources: &Sources,
    name: &str,
    query: Option<&str>,
    by: Caller,
) -> Result<Response, Problem> {
    Parameters::parse(query, &[])?;
    let cleared = sources.endpoints.clear(name, by).await;
    let cleared = cleared.map_err(|error| refused(sources, error))?;
    json_response(StatusCode::OK, &ClearedBody { webhook: name, cleared })
}

async fn obey(
    sources: &Sources,
    name: &str,
    order: Order,
    by: Caller,
) -> Result<Response, Problem> {
    let done = sources.endpoints.order(name, order, by).await;
    let done = done.map_err(|error| refused(sources, error))?;
    let plain = |done| DoneBody { webhook: name, done, from: None, to: None, delivery: None };
    let answer = match &done {
        Done::Paused => plain(DoneWord::Paused),
        Done::Resumed => plain(DoneWord::Resumed),
        Done::Replaying { from, to } => {
            DoneBody { from: Some(*from), to: Some(*to), ..plain(DoneWord::Replaying) }
        }
        Done::Tested(attempt) => {
            let delivery = Some(attempt_body(None, attempt));
            DoneBody { delivery, ..plain(DoneWord::Tested) }
        }
    };
    json_response(StatusCode::OK, &answer)
}

fn find(sources: &Sources, name: &str) -> Result<Endpoint, Problem> {
    let found = sources.endpoints.all().into_iter().find(|one| one.status.name == name);
    found.ok_or_else(|| unknown(sources, name))
}

fn unknown(sources: &Sources, name: &str) -> Problem {
    let all = sources.endpoints.all();
    let names: Vec<&str> = all.iter().map(|endpoint| endpoint.status.name.as_str()).collect();
    let hint = match nearest::nearest(name, names.iter().copied()) {
        Some(meant) => format!("did you mean {meant}?"),
        None if names.is_empty() => "the configuration has no [webhook.NAME]".to_owned(),
        None => format!("known are {}", names.join(", ")),
    };
    Problem::unknown(format!("there is no webhook {name}")).hint(hint)
}

fn refused(sources: &Sources, error: OrderError) -> Problem {
    let detail = error.to_string();
    match error {
        OrderError::Unknown(name) => unknown(sources, &name),
        OrderError::Refused(_) => Problem::new(StatusCode::CONFLICT, "refused", detail)
            .hint("`rosterd webhook show NAME` tells how the endpoint is"),
        OrderError::Gone { oldest } => Problem::new(StatusCode::GONE, "gone", detail)
            .hint(format!("replay from {oldest}, or let the receiver take /v1/snapshot"))
            .member("oldest", oldest),
        OrderError::Failed(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "failed", detail)
            .hint("try again; the daemon's log says more"),
    }
}

fn body(endpoint: &Endpoint) -> Body<'_> {
    let status = &endpoint.status;
    let disabled =
        || DisabledBody { since: status.disabled_since, reason: status.disabled_reason.as_deref() };
    let range = |&(from, to): &(u64, u64)| RangeBody { from, to };
    Body {
        name: &status.name,
        url: &status.url,
        state: status.state.as_str(),
        last_delivered_seq: status.last_delivered_seq,
        backlog: status.backlog,
        in_flight: status.in_flight,
        consecutive_failures: status.consecutive_failures,
        failing_since: status.failing_since,
        last_error: status.last_error.as_deref(),
        next_attempt_at: status.next_attempt_at,
        replaying: status.replaying.iter().map(range).collect(),
        disabled: (status.state == State::Disabled).then(disabled),
        delivered_total: status.delivered_total,
        failed_total: status.failed_total,
        lost_total: status.lost_total,
        settings: &endpoint.settings,
    }
}

fn page_body(page: &AttemptPage) -> PageBody<'_> {
    let attempts = page.attempts.iter();
    PageBody {
        deliveries: attempts.map(|(number, one)| attempt_body(Some(*number), one)).collect(),
        total: page.total,
        next_cursor: page.next.map(|next| next.to_string()),
    }
}

fn attempt_body(number: Option<u64>, attempt: &Attempt) -> AttemptBody<'_> {
    AttemptBody {
        number,
        at: attempt.at,
        id: &attempt.id,
        first_seq: attempt.first_seq,
        last_seq: attempt.last_seq,
        events: attempt.events,
        attempt: attempt.number,
        accepted: attempt.error.is_none(),
        status: attempt.status,
        latency_ms: attempt.latency_ms,
        answer: &attempt.answer,
        error: attempt.error.as_deref(),
    }
}
