//! Query parameters: decoded, each one known, each at most once unless it is a
//! list.

use std::borrow::Cow;
use std::time::Duration;

use super::problem::Problem;
use crate::clock::Timestamp;
use crate::config::duration;

/// OPA before 1.0 forwards the parameter that names the socket to the server.
const TOLERATED: &str = "socket";

/// The parameters of one request.
#[derive(Debug)]
pub struct Parameters<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Parameters<'a> {
    /// Reads what follows the `?`.
    ///
    /// # Errors
    /// A parameter that is not `known`, comes twice, or is badly encoded.
    pub fn parse(query: Option<&'a str>, known: &[&str]) -> Result<Parameters<'a>, Problem> {
        Parameters::parse_with_lists(query, known, &[])
    }

    /// The same; those of `known` that are in `lists` may come again and again.
    ///
    /// # Errors
    /// As for [`Parameters::parse`].
    pub fn parse_with_lists(
        query: Option<&'a str>,
        known: &[&str],
        lists: &[&str],
    ) -> Result<Parameters<'a>, Problem> {
        let mut pairs: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        for part in query.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let key = decode(key)?;
            if key == TOLERATED {
                continue;
            }
            if !known.contains(&key.as_ref()) {
                return Err(unknown(&key, known));
            }
            let is_list = lists.contains(&key.as_ref());
            if !is_list && pairs.iter().any(|(earlier, _)| *earlier == key) {
                return Err(Problem::bad_request(format!("the parameter `{key}` comes twice")));
            }
            pairs.push((key, decode(value)?));
        }
        Ok(Parameters(pairs))
    }

    /// The value as text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_ref())
    }

    /// The values, separated by commas or given one by one.
    pub fn list(&self, key: &str) -> Option<Vec<&str>> {
        let values = self.0.iter().filter(|(name, _)| name == key);
        let all: Vec<&str> = values.flat_map(|(_, value)| value.split(',')).collect();
        (!all.is_empty()).then_some(all)
    }

    /// The value as text, which must be there.
    ///
    /// # Errors
    /// When it is missing or empty.
    pub fn required(&self, key: &str) -> Result<&str, Problem> {
        self.text(key)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| Problem::bad_request(format!("the parameter `{key}` is missing")))
    }

    /// `true` or `false`; `false` when absent.
    ///
    /// # Errors
    /// When it is another word.
    pub fn flag(&self, key: &str) -> Result<bool, Problem> {
        match self.text(key) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(wrong(key, other, "`true` or `false`")),
        }
    }

    /// A whole number that fits 63 bits, as the description of the format says.
    ///
    /// # Errors
    /// When it is none.
    pub fn number(&self, key: &str) -> Result<Option<u64>, Problem> {
        let read = |text: &str| {
            let number = text.parse().ok().filter(|number| i64::try_from(*number).is_ok());
            number.ok_or_else(|| wrong(key, text, "a whole number, 0 or more"))
        };
        self.text(key).map(read).transpose()
    }

    /// A duration like `5m`.
    ///
    /// # Errors
    /// When it is none.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>, Problem> {
        let read = |text: &str| {
            duration::parse(text).map_err(|_| wrong(key, text, "a duration like `90s` or `5m`"))
        };
        self.text(key).map(read).transpose()
    }

    /// A moment in RFC 3339.
    ///
    /// # Errors
    /// When it is none.
    pub fn moment(&self, key: &str) -> Result<Option<Timestamp>, Problem> {
        let read = |text: &str| {
            Timestamp::parse(text).map_err(|reason| {
                let hint = "a `+` in a query means a space: write an offset's `+` as `%2B`";
                Problem::bad_request(format!("the parameter `{key}` is wrong: {reason}")).hint(hint)
            })
        };
        self.text(key).map(read).transpose()
    }

    /// `limit`, from 1 to 1,000; `default` when absent.
    ///
    /// # Errors
    /// When it is outside of that.
    pub fn limit(&self, default: usize) -> Result<usize, Problem> {
        match self.number("limit")? {
            None => Ok(default),
            Some(limit @ 1..=1000) => Ok(usize::try_from(limit).unwrap_or(default)),
            Some(other) => Err(wrong("limit", &other.to_string(), "a number from 1 to 1000")),
        }
    }
}

/// Undoes `application/x-www-form-urlencoded`: `+` is a space, `%XX` a byte of UTF-8.
fn decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        (rest, _) = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let byte = hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low);
                (after, bytes.push(byte.ok_or_else(|| badly_encoded(text))?))
            }
            (b'%', _) => return Err(badly_encoded(text)),
            (b'+', _) => (after, bytes.push(b' ')),
            (byte, _) => (after, bytes.push(*byte)),
        };
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| badly_encoded(text))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn badly_encoded(text: &str) -> Problem {
    let text = text.escape_debug();
    Problem::bad_request(format!("`{text}` is not percent-encoded UTF-8"))
}

fn unknown(key: &str, known: &[&str]) -> Problem {
    let problem =
        Problem::bad_request(format!("the parameter `{}` is unknown", key.escape_debug()));
    if known.is_empty() {
        return problem.hint("this request takes no parameters");
    }
    problem.hint(format!("this request takes {}", known.join(", ")))
}

fn wrong(key: &str, value: &str, expected: &str) -> Problem {
    let value = value.escape_debug();
    Problem::bad_request(format!("the parameter `{key}` is `{value}`, expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user_of(query: &str) -> Result<String, String> {
        Parameters::parse(Some(query), &["user", "group"])
            .map(|parameters| parameters.text("user").unwrap_or("-").to_owned())
            .map_err(|problem| problem.to_string())
    }

    #[test]
    fn values_are_decoded() {
        assert_eq!(user_of("user=ada&group=x").unwrap(), "ada");
        assert_eq!(user_of("user=ada%2Bx%40example.org").unwrap(), "ada+x@example.org");
        assert_eq!(user_of("user=cn%3dAda+L%C3%B8velace").unwrap(), "cn=Ada Løvelace");
        assert_eq!(user_of("us%65r=%2525").unwrap(), "%25");
        assert_eq!(user_of("group=x").unwrap(), "-");
        assert_eq!(user_of("&user&").unwrap(), "");
    }

    #[test]
    fn bad_encodings_are_refused() {
        for query in ["user=%", "user=%2", "user=%zz", "user=%ff", "user=%+2"] {
            assert!(user_of(query).unwrap_err().contains("percent-encoded"), "{query}");
        }
    }

    #[test]
    fn what_is_unknown_or_comes_twice_is_refused_but_not_what_opa_adds() {
        assert!(user_of("usr=ada").unwrap_err().contains("`usr` is unknown"));
        assert!(user_of("user=a&user=b").unwrap_err().contains("comes twice"));
        assert_eq!(user_of("user=a&socket=%2Frun%2Fx.sock&socket=y").unwrap(), "a");
    }

    #[test]
    fn lists_are_separated_by_commas_or_repeated() {
        let read = |query| Parameters::parse_with_lists(Some(query), &["a", "b"], &["a"]);
        let lists = read("a=x,y&b=1,2&a=z%2Cw").unwrap();
        assert_eq!(lists.list("a"), Some(vec!["x", "y", "z", "w"]));
        assert_eq!(lists.text("b"), Some("1,2"));
        assert_eq!(read("b=1").unwrap().list("a"), None);
        assert_eq!(read("a=").unwrap().list("a"), Some(vec![""]));
        assert!(read("b=1&a=x&b=2").unwrap_err().to_string().contains("comes twice"));
    }

    #[test]
    fn typed_values_say_what_they_expect() {
        let known = ["limit", "nested", "wait", "at"];
        let read = |query| Parameters::parse(Some(query), &known).unwrap();
        assert_eq!(read("").limit(100).unwrap(), 100);
        assert_eq!(read("limit=1000").limit(100).unwrap(), 1000);
        assert!(read("limit=0").limit(100).is_err());
        assert!(read("limit=1001").limit(100).is_err());
        assert_eq!(read("at=9223372036854775807").number("at").unwrap(), Some(i64::MAX as u64));
        assert!(read("at=9223372036854775808").number("at").is_err());
        assert!(read("nested=yes").flag("nested").is_err());
        assert!(read("nested=true").flag("nested").unwrap());
        assert_eq!(read("wait=30s").duration("wait").unwrap(), Some(Duration::from_secs(30)));
        assert!(read("at=2026-11-20T10:15:00%2B01:00").moment("at").unwrap().is_some());
        let problem = read("at=2026-11-20T10:15:00+01:00").moment("at").unwrap_err();
        assert!(problem.to_string().contains("2026-11-20T10:15:00 01:00"));
    }
}
