//! Names that stopped being somebody's, so that a question about the past finds
//! whom they meant then.
//!
//! What is called so now is in the view. A put that takes a name away, and a
//! deletion, leave a row: the directory, the kind, a digest of the name, and the
//! slot. It is a hint only: whoever is found is held against its version of the
//! moment that is asked about. Like memberships the rows are derived from blocks
//! and versions, which gives the same when it is done twice, and a row goes with
//! the last version that its name stands in.

use std::collections::BTreeSet;

use super::Store;
use super::engine::{Batch, Engine};
use super::error::{StoreError, Trouble};
use super::record::{GroupKeys, UserKeys};
use super::row::{self, Kind, Stamp};
use super::state::DirState;
use crate::digest::sha256_number;
use crate::fold::fold;
use crate::model::MemberKind;

impl Store {
    /// The slots that once had `text` for an id, a name or an address, in any
    /// case, and lost it. Not all of them had it at a moment of interest.
    pub fn formerly_named(
        &self,
        directory: &str,
        kind: MemberKind,
        text: &str,
    ) -> Result<Vec<u32>, StoreError> {
        let found = self.in_directory(directory, |engine, dir| {
            let prefix = row::names_of(dir, kind.into(), digest(text));
            engine.rows(&prefix)?.map(|row| row::read_name(&row?.key)).collect()
        })?;
        Ok(found.unwrap_or_default())
    }

    /// The last seq at which an object had this text for an id, a name or an
    /// address.
    pub fn last_named(
        &self,
        directory: &str,
        kind: MemberKind,
        slot: u32,
        text: &str,
    ) -> Result<Option<u64>, StoreError> {
        let found = self.in_directory(directory, |engine, dir| {
            let (mut from, mut last) = (None, None);
            for version in engine.rows(&row::versions_of(dir, kind.into(), slot))? {
                let version = version?;
                let at = row::read_version(&version.key)?.1.seq;
                // One that is put without an event counts as of the event before it.
                last = from.map(|from: u64| from.max(at.saturating_sub(1))).or(last);
                from = has(kind.into(), version.bytes(), text).then_some(at);
            }
            Ok(from.map(|from| from.max(self.published().marker.last_seq)).or(last))
        })?;
        Ok(found.flatten())
    }
}

/// Notes what a put or a deletion at `stamp` took away from an object.
pub(super) fn note(
    engine: &Engine,
    (dir, kind, slot): (u32, Kind, u32),
    stamp: Stamp,
    batch: &mut Batch,
) -> Result<(), Trouble> {
    let key = |stamp| row::version(dir, kind, slot, stamp);
    let Some(before) = engine.last(&key(Stamp { seq: 0, sub: 0 }), &key(stamp.before()))? else {
        return Ok(());
    };
    let after = engine.get(&key(stamp))?;
    let after = after.as_ref().map_or(&[][..], |row| row.bytes());
    for digest in lost(kind, before.bytes(), after) {
        batch.put_encoded(row::name(dir, kind, digest, slot), &stamp.seq)?;
    }
    Ok(())
}

/// Removes the rows of a version that goes because one put up to `seq` replaced
/// it: of its names, those that were not lost once more later.
pub(super) fn forget(
    engine: &Engine,
    (dir, kind, slot): (u32, Kind, u32),
    version: &[u8],
    seq: u64,
    batch: &mut Batch,
) -> Result<(), Trouble> {
    for digest in digests(kind, version) {
        let key = row::name(dir, kind, digest, slot);
        if let Some(found) = engine.get(&key)?
            && found.decode::<u64>()? <= seq
        {
            batch.remove(key);
        }
    }
    Ok(())
}

/// Makes the rows of a store that is older than they are, once.
pub(super) fn derive_all<'a>(
    engine: &Engine,
    dirs: impl Iterator<Item = &'a DirState>,
) -> Result<(), Trouble> {
    if engine.get(row::NAMED)?.is_some() {
        return Ok(());
    }
    let mut batch = Batch::default();
    for dir in dirs {
        for kind in [Kind::User, Kind::Group] {
            derive(engine, dir.id, kind, &mut batch)?;
        }
    }
    batch.put(row::NAMED.to_vec(), &[1]);
    engine.write(&mut batch)
}

/// Whether a record has this text for an id, or in any case for a name or an
/// address.
pub(super) fn has(kind: Kind, record: &[u8], text: &str) -> bool {
    digests(kind, record).contains(&digest(text))
}

fn derive(engine: &Engine, dir: u32, kind: Kind, batch: &mut Batch) -> Result<(), Trouble> {
    let mut before: Option<(u32, Vec<u8>)> = None;
    for version in engine.rows(&row::versions(dir, kind))? {
        let version = version?;
        let (slot, stamp) = row::read_version(&version.key)?;
        if let Some((_, earlier)) = before.take().filter(|(earlier, _)| *earlier == slot) {
            for digest in lost(kind, &earlier, version.bytes()) {
                batch.put_encoded(row::name(dir, kind, digest, slot), &stamp.seq)?;
            }
            engine.write_if_full(batch)?;
        }
        before = Some((slot, version.bytes().to_vec()));
    }
    Ok(())
}

/// A name may be another spelling of the id, by which it is not found: what is
/// left of an object's ids keeps none of its names.
fn lost(kind: Kind, before: &[u8], after: &[u8]) -> BTreeSet<u64> {
    let (before, after) = (Found::by(kind, before), Found::by(kind, after));
    let names = before.names.difference(&after.names).copied();
    names.chain(before.id.filter(|_| after.id.is_none())).collect()
}

fn digests(kind: Kind, record: &[u8]) -> BTreeSet<u64> {
    let Found { id, names } = Found::by(kind, record);
    names.into_iter().chain(id).collect()
}

/// Digests of all that a record can be found by.
#[derive(Default)]
struct Found {
    id: Option<u64>,
    names: BTreeSet<u64>,
}

impl Found {
    /// A record that cannot be read has nothing: that is for those to say who
    /// need what it holds.
    fn by(kind: Kind, record: &[u8]) -> Found {
        let of = |id, names: &mut dyn Iterator<Item = &str>| Found {
            id: Some(digest(id)),
            names: names.map(digest).collect(),
        };
        match kind {
            Kind::User => UserKeys::read(record).map_or_else(
                |_| Found::default(),
                |keys| of(keys.id, &mut [keys.username].into_iter().chain(keys.emails)),
            ),
            Kind::Group => GroupKeys::read(record).map_or_else(
                |_| Found::default(),
                |keys| of(keys.id, &mut [keys.name].into_iter().chain(keys.email)),
            ),
        }
    }
}

/// Names may be long, and what is found is verified anyway.
fn digest(text: &str) -> u64 {
    sha256_number(fold(text).as_bytes())
}
