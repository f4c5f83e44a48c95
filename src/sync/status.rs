//! What is known of each directory's polling, for `status`, answers and metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::clock::{self, Duration, Instant, Timestamp};
use crate::model::Hold;
use crate::provider::Extent;

pub use crate::provider::{Compared, Proof, Verified};

pub use crate::model::{Counts, HeldRemovals};

/// A clock that is being corrected may be behind by this much.
const CLOCK_SLACK: Duration = Duration::from_secs(1);

/// The state of one directory, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryStatus {
    pub name: String,
    pub tenant: String,
    pub product: String,
    /// `ldap`, `bundle`, …
    pub provider: &'static str,
    /// Where it connects to, without secrets.
    pub origin: String,
    /// End of the crawl that last confirmed the committed picture; kept over
    /// a restart as the end of the last crawl that changed something.
    /// `None`: never synced.
    pub as_of: Option<Timestamp>,
    /// The same moment on the monotonic clock, when it lies in this process.
    pub confirmed: Option<Instant>,
    /// How old the picture may become before that is told.
    pub freshness_objective: Option<Duration>,
    pub last_attempt: Option<Timestamp>,
    /// End of the last sealed crawl of this process, held or not.
    pub last_success: Option<Timestamp>,
    pub consecutive_failures: u32,
    /// The last failure's sentence; cleared by a success.
    pub last_error: Option<String>,
    pub next_poll_at: Option<Timestamp>,
    /// A crawl is under way.
    pub crawling: bool,
    pub last_crawl: Option<CrawlSummary>,
    pub hold: Option<HoldSummary>,
    /// References of groups to nobody known, as of the last sealed crawl.
    pub unresolved: u64,
    /// Sealed crawls of this process.
    pub crawls_sealed: u64,
    /// Failed crawls of this process.
    pub crawls_failed: u64,
    /// Requests to the provider that the sealed crawls of this process report,
    /// by name.
    pub requests: BTreeMap<String, u64>,
    /// Differences of this process that only reading again found, though the
    /// provider's feed should have named them.
    pub drift: u64,
}

/// What the last sealed crawl did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrawlSummary {
    pub extent: Extent,
    pub duration: Duration,
    pub pages: u64,
    pub counts: Counts,
    /// Requests or operations by name.
    pub requests: BTreeMap<String, u64>,
    /// Why it is known to be complete.
    pub proof: Proof,
    /// What was read again although no feed named it.
    pub verified: Verified,
    /// Objects that could not be decoded; their last good records stand.
    pub malformed: u64,
    /// Differences that only reading again found.
    pub drift: u64,
}

impl CrawlSummary {
    /// `full` or `incremental`.
    pub fn kind(&self) -> &'static str {
        match self.extent {
            Extent::Whole => "full",
            Extent::Changes => "incremental",
        }
    }
}

/// A set of changes that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldSummary {
    /// Names exactly this set: a digest of its changes.
    pub id: String,
    pub since: Timestamp,
    /// Which limits, by how much: all of `reasons` in one line.
    pub reason: String,
    pub reasons: Vec<String>,
    /// What letting it through would do.
    pub counts: Counts,
    /// A person rejected it; it stays held and is not told again.
    pub rejected: bool,
    /// Why everything that the crawl found waits, where that is so.
    pub whole: Option<String>,
    /// What is held, by category.
    pub held: HeldRemovals,
}

impl From<&Hold> for HoldSummary {
    fn from(hold: &Hold) -> HoldSummary {
        let reasons: Vec<String> = hold.reasons.values().cloned().collect();
        HoldSummary {
            id: hold.id.clone(),
            since: hold.since,
            reason: reasons.join("; "),
            reasons,
            counts: hold.counts,
            rejected: hold.rejected,
            whole: hold.whole.clone(),
            held: hold.removals,
        }
    }
}

/// The statuses of all directories. A cheap handle.
#[derive(Clone, Debug, Default)]
pub struct Statuses(Arc<RwLock<BTreeMap<String, Arc<DirectoryStatus>>>>);

impl Statuses {
    /// All directories, by name.
    pub fn all(&self) -> Vec<Arc<DirectoryStatus>> {
        self.read().values().cloned().collect()
    }

    /// One directory.
    pub fn get(&self, name: &str) -> Option<Arc<DirectoryStatus>> {
        self.read().get(name).cloned()
    }

    /// Adds or replaces a directory.
    pub fn insert(&self, status: DirectoryStatus) {
        self.write().insert(status.name.clone(), Arc::new(status));
    }

    /// Changes one directory's status, if it is there.
    pub fn update(&self, name: &str, change: impl FnOnce(&mut DirectoryStatus)) {
        if let Some(status) = self.write().get_mut(name) {
            change(Arc::make_mut(status));
        }
    }

    /// Forgets a directory.
    pub fn remove(&self, name: &str) {
        self.write().remove(name);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<DirectoryStatus>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<String, Arc<DirectoryStatus>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DirectoryStatus {
    /// How long ago the picture was confirmed: the longer of what the two clocks
    /// say, since the wall clock may be set back and the monotonic one stands
    /// still while the machine sleeps. `None`: never, or the wall clock was set
    /// back behind a moment that only an earlier process can have seen.
    pub fn age_seconds(&self, now: Timestamp, instant: Instant) -> Option<u64> {
        let as_of = self.as_of?;
        let passed = self.confirmed.map(|then| instant.saturating_duration_since(then).as_secs());
        let told = (as_of <= now.plus(CLOCK_SLACK)).then(|| as_of.seconds_until(now));
        passed.max(told)
    }

    /// Whether the picture is as young as it was promised to be; `None` without
    /// a promise. One whose age nobody knows is not.
    pub fn is_fresh(&self, now: Timestamp) -> Option<bool> {
        let objective = self.freshness_objective?.as_secs();
        let age = self.age_seconds(now, clock::instant());
        Some(age.is_some_and(|age| age <= objective))
    }

    /// A directory that has not been polled yet.
    pub fn new(name: &str, tenant: &str, product: &str) -> DirectoryStatus {
        DirectoryStatus {
            name: name.to_owned(),
            tenant: tenant.to_owned(),
            product: product.to_owned(),
            provider: "",
            origin: String::new(),
            as_of: None,
            confirmed: None,
            freshness_objective: None,
            last_attempt: None,
            last_success: None,
            consecutive_failures: 0,
            last_error: None,
            next_poll_at: None,
            crawling: false,
            last_crawl: None,
            hold: None,
            unresolved: 0,
            crawls_sealed: 0,
            crawls_failed: 0,
            requests: BTreeMap::new(),
            drift: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_follows_the_clock_that_says_more() {
        let second = Duration::from_secs(1);
        let (start, wall) = (clock::instant(), Timestamp(1_000_000_000));
        let mut status = DirectoryStatus::new("corp", "t", "p");
        assert_eq!(status.age_seconds(wall, start), None);
        (status.as_of, status.confirmed) = (Some(wall), Some(start));
        let age = |wall, seconds: u32| status.age_seconds(wall, start + second * seconds);
        assert_eq!(age(wall.plus(second * 5), 5), Some(5));
        let hour = Duration::from_hours(1);
        assert_eq!(age(wall.minus(hour), 5), Some(5), "set back");
        assert_eq!(age(wall.plus(hour), 5), Some(3600), "set forward, or asleep");
    }

    #[test]
    fn an_age_from_before_the_start_is_unknown_once_the_clock_is_set_back() {
        let (start, wall) = (clock::instant(), Timestamp(1_000_000_000));
        let mut status = DirectoryStatus::new("corp", "t", "p");
        status.as_of = Some(wall);
        assert_eq!(status.age_seconds(wall.minus(Duration::from_hours(1)), start), None);
        assert_eq!(status.age_seconds(wall.minus(Duration::from_millis(900)), start), Some(0));
    }
}
