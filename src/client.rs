//! Asks a running daemon over its query socket.
//!
//! HTTP/1.1 over a unix socket, one connection a request, answers as JSON.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::task::{self, Task};

/// What stays as it is in a path or a query (RFC 3986, "unreserved").
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where the daemon listens.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Why there is no answer, or not the one asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers on the socket.
    #[error("no daemon answers on {}: {reason}", socket.display())]
    Unreachable { socket: PathBuf, reason: String },
    /// The daemon answered with a problem (RFC 9457).
    #[error("{detail}")]
    Refused { status: u16, detail: String, hint: Option<String>, problem: Value },
    /// The connection ended within the answer, or the answer is no JSON.
    #[error("the daemon's answer cannot be read: {0}")]
    Unreadable(String),
}

impl Client {
    /// Connects when first asked.
    pub fn new(socket: &Path) -> Client {
        Client { socket: socket.to_owned() }
    }

    /// `GET path`, where `path` is already encoded.
    ///
    /// # Errors
    /// [`ClientError`]; any status but 2xx is [`ClientError::Refused`].
    pub async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.json(Method::GET, path).await
    }

    /// `POST path` without a body.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub async fn post(&self, path: &str) -> Result<Value, ClientError> {
        self.json(Method::POST, path).await
    }

    async fn json(&self, method: Method, path: &str) -> Result<Value, ClientError> {
        let (response, _connection) = self.send(method, path).await?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(unreadable)?.to_bytes();
        if !status.is_success() {
            return Err(refusal(status, &body));
        }
        serde_json::from_slice(&body).map_err(unreadable)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
    ) -> Result<(Response<Incoming>, Task), ClientError> {
        let stream = tokio::net::UnixStream::connect(&self.socket).await;
        let stream = stream.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(unreadable)?;
        let connection = task::spawn("connection", async move {
            // How the connection ends shows in the answer.
            let _ = connection.await;
        });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "rosterd")
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::<Bytes>::default())
            .map_err(unreadable)?;
        let response = sender.send_request(request).await.map_err(unreadable)?;
        Ok((response, connection))
    }

    fn unreachable(&self, error: &std::io::Error) -> ClientError {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such socket".to_owned(),
            std::io::ErrorKind::PermissionDenied => {
                "you may not use the socket; its group may".to_owned()
            }
            _ => error.to_string(),
        };
        ClientError::Unreachable { socket: self.socket.clone(), reason }
    }
}

/// A part of a path, or a value in a query, encoded.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, KEPT).to_string()
}

fn refusal(status: StatusCode, body: &[u8]) -> ClientError {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |field: &str| problem.get(field).and_then(Value::as_str).map(str::to_owned);
    let detail = text("detail")
        .or_else(|| text("title"))
        .unwrap_or_else(|| format!("the daemon answered {status}"));
    ClientError::Refused { status: status.as_u16(), detail, hint: text("hint"), problem }
}

fn unreadable(error: impl std::fmt::Display) -> ClientError {
    ClientError::Unreadable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_encoded_whole() {
        assert_eq!(encoded("uid=ada,ou=x/y z"), "uid%3Dada%2Cou%3Dx%2Fy%20z");
        assert_eq!(encoded("ada.l-o_v~e"), "ada.l-o_v~e");
    }

    #[test]
    fn a_problem_keeps_its_detail_and_hint() {
        let body = br#"{"title":"Gone","detail":"seq 3 is gone","hint":"read the snapshot"}"#;
        let ClientError::Refused { status, detail, hint, .. } = refusal(StatusCode::GONE, body)
        else {
            panic!("not refused");
        };
        assert_eq!((status, detail.as_str()), (410, "seq 3 is gone"));
        assert_eq!(hint.as_deref(), Some("read the snapshot"));
    }
}
