//! The committed picture and the one way to change it: write durably, then
//! show the new view, then wake the readers.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{error, info};

use super::notice;
use crate::audit::Trail;
use crate::clock;
use crate::index::{Builder, DirectoryView, SharedView, View};
use crate::model::{Act, Action, Attributes, Caller, Cause, Change, Commit, EventKind, Progress};
use crate::store::{Committed, Store, StoreError};
use crate::task::{self, TaskEnd};

/// Store and view together. A cheap handle.
#[derive(Clone)]
pub struct Ledger {
    store: Store,
    trail: Trail,
    view: Arc<SharedView>,
    /// Directories whose view lags behind the store after an error.
    unwell: Arc<Mutex<BTreeSet<String>>>,
    /// Counts how often the store was set aside under our feet.
    generation: Arc<AtomicU64>,
}

/// Why a commit is not (surely) done.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the stored directory {directory} cannot be shown: {reason}")]
    View { directory: String, reason: String },
    /// The store was set aside since; what the commit builds on is gone.
    #[error("the store was replaced while {directory} was being read")]
    Superseded { directory: String },
    #[error(transparent)]
    Task(#[from] TaskEnd),
}

impl LedgerError {
    /// Whether stored bytes are damaged, so that only a new store helps.
    pub fn is_damage(&self) -> bool {
        matches!(self, LedgerError::View { .. } | LedgerError::Store(StoreError::Corrupt { .. }))
    }
}

impl Ledger {
    /// Loads every stored directory into the view. Blocking.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(store: Store) -> Result<Ledger, LedgerError> {
        let rows = store.directories()?;
        let directories: Result<Vec<DirectoryView>, LedgerError> =
            rows.iter().map(|row| load(&store, &row.name, &row.tenant, &row.product)).collect();
        let view = Arc::new(SharedView::new(View::new(directories?, store.last_seq())));
        let trail = Trail::new(store.clone());
        Ok(Ledger { store, trail, view, unwell: Arc::default(), generation: Arc::default() })
    }

    /// The store, for readers of the journal.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The audit trail of the store.
    pub fn trail(&self) -> &Trail {
        &self.trail
    }

    /// The view, for readers.
    pub fn view(&self) -> &Arc<SharedView> {
        &self.view
    }

    /// One directory as committed; empty when it never was.
    pub fn directory(&self, name: &str) -> Arc<DirectoryView> {
        let view = self.view.load();
        match view.directory(name) {
            Some(directory) => directory.clone(),
            None => Arc::new(DirectoryView::empty(name, "", "")),
        }
    }

    /// The names of all directories that were ever committed and not dropped.
    pub fn names(&self) -> Vec<String> {
        self.view.load().directories().map(|directory| directory.name().to_owned()).collect()
    }

    /// What is remembered of a directory beside its records.
    pub fn progress(&self, name: &str) -> Progress {
        let rows = self.store.directories().unwrap_or_default();
        rows.into_iter().find(|row| row.name == name).map(|row| row.progress).unwrap_or_default()
    }

    /// Changes when all that was committed is gone, and with it what pollers
    /// remember of it.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Whether the directory's next commit refills a store that was set aside.
    pub fn is_rebuilding(&self, name: &str) -> bool {
        self.store.is_rebuilding(name)
    }

    /// Writes a commit and shows it. `generation` is the one that the commit
    /// was made for.
    ///
    /// # Errors
    /// When it is not done, or not surely: then [`Ledger::heal`] finds out.
    pub async fn commit(&self, commit: Commit, generation: u64) -> Result<(), LedgerError> {
        self.commit_recorded(commit, generation, None).await
    }

    /// The same, recorded in the audit trail if and only if it is done.
    ///
    /// # Errors
    /// As for [`Ledger::commit`].
    pub async fn commit_recorded(
        &self,
        commit: Commit,
        generation: u64,
        act: Option<Act>,
    ) -> Result<(), LedgerError> {
        let ledger = self.clone();
        let work = move || ledger.commit_blocking(&commit, generation, act.as_ref());
        task::blocking("commit", work).await?
    }

    /// Loads the directory from the store again, if an error left it unsure.
    ///
    /// # Errors
    /// When the store still cannot be read.
    pub async fn heal(&self, name: &str) -> Result<(), LedgerError> {
        if self.store.is_in_doubt() {
            let ledger = self.clone();
            task::blocking("examine", move || ledger.examine()).await??;
        }
        if !self.unwell().contains(name) {
            return Ok(());
        }
        let (ledger, name) = (self.clone(), name.to_owned());
        task::blocking("reload", move || ledger.reload(&name)).await?
    }

    /// Drops a directory that left the configuration, and tells of it; the audit
    /// trail says for whom.
    ///
    /// # Errors
    /// As for [`Ledger::commit`].
    pub async fn remove(&self, name: &str, by: Caller) -> Result<(), LedgerError> {
        let base = self.directory(name);
        let commit = Commit {
            directory: name.to_owned(),
            tenant: base.tenant().to_owned(),
            product: base.product().to_owned(),
            occurred_at: clock::now(),
            changes: notice::removed(&base),
            cause: Cause::Removed,
            progress: Progress::default(),
        };
        let act = Act::of(Action::DIRECTORY_DELETE, by).on("directory", name);
        let act = act
            .with("users", base.user_count() as u64)
            .with("groups", base.group_count() as u64)
            .with("memberships", base.membership_count() as u64);
        self.commit_recorded(commit, self.generation(), Some(act)).await
    }

    /// Tells something that is of no directory, and records the act.
    ///
    /// # Errors
    /// As for [`Ledger::commit`].
    pub async fn announce(
        &self,
        kind: EventKind,
        details: Attributes,
        act: Act,
    ) -> Result<(), LedgerError> {
        let commit = Commit {
            directory: String::new(),
            tenant: String::new(),
            product: String::new(),
            occurred_at: clock::now(),
            changes: vec![Change::Notice { kind, details }],
            cause: Cause::Daemon,
            progress: Progress::default(),
        };
        self.commit_recorded(commit, self.generation(), Some(act)).await
    }

    fn commit_blocking(
        &self,
        commit: &Commit,
        generation: u64,
        act: Option<&Act>,
    ) -> Result<(), LedgerError> {
        self.view.change(|view| {
            if generation != self.generation() {
                return Err(LedgerError::Superseded { directory: commit.directory.clone() });
            }
            let unwell = || {
                if commit.directory.is_empty() {
                    return;
                }
                self.unwell().insert(commit.directory.clone());
            };
            let committed = self.store.commit_recorded(commit, act).inspect_err(|error| {
                if matches!(error, StoreError::Uncertain { .. } | StoreError::Corrupt { .. }) {
                    unwell();
                }
            });
            let (committed, recorded) = committed?;
            if let Some((seq, act)) = recorded.zip(act) {
                self.trail.tell(seq, act);
            }
            // The commit stands; a view that cannot follow has to be loaded again.
            let next = self.next_view(view, commit, &committed);
            next.and_then(|next| self.with_unwell(next)).inspect_err(|_| unwell())
        })
    }

    fn next_view(
        &self,
        view: &View,
        commit: &Commit,
        committed: &Committed,
    ) -> Result<View, LedgerError> {
        let (name, seq) = (&commit.directory, self.store.last_seq());
        // What is of no directory changes none.
        if name.is_empty() || commit.changes.contains(&Change::Cleared) {
            return Ok(view.without_directory(name, seq));
        }
        let base = match view.directory(name) {
            Some(directory) => directory.clone(),
            None => Arc::new(DirectoryView::empty(name, &commit.tenant, &commit.product)),
        };
        match base.apply(&commit.changes, committed.first_seq) {
            Ok(next) => {
                let next = next.with_labels(&commit.tenant, &commit.product);
                Ok(view.with_directory(Arc::new(next), seq))
            }
            Err(error) => {
                error!(directory = name, %error, "the view cannot follow, loading it again");
                self.reloaded(view, name)
            }
        }
    }

    /// The same with every directory whose last commit may stand without being in
    /// the view: a view must hold all that there is up to its seq.
    fn with_unwell(&self, mut view: View) -> Result<View, LedgerError> {
        let names: Vec<String> = self.unwell().iter().cloned().collect();
        for name in names {
            view = self.reloaded(&view, &name)?;
            self.unwell().remove(&name);
            info!(directory = name, "loaded from the store again");
        }
        Ok(view)
    }

    /// Opens a store again in which somebody met damage, or sets it aside.
    fn examine(&self) -> Result<(), LedgerError> {
        let Err(error) = self.store.settle_doubt().map_err(LedgerError::from) else {
            return Ok(());
        };
        if error.is_damage() { self.view.change(|_| self.set_aside(&error)) } else { Err(error) }
    }

    fn reload(&self, name: &str) -> Result<(), LedgerError> {
        self.view.change(|view| match self.reloaded(view, name) {
            Err(error) if error.is_damage() => self.set_aside(&error),
            outcome => outcome,
        })?;
        self.unwell().remove(name);
        info!(directory = name, "loaded from the store again");
        Ok(())
    }

    /// Goes on with an empty store. What was served was good, but new commits
    /// have nothing to build on, so every directory is read again.
    fn set_aside(&self, error: &LedgerError) -> Result<View, LedgerError> {
        self.store.set_aside(&error.to_string())?;
        let act = Act::of_daemon(Action::STORE_RESET).with("reason", error.to_string());
        // What cannot be recorded is logged; the new store is needed all the same.
        let _ = self.trail.record_blocking(&act);
        self.generation.fetch_add(1, Ordering::SeqCst);
        error!(%error, "the store is damaged and set aside; reading all directories again");
        Ok(View::new([], self.store.last_seq()))
    }

    fn reloaded(&self, view: &View, name: &str) -> Result<View, LedgerError> {
        let rows = self.store.directories()?;
        let seq = self.store.last_seq();
        Ok(match rows.into_iter().find(|row| row.name == name) {
            Some(row) => {
                let directory = load(&self.store, name, &row.tenant, &row.product)?;
                view.with_directory(Arc::new(directory), seq)
            }
            None => view.without_directory(name, seq),
        })
    }

    fn unwell(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.unwell.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn load(
    store: &Store,
    name: &str,
    tenant: &str,
    product: &str,
) -> Result<DirectoryView, LedgerError> {
    let mut builder = Builder::new(name, tenant, product);
    store.load(name, &mut builder)?;
    builder.told_up_to(store.last_seq());
    builder.finish().map_err(|error| LedgerError::View {
        directory: name.to_owned(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Put, User};
    use crate::provider::UserItem;
    use crate::store::Options;
    use crate::store::record::encode_user;

    fn commit(directory: &str, slot: u32) -> Commit {
        let user = User { id: format!("u{slot}"), ..User::default() };
        let record = encode_user(&UserItem { user, ..UserItem::default() });
        Commit {
            directory: directory.into(),
            tenant: "t".into(),
            product: "p".into(),
            occurred_at: clock::now(),
            changes: vec![Change::User { slot, record, put: Put::Created }],
            cause: Cause::Crawl { full: true },
            progress: Progress::default(),
        }
    }

    #[tokio::test]
    async fn a_view_holds_all_up_to_its_seq_also_after_a_doubtful_commit() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path(), Options::default()).unwrap();
        let ledger = Ledger::open(store.clone()).unwrap();
        ledger.commit(commit("corp", 0), ledger.generation()).await.unwrap();
        // Durable, and whoever wrote it was told that nothing is sure.
        store.commit(&commit("corp", 1)).unwrap();
        ledger.unwell().insert("corp".into());
        ledger.commit(commit("lab", 0), ledger.generation()).await.unwrap();
        let view = ledger.view().load();
        assert_eq!(view.seq, store.last_seq());
        assert_eq!(view.directory("corp").unwrap().user_count(), 2);
        assert!(ledger.unwell().is_empty());
    }

    /// Else two contents had one number, and who holds the one would be told that
    /// it is the other.
    #[tokio::test]
    async fn a_directory_that_is_loaded_again_does_not_go_back_to_an_older_number() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path(), Options::default()).unwrap();
        let ledger = Ledger::open(store.clone()).unwrap();
        ledger.commit(commit("corp", 0), ledger.generation()).await.unwrap();
        let before = ledger.directory("corp").last_seq();
        ledger.commit(commit("lab", 0), ledger.generation()).await.unwrap();
        ledger.unwell().insert("corp".into());
        ledger.heal("corp").await.unwrap();
        assert!(ledger.directory("corp").last_seq() > before);
    }
}
