//! Compares what was read with what GitHub counts: a page that is silently
//! missing shows in nothing else.

use serde::{Deserialize, Serialize};

use crate::provider::PullError;

/// How many entries of a listing were read, and how many there are to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Different ones.
    pub read: u64,
    pub pages: u64,
    /// The least and the most that pages of the listing told; equal unless the
    /// directory changed while it was read.
    told: Option<(u64, u64)>,
}

impl Tally {
    /// Notes the total that a page tells.
    pub fn told(&mut self, total: u64) {
        let (low, high) = self.told.unwrap_or((total, total));
        self.told = Some((low.min(total), high.max(total)));
    }

    /// The total that was told, the most when it changed; with those of before.
    pub fn announced(&self, before: Option<u64>) -> Option<u64> {
        let now = self.told.map(|(_, high)| high);
        now.map(|now| now + before.unwrap_or_default()).or(before)
    }

    pub fn page(&mut self) {
        self.pages += 1;
    }

    /// # Errors
    /// [`PullError::Incomplete`] when the numbers disagree.
    pub fn check(&self, what: &str) -> Result<(), PullError> {
        match self.told {
            Some((low, high)) if (low..=high).contains(&self.read) => Ok(()),
            Some((_, high)) => Err(PullError::Incomplete {
                what: what.to_owned(),
                reason: format!("GitHub counts {high}, and {} came", self.read),
            }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(read: u64, told: &[u64]) -> Tally {
        let mut tally = Tally { read, ..Tally::default() };
        told.iter().for_each(|total| tally.told(*total));
        tally
    }

    #[test]
    fn r1_a_missing_page_shows_in_the_count() {
        tally(250, &[250, 250]).check("members").unwrap();
        assert!(tally(150, &[250, 250]).check("members").is_err());
        assert!(tally(0, &[250]).check("members").is_err());
    }

    #[test]
    fn somebody_may_join_or_leave_while_it_is_read() {
        tally(250, &[249, 250]).check("members").unwrap();
        tally(249, &[250, 249]).check("members").unwrap();
        assert!(tally(150, &[250, 249]).check("members").is_err());
    }
}
