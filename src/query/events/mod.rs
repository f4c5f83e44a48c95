//! `/v1/events`: the journal in order and without a gap, by poll, long poll,
//! or server-sent events.
//!
//! What a reader gets never runs ahead of the view: whoever saw event N finds
//! it in every later answer. A wait first notes the seq it has seen, then
//! reads, so that no event slips in between.
//!
//! | Module | What it does |
//! |---|---|
//! | `cursor` | one reader's position; reads on in bounded steps |
//! | `stream` | server-sent events |
//! | `readers` | who is reading, for `/metrics` |

mod cursor;
mod readers;
mod stream;

use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use serde::Serialize;
use utoipa::ToSchema;

use super::filter;
use super::freshness::{Freshness, Freshnesses};
use super::parameters::Parameters;
use super::problem::Problem;
use super::sources::Sources;
use crate::clock::Duration;
use crate::model::{Event, Filter};
use crate::wire::EventBody;
use cursor::Cursor;

pub(super) use readers::Readers;
pub(super) use stream::IsFeed;

pub(super) const WAIT_MAX: Duration = Duration::from_secs(60);
const DEFAULT_LIMIT: usize = 100;
const KNOWN: [&str; 8] =
    ["after", "cursor", "limit", "wait", filter::TYPE, "directory", "tenant", "product"];

/// Answers `/v1/events`.
///
/// # Errors
/// When a parameter is wrong, or the events are no longer kept.
pub(super) async fn answer(
    sources: &Sources,
    readers: &Readers,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Response, Problem> {
    let parameters = Parameters::parse_with_lists(query, &KNOWN, &KNOWN[4..])?;
    let streams = |value: &http::HeaderValue| {
        value.to_str().is_ok_and(|accept| accept.contains("text/event-stream"))
    };
    let filter = filter::read(&parameters)?;
    let cursor = Cursor::start(sources, asked_after(headers, &parameters)?, filter)?;
    if headers.get_all(ACCEPT).iter().any(streams) {
        return stream::answer(cursor, readers).await;
    }
    page(sources, readers, cursor, &parameters).await
}

async fn page(
    sources: &Sources,
    readers: &Readers,
    mut cursor: Cursor,
    parameters: &Parameters<'_>,
) -> Result<Response, Problem> {
    let limit = parameters.limit(DEFAULT_LIMIT)?;
    let wait = parameters.duration("wait")?.unwrap_or_default();
    if wait > WAIT_MAX {
        return Err(Problem::bad_request("the parameter `wait` is over 60s"));
    }
    let after = cursor.after;
    let waiting = (!wait.is_zero()).then(|| readers.waits());
    let events = cursor.wait_for(limit, wait).await?;
    drop(waiting);
    let body = ListBody::new(sources, &cursor, after, &events);
    let body = serde_json::to_vec(&body).map_err(Problem::internal)?;
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// `Last-Event-ID` wins: a browser that reconnects repeats the old query.
fn asked_after(headers: &HeaderMap, parameters: &Parameters<'_>) -> Result<Option<u64>, Problem> {
    if let Some(value) = headers.get("last-event-id") {
        let seq = value.to_str().ok().and_then(|text| text.trim().parse().ok());
        let wrong = || Problem::bad_request("`Last-Event-ID` is not a seq");
        return seq.map(Some).ok_or_else(wrong);
    }
    position(parameters)
}

/// The position in a list of numbered entries.
pub(super) fn position(parameters: &Parameters<'_>) -> Result<Option<u64>, Problem> {
    match (parameters.number("after")?, parameters.number("cursor")?) {
        (Some(_), Some(_)) => {
            Err(Problem::bad_request("`after` and `cursor` say the same: give one"))
        }
        (after, cursor) => Ok(after.or(cursor)),
    }
}

/// A page of the journal.
#[derive(Serialize, ToSchema)]
#[schema(as = Events)]
pub(super) struct ListBody<'a> {
    events: Vec<EventBody<'a>>,
    /// All events after the seq that was asked for, on this page or not. Left
    /// out with a filter: it would take reading all of them to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
    /// Where to go on (`after`): every event up to here was given or is of no
    /// interest to the filter.
    seq: u64,
    /// The last event there is.
    last_seq: u64,
    /// The first event that can still be read.
    oldest_seq: u64,
    /// How old each directory is, by name.
    #[schema(value_type = BTreeMap<String, Freshness>)]
    directories: Freshnesses,
}

impl<'a> ListBody<'a> {
    fn new(sources: &Sources, cursor: &Cursor, after: u64, events: &'a [Event]) -> ListBody<'a> {
        let last_seq = cursor.last_seq();
        ListBody {
            events: events.iter().map(EventBody::from).collect(),
            total: (*cursor.filter == Filter::all()).then_some(last_seq - after),
            next_cursor: (last_seq > cursor.after).then(|| cursor.after.to_string()),
            seq: cursor.after,
            last_seq,
            oldest_seq: sources.journal.oldest_seq(),
            directories: filter::freshness(sources, &cursor.filter),
        }
    }
}
