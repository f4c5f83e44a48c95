//! Polls one directory for ever: waits, crawls, guards, commits, tells.
//!
//! One actor owns everything about its directory, so two of its commits never
//! race. A crawl runs in a task of its own: when it panics or hangs, the
//! poller counts a failure and goes on, and no other directory notices.

mod actor;
mod audit;
mod crawl;
mod freshness;
mod preview;
mod recorder;
mod settle;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use self::actor::Actor;
pub use self::preview::{HoldPreview, Page, PlanError, Preview, Row};
use super::guard::{Limits, OnHold};
use super::ledger::Ledger;
use super::schedule::Delays;
use super::status::Statuses;
use crate::clock::Duration;
use crate::model::Caller;
use crate::provider::{Patience, Settings};
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
    pub checkpoints: Checkpointing,
    /// How old the picture may become before that is told.
    pub freshness_objective: Option<Duration>,
    pub limits: Limits,
    pub on_hold: OnHold,
    pub settings: Arc<dyn Settings>,
}

/// How crawls survive a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpointing {
    /// A crawl that ends sooner writes nothing; zero: at each checkpoint.
    pub every: Duration,
    /// A crawl that began longer ago starts anew.
    pub max_age: Duration,
}

/// What an operator may ask of a poller.
#[derive(Debug)]
enum Command {
    Sync(Option<oneshot::Sender<Result<(), String>>>),
    Plan(Page, oneshot::Sender<Result<Preview, PlanError>>),
    Held(Page, oneshot::Sender<Result<HoldPreview, HoldError>>),
    Approve(String, Caller, oneshot::Sender<Result<(), HoldError>>),
    Reject(String, Caller, oneshot::Sender<Result<(), HoldError>>),
}

/// Why an approval or rejection was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    #[error("nothing is held for {directory}")]
    NothingHeld { directory: String },
    #[error("the held set is now {current}, not {asked}: look at it again before you approve it")]
    Changed { asked: String, current: String },
    #[error(
        "{id} was held before the restart; its changes can be listed and approved when the \
         directory has been read again"
    )]
    NotReadAgain { id: String },
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

    /// Reads the directory in full and says what a poll would change; or a
    /// further page of what it said.
    ///
    /// # Errors
    /// The crawl's failure, as a sentence; or the page is of a plan that is gone.
    pub async fn plan(&self, page: Page) -> Result<Preview, PlanError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Plan(page, reply), answer, PlanError::Failed).await
    }

    /// What is held.
    ///
    /// # Errors
    /// When nothing is, or the page is of another set.
    pub async fn held(&self, page: Page) -> Result<HoldPreview, HoldError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Held(page, reply), answer, HoldError::Failed).await
    }

    /// Lets exactly the held set `id` through, and says in the audit trail for whom.
    ///
    /// # Errors
    /// When something else, or nothing, is held.
    pub async fn approve(&self, id: &str, by: Caller) -> Result<(), HoldError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Approve(id.to_owned(), by, reply), answer, HoldError::Failed).await
    }

    /// Keeps the last good state until the provider's answer changes; the audit
    /// trail says for whom.
    ///
    /// # Errors
    /// When something else, or nothing, is held.
    pub async fn reject(&self, id: &str, by: Caller) -> Result<(), HoldError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Reject(id.to_owned(), by, reply), answer, HoldError::Failed).await
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

#[cfg(test)]
mod tests;
