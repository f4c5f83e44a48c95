//! When a failed delivery is tried again.

use std::time::Duration;

/// Up to this share is added at random, so endpoints do not move in step.
const JITTER: f64 = 0.2;

/// A receiver cannot ask for a longer pause.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The delay after `failures` in a row (from 1) within `elapsed`, with `random`
/// from 0 to 1; `None` when the schedule is over. `retry_after` is a floor.
///
/// The schedule is not over before the sum of its delays has passed: each start
/// of the daemon tries at once, and its failure uses up a delay that nobody
/// waited for. Then the last delay is repeated.
pub fn delay(
    schedule: &[Duration],
    (failures, elapsed): (u32, Duration),
    retry_after: Option<Duration>,
    random: f64,
) -> Option<Duration> {
    let index = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    let whole = schedule.iter().fold(Duration::ZERO, |sum, delay| sum.saturating_add(*delay));
    let last = schedule.last().filter(|_| elapsed < whole);
    let jittered = schedule.get(index).or(last)?.mul_f64(1.0 + JITTER * random.clamp(0.0, 1.0));
    Some(jittered.max(floor(retry_after)))
}

/// What a receiver can ask for.
pub fn floor(retry_after: Option<Duration>) -> Duration {
    retry_after.unwrap_or_default().min(RETRY_AFTER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn delays_grow_and_end() {
        let schedule = [SECOND, 10 * SECOND, 60 * SECOND];
        for (failures, seconds) in [(1, 1), (2, 10), (3, 60)] {
            assert_eq!(delay(&schedule, (failures, DAY), None, 0.0), Some(seconds * SECOND));
            let most = (seconds * SECOND).mul_f64(1.2);
            assert_eq!(delay(&schedule, (failures, DAY), None, 1.0), Some(most));
        }
        for failures in [4, u32::MAX] {
            assert_eq!(delay(&schedule, (failures, DAY), Some(SECOND), 0.0), None);
        }
    }

    #[test]
    fn failures_that_came_too_soon_do_not_end_the_schedule() {
        let schedule = [SECOND, 10 * SECOND];
        for failures in [3, u32::MAX] {
            let after = |seconds| delay(&schedule, (failures, seconds * SECOND), None, 0.0);
            assert_eq!((after(0), after(10)), (Some(10 * SECOND), Some(10 * SECOND)));
            assert_eq!(after(11), None);
        }
    }

    #[test]
    fn retry_after_makes_a_delay_longer_and_never_endless() {
        let schedule = [10 * SECOND];
        let delay = |retry_after| delay(&schedule, (1, DAY), Some(retry_after), 0.0);
        assert_eq!(delay(30 * SECOND), Some(30 * SECOND));
        assert_eq!(delay(SECOND), Some(10 * SECOND));
        assert_eq!(delay(Duration::MAX), Some(RETRY_AFTER_MAX));
    }
}
