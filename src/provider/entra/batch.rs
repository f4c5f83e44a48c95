//! Twenty requests in one (`$batch`). Each part has its own status: what was
//! throttled or in trouble is asked again on its own.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::graph::{BATCH, Graph, incomplete, message};
use crate::clock::{self, Duration};
use crate::provider::PullError;
use crate::provider::http::Call;
use crate::retry::Growing;

/// As many as Graph takes.
pub(super) const PARTS_MAX: usize = 20;
/// So often parts are asked for while they are throttled or in trouble.
const ATTEMPTS_MAX: u32 = 8;
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// The answer to one part: one that is not asked again.
#[derive(Debug)]
pub(super) struct Part {
    pub status: u16,
    pub body: Json,
}

#[derive(Deserialize)]
struct WireBatch {
    responses: Option<Vec<WirePart>>,
}

#[derive(Deserialize)]
struct WirePart {
    id: String,
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, Json>,
    #[serde(default)]
    body: Json,
}

impl Graph {
    /// Asks for every address (below the version), and hands the answers back
    /// in the order of the addresses. `cost` is that of one part.
    ///
    /// # Errors
    /// When some parts cannot be had.
    pub(super) async fn batch(&self, paths: &[String], cost: f64) -> Result<Vec<Part>, PullError> {
        let mut answers: BTreeMap<usize, Part> = BTreeMap::new();
        let mut throttled = None;
        let mut delays = Growing::new(RETRY_FIRST, RETRY_MAX);
        for _ in 0..ATTEMPTS_MAX {
            let missing: Vec<usize> =
                (0..paths.len()).filter(|at| !answers.contains_key(at)).collect();
            if missing.is_empty() {
                break;
            }
            let slowed = self.ask(paths, &missing, cost, &mut answers).await?;
            let delay = delays.next(fastrand::f64());
            throttled = slowed.parts.then(|| clock::now().plus(delay));
            if answers.len() < paths.len() && !slowed.waits {
                tokio::time::sleep(delay).await;
            }
        }
        if answers.len() < paths.len() {
            let what = super::graph::NAME.to_owned();
            if let Some(until) = throttled {
                return Err(PullError::Throttled { what, until });
            }
            let reason = "parts of a batch are throttled or in trouble time and again".to_owned();
            return Err(PullError::Unreachable { what, reason });
        }
        Ok(answers.into_values().collect())
    }

    /// One round.
    async fn ask(
        &self,
        paths: &[String],
        missing: &[usize],
        cost: f64,
        answers: &mut BTreeMap<usize, Part>,
    ) -> Result<Slowed, PullError> {
        let requests: Vec<Json> = missing
            .iter()
            .map(|&at| {
                let mut request = json!({ "id": at.to_string(), "method": "GET", "url": format!("/{}", paths[at]) });
                if paths[at].contains("$count=true") {
                    request["headers"] = json!({ "ConsistencyLevel": "eventual" });
                }
                request
            })
            .collect();
        let body = json!({ "requests": requests });
        let call = Call::post_json(BATCH, self.url("$batch")?, &body);
        let answer = self.send(call.read_only().cost(cost * missing.len() as f64)).await?;
        let batch: WireBatch = answer.json()?;
        let Some(parts) = batch.responses else {
            return Err(incomplete("the answer to a batch has no `responses`".to_owned()));
        };
        let mut slowed = Slowed { parts: false, waits: true };
        for part in parts {
            let at = part.id.parse().ok().filter(|at| missing.contains(at));
            let Some(at) = at else {
                return Err(incomplete("a batch answers what was not asked".to_owned()));
            };
            match part.status {
                429 => {
                    slowed.parts = true;
                    slowed.waits &= names_a_time(&part.headers);
                }
                408 | 424 | 500..=599 => {}
                status => {
                    answers.insert(at, Part { status, body: part.body });
                }
            }
        }
        slowed.waits &= slowed.parts;
        Ok(slowed)
    }
}

/// What a round says of throttling.
struct Slowed {
    /// Some parts are throttled.
    parts: bool,
    /// All of them name a time, which the quota waits for.
    waits: bool,
}

fn names_a_time(headers: &BTreeMap<String, Json>) -> bool {
    headers.keys().any(|name| name.eq_ignore_ascii_case("retry-after"))
}

impl Part {
    /// What it means when nothing better is known.
    pub(super) fn unexpected(&self, what: &str) -> PullError {
        let told = self.body.get("error").map(message).unwrap_or_default();
        incomplete(format!("{what} answers {}: {told}", self.status))
    }
}
