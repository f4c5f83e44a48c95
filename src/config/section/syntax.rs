//! What the parser complains about, in the words of the reports.

use crate::config::report::{Note, NoteKind};

pub(super) fn note(text: &str, error: &toml::de::Error) -> Note {
    let span = error.span().unwrap_or(text.len()..text.len());
    let message = error.message();
    let hint = match message.split_once(", expected ") {
        Some(("string values must be quoted", _)) => Some("write it in quotes".to_owned()),
        Some((_, expected)) => Some(format!("expected {expected}")),
        None if message == "duplicate key" => {
            Some("every name and every key of a table may stand once only".to_owned())
        }
        None => None,
    };
    let message = match text.get(span.clone()) {
        Some(key) if message == "duplicate key" => format!("duplicate key `{key}`"),
        _ => message.split_once(", expected ").map_or(message, |(what, _)| what).to_owned(),
    };
    Note { span: Some(span), message, hint, kind: NoteKind::Syntax }
}
