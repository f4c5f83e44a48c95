//! What Google's answers mean. Its 403 is both "not allowed" and "too fast".

use http::StatusCode;
use serde::Deserialize;

use super::session::{GROUPS_SCOPE, REPORTS_SCOPE, USERS_SCOPE};
use crate::provider::PullError;
use crate::provider::http::{Answer, Call, Scope, Vendor, Verdict, ordinary, retry_after};

/// The Admin SDK.
pub struct AdminSdk;

const NAME: &str = "the Google Admin SDK";
/// How the permission begins that one object may lack while others have it.
const ROLE: &str = "an administrator role";

/// Whether Google closes one object to us, not the API or the scope.
pub fn is_closed_object(error: &PullError) -> bool {
    matches!(error, PullError::Unauthorized { what, permission: Some(permission), .. }
        if what == NAME && permission.starts_with(ROLE))
}

/// Too many objects are closed to us for it to be about single ones.
pub fn closed(reason: String) -> PullError {
    let permission = format!(
        "{ROLE} of the impersonated account with the privilege Groups > Read (Admin API privileges)"
    );
    PullError::Unauthorized { what: NAME.to_owned(), reason, permission: Some(permission) }
}

/// `{"error": {"code": …, "message": …, "errors": [{"reason": …}], "status": …}}`
#[derive(Default, Deserialize)]
struct Body {
    #[serde(default)]
    error: Told,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    message: String,
    status: String,
    errors: Vec<Reason>,
    details: Vec<Reason>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Reason {
    reason: String,
}

const TOO_FAST: &[&str] = &[
    "rateLimitExceeded",
    "userRateLimitExceeded",
    "quotaExceeded",
    "dailyLimitExceeded",
    "concurrentLimitExceeded",
    "variableTermLimitExceeded",
    "RATE_LIMIT_EXCEEDED",
    "RESOURCE_EXHAUSTED",
];
const API_OFF: &[&str] = &["accessNotConfigured", "SERVICE_DISABLED"];
const NO_SCOPE: &[&str] = &["insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"];

impl Vendor for AdminSdk {
    fn name(&self) -> &'static str {
        NAME
    }

    fn judge(&self, call: &Call, answer: &Answer) -> Verdict {
        let told = told(answer);
        if matches!(answer.status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS)
            && (answer.status == StatusCode::TOO_MANY_REQUESTS || told.is(TOO_FAST))
        {
            let scope = if told.is(&["quotaExceeded"]) { Scope::Bucket } else { Scope::All };
            return Verdict::Throttled { until: retry_after(answer), scope };
        }
        if answer.status == StatusCode::FORBIDDEN {
            return Verdict::Fatal(self.forbidden(call, &told));
        }
        ordinary(self.name(), answer)
    }
}

impl AdminSdk {
    fn forbidden(&self, call: &Call, told: &Told) -> PullError {
        let scope = needed(call);
        let permission = if told.is(API_OFF) {
            "the Admin SDK API: enable it in the Google Cloud project of the service account \
             (APIs & Services > Library > Admin SDK API)"
                .to_owned()
        } else if told.is(NO_SCOPE) {
            format!("the scope {scope}, delegated to the service account in the Admin console")
        } else {
            let privilege = privilege(call);
            format!("{ROLE} of the impersonated account with the privilege {privilege}")
        };
        let reasons = told.reasons().collect::<Vec<_>>().join(", ");
        PullError::Unauthorized {
            what: self.name().to_owned(),
            reason: format!("{}: {} ({reasons})", call.endpoint, told.message.escape_debug()),
            permission: Some(permission),
        }
    }
}

impl Told {
    fn is(&self, reasons: &[&str]) -> bool {
        self.reasons().any(|reason| reasons.contains(&reason))
    }

    fn reasons(&self) -> impl Iterator<Item = &str> {
        let listed = self.errors.iter().chain(&self.details).map(|told| told.reason.as_str());
        listed.chain([self.status.as_str()]).filter(|reason| !reason.is_empty())
    }
}

fn told(answer: &Answer) -> Told {
    if answer.status.is_success() {
        return Told::default();
    }
    serde_json::from_slice::<Body>(&answer.body).unwrap_or_default().error
}

fn needed(call: &Call) -> &'static str {
    match call.url.path() {
        path if path.contains("/reports/") => REPORTS_SCOPE,
        path if path.contains("/groups") => GROUPS_SCOPE,
        _ => USERS_SCOPE,
    }
}

fn privilege(call: &Call) -> &'static str {
    match needed(call) {
        REPORTS_SCOPE => "Reports",
        GROUPS_SCOPE => "Groups > Read (Admin API privileges)",
        _ => "Users > Read (Admin API privileges)",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;

    fn judge(status: u16, reason: &str) -> Verdict {
        let url = url::Url::parse("https://admin.googleapis.com/admin/directory/v1/users").unwrap();
        let body = json!({ "error": { "code": status, "message": "no",
            "errors": [{ "domain": "usageLimits", "reason": reason }] } });
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: http::HeaderMap::new(),
            body: body.to_string().into(),
            url: url.clone(),
            received: Timestamp(0),
        };
        AdminSdk.judge(&Call::get("GET /users", url), &answer)
    }

    #[test]
    fn r17_the_reason_of_a_403_says_whether_to_slow_down() {
        for reason in ["rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"] {
            assert!(matches!(judge(403, reason), Verdict::Throttled { .. }), "{reason}");
        }
        assert!(matches!(judge(429, "whatever"), Verdict::Throttled { .. }));
        assert!(matches!(judge(403, "forbidden"), Verdict::Fatal(PullError::Unauthorized { .. })));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (reason, part) in [
            ("insufficientPermissions", "admin.directory.user.readonly"),
            ("accessNotConfigured", "Admin SDK API"),
            ("forbidden", "Users > Read"),
        ] {
            let Verdict::Fatal(error) = judge(403, reason) else { panic!("{reason}") };
            assert!(error.to_string().contains(part), "{error}");
            assert_eq!(is_closed_object(&error), reason == "forbidden");
        }
    }

    #[test]
    fn trouble_is_tried_again_and_a_refused_token_renewed() {
        assert!(matches!(judge(503, "backendError"), Verdict::Trouble(_)));
        assert!(matches!(judge(500, "backendError"), Verdict::Trouble(_)));
        assert!(matches!(judge(401, "authError"), Verdict::Refused(_)));
        assert!(matches!(judge(400, "invalid"), Verdict::Fatal(PullError::Incomplete { .. })));
    }
}
