//! Refuses changes that would remove suspiciously much.
//!
//! A set that removes more than a configured share is held as a whole: nothing
//! of it is applied until a person approves exactly that set, or a later crawl
//! is harmless. One removal alone is never held: a single leaver must not wait
//! for an operator. Memberships that end because a user or group goes are
//! counted with that user or group, not a second time.

use super::plan::Plan;

/// The largest shares, in percent of what is committed, that a crawl may
/// remove by itself. 100 switches a limit off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub users_removed_percent_max: f64,
    pub groups_removed_percent_max: f64,
    pub members_removed_percent_max: f64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            users_removed_percent_max: 10.0,
            groups_removed_percent_max: 10.0,
            members_removed_percent_max: 20.0,
        }
    }
}

/// How much is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    pub users: u64,
    pub groups: u64,
    pub members: u64,
}

/// Why a plan is held; `None` lets it pass.
pub fn judge(plan: &Plan, totals: Totals, limits: &Limits) -> Option<String> {
    let checks = [
        ("users", plan.counts.users_deleted, totals.users, limits.users_removed_percent_max),
        ("groups", plan.counts.groups_deleted, totals.groups, limits.groups_removed_percent_max),
        (
            "memberships",
            plan.members_removed_alone,
            totals.members,
            limits.members_removed_percent_max,
        ),
    ];
    let reasons: Vec<String> = checks
        .into_iter()
        .filter(|(_, removed, total, percent_max)| exceeds(*removed, *total, *percent_max))
        .map(|(what, removed, total, percent_max)| {
            let percent = share(removed, total);
            format!(
                "would remove {removed} of {total} {what} ({percent:.1} %, limit {percent_max} %)"
            )
        })
        .collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

fn exceeds(removed: u64, total: u64, percent_max: f64) -> bool {
    removed > 1 && percent_max < 100.0 && share(removed, total) > percent_max
}

fn share(removed: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { removed as f64 * 100.0 / total as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::status::Counts;

    const TOTALS: Totals = Totals { users: 100, groups: 20, members: 500 };

    fn plan(users_deleted: u64, groups_deleted: u64, members_removed_alone: u64) -> Plan {
        let counts = Counts { users_deleted, groups_deleted, ..Counts::default() };
        Plan { counts, members_removed_alone, ..Plan::default() }
    }

    fn check(plan: &Plan, expect: Option<&str>) {
        assert_eq!(judge(plan, TOTALS, &Limits::default()).as_deref(), expect);
    }

    #[test]
    fn g1_more_than_the_share_is_held() {
        check(&plan(10, 2, 100), None);
        check(&plan(11, 0, 0), Some("would remove 11 of 100 users (11.0 %, limit 10 %)"));
        check(&plan(0, 3, 0), Some("would remove 3 of 20 groups (15.0 %, limit 10 %)"));
    }

    #[test]
    fn g2_memberships_have_a_limit_of_their_own() {
        check(&plan(0, 0, 101), Some("would remove 101 of 500 memberships (20.2 %, limit 20 %)"));
    }

    #[test]
    fn g4_a_single_leaver_is_never_held() {
        let totals = Totals { users: 2, groups: 1, members: 1 };
        assert_eq!(judge(&plan(1, 1, 1), totals, &Limits::default()), None);
    }

    #[test]
    fn a_limit_of_100_percent_is_off() {
        let limits = Limits { users_removed_percent_max: 100.0, ..Limits::default() };
        assert_eq!(judge(&plan(100, 0, 0), TOTALS, &limits), None);
    }
}
