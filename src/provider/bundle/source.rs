//! Finds the files of a bundle and reads them as they were at one moment.
//!
//! A file is identified by device, inode, size and times, never by its time
//! alone. All files are read first; then every path must still lead to the
//! very file that was read. A rename over one of them, a swapped symlink to
//! their directory (as Kubernetes does with `..data`) or a write in place
//! shows there, and everything is read again.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::digest::{Context, SHA256};

use crate::clock::{self, Timestamp};
use crate::provider::PullError;

/// How often files that change while they are read are read again.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_millis(100);

/// A file whose times lie less than this before its reading may change again
/// without its times showing it.
const TIMES_ARE_SURE_AFTER: Duration = Duration::from_secs(2);

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Users,
    Groups,
    Memberships,
    /// Everything in one file.
    Whole,
}

impl Role {
    fn stem(self) -> &'static str {
        match self {
            Role::Users => "users",
            Role::Groups => "groups",
            Role::Memberships => "memberships",
            Role::Whole => "bundle",
        }
    }
}

/// One file that belongs to the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) role: Role,
    pub(super) path: PathBuf,
    pub(super) is_csv: bool,
}

/// One file as read.
pub(super) struct Loaded {
    pub(super) found: Found,
    pub(super) bytes: Vec<u8>,
}

/// All files as they were at one moment.
pub(super) struct Snapshot {
    pub(super) files: Vec<Loaded>,
    pub(super) stamp: Stamp,
    /// SHA-256 over names and contents.
    pub(super) digest: Vec<u8>,
}

/// Which files were read, and whether that says enough to skip reading them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    files: Vec<(PathBuf, Identity)>,
    is_sure: bool,
}

/// Device, inode, size, time of modification and of change in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl Stamp {
    /// Whether the files at `path` are certainly still the ones of this stamp.
    pub(super) fn still_holds(&self, path: &Path) -> bool {
        let Ok(found) = locate(path) else { return false };
        self.is_sure
            && found.len() == self.files.len()
            && found.iter().zip(&self.files).all(|(found, (path, identity))| {
                found.path == *path && Identity::at(path).is_ok_and(|now| now == *identity)
            })
    }

    pub(super) fn file_count(&self) -> u64 {
        self.files.len() as u64
    }
}

impl Identity {
    fn at(path: &Path) -> std::io::Result<Identity> {
        std::fs::metadata(path).map(|metadata| Identity::from(&metadata))
    }

    fn is_sure_at(&self, read_at: Timestamp) -> bool {
        let sure_before = read_at.minus(TIMES_ARE_SURE_AFTER);
        self.modified_ns.max(self.changed_ns) < i128::from(sure_before.0) * 1_000_000
    }
}

impl From<&Metadata> for Identity {
    fn from(metadata: &Metadata) -> Identity {
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The files at `path`, ordered by role.
///
/// # Errors
/// When a required file is missing, or one list comes in two formats.
pub(super) fn locate(path: &Path) -> Result<Vec<Found>, PullError> {
    let metadata = std::fs::metadata(path).map_err(|error| failed(path, &error))?;
    if !metadata.is_dir() {
        return Ok(vec![Found { role: Role::Whole, path: path.to_owned(), is_csv: false }]);
    }
    let mut found = Vec::new();
    for role in [Role::Users, Role::Groups, Role::Memberships] {
        match (locate_list(path, role)?, role) {
            (Some(file), _) => found.push(file),
            (None, Role::Memberships) => {}
            (None, role) => return Err(missing(path, role)),
        }
    }
    Ok(found)
}

/// Reads all files of the bundle as they were at one moment.
///
/// # Errors
/// When a file is missing, empty, unreadable or too large, or when they keep
/// changing.
pub(super) fn read(path: &Path, bytes_max: u64) -> Result<Snapshot, PullError> {
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        if let Some(snapshot) = read_once(path, bytes_max)? {
            return Ok(snapshot);
        }
    }
    Err(PullError::Incomplete {
        what: path.display().to_string(),
        reason: "the files keep changing while they are read".into(),
    })
}

/// `None` when something changed meanwhile.
fn read_once(path: &Path, bytes_max: u64) -> Result<Option<Snapshot>, PullError> {
    let found = locate(path)?;
    let read_at = clock::now();
    let mut files = Vec::new();
    let mut identities = Vec::new();
    let mut bytes_left = bytes_max;
    for file in &found {
        let Some((identity, bytes)) = read_file(&file.path, bytes_left, bytes_max)? else {
            return Ok(None);
        };
        bytes_left = bytes_left.saturating_sub(identity.size);
        identities.push((file.path.clone(), identity));
        files.push(Loaded { found: file.clone(), bytes });
    }
    let unchanged = identities
        .iter()
        .all(|(path, identity)| Identity::at(path).is_ok_and(|now| now == *identity));
    if !unchanged || locate(path)? != found {
        return Ok(None);
    }
    refuse_empty(&files)?;
    let is_sure = identities.iter().all(|(_, identity)| identity.is_sure_at(read_at));
    let digest = digest(&files);
    Ok(Some(Snapshot { files, stamp: Stamp { files: identities, is_sure }, digest }))
}

/// `None` when the file changed meanwhile.
fn read_file(
    path: &Path,
    bytes_left: u64,
    bytes_max: u64,
) -> Result<Option<(Identity, Vec<u8>)>, PullError> {
    let mut file = open(path).map_err(|error| failed(path, &error))?;
    let metadata = file.metadata().map_err(|error| failed(path, &error))?;
    if !metadata.is_file() {
        return Err(PullError::Misconfigured {
            what: path.display().to_string(),
            reason: "this is not a regular file".into(),
            hint: "a bundle consists of regular files".into(),
        });
    }
    if metadata.size() > bytes_left {
        return Err(too_large(path, bytes_max));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.size()).unwrap_or_default());
    let limit = bytes_left.saturating_add(1);
    file.by_ref().take(limit).read_to_end(&mut bytes).map_err(|error| failed(path, &error))?;
    let before = Identity::from(&metadata);
    let after = file.metadata().map_err(|error| failed(path, &error))?;
    let unchanged = Identity::from(&after) == before && bytes.len() as u64 == before.size;
    Ok(unchanged.then_some((before, bytes)))
}

/// Opens without waiting for a writer, should the path be a pipe.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits();
    OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path)
}

fn locate_list(directory: &Path, role: Role) -> Result<Option<Found>, PullError> {
    let json = directory.join(format!("{}.json", role.stem()));
    let csv = directory.join(format!("{}.csv", role.stem()));
    match (exists(&json)?, exists(&csv)?) {
        (true, true) => Err(PullError::Misconfigured {
            what: directory.display().to_string(),
            reason: format!("both {0}.json and {0}.csv are here", role.stem()),
            hint: "keep one of them".into(),
        }),
        (true, false) => Ok(Some(Found { role, path: json, is_csv: false })),
        (false, true) => Ok(Some(Found { role, path: csv, is_csv: true })),
        (false, false) => Ok(None),
    }
}

/// A dangling symlink exists: it is an error to be told, not a missing file.
fn exists(path: &Path) -> Result<bool, PullError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(path, &error)),
    }
}

fn refuse_empty(files: &[Loaded]) -> Result<(), PullError> {
    let Some(file) = files.iter().find(|file| file.bytes.trim_ascii().is_empty()) else {
        return Ok(());
    };
    let empty = if file.found.is_csv { "its header line alone" } else { "`[]`" };
    Err(PullError::Incomplete {
        what: file.found.path.display().to_string(),
        reason: format!(
            "the file is empty, which may be half written\nhint: a list without entries is written as {empty}"
        ),
    })
}

fn missing(directory: &Path, role: Role) -> PullError {
    let stem = role.stem();
    PullError::Unreachable {
        what: directory.join(format!("{stem}.json")).display().to_string(),
        reason: format!("neither {stem}.json nor {stem}.csv is there"),
    }
}

fn too_large(path: &Path, bytes_max: u64) -> PullError {
    PullError::Misconfigured {
        what: path.display().to_string(),
        reason: format!("the bundle is larger than {bytes_max} bytes"),
        hint: "raise `size_max` if this is meant".into(),
    }
}

fn failed(path: &Path, error: &std::io::Error) -> PullError {
    let what = path.display().to_string();
    let reason = error.to_string();
    match error.kind() {
        ErrorKind::PermissionDenied => {
            PullError::Unauthorized { what, reason, permission: Some("read".into()) }
        }
        _ => PullError::Unreachable { what, reason },
    }
}

fn digest(files: &[Loaded]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    for file in files {
        let name = file.found.path.as_os_str().as_encoded_bytes();
        for part in [name, &file.bytes] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
    }
    context.finish().as_ref().to_vec()
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            std::fs::write(directory.join(name), text).unwrap();
        }
    }

    const LISTS: &[(&str, &str)] = &[("users.json", "[]"), ("groups.csv", "id\n")];

    #[test]
    fn lists_are_found_in_either_format() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), LISTS);
        let found = locate(directory.path()).unwrap();
        assert_eq!(found.iter().map(|file| file.is_csv).collect::<Vec<_>>(), [false, true]);
        write(directory.path(), &[("users.csv", "id\n")]);
        let error = locate(directory.path()).unwrap_err();
        assert!(error.to_string().contains("both users.json and users.csv"), "{error}");
    }

    #[test]
    fn a_missing_or_dangling_file_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &LISTS[..1]);
        assert!(matches!(read(directory.path(), 100), Err(PullError::Unreachable { .. })));
        std::os::unix::fs::symlink("nowhere", directory.path().join("groups.json")).unwrap();
        assert!(matches!(read(directory.path(), 100), Err(PullError::Unreachable { .. })));
        assert!(matches!(read(Path::new("/nowhere"), 9), Err(PullError::Unreachable { .. })));
    }

    #[test]
    fn r3_an_empty_file_is_an_error_not_an_empty_list() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), LISTS);
        write(directory.path(), &[("users.json", "")]);
        let error = read(directory.path(), 100).err().unwrap();
        assert!(error.to_string().contains("users.json"), "{error}");
        assert!(matches!(error, PullError::Incomplete { .. }));
    }

    #[test]
    fn the_size_is_capped_before_reading() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), LISTS);
        assert!(matches!(read(directory.path(), 4), Err(PullError::Misconfigured { .. })));
        assert!(read(directory.path(), 5).is_ok());
    }

    #[test]
    fn a_pipe_does_not_block() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bundle.json");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(matches!(read(&path, 100), Err(PullError::Misconfigured { .. })));
    }

    #[test]
    fn a_swapped_symlink_shows_in_the_stamp() {
        let root = tempfile::tempdir().unwrap();
        for (name, user) in [("one", "[]"), ("two", "[ ]")] {
            std::fs::create_dir(root.path().join(name)).unwrap();
            write(&root.path().join(name), LISTS);
            write(&root.path().join(name), &[("users.json", user)]);
        }
        let link = root.path().join("data");
        std::os::unix::fs::symlink("one", &link).unwrap();
        let mut first = read(&link, 100).unwrap();
        assert!(!first.stamp.still_holds(&link), "fresh files prove nothing by their times");
        first.stamp.is_sure = true;
        assert!(first.stamp.still_holds(&link));
        std::os::unix::fs::symlink("two", root.path().join("next")).unwrap();
        std::fs::rename(root.path().join("next"), &link).unwrap();
        assert!(!first.stamp.still_holds(&link));
        assert_ne!(read(&link, 100).unwrap().digest, first.digest);
    }
}
