//! Why a commit was made: what a history tells beside each change.

use super::Actor;

/// What led to a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    /// Not kept: the commit is older than the keeping of causes.
    #[default]
    Unknown,
    /// The first crawl of the directory.
    First,
    /// A later crawl, full or incremental.
    Crawl { full: bool },
    /// A person let a held set of changes through.
    Approval { hold: String, by: Actor },
    /// The directory left the configuration.
    Removed,
    /// The first crawl after the store was set aside.
    Rebuilt,
    /// The daemon told of its own work; nothing of a directory changed.
    Daemon,
}

impl Cause {
    /// Its name on the wire; none for what is not known.
    pub fn as_str(&self) -> Option<&'static str> {
        match self {
            Cause::Unknown => None,
            Cause::First => Some("first"),
            Cause::Crawl { .. } => Some("crawl"),
            Cause::Approval { .. } => Some("approval"),
            Cause::Removed => Some("removed"),
            Cause::Rebuilt => Some("rebuilt"),
            Cause::Daemon => Some("daemon"),
        }
    }
}
