//! `rosterd webhook show NAME`: everything that is known of one endpoint.

use crate::cli::ask::Daemon;
use crate::cli::status::show_facts;
use crate::cli::{Context, Exit, Failure};
use crate::client::encoded;

pub(super) fn run(name: &str, context: &mut Context) -> Result<Exit, Failure> {
    let webhook = Daemon::of(context)?.get(&format!("/v1/webhooks/{}", encoded(name)))?;
    if context.output.is_json() {
        context.output.json(&webhook)?;
    } else {
        show_facts(context, &webhook)?;
    }
    Ok(Exit::Yes)
}
