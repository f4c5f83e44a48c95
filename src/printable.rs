//! Shows text of strangers without letting it act, and errors without secrets.

use std::borrow::Cow;
use std::error::Error;

/// `text` with control characters made visible, so that what a directory says
/// can neither steer a terminal nor forge a line of the log.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(must_show) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if must_show(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Controls, and the marks that turn the direction of text around
/// (Unicode UAX #9), which make a name read as another.
fn must_show(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// An error with its causes, without the address, which may hold a token.
pub fn request_failure(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut words = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if words.last() != Some(&text) {
            words.push(text);
        }
        cause = error.source();
    }
    if words.is_empty() { "the request failed".to_owned() } else { words.join(": ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_acts_is_changed() {
        assert!(matches!(printable("Zoë 日本 👩\u{200d}🔬"), Cow::Borrowed(_)));
        assert_eq!(printable("a\u{1b}[1m\nb\u{202e}\u{9b}"), "a\\u{1b}[1m\\nb\\u{202e}\\u{9b}");
    }
}
