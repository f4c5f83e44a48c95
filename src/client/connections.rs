//! Connections to the daemon, kept open and used again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::ClientError;
use crate::secret::Secret;
use crate::task::{self, Task};

/// How many connections are kept that nobody uses.
const IDLE_MAX: usize = 4;

/// Where the daemon listens.
#[derive(Debug)]
pub enum Address {
    Unix(PathBuf),
    Tcp(SocketAddr, Secret),
}

/// A request.
#[derive(Debug)]
pub struct Ask<'a> {
    pub method: Method,
    pub path: &'a str,
    pub body: Option<Bytes>,
    /// It changes nothing, so it may be sent again.
    pub repeatable: bool,
}

impl<'a> Ask<'a> {
    /// `GET path`.
    pub fn get(path: &'a str) -> Ask<'a> {
        Ask { method: Method::GET, path, body: None, repeatable: true }
    }

    /// `POST path`, which may change something.
    pub fn post(path: &'a str, body: Option<Bytes>) -> Ask<'a> {
        Ask { method: Method::POST, path, body, repeatable: false }
    }
}

/// All connections to one daemon.
#[derive(Debug)]
pub struct Connections {
    address: Address,
    idle: Mutex<Vec<Open>>,
}

/// One connection.
#[derive(Debug)]
pub struct Open {
    sender: SendRequest<Full<Bytes>>,
    _driver: Task,
}

impl Connections {
    /// None yet.
    pub fn new(address: Address) -> Connections {
        Connections { address, idle: Mutex::default() }
    }

    /// Sends a request. The connection is to be given back by
    /// [`Connections::keep`] when the answer is read.
    ///
    /// # Errors
    /// When nobody listens, or the connection breaks off.
    pub async fn send(&self, ask: &Ask<'_>) -> Result<(Response<Incoming>, Open), ClientError> {
        // The daemon may have closed a connection while it lay idle, and nobody
        // could tell whether what was sent then has come.
        while ask.repeatable
            && let Some(mut open) = self.take_idle()
        {
            if open.sender.ready().await.is_ok()
                && let Ok(response) = open.sender.send_request(self.request(ask)?).await
            {
                return Ok((response, open));
            }
        }
        let mut open = self.open().await?;
        let response = open.sender.send_request(self.request(ask)?).await;
        Ok((response.map_err(ClientError::unreadable)?, open))
    }

    /// Keeps a connection whose answer was read to its end.
    pub fn keep(&self, open: Open) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.sender.is_closed() && idle.len() < IDLE_MAX {
            idle.push(open);
        }
    }

    fn take_idle(&self) -> Option<Open> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    async fn open(&self) -> Result<Open, ClientError> {
        match &self.address {
            Address::Unix(socket) => {
                let stream = UnixStream::connect(socket).await;
                Open::over(stream.map_err(|error| self.unreachable(&error))?).await
            }
            Address::Tcp(address, _) => {
                let stream = TcpStream::connect(address).await;
                Open::over(stream.map_err(|error| self.unreachable(&error))?).await
            }
        }
    }

    fn request(&self, ask: &Ask<'_>) -> Result<Request<Full<Bytes>>, ClientError> {
        let request = Request::builder()
            .method(&ask.method)
            .uri(ask.path)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json");
        let request = match &self.address {
            Address::Unix(_) => request.header(HOST, "rosterd"),
            Address::Tcp(address, token) => request
                .header(HOST, address.to_string())
                .header(AUTHORIZATION, format!("Bearer {}", token.expose())),
        };
        request
            .body(Full::new(ask.body.clone().unwrap_or_default()))
            .map_err(ClientError::unreadable)
    }

    fn unreachable(&self, error: &std::io::Error) -> ClientError {
        let (at, is_socket) = match &self.address {
            Address::Unix(socket) => (socket.display().to_string(), true),
            Address::Tcp(address, _) => (address.to_string(), false),
        };
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound if is_socket => "there is no such socket".to_owned(),
            std::io::ErrorKind::PermissionDenied if is_socket => {
                "you may not use the socket; its group may".to_owned()
            }
            _ => error.to_string(),
        };
        ClientError::Unreachable { at, reason }
    }
}

impl Open {
    async fn over<S>(stream: S) -> Result<Open, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(ClientError::unreadable)?;
        let driver = task::spawn("connection", async move {
            // How the connection ends shows in the answer.
            let _ = connection.await;
        });
        Ok(Open { sender, _driver: driver })
    }
}
