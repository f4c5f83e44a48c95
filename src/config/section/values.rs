//! The kinds of values a key can have.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeArray, DeValue};
use url::{Host, Url};

use super::Section;
use crate::config::duration;
use crate::config::nearest::nearest;
use crate::config::source::{self, File};
use crate::tls;

impl Section<'_> {
    /// A string.
    pub fn text(&mut self, key: &str) -> Option<String> {
        self.text_as(key, "a string")
    }

    /// A string that must be there and say something.
    pub fn required_text(&mut self, key: &str) -> Option<String> {
        if !self.has(key) {
            self.missing(key, None);
        }
        self.not_empty(key)
    }

    /// A string, or a list of strings.
    pub fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(vec![text.to_string()]),
            DeValue::Array(list) => self.list_of_texts(key, list),
            _ => {
                self.wrong_type(key, "a string or a list of strings");
                None
            }
        }
    }

    /// Names or numbers, one or a list; numbers come as they are written in
    /// decimal.
    pub fn texts_or_numbers(&mut self, key: &str) -> Option<Vec<String>> {
        let value = self.value(key)?;
        let items = match value.get_ref() {
            DeValue::Array(list) => list.iter().map(name_or_number).collect(),
            _ => name_or_number(value).map(|item| vec![item]),
        };
        if items.is_none() {
            let message = format!("`{key}` must hold names and numbers only");
            self.error(key, message, Some("like [\"daemon\", 1000]".to_owned()));
        }
        items
    }

    /// All strings of this table, by key.
    pub fn into_texts(mut self) -> Vec<(String, String)> {
        let keys = self.keys();
        keys.into_iter().filter_map(|key| self.text(&key).map(|text| (key, text))).collect()
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &str) -> Option<bool> {
        let Some(value) = self.value(key) else {
            return self.inherited.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        };
        let value = value.get_ref().as_bool();
        if value.is_none() {
            self.wrong_type(key, "true or false");
        }
        value
    }

    /// `true`, `false`, or `word`, which is `None` inside.
    pub fn boolean_or(&mut self, key: &str, word: &str) -> Option<Option<bool>> {
        let value = self.value(key)?.get_ref();
        let found = match (value.as_bool(), value.as_str()) {
            (Some(value), _) => Some(Some(value)),
            (None, Some(text)) if text == word => Some(None),
            _ => None,
        };
        if found.is_none() {
            self.error(key, format!("`{key}` must be true, false or \"{word}\""), None);
        }
        found
    }

    /// A whole number within `range`.
    pub fn integer(&mut self, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let value = self.value(key)?;
        let Some(integer) = value.get_ref().as_integer() else {
            self.wrong_type(key, "an integer");
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        if let Some(number) = number.filter(|number| range.contains(number)) {
            return Some(number);
        }
        let message = match (*range.start(), *range.end()) {
            (start, i64::MAX) => format!("`{key}` must be at least {start}"),
            (start, end) => format!("`{key}` must be between {start} and {end}"),
        };
        self.error(key, message, None);
        None
    }

    /// A number from 0 to 100.
    pub fn percent(&mut self, key: &str) -> Option<f64> {
        let value = self.value(key)?;
        let number: Option<f64> = match value.get_ref() {
            DeValue::Integer(integer) => integer.as_str().parse().ok(),
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => {
                self.wrong_type(key, "a percentage");
                return None;
            }
        };
        let number = number.filter(|number| (0.0..=100.0).contains(number));
        if number.is_none() {
            self.error(key, format!("`{key}` must be between 0 and 100"), None);
        }
        number
    }

    /// A fraction over 0 and up to 1.
    pub fn fraction(&mut self, key: &str) -> Option<f64> {
        let number: Option<f64> = match self.value(key)?.get_ref() {
            DeValue::Integer(integer) => integer.as_str().parse().ok(),
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => {
                self.wrong_type(key, "a fraction");
                return None;
            }
        };
        let number = number.filter(|number| *number > 0.0 && *number <= 1.0);
        if number.is_none() {
            self.error(key, format!("`{key}` must be over 0 and at most 1"), None);
        }
        number
    }

    /// A duration like `"90s"` or `"1h30m"`.
    pub fn duration(&mut self, key: &str) -> Option<Duration> {
        let text = self.text_as(key, "a duration in quotes, like \"30s\"")?;
        let parsed = duration::parse(&text);
        self.parsed(key, parsed, "write it like \"90s\", \"5m\", \"1h30m\" or \"100ms\"")
    }

    /// A duration within `range`.
    pub fn duration_within(
        &mut self,
        key: &str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let value = self.duration(key)?;
        if range.contains(&value) {
            return Some(value);
        }
        let (start, end) = (duration::format(*range.start()), duration::format(*range.end()));
        self.error(key, format!("`{key}` must be between {start} and {end}"), None);
        None
    }

    /// Durations, as a list.
    pub fn durations(&mut self, key: &str) -> Option<Vec<Duration>> {
        let texts = self.texts(key)?;
        let parsed: Result<Vec<_>, _> = texts.iter().map(|text| duration::parse(text)).collect();
        self.parsed(key, parsed, "write each like \"90s\", \"5m\" or \"1h30m\"")
    }

    /// A number of bytes like `"64MiB"`.
    pub fn size(&mut self, key: &str) -> Option<u64> {
        let text = self.text_as(key, "a size in quotes, like \"64MiB\"")?;
        let parsed = parse_size(&text);
        self.parsed(key, parsed, "write it like \"512KiB\", \"64MiB\" or \"1GiB\"")
    }

    /// A path; a relative one starts from the folder of the configuration file.
    pub fn path(&mut self, key: &str) -> Option<PathBuf> {
        let text = self.not_empty(key)?;
        Some(self.reading.surroundings.path(&text))
    }

    /// A path that must be there.
    pub fn required_path(&mut self, key: &str) -> Option<PathBuf> {
        if !self.has(key) {
            self.missing(key, None);
        }
        self.path(key)
    }

    /// A file of certificates to trust, in PEM. One that is of no use is a mistake
    /// here, not a failure of whatever is started with it.
    pub fn authorities(&mut self, key: &str) -> Option<Vec<u8>> {
        let pem = self.file(key)?.content;
        if let Err(error) = tls::authorities(&pem) {
            let hint = "name a file of certificates in PEM: -----BEGIN CERTIFICATE----- and so on";
            self.error(key, error, Some(hint.to_owned()));
            return None;
        }
        Some(pem)
    }

    /// The content of a file that holds no secret (a certificate, say), read now.
    pub fn file(&mut self, key: &str) -> Option<File> {
        let path = self.path(key)?;
        match source::read_file(&path) {
            Ok(content) => {
                self.remember_content(key, &content);
                Some(File { path, content })
            }
            Err(reason) => {
                let message = format!("cannot read {}: {reason}", path.display());
                let hint = "relative paths start from the folder of the configuration file";
                self.error(key, message, Some(hint.to_owned()));
                None
            }
        }
    }

    /// One of some words.
    pub fn one_of<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let known = words.iter().map(|(word, _)| *word);
        let hint = match nearest(&text, known.clone()) {
            Some(word) => format!("did you mean \"{word}\"?"),
            None => format!("known are {}", quoted(known)),
        };
        let message = format!("`{key}` cannot be \"{}\"", text.escape_debug());
        self.error(key, message, Some(hint));
        None
    }

    /// An `https://` address; `http://` for loopback hosts only.
    pub fn url(&mut self, key: &str) -> Option<Url> {
        let text = self.text(key)?;
        self.checked_url(key, &text)
    }

    /// An `https://` address that must be there; `http://` for loopback hosts only.
    pub fn required_url(&mut self, key: &str) -> Option<Url> {
        if !self.has(key) {
            self.missing(key, None);
        }
        self.url(key)
    }

    /// Addresses like those of [`Section::url`], one or a list.
    pub fn urls(&mut self, key: &str) -> Option<Vec<Url>> {
        let texts = self.texts(key)?;
        texts.iter().map(|text| self.checked_url(key, text)).collect()
    }

    /// An IP address and a port.
    pub fn socket_address(&mut self, key: &str) -> Option<SocketAddr> {
        let text = self.text(key)?;
        let parsed = text
            .parse()
            .map_err(|_| format!("`{}` is not an IP address with a port", text.escape_debug()));
        self.parsed(key, parsed, "write it like \"127.0.0.1:7411\" or \"[::1]:7411\"")
    }

    fn text_as(&mut self, key: &str, expected: &str) -> Option<String> {
        let text = self.value(key)?.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong_type(key, expected);
        }
        text
    }

    pub(super) fn not_empty(&mut self, key: &str) -> Option<String> {
        let text = self.text(key)?;
        if text.trim().is_empty() {
            self.error(key, format!("`{key}` is empty"), None);
            return None;
        }
        Some(text)
    }

    fn list_of_texts(&mut self, key: &str, list: &DeArray<'_>) -> Option<Vec<String>> {
        let texts: Option<Vec<String>> = list
            .iter()
            .map(|item: &Spanned<DeValue<'_>>| item.get_ref().as_str().map(str::to_owned))
            .collect();
        if texts.is_none() {
            self.error(key, format!("`{key}` must hold strings only"), None);
        }
        texts
    }

    fn parsed<T>(&mut self, key: &str, parsed: Result<T, String>, hint: &str) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(message) => {
                self.error(key, message, Some(hint.to_owned()));
                None
            }
        }
    }

    fn checked_url(&mut self, key: &str, text: &str) -> Option<Url> {
        let (message, hint) = match Url::parse(text) {
            Err(error) => (
                format!("`{key}` is not an address: {error}"),
                Some("write it like \"https://host.example.org\"".to_owned()),
            ),
            Ok(url) if !url.username().is_empty() || url.password().is_some() => (
                format!("`{key}` must not carry a user name or password"),
                Some("credentials have keys of their own, which take { file = \"…\" }".to_owned()),
            ),
            Ok(url) if url.scheme() == "https" => return Some(url),
            Ok(url) if url.scheme() == "http" && is_loopback(&url) => return Some(url),
            Ok(url) if url.scheme() == "http" => (
                format!("`{key}` must use https://"),
                Some("plain http:// is accepted for loopback hosts only".to_owned()),
            ),
            Ok(url) => (format!("`{key}` must use https://, not {}://", url.scheme()), None),
        };
        self.error(key, message, hint);
        None
    }
}

/// Whether an address names this very host: `localhost`, `127.0.0.0/8`, `::1`.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// `"a", "b" and "c"`.
pub(in crate::config) fn quoted<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let words: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => "none".to_owned(),
    }
}

fn name_or_number(item: &Spanned<DeValue<'_>>) -> Option<String> {
    match item.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(integer) => {
            u32::from_str_radix(integer.as_str(), integer.radix()).ok().map(|id| id.to_string())
        }
        _ => None,
    }
}

fn parse_size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let wrong = || format!("`{}` is not a size", text.escape_debug());
    let (number, factor) = UNITS
        .iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number, *factor)))
        .ok_or_else(wrong)?;
    let number: u64 = number.trim_end().parse().map_err(|_| wrong())?;
    number.checked_mul(factor).ok_or_else(wrong)
}
