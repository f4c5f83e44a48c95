//! What GitHub's answers mean.
//!
//! A 403 is "not allowed" or "slow down", a 429 likewise, and a 200 of GraphQL
//! may be either: headers and bodies decide, never the status alone.

use http::StatusCode;
use serde::Deserialize;

use crate::clock::{Duration, Timestamp};
use crate::provider::PullError;
use crate::provider::http::{Answer, Call, Quota, Scope, Vendor, Verdict, ordinary, retry_after};

/// The buckets of quota, as `x-ratelimit-resource` names them.
pub const REST: &str = "core";
pub const GRAPHQL: &str = "graphql";

/// What GitHub asks to wait for after a secondary limit without `Retry-After`.
const SECONDARY_PAUSE: Duration = Duration::from_mins(1);
/// Windows end on the server's clock, not on ours.
const RESET_MARGIN: Duration = Duration::from_secs(1);

pub struct Github;

impl Vendor for Github {
    fn name(&self) -> &'static str {
        "GitHub"
    }

    fn judge(&self, call: &Call, answer: &Answer) -> Verdict {
        if let Some(verdict) = throttle(call, answer) {
            return verdict;
        }
        if let Some(error) = single_sign_on(answer) {
            return Verdict::Fatal(error);
        }
        match answer.status {
            StatusCode::FORBIDDEN => Verdict::Fatal(forbidden(answer)),
            StatusCode::UNAUTHORIZED => Verdict::Refused(message_of(answer)),
            _ => ordinary(self.name(), answer),
        }
    }

    fn quota(&self, call: &Call, answer: &Answer) -> Quota {
        let number = |name| answer.number(name);
        let bucket = answer.header("x-ratelimit-resource").unwrap_or(call.bucket);
        // What is said of another bucket says nothing of this one.
        let is_free = answer.status == StatusCode::NOT_MODIFIED;
        if bucket != call.bucket {
            return Quota { charged: is_free.then_some(0.0), ..Quota::default() };
        }
        Quota {
            limit: number("x-ratelimit-limit"),
            remaining: number("x-ratelimit-remaining"),
            reset: reset(answer),
            charged: match call.bucket {
                GRAPHQL => charged(answer),
                _ => is_free.then_some(0.0),
            },
            pressure: None,
        }
    }
}

/// An error of REST. <https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api>
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    message: String,
    documentation_url: String,
}

/// GitHub's own words for an error.
pub fn message_of(answer: &Answer) -> String {
    let told: Told = serde_json::from_slice(&answer.body).unwrap_or_default();
    if told.message.is_empty() {
        return format!("it answers {}: {}", answer.status, answer.excerpt());
    }
    format!("it answers {}: {}", answer.status, told.message.escape_debug())
}

/// <https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api>
fn throttle(call: &Call, answer: &Answer) -> Option<Verdict> {
    if answer.status.is_success() {
        let is_limited = call.bucket == GRAPHQL && says_rate_limited(answer);
        return is_limited.then(|| exhausted(answer));
    }
    if !matches!(answer.status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS) {
        return None;
    }
    let told: Told = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = format!("{} {}", told.message, told.documentation_url).to_lowercase();
    let is_secondary =
        ["secondary rate", "secondary-rate", "abuse"].iter().any(|words| text.contains(words));
    if let Some(until) = retry_after(answer) {
        return Some(Verdict::Throttled { until: Some(until), scope: Scope::All });
    }
    if is_secondary {
        let until = answer.received.plus(SECONDARY_PAUSE);
        return Some(Verdict::Throttled { until: Some(until), scope: Scope::All });
    }
    let is_spent = answer.header("x-ratelimit-remaining") == Some("0");
    if is_spent || text.contains("rate limit") {
        return Some(exhausted(answer));
    }
    if answer.status == StatusCode::TOO_MANY_REQUESTS {
        return Some(Verdict::Throttled { until: None, scope: Scope::All });
    }
    None
}

fn exhausted(answer: &Answer) -> Verdict {
    Verdict::Throttled { until: reset(answer), scope: Scope::Bucket }
}

/// When the window ends, never in the past: the server's clock may be behind.
fn reset(answer: &Answer) -> Option<Timestamp> {
    let seconds: u64 = answer.header("x-ratelimit-reset")?.parse().ok()?;
    let reset = Timestamp(seconds.saturating_mul(1000)).plus(RESET_MARGIN);
    Some(reset.max(answer.received.plus(RESET_MARGIN)))
}

/// GraphQL says with status 200 that its points are used up.
fn says_rate_limited(answer: &Answer) -> bool {
    #[derive(Deserialize)]
    struct Envelope {
        #[serde(default)]
        errors: Vec<Kind>,
    }
    #[derive(Deserialize)]
    struct Kind {
        #[serde(rename = "type", default)]
        kind: String,
    }
    let mentions = answer.body.windows(12).any(|window| window == b"RATE_LIMITED");
    mentions
        && serde_json::from_slice::<Envelope>(&answer.body)
            .is_ok_and(|envelope| envelope.errors.iter().any(|error| error.kind == "RATE_LIMITED"))
}

/// The points that a query cost, which every document of ours asks for.
fn charged(answer: &Answer) -> Option<f64> {
    #[derive(Deserialize)]
    struct Envelope {
        data: Option<Data>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Data {
        rate_limit: Option<Cost>,
    }
    #[derive(Deserialize)]
    struct Cost {
        cost: f64,
    }
    let envelope: Envelope = serde_json::from_slice(&answer.body).ok()?;
    Some(envelope.data?.rate_limit?.cost)
}

/// `X-GitHub-SSO: required; url=…` on a 403, or `partial-results;
/// organizations=…` on a 200 that leaves out what the token may not see.
/// <https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api>
fn single_sign_on(answer: &Answer) -> Option<PullError> {
    let header = answer.header("x-github-sso")?;
    let (kind, rest) = header.split_once(';').unwrap_or((header, ""));
    let reason = match kind.trim() {
        "required" => {
            let url = rest.trim().strip_prefix("url=").unwrap_or("the settings of the token");
            format!(
                "the organization demands single sign-on; authorise the token at {}",
                url.escape_debug()
            )
        }
        "partial-results" => format!(
            "it left organizations out that demand single sign-on ({}); authorise the token there \
             (Settings, Developer settings, Personal access tokens, Configure SSO)",
            rest.trim().escape_debug()
        ),
        _ => return None,
    };
    let permission = Some("single sign-on authorisation of the token".to_owned());
    Some(PullError::Unauthorized { what: "GitHub".to_owned(), reason, permission })
}

/// Whether just this is refused, and not the credential as a whole (401): what
/// is missing for it is then known, or known to be unknown.
pub fn is_forbidden(error: &PullError) -> bool {
    matches!(error, PullError::Unauthorized { permission: Some(_), .. })
}

fn forbidden(answer: &Answer) -> PullError {
    let scopes = answer.header("x-accepted-oauth-scopes").filter(|text| !text.trim().is_empty());
    // Alternatives are parted by semicolons.
    let permission = answer
        .header("x-accepted-github-permissions")
        .filter(|text| !text.trim().is_empty())
        .map(|text| text.split(';').map(str::trim).collect::<Vec<_>>().join(" or "))
        .or_else(|| scopes.map(|scopes| format!("one of the scopes {scopes}")))
        .or_else(|| Some("one that GitHub does not name".to_owned()));
    PullError::Unauthorized { what: "GitHub".to_owned(), reason: message_of(answer), permission }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use url::Url;

    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: map,
            body: body.to_owned().into(),
            url: Url::parse("https://api.github.com/x").unwrap(),
            received: NOW,
        }
    }

    fn call(bucket: &'static str) -> Call {
        Call::get("GET /x", Url::parse("https://api.github.com/x").unwrap()).bucket(bucket)
    }

    fn judge(bucket: &'static str, answer: &Answer) -> Verdict {
        Github.judge(&call(bucket), answer)
    }

    fn throttled(seconds: u64, scope: Scope) -> Verdict {
        Verdict::Throttled { until: Some(NOW.plus(Duration::from_secs(seconds))), scope }
    }

    #[test]
    fn r17_the_primary_limit_is_told_by_headers_whatever_the_status() {
        let body = r#"{"message":"API rate limit exceeded for user ID 1.","documentation_url":"https://docs.github.com/rest"}"#;
        for status in [403, 429] {
            let answer = answer(
                status,
                &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1700000060")],
                body,
            );
            assert_eq!(judge(REST, &answer), throttled(61, Scope::Bucket));
        }
    }

    #[test]
    fn r17_the_secondary_limit_closes_everything() {
        let old = r#"{"message":"You have triggered an abuse detection mechanism.","documentation_url":"https://developer.github.com/v3/#abuse-rate-limits"}"#;
        let with = answer(403, &[("retry-after", "30")], old);
        assert_eq!(judge(REST, &with), throttled(30, Scope::All));
        let new = r#"{"message":"You have exceeded a secondary rate limit."}"#;
        assert_eq!(judge(REST, &answer(403, &[], new)), throttled(60, Scope::All));
        // The primary quota being left does not matter.
        let left = answer(429, &[("x-ratelimit-remaining", "4999")], new);
        assert_eq!(judge(GRAPHQL, &left), throttled(60, Scope::All));
    }

    #[test]
    fn a_reset_in_the_past_is_no_invitation_to_hammer() {
        let answer =
            answer(429, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1")], "{}");
        assert_eq!(judge(REST, &answer), throttled(1, Scope::Bucket));
    }

    #[test]
    fn graphql_runs_out_of_points_with_status_200() {
        let body = r#"{"errors":[{"type":"RATE_LIMITED","message":"API rate limit exceeded"}]}"#;
        let answer = answer(
            200,
            &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1700000010")],
            body,
        );
        assert_eq!(judge(GRAPHQL, &answer), throttled(11, Scope::Bucket));
    }

    #[test]
    fn a_user_called_rate_limited_throttles_nobody() {
        let body = r#"{"data":{"user":{"name":"RATE_LIMITED"}}}"#;
        assert_eq!(judge(GRAPHQL, &answer(200, &[], body)), Verdict::Good);
    }

    #[test]
    fn a_refusal_is_no_throttle_and_names_the_permission() {
        let body = r#"{"message":"Resource not accessible by personal access token"}"#;
        let answer = answer(
            403,
            &[("x-accepted-github-permissions", "members=read"), ("x-ratelimit-remaining", "17")],
            body,
        );
        let Verdict::Fatal(PullError::Unauthorized { permission, reason, .. }) =
            judge(REST, &answer)
        else {
            panic!("not refused")
        };
        assert_eq!(permission.as_deref(), Some("members=read"));
        assert!(reason.contains("not accessible"));
    }

    #[test]
    fn r1_a_200_that_leaves_organizations_out_is_an_error() {
        let answer = answer(200, &[("x-github-sso", "partial-results; organizations=1,2")], "[]");
        let verdict = judge(REST, &answer);
        assert!(matches!(verdict, Verdict::Fatal(PullError::Unauthorized { .. })), "{verdict:?}");
    }

    #[test]
    fn the_quota_of_another_bucket_is_not_taken_for_this_one() {
        let headers = [
            ("x-ratelimit-limit", "5000"),
            ("x-ratelimit-remaining", "4990"),
            ("x-ratelimit-resource", "core"),
        ];
        let answer = answer(200, &headers, r#"{"data":{"rateLimit":{"cost":3}}}"#);
        assert_eq!(Github.quota(&call(REST), &answer).remaining, Some(4990.0));
        assert_eq!(Github.quota(&call(GRAPHQL), &answer), Quota::default());
    }

    #[test]
    fn points_are_counted_as_github_counts_them() {
        let answer = answer(200, &[], r#"{"data":{"rateLimit":{"cost":3}}}"#);
        assert_eq!(Github.quota(&call(GRAPHQL), &answer).charged, Some(3.0));
    }
}
