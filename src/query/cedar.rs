//! `/v1/cedar/entities` and `/v1/cedar/schema`: users and groups for Cedar.
//!
//! All of them, with `directory`, `tenant` and `product` to leave others out,
//! or with `user` one user and all groups that the user is in.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::entity_tag::EntityTag;
use super::filter::PLACES;
use super::parameters::Parameters;
use super::problem::Problem;
use super::resolve::{Kind, Search};
use super::router::{Answer, Desk};
use super::scope;
use super::sources::Sources;
use crate::clock::{self, Duration, Instant};
use crate::digest;
use crate::export::cedar::{self, Entities};
use crate::index::View;
use crate::task;

const USER: &str = "user";
const MAX_AGE: &str = "max_age";
const JSON: &str = "application/json";

/// Entities keep their view alive, so only so many go at once, and not for ever.
const AT_ONCE: usize = 8;
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// What is being sent.
#[derive(Clone)]
struct Sendings {
    free: Arc<Semaphore>,
    /// Of this process: versions of directories are told apart within it.
    process: u64,
}

impl Default for Sendings {
    fn default() -> Sendings {
        Sendings { free: Arc::new(Semaphore::new(AT_ONCE)), process: fastrand::u64(..) }
    }
}

/// The routes of Cedar.
pub fn routes() -> Router<Desk> {
    Router::new()
        .route("/v1/cedar/entities", get(get_entities))
        .route("/v1/cedar/schema", get(get_schema))
        .layer(Extension(Sendings::default()))
}

async fn get_entities(
    State(desk): State<Desk>,
    Extension(sendings): Extension<Sendings>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Answer {
    let known = [PLACES.as_slice(), &[USER, MAX_AGE]].concat();
    let parameters = Parameters::parse_with_lists(query.as_deref(), &known, &PLACES)?;
    if let Some(user) = parameters.text(USER) {
        if let Some(place) = PLACES.into_iter().find(|place| parameters.text(place).is_some()) {
            let detail = format!("the parameter `{place}` does not go with `user`");
            return Err(Problem::bad_request(detail).hint("narrow the user: directory/REF"));
        }
        let (user, max_age) = (user.to_owned(), parameters.duration(MAX_AGE)?);
        return of_user(desk, user, max_age, &headers).await;
    }
    let view = desk.sources.view.load();
    let names = scope::read(&desk.sources, &view, &parameters)?;
    let tag = sendings.tag(&view, &names);
    match tag.unless_held(&headers) {
        Some(response) => Ok(response),
        None => Ok(tag.mark(sendings.send(&desk.sources, view, names)?)),
    }
}

async fn get_schema(headers: HeaderMap, RawQuery(query): RawQuery) -> Answer {
    let parameters = Parameters::parse(query.as_deref(), &["format"])?;
    let (kind, body) = match parameters.text("format") {
        None | Some("json") => (JSON, format!("{:#}\n", cedar::json_schema())),
        Some("cedar") => ("text/plain; charset=utf-8", cedar::text_schema()),
        Some(other) => {
            let detail = format!("there is no format `{}`", other.escape_debug());
            return Err(Problem::bad_request(detail).hint("write `json` or `cedar`"));
        }
    };
    Ok(tagged(kind, body.into_bytes(), &headers))
}

async fn of_user(
    desk: Desk,
    user: String,
    max_age: Option<Duration>,
    headers: &HeaderMap,
) -> Answer {
    let work = move || -> Result<Vec<u8>, Problem> {
        let sources = &desk.sources;
        let view = sources.view.load();
        let now = clock::now();
        let search = Search {
            view: &view,
            statuses: &sources.statuses,
            max_age,
            now,
            then: None,
            only: None,
        };
        let found = search.one(Kind::User, &user)?;
        cedar::of_user(found.directory, found.slot).map_err(Problem::internal)
    };
    let body = task::blocking("answer a query", work).await.map_err(Problem::internal)??;
    Ok(tagged(JSON, body, headers))
}

fn tagged(kind: &'static str, body: Vec<u8>, headers: &HeaderMap) -> Response {
    let tag = EntityTag::new(&digest::sha256_hex(&body));
    tag.unless_held(headers)
        .unwrap_or_else(|| tag.mark(([(CONTENT_TYPE, kind)], body).into_response()))
}

impl Sendings {
    /// From what the directories are at, so that nothing need be made to know
    /// that nothing changed.
    fn tag(&self, view: &View, names: &[String]) -> EntityTag {
        let directories = names.iter().filter_map(|name| view.directory(name)).map(|directory| {
            (
                (directory.name(), directory.tenant(), directory.product(), directory.last_seq()),
                (directory.user_count(), directory.group_count(), directory.membership_count()),
            )
        });
        let state = (self.process, directories.collect::<Vec<_>>());
        EntityTag::new(&digest::sha256_hex(format!("{state:?}").as_bytes()))
    }

    fn send(
        &self,
        sources: &Sources,
        view: Arc<View>,
        names: Vec<String>,
    ) -> Result<Response, Problem> {
        let busy = |_| {
            let detail = format!("entities are being sent to {AT_ONCE} askers already");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).header(RETRY_AFTER, "5")
        };
        let permit = Arc::clone(&self.free).try_acquire_owned().map_err(busy)?;
        let sending = Sending {
            entities: Entities::new(view, names),
            deadline: clock::instant() + PATIENCE,
            sources: sources.clone(),
            _permit: permit,
        };
        let pieces =
            futures_util::stream::unfold(
                Some(sending),
                |sending| async move { sending?.next().await },
            );
        Ok(([(CONTENT_TYPE, JSON)], Body::from_stream(pieces)).into_response())
    }
}

struct Sending {
    entities: Entities,
    deadline: Instant,
    sources: Sources,
    _permit: OwnedSemaphorePermit,
}

/// A piece, or the error that breaks the connection off, and what comes after.
type Step = (Result<Bytes, Problem>, Option<Sending>);

impl Sending {
    async fn next(mut self) -> Option<Step> {
        if clock::instant() > self.deadline || self.sources.shutdown.is_requested() {
            let detail = "the entities were not read in time";
            return Some((Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "slow", detail)), None));
        }
        let made = task::blocking("make entities", move || (self.entities.piece(), self)).await;
        match made {
            Ok((Ok(piece), sending)) => Some((Ok(Bytes::from(piece?)), Some(sending))),
            Ok((Err(error), _)) => Some((Err(Problem::internal(error)), None)),
            Err(end) => Some((Err(Problem::internal(end)), None)),
        }
    }
}
