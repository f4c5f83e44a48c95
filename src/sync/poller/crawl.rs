//! One crawl, in a task of its own, watched for as long as it makes progress.

use tracing::info;

use super::actor::Actor;
use super::preview::PlanError;
use super::recorder::Recorder;
use super::{Command, HoldError, Terms};
use crate::clock::{self, Duration, Timestamp};
use crate::provider::pulse::Pulse;
use crate::provider::{Directory, Item, PullError, Seal, Sink, Start};
use crate::sync::guard::Gate;
use crate::sync::pages::Page;
use crate::sync::reconcile::Reconciler;
use crate::sync::split::Outcome;
use crate::task::{self, Shutdown, Task};

/// A sealed crawl, compared.
pub(super) struct Crawled {
    pub(super) outcome: Outcome,
    pub(super) seal: Seal,
    pub(super) pages: u64,
    /// Everything was asked for, not only what changed.
    pub(super) full: bool,
    /// The feed was read right before: what it finds is drift.
    pub(super) caught_up: bool,
    pub(super) started: Timestamp,
    pub(super) ended: Timestamp,
    pub(super) duration: Duration,
}

/// What a crawl lends and hands back, and how it went.
struct Read {
    directory: Box<dyn Directory>,
    reconciler: Box<Reconciler>,
    /// The newest checkpoint.
    token: Option<Vec<u8>>,
    result: Result<Seal, PullError>,
}

/// A crawl that failed and can go on. It is compared with the picture as it
/// was, so it ends with anything that changes that.
pub(super) struct Paused {
    pub(super) token: Vec<u8>,
    pub(super) reconciler: Box<Reconciler>,
    pub(super) full: bool,
    /// As of [`Crawled`].
    pub(super) caught_up: bool,
    pub(super) started: Timestamp,
    /// Where it is written down, for a restart.
    pub(super) recorder: Recorder,
}

impl Paused {
    /// How far it came.
    pub(super) fn pages(&self) -> u64 {
        self.reconciler.pages()
    }
}

/// Whether a crawl may go on after this: what was read before was in order.
fn is_passing(error: &PullError) -> bool {
    matches!(
        error,
        PullError::Unreachable { .. }
            | PullError::Throttled { .. }
            | PullError::Unauthorized { .. }
    )
}

/// How waiting for a crawl ended.
enum Wait {
    Ended(Result<Box<Read>, task::TaskEnd>),
    Stalled,
    Superseded,
    Shutdown,
}

impl Actor {
    /// Crawls; when the checkpoint or the cursor turns out to be of no use, once
    /// more without it.
    pub(super) async fn crawl_with_fallback(
        &mut self,
        shutdown: &Shutdown,
    ) -> Result<Option<Crawled>, PullError> {
        loop {
            let start = self.start();
            let (resumed, full) = (matches!(start, Start::Resume(_)), start == Start::Full);
            let recorder = self.recorder(&start);
            let outcome = self.crawl(start, recorder.clone(), shutdown).await;
            self.keep_or_drop(&recorder, &outcome, shutdown).await;
            match outcome {
                Err(PullError::CursorExpired { reason }) if resumed => {
                    info!(
                        directory = self.terms.name,
                        reason, "the crawl cannot go on, starting anew"
                    );
                }
                Err(PullError::CursorExpired { reason }) if !full => {
                    info!(
                        directory = self.terms.name,
                        reason, "the cursor expired, reading in full"
                    );
                    self.progress.cursor = None;
                }
                outcome => return outcome,
            }
        }
    }

    /// What is written down of a crawl stays until that is settled, or while it
    /// may go on: in this process, or in the next.
    async fn keep_or_drop(
        &mut self,
        recorder: &Recorder,
        outcome: &Result<Option<Crawled>, PullError>,
        shutdown: &Shutdown,
    ) {
        match outcome {
            Ok(Some(_)) => {}
            Ok(None) if shutdown.is_requested() => recorder.close().await,
            Err(_) if self.paused.is_some() => recorder.save().await,
            Err(_) if std::mem::take(&mut self.stalled) => {
                // What was compared is lost with the crawl's task.
                recorder.close().await;
                self.recalled = false;
            }
            Ok(None) | Err(_) => self.checkpoints.remove(),
        }
    }

    /// Reads the directory once. `None`: superseded or shutting down.
    pub(super) async fn crawl(
        &mut self,
        start: Start,
        recorder: Recorder,
        shutdown: &Shutdown,
    ) -> Result<Option<Crawled>, PullError> {
        self.stalled = false;
        let clock_start = clock::instant();
        let pulse = Pulse::default();
        let paused = match start {
            Start::Resume(_) => self.paused.take(),
            Start::Full | Start::Incremental(_) => None,
        };
        let (full, caught_up, started) = match &paused {
            Some(paused) => (paused.full, paused.caught_up, paused.started),
            None => {
                let full = start == Start::Full;
                (full, full && self.caught_up, clock::now())
            }
        };
        let (reconciler, token) = match paused {
            Some(paused) => (paused.reconciler, Some(paused.token)),
            None => {
                let base = self.ledger.directory(&self.terms.name);
                (Box::new(Reconciler::new(base)), None)
            }
        };
        let intake = Intake {
            reconciler,
            pulse: pulse.clone(),
            token,
            recorder: recorder.clone(),
            is_verifying: false,
        };
        let running = self.launch(start, intake);
        match self.watch(running, &pulse, shutdown).await {
            Wait::Shutdown => Ok(None),
            Wait::Superseded => {
                self.superseded = true;
                Ok(None)
            }
            Wait::Stalled => {
                self.stalled = true;
                Err(PullError::Unreachable {
                    what: self.terms.settings.origin(),
                    reason: format!(
                        "the crawl made no progress for {} s",
                        self.terms.patience.stall_timeout.as_secs()
                    ),
                })
            }
            Wait::Ended(Err(end)) => Err(PullError::Incomplete {
                what: self.terms.settings.origin(),
                reason: end.to_string(),
            }),
            Wait::Ended(Ok(read)) => {
                let Read { directory, reconciler, token, result } = *read;
                self.directory = Some(directory);
                let seal = match result {
                    Ok(seal) => seal,
                    Err(error) => {
                        let token = token.filter(|_| is_passing(&error));
                        self.paused = token.map(|token| Paused {
                            token,
                            reconciler,
                            full,
                            caught_up,
                            started,
                            recorder,
                        });
                        return Err(error);
                    }
                };
                let pages = reconciler.pages();
                let extent = seal.extent;
                let gate = self.gate();
                let outcome = task::blocking("compare", move || reconciler.seal(extent, &gate))
                    .await
                    .map_err(|end| PullError::Incomplete {
                        what: self.terms.settings.origin(),
                        reason: end.to_string(),
                    })??;
                let duration = clock::instant() - clock_start;
                let ended = clock::now();
                Ok(Some(Crawled {
                    outcome,
                    seal,
                    pages,
                    full,
                    caught_up,
                    started,
                    ended,
                    duration,
                }))
            }
        }
    }

    /// What the crawl has to pass now.
    fn gate(&self) -> Gate {
        let Terms { limits, on_hold, .. } = self.terms;
        Gate { limits, on_hold, hold: self.progress.hold.clone() }
    }

    fn open(&self) -> Box<dyn Directory> {
        let mut directory = self.terms.settings.open(self.terms.patience);
        if let Some(cursor) = self.cursor() {
            directory.recall(&cursor);
        }
        directory
    }

    fn launch(&mut self, start: Start, mut intake: Intake) -> Task<Box<Read>> {
        let mut directory = match self.directory.take() {
            Some(directory) => directory,
            None => self.open(),
        };
        task::spawn(format!("crawl {}", self.terms.name), async move {
            let pulse = intake.pulse.clone();
            let result = pulse.watch(directory.crawl(start, &mut intake)).await;
            let Intake { reconciler, token, .. } = intake;
            Box::new(Read { directory, reconciler, token, result })
        })
    }

    /// Waits for the crawl, for as long as it makes progress. An approval
    /// changes what the crawl is compared with, so it supersedes the crawl.
    async fn watch(
        &mut self,
        running: Task<Box<Read>>,
        pulse: &Pulse,
        shutdown: &Shutdown,
    ) -> Wait {
        let ended = running.join();
        tokio::pin!(ended);
        let mut seen = pulse.count();
        let mut deadline = clock::instant() + self.terms.patience.stall_timeout;
        loop {
            tokio::select! {
                result = &mut ended => return Wait::Ended(result),
                () = shutdown.requested() => return Wait::Shutdown,
                () = Actor::objective_missed(self.objective_due()) => self.tell_stale().await,
                () = tokio::time::sleep_until(deadline) => {
                    let now = pulse.count();
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
                    Command::Plan(page, reply) => {
                        let busy = "a poll is under way; ask again when it has ended";
                        let answer = match page.of {
                            Some(_) => self.planned_page(&page),
                            None => Err(PlanError::Failed(busy.to_owned())),
                        };
                        let _ = reply.send(answer);
                    }
                    Command::Held(page, reply) => {
                        let _ = reply.send(self.held_preview(&page).await);
                    }
                    Command::Approve(id, by, reply) => {
                        let generation = self.generation;
                        let outcome = self.approve_for(&id, by).await;
                        // It may have changed the picture, also by finding the store damaged.
                        let may_differ = matches!(outcome, Ok(()) | Err(HoldError::Failed(_)))
                            || self.generation != generation;
                        let _ = reply.send(outcome);
                        if may_differ {
                            return Wait::Superseded;
                        }
                    }
                    Command::Reject(id, by, reply) => {
                        let outcome = self.reject_for(&id, by).await;
                        let _ = reply.send(outcome);
                    }
                },
            }
        }
    }
}

/// Hands pages on to the reconciler and counts them as progress.
struct Intake {
    reconciler: Box<Reconciler>,
    pulse: Pulse,
    /// The newest checkpoint; at first the one that the crawl goes on from.
    token: Option<Vec<u8>>,
    recorder: Recorder,
    /// What comes now was read again although no feed named it.
    is_verifying: bool,
}

impl Sink for Intake {
    fn page(&mut self, items: Vec<Item>) {
        self.pulse.beat();
        let page = Page { items, is_verified: self.is_verifying };
        self.recorder.page(&page);
        page.compare(&mut self.reconciler);
    }

    fn verifying(&mut self, is_on: bool) {
        self.is_verifying = is_on;
    }

    fn checkpoint(&mut self, token: Vec<u8>) {
        self.recorder.checkpoint(&token);
        self.token = Some(token);
    }
}
