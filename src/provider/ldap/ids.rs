//! Immutable ids in their text forms: UUIDs, Microsoft GUIDs, SIDs.

/// 16 bytes as RFC 4122 writes them: `entryUUID` in syncrepl (RFC 4533).
pub fn uuid(bytes: &[u8]) -> Option<String> {
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    Some(uuid::Uuid::from_bytes(bytes).hyphenated().to_string())
}

/// 16 bytes of an `objectGUID`, whose first three fields are little-endian
/// (MS-DTYP section 2.3.4.2).
pub fn guid(bytes: &[u8]) -> Option<String> {
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    Some(uuid::Uuid::from_bytes_le(bytes).hyphenated().to_string())
}

/// The bytes of a GUID, each escaped for a search filter (RFC 4515).
pub fn guid_in_filter(text: &str) -> Option<String> {
    let bytes = uuid::Uuid::parse_str(text).ok()?.to_bytes_le();
    Some(bytes.iter().map(|byte| format!("\\{byte:02x}")).collect())
}

/// A binary `objectSid` as text, `S-1-5-21-…` (MS-DTYP section 2.4.2.2).
pub fn sid(bytes: &[u8]) -> Option<String> {
    let [revision, count, authority @ ..] = bytes else { return None };
    let (authority, parts) = authority.split_at_checked(6)?;
    if parts.len() != usize::from(*count) * 4 {
        return None;
    }
    let authority = authority.iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    let mut text = format!("S-{revision}-{authority}");
    for part in parts.chunks_exact(4) {
        let number = u32::from_le_bytes(part.try_into().ok()?);
        text.push_str(&format!("-{number}"));
    }
    Some(text)
}

/// The SID of the object with this relative id in the same domain as `sid`.
pub fn sibling_sid(sid: &str, relative_id: i64) -> Option<String> {
    let (domain, _) = sid.rsplit_once('-')?;
    Some(format!("{domain}-{relative_id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 16] = [
        0xc4, 0xe2, 0xbf, 0xbd, 0x01, 0x02, 0x03, 0x04, 0x85, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b,
        0x0c,
    ];

    #[test]
    fn a_guid_is_mixed_endian_and_a_uuid_is_not() {
        assert_eq!(guid(&BYTES).unwrap(), "bdbfe2c4-0201-0403-8506-0708090a0b0c");
        assert_eq!(uuid(&BYTES).unwrap(), "c4e2bfbd-0102-0304-8506-0708090a0b0c");
        assert_eq!(guid(&BYTES[1..]), None);
        let escaped = guid_in_filter("bdbfe2c4-0201-0403-8506-0708090a0b0c").unwrap();
        assert!(escaped.starts_with(r"\c4\e2\bf\bd\01"));
    }

    #[test]
    fn a_sid_has_its_text() {
        let bytes =
            [1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 1, 2, 0, 0];
        assert_eq!(sid(&bytes).unwrap(), "S-1-5-21-1-2-3-513");
        assert_eq!(sid(&bytes[..9]), None);
        assert_eq!(sid(&[]), None);
        assert_eq!(sibling_sid("S-1-5-21-1-2-3-1104", 513).unwrap(), "S-1-5-21-1-2-3-513");
    }
}
