//! How old answers are, and when that is too old.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::problem::Problem;
use crate::clock::{Duration, Timestamp};
use crate::sync::status::Statuses;

/// How old the picture of one directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Freshness {
    /// End of the crawl that last confirmed it; `null` before the first.
    #[serde(serialize_with = "moment_or_null")]
    pub as_of: Option<Timestamp>,
    pub age_seconds: Option<u64>,
}

/// By the directory's name.
pub type Freshnesses = BTreeMap<String, Freshness>;

impl Freshness {
    /// Of one directory; one that nobody knows was never synced.
    pub fn of(statuses: &Statuses, directory: &str, now: Timestamp) -> Freshness {
        Freshness::at(statuses.get(directory).and_then(|status| status.as_of), now)
    }

    fn at(as_of: Option<Timestamp>, now: Timestamp) -> Freshness {
        Freshness { as_of, age_seconds: as_of.map(|as_of| as_of.seconds_until(now)) }
    }

    /// Refuses what was never synced, or is older than `max_age`.
    ///
    /// # Errors
    /// 503 `stale`.
    pub fn require(&self, directory: &str, max_age: Option<Duration>) -> Result<(), Problem> {
        let Some(age) = self.age_seconds else {
            let detail = format!("the directory {directory} was never synced");
            return Err(Problem::stale(detail).member("directory", directory));
        };
        if max_age.is_some_and(|max_age| age > max_age.as_secs()) {
            let detail = format!("the directory {directory} was last confirmed {age} s ago");
            let problem = Problem::stale(detail).member("directory", directory);
            return Err(problem.member("age_seconds", age));
        }
        Ok(())
    }
}

/// Of all configured directories, or of the one named.
pub fn of_all(statuses: &Statuses, only: Option<&str>, now: Timestamp) -> Freshnesses {
    let all = statuses.all().into_iter();
    all.filter(|status| only.is_none_or(|name| name == status.name))
        .map(|status| (status.name.clone(), Freshness::at(status.as_of, now)))
        .collect()
}

/// Refuses when any of them was never synced, or is older than `max_age`: an
/// object that is not found might then be there all the same.
///
/// # Errors
/// 503 `stale`.
pub fn require_all(
    statuses: &Statuses,
    only: Option<&str>,
    max_age: Option<Duration>,
    now: Timestamp,
) -> Result<(), Problem> {
    let all = of_all(statuses, only, now);
    all.iter().try_for_each(|(name, freshness)| freshness.require(name, max_age))
}

/// RFC 3339, or `null`.
pub fn moment_or_null<S: Serializer>(
    moment: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match moment {
        Some(moment) => serializer.collect_str(moment),
        None => serializer.serialize_none(),
    }
}

/// RFC 3339.
pub fn moment<S: Serializer>(moment: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(moment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::status::DirectoryStatus;

    #[test]
    fn never_synced_and_too_old_are_stale() {
        let statuses = Statuses::default();
        let mut corp = DirectoryStatus::new("corp", "t", "p");
        statuses.insert(corp.clone());
        let now = Timestamp(100_000);
        let minute = Some(Duration::from_secs(60));
        let corp_now = |statuses: &Statuses| Freshness::of(statuses, "corp", now);
        assert!(corp_now(&statuses).require("corp", None).is_err());
        assert!(require_all(&statuses, None, None, now).is_err());
        assert!(require_all(&statuses, Some("other"), None, now).is_ok());
        corp.as_of = Some(Timestamp(39_000));
        statuses.insert(corp.clone());
        assert!(corp_now(&statuses).require("corp", None).is_ok());
        assert!(corp_now(&statuses).require("corp", minute).is_err());
        corp.as_of = Some(Timestamp(40_000));
        statuses.insert(corp);
        assert!(corp_now(&statuses).require("corp", minute).is_ok());
        assert_eq!(corp_now(&statuses).age_seconds, Some(60));
    }
}
