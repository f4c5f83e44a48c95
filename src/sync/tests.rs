//! The reconciler against small directories, where the property test's world
//! does not go: references by id, single steps, objects out of sight.

use std::sync::Arc;

use super::guard::{Gate, Limits};
use super::plan::Plan;
use super::reconcile::Reconciler;
use crate::index::DirectoryView;
use crate::model::{Change, Group, Reference, User};
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
        let off = 100.0;
        let limits = Limits {
            users_removed_percent_max: off,
            groups_removed_percent_max: off,
            members_removed_percent_max: off,
            group_members_removed_percent_max: off,
            ..Limits::default()
        };
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
