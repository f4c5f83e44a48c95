//! One crawl, in a task of its own, watched for as long as it makes progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::info;

use super::Command;
use super::actor::Actor;
use crate::clock::{self, Duration, Timestamp};
use crate::provider::{Directory, Item, PullError, Seal, Sink, Start};
use crate::sync::plan::Plan;
use crate::sync::reconcile::Reconciler;
use crate::task::{self, Shutdown, Task};

/// A sealed crawl, compared.
pub(super) struct Crawled {
    pub(super) plan: Plan,
    pub(super) seal: Seal,
    pub(super) pages: u64,
    /// Everything was asked for, not only what changed.
    pub(super) full: bool,
    pub(super) started: Timestamp,
    pub(super) ended: Timestamp,
    pub(super) duration: Duration,
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
    /// Crawls; when the cursor turns out to be of no use, once more in full.
    pub(super) async fn crawl_with_fallback(
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

    /// Reads the directory once. `None`: superseded or shutting down.
    pub(super) async fn crawl(
        &mut self,
        start: Start,
        shutdown: &Shutdown,
    ) -> Result<Option<Crawled>, PullError> {
        let (started, clock_start) = (clock::now(), clock::instant());
        let base = self.ledger.directory(&self.terms.name);
        let ticks = Arc::new(AtomicU64::new(0));
        let full = start == Start::Full;
        let running = self.launch(start, Reconciler::new(base), ticks.clone());
        match self.watch(running, &ticks, shutdown).await {
            Wait::Shutdown => Ok(None),
            Wait::Superseded => {
                self.superseded = true;
                Ok(None)
            }
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
                Ok(Some(Crawled { plan, seal, pages, full, started, ended, duration }))
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
