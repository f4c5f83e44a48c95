//! The databroker as a server: gRPC over HTTP/2 on loopback, byte by byte.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::databroker::{Answer, Code, Databroker};
use crate::harness::secrets;
use crate::harness::tls::Tls;

/// One databroker, reached at an address of its own by each client, so that it
/// knows them apart.
pub struct Stub {
    data: Arc<Mutex<Databroker>>,
    addresses: Vec<SocketAddr>,
    acceptor: Option<TlsAcceptor>,
    secret: String,
    running: Option<tokio::runtime::Runtime>,
}

type Body =
    StreamBody<futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

impl Stub {
    /// In plain text, for so many clients.
    pub fn start(clients: usize) -> Stub {
        Stub::start_with(clients, None)
    }

    /// Over TLS, for one client.
    pub fn start_tls(tls: &Tls) -> Stub {
        let certificate = CertificateDer::from_pem_file(&tls.certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(&tls.key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Stub::start_with(1, Some(TlsAcceptor::from(Arc::new(config))))
    }

    fn start_with(clients: usize, acceptor: Option<TlsAcceptor>) -> Stub {
        let key: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(32).collect();
        let secret = base64::engine::general_purpose::STANDARD.encode(&key);
        let data = Arc::new(Mutex::new(Databroker::new(key)));
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let addresses = vec![any; clients];
        let secret = secrets::note(secret);
        let mut stub = Stub { data, addresses, acceptor, secret, running: None };
        stub.resume();
        stub
    }

    /// Listens again, at the same addresses.
    pub fn resume(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        for (client, address) in self.addresses.iter_mut().enumerate() {
            let listener = runtime.block_on(TcpListener::bind(*address)).unwrap();
            *address = listener.local_addr().unwrap();
            let (data, acceptor) = (Arc::clone(&self.data), self.acceptor.clone());
            runtime.spawn(accept(listener, acceptor, client, data));
        }
        self.running = Some(runtime);
    }

    /// Ends at once, as a process that is killed; what it kept stays.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.running.take() {
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        }
    }

    /// Ends and begins anew with nothing, as one whose storage is memory.
    pub fn restart(&mut self) {
        self.stop();
        self.data().lose_everything();
        self.resume();
    }

    pub fn data(&self) -> MutexGuard<'_, Databroker> {
        self.data.lock().unwrap()
    }

    /// Where a client reaches it.
    pub fn url(&self, client: usize) -> String {
        let scheme = if self.acceptor.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.addresses[client])
    }

    /// As the client's configuration has it.
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.stop();
        if !std::thread::panicking() {
            let complaints = std::mem::take(&mut self.data().complaints);
            assert!(complaints.is_empty(), "what the client did wrong: {complaints:#?}");
        }
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    client: usize,
    data: Arc<Mutex<Databroker>>,
) {
    let mut connections = Vec::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (data, acceptor) = (Arc::clone(&data), acceptor.clone());
        connections.push(rosterd::task::spawn("connection", async move {
            let service = service_fn(move |request| answer(request, client, Arc::clone(&data)));
            let http = http2::Builder::new(TokioExecutor::new());
            // A client that hangs up is no concern of ours.
            let _ = match acceptor {
                None => http.serve_connection(TokioIo::new(stream), service).await,
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => http.serve_connection(TokioIo::new(stream), service).await,
                    Err(_) => return,
                },
            };
        }));
    }
}

async fn answer(
    request: Request<Incoming>,
    client: usize,
    data: Arc<Mutex<Databroker>>,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Ok(respond(Err(cancelled()))) };
    let body = body.to_bytes();
    let mut data = data.lock().unwrap();
    if let Err(what) = check_head(&head) {
        data.complaints.push(what.clone());
        return Ok(respond(Err((Code::InvalidArgument, what))));
    }
    let tokens = head.headers.get_all("jwt").iter();
    let tokens: Vec<String> =
        tokens.map(|value| value.to_str().unwrap_or_default().to_owned()).collect();
    let message = match unframe(&body) {
        Ok(message) => message,
        Err(what) => {
            data.complaints.push(what.clone());
            return Ok(respond(Err((Code::InvalidArgument, what))));
        }
    };
    Ok(respond(data.call(client, head.uri.path(), &tokens, message)))
}

fn cancelled() -> (Code, String) {
    (Code::Unavailable, "the request broke off".to_owned())
}

fn check_head(head: &http::request::Parts) -> Result<(), String> {
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let kind = header("content-type").unwrap_or_default();
    if head.method != http::Method::POST
        || !["application/grpc", "application/grpc+proto"].contains(&kind)
    {
        return Err(format!("{} of {kind:?} is no gRPC", head.method));
    }
    match header("te") {
        Some("trailers") => Ok(()),
        te => Err(format!("te: {te:?}")),
    }
}

/// One message, not compressed.
fn unframe(body: &[u8]) -> Result<&[u8], String> {
    let what = || format!("a body of {} bytes is not one plain message", body.len());
    let (head, message) = body.split_first_chunk::<5>().ok_or_else(what)?;
    let [flag, length @ ..] = *head;
    let is_whole = u32::from_be_bytes(length) as usize == message.len();
    if flag == 0 && is_whole { Ok(message) } else { Err(what()) }
}

fn respond(answer: Answer) -> Response<Body> {
    let (messages, code, text) = match answer {
        Ok(messages) => (messages, 0, String::new()),
        Err((code, text)) => (Vec::new(), code as u16, text),
    };
    let mut frames: Vec<Result<Frame<Bytes>, Infallible>> = Vec::new();
    for message in messages {
        let mut bytes = BytesMut::new();
        bytes.put_u8(0);
        bytes.put_u32(u32::try_from(message.len()).unwrap());
        bytes.extend_from_slice(&message);
        frames.push(Ok(Frame::data(bytes.freeze())));
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(code));
    let text: String = text.chars().filter(char::is_ascii_graphic).take(200).collect();
    trailers.insert("grpc-message", HeaderValue::from_str(&text).unwrap());
    frames.push(Ok(Frame::trailers(trailers)));
    let body = StreamBody::new(futures_util::stream::iter(frames));
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}
