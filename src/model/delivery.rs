//! What is noted of attempts to deliver to a webhook endpoint.

use crate::clock::Timestamp;

/// One attempt, whatever became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    /// The `webhook-id`.
    pub id: String,
    /// The first and the last event in it; 0 for a test.
    pub first_seq: u64,
    pub last_seq: u64,
    /// How many events are in it.
    pub events: u32,
    /// From 1 for each delivery.
    pub number: u32,
    /// What was answered; `None` when nothing was.
    pub status: Option<u16>,
    pub latency_ms: u32,
    /// The first bytes of the answer's body, made printable.
    pub answer: String,
    /// Why it does not count as accepted.
    pub error: Option<String>,
}
