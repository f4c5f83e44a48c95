//! What a reload has to do: the difference between two configurations.

use std::collections::BTreeMap;

use super::{Config, Fingerprint, StoreConfig};

/// The difference between the running configuration and a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub directories: NameChanges,
    pub webhooks: NameChanges,
    /// OPAs that are pushed to.
    pub opas: NameChanges,
    /// Databrokers that are written to.
    pub pomerium: NameChanges,
    /// Who may ask for what.
    pub access: bool,
    /// By what rules decisions are made.
    pub policies: bool,
    /// Something else of `[query]`, but where the socket is.
    pub query: bool,
    pub log: bool,
    pub store: bool,
    pub audit: bool,
    /// Keys that changed and take effect at the next start only.
    pub needs_restart: Vec<&'static str>,
}

/// What happened to named blocks, by name, in alphabetical order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameChanges {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    pub changed: Vec<String>,
    pub unchanged: Vec<String>,
}

impl Changes {
    /// From `old` to `new`. A block counts as changed when a secret or a file
    /// that it names has other content.
    pub fn between(old: &Config, new: &Config) -> Changes {
        let (old_fixed, new_fixed) = (fixed(old), fixed(new));
        let needs_restart = old_fixed
            .into_iter()
            .zip(new_fixed)
            .filter(|((_, old), (_, new))| old != new)
            .map(|((key, _), _)| key)
            .collect();
        let mut query = new.query.clone();
        query.socket.clone_from(&old.query.socket);
        query.access.clone_from(&old.query.access);
        Changes {
            directories: NameChanges::between(&directories(old), &directories(new)),
            webhooks: NameChanges::between(&old.webhook_fingerprints, &new.webhook_fingerprints),
            access: new.query.access != old.query.access,
            policies: new.policies != old.policies,
            opas: NameChanges::between(&old.opa_fingerprints, &new.opa_fingerprints),
            pomerium: NameChanges::between(&old.pomerium_fingerprints, &new.pomerium_fingerprints),
            query: query != old.query,
            log: new.log != old.log,
            store: StoreConfig { cache_bytes: old.store.cache_bytes, ..new.store.clone() }
                != old.store,
            audit: new.audit != old.audit,
            needs_restart,
        }
    }

    /// What changed and is not done by a reload.
    pub fn at_next_start(&self) -> Vec<&'static str> {
        let parts = [("query", self.query), ("store", self.store), ("audit", self.audit)];
        let parts = parts.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name);
        self.needs_restart.iter().copied().chain(parts).collect()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.directories.is_empty()
            && self.webhooks.is_empty()
            && self.opas.is_empty()
            && self.pomerium.is_empty()
            && !(self.access || self.policies || self.query || self.log)
            && !(self.store || self.audit)
            && self.needs_restart.is_empty()
    }
}

impl NameChanges {
    fn between(
        old: &BTreeMap<String, Fingerprint>,
        new: &BTreeMap<String, Fingerprint>,
    ) -> NameChanges {
        let mut changes = NameChanges::default();
        for (name, fingerprint) in new {
            let list = match old.get(name) {
                None => &mut changes.added,
                Some(old) if old == fingerprint => &mut changes.unchanged,
                Some(_) => &mut changes.changed,
            };
            list.push(name.clone());
        }
        changes.removed = old.keys().filter(|name| !new.contains_key(*name)).cloned().collect();
        changes
    }

    /// Whether every block is as it was.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

fn directories(config: &Config) -> BTreeMap<String, Fingerprint> {
    let fingerprint = |directory: &super::DirectoryConfig| directory.fingerprint.clone();
    config.directories.iter().map(|(name, d)| (name.clone(), fingerprint(d))).collect()
}

/// What is fixed while the daemon runs.
fn fixed(config: &Config) -> [(&'static str, String); 3] {
    [
        ("state_dir", config.state_dir.display().to_string()),
        ("query.socket", config.query.socket.display().to_string()),
        ("store.cache", config.store.cache_bytes.to_string()),
    ]
}
