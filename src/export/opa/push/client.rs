//! The part of OPA's REST API that is needed ("Data API" in its documentation).

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::sync::mpsc;
use url::Url;

use crate::clock::Duration;
use crate::export::opa::config::{OpaConfig, Target};
use crate::export::opa::document::Document;
use crate::export::opa::feed::State;
use crate::export::opa::revision::Revision;
use crate::printable;
use crate::task;
use crate::tls::{self, Trust};

const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);
/// For documents and patches: OPA does all of it before it answers, and goes on
/// when nobody waits any more.
const WRITE_PATIENCE: Duration = Duration::from_secs(15 * 60);
const CHUNK_BYTES: usize = 128 << 10;
/// So much of an error's text is shown.
const SHOWN_BYTES: usize = 512;
/// So much of an answer is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What OPA said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Done,
    /// 404: what a patch speaks of is not there.
    Missing(String),
}

/// Talks to one OPA, over few connections that it keeps.
pub struct Client {
    http: reqwest::Client,
    document: Url,
}

impl Client {
    /// # Errors
    /// In words, when TLS cannot be set up.
    pub fn new(config: &OpaConfig) -> Result<Client, String> {
        let mut headers = HeaderMap::new();
        if let Some(token) = &config.token {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.expose().trim()));
            let mut value = value.map_err(|_| "`token` cannot stand in a header".to_owned())?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(config)?)
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_PATIENCE)
            .user_agent(concat!("rosterd/", env!("CARGO_PKG_VERSION")));
        let (builder, base) = match &config.target {
            Target::Url(url) => (builder, url.clone()),
            Target::Socket(path) => {
                let base = Url::parse("http://localhost").map_err(|error| error.to_string())?;
                (builder.unix_socket(path.clone()), base)
            }
        };
        let http = builder.build().map_err(|error| printable::request_failure(&error))?;
        let mut document = base.clone();
        document.set_path(&(base.path().trim_end_matches('/').to_owned() + &config.path));
        Ok(Client { http, document })
    }

    /// Which state OPA has; `None` when none of ours.
    pub async fn revision(&self) -> Result<Option<Revision>, String> {
        let mut marker = self.document.clone();
        marker.set_path(&(marker.path().to_owned() + "/revision"));
        let response = sent(self.http.get(marker).timeout(PATIENCE)).await?;
        if response.status() != StatusCode::OK {
            return Err(refusal(response).await);
        }
        let body = read(response, ANSWER_BYTES_MAX).await;
        let body: Value = serde_json::from_slice(&body)
            .map_err(|_| "it does not answer as OPA does: no JSON".to_owned())?;
        Ok(body["result"].as_str().and_then(|text| text.parse().ok()))
    }

    /// Changes the document: all of it, or nothing.
    pub async fn patch(&self, body: Vec<u8>) -> Result<Reply, String> {
        let request = self.request(Method::PATCH, "application/json-patch+json");
        replied(sent(request.timeout(WRITE_PATIENCE).body(body)).await?).await
    }

    /// Replaces the document; how many bytes that were.
    pub async fn put(&self, state: State) -> Result<(Reply, usize), String> {
        let (sender, receiver) = mpsc::channel(4);
        let bytes = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&bytes);
        let writing = task::spawn("write for OPA", async move {
            let written = task::blocking("write for OPA", move || {
                let mut out = Pieces { sender, piece: Vec::new(), bytes: counted };
                let whole = serde_json::to_writer(&mut out, &Document(&state));
                let whole = whole.map_err(io::Error::from).and_then(|()| out.flush());
                if let Err(error) = whole {
                    // Breaks the request off; that nobody is there is fine.
                    let _ = out.sender.blocking_send(Err(error));
                }
            });
            written.await
        });
        let pieces = futures_util::stream::unfold(receiver, |mut receiver| async move {
            Some((receiver.recv().await?, receiver))
        });
        let request = self.request(Method::PUT, "application/json");
        let request = request.timeout(WRITE_PATIENCE).body(Body::wrap_stream(pieces));
        let reply = replied(sent(request).await?).await?;
        drop(writing);
        Ok((reply, bytes.load(Ordering::Relaxed)))
    }

    fn request(&self, method: Method, kind: &'static str) -> RequestBuilder {
        self.http.request(method, self.document.clone()).header(CONTENT_TYPE, kind)
    }
}

async fn sent(request: RequestBuilder) -> Result<Response, String> {
    request.send().await.map_err(|error| printable::request_failure(&error))
}

async fn replied(response: Response) -> Result<Reply, String> {
    match response.status() {
        status if status.is_success() => Ok(Reply::Done),
        StatusCode::NOT_FOUND => Ok(Reply::Missing(refusal(response).await)),
        _ => Err(refusal(response).await),
    }
}

/// What OPA says is wrong, for people.
async fn refusal(response: Response) -> String {
    let status = response.status();
    let body = read(response, ANSWER_BYTES_MAX).await;
    let said: Value = serde_json::from_slice(&body).unwrap_or_default();
    let message =
        said["message"].as_str().map_or_else(|| String::from_utf8_lossy(&body), Into::into);
    let message: String = message.chars().take(SHOWN_BYTES).collect();
    match printable::printable(message.trim()) {
        empty if empty.is_empty() => format!("it answers {status}"),
        message => format!("it answers {status}: {message}"),
    }
}

async fn read(mut response: Response, bytes_max: usize) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend(chunk.iter().take(bytes_max.saturating_sub(body.len())));
        if body.len() >= bytes_max {
            break;
        }
    }
    body
}

fn tls(config: &OpaConfig) -> Result<rustls::ClientConfig, String> {
    let trust = match (&config.ca, &config.target) {
        (Some(pem), _) => Trust::Only(pem),
        (None, Target::Url(url)) if url.scheme() == "https" => Trust::Platform,
        (None, _) => Trust::Nobody,
    };
    tls::client_config(trust, None)
}

/// Cuts what is written into pieces, and waits until they are taken.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
    bytes: Arc<AtomicUsize>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        if piece.is_empty() {
            return Ok(());
        }
        self.bytes.fetch_add(piece.len(), Ordering::Relaxed);
        let sent = self.sender.blocking_send(Ok(Bytes::from(piece)));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}
