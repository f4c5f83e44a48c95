//! The HTTP service: Envoy sends the request's own method and path behind
//! `path_prefix`, and the headers that it is configured to pass on.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use axum::{Extension, Router};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

use super::complaints::Complaints;
use super::{Denied, TOLD_TYPE, judge, note};
use crate::query::policies::Policy;
use crate::query::router::Desk;

const PREFIX: &str = "/ext_authz/";

/// Whatever comes after the policy's name is the client's path.
pub fn routes() -> Router<Desk> {
    Router::new()
        .route("/ext_authz/{policy}", any(decide))
        .route("/ext_authz/{policy}/", any(decide))
        .route("/ext_authz/{policy}/{*path}", any(decide))
}

async fn decide(
    State(desk): State<Desk>,
    Extension(complaints): Extension<Arc<Complaints>>,
    request: Request,
) -> Response {
    // Not by the router, which would refuse a client's path that is no UTF-8.
    let path = request.uri().path();
    let policy =
        path.strip_prefix(PREFIX).unwrap_or_default().split('/').next().unwrap_or_default();
    // A proxy in between may have joined two headers.
    let judged = judge(&desk.sources, policy, |policy| values(request.headers(), policy), true);
    note(&desk.metrics, &complaints, policy, &judged);
    match judged {
        Ok(allowed) => {
            let mut response = Response::new(Body::empty());
            for (name, value) in allowed.headers() {
                if let Ok(value) = HeaderValue::try_from(value) {
                    response.headers_mut().insert(HeaderName::from_static(name), value);
                }
            }
            response
        }
        Err(denied) => refuse(&denied),
    }
}

fn values<'h>(headers: &'h HeaderMap, policy: &Policy) -> Vec<&'h [u8]> {
    headers.get_all(&policy.header).iter().map(HeaderValue::as_bytes).collect()
}

fn refuse(denied: &Denied) -> Response {
    let told = denied.told();
    let mut response = Response::new(Body::from(told.body));
    *response.status_mut() = StatusCode::FORBIDDEN;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TOLD_TYPE));
    response
}
