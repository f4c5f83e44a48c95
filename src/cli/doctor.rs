//! `rosterd doctor`: can every directory be read, and if not, what is missing?
//!
//! Works without the daemon, with the configuration and the credentials that
//! the daemon would use.

use serde_json::{Value, json};

use super::{Context, Exit, Failure, Paint, Table};
use crate::config::{Config, DirectoryConfig};
use crate::provider::{Finding, Outcome};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Examine only this directory
    directory: Option<String>,
}

pub(super) fn run(arguments: Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let config = Config::load(&context.config()).map_err(|report| {
        Failure::new(report.render(false)).hint("`rosterd check` shows every mistake")
    })?;
    let chosen = choose(&config, arguments.directory.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let mut healthy = true;
    let mut told = Vec::new();
    for directory in chosen {
        let mut connection = directory.provider.open(directory.poll.patience);
        let findings = runtime.block_on(connection.examine());
        healthy &= findings.iter().all(|finding| finding.outcome != Outcome::Bad);
        if context.output.is_json() {
            told.push(as_json(directory, &findings));
        } else {
            show(context, directory, &findings)?;
        }
    }
    if context.output.is_json() {
        context.output.json(&json!({ "healthy": healthy, "directories": told }))?;
    }
    Ok(if healthy { Exit::Yes } else { Exit::No })
}

fn choose<'a>(config: &'a Config, name: Option<&str>) -> Result<Vec<&'a DirectoryConfig>, Failure> {
    match name {
        None => Ok(config.directories.values().collect()),
        Some(name) => config.directories.get(name).map(|found| vec![found]).ok_or_else(|| {
            let known: Vec<&str> = config.directories.keys().map(String::as_str).collect();
            Failure::new(format!("there is no directory {name}"))
                .hint(format!("the configuration has {}", known.join(", ")))
        }),
    }
}

fn show(
    context: &mut Context,
    directory: &DirectoryConfig,
    findings: &[Finding],
) -> Result<(), Failure> {
    let title = context.output.paint(Paint::Strong, &directory.name);
    let (kind, origin) = (directory.provider.kind(), directory.provider.origin());
    context.output.line(&format!("{title}  {kind}  {origin}"))?;
    let mut table = Table::new(["STEP", "OUTCOME", "FOUND"]);
    for finding in findings {
        let (word, paint) = word(finding.outcome);
        table.painted_row([
            (finding.step.as_str(), Paint::Plain),
            (word, paint),
            (finding.detail.as_str(), Paint::Plain),
        ]);
    }
    context.output.table(&table)?;
    Ok(())
}

fn as_json(directory: &DirectoryConfig, findings: &[Finding]) -> Value {
    let findings: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let outcome = word(finding.outcome).0;
            json!({ "step": finding.step, "outcome": outcome, "detail": finding.detail })
        })
        .collect();
    json!({ "name": directory.name, "findings": findings })
}

fn word(outcome: Outcome) -> (&'static str, Paint) {
    match outcome {
        Outcome::Good => ("good", Paint::Good),
        Outcome::Warning => ("warning", Paint::Warning),
        Outcome::Bad => ("bad", Paint::Bad),
    }
}
