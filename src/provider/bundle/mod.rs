//! Reads users, groups and memberships from local files.
//!
//! `path` is one of three:
//! - a **directory** with `users`, `groups` and `memberships`, each `.json` (an
//!   array of objects) or `.csv` (a header line, then one object a row);
//! - a **JSON file** `{"users": […], "groups": […], "memberships": […]}`;
//! - a **zip** in Pomerium's format (`pomerium.io/DirectoryUser.json` with
//!   `group_ids`, `pomerium.io/DirectoryGroup.json`).
//!
//! | Object | Fields |
//! |---|---|
//! | user | `id` (required), `username` (else the email, else the id), `email` and `emails`, `display_name`, `given_name`, `family_name`, `active` (default true), `status`, `title`, `department`, `manager`; all else becomes an attribute |
//! | group | `id` (required), `name` (else the id), `email`, `description`, `members` (ids, or `{"kind": "user"\|"group", "id": …}`); all else becomes an attribute |
//! | membership | `group` and one of `user`, `member_group`, `member` (with `kind`); in JSON also `users`, `groups`, `members`, each a list |
//!
//! The spellings of RFC 7643 (`userName`, `displayName`, `name.givenName`,
//! `emails[].value`) are understood too. Nested objects become attributes with
//! dots in their names. In CSV an empty cell is an absent field, and `emails`
//! are separated by semicolons.
//!
//! Memberships are written either in the `members` of the groups or in a list
//! of their own, never in both. Members that nobody is are counted and kept as
//! unresolved. An id that is used twice is an error.
//!
//! An empty, vanished, half-written or malformed file is an error with its
//! place. `[]`, or a header line alone, is a list without entries. A CSV file
//! ends with a line break: without one it may be half written.
//!
//! Replace files by renaming over them. To replace several at once, use one
//! file, or a directory behind a symlink that is renamed over.

mod archive;
mod csv;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod json;
mod list;
mod object;
mod parts;
mod reading;
mod settings;
mod source;

pub use settings::BundleConfig;

use std::collections::BTreeMap;

use async_trait::async_trait;
use tokio::sync::mpsc;

use self::reading::Counts;
use self::source::{Snapshot, Stamp};
use super::{
    Cursor, Directory, Extent, Finding, Item, Outcome, PullError, Seal, Sink, Start, Verified,
};
use crate::digest::hex;
use crate::task;

/// Stands before the digest in every cursor. To be changed with the meaning of
/// the files, so that a new version reads them again.
const CURSOR_VERSION: u8 = 1;

/// Pages that may wait between reading and comparing.
const PAGES_WAITING: usize = 4;

/// One bundle.
#[derive(Debug)]
pub struct Bundle {
    config: BundleConfig,
    /// The files as last read in whole, and the cursor that they gave.
    last: Option<(Stamp, Cursor)>,
}

impl Bundle {
    /// Reads nothing yet.
    pub fn new(config: BundleConfig) -> Bundle {
        Bundle { config, last: None }
    }

    /// Whether the files are known to be what `cursor` stands for, by asking
    /// for their identities only.
    async fn unchanged(&self, cursor: &Cursor) -> Result<Option<u64>, PullError> {
        let Some((stamp, known)) = self.last.clone() else { return Ok(None) };
        if known != *cursor {
            return Ok(None);
        }
        let path = self.config.path.clone();
        let file_count = stamp.file_count();
        let holds = blocking(move || stamp.still_holds(&path)).await?;
        Ok(holds.then_some(file_count))
    }

    async fn snapshot(&self) -> Result<Snapshot, PullError> {
        let BundleConfig { path, size_max_bytes, .. } = self.config.clone();
        blocking(move || source::read(&path, size_max_bytes)).await?
    }

    async fn read(&self, snapshot: Snapshot, sink: &mut dyn Sink) -> Result<Counts, PullError> {
        let (pages, mut waiting) = mpsc::channel::<Vec<Item>>(PAGES_WAITING);
        let BundleConfig { size_max_bytes, keep_raw, .. } = self.config;
        let reading = blocking(move || {
            let parts = parts::take_apart(snapshot.files, size_max_bytes)?;
            reading::read(&parts, keep_raw, &mut |page| pages.blocking_send(page).is_ok())
        });
        let handing = async {
            while let Some(page) = waiting.recv().await {
                sink.page(page);
            }
        };
        let (counts, ()) = tokio::join!(reading, handing);
        counts?
    }
}

#[async_trait]
impl Directory for Bundle {
    async fn crawl(&mut self, start: Start, sink: &mut dyn Sink) -> Result<Seal, PullError> {
        let cursor = match start {
            Start::Full | Start::Resume(_) => None,
            Start::Incremental(cursor) => Some(cursor),
        };
        if let Some(cursor) = &cursor
            && let Some(file_count) = self.unchanged(cursor).await?
        {
            let proof = "the files are the ones read before".to_owned();
            return Ok(idle(cursor.clone(), proof, "stat", file_count));
        }
        let snapshot = self.snapshot().await?;
        sink.page(Vec::new());
        let (stamp, now) = (snapshot.stamp.clone(), cursor_of(&snapshot.digest));
        let file_count = stamp.file_count();
        let seal = if cursor.as_ref() == Some(&now) {
            let proof = format!("{} as before", shown(&snapshot.digest));
            idle(now.clone(), proof, "read", file_count)
        } else {
            let digest = shown(&snapshot.digest);
            let counts = self.read(snapshot, sink).await?;
            Seal {
                extent: Extent::Whole,
                cursor: Some(now.clone()),
                proof: format!("{counts} read to the end; {digest}").into(),
                verified: Verified::default(),
                requests: BTreeMap::from([("read".to_owned(), file_count)]),
                malformed: 0,
            }
        };
        self.last = Some((stamp, now));
        Ok(seal)
    }

    async fn examine(&mut self) -> Vec<Finding> {
        let snapshot = match self.snapshot().await {
            Ok(snapshot) => snapshot,
            Err(error) => return vec![finding("files", Outcome::Bad, error.to_string())],
        };
        let files = snapshot.files.iter().map(|file| file.found.path.display().to_string());
        let files = format!("read {}", files.collect::<Vec<_>>().join(", "));
        let mut findings = vec![finding("files", Outcome::Good, files)];
        match self.read(snapshot, &mut Nowhere).await {
            Ok(counts) => findings.extend(visibility(counts)),
            Err(error) => findings.push(finding("format", Outcome::Bad, error.to_string())),
        }
        findings
    }
}

struct Nowhere;

impl Sink for Nowhere {
    fn page(&mut self, _items: Vec<Item>) {}
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts { users, groups, memberships, unresolved } = self;
        write!(f, "{users} users, {groups} groups and {memberships} memberships")?;
        if *unresolved > 0 {
            write!(f, " ({unresolved} more name nobody)")?;
        }
        Ok(())
    }
}

fn visibility(counts: Counts) -> Vec<Finding> {
    let mut findings = vec![finding("format", Outcome::Good, format!("found {counts}"))];
    if counts.unresolved > 0 {
        let detail = format!(
            "{} memberships name a user or group that is not listed; add it, or drop them",
            counts.unresolved
        );
        findings.push(finding("references", Outcome::Warning, detail));
    }
    if counts.users == 0 {
        let detail = "there are no users; fill the list if this is not meant".to_owned();
        findings.push(finding("visibility", Outcome::Warning, detail));
    }
    findings
}

fn finding(step: &str, outcome: Outcome, detail: String) -> Finding {
    Finding { step: step.to_owned(), outcome, detail }
}

fn idle(cursor: Cursor, proof: String, request: &str, count: u64) -> Seal {
    Seal {
        extent: Extent::Changes,
        cursor: Some(cursor),
        proof: proof.into(),
        verified: Verified::default(),
        requests: BTreeMap::from([(request.to_owned(), count)]),
        malformed: 0,
    }
}

fn cursor_of(digest: &[u8]) -> Cursor {
    let mut cursor = vec![CURSOR_VERSION];
    cursor.extend_from_slice(digest);
    Cursor(cursor)
}

/// `sha256 0123456789ab`, enough to compare by eye.
fn shown(digest: &[u8]) -> String {
    format!("sha256 {}", hex(digest.get(..6).unwrap_or(digest)))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PullError> {
    task::blocking("bundle", work)
        .await
        .map_err(|end| PullError::Incomplete { what: "the bundle".into(), reason: end.to_string() })
}

#[cfg(test)]
mod tests;
