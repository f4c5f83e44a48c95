//! Reads one table of a configuration file key by key, and notes every
//! mistake with its place instead of stopping at the first.
//!
//! A part reads its own settings like this. Ask for every key before using
//! `?`: a key that nobody asked for is reported as unknown.
//!
//! ```
//! use rosterd::config::section::{self, Section};
//!
//! struct Radio { frequency: i64, name: String }
//!
//! fn read(section: &mut Section<'_>) -> Option<Radio> {
//!     let frequency = section.integer("frequency_khz", 87_500..=108_000);
//!     let name = section.required_text("name");
//!     Some(Radio { frequency: frequency.unwrap_or(100_000), name: name? })
//! }
//!
//! let radio = section::read_text("name = \"kitchen\"", read).unwrap();
//! assert_eq!((radio.frequency, radio.name.as_str()), (100_000, "kitchen"));
//! assert!(section::read_text("nam = \"kitchen\"", read).is_err());
//! ```

mod secrets;
mod syntax;
mod values;

pub use secrets::SecretSource;
pub use values::is_loopback;
pub(super) use values::quoted;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fingerprint::Fingerprint;
use super::mask;
use super::nearest::nearest;
use super::outline::Outline;
use super::report::{Note, NoteKind, Report};
use super::source::{self, Surroundings};

/// Reads `text` as configuration with `read`.
///
/// `path` names the file in the report. Nothing of it counts when any part of
/// it is mistaken.
///
/// # Errors
/// Every mistake in `text`.
pub fn read<T>(
    path: &str,
    text: &str,
    surroundings: &Surroundings<'_>,
    read: impl FnOnce(&mut Section<'_>) -> Option<T>,
) -> Result<T, Report> {
    let (value, notes) = read_noting(text, surroundings, read);
    match value {
        Some(value) if notes.notes.is_empty() => Ok(value),
        _ => Err(Report::new(path.to_owned(), text, notes.secrets, notes.notes)),
    }
}

/// Reads the configuration file at `path` with `read`.
///
/// # Errors
/// Every mistake in it, or that it cannot be read.
pub fn read_file<T>(
    path: &Path,
    read: impl FnOnce(&mut Section<'_>) -> Option<T>,
) -> Result<T, Report> {
    let name = path.display().to_string();
    let unreadable = |reason: String, hint: &str| {
        let message = format!("cannot read the configuration: {reason}");
        Report::unreadable(name.clone(), message, Some(hint.to_owned()))
    };
    let bytes = source::read_file(path)
        .map_err(|reason| unreadable(reason, "name the file with --config"))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| unreadable("it is not UTF-8".to_owned(), "store it as UTF-8 text"))?;
    self::read(&name, &text, &Surroundings::of_file(path), read)
}

/// Like [`read`] for a text that comes from nowhere: relative paths start from
/// the working directory, and the environment is that of the process.
///
/// # Errors
/// Every mistake in `text`.
pub fn read_text<T>(
    text: &str,
    read: impl FnOnce(&mut Section<'_>) -> Option<T>,
) -> Result<T, Report> {
    let surroundings = Surroundings::new(PathBuf::new(), &|name| source::variable(name));
    self::read("config.toml", text, &surroundings, read)
}

/// What was noted while reading.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) notes: Vec<Note>,
    /// Ranges of the text that are secret.
    secrets: Vec<Range<usize>>,
    /// Every key that was asked for, dotted, with `*` for names.
    pub(super) asked: BTreeSet<String>,
}

pub(super) fn read_noting<T>(
    text: &str,
    surroundings: &Surroundings<'_>,
    read: impl FnOnce(&mut Section<'_>) -> Option<T>,
) -> (Option<T>, Notes) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let reading = Reading {
        surroundings,
        contents: RefCell::default(),
        notes: RefCell::new(Notes {
            notes: errors.iter().map(|error| syntax::note(text, error)).collect(),
            ..Notes::default()
        }),
    };
    let value = {
        let mut root = Section::new(&reading, table.get_ref(), Vec::new(), 0..0);
        read(&mut root)
    };
    let mut notes = reading.notes.into_inner();
    if value.is_none() && notes.notes.is_empty() {
        notes.notes.push(unexplained());
    }
    (value, notes)
}

/// One table of the file. When it is dropped, keys that were not asked for
/// are noted as unknown.
pub struct Section<'a> {
    reading: &'a Reading<'a>,
    table: &'a DeTable<'a>,
    /// Where the table stands in the file; the second of each is what it is
    /// called in the list of asked keys.
    path: Vec<Step>,
    /// Where its name stands.
    span: Range<usize>,
    asked: Vec<Asked>,
    /// Flags that an enclosing table sets for this one.
    inherited: Vec<(&'static str, bool)>,
}

/// What all sections of one file share.
struct Reading<'a> {
    surroundings: &'a Surroundings<'a>,
    notes: RefCell<Notes>,
    /// Digests of secrets and files that were read, by the dotted key that
    /// names them.
    contents: RefCell<Vec<(String, Fingerprint)>>,
}

#[derive(Clone)]
struct Step {
    key: String,
    /// A name that the operator chose, not a key.
    is_name: bool,
}

struct Asked {
    key: String,
    is_secret: bool,
}

impl<'a> Section<'a> {
    fn new(
        reading: &'a Reading<'a>,
        table: &'a DeTable<'a>,
        path: Vec<Step>,
        span: Range<usize>,
    ) -> Section<'a> {
        Section { reading, table, path, span, asked: Vec::new(), inherited: Vec::new() }
    }

    /// The last part of its dotted name: the name of a directory, say.
    pub fn name(&self) -> &str {
        self.path.last().map_or("", |step| &step.key)
    }

    /// Whether the key is there, whatever its value.
    pub fn has(&mut self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// A table under this key, also an inline one.
    pub fn section(&mut self, key: &str) -> Option<Section<'a>> {
        let value = self.value(key)?;
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type(key, "a table");
            return None;
        };
        Some(self.below(key, table, false))
    }

    /// A table under this key, or an empty one where there is none, so that
    /// defaults come from the one place that reads it.
    pub fn section_or_empty(&mut self, key: &str) -> Option<Section<'a>> {
        if self.value(key).is_some() {
            return self.section(key);
        }
        static EMPTY: LazyLock<DeTable<'static>> = LazyLock::new(DeTable::new);
        Some(self.below(key, &EMPTY, false))
    }

    /// The tables under this key, by the names that the operator gave them.
    pub fn sections(&mut self, key: &str) -> Vec<(String, Section<'a>)> {
        let Some(section) = self.section(key) else { return Vec::new() };
        section.into_sections()
    }

    /// All tables in this one, by the names that the operator gave them.
    pub fn into_sections(mut self) -> Vec<(String, Section<'a>)> {
        let mut sections = Vec::new();
        for (name, value) in self.table.iter() {
            let name = name.get_ref().to_string();
            self.asked.push(Asked { key: name.clone(), is_secret: false });
            match value.get_ref().as_table() {
                Some(table) => {
                    let section = self.below(&name, table, true);
                    sections.push((name, section));
                }
                None => self.wrong_type(&name, "a table"),
            }
        }
        sections
    }

    /// All keys of this table, in alphabetical order, asked for or not.
    pub fn keys(&self) -> Vec<String> {
        self.table.keys().map(|key| key.get_ref().to_string()).collect()
    }

    /// Notes a mistake at this key's value, or at the table's name when the
    /// key is not there.
    pub fn error(&mut self, key: &str, message: impl Into<String>, hint: Option<String>) {
        let span = self.span_of(key);
        self.note(span, message.into(), hint, NoteKind::Other);
    }

    /// Notes a mistake at this key itself.
    pub fn error_at_key(&mut self, key: &str, message: impl Into<String>, hint: Option<String>) {
        let span = self.key_span(key);
        self.note(span, message.into(), hint, NoteKind::Other);
    }

    /// Notes a mistake that concerns the whole table.
    pub fn error_here(&mut self, message: impl Into<String>, hint: Option<String>) {
        let span = self.header();
        self.note(span, message.into(), hint, NoteKind::Other);
    }

    /// Notes that a key which must be there is not.
    pub fn missing(&mut self, key: &str, hint: Option<String>) {
        let what = self.place();
        let message = format!("`{key}` is missing{what}");
        let span = self.header();
        self.note(span, message, hint, NoteKind::Missing);
    }

    /// Gives a flag a value for when this table does not set it.
    pub(super) fn inherit(&mut self, key: &'static str, value: bool) {
        self.inherited.push((key, value));
    }

    /// Whether somebody asked for this key.
    pub(super) fn was_asked(&self, key: &str) -> bool {
        self.asked.iter().any(|asked| asked.key == key)
    }

    /// A digest of everything this table says, with the secrets and files that
    /// it names: when it is equal after a reload, nothing changed. Take it when
    /// all keys were read.
    pub fn fingerprint(&self) -> Fingerprint {
        let prefix = format!("{}.", self.dotted());
        let contents = self.reading.contents.borrow();
        let below = contents.iter().filter(|(key, _)| key.starts_with(&prefix));
        Fingerprint::of_table(self.table, below.map(|(key, content)| (key.as_str(), content)))
    }

    /// What it says, key by key. Take it when all keys were read.
    pub(super) fn outline(&self) -> Outline {
        let contents = self.reading.contents.borrow();
        let contents = contents.iter().map(|(key, content)| (key.as_str(), content));
        Outline::new(self.table, contents)
    }

    /// Notes the keys that nobody asked for. Dropping does the same.
    pub fn finish(self) {}

    fn note_unknown_keys(&self) {
        for (key, value) in self.table.iter() {
            let name = key.get_ref().as_ref();
            if self.asked.iter().any(|asked| asked.key == name) {
                continue;
            }
            let meant = nearest(name, self.asked.iter().map(|asked| asked.key.as_str()));
            let meant_secret =
                self.asked.iter().any(|asked| asked.is_secret && Some(asked.key.as_str()) == meant);
            if meant_secret || mask::is_secret_like(name) {
                self.hide(value);
            }
            let hint = match meant {
                Some(meant) => Some(format!("did you mean `{meant}`?")),
                None => self.known_keys(),
            };
            let message = format!("unknown key `{}`{}", name.escape_debug(), self.place());
            self.note(Some(key.span()), message, hint, NoteKind::Unknown);
        }
    }

    fn known_keys(&self) -> Option<String> {
        let known: BTreeSet<_> =
            self.asked.iter().map(|asked| format!("`{}`", asked.key)).collect();
        let known: Vec<_> = known.into_iter().collect();
        (!known.is_empty()).then(|| format!("known here: {}", known.join(", ")))
    }

    /// Looks a key up, and remembers that it was asked for.
    fn value(&mut self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.ask(key, false);
        self.table.get(key)
    }

    fn ask(&mut self, key: &str, is_secret: bool) {
        self.asked.push(Asked { key: key.to_owned(), is_secret });
        let asked = self.path.iter().map(|step| if step.is_name { "*" } else { &step.key });
        let asked: Vec<&str> = asked.chain([key]).collect();
        self.reading.notes.borrow_mut().asked.insert(asked.join("."));
    }

    fn below(&self, key: &str, table: &'a DeTable<'a>, is_name: bool) -> Section<'a> {
        let mut path = self.path.clone();
        path.push(Step { key: key.to_owned(), is_name });
        let span = self.key_span(key).unwrap_or_else(|| self.span.clone());
        Section::new(self.reading, table, path, span)
    }

    fn span_of(&self, key: &str) -> Option<Range<usize>> {
        match self.table.get(key) {
            // The "value" of `[a.b]` is its header; its name says more.
            Some(value) if value.get_ref().is_table() => self.key_span(key),
            Some(value) => Some(value.span()),
            None => self.header(),
        }
    }

    fn key_span(&self, key: &str) -> Option<Range<usize>> {
        self.table.get_key_value(key).map(|(key, _)| key.span()).or_else(|| self.header())
    }

    /// The file itself has no header.
    fn header(&self) -> Option<Range<usize>> {
        (!self.path.is_empty()).then(|| self.span.clone())
    }

    fn dotted(&self) -> String {
        self.path.iter().map(|step| step.key.as_str()).collect::<Vec<_>>().join(".")
    }

    /// Where this table is, to follow a statement.
    fn place(&self) -> String {
        if self.path.is_empty() {
            String::new()
        } else {
            format!(" in `{}`", self.dotted().escape_debug())
        }
    }

    fn wrong_type(&mut self, key: &str, expected: &str) {
        let Some(value) = self.table.get(key) else { return };
        let found = type_name(value.get_ref());
        let span = self.span_of(key);
        let message = format!("`{}` must be {expected}, not {found}", key.escape_debug());
        self.note(span, message, None, NoteKind::Other);
    }

    fn note(
        &self,
        span: Option<Range<usize>>,
        message: String,
        hint: Option<String>,
        kind: NoteKind,
    ) {
        self.reading.notes.borrow_mut().notes.push(Note { span, message, hint, kind });
    }

    /// Keeps a value out of every excerpt.
    fn hide(&self, value: &Spanned<DeValue<'_>>) {
        self.reading.notes.borrow_mut().secrets.push(value.span());
    }

    fn remember_content(&self, key: &str, content: &[u8]) {
        let key = format!("{}.{key}", self.dotted());
        self.reading.contents.borrow_mut().push((key, Fingerprint::of_bytes(content)));
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        self.note_unknown_keys();
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A reader that gives up must say why; should one fail to, this is better
/// than a report of nothing.
fn unexplained() -> Note {
    let message = "the configuration is incomplete".to_owned();
    Note { span: None, message, hint: None, kind: NoteKind::Other }
}

#[cfg(test)]
mod tests;
