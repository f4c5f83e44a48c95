//! The pollers, one per configured directory.

use std::collections::BTreeMap;

use tracing::{error, info};

use super::operator::Remotes;
use crate::config::{Config, DirectoryConfig};
use crate::model::Caller;
use crate::sync::ledger::Ledger;
use crate::sync::poller::{Poller, Terms};
use crate::sync::schedule::{Delays, Schedule};
use crate::sync::status::Statuses;
use crate::task::{self, Trigger};

/// Running pollers by directory.
pub struct Fleet {
    ledger: Ledger,
    statuses: Statuses,
    remotes: Remotes,
    running: BTreeMap<String, (Poller, Trigger)>,
}

impl Fleet {
    pub fn new(ledger: Ledger, statuses: Statuses, remotes: Remotes) -> Fleet {
        Fleet { ledger, statuses, remotes, running: BTreeMap::new() }
    }

    /// Starts the named directories, their first polls spread.
    pub fn start(&mut self, config: &Config, names: Vec<String>) {
        let count = names.len();
        for (position, name) in names.into_iter().enumerate() {
            let Some(directory) = config.directories.get(&name) else { continue };
            let terms = terms(directory);
            let first = Schedule::new(terms.delays).first(position, count);
            let (trigger, shutdown) = task::shutdown();
            let (ledger, statuses) = (self.ledger.clone(), self.statuses.clone());
            let poller = Poller::start(terms, ledger, statuses, Some(first), shutdown);
            self.remotes.insert(&name, poller.remote());
            self.running.insert(name, (poller, trigger));
        }
    }

    /// Stops the named directories and waits for them.
    pub async fn stop(&mut self, names: &[String]) {
        let mut ending = Vec::new();
        for name in names {
            self.remotes.remove(name);
            if let Some((poller, trigger)) = self.running.remove(name) {
                trigger.fire();
                ending.push(poller);
            }
        }
        for poller in ending {
            poller.join().await;
        }
    }

    /// Stops all.
    pub async fn stop_all(&mut self) {
        let names = self.names();
        self.stop(&names).await;
    }

    /// Polls all now.
    pub fn poll_all(&self) {
        info!("polling every directory now");
        for (poller, _) in self.running.values() {
            poller.remote().nudge();
        }
    }

    /// The directories that are polled.
    pub fn names(&self) -> Vec<String> {
        self.running.keys().cloned().collect()
    }

    /// Drops stored directories that are not configured (any more); their names.
    pub async fn drop_unknown(&self, config: &Config, by: &Caller) -> Vec<String> {
        let mut dropped = Vec::new();
        let stored = self.ledger.names();
        for name in stored.into_iter().filter(|name| !config.directories.contains_key(name)) {
            match self.ledger.remove(&name, by.clone()).await {
                Ok(()) => info!(directory = name, "left the configuration, dropped"),
                Err(error) => error!(directory = name, %error, "cannot drop the directory"),
            }
            self.statuses.remove(&name);
            dropped.push(name);
        }
        // Also those that never committed anything.
        self.ledger.store().sweep_checkpoints(|name| config.directories.contains_key(name));
        dropped
    }
}

fn terms(directory: &DirectoryConfig) -> Terms {
    Terms {
        freshness_objective: directory.freshness_objective,
        name: directory.name.clone(),
        tenant: directory.tenant.clone(),
        product: directory.product.clone(),
        delays: Delays { min: directory.poll.min_delay, max: directory.poll.max_delay },
        patience: directory.poll.patience,
        full_every: directory.poll.full_every,
        checkpoints: directory.poll.checkpoints,
        limits: directory.limits,
        settings: directory.provider.clone(),
    }
}
