//! The OpenID Authorization API 1.0 (AuthZEN): may this user do what members
//! of this group may?
//!
//! One kind of question is understood: subject `user`, action `member`,
//! resource `group`. A question that is well-formed but cannot be answered is
//! a decision, `false`, whose context says why (section 7.2.1: "decisions
//! default to closed"); only a request that is wrong as such is an HTTP error.

mod request;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use serde::Serialize;
use utoipa::ToSchema;

use self::request::{Asked, Evaluation, Semantic, Tuple, parse};
use super::check::{GroupBody, UserBody};
use super::decision::{self, Moment, Question};
use super::freshness;
use super::policies::AuthzenConfig;
use super::problem::Problem;
use super::router::{Answer, Desk, aside, json_bytes, read_body};
use crate::clock::Timestamp;

/// What counts its decisions.
const BY: &str = "authzen";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Questions in one request.
const EVALUATIONS_MAX: usize = 10_000;
/// A request that is no longer is answered on the spot.
const SHORT_BYTES: usize = 4 << 10;

/// The endpoints, and where they are described.
pub fn routes() -> Router<Desk> {
    Router::new()
        .route("/access/v1/evaluation", post(post_evaluation))
        .route("/access/v1/evaluations", post(post_evaluations))
        .route("/.well-known/authzen-configuration", get(get_metadata))
        .route_layer(middleware::from_fn(echo_request_id))
}

async fn post_evaluation(State(desk): State<Desk>, request: Request) -> Answer {
    answer(desk, request, evaluation).await
}

async fn post_evaluations(State(desk): State<Desk>, request: Request) -> Answer {
    answer(desk, request, |desk, asked| match asked.evaluations.as_ref().map_or(0, Vec::len) {
        // Section 7.1: without any it is a single evaluation.
        0 => evaluation(desk, asked),
        count if count <= EVALUATIONS_MAX => evaluations(desk, asked),
        count => {
            let detail = format!("{count} evaluations are more than {EVALUATIONS_MAX}");
            Err(Problem::bad_request(detail).hint("ask in several requests"))
        }
    })
    .await
}

/// What is short is answered on the spot.
async fn answer(
    desk: Desk,
    request: Request,
    work: fn(&Desk, &Asked<'_>) -> Result<Vec<u8>, Problem>,
) -> Answer {
    let body = read_json(request).await?;
    if body.len() <= SHORT_BYTES {
        return Ok(json_bytes(work(&desk, &parse(&body)?)?));
    }
    let here = desk.clone();
    aside(here, move |_| work(&desk, &parse(&body)?)).await
}

async fn get_metadata(State(desk): State<Desk>) -> Answer {
    let policies = desk.sources.policies.load();
    let Some(url) = &policies.authzen.url else {
        let detail = "the address under which enforcement points reach this is not configured";
        return Err(Problem::unknown(detail).hint("set `url` in [authzen]"));
    };
    let body = Metadata {
        policy_decision_point: url.to_string(),
        access_evaluation_endpoint: format!("{url}/access/v1/evaluation"),
        access_evaluations_endpoint: format!("{url}/access/v1/evaluations"),
    };
    Ok(json_bytes(serde_json::to_vec(&body).map_err(Problem::internal)?))
}

/// Section 9.1.
#[derive(Serialize, ToSchema)]
#[schema(as = AuthzenConfiguration)]
pub struct Metadata {
    policy_decision_point: String,
    access_evaluation_endpoint: String,
    access_evaluations_endpoint: String,
}

/// Section 10.1: an answer carries the identifier of its request.
async fn echo_request_id(request: Request, next: Next) -> Response {
    let id = request.headers().get(REQUEST_ID).cloned();
    let mut response = next.run(request).await;
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

async fn read_json(request: Request) -> Result<Bytes, Problem> {
    if !is_json(request.headers()) {
        let detail = "the content type of the request is not application/json";
        return Err(Problem::bad_request(detail));
    }
    read_body(request).await
}

fn is_json(headers: &HeaderMap) -> bool {
    let stated = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = stated.map(|value| value.split(';').next().unwrap_or_default().trim());
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"))
}

/// A decision, as on the wire.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EvaluationAnswer)]
pub struct Decided<'a> {
    decision: bool,
    context: Context<'a>,
}

/// Why, and by what.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EvaluationContext)]
struct Context<'a> {
    /// A word that does not change.
    reason: &'static str,
    seq: u64,
    #[serde(flatten)]
    found: Option<Found<'a>>,
    /// Where there was no knowledge to decide by.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EvaluationFindings)]
struct Found<'a> {
    #[schema(required = false)]
    directory: &'a str,
    #[schema(required = false)]
    #[serde(serialize_with = "freshness::moment_or_null")]
    as_of: Option<Timestamp>,
    #[schema(required = false)]
    age_seconds: Option<u64>,
    #[schema(required = false)]
    user: UserBody<'a>,
    #[schema(required = false)]
    group: GroupBody<'a>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EvaluationError)]
struct ErrorBody {
    /// As a check over HTTP would answer.
    status: u16,
    message: String,
}

/// Decisions, as on the wire.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EvaluationsResults)]
pub struct Results<'a> {
    /// In the order of the questions.
    evaluations: Vec<Decided<'a>>,
}

/// Answers one question.
///
/// # Errors
/// 400 when a member is missing or of a wrong type.
fn evaluation(desk: &Desk, asked: &Asked<'_>) -> Result<Vec<u8>, Problem> {
    let none = Evaluation::default();
    let asked = Tuple::of(&none, asked)?;
    let policies = desk.sources.policies.load();
    let moment = Moment::now(&desk.sources);
    let decided = decide(&moment, &asked, &policies.authzen);
    desk.metrics.decided(BY, "", decided.context.reason);
    serde_json::to_vec(&decided).map_err(Problem::internal)
}

/// Answers many; what is wrong with one is told in its place.
fn evaluations(desk: &Desk, asked: &Asked<'_>) -> Result<Vec<u8>, Problem> {
    let semantic = asked.options.as_ref().map(|options| options.evaluations_semantic);
    let stops_at = match semantic.unwrap_or_default() {
        Semantic::ExecuteAll => None,
        Semantic::DenyOnFirstDeny => Some(false),
        Semantic::PermitOnFirstPermit => Some(true),
    };
    let policies = desk.sources.policies.load();
    let moment = Moment::now(&desk.sources);
    let mut results = Results { evaluations: Vec::new() };
    for one in asked.evaluations.iter().flatten() {
        let decided = match Tuple::of(one, asked) {
            Ok(tuple) => decide(&moment, &tuple, &policies.authzen),
            Err(problem) => Decided::unanswered(moment.seq(), problem.word(), &problem),
        };
        desk.metrics.decided(BY, "", decided.context.reason);
        let decision = decided.decision;
        results.evaluations.push(decided);
        if stops_at == Some(decision) {
            break;
        }
    }
    serde_json::to_vec(&results).map_err(Problem::internal)
}

fn decide<'m>(moment: &'m Moment<'_>, asked: &Tuple<'_>, config: &AuthzenConfig) -> Decided<'m> {
    let seq = moment.seq();
    if let Some(reason) = asked.unsupported() {
        let detail = "only whether a `user` is a `member` of a `group` can be asked";
        return Decided::unanswered(seq, reason, &Problem::unknown(detail));
    }
    let question = Question {
        user: asked.subject.1,
        group: asked.resource.1,
        directory: None,
        max_age: asked.max_age.or(config.max_age),
        allow_inactive: config.allow_inactive,
    };
    match moment.decide(question) {
        Ok(decision) => Decided::by(seq, decision),
        Err(problem) => Decided::unanswered(seq, decision::reason_of(&problem), &problem),
    }
}

impl<'a> Decided<'a> {
    fn by(seq: u64, decision: decision::Decision<'a>) -> Decided<'a> {
        let decision::Decision { reason, directory, freshness, user, group } = decision;
        let (as_of, age_seconds) = (freshness.as_of, freshness.age_seconds);
        let found = Some(Found { directory, as_of, age_seconds, user, group });
        let context = Context { reason: reason.word(), seq, found, error: None };
        Decided { decision: reason.allows(), context }
    }

    fn unanswered(seq: u64, reason: &'static str, problem: &Problem) -> Decided<'a> {
        let error = ErrorBody { status: problem.status().as_u16(), message: problem.to_string() };
        let context = Context { reason, seq, found: None, error: Some(error) };
        Decided { decision: false, context }
    }
}

#[cfg(any(test, fuzzing))]
pub(super) use self::request::feed;
