//! Errors as `application/problem+json` (RFC 9457).

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::openapi::schemas::ProblemMembers;

/// An answer that says why there is no other.
///
/// On the wire: `type` (`urn:rosterd:` and a word that does not change),
/// `title` (that word), `status`, `detail` (a sentence), sometimes `hint` (what to do),
/// and members of the single problem, such as `candidates`.
#[derive(Debug, thiserror::Error)]
#[error("{}", _0.detail)]
pub struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    word: &'static str,
    detail: String,
    hint: Option<String>,
    members: Map<String, Value>,
    headers: HeaderMap,
}

/// An answer that says why there is no other (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody<'a> {
    /// `urn:rosterd:` and the word of `title`.
    #[serde(rename = "type")]
    #[schema(pattern = "^urn:rosterd:[a-z-]+$")]
    kind: String,
    /// A word that does not change, to branch on.
    title: &'a str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong, in a sentence.
    detail: &'a str,
    /// What can be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    hint: Option<&'a str>,
    #[serde(flatten)]
    #[schema(value_type = ProblemMembers)]
    members: &'a Map<String, Value>,
}

impl Problem {
    /// A problem of a kind that has no function of its own.
    pub fn new(status: StatusCode, word: &'static str, detail: impl Into<String>) -> Problem {
        Problem(Box::new(Parts {
            status,
            word,
            detail: detail.into(),
            hint: None,
            members: Map::new(),
            headers: HeaderMap::new(),
        }))
    }

    /// 400: the request itself is wrong.
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }

    /// 401: the bearer token is missing or wrong.
    pub fn unauthorized() -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "a bearer token is needed")
            .hint("send a token of `query.token` or `query.tokens` as `Authorization: Bearer …`")
            .header(WWW_AUTHENTICATE, "Bearer")
    }

    /// 403: we know who asks, and that one may not.
    pub fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 404: there is no such thing.
    pub fn unknown(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "unknown", detail)
    }

    /// 503: the answer would rest on data that is too old, or on none.
    pub fn stale(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stale", detail)
            .hint("`rosterd status` shows why the directory was not read")
            .header(RETRY_AFTER, "5")
    }

    /// 410: what was asked for is no longer kept; `oldest` is the first seq that is.
    pub fn gone(oldest: u64) -> Problem {
        let detail = format!("the journal starts at seq {oldest}");
        Problem::new(StatusCode::GONE, "gone", detail)
            .hint("take /v1/snapshot and go on from its seq")
            .member("oldest", oldest)
    }

    /// 503: the store cannot be read now.
    pub fn unreadable(reason: impl std::fmt::Display) -> Problem {
        tracing::error!("a request failed: {reason}");
        let detail = "the store cannot be read at present; the daemon's log says why";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", detail)
            .hint("it is tried again at each request; what needs no past is answered meanwhile")
            .header(RETRY_AFTER, "5")
    }

    /// 500: a fault of the daemon, told in full only in its log.
    pub fn internal(reason: impl std::fmt::Display) -> Problem {
        tracing::error!("a request failed: {reason}");
        let detail = "the daemon failed to answer; its log says why";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// Adds what the asker can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds a member of its own.
    #[must_use]
    pub fn member(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &'static str) -> Problem {
        self.0.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The word that does not change.
    pub fn word(&self) -> &'static str {
        self.0.word
    }

    /// What a member of its own says, where that is text.
    pub fn about(&self, member: &str) -> Option<&str> {
        self.0.members.get(member)?.as_str()
    }

    /// The JSON object.
    pub fn body(&self) -> Value {
        let Parts { status, word, detail, hint, members, .. } = self.0.as_ref();
        let body = ProblemBody {
            kind: format!("urn:rosterd:{word}"),
            title: word,
            status: status.as_u16(),
            detail,
            hint: hint.as_deref(),
            members,
        };
        // Texts and numbers have no way to fail.
        serde_json::to_value(body).unwrap_or_default()
    }

    /// The whole answer, body in one piece.
    pub fn into_parts(self) -> (StatusCode, HeaderMap, Bytes) {
        let body = Bytes::from(self.body().to_string());
        let Parts { status, mut headers, .. } = *self.0;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        (status, headers, body)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.into_parts().into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_members_of_rfc_9457() {
        let (status, headers, body) = Problem::gone(7).into_parts();
        assert_eq!(status, 410);
        assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["type"], "urn:rosterd:gone");
        assert_eq!(body["title"], "gone");
        assert_eq!(body["status"], 410);
        assert_eq!(body["detail"], "the journal starts at seq 7");
        assert_eq!(body["oldest"], 7);
        assert!(body["hint"].as_str().unwrap().contains("/v1/snapshot"));
    }

    #[test]
    fn the_reason_of_an_internal_fault_stays_in_the_log() {
        let body = Problem::internal("secret path").body().to_string();
        assert!(!body.contains("secret path"));
    }
}
