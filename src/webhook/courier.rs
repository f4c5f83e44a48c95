//! Carries one delivery: sends it, takes its time, and has it noted.

use super::body::Message;
use super::client::{Client, Outcome};
use super::journal::{Journal, JournalError};
use super::queue::Parcel;
use crate::clock;
use crate::model::Attempt;
use crate::task;

/// What is needed to send, wherever it is done.
#[derive(Clone)]
pub(super) struct Courier<J> {
    pub webhook: String,
    pub client: Client,
    pub journal: J,
    /// Whether attempts are noted.
    pub notes: bool,
}

/// What a delivery is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub first: u64,
    pub last: u64,
    pub events: u32,
    /// From 1.
    pub number: u32,
}

/// A delivery that ended.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub outcome: Outcome,
    pub attempt: Attempt,
}

impl<J: Journal> Courier<J> {
    pub(super) async fn send(self, message: Message, contents: Contents) -> Sent {
        let (at, began) = (clock::now(), clock::instant());
        let reply = self.client.send(&message.id, message.bytes, at).await;
        let latency = clock::instant().duration_since(began).as_millis();
        let attempt = Attempt {
            at,
            id: message.id,
            first_seq: contents.first,
            last_seq: contents.last,
            events: contents.events,
            number: contents.number,
            status: reply.status,
            latency_ms: u32::try_from(latency).unwrap_or(u32::MAX),
            answer: reply.answer,
            error: reply.outcome.reason().map(str::to_owned),
        };
        if self.notes {
            self.note(attempt.clone()).await;
        }
        Sent { outcome: reply.outcome, attempt }
    }

    /// Asks the store, off the runtime's own threads.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&J) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let journal = self.journal.clone();
        let name = format!("webhook {} at the store", self.webhook);
        task::blocking(&name, move || work(&journal))
            .await
            .unwrap_or_else(|end| Err(JournalError::Failed(end.to_string())))
    }

    async fn note(&self, attempt: Attempt) {
        let (webhook, journal) = (self.webhook.clone(), self.journal.clone());
        let name = format!("webhook {webhook} notes an attempt");
        let noted = task::blocking(&name, move || journal.note_attempt(&webhook, &attempt)).await;
        if let Err(end) = noted {
            tracing::warn!(webhook = self.webhook, error = %end, "an attempt was not noted");
        }
    }
}

impl From<&Parcel> for Contents {
    fn from(parcel: &Parcel) -> Contents {
        Contents {
            first: parcel.first,
            last: parcel.last,
            events: u32::try_from(parcel.events.len()).unwrap_or(u32::MAX),
            number: parcel.number,
        }
    }
}
