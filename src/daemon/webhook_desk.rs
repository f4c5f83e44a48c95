//! Hands what operators ask about webhooks to the endpoints and the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use tracing::warn;

use super::records;
use crate::audit::Trail;
use crate::config::Config;
use crate::model::{Act, Action, Caller};
use crate::query::{Endpoint, EndpointSettings, Endpoints, JournalError};
use crate::store::{AttemptPage, StoreError};
use crate::task::{self, Errands};
use crate::webhook::{
    Controls, Done, EndpointStatus, FirstSync, Order, OrderError, Ordering, State, Statuses,
    WebhookConfig,
};

/// Of an endpoint whose client could not be set up.
const NOT_RUNNING: &str = "it does not run; the daemon's log says why";

/// Where operators look after the endpoints. A cheap handle.
#[derive(Clone)]
pub struct Desk {
    statuses: Arc<Statuses>,
    controls: Controls,
    trail: Trail,
    /// As configured; how they fare is not in it.
    configured: Arc<RwLock<BTreeMap<String, Endpoint>>>,
    /// An order is carried out though whoever gave it hangs up, so it is
    /// recorded all the same.
    orders: Errands,
}

impl Desk {
    pub fn new(statuses: Arc<Statuses>, controls: Controls, trail: Trail) -> Desk {
        let orders = Errands::here();
        Desk { statuses, controls, trail, configured: Arc::default(), orders }
    }

    /// A configuration is in use from now on: logs of endpoints that are not
    /// in it are dropped.
    pub async fn adopt(&self, config: &Config) {
        let all = config.webhooks.iter();
        let configured = all.map(|(name, webhook)| (name.clone(), shown(webhook))).collect();
        *self.configured.write().unwrap_or_else(PoisonError::into_inner) = configured;
        let all = config.webhooks.iter();
        let kept = all.map(|(name, one)| (name.clone(), one.deliveries_retention)).collect();
        let store = self.trail.store().clone();
        let kept = task::blocking("delivery logs", move || store.keep_attempts(kept)).await;
        match kept {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "cannot forget old delivery logs"),
            Err(end) => warn!(error = %end, "cannot forget old delivery logs"),
        }
    }

    /// Waits until everything that was asked for is done and recorded.
    pub async fn orders_ended(&self) {
        self.orders.ended().await;
    }

    fn check_known(&self, endpoint: &str) -> Result<(), OrderError> {
        let configured = self.configured.read().unwrap_or_else(PoisonError::into_inner);
        match configured.contains_key(endpoint) {
            true => Ok(()),
            false => Err(OrderError::Unknown(endpoint.to_owned())),
        }
    }

    async fn obey(&self, endpoint: &str, order: Order, by: Caller) -> Result<Done, OrderError> {
        let done = match self.controls.order(endpoint, order).await {
            Err(OrderError::Unknown(_)) if self.check_known(endpoint).is_ok() => {
                Err(OrderError::Failed(NOT_RUNNING.to_owned()))
            }
            done => done,
        };
        let act = act(order, by).on("webhook", endpoint);
        records::write(&self.trail, ended(act, &done)).await;
        done
    }

    async fn empty_for(&self, endpoint: &str, by: Caller) -> Result<u64, OrderError> {
        let cleared = self.empty(endpoint).await;
        let act = Act::of(Action::WEBHOOK_CLEAR, by).on("webhook", endpoint);
        let act = match &cleared {
            Ok(attempts) => act.with("outcome", "applied").with("attempts", *attempts),
            Err(error) => undone(act, error),
        };
        records::write(&self.trail, act).await;
        cleared
    }

    async fn empty(&self, endpoint: &str) -> Result<u64, OrderError> {
        self.check_known(endpoint)?;
        let (store, name) = (self.trail.store().clone(), endpoint.to_owned());
        let cleared = task::blocking("clear a delivery log", move || store.clear_attempts(&name));
        let cleared = cleared.await.map_err(|end| OrderError::Failed(end.to_string()))?;
        cleared.map_err(|error: StoreError| OrderError::Failed(error.to_string()))
    }
}

#[async_trait]
impl Endpoints for Desk {
    fn all(&self) -> Vec<Endpoint> {
        let running = self.statuses.snapshot(self.trail.store().last_seq());
        let mut all = self.configured.read().unwrap_or_else(PoisonError::into_inner).clone();
        for status in running {
            if let Some(endpoint) = all.get_mut(&status.name) {
                endpoint.status = status;
            }
        }
        all.into_values().collect()
    }

    fn attempts(
        &self,
        endpoint: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<AttemptPage, JournalError> {
        let page = self.trail.store().attempts(endpoint, before, limit);
        page.map_err(|error| JournalError::Failed(error.to_string()))
    }

    async fn order(&self, endpoint: &str, order: Order, by: Caller) -> Result<Done, OrderError> {
        let (desk, endpoint) = (self.clone(), endpoint.to_owned());
        let work = async move { desk.obey(&endpoint, order, by).await };
        let done = self.orders.run("webhook order", work).await;
        done.unwrap_or_else(|end| Err(OrderError::Failed(end.to_string())))
    }

    async fn clear(&self, endpoint: &str, by: Caller) -> Result<u64, OrderError> {
        let (desk, endpoint) = (self.clone(), endpoint.to_owned());
        let work = async move { desk.empty_for(&endpoint, by).await };
        let cleared = self.orders.run("webhook order", work).await;
        cleared.unwrap_or_else(|end| Err(OrderError::Failed(end.to_string())))
    }
}

/// What is asked for, with what it was asked with.
fn act(order: Order, by: Caller) -> Act {
    match order {
        Order::Pause => Act::of(Action::WEBHOOK_PAUSE, by),
        Order::Resume { skip } => Act::of(Action::WEBHOOK_RESUME, by).with("skip", skip),
        Order::Replay { from, to } => {
            let act = Act::of(Action::WEBHOOK_REPLAY, by).with("from", from);
            match to {
                Some(to) => act.with("to", to),
                None => act,
            }
        }
        Order::Test => Act::of(Action::WEBHOOK_TEST, by),
    }
}

/// What became of it.
fn ended(act: Act, done: &Result<Done, OrderError>) -> Act {
    match done {
        Ok(Done::Paused | Done::Resumed) => act.with("outcome", "applied"),
        Ok(Done::Replaying { from, to }) => {
            act.with("outcome", "requested").with("from", *from).with("to", *to)
        }
        Ok(Done::Tested(attempt)) => {
            let act = match attempt.status {
                Some(status) => act.with("status", u64::from(status)),
                None => act,
            };
            match &attempt.error {
                None => act.with("outcome", "applied"),
                Some(reason) => act.with("outcome", "failed").with("reason", reason.as_str()),
            }
        }
        Err(error) => undone(act, error),
    }
}

fn undone(act: Act, error: &OrderError) -> Act {
    match error {
        OrderError::Failed(reason) => act.with("outcome", "failed").with("reason", reason.as_str()),
        error => act.refused(error),
    }
}

/// What operators see of an endpoint before it runs.
fn shown(config: &WebhookConfig) -> Endpoint {
    let filter = &config.filter;
    let kinds = filter.only_kinds().unwrap_or_else(|| vec!["*"]);
    let names =
        |names: &Option<BTreeSet<String>>| names.as_ref().map(|all| all.iter().cloned().collect());
    let settings = EndpointSettings {
        format: config.format.as_str(),
        events: kinds.into_iter().map(str::to_owned).collect(),
        directories: names(&filter.directories),
        tenants: names(&filter.tenants),
        products: names(&filter.products),
        ordering: match config.ordering {
            Ordering::Ordered => "ordered",
            Ordering::PerUser => "per_user",
        },
        concurrency: config.concurrency,
        batch_max: config.batch_max,
        on_first_sync: match config.on_first_sync {
            FirstSync::Events => "events",
            FirstSync::Summary => "summary",
        },
        log_deliveries: config.log_deliveries,
    };
    let status = EndpointStatus {
        state: State::Stopped,
        name: config.name.clone(),
        url: config.shown_url(),
        last_error: Some(NOT_RUNNING.to_owned()),
        ..EndpointStatus::default()
    };
    Endpoint { status, settings }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::daemon::webhook_fleet::Webhooks;
    use crate::store::{Options, Store};
    use crate::sync::ledger::Ledger;

    /// A daemon's webhooks, of which there is one: `audit`.
    struct House {
        dir: tempfile::TempDir,
        config: Config,
        statuses: Arc<Statuses>,
        desk: Desk,
        webhooks: Webhooks,
    }

    async fn house() -> House {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let (store, _) = Store::open(&path("state"), Options { cache_bytes: 1 << 20 }).unwrap();
        let ledger = Ledger::open(store).unwrap();
        std::fs::write(path("secret"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let text = format!(
            "[directory.corp.provider.bundle]\npath = \"corp.json\"\n[webhook.audit]\n\
             url = \"http://127.0.0.1:9/\"\nallow_private = true\nsecret = {{ file = {:?} }}\n",
            path("secret")
        );
        std::fs::write(path("config.toml"), text).unwrap();
        let config = Config::load(&path("config.toml")).unwrap_or_else(|error| panic!("{error}"));
        let (statuses, controls) = (Arc::new(Statuses::default()), Controls::default());
        let desk = Desk::new(Arc::clone(&statuses), controls.clone(), ledger.trail().clone());
        desk.adopt(&config).await;
        let webhooks = Webhooks::new(ledger, Arc::clone(&statuses), controls);
        House { dir, config, statuses, desk, webhooks }
    }

    fn names() -> Vec<String> {
        vec!["audit".to_owned()]
    }

    fn somebody() -> Caller {
        Caller::peer(1000, 100, Some(7))
    }

    #[tokio::test]
    async fn an_order_is_recorded_though_whoever_gave_it_hangs_up() {
        let mut house = house().await;
        house.webhooks.start(&house.config, names());
        let desk = house.desk.clone();
        assert_eq!(desk.order("audit", Order::Pause, somebody()).now_or_never(), None);
        desk.orders_ended().await;
        assert_eq!(desk.clear("audit", somebody()).now_or_never(), None);
        desk.orders_ended().await;
        let page = desk.trail.store().audit(None, 10, &|_| true).unwrap();
        let acts =
            page.entries.iter().map(|entry| (entry.act.action.as_str(), &entry.act.metadata));
        let acts: Vec<String> =
            acts.map(|(action, metadata)| format!("{action} {:?}", metadata["outcome"])).collect();
        assert_eq!(acts.len(), 2, "{acts:?}");
        for (act, action) in acts.iter().zip(["webhook.pause", "webhook.clear"]) {
            assert!(act.contains(action) && act.contains("applied"), "{acts:?}");
        }
        house.webhooks.stop_all().await;
        drop(house.dir);
    }

    #[tokio::test]
    async fn an_endpoint_that_cannot_be_started_is_not_shown_as_delivering() {
        let mut house = house().await;
        let state = |house: &House| house.desk.all()[0].status.state;
        assert_eq!(state(&house), State::Stopped);
        house.webhooks.start(&house.config, names());
        assert_eq!(state(&house), State::Delivering);
        house.webhooks.stop(&names(), false).await;
        // As when the system's authorities cannot be read.
        house.config.webhooks.get_mut("audit").unwrap().ca = Some(b"none".to_vec());
        house.webhooks.start(&house.config, names());
        assert_eq!(state(&house), State::Stopped);
        assert!(house.statuses.snapshot(0).is_empty());
        assert_eq!(house.desk.all()[0].status.last_error.as_deref(), Some(NOT_RUNNING));
        let done = house.desk.order("audit", Order::Pause, somebody()).await;
        assert_eq!(done, Err(OrderError::Failed(NOT_RUNNING.to_owned())));
        assert_eq!(house.desk.all()[0].settings.format, "standard");
        drop(house.dir);
    }
}
