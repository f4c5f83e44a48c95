//! How the pushers fare, for `/v1/opa` and metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use utoipa::ToSchema;

use crate::clock;
use crate::export::opa::config::OpaConfig;

/// What a pusher is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = OpaPushState)]
#[serde(rename_all = "lowercase")]
pub enum PushState {
    /// Nothing was answered yet.
    #[default]
    Starting,
    /// OPA had all there was when it was last asked.
    Current,
    Failing,
}

/// One pusher. As on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = OpaPusher)]
pub struct PushStatus {
    pub name: String,
    /// The address or the socket.
    pub target: String,
    pub state: PushState,
    /// OPA has all events up to it.
    pub seq: u64,
    /// When OPA was last known to have all there was.
    pub current_at: Option<String>,
    /// Since the daemon started.
    pub puts: u64,
    pub patches: u64,
    pub bytes: u64,
    pub failures: u64,
    pub consecutive_failures: u64,
    pub last_error: Option<String>,
}

/// All pushers, by name. A cheap handle.
#[derive(Clone, Debug, Default)]
pub struct Pushers(Arc<Mutex<BTreeMap<String, PushStatus>>>);

impl Pushers {
    pub fn all(&self) -> Vec<PushStatus> {
        self.lock().values().cloned().collect()
    }

    pub fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    pub(super) fn add(&self, config: &OpaConfig) {
        let (name, target) = (config.name.clone(), config.target.shown());
        let mut all = self.lock();
        let status = all.entry(name.clone()).or_default();
        (status.name, status.target, status.state) = (name, target, PushState::Starting);
    }

    pub(super) fn current(&self, name: &str, seq: u64) {
        self.update(name, |status| status.is_current(seq));
    }

    pub(super) fn patched(&self, name: &str, seq: u64, bytes: usize) {
        self.update(name, |status| {
            status.is_current(seq);
            status.patches += 1;
            status.bytes += bytes as u64;
        });
    }

    pub(super) fn put(&self, name: &str, seq: u64, bytes: usize) {
        self.update(name, |status| {
            status.is_current(seq);
            status.puts += 1;
            status.bytes += bytes as u64;
        });
    }

    /// How many failures in a row that makes.
    pub(super) fn failed(&self, name: &str, reason: &str) -> u64 {
        let mut in_a_row = 0;
        self.update(name, |status| {
            status.state = PushState::Failing;
            status.failures += 1;
            status.consecutive_failures += 1;
            status.last_error = Some(reason.to_owned());
            in_a_row = status.consecutive_failures;
        });
        in_a_row
    }

    fn update(&self, name: &str, change: impl FnOnce(&mut PushStatus)) {
        if let Some(status) = self.lock().get_mut(name) {
            change(status);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, PushStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PushStatus {
    fn is_current(&mut self, seq: u64) {
        if self.state == PushState::Failing {
            tracing::info!(opa = self.name, "OPA is kept current again");
        }
        self.state = PushState::Current;
        self.seq = seq;
        self.current_at = Some(clock::now().to_string());
        self.consecutive_failures = 0;
        self.last_error = None;
    }
}
