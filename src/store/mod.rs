//! Records, journal, history and cursors in one atomic, durable write.
//!
//! # Why it is built like this
//! sled 0.34 keeps its promises only under rules, each of which was measured:
//!
//! - **Small batches.** A batch of thousands of operations takes gigabytes, so a
//!   commit of any size is many batches of at most 200. What makes it atomic is
//!   ours (below), not sled's.
//! - **Garbage.** Every replaced page waits for crossbeam's default collector,
//!   which runs when somebody pins. We pin about twenty times after each batch.
//! - **Durability.** sled's flush is `sync_file_range` on Linux. The commit point
//!   is followed by `File::sync_all` on its file. What it wrote earlier is never
//!   less durable than what it wrote later: its log ends where a crash cut it.
//! - **Large values.** A leaf holds up to 17 rows whatever their size, and a leaf
//!   of 128 KiB becomes a file of its own that nobody syncs. So a payload over
//!   4 KiB is kept in several rows.
//! - **Damage.** sled notices flipped bits, mostly; every row has a checksum over
//!   its key and payload all the same. A cut-off file makes it panic, so each call
//!   is guarded; a damaged snapshot makes it refuse, so opening is tried once more
//!   without (they are shortcuts). A file that lost its end opens as an older
//!   state: the high-water mark beside it tells, since it names the last commit.
//! - **Errors.** After a failed write sled refuses everything. We close it and open
//!   it again, with recovery, at the next call. While it opens it takes what it
//!   cannot read for the end of its log, and overwrites it: all is read first.
//! - **Space** is never given back: [`Store::rewrite_if_grown`].
//!
//! # A commit
//! 1. It is held against what is stored, and refused if it does not fit.
//! 2. Journal blocks are written, and with each block the *versions* (records) it
//!    names. A version's key ends with the seq of the put, so it replaces nothing
//!    and nobody sees it: readers ask for the newest version up to a seq.
//! 3. The high-water mark beside the database is raised, durably.
//! 4. **The marker is written and synced: the commit point.**
//! 5. Memberships (as changes that wait until upkeep merges them into chunks),
//!    unresolved references, membership history, lost names and the directory's row
//!    are derived from the blocks; the last batch says that the commit is applied.
//!
//! Opening drops blocks and versions beyond the marker, and does step 5 again when
//! the marker is not applied. Both give the same result when repeated. An error
//! in 1–3 leaves nothing; one in 4 or 5 is [`StoreError::Uncertain`].
//!
//! # What is kept
//! | Row | Key | Holds |
//! |---|---|---|
//! | block | first seq, number | entries of one commit, up to about 4 KiB |
//! | version | directory, kind, slot, stamp | a record; empty when deleted |
//! | chunk | directory, group, layer, first slot | up to 1,000 members |
//! | waiting | directory, commit, number | membership changes that are not in chunks yet |
//! | unresolved | directory, group, of a long list a digest | references that nobody is |
//! | run | directory, side, first seq, first slot | membership changes by object, for the past |
//! | name | directory, kind, digest, slot | a name that its owner lost, for the past |
//! | directory | number | names, progress, counts, next slots |
//! | delivery | endpoint | how far a webhook is, and whether it is paused or disabled |
//! | act | number | one entry of the audit trail |
//! | attempt | endpoint, number | one entry of a delivery log |
//!
//! An event shows each object by its newest version at that seq, so it reads the
//! same for ever: versions go only with the last block that needs them.

mod apply;
mod audit;
mod biography;
mod block;
mod cause;
mod checkpoint;
mod chunks;
mod commit;
mod cursor;
mod deliveries;
mod engine;
mod error;
mod events;
#[cfg(test)]
mod faults;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod held;
mod history;
mod home;
mod load;
mod names;
mod opening;
pub mod record;
mod retention;
mod rewrite;
mod row;
mod runs;
mod state;
#[cfg(test)]
mod tests;
mod then;
mod unresolved;
mod waiting;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use crate::clock::Timestamp;
use crate::model::{Act, Commit, Event, Filter, Progress};
use audit::Ends;
use deliveries::Logs;
use engine::Engine;
use error::Trouble;
use home::Home;
use state::{DirState, Head};

pub use audit::{AuditPage, AuditRetention};
pub use biography::{Happening, Happenings, What};
pub use checkpoint::{Checkpoints, Log, Origin, Saved, Useless, Wanted};
pub use cursor::{Beyond, DatabrokerRow, DeliveryRow, DisabledRow, FailingRow, ReplayRow};
pub use deliveries::{AttemptPage, AttemptRetention};
pub use error::{EventsError, OpenError, StoreError};
pub use events::{Asked, Part};
pub use history::MembersAt;
pub use load::Rows;
pub use opening::Opening;
pub use retention::{Kept, Pruned, Retention};
pub use rewrite::Rewritten;
pub use waiting::Merging;

/// How a store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Memory for sled's pages, at most. Queries never read them; commits do.
    pub cache_bytes: u64,
}

/// The store: a cheap handle. All calls block; commits wait for each other.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

/// A directory that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryRow {
    pub name: String,
    pub tenant: String,
    pub product: String,
    pub progress: Progress,
    /// Questions about the past can be answered from this seq on.
    pub first_seq: u64,
    /// The store was rebuilt, and no sealed crawl was committed since: the next
    /// one is told by one notice only.
    pub rebuilding: bool,
    /// Slots from here on were never used.
    pub next_user_slot: u32,
    pub next_group_slot: u32,
}

/// The events of one commit; `first_seq > last_seq` when it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    pub first_seq: u64,
    pub last_seq: u64,
}

#[derive(Debug)]
struct Inner {
    home: Home,
    cache_bytes: u64,
    writer: Mutex<Writer>,
    /// `None` between a failure and the next call.
    engine: RwLock<Option<Engine>>,
    /// What readers know: all of it is durable.
    published: RwLock<Arc<Head>>,
    doubt: Mutex<Doubt>,
    /// The numbers of the audit trail; its lock puts acts in order. `None` when
    /// they have to be read again.
    trail: Mutex<Option<Ends>>,
    /// Of the delivery logs; its lock puts attempts in order.
    logs: Mutex<Logs>,
}

/// A call met damage. It may have been a bad moment of the disk, so the files
/// are opened again; damage that is met once more is believed.
#[derive(Debug, Default)]
struct Doubt {
    what: Option<String>,
    /// The files were opened again for an earlier doubt.
    reopened: bool,
}

type EndsGuard<'a> = MutexGuard<'a, Option<Ends>>;

#[derive(Debug)]
struct Writer {
    head: Head,
    /// Of the folder in use.
    number: u64,
    /// Its size when it was last measured what of it lives.
    measured_at: u64,
    /// The only merge of what waits that goes on.
    merge: u64,
}

impl Writer {
    fn new(opened: opening::Opened) -> (Writer, Engine) {
        let writer = Writer { head: opened.head, number: opened.number, measured_at: 0, merge: 0 };
        (writer, opened.engine)
    }
}

impl Default for Options {
    fn default() -> Options {
        Options { cache_bytes: 128 << 20 }
    }
}

impl Store {
    /// Opens the store in `dir`, or makes one, for this process alone.
    ///
    /// # Errors
    /// When another process or a newer version owns it, or the system refuses.
    /// Damage is none: it leads to [`Opening::Rebuilt`].
    pub fn open(dir: &Path, options: Options) -> Result<(Store, Opening), OpenError> {
        let home = Home::take(dir)?;
        let (opened, opening) = opening::open(&home, options.cache_bytes)?;
        let (writer, engine) = Writer::new(opened);
        let inner = Inner {
            home,
            cache_bytes: options.cache_bytes,
            published: RwLock::new(Arc::new(writer.head.clone())),
            writer: Mutex::new(writer),
            engine: RwLock::new(Some(engine)),
            doubt: Mutex::default(),
            trail: Mutex::default(),
            logs: Mutex::default(),
        };
        Ok((Store { inner: Arc::new(inner) }, opening))
    }

    /// Whether a call met damage since [`Store::settle_doubt`].
    pub fn is_in_doubt(&self) -> bool {
        self.doubt().what.is_some()
    }

    /// Opens the files again if a call met damage.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when that was done before: set the store aside.
    pub fn settle_doubt(&self) -> Result<(), StoreError> {
        let mut writer = self.writer();
        let (what, reopened) = {
            let mut doubt = self.doubt();
            (doubt.what.take(), doubt.reopened)
        };
        let Some(what) = what else { return Ok(()) };
        if reopened {
            return Err(self.error(Trouble::Damaged(what)));
        }
        if let Some(engine) = self.slot().as_ref() {
            engine.give_up();
        }
        self.mend_writer(&mut writer)?;
        self.doubt().reopened = true;
        Ok(())
    }

    /// All directories that were committed, by name; after a rebuild also those
    /// that were lost, with nothing in them.
    pub fn directories(&self) -> Result<Vec<DirectoryRow>, StoreError> {
        self.mend()?;
        let head = self.published();
        let mut rows: Vec<DirectoryRow> = head
            .dirs
            .values()
            .map(|dir| DirectoryRow::new(dir, head.is_rebuilding(&dir.name)))
            .collect();
        let lost = head.marker.rebuilding.known.iter();
        rows.extend(lost.filter(|known| !head.dirs.contains_key(&known.name)).map(|known| {
            let lost = DirState {
                name: known.name.clone(),
                tenant: known.tenant.clone(),
                product: known.product.clone(),
                first_seq: head.marker.last_seq,
                ..DirState::default()
            };
            DirectoryRow::new(&lost, true)
        }));
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(rows)
    }

    /// Whether the directory was lost in a rebuild and no sealed crawl of it was
    /// committed since.
    pub fn is_rebuilding(&self, directory: &str) -> bool {
        self.published().is_rebuilding(directory)
    }

    /// Hands all committed rows of a directory to `rows`; none when it has none.
    pub fn load(&self, directory: &str, rows: &mut dyn Rows) -> Result<(), StoreError> {
        let mut writer = self.writer();
        self.mend_writer(&mut writer)?;
        let Some(dir) = writer.head.dirs.get(directory).cloned() else { return Ok(()) };
        if self.on_engine(|engine| waiting::is_much(engine, dir.id))? {
            writer.end_merge();
            if let Err(error) = self.on_engine(|engine| waiting::thin_out(engine, dir.id)) {
                tracing::warn!(directory, %error, "what waits was not merged; reading all of it");
                self.mend_writer(&mut writer)?;
            }
        }
        self.on_engine(|engine| load::load(engine, &dir, rows))
    }

    /// Makes the commit durable, whole, and visible to readers of events.
    ///
    /// # Errors
    /// After [`StoreError::Uncertain`] load the directory again; after any other
    /// error nothing was changed.
    pub fn commit(&self, commit: &Commit) -> Result<Committed, StoreError> {
        self.commit_recorded(commit, None).map(|(committed, _)| committed)
    }

    /// The same, with the act that led to it: either both stand, or none. Also
    /// the number of the act.
    ///
    /// # Errors
    /// As for [`Store::commit`].
    pub fn commit_recorded(
        &self,
        commit: &Commit,
        act: Option<&Act>,
    ) -> Result<(Committed, Option<u64>), StoreError> {
        let mut writer = self.writer();
        self.mend_writer(&mut writer)?;
        // Other acts wait: this one is the last until the commit is made.
        let mut trail = act.map(|_| self.trail());
        let before = trail.as_mut().map(|trail| self.ends(trail)).transpose()?;
        if let Some(trail) = &mut trail {
            **trail = None;
        }
        let recorded = act.zip(before.map(|ends| ends.last + 1));
        let slot = self.slot();
        let engine = self.healthy(slot.as_ref())?;
        let marker = self.prepare(engine, &writer.head, commit, recorded)?;
        let done = commit::set_marker(engine, &marker).and_then(|()| {
            self.inner.home.raise(marker.last_seq, marker.commit, false)?;
            apply::apply(engine, &marker)
        });
        if let Err(trouble) = done {
            engine.give_up();
            let reason = trouble.text().to_owned();
            return Err(StoreError::Uncertain { dir: self.dir(), reason });
        }
        let committed = Committed { first_seq: marker.first_seq, last_seq: marker.last_seq };
        writer.head.take(marker, &commit.directory);
        self.publish(&writer.head);
        let seq = recorded.map(|(_, seq)| seq);
        if let (Some(trail), Some(before), Some(last)) = (&mut trail, before, seq) {
            **trail = Some(Ends { last, ..before });
            self.note_last_act(last);
        }
        Ok((committed, seq))
    }

    /// The seq of the last committed event; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.published().marker.last_seq
    }

    /// The date that [`Store::note_date`] kept, if it can be read.
    pub fn noted_date(&self) -> Option<Timestamp> {
        self.inner.home.noted_date().map(Timestamp)
    }

    /// Keeps the date that retention goes by, for the next process.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note_date(&self, date: Timestamp) -> Result<(), StoreError> {
        self.inner.home.note_date(date.0).map_err(|trouble| self.error(trouble))
    }

    /// The first seq that can still be read; `last_seq() + 1` when none can.
    pub fn oldest_seq(&self) -> u64 {
        self.published().retained.oldest
    }

    /// The first seq that questions about the past can still be answered for.
    pub fn oldest_history_seq(&self) -> u64 {
        self.published().retained.floor
    }

    /// Up to `limit` events after a seq, in order, without a gap.
    pub fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, EventsError> {
        let filter = &Filter::all();
        let asked = Asked { filter, after, until: u64::MAX, limit, passed_max: u64::MAX };
        Ok(self.events_asked(&asked)?.events)
    }

    /// The events that a filter shows, in order, and how far that reaches.
    pub fn events_asked(&self, asked: &Asked<'_>) -> Result<Part, EventsError> {
        self.mend()?;
        let head = self.published();
        let is_gone = |oldest| asked.after.saturating_add(1) < oldest;
        if is_gone(head.retained.oldest) {
            return Err(EventsError::Gone { oldest: head.retained.oldest });
        }
        let epoch = head.marker.epoch;
        let asked = Asked { until: asked.until.min(head.marker.last_seq), ..*asked };
        let outcome = self.on_kept(&head, |engine| events::read(engine, epoch, &asked));
        // Retention may have gone on while we read.
        let oldest = self.oldest_seq();
        match outcome {
            Err(_) if is_gone(oldest) => Err(EventsError::Gone { oldest }),
            outcome => Ok(outcome?),
        }
    }

    /// The last seq at or before a moment; `None` when all that is kept is later.
    pub fn seq_at(&self, moment: Timestamp) -> Result<Option<u64>, StoreError> {
        self.mend()?;
        loop {
            let head = self.published();
            match self.find_seq_at(&head, moment) {
                Err(_) if self.is_overtaken(&head) => {}
                outcome => return outcome,
            }
        }
    }

    fn find_seq_at(&self, head: &Head, moment: Timestamp) -> Result<Option<u64>, StoreError> {
        let mut last = head.marker.last_seq;
        let floor = head.retained.floor;
        // The journal's time runs forward between the turns of the clock.
        let turns = head.marker.turns.iter().rev().map(|turn| turn.seq);
        for first in turns.chain([floor]).map(|seq| seq.max(floor)) {
            if first > last {
                continue;
            }
            let search = |engine: &Engine| events::seq_at(engine, moment, first, last);
            let found = self.on_kept(head, search)?;
            if found.is_some() {
                return Ok(found);
            }
            last = first - 1;
        }
        Ok(head.floor_since.filter(|since| *since <= moment.0).map(|_| floor - 1))
    }

    /// Where crawls of a directory write down how far they are.
    pub fn checkpoints(&self, directory: &str) -> Checkpoints {
        Checkpoints::new(self.inner.home.dir(), directory)
    }

    /// Removes what crawls of directories wrote down that nobody knows any more.
    pub fn sweep_checkpoints(&self, is_known: impl Fn(&str) -> bool) {
        checkpoint::sweep(self.inner.home.dir(), is_known);
    }

    /// Bytes that the database's files take.
    pub fn size_on_disk(&self) -> u64 {
        self.slot().as_ref().map_or(0, Engine::size_on_disk)
    }

    /// Sets the files aside because of damage and goes on with an empty store, as
    /// [`Store::open`] does when it meets damage itself.
    pub fn set_aside(&self, reason: &str) -> Result<Opening, StoreError> {
        let mut writer = self.writer();
        let mut slot = self.inner.engine.write().unwrap_or_else(PoisonError::into_inner);
        *slot = None;
        let (opened, opening) =
            opening::rebuild(&self.inner.home, reason.to_owned(), self.inner.cache_bytes)
                .map_err(|trouble| self.error(trouble))?;
        let (fresh, engine) = Writer::new(opened);
        *writer = Writer { merge: writer.merge, ..fresh };
        writer.end_merge();
        *slot = Some(engine);
        drop(slot);
        *self.doubt() = Doubt::default();
        *self.trail() = None;
        self.logs().forget();
        self.publish(&writer.head);
        Ok(opening)
    }

    /// Everything before the commit point.
    fn prepare(
        &self,
        engine: &Engine,
        head: &Head,
        commit: &Commit,
        recorded: Option<(&Act, u64)>,
    ) -> Result<state::Marker, StoreError> {
        let mut marker = commit::plan(engine, head, commit).map_err(|trouble| self.met(trouble))?;
        commit::write_journal(engine, head, commit, &mut marker)
            .and_then(|()| match recorded {
                Some((act, seq)) => {
                    audit::write(engine, seq, commit.occurred_at, act, Some(marker.commit))
                }
                None => Ok(()),
            })
            .and_then(|()| commit::prepare_rebuild(&self.inner.home, head, &marker))
            .map_err(|trouble| {
                // Opening again drops what was written.
                engine.give_up();
                self.error(trouble)
            })?;
        Ok(marker)
    }

    fn on_engine<T>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        self.try_on_engine(work)?.map_err(|trouble| self.met(trouble))
    }

    /// Reads what was kept when `head` stood. What retention removed since is no
    /// damage.
    fn on_kept<T>(
        &self,
        head: &Head,
        work: impl FnOnce(&Engine) -> Result<T, Trouble>,
    ) -> Result<T, StoreError> {
        self.try_on_engine(work)?.map_err(|trouble| match trouble {
            Trouble::Damaged(_) if self.is_overtaken(head) => StoreError::Unavailable {
                dir: self.dir(),
                reason: "retention removed what was being read".to_owned(),
            },
            trouble => self.met(trouble),
        })
    }

    /// The outer error is that there is no engine now.
    fn try_on_engine<T>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T, Trouble>,
    ) -> Result<Result<T, Trouble>, StoreError> {
        let slot = self.slot();
        Ok(work(self.healthy(slot.as_ref())?))
    }

    fn is_overtaken(&self, head: &Head) -> bool {
        self.published().retained != head.retained
    }

    /// Opens the database again when it failed.
    fn mend(&self) -> Result<(), StoreError> {
        if self.healthy(self.slot().as_ref()).is_ok() {
            return Ok(());
        }
        self.mend_writer(&mut self.writer())
    }

    fn mend_writer(&self, writer: &mut Writer) -> Result<(), StoreError> {
        if self.healthy(self.slot().as_ref()).is_ok() {
            return Ok(());
        }
        let mut slot = self.inner.engine.write().unwrap_or_else(PoisonError::into_inner);
        *slot = None;
        let opened = opening::mend(&self.inner.home, writer.number, self.inner.cache_bytes)
            .inspect_err(|trouble| self.doubt().reopened |= trouble.is_damage())
            .map_err(|trouble| self.met(trouble))?;
        tracing::info!("the store was opened again after an error");
        writer.head = opened.head;
        writer.end_merge();
        *slot = Some(opened.engine);
        drop(slot);
        self.publish(&writer.head);
        Ok(())
    }

    /// The next write fails, as on a full disk, and the files are opened again.
    #[cfg(test)]
    pub fn fail_writes(&self) {
        if let Some(engine) = self.slot().as_ref() {
            engine.faults.fail_from(1);
        }
    }

    /// Whether a write failed, and the files were not opened again since.
    #[cfg(test)]
    pub fn is_broken(&self) -> bool {
        self.slot().as_ref().is_none_or(Engine::is_broken)
    }

    fn healthy<'a>(&self, slot: Option<&'a Engine>) -> Result<&'a Engine, StoreError> {
        slot.filter(|engine| !engine.is_broken()).ok_or_else(|| StoreError::Unavailable {
            dir: self.dir(),
            reason: "it failed just now and is opened again".to_owned(),
        })
    }

    fn slot(&self) -> RwLockReadGuard<'_, Option<Engine>> {
        self.inner.engine.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trail(&self) -> EndsGuard<'_> {
        self.inner.trail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn logs(&self) -> MutexGuard<'_, Logs> {
        self.inner.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn published(&self) -> Arc<Head> {
        self.inner.published.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn publish(&self, head: &Head) {
        let head = Arc::new(head.clone());
        *self.inner.published.write().unwrap_or_else(PoisonError::into_inner) = head;
    }

    /// An error of reading: damage is remembered.
    fn met(&self, trouble: Trouble) -> StoreError {
        if let Trouble::Damaged(what) = &trouble {
            self.doubt().what.get_or_insert_with(|| what.clone());
        }
        self.error(trouble)
    }

    fn doubt(&self) -> MutexGuard<'_, Doubt> {
        self.inner.doubt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, trouble: Trouble) -> StoreError {
        trouble.into_error(self.inner.home.dir())
    }

    fn dir(&self) -> std::path::PathBuf {
        self.inner.home.dir().to_owned()
    }
}

impl DirectoryRow {
    fn new(dir: &DirState, rebuilding: bool) -> DirectoryRow {
        DirectoryRow {
            name: dir.name.clone(),
            tenant: dir.tenant.clone(),
            product: dir.product.clone(),
            progress: (&dir.progress).into(),
            first_seq: dir.first_seq,
            rebuilding,
            next_user_slot: dir.next_user,
            next_group_slot: dir.next_group,
        }
    }
}

impl From<record::RecordError> for Trouble {
    fn from(error: record::RecordError) -> Trouble {
        Trouble::Damaged(error.to_string())
    }
}
