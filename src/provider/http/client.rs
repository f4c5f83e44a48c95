//! Asks a vendor under one credential: in its turn, again where that is safe,
//! and never before the time that the vendor named.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tracing::info;

use super::budget::Budget;
use super::call::{Answer, Call};
use super::config::HttpConfig;
use super::credential::{Authorization, Credential};
use super::transport::{Attempts, Failure, Transport};
use super::vendor::{Vendor, Verdict};
use crate::clock::{self, Duration, Timestamp};
use crate::provider::PullError;

/// A pause up to this is waited for inside a crawl; for a longer one the crawl
/// ends, to go on at its checkpoint.
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// So often in a row a call may be throttled.
const THROTTLES_MAX: u32 = 10;
/// A refused token is replaced once; a nonce may be asked for before that.
const REFUSALS_MAX: u32 = 2;

/// One credential's way to a vendor. Clones share everything.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    transport: Transport,
    vendor: Arc<dyn Vendor>,
    credential: Arc<dyn Credential>,
    budget: Budget,
    permits: Semaphore,
}

impl Client {
    /// Sends nothing yet.
    pub fn new(
        config: &HttpConfig,
        transport: Transport,
        vendor: Arc<dyn Vendor>,
        credential: Arc<dyn Credential>,
        budget: Budget,
    ) -> Client {
        let permits = Semaphore::new(config.parallel_requests_max);
        Client(Arc::new(Inner { transport, vendor, credential, budget, permits }))
    }

    /// A good answer to `call`, or one with a status that it accepts.
    ///
    /// # Errors
    /// What the vendor's answer means, once trying again does not help.
    pub async fn send(&self, call: Call) -> Result<Answer, PullError> {
        let Ok(_permit) = self.0.permits.acquire().await else {
            return Err(self.incomplete("the client is closed"));
        };
        let mut attempts = Attempts::new(&call);
        let (mut throttles, mut refusals) = (0, 0);
        let started = clock::instant();
        loop {
            self.admit(&call).await?;
            let used = self.0.credential.authorize(&call).await?;
            let answer = match self.0.transport.exchange(&call, &used.headers).await {
                Ok(answer) => answer,
                Err(Failure::Passing(reason)) => {
                    attempts.wait(reason).await?;
                    continue;
                }
                Err(Failure::Final(error)) => return Err(error),
            };
            self.0.budget.learn(&call, &self.0.vendor.quota(&call, &answer));
            if call.accepted.contains(&answer.status.as_u16()) {
                return Ok(answer);
            }
            match self.0.vendor.judge(&call, &answer) {
                Verdict::Good => return Ok(answer),
                Verdict::Fatal(error) => return Err(error),
                Verdict::Trouble(reason) => attempts.wait(reason).await?,
                Verdict::Throttled { until, scope } => {
                    throttles += 1;
                    let until = until.unwrap_or_else(|| clock::now().plus(attempts.delay()));
                    self.0.budget.close(&call, until, scope);
                    let vendor = self.0.vendor.name();
                    info!(vendor, endpoint = call.endpoint, %until, "throttled");
                    let waited = clock::instant() - started;
                    if throttles >= THROTTLES_MAX || waited > self.pause_max() {
                        return Err(self.pause(until));
                    }
                }
                Verdict::Refused(reason) => {
                    refusals += 1;
                    self.refused(&used, &answer, reason, refusals).await?;
                }
            }
        }
    }

    /// Requests sent since [`Client::take_audit`] was asked last.
    pub fn sent(&self) -> u64 {
        self.0.transport.sent()
    }

    /// Requests sent since the last time this was asked, by endpoint.
    pub fn take_audit(&self) -> BTreeMap<String, u64> {
        self.0.transport.take_audit()
    }

    /// For people.
    pub fn vendor_name(&self) -> &'static str {
        self.0.vendor.name()
    }

    async fn admit(&self, call: &Call) -> Result<(), PullError> {
        let admitted = self.0.budget.admit(call, self.pause_max()).await;
        admitted.map_err(|until| self.pause(until))
    }

    fn pause_max(&self) -> Duration {
        PAUSE_MAX.min(self.0.transport.patience().stall_timeout / 2)
    }

    async fn refused(
        &self,
        used: &Authorization,
        answer: &Answer,
        reason: String,
        refusals: u32,
    ) -> Result<(), PullError> {
        if refusals <= REFUSALS_MAX && self.0.credential.refused(used, answer).await? {
            return Ok(());
        }
        let what = self.0.vendor.name().to_owned();
        Err(PullError::Unauthorized { what, reason, permission: None })
    }

    fn pause(&self, until: Timestamp) -> PullError {
        PullError::Throttled { what: self.0.vendor.name().to_owned(), until }
    }

    fn incomplete(&self, reason: &str) -> PullError {
        PullError::Incomplete { what: self.0.vendor.name().to_owned(), reason: reason.to_owned() }
    }
}

#[cfg(test)]
mod tests;
