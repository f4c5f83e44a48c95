//! Paging: a position in a list that stands however much comes and goes.
//!
//! Lists are ordered by directory, then slot. A slot is never used twice, so
//! "the next slot" is a position that survives every change.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::parameters::Parameters;
use super::problem::Problem;
use super::resolve::Kind;

/// How many rows a list has when the asker does not say.
const DEFAULT_LIMIT: usize = 100;

/// The part of a list that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub limit: usize,
    /// Where it starts; at the beginning when `None`.
    pub from: Option<Position>,
}

/// The first row of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub directory: String,
    pub kind: Kind,
    pub slot: u32,
}

impl Page {
    /// Reads `limit` and `cursor`.
    ///
    /// # Errors
    /// When the limit is out of range, or the cursor is not of the list `list`.
    pub fn read(parameters: &Parameters<'_>, list: &str) -> Result<Page, Problem> {
        let limit = Page::read_limit(parameters)?;
        let read = |text: &str| Position::decode(list, text).ok_or_else(Page::wrong_cursor);
        let from = parameters.text("cursor").map(read).transpose()?;
        Ok(Page { limit, from })
    }

    /// Reads `limit` alone.
    ///
    /// # Errors
    /// When it is out of range.
    pub fn read_limit(parameters: &Parameters<'_>) -> Result<usize, Problem> {
        parameters.limit(DEFAULT_LIMIT)
    }

    /// 400: the cursor is not of this list.
    pub fn wrong_cursor() -> Problem {
        Problem::bad_request("the parameter `cursor` is not one of this list")
            .hint("pass on `next_cursor` of the page before, unchanged")
    }
}

impl Position {
    /// The opaque text that stands for it.
    pub fn encode(&self, list: &str) -> String {
        let Position { directory, kind, slot } = self;
        URL_SAFE_NO_PAD.encode(format!("{list}\n{directory}\n{}\n{slot}", kind.word()))
    }

    /// The opaque text that stands for a seq in a list of events.
    pub fn encode_seq(list: &str, seq: u64) -> String {
        URL_SAFE_NO_PAD.encode(format!("{list}\n{seq}"))
    }

    /// The seq that [`Position::encode_seq`] encoded.
    pub fn decode_seq(list: &str, text: &str) -> Option<u64> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        text.strip_prefix(list)?.strip_prefix('\n')?.parse().ok()
    }

    fn decode(list: &str, text: &str) -> Option<Position> {
        let (tag, position) = Position::decode_any(text)?;
        (tag == list).then_some(position)
    }

    /// The position, and the list that it was encoded for.
    pub fn decode_any(text: &str) -> Option<(String, Position)> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let mut parts = text.split('\n');
        let (tag, directory, kind, slot) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let kind = [Kind::User, Kind::Group].into_iter().find(|one| one.word() == kind)?;
        let position = Position { directory: directory.to_owned(), kind, slot: slot.parse().ok()? };
        parts.next().is_none().then(|| (tag.to_owned(), position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_good_for_its_own_list_only() {
        let position = Position { directory: "corp".into(), kind: Kind::Group, slot: 7 };
        let text = position.encode("groups");
        assert_eq!(Position::decode("groups", &text), Some(position));
        assert_eq!(Position::decode("users", &text), None);
        assert_eq!(Position::decode("groups", "!"), None);
        assert_eq!(Position::decode("groups", ""), None);
    }
}
