//! Gives disk space back: copies what lives into a fresh database.
//!
//! Commits wait meanwhile; readers go on with the old database until the new one
//! is complete and synced. `current` names the one in use and is replaced by
//! rename, so a crash at any moment leaves one of the two, whole; the other is
//! removed at the next opening.

use std::sync::PoisonError;

use super::audit;
use super::deliveries;
use super::engine::{Batch, Engine};
use super::error::{StoreError, Trouble};
use super::home::Current;
use super::row;
use super::{Store, Writer};

/// Below this size nobody cares.
const WORTHWHILE_BYTES: u64 = 64 << 20;
/// Rewritten when the files are this many times what a fresh copy would take.
const GROWN: u64 = 3;
/// What sled takes for a freshly written byte, measured.
const FRESH_FACTOR_PERCENT: u64 = 180;

/// What a rewrite gained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewritten {
    pub bytes_before: u64,
    pub bytes_after: u64,
}

impl Store {
    /// Rewrites the database when it takes more than three times what a fresh
    /// copy would. `None` when it does not; that is mostly found out without
    /// reading anything.
    ///
    /// What lives is counted as it is written, and for sure before a rewrite.
    pub fn rewrite_if_grown(&self) -> Result<Option<Rewritten>, StoreError> {
        let mut writer = self.writer();
        self.mend_writer(&mut writer)?;
        let size = self.size_on_disk();
        if size < WORTHWHILE_BYTES || size < writer.measured_at + writer.measured_at / 4 {
            return Ok(None);
        }
        let known = self.on_engine(|engine| Ok(engine.live()))?;
        if known.is_some_and(|live| !is_grown(size, live)) {
            return Ok(None);
        }
        let live = self.on_engine(|engine| note(engine, live_bytes(engine)?))?;
        writer.measured_at = size;
        if is_grown(size, live) { self.rewrite(&mut writer).map(Some) } else { Ok(None) }
    }

    /// Rewrites the database, whatever its size.
    #[cfg(test)]
    pub(crate) fn rewrite_now(&self) -> Result<Rewritten, StoreError> {
        self.rewrite(&mut self.writer())
    }

    pub(super) fn rewrite(&self, writer: &mut Writer) -> Result<Rewritten, StoreError> {
        let bytes_before = self.size_on_disk();
        let home = &self.inner.home;
        let number = home.fresh_number().map_err(|trouble| self.error(trouble))?;
        let copied = self
            .on_engine(|engine| copy(engine, &home.folder(number), self.inner.cache_bytes))
            .and_then(|fresh| self.switch_to(fresh, number));
        if let Err(error) = copied {
            if let Err(trouble) = home.sweep(writer.number) {
                tracing::warn!("the unfinished copy stays: {}", trouble.text());
            }
            return Err(error);
        }
        writer.number = number;
        if let Err(trouble) = home.sweep(number) {
            tracing::warn!("the old database stays: {}", trouble.text());
        }
        let bytes_after = self.size_on_disk();
        writer.measured_at = bytes_after;
        Ok(Rewritten { bytes_before, bytes_after })
    }

    /// Takes over what readers may have changed meanwhile, and swaps.
    fn switch_to(&self, fresh: Engine, number: u64) -> Result<(), StoreError> {
        let mut slot = self.inner.engine.write().unwrap_or_else(PoisonError::into_inner);
        let old = self.healthy(slot.as_ref())?;
        let ready = copy_rows(old, &fresh, row::DELIVERIES)
            .and_then(|()| audit::copy(old, &fresh))
            .and_then(|()| deliveries::copy(old, &fresh))
            .and_then(|()| fresh.sync());
        ready.map_err(|trouble| self.error(trouble))?;
        if let Err(trouble) = self.inner.home.point_at(number)
            && self.inner.home.current() != Ok(Current::Folder(number))
        {
            return Err(self.error(trouble));
        }
        let old = slot.replace(fresh);
        drop(slot);
        drop(old);
        Ok(())
    }
}

/// Everything but deliveries, which go on changing; acts recorded and attempts
/// noted meanwhile are still to come.
fn copy(engine: &Engine, folder: &std::path::Path, cache: u64) -> Result<Engine, Trouble> {
    let fresh = engine.open_beside(folder, cache)?;
    for prefix in row::COPIED {
        copy_rows(engine, &fresh, prefix)?;
    }
    audit::copy(engine, &fresh)?;
    deliveries::copy(engine, &fresh)?;
    if let Some(live) = engine.live() {
        note(&fresh, live)?;
    }
    fresh.sync()?;
    Ok(fresh)
}

pub(super) fn copy_rows(from: &Engine, to: &Engine, prefix: &[u8]) -> Result<(), Trouble> {
    let mut batch = Batch::default();
    for found in from.rows(prefix)? {
        let row = found?;
        batch.put(row.key.clone(), row.bytes());
        to.write_if_full(&mut batch)?;
    }
    to.write(&mut batch)
}

fn is_grown(size: u64, live: u64) -> bool {
    size >= live * FRESH_FACTOR_PERCENT / 100 * GROWN
}

/// Keeps what is counted, so that what went is not counted again after a restart.
pub(super) fn keep_count(engine: &Engine) -> Result<(), Trouble> {
    engine.live().map_or(Ok(()), |live| note(engine, live).map(drop))
}

/// Remembers what was counted, also for the next process: a hint, which the next
/// commit makes as durable as itself.
fn note(engine: &Engine, live: u64) -> Result<u64, Trouble> {
    let mut batch = Batch::default();
    batch.put_encoded(row::LIVE.to_vec(), &live)?;
    engine.write(&mut batch)?;
    engine.note_live(Some(live));
    Ok(live)
}

/// What an earlier process counted. It may be off by a commit that a crash cut
/// in two, and it may be damaged: it only tells when to count again.
pub(super) fn recall(engine: &Engine) {
    let found = engine.get(row::LIVE).ok().flatten();
    engine.note_live(found.and_then(|row| row.decode().ok()));
}

pub(super) fn live_bytes(engine: &Engine) -> Result<u64, Trouble> {
    let mut bytes = audit::bytes(engine)? + deliveries::bytes(engine)?;
    for prefix in row::COPIED {
        for found in engine.rows(prefix)? {
            let row = found?;
            bytes += row::bytes(&row.key, row.bytes());
        }
    }
    Ok(bytes)
}
