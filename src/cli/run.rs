//! `rosterd run`: the daemon, in the foreground.

use super::{Context, Exit, Failure};
use crate::config::Config;
use crate::{daemon, log};

pub(super) fn run(context: &mut Context) -> Result<Exit, Failure> {
    let path = context.config();
    let config = Config::load(&path).map_err(|report| {
        Failure::new(format!("the configuration is not valid\n{}", report.render(false)))
    })?;
    let control = log::start(&config.log)
        .map_err(|error| Failure::new(format!("cannot start logging: {error}")))?;
    daemon::run(path, config, control).map_err(|fatal| Failure::new(fatal.to_string()))?;
    Ok(Exit::Yes)
}
