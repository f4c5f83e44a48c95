//! What Graph's answers mean.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;

use super::*;
use crate::clock::Timestamp;

fn answer(status: u16, headers: &[(&'static str, &str)], body: &Json) -> Answer {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect();
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers,
        body: Bytes::from(body.to_string()),
        url: "https://graph.microsoft.com/v1.0/users".parse().unwrap(),
        received: Timestamp(1_000_000),
    }
}

fn call(endpoint: &'static str) -> Call {
    Call::get(endpoint, "https://graph.microsoft.com/v1.0/users".parse().unwrap())
}

fn judge(endpoint: &'static str, status: u16, code: &str) -> Verdict {
    let body = json!({ "error": { "code": code, "message": "m" } });
    Ways.judge(&call(endpoint), &answer(status, &[("request-id", "r-1")], &body))
}

#[test]
fn r5_an_old_token_of_changes_is_recognised_however_it_is_told() {
    for (status, code) in [
        (410, "Gone"),
        (400, "syncStateNotFound"),
        (400, "SyncStateInvalid"),
        (400, "resyncRequired"),
    ] {
        let verdict = judge("GET /users/delta", status, code);
        assert!(matches!(verdict, Verdict::Fatal(PullError::CursorExpired { .. })), "{verdict:?}");
    }
    let verdict = judge("GET /users", 400, "Request_BadRequest");
    assert!(matches!(verdict, Verdict::Fatal(PullError::Incomplete { .. })), "{verdict:?}");
}

#[test]
fn a_refusal_names_the_permission_and_the_number_for_support() {
    for (endpoint, expected) in [
        ("GET /users", "User.Read.All"),
        ("GET /groups/delta", "GroupMember.Read.All"),
        ("GET /devices", "Device.Read.All"),
    ] {
        let Verdict::Fatal(error) = judge(endpoint, 403, "Authorization_RequestDenied") else {
            panic!("{endpoint}");
        };
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains("r-1"), "{text}");
    }
}

#[test]
fn r17_a_throttle_is_obeyed_to_the_fraction_of_a_second() {
    let body = json!({ "error": { "code": "TooManyRequests", "message": "m" } });
    let verdict = Ways.judge(&call("GET /users"), &answer(429, &[("retry-after", "2.128")], &body));
    let until = Some(Timestamp(1_002_128));
    assert_eq!(verdict, Verdict::Throttled { until, scope: Scope::All });
    let body = json!({ "responses": [
        { "id": "0", "status": 200 },
        { "id": "1", "status": 429, "headers": { "Retry-After": "1.5" } },
        { "id": "2", "status": 429, "headers": { "retry-after": "0.5" } },
    ]});
    let answer = answer(200, &[], &body);
    assert_eq!(Ways.judge(&call(BATCH), &answer), Verdict::Good);
    let quota = Ways.quota(&call(BATCH), &answer);
    assert_eq!((quota.remaining, quota.reset), (Some(0.0), Some(Timestamp(1_001_500))));
}

#[test]
fn r17_the_size_of_the_tenant_decides_the_quota() {
    for (users, limit) in [(49, 3500.0), (50, 5000.0), (501, 8000.0)] {
        let answer = answer(200, &[("x-ms-resource-unit", "1")], &json!(users));
        let quota = Ways.quota(&call("GET /users/$count"), &answer);
        assert_eq!((quota.limit, quota.charged), (Some(limit), Some(1.0)));
    }
}

#[test]
fn a_refused_part_renews_the_token() {
    let answer = answer(200, &[], &json!({ "responses": [{ "id": "0", "status": 401 }] }));
    assert!(matches!(Ways.judge(&call(BATCH), &answer), Verdict::Refused(_)));
}

#[test]
fn r1_a_page_with_something_missing_is_not_a_page() {
    for (page, part) in [
        (json!({}), "no `value`"),
        (json!({ "value": null }), "no `value`"),
        (json!({ "value": [], "error": { "code": "c", "message": "m" } }), "c: m"),
        (json!({ "value": {} }), "malformed"),
        (json!({ "value": [], "@odata.nextLink": "x" }), "no address"),
        (
            json!({ "value": [], "@odata.nextLink": "https://a", "@odata.deltaLink": "https://a" }),
            "both",
        ),
    ] {
        let error = page_of(page.clone()).unwrap_err().to_string();
        assert!(error.contains(part), "{page}: {error}");
    }
    assert_eq!(page_of(json!({ "value": [] })).unwrap().end, End::Last);
}
