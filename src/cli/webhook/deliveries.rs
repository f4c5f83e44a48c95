//! `rosterd webhook deliveries NAME`: the delivery log of one endpoint.

use serde_json::Value;

use crate::cli::ask::{Daemon, rows, text};
use crate::cli::{Context, Exit, Failure, Paint, Table};
use crate::client::Query;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The webhook
    webhook: String,
    /// At most so many, the newest
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let daemon = Daemon::of(context)?;
    let query = Query::of(&["webhooks", &arguments.webhook, "deliveries"]);
    let pages = daemon.client.rows(query, "deliveries");
    let answer = daemon.list(pages, "deliveries", arguments.limit.max(1))?;
    if context.output.is_json() {
        context.output.json(&answer)?;
        return Ok(Exit::Yes);
    }
    let attempts = rows(&answer, "deliveries");
    if attempts.is_empty() {
        context.output.line("nothing was sent yet, or the log was cleared")?;
        return Ok(Exit::Yes);
    }
    let mut table =
        Table::new(["TIME", "SEQ", "ID", "ATTEMPT", "STATUS", "LATENCY", "ANSWER OR ERROR"]);
    for attempt in attempts.iter().rev() {
        let plain = |field: &str| (text(attempt, field), Paint::Plain);
        let accepted = attempt.get("accepted").and_then(Value::as_bool).unwrap_or_default();
        let paint = if accepted { Paint::Good } else { Paint::Bad };
        table.painted_row([
            plain("at"),
            (seqs(attempt), Paint::Plain),
            plain("id"),
            plain("attempt"),
            (text(attempt, "status"), paint),
            (format!("{} ms", text(attempt, "latency_ms")), Paint::Plain),
            (told(attempt), Paint::Plain),
        ]);
    }
    context.output.table(&table)?;
    let shown = attempts.len() as u64;
    let total = answer.get("total").and_then(Value::as_u64).unwrap_or_default();
    if total > shown {
        let more = format!("{shown} of {total} attempts; --limit shows more");
        let more = context.output.paint(Paint::Faint, &more);
        context.output.line(&more)?;
    }
    Ok(Exit::Yes)
}

/// `7`, `7-12` for a batch, `test`.
fn seqs(attempt: &Value) -> String {
    let number = |field: &str| attempt.get(field).and_then(Value::as_u64).unwrap_or_default();
    match (number("first_seq"), number("last_seq")) {
        (0, 0) => "test".to_owned(),
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    }
}

/// What the receiver said, or why nothing counts as accepted.
fn told(attempt: &Value) -> String {
    let field = |name: &str| attempt.get(name).and_then(Value::as_str).unwrap_or_default();
    match (field("error"), field("answer")) {
        ("", answer) => answer.to_owned(),
        (error, "") => error.to_owned(),
        (error, answer) => format!("{error}: {answer}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_tells_what_was_sent_and_what_was_said() {
        let attempt = json!({ "first_seq": 7, "last_seq": 9, "error": "it answers 500",
                              "answer": "out of paper" });
        assert_eq!(seqs(&attempt), "7-9");
        assert_eq!(told(&attempt), "it answers 500: out of paper");
        assert_eq!(seqs(&json!({ "first_seq": 7, "last_seq": 7 })), "7");
        assert_eq!(seqs(&json!({ "first_seq": 0, "last_seq": 0 })), "test");
        assert_eq!(told(&json!({ "error": null, "answer": "ok" })), "ok");
    }
}
