//! The webhook endpoints, one task each.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tracing::{error, warn};

use crate::config::Config;
use crate::model::{Act, Action, Attributes, EventKind, Value};
use crate::sync::ledger::Ledger;
use crate::task::{self, Task, Trigger};
use crate::webhook::{self, Controls, Disabled, Notary, Statuses};

/// Running endpoints by name.
pub struct Webhooks {
    ledger: Ledger,
    statuses: Arc<Statuses>,
    controls: Controls,
    running: BTreeMap<String, (Task, Trigger)>,
}

impl Webhooks {
    pub fn new(ledger: Ledger, statuses: Arc<Statuses>, controls: Controls) -> Webhooks {
        Webhooks { ledger, statuses, controls, running: BTreeMap::new() }
    }

    /// Starts the named endpoints where their stored cursors stand.
    pub fn start(&mut self, config: &Config, names: Vec<String>) {
        for name in names {
            let Some(endpoint) = config.webhooks.get(&name) else { continue };
            let (trigger, shutdown) = task::shutdown();
            let (journal, statuses) = (self.ledger.store().clone(), Arc::clone(&self.statuses));
            let seq = self.ledger.view().subscribe();
            let notary = Arc::new(Announcer(self.ledger.clone()));
            let started = webhook::start(
                endpoint.clone(),
                (journal, notary),
                seq,
                statuses,
                &self.controls,
                shutdown,
            );
            match started {
                Ok(task) => drop(self.running.insert(name, (task, trigger))),
                Err(error) => {
                    error!(webhook = name, error, "cannot deliver");
                    self.forget(&name);
                }
            }
        }
    }

    /// Stops the named endpoints; `forget` those that left the configuration.
    pub async fn stop(&mut self, names: &[String], forget: bool) {
        let mut ending = Vec::new();
        for name in names {
            if let Some((task, trigger)) = self.running.remove(name) {
                trigger.fire();
                ending.push(task);
            }
            if forget {
                self.forget(name);
            }
        }
        for task in ending {
            if let Err(end) = task.join().await {
                warn!(error = %end, "a webhook did not end well");
            }
        }
    }

    /// Stops all.
    pub async fn stop_all(&mut self) {
        let names: Vec<String> = self.running.keys().cloned().collect();
        self.stop(&names, false).await;
    }

    /// Nothing tells how it fares, or takes orders for it.
    fn forget(&self, name: &str) {
        self.statuses.remove(name);
        self.controls.remove(name);
    }
}

/// Tells of endpoints in the journal, and in the audit trail with the same write.
struct Announcer(Ledger);

#[async_trait]
impl Notary for Announcer {
    async fn disabled(&self, notice: Disabled) -> Result<(), String> {
        let Disabled { webhook, since, reason, seq } = notice;
        let act = Act::of_daemon(Action::WEBHOOK_DISABLE)
            .on("webhook", &webhook)
            .with("reason", reason.as_str())
            .with("since", since.to_string())
            .with("seq", seq);
        let details = Attributes::from([
            ("webhook".to_owned(), Value::from(webhook)),
            ("reason".to_owned(), Value::from(reason)),
            ("since".to_owned(), Value::from(since.to_string())),
            ("seq".to_owned(), Value::from(seq)),
        ]);
        let announced = self.0.announce(EventKind::WebhookDisabled, details, act).await;
        announced.map_err(|error| error.to_string())
    }
}
