//! `rosterd is-member USER GROUP`: exit 0 yes, 1 no, 2 cannot tell.

use serde_json::Value;

use super::ask::{Daemon, age, text};
use super::{Context, Exit, Failure, Paint};
use crate::client::encoded;

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
    let mut path =
        format!("/v1/check?user={}&group={}", encoded(&arguments.user), encoded(&arguments.group));
    for (name, value) in [("max_age", &arguments.max_age), ("at", &arguments.at)] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", encoded(value)));
        }
    }
    let answer = Daemon::of(context)?.get(&path)?;
    let member = match answer.get("member").and_then(Value::as_bool) {
        Some(member) => member,
        None => return Err(Failure::new("the daemon's answer does not say")),
    };
    if context.output.is_json() {
        context.output.json(&answer)?;
    } else {
        let (word, paint) = if member { ("yes", Paint::Good) } else { ("no", Paint::Bad) };
        let word = context.output.paint(paint, word);
        let (directory, age) = (text(&answer, "directory"), age(&answer, "age_seconds"));
        context.output.line(&format!("{word} (from {directory}, {age} old)"))?;
    }
    Ok(if member { Exit::Yes } else { Exit::No })
}
