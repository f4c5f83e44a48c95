//! What Okta's answers mean.
//!
//! Only `errorCode` decides, since statuses and texts vary. Source: Okta,
//! "Error codes" and "Rate limits"; 401 with `E0000015` and the two shapes of
//! 404 are as orgs answer.

use http::StatusCode;
use serde::Deserialize;

use crate::clock::{Duration, Timestamp};
use crate::provider::PullError;

use crate::provider::http::{Answer, Call, Quota, Scope, Vendor, Verdict, ordinary, retry_after};
use crate::retry::http_date;

pub const NAME: &str = "Okta";

/// Nothing of that id is there.
pub const NOT_FOUND: &str = "E0000007";
/// The admin's role does not reach there.
pub const FORBIDDEN: &str = "E0000006";
const TOO_MANY: &str = "E0000047";
/// A feature that the org does not have: no other token would help.
const NO_FEATURE: &str = "E0000015";

/// Okta's ways.
pub struct Okta;

/// `{"errorCode": …, "errorSummary": …, "errorCauses": […]}`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OktaError {
    pub error_code: String,
    pub error_summary: String,
    pub error_causes: Vec<Cause>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cause {
    pub error_summary: String,
}

impl Vendor for Okta {
    fn name(&self) -> &'static str {
        NAME
    }

    fn judge(&self, call: &Call, answer: &Answer) -> Verdict {
        if answer.status.is_success() {
            return ordinary(NAME, answer);
        }
        let error = error_of(answer);
        match (error.error_code.as_str(), answer.status) {
            (TOO_MANY, _) | (_, StatusCode::TOO_MANY_REQUESTS) => throttled(answer),
            (NO_FEATURE, _) => Verdict::Fatal(unauthorized(call, told(answer))),
            (FORBIDDEN, _) | (_, StatusCode::FORBIDDEN) => {
                Verdict::Fatal(unauthorized(call, told(answer)))
            }
            (_, StatusCode::UNAUTHORIZED) => Verdict::Refused(told(answer)),
            (_, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND) => {
                Verdict::Fatal(PullError::Incomplete { what: call.place(), reason: told(answer) })
            }
            _ => ordinary(NAME, answer),
        }
    }

    fn quota(&self, _: &Call, answer: &Answer) -> Quota {
        let number = |name| answer.number(name);
        let limit = number("x-rate-limit-limit");
        // So the limit of concurrent requests is told; it says nothing about the minute.
        if limit == Some(0.0) {
            return Quota::default();
        }
        Quota {
            limit,
            remaining: number("x-rate-limit-remaining"),
            reset: reset(answer),
            ..Quota::default()
        }
    }
}

/// What Okta says went wrong; empty when the body is of another kind.
pub fn error_of(answer: &Answer) -> OktaError {
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

/// The same for people.
pub fn told(answer: &Answer) -> String {
    let error = error_of(answer);
    if error.error_code.is_empty() {
        return format!("it answers {}: {}", answer.status, answer.excerpt());
    }
    let causes: String =
        error.error_causes.iter().map(|cause| format!("; {}", cause.error_summary)).collect();
    format!("{} ({}{causes})", error.error_summary, error.error_code)
}

/// The scope, or the right of the token's creator, that the call takes.
pub fn scope(call: &Call) -> &'static str {
    match call.bucket {
        "logs" => "okta.logs.read",
        "users" | "user" => "okta.users.read",
        _ => "okta.groups.read",
    }
}

/// The server's clock when it answered.
pub fn server_time(answer: &Answer) -> Timestamp {
    answer.header("date").and_then(http_date).unwrap_or(answer.received)
}

fn unauthorized(call: &Call, reason: String) -> PullError {
    let permission = Some(scope(call).to_owned());
    PullError::Unauthorized { what: NAME.to_owned(), reason, permission }
}

/// There is no `Retry-After`: the end of the window is an epoch by the
/// server's clock. With a limit of 0 too many requests were under way at once,
/// and the end of the window means little.
fn throttled(answer: &Answer) -> Verdict {
    if is_too_many_at_once(answer) {
        return Verdict::Throttled { until: None, scope: Scope::All };
    }
    Verdict::Throttled { until: reset(answer), scope: Scope::Bucket }
}

/// When a throttled request may be sent again: the token endpoint, too, says
/// that by the end of its window only.
pub fn resumes_at(answer: &Answer) -> Option<Timestamp> {
    retry_after(answer).or_else(|| reset(answer).filter(|_| !is_too_many_at_once(answer)))
}

fn is_too_many_at_once(answer: &Answer) -> bool {
    let zero = |name: &str| answer.header(name).is_some_and(|value| value.trim() == "0");
    zero("x-rate-limit-limit") && zero("x-rate-limit-remaining")
}

/// When the window ends, by our clock.
fn reset(answer: &Answer) -> Option<Timestamp> {
    let epoch: u64 = answer.header("x-rate-limit-reset")?.trim().parse().ok()?;
    let wait = epoch.saturating_mul(1000).saturating_sub(server_time(answer).0);
    // `Date` has whole seconds, cut off: the wait is a little too long, never too short.
    (wait > 0).then(|| answer.received.plus(Duration::from_millis(wait)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue};
    use url::Url;

    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: map,
            body: Bytes::from(body.to_owned()),
            url: Url::parse("https://acme.okta.com/api/v1/groups").unwrap(),
            received: Timestamp(5_000_000),
        }
    }

    fn judge(answer: &Answer) -> Verdict {
        let url = answer.url.clone();
        Okta.judge(&Call::get("GET /groups", url).bucket("groups"), answer)
    }

    fn error(code: &str) -> String {
        format!(
            r#"{{"errorCode":"{code}","errorSummary":"No.","errorLink":"{code}","errorCauses":[]}}"#
        )
    }

    #[test]
    fn r17_the_reset_counts_from_the_servers_own_clock() {
        // The server's clock: 1970-01-01T00:10:00Z; ours: 5,000 s.
        let headers = [
            ("x-rate-limit-limit", "600"),
            ("x-rate-limit-remaining", "0"),
            ("x-rate-limit-reset", "630"),
            ("date", "Thu, 01 Jan 1970 00:10:00 GMT"),
        ];
        let answer = answer(429, &headers, &error("E0000047"));
        let until = Some(Timestamp(5_030_000));
        assert_eq!(judge(&answer), Verdict::Throttled { until, scope: Scope::Bucket });
        let quota = Okta.quota(&Call::get("GET /groups", answer.url.clone()), &answer);
        assert_eq!((quota.limit, quota.remaining, quota.reset), (Some(600.0), Some(0.0), until));
    }

    #[test]
    fn too_many_at_once_says_nothing_about_the_minute() {
        let headers = [
            ("x-rate-limit-limit", "0"),
            ("x-rate-limit-remaining", "0"),
            ("x-rate-limit-reset", "99999999"),
        ];
        let answer = answer(429, &headers, &error("E0000047"));
        assert_eq!(judge(&answer), Verdict::Throttled { until: None, scope: Scope::All });
        let quota = Okta.quota(&Call::get("GET /groups", answer.url.clone()), &answer);
        assert_eq!(quota, Quota::default());
    }

    #[test]
    fn the_error_code_decides() {
        for code in ["E0000004", "E0000011"] {
            assert!(matches!(judge(&answer(401, &[], &error(code))), Verdict::Refused(_)));
        }
        // A newer token would not help.
        let feature = judge(&answer(401, &[], &error("E0000015")));
        assert!(matches!(feature, Verdict::Fatal(PullError::Unauthorized { .. })));
        let forbidden = judge(&answer(403, &[], &error("E0000006")));
        let Verdict::Fatal(PullError::Unauthorized { permission, reason, .. }) = forbidden else {
            panic!("{forbidden:?}")
        };
        assert_eq!(permission.as_deref(), Some("okta.groups.read"));
        assert!(reason.contains("E0000006"));
        assert!(matches!(judge(&answer(503, &[], "<html>")), Verdict::Trouble(_)));
        let lost = judge(&answer(404, &[], r#"{"status":404,"message":"Resource not found"}"#));
        assert!(matches!(lost, Verdict::Fatal(PullError::Incomplete { .. })));
        assert_eq!(judge(&answer(200, &[], "[]")), Verdict::Good);
    }
}
