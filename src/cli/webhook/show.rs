//! `rosterd webhook show NAME`: everything that is known of one endpoint.

use crate::cli::ask::Daemon;
use crate::cli::status::show_facts;
use crate::cli::{Context, Exit, Failure};

pub(super) fn run(name: &str, context: &mut Context) -> Result<Exit, Failure> {
    let daemon = Daemon::of(context)?;
    let webhook = daemon.wait(daemon.client.webhook(name))?;
    if context.output.is_json() {
        context.output.json(webhook.json())?;
    } else {
        show_facts(context, webhook.json())?;
    }
    Ok(Exit::Yes)
}
