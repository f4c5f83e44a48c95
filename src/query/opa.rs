//! `/v1/opa/bundle.tar.gz`: memberships as a bundle for Open Policy Agent.
//!
//! The entity tag names the state that OPA holds. Asked with it, the answer is
//! 304 as long as nothing in scope changed, a delta bundle (`patch.json`) when
//! the journal tells what did and `Prefer: modes=snapshot,delta` allows it, and
//! the whole otherwise. With `Prefer: wait=N` the 304 is put off until something
//! changes. One tag names one state, whether it was reached by a delta or not.
//!
//! `/v1/opa` tells how the pushers fare.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::sync::{OnceCell, Semaphore};
use utoipa::ToSchema;

use super::entity_tag::{EntityTag, Held};
use super::filter;
use super::objects::unknown_directory;
use super::parameters::Parameters;
use super::problem::Problem;
use super::router::{Answer, Desk, json_bytes};
use super::sources::Sources;
use crate::clock::{self, Duration, Instant};
use crate::export::opa::State as DocumentState;
use crate::export::opa::{
    Build, Builds, Change, Feed, FeedError, Place, Places, PushStatus, Revision, Scope,
    delta_bundle,
};
use crate::sync::status::Statuses;
use crate::task;

/// OPA takes a bundle for one that can be waited for by its type alone
/// (`download.go`: `isLongPollSupported`).
const BUNDLE: &str = "application/vnd.openpolicyagent.bundles";
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How often those who wait look whether directories were confirmed again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A bundle must be read within this.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
const WAITING_MAX: usize = 256;
/// Comparisons at once.
const COMPARING_MAX: usize = 2;
/// Answers that are kept for others who hold the same.
const KEPT: usize = 16;

/// The routes of this part.
pub fn routes() -> Router<Desk> {
    Router::new().route("/v1/opa/bundle.tar.gz", get(get_bundle)).route("/v1/opa", get(get_pushers))
}

async fn get_bundle(
    State(desk): State<Desk>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Answer {
    let scope = read_scope(&desk.sources, query.as_deref())?;
    desk.bundles.answer(&desk.sources, &Arc::new(scope), &headers).await
}

async fn get_pushers(State(desk): State<Desk>, RawQuery(query): RawQuery) -> Answer {
    Parameters::parse(query.as_deref(), &[])?;
    let body = PushersBody { pushers: desk.sources.pushers.all() };
    Ok(json_bytes(serde_json::to_vec(&body).map_err(Problem::internal)?))
}

/// All pushers, by name.
#[derive(Serialize, ToSchema)]
#[schema(as = OpaPushers)]
pub struct PushersBody {
    pushers: Vec<PushStatus>,
}

/// All configured directories, as exports know them.
#[derive(Clone)]
pub struct Directories(pub Statuses);

impl Places for Directories {
    fn all(&self) -> Vec<Place> {
        let all = self.0.all().into_iter();
        all.map(|one| Place::new(&one.name, &one.tenant, &one.product, one.as_of)).collect()
    }
}

/// Hands out bundles. A cheap handle.
#[derive(Clone)]
pub struct Bundles {
    feed: Feed,
    builds: Builds,
    waiting: Arc<Semaphore>,
    comparing: Arc<Semaphore>,
    compared: Arc<Mutex<Vec<Compared>>>,
    counts: BundleCounts,
}

/// What changed from one state to another, once somebody asked.
#[derive(Clone)]
struct Compared {
    from: Revision,
    to: Revision,
    outcome: Arc<OnceCell<Outcome>>,
}

#[derive(Clone)]
enum Outcome {
    Nothing,
    Delta(Bytes),
    Whole,
}

/// What the asker would like (RFC 7240, in the form that OPA writes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wish {
    deltas: bool,
    wait: Duration,
}

impl Bundles {
    pub fn new(sources: &Sources, counts: BundleCounts) -> Bundles {
        let places = Arc::new(Directories(sources.statuses.clone()));
        let feed = Feed::new(Arc::clone(&sources.view), Arc::clone(&sources.journal), places);
        Bundles {
            feed,
            builds: Builds::new(sources.shutdown.clone()),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            comparing: Arc::new(Semaphore::new(COMPARING_MAX)),
            compared: Arc::default(),
            counts,
        }
    }

    async fn answer(&self, sources: &Sources, scope: &Arc<Scope>, headers: &HeaderMap) -> Answer {
        let (wish, held) = (Wish::of(headers), Held::of(headers));
        let from = held.tags().iter().find_map(|tag| tag.as_str().parse::<Revision>().ok());
        let deadline = clock::instant() + wish.wait;
        let mut moved = self.feed.moved();
        let _waiting = self.take_place(wish)?;
        loop {
            moved.borrow_and_update();
            let state = self.state(scope).await?;
            let tag = EntityTag::new(&state.revision.to_string());
            let Some(from) = from else {
                return match tag.unless_held(headers) {
                    Some(response) => Ok(response),
                    None => self.whole(sources, state, 0),
                };
            };
            match self.compare(from, &state).await? {
                Outcome::Delta(bytes) if wish.deltas => return Ok(self.delta(&tag, bytes)),
                Outcome::Delta(_) | Outcome::Whole => return self.whole(sources, state, from.seq),
                Outcome::Nothing => {}
            }
            let seen = from.ages;
            tokio::select! {
                _ = moved.changed() => {}
                () = self.aged(scope, seen) => {}
                () = tokio::time::sleep_until(deadline) => return Ok(self.unchanged(from)),
                () = sources.shutdown.requested() => return Ok(self.unchanged(from)),
            }
        }
    }

    /// A place among those who wait.
    fn take_place(&self, wish: Wish) -> Result<Option<Waiting>, Problem> {
        if wish.wait.is_zero() {
            return Ok(None);
        }
        let busy = |_| {
            let detail = format!("{WAITING_MAX} wait for bundles already");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).header(RETRY_AFTER, "5")
        };
        let permit = Arc::clone(&self.waiting).try_acquire_owned().map_err(busy)?;
        self.counts.waiting.inc();
        Ok(Some(Waiting { gauge: self.counts.waiting.clone(), _permit: permit }))
    }

    async fn state(&self, scope: &Arc<Scope>) -> Result<DocumentState, Problem> {
        let (feed, scope) = (self.feed.clone(), Arc::clone(scope));
        let state = task::blocking("look what is to be exported", move || feed.state(&scope));
        Ok(state.await.map_err(Problem::internal)??)
    }

    /// What changed; many who hold the same share the answer.
    async fn compare(&self, from: Revision, state: &DocumentState) -> Result<Outcome, Problem> {
        let outcome = self.shared(from, state.revision);
        let made = outcome.get_or_try_init(|| async {
            let _turn = self.comparing.acquire().await.map_err(Problem::internal)?;
            let (feed, state) = (self.feed.clone(), state.clone());
            let compared =
                task::blocking("compare exports", move || compare(&feed, from, &state)).await;
            compared.map_err(Problem::internal)?
        });
        made.await.cloned()
    }

    fn shared(&self, from: Revision, to: Revision) -> Arc<OnceCell<Outcome>> {
        let mut all = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = all.iter().find(|one| one.from == from && one.to == to) {
            return Arc::clone(&found.outcome);
        }
        if all.len() >= KEPT {
            all.remove(0);
        }
        let outcome = Arc::<OnceCell<Outcome>>::default();
        all.push(Compared { from, to, outcome: Arc::clone(&outcome) });
        outcome
    }

    /// Returns when a directory was confirmed again, as far as that is told.
    async fn aged(&self, scope: &Scope, seen: u64) {
        while Place::ages(&self.feed.places(scope)) == seen {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn unchanged(&self, held: Revision) -> Response {
        self.counts.count(UNCHANGED);
        EntityTag::new(&held.to_string()).not_modified()
    }

    fn delta(&self, tag: &EntityTag, bytes: Bytes) -> Response {
        self.counts.count(DELTA);
        self.counts.add_bytes(DELTA, bytes.len());
        tag.mark(bundle(Body::from(bytes)))
    }

    fn whole(&self, sources: &Sources, state: DocumentState, seq: u64) -> Answer {
        let Some(build) = self.builds.open(state, seq) else {
            let detail = "several long bundles are being read already";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
                .header(RETRY_AFTER, "5"));
        };
        self.counts.count(SNAPSHOT);
        let tag = EntityTag::new(&build.revision.to_string());
        let reading = Reading {
            build,
            next: 0,
            deadline: clock::instant() + PATIENCE,
            shutdown: sources.shutdown.clone(),
            counts: self.counts.clone(),
        };
        let chunks =
            futures_util::stream::unfold(
                Some(reading),
                |reading| async move { reading?.next().await },
            );
        Ok(tag.mark(bundle(Body::from_stream(chunks))))
    }
}

fn compare(feed: &Feed, from: Revision, state: &DocumentState) -> Result<Outcome, Problem> {
    Ok(match feed.change(from, state)? {
        Change::Nothing => Outcome::Nothing,
        Change::Patch(ops) => {
            let bytes = delta_bundle(&ops, state.revision).map_err(Problem::internal)?;
            Outcome::Delta(bytes.into())
        }
        Change::Whole(reason) => {
            tracing::debug!(reason, "a bundle is sent whole");
            Outcome::Whole
        }
    })
}

fn bundle(body: Body) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(BUNDLE)),
        (VARY, HeaderValue::from_static("Prefer")),
    ];
    (headers, body).into_response()
}

/// Somebody waits as long as this lives.
struct Waiting {
    gauge: Gauge,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// One who reads a bundle, perhaps while it is made.
struct Reading {
    build: Arc<Build>,
    next: usize,
    deadline: Instant,
    shutdown: task::Shutdown,
    counts: BundleCounts,
}

/// A chunk, or the error that breaks the connection off, and what comes after.
type Step = (Result<Bytes, Problem>, Option<Reading>);

impl Reading {
    async fn next(mut self) -> Option<Step> {
        if clock::instant() > self.deadline {
            let detail = "the bundle was not read in time";
            return Some((Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "slow", detail)), None));
        }
        let chunk = tokio::select! {
            chunk = self.build.chunk(self.next) => chunk,
            () = self.shutdown.requested() => Err("the daemon stops".to_owned()),
        };
        match chunk {
            Ok(Some(chunk)) => {
                self.next += 1;
                self.counts.add_bytes(SNAPSHOT, chunk.len());
                Some((Ok(chunk), Some(self)))
            }
            Ok(None) => None,
            Err(reason) => Some((Err(Problem::internal(reason)), None)),
        }
    }
}

impl Wish {
    fn of(headers: &HeaderMap) -> Wish {
        let mut wish = Wish::default();
        let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        for word in values.flat_map(|value| value.split([';', ','])).map(str::trim) {
            match word.split_once('=') {
                Some(("wait", seconds)) => {
                    let seconds = seconds.trim().parse().unwrap_or_default();
                    wish.wait = Duration::from_secs(seconds).min(WAIT_MAX);
                }
                // `modes=snapshot,delta` has a comma of its own.
                Some(("modes", "delta")) => wish.deltas = true,
                None if word == "delta" => wish.deltas = true,
                _ => {}
            }
        }
        wish
    }
}

fn read_scope(sources: &Sources, query: Option<&str>) -> Result<Scope, Problem> {
    let [directory, tenant, product] = filter::PLACES;
    let known = [directory, tenant, product, "group_prefix"];
    let parameters = Parameters::parse_with_lists(query, &known, &filter::PLACES)?;
    let filter = filter::read(&parameters)?;
    let mut named = filter.directories.iter().flatten();
    if let Some(unknown) = named.find(|name| sources.statuses.get(name).is_none()) {
        return Err(unknown_directory(unknown));
    }
    let (directories, tenants, products) = (filter.directories, filter.tenants, filter.products);
    let scope = Scope { directories, tenants, products, group_prefix: None };
    let is_narrow = scope != Scope::default();
    if is_narrow && !Directories(sources.statuses.clone()).all().iter().any(|one| scope.has(one)) {
        return Err(Problem::unknown("no directory is of that tenant and product")
            .hint("/v1/directories lists them"));
    }
    Ok(scope.with_group_prefix(parameters.text("group_prefix")))
}

impl From<FeedError> for Problem {
    fn from(error: FeedError) -> Problem {
        match error {
            FeedError::Journal(error) => error.into(),
            FeedError::Record(error) => Problem::internal(error),
        }
    }
}

/// What was handed out, for `/metrics`.
#[derive(Clone)]
pub struct BundleCounts {
    bundles: Family<Kind, Counter>,
    bytes: Family<Kind, Counter>,
    waiting: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

const SNAPSHOT: &str = "snapshot";
const DELTA: &str = "delta";
const UNCHANGED: &str = "unchanged";

impl BundleCounts {
    pub fn new(registry: &mut Registry) -> BundleCounts {
        let counts = BundleCounts {
            bundles: Family::default(),
            bytes: Family::default(),
            waiting: Gauge::default(),
        };
        for kind in [SNAPSHOT, DELTA, UNCHANGED] {
            drop(counts.bundles.get_or_create(&Kind { kind }));
        }
        for kind in [SNAPSHOT, DELTA] {
            drop(counts.bytes.get_or_create(&Kind { kind }));
        }
        let BundleCounts { bundles, bytes, waiting } = counts.clone();
        registry.register("opa_bundles", "Answers to OPAs that fetch bundles", bundles);
        registry.register("opa_bundle_bytes", "Bytes of bundles sent to OPAs", bytes);
        registry.register("opa_waiting", "OPAs that wait for a change", waiting);
        counts
    }

    fn count(&self, kind: &'static str) {
        self.bundles.get_or_create(&Kind { kind }).inc();
    }

    fn add_bytes(&self, kind: &'static str, bytes: usize) {
        self.bytes.get_or_create(&Kind { kind }).inc_by(bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(values: &[&str]) -> (bool, u64) {
        let value = |text: &&str| (http::HeaderName::from_static("prefer"), text.parse().unwrap());
        let wish = Wish::of(&values.iter().map(value).collect());
        (wish.deltas, wish.wait.as_secs())
    }

    #[test]
    fn preferences_are_read_as_opa_writes_them() {
        assert_eq!(wish(&["modes=snapshot,delta;wait=10"]), (true, 10));
        assert_eq!(wish(&["modes=snapshot,delta"]), (true, 0));
        assert_eq!(wish(&["modes=snapshot"]), (false, 0));
        assert_eq!(wish(&["modes=delta", "wait=5"]), (true, 5));
        assert_eq!(wish(&["wait=100000"]), (false, 60));
        assert_eq!(wish(&["wait=soon", "x"]), (false, 0));
        assert_eq!(wish(&[]), (false, 0));
    }
}
