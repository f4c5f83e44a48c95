//! Asks GraphQL, and believes no answer that is not whole: errors come with
//! status 200, with or without data beside them.
//!
//! Known failure R2: errors, or `data: null`, taken for an empty list.

use serde::Deserialize;
use serde_json::Value;

use super::access::Connection;
use crate::provider::PullError;

/// Why a query gave nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Trouble {
    /// Too much was asked for at once; less may do.
    Heavy(PullError),
    /// Something that was named is not there (any more), or not visible.
    Gone(PullError),
    /// The credential may not see a part. `String`: the message.
    Hidden(PullError, String),
    /// Parts were refused, and all else came.
    Partly(Box<Part>),
    Fatal(PullError),
}

/// What came of an answer that is not whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub data: Value,
    /// Paths into `data`.
    pub refused: Vec<Vec<Value>>,
    pub error: PullError,
}

impl Trouble {
    /// For callers that can do nothing else about it.
    pub fn into_error(self) -> PullError {
        match self {
            Trouble::Heavy(error)
            | Trouble::Gone(error)
            | Trouble::Hidden(error, _)
            | Trouble::Fatal(error) => error,
            Trouble::Partly(part) => part.error,
        }
    }

    /// Whether another question may have an answer: neither the network nor
    /// the credential is to blame.
    pub fn is_of_the_question(&self) -> bool {
        match self {
            Trouble::Fatal(error) => matches!(error, PullError::Incomplete { .. }),
            _ => true,
        }
    }
}

impl From<PullError> for Trouble {
    fn from(error: PullError) -> Trouble {
        Trouble::Fatal(error)
    }
}

/// One question.
pub struct Question<'a> {
    /// As the audit of requests names it.
    pub endpoint: &'static str,
    pub document: &'a str,
    pub variables: Value,
    /// What GitHub will count: connections asked for, divided by 100.
    pub points: f64,
    /// Statuses that are trouble the asker knows how to handle: [`TOO_SLOW`]
    /// when it could ask for less, others for a server without GraphQL.
    pub accepts: &'static [u16],
}

/// GitHub gives up on a query after ten seconds, with these statuses.
pub const TOO_SLOW: &[u16] = &[502, 504];

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    data: Option<Value>,
    #[serde(default)]
    errors: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    #[serde(rename = "type")]
    kind: Option<String>,
    message: String,
    path: Vec<Value>,
}

/// The `data` of a whole answer.
///
/// # Errors
/// For anything less.
pub async fn ask(connection: &Connection, question: Question<'_>) -> Result<Value, Trouble> {
    let Question { endpoint, document, variables, points, accepts } = question;
    let call = connection.query(endpoint, document, &variables, points).accept(accepts);
    let answer = connection.send(call).await?;
    if TOO_SLOW.contains(&answer.status.as_u16()) {
        let reason = format!("it answers {}: the query took too long", answer.status);
        return Err(Trouble::Heavy(PullError::Unreachable { what: what(connection), reason }));
    }
    if accepts.contains(&answer.status.as_u16()) {
        let reason = format!("there is no GraphQL: it answers {}", answer.status);
        return Err(Trouble::Gone(incomplete(&what(connection), reason)));
    }
    let envelope: Envelope = answer.json()?;
    read(&what(connection), envelope)
}

/// Feeds the reader of answers.
#[cfg(any(test, fuzzing))]
pub fn fed(bytes: &[u8]) {
    if let Ok(envelope) = serde_json::from_slice::<Envelope>(bytes) {
        let _ = read("GitHub", envelope);
    }
}

fn read(what: &str, envelope: Envelope) -> Result<Value, Trouble> {
    match (envelope.data, envelope.errors) {
        (data, Some(errors)) if !is_empty(&errors) => Err(trouble(what, data, errors)),
        (Some(data @ Value::Object(_)), _) => Ok(data),
        _ => Err(Trouble::Fatal(incomplete(what, "GraphQL sent no data and no error".to_owned()))),
    }
}

/// `errors: []` and `errors: null` say nothing; GraphQL forbids both.
fn is_empty(errors: &Value) -> bool {
    errors.is_null() || errors.as_array().is_some_and(Vec::is_empty)
}

fn trouble(what: &str, data: Option<Value>, errors: Value) -> Trouble {
    let told: Vec<Told> = match serde_json::from_value(errors) {
        Ok(told) => told,
        Err(_) => {
            let reason = "GraphQL sent errors that cannot be read".to_owned();
            return Trouble::Fatal(incomplete(what, reason));
        }
    };
    // What no other error mends decides.
    let mut worst = None;
    for error in &told {
        let (rank, trouble) = classify(what, error);
        if worst.as_ref().is_none_or(|(known, _)| rank > *known) {
            worst = Some((rank, trouble));
        }
    }
    let refused = told.iter().all(|e| e.kind.as_deref() == Some("FORBIDDEN") && !e.path.is_empty());
    match (worst, data) {
        (Some((_, Trouble::Hidden(error, _))), Some(data @ Value::Object(_))) if refused => {
            let refused = told.into_iter().map(|error| error.path).collect();
            Trouble::Partly(Box::new(Part { data, refused, error }))
        }
        (Some((_, trouble)), _) => trouble,
        (None, _) => Trouble::Fatal(incomplete(what, "GraphQL sent errors".to_owned())),
    }
}

fn classify(what: &str, error: &Told) -> (u8, Trouble) {
    let message = error.message.escape_debug().to_string();
    let kind = error.kind.as_deref().unwrap_or("");
    let reason = format!("GraphQL says{}: {kind} {message}", place(&error.path));
    let unauthorized = || PullError::Unauthorized {
        what: what.to_owned(),
        reason: reason.clone(),
        permission: None,
    };
    let text = error.message.to_lowercase();
    let is_heavy =
        matches!(kind, "RESOURCE_LIMITS_EXCEEDED" | "MAX_NODE_LIMIT_EXCEEDED" | "TIMEOUT")
            || text.contains("something went wrong while executing your query")
            || text.contains("timeout")
            || text.contains("timedout");
    match kind {
        "NOT_FOUND" => (0, Trouble::Gone(incomplete(what, reason))),
        "FORBIDDEN" | "INSUFFICIENT_SCOPES" => (2, Trouble::Hidden(unauthorized(), message)),
        _ if is_heavy => (1, Trouble::Heavy(incomplete(what, reason))),
        _ => (3, Trouble::Fatal(incomplete(what, reason))),
    }
}

fn place(path: &[Value]) -> String {
    let parts: Vec<String> = path
        .iter()
        .map(|part| part.as_str().map_or_else(|| part.to_string(), |name| name.to_owned()))
        .collect();
    if parts.is_empty() { String::new() } else { format!(" of {}", parts.join(".").escape_debug()) }
}

/// One page of a connection, checked for what GraphQL lets be null.
#[derive(Debug, PartialEq)]
pub struct Page {
    /// Edges, or nodes where edges carry nothing.
    pub entries: Vec<Value>,
    pub total: u64,
    /// `None` on the last page.
    pub next: Option<String>,
}

impl Page {
    /// Reads the connection `value`, whose entries are under `key`.
    ///
    /// # Errors
    /// [`PullError::Incomplete`] when a part that every page has is not there.
    pub fn read(what: &str, mut value: Value, key: &str) -> Result<Page, PullError> {
        let missing = |part: &str| incomplete(what, format!("a page has no {part}"));
        if !value.is_object() {
            return Err(missing("content at all"));
        }
        let Value::Array(entries) = value[key].take() else { return Err(missing(key)) };
        if entries.iter().any(Value::is_null) {
            return Err(incomplete(what, format!("a page has null in its {key}")));
        }
        let total = value["totalCount"].as_u64().ok_or_else(|| missing("totalCount"))?;
        let info = &value["pageInfo"];
        let has_next = info["hasNextPage"].as_bool().ok_or_else(|| missing("hasNextPage"))?;
        let next = match (has_next, info["endCursor"].as_str()) {
            (false, _) => None,
            (true, Some(cursor)) if !cursor.is_empty() => Some(cursor.to_owned()),
            (true, _) => return Err(missing("endCursor, and yet there are more")),
        };
        Ok(Page { entries, total, next })
    }
}

fn what(connection: &Connection) -> String {
    format!("GitHub, organization {}", connection.organization)
}

/// # Errors
/// Always this one.
pub fn incomplete(what: &str, reason: String) -> PullError {
    PullError::Incomplete { what: what.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outcome(body: Value) -> Result<Value, Trouble> {
        read("GitHub", serde_json::from_value(body).unwrap())
    }

    #[test]
    fn r2_errors_in_a_200_are_errors_also_with_data_beside_them() {
        let error = json!({ "message": "boom", "path": ["organization", "teams"] });
        for body in [
            json!({ "data": { "organization": {} }, "errors": [error] }),
            json!({ "data": null, "errors": [error] }),
            json!({ "errors": "boom" }),
            json!({ "data": null }),
            json!({ "data": [] }),
            json!({}),
        ] {
            let outcome = outcome(body.clone());
            assert!(matches!(outcome, Err(Trouble::Fatal(PullError::Incomplete { .. }))), "{body}");
        }
        assert!(outcome(json!({ "data": {}, "errors": null })).is_ok());
    }

    #[test]
    fn the_kind_of_error_decides_what_is_done() {
        let of = |kind: &str, message: &str| {
            outcome(json!({ "data": null, "errors": [{ "type": kind, "message": message }] }))
        };
        assert!(matches!(of("NOT_FOUND", "x"), Err(Trouble::Gone(_))));
        assert!(matches!(of("FORBIDDEN", "x"), Err(Trouble::Hidden(..))));
        assert!(matches!(of("RESOURCE_LIMITS_EXCEEDED", "x"), Err(Trouble::Heavy(_))));
        let slow = "Something went wrong while executing your query. This may be the result of a timeout, or it could be a GitHub bug.";
        assert!(matches!(of("", slow), Err(Trouble::Heavy(_))));
        let both = json!([{ "type": "NOT_FOUND", "message": "a" }, { "message": "b" }]);
        assert!(matches!(outcome(json!({ "errors": both })), Err(Trouble::Fatal(_))));
    }

    #[test]
    fn r1_a_page_that_lacks_a_part_is_no_page() {
        let page = json!({
            "totalCount": 2,
            "pageInfo": { "hasNextPage": true, "endCursor": "c" },
            "nodes": [{}, {}],
        });
        let read = |page: Value| Page::read("x", page, "nodes");
        assert_eq!(read(page.clone()).unwrap().next.as_deref(), Some("c"));
        for (part, value) in [
            ("totalCount", json!(null)),
            ("pageInfo", json!(null)),
            ("pageInfo", json!({ "hasNextPage": true, "endCursor": null })),
            ("nodes", json!(null)),
            ("nodes", json!([{}, null])),
        ] {
            let mut broken = page.clone();
            broken[part] = value;
            assert!(read(broken.clone()).is_err(), "{broken}");
        }
        assert!(read(json!(null)).is_err());
        // An empty page with more to come is a page.
        let mut empty = page;
        empty["nodes"] = json!([]);
        assert_eq!(read(empty).unwrap().next.as_deref(), Some("c"));
    }
}
