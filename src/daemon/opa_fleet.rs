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

    /// Starts every pusher of the configuration that does not run, also those
    /// that could not start before.
    pub fn start(&mut self, config: &Config) {
        for (name, target) in &config.opas {
            if self.running.contains_key(name) {
                continue;
            }
            let (trigger, shutdown) = task::shutdown();
            let (feed, statuses) = (self.feed.clone(), self.statuses.clone());
            match opa::start(target.clone(), feed, statuses, shutdown) {
                Ok(task) => drop(self.running.insert(name.clone(), (task, trigger))),
                Err(error) => error!(opa = name, error, "cannot push"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::section;
    use crate::export::opa::PushState;
    use crate::export::opa::tests::crowd;
    use crate::provider::registry::KINDS;

    /// With a pusher to a socket where nobody is, and that token.
    fn config(token: &[u8]) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let (file, people) = (folder.path().join("token"), folder.path().join("people.json"));
        std::fs::write(&file, token).unwrap();
        std::fs::write(&people, "{\"users\": [], \"groups\": []}").unwrap();
        let text = format!(
            "[directory.corp]\nprovider.bundle = {{ path = {people:?} }}\n\
             [opa.edge]\nsocket = \"/nowhere/opa.sock\"\ntoken = {{ file = {file:?} }}\n"
        );
        section::read_text(&text, |root| Config::read(root, KINDS)).unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_pusher_that_cannot_start_is_seen_and_tried_again() {
        let (setting, _folder) = crowd(1).await;
        let statuses = Pushers::default();
        let mut opas = Opas::new(setting.feed.clone(), statuses.clone());
        opas.start(&config(b"a\x01b"));
        let [status] = statuses.all().try_into().unwrap();
        assert_eq!((status.name.as_str(), status.state), ("edge", PushState::Failing));
        assert!(status.last_error.unwrap().contains("`token`"), "why");
        assert!(opas.running.is_empty());
        opas.start(&config(b"good"));
        assert_eq!(opas.running.len(), 1, "it is started by the next reload");
        opas.stop_all().await;
        opas.stop(&["edge".to_owned()], true).await;
        assert_eq!(statuses.all(), [], "it left the configuration");
    }
}
