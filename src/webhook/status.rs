//! How the endpoints are doing, for `status` and metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::config::WebhookConfig;
use crate::clock::Timestamp;

/// One endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointStatus {
    pub name: String,
    /// Without its query.
    pub url: String,
    /// The last event that was accepted or filtered out.
    pub last_delivered_seq: u64,
    /// Events of the journal that come after that one.
    pub backlog: u64,
    /// Failures in a row of the next delivery.
    pub consecutive_failures: u32,
    pub failing_since: Option<Timestamp>,
    pub last_error: Option<String>,
    pub next_attempt_at: Option<Timestamp>,
    /// Since the daemon started: deliveries accepted, attempts failed, and
    /// events that were never sent because the journal no longer had them.
    pub delivered_total: u64,
    pub failed_total: u64,
    pub lost_total: u64,
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
                backlog: last_seq.saturating_sub(status.last_delivered_seq),
                ..status.clone()
            })
            .collect()
    }

    /// Forgets an endpoint that is no longer configured.
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
