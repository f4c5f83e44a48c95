//! Pomerium's directory groups: records in a databroker, or a bundle over HTTP.
//!
//! Pomerium's policies read a user's groups from records of the type
//! `pomerium.io/DirectoryUser` under the id that its session has. [`start`]
//! writes these into a databroker over gRPC; [`bundle`] packs the same for who
//! fetches them.
//!
//! - One writer at a time: whoever holds the databroker's lease.
//! - What the databroker has is known from what it told and what it accepted;
//!   only differences are put. After a restart the journal tells what may
//!   differ, and the databroker what was written since; whatever is not sure
//!   leads to asking for all records.
//! - Records carry the lease's name and the directory's, so those of others are
//!   never deleted, nor those of a directory that was not read yet.
//!
//! | File | What it holds |
//! |---|---|
//! | `config` | one `[pomerium.NAME]` block |
//! | `people` | users and groups by Pomerium's ids |
//! | `bundle` | both as a zip |
//! | `writer`, `lease` | the task, and its right to write |
//! | `records`, `resume` | what the databroker has; what the journal speaks of |
//! | `client`, `message` | gRPC |
//! | `status` | how writers are doing |

pub mod bundle;
mod client;
mod config;
mod lease;
mod message;
pub mod people;
mod records;
mod resume;
mod status;
mod writer;

pub use config::PomeriumConfig;
pub use people::Scope;
pub use status::{State, Statuses, WriterStatus};
pub use writer::Sources;

use std::sync::Arc;

use crate::task::{self, Shutdown, Task};

/// Starts writing to one databroker about these directories.
///
/// # Errors
/// In words, when TLS cannot be set up, or there are no directories: what is
/// there is not deleted because of a wrong name.
pub fn start(
    config: PomeriumConfig,
    scope: Scope,
    sources: Sources,
    statuses: Arc<Statuses>,
    shutdown: Shutdown,
) -> Result<Task, String> {
    if scope.is_empty() {
        return Err("no directory is of these tenants and products".to_owned());
    }
    let client = client::Client::new(&config)?;
    let name = format!("pomerium {}", config.name);
    statuses.add(&config.name);
    let writer = writer::Writer::new(config, scope, client, (sources, statuses), shutdown);
    Ok(task::spawn(name, writer.run()))
}

#[cfg(test)]
mod tests;
