//! What a configuration says, key by key, so that two can be compared and the
//! difference be told without a secret.
//!
//! Values are shown only where they cannot be secret: truths, numbers, durations
//! and single lower-case words, and never under a key that looks like a secret's.
//! Of everything else it is told that it changed.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::fingerprint::Fingerprint;
use super::{duration, mask};

/// Longer words are not shown.
const WORD_CHARS_MAX: usize = 20;

/// Every key with what it says.
#[derive(Clone, Debug, Default)]
pub struct Outline(BTreeMap<String, Leaf>);

/// What is different in another configuration, by dotted keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    pub changed: Vec<String>,
}

#[derive(Clone, Debug)]
struct Leaf {
    fingerprint: Fingerprint,
    /// Its value, where it may be shown.
    shown: Option<String>,
}

impl Outline {
    /// `contents` are the digests of the secrets and files that the table names,
    /// by dotted key.
    pub(super) fn new<'a>(
        table: &DeTable<'_>,
        contents: impl Iterator<Item = (&'a str, &'a Fingerprint)>,
    ) -> Outline {
        let mut outline = Outline::default();
        outline.add_table("", table, false);
        for (key, content) in contents {
            let leaf = Leaf { fingerprint: content.clone(), shown: None };
            outline.0.insert(format!("{key} (content)"), leaf);
        }
        outline
    }

    /// What has to be done to this one to get the other.
    pub fn difference(&self, other: &Outline) -> Difference {
        let mut difference = Difference::default();
        for (key, leaf) in &other.0 {
            match self.0.get(key) {
                None => difference.added.push(leaf.told(key)),
                Some(before) if before.fingerprint == leaf.fingerprint => {}
                Some(before) => difference.changed.push(before.told_with(key, leaf)),
            }
        }
        let gone = self.0.iter().filter(|(key, _)| !other.0.contains_key(*key));
        difference.removed = gone.map(|(key, leaf)| leaf.told(key)).collect();
        difference
    }

    fn add_table(&mut self, path: &str, table: &DeTable<'_>, hidden: bool) {
        for (key, value) in table.iter() {
            let key = key.get_ref();
            let hidden = hidden || mask::is_secret_like(key);
            let path = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
            match value.get_ref() {
                DeValue::Table(table) => self.add_table(&path, table, hidden),
                value => {
                    let shown = if hidden { None } else { shown(value) };
                    let leaf = Leaf { fingerprint: Fingerprint::of_value(value), shown };
                    self.0.insert(path, leaf);
                }
            }
        }
    }
}

impl Leaf {
    fn told(&self, key: &str) -> String {
        match &self.shown {
            Some(value) => format!("{key} = {value}"),
            None => key.to_owned(),
        }
    }

    fn told_with(&self, key: &str, after: &Leaf) -> String {
        match (&self.shown, &after.shown) {
            (Some(before), Some(after)) => format!("{key}: {before} -> {after}"),
            _ => key.to_owned(),
        }
    }
}

fn shown(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::String(text) if duration::parse(text).is_ok() || is_word(text) => {
            Some(text.to_string())
        }
        _ => None,
    }
}

fn is_word(text: &str) -> bool {
    text.len() <= WORD_CHARS_MAX && text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}
