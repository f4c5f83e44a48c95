//! What is sent: the id and the body of a delivery.

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use super::format::Format;
use super::queue::Parcel;
use crate::clock::Timestamp;
use crate::digest;
use crate::model::Event;
use crate::wire::{EventBody, Plain, PolisBody, PolisData};

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
pub(super) fn of_parcel(format: &Format, parcel: &Parcel, batched: bool) -> Message {
    match parcel.events.as_slice() {
        [event] if !batched => of_event(format, event),
        events => of_batch(format, events),
    }
}

/// The delivery that people ask for to see whether it arrives.
pub(super) fn of_test(format: &Format, webhook: &str, now: Timestamp) -> Message {
    let id = format!("test_{}", digits(&format!("{webhook} {}", fastrand::u128(..))));
    let bytes = match format {
        Format::Standard(_) => standard_test(&id, webhook, now),
        Format::Polis(_) => polis_test(webhook),
    };
    Message { id, bytes }
}

fn standard_test(id: &str, webhook: &str, now: Timestamp) -> Vec<u8> {
    to_json(&TestBody {
        id,
        kind: "webhook.test",
        occurred_at: now.to_string(),
        tenant: "",
        product: "",
        directory: "",
        data: TestData { webhook },
    })
}

/// Polis has no such event; this is what one would look like.
fn polis_test(webhook: &str) -> Vec<u8> {
    let data = PolisData::Details(Plain(json!({ "webhook": webhook })));
    let event = "webhook.test";
    PolisBody { directory_id: "", event, tenant: "", product: "", data }.to_json()
}

fn of_event(format: &Format, event: &Event) -> Message {
    Message { id: event.id.clone(), bytes: format.body(event) }
}

fn of_batch(format: &Format, events: &[Arc<Event>]) -> Message {
    let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
    let id = format!("bat_{}", digits(&ids.join("\n")));
    let events = events.iter().map(AsRef::as_ref);
    let bytes = match format {
        Format::Standard(_) => {
            let events = events.map(EventBody::from).collect();
            to_json(&BatchBody { id: &id, kind: "batch", events })
        }
        Format::Polis(_) => {
            PolisBody::batch_to_json(&events.map(PolisBody::from).collect::<Vec<_>>())
        }
    };
    Message { id, bytes }
}

fn digits(text: &str) -> String {
    digest::sha256_hex(text.as_bytes()).chars().take(ID_DIGITS).collect()
}

fn to_json(body: &impl Serialize) -> Vec<u8> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::model::{EventKind, Group, Payload};
    use crate::webhook::PolisKey;
    use crate::webhook::queue::{Queue, Rules};

    fn polis() -> Format {
        Format::Polis(PolisKey::parse("sixteen letters!").unwrap())
    }

    fn event(seq: u64, directory: &str) -> Event {
        let group = Group { id: format!("g{seq}"), name: "Ops".into(), ..Group::default() };
        Event {
            id: format!("evt_{seq}"),
            seq,
            kind: EventKind::GroupCreated,
            occurred_at: Timestamp(seq),
            tenant: "acme".into(),
            product: "vpn".into(),
            directory: directory.into(),
            payload: Payload::Group { group, previous: None },
        }
    }

    #[test]
    fn a_batch_of_polis_is_an_array_with_events_of_one_directory() {
        let (per_user, batch_apart) = (false, true);
        let rules = Rules { per_user, concurrency: 1, batch_max: 10, batch_apart, room: 10 };
        let mut queue = Queue::new(rules, 0, &[]);
        for (seq, directory) in [(1, "corp"), (2, "corp"), (3, "labs")] {
            queue.add(event(seq, directory));
        }
        let mut batches: Vec<Vec<String>> = Vec::new();
        while let Some(parcel) = queue.next(clock::instant()) {
            let message = of_parcel(&polis(), &parcel, true);
            assert!(message.id.starts_with("bat_"));
            let body: Vec<serde_json::Value> = serde_json::from_slice(&message.bytes).unwrap();
            batches.push(body.iter().map(|event| event["data"]["id"].to_string()).collect());
            queue.accepted(parcel.first);
        }
        let expected: [Vec<String>; 2] =
            [vec!["\"g1\"".into(), "\"g2\"".into()], vec!["\"g3\"".into()]];
        assert_eq!(batches, expected);
    }

    #[test]
    fn a_test_has_the_shape_of_the_format() {
        let message = of_test(&polis(), "audit", Timestamp(1));
        assert!(message.id.starts_with("test_"));
        assert_eq!(
            String::from_utf8(message.bytes).unwrap(),
            r#"{"directory_id":"","event":"webhook.test","tenant":"","product":"","data":{"webhook":"audit"}}"#
        );
    }
}
