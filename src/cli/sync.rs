//! `rosterd sync NAME`: poll now.

use super::ask::Daemon;
use super::{Context, Exit, Failure};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The directory
    directory: String,
}

pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let name = &arguments.directory;
    let daemon = Daemon::of(context)?;
    let answer = daemon.wait(daemon.client.sync(name))?;
    if context.output.is_json() {
        context.output.json(answer.json())?;
    } else {
        context
            .output
            .line(&format!("{name} is being polled; `rosterd status` shows the outcome"))?;
    }
    Ok(Exit::Yes)
}
