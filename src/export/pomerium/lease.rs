//! The lease: whoever holds it writes, and nobody else.

use std::time::Duration;

use tonic::{Code, Status};

use super::client::{Client, describe};
use crate::clock::{self, Instant};

/// Renewals in the time that a lease lasts.
const RENEWALS: u32 = 3;
/// How long giving it back may take: the daemon may be stopping.
const RELEASE_PATIENCE: Duration = Duration::from_secs(1);

/// A lease that we hold, as far as we know.
#[derive(Debug)]
pub(super) struct Lease {
    name: String,
    id: String,
    duration: Duration,
    /// Until then nobody else can have it.
    until: Instant,
}

impl Lease {
    /// Asks for it; `None` while another holds it.
    pub(super) async fn acquire(
        client: &Client,
        name: &str,
        duration: Duration,
    ) -> Result<Option<Lease>, Status> {
        // From before the request: the server's clock starts no earlier.
        let until = clock::instant() + duration;
        match client.acquire_lease(name, duration).await {
            Ok(id) => Ok(Some(Lease { name: name.to_owned(), id, duration, until })),
            Err(status) if status.code() == Code::AlreadyExists => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// Renews it for as long as that goes well; why it is lost.
    pub(super) async fn keep(&mut self, client: &Client) -> String {
        let pause = self.duration / RENEWALS;
        loop {
            // What is sent last must arrive before another may write.
            let safe = self.until - self.duration / 4;
            let next = (clock::instant() + pause).min(safe);
            tokio::time::sleep_until(next).await;
            let until = clock::instant() + self.duration;
            let renewed = client.renew_lease(&self.name, &self.id, self.duration);
            match tokio::time::timeout_at(safe, renewed).await {
                Ok(Ok(())) => self.until = until,
                Ok(Err(status)) if is_refusal(status.code()) => {
                    return format!("the lease was not renewed: {}", describe(&status));
                }
                Ok(Err(status)) if clock::instant() + pause >= safe => {
                    return format!("the lease could not be renewed: {}", describe(&status));
                }
                Ok(Err(_)) => {}
                Err(_) => return "the lease could not be renewed in time".to_owned(),
            }
        }
    }

    /// Lets another have it at once.
    pub(super) async fn release(self, client: &Client) {
        let released = client.release_lease(&self.name, &self.id);
        // If that fails it ends by itself.
        let _ = tokio::time::timeout(RELEASE_PATIENCE, released).await;
    }
}

/// Whether the server has answered, and not only failed to.
fn is_refusal(code: Code) -> bool {
    !matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Unknown
            | Code::Cancelled
            | Code::Internal
            | Code::ResourceExhausted
    )
}
