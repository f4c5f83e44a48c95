//! An operator, a backlog, a trail and endpoints that nobody asks.

use async_trait::async_trait;
use rosterd::model::{Act, Caller};
use rosterd::query::{
    AuditTrail, Backlog, Endpoint, Endpoints, HeldChanges, JournalError, Operator, OperatorError,
    Page, Plan, Wanted,
};
use rosterd::store::{AttemptPage, AuditPage};
use rosterd::webhook::{Done, EndpointStatus, Order, OrderError};

/// An operator, a backlog, a trail and endpoints that nobody asks here.
pub struct Nothing;

#[async_trait]
impl Operator for Nothing {
    async fn sync(&self, directory: &str, _: Caller) -> Result<(), OperatorError> {
        Err(OperatorError::UnknownDirectory(directory.into()))
    }

    async fn plan(&self, directory: &str, _: Page) -> Result<Plan, OperatorError> {
        Err(OperatorError::UnknownDirectory(directory.into()))
    }

    async fn hold(&self, directory: &str, _: Page) -> Result<HeldChanges, OperatorError> {
        Err(OperatorError::UnknownDirectory(directory.into()))
    }

    async fn approve(&self, directory: &str, _: &str, _: Caller) -> Result<(), OperatorError> {
        Err(OperatorError::UnknownDirectory(directory.into()))
    }

    async fn reject(&self, directory: &str, _: &str, _: Caller) -> Result<(), OperatorError> {
        Err(OperatorError::UnknownDirectory(directory.into()))
    }
}

#[async_trait]
impl AuditTrail for Nothing {
    fn read(&self, _: &Wanted) -> Result<AuditPage, JournalError> {
        Ok(AuditPage::default())
    }

    fn moved(&self) -> tokio::sync::watch::Receiver<u64> {
        tokio::sync::watch::Sender::new(0).subscribe()
    }

    async fn record(&self, _: Act) {}
}

impl Backlog for Nothing {
    fn endpoints(&self) -> Vec<EndpointStatus> {
        Vec::new()
    }
}

#[async_trait]
impl Endpoints for Nothing {
    fn all(&self) -> Vec<Endpoint> {
        Vec::new()
    }

    fn attempts(&self, _: &str, _: Option<u64>, _: usize) -> Result<AttemptPage, JournalError> {
        Ok(AttemptPage::default())
    }

    async fn order(&self, _: &str, _: Order, _: Caller) -> Result<Done, OrderError> {
        Err(OrderError::Unknown(String::new()))
    }

    async fn clear(&self, _: &str, _: Caller) -> Result<u64, OrderError> {
        Ok(0)
    }
}
