//! Whom a history is of: somebody of now or of a moment, or else whoever was
//! called so last.
//!
//! A provider's id is one person or group, however often it was deleted and came
//! back; each time it got another slot. Its history is that of all of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::journal::{Journal, JournalError};
use super::listing::{Object, Row};
use super::past::{At, Then};
use super::problem::Problem;
use super::resolve::{Candidate, CandidateBody, Kind, Search};
use super::sources::Sources;
use crate::index::DirectoryView;

/// All that had one id in a directory.
pub struct Lives<'v> {
    pub directory: &'v Arc<DirectoryView>,
    /// In the order in which they came.
    pub slots: BTreeSet<u32>,
    /// As it was when it was called as it was asked for.
    pub known: Object,
}

impl<'v> Lives<'v> {
    /// Those of whoever a REF means.
    ///
    /// # Errors
    /// When the REF is unknown or ambiguous, or its directory stale.
    pub fn find(
        sources: &Sources,
        search: &Search<'v>,
        kind: Kind,
        text: &str,
    ) -> Result<Lives<'v>, Problem> {
        let journal = sources.journal.as_ref();
        let (Candidate { directory, slot }, known) = match search.one(kind, text) {
            Ok(found) => (found, read(search, kind, found)?),
            Err(unknown)
                if search.then.is_none() && unknown.status() == http::StatusCode::NOT_FOUND =>
            {
                let (directory, last) = only_last(journal, search, kind, text, unknown)?;
                (Candidate { directory, slot: last.slot }, last.object)
            }
            Err(problem) => return Err(problem),
        };
        let mut slots: BTreeSet<u32> = [slot].into();
        slots.extend(match kind {
            Kind::User => directory.user_by_id(known.id()),
            Kind::Group => directory.group_by_id(known.id()),
        });
        let earlier = formers(journal, kind, directory, known.id())?;
        slots
            .extend(earlier.iter().filter(|one| one.object.id() == known.id()).map(|one| one.slot));
        Ok(Lives { directory, slots, known })
    }
}

/// Somebody who had an id, name or address and has it no longer.
struct Former {
    slot: u32,
    /// The last seq at which it was theirs.
    seq: u64,
    /// As they were then.
    object: Object,
}

fn read(search: &Search<'_>, kind: Kind, found: Candidate<'_>) -> Result<Object, Problem> {
    let Candidate { directory, slot } = found;
    let Some(then) = search.then else {
        return Object::read(&Row { directory, kind, slot });
    };
    let object = then.object(directory.name(), kind, slot)?;
    then.require(directory.name())?;
    object.ok_or_else(|| Problem::internal("whoever was found at a moment was not there then"))
}

/// The only one who was called so last; `unknown` when nobody ever was.
fn only_last<'v>(
    journal: &dyn Journal,
    search: &Search<'v>,
    kind: Kind,
    text: &str,
    unknown: Problem,
) -> Result<(&'v Arc<DirectoryView>, Former), Problem> {
    let mut found = Vec::new();
    for directory in search.view.directories() {
        let last = last_of(journal, kind, directory, text)?;
        found.extend(last.map(|last| (directory, last)));
    }
    if found.len() > 1 {
        return Err(ambiguous(kind, text, &found));
    }
    found.pop().ok_or(unknown)
}

/// Whoever was called so last in a directory. An id wins, as it does now: it
/// never changed hands, whoever took it for a name later.
fn last_of(
    journal: &dyn Journal,
    kind: Kind,
    directory: &DirectoryView,
    text: &str,
) -> Result<Option<Former>, JournalError> {
    let rest = text.strip_prefix(directory.name()).and_then(|rest| rest.strip_prefix('/'));
    let mut last: Option<(bool, Former)> = None;
    for text in [Some(text), rest].into_iter().flatten() {
        for one in formers(journal, kind, directory, text)? {
            let by_id = one.object.id() == text;
            let is_later = |(id, other): &(bool, Former)| (by_id, one.seq) > (*id, other.seq);
            if last.as_ref().is_none_or(is_later) {
                last = Some((by_id, one));
            }
        }
    }
    Ok(last.map(|(_, last)| last))
}

fn formers(
    journal: &dyn Journal,
    kind: Kind,
    directory: &DirectoryView,
    text: &str,
) -> Result<Vec<Former>, JournalError> {
    let name = directory.name();
    let mut formers = Vec::new();
    for slot in journal.formerly_named(name, kind.into(), text)? {
        let Some(seq) = journal.last_named(name, kind.into(), slot, text)? else { continue };
        let then = Then { journal, at: At { moment: None, seq } };
        let object = then.object(name, kind, slot)?;
        formers.extend(object.map(|object| Former { slot, seq, object }));
    }
    Ok(formers)
}

fn ambiguous(kind: Kind, text: &str, several: &[(&Arc<DirectoryView>, Former)]) -> Problem {
    let describe = |(directory, last): &(&Arc<DirectoryView>, Former)| {
        CandidateBody::of(directory.name(), &last.object).into()
    };
    let shown: Vec<Value> = several.iter().take(20).map(describe).collect();
    let detail = format!(
        "nobody is called `{}` now, and {}s of {} directories were",
        text.escape_debug(),
        kind.word(),
        several.len()
    );
    Problem::new(http::StatusCode::CONFLICT, "ambiguous", detail)
        .hint("name the one that is meant as directory/REF")
        .member("ambiguous", kind.word())
        .member("candidates", shown)
}
