//! What answers are made from, and whom operators' requests go to.

use std::sync::Arc;

use async_trait::async_trait;

use tokio::sync::watch;

use super::audit::Wanted;
use super::journal::{Journal, JournalError};
use super::policies::SharedPolicies;
use crate::export::opa::Pushers;
use crate::export::pomerium;
use crate::index::SharedView;
use crate::model::{Act, Caller};
use crate::store::{AttemptPage, AuditPage};
use crate::sync::status::Statuses;
use crate::webhook::{Done, EndpointStatus, Order, OrderError};

pub use crate::sync::poller::{HoldPreview as HeldChanges, Page, Preview as Plan, Row};
use crate::task::Shutdown;

/// Everything a handler may read or ask. A cheap handle.
#[derive(Clone)]
pub struct Sources {
    pub view: Arc<SharedView>,
    pub statuses: Statuses,
    pub journal: Arc<dyn Journal>,
    pub operator: Arc<dyn Operator>,
    pub backlog: Arc<dyn Backlog>,
    pub trail: Arc<dyn AuditTrail>,
    pub endpoints: Arc<dyn Endpoints>,
    pub policies: SharedPolicies,
    /// How the pushers into OPAs fare.
    pub pushers: Pushers,
    /// How writers to databrokers are doing.
    pub databrokers: Arc<pomerium::Statuses>,
    /// Ends streams and waits when the daemon stops.
    pub shutdown: Shutdown,
}

/// Does what operators ask for. The daemon implements it.
#[async_trait]
pub trait Operator: Send + Sync {
    /// Asks for a poll now; returns when it is on its way, not when it is done.
    ///
    /// # Errors
    /// When there is no such directory.
    async fn sync(&self, directory: &str, by: Caller) -> Result<(), OperatorError>;

    /// What a poll would change; changes nothing. The first page takes as long
    /// as a crawl, further pages are of the same plan.
    ///
    /// # Errors
    /// When there is no such directory, it cannot be read, or the plan is gone.
    async fn plan(&self, directory: &str, page: Page) -> Result<Plan, OperatorError>;

    /// What is held.
    ///
    /// # Errors
    /// When there is no such directory, it holds nothing, or the page is of
    /// another set.
    async fn hold(&self, directory: &str, page: Page) -> Result<HeldChanges, OperatorError>;

    /// Lets exactly the set that `id` names through.
    ///
    /// # Errors
    /// When that set is not held (any more).
    async fn approve(&self, directory: &str, id: &str, by: Caller) -> Result<(), OperatorError>;

    /// Keeps the set held without asking again.
    ///
    /// # Errors
    /// When that set is not held (any more).
    async fn reject(&self, directory: &str, id: &str, by: Caller) -> Result<(), OperatorError>;
}

/// The audit trail: the store's in the daemon, a list in tests.
#[async_trait]
pub trait AuditTrail: Send + Sync {
    /// A part of it. Blocks.
    ///
    /// # Errors
    /// When what follows the position is no longer kept, or cannot be read.
    fn read(&self, wanted: &Wanted) -> Result<AuditPage, JournalError>;

    /// Moves whenever it grows.
    fn moved(&self) -> watch::Receiver<u64>;

    /// Writes an act down. What cannot be written is logged.
    async fn record(&self, act: Act);
}

/// Why an operator's request was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    #[error("there is no directory {0}")]
    UnknownDirectory(String),
    #[error("the directory {0} holds nothing")]
    NothingHeld(String),
    /// Another set than the one named is held: the directory changed since.
    #[error("the directory {directory} now holds {held}, not {asked}")]
    OtherHold { directory: String, asked: String, held: String },
    /// The further page of a plan that is no longer there.
    #[error("{0}")]
    PlanGone(String),
    /// The held set is known by its id only until the directory is read again.
    #[error("{0}")]
    NotReadAgain(String),
    /// The reason, whole: it is for operators.
    #[error("{0}")]
    Failed(String),
}

/// The webhook endpoints, for those who look after them. The daemon implements it.
#[async_trait]
pub trait Endpoints: Send + Sync {
    /// All of them, by name.
    fn all(&self) -> Vec<Endpoint>;

    /// Up to `limit` entries of a delivery log before a number, the newest
    /// first. Blocks.
    ///
    /// # Errors
    /// When it cannot be read.
    fn attempts(
        &self,
        endpoint: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<AttemptPage, JournalError>;

    /// Asks an endpoint for something, and records who asked.
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be done.
    async fn order(&self, endpoint: &str, order: Order, by: Caller) -> Result<Done, OrderError>;

    /// Empties the delivery log, and records who asked; how many entries it had.
    ///
    /// # Errors
    /// As for [`Endpoints::order`].
    async fn clear(&self, endpoint: &str, by: Caller) -> Result<u64, OrderError>;
}

/// One endpoint: how it fares, and how it is set up.
#[derive(Clone, Debug, Default)]
pub struct Endpoint {
    pub status: EndpointStatus,
    pub settings: EndpointSettings,
}

/// The settings that explain what an endpoint is sent. As on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[schema(as = WebhookSettings)]
pub struct EndpointSettings {
    pub format: &'static str,
    /// Types of events; `*` for all.
    pub events: Vec<String>,
    /// `null` for all.
    #[schema(required)]
    pub directories: Option<Vec<String>>,
    /// `null` for all.
    #[schema(required)]
    pub tenants: Option<Vec<String>>,
    /// `null` for all.
    #[schema(required)]
    pub products: Option<Vec<String>>,
    pub ordering: &'static str,
    pub concurrency: usize,
    pub batch_max: usize,
    pub on_first_sync: &'static str,
    pub log_deliveries: bool,
}

/// How the webhooks are doing, for `/metrics`.
pub trait Backlog: Send + Sync {
    /// Each endpoint, by name.
    fn endpoints(&self) -> Vec<EndpointStatus>;
}
