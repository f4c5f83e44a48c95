//! Events and snapshots.

use std::collections::VecDeque;

use bytes::{Buf, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::Value;

use super::connections::{Ask, Open};
use super::{Answer, Client, ClientError, Event, Events, Group, Query, User};

/// How long one request of a stream waits for something to happen.
const WAIT: &str = "30s";

/// Which events, and from where on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Follow {
    /// Behind this seq; from the oldest that is kept when `None`.
    pub after: Option<u64>,
    /// At most so many a page, up to a thousand.
    pub limit: Option<u64>,
    /// How long to wait for the first one, up to a minute: `30s`.
    pub wait: Option<String>,
    /// Of these types, like `user.*`; of all when empty, as with the others.
    pub types: Vec<String>,
    pub directories: Vec<String>,
    pub tenants: Vec<String>,
    pub products: Vec<String>,
}

/// One line of a snapshot.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum SnapshotLine {
    /// The first line; events after `seq` are what happened since.
    Start {
        seq: u64,
    },
    User {
        directory: String,
        user: User,
    },
    Group {
        directory: String,
        group: Group,
    },
    Membership {
        directory: String,
        group: String,
        member: SnapshotMember,
    },
    /// The last line: that was all.
    End {
        seq: u64,
        count: u64,
    },
}

/// A direct member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SnapshotMember {
    /// `user` or `group`.
    pub kind: String,
    pub id: String,
}

impl Client {
    /// A page of events.
    ///
    /// # Errors
    /// [`ClientError`]; `gone` when they are no longer kept.
    pub async fn events(&self, follow: &Follow) -> Result<Answer<Events>, ClientError> {
        self.get_as(follow.query()).await
    }

    /// All events from there on, as they happen. It ends with the first error;
    /// follow again behind the last one that came.
    pub fn follow(&self, follow: Follow) -> impl Stream<Item = Result<Event, ClientError>> {
        let wait = follow.wait.clone().or(Some(WAIT.to_owned()));
        let state = Some((self.clone(), Follow { wait, ..follow }, VecDeque::new()));
        stream::unfold(state, |state| async move {
            let (client, mut follow, mut events) = state?;
            loop {
                if let Some(event) = events.pop_front() {
                    return Some((Ok(event), Some((client, follow, events))));
                }
                match client.events(&follow).await {
                    Ok(page) => {
                        follow.after = Some(page.seq);
                        events.extend(page.into_inner().events);
                    }
                    Err(error) => return Some((Err(error), None)),
                }
            }
        })
    }

    /// Everything at one seq, line by line. It ends with an error unless the
    /// last line comes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn snapshot(
        &self,
        directories: &[String],
    ) -> Result<impl Stream<Item = Result<SnapshotLine, ClientError>> + use<>, ClientError> {
        let query = Query::of(&["snapshot"]).with_all("directory", directories);
        let (response, open) = self.connections.send(&Ask::get(query.as_str())).await?;
        let status = response.status();
        if status != StatusCode::OK {
            let body = response.into_body().collect().await.map_err(ClientError::unreadable)?;
            return Err(ClientError::refused(status, &body.to_bytes()));
        }
        let lines = Lines { body: response.into_body(), read: BytesMut::new(), _open: open };
        Ok(stream::unfold(Some(lines), |lines| async move { lines?.step().await }).boxed())
    }
}

impl Follow {
    fn query(&self) -> Query {
        Query::of(&["events"])
            .with_some("after", self.after)
            .with_some("limit", self.limit)
            .with_some("wait", self.wait.as_ref())
            .with_all("type", &self.types)
            .with_all("directory", &self.directories)
            .with_all("tenant", &self.tenants)
            .with_all("product", &self.products)
    }
}

/// An answer that is read line by line.
struct Lines {
    body: Incoming,
    read: BytesMut,
    _open: Open,
}

impl Lines {
    async fn step(mut self) -> Option<(Result<SnapshotLine, ClientError>, Option<Lines>)> {
        match self.next().await {
            Ok(end @ SnapshotLine::End { .. }) => Some((Ok(end), None)),
            Ok(line) => Some((Ok(line), Some(self))),
            Err(error) => Some((Err(error), None)),
        }
    }

    async fn next(&mut self) -> Result<SnapshotLine, ClientError> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(end);
                self.read.advance(1);
                return serde_json::from_slice::<Value>(&line)
                    .and_then(serde_json::from_value)
                    .map_err(ClientError::unreadable);
            }
            let Some(frame) = self.body.frame().await else {
                return Err(ClientError::unreadable("the snapshot has no end"));
            };
            if let Ok(data) = frame.map_err(ClientError::unreadable)?.into_data() {
                self.read.extend_from_slice(&data);
            }
        }
    }
}
