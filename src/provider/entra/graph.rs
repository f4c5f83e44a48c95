//! Graph's ways: what its answers mean, its pages, and its quota.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value as Json;
use url::Url;

use super::auth::{self, Access};
use super::config::{EntraConfig, under};
use crate::clock::Duration;
use crate::provider::http::{
    Allowance, Answer, Budget, Call, Client, Quota, Scope, Tokens, Transport, Vendor, Verdict,
    ordinary, retry_after,
};
use crate::provider::{Patience, PullError};
use crate::retry;

pub(super) const NAME: &str = "Microsoft Graph";
pub(super) const BATCH: &str = "POST /$batch";
const VERSION: &str = "v1.0";
/// Resource units of one application in one tenant, in ten seconds (service
/// limits of identity and access): small tenants' until the size is known.
const WINDOW: Duration = Duration::from_secs(10);
const UNITS_SMALL: f64 = 3500.0;
const UNITS_MEDIUM: f64 = 5000.0;
const UNITS_LARGE: f64 = 8000.0;

/// One tenant's Graph, asked under one credential.
pub(super) struct Graph {
    client: Client,
    pub(super) tokens: Arc<Tokens<Access>>,
    root: Url,
    login: Transport,
}

/// One page of a list or of a round of changes.
#[derive(Debug)]
pub(super) struct Page {
    pub value: Vec<Json>,
    pub end: End,
}

/// How a page ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// There is more.
    Next(Url),
    /// The end of a round of changes, and where the next one starts.
    Delta(Url),
    /// The end of a list.
    Last,
}

#[derive(Deserialize)]
struct WirePage {
    value: Option<Vec<Json>>,
    #[serde(rename = "@odata.nextLink")]
    next: Option<String>,
    #[serde(rename = "@odata.deltaLink")]
    delta: Option<String>,
    error: Option<Json>,
}

impl Graph {
    pub(super) fn new(config: &EntraConfig, patience: Patience) -> Graph {
        let access = Access::new(config, patience);
        let login = access.transport().clone();
        let tokens = Arc::new(Tokens::new(access));
        let transport = Transport::new(&config.http, &config.graph, patience);
        let allowances = [Allowance { bucket: "", units: UNITS_SMALL, per: WINDOW }];
        let who = format!("{} {}", config.tenant_id, config.proof.client_id());
        let budget = Budget::of(&config.http, &config.graph, who.as_bytes(), &allowances);
        let credential = Arc::clone(&tokens);
        let client = Client::new(&config.http, transport, Arc::new(Ways), credential, budget);
        Graph { client, tokens, root: under(&config.graph, VERSION), login }
    }

    /// The address of `path` (with its query) below the version.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn url(&self, path: &str) -> Result<Url, PullError> {
        let text = format!("{}/{path}", self.root);
        Url::parse(&text).map_err(|error| incomplete(format!("`{path}` is no address: {error}")))
    }

    pub(super) async fn send(&self, call: Call) -> Result<Answer, PullError> {
        // Ours is the work that can wait (Graph's throttling guidance).
        self.client.send(call.header("x-ms-throttle-priority", "Low")).await
    }

    /// Reads one page.
    ///
    /// # Errors
    /// What the answer means, when it is not a whole page.
    pub(super) async fn page(
        &self,
        endpoint: &'static str,
        url: Url,
        cost: f64,
    ) -> Result<Page, PullError> {
        let call = Call::get(endpoint, url).cost(cost);
        // Rounds of changes: only what changed, else everything ever set.
        let answer = self.send(call.header("prefer", "return=minimal")).await?;
        page_of(answer.json()?)
    }

    /// Reads the page at an address of an earlier poll, which may be of no use
    /// any more: `None` then.
    ///
    /// # Errors
    /// What the answer means otherwise, when it is not a whole page.
    pub(super) async fn remembered(
        &self,
        endpoint: &'static str,
        url: Url,
    ) -> Result<Option<Page>, PullError> {
        let answer = self.send(Call::get(endpoint, url).accept(&[400, 404, 410])).await?;
        if !answer.status.is_success() {
            return Ok(None);
        }
        page_of(answer.json()?).map(Some)
    }

    /// How many objects `path` has; `None` where counting is not offered.
    ///
    /// # Errors
    /// When there is no answer.
    pub(super) async fn count(
        &self,
        endpoint: &'static str,
        path: &str,
    ) -> Result<Option<u64>, PullError> {
        let call = Call::get(endpoint, self.url(&format!("{path}/$count"))?)
            .header("consistencylevel", "eventual")
            .accept(&[400, 403, 404, 501]);
        let answer = self.send(call).await?;
        if !answer.status.is_success() {
            return Ok(None);
        }
        Ok(count_of(&answer))
    }

    /// The permissions of the token in use, as far as it shows them.
    ///
    /// # Errors
    /// When no token can be had.
    pub(super) async fn roles(&self) -> Result<Option<Vec<String>>, PullError> {
        let (token, _) = self.tokens.current().await?;
        Ok(auth::roles(&token))
    }

    /// Requests sent since the last time this was asked.
    /// Requests sent so far in this crawl.
    pub(super) fn sent(&self) -> u64 {
        self.client.sent()
    }

    pub(super) fn take_audit(&self) -> BTreeMap<String, u64> {
        let mut sent = self.client.take_audit();
        sent.extend(self.login.take_audit());
        sent
    }
}

/// A page as Graph writes it.
///
/// # Errors
/// When it is not whole: an error in it, no list, or links that contradict
/// each other.
pub(super) fn page_of(wire: Json) -> Result<Page, PullError> {
    let wire: WirePage = serde_json::from_value(wire)
        .map_err(|e| incomplete(format!("a page is malformed: {e}")))?;
    if let Some(error) = wire.error {
        return Err(incomplete(format!("a page carries an error: {}", message(&error))));
    }
    let Some(value) = wire.value else {
        return Err(incomplete("a page has no `value`".to_owned()));
    };
    let address = |text: String| {
        Url::parse(&text).map_err(|e| incomplete(format!("a link is no address: {e}")))
    };
    let end = match (wire.next, wire.delta) {
        (Some(next), None) => End::Next(address(next)?),
        (None, Some(delta)) => End::Delta(address(delta)?),
        (None, None) => End::Last,
        (Some(_), Some(_)) => {
            return Err(incomplete(
                "a page says both that there is more and that it is the end".to_owned(),
            ));
        }
    };
    Ok(Page { value, end })
}

pub(super) fn incomplete(reason: String) -> PullError {
    PullError::Incomplete { what: NAME.to_owned(), reason }
}

/// `code: message` of an error object.
pub(super) fn message(error: &Json) -> String {
    let text = |name| error.get(name).and_then(Json::as_str).unwrap_or_default();
    format!("{}: {}", text("code"), text("message")).escape_debug().to_string()
}

/// The code of the error in an answer.
pub(super) fn code(body: &[u8]) -> Option<String> {
    let body: Json = serde_json::from_slice(body).ok()?;
    Some(body.get("error")?.get("code")?.as_str()?.to_owned())
}

/// Whether a refusal means that the token of a round of changes is too old:
/// `syncStateNotFound`, `resyncRequired` and their relatives.
pub(super) fn is_expired(status: u16, body: &[u8]) -> bool {
    let code = code(body).unwrap_or_default().to_ascii_lowercase();
    status == 410 || (status == 400 && (code.contains("syncstate") || code.contains("resync")))
}

/// What Graph's answers mean.
struct Ways;

impl Vendor for Ways {
    fn name(&self) -> &'static str {
        NAME
    }

    fn judge(&self, call: &Call, answer: &Answer) -> Verdict {
        let told = || told(answer);
        match answer.status.as_u16() {
            200 if call.endpoint == BATCH => match Statuses::of(answer) {
                Some(statuses) if statuses.any(401) => {
                    Verdict::Refused("a part of a batch was refused with 401".to_owned())
                }
                _ => Verdict::Good,
            },
            status @ (400 | 410) if is_expired(status, &answer.body) => {
                Verdict::Fatal(PullError::CursorExpired { reason: told() })
            }
            // No longer offered: a full crawl finds out.
            400 | 404 | 405 | 501 if call.endpoint.ends_with("/delta") => {
                Verdict::Fatal(PullError::CursorExpired { reason: told() })
            }
            401 => Verdict::Refused(told()),
            403 => Verdict::Fatal(PullError::Unauthorized {
                what: NAME.to_owned(),
                reason: told(),
                permission: permission(call.endpoint).map(str::to_owned),
            }),
            429 | 509 => Verdict::Throttled { until: retry_after(answer), scope: Scope::All },
            status if (400..500).contains(&status) && status != 408 => {
                Verdict::Fatal(incomplete(told()))
            }
            _ => ordinary(NAME, answer),
        }
    }

    fn quota(&self, call: &Call, answer: &Answer) -> Quota {
        let number = |name| answer.header(name).and_then(|text| text.trim().parse::<f64>().ok());
        let mut quota = Quota {
            charged: number("x-ms-resource-unit"),
            pressure: number("x-ms-throttle-limit-percentage"),
            ..Quota::default()
        };
        if call.endpoint == "GET /users/$count" && answer.status.is_success() {
            quota.limit = count_of(answer).map(units);
        }
        if call.endpoint == BATCH
            && let Some(statuses) = Statuses::of(answer)
            && let Some(delay) = statuses.longest_delay(answer)
        {
            // Parts are throttled one by one, and all share the quota.
            quota.remaining = Some(0.0);
            quota.reset = Some(answer.received.plus(delay));
        }
        quota
    }
}

/// Tenants are small below 50 users and large above 500.
fn units(users: u64) -> f64 {
    match users {
        0..50 => UNITS_SMALL,
        50..=500 => UNITS_MEDIUM,
        _ => UNITS_LARGE,
    }
}

fn count_of(answer: &Answer) -> Option<u64> {
    let text = std::str::from_utf8(&answer.body).ok()?;
    text.trim_start_matches('\u{feff}').trim().parse().ok()
}

/// Status, code, message, and the number that Microsoft's support asks for.
fn told(answer: &Answer) -> String {
    let error: Option<Json> = serde_json::from_slice(&answer.body).ok();
    let said = match error.as_ref().and_then(|body| body.get("error")) {
        Some(error) => message(error),
        None => answer.excerpt(),
    };
    let number = answer.header("request-id").unwrap_or("unknown").escape_debug().to_string();
    format!("it answers {}: {said} (request-id {number})", answer.status.as_u16())
}

/// The least application permission for an endpoint.
pub(super) fn permission(endpoint: &str) -> Option<&'static str> {
    let path = endpoint.split_once(" /").map_or("", |(_, path)| path);
    let collection = path.split('/').next().unwrap_or_default();
    match collection {
        "users" => Some("User.Read.All"),
        "groups" => Some("GroupMember.Read.All"),
        "servicePrincipals" => Some("Application.Read.All"),
        "devices" => Some("Device.Read.All"),
        _ => None,
    }
}

/// The parts of a batch, without their bodies.
#[derive(Deserialize)]
struct Statuses {
    responses: Vec<PartStatus>,
}

#[derive(Deserialize)]
struct PartStatus {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, Json>,
}

impl Statuses {
    fn of(answer: &Answer) -> Option<Statuses> {
        serde_json::from_slice(&answer.body).ok()
    }

    fn any(&self, status: u16) -> bool {
        self.responses.iter().any(|part| part.status == status)
    }

    /// How long the throttled parts ask to wait, the longest of them.
    fn longest_delay(&self, answer: &Answer) -> Option<Duration> {
        let throttled = self.responses.iter().filter(|part| matches!(part.status, 429 | 503));
        let delay = |part: &PartStatus| {
            let named =
                part.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("retry-after"));
            let text = match named.map(|(_, value)| value) {
                Some(Json::String(text)) => text.clone(),
                Some(Json::Number(number)) => number.to_string(),
                _ => return None,
            };
            retry::retry_after(&text, answer.received)
        };
        throttled.filter_map(delay).max()
    }
}

#[cfg(test)]
mod tests;
