//! Asks for rounds of changes: where they stand now, and what they tell.

use std::collections::BTreeMap;

use url::Url;

use super::changes::{Touched, TouchedGroups, Window};
use super::config::EntraConfig;
use super::crawl::{Reading, parse};
use super::graph::{End, Graph, incomplete, page_of};
use super::objects::{Kind, group_select};
use super::place::Links;
use crate::provider::PullError;
use crate::provider::http::{Call, Cursors};

/// The name of the collection of groups.
pub(super) const GROUPS: &str = "groups";
const GROUPS_DELTA: &str = "GET /groups/delta";

/// All rounds, read to their ends.
#[derive(Default)]
pub(super) struct Drained {
    pub touched: Vec<(Kind, Touched)>,
    pub groups: TouchedGroups,
    /// Where the next ones start.
    pub next: Links,
}

impl Drained {
    /// All that they told, as what is newer than lists.
    pub(super) fn window(&self) -> Window {
        Window::new(self.touched.iter().map(|(_, touched)| touched), &self.groups)
    }
}

/// Tokens for "from now on", by collection; `None` where Graph offers no
/// changes (Azure AD B2C, external tenants, some national clouds).
///
/// # Errors
/// When there is no answer.
pub(super) async fn latest(
    graph: &Graph,
    config: &EntraConfig,
) -> Result<Option<Links>, PullError> {
    let mut tokens = BTreeMap::new();
    for kind in config.kinds() {
        let query = format!(
            "{}/delta?$deltatoken=latest&$select={}",
            kind.path(),
            kind.select(&config.wanted)
        );
        let Some(token) = begin(graph, kind.delta_endpoint(), &query).await? else {
            return Ok(None);
        };
        tokens.insert(kind.path().to_owned(), token.to_string());
    }
    let select = group_select(&config.wanted);
    let query = format!("{GROUPS}/delta?$deltatoken=latest&$select={select},members");
    let Some(token) = begin(graph, GROUPS_DELTA, &query).await? else { return Ok(None) };
    tokens.insert(GROUPS.to_owned(), token.to_string());
    Ok(Some(tokens))
}

async fn begin(
    graph: &Graph,
    endpoint: &'static str,
    query: &str,
) -> Result<Option<Url>, PullError> {
    let call = Call::get(endpoint, graph.url(query)?)
        .header("prefer", "return=minimal")
        .accept(&[400, 403, 404, 405, 501]);
    let answer = graph.send(call).await?;
    if !answer.status.is_success() {
        tracing::info!(endpoint, status = answer.status.as_u16(), "changes are not offered there");
        return Ok(None);
    }
    let mut end = page_of(answer.json()?)?.end;
    let mut cursors = Cursors::new("changes");
    loop {
        let next = match end {
            End::Delta(token) => return Ok(Some(token)),
            End::Last => return Err(unended(endpoint)),
            End::Next(next) => next,
        };
        cursors.pass(next.as_str())?;
        end = graph.page(endpoint, next, 1.0).await?.end;
    }
}

/// Reads all rounds to their ends.
///
/// # Errors
/// [`PullError::CursorExpired`] when one of them is too old.
pub(super) async fn drain(reading: &mut Reading<'_>, rounds: &Links) -> Result<Drained, PullError> {
    let mut drained = Drained::default();
    for kind in reading.config.kinds() {
        let mut touched = Touched::default();
        let start = start(rounds, kind.path())?;
        let next = round(reading, kind.delta_endpoint(), start, |page| touched.take(page)).await?;
        drained.next.insert(kind.path().to_owned(), next.to_string());
        drained.touched.push((kind, touched));
    }
    let start = start(rounds, GROUPS)?;
    let wanted = &reading.config.wanted;
    let groups = &mut drained.groups;
    let next = round(reading, GROUPS_DELTA, start, |page| groups.take(wanted, page)).await?;
    drained.next.insert(GROUPS.to_owned(), next.to_string());
    Ok(drained)
}

/// As [`drain`], from links that may be too old or not there at all: `None` then.
///
/// # Errors
/// When a round cannot be read.
pub(super) async fn drain_earlier(
    reading: &mut Reading<'_>,
    links: &Links,
) -> Result<Option<Drained>, PullError> {
    if links.is_empty() {
        return Ok(None);
    }
    match drain(reading, links).await {
        Ok(drained) => Ok(Some(drained)),
        Err(PullError::CursorExpired { reason }) => {
            tracing::info!(reason, "changes can no longer be read from an earlier round on");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn start(rounds: &Links, name: &str) -> Result<Url, PullError> {
    match rounds.get(name) {
        Some(url) => parse(url),
        None => {
            Err(PullError::CursorExpired { reason: format!("changes of {name} were not followed") })
        }
    }
}

async fn round(
    reading: &mut Reading<'_>,
    endpoint: &'static str,
    start: Url,
    mut take: impl FnMut(&[serde_json::Value]) -> Result<(), PullError>,
) -> Result<Url, PullError> {
    let mut cursors = Cursors::new("changes");
    let mut url = start;
    loop {
        cursors.pass(url.as_str())?;
        let page = reading.graph.page(endpoint, url, 1.0).await?;
        take(&page.value)?;
        reading.sink.page(Vec::new());
        url = match page.end {
            End::Delta(next) => return Ok(next),
            End::Last => return Err(unended(endpoint)),
            End::Next(next) => next,
        };
    }
}

fn unended(endpoint: &str) -> PullError {
    incomplete(format!("{endpoint} ends without the token for the next round"))
}
