//! TOML to typed values, with every mistake at once; the only room that reads
//! configuration files and the environment.
//!
//! [`section`] is how a part reads its own settings; [`Config`] composes the
//! parts; [`Changes`] says what a reload has to do.

mod changes;
mod directory;
pub mod duration;
mod fingerprint;
mod log;
mod mask;
mod nearest;
mod query;
mod report;
pub mod section;
mod source;
mod store;

pub use changes::{Changes, NameChanges};
pub use directory::{DirectoryConfig, Kinds, PollConfig};
pub use fingerprint::Fingerprint;
pub use log::{LogConfig, LogFormat};
pub use query::{DEFAULT_SOCKET, Listen, QueryConfig};
pub use report::{Mistake, Place, Report};
pub use section::Section;
pub use source::{File, Surroundings, variable};
pub use store::StoreConfig;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::provider::registry;

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
    /// By name; at least one.
    pub directories: BTreeMap<String, DirectoryConfig>,
    webhook_fingerprints: BTreeMap<String, Fingerprint>,
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
        let query = match root.section("query") {
            Some(mut query) => QueryConfig::read(&mut query),
            None => Some(QueryConfig::default()),
        };
        let log = root.section("log").map(|mut log| LogConfig::read(&mut log));
        let store = match root.section("store") {
            Some(mut store) => StoreConfig::read(&mut store),
            None => Some(StoreConfig::default()),
        };
        let directories = read_directories(root, kinds);
        let webhook_fingerprints = BTreeMap::new();
        Some(Config {
            state_dir,
            query: query?,
            log: log.unwrap_or_default(),
            store: store?,
            directories: directories?,
            webhook_fingerprints,
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

fn read_directories(
    root: &mut Section<'_>,
    kinds: Kinds<'_>,
) -> Option<BTreeMap<String, DirectoryConfig>> {
    let mut directories = BTreeMap::new();
    let mut is_whole = true;
    let sections = root.sections("directory");
    if sections.is_empty() {
        root.missing("directory", Some("add a block [directory.NAME]".to_owned()));
    }
    for (name, mut section) in sections {
        check_name(&mut section);
        match DirectoryConfig::read(&mut section, kinds) {
            Some(directory) => drop(directories.insert(name, directory)),
            None => is_whole = false,
        }
    }
    (is_whole && !directories.is_empty()).then_some(directories)
}

fn check_name(section: &mut Section<'_>) {
    if !directory::is_name(section.name()) {
        let message = format!("`{}` is not a name", section.name().escape_debug());
        section.error_here(message, Some(directory::NAME_HINT.to_owned()));
    }
}

#[cfg(test)]
mod tests;
