//! Why there is no answer.

use http::StatusCode;
use serde_json::Value;

/// Why there is no answer, or not the one asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there.
    #[error("no daemon answers on {at}: {reason}")]
    Unreachable { at: String, reason: String },
    /// The daemon answered with a problem (RFC 9457).
    #[error("{detail}")]
    Refused { status: u16, detail: String, hint: Option<String>, problem: Value },
    /// The connection ended within the answer, or the answer is no JSON.
    #[error("the daemon's answer cannot be read: {0}")]
    Unreadable(String),
}

impl ClientError {
    /// The word of the problem, such as `unknown`, `ambiguous` or `stale`: it
    /// does not change, so programs may branch on it.
    pub fn word(&self) -> Option<&str> {
        match self {
            ClientError::Refused { problem, .. } => problem.get("title").and_then(Value::as_str),
            _ => None,
        }
    }

    pub(super) fn refused(status: StatusCode, body: &[u8]) -> ClientError {
        let problem: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |field: &str| problem.get(field).and_then(Value::as_str).map(str::to_owned);
        let detail = text("detail")
            .or_else(|| text("title"))
            .unwrap_or_else(|| format!("the daemon answered {status}"));
        ClientError::Refused { status: status.as_u16(), detail, hint: text("hint"), problem }
    }

    pub(super) fn unreadable(error: impl std::fmt::Display) -> ClientError {
        ClientError::Unreadable(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_keeps_its_word_detail_and_hint() {
        let body = br#"{"title":"gone","detail":"seq 3 is gone","hint":"read the snapshot"}"#;
        let error = ClientError::refused(StatusCode::GONE, body);
        assert_eq!(error.word(), Some("gone"));
        let ClientError::Refused { status, detail, hint, .. } = error else {
            panic!("not refused");
        };
        assert_eq!((status, detail.as_str()), (410, "seq 3 is gone"));
        assert_eq!(hint.as_deref(), Some("read the snapshot"));
    }
}
