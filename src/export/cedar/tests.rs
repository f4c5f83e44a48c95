//! Whatever is nested in whatever: no circles, and what `in` says is true.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::circles::Circles;
use super::schema::{json_schema, text_schema};
use crate::index::DirectoryView;
use crate::model::{Change, Group, Layer, Put, User};
use crate::provider::{GroupItem, UserItem};
use crate::store::record::{encode_group, encode_user};

const GROUPS: u32 = 7;
const USERS: u32 = 3;

fn directory(nested: &BTreeSet<(u32, u32)>, joined: &BTreeSet<(u32, u32)>) -> DirectoryView {
    let mut changes = Vec::new();
    for slot in 0..USERS {
        let user = User { id: format!("u{slot}"), ..User::default() };
        let record = encode_user(&UserItem { user, ..UserItem::default() });
        changes.push(Change::User { slot, record, put: Put::Created });
    }
    for slot in 0..GROUPS {
        let group = Group { id: format!("g{slot}"), ..Group::default() };
        let record = encode_group(&GroupItem { group, ..GroupItem::default() });
        changes.push(Change::Group { slot, record, put: Put::Created });
    }
    for (edges, layer) in [(nested, Layer::Subgroup), (joined, Layer::Listed)] {
        for group in 0..GROUPS {
            let members = edges.iter().filter(|(outer, _)| *outer == group);
            let members = members.map(|(_, member)| *member).collect();
            changes.push(Change::Edges { group, layer, added: true, visible: true, members });
        }
    }
    DirectoryView::empty("d", "t", "p").apply(&changes, 1).unwrap()
}

/// All that is reached over the parents; `None` when that comes back to `start`.
fn reached(parents: &BTreeMap<u32, Vec<u32>>, start: &[u32], of: Option<u32>) -> Option<Vec<u32>> {
    let mut found = BTreeSet::new();
    let mut open = start.to_vec();
    while let Some(group) = open.pop() {
        if Some(group) == of {
            return None;
        }
        if found.insert(group) {
            open.extend(&parents[&group]);
        }
    }
    Some(found.into_iter().collect())
}

proptest! {
    #[test]
    fn entities_are_never_in_a_circle_and_users_are_in_what_they_are_in(
        nested in proptest::collection::btree_set((0..GROUPS, 0..GROUPS), 0..14),
        joined in proptest::collection::btree_set((0..GROUPS, 0..USERS), 0..6),
    ) {
        let directory = directory(&nested, &joined);
        let circles = Circles::of_directory(&directory);
        let parents: BTreeMap<u32, Vec<u32>> =
            (0..GROUPS).map(|group| (group, circles.parents_of_group(group, &directory))).collect();
        for group in 0..GROUPS {
            let told = reached(&parents, &parents[&group], Some(group));
            let above = directory.ancestors_of_group(group);
            let below = directory.nested_groups(group);
            let outside: Vec<u32> =
                above.iter().copied().filter(|other| !below.contains(other)).collect();
            prop_assert_eq!(told, Some(outside), "group {} of {:?}", group, nested);
        }
        for user in 0..USERS {
            let start = circles.parents(directory.groups_of_user(user));
            let told = reached(&parents, &start, None);
            prop_assert_eq!(told, Some(directory.ancestors_of_user(user)));
            let some = Circles::among(directory.ancestors_of_user(user), &directory);
            prop_assert_eq!(some.parents(directory.groups_of_user(user)), start);
        }
    }
}

#[test]
fn a_long_chain_takes_no_stack() {
    let length = 20_000;
    let mut changes = Vec::new();
    for slot in 0..length {
        let group = Group { id: format!("g{slot}"), ..Group::default() };
        let record = encode_group(&GroupItem { group, ..GroupItem::default() });
        changes.push(Change::Group { slot, record, put: Put::Created });
    }
    for group in 0..length {
        let members = vec![(group + 1) % length];
        let layer = Layer::Subgroup;
        changes.push(Change::Edges { group, layer, added: true, visible: true, members });
    }
    let directory = DirectoryView::empty("d", "t", "p").apply(&changes, 1).unwrap();
    let circles = Circles::of_directory(&directory);
    assert_eq!(circles.parents(&[5]).len(), length as usize);
    assert!(circles.parents_of_group(5, &directory).is_empty());
}

#[test]
fn both_forms_of_the_schema_name_the_same() {
    let (json, text) = (json_schema(), text_schema());
    for (kind, entity) in json["Rosterd"]["entityTypes"].as_object().unwrap() {
        assert!(text.contains(&format!("entity {kind} in [Group]")), "{text}");
        let attributes = entity["shape"]["attributes"].as_object().unwrap();
        for (name, attribute) in attributes {
            let mark = if attribute["required"] == false { "?" } else { "" };
            assert!(text.contains(&format!("    {name}{mark}: ")), "{name} in {text}");
        }
    }
}
