//! The files around the database: lock, format, pointer, high-water mark.
//!
//! ```text
//! lock         held for the life of the process; its pid in text
//! format       `rosterd store format 3`, with a checksum: a newer one is left alone
//! current      `db-7`: the folder in use; replaced by rename
//! high-water   the last seq that may have been told, in two alternating slots
//! date         the date that retention went by last
//! directories  the directories that were ever committed: what a rebuild is silent about
//! checkpoints/ crawls that have not ended; see [`super::checkpoint`]
//! db-7/        sled's
//! db-6.damaged-1/   set aside
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::error::{OpenError, Trouble};
use super::row;

/// 2 has lists of references in rows that 1 would take for damage; 3 has changes of
/// memberships that wait, which 2 would not see.
const FORMAT: u32 = 3;
const FORMAT_WORDS: &str = "rosterd store format ";
const CHECKSUM_WORD: &str = " crc32 ";
const SLOT_BYTES: usize = 64;

/// The state directory, locked.
#[derive(Debug)]
pub(super) struct Home {
    dir: PathBuf,
    high_water: File,
    /// What was written last.
    mark: Mutex<HighWater>,
    _lock: File,
}

/// What survives the loss of the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HighWater {
    writes: u64,
    /// No event beyond it was ever told.
    pub seq: u64,
    /// The last commit known to be durable; a database that does not have it
    /// has lost data.
    pub commit: u64,
    /// The last act of the audit trail.
    pub audit: u64,
}

/// A mark of a version that kept no audit trail.
#[derive(Deserialize)]
struct OldHighWater {
    writes: u64,
    seq: u64,
    commit: u64,
}

/// A directory that has been committed at least once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub name: String,
    pub tenant: String,
    pub product: String,
}

/// What `current` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Current {
    /// Nothing was ever stored here.
    Nothing,
    Folder(u64),
    Unreadable,
}

impl Home {
    /// Creates the directory if need be and takes it for this process.
    ///
    /// # Errors
    /// When another process has it, a newer version owns it, or the system refuses.
    pub(super) fn take(dir: &Path) -> Result<Home, OpenError> {
        let unavailable = |e: io::Error| unavailable(dir, &e);
        check_format(dir)?;
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unavailable)?;
        let lock = lock(dir)?;
        if check_format(dir)? != Some(FORMAT) {
            write_durably(dir, "format", format_text(FORMAT).as_bytes()).map_err(unavailable)?;
        }
        let high_water = private().open(dir.join("high-water")).map_err(unavailable)?;
        let home = Home { dir: dir.to_owned(), high_water, mark: Mutex::default(), _lock: lock };
        let mark = home.high_water().map_err(|trouble| OpenError::Unavailable {
            dir: dir.to_owned(),
            reason: trouble.text().to_owned(),
        })?;
        *home.mark() = mark.unwrap_or_default();
        Ok(home)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn folder(&self, number: u64) -> PathBuf {
        self.dir.join(format!("db-{number}"))
    }

    /// Which database is in use.
    pub(super) fn current(&self) -> Result<Current, Trouble> {
        match fs::read_to_string(self.dir.join("current")) {
            Ok(text) => Ok(folder_number(text.trim()).map_or(Current::Unreadable, Current::Folder)),
            Err(e) if e.kind() == ErrorKind::InvalidData => Ok(Current::Unreadable),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let empty = self.numbers()?.is_empty();
                Ok(if empty { Current::Nothing } else { Current::Unreadable })
            }
            Err(e) => Err(self.failed(&e)),
        }
    }

    /// Makes the numbered database the one in use, durably.
    pub(super) fn point_at(&self, number: u64) -> Result<(), Trouble> {
        write_durably(&self.dir, "current", format!("db-{number}\n").as_bytes())
            .map_err(|e| self.failed(&e))
    }

    /// A number that no folder here has or had.
    pub(super) fn fresh_number(&self) -> Result<u64, Trouble> {
        let greatest = self.entries()?.iter().filter_map(|name| leading_number(name)).max();
        Ok(greatest.unwrap_or(0) + 1)
    }

    /// Removes databases that are not in use: what a rewrite left behind.
    pub(super) fn sweep(&self, keep: u64) -> Result<(), Trouble> {
        for number in self.numbers()? {
            if number != keep {
                fs::remove_dir_all(self.folder(number)).map_err(|e| self.failed(&e))?;
            }
        }
        Ok(())
    }

    /// Renames every database but one to `….damaged-N`, for people to look at.
    pub(super) fn set_aside(&self, but: u64) -> Result<PathBuf, Trouble> {
        let mut aside = self.dir.clone();
        for number in self.numbers()?.into_iter().filter(|number| *number != but) {
            let folder = self.folder(number);
            let target = (1u32..)
                .map(|n| self.dir.join(format!("db-{number}.damaged-{n}")))
                .find(|target| !target.exists())
                .ok_or_else(|| Trouble::Failed("too many damaged folders".to_owned()))?;
            fs::rename(&folder, &target).map_err(|e| self.failed(&e))?;
            aside = target;
        }
        sync_dir(&self.dir).map_err(|e| self.failed(&e))?;
        Ok(aside)
    }

    /// Whether nothing was ever committed here, as far as files beside the
    /// database tell.
    pub(super) fn is_untouched(&self) -> bool {
        let unmarked = match self.high_water() {
            Err(_) => false,
            Ok(Some(mark)) => mark.seq == 0 && mark.commit == 0,
            Ok(None) => self.high_water.metadata().is_ok_and(|metadata| metadata.len() == 0),
        };
        unmarked && !self.dir.join("directories").exists()
    }

    /// The mark, if there is one to be believed.
    ///
    /// # Errors
    /// When the disk refuses: that says nothing about the mark.
    pub(super) fn high_water(&self) -> Result<Option<HighWater>, Trouble> {
        let mut newest: Option<HighWater> = None;
        for offset in [0, SLOT_BYTES as u64] {
            let mut slot = [0; SLOT_BYTES];
            match self.high_water.read_exact_at(&mut slot, offset) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => continue,
                outcome => outcome.map_err(|e| self.failed(&e))?,
            }
            let mark = mark_in(&slot);
            if mark.map(|mark| mark.writes) > newest.map(|mark| mark.writes) {
                newest = mark;
            }
        }
        Ok(newest)
    }

    /// Notes the last seq and the last commit.
    pub(super) fn raise(&self, seq: u64, commit: u64, durably: bool) -> Result<(), Trouble> {
        self.change_mark(durably, |mark| (mark.seq, mark.commit) = (seq, commit))
    }

    /// Notes the last act of the audit trail.
    pub(super) fn raise_audit(&self, seq: u64) -> Result<(), Trouble> {
        self.change_mark(false, |mark| mark.audit = seq)
    }

    /// Writes the mark where it does not overwrite the last one.
    fn change_mark(
        &self,
        durably: bool,
        change: impl FnOnce(&mut HighWater),
    ) -> Result<(), Trouble> {
        let mut mark = self.mark();
        change(&mut mark);
        mark.writes += 1;
        let sealed = row::seal(b"high-water", row::WHOLE, &row::encode(&*mark)?);
        let mut slot = [0; SLOT_BYTES];
        slot[0] = sealed.len() as u8;
        slot.iter_mut().skip(1).zip(&sealed).for_each(|(to, from)| *to = *from);
        let written = self
            .high_water
            .write_all_at(&slot, (mark.writes % 2) * SLOT_BYTES as u64)
            .and_then(|()| if durably { self.high_water.sync_data() } else { Ok(()) });
        written.map_err(|e| self.failed(&e))
    }

    fn mark(&self) -> MutexGuard<'_, HighWater> {
        self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directories that a rebuild has to be silent about; `None` when
    /// nobody knows.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn known(&self) -> Result<Option<Vec<Known>>, Trouble> {
        let bytes = match fs::read(self.dir.join("directories")) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Some(Vec::new())),
            Err(e) => return Err(self.failed(&e)),
        };
        let payload = row::unseal(b"directories", &bytes).map(|(_, payload)| payload);
        Ok(payload.and_then(|payload| row::decode(b"directories", payload)).ok())
    }

    pub(super) fn remember(&self, known: &[Known]) -> Result<(), Trouble> {
        let sealed = row::seal(b"directories", row::WHOLE, &row::encode(&known)?);
        write_durably(&self.dir, "directories", &sealed).map_err(|e| self.failed(&e))
    }

    /// The date that retention went by last; `None` when that is not known.
    pub(super) fn noted_date(&self) -> Option<u64> {
        let bytes = fs::read(self.dir.join("date")).ok()?;
        let (_, payload) = row::unseal(b"date", &bytes).ok()?;
        row::decode(b"date", payload).ok()
    }

    pub(super) fn note_date(&self, date: u64) -> Result<(), Trouble> {
        let sealed = row::seal(b"date", row::WHOLE, &row::encode(&date)?);
        write_durably(&self.dir, "date", &sealed).map_err(|e| self.failed(&e))
    }

    /// The databases that are there, in use or not.
    pub(super) fn numbers(&self) -> Result<Vec<u64>, Trouble> {
        Ok(self.entries()?.iter().filter_map(|name| folder_number(name)).collect())
    }

    fn entries(&self) -> Result<Vec<String>, Trouble> {
        let entries = fs::read_dir(&self.dir).map_err(|e| self.failed(&e))?;
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<_>>()
            .map_err(|e| self.failed(&e))
    }

    fn failed(&self, error: &io::Error) -> Trouble {
        Trouble::Failed(format!("{}: {error}", self.dir.display()))
    }
}

/// The format written in the directory, when it is one this version may touch.
fn check_format(dir: &Path) -> Result<Option<u32>, OpenError> {
    let bytes = match fs::read(dir.join("format")) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unavailable(dir, &e)),
    };
    match format_in(&bytes) {
        Some(found) if found <= FORMAT => Ok(Some(found)),
        Some(found) => Err(OpenError::Newer { dir: dir.to_owned(), found, known: FORMAT }),
        // A newer version's has a checksum that fits, and what is ours has these
        // beside it: it was damaged, and what it says is known all the same.
        None if dir.join("lock").exists() && dir.join("high-water").exists() => {
            tracing::warn!(dir = %dir.display(), "the file `format` was damaged, writing it again");
            Ok(None)
        }
        None => Err(OpenError::Unavailable {
            dir: dir.to_owned(),
            reason: "its file `format` is not one of rosterd's".to_owned(),
        }),
    }
}

fn format_text(format: u32) -> String {
    let words = format!("{FORMAT_WORDS}{format}");
    let checksum = crc32fast::hash(words.as_bytes());
    format!("{words}{CHECKSUM_WORD}{checksum:08x}\n")
}

/// The format that the file names. The first one had no checksum at the beginning.
fn format_in(bytes: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (words, is_whole) = match text.trim_end().split_once(CHECKSUM_WORD) {
        Some((words, sum)) => (words, format!("{:08x}", crc32fast::hash(words.as_bytes())) == sum),
        None => (text.trim_end(), false),
    };
    let format = words.strip_prefix(FORMAT_WORDS)?.parse().ok()?;
    (is_whole || format == 1).then_some(format)
}

/// What one slot of the mark holds.
fn mark_in(slot: &[u8; SLOT_BYTES]) -> Option<HighWater> {
    let (kind, payload) = row::unseal(b"high-water", slot.get(1..sealed_len(slot)?)?).ok()?;
    if kind == row::WHOLE { read_mark(payload) } else { None }
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let unavailable = |e: io::Error| unavailable(dir, &e);
    let mut file = private().open(dir.join("lock")).map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut text = String::new();
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(OpenError::Locked { dir: dir.to_owned(), pid });
        }
        Err(fs::TryLockError::Error(e)) => return Err(unavailable(e)),
    }
    file.set_len(0).map_err(unavailable)?;
    writeln!(file, "{}", std::process::id()).map_err(unavailable)?;
    Ok(file)
}

/// Replaces a small file so that either the old or the new one is there.
fn write_durably(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.new"));
    let mut file = private().truncate(true).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(name))?;
    sync_dir(dir)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options
}

fn unavailable(dir: &Path, error: &io::Error) -> OpenError {
    OpenError::Unavailable { dir: dir.to_owned(), reason: error.to_string() }
}

fn read_mark(payload: &[u8]) -> Option<HighWater> {
    let old = || {
        let OldHighWater { writes, seq, commit } = row::decode(b"high-water", payload).ok()?;
        Some(HighWater { writes, seq, commit, audit: 0 })
    };
    row::decode(b"high-water", payload).ok().or_else(old)
}

fn sealed_len(slot: &[u8; SLOT_BYTES]) -> Option<usize> {
    let len = usize::from(slot[0]);
    (len > 0 && len < SLOT_BYTES).then_some(len + 1)
}

fn folder_number(name: &str) -> Option<u64> {
    name.strip_prefix("db-")?.parse().ok()
}

fn leading_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("db-")?;
    digits.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_private_and_locked() {
        use std::os::unix::fs::PermissionsExt;
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("state");
        let home = Home::take(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        let second = Home::take(&dir).unwrap_err();
        assert_eq!(second, OpenError::Locked { dir: dir.clone(), pid: Some(std::process::id()) });
        assert!(second.to_string().contains(&format!("process {}", std::process::id())));
        drop(home);
        Home::take(&dir).unwrap();
    }

    #[test]
    fn a_newer_format_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("format"), format_text(4)).unwrap();
        let refused = Home::take(dir.path()).unwrap_err();
        assert!(matches!(refused, OpenError::Newer { found: 4, known: 3, .. }), "{refused}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_format_is_written_again_and_a_stranger_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let format = dir.path().join("format");
        fs::write(&format, "png\n").unwrap();
        assert!(matches!(Home::take(dir.path()), Err(OpenError::Unavailable { .. })));
        fs::write(&format, "rosterd store format 1\n").unwrap();
        drop(Home::take(dir.path()).unwrap());
        for damaged in ["", "rosterd store fo", "rosterd store format 4\n", "\u{1}osterd"] {
            fs::write(&format, damaged).unwrap();
            drop(Home::take(dir.path()).unwrap());
            assert_eq!(fs::read_to_string(&format).unwrap(), format_text(FORMAT));
        }
    }

    #[test]
    fn an_older_format_becomes_this_one() {
        for older in ["rosterd store format 1\n", &format_text(1), &format_text(2)] {
            let dir = tempfile::tempdir().unwrap();
            let format = dir.path().join("format");
            fs::write(&format, older).unwrap();
            drop(Home::take(dir.path()).unwrap());
            assert_eq!(fs::read_to_string(&format).unwrap(), format_text(FORMAT));
        }
    }

    #[test]
    fn the_high_water_mark_survives_a_torn_write() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::take(dir.path()).unwrap();
        assert_eq!(home.high_water(), Ok(None));
        home.raise(7, 1, true).unwrap();
        home.raise(9, 2, true).unwrap();
        assert_eq!(home.high_water().unwrap().unwrap().seq, 9);
        home.high_water.write_all_at(b"torn", 4).unwrap();
        assert_eq!(home.high_water().unwrap().unwrap().seq, 7);
        drop(home);
        let home = Home::take(dir.path()).unwrap();
        home.raise(12, 3, true).unwrap();
        assert_eq!(home.high_water().unwrap().unwrap().seq, 12);
    }

    #[test]
    fn known_directories_come_back_or_are_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::take(dir.path()).unwrap();
        assert_eq!(home.known(), Ok(Some(vec![])));
        let corp = Known { name: "corp".into(), tenant: "acme".into(), product: "vpn".into() };
        home.remember(std::slice::from_ref(&corp)).unwrap();
        assert_eq!(home.known(), Ok(Some(vec![corp])));
        fs::write(dir.path().join("directories"), b"garbage").unwrap();
        assert_eq!(home.known(), Ok(None));
    }
}
