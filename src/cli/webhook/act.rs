//! `rosterd webhook test | replay | pause | resume | clear`: steering one endpoint.

use serde_json::Value;

use crate::cli::ask::{Daemon, text};
use crate::cli::{Context, Exit, Failure};
use crate::client::encoded;

#[derive(Debug, clap::Args)]
pub struct Name {
    /// The webhook
    pub(super) webhook: String,
}

#[derive(Debug, clap::Args)]
pub struct Replay {
    #[command(flatten)]
    name: Name,
    /// The first event
    #[arg(long, value_name = "SEQ")]
    from: u64,
    /// The last event, instead of the last one that was delivered
    #[arg(long, value_name = "SEQ")]
    to: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub struct Resume {
    #[command(flatten)]
    name: Name,
    /// Count what waits as delivered: the receiver is never told of it
    #[arg(long)]
    skip: bool,
}

pub(super) fn pause(name: &Name, context: &mut Context) -> Result<Exit, Failure> {
    let answer = post(name, "pause", context)?;
    let name = &name.webhook;
    let line = format!("{name} is paused; `rosterd webhook resume {name}` sends again");
    tell(&answer, &line, context)
}

pub(super) fn resume(arguments: &Resume, context: &mut Context) -> Result<Exit, Failure> {
    let word = if arguments.skip { "resume?skip=true" } else { "resume" };
    let answer = post(&arguments.name, word, context)?;
    let name = &arguments.name.webhook;
    let line = match arguments.skip {
        true => format!("{name} is resumed with what happens next; what waited is skipped"),
        false => format!("{name} is resumed; `rosterd webhook show {name}` tells how far it is"),
    };
    tell(&answer, &line, context)
}

pub(super) fn replay(arguments: &Replay, context: &mut Context) -> Result<Exit, Failure> {
    let mut word = format!("replay?from={}", arguments.from);
    if let Some(to) = arguments.to {
        word += &format!("&to={to}");
    }
    let answer = post(&arguments.name, &word, context)?;
    let (from, to) = (text(&answer, "from"), text(&answer, "to"));
    let name = &arguments.name.webhook;
    tell(&answer, &format!("{name} is sent the events {from} to {to} once more"), context)
}

pub(super) fn test(name: &Name, context: &mut Context) -> Result<Exit, Failure> {
    let answer = post(name, "test", context)?;
    let delivery = answer.get("delivery").unwrap_or(&Value::Null);
    let accepted = delivery.get("accepted").and_then(Value::as_bool).unwrap_or_default();
    let latency = text(delivery, "latency_ms");
    let line = match accepted {
        true => {
            let status = text(delivery, "status");
            format!("{} accepted the test: {status} after {latency} ms", name.webhook)
        }
        false => {
            let error = text(delivery, "error");
            format!("{} did not accept the test after {latency} ms: {error}", name.webhook)
        }
    };
    tell(&answer, &line, context)?;
    Ok(if accepted { Exit::Yes } else { Exit::No })
}

pub(super) fn clear(name: &Name, context: &mut Context) -> Result<Exit, Failure> {
    let answer = post(name, "clear", context)?;
    let line = match text(&answer, "cleared").as_str() {
        "1" => format!("1 attempt is gone from the log of {}", name.webhook),
        many => format!("{many} attempts are gone from the log of {}", name.webhook),
    };
    tell(&answer, &line, context)
}

fn post(name: &Name, word: &str, context: &Context) -> Result<Value, Failure> {
    let path = format!("/v1/webhooks/{}/{word}", encoded(&name.webhook));
    Ok(Daemon::of(context)?.post(&path)?)
}

fn tell(answer: &Value, line: &str, context: &mut Context) -> Result<Exit, Failure> {
    if context.output.is_json() {
        context.output.json(answer)?;
    } else {
        let line = crate::cli::printable(line);
        context.output.line(&line)?;
    }
    Ok(Exit::Yes)
}
