//! The delivery log: what became of attempts to deliver to webhook endpoints.
//!
//! One row for each attempt, numbered by endpoint. It is worth less than what
//! the rest of the store holds: a power cut may take the last rows, and rows
//! that damage took are passed over without a word.
//!
//! An endpoint's numbers have no gap, and never run backwards while the process
//! lives: a rewrite relies on it to tell what came and went meanwhile.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Store;
use super::engine::{Batch, Engine, Row};
use super::error::{StoreError, Trouble};
use super::row;
use crate::clock::Timestamp;
use crate::model::Attempt;

/// A longer text is cut: a row is never kept in parts.
const TEXT_BYTES_MAX: usize = 1 << 10;
/// Rows beyond the maximum that one more attempt takes away.
const CROWDED_OUT: u64 = 16;

/// How long the attempts of one endpoint are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptRetention {
    pub age: Duration,
    /// No more than so many, the newest.
    pub attempts_max: u64,
}

/// A part of an endpoint's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttemptPage {
    /// The newest first, with their numbers.
    pub attempts: Vec<(u64, Attempt)>,
    /// How many there are in all.
    pub total: u64,
    /// Older ones are those before this number; `None` when there are none.
    pub next: Option<u64>,
}

/// What is known of the logs without reading them.
#[derive(Debug, Default)]
pub(super) struct Logs {
    retention: BTreeMap<String, AttemptRetention>,
    numbers: BTreeMap<String, Numbers>,
}

/// Which numbers an endpoint's log has: none when `oldest` is above `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Numbers {
    oldest: u64,
    last: u64,
}

impl Store {
    /// Appends an attempt. It survives the process once the endpoint's cursor
    /// was stored after it.
    pub fn note_attempt(&self, endpoint: &str, attempt: &Attempt) -> Result<(), StoreError> {
        self.mend()?;
        let mut logs = self.logs();
        let Numbers { oldest, last } = self.numbers(&mut logs, endpoint)?;
        let last = last + 1;
        let kept = match logs.retention.get(endpoint) {
            Some(retention) => (last + 1).saturating_sub(retention.attempts_max).max(oldest),
            None => oldest,
        };
        let kept = kept.min(oldest + CROWDED_OUT);
        // Read again, should this fail.
        logs.numbers.remove(endpoint);
        self.on_engine(|engine| {
            let mut batch = Batch::default();
            batch.put_encoded(row::attempt(endpoint, last), &Stored::V1(attempt.into()))?;
            (oldest..kept).for_each(|number| batch.remove(row::attempt(endpoint, number)));
            engine.write(&mut batch)
        })?;
        logs.numbers.insert(endpoint.to_owned(), Numbers { oldest: kept, last });
        Ok(())
    }

    /// Up to `limit` attempts before a number, the newest first.
    pub fn attempts(
        &self,
        endpoint: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<AttemptPage, StoreError> {
        self.mend()?;
        let Numbers { oldest, last } = self.numbers(&mut self.logs(), endpoint)?;
        let end = before.unwrap_or(u64::MAX).min(last + 1);
        let start = end.saturating_sub(limit as u64).max(oldest);
        let mut attempts = Vec::new();
        self.on_engine(|engine| {
            for found in readable(engine, endpoint, start)? {
                let (number, _, stored) = found?;
                if number >= end {
                    break;
                }
                attempts.push((number, stored.into()));
            }
            Ok(())
        })?;
        attempts.reverse();
        let next = (start > oldest && start < end).then_some(start);
        Ok(AttemptPage { attempts, total: last + 1 - oldest, next })
    }

    /// Empties an endpoint's log; how many attempts were in it.
    pub fn clear_attempts(&self, endpoint: &str) -> Result<u64, StoreError> {
        self.mend()?;
        let mut logs = self.logs();
        let Numbers { last, .. } = self.numbers(&mut logs, endpoint)?;
        self.drop_attempts(&mut logs, endpoint, last + 1)
    }

    /// From now on the log of these endpoints is kept for so long, and that of
    /// others, which left the configuration, is dropped.
    pub fn keep_attempts(
        &self,
        retention: BTreeMap<String, AttemptRetention>,
    ) -> Result<(), StoreError> {
        self.mend()?;
        self.logs().retention = retention;
        for endpoint in self.on_engine(endpoints)? {
            if !self.logs().retention.contains_key(&endpoint) {
                self.clear_attempts(&endpoint)?;
            }
        }
        Ok(())
    }

    /// Lets go of attempts past their retention; how many.
    pub fn prune_attempts(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.mend()?;
        let retention = self.logs().retention.clone();
        let mut pruned = 0;
        for (endpoint, retention) in retention {
            let mut logs = self.logs();
            let Numbers { last, .. } = self.numbers(&mut logs, &endpoint)?;
            let crowded = (last + 1).saturating_sub(retention.attempts_max);
            let limit = now.minus(retention.age);
            let kept = self.on_engine(|engine| {
                for found in readable(engine, &endpoint, crowded)? {
                    let (number, _, stored) = found?;
                    if stored.at >= limit.0 {
                        return Ok(number);
                    }
                }
                Ok(last + 1)
            })?;
            pruned += self.drop_attempts(&mut logs, &endpoint, kept)?;
        }
        Ok(pruned)
    }

    /// Drops what comes before a number; how many.
    fn drop_attempts(&self, logs: &mut Logs, endpoint: &str, kept: u64) -> Result<u64, StoreError> {
        let Numbers { oldest, last } = self.numbers(logs, endpoint)?;
        if kept <= oldest {
            return Ok(0);
        }
        logs.numbers.remove(endpoint);
        self.on_engine(|engine| {
            let mut batch = Batch::default();
            for number in oldest..kept {
                batch.remove(row::attempt(endpoint, number));
                engine.write_if_full(&mut batch)?;
            }
            engine.write(&mut batch)?;
            engine.flush()
        })?;
        logs.numbers.insert(endpoint.to_owned(), Numbers { oldest: kept, last });
        Ok(kept - oldest)
    }

    fn numbers(&self, logs: &mut Logs, endpoint: &str) -> Result<Numbers, StoreError> {
        match logs.numbers.entry(endpoint.to_owned()) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(place) => {
                let read = self.on_engine(|engine| Numbers::read(engine, endpoint))?;
                Ok(*place.insert(read))
            }
        }
    }
}

impl Logs {
    /// The rows are gone: another database is in use.
    pub(super) fn forget(&mut self) {
        self.numbers.clear();
    }
}

impl Numbers {
    fn read(engine: &Engine, endpoint: &str) -> Result<Numbers, Trouble> {
        let rows = readable(engine, endpoint, 0)?;
        let mut numbers = rows.map(|found| found.map(|(number, ..)| number));
        let Some(oldest) = numbers.next().transpose()? else {
            return Ok(Numbers { oldest: 1, last: 0 });
        };
        let last =
            numbers.try_fold(oldest, |last, number| number.map(|number| last.max(number)))?;
        Ok(Numbers { oldest, last })
    }
}

/// Brings `to`, which has what there was a while ago, to what there is now.
pub(super) fn copy(from: &Engine, to: &Engine) -> Result<(), Trouble> {
    let mut batch = Batch::default();
    for endpoint in endpoints(to)? {
        let oldest = Numbers::read(from, &endpoint)?.oldest;
        for found in readable(to, &endpoint, 0)? {
            let (number, row, _) = found?;
            if number >= oldest && from.get(&row.key).is_ok_and(|row| row.is_some()) {
                break;
            }
            batch.remove_row(&row);
            to.write_if_full(&mut batch)?;
        }
    }
    to.write(&mut batch)?;
    for endpoint in endpoints(from)? {
        let copied = Numbers::read(to, &endpoint)?.last;
        for found in readable(from, &endpoint, copied + 1)? {
            let (_, row, _) = found?;
            batch.put(row.key.clone(), row.bytes());
            to.write_if_full(&mut batch)?;
        }
    }
    to.write(&mut batch)
}

/// Bytes that the rows hold.
pub(super) fn bytes(engine: &Engine) -> Result<u64, Trouble> {
    let rows = whole(engine.rows(row::ATTEMPTS)?);
    rows.map(|found| {
        let row = found?;
        Ok((row.key.len() + row::FRAME + row.bytes().len()) as u64)
    })
    .sum()
}

/// The endpoints that have a log.
fn endpoints(engine: &Engine) -> Result<Vec<String>, Trouble> {
    let mut found = Vec::new();
    let mut from = row::ATTEMPTS.to_vec();
    while let Some(row) = whole(engine.rows_from(row::ATTEMPTS, &from)?).next().transpose()? {
        let endpoint = row::read_attempt(&row.key)?.0;
        let Some(behind) = row::behind(&row::attempts(&endpoint)) else { break };
        from = behind;
        found.push(endpoint);
    }
    Ok(found)
}

/// An endpoint's rows from a number on.
fn readable<'a>(
    engine: &'a Engine,
    endpoint: &str,
    from: u64,
) -> Result<impl Iterator<Item = Result<(u64, Row, StoredAttempt), Trouble>> + use<'a>, Trouble> {
    let rows = engine.rows_from(&row::attempts(endpoint), &row::attempt(endpoint, from))?;
    Ok(whole(rows.map(|found| {
        let row = found?;
        let Stored::V1(attempt) = row.decode()?;
        Ok((row::read_attempt(&row.key)?.1, row, attempt))
    })))
}

/// Without what damage took.
fn whole<T>(
    rows: impl Iterator<Item = Result<T, Trouble>>,
) -> impl Iterator<Item = Result<T, Trouble>> {
    rows.filter(|found| !matches!(found, Err(Trouble::Damaged(_))))
}

/// An attempt as stored. A newer layout is a further variant.
#[derive(Serialize, Deserialize)]
enum Stored {
    V1(StoredAttempt),
}

#[derive(Serialize, Deserialize)]
struct StoredAttempt {
    at: u64,
    id: String,
    first_seq: u64,
    last_seq: u64,
    events: u32,
    number: u32,
    status: Option<u16>,
    latency_ms: u32,
    answer: String,
    error: Option<String>,
}

impl From<&Attempt> for StoredAttempt {
    fn from(attempt: &Attempt) -> StoredAttempt {
        StoredAttempt {
            at: attempt.at.0,
            id: cut(&attempt.id),
            first_seq: attempt.first_seq,
            last_seq: attempt.last_seq,
            events: attempt.events,
            number: attempt.number,
            status: attempt.status,
            latency_ms: attempt.latency_ms,
            answer: cut(&attempt.answer),
            error: attempt.error.as_deref().map(cut),
        }
    }
}

impl From<StoredAttempt> for Attempt {
    fn from(stored: StoredAttempt) -> Attempt {
        Attempt {
            at: Timestamp(stored.at),
            id: stored.id,
            first_seq: stored.first_seq,
            last_seq: stored.last_seq,
            events: stored.events,
            number: stored.number,
            status: stored.status,
            latency_ms: stored.latency_ms,
            answer: stored.answer,
            error: stored.error,
        }
    }
}

fn cut(text: &str) -> String {
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    format!("{}…", text.get(..end).unwrap_or_default())
}
