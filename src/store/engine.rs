//! The only file that names sled: guarded opening, small batches, checked rows.

use std::fs::File;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::error::Trouble;
use super::row;

/// Operations in one batch, at most. Larger ones cost sled gigabytes.
const BATCH_OPS: usize = if cfg!(test) { 12 } else { 200 };
/// Payload in one batch, about.
const BATCH_BYTES: usize = 256 * 1024;
/// Longest value in one row. A leaf holds up to 17 rows, and one of 128 KiB or
/// more would become a file of its own that sled never syncs.
const PART_BYTES: usize = if cfg!(test) { 96 } else { 4096 };
/// How often garbage is offered to the collector after each batch.
const DRAINS: usize = 20;
/// How long a database that this process has just closed may stay locked.
const CLOSING: Duration = Duration::from_millis(20);
const CLOSING_TRIES: usize = 250;

/// One open database.
#[derive(Debug)]
pub(super) struct Engine {
    db: Option<sled::Db>,
    file: File,
    folder: PathBuf,
    broken: AtomicBool,
    /// Bytes that live, as far as known.
    live: Mutex<Option<u64>>,
    #[cfg(test)]
    pub(super) faults: super::faults::Faults,
}

/// Rows that change together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    ops: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    bytes: usize,
    /// By how many bytes counted rows grow.
    grows: i64,
}

/// A checked row.
#[derive(Debug)]
pub(super) struct Row {
    pub key: Vec<u8>,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Whole(sled::IVec),
    Joined { bytes: Vec<u8>, parts: u32 },
}

impl Engine {
    /// Opens or creates the database in `folder`.
    ///
    /// sled panics on some damage, and refuses for ever over a damaged
    /// snapshot, which is only a shortcut: so once more without snapshots.
    pub(super) fn open(folder: &Path, cache_bytes: u64) -> Result<Engine, Trouble> {
        let first = match open_guarded(folder, cache_bytes) {
            Err(Trouble::Damaged(first)) => first,
            outcome => return outcome,
        };
        tracing::warn!("the database did not open ({first}); trying without its snapshots");
        remove_snapshots(folder)?;
        match open_guarded(folder, cache_bytes) {
            Err(Trouble::Damaged(second)) if second == first => Err(Trouble::Damaged(first)),
            Err(Trouble::Damaged(second)) => Err(Trouble::Damaged(format!("{first}; {second}"))),
            outcome => outcome,
        }
    }

    /// Opens another database while this one stays open.
    pub(super) fn open_beside(&self, folder: &Path, cache_bytes: u64) -> Result<Engine, Trouble> {
        let fresh = Engine::open(folder, cache_bytes)?;
        #[cfg(test)]
        let fresh = {
            let mut fresh = fresh;
            fresh.faults = self.faults.clone();
            fresh
        };
        Ok(fresh)
    }

    /// Whether an operation failed, so that sled refuses everything from now on.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// From now on this database is only good for closing.
    pub(super) fn give_up(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Row>, Trouble> {
        match self.calm(|db| db.get(key))? {
            Some(value) => self.row(key.to_vec(), value).map(Some),
            None => Ok(None),
        }
    }

    /// The greatest row in `from..=to`.
    pub(super) fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Row>, Trouble> {
        let range = (Bound::Included(from), Bound::Included(to));
        match self.calm(|db| db.range::<&[u8], _>(range).next_back().transpose())? {
            Some((key, value)) => self.row(key.to_vec(), value).map(Some),
            None => Ok(None),
        }
    }

    /// Rows from `from` on, in order, that begin with `prefix`.
    pub(super) fn rows_from<'a>(
        &'a self,
        prefix: &[u8],
        from: &[u8],
    ) -> Result<impl Iterator<Item = Result<Row, Trouble>> + use<'a>, Trouble> {
        let end = row::behind(prefix).map_or(Bound::Unbounded, Bound::Excluded);
        let mut rows = self.calm(|db| Ok(db.range((Bound::Included(from.to_vec()), end))))?;
        Ok(std::iter::from_fn(move || {
            let found = self.calm(|_| rows.next().transpose()).transpose()?;
            Some(found.and_then(|(key, value)| self.row(key.to_vec(), value)))
        }))
    }

    /// All rows that begin with `prefix`, in order.
    pub(super) fn rows<'a>(
        &'a self,
        prefix: &[u8],
    ) -> Result<impl Iterator<Item = Result<Row, Trouble>> + use<'a>, Trouble> {
        self.rows_from(prefix, prefix)
    }

    /// Applies the batch, all or nothing, and leaves it empty. Not yet durable,
    /// but never durable before what was written earlier.
    pub(super) fn write(&self, batch: &mut Batch) -> Result<(), Trouble> {
        if batch.ops.is_empty() {
            return Ok(());
        }
        self.may_write()?;
        let mut ops = sled::Batch::default();
        batch.bytes = 0;
        for (key, value) in batch.ops.drain(..) {
            match value {
                Some(value) => ops.insert(key, value),
                None => ops.remove(key),
            }
        }
        let grows = std::mem::take(&mut batch.grows);
        self.changing(|db| db.apply_batch(ops))?;
        if let Some(live) = &mut *self.live.lock().unwrap_or_else(PoisonError::into_inner) {
            *live = live.saturating_add_signed(grows);
        }
        drain();
        Ok(())
    }

    /// Removes the rows that [`Engine::rows_from`] gives. The last of them are left in
    /// the batch.
    pub(super) fn remove_from(
        &self,
        prefix: &[u8],
        from: &[u8],
        batch: &mut Batch,
    ) -> Result<(), Trouble> {
        for found in self.rows_from(prefix, from)? {
            batch.remove_row(&found?);
            self.write_if_full(batch)?;
        }
        Ok(())
    }

    /// Applies the batch once it is full.
    pub(super) fn write_if_full(&self, batch: &mut Batch) -> Result<(), Trouble> {
        if batch.is_full() { self.write(batch) } else { Ok(()) }
    }

    /// Hands everything to the operating system: it survives this process.
    pub(super) fn flush(&self) -> Result<(), Trouble> {
        self.may_write()?;
        self.changing(|db| db.flush().map(drop))
    }

    /// Makes everything durable. sled's own flush is `sync_file_range` on Linux,
    /// which survives no power loss.
    pub(super) fn sync(&self) -> Result<(), Trouble> {
        self.flush()?;
        self.changing(|_| Ok(self.file.sync_all()?))
    }

    /// About how many bytes live; `None` while nobody has counted them.
    pub(super) fn live(&self) -> Option<u64> {
        *self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note_live(&self, live: Option<u64>) {
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = live;
    }

    /// Bytes that the files take.
    pub(super) fn size_on_disk(&self) -> u64 {
        let blobs = self.folder.join("blobs");
        [self.folder.as_path(), &blobs]
            .into_iter()
            .filter_map(|folder| std::fs::read_dir(folder).ok())
            .flatten()
            .filter_map(|entry| entry.ok()?.metadata().ok())
            .map(|metadata| {
                use std::os::unix::fs::MetadataExt;
                metadata.blocks() * 512
            })
            .sum()
    }

    /// Calls sled, which panics on some damage.
    fn calm<T>(&self, call: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, Trouble> {
        let Some(db) = &self.db else {
            return Err(Trouble::Failed("the database is closed".to_owned()));
        };
        match catch_unwind(AssertUnwindSafe(|| call(db))) {
            Ok(outcome) => outcome.map_err(trouble),
            Err(panic) => {
                self.give_up();
                Err(panicked(panic.as_ref()))
            }
        }
    }

    /// The same for calls after whose failure sled refuses everything.
    fn changing<T>(&self, call: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, Trouble> {
        self.calm(call).inspect_err(|_| self.give_up())
    }

    fn row(&self, key: Vec<u8>, value: sled::IVec) -> Result<Row, Trouble> {
        let parts = match row::unseal(&key, &value)? {
            (row::WHOLE, _) => return Ok(Row { key, value: Value::Whole(value) }),
            (row::IN_PARTS, count) => row::decode::<u32>(&key, count)?,
            _ => return Err(row::damaged(&key, "its kind does not fit")),
        };
        let mut bytes = Vec::new();
        for part in 0..parts {
            let part_key = part_key(&key, part);
            let value = self
                .calm(|db| db.get(&part_key))?
                .ok_or_else(|| row::damaged(&key, "a part of it is missing"))?;
            bytes.extend_from_slice(row::unseal(&part_key, &value)?.1);
        }
        Ok(Row { key, value: Value::Joined { bytes, parts } })
    }

    #[cfg(not(test))]
    fn may_write(&self) -> Result<(), Trouble> {
        Ok(())
    }

    #[cfg(test)]
    fn may_write(&self) -> Result<(), Trouble> {
        self.faults.spend().inspect_err(|_| self.give_up())
    }
}

impl Drop for Engine {
    /// Closing writes what is left, which on a bad disk panics like the rest.
    fn drop(&mut self) {
        let db = self.db.take();
        if catch_unwind(AssertUnwindSafe(move || drop(db))).is_err() {
            tracing::warn!("the database in {} did not close well", self.folder.display());
        }
    }
}

impl Batch {
    /// Writes a row; long payloads go into several.
    pub(super) fn put(&mut self, key: Vec<u8>, payload: &[u8]) {
        self.count(&key, payload, true);
        if payload.len() <= PART_BYTES {
            self.push(key, row::WHOLE, payload);
            return;
        }
        let mut count = 0u32;
        for part in payload.chunks(PART_BYTES) {
            self.push(part_key(&key, count), row::PART, part);
            count += 1;
        }
        let mut varint = [0; 5];
        let count = postcard::to_slice(&count, &mut varint).map_or(&[][..], |bytes| bytes);
        self.push(key, row::IN_PARTS, count);
    }

    pub(super) fn put_encoded<T: serde::Serialize>(
        &mut self,
        key: Vec<u8>,
        value: &T,
    ) -> Result<(), Trouble> {
        self.put(key, &row::encode(value)?);
        Ok(())
    }

    /// Removes the row at `key`, which was written by one short [`Batch::put`].
    pub(super) fn remove(&mut self, key: Vec<u8>) {
        self.ops.push((key, None));
    }

    /// Removes a row that was read, with all its parts.
    pub(super) fn remove_row(&mut self, row: &Row) {
        if let Value::Joined { parts, .. } = row.value {
            self.ops.extend((0..parts).map(|part| (part_key(&row.key, part), None)));
        }
        self.count(&row.key, row.bytes(), false);
        self.remove(row.key.clone());
    }

    /// Says that the next put of this row replaces it.
    pub(super) fn replaces(&mut self, row: &Row) {
        self.count(&row.key, row.bytes(), false);
    }

    fn count(&mut self, key: &[u8], payload: &[u8], comes: bool) {
        if row::is_counted(key) {
            let bytes = row::bytes(key, payload) as i64;
            self.grows += if comes { bytes } else { -bytes };
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.ops.len() >= BATCH_OPS || self.bytes >= BATCH_BYTES
    }

    /// Whether `more` operations still fit.
    pub(super) fn has_room(&self, more: usize) -> bool {
        self.ops.len() + more <= BATCH_OPS && self.bytes < BATCH_BYTES
    }

    fn push(&mut self, key: Vec<u8>, kind: u8, payload: &[u8]) {
        let sealed = row::seal(&key, kind, payload);
        self.bytes += sealed.len();
        self.ops.push((key, Some(sealed)));
    }
}

impl Row {
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.value {
            Value::Whole(value) => value.get(row::FRAME..).unwrap_or_default(),
            Value::Joined { bytes, .. } => bytes,
        }
    }

    pub(super) fn decode<T: serde::de::DeserializeOwned>(&self) -> Result<T, Trouble> {
        row::decode(&self.key, self.bytes())
    }
}

/// Reads every byte of the database once.
///
/// sled takes what it cannot read for the end of its log, and overwrites it: a
/// disk that fails for a moment while it opens would cost everything. What was
/// just read comes from memory the next time.
pub(super) fn read_through(folder: &Path) -> std::io::Result<()> {
    #[cfg(test)]
    super::faults::spend_read()?;
    let mut buffer = vec![0; 1 << 20];
    for folder in [folder.to_owned(), folder.join("blobs")] {
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                let file = File::open(entry.path())?;
                let mut at = 0;
                loop {
                    match file.read_at(&mut buffer, at)? {
                        0 => break,
                        count => at += count as u64,
                    }
                }
            }
        }
    }
    Ok(())
}

fn open_guarded(folder: &Path, cache_bytes: u64) -> Result<Engine, Trouble> {
    match catch_unwind(AssertUnwindSafe(|| open_once(folder, cache_bytes))) {
        Ok(outcome) => outcome,
        Err(panic) => Err(panicked(panic.as_ref())),
    }
}

fn open_once(folder: &Path, cache_bytes: u64) -> Result<Engine, Trouble> {
    let config =
        || sled::Config::new().path(folder).cache_capacity(cache_bytes).flush_every_ms(None);
    let mut tries = CLOSING_TRIES;
    let db = loop {
        match config().open() {
            Err(error) if tries > 0 && is_lock(&error) => {
                tries -= 1;
                std::thread::sleep(CLOSING);
            }
            outcome => break outcome.map_err(trouble)?,
        }
    };
    let file = File::open(folder.join("db")).map_err(|e| trouble(e.into()))?;
    Ok(Engine {
        db: Some(db),
        file,
        folder: folder.to_owned(),
        broken: AtomicBool::new(false),
        live: Mutex::default(),
        #[cfg(test)]
        faults: super::faults::Faults::default(),
    })
}

fn remove_snapshots(folder: &Path) -> Result<(), Trouble> {
    let failed = |e: std::io::Error| Trouble::Failed(format!("{}: {e}", folder.display()));
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            std::fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

/// Only what says damage may set files aside: a full disk may not.
fn trouble(error: sled::Error) -> Trouble {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    match &error {
        // Its settings never change within one format of ours.
        sled::Error::Corruption { .. }
        | sled::Error::ReportableBug(_)
        | sled::Error::Unsupported(_) => Trouble::Damaged(error.to_string()),
        sled::Error::Io(io) if matches!(io.kind(), UnexpectedEof | InvalidData) => {
            Trouble::Damaged(error.to_string())
        }
        _ => Trouble::Failed(error.to_string()),
    }
}

/// What a panic inside sled means: damage, unless it speaks of the system.
fn panicked(panic: &(dyn std::any::Any + Send)) -> Trouble {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given");
    let reason = format!("the storage engine panicked: {text}");
    if text.contains("Os {") || text.contains("os error") {
        Trouble::Failed(reason)
    } else {
        Trouble::Damaged(reason)
    }
}

fn is_lock(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(io) if io.to_string().contains("could not acquire lock"))
}

/// sled 0.34 leaves every replaced page to crossbeam's default collector,
/// which runs only when somebody pins: without this, garbage outruns it.
fn drain() {
    for _ in 0..DRAINS {
        crossbeam_epoch::pin().flush();
    }
}

fn part_key(key: &[u8], part: u32) -> Vec<u8> {
    [b"p", key, &part.to_be_bytes()].concat()
}
