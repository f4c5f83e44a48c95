//! `rosterd check`: is the configuration right?

use std::io::IsTerminal;

use serde_json::{Value, json};

use super::{Context, Exit, Failure, Paint, Table};
use crate::config::{Config, Report};
use crate::query::{AccessConfig, PeerRule, TokenRule};

pub(super) fn run(context: &mut Context) -> Result<Exit, Failure> {
    match Config::load(&context.config()) {
        Ok(config) => valid(context, &config),
        Err(report) => mistaken(context, &report),
    }
}

fn valid(context: &mut Context, config: &Config) -> Result<Exit, Failure> {
    let path = context.config().display().to_string();
    let output = &mut context.output;
    if output.is_json() {
        output.json(&json!({
            "valid": true,
            "config": path,
            "directories": directories(config),
            "access": access(&config.query.access),
        }))?;
        return Ok(Exit::Yes);
    }
    output.line(&format!("{path} is {}", output.paint(Paint::Good, "valid")))?;
    let mut table = Table::new(["DIRECTORY", "PROVIDER", "ORIGIN"]);
    for directory in config.directories.values() {
        let provider = &directory.provider;
        table.row([directory.name.as_str(), provider.kind(), &provider.origin()]);
    }
    output.table(&table)?;
    let webhooks = config.webhooks.iter().map(|(name, one)| (name, one.shown_url()));
    let writers = config.pomerium.iter().map(|(name, one)| (name, one.url.to_string()));
    for (heading, all) in
        [("WEBHOOK", webhooks.collect::<Vec<_>>()), ("POMERIUM", writers.collect())]
    {
        if all.is_empty() {
            continue;
        }
        let mut table = Table::new([heading, "URL"]);
        for (name, url) in &all {
            table.row([name.as_str(), url]);
        }
        output.line("")?;
        output.table(&table)?;
    }
    let rules = rules(&config.query.access);
    if !rules.is_empty() {
        let mut table = Table::new(["ACCESS", "WHO", "MAY"]);
        for [name, who, may] in &rules {
            table.row([name.as_str(), who, may]);
        }
        output.line("")?;
        output.table(&table)?;
    }
    Ok(Exit::Yes)
}

/// Who may ask for what, where the configuration says so: one row a rule.
fn rules(access: &AccessConfig) -> Vec<[String; 3]> {
    let peers = access.peers.iter().flatten().map(|rule| {
        let ids = |word: &str, ids: &[u32]| {
            ids.iter().map(|id| format!("{word} {id}")).collect::<Vec<_>>()
        };
        let who = [ids("user", &rule.users), ids("group", &rule.groups)].concat();
        [rule.name.clone(), who.join(", "), rule.permissions.words().join(", ")]
    });
    let tokens = access.tokens.iter().map(|rule| {
        let may = rule.permissions.words().join(", ");
        [rule.name.clone(), "whoever has the token".to_owned(), may]
    });
    peers.chain(tokens).collect()
}

/// The same for machines; `peers` is `null` when whoever may open the socket may
/// do everything.
fn access(access: &AccessConfig) -> Value {
    let peer = |rule: &PeerRule| {
        json!({
            "name": rule.name,
            "users": rule.users,
            "groups": rule.groups,
            "permissions": rule.permissions.words(),
        })
    };
    let token =
        |rule: &TokenRule| json!({ "name": rule.name, "permissions": rule.permissions.words() });
    let peers = access.peers.as_ref().map(|rules| rules.iter().map(peer).collect::<Vec<_>>());
    let tokens: Vec<Value> = access.tokens.iter().map(token).collect();
    json!({ "peers": peers, "tokens": tokens })
}

fn directories(config: &Config) -> Vec<Value> {
    let describe = |directory: &crate::config::DirectoryConfig| {
        json!({
            "name": directory.name,
            "tenant": directory.tenant,
            "product": directory.product,
            "provider": directory.provider.kind(),
            "origin": directory.provider.origin(),
        })
    };
    config.directories.values().map(describe).collect()
}

fn mistaken(context: &mut Context, report: &Report) -> Result<Exit, Failure> {
    if context.output.is_json() {
        context.output.json(&as_json(report))?;
        return Ok(Exit::No);
    }
    let is_styled = context.output.is_styled() && std::io::stderr().is_terminal();
    let count = match report.mistakes().len() {
        1 => "1 mistake".to_owned(),
        count => format!("{count} mistakes"),
    };
    eprintln!("{}\n\n{count} in {}", report.render(is_styled), report.path());
    Ok(Exit::No)
}

fn as_json(report: &Report) -> Value {
    let mistakes: Vec<Value> = report
        .mistakes()
        .iter()
        .map(|mistake| {
            json!({
                "line": mistake.place.map(|place| place.line),
                "column": mistake.place.map(|place| place.column),
                "message": mistake.message,
                "hint": mistake.hint,
            })
        })
        .collect();
    json!({ "valid": false, "config": report.path(), "mistakes": mistakes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::section;

    #[test]
    fn mistakes_are_told_to_machines_with_their_places() {
        let report = section::read_text("a = 1", |_| Some(())).unwrap_err();
        assert_eq!(
            as_json(&report),
            json!({ "valid": false, "config": "config.toml", "mistakes": [
                { "line": 1, "column": 1, "message": "unknown key `a`", "hint": null },
            ] })
        );
    }
}
