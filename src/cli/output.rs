//! How results look: aligned tables and colour for people, JSON for machines.

use std::io::{IsTerminal, Write};

use comfy_table::{Attribute, Cell, Color, ContentArrangement, presets};

use crate::config;
use crate::printable::printable;

/// Where results go.
pub struct Output {
    is_json: bool,
    is_styled: bool,
    is_terminal: bool,
    sink: Box<dyn Write + Send>,
}

impl Output {
    /// Standard output; coloured on a terminal, unless `NO_COLOR` is set.
    pub fn to_stdout(is_json: bool) -> Output {
        let is_terminal = std::io::stdout().is_terminal();
        let is_styled = is_terminal && config::variable("NO_COLOR").is_none_or(|v| v.is_empty());
        Output { is_json, is_styled, is_terminal, sink: Box::new(std::io::stdout()) }
    }

    /// Whether `--json` was given.
    pub fn is_json(&self) -> bool {
        self.is_json
    }

    /// Whether a person watches: progress may be shown.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether text may be coloured.
    pub fn is_styled(&self) -> bool {
        self.is_styled
    }

    /// Writes a line of text as it is.
    ///
    /// # Errors
    /// When the output is closed or full.
    pub fn line(&mut self, text: &str) -> std::io::Result<()> {
        writeln!(self.sink, "{text}")?;
        self.sink.flush()
    }

    /// Writes a JSON value on one line.
    ///
    /// # Errors
    /// When the output is closed or full.
    pub fn json(&mut self, value: &serde_json::Value) -> std::io::Result<()> {
        self.line(&value.to_string())
    }

    /// Writes an aligned table.
    ///
    /// # Errors
    /// When the output is closed or full.
    pub fn table(&mut self, table: &Table) -> std::io::Result<()> {
        self.line(&table.render(self.is_styled, self.is_terminal))
    }

    /// The text in that colour, where colour is shown. Control characters in
    /// it are made visible.
    pub fn paint(&self, paint: Paint, text: &str) -> String {
        let text = printable(text);
        match paint.code() {
            Some(code) if self.is_styled => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            _ => text.into_owned(),
        }
    }

    /// Writes bytes as they are: a script, a manual page.
    ///
    /// # Errors
    /// When the output is closed or full.
    pub fn bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.sink.write_all(bytes)?;
        self.sink.flush()
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("is_json", &self.is_json).finish_non_exhaustive()
    }
}

/// What a colour says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paint {
    #[default]
    Plain,
    Good,
    Warning,
    Bad,
    /// Names and numbers that matter.
    Strong,
    /// What may be skipped.
    Faint,
}

impl Paint {
    /// The number in the escape sequence (ECMA-48, SGR).
    fn code(self) -> Option<u8> {
        match self {
            Paint::Plain => None,
            Paint::Good => Some(32),
            Paint::Warning => Some(33),
            Paint::Bad => Some(31),
            Paint::Strong => Some(1),
            Paint::Faint => Some(2),
        }
    }

    fn apply(self, cell: Cell) -> Cell {
        match self {
            Paint::Plain => cell,
            Paint::Good => cell.fg(Color::DarkGreen),
            Paint::Warning => cell.fg(Color::DarkYellow),
            Paint::Bad => cell.fg(Color::DarkRed),
            Paint::Strong => cell.add_attribute(Attribute::Bold),
            Paint::Faint => cell.add_attribute(Attribute::Dim),
        }
    }
}

/// Rows of text under headings; control characters in them are made visible.
#[derive(Clone, Debug, Default)]
pub struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<(String, Paint)>>,
}

impl Table {
    pub fn new<'a>(headings: impl IntoIterator<Item = &'a str>) -> Table {
        Table { headings: headings.into_iter().map(str::to_owned).collect(), rows: Vec::new() }
    }

    /// Adds a row of plain cells.
    pub fn row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.painted_row(cells.into_iter().map(|cell| (cell, Paint::Plain)));
    }

    /// Adds a row of coloured cells.
    pub fn painted_row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = (T, Paint)>) {
        let cells = cells.into_iter();
        let cells = cells.map(|(text, paint)| (printable(text.as_ref()).into_owned(), paint));
        self.rows.push(cells.collect());
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text, without a newline at its end. Only on a terminal do
    /// cells wrap.
    pub fn render(&self, is_styled: bool, is_terminal: bool) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        if is_terminal {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        } else {
            table.force_no_tty();
        }
        if is_styled {
            table.enforce_styling();
        }
        let paint = |text: &str, paint: Paint| {
            let cell = Cell::new(text);
            if is_styled { paint.apply(cell) } else { cell }
        };
        table.set_header(self.headings.iter().map(|heading| paint(heading, Paint::Strong)));
        for row in &self.rows {
            table.add_row(row.iter().map(|(text, color)| paint(text, *color)));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.trim_fmt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(["NAME", "USERS", "STATE"]);
        table.row(["acme", "24", "fine"]);
        table.painted_row([
            ("a-longer-name", Paint::Strong),
            ("1", Paint::Plain),
            ("failing", Paint::Bad),
        ]);
        table
    }

    #[test]
    fn columns_are_aligned_and_lines_do_not_end_in_blanks() {
        assert_eq!(
            sample().render(false, false),
            "NAME           USERS  STATE\nacme           24     fine\na-longer-name  1      failing"
        );
    }

    #[test]
    fn colour_appears_only_where_it_is_wanted() {
        assert!(sample().render(true, false).contains('\u{1b}'));
        assert!(!sample().render(false, true).contains('\u{1b}'));
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        let mut table = Table::new(["NAME"]);
        table.row(["\u{1b}[31mEve\u{7}\n\u{202e}x"]);
        let text = table.render(true, false);
        assert!(text.contains("\\u{1b}[31mEve\\u{7}\\n\\u{202e}x"), "{text}");
    }
}
