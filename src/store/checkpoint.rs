//! What a crawl has read so far, in a plain file, so that a restart can go on.
//!
//! # Why a file and not a row
//! sled never gives space back, and pages are written once and thrown away with
//! the crawl. So each directory has an append-only log beside the database,
//! `checkpoints/NAME.crawl`, removed when the crawl has been settled:
//!
//! ```text
//! rosterd crawl 1
//! HEAD     what the crawl is of, and what it is compared with
//! PAGE …   pages, as bytes that only the caller understands
//! TOKEN    the crawl can go on here, after the pages before
//! PAGE …, TOKEN, …
//! RESUMED  somebody went on from the last token
//! ```
//!
//! Each frame has a length and a checksum over a number drawn for this log, so
//! that a torn tail, or what another file left on the disk, is never believed.
//! What was appended survives the process; nothing is synced, since losing the
//! tail to a power cut only costs reading it again.
//!
//! # Never in the way
//! A short crawl writes nothing: pages wait in memory until the time or the
//! size says otherwise. No failure here fails a crawl; the log just ends.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::row;
use crate::clock::{self, Duration, Instant, Timestamp};

/// The first bytes of every log of this format.
const MAGIC: &[u8] = b"rosterd crawl 1\n";
const FOLDER: &str = "checkpoints";
const SUFFIX: &str = ".crawl";

const HEAD: u8 = 16;
const PAGE: u8 = 17;
const TOKEN: u8 = 18;
const RESUMED: u8 = 19;

/// So much waits in memory at most, beside one page.
const BUFFER_MAX: usize = 8 << 20;
/// A log does not grow beyond this; a restart goes on where it ended.
const LOG_MAX: u64 = 2 << 30;
/// The store needs the rest of the disk more than we do.
const SPARE_BYTES: u64 = 64 << 20;
/// Going on so often without getting further is no way to go on.
const ATTEMPTS_MAX: usize = 5;

/// The logs of one directory. A cheap handle.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    directory: String,
    /// It was told that writing does not work.
    warned: Arc<AtomicBool>,
}

/// What a crawl is of, and what it is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Of the provider's settings.
    pub fingerprint: String,
    /// Everything is read, not only what changed.
    pub full: bool,
    /// The feed was read right before: what a full crawl finds, it did not tell.
    pub caught_up: bool,
    pub started: Timestamp,
    /// When the committed directory last changed: what is read is compared with
    /// that state and no other.
    pub as_of: Option<Timestamp>,
}

/// What a log must be like to be of use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub fingerprint: String,
    pub as_of: Option<Timestamp>,
    pub now: Timestamp,
    /// A crawl that began longer ago starts anew.
    pub max_age: Duration,
}

/// Why a log is of no use; it has been removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Useless(String);

/// A log of an earlier process, from its beginning to its last token.
#[derive(Debug)]
pub struct Saved {
    pub origin: Origin,
    pub token: Vec<u8>,
    frames: Frames,
    end: u64,
}

/// A log being written.
#[derive(Debug)]
pub struct Log {
    home: Checkpoints,
    key: [u8; 8],
    /// Written when there is something to write behind it.
    head: Vec<u8>,
    file: Option<File>,
    length: u64,
    /// Frames of pages that are not written yet.
    buffer: Vec<u8>,
    /// The newest token that is not written yet, and how much of the buffer
    /// comes before it.
    token: Option<(Vec<u8>, usize)>,
    /// How long pages may wait.
    every: Duration,
    written_at: Instant,
    is_over: bool,
}

#[derive(Serialize, Deserialize)]
struct Head {
    /// Another version may read providers in another way.
    program: String,
    key: [u8; 8],
    directory: String,
    fingerprint: String,
    full: bool,
    caught_up: bool,
    started: u64,
    as_of: Option<u64>,
}

/// Reads frame by frame, up to the first that is not whole.
#[derive(Debug)]
struct Frames {
    file: BufReader<File>,
    key: Vec<u8>,
    at: u64,
    length: u64,
}

/// Why a log ends before its crawl.
enum Stop {
    /// What is written stays of use.
    Full,
    Failed(io::Error),
}

impl Checkpoints {
    pub(super) fn new(state_dir: &Path, directory: &str) -> Checkpoints {
        Checkpoints {
            folder: state_dir.join(FOLDER),
            directory: directory.to_owned(),
            warned: Arc::default(),
        }
    }

    /// Begins a log for a new crawl; an older one is removed. Pages wait in
    /// memory for up to `every`.
    pub fn begin(&self, origin: &Origin, every: Duration) -> Log {
        self.remove();
        let key = fastrand::u64(..).to_be_bytes();
        let head = Head {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            key,
            directory: self.directory.clone(),
            fingerprint: origin.fingerprint.clone(),
            full: origin.full,
            caught_up: origin.caught_up,
            started: origin.started.0,
            as_of: origin.as_of.map(|at| at.0),
        };
        let mut bytes = MAGIC.to_vec();
        // A struct of texts and numbers always encodes.
        push_frame(&mut bytes, MAGIC, HEAD, &row::encode(&head).unwrap_or_default());
        Log::new(self, key, bytes, every)
    }

    /// What an earlier process wrote of a crawl that did not end.
    ///
    /// # Errors
    /// Why it is of no use; it is removed then.
    pub fn open(&self, wanted: &Wanted) -> Result<Option<Saved>, Useless> {
        let file = match File::open(self.path()) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.useless(format!("it cannot be opened: {error}"))),
        };
        match self.read(file, wanted) {
            Ok(saved) => Ok(Some(saved)),
            Err(reason) => Err(self.useless(reason)),
        }
    }

    /// Removes the log, if there is one.
    pub fn remove(&self) {
        match fs::remove_file(self.path()) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let path = self.path();
                tracing::warn!(path = %path.display(), %error, "cannot remove checkpoints");
            }
            _ => {}
        }
    }

    fn read(&self, file: File, wanted: &Wanted) -> Result<Saved, String> {
        let unreadable = |error: io::Error| format!("it cannot be read: {error}");
        let mut frames =
            Frames::begin(file).map_err(unreadable)?.ok_or("another version wrote it")?;
        let head = match frames.next().map_err(unreadable)? {
            Some((HEAD, payload)) => row::decode::<Head>(MAGIC, &payload).ok(),
            _ => None,
        };
        let head = head.ok_or("its beginning is damaged")?;
        frames.key = head.key.to_vec();
        self.check(&head, wanted)?;
        let begin = frames.at;
        let (mut token, mut end, mut attempts) = (None, begin, 0);
        while let Some((kind, payload)) = frames.next().map_err(unreadable)? {
            match kind {
                TOKEN => (token, end, attempts) = (Some(payload), frames.at, 0),
                RESUMED => (end, attempts) = (frames.at, attempts + 1),
                _ => {}
            }
        }
        if attempts >= ATTEMPTS_MAX {
            return Err(format!("going on failed {attempts} times in a row"));
        }
        let token = token.ok_or("there is no place in it to go on from")?;
        frames.rewind(begin).map_err(unreadable)?;
        let origin = Origin {
            fingerprint: head.fingerprint,
            full: head.full,
            caught_up: head.caught_up,
            started: Timestamp(head.started),
            as_of: head.as_of.map(Timestamp),
        };
        Ok(Saved { origin, token, frames, end })
    }

    fn check(&self, head: &Head, wanted: &Wanted) -> Result<(), String> {
        let started = Timestamp(head.started);
        let reason = if head.program != env!("CARGO_PKG_VERSION") {
            format!("rosterd {} wrote it", head.program)
        } else if head.directory != self.directory {
            format!("it is of the directory {}", head.directory)
        } else if head.fingerprint != wanted.fingerprint {
            "the directory's settings are others now".to_owned()
        } else if head.as_of != wanted.as_of.map(|at| at.0) {
            "the directory was committed since".to_owned()
        } else if started > wanted.now {
            format!("it is of a crawl that began in the future, at {started}")
        } else if started.plus(wanted.max_age) <= wanted.now {
            format!("it is of a crawl that began too long ago, at {started}")
        } else {
            return Ok(());
        };
        Err(reason)
    }

    fn useless(&self, reason: String) -> Useless {
        self.remove();
        Useless(reason)
    }

    fn path(&self) -> PathBuf {
        self.folder.join(format!("{}{SUFFIX}", self.directory))
    }

    /// An empty log of this directory, for its owner's eyes only.
    fn create(&self) -> io::Result<File> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(self.path())
    }

    fn warn(&self, reason: &dyn std::fmt::Display) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                directory = self.directory,
                %reason,
                "cannot write checkpoints; after a restart the crawl would start anew"
            );
        }
    }
}

/// Removes the logs of directories that nobody knows.
pub(super) fn sweep(state_dir: &Path, is_known: impl Fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir(state_dir.join(FOLDER)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.strip_suffix(SUFFIX).is_some_and(|directory| !is_known(directory)) {
            Checkpoints::new(state_dir, name.trim_end_matches(SUFFIX)).remove();
        }
    }
}

impl Saved {
    /// Hands over every page before the token, in order.
    ///
    /// # Errors
    /// When `take` refuses one, or the file cannot be read any more; the log is
    /// removed then.
    pub fn pages(
        &mut self,
        home: &Checkpoints,
        mut take: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), Useless> {
        while self.frames.at < self.end {
            let outcome = match self.frames.next() {
                Ok(Some((PAGE, page))) => take(&page),
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err("it changed while it was read".to_owned()),
                Err(error) => Err(format!("it cannot be read: {error}")),
            };
            outcome.map_err(|reason| home.useless(reason))?;
        }
        Ok(())
    }

    /// Goes on writing behind the token.
    pub fn resume(self, home: &Checkpoints, every: Duration) -> Log {
        let key = self.frames.key.as_slice().try_into().unwrap_or_default();
        let mut log = Log::new(home, key, Vec::new(), every);
        log.length = self.end;
        let path = home.path();
        let file = OpenOptions::new().append(true).open(path).and_then(|file| {
            file.set_len(self.end)?;
            Ok(file)
        });
        match file {
            Ok(file) => {
                log.file = Some(file);
                let mut mark = Vec::new();
                push_frame(&mut mark, &log.key, RESUMED, &[]);
                log.write(&mark);
            }
            Err(error) => log.end(Stop::Failed(error)),
        }
        log
    }
}

impl Log {
    fn new(home: &Checkpoints, key: [u8; 8], head: Vec<u8>, every: Duration) -> Log {
        Log {
            home: home.clone(),
            key,
            head,
            file: None,
            length: 0,
            buffer: Vec::new(),
            token: None,
            every,
            written_at: clock::instant(),
            is_over: false,
        }
    }

    /// Notes a page.
    pub fn page(&mut self, page: &[u8]) {
        if self.is_over {
            return;
        }
        push_frame(&mut self.buffer, &self.key, PAGE, page);
        if self.buffer.len() >= BUFFER_MAX {
            self.save();
        }
        if self.buffer.len() >= BUFFER_MAX {
            let pages = std::mem::take(&mut self.buffer);
            self.write(&pages);
        }
    }

    /// Notes where the crawl can go on, after the pages so far.
    pub fn checkpoint(&mut self, token: Vec<u8>) {
        if self.is_over {
            return;
        }
        self.token = Some((token, self.buffer.len()));
        if clock::instant() - self.written_at >= self.every {
            self.save();
        }
    }

    /// Writes the newest token that is not written yet, and what belongs to it.
    pub fn save(&mut self) {
        let Some((token, before)) = self.token.take() else { return };
        let behind = self.buffer.split_off(before);
        let mut bytes = std::mem::replace(&mut self.buffer, behind);
        push_frame(&mut bytes, &self.key, TOKEN, &token);
        self.write(&bytes);
        self.written_at = clock::instant();
    }

    /// At most as much as waits in memory, into the page cache: quick enough
    /// for the thread of a crawl.
    fn write(&mut self, bytes: &[u8]) {
        match self.try_write(bytes) {
            Ok(()) => self.home.warned.store(false, Ordering::Relaxed),
            Err(stop) => self.end(stop),
        }
    }

    fn try_write(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.home.create().map_err(Stop::Failed)?,
        };
        let head = std::mem::take(&mut self.head);
        let added = (head.len() + bytes.len()) as u64;
        if self.length + added > LOG_MAX {
            return Err(Stop::Full);
        }
        check_space(&file, added)
            .and_then(|()| file.write_all(&head))
            .and_then(|()| file.write_all(bytes))
            .map_err(Stop::Failed)?;
        self.length += added;
        self.file = Some(file);
        Ok(())
    }

    fn end(&mut self, stop: Stop) {
        (self.is_over, self.file) = (true, None);
        (self.buffer, self.token) = (Vec::new(), None);
        match stop {
            Stop::Full => self.home.warn(&"the crawl is too large for them"),
            Stop::Failed(error) => {
                self.home.warn(&error);
                self.home.remove();
            }
        }
    }
}

impl Frames {
    /// `None` when the file is none of this format.
    fn begin(file: File) -> io::Result<Option<Frames>> {
        let length = file.metadata()?.len();
        let mut frames = Frames {
            file: BufReader::with_capacity(1 << 20, file),
            key: MAGIC.to_vec(),
            at: MAGIC.len() as u64,
            length,
        };
        let mut magic = [0; MAGIC.len()];
        let is_ours = length >= magic.len() as u64 && {
            frames.file.read_exact(&mut magic)?;
            magic == *MAGIC
        };
        Ok(is_ours.then_some(frames))
    }

    fn next(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        const PREFIX: u64 = 4;
        let left = self.length - self.at;
        if left < PREFIX {
            return Ok(None);
        }
        let mut prefix = [0; PREFIX as usize];
        self.file.read_exact(&mut prefix)?;
        let length = u64::from(u32::from_le_bytes(prefix));
        if length > left - PREFIX {
            return Ok(None);
        }
        let mut sealed = vec![0; length as usize];
        self.file.read_exact(&mut sealed)?;
        let Ok((kind, payload)) = row::unseal(&self.key, &sealed) else { return Ok(None) };
        self.at += PREFIX + length;
        Ok(Some((kind, payload.to_vec())))
    }

    fn rewind(&mut self, to: u64) -> io::Result<()> {
        self.at = to;
        self.file.seek(io::SeekFrom::Start(to)).map(|_| ())
    }
}

fn push_frame(bytes: &mut Vec<u8>, key: &[u8], kind: u8, payload: &[u8]) {
    let sealed = row::seal(key, kind, payload);
    // A page of 4 GiB does not exist; its length would not fit the checksum.
    bytes.extend_from_slice(&(sealed.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&sealed);
}

fn check_space(file: &File, needed: u64) -> io::Result<()> {
    let disk = rustix::fs::fstatvfs(file)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= needed.saturating_add(SPARE_BYTES) {
        return Ok(());
    }
    let reason = format!("the disk has only {} MiB left", free >> 20);
    Err(io::Error::new(ErrorKind::StorageFull, reason))
}
