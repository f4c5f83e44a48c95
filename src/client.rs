//! Asks a running daemon: over its unix socket, or over loopback TCP with the
//! token.
//!
//! A connection that was used is used again. An answer is typed by what most
//! programs need of it, and [`Answer::json`] is all of it.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use futures_util::TryStreamExt;
//! use rosterd::client::{Client, ClientError, Follow, Listing, Terms};
//!
//! # async fn run() -> Result<(), ClientError> {
//! let client = Client::new(Path::new("/run/rosterd/query.sock"));
//!
//! // Rather no answer than one that is older than five minutes.
//! let terms = Terms { max_age: Some("5m".into()), ..Terms::default() };
//! let answer = client.check("ada", "engineering", &terms).await?;
//! println!("{} (from {})", answer.member, answer.place.directory);
//!
//! // Every user, page by page.
//! let mut users = client.users(&Listing::default());
//! while let Some(page) = users.next_page().await? {
//!     page.rows.iter().for_each(|user| println!("{}", user.username));
//! }
//!
//! // What happens from now on.
//! let newest = client.directories().await?.seq;
//! let follow = Follow { after: Some(newest), types: vec!["group.*".into()], ..Follow::default() };
//! let mut events = std::pin::pin!(client.follow(follow));
//! while let Some(event) = events.try_next().await? {
//!     println!("{} {} {}", event.seq, event.kind, event.data);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | File | What it holds |
//! |---|---|
//! | `answers` | what answers hold |
//! | `asking` | checks, users, groups |
//! | `following` | events and snapshots |
//! | `operating` | directories and webhooks |
//! | `pages`, `path`, `connections`, `error` | what calls are made of |

mod answers;
mod asking;
mod connections;
mod error;
mod following;
mod operating;
mod pages;
mod path;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use answers::*;
pub use asking::{Listing, Terms};
pub use error::ClientError;
pub use following::{Follow, SnapshotLine};
pub use pages::{Page, Pages};
pub use path::{Query, encoded};

use crate::secret::Secret;
use connections::{Address, Ask, Connections};

/// A daemon, wherever it listens. A cheap handle.
#[derive(Clone, Debug)]
pub struct Client {
    connections: Arc<Connections>,
}

impl Client {
    /// The daemon behind a unix socket. Connects when first asked.
    pub fn new(socket: &Path) -> Client {
        Client::of(Address::Unix(socket.to_owned()))
    }

    /// The daemon behind a loopback address, which wants a token.
    pub fn tcp(address: SocketAddr, token: Secret) -> Client {
        Client::of(Address::Tcp(address, token))
    }

    fn of(address: Address) -> Client {
        Client { connections: Arc::new(Connections::new(address)) }
    }

    /// `GET path`, where `path` is already encoded.
    ///
    /// # Errors
    /// [`ClientError`]; any status but 2xx is [`ClientError::Refused`].
    pub async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.json(&Ask::get(path)).await
    }

    /// `POST path` without a body.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub async fn post(&self, path: &str) -> Result<Value, ClientError> {
        self.json(&Ask::post(path, None)).await
    }

    /// `POST path` with a body of JSON.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub async fn post_json(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.json(&Ask::post(path, Some(Bytes::from(body.to_string())))).await
    }

    async fn get_as<T: DeserializeOwned>(&self, query: Query) -> Result<Answer<T>, ClientError> {
        Answer::read(self.get(query.as_str()).await?)
    }

    async fn post_as<T: DeserializeOwned>(&self, query: Query) -> Result<Answer<T>, ClientError> {
        Answer::read(self.post(query.as_str()).await?)
    }

    async fn json(&self, ask: &Ask<'_>) -> Result<Value, ClientError> {
        let (response, open) = self.connections.send(ask).await?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(ClientError::unreadable)?;
        self.connections.keep(open);
        let body = body.to_bytes();
        if !status.is_success() {
            return Err(ClientError::refused(status, &body));
        }
        serde_json::from_slice(&body).map_err(ClientError::unreadable)
    }
}
