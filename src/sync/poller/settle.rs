//! What becomes of a sealed crawl: applied, held, approved, rejected, or only shown.

use tracing::{info, warn};

use super::actor::Actor;
use super::crawl::Crawled;
use super::recorder::Recorder;
use super::{HoldError, Preview, SENTENCES_MAX};
use crate::clock::{self, Timestamp};
use crate::index::DirectoryView;
use crate::model::{EventKind, Progress};
use crate::provider::{PullError, Start};
use crate::sync::describe::describe;
use crate::sync::guard::{self, Totals};
use crate::sync::notice;
use crate::sync::plan::Plan;
use crate::sync::status::{CrawlSummary, HoldSummary};
use crate::task::Shutdown;

/// A set that waits for a person, with all that applying it takes.
pub(super) struct Held {
    pub(super) id: String,
    pub(super) crawled: Crawled,
}

impl Actor {
    /// Applies a sealed crawl, or holds it.
    pub(super) async fn settle(&mut self, crawled: Crawled) -> Result<(), PullError> {
        let base = self.ledger.directory(&self.terms.name);
        self.remember_crawl(&crawled);
        match guard::judge(&crawled.plan, totals(&base), &self.terms.limits) {
            Some(reason) => {
                let id = crawled.plan.id(&base);
                self.hold(id, reason, crawled).await
            }
            None => self.apply(crawled, None).await,
        }
    }

    /// Keeps the set for a person; tells of it once.
    pub(super) async fn hold(
        &mut self,
        id: String,
        reason: String,
        crawled: Crawled,
    ) -> Result<(), PullError> {
        let since = match self.status_hold() {
            Some(hold) if hold.id == id => hold.since,
            _ => crawled.ended,
        };
        let rejected = self.status_hold().is_some_and(|hold| hold.id == id && hold.rejected);
        let counts = crawled.plan.counts;
        let summary =
            HoldSummary { id: id.clone(), since, reason: reason.clone(), counts, rejected };
        if self.progress.held.as_ref() != Some(&id) {
            warn!(directory = self.terms.name, hold = id, reason, "changes are held");
            let notice = notice::held(&summary);
            self.record_hold(&summary);
            let progress = Progress { held: Some(id.clone()), ..self.progress.clone() };
            self.commit(vec![notice], progress, crawled.ended).await?;
        }
        self.held = Some(Held { id, crawled });
        (self.failures, self.incomplete) = (0, 0);
        self.statuses.update(&self.terms.name, |status| {
            status.hold = Some(summary);
            status.last_success = Some(clock::now());
            status.consecutive_failures = 0;
            status.last_error = None;
        });
        Ok(())
    }

    /// Commits a sealed crawl, with the notices that go with it.
    pub(super) async fn apply(
        &mut self,
        crawled: Crawled,
        approved: Option<&str>,
    ) -> Result<(), PullError> {
        let Crawled { plan, seal, full, started, ended, .. } = crawled;
        let base = self.ledger.directory(&self.terms.name);
        let mut changes = plan.changes;
        let first = self.progress.as_of.is_none();
        let rebuilding = self.ledger.is_rebuilding(&self.terms.name);
        if rebuilding {
            notice::silence(&mut changes);
        }
        let was_failing = self.progress.failing || self.progress.stale;
        let reason = match (rebuilding, first, was_failing) {
            (true, ..) => Some("rebuilt"),
            (_, true, _) => Some("first"),
            (.., true) => Some("recovered"),
            _ => None,
        };
        if was_failing {
            changes.push(notice::plain(EventKind::DirectoryRecovered));
        }
        if let Some(reason) = reason {
            changes.push(notice::synced(reason, &base, &plan.counts));
        }
        let full_at = if full { Some(started) } else { self.progress.full_at };
        let unheld = self.progress.held.is_some();
        let progress = Progress {
            cursor: seal.cursor.map(|cursor| cursor.0),
            fingerprint: self.terms.settings.fingerprint(),
            as_of: if changes.is_empty() { self.progress.as_of } else { Some(ended) },
            full_at,
            failing: false,
            stale: false,
            held: None,
        };
        let same_settings = progress.fingerprint == self.progress.fingerprint;
        if changes.is_empty() && !unheld && same_settings {
            // Nothing to tell, so nothing is written: the newer cursor waits in
            // memory, and the stored one is still right. One made under other
            // settings is not: each restart would read everything again.
            self.progress = progress;
        } else {
            self.record_release(approved, &plan.counts);
            self.commit(changes, progress, ended).await?;
        }
        if let Some(id) = approved {
            info!(directory = self.terms.name, hold = id, "the held changes were approved");
        } else if unheld {
            info!(directory = self.terms.name, "the hold cleared by itself");
        }
        self.held = None;
        self.paused = None;
        self.confirm(ended);
        Ok(())
    }

    /// The committed picture is what the provider has, as of `ended`.
    pub(super) fn confirm(&mut self, ended: Timestamp) {
        (self.failures, self.incomplete) = (0, 0);
        self.confirmed = clock::instant();
        let base = self.ledger.directory(&self.terms.name);
        let unresolved =
            base.group_slots().map(|group| base.unresolved(group).len() as u64).sum::<u64>();
        self.statuses.update(&self.terms.name, |status| {
            status.as_of = Some(ended);
            status.confirmed = Some(clock::instant());
            status.last_success = Some(clock::now());
            status.consecutive_failures = 0;
            status.last_error = None;
            status.hold = None;
            status.unresolved = unresolved;
        });
    }

    pub(super) fn remember_crawl(&self, crawled: &Crawled) {
        let summary = CrawlSummary {
            extent: crawled.seal.extent,
            duration: crawled.duration,
            pages: crawled.pages,
            counts: crawled.plan.counts,
            requests: crawled.seal.requests.clone(),
            proof: crawled.seal.proof.clone(),
            malformed: crawled.seal.malformed,
            drift: crawled.plan.drift,
        };
        if summary.drift > 0 {
            warn!(
                directory = self.terms.name,
                drift = summary.drift,
                "reading again found what the provider's feed did not tell"
            );
        }
        self.statuses.update(&self.terms.name, |status| {
            for (endpoint, count) in &summary.requests {
                *status.requests.entry(endpoint.clone()).or_default() += count;
            }
            status.drift += summary.drift;
            status.last_crawl = Some(summary);
            status.crawls_sealed += 1;
        });
    }

    pub(super) async fn approve(&mut self, id: &str) -> Result<(), HoldError> {
        self.heal().await.map_err(|error| HoldError::Failed(error.to_string()))?;
        let held = self.take_held(id)?;
        let Held { id, crawled } = held;
        match self.apply(crawled, Some(&id)).await {
            Ok(()) => {
                self.next = clock::instant();
                Ok(())
            }
            Err(error) => Err(HoldError::Failed(error.to_string())),
        }
    }

    pub(super) fn take_held(&mut self, id: &str) -> Result<Held, HoldError> {
        self.expect_held(id)?;
        let directory = self.terms.name.clone();
        self.held.take().ok_or(HoldError::NothingHeld { directory })
    }

    pub(super) fn expect_held(&self, id: &str) -> Result<(), HoldError> {
        match &self.held {
            None => Err(HoldError::NothingHeld { directory: self.terms.name.clone() }),
            Some(held) if held.id != id => {
                Err(HoldError::Changed { asked: id.to_owned(), current: held.id.clone() })
            }
            Some(_) => Ok(()),
        }
    }

    pub(super) fn reject(&mut self, id: &str) -> Result<(), HoldError> {
        self.expect_held(id)?;
        info!(directory = self.terms.name, hold = id, "the held changes were rejected");
        self.statuses.update(&self.terms.name, |status| {
            if let Some(hold) = &mut status.hold {
                hold.rejected = true;
            }
        });
        Ok(())
    }

    /// What a full crawl would change, changing nothing.
    pub(super) async fn preview(&mut self, shutdown: &Shutdown) -> Result<Preview, String> {
        let base = self.ledger.directory(&self.terms.name);
        // A crawl that waits to go on is none of this one's business.
        let paused = self.paused.take();
        let crawled = self.crawl(Start::Full, Recorder::default(), shutdown).await;
        self.paused = paused;
        match crawled {
            Ok(Some(crawled)) => {
                let held = guard::judge(&crawled.plan, totals(&base), &self.terms.limits);
                Ok(preview(&crawled.plan, &base, held))
            }
            Ok(None) => Err("the crawl was interrupted".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(super) fn held_preview(&self) -> Result<Preview, HoldError> {
        let directory = self.terms.name.clone();
        match (&self.held, self.status_hold()) {
            (Some(held), Some(summary)) => {
                let base = self.ledger.directory(&directory);
                Ok(preview(&held.crawled.plan, &base, Some(summary.reason)))
            }
            _ => Err(HoldError::NothingHeld { directory }),
        }
    }

    pub(super) fn status_hold(&self) -> Option<HoldSummary> {
        self.statuses.get(&self.terms.name).and_then(|status| status.hold.clone())
    }
}

fn preview(plan: &Plan, base: &DirectoryView, held: Option<String>) -> Preview {
    let sentences = describe(&plan.changes, base, SENTENCES_MAX);
    Preview { counts: plan.counts, held, sentences }
}

fn totals(base: &DirectoryView) -> Totals {
    Totals {
        users: base.user_count() as u64,
        groups: base.group_count() as u64,
        members: base.membership_count() as u64,
    }
}
