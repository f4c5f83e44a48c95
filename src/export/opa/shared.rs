//! Bundles that are made once for everyone who asks for them meanwhile, and read
//! while they are made.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

use super::bundle::write_bundle;
use super::feed::State;
use super::revision::Revision;
use crate::task::{self, Shutdown, Task};

/// What is handed on at once.
const CHUNK_BYTES: usize = 128 << 10;
/// A finished bundle up to this size is kept for the next who asks; a longer one
/// lives as long as somebody reads it.
const KEPT_BYTES: usize = 32 << 20;
/// Bundles that may be in memory at once, finished or not, and how long they may
/// be together before another is begun.
const ALIVE_MAX: usize = 4;
const ALIVE_BYTES_MAX: usize = 512 << 20;

/// All bundles there are. A cheap handle.
#[derive(Clone)]
pub struct Builds {
    shelf: Arc<Mutex<Shelf>>,
    /// One at a time: checks need the processor too.
    turn: Arc<Semaphore>,
    shutdown: Shutdown,
}

#[derive(Default)]
struct Shelf {
    builds: Vec<Weak<Build>>,
    kept: Option<Arc<Build>>,
    tasks: Vec<Task>,
}

/// One bundle, finished or not.
pub struct Build {
    pub revision: Revision,
    chunks: Mutex<Vec<Bytes>>,
    progress: watch::Sender<Progress>,
}

/// How far a bundle is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many chunks are there.
    Going(usize),
    Done(usize),
    Failed(String),
}

impl Builds {
    pub fn new(shutdown: Shutdown) -> Builds {
        Builds { shelf: Arc::default(), turn: Arc::new(Semaphore::new(1)), shutdown }
    }

    /// The bundle of a state, or one of the same scope that is being made: who
    /// waited for the newer one would have it later. Never one of before `seq`,
    /// which the asker knows already. `None` when too many are in memory.
    pub fn open(&self, state: State, seq: u64) -> Option<Arc<Build>> {
        let mut shelf = self.shelf();
        shelf.tasks.retain(|task| !task.is_finished());
        shelf.builds.retain(|build| build.strong_count() > 0);
        let wanted = state.revision;
        let fits = |build: &Arc<Build>| {
            build.revision == wanted && !matches!(*build.progress.borrow(), Progress::Failed(_))
                || build.revision.shape == wanted.shape
                    && build.revision.seq >= seq
                    && matches!(*build.progress.borrow(), Progress::Going(_))
        };
        if let Some(found) = shelf.builds.iter().filter_map(Weak::upgrade).find(fits) {
            return Some(found);
        }
        shelf.kept = None;
        shelf.builds.retain(|build| build.strong_count() > 0);
        let bytes: usize =
            shelf.builds.iter().filter_map(Weak::upgrade).map(|build| build.bytes()).sum();
        if shelf.builds.len() >= ALIVE_MAX || bytes > ALIVE_BYTES_MAX {
            return None;
        }
        let build = Arc::new(Build::new(wanted));
        shelf.builds.push(Arc::downgrade(&build));
        let making = self.clone().make(Arc::clone(&build), state);
        shelf.tasks.push(task::spawn("opa bundle", making));
        Some(build)
    }

    async fn make(self, build: Arc<Build>, state: State) {
        let Ok(turn) = self.turn.acquire().await else { return };
        let (target, shutdown) = (Arc::clone(&build), self.shutdown.clone());
        let made = task::blocking("make a bundle", move || {
            let mut pieces = Pieces { build: &target, piece: Vec::new(), shutdown };
            let written = write_bundle(&state, &mut pieces);
            written.and_then(|()| pieces.flush())
        });
        let outcome = made.await.map_err(io::Error::other).and_then(|written| written);
        drop(turn);
        if let Err(error) = &outcome {
            tracing::error!(%error, "a bundle cannot be made");
        }
        build.end(outcome.err());
        if build.bytes() <= KEPT_BYTES {
            self.shelf().kept = Some(build);
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Build {
    fn new(revision: Revision) -> Build {
        let progress = watch::Sender::new(Progress::Going(0));
        Build { revision, chunks: Mutex::default(), progress }
    }

    /// The chunk of this number as soon as it is there; `None` after the last.
    ///
    /// # Errors
    /// Why the bundle could not be made.
    pub async fn chunk(&self, number: usize) -> Result<Option<Bytes>, String> {
        let mut progress = self.progress.subscribe();
        let reached = |progress: &Progress| match progress {
            Progress::Going(count) => *count > number,
            Progress::Done(_) | Progress::Failed(_) => true,
        };
        match progress.wait_for(reached).await.as_deref() {
            Ok(Progress::Failed(reason)) => Err(reason.clone()),
            Ok(_) => Ok(self.chunks().get(number).cloned()),
            Err(_) => Err("it was given up".to_owned()),
        }
    }

    /// How long it is, so far.
    pub fn bytes(&self) -> usize {
        self.chunks().iter().map(Bytes::len).sum()
    }

    fn end(&self, error: Option<io::Error>) {
        let count = self.chunks().len();
        self.progress.send_replace(match error {
            None => Progress::Done(count),
            Some(error) => Progress::Failed(error.to_string()),
        });
    }

    fn push(&self, chunk: Vec<u8>) {
        let count = {
            let mut chunks = self.chunks();
            chunks.push(Bytes::from(chunk));
            chunks.len()
        };
        self.progress.send_replace(Progress::Going(count));
    }

    fn chunks(&self) -> MutexGuard<'_, Vec<Bytes>> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cuts what is written into chunks.
struct Pieces<'b> {
    build: &'b Build,
    piece: Vec<u8>,
    shutdown: Shutdown,
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.shutdown.is_requested() {
            return Err(io::Error::other("the daemon stops"));
        }
        if !self.piece.is_empty() {
            self.build.push(std::mem::take(&mut self.piece));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{self, Duration};
    use crate::export::opa::scope::Scope;
    use crate::export::opa::tests::{Setting, commit, crowd, leaves, patcher, whole};

    async fn bytes(build: &Build) -> Vec<u8> {
        let (mut all, mut number) = (Vec::new(), 0);
        while let Some(chunk) = build.chunk(number).await.unwrap() {
            all.extend_from_slice(&chunk);
            number += 1;
        }
        all
    }

    fn state(setting: &Setting, scope: Scope) -> State {
        setting.feed.state(&Arc::new(scope)).unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_is_being_made_is_shared_but_is_never_from_before_what_the_asker_knows() {
        let (setting, _folder) = crowd(5_000).await;
        let (_trigger, shutdown) = task::shutdown();
        let builds = Builds::new(shutdown);
        let turn = builds.turn.acquire().await.unwrap();
        let old = builds.open(state(&setting, Scope::default()), 0).unwrap();
        commit(&setting.ledger, vec![leaves(3)]).await;
        let now = state(&setting, Scope::default());
        assert!(Arc::ptr_eq(&old, &builds.open(now.clone(), 0).unwrap()));
        let new = builds.open(now.clone(), now.revision.seq).unwrap();
        assert_eq!(new.revision, now.revision);
        drop(turn);
        let (made, again) = tokio::join!(bytes(&new), bytes(&new));
        assert_eq!(made, again);
        let data = patcher::files(&made).remove("data.json").unwrap();
        assert_eq!(data["rosterd"], whole(&now));
        bytes(&old).await;
        assert!(Arc::ptr_eq(&new, &builds.open(now, 0).unwrap()), "kept for the next");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn only_so_many_are_in_memory() {
        let (setting, _folder) = crowd(5).await;
        let (_trigger, shutdown) = task::shutdown();
        let builds = Builds::new(shutdown);
        let turn = builds.turn.acquire().await.unwrap();
        let scope = |n: usize| Scope::default().with_group_prefix(Some(&format!("g{n}")));
        let open = |n: usize| builds.open(state(&setting, scope(n)), 0);
        let held: Vec<_> = (0..ALIVE_MAX).map(|n| open(n).unwrap()).collect();
        assert!(open(ALIVE_MAX).is_none());
        assert!(open(0).is_some(), "what is there is still shared");
        drop((turn, held));
        let deadline = clock::instant() + Duration::from_secs(60);
        while open(ALIVE_MAX).is_none() {
            assert!(clock::instant() < deadline, "they never go");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn it_breaks_off_when_the_daemon_stops() {
        let (setting, _folder) = crowd(5).await;
        let (trigger, shutdown) = task::shutdown();
        let builds = Builds::new(shutdown);
        trigger.fire();
        let build = builds.open(state(&setting, Scope::default()), 0).unwrap();
        assert!(build.chunk(0).await.unwrap_err().contains("stops"));
    }
}
