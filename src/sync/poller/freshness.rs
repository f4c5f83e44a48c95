//! The promise of a directory's age: noticed when it is broken, told once.
//!
//! A directory with a `freshness_objective` is *stale* when no crawl has
//! confirmed it for that long: polls fail, a crawl takes too long, or the
//! provider's quota is spent. A start of the daemon begins the time anew, since
//! idle polls write nothing and so the stored moment may be older than the truth.

use tracing::warn;

use super::actor::Actor;
use crate::clock::{self, Instant};
use crate::model::{Cause, Progress};
use crate::sync::notice;

impl Actor {
    /// Ends when the objective is missed; never when there is none, or when
    /// that was told already.
    pub(super) async fn objective_missed(due: Option<Instant>) {
        match due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// When the objective will be missed.
    pub(super) fn objective_due(&self) -> Option<Instant> {
        let objective = self.terms.freshness_objective?;
        if self.progress.stale || self.untold {
            return None;
        };
        Some(self.confirmed + objective)
    }

    /// Tells that the objective is missed.
    pub(super) async fn tell_stale(&mut self) {
        let Some(objective) = self.terms.freshness_objective else { return };
        let status = self.statuses.get(&self.terms.name);
        let last_error = status.and_then(|status| status.last_error.clone());
        let text = format!(
            "not confirmed for more than {} s{}",
            objective.as_secs(),
            last_error.map(|error| format!("; the last poll failed: {error}")).unwrap_or_default()
        );
        warn!(directory = self.terms.name, reason = text, "the freshness objective is missed");
        let notice = notice::failing("freshness_objective", &text, self.progress.as_of);
        let progress = Progress { stale: true, ..self.progress.clone() };
        if let Err(error) = self.commit(vec![notice], progress, clock::now(), Cause::Daemon).await {
            warn!(directory = self.terms.name, %error, "cannot journal the missed objective");
            // A broken store is not asked at once again, and receivers who did
            // not hear of it must not hear that it is over.
            self.untold = true;
        }
    }
}
