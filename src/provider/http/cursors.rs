//! The guard against listings that never end.

use std::collections::HashSet;

use crate::provider::PullError;

/// Far more than any listing has.
const PAGES_MAX: usize = 200_000;

/// The cursors of one listing.
#[derive(Clone, Debug)]
pub struct Cursors {
    what: &'static str,
    /// Digests: a cursor may be kilobytes long.
    seen: HashSet<u128, foldhash::quality::FixedState>,
}

impl Cursors {
    /// `what` is listed.
    pub fn new(what: &'static str) -> Cursors {
        Cursors { what, seen: HashSet::default() }
    }

    /// Notes that the listing goes on at `cursor`.
    ///
    /// # Errors
    /// [`PullError::Incomplete`] when it did so before, or has far too many pages.
    pub fn pass(&mut self, cursor: &str) -> Result<(), PullError> {
        let digest = ring::digest::digest(&ring::digest::SHA256, cursor.as_bytes());
        let digest = digest.as_ref().first_chunk().copied().map_or(0, u128::from_be_bytes);
        let reason = if !self.seen.insert(digest) {
            "the listing goes in circles: a cursor came twice"
        } else if self.seen.len() > PAGES_MAX {
            "the listing does not end"
        } else {
            return Ok(());
        };
        Err(PullError::Incomplete { what: self.what.to_owned(), reason: reason.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r11_a_cursor_that_comes_twice_ends_the_crawl() {
        let mut cursors = Cursors::new("users");
        cursors.pass("a").unwrap();
        cursors.pass("b").unwrap();
        assert!(cursors.pass("a").unwrap_err().to_string().contains("circles"));
    }

    #[test]
    fn r11_a_listing_without_an_end_ends_the_crawl() {
        let mut cursors = Cursors::new("users");
        let error = (0..=PAGES_MAX).find_map(|n| cursors.pass(&n.to_string()).err());
        assert!(error.unwrap().to_string().contains("does not end"));
    }
}
