//! Feeds what reads rows: an engine may serve any bytes after a fault.

use super::block::Block;
use super::chunks::Lists;
use super::record::{self, GroupKeys, UserKeys, UserSummary};
use super::{row, state, waiting};

/// A record; a row with its frame; the values of rows.
pub fn feed(bytes: &[u8]) {
    records(bytes);
    let (key, value) = bytes.split_at(bytes.len().min(usize::from(*bytes.first().unwrap_or(&0))));
    let _ = row::unseal(key, value);
    let _ = Block::decode(key, value);
    let _ = row::decode::<state::Marker>(key, value);
    let _ = row::decode::<state::DirState>(key, value);
    let _ = waiting::unpack(key, value, &mut Lists::new());
    let framed = row::seal(key, row::WHOLE, value);
    assert!(matches!(row::unseal(key, &framed), Ok((row::WHOLE, payload)) if payload == value));
}

/// What was read can be written, and is then read the same. Strangers' bytes may
/// have their lists in another order, so it is what was written that counts.
fn records(bytes: &[u8]) {
    if let Ok(user) = record::decode_user(bytes) {
        let again = record::encode_user(&user);
        let read = record::decode_user(&again);
        assert!(read.is_ok_and(|read| record::encode_user(&read) == again));
        assert!(UserKeys::read(&again).is_ok_and(|keys| keys.id == user.user.id));
        assert!(UserSummary::read(&again).is_ok_and(|keys| keys.active == user.user.active));
    }
    if let Ok(group) = record::decode_group(bytes) {
        let again = record::encode_group(&group);
        let read = record::decode_group(&again);
        assert!(read.is_ok_and(|read| record::encode_group(&read) == again));
        assert!(GroupKeys::read(&again).is_ok_and(|keys| keys.name == group.group.name));
    }
    let _ = (UserKeys::read(bytes).map(|keys| keys.groups().count()), GroupKeys::read(bytes));
    let _ = (record::id_of(bytes), record::id_and_username_of(bytes));
    let _ = record::emails_of(bytes).map(Iterator::count);
    let _ = record::user_aliases_of(bytes).map(Iterator::count);
    let _ = record::group_aliases_of(bytes).map(Iterator::count);
}
