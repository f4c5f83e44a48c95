//! TOML to typed values, with every mistake at once; the only room that reads
//! configuration files and the environment.
//!
//! [`section`] is how a part reads its own settings; [`Config`] composes the
//! parts; [`Changes`] says what a reload has to do.

mod accounts;
mod audit;
mod changes;
mod directory;
pub mod duration;
mod fingerprint;
mod log;
mod mask;
pub mod nearest;
mod opas;
mod outline;
mod report;
mod rotation;
pub mod section;
mod source;
mod store;

pub use accounts::Account;
pub use audit::AuditConfig;
pub use changes::{Changes, NameChanges};
pub use directory::{DirectoryConfig, Kinds, PollConfig};
pub use fingerprint::Fingerprint;
pub use log::{LogConfig, LogFormat};
pub use outline::{Difference, Outline};
pub use report::{Mistake, Place, Report};
pub use rotation::replace_secret;
pub use section::{SecretSource, Section};
pub use source::{File, Surroundings, read_secret_file, variable};
pub use store::StoreConfig;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use url::Url;

use crate::export::opa::OpaConfig;
use crate::export::pomerium::PomeriumConfig;
use crate::provider::registry;
use crate::query::{DEFAULT_SOCKET, Policies, QueryConfig};
use crate::webhook::WebhookConfig;

/// Where the configuration is when the command line does not say.
pub const DEFAULT_PATH: &str = "/etc/rosterd/rosterd.toml";

/// Where the state is when the configuration does not say.
const DEFAULT_STATE_DIR: &str = "/var/lib/rosterd";

/// The whole configuration, read and checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub state_dir: PathBuf,
    pub query: QueryConfig,
    pub log: LogConfig,
    pub store: StoreConfig,
    pub audit: AuditConfig,
    /// By name; at least one.
    pub directories: BTreeMap<String, DirectoryConfig>,
    /// By name.
    pub webhooks: BTreeMap<String, WebhookConfig>,
    webhook_fingerprints: BTreeMap<String, Fingerprint>,
    /// By what rules decisions are made.
    pub policies: Policies,
    /// OPAs that are pushed to, by name.
    pub opas: BTreeMap<String, OpaConfig>,
    opa_fingerprints: BTreeMap<String, Fingerprint>,
    /// Databrokers that are written to, by name.
    pub pomerium: BTreeMap<String, PomeriumConfig>,
    pomerium_fingerprints: BTreeMap<String, Fingerprint>,
    /// For telling what a reload changed.
    pub outline: Outline,
}

impl Config {
    /// Reads the file at `path` and everything it names.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn load(path: &Path) -> Result<Config, Report> {
        let config = section::read_file(path, |root| Config::read(root, registry::KINDS))?;
        Ok(Config { log: config.log.overridden(source::variable(log::RUST_LOG)), ..config })
    }

    /// Reads the root of a configuration, with these kinds of providers.
    pub fn read(root: &mut Section<'_>, kinds: Kinds<'_>) -> Option<Config> {
        let state_dir = root.path("state_dir").unwrap_or_else(|| DEFAULT_STATE_DIR.into());
        let query = root.section_or_empty("query").and_then(|mut s| QueryConfig::read(&mut s));
        let log = root.section_or_empty("log").map(|mut s| LogConfig::read(&mut s));
        let store = root.section_or_empty("store").and_then(|mut s| StoreConfig::read(&mut s));
        let audit = root.section_or_empty("audit").map(|mut s| AuditConfig::read(&mut s));
        let directories = read_directories(root, kinds);
        let webhooks = read_webhooks(root, &directories.names);
        let policies = Policies::read(root, &directories.names);
        let opas = opas::read(root, &directories);
        let pomerium = read_pomerium(root, &directories.names);
        Some(Config {
            state_dir,
            query: query?,
            log: log?,
            store: store?,
            audit: audit?,
            directories: directories.whole?,
            webhooks: webhooks.configs,
            webhook_fingerprints: webhooks.fingerprints,
            policies: policies?,
            opas: opas.configs,
            opa_fingerprints: opas.fingerprints,
            pomerium: pomerium.configs,
            pomerium_fingerprints: pomerium.fingerprints,
            outline: root.outline(),
        })
    }
}

/// The query socket that a configuration file names, for clients: they may
/// not be allowed to read the secrets that the rest of it names, so nothing
/// else of it is looked at.
///
/// # Errors
/// Why the file cannot be read, as a fragment.
pub fn socket_of(path: &Path) -> Result<PathBuf, String> {
    let bytes = source::read_file(path)?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let (table, _) = toml::de::DeTable::parse_recoverable(&text);
    let query = table.get_ref().get("query").and_then(|query| query.get_ref().as_table());
    let socket = query.and_then(|query| query.get("socket")?.get_ref().as_str());
    Ok(socket.map_or(DEFAULT_SOCKET.into(), |socket| Surroundings::of_file(path).path(socket)))
}

/// What the `directory` blocks say.
struct Directories {
    /// Also of those with mistakes.
    names: Vec<String>,
    /// `None` when any has a mistake.
    whole: Option<BTreeMap<String, DirectoryConfig>>,
}

fn read_directories(root: &mut Section<'_>, kinds: Kinds<'_>) -> Directories {
    let sections = root.sections("directory");
    if sections.is_empty() {
        root.missing("directory", Some("add a block [directory.NAME]".to_owned()));
    }
    let mut names = Vec::new();
    let mut directories = BTreeMap::new();
    for (name, mut section) in sections {
        check_name(&mut section);
        names.push(name.clone());
        if let Some(directory) = DirectoryConfig::read(&mut section, kinds) {
            directories.insert(name, directory);
        }
    }
    let is_whole = !names.is_empty() && directories.len() == names.len();
    Directories { names, whole: is_whole.then_some(directories) }
}

/// What blocks of one kind say.
struct Blocks<T> {
    configs: BTreeMap<String, T>,
    fingerprints: BTreeMap<String, Fingerprint>,
}

fn read_webhooks(root: &mut Section<'_>, directories: &[String]) -> Blocks<WebhookConfig> {
    read_blocks(root.sections("webhook"), directories, WebhookConfig::read)
}

fn read_pomerium(root: &mut Section<'_>, directories: &[String]) -> Blocks<PomeriumConfig> {
    let mut leases: Vec<(Url, String)> = Vec::new();
    read_blocks(root.sections("pomerium"), directories, |section| {
        let config = PomeriumConfig::read(section);
        if let Some(config) = &config {
            let lease = (config.url.clone(), config.lease.clone());
            if leases.contains(&lease) {
                let hint = "one of them would stand by, and delete the other's records when it is \
                            its turn: join the blocks, or give each a `lease` of its own";
                let message = "another block writes to this databroker under the same `lease`";
                section.error("url", message, Some(hint.to_owned()));
            }
            leases.push(lease);
        }
        if let Some(mut ids) = section.section("ids") {
            for name in ids.keys() {
                ids.has(&name);
                check_directory(&mut ids, &name, &name, directories);
            }
        }
        config
    })
}

/// One with a mistake is left out; the mistake is noted.
fn read_blocks<T>(
    sections: Vec<(String, Section<'_>)>,
    directories: &[String],
    mut read: impl FnMut(&mut Section<'_>) -> Option<T>,
) -> Blocks<T> {
    let mut blocks = Blocks { configs: BTreeMap::new(), fingerprints: BTreeMap::new() };
    for (name, mut section) in sections {
        check_name(&mut section);
        let config = read(&mut section);
        check_directories(&mut section, directories);
        blocks.fingerprints.insert(name.clone(), section.fingerprint());
        blocks.configs.extend(config.map(|config| (name, config)));
    }
    blocks
}

fn check_directories(section: &mut Section<'_>, known: &[String]) {
    for name in section.texts("directories").unwrap_or_default() {
        check_directory(section, "directories", &name, known);
    }
}

fn check_directory(section: &mut Section<'_>, key: &str, name: &str, known: &[String]) {
    if known.iter().any(|known| known == name) {
        return;
    }
    let known = known.iter().map(String::as_str);
    let hint = match nearest::nearest(name, known.clone()) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => format!("known are {}", section::quoted(known)),
    };
    let message = format!("there is no directory `{}`", name.escape_debug());
    section.error(key, message, Some(hint));
}

/// Notes a mistake when the name of a block is none.
pub fn check_name(section: &mut Section<'_>) {
    if !directory::is_name(section.name()) {
        let message = format!("`{}` is not a name", section.name().escape_debug());
        section.error_here(message, Some(directory::NAME_HINT.to_owned()));
    }
}

#[cfg(test)]
mod tests;
