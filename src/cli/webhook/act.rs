//! `rosterd webhook test | replay | pause | resume | clear`: steering one endpoint.

use serde_json::Value;

use crate::cli::ask::Daemon;
use crate::cli::{Context, Exit, Failure};

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
    let name = &name.webhook;
    let daemon = Daemon::of(context)?;
    let answer = daemon.wait(daemon.client.pause_webhook(name))?;
    let line = format!("{name} is paused; `rosterd webhook resume {name}` sends again");
    tell(answer.json(), &line, context)
}

pub(super) fn resume(arguments: &Resume, context: &mut Context) -> Result<Exit, Failure> {
    let name = &arguments.name.webhook;
    let daemon = Daemon::of(context)?;
    let answer = daemon.wait(daemon.client.resume_webhook(name, arguments.skip))?;
    let line = match arguments.skip {
        true => format!("{name} is resumed with what happens next; what waited is skipped"),
        false => format!("{name} is resumed; `rosterd webhook show {name}` tells how far it is"),
    };
    tell(answer.json(), &line, context)
}

pub(super) fn replay(arguments: &Replay, context: &mut Context) -> Result<Exit, Failure> {
    let name = &arguments.name.webhook;
    let daemon = Daemon::of(context)?;
    let replay = daemon.client.replay_webhook(name, arguments.from, arguments.to);
    let answer = daemon.wait(replay)?;
    let seq = |seq: Option<u64>| seq.map_or_else(|| "-".to_owned(), |seq| seq.to_string());
    let (from, to) = (seq(answer.from), seq(answer.to));
    tell(answer.json(), &format!("{name} is sent the events {from} to {to} once more"), context)
}

pub(super) fn test(name: &Name, context: &mut Context) -> Result<Exit, Failure> {
    let name = &name.webhook;
    let daemon = Daemon::of(context)?;
    let answer = daemon.wait(daemon.client.test_webhook(name))?;
    let Some(delivery) = &answer.delivery else {
        return Err(Failure::new("the daemon's answer does not say"));
    };
    let latency = delivery.latency_ms;
    let line = match delivery.accepted {
        true => {
            let status = delivery.status.unwrap_or_default();
            format!("{name} accepted the test: {status} after {latency} ms")
        }
        false => {
            let error = delivery.error.as_deref().unwrap_or("-");
            format!("{name} did not accept the test after {latency} ms: {error}")
        }
    };
    tell(answer.json(), &line, context)?;
    Ok(if delivery.accepted { Exit::Yes } else { Exit::No })
}

pub(super) fn clear(name: &Name, context: &mut Context) -> Result<Exit, Failure> {
    let name = &name.webhook;
    let daemon = Daemon::of(context)?;
    let answer = daemon.wait(daemon.client.clear_webhook(name))?;
    let line = match answer.cleared {
        1 => format!("1 attempt is gone from the log of {name}"),
        many => format!("{many} attempts are gone from the log of {name}"),
    };
    tell(answer.json(), &line, context)
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
