//! `rosterd audit`: who did what, and with `--follow` who does what.

use serde_json::Value;

use super::ask::{Daemon, rows, text};
use super::{Context, Exit, Failure, Paint, printable};
use crate::client::{ClientError, Query};
use crate::clock::{self, Duration, Timestamp};
use crate::config::duration;

/// How long one request waits for something to happen.
const WAIT: &str = "30s";
/// Between attempts to reach a daemon that is not there.
const RETRY: Duration = Duration::from_secs(1);
/// What `--follow` begins with.
const NEWEST: u64 = 10;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Go on with what happens next, also over restarts of the daemon
    #[arg(long, short)]
    follow: bool,
    /// Only actions of this name; `*` stands for any text
    #[arg(long, value_name = "GLOB")]
    action: Option<String>,
    /// Only what happened since this time (RFC 3339), or in this time (`2h`, `30d`)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Start after this entry, instead of with the oldest (with --follow: the
    /// newest ten)
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// At most so many entries
    #[arg(long)]
    limit: Option<u64>,
}

pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let daemon = Daemon::of(context)?;
    let mut after = match (arguments.after, arguments.follow && arguments.since.is_none()) {
        (Some(after), _) => Some(after),
        (None, true) => Some(newest(&daemon)?),
        (None, false) => None,
    };
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let query = query(arguments, after, left.min(1_000));
        let page = match daemon.wait(daemon.client.get(query.as_str())) {
            Ok(page) => page,
            Err(ClientError::Unreachable { .. } | ClientError::Unreadable(_))
                if arguments.follow && after.is_some() =>
            {
                std::thread::sleep(RETRY);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let entries = rows(&page, "entries");
        for entry in entries {
            show(context, entry)?;
        }
        after = page.get("seq").and_then(Value::as_u64).or(after);
        left = left.saturating_sub(entries.len() as u64);
        if page.get("next_cursor").is_none() && !arguments.follow {
            break;
        }
    }
    Ok(Exit::Yes)
}

fn query(arguments: &Arguments, after: Option<u64>, limit: u64) -> Query {
    Query::of(&["audit"])
        .with("limit", limit)
        .with_some("after", after)
        .with_some("action", arguments.action.as_ref())
        .with_some("since", arguments.since)
        .with_some("wait", arguments.follow.then_some(WAIT))
}

/// Where the newest few begin.
fn newest(daemon: &Daemon) -> Result<u64, Failure> {
    let answer = daemon.wait(daemon.client.get(Query::of(&["audit"]).with("limit", 1).as_str()))?;
    let number = |field: &str| answer.get(field).and_then(Value::as_u64).unwrap_or(0);
    let oldest = number("oldest_seq").saturating_sub(1);
    Ok(number("last_seq").saturating_sub(NEWEST).max(oldest))
}

/// A moment, or how long ago it was.
fn moment(text: &str) -> Result<Timestamp, String> {
    match duration::parse(text) {
        Ok(ago) => Ok(clock::now().minus(ago)),
        Err(_) => Timestamp::parse(text),
    }
}

/// `2026-11-20T10:15:00Z     7  uid 0 (pid 311)   directory_sync.hold.approve  corp h_1  …`
fn show(context: &mut Context, entry: &Value) -> Result<(), Failure> {
    let output = &mut context.output;
    if output.is_json() {
        output.json(entry)?;
        return Ok(());
    }
    let time = output.paint(Paint::Faint, &format!("{:<24}", text(entry, "at")));
    let seq = output.paint(Paint::Faint, &format!("{:>6}", text(entry, "seq")));
    let actor = actor(entry.get("actor").unwrap_or(&Value::Null));
    let refused = entry
        .pointer("/metadata/outcome")
        .is_some_and(|outcome| matches!(outcome.as_str(), Some("refused" | "failed")));
    let paint = if refused { Paint::Bad } else { Paint::Strong };
    let action = output.paint(paint, &format!("{:<27}", text(entry, "action")));
    let rest = [targets(entry), details(entry, "metadata")].join("  ");
    let rest = rest.trim();
    let line = format!(
        "{time} {seq}  {}  {action}  {}",
        printable(&format!("{actor:<20}")),
        printable(rest)
    );
    output.line(line.trim_end())?;
    Ok(())
}

/// Who did it, in words.
pub(super) fn actor(actor: &Value) -> String {
    let number = |field: &str| actor.get(field).and_then(Value::as_u64);
    match text(actor, "kind").as_str() {
        "process" => match (number("uid"), number("pid")) {
            (Some(uid), Some(pid)) => format!("uid {uid} (pid {pid})"),
            (uid, _) => format!("uid {}", uid.unwrap_or_default()),
        },
        "token" => format!("token {}", text(actor, "name")),
        "stranger" => format!("at {}", text(actor, "address")),
        other => other.to_owned(),
    }
}

fn targets(entry: &Value) -> String {
    let names: Vec<String> = rows(entry, "targets").iter().map(|t| text(t, "name")).collect();
    names.join(" ")
}

/// `outcome=applied users_deleted=10`, without what holds nothing.
fn details(entry: &Value, field: &str) -> String {
    let Some(fields) = entry.get(field).and_then(Value::as_object) else { return String::new() };
    let shown = fields.iter().filter_map(|(name, value)| {
        let value = match value {
            Value::String(text) if text.contains(char::is_whitespace) => format!("{text:?}"),
            Value::String(text) => text.clone(),
            Value::Array(list) if list.is_empty() => return None,
            other => other.to_string(),
        };
        Some(format!("{name}={value}"))
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn actors_are_named_in_words() {
        let check = |value: Value, expected: &str| assert_eq!(actor(&value), expected);
        check(json!({"kind": "daemon"}), "daemon");
        check(json!({"kind": "process", "uid": 7, "gid": 8, "pid": 9}), "uid 7 (pid 9)");
        check(json!({"kind": "process", "uid": 7}), "uid 7");
        check(json!({"kind": "token", "name": "query.token"}), "token query.token");
        check(json!({"kind": "stranger", "address": "127.0.0.1"}), "at 127.0.0.1");
    }

    #[test]
    fn since_is_a_moment_or_how_long_ago() {
        let day = Timestamp::parse("2026-11-20T00:00:00Z").unwrap();
        assert_eq!(moment("2026-11-20T00:00:00Z").unwrap(), day);
        assert!(moment("2h").unwrap() > day);
        assert!(moment("yesterday").is_err());
    }
}
