//! What is sent: the id and the body of a delivery.

use serde::Serialize;

use super::queue::Parcel;
use crate::clock::Timestamp;
use crate::digest;
use crate::model::Event;
use crate::wire::EventBody;

/// Hex digits in the ids of batches and tests.
const ID_DIGITS: usize = 32;

/// A delivery, ready to be sent; the same id always has the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// The `webhook-id`.
    pub id: String,
    pub bytes: Vec<u8>,
}

/// The delivery of a parcel; a batch where the endpoint gets batches, however
/// many events are in it.
pub(super) fn of_parcel(parcel: &Parcel, batched: bool) -> Message {
    match parcel.events.as_slice() {
        [event] if !batched => of_event(event),
        events => of_batch(events.iter().map(AsRef::as_ref)),
    }
}

/// The delivery that people ask for to see whether it arrives.
pub(super) fn of_test(webhook: &str, now: Timestamp) -> Message {
    let id = format!("test_{}", digits(&format!("{webhook} {}", fastrand::u128(..))));
    let body = TestBody {
        id: &id,
        kind: "webhook.test",
        occurred_at: now.to_string(),
        tenant: "",
        product: "",
        directory: "",
        data: TestData { webhook },
    };
    Message { bytes: json(&body), id }
}

fn of_event(event: &Event) -> Message {
    Message { id: event.id.clone(), bytes: EventBody::from(event).to_json() }
}

fn of_batch<'a>(events: impl Iterator<Item = &'a Event>) -> Message {
    let events: Vec<EventBody<'_>> = events.map(EventBody::from).collect();
    let ids: Vec<&str> = events.iter().map(|event| event.id).collect();
    let id = format!("bat_{}", digits(&ids.join("\n")));
    Message { bytes: json(&BatchBody { id: &id, kind: "batch", events }), id }
}

fn digits(text: &str) -> String {
    digest::sha256_hex(text.as_bytes()).chars().take(ID_DIGITS).collect()
}

fn json(body: &impl Serialize) -> Vec<u8> {
    // Texts, numbers and maps with text keys have no way to fail.
    serde_json::to_vec(body).unwrap_or_default()
}

/// `{"id": "bat_…", "type": "batch", "events": […]}`
#[derive(Serialize)]
struct BatchBody<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    events: Vec<EventBody<'a>>,
}

/// Like an event, without a seq.
#[derive(Serialize)]
struct TestBody<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    occurred_at: String,
    tenant: &'static str,
    product: &'static str,
    directory: &'static str,
    data: TestData<'a>,
}

#[derive(Serialize)]
struct TestData<'a> {
    webhook: &'a str,
}
