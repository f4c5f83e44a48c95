//! Steering endpoints while they run: what operators ask, and the way it takes
//! to the endpoint's task.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::model::Attempt;

/// Requests that may wait for one endpoint.
const WAITING_MAX: usize = 16;

/// What an endpoint can be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Sends nothing more until [`Order::Resume`].
    Pause,
    /// Sends again what waits, also when the endpoint was disabled; with `skip`
    /// what waits counts as delivered.
    Resume { skip: bool },
    /// Sends these events once more, before anything else. Without `to`, all up
    /// to the last one that was delivered.
    Replay { from: u64, to: Option<u64> },
    /// Sends an event of the type `webhook.test` at once, and once.
    Test,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    Paused,
    Resumed,
    /// These are sent again.
    Replaying {
        from: u64,
        to: u64,
    },
    Tested(Attempt),
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    #[error("there is no webhook {0}")]
    Unknown(String),
    /// The request makes no sense now; the reason, whole.
    #[error("{0}")]
    Refused(String),
    /// These events are no longer kept.
    #[error("events before {oldest} are no longer kept")]
    Gone { oldest: u64 },
    #[error("{0}")]
    Failed(String),
}

/// An order on its way, and where its outcome goes.
pub(super) type Letter = (Order, oneshot::Sender<Result<Done, OrderError>>);

/// The running endpoints. A cheap handle.
#[derive(Clone, Debug, Default)]
pub struct Controls {
    endpoints: Arc<RwLock<BTreeMap<String, mpsc::Sender<Letter>>>>,
}

impl Controls {
    /// Asks an endpoint, and waits until it is done.
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be done.
    pub async fn order(&self, endpoint: &str, order: Order) -> Result<Done, OrderError> {
        let found = {
            let endpoints = self.endpoints.read().unwrap_or_else(PoisonError::into_inner);
            endpoints.get(endpoint).cloned()
        };
        let Some(found) = found else { return Err(OrderError::Unknown(endpoint.to_owned())) };
        let (sender, outcome) = oneshot::channel();
        let ended = || OrderError::Failed(format!("the webhook {endpoint} is being stopped"));
        found.try_send((order, sender)).map_err(|error| match error {
            TrySendError::Full(_) => {
                OrderError::Refused(format!("{WAITING_MAX} orders wait for {endpoint} already"))
            }
            TrySendError::Closed(_) => ended(),
        })?;
        outcome.await.map_err(|_| ended())?
    }

    /// The endpoint runs from now on, and finds its orders there.
    pub(super) fn add(&self, endpoint: &str) -> mpsc::Receiver<Letter> {
        let (sender, letters) = mpsc::channel(WAITING_MAX);
        let mut endpoints = self.endpoints.write().unwrap_or_else(PoisonError::into_inner);
        endpoints.insert(endpoint.to_owned(), sender);
        letters
    }

    /// Forgets an endpoint that does not run any more.
    pub fn remove(&self, endpoint: &str) {
        self.endpoints.write().unwrap_or_else(PoisonError::into_inner).remove(endpoint);
    }
}
