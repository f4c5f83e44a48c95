//! The pushers into OPAs, one task each.

use std::collections::BTreeMap;

use tracing::{error, warn};

use crate::config::Config;
use crate::export::opa::{self, Feed, Pushers};
use crate::task::{self, Task, Trigger};

/// Running pushers by name.
pub struct Opas {
    feed: Feed,
    statuses: Pushers,
    running: BTreeMap<String, (Task, Trigger)>,
}

impl Opas {
    pub fn new(feed: Feed, statuses: Pushers) -> Opas {
        Opas { feed, statuses, running: BTreeMap::new() }
    }

    /// Starts the named pushers.
    pub fn start(&mut self, config: &Config, names: Vec<String>) {
        for name in names {
            let Some(target) = config.opas.get(&name) else { continue };
            let (trigger, shutdown) = task::shutdown();
            let (feed, statuses) = (self.feed.clone(), self.statuses.clone());
            match opa::start(target.clone(), feed, statuses, shutdown) {
                Ok(task) => drop(self.running.insert(name, (task, trigger))),
                Err(error) => {
                    error!(opa = name, error, "cannot push");
                    self.statuses.remove(&name);
                }
            }
        }
    }

    /// Stops the named pushers; `forget` those that left the configuration.
    pub async fn stop(&mut self, names: &[String], forget: bool) {
        let mut ending = Vec::new();
        for name in names {
            if let Some((task, trigger)) = self.running.remove(name) {
                trigger.fire();
                ending.push(task);
            }
            if forget {
                self.statuses.remove(name);
            }
        }
        for task in ending {
            if let Err(end) = task.join().await {
                warn!(error = %end, "a pusher did not end well");
            }
        }
    }

    /// Stops all.
    pub async fn stop_all(&mut self) {
        let names: Vec<String> = self.running.keys().cloned().collect();
        self.stop(&names, false).await;
    }
}
