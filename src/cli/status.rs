//! `rosterd status`: how every directory fares.

use serde_json::Value;

use super::ask::{Daemon, age, rows, text};
use super::{Context, Exit, Failure, Paint, Table};

pub(super) fn run(context: &mut Context) -> Result<Exit, Failure> {
    let answer = Daemon::of(context)?.get("/v1/directories")?;
    if context.output.is_json() {
        context.output.json(&answer)?;
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
    for directory in rows(&answer, "directories") {
        let state = text(directory, "state");
        let paint = paint(&state);
        let plain = |field: &str| (text(directory, field), Paint::Plain);
        table.painted_row([
            (text(directory, "name"), Paint::Strong),
            plain("provider"),
            (state, paint),
            (age(directory, "age_seconds"), Paint::Plain),
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

fn paint(state: &str) -> Paint {
    match state {
        "healthy" => Paint::Good,
        "failing" => Paint::Bad,
        _ => Paint::Warning,
    }
}
