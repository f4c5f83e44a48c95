//! `rosterd history user REF` and `rosterd history group REF`: what happened to
//! one person or group, and why.

use serde_json::Value;

use super::ask::{Daemon, text};
use super::{Context, Exit, Failure, Paint, printable};
use crate::client::Query;
use crate::clock;
use crate::config::duration;

/// Wide enough for most names, so that reasons stand below each other.
const WHAT_WIDTH: usize = 34;
const CAUSE_WIDTH: usize = 21;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Of a user or of a group
    kind: Kind,
    /// An id, a name or an email, also one that is no longer; DIRECTORY/REF narrows it
    reference: String,
    /// Only what happened after this: a time (RFC 3339), a seq, or how long ago (`30d`)
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only what happened up to this time or seq, or up to so long ago
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Whoever was called so at this time or seq, or so long ago
    #[arg(long, value_name = "WHEN")]
    at: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    User,
    Group,
}

pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let daemon = Daemon::of(context)?;
    let mut pages = daemon.client.rows::<Value>(query(arguments), "history");
    let mut is_first = true;
    while let Some(page) = daemon.wait(pages.next_page())? {
        if is_first {
            start(context, &page.rest)?;
        }
        is_first = false;
        for entry in &page.rows {
            show(context, entry)?;
        }
    }
    Ok(Exit::Yes)
}

fn query(arguments: &Arguments) -> Query {
    let kind = match arguments.kind {
        Kind::User => "users",
        Kind::Group => "groups",
    };
    let when = |value: &Option<String>| value.as_deref().map(moment);
    Query::of(&[kind, &arguments.reference, "history"])
        .with_some("since", when(&arguments.since))
        .with_some("until", when(&arguments.until))
        .with_some("at", when(&arguments.at))
}

/// How long ago becomes a time; times and seqs are the daemon's to read.
fn moment(text: &str) -> String {
    match duration::parse(text) {
        Ok(ago) => clock::now().minus(ago).to_string(),
        Err(_) => text.to_owned(),
    }
}

/// What was so where the log begins.
fn start(context: &mut Context, page: &Value) -> Result<(), Failure> {
    let Some(start) = page.get("start") else { return Ok(()) };
    if context.output.is_json() || start.get("exists") != Some(&Value::Bool(true)) {
        return Ok(());
    }
    let names: Vec<String> = match start.get("groups") {
        Some(Value::Array(groups)) => groups.iter().map(|group| text(group, "name")).collect(),
        _ => vec![format!("{} users, {} groups", text(start, "users"), text(start, "groups"))],
    };
    let (verb, names) = match start.get("users") {
        Some(_) => ("had", names),
        None => ("was in", names),
    };
    let what = if names.is_empty() {
        "was in no group".into()
    } else {
        format!("{verb} {}", names.join(", "))
    };
    line(context, &text(start, "at"), &what, "where this begins", &text(start, "seq"))
}

/// `2026-11-20T10:15:00Z  joined Engineering  crawl (incremental)  seq 812`
fn show(context: &mut Context, entry: &Value) -> Result<(), Failure> {
    if context.output.is_json() {
        context.output.json(entry)?;
        return Ok(());
    }
    let cause = cause(entry.get("cause").unwrap_or(&Value::Null));
    line(context, &text(entry, "occurred_at"), &what(entry), &cause, &text(entry, "seq"))
}

fn line(
    context: &mut Context,
    at: &str,
    what: &str,
    cause: &str,
    seq: &str,
) -> Result<(), Failure> {
    let output = &mut context.output;
    let time = output.paint(Paint::Faint, &format!("{at:<24}"));
    let what = output.paint(Paint::Strong, &printable(&format!("{what:<WHAT_WIDTH$}")));
    let cause = format!("{cause:<CAUSE_WIDTH$}");
    let cause = printable(&cause);
    let seq = output.paint(Paint::Faint, &format!("seq {seq}"));
    output.line(&format!("{time}  {what}  {cause}  {seq}"))?;
    Ok(())
}

/// `joined Engineering`, `updated username (was ada)`, `member bob left`.
fn what(entry: &Value) -> String {
    let name = |of: &str, field: &str| entry.get(of).map_or("?".to_owned(), |it| text(it, field));
    match text(entry, "what").as_str() {
        verb @ ("joined" | "left") => format!("{verb} {}", name("group", "name")),
        verb @ ("member_joined" | "member_left") => {
            let is_user = name("member", "kind") == "user";
            let who = name("member", if is_user { "username" } else { "name" });
            let group = if is_user { "" } else { "group " };
            format!("{group}{who} {}", verb.trim_start_matches("member_"))
        }
        "updated" => {
            let fields = entry.get("previous").and_then(Value::as_object);
            let shown = fields.into_iter().flatten().map(|(name, old)| match old {
                Value::String(old) => format!("{name} (was {old})"),
                Value::Null => format!("{name} (was none)"),
                Value::Bool(old) => format!("{name} (was {old})"),
                _ => name.clone(),
            });
            format!("updated {}", shown.collect::<Vec<_>>().join(", "))
        }
        other => other.to_owned(),
    }
}

/// `crawl (incremental)`, `approval of h_1 by uid 0`.
fn cause(cause: &Value) -> String {
    match text(cause, "kind").as_str() {
        "crawl" => format!("crawl ({})", text(cause, "extent")),
        "first" => "first crawl".to_owned(),
        "rebuilt" => "store rebuilt".to_owned(),
        "approval" => {
            let by = super::audit::actor(cause.get("by").unwrap_or(&Value::Null));
            format!("approval of {} by {by}", text(cause, "hold"))
        }
        "-" => "reason not kept".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn happenings_are_told_in_words() {
        let check = |entry: Value, expected: &str| assert_eq!(what(&entry), expected);
        check(json!({"what": "joined", "group": {"name": "Engineering"}}), "joined Engineering");
        check(
            json!({"what": "member_left", "member": {"kind": "user", "username": "bob"}}),
            "bob left",
        );
        check(
            json!({"what": "member_joined", "member": {"kind": "group", "name": "Core"}}),
            "group Core joined",
        );
        check(
            json!({"what": "updated", "previous": {"title": null, "username": "ada"}}),
            "updated title (was none), username (was ada)",
        );
        check(json!({"what": "deleted"}), "deleted");
    }

    #[test]
    fn causes_are_told_in_words() {
        let check = |body: Value, expected: &str| assert_eq!(cause(&body), expected);
        check(json!({"kind": "crawl", "extent": "incremental"}), "crawl (incremental)");
        check(
            json!({"kind": "approval", "hold": "h_1", "by": {"kind": "process", "uid": 0}}),
            "approval of h_1 by uid 0",
        );
        check(json!({"kind": "first"}), "first crawl");
        check(Value::Null, "reason not kept");
    }
}
