//! One request: checks the short way, everything else through the router.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Either, Ready, ready};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Frame, Incoming, SizeHint};
use tower::ServiceExt;

use super::check;
use super::denials::Denials;
use super::events::IsFeed;
use super::metrics::Metrics;
use super::problem::Problem;
use super::router::router;
use super::sources::Sources;
use super::watched::{Activity, Turn};
use crate::model::{Act, Caller};
use crate::secret::Secret;
use crate::task::panic_message;

/// Answers requests. Shared by all connections.
pub struct Desk {
    sources: Sources,
    pub metrics: Metrics,
    pub denials: Denials,
    router: Router,
}

/// Who may ask over TCP, where no file mode decides it.
pub struct Guard {
    pub token: Secret,
}

/// The other end of a connection, as the kernel knows it.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    Unix { uid: u32, gid: u32, pid: Option<u32> },
    Tcp(SocketAddr),
}

/// The name of the one token there is, as the configuration calls it.
const TOKEN: &str = "query.token";

/// What hyper drives for one connection.
pub struct Service {
    pub desk: Arc<Desk>,
    pub guard: Option<Arc<Guard>>,
    pub peer: Peer,
    pub activity: Arc<Activity>,
}

impl Desk {
    /// Answers from `sources`.
    pub fn new(sources: Sources) -> Desk {
        let metrics = Metrics::new(&sources);
        let router = router(sources.clone(), metrics.clone());
        Desk { sources, metrics, denials: Denials::default(), router }
    }

    /// Writes refusals into the audit trail.
    pub async fn record(&self, acts: Vec<Act>) {
        for act in acts {
            self.sources.trail.record(act).await;
        }
    }

    /// The answer to a current-state check; `None` when it needs another way.
    fn check<B>(&self, request: &Request<B>) -> Option<Result<Bytes, Problem>> {
        if request.method() != Method::GET || request.uri().path() != "/v1/check" {
            return None;
        }
        let query = request.uri().query().unwrap_or_default();
        if check::asks_about_the_past(query) {
            return None;
        }
        let answer = AssertUnwindSafe(|| check::answer(&self.sources, Some(query)));
        let answer = std::panic::catch_unwind(answer)
            .unwrap_or_else(|panic| Err(Problem::internal(panic_message(panic.as_ref()))));
        Some(answer.map(Bytes::from))
    }

    async fn route(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let answer = AssertUnwindSafe(self.router.clone().oneshot(request)).catch_unwind().await;
        match answer {
            Ok(Ok(response)) => response,
            Err(panic) => {
                let problem = Problem::internal(panic_message(panic.as_ref()));
                axum::response::IntoResponse::into_response(problem)
            }
        }
    }
}

impl Guard {
    /// Lets a request through.
    ///
    /// # Errors
    /// When a browser was led here by a foreign name, or the token is wrong.
    fn admit<B>(&self, request: &Request<B>) -> Result<(), Problem> {
        let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        // HTTP/2 has the host in the URI (RFC 9113, section 8.3.1).
        let host = text(HOST).or_else(|| Some(request.uri().authority()?.as_str()));
        if !host.is_some_and(is_loopback) {
            let detail = "the `Host` header must be localhost, 127.0.0.1 or [::1]";
            return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", detail));
        }
        let given = text(AUTHORIZATION).and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| Secret::new(token.trim().to_owned()))
        });
        if given.as_ref() == Some(&self.token) || request.uri().path() == "/healthz" {
            return Ok(());
        }
        Err(Problem::unauthorized())
    }
}

impl Peer {
    fn caller(self) -> Caller {
        match self {
            Peer::Unix { uid, gid, pid } => Caller::peer(uid, gid, pid),
            Peer::Tcp(address) => Caller::token(TOKEN, address),
        }
    }
}

fn is_for_operators(path: &str) -> bool {
    ["/v1/directories/", "/v1/webhooks/"].iter().any(|start| path.starts_with(start))
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

type Answered = Result<Response<Reply>, Infallible>;

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = Either<Ready<Answered>, Pin<Box<dyn Future<Output = Answered> + Send>>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let turn = Turn::begin(&self.activity);
        if let Some(Err(problem)) = self.guard.as_ref().map(|guard| guard.admit(&request)) {
            self.desk.metrics.answered("refused", problem.status().as_u16());
            if let Peer::Tcp(address) = self.peer {
                self.desk.denials.note(address.ip(), problem.status());
            }
            return Either::Left(ready(Ok(problem_reply(problem, turn))));
        }
        match self.desk.check(&request) {
            Some(Ok(body)) => {
                self.desk.metrics.checks_answered.inc();
                Either::Left(ready(Ok(json_reply(body, turn))))
            }
            Some(Err(problem)) => {
                self.desk.metrics.answered("/v1/check", problem.status().as_u16());
                Either::Left(ready(Ok(problem_reply(problem, turn))))
            }
            None => {
                // Only what operators ask for needs to know who asks.
                if is_for_operators(request.uri().path()) {
                    request.extensions_mut().insert(self.peer.caller());
                }
                let desk = Arc::clone(&self.desk);
                Either::Right(Box::pin(async move {
                    let response = desk.route(request.map(Body::new)).await;
                    turn.set_feed(response.extensions().get::<IsFeed>().is_some());
                    Ok(response.map(|body| Reply::new(Content::Router(body), turn)))
                }))
            }
        }
    }
}

fn json_reply(body: Bytes, turn: Turn) -> Response<Reply> {
    let mut response = Response::new(Reply::new(Content::Whole(Some(body)), turn));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn problem_reply(problem: Problem, turn: Turn) -> Response<Reply> {
    let (status, headers, body) = problem.into_parts();
    let mut response = Response::new(Reply::new(Content::Whole(Some(body)), turn));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A body that notes when it is sent.
pub struct Reply {
    content: Content,
    turn: Turn,
}

enum Content {
    Whole(Option<Bytes>),
    Router(Body),
}

impl Reply {
    fn new(content: Content, turn: Turn) -> Reply {
        turn.waits_for_client();
        Reply { content, turn }
    }
}

impl hyper::body::Body for Reply {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut self.content {
            Content::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Router(body) => {
                let frame = Pin::new(body).poll_frame(cx);
                match frame {
                    Poll::Ready(_) => self.turn.waits_for_client(),
                    Poll::Pending => self.turn.waits_for_us(),
                }
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_none(),
            Content::Router(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Content::Router(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(host: &str, authorization: Option<&str>) -> u16 {
        let mut request = Request::builder().uri("/v1/users").header(HOST, host);
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let guard = Guard { token: Secret::new("t0ken".into()) };
        let outcome = guard.admit(&request.body(()).unwrap());
        outcome.map_or_else(|problem| problem.status().as_u16(), |()| 200)
    }

    #[test]
    fn only_the_token_and_loopback_names_are_let_in() {
        assert_eq!(admit("localhost:7411", Some("Bearer t0ken")), 200);
        assert_eq!(admit("127.0.0.1", Some("bearer t0ken")), 200);
        assert_eq!(admit("[::1]:7411", Some("Bearer t0ken")), 200);
        assert_eq!(admit("localhost", Some("Bearer t0ke")), 401);
        assert_eq!(admit("localhost", Some("Basic t0ken")), 401);
        assert_eq!(admit("localhost", None), 401);
        assert_eq!(admit("evil.example.org", Some("Bearer t0ken")), 421);
        assert_eq!(admit("localhost.evil.example.org:80", Some("Bearer t0ken")), 421);
        assert_eq!(admit("", Some("Bearer t0ken")), 421);
    }
}
