//! `rosterd why USER GROUP`: through which groups.

use serde_json::Value;

use super::ask::{Daemon, rows, text};
use super::{Context, Exit, Failure, printable};
use crate::client::encoded;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The user: an id, a username or an email; DIRECTORY/REF narrows it
    user: String,
    /// The group: an id, a name or an email; DIRECTORY/REF narrows it
    group: String,
}

pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let path =
        format!("/v1/why?user={}&group={}", encoded(&arguments.user), encoded(&arguments.group));
    let answer = Daemon::of(context)?.get(&path)?;
    let member = answer.get("member") == Some(&Value::Bool(true));
    let exit = if member { Exit::Yes } else { Exit::No };
    if context.output.is_json() {
        context.output.json(&answer)?;
        return Ok(exit);
    }
    let name = |object: &str, field: &str| {
        answer.get(object).map_or_else(|| "?".to_owned(), |object| text(object, field))
    };
    let (user, group) = (name("user", "username"), name("group", "name"));
    if !member {
        let line = format!("{user} is not in {group}, neither directly nor through other groups");
        context.output.line(&printable(&line))?;
    }
    for path in rows(&answer, "paths") {
        let steps = path.as_array().map_or(&[][..], Vec::as_slice);
        let names: Vec<String> = steps.iter().map(|step| text(step, "name")).collect();
        let line = format!("{user} is in {}", names.join(", which is in "));
        context.output.line(&printable(&line))?;
    }
    if answer.get("truncated") == Some(&Value::Bool(true)) {
        context.output.line("and more paths than these")?;
    }
    Ok(exit)
}
