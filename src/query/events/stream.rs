//! Server-sent events: a stream that is made as fast as it is read.
//!
//! A chunk is made when the one before is written, so a slow reader costs one
//! chunk; one that does not read at all is closed by whoever watches over the
//! connections, and goes on later from the last id that it has.
//!
//! What a filter passes over is told as an id without data: by the standard
//! (HTML, "dispatch the event") the id counts before the data is looked at, and
//! without data nothing is dispatched. So a reader comes back near the end, and
//! no program sees an event that is none.

use std::convert::Infallible;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::cursor::Cursor;
use super::readers::{Reader, Readers};
use crate::clock::Duration;
use crate::model::Event;
use crate::query::problem::Problem;
use crate::wire::EventBody;

/// Events in one chunk: what a slow reader costs at most.
const CHUNK_EVENTS: usize = 32;
/// How often a quiet stream says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Marks an answer that is a stream of events.
#[derive(Clone, Copy, Debug)]
pub struct IsFeed;

/// Answers with a stream from `cursor` on.
///
/// # Errors
/// When the first events cannot be read.
pub async fn answer(mut cursor: Cursor, readers: &Readers) -> Result<Response, Problem> {
    let told = cursor.after;
    // What is wrong from the start is an answer of its own.
    let first = cursor.read(CHUNK_EVENTS).await?;
    let mut feed = Feed { told, cursor, reader: readers.streams() };
    let mut start = format!(": after {told}\nretry: 2000\n\n").into_bytes();
    if feed.cursor.after > told {
        start.extend(feed.tell(&first));
    }
    let state = (Some(Bytes::from(start)), Some(feed));
    let chunks = futures_util::stream::unfold(state, |(start, feed)| async move {
        let mut feed = feed?;
        if let Some(start) = start {
            return Some((Ok::<_, Infallible>(start), (None, Some(feed))));
        }
        let (bytes, goes_on) = feed.next().await?;
        Some((Ok(bytes), (None, goes_on.then_some(feed))))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    let mut response = (headers, Body::from_stream(chunks)).into_response();
    response.extensions_mut().insert(IsFeed);
    Ok(response)
}

/// One reader of a stream.
struct Feed {
    cursor: Cursor,
    /// The last id that the reader was given.
    told: u64,
    reader: Reader,
}

impl Feed {
    /// The next chunk, and whether another may follow; `None` at shutdown.
    async fn next(&mut self) -> Option<(Bytes, bool)> {
        match self.cursor.wait_for(CHUNK_EVENTS, HEARTBEAT).await {
            Ok(events) if events.is_empty() && self.cursor.is_shutting_down() => None,
            Ok(events) => {
                let goes_on = !self.cursor.is_shutting_down();
                Some((Bytes::from(self.tell(&events)), goes_on))
            }
            Err(problem) => {
                self.reader.fell_behind(&problem);
                let end = format!("event: problem\ndata: {}\n\n", problem.body());
                Some((Bytes::from(end), false))
            }
        }
    }

    /// The events, or else a sign of life; with the position where it moved on.
    fn tell(&mut self, events: &[Event]) -> Vec<u8> {
        let before = self.told;
        self.told = events.last().map_or(self.cursor.after, |event| event.seq);
        match events {
            [] if self.told > before => format!(": alive\nid: {}\n\n", self.told).into_bytes(),
            [] => b": alive\n\n".to_vec(),
            events => chunk(events),
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
