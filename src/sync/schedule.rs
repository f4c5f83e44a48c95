//! When the next poll starts: pure, with randomness handed in.

use crate::clock::{Duration, Timestamp};
use crate::retry::Growing;

/// Bounds of the delays between polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    pub min: Duration,
    pub max: Duration,
}

/// The growing delays of failures in a row.
#[derive(Debug)]
pub struct Schedule {
    delays: Delays,
    growing: Growing,
}

impl Schedule {
    /// Starts without failures.
    pub fn new(delays: Delays) -> Schedule {
        let growing = Growing::new(delays.min.saturating_mul(2), delays.max);
        Schedule { delays, growing }
    }

    /// The delay after a success: between `min` and `min` + 20 %. `random` lies in 0..1.
    pub fn after_success(&mut self, random: f64) -> Duration {
        self.growing.reset();
        self.delays.min.mul_f64(1.0 + 0.2 * random.clamp(0.0, 1.0))
    }

    /// The delay after one more failure: doubled up to `max`, less up to 20 %,
    /// and never below `min`.
    pub fn after_failure(&mut self, random: f64) -> Duration {
        self.growing.next(random).max(self.delays.min)
    }

    /// The first delay of directory number `position` of `count`: spread over `min`.
    pub fn first(&self, position: usize, count: usize) -> Duration {
        self.delays.min.mul_f64(position as f64 / count.max(1) as f64)
    }
}

/// Lengthens `delay` so that it ends no earlier than `not_before`.
pub fn not_before(delay: Duration, now: Timestamp, not_before: Option<Timestamp>) -> Duration {
    let floor = not_before.map_or(0, |until| until.0.saturating_sub(now.0));
    delay.max(Duration::from_millis(floor))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAYS: Delays = Delays { min: Duration::from_secs(60), max: Duration::from_secs(600) };

    #[test]
    fn a_success_waits_min_to_min_plus_a_fifth() {
        let mut schedule = Schedule::new(DELAYS);
        assert_eq!(schedule.after_success(0.0), Duration::from_secs(60));
        assert_eq!(schedule.after_success(1.0), Duration::from_secs(72));
    }

    #[test]
    fn failures_double_up_to_max_and_a_success_forgets_them() {
        let mut schedule = Schedule::new(DELAYS);
        let seconds: Vec<u64> = (0..5).map(|_| schedule.after_failure(0.0).as_secs()).collect();
        assert_eq!(seconds, [120, 240, 480, 600, 600]);
        assert_eq!(schedule.after_failure(1.0).as_secs(), 480);
        schedule.after_success(0.0);
        assert_eq!(schedule.after_failure(0.0).as_secs(), 120);
    }

    #[test]
    fn equal_bounds_stay_within_them() {
        let delays = Delays { min: Duration::from_secs(5), max: Duration::from_secs(5) };
        let mut schedule = Schedule::new(delays);
        assert_eq!(schedule.after_failure(1.0), Duration::from_secs(5));
    }

    #[test]
    fn first_polls_are_spread() {
        let schedule = Schedule::new(DELAYS);
        assert_eq!(schedule.first(0, 3), Duration::ZERO);
        assert_eq!(schedule.first(2, 3), Duration::from_secs(40));
    }

    #[test]
    fn r17_a_providers_not_before_is_a_floor() {
        let delay = Duration::from_secs(1);
        assert_eq!(not_before(delay, Timestamp(1_000), Some(Timestamp(9_000))).as_secs(), 8);
        assert_eq!(not_before(delay, Timestamp(9_000), Some(Timestamp(1_000))), delay);
    }
}
