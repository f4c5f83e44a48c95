//! Opening a store: finishing what a crash left, or setting damage aside.

use std::path::{Path, PathBuf};

use super::apply;
use super::audit;
use super::engine::{Batch, Engine};
use super::error::{OpenError, Trouble};
use super::home::{Current, Home};
use super::row;
use super::state::{Head, Marker, Rebuilding, Retained};
use crate::clock;

/// What [`Store::open`](super::Store::open) found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Everything as it was committed.
    Existing,
    /// An empty store.
    New,
    /// The files were damaged: they lie in `aside`, and an empty store took
    /// their place that goes on after the last seq. The next sealed commit of
    /// each directory is silent but for a notice.
    Rebuilt { aside: PathBuf, reason: String },
}

/// An open database with what its writer knows.
#[derive(Debug)]
pub(super) struct Opened {
    pub engine: Engine,
    pub head: Head,
    pub number: u64,
}

/// Opens what is there, or makes a new store.
pub(super) fn open(home: &Home, cache_bytes: u64) -> Result<(Opened, Opening), OpenError> {
    let outcome = match home.current() {
        Ok(Current::Nothing) if home.is_untouched() => {
            return create(home, 1, 0, Rebuilding::default(), cache_bytes)
                .map(|opened| (opened, Opening::New))
                .map_err(|trouble| unavailable(home, trouble));
        }
        Ok(Current::Nothing) => Err(Trouble::Damaged("the database is gone".to_owned())),
        Ok(Current::Folder(number)) => reopen(home, number, cache_bytes),
        Ok(Current::Unreadable) => {
            Err(Trouble::Damaged("the file `current` is not readable".to_owned()))
        }
        Err(trouble) => Err(trouble),
    };
    match outcome {
        Ok(opened) => Ok((opened, Opening::Existing)),
        Err(Trouble::Damaged(reason)) => {
            rebuild(home, reason, cache_bytes).map_err(|trouble| unavailable(home, trouble))
        }
        Err(trouble) => Err(unavailable(home, trouble)),
    }
}

/// Opens the numbered database and finishes or drops what a crash left.
pub(super) fn reopen(home: &Home, number: u64, cache_bytes: u64) -> Result<Opened, Trouble> {
    home.sweep(number)?;
    let engine = Engine::open(&home.folder(number), cache_bytes)?;
    let Some(found) = engine.get(row::MARKER)? else {
        if home.is_untouched() {
            let head = initialise(&engine, home, 0, Rebuilding::default())?;
            return Ok(Opened { engine, head, number });
        }
        return Err(row::damaged(row::MARKER, "it is missing"));
    };
    let marker: Marker = found.decode()?;
    if let Some(mark) = home.high_water()
        && marker.commit < mark.commit
    {
        let reason = format!("it ends with commit {}, but {} was made", marker.commit, mark.commit);
        return Err(Trouble::Damaged(reason));
    }
    let head = recover(&engine, marker)?;
    home.raise(head.marker.last_seq, head.marker.commit, false)?;
    Ok(Opened { engine, head, number })
}

/// Sets all files aside and starts anew after the highest seq ever told.
pub(super) fn rebuild(
    home: &Home,
    reason: String,
    cache_bytes: u64,
) -> Result<(Opened, Opening), Trouble> {
    let mark = home.high_water();
    let known = home.known();
    let number = home.fresh_number()?;
    let aside = home.set_aside()?;
    tracing::error!(aside = %aside.display(), "the store is damaged and set aside: {reason}");
    let rebuilding = Rebuilding { everyone: known.is_none(), known: known.unwrap_or_default() };
    // Without a mark no number is known to be free, except one beyond all that
    // a journal can have reached.
    let seq = mark.map_or_else(|| clock::now().0, |mark| mark.seq);
    let opened = create(home, number, seq, rebuilding, cache_bytes)?;
    save_trail(&aside, &opened.engine, cache_bytes);
    Ok((opened, Opening::Rebuilt { aside, reason }))
}

/// The directories can be read again; what people decided cannot.
fn save_trail(aside: &Path, fresh: &Engine, cache_bytes: u64) {
    if !aside.join("db").exists() {
        return;
    }
    let saved = Engine::open(aside, cache_bytes)
        .and_then(|damaged| audit::copy(&damaged, fresh))
        .and_then(|()| fresh.sync());
    if let Err(trouble) = saved {
        let reason = trouble.text();
        tracing::error!(aside = %aside.display(), reason, "the audit trail is lost, or a part of it");
    }
}

fn create(
    home: &Home,
    number: u64,
    last_seq: u64,
    rebuilding: Rebuilding,
    cache_bytes: u64,
) -> Result<Opened, Trouble> {
    home.point_at(number)?;
    let engine = Engine::open(&home.folder(number), cache_bytes)?;
    let head = initialise(&engine, home, last_seq, rebuilding)?;
    Ok(Opened { engine, head, number })
}

fn initialise(
    engine: &Engine,
    home: &Home,
    last_seq: u64,
    rebuilding: Rebuilding,
) -> Result<Head, Trouble> {
    let marker = Marker::first(random()?, last_seq, rebuilding);
    let retained = Retained { oldest: last_seq + 1, floor: last_seq + 1 };
    let mut batch = Batch::default();
    batch.put_encoded(row::MARKER.to_vec(), &marker)?;
    batch.put_encoded(row::APPLIED.to_vec(), &marker.commit)?;
    batch.put_encoded(row::RETAINED.to_vec(), &retained)?;
    engine.write(&mut batch)?;
    engine.sync()?;
    home.raise(last_seq, 0, true)?;
    Head::read(engine, marker)
}

/// Drops rows beyond the marker; rolls a marker forward that is not applied.
fn recover(engine: &Engine, marker: Marker) -> Result<Head, Trouble> {
    let applied: u64 = engine
        .get(row::APPLIED)?
        .ok_or_else(|| row::damaged(row::APPLIED, "it is missing"))?
        .decode()?;
    apply::drop_beyond(engine, &marker)?;
    audit::drop_beyond(engine, marker.commit)?;
    if applied + 1 == marker.commit {
        apply::apply(engine, &marker)?;
    } else if applied != marker.commit {
        let reason = format!("commit {} is marked, but {applied} was the last", marker.commit);
        return Err(Trouble::Damaged(reason));
    }
    Head::read(engine, marker)
}

fn random() -> Result<u64, Trouble> {
    use ring::rand::SecureRandom;
    let mut bytes = [0; 8];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Trouble::Failed("the system gives no random numbers".to_owned()))?;
    Ok(u64::from_be_bytes(bytes))
}

fn unavailable(home: &Home, trouble: Trouble) -> OpenError {
    OpenError::Unavailable { dir: home.dir().to_owned(), reason: trouble.text().to_owned() }
}
