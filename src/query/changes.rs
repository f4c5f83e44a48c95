//! What a poll would change and what is held: counts, then the changes in
//! words, page by page.

use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::{Value, json};

use super::directories::{counts, hold_body, json_response};
use super::freshness::Freshness;
use super::parameters::Parameters;
use super::problem::Problem;
use super::sources::{HeldChanges, Page, Plan, Row, Sources};
use crate::clock;

/// How many changes a page has when the asker does not say.
const DEFAULT_LIMIT: usize = 100;

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
    let mut body = json!({
        "directory": name,
        "counts": counts(&all),
        "applies": { "counts": counts(&applies) },
        "held": hold.as_ref().map(|hold| &hold.reason),
        "hold": hold.as_ref().map(hold_body),
        "seq": sources.view.load().seq,
    });
    write_rows(&mut body, rows, total, |shown| encode("plan", &id, offset + shown));
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
    let freshness = Freshness::of(&sources.statuses, name, clock::now());
    let mut body = json!({
        "directory": name,
        "hold": hold_body(&summary),
        "seq": sources.view.load().seq,
        "as_of": freshness.as_of.map(|at| at.to_string()),
        "age_seconds": freshness.age_seconds,
        "unlisted": unlisted,
    });
    write_rows(&mut body, rows, total, |shown| encode("hold", &summary.id, offset + shown));
    json_response(StatusCode::OK, &body)
}

/// Adds the rows, how many there are in all, and where they go on.
fn write_rows(
    body: &mut Value,
    rows: Vec<Row>,
    total: u64,
    next: impl Fn(usize) -> (usize, String),
) {
    let (position, cursor) = next(rows.len());
    if !rows.is_empty() && (position as u64) < total {
        body["next_cursor"] = cursor.into();
    }
    let row = |row: Row| json!({ "held": row.held, "text": row.text });
    body["changes"] = rows.into_iter().map(row).collect();
    body["total"] = total.into();
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
