//! Opening a store: finishing what a crash left, or setting damage aside.

use std::path::{Path, PathBuf};

use super::apply;
use super::audit;
use super::engine::{self, Batch, Engine};
use super::error::{OpenError, Trouble};
use super::home::{Current, Home};
use super::names;
use super::rewrite;
use super::row;
use super::state::{Head, Marker, Rebuilding, Retained};
use crate::clock::{self, Duration};

/// How often, and after what pauses, unreadable files are tried at the start
/// before they count as damage.
const READ_TRIES: usize = 5;
const READ_PAUSE: Duration = Duration::from_millis(200);

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
        Ok(current) => in_use(home, current).and_then(|number| {
            be_readable(home, number)?;
            reopen(home, number, cache_bytes)
        }),
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

/// The database that `current` names, or else the only one there is.
fn in_use(home: &Home, current: Current) -> Result<u64, Trouble> {
    if let Current::Folder(number) = current
        && (home.folder(number).is_dir() || home.is_untouched())
    {
        return Ok(number);
    }
    match home.numbers()?[..] {
        [only] => {
            tracing::warn!("the file `current` was damaged; there is one database, db-{only}");
            home.point_at(only)?;
            Ok(only)
        }
        [] => Err(Trouble::Damaged("the database is gone".to_owned())),
        _ => Err(Trouble::Damaged("the file `current` names no database".to_owned())),
    }
}

/// Opens it again after an error of the disk, which may go on: then nothing is
/// touched.
pub(super) fn mend(home: &Home, number: u64, cache_bytes: u64) -> Result<Opened, Trouble> {
    engine::read_through(&home.folder(number)).map_err(|error| unread(home, number, &error))?;
    reopen(home, number, cache_bytes)
}

/// At the start nobody is served yet, so that what stays unreadable is damage.
fn be_readable(home: &Home, number: u64) -> Result<(), Trouble> {
    let mut tries = READ_TRIES;
    loop {
        tries -= 1;
        match engine::read_through(&home.folder(number)) {
            Err(error) if is_disk_error(&error) && tries > 0 => std::thread::sleep(READ_PAUSE),
            Err(error) if is_disk_error(&error) => {
                return Err(Trouble::Damaged(unread(home, number, &error).text().to_owned()));
            }
            // Whatever else it is, opening meets it too.
            Err(_) | Ok(()) => return Ok(()),
        }
    }
}

fn unread(home: &Home, number: u64, error: &std::io::Error) -> Trouble {
    Trouble::Failed(format!("{} cannot be read: {error}", home.folder(number).display()))
}

fn is_disk_error(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// Opens the numbered database and finishes or drops what a crash left.
pub(super) fn reopen(home: &Home, number: u64, cache_bytes: u64) -> Result<Opened, Trouble> {
    let engine = Engine::open(&home.folder(number), cache_bytes)?;
    let Some(found) = engine.get(row::MARKER)? else {
        if home.is_untouched() {
            let head = initialise(&engine, 0, Rebuilding::default())?;
            home.raise(0, 0, true)?;
            return Ok(Opened { engine, head, number });
        }
        return Err(row::damaged(row::MARKER, "it is missing"));
    };
    let marker: Marker = found.decode()?;
    if let Some(mark) = home.high_water()?
        && marker.commit < mark.commit
    {
        let reason = format!("it ends with commit {}, but {} was made", marker.commit, mark.commit);
        return Err(Trouble::Damaged(reason));
    }
    let head = recover(&engine, marker)?;
    // Only now is it sure that the others are of no use.
    home.sweep(number)?;
    home.raise(head.marker.last_seq, head.marker.commit, false)?;
    Ok(Opened { engine, head, number })
}

/// Sets all files aside and starts anew after the highest seq ever told. The new
/// database is made first: without room for it nothing changes.
pub(super) fn rebuild(
    home: &Home,
    reason: String,
    cache_bytes: u64,
) -> Result<(Opened, Opening), Trouble> {
    let mark = home.high_water()?;
    let known = home.known()?;
    let number = home.fresh_number()?;
    let rebuilding = Rebuilding { everyone: known.is_none(), known: known.unwrap_or_default() };
    // Without a mark no number is known to be free, except one beyond all that
    // a journal can have reached.
    let seq = mark.map_or_else(|| clock::now().0, |mark| mark.seq);
    let (engine, head) = make(home, number, seq, rebuilding, cache_bytes)?;
    let aside = home.set_aside(number)?;
    home.point_at(number)?;
    home.raise(seq, 0, true)?;
    save_rest(&aside, &engine, cache_bytes);
    Ok((Opened { engine, head, number }, Opening::Rebuilt { aside, reason }))
}

/// A new database that is complete, but not in use. Its remains after an error
/// are swept at the next opening.
fn make(
    home: &Home,
    number: u64,
    last_seq: u64,
    rebuilding: Rebuilding,
    cache_bytes: u64,
) -> Result<(Engine, Head), Trouble> {
    let folder = home.folder(number);
    let made = Engine::open(&folder, cache_bytes).and_then(|engine| {
        let head = initialise(&engine, last_seq, rebuilding)?;
        Ok((engine, head))
    });
    made.inspect_err(|_| drop(std::fs::remove_dir_all(&folder)))
}

/// The directories can be read again; what people decided cannot: the audit trail,
/// and which webhooks are paused or disabled. How far these are tells what of the
/// lost journal they were never told.
fn save_rest(aside: &Path, fresh: &Engine, cache_bytes: u64) {
    if !aside.join("db").exists() {
        return;
    }
    let saved = Engine::open(aside, cache_bytes)
        .and_then(|damaged| {
            let deliveries = rewrite::copy_rows(&damaged, fresh, row::DELIVERIES);
            audit::copy(&damaged, fresh).and(deliveries)
        })
        .and_then(|()| fresh.sync());
    if let Err(trouble) = saved {
        let reason = trouble.text();
        tracing::error!(
            aside = %aside.display(),
            reason,
            "the audit trail or the state of webhooks is lost, or a part of it"
        );
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
    let head = initialise(&engine, last_seq, rebuilding)?;
    home.raise(last_seq, 0, true)?;
    Ok(Opened { engine, head, number })
}

fn initialise(engine: &Engine, last_seq: u64, rebuilding: Rebuilding) -> Result<Head, Trouble> {
    let marker = Marker::first(random()?, last_seq, rebuilding);
    let retained = Retained { oldest: last_seq + 1, floor: last_seq + 1 };
    let mut batch = Batch::default();
    batch.put_encoded(row::MARKER.to_vec(), &marker)?;
    batch.put_encoded(row::APPLIED.to_vec(), &marker.commit)?;
    batch.put_encoded(row::RETAINED.to_vec(), &retained)?;
    batch.put(row::NAMED.to_vec(), &[1]);
    batch.put_encoded(row::LIVE.to_vec(), &0u64)?;
    engine.write(&mut batch)?;
    engine.note_live(Some(0));
    engine.sync()?;
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
    rewrite::recall(engine);
    if applied + 1 == marker.commit {
        apply::again(engine, &marker)?;
    } else if applied != marker.commit {
        let reason = format!("commit {} is marked, but {applied} was the last", marker.commit);
        return Err(Trouble::Damaged(reason));
    }
    let head = Head::read(engine, marker)?;
    names::derive_all(engine, head.dirs.values())?;
    Ok(head)
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
