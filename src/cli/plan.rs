//! `rosterd plan`: what a poll would change, changing nothing.

use serde_json::{Value, json};

use super::ask::{Daemon, rows, text};
use super::{Context, Exit, Failure, Output, Paint, printable};
use crate::client::{ChangeRow, ClientError, Page, Pages};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Plan only this directory
    directory: Option<String>,
    #[command(flatten)]
    shown: Shown,
}

/// Which of the changes are shown.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Shown {
    /// How many changes a page has
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Which page of the changes to show, from 1 on
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    page: u32,
}

pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let daemon = Daemon::of(context)?;
    let names = match &arguments.directory {
        Some(name) => vec![name.clone()],
        None => {
            let all = daemon.wait(daemon.client.directories())?;
            all.directories.iter().map(|directory| directory.name.clone()).collect()
        }
    };
    let mut plans = Vec::new();
    for name in &names {
        let plan = daemon.wait(arguments.shown.read(daemon.client.plan(name)))?;
        if context.output.is_json() {
            plans.push(plan);
        } else {
            show(&mut context.output, &plan, arguments.shown)?;
        }
    }
    if context.output.is_json() {
        context.output.json(&serde_json::json!({ "plans": plans }))?;
    }
    Ok(Exit::Yes)
}

fn show(output: &mut Output, plan: &Value, shown: Shown) -> Result<(), Failure> {
    let name = output.paint(Paint::Strong, &text(plan, "directory"));
    output.line(&format!("{name}: {}", counted(plan)))?;
    if let Some(hold) = plan.get("hold").filter(|hold| !hold.is_null()) {
        let held = output.paint(Paint::Warning, "would be held");
        output.line(&format!("  {held}: {} as {}", counted(hold), text(hold, "id")))?;
        reasons(output, hold)?;
        let applies = plan.get("applies").map_or_else(String::new, counted);
        output.line(&format!("  would be applied: {applies}"))?;
    }
    shown.write(output, plan)
}

impl Shown {
    /// The answer with the wanted page of its changes, whatever pages the
    /// socket has.
    pub(super) async fn read(self, pages: Pages<ChangeRow>) -> Result<Value, ClientError> {
        let (skip, limit) = self.range();
        let Page { rows, mut rest } = pages.read(skip + limit).await?;
        if let Some(object) = rest.as_object_mut() {
            let rows = rows.into_iter().skip(skip).take(limit);
            let rows = rows.map(|row| json!({ "held": row.held, "text": row.text }));
            object.insert("changes".to_owned(), rows.collect());
        }
        Ok(rest)
    }

    /// The changes in words, one a line, and how many there are besides.
    pub(super) fn write(self, output: &mut Output, answer: &Value) -> Result<(), Failure> {
        let changes = rows(answer, "changes");
        for change in changes {
            let mark = if change.get("held") == Some(&Value::Bool(true)) { "held: " } else { "" };
            output.line(&format!("  {mark}{}", printable(&text(change, "text"))))?;
        }
        let total = answer.get("total").and_then(Value::as_u64).unwrap_or_default();
        let (first, last) = (self.range().0 + 1, self.range().0 + changes.len());
        if total > changes.len() as u64 {
            let which =
                if changes.is_empty() { "none".to_owned() } else { format!("{first}–{last}") };
            output.line(&format!("  … {which} of {total}; --page and --limit show others"))?;
        }
        Ok(())
    }

    /// How many changes to pass over, and how many to show.
    fn range(self) -> (usize, usize) {
        let (page, limit) = (self.page as usize, self.limit as usize);
        ((page - 1).saturating_mul(limit), limit)
    }
}

/// Each exceeded limit, one a line.
pub(super) fn reasons(output: &mut Output, hold: &Value) -> Result<(), Failure> {
    for reason in rows(hold, "reasons").iter().filter_map(Value::as_str) {
        output.line(&format!("  {}", printable(reason)))?;
    }
    if let Some(whole) = hold.get("whole").and_then(Value::as_str) {
        output.line(&format!("  everything else waits too: {}", printable(whole)))?;
    }
    Ok(())
}

/// `2 users deleted, 5 members removed`, or `no changes`.
pub(super) fn counted(answer: &Value) -> String {
    let counts = answer.get("counts").and_then(Value::as_object);
    let said: Vec<String> = counts
        .into_iter()
        .flatten()
        .filter(|(_, count)| count.as_u64().is_some_and(|count| count > 0))
        .map(|(name, count)| format!("{count} {}", name.replace('_', " ")))
        .collect();
    if said.is_empty() { "no changes".to_owned() } else { said.join(", ") }
}
