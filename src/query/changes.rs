//! What a poll would change and what is held: counts, then the changes in
//! words, page by page.

use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::directories::json_response;
use super::directory::{CountsBody, HoldBody};
use super::freshness::Freshness;
use super::parameters::Parameters;
use super::problem::Problem;
use super::sources::{HeldChanges, Page, Plan, Row, Sources};
use crate::clock;

/// How many changes a page has when the asker does not say.
const DEFAULT_LIMIT: usize = 100;

/// What a poll would change.
#[derive(Serialize, ToSchema)]
#[schema(as = Plan)]
pub(super) struct PlanBody<'a> {
    directory: &'a str,
    /// Of all changes.
    counts: CountsBody,
    applies: AppliesBody,
    /// Why a part would be held, in one line; `null` when nothing would.
    #[schema(required)]
    held: Option<&'a str>,
    #[schema(required)]
    hold: Option<HoldBody<'a>>,
    #[serde(flatten)]
    rows: RowsBody,
    seq: u64,
}

/// What would not be held.
#[derive(Serialize, ToSchema)]
#[schema(as = Applies)]
struct AppliesBody {
    counts: CountsBody,
}

/// What a directory holds.
#[derive(Serialize, ToSchema)]
#[schema(as = HeldChanges)]
pub(super) struct HeldBody<'a> {
    directory: &'a str,
    hold: HoldBody<'a>,
    #[serde(flatten)]
    rows: RowsBody,
    /// Why no change can be listed, and how that ends.
    #[schema(required)]
    unlisted: Option<&'a str>,
    #[serde(flatten)]
    freshness: Freshness,
    seq: u64,
}

/// A page of changes.
#[derive(Serialize, ToSchema)]
#[schema(as = ChangeRows)]
struct RowsBody {
    changes: Vec<RowBody>,
    /// Of all pages.
    total: u64,
    /// Left out on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

/// One change.
#[derive(Serialize, ToSchema)]
#[schema(as = ChangeRow)]
struct RowBody {
    /// Whether it is, or would be, held.
    held: bool,
    /// `removes user ada (u1) from group ops (g7)`.
    text: String,
}

/// Answers `POST /v1/directories/NAME/plan`: what a poll would change, with
/// the part that would be held first. A further page is of the same plan.
///
/// # Errors
/// When there is no such directory, it cannot be read, or the plan is gone.
pub async fn plan(sources: &Sources, name: &str, query: Option<&str>) -> Result<Response, Problem> {
    let page = page(query, "plan")?;
    let offset = page.offset;
    let plan = sources.operator.plan(name, page).await?;
    let Plan { id, applies, hold, rows, total } = plan;
    let all = hold.as_ref().map_or(applies, |hold| applies.plus(&hold.counts));
    let body = PlanBody {
        directory: name,
        counts: (&all).into(),
        applies: AppliesBody { counts: (&applies).into() },
        held: hold.as_ref().map(|hold| hold.reason.as_str()),
        hold: hold.as_ref().map(HoldBody::from),
        rows: RowsBody::new(rows, total, |shown| encode("plan", &id, offset + shown)),
        seq: sources.view.load().seq,
    };
    json_response(StatusCode::OK, &body)
}

/// Answers `GET /v1/directories/NAME/hold`.
///
/// # Errors
/// When there is no such directory, nothing is held, or the page is of
/// another set.
pub async fn hold(sources: &Sources, name: &str, query: Option<&str>) -> Result<Response, Problem> {
    let page = page(query, "hold")?;
    let offset = page.offset;
    let HeldChanges { summary, rows, total, unlisted } = sources.operator.hold(name, page).await?;
    let body = HeldBody {
        directory: name,
        hold: (&summary).into(),
        rows: RowsBody::new(rows, total, |shown| encode("hold", &summary.id, offset + shown)),
        unlisted: unlisted.as_deref(),
        freshness: Freshness::of(&sources.statuses, name, clock::now()),
        seq: sources.view.load().seq,
    };
    json_response(StatusCode::OK, &body)
}

impl RowsBody {
    /// The rows, how many there are in all, and where they go on.
    fn new(rows: Vec<Row>, total: u64, next: impl Fn(usize) -> (usize, String)) -> RowsBody {
        let (position, cursor) = next(rows.len());
        let more = !rows.is_empty() && (position as u64) < total;
        let changes = rows.into_iter().map(|Row { held, text }| RowBody { held, text });
        RowsBody { changes: changes.collect(), total, next_cursor: more.then_some(cursor) }
    }
}

fn page(query: Option<&str>, list: &str) -> Result<Page, Problem> {
    let parameters = Parameters::parse(query, &["limit", "cursor"])?;
    let limit = parameters.limit(DEFAULT_LIMIT)?;
    let Some(cursor) = parameters.text("cursor") else {
        return Ok(Page { of: None, offset: 0, limit });
    };
    let (of, offset) = decode(list, cursor).ok_or_else(|| {
        Problem::bad_request("the parameter `cursor` is not one of this list")
            .hint("pass on `next_cursor` of the page before, unchanged")
    })?;
    Ok(Page { of: Some(of), offset, limit })
}

/// The position, and the opaque text that stands for it.
fn encode(list: &str, id: &str, offset: usize) -> (usize, String) {
    (offset, URL_SAFE_NO_PAD.encode(format!("{list}\n{id}\n{offset}")))
}

fn decode(list: &str, text: &str) -> Option<(String, usize)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let mut parts = text.split('\n');
    let (tag, id, offset) = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
    (tag == list && parts.next().is_none()).then(|| (id.to_owned(), offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_good_for_its_own_list_only() {
        let (_, text) = encode("plan", "p1", 7);
        assert_eq!(decode("plan", &text), Some(("p1".to_owned(), 7)));
        assert_eq!(decode("hold", &text), None);
        assert_eq!(decode("plan", "!"), None);
        assert_eq!(decode("plan", ""), None);
    }
}
