//! One request: checks the short way, everything else through the router.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Either, Ready, ready};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use tower::ServiceExt;

use super::access::{self, Asker, Peer, Permission, Seat};
use super::check;
use super::denials::{Denials, Refusal};
use super::events::IsFeed;
use super::metrics::Metrics;
use super::problem::Problem;
use super::router::router;
use super::sources::Sources;
use super::watched::{Activity, Turn};
use crate::model::Act;
use crate::task::panic_message;

/// Answers requests. Shared by all connections.
pub struct Desk {
    sources: Sources,
    pub metrics: Metrics,
    pub denials: Denials,
    router: Router,
}

/// What hyper drives for one connection.
pub struct Service {
    pub desk: Arc<Desk>,
    pub seat: Arc<Seat>,
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

    /// Notes that somebody was refused.
    fn refused(&self, asker: &Asker, refusal: Refusal) {
        self.metrics.denied(asker.peer, refusal);
        self.denials.note(asker, refusal);
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

type Answered = Result<Response<Reply>, Infallible>;

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = Either<Ready<Answered>, Pin<Box<dyn Future<Output = Answered> + Send>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let turn = Turn::begin(&self.activity);
        let asker = match self.admit(&request) {
            Ok(asker) => asker,
            Err(problem) => return Either::Left(ready(Ok(problem_reply(problem, turn)))),
        };
        let may_ask = asker.permissions.has(Permission::Ask);
        match may_ask.then(|| self.desk.check(&request)).flatten() {
            Some(Ok(body)) => {
                self.desk.metrics.checks_answered.inc();
                Either::Left(ready(Ok(json_reply(body, turn))))
            }
            Some(Err(problem)) => {
                self.desk.metrics.answered("/v1/check", problem.status().as_u16());
                Either::Left(ready(Ok(problem_reply(problem, turn))))
            }
            None => Either::Right(Box::pin(self.route(asker, request, turn))),
        }
    }
}

impl Service {
    /// Who asks. Over the unix socket that was settled when it was opened.
    fn admit(&self, request: &Request<Incoming>) -> Result<Asker, Problem> {
        if let Peer::Unix { .. } = self.seat.peer() {
            return Ok(self.seat.asker());
        }
        access::admit(&self.seat, request).inspect_err(|problem| {
            self.desk.metrics.answered("refused", problem.status().as_u16());
            self.desk.refused(&self.seat.asker(), Refusal::of_status(problem.status()));
        })
    }

    /// The long way, which decides by the route whether it is permitted.
    fn route(
        &self,
        mut asker: Asker,
        mut request: Request<Incoming>,
        turn: Turn,
    ) -> impl Future<Output = Answered> + Send + use<> {
        let desk = Arc::clone(&self.desk);
        asker.seat = Some(Arc::clone(&self.seat));
        request.extensions_mut().insert(asker.clone());
        async move {
            let response = Arc::clone(&desk).route(request.map(Body::new)).await;
            if let Some(refusal) = response.extensions().get::<Refusal>() {
                desk.refused(&asker, *refusal);
            }
            turn.set_feed(response.extensions().get::<IsFeed>().is_some());
            Ok(response.map(|body| Reply::new(Content::Router(body), turn)))
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
