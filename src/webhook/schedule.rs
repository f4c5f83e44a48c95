//! When a failed delivery is tried again.

use std::time::Duration;

/// Up to this share is added at random, so endpoints do not move in step.
const JITTER: f64 = 0.2;

/// A receiver cannot ask for a longer pause.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The delay after `failures` in a row (from 1), with `random` from 0 to 1.
///
/// The last delay of `schedule` is repeated for ever. `retry_after` is a floor.
pub fn delay(
    schedule: &[Duration],
    failures: u32,
    retry_after: Option<Duration>,
    random: f64,
) -> Duration {
    let index = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    let base = schedule.get(index).or(schedule.last()).copied().unwrap_or(RETRY_AFTER_MAX);
    let jittered = base.mul_f64(1.0 + JITTER * random.clamp(0.0, 1.0));
    jittered.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn delays_grow_and_the_last_one_stays() {
        let schedule = [SECOND, 10 * SECOND, 60 * SECOND];
        for (failures, seconds) in [(1, 1), (2, 10), (3, 60), (4, 60), (u32::MAX, 60)] {
            assert_eq!(delay(&schedule, failures, None, 0.0), seconds * SECOND);
            assert_eq!(delay(&schedule, failures, None, 1.0), (seconds * SECOND).mul_f64(1.2));
        }
    }

    #[test]
    fn retry_after_makes_a_delay_longer_and_never_endless() {
        let schedule = [10 * SECOND];
        assert_eq!(delay(&schedule, 1, Some(30 * SECOND), 0.0), 30 * SECOND);
        assert_eq!(delay(&schedule, 1, Some(SECOND), 0.0), 10 * SECOND);
        assert_eq!(delay(&schedule, 1, Some(Duration::MAX), 0.0), RETRY_AFTER_MAX);
    }
}
