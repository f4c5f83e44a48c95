//! How the endpoints are doing, for `status` and metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::config::WebhookConfig;
use crate::clock::Timestamp;

/// What an endpoint is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    Delivering,
    /// Something was not accepted and is tried again.
    Failing,
    /// A person wants nothing sent.
    Paused,
    /// The daemon gave it up.
    Disabled,
    /// It does not run.
    Stopped,
}

impl State {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Delivering => "delivering",
            State::Failing => "failing",
            State::Paused => "paused",
            State::Disabled => "disabled",
            State::Stopped => "stopped",
        }
    }
}

/// One endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointStatus {
    pub name: String,
    /// Without its query.
    pub url: String,
    pub state: State,
    /// Since when it is disabled, and why.
    pub disabled_since: Option<Timestamp>,
    pub disabled_reason: Option<String>,
    /// What is still to be sent once more: first and last event of each range.
    pub replaying: Vec<(u64, u64)>,
    /// Deliveries under way.
    pub in_flight: usize,
    /// All events up to it were accepted or filtered out.
    pub last_delivered_seq: u64,
    /// Events of the journal that were neither accepted nor filtered out.
    pub backlog: u64,
    /// Failures in a row, of the delivery that has most.
    pub consecutive_failures: u32,
    pub failing_since: Option<Timestamp>,
    pub last_error: Option<String>,
    pub next_attempt_at: Option<Timestamp>,
    /// Since the daemon started: deliveries accepted, attempts failed, and
    /// events that were never sent because the journal no longer had them.
    pub delivered_total: u64,
    pub failed_total: u64,
    pub lost_total: u64,
    /// How long receivers took for deliveries that they accepted.
    pub latency: Latency,
    /// Events of the journal that need nothing more, in any order.
    pub settled: u64,
}

/// How many deliveries took how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    pub count: u64,
    pub sum_millis: u64,
    /// By [`Latency::BOUNDS_MILLIS`]; what took longer is in none.
    pub buckets: [u64; 10],
}

impl Latency {
    /// The longest time of each bucket.
    pub const BOUNDS_MILLIS: [u64; 10] = [5, 10, 25, 50, 100, 250, 500, 1000, 5000, 30_000];

    pub(super) fn note(&mut self, millis: u64) {
        self.count += 1;
        self.sum_millis += millis;
        let mut buckets = self.buckets.iter_mut().zip(Latency::BOUNDS_MILLIS);
        if let Some((bucket, _)) = buckets.find(|(_, bound)| millis <= *bound) {
            *bucket += 1;
        }
    }
}

/// All endpoints.
#[derive(Debug, Default)]
pub struct Statuses {
    endpoints: Mutex<BTreeMap<String, EndpointStatus>>,
}

impl Statuses {
    /// All endpoints by name; `last_seq` is the journal's.
    pub fn snapshot(&self, last_seq: u64) -> Vec<EndpointStatus> {
        let endpoints = self.lock();
        endpoints
            .values()
            .map(|status| EndpointStatus {
                backlog: last_seq.saturating_sub(status.settled),
                ..status.clone()
            })
            .collect()
    }

    /// Forgets an endpoint that does not run any more.
    pub fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    pub(super) fn add(&self, config: &WebhookConfig) {
        let name = config.name.clone();
        let mut endpoints = self.lock();
        let status = endpoints.entry(name.clone()).or_default();
        status.name = name;
        status.url = config.shown_url();
    }

    pub(super) fn update(&self, name: &str, change: impl FnOnce(&mut EndpointStatus)) {
        if let Some(status) = self.lock().get_mut(name) {
            change(status);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, EndpointStatus>> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
