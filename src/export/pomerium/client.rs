//! Asks a databroker over gRPC: in plain text on loopback, else over TLS.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Uri;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use ring::hmac;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;
use url::Url;
use zeroize::Zeroize;

use super::config::PomeriumConfig;
use super::message::{
    AcquireLeaseRequest, AcquireLeaseResponse, Empty, PutRequest, PutResponse, ReleaseLeaseRequest,
    RenewLeaseRequest, ServerInfo, Span, SyncLatestRequest, SyncLatestResponse, SyncRequest,
    SyncResponse,
};
use crate::clock;
use crate::printable;
use crate::tls::{self, Trust};

/// How long a token is good for; the reference client takes an hour.
const TOKEN_LIFE: Duration = Duration::from_mins(10);

/// A dead peer is noticed within two of these.
const PROBE_EVERY: Duration = Duration::from_secs(20);

/// A cheap handle. The connection is made when it is needed, and made again.
#[derive(Clone)]
pub(super) struct Client {
    grpc: Grpc<Channel>,
    key: hmac::Key,
    timeout: Duration,
}

trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

impl Client {
    /// # Errors
    /// In words, when TLS cannot be set up or the address is of no use.
    pub(super) fn new(config: &PomeriumConfig) -> Result<Client, String> {
        let mut key = STANDARD
            .decode(config.shared_secret.expose().trim())
            .map_err(|_| "`shared_secret` is not base64".to_owned())?;
        let hmac_key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        key.zeroize();
        let endpoint = Endpoint::from_shared(config.url.to_string())
            .map_err(|error| format!("`url` is of no use: {error}"))?
            .user_agent(concat!("rosterd/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| format!("gRPC cannot be set up: {error}"))?
            .connect_timeout(config.timeout)
            .http2_keep_alive_interval(PROBE_EVERY)
            .keep_alive_timeout(PROBE_EVERY);
        let dialer = Dialer::new(config)?;
        let connector = tower::service_fn(move |_: Uri| {
            let dialer = dialer.clone();
            async move { dialer.dial().await.map(TokioIo::new) }
        });
        let channel = endpoint.connect_with_connector_lazy(connector);
        Ok(Client { grpc: Grpc::new(channel), key: hmac_key, timeout: config.timeout })
    }

    pub(super) async fn server_info(&self) -> Result<ServerInfo, Status> {
        self.unary("/databroker.DataBrokerService/ServerInfo", Empty {}).await
    }

    pub(super) async fn put(&self, request: PutRequest) -> Result<PutResponse, Status> {
        self.unary("/databroker.DataBrokerService/Put", request).await
    }

    pub(super) async fn acquire_lease(
        &self,
        name: &str,
        duration: Duration,
    ) -> Result<String, Status> {
        let request =
            AcquireLeaseRequest { name: name.to_owned(), duration: Some(Span::from(duration)) };
        let path = "/databroker.DataBrokerService/AcquireLease";
        let response: AcquireLeaseResponse = self.unary(path, request).await?;
        Ok(response.id)
    }

    pub(super) async fn renew_lease(
        &self,
        name: &str,
        id: &str,
        duration: Duration,
    ) -> Result<(), Status> {
        let (name, id) = (name.to_owned(), id.to_owned());
        let request = RenewLeaseRequest { name, id, duration: Some(Span::from(duration)) };
        let path = "/databroker.DataBrokerService/RenewLease";
        self.unary::<_, Empty>(path, request).await.map(drop)
    }

    pub(super) async fn release_lease(&self, name: &str, id: &str) -> Result<(), Status> {
        let request = ReleaseLeaseRequest { name: name.to_owned(), id: id.to_owned() };
        let path = "/databroker.DataBrokerService/ReleaseLease";
        self.unary::<_, Empty>(path, request).await.map(drop)
    }

    /// All records of a type, and the versions they are of.
    pub(super) async fn sync_latest(
        &self,
        kind: &str,
    ) -> Result<Incoming<SyncLatestResponse>, Status> {
        let request = SyncLatestRequest { kind: kind.to_owned() };
        self.stream("/databroker.DataBrokerService/SyncLatest", request).await
    }

    /// The records of a type that changed after a version, up to now.
    pub(super) async fn sync(
        &self,
        server_version: u64,
        record_version: u64,
        kind: &str,
    ) -> Result<Incoming<SyncResponse>, Status> {
        let kind = kind.to_owned();
        let request = SyncRequest { server_version, record_version, kind, wait: Some(false) };
        self.stream("/databroker.DataBrokerService/Sync", request).await
    }

    async fn unary<Q, A>(&self, path: &'static str, message: Q) -> Result<A, Status>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut request = self.request(message)?;
        // The server gives up too, so nothing is done long after we gave up.
        request.set_timeout(self.timeout);
        let mut grpc = self.grpc.clone();
        let call = async move {
            grpc.ready().await.map_err(unreachable_server)?;
            let codec = ProstCodec::<Q, A>::default();
            grpc.unary(request, PathAndQuery::from_static(path), codec).await
        };
        Ok(within(self.timeout, call).await?.into_inner())
    }

    async fn stream<Q, A>(&self, path: &'static str, message: Q) -> Result<Incoming<A>, Status>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let request = self.request(message)?;
        let mut grpc = self.grpc.clone();
        let call = async move {
            grpc.ready().await.map_err(unreachable_server)?;
            let codec = ProstCodec::<Q, A>::default();
            grpc.server_streaming(request, PathAndQuery::from_static(path), codec).await
        };
        let stream = within(self.timeout, call).await?.into_inner();
        Ok(Incoming { stream, timeout: self.timeout })
    }

    fn request<Q>(&self, message: Q) -> Result<Request<Q>, Status> {
        let mut request = Request::new(message);
        let expiry = clock::now().plus(TOKEN_LIFE).0 / 1000;
        let mut token: MetadataValue<_> = token(&self.key, expiry)
            .parse()
            .map_err(|_| Status::internal("the token cannot be sent"))?;
        token.set_sensitive(true);
        request.metadata_mut().insert("jwt", token);
        Ok(request)
    }
}

/// What a server streams.
pub(super) struct Incoming<A> {
    stream: Streaming<A>,
    timeout: Duration,
}

impl<A> Incoming<A> {
    /// The next message; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<A>, Status> {
        within(self.timeout, self.stream.message()).await
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Span {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Span { seconds, nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0) }
    }
}

/// What went wrong, for people: without control characters, and short.
pub(super) fn describe(status: &Status) -> String {
    const SHOWN_CHARS: usize = 300;
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) && more != "transport error" {
            text = if text.is_empty() { more } else { format!("{text}: {more}") };
        }
        source = error.source();
    }
    let text: String = printable::printable(&text).chars().take(SHOWN_CHARS).collect();
    match status.code() {
        Code::Unavailable | Code::Unknown if !text.is_empty() => text,
        code if text.is_empty() => format!("{code:?}"),
        code => format!("{code:?}: {text}"),
    }
}

/// A JWT (RFC 7519) by HMAC and SHA-256 with the one claim that the databroker
/// wants.
fn token(key: &hmac::Key, expiry: u64) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let head = part(r#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{head}.{}", part(&format!(r#"{{"exp":{expiry}}}"#)));
    let signature = hmac::sign(key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

async fn within<T>(
    timeout: Duration,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(timeout, call).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Status::deadline_exceeded("no answer in time")),
    }
}

fn unreachable_server(error: tonic::transport::Error) -> Status {
    Status::from_error(Box::new(error))
}

/// Makes connections.
#[derive(Clone)]
struct Dialer {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Dialer {
    fn new(config: &PomeriumConfig) -> Result<Dialer, String> {
        let url = &config.url;
        let no_host = || "`url` names no host".to_owned();
        let host = url.host_str().ok_or_else(no_host)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port_or_known_default().ok_or_else(no_host)?;
        let tls = (url.scheme() == "https").then(|| tls_of(config, url, &host)).transpose()?;
        Ok(Dialer { host, port, tls })
    }

    async fn dial(&self) -> std::io::Result<Box<dyn Connection>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Box::new(stream),
            Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
        })
    }
}

fn tls_of(
    config: &PomeriumConfig,
    url: &Url,
    host: &str,
) -> Result<(TlsConnector, ServerName<'static>), String> {
    let trust = config.ca.as_deref().map_or(Trust::Platform, Trust::Only);
    let mut tls = tls::client_config(trust, None)?;
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| format!("{url} names no host that a certificate could be for"))?;
    Ok((TlsConnector::from(std::sync::Arc::new(tls)), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515, appendix A.1, has the same shape; the value is openssl's.
    #[test]
    fn a_token_has_one_claim_and_a_signature() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
        let token = token(&key, 1_800_000_000);
        let parts: Vec<&str> = token.split('.').collect();
        let [head, claims, signature] = parts.as_slice() else { panic!("{token}") };
        let decode = |part| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert_eq!(decode(head), r#"{"alg":"HS256","typ":"JWT"}"#);
        assert_eq!(decode(claims), r#"{"exp":1800000000}"#);
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        hmac::verify(&key, format!("{head}.{claims}").as_bytes(), &signature).unwrap();
    }
}
