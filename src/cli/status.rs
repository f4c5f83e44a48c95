//! `rosterd status`: how every directory fares.

use serde_json::Value;

use super::ask::{Daemon, age, rows, text};
use super::{Context, Exit, Failure, Paint, Table, printable};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Show everything that is known of this directory
    directory: Option<String>,
}

pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    match &arguments.directory {
        Some(name) => one(name, context),
        None => all(context),
    }
}

fn one(name: &str, context: &mut Context) -> Result<Exit, Failure> {
    let daemon = Daemon::of(context)?;
    let directory = daemon.wait(daemon.client.directory(name))?;
    if context.output.is_json() {
        context.output.json(directory.json())?;
        return Ok(Exit::Yes);
    }
    show_facts(context, directory.json())?;
    Ok(Exit::Yes)
}

/// Writes an answer as names and values.
pub(super) fn show_facts(context: &mut Context, answer: &Value) -> Result<(), Failure> {
    let mut facts = Facts::default();
    facts.object("", answer);
    for (name, value) in facts.0 {
        let name = context.output.paint(Paint::Strong, &format!("{name:<32}"));
        context.output.line(&format!("{name} {value}"))?;
    }
    Ok(())
}

/// What an answer says, as names and values; `null` and empty ones are left out.
#[derive(Default)]
struct Facts(Vec<(String, String)>);

impl Facts {
    fn object(&mut self, prefix: &str, object: &Value) {
        for (key, value) in object.as_object().into_iter().flatten() {
            let name = format!("{prefix}{}", key.replace('_', " "));
            match value {
                Value::Null => {}
                Value::Number(number)
                    if prefix.ends_with("counts: ") && number.as_u64() == Some(0) => {}
                Value::Object(_) => self.object(&format!("{name}: "), value),
                Value::Array(items) => {
                    self.0.extend(items.iter().map(|item| (name.clone(), plain(item))));
                }
                value => self.0.push((name, plain(value))),
            }
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text).to_string(),
        Value::Object(object) => {
            let parts: Vec<String> = object
                .iter()
                .map(|(key, value)| format!("{} {}", key.replace('_', " "), plain(value)))
                .collect();
            parts.join(", ")
        }
        value => value.to_string(),
    }
}

fn all(context: &mut Context) -> Result<Exit, Failure> {
    let daemon = Daemon::of(context)?;
    let answer = daemon.wait(daemon.client.directories())?;
    let answer = answer.json();
    if context.output.is_json() {
        context.output.json(answer)?;
        return Ok(Exit::Yes);
    }
    let mut table = Table::new([
        "DIRECTORY",
        "PROVIDER",
        "STATE",
        "AGE",
        "USERS",
        "GROUPS",
        "MEMBERSHIPS",
        "NEXT POLL",
    ]);
    let mut remarks = Vec::new();
    for directory in rows(answer, "directories") {
        let state = text(directory, "state");
        let paint = paint(&state);
        let plain = |field: &str| (text(directory, field), Paint::Plain);
        table.painted_row([
            (text(directory, "name"), Paint::Strong),
            plain("provider"),
            (state, paint),
            (age(directory, "age_seconds"), freshness(directory)),
            plain("users"),
            plain("groups"),
            plain("memberships"),
            plain("next_poll_at"),
        ]);
        remarks.extend(remark(directory));
    }
    context.output.table(&table)?;
    for (name, remark) in remarks {
        let name = context.output.paint(Paint::Strong, &name);
        let remark = context.output.paint(Paint::Warning, &remark);
        context.output.line(&format!("{name}: {remark}"))?;
    }
    Ok(Exit::Yes)
}

/// What an operator must know beside the numbers.
fn remark(directory: &Value) -> Option<(String, String)> {
    let name = text(directory, "name");
    if let Some(error) = directory.get("last_error").and_then(Value::as_str) {
        let failures = text(directory, "consecutive_failures");
        let failures = match failures.as_str() {
            "1" => "1 failure".to_owned(),
            _ => format!("{failures} failures in a row"),
        };
        return Some((name, format!("{failures}: {}", error.replace('\n', "; "))));
    }
    let hold = directory.get("hold").filter(|hold| !hold.is_null())?;
    let (id, reason) = (text(hold, "id"), text(hold, "reason"));
    Some((name, format!("holds {id}: {reason}; see `rosterd hold`")))
}

fn freshness(directory: &Value) -> Paint {
    match directory.get("fresh").and_then(Value::as_bool) {
        Some(false) => Paint::Bad,
        _ => Paint::Plain,
    }
}

fn paint(state: &str) -> Paint {
    match state {
        "healthy" => Paint::Good,
        "failing" => Paint::Bad,
        _ => Paint::Warning,
    }
}
