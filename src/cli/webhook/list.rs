//! `rosterd webhook list`: how every endpoint fares.

use serde_json::Value;

use crate::cli::ask::{Daemon, rows, text};
use crate::cli::{Context, Exit, Failure, Paint, Table};

pub(super) fn run(context: &mut Context) -> Result<Exit, Failure> {
    let daemon = Daemon::of(context)?;
    let answer = daemon.wait(daemon.client.webhooks())?;
    let answer = answer.json();
    if context.output.is_json() {
        context.output.json(answer)?;
        return Ok(Exit::Yes);
    }
    let headings =
        ["WEBHOOK", "STATE", "DELIVERED SEQ", "BACKLOG", "FAILURES", "NEXT ATTEMPT", "URL"];
    let mut table = Table::new(headings);
    let mut remarks = Vec::new();
    for webhook in rows(answer, "webhooks") {
        let state = text(webhook, "state");
        let paint = super::paint(&state);
        let plain = |field: &str| (text(webhook, field), Paint::Plain);
        table.painted_row([
            (text(webhook, "name"), Paint::Strong),
            (state, paint),
            plain("last_delivered_seq"),
            plain("backlog"),
            plain("consecutive_failures"),
            plain("next_attempt_at"),
            plain("url"),
        ]);
        remarks.extend(remark(webhook).map(|remark| (text(webhook, "name"), remark)));
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
fn remark(webhook: &Value) -> Option<String> {
    let name = text(webhook, "name");
    match text(webhook, "state").as_str() {
        "disabled" => {
            let disabled = webhook.get("disabled").unwrap_or(&Value::Null);
            let (since, reason) = (text(disabled, "since"), text(disabled, "reason"));
            Some(format!(
                "disabled since {since}: {reason}; `rosterd webhook resume {name}` sends again"
            ))
        }
        "paused" => Some(format!("`rosterd webhook resume {name}` sends again")),
        _ => webhook.get("last_error").and_then(Value::as_str).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_delivering_is_explained() {
        let of = |webhook: Value| remark(&webhook);
        assert_eq!(of(json!({ "state": "delivering", "last_error": null })), None);
        let failing = json!({ "state": "failing", "last_error": "it answers 503" });
        assert_eq!(of(failing), Some("it answers 503".into()));
        let disabled = json!({ "name": "audit", "state": "disabled", "disabled": {
            "since": "2026-11-20T10:00:00Z", "reason": "it answers 410 Gone" }});
        assert_eq!(
            of(disabled).unwrap(),
            "disabled since 2026-11-20T10:00:00Z: it answers 410 Gone; \
             `rosterd webhook resume audit` sends again"
        );
    }
}
