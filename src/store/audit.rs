//! The audit trail: one row for each act, appended and never changed.
//!
//! An act stands alone ([`Store::record`]), or belongs to a commit and stands
//! exactly when that does ([`Store::commit_recorded`]): its row is written
//! before the marker with the number of the commit, and opening drops it when
//! the marker does not reach that far. Either is synced before the call returns.
//!
//! The number of the last act is also in the high-water mark beside the
//! database, so that a rebuilt store never uses one again. Acts that damage took
//! away leave a gap in the numbers, which is how their absence shows.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::engine::{Batch, Engine, Row};
use super::error::{EventsError, StoreError, Trouble};
use super::home::Home;
use super::row;
use super::{EndsGuard, Store};
use crate::clock::Timestamp;
use crate::model::{Act, Action, Actor, Attributes, AuditEntry, Target, Value};

/// Damaged rows that saving a trail puts up with.
const LOST_MAX: u64 = 1_000;
/// A longer text is cut: nobody may fill the trail with one act.
const TEXT_BYTES_MAX: usize = 4 << 10;
/// A longer list is cut as well, and says so.
const LIST_MAX: usize = 200;

/// How long acts are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditRetention {
    pub age: Duration,
    /// No more than so many, the newest.
    pub entries_max: u64,
}

/// A part of the trail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditPage {
    pub entries: Vec<AuditEntry>,
    /// How many there are, on this page and behind it.
    pub total: u64,
    /// The first that is kept; one more than `last` when none is.
    pub oldest: u64,
    /// The last there is; 0 before the first.
    pub last: u64,
}

/// Which numbers the trail has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub oldest: u64,
    pub last: u64,
}

impl Store {
    /// Appends an act, durably; its number.
    ///
    /// # Errors
    /// When it is not surely kept.
    pub fn record(&self, at: Timestamp, act: &Act) -> Result<u64, StoreError> {
        self.mend()?;
        let mut trail = self.trail();
        let before = self.ends(&mut trail)?;
        let seq = before.last + 1;
        // Read again, should this fail.
        *trail = None;
        self.on_engine(|engine| {
            write(engine, seq, at, act, None)?;
            engine.sync()
        })?;
        *trail = Some(Ends { last: seq, ..before });
        self.note_last_act(seq);
        Ok(seq)
    }

    /// Up to `limit` acts after a number that `wanted` accepts, in order; all
    /// of them are counted.
    pub fn audit(
        &self,
        after: Option<u64>,
        limit: usize,
        wanted: &dyn Fn(&AuditEntry) -> bool,
    ) -> Result<AuditPage, EventsError> {
        self.mend()?;
        let Ends { oldest, last } = self.ends(&mut self.trail())?;
        let after = after.unwrap_or(oldest - 1);
        if after.saturating_add(1) < oldest {
            return Err(EventsError::Gone { oldest });
        }
        let mut page = AuditPage { oldest, last, ..AuditPage::default() };
        self.on_engine(|engine| {
            for found in readable(engine, after.saturating_add(1))? {
                let (row, act) = found?;
                let entry = entry(&row, act)?;
                // An act of a commit under way is not there yet.
                if entry.seq > last || !wanted(&entry) {
                    continue;
                }
                page.total += 1;
                if page.entries.len() < limit {
                    page.entries.push(entry);
                }
            }
            Ok(())
        })?;
        Ok(page)
    }

    /// Lets go of acts past their retention; how many.
    pub fn prune_audit(
        &self,
        now: Timestamp,
        retention: &AuditRetention,
    ) -> Result<u64, StoreError> {
        let mut writer = self.writer();
        self.mend_writer(&mut writer)?;
        let mut trail = self.trail();
        let Ends { oldest, last } = self.ends(&mut trail)?;
        let crowded = (last + 1).saturating_sub(retention.entries_max);
        let kept = self.on_engine(|engine| {
            let limit = now.minus(retention.age);
            for found in readable(engine, 0)? {
                let (row, act) = found?;
                let seq = row::read_audit(&row.key)?;
                if seq >= crowded && act.at >= limit.0 {
                    return Ok(seq);
                }
            }
            Ok(last + 1)
        })?;
        if kept <= oldest {
            return Ok(0);
        }
        *trail = None;
        self.on_engine(|engine| forget(engine, oldest, kept))?;
        *trail = Some(Ends { oldest: kept, last });
        Ok(kept - oldest)
    }

    /// The ends of the trail, read again after a failure.
    pub(super) fn ends(&self, trail: &mut EndsGuard<'_>) -> Result<Ends, StoreError> {
        if let Some(ends) = **trail {
            return Ok(ends);
        }
        let ends = self.on_engine(|engine| Ends::read(engine, &self.inner.home))?;
        **trail = Some(ends);
        Ok(ends)
    }

    /// The act with this number is durable.
    pub(super) fn note_last_act(&self, seq: u64) {
        // The mark only matters after damage; the act itself is kept.
        if let Err(trouble) = self.inner.home.raise_audit(seq) {
            tracing::warn!("cannot note the last act beside the store: {}", trouble.text());
        }
    }
}

impl Ends {
    fn read(engine: &Engine, home: &Home) -> Result<Ends, Trouble> {
        let kept: u64 = match engine.get(row::AUDIT_OLDEST)? {
            Some(found) => found.decode()?,
            None => 1,
        };
        let marked = home.high_water()?.map_or(0, |mark| mark.audit);
        let last = last_row(engine)?.max(marked).max(kept.saturating_sub(1));
        let first = readable(engine, 0)?.next().transpose()?;
        let first = first.map_or(Ok(last + 1), |(row, _)| row::read_audit(&row.key))?;
        Ok(Ends { oldest: kept.max(first), last })
    }
}

/// Writes the row of an act, of a commit if it has a number.
pub(super) fn write(
    engine: &Engine,
    seq: u64,
    at: Timestamp,
    act: &Act,
    commit: Option<u64>,
) -> Result<(), Trouble> {
    let mut batch = Batch::default();
    let stored = Stored::V1(StoredAct::new(at, act, commit));
    batch.put_encoded(row::audit(seq), &stored)?;
    engine.write(&mut batch)
}

/// Drops the act of a commit that was not made. It is the last one: nothing is
/// recorded while a commit is under way.
pub(super) fn drop_beyond(engine: &Engine, commit: u64) -> Result<(), Trouble> {
    for found in readable(engine, last_row(engine)?)? {
        let (row, act) = found?;
        if act.commit.is_some_and(|number| number > commit) {
            let mut batch = Batch::default();
            batch.remove_row(&row);
            engine.write(&mut batch)?;
        }
    }
    Ok(())
}

/// Copies what can be read of a trail, behind what `to` has of it. The numbers
/// stay; a commit that an act belonged to is surely made, or gone.
pub(super) fn copy(from: &Engine, to: &Engine) -> Result<(), Trouble> {
    let mut batch = Batch::default();
    for found in readable(from, last_row(to)? + 1)? {
        let (row, act) = found?;
        batch.put_encoded(row.key, &Stored::V1(StoredAct { commit: None, ..act }))?;
        to.write_if_full(&mut batch)?;
    }
    to.write(&mut batch)
}

/// Bytes that the rows hold.
pub(super) fn bytes(engine: &Engine) -> Result<u64, Trouble> {
    let rows = readable(engine, 0)?;
    rows.map(|found| Ok((row::FRAME + found?.0.bytes().len()) as u64)).sum()
}

/// First that they are gone, then the rows.
fn forget(engine: &Engine, oldest: u64, kept: u64) -> Result<(), Trouble> {
    let mut batch = Batch::default();
    batch.put_encoded(row::AUDIT_OLDEST.to_vec(), &kept)?;
    engine.write(&mut batch)?;
    for seq in oldest..kept {
        match engine.get(&row::audit(seq)) {
            Ok(Some(found)) => batch.remove_row(&found),
            Ok(None) => {}
            Err(Trouble::Damaged(_)) => batch.remove(row::audit(seq)),
            Err(other) => return Err(other),
        }
        engine.write_if_full(&mut batch)?;
    }
    engine.write(&mut batch)?;
    engine.flush()
}

/// The number of the last row; 0 before the first.
fn last_row(engine: &Engine) -> Result<u64, Trouble> {
    match engine.last(&row::audit(0), &row::audit(u64::MAX)) {
        Ok(None) => Ok(0),
        Ok(Some(found)) => row::read_audit(&found.key),
        Err(Trouble::Damaged(_)) => {
            let mut numbers = readable(engine, 0)?.map(|found| row::read_audit(&found?.0.key));
            numbers.try_fold(0, |last, seq| Ok(last.max(seq?)))
        }
        Err(other) => Err(other),
    }
}

/// The rows from a number on. Damaged ones are passed over: the gap in the
/// numbers tells of them, and the rest of the trail is not lost for it.
fn readable<'a>(
    engine: &'a Engine,
    from: u64,
) -> Result<impl Iterator<Item = Result<(Row, StoredAct), Trouble>> + use<'a>, Trouble> {
    let mut lost = 0;
    let rows = engine.rows_from(row::AUDIT, &row::audit(from))?.map(|found| {
        let row = found?;
        let Stored::V1(act) = row.decode()?;
        Ok((row, act))
    });
    Ok(rows.filter(move |found| {
        lost += u64::from(matches!(found, Err(Trouble::Damaged(_))));
        found.is_ok() || lost > LOST_MAX || !matches!(found, Err(Trouble::Damaged(_)))
    }))
}

fn entry(row: &Row, act: StoredAct) -> Result<AuditEntry, Trouble> {
    Ok(AuditEntry { seq: row::read_audit(&row.key)?, at: Timestamp(act.at), act: act.into() })
}

/// An act as stored. A newer layout is a further variant.
#[derive(Serialize, Deserialize)]
enum Stored {
    V1(StoredAct),
}

#[derive(Serialize, Deserialize)]
struct StoredAct {
    at: u64,
    /// The commit that it belongs to.
    commit: Option<u64>,
    action: String,
    actor: StoredActor,
    targets: Vec<(String, String)>,
    context: Vec<(String, StoredValue)>,
    metadata: Vec<(String, StoredValue)>,
}

/// [`Actor`] as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum StoredActor {
    Daemon,
    Process { uid: u32, gid: Option<u32>, pid: Option<u32> },
    Token(String),
    Stranger(Option<std::net::IpAddr>),
}

#[derive(Serialize, Deserialize)]
enum StoredValue {
    Bool(bool),
    Integer(i64),
    Text(String),
    List(Vec<StoredValue>),
}

impl StoredAct {
    fn new(at: Timestamp, act: &Act, commit: Option<u64>) -> StoredAct {
        let target = |target: &Target| (cut(&target.kind), cut(&target.name));
        StoredAct {
            at: at.0,
            commit,
            action: act.action.as_str().to_owned(),
            actor: (&act.actor).into(),
            targets: act.targets.iter().take(LIST_MAX).map(target).collect(),
            context: to_stored(&act.context),
            metadata: to_stored(&act.metadata),
        }
    }
}

impl From<StoredAct> for Act {
    fn from(stored: StoredAct) -> Act {
        let target = |(kind, name)| Target { kind, name };
        Act {
            action: Action::named(stored.action),
            actor: stored.actor.into(),
            targets: stored.targets.into_iter().map(target).collect(),
            context: from_stored(stored.context),
            metadata: from_stored(stored.metadata),
        }
    }
}

impl From<&Actor> for StoredActor {
    fn from(actor: &Actor) -> StoredActor {
        match actor {
            Actor::Daemon => StoredActor::Daemon,
            Actor::Process { uid, gid, pid } => {
                StoredActor::Process { uid: *uid, gid: *gid, pid: *pid }
            }
            Actor::Token(name) => StoredActor::Token(name.clone()),
            Actor::Stranger(address) => StoredActor::Stranger(*address),
        }
    }
}

impl From<StoredActor> for Actor {
    fn from(stored: StoredActor) -> Actor {
        match stored {
            StoredActor::Daemon => Actor::Daemon,
            StoredActor::Process { uid, gid, pid } => Actor::Process { uid, gid, pid },
            StoredActor::Token(name) => Actor::Token(name),
            StoredActor::Stranger(address) => Actor::Stranger(address),
        }
    }
}

impl From<&Value> for StoredValue {
    fn from(value: &Value) -> StoredValue {
        match value {
            Value::Bool(value) => StoredValue::Bool(*value),
            Value::Integer(number) => StoredValue::Integer(*number),
            Value::Text(text) => StoredValue::Text(cut(text)),
            Value::List(list) => {
                let more = list.len().saturating_sub(LIST_MAX);
                let more = (more > 0).then(|| StoredValue::Text(format!("… and {more} more")));
                let shown = list.iter().take(LIST_MAX).map(StoredValue::from);
                StoredValue::List(shown.chain(more).collect())
            }
        }
    }
}

impl From<StoredValue> for Value {
    fn from(stored: StoredValue) -> Value {
        match stored {
            StoredValue::Bool(value) => Value::Bool(value),
            StoredValue::Integer(number) => Value::Integer(number),
            StoredValue::Text(text) => Value::Text(text),
            StoredValue::List(list) => Value::List(list.into_iter().map(Value::from).collect()),
        }
    }
}

fn to_stored(attributes: &Attributes) -> Vec<(String, StoredValue)> {
    attributes.iter().map(|(name, value)| (name.clone(), value.into())).collect()
}

fn from_stored(stored: Vec<(String, StoredValue)>) -> Attributes {
    stored.into_iter().map(|(name, value)| (name, value.into())).collect()
}

fn cut(text: &str) -> String {
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    format!("{}…", text.get(..end).unwrap_or_default())
}
