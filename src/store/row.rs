//! How rows are keyed, sealed and packed.
//!
//! Every value is `version byte, crc32, kind byte, payload`; the checksum covers
//! key, kind and payload, so a row that was damaged, or that turns up under
//! another key, is never believed. Kind 0 is a whole payload; kind 1 says how
//! many part rows (kind 2) hold it.
//! Keys begin with a letter for the kind of row; numbers in them are big-endian.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::engine::Row;
use super::error::Trouble;
use crate::model::{Layer, MemberKind};

/// Bytes in front of every payload.
pub(super) const FRAME: usize = 6;
pub(super) const WHOLE: u8 = 0;
pub(super) const IN_PARTS: u8 = 1;
pub(super) const PART: u8 = 2;
const VERSION: u8 = 1;

/// A slot's history has one row per stamp.
///
/// `seq` is that of the event which told of the put. A silent put has the seq
/// of the event before it, and the number of its commit as `sub`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    pub seq: u64,
    pub sub: u32,
}

impl Stamp {
    /// The greatest stamp before this one.
    pub(super) fn before(self) -> Stamp {
        match self.sub.checked_sub(1) {
            Some(sub) => Stamp { sub, ..self },
            None => Stamp { seq: self.seq.saturating_sub(1), sub: u32::MAX },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    User,
    Group,
}

impl From<MemberKind> for Kind {
    fn from(kind: MemberKind) -> Kind {
        match kind {
            MemberKind::User => Kind::User,
            MemberKind::Group => Kind::Group,
        }
    }
}

/// Whose memberships a history row tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Groups that a user joined or left.
    GroupsOfUser,
    /// Members that a group won or lost.
    MembersOfGroup,
    /// Groups that a group joined or left.
    ParentsOfGroup,
}

impl Side {
    pub(super) const ALL: [Side; 3] =
        [Side::GroupsOfUser, Side::MembersOfGroup, Side::ParentsOfGroup];
}

pub(super) const MARKER: &[u8] = b"M";
pub(super) const APPLIED: &[u8] = b"A";
pub(super) const RETAINED: &[u8] = b"R";
pub(super) const BLOCKS: &[u8] = b"j";
pub(super) const DIRECTORIES: &[u8] = b"d";
pub(super) const DELIVERIES: &[u8] = b"W";
pub(super) const DEAD: &[u8] = b"x";
pub(super) const AUDIT: &[u8] = b"t";
pub(super) const AUDIT_OLDEST: &[u8] = b"T";
pub(super) const ATTEMPTS: &[u8] = b"l";
/// Says that the rows of names that were lost are there.
pub(super) const NAMED: &[u8] = b"N";
/// How many bytes live: a hint, which is not copied.
pub(super) const LIVE: &[u8] = b"L";
/// Since when the state is known that the oldest block starts from.
pub(super) const FLOOR: &[u8] = b"F";

/// The kinds of rows that a rewrite copies while deliveries and acts go on.
pub(super) const COPIED: [&[u8]; 15] = [
    MARKER,
    APPLIED,
    RETAINED,
    FLOOR,
    BLOCKS,
    DIRECTORIES,
    DEAD,
    AUDIT_OLDEST,
    NAMED,
    b"v",
    b"e",
    b"c",
    b"u",
    b"h",
    b"n",
];

pub(super) fn block(first_seq: u64, number: u64) -> Vec<u8> {
    [BLOCKS, &first_seq.to_be_bytes(), &number.to_be_bytes()].concat()
}

pub(super) fn directory(dir: u32) -> Vec<u8> {
    [DIRECTORIES, &dir.to_be_bytes()].concat()
}

pub(super) fn dead(dir: u32) -> Vec<u8> {
    [DEAD, &dir.to_be_bytes()].concat()
}

pub(super) fn delivery(endpoint: &str) -> Vec<u8> {
    [DELIVERIES, endpoint.as_bytes()].concat()
}

/// Where a writer to a databroker is; among the deliveries, and told from
/// those by a byte that no name holds.
pub(super) fn databroker(writer: &str) -> Vec<u8> {
    [DELIVERIES, b"\0pomerium\0", writer.as_bytes()].concat()
}

/// One act of the audit trail.
pub(super) fn audit(seq: u64) -> Vec<u8> {
    [AUDIT, &seq.to_be_bytes()].concat()
}

/// The number of a key that [`audit`] made.
pub(super) fn read_audit(key: &[u8]) -> Result<u64, Trouble> {
    number::<8>(key, 1)
}

/// The delivery log of an endpoint. No name holds the byte that ends it.
pub(super) fn attempts(endpoint: &str) -> Vec<u8> {
    [ATTEMPTS, endpoint.as_bytes(), &[0]].concat()
}

/// One attempt of a delivery.
pub(super) fn attempt(endpoint: &str, number: u64) -> Vec<u8> {
    [attempts(endpoint).as_slice(), &number.to_be_bytes()].concat()
}

/// Endpoint and number of a key that [`attempt`] made.
pub(super) fn read_attempt(key: &[u8]) -> Result<(String, u64), Trouble> {
    let wrong = || damaged(key, "its key is no attempt's");
    let end = key.iter().position(|&byte| byte == 0).ok_or_else(wrong)?;
    let name = key.get(ATTEMPTS.len()..end).ok_or_else(wrong)?;
    let name = str::from_utf8(name).map_err(|_| wrong())?;
    Ok((name.to_owned(), number::<8>(key, end + 1)?))
}

/// The directory of a key that [`dead`] made.
pub(super) fn read_dead(key: &[u8]) -> Result<u32, Trouble> {
    Ok(number::<4>(key, 1)? as u32)
}

/// All versions of all objects of a directory.
pub(super) fn all_versions(dir: u32) -> Vec<u8> {
    [b"v".as_slice(), &dir.to_be_bytes()].concat()
}

/// All versions of all objects of one kind.
pub(super) fn versions(dir: u32, kind: Kind) -> Vec<u8> {
    let mut key = all_versions(dir);
    key.push(kind as u8);
    key
}

/// All versions of one object.
pub(super) fn versions_of(dir: u32, kind: Kind, slot: u32) -> Vec<u8> {
    let mut key = versions(dir, kind);
    key.extend(slot.to_be_bytes());
    key
}

pub(super) fn version(dir: u32, kind: Kind, slot: u32, stamp: Stamp) -> Vec<u8> {
    let mut key = versions_of(dir, kind, slot);
    key.extend(stamp.seq.to_be_bytes());
    if stamp.sub != 0 {
        key.extend(stamp.sub.to_be_bytes());
    }
    key
}

/// Slot and stamp of a key that [`version`] made.
pub(super) fn read_version(key: &[u8]) -> Result<(u32, Stamp), Trouble> {
    let slot = number::<4>(key, 6)?;
    let seq = number::<8>(key, 10)?;
    let sub = if key.len() > 18 { number::<4>(key, 18)? } else { 0 };
    Ok((slot as u32, Stamp { seq, sub: sub as u32 }))
}

pub(super) fn edges(dir: u32) -> Vec<u8> {
    [b"e".as_slice(), &dir.to_be_bytes()].concat()
}

pub(super) fn edges_of(dir: u32, group: u32, layer: Layer) -> Vec<u8> {
    let mut key = edges(dir);
    key.extend(group.to_be_bytes());
    key.push(layer_code(layer));
    key
}

/// Members from `from` on, up to where the next chunk begins.
pub(super) fn chunk(dir: u32, group: u32, layer: Layer, from: u32) -> Vec<u8> {
    let mut key = edges_of(dir, group, layer);
    key.extend(from.to_be_bytes());
    key
}

/// Group, layer and first possible member of a key that [`chunk`] made.
pub(super) fn read_chunk(key: &[u8]) -> Result<(u32, Layer, u32), Trouble> {
    let group = number::<4>(key, 5)?;
    let layer = layer_of(number::<1>(key, 9)?)?;
    let from = number::<4>(key, 10)?;
    Ok((group as u32, layer, from as u32))
}

/// Changes of memberships that wait to be merged into chunks.
pub(super) fn waiting(dir: u32) -> Vec<u8> {
    [b"c".as_slice(), &dir.to_be_bytes()].concat()
}

/// One row of those that came with a part of a commit.
pub(super) fn waiting_at(dir: u32, commit: u64, part: u32, piece: u32) -> Vec<u8> {
    let mut key = waiting(dir);
    key.extend(commit.to_be_bytes());
    key.extend(part.to_be_bytes());
    key.extend(piece.to_be_bytes());
    key
}

pub(super) fn unresolved(dir: u32) -> Vec<u8> {
    [b"u".as_slice(), &dir.to_be_bytes()].concat()
}

pub(super) fn unresolved_of(dir: u32, group: u32) -> Vec<u8> {
    let mut key = unresolved(dir);
    key.extend(group.to_be_bytes());
    key
}

/// Those of a list that is spread whose digest is this one.
pub(super) fn unresolved_at(dir: u32, group: u32, digest: u64) -> Vec<u8> {
    let mut key = unresolved_of(dir, group);
    key.extend(digest.to_be_bytes());
    key
}

/// The group of a key that [`unresolved_of`] or [`unresolved_at`] made.
pub(super) fn read_unresolved(key: &[u8]) -> Result<u32, Trouble> {
    Ok(number::<4>(key, 5)? as u32)
}

pub(super) fn history(dir: u32) -> Vec<u8> {
    [b"h".as_slice(), &dir.to_be_bytes()].concat()
}

pub(super) fn history_side(dir: u32, side: Side) -> Vec<u8> {
    let mut key = history(dir);
    key.push(side as u8);
    key
}

/// One row of the run that begins with the event `run`: objects from `slot` on.
pub(super) fn history_at(dir: u32, side: Side, run: u64, slot: u32, piece: u32) -> Vec<u8> {
    let mut key = history_side(dir, side);
    key.extend(run.to_be_bytes());
    key.extend(slot.to_be_bytes());
    key.extend(piece.to_be_bytes());
    key
}

/// Run and first slot of a key that [`history_at`] made.
pub(super) fn read_history(key: &[u8]) -> Result<(u64, u32), Trouble> {
    Ok((number::<8>(key, 6)?, number::<4>(key, 14)? as u32))
}

/// Names that objects of a directory lost.
pub(super) fn names(dir: u32) -> Vec<u8> {
    [b"n".as_slice(), &dir.to_be_bytes()].concat()
}

/// Those who lost the name of this digest.
pub(super) fn names_of(dir: u32, kind: Kind, digest: u64) -> Vec<u8> {
    let mut key = names(dir);
    key.push(kind as u8);
    key.extend(digest.to_be_bytes());
    key
}

/// One who lost the name of this digest.
pub(super) fn name(dir: u32, kind: Kind, digest: u64, slot: u32) -> Vec<u8> {
    let mut key = names_of(dir, kind, digest);
    key.extend(slot.to_be_bytes());
    key
}

/// The slot of a key that [`name`] made.
pub(super) fn read_name(key: &[u8]) -> Result<u32, Trouble> {
    Ok(number::<4>(key, 14)? as u32)
}

/// Bytes of a row, as they are counted.
pub(super) fn bytes(key: &[u8], payload: &[u8]) -> u64 {
    (key.len() + FRAME + payload.len()) as u64
}

/// Whether rows of this kind are counted as they come and go: nobody replaces
/// one without knowing what it was, unless a commit is finished that a crash cut in
/// two. The others are few, or hardly change.
pub(super) fn is_counted(key: &[u8]) -> bool {
    matches!(key.first(), Some(b'j' | b'v' | b'e' | b'c' | b'u' | b'h'))
}

/// The first key behind all that start with `prefix`; `None` when there is none.
pub(super) fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// Frames a payload for the row at `key`.
pub(super) fn seal(key: &[u8], kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(FRAME + payload.len());
    value.extend(frame(key, kind, payload));
    value.extend_from_slice(payload);
    value
}

/// Kind and payload of the row at `key`.
pub(super) fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Result<(u8, &'a [u8]), Trouble> {
    let Some((&[version, a, b, c, d, kind], payload)) = value.split_first_chunk::<FRAME>() else {
        return Err(damaged(key, "it is too short"));
    };
    if [version, a, b, c, d, kind] != frame(key, kind, payload) {
        return Err(damaged(key, "its checksum does not fit"));
    }
    Ok((kind, payload))
}

/// Bytes of a value with fields.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Trouble> {
    postcard::to_stdvec(value).map_err(|e| Trouble::Malformed(format!("cannot encode a row: {e}")))
}

/// The value that [`encode`] wrote for the row at `key`.
pub(super) fn decode<T: DeserializeOwned>(key: &[u8], payload: &[u8]) -> Result<T, Trouble> {
    postcard::from_bytes(payload).map_err(|e| damaged(key, &format!("it does not decode: {e}")))
}

/// Damage at `key`, in words.
pub(super) fn damaged(key: &[u8], why: &str) -> Trouble {
    let what = match key.first() {
        Some(b'M' | b'A' | b'R' | b'F' | b'N' | b'L') => "marker",
        Some(b'j') => "journal",
        Some(b'd' | b'x') => "directory",
        Some(b'W') => "delivery",
        Some(b't' | b'T') => "audit",
        Some(b'l') => "delivery log",
        Some(b'v') => "record",
        Some(b'e' | b'c') => "membership",
        Some(b'u') => "unresolved-reference",
        Some(b'h') => "history",
        Some(b'n') => "name",
        _ => "unknown",
    };
    Trouble::Damaged(format!("a {what} row is not believed ({why})"))
}

/// The payload of a chunk: whether there may be more chunks, and its members.
pub(super) fn members(more: bool, members: &[u32]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(members.len() * 3 + 1);
    payload.push(u8::from(more));
    pack_into(&mut payload, members);
    payload
}

/// Whether there may be more chunks than the one in this row.
pub(super) fn has_more(row: &Row) -> Result<bool, Trouble> {
    match row.bytes().first() {
        Some(more) => Ok(*more != 0),
        None => Err(damaged(&row.key, "it is empty")),
    }
}

/// What [`members`] put into a chunk.
pub(super) fn read_members(row: &Row) -> Result<(bool, Vec<u32>), Trouble> {
    match row.bytes().split_first() {
        Some((more, packed)) => Ok((*more != 0, unpack(packed))),
        None => Err(damaged(&row.key, "it is empty")),
    }
}

/// Packs an ascending list: the differences, seven bits a byte.
pub(super) fn pack(members: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(members.len() * 3);
    pack_into(&mut bytes, members);
    bytes
}

fn pack_into(bytes: &mut Vec<u8>, members: &[u32]) {
    let mut before = 0;
    for &member in members {
        put_number(bytes, u64::from(member.wrapping_sub(before)));
        before = member;
    }
}

/// The list that [`pack`] packed.
pub(super) fn unpack(bytes: &[u8]) -> Vec<u32> {
    let mut members = Vec::with_capacity(bytes.len() / 2);
    members.extend(numbers(bytes).scan(0u32, |member, difference| {
        *member = member.wrapping_add(difference as u32);
        Some(*member)
    }));
    members
}

/// Appends a number, seven bits a byte, the lowest first.
pub(super) fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// The numbers that [`put_number`] appended.
pub(super) fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let mut bytes = bytes.iter();
    std::iter::from_fn(move || {
        let (mut number, mut shift) = (0u64, 0);
        loop {
            let byte = *bytes.next()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Some(number);
            }
            shift += 7;
        }
    })
}

pub(super) fn layer_code(layer: Layer) -> u8 {
    match layer {
        Layer::Listed => 0,
        Layer::Declared => 1,
        Layer::Subgroup => 2,
    }
}

pub(super) fn layer_of(code: u64) -> Result<Layer, Trouble> {
    match code {
        0 => Ok(Layer::Listed),
        1 => Ok(Layer::Declared),
        2 => Ok(Layer::Subgroup),
        _ => Err(Trouble::Damaged(format!("{code} is no layer of memberships"))),
    }
}

fn frame(key: &[u8], kind: u8, payload: &[u8]) -> [u8; FRAME] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(&[kind]);
    hasher.update(payload);
    let [a, b, c, d] = hasher.finalize().to_le_bytes();
    [VERSION, a, b, c, d, kind]
}

fn number<const N: usize>(key: &[u8], at: usize) -> Result<u64, Trouble> {
    let bytes = key.get(at..at + N).ok_or_else(|| damaged(key, "its key is too short"))?;
    Ok(bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_in_every_kind_of_row_has_a_name() {
        let said = |key: &[u8]| format!("{:?}", damaged(key, "why"));
        for key in COPIED.into_iter().chain([DELIVERIES, AUDIT, ATTEMPTS, LIVE]) {
            assert!(!said(key).contains("unknown"), "{}: {}", key.escape_ascii(), said(key));
        }
        assert!(said(&delivery("audit")).contains("a delivery row"));
    }

    #[test]
    fn a_list_packs_and_unpacks() {
        for list in [vec![], vec![0], vec![0, 1, 127, 128, 16_384, u32::MAX], (5..9000).collect()] {
            assert_eq!(unpack(&pack(&list)), list);
        }
    }

    #[test]
    fn keys_come_back_and_sort_by_stamp() {
        let key = |seq, sub| version(3, Kind::Group, 7, Stamp { seq, sub });
        assert_eq!(read_version(&key(9, 0)).unwrap(), (7, Stamp { seq: 9, sub: 0 }));
        assert_eq!(read_version(&key(9, 2)).unwrap(), (7, Stamp { seq: 9, sub: 2 }));
        assert!(key(9, 0) < key(9, 1) && key(9, 1) < key(9, 300) && key(9, 300) < key(10, 0));
        let key = chunk(3, 8, Layer::Subgroup, 77);
        assert_eq!(read_chunk(&key).unwrap(), (8, Layer::Subgroup, 77));
    }

    #[test]
    fn a_flipped_bit_or_another_key_is_not_believed() {
        let sealed = seal(b"k", WHOLE, b"payload");
        assert_eq!(unseal(b"k", &sealed).unwrap(), (WHOLE, b"payload".as_slice()));
        assert!(unseal(b"l", &sealed).is_err());
        assert!(unseal(b"k", &[]).is_err());
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(b"k", &flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn the_key_behind_a_prefix() {
        assert_eq!(behind(b"ab").unwrap(), b"ac");
        assert_eq!(behind(&[1, 255]).unwrap(), [2]);
        assert_eq!(behind(&[255]), None);
    }
}
