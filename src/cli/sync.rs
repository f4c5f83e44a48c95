//! `rosterd sync NAME`: poll now.

use super::ask::Daemon;
use super::{Context, Exit, Failure};
use crate::client::encoded;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The directory
    directory: String,
}

pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let name = &arguments.directory;
    let answer = Daemon::of(context)?.post(&format!("/v1/directories/{}/sync", encoded(name)))?;
    if context.output.is_json() {
        context.output.json(&answer)?;
    } else {
        context
            .output
            .line(&format!("{name} is being polled; `rosterd status` shows the outcome"))?;
    }
    Ok(Exit::Yes)
}
