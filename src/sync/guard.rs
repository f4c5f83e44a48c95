//! Refuses removals that are suspiciously many.
//!
//! Removals are judged in categories: users removed or disabled, groups
//! removed, memberships removed overall, and memberships removed within one
//! group. Memberships that end because a user or group goes are counted with
//! that user or group, not a second time. What exceeds a limit of its category
//! is held until a person approves exactly that set, or a later crawl is
//! harmless; one removal alone never is: a single leaver must not wait.
//!
//! Within one crawl nothing tells a leaver from an error, so all removals of
//! the category are held. *Over time* they can be told apart: what was held
//! before stays held as the same set, and what later crawls remove beyond it
//! is judged by itself. When the held set shrinks, because the provider gave
//! back a part, the rest is judged anew.

use std::collections::{BTreeMap, BTreeSet};

use crate::index::DirectoryView;
use crate::model::{Category, Hold, Removal};
use crate::store::record;

/// How much one crawl may remove by itself. Of each pair, percent of what is
/// committed (100 switches it off) and a number of objects.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub users_removed_percent_max: f64,
    pub users_removed_max: Option<u64>,
    pub groups_removed_percent_max: f64,
    pub groups_removed_max: Option<u64>,
    pub members_removed_percent_max: f64,
    pub members_removed_max: Option<u64>,
    pub group_members_removed_percent_max: f64,
    pub group_members_removed_max: Option<u64>,
    /// So many removals are never too many in percent, unless nothing is left.
    pub floor: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            users_removed_percent_max: 10.0,
            users_removed_max: None,
            groups_removed_percent_max: 10.0,
            groups_removed_max: None,
            members_removed_percent_max: 20.0,
            members_removed_max: None,
            group_members_removed_percent_max: 50.0,
            group_members_removed_max: None,
            floor: 3,
        }
    }
}

impl Limits {
    /// Nothing is held, however much is removed.
    pub fn none() -> Limits {
        let all = 100.0;
        Limits {
            users_removed_percent_max: all,
            groups_removed_percent_max: all,
            members_removed_percent_max: all,
            group_members_removed_percent_max: all,
            ..Limits::default()
        }
    }
}

/// What becomes of the rest when some removals are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnHold {
    /// Nothing of the crawl is applied.
    HoldAll,
    /// What is not held is applied.
    #[default]
    ApplySafe,
}

/// What a crawl has to pass.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    pub limits: Limits,
    pub on_hold: OnHold,
    /// What is held so far.
    pub hold: Option<Box<Hold>>,
}

/// How much is committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub users: u64,
    pub groups: u64,
    pub members: u64,
    /// Groups that lose members, in words, with the number of their direct members.
    pub by_group: BTreeMap<u32, (String, u64)>,
}

/// What is not let through, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub held: BTreeSet<Removal>,
    pub reasons: BTreeMap<Category, String>,
}

impl Totals {
    /// The totals that judging `removals` takes.
    pub fn of<'a>(base: &DirectoryView, removals: impl IntoIterator<Item = &'a Removal>) -> Totals {
        let mut totals = Totals {
            users: base.user_count() as u64,
            groups: base.group_count() as u64,
            members: base.membership_count() as u64,
            by_group: BTreeMap::new(),
        };
        for removal in removals {
            if let Removal::Member { group, .. } = removal {
                totals.by_group.entry(*group).or_insert_with(|| {
                    let count = base.direct_users(*group).len() + base.subgroups(*group).len();
                    (group_words(base, *group), count as u64)
                });
            }
        }
        totals
    }
}

/// Judges what a crawl removes, in the light of what is held already.
pub fn judge(
    found: &BTreeSet<Removal>,
    hold: Option<&Hold>,
    totals: &Totals,
    limits: &Limits,
) -> Verdict {
    let scale = Scale { totals, limits };
    let none = BTreeSet::new();
    let before = hold.map_or(&none, |hold| &hold.pending.removals);
    let mut verdict = Verdict::default();
    for family in [Family::Users, Family::Groups, Family::Memberships] {
        let of = |all: &BTreeSet<Removal>| -> BTreeSet<Removal> {
            all.iter().filter(|removal| Family::of(removal) == family).copied().collect()
        };
        let (found, before) = (of(found), of(before));
        let old: BTreeSet<Removal> = found.intersection(&before).copied().collect();
        let unchanged = !old.is_empty() && old == before;
        let stays = if unchanged { old } else { scale.exceeding(family, &old) };
        let new: BTreeSet<Removal> = found.difference(&stays).copied().collect();
        let joins = scale.exceeding(family, &new);
        if unchanged && let Some(hold) = hold {
            let earlier = hold.reasons.iter().filter(|(category, _)| family.has(**category));
            verdict.reasons.extend(earlier.map(|(category, reason)| (*category, reason.clone())));
        }
        if !unchanged || !joins.is_empty() {
            let all: BTreeSet<Removal> = stays.union(&joins).copied().collect();
            verdict.reasons.extend(scale.reasons(family, &all));
        }
        verdict.held.extend(stays);
        verdict.held.extend(joins);
    }
    verdict
}

/// Removals that are judged together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Users,
    Groups,
    Memberships,
}

impl Family {
    fn of(removal: &Removal) -> Family {
        match removal {
            Removal::User(_) | Removal::Disabled(_) => Family::Users,
            Removal::Group(_) => Family::Groups,
            Removal::Member { .. } => Family::Memberships,
        }
    }

    fn has(self, category: Category) -> bool {
        self == match category {
            Category::Users => Family::Users,
            Category::Groups => Family::Groups,
            Category::Memberships | Category::MembershipsOf(_) => Family::Memberships,
        }
    }
}

/// One category's limits, and what they are measured against.
struct Measure {
    percent_max: f64,
    max: Option<u64>,
    total: u64,
    /// The floor does not let everything go.
    keeps_some: bool,
}

struct Scale<'a> {
    totals: &'a Totals,
    limits: &'a Limits,
}

impl Scale<'_> {
    /// The part of `removals`, all of one family, that is too many.
    fn exceeding(&self, family: Family, removals: &BTreeSet<Removal>) -> BTreeSet<Removal> {
        let exceeded = self.reasons(family, removals);
        let overall =
            exceeded.keys().any(|category| !matches!(category, Category::MembershipsOf(_)));
        let in_group = |removal: &Removal| match removal {
            Removal::Member { group, .. } => {
                exceeded.contains_key(&Category::MembershipsOf(*group))
            }
            _ => false,
        };
        removals.iter().filter(|removal| overall || in_group(removal)).copied().collect()
    }

    /// The limits that `removals`, all of one family, exceed.
    fn reasons(&self, family: Family, removals: &BTreeSet<Removal>) -> BTreeMap<Category, String> {
        let mut counts: BTreeMap<Category, u64> = BTreeMap::new();
        for removal in removals {
            let category = match (family, removal) {
                (Family::Users, _) => Category::Users,
                (Family::Groups, _) => Category::Groups,
                (Family::Memberships, Removal::Member { group, .. }) => {
                    *counts.entry(Category::MembershipsOf(*group)).or_default() += 1;
                    Category::Memberships
                }
                (Family::Memberships, _) => continue,
            };
            *counts.entry(category).or_default() += 1;
        }
        let disables = removals.iter().any(|removal| matches!(removal, Removal::Disabled(_)));
        let reason = |(category, removed): (Category, u64)| {
            let measure = self.measure(category);
            let exceeded = measure.exceeded(removed, self.limits.floor)?;
            let verb = if disables { "remove or disable" } else { "remove" };
            let what = self.what(category);
            let of = measure.total;
            Some((category, format!("would {verb} {removed} of {of} {what} ({exceeded})")))
        };
        counts.into_iter().filter_map(reason).collect()
    }

    fn measure(&self, category: Category) -> Measure {
        let Scale { totals, limits } = self;
        let (percent_max, max, total) = match category {
            Category::Users => {
                (limits.users_removed_percent_max, limits.users_removed_max, totals.users)
            }
            Category::Groups => {
                (limits.groups_removed_percent_max, limits.groups_removed_max, totals.groups)
            }
            Category::Memberships => {
                (limits.members_removed_percent_max, limits.members_removed_max, totals.members)
            }
            Category::MembershipsOf(group) => (
                limits.group_members_removed_percent_max,
                limits.group_members_removed_max,
                totals.by_group.get(&group).map_or(0, |(_, count)| *count),
            ),
        };
        let keeps_some = !matches!(category, Category::MembershipsOf(_));
        Measure { percent_max, max, total, keeps_some }
    }

    fn what(&self, category: Category) -> String {
        match category {
            Category::Users => "users".to_owned(),
            Category::Groups => "groups".to_owned(),
            Category::Memberships => "memberships".to_owned(),
            Category::MembershipsOf(group) => match self.totals.by_group.get(&group) {
                Some((name, _)) => format!("members of {name}"),
                None => "members of a group".to_owned(),
            },
        }
    }
}

impl Measure {
    /// By how much `removed` is too many.
    fn exceeded(&self, removed: u64, floor: u64) -> Option<String> {
        if removed <= 1 {
            return None;
        }
        let percent = share(removed, self.total);
        let spared = removed <= floor && !(self.keeps_some && removed >= self.total);
        let in_percent = self.percent_max < 100.0 && percent > self.percent_max && !spared;
        let in_number = self.max.filter(|max| removed > *max);
        match (in_percent, in_number) {
            (false, None) => None,
            (true, None) => Some(format!("{percent:.1} %, limit {} %", self.percent_max)),
            (false, Some(max)) => Some(format!("limit {max}")),
            (true, Some(max)) => {
                Some(format!("{percent:.1} %, limit {} % and {max}", self.percent_max))
            }
        }
    }
}

fn share(removed: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { removed as f64 * 100.0 / total as f64 }
}

fn group_words(base: &DirectoryView, group: u32) -> String {
    match base.group_record(group).map(record::id_and_name_of) {
        Some(Ok((id, name))) => format!("group {name} ({id})"),
        _ => format!("group number {group}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Member, Pending};

    fn totals() -> Totals {
        let by_group = (0..10).map(|group| (group, (format!("group g{group}"), 40))).collect();
        Totals { users: 100, groups: 20, members: 500, by_group }
    }

    fn users(slots: std::ops::Range<u32>) -> Vec<Removal> {
        slots.map(Removal::User).collect()
    }

    fn members(group: u32, slots: std::ops::Range<u32>) -> Vec<Removal> {
        slots.map(|slot| Removal::Member { group, member: Member::User(slot) }).collect()
    }

    fn set(parts: &[Vec<Removal>]) -> BTreeSet<Removal> {
        parts.iter().flatten().copied().collect()
    }

    fn hold(removals: &BTreeSet<Removal>) -> Hold {
        let reasons = [(Category::Users, "earlier".to_owned())].into();
        let pending = Pending { removals: removals.clone(), ..Pending::default() };
        Hold { reasons, pending, ..Hold::default() }
    }

    #[track_caller]
    fn check(limits: &Limits, found: &BTreeSet<Removal>, expect: &[&str]) {
        let verdict = judge(found, None, &totals(), limits);
        assert_eq!(verdict.reasons.into_values().collect::<Vec<_>>(), expect);
    }

    #[test]
    fn g1_more_than_the_share_is_held() {
        let limits = Limits::default();
        let groups = |count| (0..count).map(Removal::Group).collect::<Vec<_>>();
        check(&limits, &set(&[users(0..10), groups(2)]), &[]);
        let reason = "would remove 11 of 100 users (11.0 %, limit 10 %)";
        check(&limits, &set(&[users(0..11)]), &[reason]);
        let reason = "would remove 4 of 20 groups (20.0 %, limit 10 %)";
        check(&limits, &set(&[groups(4)]), &[reason]);
    }

    #[test]
    fn g2_memberships_have_a_limit_of_their_own() {
        let spread: Vec<Vec<Removal>> = (0..10).map(|group| members(group, 0..11)).collect();
        let reason = "would remove 110 of 500 memberships (22.0 %, limit 20 %)";
        check(&Limits::default(), &set(&spread), &[reason]);
    }

    #[test]
    fn one_group_that_is_emptied_is_held_alone() {
        let found = set(&[members(3, 0..40), members(4, 0..1), users(50..51)]);
        let verdict = judge(&found, None, &totals(), &Limits::default());
        assert_eq!(verdict.held, set(&[members(3, 0..40)]));
        let reason = "would remove 40 of 40 members of group g3 (100.0 %, limit 50 %)";
        assert_eq!(verdict.reasons, [(Category::MembershipsOf(3), reason.to_owned())].into());
    }

    #[test]
    fn whoever_is_disabled_counts_as_removed() {
        let disabled = (6..11).map(Removal::Disabled).collect();
        let reason = "would remove or disable 11 of 100 users (11.0 %, limit 10 %)";
        check(&Limits::default(), &set(&[users(0..6), disabled]), &[reason]);
    }

    #[test]
    fn a_number_is_a_limit_too_and_knows_no_floor() {
        let limits = Limits { users_removed_max: Some(2), ..Limits::default() };
        check(&limits, &set(&[users(0..2)]), &[]);
        check(&limits, &set(&[users(0..3)]), &["would remove 3 of 100 users (limit 2)"]);
        let both = "would remove 11 of 100 users (11.0 %, limit 10 % and 2)";
        check(&limits, &set(&[users(0..11)]), &[both]);
    }

    #[test]
    fn the_floor_is_for_small_directories_that_keep_somebody() {
        let small = |users| Totals { users, ..totals() };
        let held = |total, removed, floor| {
            let limits = Limits { floor, ..Limits::default() };
            !judge(&set(&[users(0..removed)]), None, &small(total), &limits).held.is_empty()
        };
        assert!(!held(8, 3, 3), "three of eight");
        assert!(held(8, 3, 2), "a lower floor");
        assert!(held(8, 4, 3), "more than the floor");
        assert!(held(3, 3, 3), "nobody is left");
    }

    #[test]
    fn g4_a_single_leaver_is_never_held() {
        let limits = Limits { floor: 0, users_removed_max: Some(0), ..Limits::default() };
        let totals = Totals { users: 1, groups: 1, members: 1, ..totals() };
        let found = set(&[users(0..1), members(0, 1..2), vec![Removal::Group(1)]]);
        assert_eq!(judge(&found, None, &totals, &limits), Verdict::default());
    }

    #[test]
    fn a_limit_of_100_percent_is_off() {
        let limits = Limits { users_removed_percent_max: 100.0, ..Limits::default() };
        check(&limits, &set(&[users(0..100)]), &[]);
    }

    #[test]
    fn g4_who_leaves_while_others_are_held_does_not_wait() {
        let before = set(&[users(0..30)]);
        let found = set(&[users(0..31)]);
        let verdict = judge(&found, Some(&hold(&before)), &totals(), &Limits::default());
        assert_eq!(verdict.held, before);
        assert_eq!(verdict.reasons, hold(&before).reasons);
    }

    #[test]
    fn too_many_leavers_join_what_is_held() {
        let before = set(&[users(0..30)]);
        let found = set(&[users(0..50)]);
        let verdict = judge(&found, Some(&hold(&before)), &totals(), &Limits::default());
        assert_eq!(verdict.held, found);
        let reason = "would remove 50 of 100 users (50.0 %, limit 10 %)";
        assert_eq!(verdict.reasons[&Category::Users], reason);
    }

    #[test]
    fn what_is_held_stays_held_however_much_comes_in_beside_it() {
        let before = set(&[users(0..30)]);
        let grown = Totals { users: 1_000, ..totals() };
        let verdict = judge(&before, Some(&hold(&before)), &grown, &Limits::default());
        assert_eq!(verdict.held, before);
    }

    #[test]
    fn g3_a_held_set_that_shrank_is_judged_anew() {
        let before = set(&[users(0..30)]);
        let held =
            |found| judge(&found, Some(&hold(&before)), &totals(), &Limits::default()).held.len();
        assert_eq!(held(set(&[users(0..20)])), 20);
        assert_eq!(held(set(&[users(0..5)])), 0);
        assert_eq!(held(BTreeSet::new()), 0);
    }
}
