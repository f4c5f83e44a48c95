//! The writers to Pomerium's databrokers, one task each.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::{error, warn};

use crate::config::Config;
use crate::export::pomerium::{self, Scope, Sources, Statuses};
use crate::sync::ledger::Ledger;
use crate::task::{self, Task, Trigger};

/// Running writers by name.
pub struct Writers {
    ledger: Ledger,
    statuses: Arc<Statuses>,
    running: BTreeMap<String, Running>,
}

struct Running {
    task: Task,
    trigger: Trigger,
    scope: Scope,
}

impl Writers {
    pub fn new(ledger: Ledger, statuses: Arc<Statuses>) -> Writers {
        Writers { ledger, statuses, running: BTreeMap::new() }
    }

    /// Starts every writer of the configuration that does not run.
    pub fn start(&mut self, config: &Config) {
        for (name, one) in &config.pomerium {
            if self.running.contains_key(name) {
                continue;
            }
            let scope = scope(config, name);
            let (trigger, shutdown) = task::shutdown();
            let view = Arc::clone(self.ledger.view());
            let sources = Sources { view, store: self.ledger.store().clone() };
            let statuses = Arc::clone(&self.statuses);
            match pomerium::start(one.clone(), scope.clone(), sources, statuses, shutdown) {
                Ok(task) => {
                    self.running.insert(name.clone(), Running { task, trigger, scope });
                }
                Err(error) => error!(pomerium = name, error, "cannot write to the databroker"),
            }
        }
    }

    /// Ends those whose settings are others now, or that are about others.
    pub async fn stop_changed(&mut self, config: &Config, changed: &[String]) {
        let is_other = |(name, running): (&String, &Running)| {
            let stays = config.pomerium.contains_key(name)
                && !changed.contains(name)
                && running.scope == scope(config, name);
            (!stays).then(|| name.clone())
        };
        let names: Vec<String> = self.running.iter().filter_map(is_other).collect();
        self.stop(&names).await;
        for name in names.iter().filter(|name| !config.pomerium.contains_key(*name)) {
            self.statuses.remove(name);
        }
    }

    /// Stops all.
    pub async fn stop_all(&mut self) {
        let names: Vec<String> = self.running.keys().cloned().collect();
        self.stop(&names).await;
    }

    async fn stop(&mut self, names: &[String]) {
        let stopped = names.iter().filter_map(|name| self.running.remove(name));
        let ending: Vec<Task> = stopped
            .map(|running| {
                running.trigger.fire();
                running.task
            })
            .collect();
        for task in ending {
            if let Err(end) = task.join().await {
                warn!(error = %end, "a writer to a databroker did not end well");
            }
        }
    }
}

fn scope(config: &Config, name: &str) -> Scope {
    let all = config.directories.values();
    let all = all.map(|one| (one.name.as_str(), one.tenant.as_str(), one.product.as_str()));
    config.pomerium.get(name).map(|writer| writer.scope(all)).unwrap_or_default()
}
