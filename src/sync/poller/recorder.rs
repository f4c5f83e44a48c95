//! Writes down what a crawl reads, and reads it again after a restart.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::{info, warn};

use super::actor::Actor;
use super::crawl::Paused;
use crate::clock::{self, Duration, Timestamp};
use crate::index::DirectoryView;
use crate::provider::Start;
use crate::store::{Checkpoints, Log, Origin, Saved, Useless, Wanted};
use crate::sync::pages::{self, Page};
use crate::sync::reconcile::Reconciler;
use crate::task;

/// What of a crawl is on disk; by default nothing. Shared by the crawl and its
/// poller, who may close it while the crawl still runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorder(Arc<Mutex<Option<Log>>>);

impl Recorder {
    fn new(log: Log) -> Recorder {
        Recorder(Arc::new(Mutex::new(Some(log))))
    }

    /// Notes a page that is handed over.
    pub(super) fn page(&self, page: &Page) {
        if let Some(log) = &mut *self.log() {
            log.page(&pages::encode(page));
        }
    }

    /// Notes where the crawl can go on.
    pub(super) fn checkpoint(&self, token: &[u8]) {
        if let Some(log) = &mut *self.log() {
            log.checkpoint(token.to_vec());
        }
    }

    /// Makes sure that a restart goes on at the newest checkpoint.
    pub(super) async fn save(&self) {
        let recorder = self.clone();
        let work = move || recorder.log().as_mut().map(Log::save);
        if let Err(end) = task::blocking("checkpoint", work).await {
            warn!(error = %end, "writing a checkpoint failed");
        }
    }

    /// The same, and nothing is noted any more.
    pub(super) async fn close(&self) {
        self.save().await;
        *self.log() = None;
    }

    fn log(&self) -> MutexGuard<'_, Option<Log>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Actor {
    /// For a crawl that begins, or the one that goes on.
    pub(super) fn recorder(&self, start: &Start) -> Recorder {
        let full = match (start, &self.paused) {
            (Start::Resume(_), Some(paused)) => return paused.recorder.clone(),
            (Start::Full, _) => true,
            _ => false,
        };
        if !self.terms.settings.is_resumable() {
            return Recorder::default();
        }
        let origin = Origin {
            fingerprint: self.terms.settings.fingerprint(),
            full,
            caught_up: full && self.caught_up,
            started: clock::now(),
            as_of: self.progress.as_of,
        };
        Recorder::new(self.checkpoints.begin(&origin, self.terms.checkpoints.every))
    }

    /// Takes up the crawl that an earlier process did not end, if there is one
    /// that is of use still.
    pub(super) async fn recall(&mut self) {
        if std::mem::replace(&mut self.recalled, true) || self.paused.is_some() {
            return;
        }
        let wanted = Wanted {
            fingerprint: self.terms.settings.fingerprint(),
            as_of: self.progress.as_of,
            now: clock::now(),
            max_age: self.terms.checkpoints.max_age,
        };
        let (home, every) = (self.checkpoints.clone(), self.terms.checkpoints.every);
        let base = self.ledger.directory(&self.terms.name);
        let work = move || recall(&home, &wanted, base, every);
        let directory = &self.terms.name;
        match task::blocking("recall", work).await {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(paused))) => {
                let (pages, started) = (paused.pages(), paused.started);
                info!(directory, pages, %started, "going on with the crawl that was cut short");
                self.paused = Some(paused);
            }
            Ok(Err(reason)) => {
                info!(directory, %reason, "the checkpoint is of no use, starting anew");
            }
            Err(end) => {
                self.checkpoints.remove();
                warn!(directory, error = %end, "the checkpoint cannot be read, starting anew");
            }
        }
    }
}

/// Whether a crawl that began at `started` is young enough to go on. One that
/// began in the future tells that the clock was set back: nobody knows its age.
pub(super) fn is_current(started: Timestamp, max_age: Duration) -> bool {
    let now = clock::now();
    started <= now && now < started.plus(max_age)
}

fn recall(
    home: &Checkpoints,
    wanted: &Wanted,
    base: Arc<DirectoryView>,
    every: Duration,
) -> Result<Option<Paused>, Useless> {
    let Some(mut saved) = home.open(wanted)? else { return Ok(None) };
    let mut reconciler = Box::new(Reconciler::new(base));
    saved.pages(home, |page| {
        let page = pages::decode(page).map_err(|error| error.to_string())?;
        page.compare(&mut reconciler);
        Ok(())
    })?;
    let Saved { origin, token, .. } = &saved;
    let (token, started) = (token.clone(), origin.started);
    let (full, caught_up) = (origin.full, origin.caught_up);
    let recorder = Recorder::new(saved.resume(home, every));
    Ok(Some(Paused { token, reconciler, full, caught_up, started, recorder }))
}
