//! HTTP/2 and the gRPC service on a real socket; clients that mean harm.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::rt::Executor;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;

use super::clients::{CHECK, Served, exchange, read_to_end, serve, serve_with};
use super::fixture::{World, world};
use super::sockets::with_token;
use crate::query::access::Permissions;
use crate::query::ext_authz::messages::{
    Attributes, CheckRequest, CheckResponse, Extension, Header, HeaderMap as RawHeaders,
    HttpRequest, HttpResponse, Request as AttributesRequest,
};
use crate::query::http2::PREFACE;
use crate::query::listener::Listeners;
use crate::query::policies::{Policies, Policy};
use crate::query::server::{Limits, start};

const CHECK_PATH: &str = "/envoy.service.auth.v3.Authorization/Check";

fn with_policy(world: World, change: impl FnOnce(&mut Policy)) -> World {
    let mut policy = Policy {
        header: http::HeaderName::from_static("x-auth-user"),
        group: "g1".into(),
        directory: None,
        max_age: Duration::from_mins(15),
        allow_inactive: false,
        explain: false,
    };
    change(&mut policy);
    let ext_authz = [("eng".to_owned(), policy)].into();
    world.sources.policies.replace(Policies { ext_authz, ..Policies::default() });
    world
}

struct Client {
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    async fn connect(served: &Served) -> Client {
        let stream = served.connect();
        stream.set_nonblocking(true).unwrap();
        let stream = TokioIo::new(tokio::net::UnixStream::from_std(stream).unwrap());
        let (sender, connection) = handshake(TokioExecutor::new(), stream).await.unwrap();
        run_beside(connection);
        Client { sender }
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Answer> {
        self.sender.ready().await?;
        let response: Response<_> = self.sender.send_request(request).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok(Answer { parts, trailers, body: body.to_bytes() })
    }

    async fn get(&mut self, path: &str) -> Answer {
        let uri = format!("http://localhost{path}");
        self.send(Request::get(uri).body(Full::default()).unwrap()).await.unwrap()
    }

    /// The body as it is, which should be a framed message.
    async fn call(&mut self, path: &str, body: impl Into<Bytes>) -> Answer {
        let request = Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(body.into()));
        self.send(request.unwrap()).await.unwrap()
    }

    async fn check(&mut self, request: &CheckRequest) -> CheckResponse {
        let answer = self.call(CHECK_PATH, framed(&request.encode_to_vec())).await;
        assert_eq!(answer.grpc_status(), "0", "{:?}", answer.parts);
        CheckResponse::decode(&answer.body[5..]).unwrap()
    }
}

struct Answer {
    parts: http::response::Parts,
    trailers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn grpc_status(&self) -> &str {
        let status = self.trailers.get("grpc-status").or(self.parts.headers.get("grpc-status"));
        status.unwrap_or_else(|| panic!("no status: {:?}", self.parts)).to_str().unwrap()
    }
}

fn framed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.len()).unwrap());
    bytes.put_slice(message);
    bytes.freeze()
}

fn header(name: &str, value: &[u8]) -> Header {
    let (key, value) = (name.to_owned().into(), value.to_vec().into());
    Header { key, value, ..Header::default() }
}

fn raw(name: &str, value: &[u8]) -> Header {
    let (key, raw_value) = (name.to_owned().into(), value.to_vec().into());
    Header { key, raw_value, ..Header::default() }
}

fn request(policy: &[&str], headers: Vec<Header>, raw: Vec<Header>) -> CheckRequest {
    let extension =
        |value: &&str| Extension { key: "policy".to_owned(), value: (*value).to_owned() };
    let header_map = (!raw.is_empty()).then_some(RawHeaders { headers: raw });
    let http = Some(HttpRequest { headers, header_map });
    let attributes = Attributes {
        request: Some(AttributesRequest { http }),
        context_extensions: policy.iter().map(extension).collect(),
    };
    CheckRequest { attributes: Some(attributes) }
}

/// `ok`, or the reason of a denial.
fn verdict(response: &CheckResponse) -> String {
    let status = response.status.as_ref().unwrap();
    match response.http_response.as_ref().unwrap() {
        HttpResponse::Ok(_) => {
            assert_eq!(status.code, 0);
            "ok".to_owned()
        }
        HttpResponse::Denied(denied) => {
            assert_eq!(status.code, 7);
            assert_eq!(denied.status.as_ref().unwrap().code, 403);
            status.message.clone()
        }
    }
}

/// Lets a connection run beside the test.
fn run_beside(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
    TokioExecutor::new().execute(async move { drop(connection.await) });
}

fn run(test: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), test()).await.expect("it hangs");
    });
}

#[test]
fn every_route_answers_over_http2_many_at_a_time() {
    let served = serve(world(), 16);
    run(async || {
        let mut client = Client::connect(&served).await;
        let answer = client.get("/v1/check?user=u1&group=g1").await;
        assert_eq!(answer.parts.status, 200);
        assert!(answer.body.starts_with(b"{\"member\":true,\"seq\":10"), "{:?}", answer.body);
        assert_eq!(client.get("/v1/users").await.parts.status, 200);
        assert_eq!(client.get("/nothing").await.parts.status, 404);
        let all = (0..300).map(|number| {
            let mut client = Client { sender: client.sender.clone() };
            async move {
                let path = if number % 3 == 0 { "/v1/users" } else { "/v1/check?user=u1&group=g1" };
                assert_eq!(client.get(path).await.parts.status, 200);
            }
        });
        futures_util::future::join_all(all).await;
    });
    assert_eq!(served.metric("rosterd_requests_total{route=\"/v1/check\",code=\"200\"}"), 201);
    assert_eq!(served.metric("rosterd_connections_total"), 3);
    let mut stream = served.connect();
    assert!(exchange(&mut stream, CHECK).contains("\"member\":true"));
}

#[test]
fn decisions_for_other_enforcement_points_are_counted() {
    let served = serve(world(), 16);
    run(async || {
        let mut client = Client::connect(&served).await;
        let one = r#"{"subject":{"type":"user","id":"u1"},"action":{"name":"member"}"#;
        let many =
            format!(r#"{one},"evaluations":[{{"resource":{{"type":"group","id":"g1"}}}},{{}}]}}"#);
        let single = format!(r#"{one},"resource":{{"type":"group","id":"g2"}}}}"#);
        for (path, body) in [("evaluations", many), ("evaluation", single)] {
            let request = Request::post(format!("http://localhost/access/v1/{path}"))
                .header("content-type", "application/json")
                .body(Full::new(body.into()));
            let answer = client.send(request.unwrap()).await.unwrap();
            assert_eq!(answer.parts.status, 200, "{:?}", answer.body);
        }
    });
    let counted = |reason: &str| {
        let labels = format!("by=\"authzen\",policy=\"\",reason=\"{reason}\"");
        served.metric(&format!("rosterd_decisions_total{{{labels}}}"))
    };
    assert_eq!((counted("member"), counted("bad-request")), (2, 1));
}

#[test]
fn envoy_is_told_who_may_pass() {
    let served = serve(with_policy(world(), |_| {}), 16);
    run(async || {
        let mut client = Client::connect(&served).await;
        let user = |value: &str| vec![header("x-auth-user", value.as_bytes())];
        let allowed = client.check(&request(&["eng"], user("u1"), vec![])).await;
        assert_eq!(verdict(&allowed), "ok");
        let Some(HttpResponse::Ok(ok)) = allowed.http_response else { panic!("denied") };
        let told: Vec<_> = ok
            .headers
            .iter()
            .map(|option| {
                assert!(!option.append.as_ref().unwrap().value, "it replaces the client's");
                let header = option.header.as_ref().unwrap();
                (header.key.clone(), header.value.clone())
            })
            .collect();
        let expected = [("user", "u1"), ("group", "g1"), ("directory", "corp"), ("seq", "10")]
            .map(|(name, value)| (format!("x-rosterd-{name}").into(), value.into()));
        assert_eq!(told, expected);
        for (value, reason) in [
            ("cn=Eve/x", "unknown-user"),
            ("eve", "not-member"),
            ("nobody", "unknown-user"),
            ("bob@example.org", "ambiguous-user"),
            ("u1,u1", "several-users"),
            ("", "no-user"),
        ] {
            let response = client.check(&request(&["eng"], user(value), vec![])).await;
            assert_eq!(verdict(&response), reason, "{value}");
            let metadata = response.dynamic_metadata.unwrap();
            assert_eq!(metadata.fields[0].key, "reason");
            assert_eq!(metadata.fields[0].value.as_ref().unwrap().text.as_deref(), Some(reason));
            let Some(HttpResponse::Denied(denied)) = response.http_response else { panic!() };
            assert!(!denied.body.contains(reason), "{}", denied.body);
        }
    });
    let denied = "rosterd_decisions_total{by=\"ext_authz\",policy=\"eng\",reason=\"unknown-user\"}";
    assert_eq!(served.metric(denied), 2);
    assert_eq!(
        served.metric("rosterd_decisions_total{by=\"ext_authz\",policy=\"eng\",reason=\"member\"}"),
        1
    );
}

#[test]
fn only_the_route_chooses_the_policy_and_one_header_the_user() {
    let served = serve(with_policy(world(), |_| {}), 16);
    run(async || {
        let mut client = Client::connect(&served).await;
        let one = || vec![header("x-auth-user", b"u1"), header("policy", b"eng")];
        for policies in [&[][..], &["other"], &["eng", "eng"], &["ENG"]] {
            let response = client.check(&request(policies, one(), vec![])).await;
            assert_eq!(verdict(&response), "unknown-policy");
        }
        let mut ask =
            async |headers, raw| verdict(&client.check(&request(&["eng"], headers, raw)).await);
        assert_eq!(ask(vec![], vec![raw("x-auth-user", b"u1")]).await, "ok");
        assert_eq!(ask(vec![], vec![]).await, "no-user");
        let twice = || vec![raw("x-auth-user", b"u1"), raw("X-Auth-User", b"u1")];
        assert_eq!(ask(vec![], twice()).await, "several-users");
        assert_eq!(ask(one(), vec![raw("x-auth-user", b"u1")]).await, "several-users");
        assert_eq!(
            ask(vec![header("x-auth-user", b"u1"), header("x-auth-user", b"u2")], vec![]).await,
            "several-users"
        );
        // Not text is seen where it counts, and nowhere else.
        assert_eq!(ask(vec![], vec![raw("x-auth-user", b"\xff")]).await, "not-text");
        let beside = vec![raw("x-other", b"\xff"), raw("x-auth-user", b"u1")];
        assert_eq!(ask(vec![], beside).await, "ok");
        // An id with commas needs Envoy's raw headers.
        let eve = b"cn=Eve/x,dc=example";
        assert_eq!(ask(vec![], vec![raw("x-auth-user", eve)]).await, "not-member");
        assert_eq!(ask(vec![header("x-auth-user", eve)], vec![]).await, "several-users");
        let nothing = client.check(&CheckRequest::default()).await;
        assert_eq!(verdict(&nothing), "unknown-policy");
    });
}

#[test]
fn old_knowledge_lets_nobody_through() {
    let served = serve(with_policy(world(), |policy| policy.explain = true), 16);
    let ask = || {
        let mut said = String::new();
        run(async || {
            let mut client = Client::connect(&served).await;
            let user = vec![header("x-auth-user", b"u1")];
            let response = client.check(&request(&["eng"], user, vec![])).await;
            said = verdict(&response);
            if let Some(HttpResponse::Denied(denied)) = response.http_response {
                assert!(denied.body.contains("\"reason\":\"stale\""), "{}", denied.body);
            }
        });
        said
    };
    assert_eq!(ask(), "ok");
    served.world.confirm("corp", 16 * 60);
    assert_eq!(ask(), "stale");
    served.world.confirm("corp", 1);
    assert_eq!(ask(), "ok");
}

#[test]
fn a_message_that_is_none_is_an_orderly_status() {
    let served = serve(with_policy(world(), |_| {}), 16);
    run(async || {
        let mut client = Client::connect(&served).await;
        let good = request(&["eng"], vec![header("x-auth-user", b"u1")], vec![]).encode_to_vec();
        let mut compressed = framed(&good).to_vec();
        compressed[0] = 1;
        let mut endless = framed(&good).to_vec();
        endless[1..5].copy_from_slice(&u32::MAX.to_be_bytes());
        let deep: Vec<u8> = [0x0a, 0x7f].repeat(200);
        let bodies = [
            Bytes::new(),
            Bytes::from_static(b"\0\0"),
            Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n"),
            framed(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
            framed(&deep),
            framed(&good[..good.len() - 1]),
            framed(&good).slice(..12),
            compressed.into(),
            endless.into(),
            framed(&vec![0; (1 << 20) + 1]),
        ];
        for body in bodies {
            let answer = client.call(CHECK_PATH, body.clone()).await;
            assert_eq!(answer.parts.status, 200);
            assert_ne!(answer.grpc_status(), "0", "{:?}", &body[..body.len().min(40)]);
        }
        let other = "/envoy.service.auth.v3.Authorization/Other";
        assert_eq!(client.call(other, framed(&good)).await.grpc_status(), "12");
        let json = Request::post(format!("http://localhost{CHECK_PATH}")).body(Full::default());
        assert_eq!(client.send(json.unwrap()).await.unwrap().parts.status, 415);
        let answer = client.call(CHECK_PATH, framed(&good)).await;
        assert_eq!(answer.grpc_status(), "0", "the connection is none the worse");
    });
    let mut stream = served.connect();
    let grpc = "content-type: application/grpc\r\ncontent-length: 0";
    let over_http1 = format!("POST {CHECK_PATH} HTTP/1.1\r\nhost: x\r\n{grpc}\r\n\r\n");
    assert!(exchange(&mut stream, &over_http1).starts_with("HTTP/1.1 415 "));
}

/// `:method GET`, `:scheme http`, `:path /`, `:authority x` (RFC 7541, appendix A).
const GET_ROOT: &[u8] = &[0x82, 0x86, 0x84, 0x01, 0x01, b'x'];
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn begun(served: &Served, settings: &[u8]) -> UnixStream {
    let mut stream = served.connect();
    let hello = [PREFACE, &frame(SETTINGS, 0, 0, settings)].concat();
    stream.write_all(&hello).unwrap();
    stream
}

fn little_patience() -> Limits {
    let short = Duration::from_millis(200);
    let tick = Duration::from_millis(20);
    Limits { idle: short, stall: short, head: short, tick, ..Limits::default() }
}

#[test]
fn clients_that_keep_us_waiting_are_cut() {
    let served = serve_with(world(), little_patience());
    let closed = |reason: &str, count| {
        let metric = format!("rosterd_connections_closed_by_us_total{{reason=\"{reason}\"}}");
        served.wait_for_metric(&metric, count);
    };
    // Nothing after the preface; half a head; pings without end.
    let mut silent = begun(&served, &[]);
    let mut half = begun(&served, &[]);
    half.write_all(&frame(HEADERS, END_STREAM, 1, GET_ROOT)).unwrap();
    let mut pings = begun(&served, &[]);
    let pinging = std::thread::spawn(move || {
        while pings.write_all(&frame(PING, 0, 0, &[7; 8])).is_ok() {
            let mut answer = [0; 64];
            if !matches!(pings.read(&mut answer), Ok(1..)) {
                return;
            }
            std::thread::yield_now();
        }
    });
    read_to_end(&mut silent);
    read_to_end(&mut half);
    pinging.join().unwrap();
    closed("idle", 3);
    // No room for the answer: SETTINGS_INITIAL_WINDOW_SIZE is 0.
    let mut deaf = begun(&served, &[0, 4, 0, 0, 0, 0]);
    deaf.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, GET_ROOT)).unwrap();
    read_to_end(&mut deaf);
    closed("does not read", 1);
}

#[test]
fn streams_that_are_opened_only_to_be_reset_end_the_connection() {
    let served = serve(world(), 16);
    let mut stream = begun(&served, &[]);
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        for number in 0..100_000_u32 {
            let id = number * 2 + 1;
            let open = frame(HEADERS, END_HEADERS, id, GET_ROOT);
            let reset = frame(RST_STREAM, 0, id, &[0, 0, 0, 8]);
            if writer.write_all(&[open, reset].concat()).is_err() {
                return;
            }
        }
    });
    read_to_end(&mut stream);
    writing.join().unwrap();
    assert!(exchange(&mut served.connect(), CHECK).contains("\"member\":true"));
}

#[test]
fn heads_without_end_end_the_connection() {
    let served = serve(world(), 16);
    let mut stream = begun(&served, &[]);
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        let _ = writer.write_all(&frame(HEADERS, 0, 1, GET_ROOT));
        let more = frame(CONTINUATION, 0, 1, &[0x00, 0x01, b'x', 0x01, b'y'].repeat(1_000));
        while writer.write_all(&more).is_ok() {}
    });
    read_to_end(&mut stream);
    writing.join().unwrap();
}

#[test]
fn random_bytes_after_the_preface_neither_hang_nor_panic() {
    let served = serve_with(with_policy(world(), |_| {}), little_patience());
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..150 {
        let mut bytes = if round % 3 == 0 { vec![] } else { frame(SETTINGS, 0, 0, &[]) };
        for _ in 0..random.usize(1..20) {
            let mut payload = vec![0; random.usize(0..300)];
            random.fill(&mut payload);
            if random.bool() {
                payload.splice(..0, GET_ROOT.iter().copied());
            }
            let kind = if random.bool() { random.u8(DATA..=CONTINUATION) } else { random.u8(..) };
            bytes.extend(frame(kind, random.u8(..), random.u32(..8), &payload));
        }
        let cut = random.usize(..bytes.len());
        bytes[cut] ^= random.u8(..);
        let mut stream = served.connect();
        let _ = stream.write_all(&[PREFACE, &bytes].concat());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        read_to_end(&mut stream);
    }
    // A connection that panicked would be told of here.
    assert!(exchange(&mut served.connect(), CHECK).contains("\"member\":true"));
    served.wait_for_metric("rosterd_connections_open", 1);
}

#[test]
fn at_shutdown_streams_under_way_end() {
    let served = serve(world(), 16);
    run(async || {
        let mut client = Client::connect(&served).await;
        let request = Request::get("http://localhost/v1/events?after=10")
            .header("accept", "text/event-stream")
            .body(Full::default());
        let response = client.sender.send_request(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        served.world.trigger.fire();
        response.into_body().collect().await.expect("it ends, and is not cut off");
        while client.sender.ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    served.ended();
}

#[test]
fn over_tcp_the_token_and_a_loopback_name_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let config = with_token(&folder.path().join("q.sock"), "t0ken", Permissions::ALL);
    let listeners = Listeners::take(&config).unwrap();
    let address = listeners.address().unwrap();
    let world = with_policy(world(), |_| {});
    let shutdown = world.sources.shutdown.clone();
    let running = start(listeners, world.sources.clone(), Limits::default(), shutdown).unwrap();
    run(async || {
        let stream = TokioIo::new(tokio::net::TcpStream::connect(address).await.unwrap());
        let (sender, connection) = handshake(TokioExecutor::new(), stream).await.unwrap();
        run_beside(connection);
        let mut client = Client { sender };
        let mut ask = async |host: &str, token: &str| {
            let request = Request::get(format!("http://{host}/v1/check?user=u1&group=g1"))
                .header("authorization", format!("Bearer {token}"))
                .body(Full::default());
            client.send(request.unwrap()).await.unwrap().parts.status.as_u16()
        };
        assert_eq!(ask("localhost", "t0ken").await, 200);
        assert_eq!(ask("localhost:7411", "guess").await, 401);
        assert_eq!(ask("evil.example.org", "t0ken").await, 421);
    });
    world.trigger.fire();
    running.join().unwrap();
}
