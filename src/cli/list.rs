//! `rosterd users` and `rosterd groups`: who and what is there.

use serde_json::Value;

use super::ask::{Daemon, rows, text};
use super::{Context, Exit, Failure, Table};
use crate::client::Query;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only this directory
    #[arg(long)]
    directory: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    limit: usize,
}

/// One kind of list: its path, and a column for each field.
struct Kind {
    name: &'static str,
    columns: &'static [(&'static str, &'static str)],
}

const USERS: Kind = Kind {
    name: "users",
    columns: &[
        ("USERNAME", "username"),
        ("NAME", "display_name"),
        ("EMAIL", "email"),
        ("ACTIVE", "active"),
        ("DIRECTORY", "directory"),
        ("ID", "id"),
    ],
};

const GROUPS: Kind = Kind {
    name: "groups",
    columns: &[
        ("NAME", "name"),
        ("DESCRIPTION", "description"),
        ("DIRECTORY", "directory"),
        ("ID", "id"),
    ],
};

pub(super) fn users(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    list(&USERS, arguments, context)
}

pub(super) fn groups(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    list(&GROUPS, arguments, context)
}

fn list(kind: &Kind, arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let name = kind.name;
    let daemon = Daemon::of(context)?;
    let query = Query::of(&[name]).with_some("directory", arguments.directory.as_ref());
    let answer = daemon.list(daemon.client.rows(query, name), name, arguments.limit)?;
    if context.output.is_json() {
        context.output.json(&answer)?;
        return Ok(Exit::Yes);
    }
    let mut table = Table::new(kind.columns.iter().map(|(heading, _)| *heading));
    for row in rows(&answer, name) {
        table.row(kind.columns.iter().map(|(_, field)| cell(row, field)));
    }
    context.output.table(&table)?;
    let (shown, total) = (rows(&answer, name).len(), text(&answer, "total"));
    if shown.to_string() != total {
        context.output.line(&format!("{shown} of {total} {name}"))?;
    }
    Ok(Exit::Yes)
}

/// `email` is the first of `emails` where an answer has only these.
fn cell(row: &Value, field: &str) -> String {
    match (field, row.get(field)) {
        ("email", None) => {
            let first = rows(row, "emails").first().and_then(Value::as_str);
            first.unwrap_or("-").to_owned()
        }
        _ => text(row, field),
    }
}
