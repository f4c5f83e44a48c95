//! Keeps one databroker's records equal to the directories.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tonic::Code;
use tracing::{info, warn};

use super::client::{Client, describe};
use super::config::PomeriumConfig;
use super::lease::Lease;
use super::message::Latest;
use super::people::{Roster, Scope};
use super::records::{self, Difference, Kind, Records, Step};
use super::resume;
use super::status::{State, Statuses};
use crate::clock::{self, Instant};
use crate::digest;
use crate::index::{SharedView, View};
use crate::retry::Growing;
use crate::store::record::RecordError;
use crate::store::{DatabrokerRow, Store, StoreError};
use crate::task::{self, Shutdown, TaskEnd};

const DELAY_FIRST: Duration = Duration::from_secs(1);
const DELAY_MAX: Duration = Duration::from_secs(15);

/// How long to look again at a directory that was never read, or at a view
/// that is being made.
const RECHECK: Duration = Duration::from_millis(500);

/// After a comparison we rest so many times as long as it took, within reason.
const REST_SHARE: u32 = 4;
const REST_MAX: Duration = Duration::from_secs(15);

/// Of the form of records: another one is put again.
const FORM: &str = "1";

/// Where directories are read from.
#[derive(Clone)]
pub struct Sources {
    pub view: Arc<SharedView>,
    pub store: Store,
}

/// One writer.
pub(super) struct Writer {
    config: PomeriumConfig,
    scope: Arc<Scope>,
    settings: String,
    client: Client,
    sources: Sources,
    statuses: Arc<Statuses>,
    shutdown: Shutdown,
    delays: Growing,
}

/// Why a term ended.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Broker(String),
    #[error("the databroker lost what it had: its server version is another")]
    Restarted,
    #[error("{0}")]
    Lost(String),
    #[error("somebody else wrote {0} of our records")]
    Overwritten(u64),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Task(#[from] TaskEnd),
}

/// What is known of the databroker while the lease is held.
struct Known {
    server_version: u64,
    /// Everything up to it was seen, by type.
    record_version: u64,
    records: Records,
    listed_at: Instant,
    /// What the store says.
    saved: DatabrokerRow,
}

/// What one comparison led to.
struct Leveled {
    /// Records put or deleted.
    wrote: u64,
    /// Users without a record of their own.
    left_out: u64,
    refused: u64,
    /// How long comparing took.
    took: Duration,
}

/// What is to be written.
struct Picture {
    view: Arc<View>,
    /// Directories in scope that were not read yet.
    frozen: BTreeSet<String>,
}

impl Writer {
    pub(super) fn new(
        config: PomeriumConfig,
        scope: Scope,
        client: Client,
        (sources, statuses): (Sources, Arc<Statuses>),
        shutdown: Shutdown,
    ) -> Writer {
        let settings = format!("{FORM} {} {} {scope:?}", config.url, config.lease);
        let settings = digest::sha256_hex(settings.as_bytes());
        let delays = Growing::new(DELAY_FIRST, DELAY_MAX);
        let scope = Arc::new(scope);
        Writer { config, scope, settings, client, sources, statuses, shutdown, delays }
    }

    pub(super) async fn run(mut self) {
        let shutdown = self.shutdown.clone();
        while !shutdown.is_requested() {
            let pause = match self.term().await {
                Ok(Some(pause)) => pause,
                Ok(None) => break,
                Err(trouble) => self.note(&trouble),
            };
            tokio::select! {
                () = shutdown.requested() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.show(|status| status.state = State::Waiting);
    }

    /// Holds the lease for as long as that goes well. How long to wait before
    /// asking for it again; `None` at shutdown.
    async fn term(&mut self) -> Result<Option<Duration>, Trouble> {
        let shutdown = self.shutdown.clone();
        let (client, name) = (self.client.clone(), self.config.lease.clone());
        let duration = self.config.lease_duration;
        let acquired = tokio::select! {
            () = shutdown.requested() => return Ok(None),
            acquired = Lease::acquire(&client, &name, duration) => acquired?,
        };
        let Some(mut lease) = acquired else {
            self.show(|status| (status.state, status.last_error) = (State::Standby, None));
            self.delays.reset();
            let third = duration / 3;
            return Ok(Some(third.mul_f64(1.0 - 0.2 * fastrand::f64())));
        };
        info!(pomerium = self.config.name, lease = name, "writing to the databroker");
        self.show(|status| status.state = State::Writing);
        let outcome = tokio::select! {
            biased;
            () = shutdown.requested() => Ok(None),
            lost = lease.keep(&client) => Err(Trouble::Lost(lost)),
            trouble = self.write() => Err(trouble),
        };
        if !matches!(outcome, Err(Trouble::Lost(_))) {
            lease.release(&client).await;
        }
        outcome
    }

    /// Writes, for as long as that goes well.
    async fn write(&mut self) -> Trouble {
        match self.write_on().await {
            Err(trouble) => trouble,
            Ok(never) => match never {},
        }
    }

    async fn write_on(&mut self) -> Result<std::convert::Infallible, Trouble> {
        let mut moved = self.sources.view.subscribe();
        let mut known = self.learn(&mut moved).await?;
        loop {
            if known.listed_at + self.config.resync_every <= clock::instant() {
                known = self.list(known.saved).await?;
            }
            let picture = self.picture(&mut moved).await?;
            let leveled;
            (known, leveled) = self.level(known, &picture).await?;
            let wrote = leveled.wrote > 0;
            if wrote {
                let unexpected = self.catch_up(&mut known).await?;
                if unexpected > 0 {
                    return Err(Trouble::Overwritten(unexpected));
                }
            }
            self.delays.reset();
            let seq = picture.view.seq;
            self.show(|status| {
                (status.seq, status.left_out) = (seq, leveled.left_out);
                status.refused = leveled.refused;
                (status.last_error, status.written_at) = (None, Some(clock::now()));
            });
            self.save(&mut known, &picture).await?;
            self.wait(&mut moved, &picture, &mut known, leveled.took).await?;
        }
    }

    /// What the databroker has: from the journal, where that tells all that can
    /// have changed since we stopped, else by asking for everything.
    async fn learn(&self, moved: &mut watch::Receiver<u64>) -> Result<Known, Trouble> {
        let (store, name) = (self.sources.store.clone(), self.config.name.clone());
        let row = task::blocking("databroker", move || store.databroker(&name)).await??;
        let row = row.unwrap_or_default();
        let info = self.client.server_info().await?;
        let is_ours = row.server_version == info.server_version && row.settings == self.settings;
        let known = match is_ours {
            true => self.resume(row.clone(), moved).await?,
            false => None,
        };
        match known {
            Some(known) => Ok(known),
            None => self.list(row).await,
        }
    }

    async fn resume(
        &self,
        row: DatabrokerRow,
        moved: &mut watch::Receiver<u64>,
    ) -> Result<Option<Known>, Trouble> {
        let Picture { view, frozen } = self.picture(moved).await?;
        if !frozen.is_empty() || view.seq < row.seq {
            return Ok(None);
        }
        let (store, scope) = (self.sources.store.clone(), Arc::clone(&self.scope));
        let (seq, mark) = (row.seq, self.config.lease.clone());
        let work = move || -> Result<Option<(Records, usize)>, RecordError> {
            let Some(touched) = resume::touched(&store, &view, &scope, seq) else {
                return Ok(None);
            };
            let mut records = Records::default();
            records.assume(&Roster::new(&view, &scope)?, &mark)?;
            let count = touched.len();
            touched.into_iter().for_each(|(key, directory)| records.doubt(key, &directory));
            Ok(Some((records, count)))
        };
        let Some((records, touched)) = task::blocking("databroker", work).await?? else {
            return Ok(None);
        };
        let mut known = Known {
            server_version: row.server_version,
            record_version: row.record_version,
            records,
            listed_at: clock::instant(),
            saved: row,
        };
        match self.catch_up(&mut known).await {
            Ok(strange) => {
                let (pomerium, seq) = (&self.config.name, known.saved.seq);
                info!(pomerium, seq, touched, strange, "goes on where it stopped");
                Ok(Some(known))
            }
            // The changes since are not kept there.
            Err(Trouble::Restarted) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Asks for all records.
    async fn list(&self, saved: DatabrokerRow) -> Result<Known, Trouble> {
        let mut records = Records::default();
        let mut versions = Vec::new();
        for kind in Kind::ALL {
            let mut incoming = self.client.sync_latest(kind.as_str()).await?;
            while let Some(message) = incoming.next().await? {
                match message.response {
                    Some(Latest::Record(record)) => {
                        records.take(&record, &self.config.lease);
                    }
                    Some(Latest::Versions(found)) => versions.push(found),
                    None => {}
                }
            }
        }
        let missing = || Trouble::Broker("the databroker does not say its versions".to_owned());
        let server_version = versions.first().ok_or_else(missing)?.server_version;
        if versions.len() < Kind::ALL.len() {
            return Err(missing());
        }
        if versions.iter().any(|versions| versions.server_version != server_version) {
            return Err(Trouble::Restarted);
        }
        let record_version = versions.iter().map(|versions| versions.latest_record_version).min();
        self.show(|status| status.listed_total += 1);
        let record_version = record_version.unwrap_or_default();
        let listed_at = clock::instant();
        Ok(Known { server_version, record_version, records, listed_at, saved })
    }

    /// Reads what was written since, by us and by others; how many records are
    /// not what was thought.
    async fn catch_up(&self, known: &mut Known) -> Result<u64, Trouble> {
        let Known { server_version, record_version, records, .. } = known;
        // Before the streams: what is written while they are read is read again.
        let info = self.client.server_info().await?;
        if info.server_version != *server_version {
            return Err(Trouble::Restarted);
        }
        let mut unexpected = 0;
        for kind in Kind::ALL {
            let mut incoming = self
                .client
                .sync(*server_version, *record_version, kind.as_str())
                .await
                .map_err(gone)?;
            while let Some(message) = incoming.next().await.map_err(gone)? {
                let Some(record) = message.record else { continue };
                unexpected += u64::from(!records.take(&record, &self.config.lease));
            }
        }
        *record_version = info.latest_record_version.max(*record_version);
        Ok(unexpected)
    }

    /// The newest view, and which of its directories say something.
    async fn picture(&self, moved: &mut watch::Receiver<u64>) -> Result<Picture, Trouble> {
        loop {
            moved.borrow_and_update();
            // In this order: what is committed by now is in a view of that seq.
            let unread = self.unread()?;
            let seq = self.sources.store.last_seq();
            let view = self.sources.view.load();
            if view.seq >= seq {
                let lost = self.scope.keys().filter(|name| view.directory(name).is_none()).cloned();
                let frozen: BTreeSet<String> = unread.into_iter().chain(lost).collect();
                if frozen.len() < self.scope.len() {
                    return Ok(Picture { view, frozen });
                }
            }
            tokio::time::sleep(RECHECK).await;
        }
    }

    /// Directories in scope that never were read whole, or not since the store
    /// was set aside.
    fn unread(&self) -> Result<BTreeSet<String>, StoreError> {
        let rows = self.sources.store.directories()?;
        let read = rows.iter().filter(|row| row.progress.as_of.is_some() && !row.rebuilding);
        let read: BTreeSet<&String> = read.map(|row| &row.name).collect();
        Ok(self.scope.keys().filter(|name| !read.contains(name)).cloned().collect())
    }

    /// Puts and deletes until the databroker has what the picture shows.
    async fn level(
        &self,
        mut known: Known,
        picture: &Picture,
    ) -> Result<(Known, Leveled), Trouble> {
        let began = clock::instant();
        let (scope, mark) = (Arc::clone(&self.scope), self.config.lease.clone());
        let (view, frozen) = (Arc::clone(&picture.view), picture.frozen.clone());
        let mut records = std::mem::take(&mut known.records);
        let work = move || -> Result<_, RecordError> {
            let view_of_ready = View::clone(&view);
            let ready = frozen.iter().fold(view_of_ready, |view, name| {
                let seq = view.seq;
                view.without_directory(name, seq)
            });
            let roster = Arc::new(Roster::new(&ready, &scope)?);
            let difference = records.compare(&roster, &frozen, &mark)?;
            Ok((records, roster, difference))
        };
        let (kept, roster, difference) = task::blocking("databroker", work).await??;
        let took = clock::instant() - began;
        known.records = kept;
        let Difference { steps, refused } = difference;
        let wrote = steps.len() as u64;
        for key in refused.iter().take(10) {
            let (pomerium, id) = (&self.config.name, &key.id);
            warn!(pomerium, id = %id, "a record is larger than a request may be, and left out");
        }
        if wrote > 0 {
            self.put_all(&mut known, Arc::clone(&roster), steps).await?;
        }
        let (left_out, refused) = (roster.left_out(), refused.len() as u64);
        Ok((known, Leveled { wrote, left_out, refused, took }))
    }

    async fn put_all(
        &self,
        known: &mut Known,
        roster: Arc<Roster>,
        steps: Vec<Step>,
    ) -> Result<(), Trouble> {
        let (mut put, mut deleted) = (0, 0);
        let mut steps = steps.into_iter().peekable();
        loop {
            let (roster, mark) = (Arc::clone(&roster), self.config.lease.clone());
            let work = move || {
                let batch = records::next_batch(&mut steps, &roster, &mark, clock::now());
                (batch, steps)
            };
            let (batch, left) = task::blocking("databroker", work).await?;
            steps = left;
            let batch = batch?;
            if batch.outcome.is_empty() {
                break;
            }
            let answer = self.client.put(batch.request).await?;
            if answer.server_version != known.server_version {
                return Err(Trouble::Restarted);
            }
            let deletes =
                batch.outcome.iter().filter(|one| matches!(one, records::Outcome::Deleted(_)));
            let (deletes, all) = (deletes.count() as u64, batch.outcome.len() as u64);
            (put, deleted) = (put + all - deletes, deleted + deletes);
            self.show(|status| {
                status.put_total += all - deletes;
                status.deleted_total += deletes;
            });
            known.records.accept(batch.outcome);
        }
        info!(pomerium = self.config.name, put, deleted, "wrote to the databroker");
        Ok(())
    }

    /// Notes where we are, if a restart may rely on it.
    async fn save(&self, known: &mut Known, picture: &Picture) -> Result<(), Trouble> {
        let row = DatabrokerRow {
            seq: picture.view.seq,
            server_version: known.server_version,
            record_version: known.record_version,
            settings: self.settings.clone(),
        };
        // With the same events the same is written: a later version of the
        // databroker's is no news.
        let is_same = (row.seq, row.server_version, &row.settings)
            == (known.saved.seq, known.saved.server_version, &known.saved.settings);
        if is_same || !picture.frozen.is_empty() {
            return Ok(());
        }
        known.saved = row.clone();
        let (store, name) = (self.sources.store.clone(), self.config.name.clone());
        Ok(task::blocking("databroker", move || store.set_databroker(&name, &row)).await??)
    }

    /// Until there may be something to do.
    async fn wait(
        &self,
        moved: &mut watch::Receiver<u64>,
        picture: &Picture,
        known: &mut Known,
        took: Duration,
    ) -> Result<(), Trouble> {
        let rest = clock::instant() + (took * REST_SHARE).min(REST_MAX);
        let list = known.listed_at + self.config.resync_every;
        let mut look = clock::instant() + self.config.lease_duration;
        while clock::instant() < list {
            let recheck = clock::instant() + RECHECK;
            let until = if picture.frozen.is_empty() { look } else { look.min(recheck) };
            let woken = tokio::select! {
                // The view outlives us.
                changed = moved.changed() => changed.is_ok(),
                () = tokio::time::sleep_until(list.min(until)) => false,
            };
            if woken || self.unread()? != picture.frozen {
                break;
            }
            if clock::instant() < look {
                continue;
            }
            look = clock::instant() + self.config.lease_duration;
            let strange = self.catch_up(known).await?;
            if strange > 0 {
                let pomerium = &self.config.name;
                warn!(pomerium, records = strange, "somebody else wrote records of ours");
                break;
            }
        }
        tokio::time::sleep_until(rest).await;
        Ok(())
    }

    fn note(&mut self, trouble: &Trouble) -> Duration {
        let pause = self.delays.next(fastrand::f64());
        let (pomerium, retry_in) = (&self.config.name, pause.as_millis() as u64);
        warn!(pomerium, reason = %trouble, retry_in_ms = retry_in, "not writing to the databroker");
        self.show(|status| {
            status.state = State::Waiting;
            status.failed_total += 1;
            status.last_error = Some(trouble.to_string());
        });
        pause
    }

    fn show(&self, change: impl FnOnce(&mut super::status::WriterStatus)) {
        self.statuses.update(&self.config.name, change);
    }
}

impl From<tonic::Status> for Trouble {
    fn from(status: tonic::Status) -> Trouble {
        Trouble::Broker(describe(&status))
    }
}

/// Of an error of `Sync`: the versions that we know are of no use any more.
fn gone(status: tonic::Status) -> Trouble {
    match status.code() {
        Code::Aborted | Code::OutOfRange | Code::InvalidArgument | Code::NotFound => {
            Trouble::Restarted
        }
        _ => status.into(),
    }
}
