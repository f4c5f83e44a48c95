//! The formats that receivers may be written for: what each of them sends, as
//! what, and signed how.

use super::polis::{self, PolisKey};
use super::sign::{self, SigningKeys};
use crate::clock::Timestamp;
use crate::model::{Event, EventKind};
use crate::secret::Secret;
use crate::wire::{EventBody, PolisBody};

/// How one endpoint is spoken to, with the keys for it.
#[derive(Clone, Debug)]
pub enum Format {
    /// Standard Webhooks 1.0, with our events.
    Standard(SigningKeys),
    /// As directory sync of Ory Polis does it.
    Polis(PolisKey),
}

/// A header line of a delivery.
pub type Header = (&'static str, String);

impl Format {
    /// Its name in the configuration.
    pub fn as_str(&self) -> &'static str {
        match self {
            Format::Standard(_) => "standard",
            Format::Polis(_) => "polis",
        }
    }

    /// Whether it has events of this type.
    pub fn sends(&self, kind: EventKind) -> bool {
        match self {
            Format::Standard(_) => true,
            Format::Polis(_) => polis::knows(kind),
        }
    }

    /// Whether a batch may only have events of one directory: Polis makes them
    /// for each directory, and receivers read the directory of the first event.
    pub fn batches_apart(&self) -> bool {
        matches!(self, Format::Polis(_))
    }

    /// The body of one event.
    pub fn body(&self, event: &Event) -> Vec<u8> {
        match self {
            Format::Standard(_) => EventBody::from(event).to_json(),
            Format::Polis(_) => PolisBody::from(event).to_json(),
        }
    }

    /// What a delivery of `body` as `id`, at `now`, is signed with; never nothing.
    pub fn headers(&self, id: &str, now: Timestamp, body: &[u8]) -> Vec<Header> {
        let mut headers = vec![("webhook-id", id.to_owned())];
        match self {
            Format::Standard(keys) => {
                let seconds = now.0 / 1000;
                headers.push(("webhook-timestamp", seconds.to_string()));
                headers.push(("webhook-signature", keys.sign(id, seconds, body)));
            }
            Format::Polis(key) => {
                let signature = key.sign(now, body);
                // The first is what Polis sends; its documentation says the second.
                headers.push(("boxyhq-signature", signature.clone()));
                headers.push(("ory-signature", signature));
            }
        }
        headers
    }

    /// A new secret for it; `None` when the system has no randomness to give.
    pub fn new_secret(&self) -> Option<Secret> {
        match self {
            Format::Standard(_) => sign::new_secret(),
            Format::Polis(_) => polis::new_secret(),
        }
    }
}

/// Whether every delivery sets this header itself, in one of the formats.
pub fn is_own_header(name: &str) -> bool {
    name.starts_with("webhook-") || ["boxyhq-signature", "ory-signature"].contains(&name)
}
