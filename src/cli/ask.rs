//! Asking the daemon from a command that waits for the answer.

use serde_json::Value;

use super::{Context, Failure};
use crate::client::{Client, ClientError, Page, Pages};

/// The daemon on the other end of the socket.
pub(super) struct Daemon {
    runtime: tokio::runtime::Runtime,
    pub(super) client: Client,
}

impl Daemon {
    /// Finds the socket; connects when first asked.
    pub(super) fn of(context: &Context) -> Result<Daemon, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
        Ok(Daemon { runtime, client: Client::new(&context.socket()?) })
    }

    /// Waits for what the client was asked.
    pub(super) fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        self.runtime.block_on(answer)
    }

    /// All pages of a list, as one: at most `limit` rows of the array `name`.
    pub(super) fn list(
        &self,
        pages: Pages<Value>,
        name: &str,
        limit: usize,
    ) -> Result<Value, ClientError> {
        let Page { rows, mut rest } = self.wait(pages.read(limit))?;
        if let Some(object) = rest.as_object_mut() {
            object.insert(name.to_owned(), Value::Array(rows));
        }
        Ok(rest)
    }
}

/// What went wrong, and what a person can do about it.
impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let failure = Failure::new(error.to_string());
        match error {
            ClientError::Unreachable { .. } => failure.hint(
                "is rosterd running? `systemctl status rosterd` tells; name another socket with --socket, or its configuration with --config",
            ),
            ClientError::Refused { hint: Some(hint), .. } => failure.hint(hint),
            ClientError::Refused { problem, .. } => match candidates(&problem) {
                Some(candidates) => failure.hint(format!("write one of: {candidates}")),
                None => failure,
            },
            ClientError::Unreadable(_) => {
                failure.hint("is the daemon of the same version? `rosterd --version` tells yours")
            }
        }
    }
}

/// The objects that an ambiguous reference may mean.
fn candidates(problem: &Value) -> Option<String> {
    let list = problem.get("candidates")?.as_array()?;
    let name = |candidate: &Value| {
        let text = |field: &str| candidate.get(field).and_then(Value::as_str);
        Some(format!("{}/{}", text("directory")?, text("id")?))
    };
    Some(list.iter().filter_map(name).collect::<Vec<_>>().join(", "))
}

/// A field of an answer as text; `-` for what is not there.
pub(super) fn text(value: &Value, field: &str) -> String {
    match value.get(field) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(true)) => "yes".to_owned(),
        Some(Value::Bool(false)) => "no".to_owned(),
        Some(other) => other.to_string(),
    }
}

/// The rows of an array in an answer.
pub(super) fn rows<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Seconds as people say them: `42s`, `5m`, `3h`, `2d`.
pub(super) fn age(value: &Value, field: &str) -> String {
    match value.get(field).and_then(Value::as_u64) {
        None => "never".to_owned(),
        Some(seconds @ 0..120) => format!("{seconds}s"),
        Some(seconds @ 120..7_200) => format!("{}m", seconds / 60),
        Some(seconds @ 7_200..172_800) => format!("{}h", seconds / 3_600),
        Some(seconds) => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ages_are_short() {
        let check = |seconds: u64, expect: &str| {
            assert_eq!(age(&json!({ "age_seconds": seconds }), "age_seconds"), expect);
        };
        check(0, "0s");
        check(119, "119s");
        check(120, "2m");
        check(7_200, "2h");
        check(172_800, "2d");
        assert_eq!(age(&json!({ "age_seconds": null }), "age_seconds"), "never");
    }

    #[test]
    fn an_ambiguous_reference_names_what_it_may_mean() {
        let problem = json!({ "candidates": [
            { "directory": "corp", "id": "u1" }, { "directory": "lab", "id": "u9" },
        ]});
        let error = ClientError::Refused {
            status: 409,
            detail: "ada means several users".into(),
            hint: None,
            problem,
        };
        assert_eq!(
            Failure::from(error).to_string(),
            "ada means several users\nhint: write one of: corp/u1, lab/u9"
        );
    }
}
