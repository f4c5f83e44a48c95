//! Hands what operators ask on the socket to the pollers.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;

use super::records;
use crate::audit::Trail;
use crate::model::{Act, Action, Caller};
use crate::query::{Backlog, HeldChanges, Operator, OperatorError, Page, Plan};
use crate::store::Store;
use crate::sync::poller::{HoldError, PlanError, Remote};
use crate::webhook;

/// The pollers by directory. A cheap handle.
#[derive(Clone, Debug)]
pub struct Remotes {
    remotes: Arc<RwLock<BTreeMap<String, Remote>>>,
    trail: Trail,
}

impl Remotes {
    pub fn new(trail: Trail) -> Remotes {
        Remotes { remotes: Arc::default(), trail }
    }

    /// Adds or replaces a poller.
    pub fn insert(&self, name: &str, remote: Remote) {
        let mut remotes = self.remotes.write().unwrap_or_else(PoisonError::into_inner);
        remotes.insert(name.to_owned(), remote);
    }

    /// Forgets a poller.
    pub fn remove(&self, name: &str) {
        self.remotes.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// The poller of a hold, which records the decision; where there is none,
    /// the refusal is recorded here.
    async fn of_hold(
        &self,
        directory: &str,
        id: &str,
        action: Action,
        by: &Caller,
    ) -> Result<Remote, OperatorError> {
        let found = self.get(directory);
        if let Err(error) = &found {
            let act = Act::of(action, by.clone()).on("directory", directory).on("hold", id);
            records::write(&self.trail, act.refused(error)).await;
        }
        found
    }

    fn get(&self, name: &str) -> Result<Remote, OperatorError> {
        let remotes = self.remotes.read().unwrap_or_else(PoisonError::into_inner);
        remotes.get(name).cloned().ok_or_else(|| OperatorError::UnknownDirectory(name.to_owned()))
    }
}

#[async_trait]
impl Operator for Remotes {
    async fn sync(&self, directory: &str, by: Caller) -> Result<(), OperatorError> {
        let found = self.get(directory);
        let act = Act::of(Action::DIRECTORY_SYNC, by).on("directory", directory);
        let act = match &found {
            Ok(_) => act.with("outcome", "requested"),
            Err(error) => act.refused(error),
        };
        // A poll is worth more than its entry, which was logged in any case.
        records::write(&self.trail, act).await;
        found?.nudge();
        Ok(())
    }

    async fn plan(&self, directory: &str, page: Page) -> Result<Plan, OperatorError> {
        self.get(directory)?.plan(page).await.map_err(|error| match error {
            PlanError::Gone => OperatorError::PlanGone(error.to_string()),
            PlanError::Failed(reason) => OperatorError::Failed(reason),
        })
    }

    async fn hold(&self, directory: &str, page: Page) -> Result<HeldChanges, OperatorError> {
        self.get(directory)?.held(page).await.map_err(|error| refused(directory, error))
    }

    async fn approve(&self, directory: &str, id: &str, by: Caller) -> Result<(), OperatorError> {
        let remote = self.of_hold(directory, id, Action::HOLD_APPROVE, &by).await?;
        remote.approve(id, by).await.map_err(|error| refused(directory, error))
    }

    async fn reject(&self, directory: &str, id: &str, by: Caller) -> Result<(), OperatorError> {
        let remote = self.of_hold(directory, id, Action::HOLD_REJECT, &by).await?;
        remote.reject(id, by).await.map_err(|error| refused(directory, error))
    }
}

fn refused(directory: &str, error: HoldError) -> OperatorError {
    let directory = directory.to_owned();
    match error {
        HoldError::NothingHeld { .. } => OperatorError::NothingHeld(directory),
        HoldError::Changed { asked, current } => {
            OperatorError::OtherHold { directory, asked, held: current }
        }
        HoldError::NotReadAgain { .. } => OperatorError::NotReadAgain(error.to_string()),
        HoldError::Failed(reason) => OperatorError::Failed(reason),
    }
}

/// How far the webhooks lag behind the journal.
pub struct Lag {
    endpoints: Arc<webhook::Statuses>,
    store: Store,
}

impl Lag {
    pub fn new(endpoints: Arc<webhook::Statuses>, store: Store) -> Lag {
        Lag { endpoints, store }
    }
}

impl Backlog for Lag {
    fn endpoints(&self) -> Vec<webhook::EndpointStatus> {
        self.endpoints.snapshot(self.store.last_seq())
    }
}
