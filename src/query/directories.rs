//! `/v1/directories`: how each directory fares, and what operators ask of it.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use utoipa::ToSchema;

use super::directory::DirectoryBody;
use super::objects::unknown_directory;
use super::parameters::Parameters;
use super::problem::Problem;
use super::sources::{OperatorError, Sources};
use crate::clock;
use crate::model::Caller;

/// How long a rejection stands.
const REJECTED_UNTIL: &str = "these removals stay out, and are not told again, until the \
                              provider's answer about them changes or you approve them";

/// All directories.
#[derive(Serialize, ToSchema)]
#[schema(as = Directories)]
pub(super) struct ListBody<'a> {
    directories: Vec<DirectoryBody<'a>>,
    total: usize,
    seq: u64,
}

/// One directory.
#[derive(Serialize, ToSchema)]
#[schema(as = DirectoryAnswer)]
pub(super) struct OneBody<'a> {
    #[serde(flatten)]
    directory: DirectoryBody<'a>,
    seq: u64,
}

/// A poll is on its way.
#[derive(Serialize, ToSchema)]
#[schema(as = SyncRequested)]
pub(super) struct SyncBody<'a> {
    directory: &'a str,
    requested: bool,
    seq: u64,
}

/// What became of a held set.
#[derive(Serialize, ToSchema)]
#[schema(as = Decided)]
pub(super) struct DecisionBody<'a> {
    directory: &'a str,
    /// Of the set.
    id: &'a str,
    decision: Decision,
    /// How long a rejection stands, in words; `null` for an approval.
    #[schema(required)]
    until: Option<&'static str>,
    seq: u64,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Decision)]
enum Decision {
    Approved,
    Rejected,
}

/// Answers `/v1/directories`.
///
/// # Errors
/// When a parameter is given: it takes none.
pub fn list(sources: &Sources, query: Option<&str>) -> Result<Response, Problem> {
    Parameters::parse(query, &[])?;
    let view = sources.view.load();
    let (all, now) = (sources.statuses.all(), clock::now());
    let directories = all.iter().map(|status| DirectoryBody::of(&view, status, now)).collect();
    json_response(StatusCode::OK, &ListBody { directories, total: all.len(), seq: view.seq })
}

/// Answers `/v1/directories/NAME`.
///
/// # Errors
/// When there is none of that name.
pub fn one(sources: &Sources, name: &str, query: Option<&str>) -> Result<Response, Problem> {
    Parameters::parse(query, &[])?;
    let status = sources.statuses.get(name).ok_or_else(|| unknown_directory(name))?;
    let view = sources.view.load();
    let directory = DirectoryBody::of(&view, &status, clock::now());
    json_response(StatusCode::OK, &OneBody { directory, seq: view.seq })
}

/// Answers `POST /v1/directories/NAME/sync`: the poll is on its way.
///
/// # Errors
/// When there is no such directory.
pub async fn sync(sources: &Sources, name: &str, by: Caller) -> Result<Response, Problem> {
    sources.operator.sync(name, by).await?;
    let seq = sources.view.load().seq;
    json_response(StatusCode::ACCEPTED, &SyncBody { directory: name, requested: true, seq })
}

/// Answers `POST /v1/directories/NAME/hold/ID/approve` and `…/reject`.
///
/// # Errors
/// When that very set is not held.
pub async fn decide(
    sources: &Sources,
    name: &str,
    id: &str,
    approve: bool,
    by: Caller,
) -> Result<Response, Problem> {
    let (decision, until) = if approve {
        sources.operator.approve(name, id, by).await?;
        (Decision::Approved, None)
    } else {
        sources.operator.reject(name, id, by).await?;
        (Decision::Rejected, Some(REJECTED_UNTIL))
    };
    let seq = sources.view.load().seq;
    json_response(StatusCode::OK, &DecisionBody { directory: name, id, decision, until, seq })
}

impl From<OperatorError> for Problem {
    fn from(error: OperatorError) -> Problem {
        let detail = error.to_string();
        match error {
            OperatorError::UnknownDirectory(name) => unknown_directory(&name),
            OperatorError::NothingHeld(_) => {
                Problem::new(StatusCode::NOT_FOUND, "nothing-held", detail)
            }
            OperatorError::OtherHold { held, .. } => {
                Problem::new(StatusCode::CONFLICT, "other-hold", detail)
                    .hint("look at what is held now before deciding about it")
                    .member("held", held)
            }
            OperatorError::PlanGone(_) => Problem::new(StatusCode::GONE, "plan-gone", detail)
                .hint("ask for the plan again, without a cursor"),
            OperatorError::NotReadAgain(_) => {
                Problem::new(StatusCode::CONFLICT, "not-read-again", detail)
                    .hint("`rosterd sync NAME` reads it now")
            }
            OperatorError::Failed(_) => Problem::new(StatusCode::BAD_GATEWAY, "failed", detail)
                .hint("`rosterd doctor` shows what is missing"),
        }
    }
}

/// An answer whose members are ordered by name.
pub(super) fn json_response(
    status: StatusCode,
    body: &impl Serialize,
) -> Result<Response, Problem> {
    let body = serde_json::to_value(body).map_err(Problem::internal)?;
    Ok((status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response())
}
