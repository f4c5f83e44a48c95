//! `/v1/audit`: the audit trail in order, by page or long poll.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use utoipa::ToSchema;

use super::events::{WAIT_MAX, position};
use super::journal::JournalError;
use super::parameters::Parameters;
use super::problem::Problem;
use super::sources::Sources;
use crate::clock::{self, Timestamp};
use crate::glob;
use crate::model::AuditEntry;
use crate::store::AuditPage;
use crate::task;
use crate::wire::AuditBody;

const DEFAULT_LIMIT: usize = 100;

/// Which entries are asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// From the oldest on when `None`.
    pub after: Option<u64>,
    pub limit: usize,
    action: Option<String>,
    since: Option<Timestamp>,
}

impl Wanted {
    /// Whether an entry is among them, wherever it stands.
    pub fn accepts(&self, entry: &AuditEntry) -> bool {
        let action = entry.act.action.as_str();
        self.action.as_ref().is_none_or(|wanted| glob::matches(wanted, action))
            && self.since.is_none_or(|since| entry.at >= since)
    }
}

/// A page of the audit trail.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditTrail)]
pub(super) struct ListBody<'a> {
    entries: Vec<AuditBody<'a>>,
    /// All that were asked for, on this page or behind it.
    total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
    /// Where to go on (`after`).
    seq: u64,
    /// The last entry there is.
    last_seq: u64,
    /// The first entry that is kept.
    oldest_seq: u64,
}

/// Answers `/v1/audit`.
///
/// # Errors
/// When a parameter is wrong, or the entries are no longer kept.
pub async fn answer(sources: &Sources, query: Option<&str>) -> Result<Response, Problem> {
    let known = ["after", "cursor", "limit", "action", "since", "wait"];
    let parameters = Parameters::parse(query, &known)?;
    let wanted = Wanted {
        after: position(&parameters)?,
        limit: parameters.limit(DEFAULT_LIMIT)?,
        action: parameters.text("action").map(str::to_owned),
        since: parameters.moment("since")?,
    };
    let wait = parameters.duration("wait")?.unwrap_or_default();
    if wait > WAIT_MAX {
        return Err(Problem::bad_request("the parameter `wait` is over 60s"));
    }
    let page = wait_for(sources, &wanted, clock::instant() + wait).await?;
    let body = serde_json::to_vec(&body(&page)).map_err(Problem::internal)?;
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// The page, as soon as there is something on it.
async fn wait_for(
    sources: &Sources,
    wanted: &Wanted,
    deadline: clock::Instant,
) -> Result<AuditPage, Problem> {
    let mut moved = sources.trail.moved();
    loop {
        moved.mark_unchanged();
        let (trail, asked) = (sources.trail.clone(), wanted.clone());
        let read = task::blocking("read the audit trail", move || trail.read(&asked)).await;
        let page = read.map_err(Problem::internal)?.map_err(unreadable)?;
        check_position(wanted, &page)?;
        if !page.entries.is_empty() {
            return Ok(page);
        }
        let goes_on = tokio::select! {
            moved = moved.changed() => moved.is_ok(),
            () = tokio::time::sleep_until(deadline) => false,
            () = sources.shutdown.requested() => false,
        };
        if !goes_on {
            return Ok(page);
        }
    }
}

fn check_position(wanted: &Wanted, page: &AuditPage) -> Result<(), Problem> {
    match wanted.after {
        Some(after) if after > page.last => {
            let detail = format!("entry {after} is not yet given: the last one is {}", page.last);
            Err(Problem::bad_request(detail).member("last_seq", page.last))
        }
        _ => Ok(()),
    }
}

fn unreadable(error: JournalError) -> Problem {
    match error {
        JournalError::Gone { oldest } => {
            let detail = format!("the audit trail starts at entry {oldest}");
            Problem::new(StatusCode::GONE, "gone", detail)
                .hint("ask without `after` for the oldest that is kept")
                .member("oldest", oldest)
        }
        JournalError::Failed(_) => error.into(),
    }
}

fn body(page: &AuditPage) -> ListBody<'_> {
    let given = page.entries.last().map(|entry| entry.seq);
    let more = page.total > page.entries.len() as u64;
    ListBody {
        entries: page.entries.iter().map(AuditBody::from).collect(),
        total: page.total,
        next_cursor: given.filter(|_| more).map(|seq| seq.to_string()),
        seq: given.filter(|_| more).unwrap_or(page.last),
        last_seq: page.last,
        oldest_seq: page.oldest,
    }
}
