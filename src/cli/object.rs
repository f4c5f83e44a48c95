//! `rosterd user REF` and `rosterd group REF`: one object and its memberships.

use serde_json::Value;

use super::ask::{Daemon, rows, text};
use super::{Context, Exit, Failure, Paint, Table, printable};
use crate::client::Query;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// An id, a name or an email; DIRECTORY/REF narrows it
    reference: String,
    /// Direct memberships only, not those through nested groups
    #[arg(long)]
    direct: bool,
}

pub(super) fn user(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    show(arguments, context, "users", "groups")
}

pub(super) fn group(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    show(arguments, context, "groups", "members")
}

fn show(
    arguments: &Arguments,
    context: &mut Context,
    kind: &str,
    related: &'static str,
) -> Result<Exit, Failure> {
    let daemon = Daemon::of(context)?;
    let (reference, nested) = (arguments.reference.as_str(), !arguments.direct);
    let mut object = daemon.wait(daemon.client.get(Query::of(&[kind, reference]).as_str()))?;
    let query = Query::of(&[kind, reference, related]).with("nested", nested);
    let list = daemon.list(daemon.client.rows(query, related), related, usize::MAX)?;
    if context.output.is_json() {
        if let Some(fields) = object.as_object_mut() {
            fields.insert(related.to_owned(), Value::Array(rows(&list, related).to_vec()));
        }
        context.output.json(&object)?;
        return Ok(Exit::Yes);
    }
    fields(context, &object)?;
    let mut table = Table::new(["KIND", "NAME", "ID"]);
    for row in rows(&list, related) {
        let kind = if related == "groups" { "group".to_owned() } else { text(row, "kind") };
        let name = if kind == "user" { text(row, "username") } else { text(row, "name") };
        table.row([kind, name, text(row, "id")]);
    }
    let how = if nested { "also through nested groups" } else { "directly" };
    let heading = format!("{related} ({how}): {}", rows(&list, related).len());
    context.output.line(&context.output.paint(Paint::Strong, &heading))?;
    if !table.is_empty() {
        context.output.table(&table)?;
    }
    Ok(Exit::Yes)
}

/// Every field that has a value, one a line.
fn fields(context: &mut Context, answer: &Value) -> Result<(), Failure> {
    let inner = answer.get("user").or_else(|| answer.get("group")).unwrap_or(answer);
    let mut table = Table::new(["FIELD", "VALUE"]);
    for (name, value) in inner.as_object().into_iter().flatten() {
        let shown = match value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        table.row([name.as_str(), &printable(&shown)]);
    }
    context.output.table(&table)?;
    Ok(())
}
