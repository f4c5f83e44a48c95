//! The name of one state of the document: entity tag, revision of the bundle,
//! and marker in the data.

use std::fmt;
use std::str::FromStr;

use crate::clock::Timestamp;

/// Names a state so that what changed since can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// All events up to it are in.
    pub seq: u64,
    /// When that event was committed: another journal has another moment there.
    pub committed: Timestamp,
    /// The scope and its directories.
    pub shape: u64,
    /// How old the directories are.
    pub ages: u64,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Revision { seq, committed, shape, ages } = self;
        write!(f, "{seq}-{:x}-{shape:016x}-{ages:016x}", committed.0)
    }
}

impl FromStr for Revision {
    type Err = ();

    fn from_str(text: &str) -> Result<Revision, ()> {
        let mut parts = text.split('-');
        let mut hex = || u64::from_str_radix(parts.next().ok_or(())?, 16).map_err(|_| ());
        let (_, committed, shape, ages) = (hex(), hex()?, hex()?, hex()?);
        let seq = text.split('-').next().and_then(|seq| seq.parse().ok()).ok_or(())?;
        let revision = Revision { seq, committed: Timestamp(committed), shape, ages };
        (revision.to_string() == text).then_some(revision).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_is_read() {
        let revision = Revision { seq: 812, committed: Timestamp(0xabc), shape: 7, ages: u64::MAX };
        let text = revision.to_string();
        assert_eq!(text, "812-abc-0000000000000007-ffffffffffffffff");
        assert_eq!(text.parse(), Ok(revision));
        let (long, signed, more) = (format!("0{text}"), format!("+{text}"), format!("{text}-1"));
        let upper = text.to_uppercase();
        for other in ["", "1", "1-2-3", "1-2-3-4", "*", &long, &signed, &more, &upper, "x-y-z-a"] {
            assert_eq!(other.parse::<Revision>(), Err(()), "{other}");
        }
    }
}
