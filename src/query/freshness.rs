//! How old answers are, and when that is too old.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::problem::Problem;
use crate::clock::{self, Duration, Timestamp};
use crate::sync::status::{DirectoryStatus, Statuses};

/// How old the picture of one directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Freshness {
    /// End of the crawl that last confirmed it; `null` before the first.
    #[serde(serialize_with = "moment_or_null")]
    #[schema(required)]
    pub as_of: Option<Timestamp>,
    /// `null` also when the clock was set back behind `as_of`.
    #[schema(required)]
    pub age_seconds: Option<u64>,
}

/// By the directory's name.
pub type Freshnesses = BTreeMap<String, Freshness>;

impl Freshness {
    /// Of one directory; one that nobody knows was never synced.
    pub fn of(statuses: &Statuses, directory: &str, now: Timestamp) -> Freshness {
        let unknown = Freshness { as_of: None, age_seconds: None };
        statuses.get(directory).map_or(unknown, |status| Freshness::at(&status, now))
    }

    /// Of one directory whose status is at hand.
    pub fn at(status: &DirectoryStatus, now: Timestamp) -> Freshness {
        let age_seconds = status.age_seconds(now, clock::instant());
        Freshness { as_of: status.as_of, age_seconds }
    }

    /// Refuses what was never synced, or is or may be older than `max_age`.
    ///
    /// # Errors
    /// 503 `stale`.
    pub fn require(&self, directory: &str, max_age: Option<Duration>) -> Result<(), Problem> {
        let refused = |detail| Err(Problem::stale(detail).member("directory", directory));
        if self.as_of.is_none() {
            return refused(format!("the directory {directory} was never synced"));
        }
        let Some(max_age) = max_age else { return Ok(()) };
        let Some(age) = self.age_seconds else {
            return refused(format!(
                "how old the directory {directory} is cannot be told: the clock was set back"
            ));
        };
        if age > max_age.as_secs() {
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
        .map(|status| (status.name.clone(), Freshness::at(&status, now)))
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

    #[test]
    fn an_age_that_cannot_be_known_is_stale() {
        let statuses = Statuses::default();
        let mut corp = DirectoryStatus::new("corp", "t", "p");
        corp.as_of = Some(Timestamp(4_000_000));
        statuses.insert(corp);
        let freshness = Freshness::of(&statuses, "corp", Timestamp(100_000));
        assert_eq!(freshness.age_seconds, None);
        assert!(freshness.require("corp", None).is_ok());
        let refused = freshness.require("corp", Some(Duration::from_hours(1))).unwrap_err();
        assert!(refused.body()["detail"].as_str().unwrap().contains("set back"));
    }
}
