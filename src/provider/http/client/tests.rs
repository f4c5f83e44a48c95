//! The client against a server that is scripted byte by byte.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use url::Url;

use super::*;
use crate::clock::Instant;
use crate::provider::Patience;
use crate::provider::http::config::Proxy;
use crate::provider::http::credential::{Fixed, Grant, Token, Tokens};
use crate::secret::Secret;
use crate::task::{self, Task};

/// Answers each request with the next of its script, the last one for ever.
struct Server {
    url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    _task: Task,
}

#[derive(Clone, Debug)]
struct Seen {
    head: String,
    at: Instant,
}

impl Server {
    async fn start(script: Vec<Vec<u8>>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let noted = seen.clone();
        let serve = async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = BufReader::new(stream);
                let head = read_request(&mut stream).await;
                let answer = {
                    let mut noted = lock(&noted);
                    noted.push(Seen { head, at: clock::instant() });
                    script[(noted.len() - 1).min(script.len() - 1)].clone()
                };
                stream.write_all(&answer).await.unwrap();
            }
        };
        Server { url, seen, _task: task::spawn("server", serve) }
    }

    fn seen(&self) -> Vec<Seen> {
        lock(&self.seen).clone()
    }

    fn client(&self) -> Client {
        let credential = Fixed::new("authorization", &Secret::new("t".into()), "Bearer ").unwrap();
        self.client_of(&HttpConfig::default(), credential)
    }

    fn client_of(&self, config: &HttpConfig, credential: impl Credential + 'static) -> Client {
        let transport = Transport::new(config, &self.url, PATIENCE);
        let budget = Budget::of(config, &self.url, b"", &[]);
        Client::new(config, transport, Arc::new(Plain), Arc::new(credential), budget)
    }

    fn call(&self) -> Call {
        Call::get("GET /list", self.url.join("list?secret=1").unwrap())
    }
}

const PATIENCE: Patience =
    Patience { request_timeout: Duration::from_secs(20), stall_timeout: Duration::from_secs(60) };

/// Without ways of its own.
struct Plain;

impl Vendor for Plain {
    fn name(&self) -> &'static str {
        "Plain"
    }
}

async fn read_request(stream: &mut BufReader<tokio::net::TcpStream>) -> String {
    let mut head = String::new();
    while stream.read_line(&mut head).await.unwrap() > 2 {}
    let length = head.to_lowercase().lines().find_map(|line| {
        line.strip_prefix("content-length: ").and_then(|length| length.parse().ok())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.unwrap();
    head
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
    .into_bytes()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[tokio::test]
async fn r21_a_link_to_another_host_gets_no_request() {
    let server = Server::start(vec![answer("200 OK", "", "{}")]).await;
    let mut other = server.url.clone();
    other.set_port(Some(1)).unwrap();
    for url in [other, Url::parse("https://evil.example.org/list").unwrap()] {
        let error = server.client().send(Call::get("GET /list", url)).await.unwrap_err();
        assert!(matches!(&error, PullError::Incomplete { .. }), "{error}");
        assert!(error.to_string().contains("nothing is sent to"), "{error}");
    }
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn r21_a_redirect_is_followed_within_the_origin_only() {
    let moved = answer("301 Moved", "location: /elsewhere\r\n", "");
    let away = answer("302 Found", "location: https://evil.example.org/\r\n", "");
    let server = Server::start(vec![moved, answer("200 OK", "", "{}"), away]).await;
    let good = server.client().send(server.call()).await.unwrap();
    assert_eq!(good.url.path(), "/elsewhere");
    let error = server.client().send(server.call()).await.unwrap_err().to_string();
    assert!(error.contains("evil.example.org") && error.contains("nothing is sent to"), "{error}");
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn what_is_safe_is_tried_again_and_counted() {
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"half\":".to_vec();
    let script = vec![answer("502 Bad", "", ""), cut, Vec::new(), answer("200 OK", "", "{}")];
    let server = Server::start(script).await;
    let client = server.client();
    assert_eq!(client.send(server.call()).await.unwrap().body, "{}");
    assert_eq!(client.take_audit(), BTreeMap::from([("GET /list".to_owned(), 4)]));
    assert_eq!(client.take_audit(), BTreeMap::new());
}

#[tokio::test]
async fn what_is_not_safe_is_sent_once() {
    let server = Server::start(vec![answer("502 Bad", "", "")]).await;
    let call = Call::post_form("POST /list", server.url.clone(), &[("a", "b c")]);
    let error = server.client().send(call).await.unwrap_err();
    assert!(matches!(error, PullError::Unreachable { .. }), "{error}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn trouble_without_end_ends_as_unreachable_and_shows_no_query() {
    let server = Server::start(vec![answer("500 Oops", "", "")]).await;
    let error = server.client().send(server.call()).await.unwrap_err();
    assert!(matches!(error, PullError::Unreachable { .. }), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn r17_nobody_asks_before_the_announced_time() {
    let throttled = answer("429 Slow down", "retry-after: 0.4\r\n", "");
    let server = Server::start(vec![throttled, answer("200 OK", "", "{}")]).await;
    let client = server.client();
    let (first, second) = tokio::join!(client.send(server.call()), client.send(server.call()));
    first.and(second).unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    // The second may have been under way when the first was throttled.
    assert!(seen[2].at - seen[0].at >= Duration::from_millis(390), "{seen:?}");
}

#[tokio::test]
async fn r17_a_long_throttle_ends_the_crawl_with_its_time() {
    let server = Server::start(vec![answer("429 Slow down", "retry-after: 3000\r\n", "")]).await;
    let before = clock::now();
    let error = server.client().send(server.call()).await.unwrap_err();
    let PullError::Throttled { until, .. } = error else { panic!("{error}") };
    assert!(until >= before.plus(Duration::from_secs(2990)));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn r17_a_token_endpoint_that_throttles_is_not_asked_again_at_once() {
    let server = Server::start(vec![answer("429 Slow down", "retry-after: 60\r\n", "")]).await;
    let transport = Transport::new(&HttpConfig::default(), &server.url, PATIENCE);
    let before = clock::now();
    for call in [server.call(), Call::post_form("POST /token", server.url.clone(), &[])] {
        let error = transport.send(call).await.unwrap_err();
        let PullError::Throttled { until, .. } = error else { panic!("{error}") };
        assert!(until >= before.plus(Duration::from_secs(59)));
    }
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn nothing_secret_is_shown_for_debugging() {
    let secret = [("client_secret", "hunter2")];
    let call =
        Call::post_form("POST /token", Url::parse("http://a/?key=hunter2").unwrap(), &secret);
    let shown = format!("{:?}", call.header("authorization", "hunter2"));
    assert_eq!(shown, "Call(POST http://a/)");
    let server = Server::start(vec![answer("200 OK", "token: hunter2\r\n", "hunter2")]).await;
    let shown = format!("{:?}", server.client().send(server.call()).await.unwrap());
    assert!(!shown.contains("hunter2") && !shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    #[derive(Default)]
    struct Counting(std::sync::atomic::AtomicU32);
    #[async_trait]
    impl Grant for Counting {
        async fn grant(&self) -> Result<Token, PullError> {
            let number = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok(Token { value: Secret::new(format!("number-{number}")), expires_in: None })
        }
    }
    let refused = || answer("401 No", "", "{}");
    let server = Server::start(vec![refused(), answer("200 OK", "", "{}"), refused()]).await;
    let client = server.client_of(&HttpConfig::default(), Tokens::new(Counting::default()));
    client.send(server.call()).await.unwrap();
    let seen = server.seen();
    assert!(seen[0].head.contains("Bearer number-0") && seen[1].head.contains("Bearer number-1"));
    let error = client.send(server.call()).await.unwrap_err();
    assert!(matches!(error, PullError::Unauthorized { .. }), "{error}");
    assert!(!error.to_string().contains("number-"), "{error}");
}

#[tokio::test]
async fn too_large_an_answer_is_not_read_to_its_end() {
    let huge = answer("200 OK", "", &" ".repeat((64 << 20) + 1));
    let server = Server::start(vec![huge]).await;
    let error = server.client().send(server.call()).await.unwrap_err();
    assert!(error.to_string().contains("more than 64 MiB"), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let patience = Patience { request_timeout: Duration::from_millis(200), ..PATIENCE };
    let transport = Transport::new(&HttpConfig::default(), &url, patience);
    let call = Call::post_form("POST /token", url, &[]);
    let error = transport.send(call).await.unwrap_err();
    assert!(error.to_string().contains("no answer in time"), "{error}");
}

#[tokio::test]
async fn r20_requests_go_through_the_configured_proxy() {
    let server = Server::start(vec![answer("200 OK", "", "{}")]).await;
    let proxy = Proxy::Through {
        url: server.url.clone(),
        username: Some("me".into()),
        password: Some(Secret::new("pass".into())),
    };
    let config = HttpConfig { proxy, ..HttpConfig::default() };
    let target = Url::parse("http://vendor.example.org/list").unwrap();
    let transport = Transport::new(&config, &target, PATIENCE);
    transport.send(Call::get("GET /list", target)).await.unwrap();
    let head = &server.seen()[0].head;
    assert!(head.starts_with("GET http://vendor.example.org/list HTTP/1.1"), "{head}");
    assert!(head.to_lowercase().contains("proxy-authorization: basic bwu6cgfzcw=="), "{head}");
}

#[tokio::test]
async fn gzip_is_asked_for() {
    let server = Server::start(vec![answer("200 OK", "", "{}")]).await;
    server.client().send(server.call()).await.unwrap();
    assert!(server.seen()[0].head.to_lowercase().contains("accept-encoding: gzip"));
}

/// Certificates of a private authority: for the server, and for who connects.
struct Authority {
    pem: String,
    server: tokio_rustls::TlsAcceptor,
    identity: crate::tls::Identity,
}

fn authority() -> Authority {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let issue = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &issuer).unwrap(), key)
    };
    let (server, server_key) = issue("localhost");
    let (client, client_key) = issue("rosterd");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        provider.clone(),
    );
    let server_key = rustls::pki_types::PrivateKeyDer::try_from(server_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![server.der().clone()], server_key.unwrap())
        .unwrap();
    Authority {
        pem: certificate.pem(),
        server: tokio_rustls::TlsAcceptor::from(Arc::new(config)),
        identity: crate::tls::Identity {
            certificate: client.pem().into_bytes(),
            key: Secret::new(client_key.serialize_pem()),
        },
    }
}

/// Asks a server of this authority once. TLS 1.3 lets a client believe that it
/// is connected before the server has seen its certificate.
async fn ask_over_tls(authority: &Authority, config: &HttpConfig) -> Result<Answer, PullError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = authority.server.clone();
    let _task = task::spawn("server", async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).await.is_ok_and(|bytes| bytes > 2) {}
                let _ = stream.write_all(&answer("200 OK", "", "{}")).await;
                let _ = stream.shutdown().await;
            }
        }
    });
    let url = Url::parse(&format!("https://localhost:{port}/")).unwrap();
    let transport = Transport::new(config, &url, PATIENCE);
    transport.send(Call::post_form("POST /token", url, &[])).await
}

#[tokio::test]
async fn r20_a_private_authority_and_a_client_certificate_are_used() {
    let authority = authority();
    let config = HttpConfig {
        ca: Some(authority.pem.clone().into_bytes()),
        identity: Some(authority.identity.clone()),
        ..HttpConfig::default()
    };
    ask_over_tls(&authority, &config).await.unwrap();
    let nameless = HttpConfig { identity: None, ..config.clone() };
    let error = ask_over_tls(&authority, &nameless).await.unwrap_err();
    assert!(matches!(error, PullError::Unreachable { .. }), "{error}");
    let stranger = self::authority();
    let trusting = HttpConfig { ca: Some(stranger.pem.into_bytes()), ..config };
    let error = ask_over_tls(&authority, &trusting).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}
