//! The gRPC service `envoy.service.auth.v3.Authorization`.

use std::future::{Ready, ready};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use axum::{Extension, Router};
use http::header::CONTENT_TYPE;
use http::{StatusCode, Version};
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use super::complaints::Complaints;
use super::messages::{self, CheckRequest, CheckResponse, HeaderOption, HttpResponse};
use super::{Allowed, Denied, TOLD_TYPE, UNKNOWN_POLICY, judge, note};
use crate::clock::Duration;
use crate::query::policies::Policy;
use crate::query::problem::Problem;
use crate::query::router::Desk;

/// The context extension that names the policy.
const POLICY: &str = "policy";
/// Envoy sends the request's headers, and its body only when told to.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// How long it may take to send it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The service; other methods of it do not exist.
pub fn routes() -> Router<Desk> {
    Router::new()
        .route("/envoy.service.auth.v3.Authorization/Check", post(check))
        .route("/envoy.service.auth.v3.Authorization/{method}", any(no_such_method))
}

async fn check(
    State(desk): State<Desk>,
    Extension(complaints): Extension<Arc<Complaints>>,
    request: Request,
) -> Response {
    if let Some(refusal) = not_grpc(&request) {
        return refusal;
    }
    let codec = ProstCodec::<CheckResponse, CheckRequest>::default();
    let mut grpc = Grpc::new(codec).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let answer = grpc.unary(Check { desk, complaints }, request);
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(response) => response.map(Body::new),
        Err(_) => status(Status::deadline_exceeded("the message did not arrive in time")),
    }
}

async fn no_such_method(request: Request) -> Response {
    not_grpc(&request).unwrap_or_else(|| status(Status::unimplemented("there is only `Check`")))
}

fn not_grpc(request: &Request) -> Option<Response> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind.is_some_and(|kind| kind.starts_with("application/grpc"))
        && request.version() == Version::HTTP_2
    {
        return None;
    }
    let detail = "this is a gRPC service: it takes application/grpc over HTTP/2";
    let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-grpc", detail);
    Some(problem.hint("/ext_authz/NAME answers over HTTP/1.1").into_response())
}

fn status(status: Status) -> Response {
    status.into_http::<Body>()
}

struct Check {
    desk: Desk,
    complaints: Arc<Complaints>,
}

impl UnaryService<CheckRequest> for Check {
    type Response = CheckResponse;
    type Future = Ready<Result<tonic::Response<CheckResponse>, Status>>;

    fn call(&mut self, request: tonic::Request<CheckRequest>) -> Self::Future {
        let attributes = request.into_inner().attributes.unwrap_or_default();
        let policy = policy_of(&attributes.context_extensions);
        let http = attributes.request.unwrap_or_default().http.unwrap_or_default();
        let raw = http.header_map.unwrap_or_default().headers;
        // Only Envoy's list of raw headers tells two of them from one with a comma.
        let joined = !http.headers.is_empty();
        let all = || http.headers.iter().chain(&raw);
        let judged = match &policy {
            Ok(name) => judge(&self.desk.sources, name, |policy| values(all(), policy), joined),
            Err(problem) => Err(Denied::new(UNKNOWN_POLICY, *problem)),
        };
        note(&self.desk.metrics, &self.complaints, policy.unwrap_or_default(), &judged);
        let response = match judged {
            Ok(allowed) => allow(allowed),
            Err(denied) => deny(&denied),
        };
        ready(Ok(tonic::Response::new(response)))
    }
}

/// The policy that the route's configuration names.
fn policy_of(extensions: &[messages::Extension]) -> Result<&str, &'static str> {
    let mut named = extensions.iter().filter(|entry| entry.key == POLICY);
    match (named.next(), named.next()) {
        (Some(policy), None) => Ok(&policy.value),
        (None, _) => Err("the route has no context extension `policy`"),
        _ => Err("the context extension `policy` comes twice"),
    }
}

fn values<'h>(
    headers: impl Iterator<Item = &'h messages::Header>,
    policy: &Policy,
) -> Vec<&'h [u8]> {
    let name = policy.header.as_str().as_bytes();
    headers
        .filter(|header| header.key.eq_ignore_ascii_case(name))
        .map(|header| match &*header.raw_value {
            [] => &*header.value,
            raw => raw,
        })
        .collect()
}

fn allow(allowed: Allowed) -> CheckResponse {
    let headers = allowed.headers().map(|(name, value)| header(name, value)).into();
    CheckResponse {
        status: Some(messages::Status { code: Code::Ok as i32, message: String::new() }),
        http_response: Some(HttpResponse::Ok(messages::OkResponse { headers })),
        dynamic_metadata: Some(metadata("member")),
    }
}

fn deny(denied: &Denied) -> CheckResponse {
    let told = denied.told();
    let http = messages::DeniedResponse {
        status: Some(messages::HttpStatus { code: told.status.into() }),
        headers: vec![header("content-type", TOLD_TYPE.to_owned())],
        body: told.body,
    };
    let code = Code::PermissionDenied as i32;
    CheckResponse {
        status: Some(messages::Status { code, message: denied.reason.to_owned() }),
        http_response: Some(HttpResponse::Denied(http)),
        dynamic_metadata: Some(metadata(denied.reason)),
    }
}

fn header(name: &str, value: String) -> HeaderOption {
    let (key, value) = (name.to_owned().into(), value.into());
    HeaderOption {
        header: Some(messages::Header { key, value, ..messages::Header::default() }),
        append: Some(messages::BoolValue { value: false }),
    }
}

fn metadata(reason: &str) -> messages::Struct {
    let value = Some(messages::Value { text: Some(reason.to_owned()) });
    messages::Struct { fields: vec![messages::Field { key: "reason".to_owned(), value }] }
}

/// Any bytes as a message.
#[cfg(any(test, fuzzing))]
pub(in crate::query) fn feed(bytes: &[u8]) {
    use prost::Message;
    let Ok(request) = CheckRequest::decode(bytes) else { return };
    let attributes = request.attributes.unwrap_or_default();
    let _ = policy_of(&attributes.context_extensions);
}
