//! Short names for long texts: SHA-256, as hex or as a number.

use ring::digest::{SHA256, digest};

/// SHA-256 of `bytes` in lower-case hex, 64 characters.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut found = [0; 32];
    found.copy_from_slice(digest(&SHA256, bytes).as_ref());
    found
}

/// The first 64 bits of SHA-256, to tell texts apart without keeping them.
pub fn sha256_number(bytes: &[u8]) -> u64 {
    digest(&SHA256, bytes).as_ref().first_chunk().copied().map_or(0, u64::from_be_bytes)
}

/// Lower-case hex, two characters a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1.
    #[test]
    fn is_the_sha_256_of_the_standard() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), abc);
        assert_eq!(format!("{:016x}", sha256_number(b"abc")), abc[..16]);
    }
}
