//! `/v1/events`: the journal in order and without a gap, by poll, long poll,
//! or server-sent events.
//!
//! What a reader gets never runs ahead of the view: whoever saw event N finds
//! it in every later answer. A wait first notes the seq it has seen, then
//! reads, so that no event slips in between.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use serde::Serialize;
use tokio::sync::watch;

use super::freshness::{self, Freshnesses};
use super::journal::{Journal, JournalError};
use super::parameters::Parameters;
use super::problem::Problem;
use super::sources::Sources;
use crate::clock::{self, Duration};
use crate::model::Event;
use crate::task;
use crate::wire::EventBody;

pub(super) const WAIT_MAX: Duration = Duration::from_secs(60);
const DEFAULT_LIMIT: usize = 100;
/// Events in one chunk of a stream: what a slow reader costs at most.
const CHUNK_EVENTS: usize = 32;
/// How often a quiet stream says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Answers `/v1/events`.
///
/// # Errors
/// When a parameter is wrong, or the events are no longer kept.
pub async fn answer(
    sources: &Sources,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Response, Problem> {
    let parameters = Parameters::parse(query, &["after", "cursor", "limit", "wait"])?;
    let streams = |value: &http::HeaderValue| {
        value.to_str().is_ok_and(|accept| accept.contains("text/event-stream"))
    };
    let mut cursor = Cursor::start(sources, asked_after(headers, &parameters)?)?;
    if headers.get_all(ACCEPT).iter().any(streams) {
        let first = cursor.read(CHUNK_EVENTS).await?;
        return Ok(stream(cursor, first));
    }
    let limit = parameters.limit(DEFAULT_LIMIT)?;
    let wait = parameters.duration("wait")?.unwrap_or_default();
    if wait > WAIT_MAX {
        return Err(Problem::bad_request("the parameter `wait` is over 60s"));
    }
    let after = cursor.after;
    let events = cursor.wait_for(limit, wait).await?;
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

/// One reader's position in the journal.
struct Cursor {
    /// The last seq that the reader was given.
    after: u64,
    moved: watch::Receiver<u64>,
    journal: Arc<dyn Journal>,
    shutdown: task::Shutdown,
}

impl Cursor {
    /// Starts after a seq, or with the oldest event that is kept.
    fn start(sources: &Sources, after: Option<u64>) -> Result<Cursor, Problem> {
        let moved = sources.view.subscribe();
        let seq = *moved.borrow();
        let after =
            after.unwrap_or_else(|| sources.journal.oldest_seq().saturating_sub(1).min(seq));
        if after > seq {
            let detail = format!("seq {after} is not yet given: the last one is {seq}");
            return Err(Problem::bad_request(detail)
                .hint("was the state of the daemon replaced? take /v1/snapshot and go on from its seq")
                .member("last_seq", seq));
        }
        let (journal, shutdown) = (Arc::clone(&sources.journal), sources.shutdown.clone());
        Ok(Cursor { after, moved, journal, shutdown })
    }

    /// The events that are there, up to `limit`, and moves on to the last of them.
    async fn read(&mut self, limit: usize) -> Result<Vec<Event>, Problem> {
        let visible = *self.moved.borrow_and_update();
        if visible <= self.after {
            return Ok(Vec::new());
        }
        let (journal, after) = (Arc::clone(&self.journal), self.after);
        let read = task::blocking("read events", move || journal.events(after, limit)).await;
        let mut events = read.map_err(Problem::internal)??;
        events.retain(|event| event.seq <= visible);
        // The journal may have been pruned under a reader that was up to date.
        if events.is_empty() && self.journal.oldest_seq() > visible {
            return Err(JournalError::Gone { oldest: self.journal.oldest_seq() }.into());
        }
        self.after = events.last().map_or(self.after, |event| event.seq);
        Ok(events)
    }

    /// As [`Cursor::read`], waiting for the first event.
    async fn wait_for(&mut self, limit: usize, wait: Duration) -> Result<Vec<Event>, Problem> {
        let deadline = clock::instant() + wait;
        loop {
            let events = self.read(limit).await?;
            if !events.is_empty() || !self.changed_before(deadline).await {
                return Ok(events);
            }
        }
    }

    /// Waits until the seq moved on from what [`Cursor::read`] saw.
    async fn changed_before(&mut self, deadline: clock::Instant) -> bool {
        tokio::select! {
            moved = self.moved.changed() => moved.is_ok(),
            () = tokio::time::sleep_until(deadline) => false,
            () = self.shutdown.requested() => false,
        }
    }
}

#[derive(Serialize)]
struct ListBody<'a> {
    events: Vec<EventBody<'a>>,
    /// All events after the seq that was asked for, on this page or not.
    total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// Where to go on (`after`): the last event given.
    seq: u64,
    /// The last event there is.
    last_seq: u64,
    /// The first event that can still be read.
    oldest_seq: u64,
    directories: Freshnesses,
}

impl<'a> ListBody<'a> {
    fn new(sources: &Sources, cursor: &Cursor, after: u64, events: &'a [Event]) -> ListBody<'a> {
        let last_seq = (*cursor.moved.borrow()).max(cursor.after);
        ListBody {
            events: events.iter().map(EventBody::from).collect(),
            total: last_seq - after,
            next_cursor: (last_seq > cursor.after).then(|| cursor.after.to_string()),
            seq: cursor.after,
            last_seq,
            oldest_seq: sources.journal.oldest_seq(),
            directories: freshness::of_all(&sources.statuses, None, clock::now()),
        }
    }
}

/// A stream that is made as fast as it is read, one chunk at a time.
fn stream(cursor: Cursor, first: Vec<Event>) -> Response {
    let hello =
        format!(": after {}\nretry: 2000\n\n", cursor.after.saturating_sub(first.len() as u64));
    let mut start = hello.into_bytes();
    start.extend(chunk(&first));
    let state = (Some(Bytes::from(start)), Some(cursor));
    let chunks = futures_util::stream::unfold(state, |(start, cursor)| async move {
        let mut cursor = cursor?;
        if let Some(start) = start {
            return Some((Ok::<_, std::convert::Infallible>(start), (None, Some(cursor))));
        }
        let (bytes, goes_on) = next_chunk(&mut cursor).await?;
        Some((Ok(bytes), (None, goes_on.then_some(cursor))))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(chunks)).into_response()
}

/// The next chunk, and whether another may follow; `None` at shutdown.
async fn next_chunk(cursor: &mut Cursor) -> Option<(Bytes, bool)> {
    match cursor.wait_for(CHUNK_EVENTS, HEARTBEAT).await {
        Ok(events) if !events.is_empty() => Some((Bytes::from(chunk(&events)), true)),
        Ok(_) if cursor.shutdown.is_requested() => None,
        Ok(_) => Some((Bytes::from_static(b": alive\n\n"), true)),
        Err(problem) => {
            let end = format!("event: problem\ndata: {}\n\n", problem.body());
            Some((Bytes::from(end), false))
        }
    }
}

fn chunk(events: &[Event]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for event in events {
        let head = format!("id: {}\nevent: {}\ndata: ", event.seq, event.kind.as_str());
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(&EventBody::from(event).to_json());
        bytes.extend_from_slice(b"\n\n");
    }
    bytes
}
