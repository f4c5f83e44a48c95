//! How long to wait before trying again: growing delays of our own, and what
//! others ask for.

use backoff::backoff::Backoff;

use crate::clock::{Duration, Timestamp};

/// Delays that double from `first` up to `max`, for ever.
#[derive(Debug)]
pub struct Growing {
    max: Duration,
    sequence: backoff::ExponentialBackoff,
}

impl Growing {
    /// Starts with `first`, or with `max` when that is shorter.
    pub fn new(first: Duration, max: Duration) -> Growing {
        let first = first.min(max);
        // The crate gives up after 15 minutes unless told otherwise; a daemon must not.
        let sequence = backoff::ExponentialBackoff {
            current_interval: first,
            initial_interval: first,
            randomization_factor: 0.0,
            multiplier: 2.0,
            max_interval: max,
            max_elapsed_time: None,
            ..backoff::ExponentialBackoff::default()
        };
        Growing { max, sequence }
    }

    /// The next delay, less up to 20 %. `random` lies in 0..1.
    pub fn next(&mut self, random: f64) -> Duration {
        let delay = self.sequence.next_backoff().unwrap_or(self.max).min(self.max);
        delay.mul_f64(1.0 - 0.2 * random.clamp(0.0, 1.0))
    }

    /// Starts over.
    pub fn reset(&mut self) {
        self.sequence.reset();
    }
}

/// Reads `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
/// Microsoft Graph sends fractions of a second too.
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let until = http_date(value)?;
    Some(Duration::from_millis(until.0.saturating_sub(now.0)))
}

/// A date as HTTP writes it (RFC 9110, section 5.6.7).
pub fn http_date(value: &str) -> Option<Timestamp> {
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    u64::try_from(date.as_millisecond()).ok().map(Timestamp)
}

/// The same, written.
pub fn to_http_date(at: Timestamp) -> Option<String> {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok()?;
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn delays_double_up_to_a_bound_and_never_end() {
        let mut growing = Growing::new(SECOND, 5 * SECOND);
        for seconds in [1, 2, 4, 5, 5] {
            assert_eq!(growing.next(0.0), seconds * SECOND);
        }
        growing.reset();
        assert_eq!(growing.next(1.0), SECOND.mul_f64(0.8));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Timestamp::parse("2026-11-20T10:15:00Z").unwrap();
        assert_eq!(retry_after(" 120 ", now), Some(120 * SECOND));
        assert_eq!(retry_after("2.128", now), Some(Duration::from_millis(2128)));
        assert_eq!(retry_after("Fri, 20 Nov 2026 10:16:00 GMT", now), Some(60 * SECOND));
        assert_eq!(retry_after("Fri, 20 Nov 2026 10:14:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(to_http_date(now).unwrap(), "Fri, 20 Nov 2026 10:15:00 GMT");
        for nonsense in ["soon", "-5", "NaN", "inf", ""] {
            assert_eq!(retry_after(nonsense, now), None);
        }
    }
}
