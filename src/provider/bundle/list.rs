//! Lists of entries, JSON or CSV, with the place of every entry.

use std::ops::Range;
use std::sync::Arc;

use serde_json::Value as Json;

use super::{csv, json};
use crate::provider::PullError;

/// One list of objects within a file.
#[derive(Clone, Debug)]
pub(super) struct List {
    /// The file's name for people.
    pub(super) file: String,
    pub(super) text: Arc<str>,
    /// Where the list is in `text`.
    pub(super) range: Range<usize>,
    pub(super) format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Checked: the whole text is well-formed JSON, and the range is an array.
    Json,
    Csv,
}

/// One object of a list.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) place: Place,
    /// Fields by name; nested objects are flattened, with dots in the names.
    pub(super) fields: Vec<(String, Json)>,
    /// The object as JSON text, when it is to be kept.
    pub(super) raw: Option<String>,
}

/// A line and, within it, a column, both from 1. CSV entries have no column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: Option<u32>,
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) place: Place,
    pub(super) reason: String,
}

impl List {
    /// Calls `each` with every entry until it fails.
    ///
    /// # Errors
    /// The first malformed entry, or the first that `each` refuses.
    pub(super) fn each(
        &self,
        keep_raw: bool,
        mut each: impl FnMut(Entry) -> Result<(), String>,
    ) -> Result<(), PullError> {
        let mut each = |entry: Entry| {
            let place = entry.place;
            each(entry).map_err(|reason| Trouble { place, reason })
        };
        match self.format {
            Format::Json => json::each(&self.text, self.range.clone(), keep_raw, &mut each),
            Format::Csv => csv::each(&self.text, keep_raw, &mut each),
        }
        .map_err(|trouble| trouble.in_file(&self.file))
    }
}

impl Trouble {
    pub(super) fn new(place: Place, reason: impl Into<String>) -> Trouble {
        Trouble { place, reason: reason.into() }
    }

    pub(super) fn in_file(self, file: &str) -> PullError {
        PullError::Incomplete { what: format!("{file}:{}", self.place), reason: self.reason }
    }
}

impl Place {
    /// Where `offset` is in `text`.
    pub(super) fn of(text: &[u8], offset: usize) -> Place {
        let before = text.get(..offset).unwrap_or(text);
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        Place::at(line, before.len() - line_start + 1)
    }

    pub(super) fn at(line: usize, column: usize) -> Place {
        Place { line: saturated(line), column: Some(saturated(column)) }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.column {
            Some(column) => write!(f, "{}:{column}", self.line),
            None => write!(f, "{}", self.line),
        }
    }
}

/// The text of a file, without a byte order mark.
///
/// # Errors
/// When it is no UTF-8.
pub(super) fn utf8(file: &str, bytes: Vec<u8>) -> Result<Arc<str>, PullError> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let place = Place::of(error.as_bytes(), error.utf8_error().valid_up_to());
        Trouble::new(place, "this is not UTF-8").in_file(file)
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).into())
}

fn saturated(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
