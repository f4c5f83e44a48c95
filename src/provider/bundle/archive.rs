//! A zip in Pomerium's format: `pomerium.io/DirectoryUser.json` and
//! `pomerium.io/DirectoryGroup.json`, each a JSON array.
//!
//! Source: the "Blob" directory provider, Pomerium 0.30.

use std::io::{Cursor, Read};

use zip::ZipArchive;
use zip::result::ZipError;

use crate::provider::PullError;

/// The two entries of the archive, as text in bytes.
pub(super) struct Entries {
    pub(super) users: Vec<u8>,
    pub(super) groups: Vec<u8>,
}

pub(super) const USERS: &str = "pomerium.io/DirectoryUser.json";
pub(super) const GROUPS: &str = "pomerium.io/DirectoryGroup.json";

/// Unpacks both entries, which together may hold `bytes_max`.
///
/// # Errors
/// When the archive is damaged, an entry is missing, or they are too large.
pub(super) fn read(file: &str, bytes: &[u8], bytes_max: u64) -> Result<Entries, PullError> {
    let mut archive =
        ZipArchive::new(Cursor::new(bytes)).map_err(|error| damaged(file, &error.to_string()))?;
    let users = entry(&mut archive, file, USERS, bytes_max)?;
    let groups = entry(&mut archive, file, GROUPS, bytes_max - users.len() as u64)?;
    Ok(Entries { users, groups })
}

fn entry(
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    file: &str,
    name: &str,
    bytes_max: u64,
) -> Result<Vec<u8>, PullError> {
    let entry = archive.by_name(name).map_err(|error| match error {
        ZipError::FileNotFound => damaged(file, &format!("there is no `{name}` in the archive")),
        error => damaged(file, &format!("{name}: {error}")),
    })?;
    let mut bytes = Vec::new();
    // The size that the archive states is not to be trusted.
    entry
        .take(bytes_max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| damaged(file, &format!("{name}: {error}")))?;
    if bytes.len() as u64 > bytes_max {
        return Err(PullError::Misconfigured {
            what: format!("{file}: {name}"),
            reason: "the archive unpacks to more than `size_max`".into(),
            hint: "raise `size_max` if this is meant".into(),
        });
    }
    Ok(bytes)
}

fn damaged(file: &str, reason: &str) -> PullError {
    PullError::Incomplete { what: file.to_owned(), reason: reason.to_owned() }
}
