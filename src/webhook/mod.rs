//! Tells other systems what changed, from the journal.
//!
//! Each endpoint is one task with a place of its own in the store, so a dead one
//! delays nobody. It reads the journal after its cursor and sends what its filters
//! let through until the receiver accepts it with a 2xx: at least once, and in
//! order; with `ordering = "per_user"` in the order of each user and group.
//!
//! - A new endpoint starts with the oldest event of the journal, so a receiver
//!   that folds what it gets ends with exactly the directory.
//! - The cursor is stored after accepted events, a few at a time; after a crash
//!   these few are sent again. They carry the same `webhook-id` and body.
//! - A failed delivery is tried again after the delays of the schedule.
//!   `Retry-After` can only make a delay longer. When the attempt after the last
//!   delay fails too, or the receiver answers 410, the endpoint is disabled: that
//!   is told once, and what it misses stays in the journal until it is resumed.
//!   When the daemon starts, waiting deliveries are tried at once; that does not
//!   shorten the schedule.
//! - Operators pause, resume, replay and test a running endpoint by [`Controls`].
//! - When the journal's retention has passed the cursor, this is logged as an
//!   error and counted, and deliveries go on with the oldest event there is.
//! - Requests follow Standard Webhooks 1.0 (<https://www.standardwebhooks.com>),
//!   or what Ory Polis does, as [`Format`] says; none goes out unsigned.
//!   Redirects are not followed, and no proxy is used.
//!
//! `endpoint` drives; `queue` knows what may be sent next, `lanes` what may
//! overtake what, and `stream` what is to be read. `settle` draws conclusions
//! from outcomes, `orders` does what people ask, `progress` keeps and shows.

mod address;
mod body;
mod client;
mod config;
mod control;
mod courier;
mod endpoint;
mod filter;
mod format;
mod journal;
mod lanes;
mod notary;
mod orders;
mod polis;
mod progress;
mod queue;
mod schedule;
mod settle;
mod sign;
mod status;
mod stream;

pub use config::{FirstSync, Ordering, WebhookConfig};
pub use control::{Controls, Done, Order, OrderError};
pub use format::Format;
pub use journal::{Journal, JournalError, Position};
pub use notary::{Disabled, Notary};
pub use polis::{PolisKey, PolisKeyError};
pub use sign::{SECRETS_MAX, SigningKeyError, SigningKeys, SigningKeysError};
pub use status::{EndpointStatus, Latency, State, Statuses};

use std::sync::Arc;

use tokio::sync::watch;

use crate::task::{self, Shutdown, Task};

/// Starts delivering to one endpoint. `seq` wakes it, with the last event.
///
/// # Errors
/// In words, when TLS cannot be set up.
pub fn start(
    config: WebhookConfig,
    (journal, notary): (impl Journal, Arc<dyn Notary>),
    seq: watch::Receiver<u64>,
    statuses: Arc<Statuses>,
    controls: &Controls,
    shutdown: Shutdown,
) -> Result<Task, String> {
    let client = client::Client::new(&config)?;
    let name = format!("webhook {}", config.name);
    statuses.add(&config);
    let signals = (seq, controls.add(&config.name));
    let endpoint =
        endpoint::Endpoint::new(config, client, (journal, notary), signals, statuses, shutdown);
    Ok(task::spawn(name, endpoint.run()))
}

#[cfg(test)]
mod tests;
