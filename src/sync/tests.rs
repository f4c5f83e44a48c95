//! The reconciler against small directories, where the property test's world
//! does not go: references by id, single steps, objects out of sight.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::proptest;
use proptest::sample::{select, subsequence};

use super::guard::{Gate, Limits};
use super::plan::Plan;
use super::reconcile::Reconciler;
use super::split::{self, HeldPart, Outcome};
use crate::index::DirectoryView;
use crate::model::{Change, Group, Hold, Reference, User};
use crate::provider::{Extent, GroupItem, Item, PullError, UserItem};

fn user(id: &str) -> Item {
    let user = User { id: id.into(), username: id.into(), active: true, ..User::default() };
    Item::User(UserItem { user, ..UserItem::default() })
}

fn group(id: &str) -> Item {
    let group = Group { id: id.into(), name: id.into(), ..Group::default() };
    Item::Group(GroupItem { group, ..GroupItem::default() })
}

fn id(id: &str) -> Reference {
    Reference::Id(id.into())
}

fn members(group: &str, members: &[&str]) -> Item {
    Item::Members { group: id(group), members: members.iter().map(|m| id(m)).collect() }
}

/// A committed directory that follows crawl after crawl.
struct Followed(Arc<DirectoryView>);

impl Followed {
    fn start(items: Vec<Item>) -> Followed {
        let mut followed = Followed(Arc::new(DirectoryView::empty("corp", "t", "p")));
        followed.crawl(Extent::Whole, items);
        followed
    }

    fn try_crawl(&self, extent: Extent, items: Vec<Item>) -> Result<Plan, PullError> {
        let mut crawl = Reconciler::new(self.0.clone());
        crawl.page(items);
        let limits = Limits::none();
        let outcome = crawl.seal(extent, &Gate { limits, ..Gate::default() })?;
        assert_eq!(outcome.held, None);
        Ok(outcome.applies)
    }

    fn crawl(&mut self, extent: Extent, items: Vec<Item>) -> Plan {
        let plan = self.try_crawl(extent, items).unwrap();
        self.0 = Arc::new(self.0.apply(&plan.changes, self.0.last_seq() + 1).unwrap());
        plan
    }

    fn is_member(&self, user: &str, group: &str) -> bool {
        match (self.0.user_by_id(user), self.0.group_by_id(group)) {
            (Some(user), Some(group)) => self.0.is_member(user, group),
            _ => false,
        }
    }
}

/// A user with one alias.
fn known_as(id: &str, alias: &str) -> Item {
    let user = User { id: id.into(), username: id.into(), active: true, ..User::default() };
    Item::User(UserItem { user, aliases: vec![alias.into()], ..UserItem::default() })
}

fn alias(alias: &str) -> Reference {
    Reference::Alias(alias.into())
}

#[test]
fn members_by_alias_and_by_id_in_one_long_list_are_each_who_is_named() {
    let names: Vec<String> = (0..11).map(|n| format!("u{n}")).collect();
    let user = |name: &String| known_as(name, &format!("cn={name}"));
    let everybody = || names.iter().map(user).chain([group("g")]);
    let list = |left_out: usize| {
        let named = names.iter().enumerate().filter(|(n, _)| *n != left_out);
        let members = named.map(|(n, name)| match n % 3 {
            0 => id(name),
            1 => alias(&format!("cn={name}")),
            _ => Reference::User(name.clone()),
        });
        Item::Members { group: id("g"), members: members.collect() }
    };
    let mut followed = Followed::start(everybody().chain([list(99)]).collect());
    assert!(names.iter().all(|name| followed.is_member(name, "g")));
    let again = followed.crawl(Extent::Whole, everybody().chain([list(99)]).collect());
    assert_eq!(again.changes, []);
    for left_out in 0..names.len() {
        followed.crawl(Extent::Whole, everybody().chain([list(left_out)]).collect());
        for (n, name) in names.iter().enumerate() {
            assert_eq!(followed.is_member(name, "g"), n != left_out, "{name} without {left_out}");
        }
    }
}

#[test]
fn what_comes_twice_in_a_crawl_is_as_it_came_last() {
    let start = || vec![known_as("u1", "a"), group("g"), members("g", &["u1"])];
    let mut followed = Followed::start(start());
    let twice = |list: Item| vec![known_as("u1", "b"), group("g"), list, known_as("u1", "a")];
    let by_id = followed.crawl(Extent::Whole, twice(members("g", &["u1"])));
    assert_eq!(by_id.changes, [], "as it was committed");
    let by_alias = Item::Members { group: id("g"), members: vec![alias("b")] };
    let error = followed.try_crawl(Extent::Whole, twice(by_alias)).err();
    let renamed = |error: &PullError| error.to_string().contains("renamed or moved");
    assert!(error.as_ref().is_some_and(renamed), "{error:?}");
    let items = vec![Item::UserDeleted(id("u1")), known_as("u1", "a")];
    assert_eq!(followed.crawl(Extent::Changes, items).changes, [], "it is there after all");
}

/// A directory whose removals are held, as the poller does it.
struct Guarded {
    view: Arc<DirectoryView>,
    gate: Gate,
}

impl Guarded {
    /// Five users, all in one group.
    fn start() -> Guarded {
        let followed = Followed::start(five(true, &FIVE));
        Guarded { view: followed.0, gate: Gate::default() }
    }

    /// The id of what is held after a crawl, and what was applied.
    fn crawl(&mut self, extent: Extent, items: Vec<Item>) -> (Option<String>, Vec<Change>) {
        let mut crawl = Reconciler::new(self.view.clone());
        crawl.page(items);
        let Outcome { applies, held, .. } = crawl.seal(extent, &self.gate).unwrap();
        self.view = Arc::new(self.view.apply(&applies.changes, self.view.last_seq() + 1).unwrap());
        self.gate.hold = held.map(|part| {
            assert_eq!(part.whole, None);
            let HeldPart { id, reasons, pending, .. } = part;
            Box::new(Hold { id, reasons, pending, ..Hold::default() })
        });
        (self.gate.hold.as_ref().map(|hold| hold.id.clone()), applies.changes)
    }

    /// Lets through what is held.
    fn approve(&mut self) {
        let hold = self.gate.hold.take().unwrap();
        let plan = split::rest(self.view.clone(), &hold.pending).unwrap();
        self.view = Arc::new(self.view.apply(&plan.changes, self.view.last_seq() + 1).unwrap());
    }
}

const FIVE: [&str; 5] = ["u1", "u2", "u3", "u4", "u5"];

fn five(active: bool, in_group: &[&str]) -> Vec<Item> {
    let mut items: Vec<Item> = FIVE.iter().map(|id| account(id, active)).collect();
    items.extend([group("g"), members("g", in_group)]);
    items
}

fn account(id: &str, active: bool) -> Item {
    let user = User { id: id.into(), username: id.into(), active, ..User::default() };
    Item::User(UserItem { user, ..UserItem::default() })
}

fn unchanged() -> Vec<Item> {
    FIVE.iter().copied().chain(["g"]).map(|name| Item::Kept(id(name))).collect()
}

/// A crawl after which something is held, and two that say nothing new of it:
/// the same is held then, and approving it leads to `all`.
#[track_caller]
fn check_it_stays_held(first: Vec<Item>, all: Vec<Item>) {
    let mut guarded = Guarded::start();
    let (held, applied) = guarded.crawl(Extent::Whole, first);
    assert!(held.is_some());
    assert_eq!(applied, Vec::<Change>::new());
    for (extent, items) in [(Extent::Whole, unchanged()), (Extent::Changes, Vec::new())] {
        assert_eq!(guarded.crawl(extent, items), (held.clone(), Vec::new()), "{extent:?}");
    }
    guarded.approve();
    let (held, applied) = guarded.crawl(Extent::Whole, all);
    let told: u64 = applied.iter().map(Change::events).sum();
    assert_eq!((held, told), (None, 0));
}

#[test]
fn a_list_said_to_be_unchanged_is_the_one_that_is_held() {
    check_it_stays_held(five(true, &["u1"]), five(true, &["u1"]));
}

#[test]
fn a_user_said_to_be_unchanged_is_the_one_that_is_held() {
    check_it_stays_held(five(false, &FIVE), five(false, &FIVE));
}

#[test]
fn what_the_provider_gives_back_in_an_incremental_crawl_is_not_held() {
    let mut guarded = Guarded::start();
    guarded.crawl(Extent::Whole, five(true, &[])).0.unwrap();
    let back = vec![Item::MembersAdded { group: id("g"), members: vec![id("u1")] }];
    let (fewer, _) = guarded.crawl(Extent::Changes, back);
    assert!(fewer.is_some());
    assert_eq!(guarded.crawl(Extent::Changes, vec![members("g", &FIVE)]), (None, Vec::new()));
}

#[test]
fn a_held_user_is_not_given_back_to_a_group_that_dropped_them() {
    let mut guarded = Guarded::start();
    let gone = vec![user("u1"), group("g"), members("g", &["u1"])];
    guarded.crawl(Extent::Whole, gone).0.unwrap();
    guarded.approve();
    guarded.crawl(Extent::Changes, vec![user("u2")]);
    let (user, group) = (guarded.view.user_by_id("u2").unwrap(), guarded.view.group_by_id("g"));
    assert!(!guarded.view.is_member(user, group.unwrap()), "no list names u2");
}

fn two_in_one() -> Followed {
    Followed::start(vec![user("u1"), user("u2"), group("g"), members("g", &["u1", "u2"])])
}

#[test]
fn who_comes_back_into_sight_is_a_member_again() {
    let mut followed = two_in_one();
    followed.crawl(Extent::Changes, vec![Item::UserDeleted(id("u1"))]);
    assert!(!followed.is_member("u1", "g"));
    followed.crawl(Extent::Changes, vec![user("u1")]);
    assert!(followed.is_member("u1", "g"));
}

#[test]
fn a_removal_out_of_sight_stays_a_removal() {
    let removed = || Item::MembersRemoved { group: id("g"), members: vec![id("u1")] };
    let mut followed = two_in_one();
    followed.crawl(Extent::Changes, vec![Item::UserDeleted(id("u1"))]);
    followed.crawl(Extent::Changes, vec![removed()]);
    followed.crawl(Extent::Changes, vec![user("u1")]);
    assert!(!followed.is_member("u1", "g"));

    let mut at_once = two_in_one();
    at_once.crawl(Extent::Changes, vec![removed(), Item::UserDeleted(id("u1"))]);
    at_once.crawl(Extent::Changes, vec![user("u1")]);
    assert!(!at_once.is_member("u1", "g"));
}

#[test]
fn a_list_that_names_somebody_out_of_sight_is_not_a_change_each_time() {
    let mut followed = two_in_one();
    let whole = || vec![user("u2"), group("g"), members("g", &["u1", "u2"])];
    followed.crawl(Extent::Whole, whole());
    assert_eq!(followed.crawl(Extent::Whole, whole()).changes, Vec::<Change>::new());
}

#[test]
fn r13_a_group_without_its_members_fails_the_crawl() {
    let followed = two_in_one();
    let error = followed.try_crawl(Extent::Whole, vec![user("u1"), group("g")]).unwrap_err();
    assert_eq!(error.to_string(), "incomplete answer from the group g: its members were not read");
}

#[test]
fn r12_what_cannot_be_decoded_keeps_its_last_good_record() {
    let mut followed = two_in_one();
    let items = vec![Item::Kept(id("u1")), user("u2"), group("g"), members("g", &["u1", "u2"])];
    assert_eq!(followed.crawl(Extent::Whole, items).changes, Vec::<Change>::new());
}

#[test]
fn r22_a_name_that_is_used_again_is_somebody_else() {
    let named = |id: &str| {
        let user = User { id: id.into(), username: "ada".into(), ..User::default() };
        Item::User(UserItem { user, aliases: vec!["uid=ada".into()], ..UserItem::default() })
    };
    let listed = |members: Vec<Reference>| Item::Members { group: id("g"), members };
    let ada = || vec![Reference::Alias("uid=ada".into())];
    let mut followed = Followed::start(vec![named("u1"), group("g"), listed(ada())]);
    assert!(followed.is_member("u1", "g"));
    // The old account went without a trace in the list; the new one has its name.
    followed.crawl(Extent::Changes, vec![Item::UserDeleted(id("u1")), named("u2")]);
    assert!(!followed.is_member("u2", "g"), "a re-used name inherited a membership");
    followed.crawl(Extent::Whole, vec![named("u2"), group("g"), listed(ada())]);
    assert!(followed.is_member("u2", "g"));
}

/// Users, a group, both (`7`), nobody, and an alias that `u3` and `g2` share. No two of
/// them ever mean the same.
const NAMES: [&str; 6] = ["u1", "u2", "g1", "7", "nobody", "@shared"];
const GONE: [(&str, bool); 6] =
    [("u1", true), ("u3", true), ("7", true), ("7", false), ("g1", false), ("g2", false)];

fn named(name: &str) -> Reference {
    match name.strip_prefix('@') {
        Some(alias) => Reference::Alias(alias.into()),
        None => id(name),
    }
}

fn list_of(group: &str, members: &[&str]) -> Item {
    Item::Members {
        group: Reference::Group(group.into()),
        members: members.iter().map(|m| named(m)).collect(),
    }
}

fn odd_world() -> Vec<Item> {
    let mut items: Vec<Item> = ["u1", "u2", "u3", "7"].map(user).into();
    items.extend(["g", "g1", "g2", "7"].map(group));
    for item in &mut items {
        match item {
            Item::User(item) if item.user.id == "u3" => item.aliases.push("shared".into()),
            Item::Group(item) if item.group.id == "g2" => item.aliases.push("shared".into()),
            _ => {}
        }
    }
    items.extend([list_of("g1", &["u2"]), list_of("g2", &["u1"]), list_of("7", &["u1", "u2"])]);
    items
}

/// What receivers and later crawls see of an outcome: by what sort of reference nobody is
/// named does not matter.
fn seen(outcome: Outcome) -> impl PartialEq + std::fmt::Debug {
    let plain = |plan: Plan| {
        let name = |reference: Reference| match reference {
            Reference::User(id) | Reference::Group(id) => Reference::Id(id),
            other => other,
        };
        let mut changes = plan.changes;
        for change in &mut changes {
            if let Change::Unresolved { references, .. } = change {
                *references = std::mem::take(references).into_iter().map(name).collect();
                references.sort();
                references.dedup();
            }
        }
        (changes, plan.counts)
    };
    let held = outcome
        .held
        .map(|part| (part.removals, plain(part.plan), part.whole.is_some(), part.pending.removals));
    (plain(outcome.applies), held)
}

proptest! {
    #[test]
    fn single_steps_lead_where_the_complete_list_would(
        before in subsequence(NAMES.to_vec(), 0..=NAMES.len()),
        steps in vec((any::<bool>(), select(NAMES.to_vec())), 0..12),
        gone in subsequence(GONE.to_vec(), 0..3),
        holds in any::<bool>(),
    ) {
        let mut start = odd_world();
        start.push(list_of("g", &before));
        let base = Followed::start(start).0;
        let mut after: BTreeSet<&str> = before.into_iter().collect();
        let mut singles: Vec<Item> = Vec::new();
        for (added, member) in steps {
            if added { after.insert(member) } else { after.remove(member) };
            let (group, members) = (Reference::Group("g".into()), vec![named(member)]);
            singles.push(match added {
                true => Item::MembersAdded { group, members },
                false => Item::MembersRemoved { group, members },
            });
        }
        let mut list = vec![list_of("g", &after.into_iter().collect::<Vec<_>>())];
        for items in [&mut singles, &mut list] {
            items.extend(gone.iter().map(|(id, is_user)| match is_user {
                true => Item::UserDeleted(Reference::User((*id).into())),
                false => Item::GroupDeleted(Reference::Group((*id).into())),
            }));
        }
        let max = holds.then_some(0);
        let limits = Limits { users_removed_max: max, groups_removed_max: max, ..Limits::none() };
        let gate = Gate { limits, ..Gate::default() };
        let [by_steps, by_list] = [singles, list].map(|items| {
            let mut crawl = Reconciler::new(base.clone());
            crawl.page(items);
            seen(crawl.seal(Extent::Changes, &gate).unwrap())
        });
        prop_assert_eq!(by_steps, by_list);
    }
}

#[test]
fn a_member_that_comes_and_goes_in_one_crawl_keeps_its_name() {
    let mut followed = Followed::start(vec![user("u1"), group("g"), members("g", &["u1"])]);
    let named = members("g", &["u1", "u2"]);
    followed.crawl(Extent::Changes, vec![user("u2"), named, Item::UserDeleted(id("u2"))]);
    followed.crawl(Extent::Changes, vec![user("u2")]);
    assert!(followed.is_member("u2", "g"));
}
