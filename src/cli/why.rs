//! `rosterd why USER GROUP`: through which groups.

use super::ask::Daemon;
use super::{Context, Exit, Failure, printable};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The user: an id, a username or an email; DIRECTORY/REF narrows it
    user: String,
    /// The group: an id, a name or an email; DIRECTORY/REF narrows it
    group: String,
}

pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let daemon = Daemon::of(context)?;
    let answer = daemon.wait(daemon.client.why(&arguments.user, &arguments.group, None))?;
    let exit = if answer.member { Exit::Yes } else { Exit::No };
    if context.output.is_json() {
        context.output.json(answer.json())?;
        return Ok(exit);
    }
    let (user, group) = (&answer.user.username, &answer.group.name);
    if !answer.member {
        let line = format!("{user} is not in {group}, neither directly nor through other groups");
        context.output.line(&printable(&line))?;
    }
    for path in &answer.paths {
        let names: Vec<&str> = path.iter().map(|step| step.name.as_str()).collect();
        let line = format!("{user} is in {}", names.join(", which is in "));
        context.output.line(&printable(&line))?;
    }
    if answer.truncated {
        context.output.line("and more paths than these")?;
    }
    Ok(exit)
}
