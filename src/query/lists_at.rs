//! `/v1/users?at=` and `/v1/groups?at=`: everybody who was there, page by page.
//!
//! A page reads the versions of its own objects. The total is counted once, from
//! what was committed since the moment, and goes along in the cursor: the past
//! does not change any more.

use super::freshness;
use super::journal::Journal;
use super::listing::{About, List, Object, Unreached};
use super::page::{Page, Position};
use super::parameters::Parameters;
use super::past::Then;
use super::problem::Problem;
use super::resolve::Kind;
use super::sources::Sources;
use super::{check, objects};
use crate::clock;
use crate::index::View;

/// Answers a list of the past.
///
/// # Errors
/// When a parameter is wrong, the directory it names is unknown, or nothing is
/// kept back to the moment.
pub fn list(
    sources: &Sources,
    kind: Kind,
    parameters: &Parameters<'_>,
    at: &str,
) -> Result<Vec<u8>, Problem> {
    let now = clock::now();
    let only = parameters.text("directory");
    let view = sources.view.load();
    if let Some(only) = only.filter(|only| sources.statuses.get(only).is_none()) {
        return Err(objects::unknown_directory(only));
    }
    let Some(then) = check::then(sources, Some(at), view.seq, now)? else {
        return Err(Problem::internal("a moment was read and is not there"));
    };
    let limit = Page::read_limit(parameters)?;
    let Chosen { names, unreached } = choose(&view, only, then)?;
    let progress = match parameters.text("cursor") {
        Some(text) => Progress::decode(kind, then.at.seq, text)?,
        None => Progress::start(kind, then, &names)?,
    };
    let (rows, next) = read(then.journal, kind, &names, &progress, limit, then.at.seq)?;
    names.iter().try_for_each(|name| then.require(name))?;
    let list = List {
        rows: kind.into(),
        objects: rows,
        total: usize::try_from(progress.total).unwrap_or(usize::MAX),
        next_cursor: next.map(|next| next.encode(kind, then.at.seq)),
        seq: view.seq,
        about: About::Directories {
            all: freshness::of_all(&sources.statuses, only, now),
            past: Some((then.at, unreached)),
        },
    };
    list.to_json()
}

/// The directories of a list, by name, and those whose history begins later.
struct Chosen<'v> {
    names: Vec<&'v str>,
    unreached: Unreached,
}

fn choose<'v>(view: &'v View, only: Option<&str>, then: Then<'_>) -> Result<Chosen<'v>, Problem> {
    let mut chosen = Chosen { names: Vec::new(), unreached: Vec::new() };
    for name in view.directories().map(|directory| directory.name()) {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        if then.reaches(name)? {
            chosen.names.push(name);
        } else if only.is_some() {
            return Err(then.unreached(name)?);
        } else {
            let oldest = then.journal.history_start(name)?;
            chosen.unreached.push((name.to_owned(), oldest));
        }
    }
    if let Some(only) = only.filter(|_| chosen.names.is_empty()) {
        return Err(then.unreached(only)?);
    }
    match chosen.unreached.first() {
        Some((name, _)) if chosen.names.is_empty() => Err(then.unreached(name)?),
        _ => Ok(chosen),
    }
}

/// How far a list was read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Progress {
    total: u64,
    given: u64,
    from: Position,
}

impl Progress {
    fn start(kind: Kind, then: Then<'_>, names: &[&str]) -> Result<Progress, Problem> {
        let mut total = 0;
        for name in names {
            total += then.journal.count_at(name, kind.into(), then.at.seq)?;
        }
        let from = Position { directory: String::new(), kind, slot: 0 };
        Ok(Progress { total, given: 0, from })
    }

    fn encode(&self, kind: Kind, seq: u64) -> String {
        let Progress { total, given, from } = self;
        from.encode(&format!("{}@{seq}:{total}:{given}", kind.plural()))
    }

    fn decode(kind: Kind, seq: u64, text: &str) -> Result<Progress, Problem> {
        let read = || {
            let (tag, from) = Position::decode_any(text)?;
            let rest = tag.strip_prefix(&format!("{}@{seq}:", kind.plural()))?;
            let (total, given) = rest.split_once(':')?;
            Some(Progress { total: total.parse().ok()?, given: given.parse().ok()?, from })
        };
        read().ok_or_else(Page::wrong_cursor)
    }
}

type Objects<'v> = Vec<(&'v str, Object)>;

/// The next page, and what follows it.
fn read<'v>(
    journal: &dyn Journal,
    kind: Kind,
    names: &[&'v str],
    progress: &Progress,
    limit: usize,
    seq: u64,
) -> Result<(Objects<'v>, Option<Progress>), Problem> {
    let left = usize::try_from(progress.total.saturating_sub(progress.given)).unwrap_or(usize::MAX);
    let wanted = limit.min(left);
    let mut rows: Objects<'v> = Vec::new();
    let mut from = progress.from.clone();
    for name in names.iter().filter(|name| **name >= progress.from.directory.as_str()) {
        let start = if *name == from.directory { from.slot } else { 0 };
        let missing = wanted - rows.len();
        if missing == 0 {
            break;
        }
        let found = journal.objects_at(name, kind.into(), start, missing, seq)?;
        if let Some((last, _)) = found.last() {
            from = Position { directory: (*name).to_owned(), kind, slot: last + 1 };
        }
        rows.extend(found.into_iter().map(|(_, object)| (*name, object.into())));
    }
    let given = progress.given + rows.len() as u64;
    let more = given < progress.total && !rows.is_empty();
    Ok((rows, more.then_some(Progress { given, from, ..progress.clone() })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_good_for_its_own_moment_only() {
        let from = Position { directory: "corp".into(), kind: Kind::User, slot: 7 };
        let progress = Progress { total: 9, given: 4, from };
        let text = progress.encode(Kind::User, 12);
        assert_eq!(Progress::decode(Kind::User, 12, &text).unwrap(), progress);
        assert!(Progress::decode(Kind::User, 13, &text).is_err());
        assert!(Progress::decode(Kind::Group, 12, &text).is_err());
        assert!(Progress::decode(Kind::User, 12, "!").is_err());
    }
}
