//! Polls one directory for ever: waits, crawls, guards, commits, tells.
//!
//! One actor owns everything about its directory, so two of its commits never
//! race. A crawl runs in a task of its own: when it panics or hangs, the
//! poller counts a failure and goes on, and no other directory notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::describe::describe;
use super::guard::{self, Limits, Totals};
use super::ledger::Ledger;
use super::notice;
use super::plan::Plan;
use super::reconcile::Reconciler;
use super::schedule::{self, Delays, Schedule};
use super::status::{Counts, CrawlSummary, DirectoryStatus, HoldSummary, Statuses};
use crate::clock::{self, Duration, Instant, Timestamp};
use crate::index::DirectoryView;
use crate::model::{Change, Commit, EventKind, Progress};
use crate::provider::{
    Cursor, Directory, Extent, Item, Patience, PullError, Seal, Settings, Sink, Start,
};
use crate::task::{self, Shutdown, Task};

/// How one directory is polled.
#[derive(Clone, Debug)]
pub struct Terms {
    pub name: String,
    pub tenant: String,
    pub product: String,
    pub delays: Delays,
    pub patience: Patience,
    /// An incremental directory is read in full at least this often.
    pub full_every: Duration,
    pub limits: Limits,
    pub settings: Arc<dyn Settings>,
}

/// What an operator may ask of a poller.
#[derive(Debug)]
enum Command {
    Sync(Option<oneshot::Sender<Result<(), String>>>),
    Plan(oneshot::Sender<Result<Preview, String>>),
    Held(oneshot::Sender<Result<Preview, HoldError>>),
    Approve(String, oneshot::Sender<Result<(), HoldError>>),
    Reject(String, oneshot::Sender<Result<(), HoldError>>),
}

/// What a poll would do, or what is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    pub counts: Counts,
    /// Why it is held, or would be.
    pub held: Option<String>,
    /// The first changes, in words.
    pub sentences: Vec<String>,
}

/// How many changes a [`Preview`] puts into words.
const SENTENCES_MAX: usize = 1_000;

/// Why an approval or rejection was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    #[error("nothing is held for {directory}")]
    NothingHeld { directory: String },
    #[error("the held set is now {current}, not {asked}: look at it again before you approve it")]
    Changed { asked: String, current: String },
    #[error("{0}")]
    Failed(String),
}

/// A running poller. Dropping it stops the polling.
#[derive(Debug)]
pub struct Poller {
    commands: mpsc::Sender<Command>,
    task: Task,
}

/// Asks a poller. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Remote(mpsc::Sender<Command>);

impl Poller {
    /// Starts polling; the first poll comes after `first_delay`.
    pub fn start(
        terms: Terms,
        ledger: Ledger,
        statuses: Statuses,
        first_delay: Option<Duration>,
        shutdown: Shutdown,
    ) -> Poller {
        let (commands, inbox) = mpsc::channel(64);
        let name = format!("poller {}", terms.name);
        let actor = Actor::new(terms, ledger, statuses, inbox, first_delay);
        Poller { commands, task: task::spawn(name, actor.run(shutdown)) }
    }

    /// A handle for asking.
    pub fn remote(&self) -> Remote {
        Remote(self.commands.clone())
    }

    /// Waits until the poller has ended after a shutdown.
    pub async fn join(self) {
        if let Err(end) = self.task.join().await {
            warn!(error = %end, "a poller did not end well");
        }
    }
}

impl Remote {
    /// Polls now and waits for the end of that poll.
    ///
    /// # Errors
    /// The poll's failure, as a sentence.
    pub async fn sync(&self) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Sync(Some(reply)), answer, |text| text).await
    }

    /// Polls soon, without waiting.
    pub fn nudge(&self) {
        // A full inbox holds a nudge already.
        let _ = self.0.try_send(Command::Sync(None));
    }

    /// Reads the directory in full and says what a poll would change.
    ///
    /// # Errors
    /// The crawl's failure, as a sentence.
    pub async fn plan(&self) -> Result<Preview, String> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Plan(reply), answer, |text| text).await
    }

    /// What is held.
    ///
    /// # Errors
    /// When nothing is.
    pub async fn held(&self) -> Result<Preview, HoldError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Held(reply), answer, HoldError::Failed).await
    }

    /// Lets exactly the held set `id` through.
    ///
    /// # Errors
    /// When something else, or nothing, is held.
    pub async fn approve(&self, id: &str) -> Result<(), HoldError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Approve(id.to_owned(), reply), answer, HoldError::Failed).await
    }

    /// Keeps the last good state until the provider's answer changes.
    ///
    /// # Errors
    /// When something else, or nothing, is held.
    pub async fn reject(&self, id: &str) -> Result<(), HoldError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Reject(id.to_owned(), reply), answer, HoldError::Failed).await
    }

    async fn ask<T, E>(
        &self,
        command: Command,
        answer: oneshot::Receiver<Result<T, E>>,
        failed: fn(String) -> E,
    ) -> Result<T, E> {
        let gone = || failed("the poller is shutting down".to_owned());
        self.0.send(command).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

struct Actor {
    terms: Terms,
    ledger: Ledger,
    statuses: Statuses,
    inbox: mpsc::Receiver<Command>,
    schedule: Schedule,
    next: Instant,
    progress: Progress,
    directory: Option<Box<dyn Directory>>,
    held: Option<Held>,
    syncs: Vec<oneshot::Sender<Result<(), String>>>,
    failures: u32,
    /// Which store the progress is of.
    generation: u64,
}

/// A set that waits for a person, with all that applying it takes.
struct Held {
    id: String,
    crawled: Crawled,
}

/// A sealed crawl, compared.
struct Crawled {
    plan: Plan,
    seal: Seal,
    pages: u64,
    started: Timestamp,
    ended: Timestamp,
    duration: Duration,
}

/// What a crawl lends and hands back, and how it went.
struct Read {
    directory: Box<dyn Directory>,
    reconciler: Box<Reconciler>,
    result: Result<Seal, PullError>,
}

/// How waiting for a crawl ended.
enum Wait {
    Ended(Result<Read, task::TaskEnd>),
    Stalled,
    Superseded,
    Shutdown,
}

impl Actor {
    fn new(
        terms: Terms,
        ledger: Ledger,
        statuses: Statuses,
        inbox: mpsc::Receiver<Command>,
        first_delay: Option<Duration>,
    ) -> Actor {
        let progress = ledger.progress(&terms.name);
        let mut status = DirectoryStatus::new(&terms.name, &terms.tenant, &terms.product);
        status.provider = terms.settings.kind();
        status.origin = terms.settings.origin();
        status.as_of = progress.as_of;
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
                ..(*earlier).clone()
            };
        }
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
            syncs: Vec::new(),
            failures: 0,
        }
    }

    async fn run(mut self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.requested() => return,
                () = tokio::time::sleep_until(self.next) => self.poll(&shutdown).await,
                command = self.inbox.recv() => match command {
                    Some(command) => self.obey(command, &shutdown).await,
                    None => return,
                },
            }
        }
    }

    async fn obey(&mut self, command: Command, shutdown: &Shutdown) {
        match command {
            Command::Sync(reply) => {
                self.syncs.extend(reply);
                self.poll(shutdown).await;
            }
            Command::Plan(reply) => {
                let preview = self.preview(shutdown).await;
                let _ = reply.send(preview);
            }
            Command::Held(reply) => {
                let _ = reply.send(self.held_preview());
            }
            Command::Approve(id, reply) => {
                let outcome = self.approve(&id).await;
                let _ = reply.send(outcome);
            }
            Command::Reject(id, reply) => {
                let outcome = self.reject(&id);
                let _ = reply.send(outcome);
            }
        }
    }

    /// One poll, from the crawl to the next time.
    async fn poll(&mut self, shutdown: &Shutdown) {
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
            Err(_) => self.schedule.after_failure(fastrand::f64()),
        };
        let delay = schedule::not_before(delay, clock::now(), floor);
        self.next = clock::instant() + delay;
        self.report(&outcome, delay);
        for reply in replies {
            let _ = reply.send(outcome.as_ref().copied().map_err(ToString::to_string));
        }
        if !self.syncs.is_empty() {
            self.next = clock::instant();
        }
    }

    async fn crawl_and_commit(&mut self, shutdown: &Shutdown) -> Result<(), PullError> {
        self.heal().await?;
        self.statuses.update(&self.terms.name, |status| {
            status.crawling = true;
            status.last_attempt = Some(clock::now());
        });
        let crawled = self.crawl_with_fallback(shutdown).await;
        let outcome = match crawled {
            Ok(Some(crawled)) => self.settle(crawled).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = &outcome {
            self.fail(error).await;
        }
        outcome
    }

    /// Makes sure that the committed picture is what the store holds.
    async fn heal(&mut self) -> Result<(), PullError> {
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
            self.statuses.update(&self.terms.name, |status| {
                status.as_of = None;
                status.hold = None;
            });
        }
        Ok(())
    }

    /// Crawls; when the cursor turns out to be of no use, once more in full.
    async fn crawl_with_fallback(
        &mut self,
        shutdown: &Shutdown,
    ) -> Result<Option<Crawled>, PullError> {
        let start = self.start();
        let incremental = start != Start::Full;
        match self.crawl(start, shutdown).await {
            Err(PullError::CursorExpired { reason }) if incremental => {
                info!(directory = self.terms.name, reason, "the cursor expired, reading in full");
                self.progress.cursor = None;
                self.crawl(Start::Full, shutdown).await
            }
            outcome => outcome,
        }
    }

    /// Where the next crawl starts: at the cursor, unless a full crawl is due
    /// or the settings that the cursor was made under are others now.
    fn start(&self) -> Start {
        let full_due = self.progress.full_at.is_none_or(|at| {
            let due = at.plus(self.terms.full_every);
            // A clock that was set back must not postpone the next full crawl for ever.
            clock::now() >= due || at > clock::now()
        });
        let same = self.progress.fingerprint == self.terms.settings.fingerprint();
        match &self.progress.cursor {
            Some(cursor) if same && !full_due => Start::Incremental(Cursor(cursor.clone())),
            _ => Start::Full,
        }
    }

    /// Reads the directory once. `None`: superseded or shutting down.
    async fn crawl(
        &mut self,
        start: Start,
        shutdown: &Shutdown,
    ) -> Result<Option<Crawled>, PullError> {
        let (started, clock_start) = (clock::now(), clock::instant());
        let base = self.ledger.directory(&self.terms.name);
        let ticks = Arc::new(AtomicU64::new(0));
        let running = self.launch(start, Reconciler::new(base), ticks.clone());
        match self.watch(running, &ticks, shutdown).await {
            Wait::Shutdown | Wait::Superseded => Ok(None),
            Wait::Stalled => Err(PullError::Unreachable {
                what: self.terms.settings.origin(),
                reason: format!(
                    "the crawl made no progress for {} s",
                    self.terms.patience.stall_timeout.as_secs()
                ),
            }),
            Wait::Ended(Err(end)) => Err(PullError::Incomplete {
                what: self.terms.settings.origin(),
                reason: end.to_string(),
            }),
            Wait::Ended(Ok(Read { directory, reconciler, result })) => {
                self.directory = Some(directory);
                let seal = result?;
                let pages = reconciler.pages();
                let extent = seal.extent;
                let plan = task::blocking("compare", move || reconciler.seal(extent))
                    .await
                    .map_err(|end| PullError::Incomplete {
                        what: self.terms.settings.origin(),
                        reason: end.to_string(),
                    })??;
                let duration = clock::instant() - clock_start;
                let ended = clock::now();
                Ok(Some(Crawled { plan, seal, pages, started, ended, duration }))
            }
        }
    }

    fn launch(
        &mut self,
        start: Start,
        reconciler: Reconciler,
        ticks: Arc<AtomicU64>,
    ) -> Task<Read> {
        let mut directory = match self.directory.take() {
            Some(directory) => directory,
            None => self.terms.settings.open(self.terms.patience),
        };
        let mut intake = Intake { reconciler: Box::new(reconciler), ticks };
        task::spawn(format!("crawl {}", self.terms.name), async move {
            let result = directory.crawl(start, &mut intake).await;
            Read { directory, reconciler: intake.reconciler, result }
        })
    }

    /// Waits for the crawl, for as long as it makes progress. An approval
    /// changes what the crawl is compared with, so it supersedes the crawl.
    async fn watch(&mut self, running: Task<Read>, ticks: &AtomicU64, shutdown: &Shutdown) -> Wait {
        let ended = running.join();
        tokio::pin!(ended);
        let mut seen = ticks.load(Ordering::Relaxed);
        let mut deadline = clock::instant() + self.terms.patience.stall_timeout;
        loop {
            tokio::select! {
                result = &mut ended => return Wait::Ended(result),
                () = shutdown.requested() => return Wait::Shutdown,
                () = tokio::time::sleep_until(deadline) => {
                    let now = ticks.load(Ordering::Relaxed);
                    if now == seen {
                        return Wait::Stalled;
                    }
                    seen = now;
                    deadline = clock::instant() + self.terms.patience.stall_timeout;
                }
                Some(command) = self.inbox.recv() => match command {
                    Command::Sync(reply) => {
                        self.syncs.extend(reply);
                        self.next = clock::instant();
                    }
                    Command::Plan(reply) => {
                        let busy = "a poll is under way; ask again when it has ended";
                        let _ = reply.send(Err(busy.to_owned()));
                    }
                    Command::Held(reply) => {
                        let _ = reply.send(self.held_preview());
                    }
                    Command::Approve(id, reply) => {
                        let outcome = self.approve(&id).await;
                        let approved = outcome.is_ok();
                        let _ = reply.send(outcome);
                        if approved {
                            return Wait::Superseded;
                        }
                    }
                    Command::Reject(id, reply) => {
                        let outcome = self.reject(&id);
                        let _ = reply.send(outcome);
                    }
                },
            }
        }
    }

    /// Applies a sealed crawl, or holds it.
    async fn settle(&mut self, crawled: Crawled) -> Result<(), PullError> {
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
    async fn hold(
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
            let progress = Progress { held: Some(id.clone()), ..self.progress.clone() };
            self.commit(vec![notice], progress, crawled.ended).await?;
        }
        self.held = Some(Held { id, crawled });
        self.failures = 0;
        self.statuses.update(&self.terms.name, |status| {
            status.hold = Some(summary);
            status.last_success = Some(clock::now());
            status.consecutive_failures = 0;
            status.last_error = None;
        });
        Ok(())
    }

    /// Commits a sealed crawl, with the notices that go with it.
    async fn apply(&mut self, crawled: Crawled, approved: Option<&str>) -> Result<(), PullError> {
        let Crawled { plan, seal, started, ended, .. } = crawled;
        let base = self.ledger.directory(&self.terms.name);
        let mut changes = plan.changes;
        let first = self.progress.as_of.is_none();
        let rebuilding = self.ledger.is_rebuilding(&self.terms.name);
        if rebuilding {
            notice::silence(&mut changes);
        }
        let reason = match (rebuilding, first, self.progress.failing) {
            (true, ..) => Some("rebuilt"),
            (_, true, _) => Some("first"),
            (.., true) => Some("recovered"),
            _ => None,
        };
        if self.progress.failing {
            changes.push(notice::plain(EventKind::DirectoryRecovered));
        }
        if let Some(reason) = reason {
            changes.push(notice::synced(reason, &base, &plan.counts));
        }
        let full_at = match seal.extent {
            Extent::Whole => Some(started),
            Extent::Changes => self.progress.full_at,
        };
        let unheld = self.progress.held.is_some();
        let progress = Progress {
            cursor: seal.cursor.map(|cursor| cursor.0),
            fingerprint: self.terms.settings.fingerprint(),
            as_of: if changes.is_empty() { self.progress.as_of } else { Some(ended) },
            full_at,
            failing: false,
            held: None,
        };
        if changes.is_empty() && !unheld {
            // Nothing to tell, so nothing is written: the newer cursor waits in
            // memory, and the stored one is still right.
            self.progress = progress;
        } else {
            self.commit(changes, progress, ended).await?;
        }
        if let Some(id) = approved {
            info!(directory = self.terms.name, hold = id, "the held changes were approved");
        } else if unheld {
            info!(directory = self.terms.name, "the hold cleared by itself");
        }
        self.held = None;
        self.confirm(ended);
        Ok(())
    }

    /// The committed picture is what the provider has, as of `ended`.
    fn confirm(&mut self, ended: Timestamp) {
        self.failures = 0;
        let base = self.ledger.directory(&self.terms.name);
        let unresolved =
            base.group_slots().map(|group| base.unresolved(group).len() as u64).sum::<u64>();
        self.statuses.update(&self.terms.name, |status| {
            status.as_of = Some(ended);
            status.last_success = Some(clock::now());
            status.consecutive_failures = 0;
            status.last_error = None;
            status.hold = None;
            status.unresolved = unresolved;
        });
    }

    fn remember_crawl(&self, crawled: &Crawled) {
        let summary = CrawlSummary {
            extent: crawled.seal.extent,
            duration: crawled.duration,
            pages: crawled.pages,
            counts: crawled.plan.counts,
            requests: crawled.seal.requests.clone(),
            proof: crawled.seal.proof.clone(),
        };
        self.statuses.update(&self.terms.name, |status| {
            status.last_crawl = Some(summary);
            status.crawls_sealed += 1;
        });
    }

    /// Counts a failure; tells of the first in a row.
    async fn fail(&mut self, error: &PullError) {
        self.failures = self.failures.saturating_add(1);
        let (text, failures) = (error.to_string(), self.failures);
        self.statuses.update(&self.terms.name, |status| {
            status.consecutive_failures = failures;
            status.last_error = Some(text.clone());
            status.crawls_failed += 1;
        });
        if self.progress.failing {
            return;
        }
        let notice = notice::failing(&text, self.progress.as_of);
        let progress = Progress { failing: true, ..self.progress.clone() };
        if let Err(error) = self.commit(vec![notice], progress, clock::now()).await {
            warn!(directory = self.terms.name, %error, "cannot journal the failure");
        }
    }

    async fn commit(
        &mut self,
        changes: Vec<Change>,
        progress: Progress,
        occurred_at: Timestamp,
    ) -> Result<(), PullError> {
        let commit = Commit {
            directory: self.terms.name.clone(),
            tenant: self.terms.tenant.clone(),
            product: self.terms.product.clone(),
            occurred_at,
            changes,
            progress,
        };
        let progress = commit.progress.clone();
        self.ledger.commit(commit).await.map_err(|error| self.broken_store(&error))?;
        self.progress = progress;
        Ok(())
    }

    fn broken_store(&self, error: &super::ledger::LedgerError) -> PullError {
        PullError::Unreachable { what: "the store".to_owned(), reason: error.to_string() }
    }

    async fn approve(&mut self, id: &str) -> Result<(), HoldError> {
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

    fn take_held(&mut self, id: &str) -> Result<Held, HoldError> {
        self.expect_held(id)?;
        let directory = self.terms.name.clone();
        self.held.take().ok_or(HoldError::NothingHeld { directory })
    }

    fn expect_held(&self, id: &str) -> Result<(), HoldError> {
        match &self.held {
            None => Err(HoldError::NothingHeld { directory: self.terms.name.clone() }),
            Some(held) if held.id != id => {
                Err(HoldError::Changed { asked: id.to_owned(), current: held.id.clone() })
            }
            Some(_) => Ok(()),
        }
    }

    fn reject(&mut self, id: &str) -> Result<(), HoldError> {
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
    async fn preview(&mut self, shutdown: &Shutdown) -> Result<Preview, String> {
        let base = self.ledger.directory(&self.terms.name);
        match self.crawl(Start::Full, shutdown).await {
            Ok(Some(crawled)) => {
                let held = guard::judge(&crawled.plan, totals(&base), &self.terms.limits);
                Ok(preview(&crawled.plan, &base, held))
            }
            Ok(None) => Err("the crawl was interrupted".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn held_preview(&self) -> Result<Preview, HoldError> {
        let directory = self.terms.name.clone();
        match (&self.held, self.status_hold()) {
            (Some(held), Some(summary)) => {
                let base = self.ledger.directory(&directory);
                Ok(preview(&held.crawled.plan, &base, Some(summary.reason)))
            }
            _ => Err(HoldError::NothingHeld { directory }),
        }
    }

    fn status_hold(&self) -> Option<HoldSummary> {
        self.statuses.get(&self.terms.name).and_then(|status| status.hold.clone())
    }

    /// One line per poll.
    fn report(&self, outcome: &Result<(), PullError>, delay: Duration) {
        let next_poll_at = Some(clock::now().plus(delay));
        self.statuses.update(&self.terms.name, |status| {
            status.crawling = false;
            status.next_poll_at = next_poll_at;
        });
        let next_poll_seconds = delay.as_secs_f64();
        match outcome {
            Ok(()) => self.report_success(next_poll_seconds),
            Err(error) => warn!(
                directory = self.terms.name,
                failures = self.failures,
                next_poll_seconds,
                %error,
                "poll failed"
            ),
        }
    }

    fn report_success(&self, next_poll_seconds: f64) {
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
            added = counts.users_created + counts.groups_created + counts.members_added,
            changed = counts.users_updated + counts.groups_updated,
            removed = counts.users_deleted + counts.groups_deleted + counts.members_removed,
            held = status.hold.as_ref().map(|hold| hold.id.as_str()),
            next_poll_seconds,
            "polled"
        );
    }
}

/// Hands pages on to the reconciler and counts them as progress.
struct Intake {
    reconciler: Box<Reconciler>,
    ticks: Arc<AtomicU64>,
}

impl Sink for Intake {
    fn page(&mut self, items: Vec<Item>) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
        self.reconciler.page(items);
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
