//! The poller's own life: waiting, polling, obeying, reporting.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::crawl::{Crawled, Paused};
use super::preview::Planned;
use super::recorder::{self, Recorder};
use super::{Command, Terms};
use crate::clock::{self, Duration, Instant, Timestamp};
use crate::model::{Act, Caller, Cause, Change, Commit, Pending, Progress};
use crate::provider::{Cursor, Directory, Extent, PullError, Start};
use crate::store::Checkpoints;
use crate::sync::ledger::{Ledger, LedgerError};
use crate::sync::notice;
use crate::sync::schedule::{self, Schedule};
use crate::sync::status::{DirectoryStatus, HoldSummary, Statuses};
use crate::task::Shutdown;

/// This many incomplete crawls in a row are told as a failure.
const INCOMPLETE_TOLD: u32 = 3;

/// Crawls that wait for one quota go on at moments within this.
const RESUME_SPREAD: Duration = Duration::from_secs(1);

/// How many bytes of held removals are stored with the cursor: the row is
/// written anew with every commit.
const PENDING_MAX: usize = 1 << 20;

/// Owns everything about one directory.
pub(super) struct Actor {
    pub(super) terms: Terms,
    pub(super) ledger: Ledger,
    pub(super) statuses: Statuses,
    pub(super) inbox: mpsc::Receiver<Command>,
    pub(super) schedule: Schedule,
    pub(super) next: Instant,
    pub(super) progress: Progress,
    pub(super) directory: Option<Box<dyn Directory>>,
    /// The crawl of which everything is held.
    pub(super) held: Option<Crawled>,
    /// The newest plan, for those who page through it.
    pub(super) planned: Option<Planned>,
    pub(super) syncs: Vec<oneshot::Sender<Result<(), String>>>,
    pub(super) failures: u32,
    /// The full crawl (by the start of the one before) that the feed was read for.
    caught_up_for: Option<Timestamp>,
    /// The feed was read right before the full crawl that may begin now.
    pub(super) caught_up: bool,
    /// When the full crawl began of which everything is held.
    pub(super) held_full_at: Option<Timestamp>,
    /// How many crawls in a row were incomplete.
    pub(super) incomplete: u32,
    /// When the picture was last confirmed; at first, when polling began.
    pub(super) confirmed: Instant,
    /// That the objective is missed could not be journaled; the next poll tries.
    pub(super) untold: bool,
    /// A failed crawl that can go on.
    pub(super) paused: Option<Paused>,
    /// What crawls write down, for the next process.
    pub(super) checkpoints: Checkpoints,
    /// What the last process wrote down was looked at.
    pub(super) recalled: bool,
    /// The last crawl was given up because nothing came any more.
    pub(super) stalled: bool,
    /// The last crawl waits for the provider's quota, and is to go on.
    resting: bool,
    /// How far the last crawl came that can go on.
    pages_before: u64,
    /// The crawl was abandoned for an approval, and is to be done again.
    pub(super) superseded: bool,
    /// Who approves a set right now.
    pub(super) decider: Option<Caller>,
    /// What the next commit is recorded with in the audit trail.
    pub(super) recording: Option<Act>,
    /// Which store the progress is of.
    pub(super) generation: u64,
}

impl Actor {
    pub(super) fn new(
        terms: Terms,
        ledger: Ledger,
        statuses: Statuses,
        inbox: mpsc::Receiver<Command>,
        first_delay: Option<Duration>,
    ) -> Actor {
        let progress = ledger.progress(&terms.name);
        let checkpoints = ledger.store().checkpoints(&terms.name);
        let mut status = DirectoryStatus::new(&terms.name, &terms.tenant, &terms.product);
        status.provider = terms.settings.kind();
        status.origin = terms.settings.origin();
        status.as_of = progress.as_of;
        status.freshness_objective = terms.freshness_objective;
        let delay = first_delay.unwrap_or_default();
        status.next_poll_at = Some(clock::now().plus(delay));
        if let Some(earlier) = statuses.get(&terms.name) {
            status = DirectoryStatus {
                provider: status.provider,
                origin: status.origin,
                tenant: status.tenant,
                product: status.product,
                next_poll_at: status.next_poll_at,
                crawling: false,
                freshness_objective: status.freshness_objective,
                ..(*earlier).clone()
            };
        }
        status.hold = progress.hold.as_deref().map(HoldSummary::from);
        statuses.insert(status);
        Actor {
            schedule: Schedule::new(terms.delays),
            generation: ledger.generation(),
            next: clock::instant() + delay,
            terms,
            ledger,
            statuses,
            inbox,
            progress,
            directory: None,
            held: None,
            planned: None,
            syncs: Vec::new(),
            failures: 0,
            caught_up_for: None,
            caught_up: false,
            held_full_at: None,
            incomplete: 0,
            confirmed: clock::instant(),
            untold: false,
            paused: None,
            checkpoints,
            recalled: false,
            stalled: false,
            resting: false,
            pages_before: 0,
            superseded: false,
            decider: None,
            recording: None,
        }
    }

    pub(super) async fn run(mut self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                // The poll that the shutdown cut short is due still, and must not
                // begin anew: that would drop what was written down of it.
                biased;
                () = shutdown.requested() => return,
                () = tokio::time::sleep_until(self.next) => self.poll(&shutdown).await,
                () = Actor::objective_missed(self.objective_due()) => self.tell_stale().await,
                command = self.inbox.recv() => match command {
                    Some(command) => self.obey(command, &shutdown).await,
                    None => return,
                },
            }
        }
    }

    pub(super) async fn obey(&mut self, command: Command, shutdown: &Shutdown) {
        match command {
            Command::Sync(reply) => {
                self.syncs.extend(reply);
                self.poll(shutdown).await;
            }
            Command::Plan(page, reply) => {
                let preview = self.preview(&page, shutdown).await;
                let _ = reply.send(preview);
            }
            Command::Held(page, reply) => {
                let _ = reply.send(self.held_preview(&page).await);
            }
            Command::Approve(id, by, reply) => {
                let outcome = self.approve_for(&id, by).await;
                let _ = reply.send(outcome);
            }
            Command::Reject(id, by, reply) => {
                let outcome = self.reject_for(&id, by).await;
                let _ = reply.send(outcome);
            }
        }
    }

    /// One poll, from the crawl to the next time.
    pub(super) async fn poll(&mut self, shutdown: &Shutdown) {
        let replies = std::mem::take(&mut self.syncs);
        let outcome = self.crawl_and_commit(shutdown).await;
        if shutdown.is_requested() {
            return;
        }
        let floor = match &outcome {
            Err(PullError::Throttled { until, .. }) => Some(*until),
            _ => None,
        };
        let delay = match &outcome {
            Ok(()) => self.schedule.after_success(fastrand::f64()),
            Err(_) if self.resting => RESUME_SPREAD.mul_f64(fastrand::f64()),
            Err(_) => self.schedule.after_failure(fastrand::f64()),
        };
        let delay = schedule::not_before(delay, clock::now(), floor);
        self.next = clock::instant() + delay;
        if std::mem::take(&mut self.superseded) {
            self.next = clock::instant();
            self.syncs.extend(replies);
            return;
        }
        self.report(&outcome, delay);
        for reply in replies {
            let _ = reply.send(outcome.as_ref().copied().map_err(ToString::to_string));
        }
        if !self.syncs.is_empty() {
            self.next = clock::instant();
        }
    }

    pub(super) async fn crawl_and_commit(&mut self, shutdown: &Shutdown) -> Result<(), PullError> {
        self.resting = false;
        self.heal().await?;
        self.untold = false;
        self.statuses.update(&self.terms.name, |status| {
            status.crawling = true;
            status.last_attempt = Some(clock::now());
        });
        self.recall().await;
        self.caught_up = self.catch_up(shutdown).await;
        let crawled = self.crawl_with_fallback(shutdown).await;
        let outcome = match crawled {
            Ok(Some(mut crawled)) => {
                if crawled.caught_up {
                    crawled.outcome.drift += crawled.outcome.applies.counts.total();
                }
                let settled = self.settle(crawled).await;
                self.checkpoints.remove();
                settled
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        self.resting = self.rests(&outcome);
        if let Err(error) = &outcome
            && !self.resting
        {
            self.fail(error).await;
        }
        outcome
    }

    /// Whether a crawl only waits for the provider's quota: it got further than
    /// before, and goes on from there. That is no failure.
    fn rests(&mut self, outcome: &Result<(), PullError>) -> bool {
        let pages = self.paused.as_ref().map_or(0, Paused::pages);
        let further = pages > std::mem::replace(&mut self.pages_before, pages);
        further && matches!(outcome, Err(PullError::Throttled { .. }))
    }

    /// Makes sure that the committed picture is what the store holds.
    pub(super) async fn heal(&mut self) -> Result<(), PullError> {
        let healed = self.ledger.heal(&self.terms.name).await;
        if let Err(error) = healed {
            let error = self.broken_store(&error);
            self.fail(&error).await;
            return Err(error);
        }
        let generation = self.ledger.generation();
        if generation != self.generation {
            self.generation = generation;
            self.progress = self.ledger.progress(&self.terms.name);
            self.held = None;
            self.planned = None;
            self.paused = None;
            let hold = self.progress.hold.as_deref().map(HoldSummary::from);
            self.statuses.update(&self.terms.name, |status| {
                status.as_of = None;
                status.hold = hold;
            });
        }
        Ok(())
    }

    /// Where the next crawl starts: at the cursor, unless a full crawl is due.
    pub(super) fn start(&self) -> Start {
        if let Some(paused) = &self.paused
            && recorder::is_current(paused.started, self.terms.checkpoints.max_age)
        {
            return Start::Resume(paused.token.clone());
        }
        match self.cursor() {
            Some(cursor) if !self.full_is_due() => Start::Incremental(cursor),
            _ => Start::Full,
        }
    }

    fn full_is_due(&self) -> bool {
        self.progress.full_at.max(self.held_full_at).is_none_or(|at| {
            let due = at.plus(self.terms.full_every);
            // A clock that was set back must not postpone the next full crawl for ever.
            clock::now() >= due || at > clock::now()
        })
    }

    /// The cursor, unless it was made under other settings.
    pub(super) fn cursor(&self) -> Option<Cursor> {
        let same = self.progress.fingerprint == self.terms.settings.fingerprint();
        self.progress.cursor.clone().filter(|_| same).map(Cursor)
    }

    /// Reads what the feed has to tell before a periodic full crawl, so that
    /// whatever the full one then finds is drift. `true` when that worked; when
    /// it did not, the full crawl comes all the same.
    async fn catch_up(&mut self, shutdown: &Shutdown) -> bool {
        if self.paused.is_some() || self.progress.full_at.is_none() || !self.full_is_due() {
            return false;
        }
        // Once for each: should it spend the quota, the full crawl has the next one.
        let full_at = self.progress.full_at;
        if std::mem::replace(&mut self.caught_up_for, full_at) == full_at {
            return false;
        }
        let Some(cursor) = self.cursor() else { return false };
        let caught_up =
            match self.crawl(Start::Incremental(cursor), Recorder::default(), shutdown).await {
                // What is held whole is for the full crawl to tell.
                Ok(Some(crawled)) if !crawled.outcome.is_held_whole() => {
                    self.settle(crawled).await.is_ok() && self.hold().is_none()
                }
                _ => false,
            };
        self.paused = None;
        caught_up
    }

    /// Counts a failure; tells of the first in a row. A reading that was only
    /// incomplete often is whole at the next try, so the third is told.
    pub(super) async fn fail(&mut self, error: &PullError) {
        self.failures = self.failures.saturating_add(1);
        let is_incomplete = matches!(error, PullError::Incomplete { .. });
        self.incomplete = if is_incomplete { self.incomplete.saturating_add(1) } else { 0 };
        let (text, failures) = (error.to_string(), self.failures);
        self.statuses.update(&self.terms.name, |status| {
            status.consecutive_failures = failures;
            status.last_error = Some(text.clone());
            status.crawls_failed += 1;
        });
        if self.progress.failing || (is_incomplete && self.incomplete < INCOMPLETE_TOLD) {
            return;
        }
        let notice = notice::failing("poll", &text, self.progress.as_of);
        let progress = Progress { failing: true, ..self.progress.clone() };
        if let Err(error) = self.commit(vec![notice], progress, clock::now(), Cause::Daemon).await {
            warn!(directory = self.terms.name, %error, "cannot journal the failure");
        }
    }

    pub(super) async fn commit(
        &mut self,
        changes: Vec<Change>,
        progress: Progress,
        occurred_at: Timestamp,
        cause: Cause,
    ) -> Result<(), PullError> {
        if !changes.is_empty() {
            self.planned = None;
        }
        let commit = Commit {
            directory: self.terms.name.clone(),
            tenant: self.terms.tenant.clone(),
            product: self.terms.product.clone(),
            occurred_at,
            changes,
            cause,
            progress: storable(progress.clone()),
        };
        let act = self.recording.take();
        self.ledger
            .commit_recorded(commit, self.generation, act)
            .await
            .map_err(|error| self.broken_store(&error))?;
        self.progress = progress;
        Ok(())
    }

    pub(super) fn broken_store(&self, error: &LedgerError) -> PullError {
        PullError::Unreachable { what: "the store".to_owned(), reason: error.to_string() }
    }

    /// One line per poll.
    pub(super) fn report(&self, outcome: &Result<(), PullError>, delay: Duration) {
        let next_poll_at = Some(clock::now().plus(delay));
        self.statuses.update(&self.terms.name, |status| {
            status.crawling = false;
            status.next_poll_at = next_poll_at;
        });
        let next_poll_seconds = delay.as_secs_f64();
        match outcome {
            Ok(()) => self.report_success(next_poll_seconds),
            Err(error) if self.resting => info!(
                directory = self.terms.name,
                pages = self.pages_before,
                next_poll_seconds,
                %error,
                "poll rests, and goes on where it is"
            ),
            Err(error) => warn!(
                directory = self.terms.name,
                failures = self.failures,
                next_poll_seconds,
                %error,
                "poll failed"
            ),
        }
    }

    pub(super) fn report_success(&self, next_poll_seconds: f64) {
        let Some(status) = self.statuses.get(&self.terms.name) else { return };
        let Some(crawl) = &status.last_crawl else { return };
        let counts = &crawl.counts;
        info!(
            directory = self.terms.name,
            crawl = match crawl.extent {
                Extent::Whole => "full",
                Extent::Changes => "incremental",
            },
            duration_ms = u64::try_from(crawl.duration.as_millis()).unwrap_or(u64::MAX),
            pages = crawl.pages,
            requests = crawl.requests.values().sum::<u64>(),
            by_endpoint = by_endpoint(&crawl.requests),
            malformed = (crawl.malformed > 0).then_some(crawl.malformed),
            added = counts.users_created + counts.groups_created + counts.members_added,
            changed = counts.users_updated + counts.groups_updated,
            removed = counts.users_deleted + counts.groups_deleted + counts.members_removed,
            held = status.hold.as_ref().map(|hold| hold.id.as_str()),
            next_poll_seconds,
            "polled"
        );
    }
}

/// What of the progress is stored. A set that is too large for the row is
/// found again by a full crawl after a restart.
fn storable(mut progress: Progress) -> Progress {
    if let Some(hold) = &mut progress.hold
        && hold.pending.size() > PENDING_MAX
    {
        hold.pending = Pending::default();
        progress.cursor = None;
    }
    progress
}

/// `GET /groups 10, GET /users 41`.
fn by_endpoint(requests: &BTreeMap<String, u64>) -> String {
    let parts: Vec<String> =
        requests.iter().map(|(endpoint, count)| format!("{endpoint} {count}")).collect();
    parts.join(", ")
}
