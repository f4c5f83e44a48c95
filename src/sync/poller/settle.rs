//! What becomes of a sealed crawl: applied, held, approved, rejected.

use tracing::{info, warn};

use super::HoldError;
use super::actor::Actor;
use super::crawl::Crawled;
use crate::clock::{self, Timestamp};
use crate::model::{Actor as Decider, Cause, EventKind, Hold, Progress};
use crate::provider::{Extent, PullError};
use crate::sync::notice;
use crate::sync::split::{HeldPart, Outcome};
use crate::sync::status::{CrawlSummary, HoldSummary};

impl Actor {
    /// Applies what of a sealed crawl may be applied, and holds the rest.
    pub(super) async fn settle(&mut self, crawled: Crawled) -> Result<(), PullError> {
        self.remember_crawl(&crawled);
        let hold = crawled.outcome.held.as_ref().map(|part| self.hold_of(part, crawled.ended));
        match hold {
            Some(hold) if hold.whole.is_some() => self.hold_whole(hold, crawled).await,
            hold => {
                let cleared = self.hold().is_some() && hold.is_none();
                self.apply(crawled, hold.map(Box::new), None).await?;
                if cleared {
                    info!(directory = self.terms.name, "the hold cleared by itself");
                }
                Ok(())
            }
        }
    }

    /// The held part as it is remembered. A set that is held already keeps
    /// its age and what a person said about it.
    pub(super) fn hold_of(&self, part: &HeldPart, ended: Timestamp) -> Hold {
        let known = self.hold().filter(|hold| hold.id == part.id);
        Hold {
            id: part.id.clone(),
            since: known.map_or(ended, |hold| hold.since),
            reasons: part.reasons.clone(),
            counts: part.plan.counts,
            removals: part.removals,
            rejected: known.is_some_and(|hold| hold.rejected),
            whole: part.whole.clone(),
            pending: part.pending.clone(),
        }
    }

    /// Keeps everything that the crawl found for a person; tells of it once.
    /// The cursor stays where it is, so the next crawl finds it all again. The
    /// provider answers again, but nothing is confirmed: a missed objective stays.
    async fn hold_whole(&mut self, hold: Hold, crawled: Crawled) -> Result<(), PullError> {
        let told = self.is_told(&hold);
        let summary = HoldSummary::from(&hold);
        let Progress { failing, stale, .. } = self.progress;
        let recovered = failing && !stale;
        let mut notices = Vec::new();
        if recovered {
            notices.push(notice::plain(EventKind::DirectoryRecovered));
        }
        if !told {
            warn!(
                directory = self.terms.name,
                hold = summary.id,
                reason = summary.reason,
                whole = summary.whole,
                "everything that changed is held"
            );
            self.record_hold(&summary);
            notices.push(notice::held(&summary));
        }
        let failing = failing && !recovered;
        let progress = Progress { hold: Some(Box::new(hold)), failing, ..self.progress.clone() };
        if notices.is_empty() {
            self.progress = progress;
        } else {
            self.commit(notices, progress, crawled.ended, Cause::Daemon).await?;
        }
        self.held_full_at = Some(crawled.started).filter(|_| crawled.full).or(self.held_full_at);
        self.held = Some(crawled);
        (self.failures, self.incomplete) = (0, 0);
        self.statuses.update(&self.terms.name, |status| {
            status.hold = Some(summary);
            status.last_success = Some(clock::now());
            status.consecutive_failures = 0;
            status.last_error = None;
        });
        Ok(())
    }

    /// Commits what a sealed crawl lets through, with the notices that go with
    /// it; `hold` is what it does not.
    async fn apply(
        &mut self,
        crawled: Crawled,
        hold: Option<Box<Hold>>,
        approval: Option<Cause>,
    ) -> Result<(), PullError> {
        let Crawled { outcome: Outcome { applies: plan, .. }, seal, full, started, ended, .. } =
            crawled;
        let base = self.ledger.directory(&self.terms.name);
        let mut changes = plan.changes;
        let first = self.progress.as_of.is_none();
        let rebuilding = self.ledger.is_rebuilding(&self.terms.name);
        if rebuilding {
            notice::silence(&mut changes);
        }
        // An approval reads nothing: whether the provider answers is not known.
        let Progress { failing, stale, .. } = self.progress;
        let is_approval = approval.is_some();
        let was_failing = (failing || stale) && !is_approval;
        let reason = match (rebuilding, first, was_failing) {
            (true, ..) => Some("rebuilt"),
            (_, true, _) => Some("first"),
            (.., true) => Some("recovered"),
            _ => None,
        };
        let crawl = Cause::Crawl { full: seal.extent == Extent::Whole };
        let cause = approval.unwrap_or(match (rebuilding, first) {
            (true, _) => Cause::Rebuilt,
            (_, true) => Cause::First,
            _ => crawl,
        });
        if was_failing {
            changes.push(notice::plain(EventKind::DirectoryRecovered));
        }
        if let Some(reason) = reason {
            changes.push(notice::synced(reason, &base, &plan.counts));
        }
        let told = hold.as_ref().is_none_or(|hold| self.is_told(hold));
        if let Some(hold) = hold.as_deref().filter(|_| !told) {
            let summary = HoldSummary::from(hold);
            warn!(
                directory = self.terms.name,
                hold = summary.id,
                reason = summary.reason,
                "removals are held, the rest is applied"
            );
            self.record_hold(&summary);
            changes.push(notice::held(&summary));
        }
        if hold.is_none() {
            self.record_release(&plan.counts);
        }
        let is_held_as_before = match (self.hold(), hold.as_deref()) {
            (None, None) => true,
            (Some(before), Some(now)) => before.pending == now.pending,
            _ => false,
        };
        let full_at = if full { Some(started) } else { self.progress.full_at };
        let progress = Progress {
            cursor: seal.cursor.map(|cursor| cursor.0),
            fingerprint: self.terms.settings.fingerprint(),
            as_of: if changes.is_empty() { self.progress.as_of } else { Some(ended) },
            full_at,
            failing: failing && is_approval,
            stale: stale && is_approval,
            hold,
        };
        let same_settings = progress.fingerprint == self.progress.fingerprint;
        if changes.is_empty() && is_held_as_before && same_settings {
            // Nothing to tell, so nothing is written: the newer cursor waits in
            // memory, and the stored one is still right. One made under other
            // settings is not: each restart would read everything again.
            self.progress = progress;
        } else {
            self.commit(changes, progress, ended, cause).await?;
        }
        self.held = None;
        self.paused = None;
        self.held_full_at = None;
        if is_approval {
            self.show_hold();
            self.statuses.update(&self.terms.name, |status| status.as_of = Some(ended));
        } else {
            self.confirm(ended);
        }
        Ok(())
    }

    /// The committed picture is what the provider has, as of `ended`, but for
    /// what is held.
    fn confirm(&mut self, ended: Timestamp) {
        (self.failures, self.incomplete) = (0, 0);
        self.confirmed = clock::instant();
        self.show_hold();
        self.statuses.update(&self.terms.name, |status| {
            status.as_of = Some(ended);
            status.confirmed = Some(clock::instant());
            status.last_success = Some(clock::now());
            status.consecutive_failures = 0;
            status.last_error = None;
        });
    }

    /// Shows what is committed, and what is held beside it.
    fn show_hold(&mut self) {
        let base = self.ledger.directory(&self.terms.name);
        let unresolved =
            base.group_slots().map(|group| base.unresolved(group).len() as u64).sum::<u64>();
        let hold = self.hold().map(HoldSummary::from);
        self.statuses.update(&self.terms.name, |status| {
            status.hold = hold;
            status.unresolved = unresolved;
        });
    }

    fn remember_crawl(&self, crawled: &Crawled) {
        let Outcome { applies, held, drift } = &crawled.outcome;
        let whole = held.as_ref().filter(|part| part.whole.is_some());
        let summary = CrawlSummary {
            extent: crawled.seal.extent,
            duration: crawled.duration,
            pages: crawled.pages,
            counts: whole.map_or(applies.counts, |part| part.plan.counts),
            requests: crawled.seal.requests.clone(),
            proof: crawled.seal.proof.clone(),
            verified: crawled.seal.verified,
            malformed: crawled.seal.malformed,
            drift: *drift,
        };
        if summary.drift > 0 {
            // Some of it may have changed while it was read.
            info!(
                directory = self.terms.name,
                drift = summary.drift,
                "reading again found what the provider's feed had not told"
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

    /// Lets exactly the set `id` through, once.
    pub(super) async fn approve(&mut self, id: &str) -> Result<(), HoldError> {
        let failed = |error: PullError| HoldError::Failed(error.to_string());
        self.heal().await.map_err(failed)?;
        self.expect_held(id)?;
        let by = self.decider.as_ref().map_or(Decider::Daemon, |caller| caller.actor.clone());
        let cause = Cause::Approval { hold: id.to_owned(), by };
        let base = self.ledger.directory(&self.terms.name);
        let plan = self.held_plan(base).await?;
        match self.held.take() {
            Some(mut crawled) => {
                crawled.outcome = Outcome { applies: plan, ..Outcome::default() };
                self.apply(crawled, None, Some(cause)).await.map_err(failed)?;
            }
            None => {
                let now = clock::now();
                // Nothing was read, so the picture is as old as it was.
                let progress = Progress { hold: None, ..self.progress.clone() };
                self.checkpoints.remove();
                self.record_release(&plan.counts);
                self.commit(plan.changes, progress, now, cause).await.map_err(failed)?;
                self.paused = None;
                self.show_hold();
            }
        }
        self.next = clock::instant();
        Ok(())
    }

    /// Leaves the set `id` held, without telling of it again.
    pub(super) async fn reject(&mut self, id: &str) -> Result<(), HoldError> {
        self.expect_held(id)?;
        let mut progress = self.progress.clone();
        if let Some(hold) = &mut progress.hold {
            hold.rejected = true;
        }
        let committed = self.commit(Vec::new(), progress, clock::now(), Cause::Daemon).await;
        committed.map_err(|error| HoldError::Failed(error.to_string()))?;
        self.show_hold();
        Ok(())
    }

    pub(super) fn expect_held(&self, id: &str) -> Result<(), HoldError> {
        match self.hold() {
            None => Err(HoldError::NothingHeld { directory: self.terms.name.clone() }),
            Some(hold) if hold.id != id => {
                Err(HoldError::Changed { asked: id.to_owned(), current: hold.id.clone() })
            }
            Some(_) => Ok(()),
        }
    }

    pub(super) fn hold(&self) -> Option<&Hold> {
        self.progress.hold.as_deref()
    }

    /// Whether receivers know of this very set.
    fn is_told(&self, hold: &Hold) -> bool {
        self.hold().is_some_and(|known| known.id == hold.id)
    }
}
