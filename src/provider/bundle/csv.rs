//! CSV lists (RFC 4180): a header line with the names, then one entry a row.
//!
//! The last line must end with a line break: it is the only sign that a text
//! without an end mark was written to its end.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use super::list::{Entry, Place, Trouble};

/// Calls `each` with every row of `text`. An empty cell is an absent field.
///
/// # Errors
/// When a row has more or fewer cells than the header, when the header names
/// a column twice, when the text ends within a row, or when `each` refuses.
pub(super) fn each(
    text: &str,
    keep_raw: bool,
    each: &mut dyn FnMut(Entry) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    check_end(text)?;
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(text.as_bytes());
    let names: Vec<String> = reader
        .headers()
        .map_err(|error| trouble(text, &error))?
        .iter()
        .map(str::to_owned)
        .collect();
    check_header(&names)?;
    for row in reader.records() {
        let row = row.map_err(|error| trouble(text, &error))?;
        let fields: Vec<(String, Json)> = names
            .iter()
            .zip(row.iter())
            .filter(|(_, cell)| !cell.is_empty())
            .map(|(name, cell)| (name.clone(), Json::from(cell)))
            .collect();
        let raw = keep_raw.then(|| {
            let object: Map<String, Json> = fields.iter().cloned().collect();
            Json::Object(object).to_string()
        });
        each(Entry { place: place(text, row.position()), fields, raw })?;
    }
    Ok(())
}

fn check_end(text: &str) -> Result<(), Trouble> {
    let end = Place::of(text.as_bytes(), text.len());
    if !text.ends_with(['\n', '\r']) {
        let reason = "the last line has no line break, so it may be half written\n\
                      hint: end the file with a line break";
        return Err(Trouble::new(end, reason));
    }
    // Quotes come in pairs: around a cell, or doubled within one.
    if text.bytes().filter(|byte| *byte == b'"').count() % 2 == 1 {
        return Err(Trouble::new(end, "the text ends within a quoted cell"));
    }
    Ok(())
}

fn check_header(names: &[String]) -> Result<(), Trouble> {
    let first_line = Place { line: 1, column: None };
    let mut known = BTreeSet::new();
    for name in names {
        if name.is_empty() {
            return Err(Trouble::new(first_line, "a column has no name"));
        }
        if !known.insert(name) {
            return Err(Trouble::new(first_line, format!("two columns are named `{name}`")));
        }
    }
    Ok(())
}

fn trouble(text: &str, error: &csv::Error) -> Trouble {
    let reason = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} cells in this row, {expected_len} in the header")
        }
        _ => error.to_string(),
    };
    Trouble::new(place(text, error.position()), reason)
}

/// The reader's position may lie before the line breaks that precede the row.
fn place(text: &str, position: Option<&csv::Position>) -> Place {
    let Some(position) = position else { return Place { line: 1, column: None } };
    let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let rest = text.as_bytes().get(start..).unwrap_or_default();
    let breaks = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    let line = position.line() + breaks.filter(|byte| **byte == b'\n').count() as u64;
    Place { line: u32::try_from(line).unwrap_or(u32::MAX), column: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<Vec<String>, String> {
        let mut list = Vec::new();
        each(text, true, &mut |entry| {
            list.push(format!("{} {}", entry.place, entry.raw.unwrap_or_default()));
            Ok(())
        })
        .map_err(|trouble| format!("{}: {}", trouble.place, trouble.reason))?;
        Ok(list)
    }

    #[test]
    fn rows_have_their_lines_and_no_empty_cells() {
        assert_eq!(
            rows("id, name\r\nu1,\"Love\"\"lace,\nAda\"\nu2,\n").unwrap(),
            [r#"2 {"id":"u1","name":"Love\"lace,\nAda"}"#, r#"4 {"id":"u2"}"#]
        );
        assert_eq!(rows("id,name\n").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_half_written_text_is_refused() {
        for (text, expected) in [
            ("id,name\nu1,Ada\nu2,Gr", "3:6: the last line has no line break"),
            ("id,name\nu1,\"Ada\nu2,Grace\n", "4:1: the text ends within a quoted cell"),
            ("id,name\nu1\n", "2: 1 cells in this row, 2 in the header"),
            ("id,name\r\nu1,Ada\r\n\r\nu2\r\n", "4: 1 cells in this row"),
            ("id,id\n", "1: two columns are named `id`"),
            ("id,\n", "1: a column has no name"),
        ] {
            let error = rows(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
