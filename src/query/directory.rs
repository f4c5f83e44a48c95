//! How a directory looks to operators: its state, its last crawl, what it holds.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::freshness::{Freshness, moment, moment_or_null};
use crate::clock::Timestamp;
use crate::index::View;
use crate::sync::status::{
    Compared, Counts, CrawlSummary, DirectoryStatus, HeldRemovals, HoldSummary,
};

/// One directory, as operators see it.
#[derive(Serialize, ToSchema)]
#[schema(as = Directory)]
pub struct DirectoryBody<'a> {
    name: &'a str,
    tenant: &'a str,
    product: &'a str,
    /// `ldap`, `entra`, …
    provider: &'a str,
    /// Where it connects to, without secrets.
    origin: &'a str,
    state: State,
    #[serde(flatten)]
    freshness: Freshness,
    /// How old it may become before that is told; `null` without an objective.
    #[schema(required)]
    freshness_objective_seconds: Option<u64>,
    /// Whether the objective is met.
    #[schema(required)]
    fresh: Option<bool>,
    users: usize,
    groups: usize,
    memberships: usize,
    /// References of groups to nobody known.
    unresolved: u64,
    /// A crawl is under way.
    crawling: bool,
    #[serde(serialize_with = "moment_or_null")]
    #[schema(required)]
    last_attempt: Option<Timestamp>,
    #[serde(serialize_with = "moment_or_null")]
    #[schema(required)]
    last_success: Option<Timestamp>,
    #[serde(serialize_with = "moment_or_null")]
    #[schema(required)]
    next_poll_at: Option<Timestamp>,
    consecutive_failures: u32,
    /// The last failure in a sentence; `null` after a success.
    #[schema(required)]
    last_error: Option<&'a str>,
    /// Since the daemon started.
    crawls_sealed: u64,
    /// Since the daemon started.
    crawls_failed: u64,
    /// Differences that only reading again found, since the daemon started.
    drift: u64,
    #[schema(required)]
    last_crawl: Option<CrawlBody<'a>>,
    #[schema(required)]
    hold: Option<HoldBody<'a>>,
}

/// How a directory is.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = DirectoryState)]
enum State {
    New,
    Healthy,
    Failing,
    Held,
}

/// What the last sealed crawl did.
#[derive(Serialize, ToSchema)]
#[schema(as = Crawl)]
struct CrawlBody<'a> {
    /// `full` or `incremental`.
    kind: &'static str,
    duration_ms: u64,
    pages: u64,
    counts: CountsBody,
    /// Requests or operations by name.
    requests: &'a BTreeMap<String, u64>,
    /// Which lists came to their ends.
    proof: &'a str,
    /// Counts that the provider offers, beside what was read.
    compared: Vec<ComparedBody<'a>>,
    /// How it is known that everything was visible.
    #[schema(required)]
    visibility: Option<&'a str>,
    /// What was read again although no feed named it, and what that cost.
    verified: VerifiedBody,
    /// Objects that could not be decoded; their last good records stand.
    malformed: u64,
    /// Differences that only reading again found.
    drift: u64,
}

/// A count of the provider's, and what was read.
#[derive(Serialize, ToSchema)]
#[schema(as = Compared)]
struct ComparedBody<'a> {
    what: &'a str,
    announced: u64,
    read: u64,
}

/// What was read again.
#[derive(Serialize, ToSchema)]
#[schema(as = Verified)]
struct VerifiedBody {
    users: u64,
    groups: u64,
    requests: u64,
}

/// A set of changes that waits for a person.
#[derive(Serialize, ToSchema)]
#[schema(as = Hold)]
pub struct HoldBody<'a> {
    /// Names exactly this set.
    id: &'a str,
    #[serde(serialize_with = "moment")]
    since: Timestamp,
    /// All of `reasons` in one line.
    reason: &'a str,
    /// One for each limit that is exceeded.
    reasons: &'a [String],
    /// What is held, by category.
    removals: RemovalsBody,
    /// What letting it through would do.
    counts: CountsBody,
    /// A person rejected it.
    rejected: bool,
    /// Why everything that changed is held, not these removals alone.
    #[schema(required)]
    whole: Option<&'a str>,
}

/// How much a set of changes does, by kind.
#[derive(Serialize, ToSchema)]
#[schema(as = Counts)]
pub struct CountsBody {
    users_created: u64,
    users_updated: u64,
    /// Of those updated, the ones that may no longer sign in.
    users_disabled: u64,
    users_deleted: u64,
    groups_created: u64,
    groups_updated: u64,
    groups_deleted: u64,
    members_added: u64,
    members_removed: u64,
}

/// How many removals are held.
#[derive(Serialize, ToSchema)]
#[schema(as = HeldRemovals)]
struct RemovalsBody {
    /// Removed or disabled.
    users: u64,
    groups: u64,
    memberships: u64,
}

impl<'a> DirectoryBody<'a> {
    /// Of a directory's status, with what the view has of it.
    pub fn of(view: &View, status: &'a DirectoryStatus, now: Timestamp) -> DirectoryBody<'a> {
        let directory = view.directory(&status.name);
        DirectoryBody {
            name: &status.name,
            tenant: &status.tenant,
            product: &status.product,
            provider: status.provider,
            origin: &status.origin,
            state: State::of(status),
            freshness: Freshness::at(status, now),
            freshness_objective_seconds: status.freshness_objective.map(|age| age.as_secs()),
            fresh: status.is_fresh(now),
            users: directory.map_or(0, |directory| directory.user_count()),
            groups: directory.map_or(0, |directory| directory.group_count()),
            memberships: directory.map_or(0, |directory| directory.membership_count()),
            unresolved: status.unresolved,
            crawling: status.crawling,
            last_attempt: status.last_attempt,
            last_success: status.last_success,
            next_poll_at: status.next_poll_at,
            consecutive_failures: status.consecutive_failures,
            last_error: status.last_error.as_deref(),
            crawls_sealed: status.crawls_sealed,
            crawls_failed: status.crawls_failed,
            drift: status.drift,
            last_crawl: status.last_crawl.as_ref().map(CrawlBody::from),
            hold: status.hold.as_ref().map(HoldBody::from),
        }
    }
}

impl State {
    fn of(status: &DirectoryStatus) -> State {
        match status {
            DirectoryStatus { consecutive_failures: 1.., .. } => State::Failing,
            DirectoryStatus { hold: Some(_), .. } => State::Held,
            DirectoryStatus { as_of: None, .. } => State::New,
            _ => State::Healthy,
        }
    }
}

impl<'a> From<&'a CrawlSummary> for CrawlBody<'a> {
    fn from(crawl: &'a CrawlSummary) -> CrawlBody<'a> {
        let verified = &crawl.verified;
        CrawlBody {
            kind: crawl.kind(),
            duration_ms: u64::try_from(crawl.duration.as_millis()).unwrap_or(u64::MAX),
            pages: crawl.pages,
            counts: (&crawl.counts).into(),
            requests: &crawl.requests,
            proof: &crawl.proof.ends,
            compared: crawl.proof.compared.iter().map(ComparedBody::from).collect(),
            visibility: crawl.proof.visibility.as_deref(),
            verified: VerifiedBody {
                users: verified.users,
                groups: verified.groups,
                requests: verified.requests,
            },
            malformed: crawl.malformed,
            drift: crawl.drift,
        }
    }
}

impl<'a> From<&'a Compared> for ComparedBody<'a> {
    fn from(count: &'a Compared) -> ComparedBody<'a> {
        ComparedBody { what: &count.what, announced: count.announced, read: count.read }
    }
}

impl<'a> From<&'a HoldSummary> for HoldBody<'a> {
    fn from(hold: &'a HoldSummary) -> HoldBody<'a> {
        HoldBody {
            id: &hold.id,
            since: hold.since,
            reason: &hold.reason,
            reasons: &hold.reasons,
            removals: (&hold.held).into(),
            counts: (&hold.counts).into(),
            rejected: hold.rejected,
            whole: hold.whole.as_deref(),
        }
    }
}

impl From<&Counts> for CountsBody {
    fn from(counts: &Counts) -> CountsBody {
        CountsBody {
            users_created: counts.users_created,
            users_updated: counts.users_updated,
            users_disabled: counts.users_disabled,
            users_deleted: counts.users_deleted,
            groups_created: counts.groups_created,
            groups_updated: counts.groups_updated,
            groups_deleted: counts.groups_deleted,
            members_added: counts.members_added,
            members_removed: counts.members_removed,
        }
    }
}

impl From<&HeldRemovals> for RemovalsBody {
    fn from(held: &HeldRemovals) -> RemovalsBody {
        let HeldRemovals { users, groups, memberships } = *held;
        RemovalsBody { users, groups, memberships }
    }
}
