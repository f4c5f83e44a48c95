//! `/v1/pomerium/bundle.zip`: users and groups for Pomerium's blob provider and
//! its external data sources.
//!
//! `directory`, `tenant` and `product` leave the other directories out, `id`
//! says what users are called: `email`, say, or `corp/email` for one directory
//! only.

use std::sync::Arc;

use axum::extract::{Extension, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, body::Body};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue};
use tokio::sync::Mutex;

use super::entity_tag::EntityTag;
use super::filter::PLACES;
use super::parameters::Parameters;
use super::problem::Problem;
use super::router::{Answer, Desk};
use super::scope;
use super::sources::Sources;
use crate::clock::Timestamp;
use crate::digest;
use crate::export::pomerium::bundle;
use crate::export::pomerium::people::{IdMode, Scope};
use crate::index::View;
use crate::task;

/// The parameters beside the scope's.
const ID: &str = "id";
const MAX_AGE: &str = "max_age";

/// Bundles that are kept: for so many kinds of askers.
const KEPT_MAX: usize = 4;

/// Bundles made before. Whoever asks for another waits until one is made: each
/// takes as much memory as it is large.
#[derive(Clone, Default)]
struct Bundles(Arc<Mutex<Vec<Made>>>);

#[derive(Clone)]
struct Made {
    scope: Scope,
    /// Of the directories that it is made of.
    versions: Vec<Version>,
    zip: Bytes,
    tag: EntityTag,
    changed_at: Option<Timestamp>,
}

/// What tells the content of a directory from any other that this process saw.
type Version = (u64, usize, usize, usize);

/// The routes of Pomerium.
pub fn routes() -> Router<Desk> {
    Router::new()
        .route("/v1/pomerium/bundle.zip", get(get_bundle))
        .layer(Extension(Bundles::default()))
}

async fn get_bundle(
    State(desk): State<Desk>,
    Extension(bundles): Extension<Bundles>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Answer {
    let known = [PLACES.as_slice(), &[ID, MAX_AGE]].concat();
    let lists = [PLACES.as_slice(), &[ID]].concat();
    let parameters = Parameters::parse_with_lists(query.as_deref(), &known, &lists)?;
    let view = desk.sources.view.load();
    let names = scope::read(&desk.sources, &view, &parameters)?;
    let scope = modes(&names, parameters.list(ID).unwrap_or_default())?;
    let made = bundles.made(&desk.sources, view, scope).await?;
    let response = made.tag.unless_held(&headers).unwrap_or_else(|| {
        let body = ([(CONTENT_TYPE, "application/zip")], Body::from(made.zip));
        made.tag.mark(body.into_response())
    });
    Ok(dated(response, made.changed_at))
}

impl Bundles {
    async fn made(
        &self,
        sources: &Sources,
        view: Arc<View>,
        scope: Scope,
    ) -> Result<Made, Problem> {
        let versions = versions(&view, &scope);
        let mut kept = self.0.lock().await;
        let before = kept.iter().position(|made| made.scope == scope);
        let before = before.map(|at| kept.remove(at));
        let made = match before {
            Some(made) if made.versions == versions => made,
            before => {
                let sources = sources.clone();
                let work = move || make(&sources, &view, scope, versions, before);
                task::blocking("pack a bundle", work).await.map_err(Problem::internal)??
            }
        };
        kept.push(made.clone());
        let surplus = kept.len().saturating_sub(KEPT_MAX);
        kept.drain(..surplus);
        Ok(made)
    }
}

fn make(
    sources: &Sources,
    view: &View,
    scope: Scope,
    versions: Vec<Version>,
    before: Option<Made>,
) -> Result<Made, Problem> {
    let zip = bundle::pack(view, &scope).map_err(Problem::internal)?;
    let tag = EntityTag::new(&digest::sha256_hex(&zip));
    // What was packed again and is the same did not change.
    let changed_at = match before.filter(|before| before.tag == tag) {
        Some(before) => before.changed_at,
        None => {
            let last = versions.iter().map(|(seq, ..)| *seq).max().unwrap_or_default();
            sources.journal.time_of(last).map_err(Problem::unreadable)?
        }
    };
    Ok(Made { scope, versions, zip: Bytes::from(zip), tag, changed_at })
}

fn versions(view: &View, scope: &Scope) -> Vec<Version> {
    let directories = scope.keys().filter_map(|name| view.directory(name));
    directories
        .map(|directory| {
            let (users, groups) = (directory.user_count(), directory.group_count());
            (directory.last_seq(), users, groups, directory.membership_count())
        })
        .collect()
}

/// What the users of each directory are called.
fn modes(names: &[String], asked: Vec<&str>) -> Result<Scope, Problem> {
    let wrong = |error: String| {
        Problem::bad_request(format!("the parameter `id` is wrong: {error}")).hint(format!(
            "{}, for one directory with its name before it: corp/email",
            IdMode::HINT
        ))
    };
    let mut scope: Scope = names.iter().map(|name| (name.clone(), IdMode::default())).collect();
    let (narrow, wide): (Vec<&str>, Vec<&str>) =
        asked.into_iter().partition(|text| text.contains('/') && !text.starts_with("attribute:"));
    if let [_, second, ..] = wide.as_slice() {
        return Err(wrong(format!("`{}` is a second one", second.escape_debug())));
    }
    for text in wide {
        let mode = IdMode::parse(text).map_err(wrong)?;
        scope.values_mut().for_each(|one| *one = mode.clone());
    }
    for text in narrow {
        let (name, mode) = text.split_once('/').unwrap_or_default();
        let place = scope.get_mut(name).ok_or_else(|| {
            wrong(format!("the bundle has no directory `{}`", name.escape_debug()))
        })?;
        *place = IdMode::parse(mode).map_err(wrong)?;
    }
    Ok(scope)
}

fn dated(mut response: Response, at: Option<Timestamp>) -> Response {
    let date = at.and_then(|at| HeaderValue::from_str(&crate::retry::to_http_date(at)?).ok());
    if let Some(date) = date {
        response.headers_mut().insert(LAST_MODIFIED, date);
    }
    response
}
