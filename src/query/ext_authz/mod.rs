//! Envoy's external authorization: is whom this header names in this group?
//!
//! Which header and which group, a policy says: `[ext_authz.NAME]`. Envoy's
//! configuration names the policy, in the path of the HTTP service or in the
//! context extensions of a gRPC check; nothing that a client sends can.
//!
//! Everything but a plain yes is a denial with status 403, also what a check
//! would answer with 5xx: Envoy takes a 5xx for a failure of the service, and
//! with `failure_mode_allow` would let the request through. Envoy hands a
//! denial on to the client, so it does not say why unless the policy wants
//! that (`explain`); the log, the metrics and, over gRPC, the dynamic metadata
//! for Envoy's own log do.

mod complaints;
pub(super) mod messages;
mod over_grpc;
mod over_http;

use std::panic::AssertUnwindSafe;

use axum::{Extension, Router};
use http::StatusCode;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use self::complaints::Complaints;
use super::decision::{Moment, Question, Reason, reason_of};
use super::metrics::Metrics;
use super::policies::Policy;
use super::problem::Problem;
use super::router::Desk;
use super::sources::Sources;
use crate::task::panic_message;

/// Both transports.
pub fn routes() -> Router<Desk> {
    let complaints = std::sync::Arc::new(Complaints::default());
    over_http::routes().merge(over_grpc::routes()).layer(Extension(complaints))
}

/// Who is let through, as what the upstream is told in headers.
#[derive(Debug, PartialEq, Eq)]
struct Allowed {
    user: String,
    group: String,
    directory: String,
    seq: u64,
}

/// Why somebody is not.
#[derive(Debug, PartialEq, Eq)]
struct Denied {
    /// A word that does not change.
    reason: &'static str,
    /// A sentence.
    detail: String,
    /// Whether the client is told both.
    explain: bool,
}

/// What the client gets to read.
#[derive(Debug)]
struct Told {
    status: u16,
    body: String,
}

/// What counts its decisions.
const BY: &str = "ext_authz";
/// The reason where Envoy names no policy of ours.
const UNKNOWN_POLICY: &str = "unknown-policy";

const TOLD_TYPE: &str = "application/problem+json";

/// Headers for the upstream. Envoy puts them in place of what a client sent.
const USER: &str = "x-rosterd-user";
const GROUP: &str = "x-rosterd-group";
const DIRECTORY: &str = "x-rosterd-directory";
const SEQ: &str = "x-rosterd-seq";

/// Everything but visible ASCII, and what makes it possible to undo it.
const NOT_PLAIN: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// Decides about one request. `values` are those of a header, each as it came;
/// `joined`: whether several headers may have become one value.
fn judge<'h>(
    sources: &Sources,
    name: &str,
    values: impl FnOnce(&Policy) -> Vec<&'h [u8]>,
    joined: bool,
) -> Result<Allowed, Denied> {
    let policies = sources.policies.load();
    let Some(policy) = policies.ext_authz.get(name) else {
        let detail = format!("there is no policy `{}`", name.escape_debug());
        return Err(Denied::new(UNKNOWN_POLICY, detail));
    };
    let judged = AssertUnwindSafe(|| {
        let user = only_value(policy, &values(policy), joined)?;
        decide(sources, policy, user)
    });
    let judged = std::panic::catch_unwind(judged)
        .unwrap_or_else(|panic| Err(Problem::internal(panic_message(panic.as_ref())).into()));
    judged.map_err(|denied| Denied { explain: policy.explain, ..denied })
}

fn decide(sources: &Sources, policy: &Policy, user: &str) -> Result<Allowed, Denied> {
    let question = Question {
        user,
        group: &policy.group,
        directory: policy.directory.as_deref(),
        max_age: Some(policy.max_age),
        allow_inactive: policy.allow_inactive,
    };
    let moment = Moment::now(sources);
    let decision = moment.decide(question)?;
    if decision.reason.allows() {
        return Ok(Allowed {
            user: plain(&decision.user.id),
            group: plain(&decision.group.id),
            directory: plain(decision.directory),
            seq: moment.seq(),
        });
    }
    let (user, group) = (decision.user.username, decision.group.name);
    let is = if decision.reason == Reason::Inactive { "is disabled" } else { "is not a member" };
    let detail = format!("{} {is} ({})", user.escape_debug(), group.escape_debug());
    Err(Denied::new(decision.reason.word(), detail))
}

/// The one value that the header must have.
fn only_value<'h>(policy: &Policy, values: &[&'h [u8]], joined: bool) -> Result<&'h str, Denied> {
    let header = &policy.header;
    let denied =
        |reason, what: &str| Err(Denied::new(reason, format!("the header {header} {what}")));
    match values {
        [] | [[]] => denied("no-user", "is missing or empty"),
        [value] if joined && value.contains(&b',') => {
            denied("several-users", "has several values, or one with a comma")
        }
        [value] => std::str::from_utf8(value).or_else(|_| denied("not-text", "is not UTF-8")),
        _ => denied("several-users", "comes more than once"),
    }
}

/// Visible ASCII; other bytes percent-encoded.
fn plain(text: &str) -> String {
    utf8_percent_encode(text, NOT_PLAIN).to_string()
}

impl Allowed {
    fn headers(self) -> [(&'static str, String); 4] {
        let seq = self.seq.to_string();
        [(USER, self.user), (GROUP, self.group), (DIRECTORY, self.directory), (SEQ, seq)]
    }
}

impl Denied {
    fn new(reason: &'static str, detail: impl Into<String>) -> Denied {
        Denied { reason, detail: detail.into(), explain: false }
    }

    /// What the client gets to read.
    fn told(&self) -> Told {
        const STATUS: StatusCode = StatusCode::FORBIDDEN;
        let problem = if self.explain {
            Problem::new(STATUS, "denied", self.detail.as_str()).member("reason", self.reason)
        } else {
            Problem::new(STATUS, "denied", "access denied")
        };
        Told { status: STATUS.as_u16(), body: problem.body().to_string() }
    }
}

impl From<Problem> for Denied {
    fn from(problem: Problem) -> Denied {
        Denied::new(reason_of(&problem), problem.to_string())
    }
}

/// Counts a decision, and tells of one that somebody has to look into.
fn note(
    metrics: &Metrics,
    complaints: &Complaints,
    policy: &str,
    judged: &Result<Allowed, Denied>,
) {
    match judged {
        Ok(_) => metrics.decided(BY, policy, Reason::Member.word()),
        Err(denied) => {
            // Names that nobody configured must not fill the metrics.
            let known = denied.reason != UNKNOWN_POLICY;
            let policy = if known { policy } else { "" };
            metrics.decided(BY, policy, denied.reason);
            complaints.tell(policy, denied);
        }
    }
}

#[cfg(any(test, fuzzing))]
pub(super) use over_grpc::feed;

#[cfg(test)]
mod tests;
