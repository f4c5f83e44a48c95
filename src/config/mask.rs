//! Hides what may be a secret in the text of a configuration file, so that an
//! excerpt of it can be shown.

use std::ops::Range;

/// What stands where a secret stood. Its length says nothing.
const MASK: &str = "***";

/// The text with every value of a secret-like key replaced, and the way from
/// positions in the original to positions in it.
#[derive(Debug)]
pub(super) struct Masked {
    text: String,
    /// The replaced ranges of the original, ascending and disjoint.
    cuts: Vec<Range<usize>>,
}

impl Masked {
    /// `known` are ranges of the original that the reader knows to be secret;
    /// more are found by the look of the text, because a file with a syntax
    /// error has no reliable structure.
    pub(super) fn new(original: &str, known: Vec<Range<usize>>) -> Masked {
        let mut cuts = known;
        cuts.extend(values_of_secret_keys(original));
        cuts.extend(user_info_of_urls(original));
        cuts.extend(random_words(original));
        let cuts = disjoint(cuts, original);
        let mut text = String::with_capacity(original.len());
        let mut end = 0;
        for cut in &cuts {
            text.push_str(slice(original, end..cut.start));
            text.push_str(MASK);
            end = cut.end;
        }
        text.push_str(slice(original, end..original.len()));
        Masked { text, cuts }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The range of the masked text that shows this range of the original.
    pub(super) fn range(&self, original: &Range<usize>) -> Range<usize> {
        let start = self.position(original.start, false);
        start..self.position(original.end, true).max(start)
    }

    /// A position inside a cut moves to the end of the mask or to its start.
    fn position(&self, original: usize, to_end: bool) -> usize {
        let mut shown = original;
        for cut in self.cuts.iter().rev() {
            if cut.end <= original {
                shown = shown.saturating_sub(cut.len()).saturating_add(MASK.len());
            } else if cut.start < original {
                shown = cut.start + if to_end { MASK.len() } else { 0 };
            }
        }
        shown.min(self.text.len())
    }
}

/// Whether a key of this name holds a secret, by its look: also misspelled
/// and unknown ones.
pub(super) fn is_secret_like(key: &str) -> bool {
    const PARTS: [&str; 11] = [
        "pass",
        "pasw",
        "pwd",
        "secret",
        "secert",
        "token",
        "key",
        "credential",
        "private",
        "authorization",
        "cookie",
    ];
    const NAMES_NOT_VALUES: [&str; 6] = ["_url", "_file", "_path", "_attribute", "_id", "_command"];
    let key = key.to_lowercase();
    !is_source(&key)
        && !NAMES_NOT_VALUES.iter().any(|end| key.ends_with(end))
        && PARTS.iter().any(|part| key.contains(part))
}

/// Whether a key says where a secret is kept.
pub(super) fn is_source(key: &str) -> bool {
    matches!(key, "file" | "credential" | "env")
}

fn values_of_secret_keys(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (equals, _) in text.match_indices('=') {
        let names: Vec<&str> = key_before(slice(text, 0..equals)).split('.').collect();
        let stated = names.last().is_some_and(|last| is_source(last));
        if stated || !names.iter().any(|name| is_secret_like(name)) {
            continue;
        }
        let value = equals + 1 + leading_blanks(slice(text, equals + 1..text.len()));
        match text.as_bytes().get(value) {
            Some(b'{') => found.extend(values_of_table(text, value)),
            _ => found.extend(value_extent(text, value)),
        }
    }
    found
}

/// The dotted key that ends where `text` ends.
fn key_before(text: &str) -> &str {
    let text = text.trim_end_matches([' ', '\t']).trim_end_matches(['"', '\'']);
    let in_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '"' | '\'');
    let start = text
        .char_indices()
        .rev()
        .take_while(|(_, c)| in_key(*c))
        .last()
        .map_or(text.len(), |(start, _)| start);
    slice(text, start..text.len())
}

fn leading_blanks(text: &str) -> usize {
    text.len() - text.trim_start_matches([' ', '\t']).len()
}

/// In `{ file = "…", value = "…" }`: the values that do not say where the
/// secret is kept.
fn values_of_table(text: &str, open: usize) -> Vec<Range<usize>> {
    let rest = slice(text, open..text.len());
    let end = rest.find(['}', '\n']).map_or(text.len(), |length| open + length);
    let table = slice(text, open..end);
    if !table.contains('=') {
        return std::iter::once(open + 1..end).collect();
    }
    table
        .match_indices('=')
        .filter(|(equals, _)| !is_source(key_before(slice(table, 0..*equals))))
        .filter_map(|(equals, _)| {
            let value = open + equals + 1;
            value_extent(text, value + leading_blanks(slice(text, value..end)))
        })
        .collect()
}

/// How far the value that starts at `start` reaches, generously; quotes stay.
fn value_extent(text: &str, start: usize) -> Option<Range<usize>> {
    let rest = slice(text, start..text.len());
    let line_end = start + rest.find('\n').unwrap_or(rest.len());
    for quote in ["\"\"\"", "'''"] {
        if let Some(inner) = rest.strip_prefix(quote) {
            let length = inner.find(quote).unwrap_or(inner.len());
            return Some(start + 3..start + 3 + length);
        }
    }
    let range = match rest.chars().next()? {
        '[' => start + 1..start + rest.find(']').unwrap_or(rest.len()),
        quote @ ('"' | '\'') => {
            let line = slice(text, start + 1..line_end);
            match closing(line, quote) {
                Some(length) if is_clean_end(slice(line, length + 1..line.len())) => {
                    start + 1..start + 1 + length
                }
                _ => start + 1..line_end,
            }
        }
        _ => start..line_end,
    };
    (!range.is_empty()).then_some(range)
}

/// Where the closing quote stands in `line`, which starts after the opening one.
fn closing(line: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            c if c == quote => return Some(at),
            _ => {}
        }
    }
    None
}

/// Whether what follows a closing quote shows that it really closed the value.
fn is_clean_end(rest: &str) -> bool {
    rest.trim_start().chars().next().is_none_or(|c| matches!(c, ',' | '}' | ']' | '#'))
}

/// `https://user:password@host`: the part before the `@`.
fn user_info_of_urls(text: &str) -> Vec<Range<usize>> {
    text.match_indices("://")
        .filter_map(|(at, _)| {
            let start = at + 3;
            let rest = slice(text, start..text.len());
            let end = rest.find(['"', '\'', ' ', '\t', '\n', ',']).unwrap_or(rest.len());
            slice(rest, 0..end).rfind('@').map(|length| start..start + length)
        })
        .filter(|range| !range.is_empty())
        .collect()
}

/// Long words of mixed letters and digits: lines of a PEM block, tokens
/// pasted into the wrong place.
fn random_words(text: &str) -> Vec<Range<usize>> {
    const LENGTH_MIN: usize = 24;
    let in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '_' | '-');
    text.split(|c: char| !in_word(c))
        .filter(|word| {
            word.len() >= LENGTH_MIN
                && word.contains(|c: char| c.is_ascii_uppercase())
                && word.contains(|c: char| c.is_ascii_lowercase())
                && word.contains(|c: char| c.is_ascii_digit())
        })
        .map(|word| {
            // `word` is a part of `text`, so the difference is its position.
            let start = word.as_ptr() as usize - text.as_ptr() as usize;
            start..start + word.len()
        })
        .collect()
}

fn disjoint(mut ranges: Vec<Range<usize>>, text: &str) -> Vec<Range<usize>> {
    ranges.retain(|range| range.start <= range.end && text.get(range.clone()).is_some());
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

fn slice(text: &str, range: Range<usize>) -> &str {
    text.get(range).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(original: &str, shown: &str) {
        assert_eq!(Masked::new(original, Vec::new()).text(), shown);
    }

    #[test]
    fn values_of_secret_like_keys_are_hidden_however_they_are_written() {
        check("bind_password = \"hunter2\"", "bind_password = \"***\"");
        check("Passwort = 'hunter2' # no", "Passwort = '***' # no");
        check("x = { token = \"t0\", url = \"u\" }", "x = { token = \"***\", url = \"u\" }");
        check("a.secret.value = \"s\"", "a.secret.value = \"***\"");
        check("headers = { Authorization = \"s\" }", "headers = { Authorization = \"***\" }");
        check("\"api-key\" = \"s\"", "\"api-key\" = \"***\"");
        check("secret = [\"a\", \"b\"]", "secret = [***]");
        check("secret = \"\"\"a\nb\"\"\"\nx = 1", "secret = \"\"\"***\"\"\"\nx = 1");
    }

    #[test]
    fn broken_values_are_hidden_to_the_end_of_their_line() {
        check("password = \"hunter2\nurl = 1", "password = \"***\nurl = 1");
        check("password = hunter2\nurl = 1", "password = ***\nurl = 1");
        check("password = \"hun\"ter2\"", "password = \"***");
        check("password = {hunter2}", "password = {***}");
        check("private_key = \"\"\"\nabc\n", "private_key = \"\"\"***");
    }

    #[test]
    fn where_a_secret_is_kept_is_shown() {
        let text = "token = { file = \"/etc/token\" }\nca_file = \"a\"\ntoken_url = \"b\"";
        check(text, text);
        check("token = { value = \"x\", env = \"T\" }", "token = { value = \"***\", env = \"T\" }");
    }

    #[test]
    fn passwords_in_urls_and_stray_key_material_are_hidden() {
        check("url = \"https://me:pa/ss@host/x\"", "url = \"https://***@host/x\"");
        check("MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n", "***\n");
    }

    #[test]
    fn positions_follow_the_text() {
        let original = "token = \"long-secret-value\" #é";
        let masked = Masked::new(original, Vec::new());
        assert_eq!(masked.range(&(8..27)), 8..13);
        assert_eq!(masked.range(&(10..12)), 9..12);
        let comment = masked.range(&(28..original.len()));
        assert_eq!(masked.text().get(comment), Some("#é"));
    }
}
