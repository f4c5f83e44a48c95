//! `rosterd hold`, `approve` and `reject`: changes that wait for a person.

use serde_json::{Value, json};

use super::ask::{Daemon, text};
use super::plan::{Shown, counted, reasons};
use super::{Context, Exit, Failure, Output, Paint, printable};
use crate::client::Directory;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Show only what this directory holds
    directory: Option<String>,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, clap::Args)]
pub struct Decision {
    /// The id of the held set, as `rosterd hold` shows it
    id: String,
}

pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let daemon = Daemon::of(context)?;
    let mut holds = Vec::new();
    for (directory, _) in held(&daemon, arguments.directory.as_deref())? {
        holds.push(daemon.wait(arguments.shown.read(daemon.client.hold(&directory)))?);
    }
    if context.output.is_json() {
        context.output.json(&json!({ "holds": holds }))?;
        return Ok(Exit::Yes);
    }
    if holds.is_empty() {
        context.output.line("nothing is held")?;
    }
    for hold in &holds {
        show(&mut context.output, hold, arguments.shown)?;
    }
    Ok(Exit::Yes)
}

pub(super) fn approve(decision: &Decision, context: &mut Context) -> Result<Exit, Failure> {
    decide(decision, true, context)
}

pub(super) fn reject(decision: &Decision, context: &mut Context) -> Result<Exit, Failure> {
    decide(decision, false, context)
}

fn decide(decision: &Decision, approve: bool, context: &mut Context) -> Result<Exit, Failure> {
    let daemon = Daemon::of(context)?;
    let all = held(&daemon, None)?;
    let Some((directory, id)) = all.iter().find(|(_, id)| *id == decision.id) else {
        let ids: Vec<&str> = all.iter().map(|(_, id)| id.as_str()).collect();
        let held = if ids.is_empty() { "nothing".to_owned() } else { ids.join(", ") };
        return Err(Failure::new(format!(
            "no set with the id {} is held",
            printable(&decision.id)
        ))
        .hint(format!("held now: {held}; look at it with `rosterd hold` before deciding")));
    };
    let client = &daemon.client;
    let answer = match approve {
        true => daemon.wait(client.approve(directory, id))?,
        false => daemon.wait(client.reject(directory, id))?,
    };
    if context.output.is_json() {
        context.output.json(answer.json())?;
    } else if approve {
        context.output.line(&format!("{directory}: approved and applied"))?;
    } else {
        let until = answer.until.as_deref().unwrap_or("-");
        context.output.line(&format!("{directory}: rejected; {}", printable(until)))?;
    }
    Ok(Exit::Yes)
}

/// Directories that hold something, with the id of it.
fn held(daemon: &Daemon, only: Option<&str>) -> Result<Vec<(String, String)>, Failure> {
    let directories = match only {
        Some(name) => vec![daemon.wait(daemon.client.directory(name))?.into_inner()],
        None => daemon.wait(daemon.client.directories())?.into_inner().directories,
    };
    let held = |directory: Directory| Some((directory.name, directory.hold?.id));
    Ok(directories.into_iter().filter_map(held).collect())
}

fn show(output: &mut Output, answer: &Value, shown: Shown) -> Result<(), Failure> {
    let Some(hold) = answer.get("hold") else { return Ok(()) };
    let directory = output.paint(Paint::Strong, &text(answer, "directory"));
    let id = output.paint(Paint::Warning, &text(hold, "id"));
    let rejected = hold.get("rejected") == Some(&Value::Bool(true));
    let state = if rejected { " (rejected)" } else { "" };
    output.line(&format!("{directory}: {id}{state} since {}", text(hold, "since")))?;
    reasons(output, hold)?;
    output.line(&format!("  approving does: {}", counted(hold)))?;
    if let Some(why) = answer.get("unlisted").and_then(Value::as_str) {
        let name = text(answer, "directory");
        output.line(&format!("  {}: `rosterd sync {name}` reads it now", printable(why)))?;
    }
    shown.write(output, answer)
}
