//! Which request goes where.

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, MatchedPath, Path, RawQuery, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use utoipa::ToSchema;

use super::access::{self, Asker, Need, Permission};
use super::metrics::Metrics;
use super::parameters::Parameters;
use super::problem::Problem;
use super::resolve::Kind;
use super::snapshot::Snapshots;
use super::sources::Sources;
use super::{
    audit, authzen, biography, cedar, changes, check, directories, events, ext_authz, freshness,
    objects, opa, openapi, pomerium, webhooks,
};
use crate::clock::{self, Duration};
use crate::model::Caller;
use crate::task;

/// What a request may carry at most.
const BODY_BYTES_MAX: usize = 1 << 20;
/// How long a client may take to send it.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct Desk {
    pub sources: Sources,
    pub metrics: Metrics,
    snapshots: Snapshots,
    pub bundles: opa::Bundles,
}

pub(super) type Answer = Result<Response, Problem>;
pub(super) type Ref = Result<Path<String>, PathRejection>;

/// All routes of the contract.
pub fn router(sources: Sources, metrics: Metrics) -> Router {
    let bundles = opa::Bundles::new(&sources, metrics.bundles.clone());
    let desk = Desk { sources, metrics, snapshots: Snapshots::default(), bundles };
    Router::new()
        .route("/v1/check", get(get_check).post(post_check))
        .route("/v1/why", get(get_why))
        .route("/v1/users", get(get_users))
        .route("/v1/users/{ref}", get(get_user))
        .route("/v1/users/{ref}/groups", get(get_user_groups))
        .route("/v1/users/{ref}/history", get(get_user_history))
        .route("/v1/groups", get(get_groups))
        .route("/v1/groups/{ref}", get(get_group))
        .route("/v1/groups/{ref}/members", get(get_group_members))
        .route("/v1/groups/{ref}/history", get(get_group_history))
        .route("/v1/events", get(get_events))
        .route("/v1/audit", get(get_audit))
        .route("/v1/snapshot", get(get_snapshot))
        .route("/v1/directories", get(get_directories))
        .route("/v1/directories/{name}", get(get_directory))
        .route("/v1/directories/{name}/sync", post(post_sync))
        .route("/v1/directories/{name}/plan", post(post_plan))
        .route("/v1/directories/{name}/hold", get(get_hold))
        .route("/v1/directories/{name}/hold/{id}/approve", post(post_approve))
        .route("/v1/directories/{name}/hold/{id}/reject", post(post_reject))
        .route("/v1/webhooks", get(get_webhooks))
        .route("/v1/webhooks/{name}", get(get_webhook))
        .route("/v1/webhooks/{name}/deliveries", get(get_deliveries))
        .route("/v1/webhooks/{name}/pause", post(post_webhook_pause))
        .route("/v1/webhooks/{name}/resume", post(post_webhook_resume))
        .route("/v1/webhooks/{name}/replay", post(post_webhook_replay))
        .route("/v1/webhooks/{name}/test", post(post_webhook_test))
        .route("/v1/webhooks/{name}/clear", post(post_webhook_clear))
        .route("/metrics", get(get_metrics))
        .route("/healthz", get(get_health))
        .route("/readyz", get(get_readiness))
        .route("/openapi.json", get(get_openapi))
        .merge(authzen::routes())
        .merge(ext_authz::routes())
        .merge(opa::routes())
        .merge(cedar::routes())
        .merge(pomerium::routes())
        .method_not_allowed_fallback(wrong_method)
        .fallback(nothing_here)
        .layer(middleware::from_fn_with_state(desk.metrics.clone(), permit_and_count))
        .with_state(desk)
}

async fn get_check(State(desk): State<Desk>, RawQuery(query): RawQuery) -> Answer {
    aside(desk, move |sources| check::answer(sources, query.as_deref())).await
}

async fn post_check(
    State(desk): State<Desk>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Answer {
    Parameters::parse(query.as_deref(), &[])?;
    let body = read_body(request).await?;
    if check::is_short(&body) {
        return Ok(json_bytes(check::answer_batch(&desk.sources, &body)?));
    }
    aside(desk, move |sources| check::answer_batch(sources, &body)).await
}

async fn get_why(State(desk): State<Desk>, RawQuery(query): RawQuery) -> Answer {
    aside(desk, move |sources| objects::why(sources, query.as_deref())).await
}

async fn get_users(State(desk): State<Desk>, RawQuery(query): RawQuery) -> Answer {
    aside(desk, move |sources| objects::list(sources, Kind::User, query.as_deref())).await
}

async fn get_groups(State(desk): State<Desk>, RawQuery(query): RawQuery) -> Answer {
    aside(desk, move |sources| objects::list(sources, Kind::Group, query.as_deref())).await
}

async fn get_user(State(desk): State<Desk>, text: Ref, RawQuery(query): RawQuery) -> Answer {
    let text = reference(text)?;
    aside(desk, move |sources| objects::one(sources, Kind::User, &text, query.as_deref())).await
}

async fn get_group(State(desk): State<Desk>, text: Ref, RawQuery(query): RawQuery) -> Answer {
    let text = reference(text)?;
    aside(desk, move |sources| objects::one(sources, Kind::Group, &text, query.as_deref())).await
}

async fn get_user_groups(State(desk): State<Desk>, text: Ref, RawQuery(query): RawQuery) -> Answer {
    let text = reference(text)?;
    aside(desk, move |sources| objects::related(sources, Kind::User, &text, query.as_deref())).await
}

async fn get_group_members(
    State(desk): State<Desk>,
    text: Ref,
    RawQuery(query): RawQuery,
) -> Answer {
    let text = reference(text)?;
    aside(desk, move |sources| objects::related(sources, Kind::Group, &text, query.as_deref()))
        .await
}

async fn get_user_history(
    State(desk): State<Desk>,
    text: Ref,
    RawQuery(query): RawQuery,
) -> Answer {
    let text = reference(text)?;
    aside(desk, move |sources| biography::answer(sources, Kind::User, &text, query.as_deref()))
        .await
}

async fn get_group_history(
    State(desk): State<Desk>,
    text: Ref,
    RawQuery(query): RawQuery,
) -> Answer {
    let text = reference(text)?;
    aside(desk, move |sources| biography::answer(sources, Kind::Group, &text, query.as_deref()))
        .await
}

async fn get_events(
    State(desk): State<Desk>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Answer {
    events::answer(&desk.sources, &desk.metrics.feed, &headers, query.as_deref()).await
}

async fn get_audit(State(desk): State<Desk>, RawQuery(query): RawQuery) -> Answer {
    audit::answer(&desk.sources, query.as_deref()).await
}

async fn get_snapshot(State(desk): State<Desk>, RawQuery(query): RawQuery) -> Answer {
    desk.snapshots.answer(&desk.sources, query.as_deref())
}

async fn get_directories(State(desk): State<Desk>, RawQuery(query): RawQuery) -> Answer {
    directories::list(&desk.sources, query.as_deref())
}

async fn get_directory(State(desk): State<Desk>, name: Ref, RawQuery(query): RawQuery) -> Answer {
    directories::one(&desk.sources, &reference(name)?, query.as_deref())
}

async fn post_sync(
    State(desk): State<Desk>,
    Extension(by): Extension<Caller>,
    name: Ref,
    RawQuery(query): RawQuery,
) -> Answer {
    Parameters::parse(query.as_deref(), &[])?;
    directories::sync(&desk.sources, &reference(name)?, by).await
}

async fn post_plan(State(desk): State<Desk>, name: Ref, RawQuery(query): RawQuery) -> Answer {
    changes::plan(&desk.sources, &reference(name)?, query.as_deref()).await
}

async fn get_hold(State(desk): State<Desk>, name: Ref, RawQuery(query): RawQuery) -> Answer {
    changes::hold(&desk.sources, &reference(name)?, query.as_deref()).await
}

async fn post_approve(
    State(desk): State<Desk>,
    Extension(by): Extension<Caller>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Answer {
    Parameters::parse(query.as_deref(), &[])?;
    let Path((name, id)) = path.map_err(bad_path)?;
    directories::decide(&desk.sources, &name, &id, true, by).await
}

async fn post_reject(
    State(desk): State<Desk>,
    Extension(by): Extension<Caller>,
    path: Result<Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Answer {
    Parameters::parse(query.as_deref(), &[])?;
    let Path((name, id)) = path.map_err(bad_path)?;
    directories::decide(&desk.sources, &name, &id, false, by).await
}

async fn get_webhooks(State(desk): State<Desk>, RawQuery(query): RawQuery) -> Answer {
    webhooks::list(&desk.sources, query.as_deref())
}

async fn get_webhook(State(desk): State<Desk>, name: Ref, RawQuery(query): RawQuery) -> Answer {
    webhooks::one(&desk.sources, &reference(name)?, query.as_deref())
}

async fn get_deliveries(State(desk): State<Desk>, name: Ref, RawQuery(query): RawQuery) -> Answer {
    webhooks::deliveries(&desk.sources, &reference(name)?, query.as_deref()).await
}

async fn post_webhook_pause(
    State(desk): State<Desk>,
    Extension(by): Extension<Caller>,
    name: Ref,
    RawQuery(query): RawQuery,
) -> Answer {
    webhooks::pause(&desk.sources, &reference(name)?, query.as_deref(), by).await
}

async fn post_webhook_resume(
    State(desk): State<Desk>,
    Extension(by): Extension<Caller>,
    name: Ref,
    RawQuery(query): RawQuery,
) -> Answer {
    webhooks::resume(&desk.sources, &reference(name)?, query.as_deref(), by).await
}

async fn post_webhook_replay(
    State(desk): State<Desk>,
    Extension(by): Extension<Caller>,
    name: Ref,
    RawQuery(query): RawQuery,
) -> Answer {
    webhooks::replay(&desk.sources, &reference(name)?, query.as_deref(), by).await
}

async fn post_webhook_test(
    State(desk): State<Desk>,
    Extension(by): Extension<Caller>,
    name: Ref,
    RawQuery(query): RawQuery,
) -> Answer {
    webhooks::test(&desk.sources, &reference(name)?, query.as_deref(), by).await
}

async fn post_webhook_clear(
    State(desk): State<Desk>,
    Extension(by): Extension<Caller>,
    name: Ref,
    RawQuery(query): RawQuery,
) -> Answer {
    webhooks::clear(&desk.sources, &reference(name)?, query.as_deref(), by).await
}

async fn get_metrics(State(desk): State<Desk>, RawQuery(query): RawQuery) -> Answer {
    Parameters::parse(query.as_deref(), &[])?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = desk.metrics.text()?;
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}

/// The daemon is there.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    status: &'static str,
}

async fn get_health(RawQuery(query): RawQuery) -> Answer {
    Parameters::parse(query.as_deref(), &[])?;
    to_json(&Health { status: "alive" })
}

async fn get_openapi(RawQuery(query): RawQuery) -> Answer {
    Parameters::parse(query.as_deref(), &[])?;
    Ok(([(CONTENT_TYPE, "application/json")], openapi::text()).into_response())
}

/// Every directory was read, or restored.
#[derive(Serialize, ToSchema)]
pub(super) struct Readiness {
    seq: u64,
    status: &'static str,
}

/// Ready when every directory has committed once, or was restored.
async fn get_readiness(State(desk): State<Desk>, RawQuery(query): RawQuery) -> Answer {
    Parameters::parse(query.as_deref(), &[])?;
    let all = freshness::of_all(&desk.sources.statuses, None, clock::now());
    let waiting: Vec<&str> = all
        .iter()
        .filter(|(_, freshness)| freshness.as_of.is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    if waiting.is_empty() {
        let seq = desk.sources.view.load().seq;
        return to_json(&Readiness { seq, status: "ready" });
    }
    let detail = format!("not read yet: {}", waiting.join(", "));
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", detail)
        .member("directories", waiting))
}

async fn wrong_method(request: Request) -> Problem {
    let detail = format!("{} is not what {} takes", request.method(), request.uri().path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
        .hint("the `Allow` header names what it takes")
}

async fn nothing_here(request: Request) -> Problem {
    let path = request.uri().path().escape_debug().to_string();
    Problem::new(StatusCode::NOT_FOUND, "not-found", format!("there is nothing at {path}"))
        .hint("percent-encode ids in paths, slashes included (`%2F`)")
}

/// Does work that may take milliseconds where it holds up nobody.
pub(super) async fn aside(
    desk: Desk,
    work: impl FnOnce(&Sources) -> Result<Vec<u8>, Problem> + Send + 'static,
) -> Answer {
    let body = task::blocking("answer a query", move || work(&desk.sources)).await;
    Ok(json_bytes(body.map_err(Problem::internal)??))
}

pub(super) async fn read_body(request: Request) -> Result<Bytes, Problem> {
    let too_long = || {
        let detail = format!("the body is over {BODY_BYTES_MAX} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
            .hint("ask in several requests")
    };
    let stated = request.headers().get(CONTENT_LENGTH);
    let stated = stated.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if stated.is_some_and(|length| length > BODY_BYTES_MAX) {
        return Err(too_long());
    }
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    match tokio::time::timeout(BODY_PATIENCE, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_long()),
        Ok(Err(error)) => Err(Problem::bad_request(format!("the body broke off: {error}"))),
        Err(_) => {
            let detail = "the body did not arrive in time";
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "slow", detail))
        }
    }
}

/// Every request comes through here, once the router knows its route.
async fn permit_and_count(
    State(metrics): State<Metrics>,
    mut request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = match refuse(route.as_ref().map(MatchedPath::as_str), &mut request) {
        None => next.run(request).await,
        Some(refused) => refused,
    };
    let route = route.as_ref().map_or("other", MatchedPath::as_str);
    metrics.answered(route, response.status().as_u16());
    response
}

/// The answer when who asks may not have this route. Handlers for operators are
/// told who it is.
fn refuse(route: Option<&str>, request: &mut Request) -> Option<Response> {
    // What is nowhere is told to whoever may do anything at all.
    let Some(need) = route.map_or(Some(Need::Any), access::need) else {
        let reason = format!("{} is not in the table of permissions", route.unwrap_or_default());
        return Some(Problem::internal(reason).into_response());
    };
    let Some(asker) = request.extensions().get::<Asker>() else {
        return Some(Problem::internal("a request from nobody").into_response());
    };
    if let Some(refusal) = asker.lacks(need) {
        let mut response = asker.forbidden(need).into_response();
        response.extensions_mut().insert(refusal);
        return Some(response);
    }
    asker.uses(need);
    if need == Need::Of(Permission::Operate) {
        let by = asker.caller();
        request.extensions_mut().insert(by);
    }
    None
}

pub(super) fn reference(path: Ref) -> Result<String, Problem> {
    path.map(|Path(text)| text).map_err(bad_path)
}

fn bad_path(rejection: PathRejection) -> Problem {
    Problem::bad_request(format!("the path is wrong: {}", rejection.body_text()))
}

fn to_json(body: &impl Serialize) -> Answer {
    Ok(json_bytes(serde_json::to_vec(body).map_err(Problem::internal)?))
}

pub(super) fn json_bytes(body: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}
