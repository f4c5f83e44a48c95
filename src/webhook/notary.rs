//! Who makes it public that an endpoint was given up.

use async_trait::async_trait;

use crate::clock::Timestamp;

/// An endpoint gets nothing any more, until a person says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disabled {
    pub webhook: String,
    /// Since when deliveries had failed.
    pub since: Timestamp,
    pub reason: String,
    /// The last event that was delivered, with all before it.
    pub seq: u64,
}

/// Tells of endpoints in the journal and in the audit trail.
#[async_trait]
pub trait Notary: Send + Sync + 'static {
    /// Commits the event `webhook.disabled`.
    ///
    /// # Errors
    /// In words, when it is not done, or not surely.
    async fn disabled(&self, notice: Disabled) -> Result<(), String>;
}
