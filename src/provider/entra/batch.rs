//! Twenty requests in one (`$batch`). Each part has its own status: what was
//! throttled or in trouble is asked again on its own.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::graph::{BATCH, Graph, incomplete, message};
use crate::clock::Duration;
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
        let mut delays = Growing::new(RETRY_FIRST, RETRY_MAX);
        for _ in 0..ATTEMPTS_MAX {
            let missing: Vec<usize> =
                (0..paths.len()).filter(|at| !answers.contains_key(at)).collect();
            if missing.is_empty() {
                break;
            }
            let is_slowed = self.ask(paths, &missing, cost, &mut answers).await?;
            if answers.len() < paths.len() && !is_slowed {
                tokio::time::sleep(delays.next(fastrand::f64())).await;
            }
        }
        if answers.len() < paths.len() {
            let reason = "parts of a batch are throttled or in trouble time and again".to_owned();
            return Err(PullError::Unreachable { what: super::graph::NAME.to_owned(), reason });
        }
        Ok(answers.into_values().collect())
    }

    /// One round; whether the quota was told to wait before the next one.
    async fn ask(
        &self,
        paths: &[String],
        missing: &[usize],
        cost: f64,
        answers: &mut BTreeMap<usize, Part>,
    ) -> Result<bool, PullError> {
        let requests: Vec<Json> = missing
            .iter()
            .map(|&at| json!({ "id": at.to_string(), "method": "GET", "url": format!("/{}", paths[at]) }))
            .collect();
        let body = json!({ "requests": requests });
        let call = Call::post_json(BATCH, self.url("$batch")?, &body);
        let answer = self.send(call.read_only().cost(cost * missing.len() as f64)).await?;
        let batch: WireBatch = answer.json()?;
        let Some(parts) = batch.responses else {
            return Err(incomplete("the answer to a batch has no `responses`".to_owned()));
        };
        let mut is_slowed = false;
        for part in parts {
            let at = part.id.parse().ok().filter(|at| missing.contains(at));
            let Some(at) = at else {
                return Err(incomplete("a batch answers what was not asked".to_owned()));
            };
            match part.status {
                429 => is_slowed = true,
                408 | 424 | 500..=599 => {}
                status => {
                    answers.insert(at, Part { status, body: part.body });
                }
            }
        }
        Ok(is_slowed)
    }
}

impl Part {
    /// What it means when nothing better is known.
    pub(super) fn unexpected(&self, what: &str) -> PullError {
        let told = self.body.get("error").map(message).unwrap_or_default();
        incomplete(format!("{what} answers {}: {told}", self.status))
    }
}
