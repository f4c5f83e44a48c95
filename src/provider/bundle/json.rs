//! JSON lists: checked as a whole first, then read entry by entry, so memory
//! holds one entry beside the text, and every entry has its place.

use std::ops::Range;

use serde::de::IgnoredAny;
use serde_json::{Map, Value as Json};

use super::list::{Entry, Place, Trouble};

/// Checks that `text` is well-formed JSON, to its very end.
///
/// # Errors
/// Where it is not.
pub(super) fn check(text: &str) -> Result<(), Trouble> {
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        Trouble::new(Place::at(error.line(), error.column()), reason)
    })
}

/// The members of the object that checked `text` is: keys, and where their
/// values are.
///
/// # Errors
/// When it is no object, or a key comes twice.
pub(super) fn members(text: &str) -> Result<Vec<(String, Range<usize>)>, Trouble> {
    let trouble = |at, reason: String| Trouble::new(Place::of(text.as_bytes(), at), reason);
    let mut scan = Scan::new(text, 0);
    if scan.peek() != Some(b'{') {
        return Err(trouble(scan.at, "an object with `users` and `groups` is expected".into()));
    }
    let mut members: Vec<(String, Range<usize>)> = Vec::new();
    scan.at += 1;
    while scan.peek() == Some(b'"') {
        let name_at = scan.value();
        let name: String = serde_json::from_str(text.get(name_at.clone()).unwrap_or_default())
            .map_err(|error| trouble(name_at.start, error.to_string()))?;
        if members.iter().any(|(known, _)| *known == name) {
            return Err(trouble(name_at.start, format!("`{name}` is here twice")));
        }
        scan.skip(b':');
        members.push((name, scan.value()));
        scan.skip(b',');
    }
    Ok(members)
}

/// Checks that the value at `range` of checked `text` is an array.
///
/// # Errors
/// When it is something else; `null` is no empty list.
pub(super) fn check_array(text: &str, range: &Range<usize>) -> Result<(), Trouble> {
    match Scan::new(text, range.start).peek() {
        Some(b'[') => Ok(()),
        _ => Err(Trouble::new(Place::of(text.as_bytes(), range.start), "a list is expected")),
    }
}

/// Calls `each` with every object of the array at `range` of checked `text`.
///
/// # Errors
/// When an entry is no object, or `each` refuses it.
pub(super) fn each(
    text: &str,
    range: Range<usize>,
    keep_raw: bool,
    each: &mut dyn FnMut(Entry) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let mut scan = Scan::new(text, range.start);
    let mut place = Walk::default();
    scan.skip(b'[');
    while scan.peek().is_some_and(|next| next != b']') {
        let slice = scan.value();
        let place = place.to(text, slice.start);
        let raw = text.get(slice).unwrap_or_default();
        let object: Map<String, Json> =
            serde_json::from_str(raw).map_err(|_| Trouble::new(place, "an object is expected"))?;
        let mut fields = Vec::new();
        flatten("", object, &mut fields);
        each(Entry { place, fields, raw: keep_raw.then(|| raw.to_owned()) })?;
        scan.skip(b',');
    }
    Ok(())
}

fn flatten(prefix: &str, object: Map<String, Json>, fields: &mut Vec<(String, Json)>) {
    for (name, value) in object {
        let name = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value {
            Json::Object(inner) => flatten(&name, inner, fields),
            value => fields.push((name, value)),
        }
    }
}

/// Steps over the values of a text that is known to be well-formed.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn new(text: &'a str, at: usize) -> Scan<'a> {
        Scan { bytes: text.as_bytes(), at }
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    fn skip(&mut self, expected: u8) {
        if self.peek() == Some(expected) {
            self.at += 1;
        }
    }

    /// Steps over one value and says where it was.
    fn value(&mut self) -> Range<usize> {
        self.peek();
        let start = self.at;
        let mut depth = 0_usize;
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'"' => self.string(),
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth == 0 => break,
                b'}' | b']' => depth -= 1,
                b',' | b':' if depth == 0 => break,
                byte if depth == 0 && byte.is_ascii_whitespace() => break,
                _ => {}
            }
            self.at += 1;
            let ended = depth == 0 && matches!(byte, b'"' | b'}' | b']');
            if ended {
                break;
            }
        }
        start..self.at
    }

    /// From the opening quote to the closing one.
    fn string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'"' => return,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }
}

/// Counts lines forward, without starting from the top each time.
#[derive(Default)]
struct Walk {
    lines: usize,
    line_start: usize,
    at: usize,
}

impl Walk {
    fn to(&mut self, text: &str, offset: usize) -> Place {
        let passed = text.as_bytes().get(self.at..offset).unwrap_or_default();
        for (index, _) in passed.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            self.lines += 1;
            self.line_start = self.at + index + 1;
        }
        self.at = offset;
        Place::at(self.lines + 1, offset - self.line_start + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Result<Vec<(Place, String)>, Trouble> {
        check(text)?;
        let mut list = Vec::new();
        each(text, 0..text.len(), false, &mut |entry| {
            let names: Vec<_> =
                entry.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
            list.push((entry.place, names.join(" ")));
            Ok(())
        })?;
        Ok(list)
    }

    #[test]
    fn entries_have_their_places_and_flat_names() {
        let text = "[\n  {\"id\": \"a]}\\\"\"},\n  {\"n\": {\"x\": {\"y\": 1}, \"z\": [{}]}} ]";
        assert_eq!(
            entries(text).unwrap(),
            [
                (Place::at(2, 3), r#"id="a]}\"""#.into()),
                (Place::at(3, 3), "n.x.y=1 n.z=[{}]".into())
            ]
        );
        assert_eq!(entries(" [ ] ").unwrap(), []);
    }

    #[test]
    fn a_half_written_text_is_refused_where_it_ends() {
        let trouble = entries("[\n {\"id\": \"a\"},\n {\"id").unwrap_err();
        assert_eq!(trouble.place.line, 3);
        assert!(trouble.reason.contains("EOF"), "{}", trouble.reason);
        assert!(entries("[] []").is_err());
        assert_eq!(entries("[1]").unwrap_err().place, Place::at(1, 2));
    }

    #[test]
    fn a_deeply_nested_text_is_refused() {
        assert!(check(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn the_members_of_an_object_are_found() {
        let text = r#"{ "users" : [ {"a": "}"} ], "groups":[] , "x" : 1 }"#;
        check(text).unwrap();
        let members = members(text).unwrap();
        let shown: Vec<_> =
            members.iter().map(|(name, at)| (name.as_str(), &text[at.clone()])).collect();
        assert_eq!(shown, [("users", r#"[ {"a": "}"} ]"#), ("groups", "[]"), ("x", "1")]);
        assert!(super::members(r#"{"a":1,"a":2}"#).is_err());
        assert!(super::members("[]").is_err());
        assert!(check_array("null", &(0..4)).is_err());
    }
}
