//! What a vendor's answers mean. Pure: statuses, headers and bodies in,
//! reactions out.

use http::StatusCode;

use super::call::{Answer, Call};
use crate::clock::Timestamp;
use crate::provider::PullError;
use crate::retry;

/// The ways of one vendor.
pub trait Vendor: Send + Sync {
    /// For people: `Microsoft Graph`.
    fn name(&self) -> &'static str;

    /// What to do about an answer.
    fn judge(&self, call: &Call, answer: &Answer) -> Verdict {
        let _ = call;
        ordinary(self.name(), answer)
    }

    /// What an answer says about the quota.
    fn quota(&self, call: &Call, answer: &Answer) -> Quota {
        let _ = (call, answer);
        Quota::default()
    }
}

/// One variant per reaction.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Good,
    /// Asked too fast: nothing more goes there before `until`, which growing
    /// delays stand in for when the vendor names no time.
    Throttled {
        until: Option<Timestamp>,
        scope: Scope,
    },
    /// The server is in trouble. Tried again, if that is safe.
    Trouble(String),
    /// The credential is refused, which a newer token may cure.
    Refused(String),
    /// Asking again would not help.
    Fatal(PullError),
}

/// How far a throttle reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The bucket of the call.
    Bucket,
    /// Everything under this credential.
    All,
}

/// What an answer says about the quota; what it does not say is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quota {
    /// Units a window.
    pub limit: Option<f64>,
    /// Units left in this window, for everybody who shares it.
    pub remaining: Option<f64>,
    /// When the window ends.
    pub reset: Option<Timestamp>,
    /// Units that this call really cost; 0 gives back what it was counted for.
    pub charged: Option<f64>,
    /// The part of the limit that is used, 1.0 for all of it.
    pub pressure: Option<f64>,
}

/// What statuses mean where the vendor has no ways of its own.
pub fn ordinary(what: &str, answer: &Answer) -> Verdict {
    let what = || what.to_owned();
    let told = || format!("it answers {}: {}", answer.status, answer.excerpt());
    match answer.status {
        status if status.is_success() || status == StatusCode::NOT_MODIFIED => Verdict::Good,
        StatusCode::UNAUTHORIZED => Verdict::Refused(told()),
        StatusCode::TOO_MANY_REQUESTS => {
            Verdict::Throttled { until: retry_after(answer), scope: Scope::All }
        }
        StatusCode::SERVICE_UNAVAILABLE if retry_after(answer).is_some() => {
            Verdict::Throttled { until: retry_after(answer), scope: Scope::All }
        }
        StatusCode::REQUEST_TIMEOUT => Verdict::Trouble(told()),
        status if status.is_server_error() => Verdict::Trouble(told()),
        StatusCode::FORBIDDEN => Verdict::Fatal(PullError::Unauthorized {
            what: what(),
            reason: told(),
            permission: None,
        }),
        _ => Verdict::Fatal(PullError::Incomplete { what: what(), reason: told() }),
    }
}

/// The moment that `Retry-After` names.
pub fn retry_after(answer: &Answer) -> Option<Timestamp> {
    let delay = retry::retry_after(answer.header("retry-after")?, answer.received)?;
    Some(answer.received.plus(delay))
}
