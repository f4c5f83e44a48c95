//! `rosterd plan`: what a poll would change, changing nothing.

use serde_json::Value;

use super::ask::{Daemon, rows, text};
use super::{Context, Exit, Failure, Paint, printable};
use crate::client::encoded;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Plan only this directory
    directory: Option<String>,
    /// How many changes to show
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let daemon = Daemon::of(context)?;
    let names = match &arguments.directory {
        Some(name) => vec![name.clone()],
        None => {
            let all = daemon.get("/v1/directories")?;
            rows(&all, "directories").iter().map(|directory| text(directory, "name")).collect()
        }
    };
    let mut plans = Vec::new();
    for name in &names {
        let plan = daemon.post(&format!("/v1/directories/{}/plan", encoded(name)))?;
        if context.output.is_json() {
            plans.push(plan);
        } else {
            show(context, &plan, arguments.limit)?;
        }
    }
    if context.output.is_json() {
        context.output.json(&serde_json::json!({ "plans": plans }))?;
    }
    Ok(Exit::Yes)
}

fn show(context: &mut Context, plan: &Value, limit: usize) -> Result<(), Failure> {
    let output = &mut context.output;
    let name = output.paint(Paint::Strong, &text(plan, "directory"));
    output.line(&format!("{name}: {}", counted(plan)))?;
    if let Some(reason) = plan.get("held").and_then(Value::as_str) {
        let held = output.paint(Paint::Warning, "would be held");
        output.line(&format!("  {held}: {}", printable(reason)))?;
    }
    examples(context, plan, limit)
}

/// The first changes in words, one a line.
pub(super) fn examples(context: &mut Context, answer: &Value, limit: usize) -> Result<(), Failure> {
    let examples = rows(answer, "examples");
    for example in examples.iter().take(limit).filter_map(Value::as_str) {
        context.output.line(&format!("  {}", printable(example)))?;
    }
    if examples.len() > limit {
        context.output.line(&format!("  … (--limit shows more than {limit})"))?;
    }
    Ok(())
}

/// `2 users_deleted, 5 members_removed`, or `no changes`.
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
