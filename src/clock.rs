//! The only place that reads the time.

pub use std::time::Duration;
pub use tokio::time::Instant;

/// A moment on the wall clock: milliseconds since the Unix epoch.
///
/// Shown as RFC 3339 in UTC (`2026-11-20T10:15:00Z`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Whole seconds from `self` to `later`; zero when the clock went backwards.
    pub fn seconds_until(self, later: Timestamp) -> u64 {
        later.0.saturating_sub(self.0) / 1000
    }

    /// From `earlier` to this one; zero when the clock went backwards.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The moment `duration` before this one; the epoch when that is earlier.
    pub fn minus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(millis(duration)))
    }

    /// The moment `duration` after this one.
    pub fn plus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(millis(duration)))
    }

    /// Parses RFC 3339, with any offset.
    ///
    /// # Errors
    /// When `text` is not a moment, or lies before 1970.
    pub fn parse(text: &str) -> Result<Timestamp, String> {
        let moment: jiff::Timestamp = text
            .parse()
            .map_err(|e| format!("`{text}` is not a time like 2026-11-20T10:15:00Z: {e}"))?;
        u64::try_from(moment.as_millisecond())
            .map(Timestamp)
            .map_err(|_| format!("`{text}` lies before 1970"))
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_millisecond(millis) {
            Ok(moment) => moment.fmt(f),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// The wall clock, now.
#[expect(clippy::disallowed_methods, reason = "the one place that may read the clock")]
pub fn now() -> Timestamp {
    let since_epoch =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(millis(since_epoch))
}

/// The monotonic clock, now.
#[expect(clippy::disallowed_methods, reason = "the one place that may read the clock")]
pub fn instant() -> Instant {
    Instant::now()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_reads_and_writes_rfc_3339() {
        let moment = Timestamp::parse("2026-11-20T10:15:00Z").unwrap();
        assert_eq!(moment.to_string(), "2026-11-20T10:15:00Z");
        assert_eq!(Timestamp::parse("2026-11-20T11:15:00+01:00").unwrap(), moment);
        assert!(Timestamp::parse("yesterday").unwrap_err().contains("yesterday"));
        assert!(Timestamp::parse("1969-12-31T00:00:00Z").is_err());
    }

    #[test]
    fn a_clock_that_went_back_gives_an_age_of_zero() {
        assert_eq!(Timestamp(5_000).seconds_until(Timestamp(1_000)), 0);
        assert_eq!(Timestamp(1_000).seconds_until(Timestamp(5_000)), 4);
    }
}
