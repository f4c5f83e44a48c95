//! The webhook endpoints, one task each.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::{error, warn};

use crate::config::Config;
use crate::sync::ledger::Ledger;
use crate::task::{self, Task, Trigger};
use crate::webhook::{self, Controls, Statuses};

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
            match webhook::start(endpoint.clone(), journal, seq, statuses, &self.controls, shutdown)
            {
                Ok(task) => drop(self.running.insert(name, (task, trigger))),
                Err(error) => error!(webhook = name, error, "cannot deliver"),
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
                self.statuses.remove(name);
                self.controls.remove(name);
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
}
