//! What is wrong with a configuration file, all of it, for people.

use std::collections::BTreeSet;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::mask::Masked;

/// More mistakes than these are not told at once.
const MISTAKES_MAX: usize = 200;

/// Every mistake of one configuration file, in the order of the file.
///
/// It holds no secret: values of secret-like keys are masked in its excerpts.
#[derive(Debug)]
pub struct Report {
    path: String,
    source: Masked,
    mistakes: Vec<Mistake>,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it is; `None` when it concerns the file as a whole.
    pub place: Option<Place>,
    /// A lower-case fragment: what is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// What is meant, as a range of the masked text.
    span: Range<usize>,
}

/// A position as editors count it, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// A mistake as the reader notes it: its span is of the original text.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) span: Option<Range<usize>>,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    pub(super) kind: NoteKind,
}

/// What a syntax error makes of other mistakes: some are only its consequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoteKind {
    Syntax,
    Missing,
    Unknown,
    Other,
}

impl Report {
    pub(super) fn new(
        path: String,
        source: &str,
        secrets: Vec<Range<usize>>,
        mut notes: Vec<Note>,
    ) -> Report {
        let masked = Masked::new(source, secrets);
        notes.sort_by_key(|note| note.span.as_ref().map_or(0, |span| span.start));
        notes.truncate(MISTAKES_MAX);
        let notes = without_consequences(source, notes);
        let mistakes = notes.into_iter().map(|note| note.place(source, &masked)).collect();
        Report { path, source: masked, mistakes }
    }

    /// A report about a file that could not even be read.
    pub(super) fn unreadable(path: String, message: String, hint: Option<String>) -> Report {
        let note = Note { span: None, message, hint, kind: NoteKind::Other };
        Report::new(path, "", Vec::new(), vec![note])
    }

    /// The file, as it was named.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Never empty.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// For a terminal (`styled`, with colours) or for a log.
    pub fn render(&self, styled: bool) -> String {
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let each = self.mistakes.iter().map(|mistake| renderer.render(&[self.group(mistake)]));
        each.collect::<Vec<_>>().join("\n\n")
    }

    fn group<'a>(&'a self, mistake: &'a Mistake) -> Group<'a> {
        let mut group = Group::with_title(Level::ERROR.primary_title(&mistake.message));
        let excerpt = self.excerpt(mistake.span.clone());
        let origin = Origin::path(&self.path);
        group = match mistake.place {
            None => group.element(origin),
            Some(place) if place == Place::of(self.source.text(), mistake.span.start) => {
                group.element(excerpt.path(&self.path))
            }
            // A mask before it on the line has moved it: state the true place.
            Some(place) => {
                group.element(origin.line(place.line).char_column(place.column)).element(excerpt)
            }
        };
        match &mistake.hint {
            Some(hint) => group.element(Level::HELP.with_name("hint").message(hint)),
            None => group,
        }
    }

    /// At most three lines, whatever the span.
    fn excerpt(&self, span: Range<usize>) -> Snippet<'_, annotate_snippets::Annotation<'_>> {
        let text = self.source.text();
        let shown = text.get(span.clone()).unwrap_or_default();
        let first_line = shown.find('\n').map_or(span.end, |length| span.start + length);
        Snippet::source(text).annotation(AnnotationKind::Primary.span(span.start..first_line))
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

impl Note {
    fn place(self, source: &str, masked: &Masked) -> Mistake {
        let place = self.span.as_ref().map(|span| Place::of(source, span.start));
        let span = self.span.map_or(0..0, |span| masked.range(&span));
        Mistake { place, message: self.message, hint: self.hint, span }
    }
}

impl Place {
    fn of(source: &str, position: usize) -> Place {
        let before = source.get(..position).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Place { line: before.matches('\n').count() + 1, column }
    }
}

/// After a syntax error, keys may seem missing that the error hides, a broken
/// line may read as anything, and after a broken header keys seem to stand in
/// the wrong table.
fn without_consequences(source: &str, notes: Vec<Note>) -> Vec<Note> {
    let place = |note: &Note| note.span.as_ref().map(|span| Place::of(source, span.start).line);
    let broken: BTreeSet<usize> =
        notes.iter().filter(|n| n.kind == NoteKind::Syntax).filter_map(place).collect();
    let header = broken.iter().copied().find(|line| is_header(source, *line));
    let mut told = BTreeSet::new();
    let mut follows = |note: &Note| match (note.kind, place(note)) {
        // The parser stumbles over the rest of a broken line again.
        (NoteKind::Syntax, Some(line)) => !told.insert(line),
        (NoteKind::Syntax, None) => false,
        (NoteKind::Missing, _) => !broken.is_empty(),
        (NoteKind::Unknown, line) if header.is_some() => line > header,
        (_, line) => line.is_some_and(|line| broken.contains(&line)),
    };
    notes.into_iter().filter(|note| !follows(note)).collect()
}

fn is_header(source: &str, line: usize) -> bool {
    let text = source.lines().nth(line.saturating_sub(1));
    text.is_some_and(|text| text.trim_start().starts_with('['))
}
