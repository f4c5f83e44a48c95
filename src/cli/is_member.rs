//! `rosterd is-member USER GROUP`: exit 0 yes, 1 no, 2 cannot tell.

use super::ask::{Daemon, age};
use super::{Context, Exit, Failure, Paint};
use crate::client::Terms;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The user: an id, a username or an email; DIRECTORY/REF narrows it
    user: String,
    /// The group: an id, a name or an email; DIRECTORY/REF narrows it
    group: String,
    /// Cannot tell when the answer is older than this (`5m`)
    #[arg(long, value_name = "DURATION")]
    max_age: Option<String>,
    /// As of this moment (`2026-11-20T10:15:00Z`) or seq
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let terms = Terms { max_age: arguments.max_age.clone(), at: arguments.at.clone() };
    let daemon = Daemon::of(context)?;
    let asked = daemon.client.check(&arguments.user, &arguments.group, &terms);
    let answer = daemon.wait(asked)?;
    let member = answer.member;
    if context.output.is_json() {
        context.output.json(answer.json())?;
    } else {
        let (word, paint) = if member { ("yes", Paint::Good) } else { ("no", Paint::Bad) };
        let word = context.output.paint(paint, word);
        let (directory, age) = (&answer.place.directory, age(answer.json(), "age_seconds"));
        context.output.line(&format!("{word} (from {directory}, {age} old)"))?;
    }
    Ok(if member { Exit::Yes } else { Exit::No })
}
