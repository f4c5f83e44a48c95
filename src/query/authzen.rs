//! The OpenID Authorization API 1.0 (AuthZEN): may this user do what members
//! of this group may?
//!
//! One kind of question is understood: subject `user`, action `member`,
//! resource `group`. A question that is well-formed but cannot be answered is
//! a decision, `false`, whose context says why (section 7.2.1: "decisions
//! default to closed"); only a request that is wrong as such is an HTTP error.

use std::borrow::Cow;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::check::{GroupBody, UserBody};
use super::decision::{self, Moment, Question, Reason};
use super::freshness;
use super::policies::AuthzenConfig;
use super::problem::Problem;
use super::router::{Answer, Desk, aside, json_bytes, read_body};
use super::sources::Sources;
use crate::clock::{Duration, Timestamp};
use crate::config::duration;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Questions in one request.
const EVALUATIONS_MAX: usize = 10_000;
/// So many are answered on the spot.
const SHORT: usize = 256;

/// The endpoints, and where they are described.
pub fn routes() -> Router<Desk> {
    Router::new()
        .route("/access/v1/evaluation", post(post_evaluation))
        .route("/access/v1/evaluations", post(post_evaluations))
        .route("/.well-known/authzen-configuration", get(get_metadata))
        .route_layer(middleware::from_fn(echo_request_id))
}

async fn post_evaluation(State(desk): State<Desk>, request: Request) -> Answer {
    let body = read_json(request).await?;
    Ok(json_bytes(evaluation(&desk.sources, &parse(&body)?)?))
}

async fn post_evaluations(State(desk): State<Desk>, request: Request) -> Answer {
    let body = read_json(request).await?;
    let asked = parse(&body)?;
    match asked.evaluations.as_ref().map_or(0, Vec::len) {
        // Section 7.1: without any it is a single evaluation.
        0 => Ok(json_bytes(evaluation(&desk.sources, &asked)?)),
        count if count <= SHORT => Ok(json_bytes(evaluations(&desk.sources, &asked)?)),
        count if count <= EVALUATIONS_MAX => {
            aside(desk, move |sources| evaluations(sources, &parse(&body)?)).await
        }
        count => {
            let detail = format!("{count} evaluations are more than {EVALUATIONS_MAX}");
            Err(Problem::bad_request(detail).hint("ask in several requests"))
        }
    }
}

async fn get_metadata(State(desk): State<Desk>) -> Answer {
    let policies = desk.sources.policies.load();
    let Some(url) = &policies.authzen.url else {
        let detail = "the address under which enforcement points reach this is not configured";
        return Err(Problem::unknown(detail).hint("set `url` in [authzen]"));
    };
    let body = json!({
        "policy_decision_point": url,
        "access_evaluation_endpoint": format!("{url}/access/v1/evaluation"),
        "access_evaluations_endpoint": format!("{url}/access/v1/evaluations"),
    });
    Ok(json_bytes(body.to_string().into_bytes()))
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

/// What is asked. Unknown members are passed over (section 4).
#[derive(Debug, Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    subject: Option<Entity<'a>>,
    #[serde(borrow)]
    action: Option<Entity<'a>>,
    #[serde(borrow)]
    resource: Option<Entity<'a>>,
    #[serde(borrow)]
    context: Option<Entity<'a>>,
    #[serde(borrow)]
    evaluations: Option<Vec<Evaluation<'a>>>,
    options: Option<Options>,
}

/// One of many questions; what it does not say, the whole request says.
#[derive(Debug, Deserialize)]
struct Evaluation<'a> {
    #[serde(borrow)]
    subject: Option<Entity<'a>>,
    #[serde(borrow)]
    action: Option<Entity<'a>>,
    #[serde(borrow)]
    resource: Option<Entity<'a>>,
    #[serde(borrow)]
    context: Option<Entity<'a>>,
}

/// Subject, action, resource or context. One that is not an object is an error
/// of its own question only.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Entity<'a> {
    Object(#[serde(borrow)] Members<'a>),
    Other(IgnoredAny),
}

#[derive(Debug, Deserialize)]
struct Members<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    max_age: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Text<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Other(IgnoredAny),
}

#[derive(Debug, Deserialize)]
struct Options {
    #[serde(default)]
    evaluations_semantic: Semantic,
}

/// When to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Semantic {
    #[default]
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

/// A decision, as on the wire.
#[derive(Debug, Serialize)]
struct Decided<'a> {
    decision: bool,
    context: Context<'a>,
}

/// Why, and by what.
#[derive(Debug, Serialize)]
struct Context<'a> {
    /// A word that does not change.
    reason: &'static str,
    seq: u64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    found: Option<Found<'a>>,
    /// Where there was no knowledge to decide by.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody>,
}

#[derive(Debug, Serialize)]
struct Found<'a> {
    directory: &'a str,
    #[serde(serialize_with = "freshness::moment_or_null")]
    as_of: Option<Timestamp>,
    age_seconds: Option<u64>,
    user: UserBody<'a>,
    group: GroupBody<'a>,
}

#[derive(Debug, Serialize)]
struct ErrorBody {
    /// As a check over HTTP would answer.
    status: u16,
    message: String,
}

#[derive(Debug, Serialize)]
struct Results<'a> {
    /// In the order of the questions.
    evaluations: Vec<Decided<'a>>,
}

fn parse(body: &[u8]) -> Result<Asked<'_>, Problem> {
    serde_json::from_slice(body).map_err(|reason| {
        let hint = r#"send {"subject": {"type": "user", "id": "…"}, "action": {"name": "member"}, "resource": {"type": "group", "id": "…"}}"#;
        Problem::bad_request(format!("the body is no evaluation request: {reason}")).hint(hint)
    })
}

/// Answers one question.
///
/// # Errors
/// 400 when a member is missing or of a wrong type.
fn evaluation(sources: &Sources, asked: &Asked<'_>) -> Result<Vec<u8>, Problem> {
    let none = Evaluation { subject: None, action: None, resource: None, context: None };
    let asked = Tuple::of(&none, asked)?;
    let policies = sources.policies.load();
    let moment = Moment::now(sources);
    let decided = decide(&moment, &asked, &policies.authzen);
    serde_json::to_vec(&decided).map_err(Problem::internal)
}

/// Answers many; what is wrong with one is told in its place.
fn evaluations(sources: &Sources, asked: &Asked<'_>) -> Result<Vec<u8>, Problem> {
    let semantic = asked.options.as_ref().map(|options| options.evaluations_semantic);
    let stops_at = match semantic.unwrap_or_default() {
        Semantic::ExecuteAll => None,
        Semantic::DenyOnFirstDeny => Some(false),
        Semantic::PermitOnFirstPermit => Some(true),
    };
    let policies = sources.policies.load();
    let moment = Moment::now(sources);
    let mut results = Results { evaluations: Vec::new() };
    for one in asked.evaluations.iter().flatten() {
        let decided = match Tuple::of(one, asked) {
            Ok(tuple) => decide(&moment, &tuple, &policies.authzen),
            Err(problem) => Decided::unanswered(moment.seq(), &problem),
        };
        let decision = decided.decision;
        results.evaluations.push(decided);
        if stops_at == Some(decision) {
            break;
        }
    }
    serde_json::to_vec(&results).map_err(Problem::internal)
}

fn decide<'m>(moment: &'m Moment<'_>, asked: &Tuple<'_>, config: &AuthzenConfig) -> Decided<'m> {
    if let Some(reason) = asked.unsupported() {
        let detail = "only whether a `user` is a `member` of a `group` can be asked";
        let problem = Problem::unknown(detail);
        return Decided {
            context: Context { reason, ..Decided::unanswered(moment.seq(), &problem).context },
            decision: false,
        };
    }
    let question = Question {
        user: asked.subject.1,
        group: asked.resource.1,
        max_age: asked.max_age.or(config.max_age),
        allow_inactive: config.allow_inactive,
    };
    match moment.decide(question) {
        Ok(decision) => Decided::by(moment.seq(), decision),
        Err(problem) => Decided::unanswered(moment.seq(), &problem),
    }
}

impl<'a> Decided<'a> {
    fn by(seq: u64, decision: decision::Decision<'a>) -> Decided<'a> {
        let decision::Decision { reason, directory, freshness, user, group } = decision;
        let (as_of, age_seconds) = (freshness.as_of, freshness.age_seconds);
        let found = Some(Found { directory, as_of, age_seconds, user, group });
        let context = Context { reason: reason.word(), seq, found, error: None };
        Decided { decision: Reason::allows(reason), context }
    }

    fn unanswered(seq: u64, problem: &Problem) -> Decided<'a> {
        let error = ErrorBody { status: problem.status().as_u16(), message: problem.to_string() };
        let reason = decision::reason_of(problem);
        Decided {
            decision: false,
            context: Context { reason, seq, found: None, error: Some(error) },
        }
    }
}

/// A question that is whole.
struct Tuple<'q> {
    /// Type and id.
    subject: (&'q str, &'q str),
    action: &'q str,
    resource: (&'q str, &'q str),
    max_age: Option<Duration>,
}

impl<'q> Tuple<'q> {
    /// A question and what goes for all of them.
    fn of(one: &'q Evaluation<'_>, all: &'q Asked<'_>) -> Result<Tuple<'q>, Problem> {
        let subject = Merged::of("subject", &one.subject, &all.subject)?;
        let action = Merged::of("action", &one.action, &all.action)?;
        let resource = Merged::of("resource", &one.resource, &all.resource)?;
        Ok(Tuple {
            subject: (subject.text("type", |m| &m.kind)?, subject.text("id", |m| &m.id)?),
            action: action.text("name", |m| &m.name)?,
            resource: (resource.text("type", |m| &m.kind)?, resource.text("id", |m| &m.id)?),
            max_age: max_age(one.context.as_ref().or(all.context.as_ref()))?,
        })
    }

    fn unsupported(&self) -> Option<&'static str> {
        match (self.subject.0, self.action, self.resource.0) {
            ("user", "member", "group") => None,
            ("user", "member", _) => Some("unsupported-resource-type"),
            ("user", _, _) => Some("unsupported-action"),
            _ => Some("unsupported-subject-type"),
        }
    }
}

/// An entity of one question and its default: a member that the question does
/// not have is the default's.
struct Merged<'q, 'a> {
    entity: &'static str,
    own: Option<&'q Members<'a>>,
    default: Option<&'q Members<'a>>,
}

impl<'q, 'a> Merged<'q, 'a> {
    fn of(
        entity: &'static str,
        own: &'q Option<Entity<'a>>,
        default: &'q Option<Entity<'a>>,
    ) -> Result<Merged<'q, 'a>, Problem> {
        let own = members(entity, own)?;
        Ok(Merged { entity, own, default: members(entity, default)? })
    }

    fn text(
        &self,
        member: &str,
        get: impl Fn(&'q Members<'a>) -> &'q Option<Text<'a>>,
    ) -> Result<&'q str, Problem> {
        let Merged { entity, own, default } = self;
        match own.and_then(&get_of(&get)).or_else(|| default.and_then(get_of(&get))) {
            Some(Text::Text(text)) => Ok(text),
            Some(Text::Other(_)) => {
                Err(Problem::bad_request(format!("`{entity}.{member}` is not a string")))
            }
            None => Err(Problem::bad_request(format!("`{entity}.{member}` is missing"))),
        }
    }
}

fn get_of<'q, 'a: 'q>(
    get: &impl Fn(&'q Members<'a>) -> &'q Option<Text<'a>>,
) -> impl Fn(&'q Members<'a>) -> Option<&'q Text<'a>> {
    move |members| get(members).as_ref()
}

fn members<'q, 'a>(
    entity: &str,
    value: &'q Option<Entity<'a>>,
) -> Result<Option<&'q Members<'a>>, Problem> {
    match value {
        None => Ok(None),
        Some(Entity::Object(members)) => Ok(Some(members)),
        Some(Entity::Other(_)) => {
            Err(Problem::bad_request(format!("`{entity}` is not an object with strings")))
        }
    }
}

/// `max_age` in the context: our own member, since the API has none.
fn max_age(context: Option<&Entity<'_>>) -> Result<Option<Duration>, Problem> {
    let wrong = || Problem::bad_request("`context.max_age` is not a duration like \"5m\"");
    match context {
        None => Ok(None),
        Some(Entity::Other(_)) => Err(Problem::bad_request("`context` is not an object")),
        Some(Entity::Object(Members { max_age, .. })) => match max_age {
            None => Ok(None),
            Some(Text::Text(text)) => duration::parse(text).map(Some).map_err(|_| wrong()),
            Some(Text::Other(_)) => Err(wrong()),
        },
    }
}
