//! Holds the view against a naive model: any history of changes, every read,
//! at every version, and the same when loaded instead of applied.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{Builder, DirectoryView, Owner};
use crate::model::{Change, Group, Layer, MemberKind, Put, Reference, User};
use crate::provider::{GroupItem, UserItem};
use crate::store::Rows;
use crate::store::record::{encode_group, encode_user};

const LAYERS: [Layer; 3] = [Layer::Listed, Layer::Declared, Layer::Subgroup];
const NAMES: [&str; 6] = ["ada", "ADA", "Ärger", "ärger", "bob", ""];

/// What the view should know, in the plainest form.
#[derive(Clone, Debug, Default)]
struct Model {
    users: BTreeMap<u32, UserItem>,
    groups: BTreeMap<u32, GroupItem>,
    edges: BTreeSet<(Layer, u32, u32)>,
    unresolved: BTreeMap<u32, BTreeSet<Reference>>,
    next_user: u32,
    next_group: u32,
}

/// One step of a history; numbers pick among what is there.
#[derive(Clone, Debug)]
enum Op {
    NewUser(u8),
    NewGroup(u8),
    EditUser(u8, u8),
    EditGroup(u8, u8),
    DropUser(u8),
    DropGroup(u8),
    Toggle(u8, u8, Vec<u8>),
    Unresolved(u8, Vec<u8>),
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => any::<u8>().prop_map(Op::NewUser),
        5 => any::<u8>().prop_map(Op::NewGroup),
        2 => any::<(u8, u8)>().prop_map(|(pick, name)| Op::EditUser(pick, name)),
        2 => any::<(u8, u8)>().prop_map(|(pick, name)| Op::EditGroup(pick, name)),
        1 => any::<u8>().prop_map(Op::DropUser),
        1 => any::<u8>().prop_map(Op::DropGroup),
        20 => (any::<u8>(), any::<u8>(), prop::collection::vec(any::<u8>(), 1..20))
            .prop_map(|(layer, group, members)| Op::Toggle(layer, group, members)),
        3 => (any::<u8>(), prop::collection::vec(any::<u8>(), 0..4))
            .prop_map(|(group, names)| Op::Unresolved(group, names)),
        1 => Just(Op::Clear),
    ]
}

fn user_item(slot: u32, seed: u8) -> UserItem {
    let name = NAMES[seed as usize % NAMES.len()];
    UserItem {
        user: User {
            id: format!("u{slot}"),
            username: name.to_owned(),
            emails: (0..seed % 3).map(|n| format!("{name}{n}@example.org")).collect(),
            ..User::default()
        },
        aliases: vec![format!("uid:{name}"), format!("cn=u{slot}")],
        groups: vec![],
    }
}

fn group_item(slot: u32, seed: u8) -> GroupItem {
    let name = NAMES[seed as usize % NAMES.len()];
    GroupItem {
        group: Group {
            // Some ids are those of users, which makes references ambiguous.
            id: if slot.is_multiple_of(3) { format!("u{slot}") } else { format!("g{slot}") },
            name: name.to_owned(),
            email: seed.is_multiple_of(2).then(|| format!("{name}0@example.org")),
            ..Group::default()
        },
        aliases: vec![format!("uid:{name}"), format!("cn=g{slot}")],
    }
}

fn pick(slots: impl ExactSizeIterator<Item = u32>, number: u8) -> Option<u32> {
    let len = slots.len();
    let mut slots = slots;
    if len == 0 { None } else { slots.nth(number as usize % len) }
}

impl Model {
    /// Does the step here and returns it as changes.
    fn step(&mut self, op: &Op) -> Vec<Change> {
        match op {
            Op::NewUser(seed) => {
                let slot = self.next_user;
                self.next_user += 1;
                vec![self.put_user(slot, *seed, Put::Created)]
            }
            Op::NewGroup(seed) => {
                let slot = self.next_group;
                self.next_group += 1;
                vec![self.put_group(slot, *seed, Put::Silent)]
            }
            Op::EditUser(number, seed) => {
                let slot = pick(self.users.keys().copied(), *number);
                slot.map(|slot| self.put_user(slot, *seed, Put::Updated)).into_iter().collect()
            }
            Op::EditGroup(number, seed) => {
                let slot = pick(self.groups.keys().copied(), *number);
                slot.map(|slot| self.put_group(slot, *seed, Put::Updated)).into_iter().collect()
            }
            Op::DropUser(number) => {
                let slot = pick(self.users.keys().copied(), *number);
                slot.map(|slot| self.drop_user(slot)).unwrap_or_default()
            }
            Op::DropGroup(number) => {
                let slot = pick(self.groups.keys().copied(), *number);
                slot.map(|slot| self.drop_group(slot)).unwrap_or_default()
            }
            Op::Toggle(layer, group, members) => self.toggle(*layer, *group, members),
            Op::Unresolved(group, names) => self.unresolve(*group, names),
            Op::Clear => {
                let (next_user, next_group) = (self.next_user, self.next_group);
                *self = Model { next_user, next_group, ..Model::default() };
                vec![Change::Cleared]
            }
        }
    }

    fn put_user(&mut self, slot: u32, seed: u8, put: Put) -> Change {
        let item = user_item(slot, seed);
        let record = encode_user(&item);
        self.users.insert(slot, item);
        Change::User { slot, record, put }
    }

    fn put_group(&mut self, slot: u32, seed: u8, put: Put) -> Change {
        let item = group_item(slot, seed);
        let record = encode_group(&item);
        self.groups.insert(slot, item);
        Change::Group { slot, record, put }
    }

    fn drop_user(&mut self, slot: u32) -> Vec<Change> {
        let mut changes =
            self.drop_edges(|(layer, _, member)| layer != Layer::Subgroup && member == slot);
        self.users.remove(&slot);
        changes.push(Change::UserDeleted { slot, visible: true });
        changes
    }

    fn drop_group(&mut self, slot: u32) -> Vec<Change> {
        let mut changes = self.drop_edges(|(layer, group, member)| {
            group == slot || (layer == Layer::Subgroup && member == slot)
        });
        self.groups.remove(&slot);
        self.unresolved.remove(&slot);
        changes.push(Change::GroupDeleted { slot, visible: true });
        changes
    }

    fn drop_edges(&mut self, which: impl Fn((Layer, u32, u32)) -> bool) -> Vec<Change> {
        let gone: Vec<_> = self.edges.iter().copied().filter(|edge| which(*edge)).collect();
        gone.iter().for_each(|edge| assert!(self.edges.remove(edge)));
        let change = |(layer, group, member)| edge_change(group, layer, false, [member].into());
        gone.into_iter().map(change).collect()
    }

    fn toggle(&mut self, layer: u8, group: u8, members: &[u8]) -> Vec<Change> {
        let layer = LAYERS[layer as usize % 3];
        let Some(group) = pick(self.groups.keys().copied(), group) else { return vec![] };
        let members: BTreeSet<u32> = members
            .iter()
            .filter_map(|number| match layer {
                Layer::Subgroup => pick(self.groups.keys().copied(), *number),
                _ => pick(self.users.keys().copied(), *number),
            })
            .collect();
        let (gone, come): (BTreeSet<u32>, BTreeSet<u32>) =
            members.into_iter().partition(|member| self.edges.contains(&(layer, group, *member)));
        gone.iter().for_each(|member| assert!(self.edges.remove(&(layer, group, *member))));
        self.edges.extend(come.iter().map(|member| (layer, group, *member)));
        vec![edge_change(group, layer, false, gone), edge_change(group, layer, true, come)]
    }

    fn unresolve(&mut self, group: u8, names: &[u8]) -> Vec<Change> {
        let Some(group) = pick(self.groups.keys().copied(), group) else { return vec![] };
        let references: BTreeSet<Reference> = names.iter().map(|n| reference(n % 8)).collect();
        let before = self.unresolved.insert(group, references.clone()).unwrap_or_default();
        let gone = before.difference(&references).cloned().collect();
        let come = references.difference(&before).cloned().collect();
        vec![
            Change::Unresolved { group, added: false, references: gone },
            Change::Unresolved { group, added: true, references: come },
        ]
    }

    fn loaded(&self) -> DirectoryView {
        let mut builder = Builder::new("corp", "acme", "vpn");
        // Backwards: rows may come in any order.
        for (layer, group, member) in self.edges.iter().rev() {
            builder.edges(*group, *layer, &[*member]);
        }
        for (slot, item) in self.users.iter().rev() {
            builder.user(*slot, 1, encode_user(item));
        }
        for (slot, item) in &self.groups {
            builder.group(*slot, 1, encode_group(item));
        }
        for (group, references) in &self.unresolved {
            builder.unresolved(*group, references.iter().cloned().collect());
        }
        builder.next_slots(self.next_user, self.next_group);
        builder.finish().unwrap()
    }

    fn edges_of(&self, layer: Layer, group: u32) -> Vec<u32> {
        let of = self.edges.iter().filter(|(l, g, _)| *l == layer && *g == group);
        of.map(|(_, _, member)| *member).collect()
    }

    fn direct_users(&self, group: u32) -> BTreeSet<u32> {
        let of = self.edges.iter().filter(|(l, g, _)| *l != Layer::Subgroup && *g == group);
        of.map(|(_, _, member)| *member).collect()
    }

    fn direct_groups(&self, user: u32) -> BTreeSet<u32> {
        let of = self.edges.iter().filter(|(l, _, m)| *l != Layer::Subgroup && *m == user);
        of.map(|(_, group, _)| *group).collect()
    }

    fn parents(&self, group: u32) -> BTreeSet<u32> {
        let of = self.edges.iter().filter(|(l, _, m)| *l == Layer::Subgroup && *m == group);
        of.map(|(_, outer, _)| *outer).collect()
    }

    fn above(&self, mut groups: BTreeSet<u32>) -> BTreeSet<u32> {
        loop {
            let more: BTreeSet<u32> = groups.iter().flat_map(|g| self.parents(*g)).collect();
            let before = groups.len();
            groups.extend(more);
            if groups.len() == before {
                return groups;
            }
        }
    }

    /// All simple paths from the user's groups to `group`, as a set.
    fn paths(&self, user: u32, group: u32) -> BTreeSet<Vec<u32>> {
        let mut open: Vec<Vec<u32>> = self.direct_groups(user).iter().map(|g| vec![*g]).collect();
        let mut found = BTreeSet::new();
        while let Some(path) = open.pop() {
            let last = *path.last().unwrap();
            if last == group {
                found.insert(path);
                continue;
            }
            for outer in self.parents(last).into_iter().filter(|outer| !path.contains(outer)) {
                open.push([&path[..], &[outer]].concat());
            }
        }
        found
    }
}

fn edge_change(group: u32, layer: Layer, added: bool, members: BTreeSet<u32>) -> Change {
    let members = members.into_iter().collect();
    Change::Edges { group, layer, added, visible: true, members }
}

fn reference(number: u8) -> Reference {
    match number {
        0..2 => Reference::Id(format!("u{number}")),
        2 => Reference::User("u3".into()),
        3 => Reference::Group("u3".into()),
        4..6 => Reference::Alias(format!("cn=g{number}")),
        _ => Reference::Alias("uid:ada".into()),
    }
}

/// Holds every read of the view against the model.
fn check(view: &DirectoryView, model: &Model) {
    check_objects(view, model);
    check_names(view, model);
    check_edges(view, model);
    check_nesting(view, model);
}

fn check_objects(view: &DirectoryView, model: &Model) {
    assert_eq!((view.name(), view.tenant(), view.product()), ("corp", "acme", "vpn"));
    assert_eq!(view.user_count(), model.users.len());
    assert_eq!(view.group_count(), model.groups.len());
    assert_eq!(view.next_user_slot(), model.next_user);
    assert_eq!(view.next_group_slot(), model.next_group);
    assert!(view.user_slots().eq(model.users.keys().copied()));
    assert!(view.group_slots().eq(model.groups.keys().copied()));
    assert!(view.user_slots_from(5).eq(model.users.range(5..).map(|(slot, _)| *slot)));
    assert!(view.group_slots_from(5).eq(model.groups.range(5..).map(|(slot, _)| *slot)));
    for slot in 0..model.next_user + 2 {
        let expected = model.users.get(&slot).map(encode_user);
        assert_eq!(view.user_record(slot), expected.as_deref());
        let by_id = view.user_by_id(&format!("u{slot}"));
        assert_eq!(by_id, model.users.contains_key(&slot).then_some(slot));
        assert_eq!(view.user_by_id(&format!("U{slot}")), None);
    }
    for slot in 0..model.next_group + 2 {
        let expected = model.groups.get(&slot).map(encode_group);
        assert_eq!(view.group_record(slot), expected.as_deref());
        let by_id = view.group_by_id(&group_item(slot, 0).group.id);
        assert_eq!(by_id, model.groups.contains_key(&slot).then_some(slot));
    }
}

fn check_names(view: &DirectoryView, model: &Model) {
    for name in NAMES {
        let asked = name.to_lowercase();
        let same = |other: &str| !other.is_empty() && other.to_lowercase() == asked;
        let users = model.users.iter().filter(|(_, item)| same(&item.user.username));
        assert!(view.users_by_username(name).eq(users.map(|(slot, _)| *slot)));
        let groups = model.groups.iter().filter(|(_, item)| same(&item.group.name));
        assert!(view.groups_by_name(name).eq(groups.map(|(slot, _)| *slot)));
        let email = format!("{name}0@EXAMPLE.org");
        let asked = email.to_lowercase();
        let has = |item: &UserItem| item.user.emails.iter().any(|e| e.to_lowercase() == asked);
        let users = model.users.iter().filter(|(_, item)| has(item));
        assert!(view.users_by_email(&email).eq(users.map(|(slot, _)| *slot)));
        let has =
            |item: &GroupItem| item.group.email.as_ref().is_some_and(|e| e.to_lowercase() == asked);
        let groups = model.groups.iter().filter(|(_, item)| has(item));
        assert!(view.groups_by_email(&email).eq(groups.map(|(slot, _)| *slot)));
        check_owner(view, model, &Reference::Alias(format!("uid:{name}")));
    }
    (0..8).for_each(|number| check_owner(view, model, &reference(number)));
}

fn check_owner(view: &DirectoryView, model: &Model, reference: &Reference) {
    let is = |kind: MemberKind, id: &String, aliases: &[String]| match reference {
        Reference::User(asked) => kind == MemberKind::User && id == asked,
        Reference::Group(asked) => kind == MemberKind::Group && id == asked,
        Reference::Id(asked) => id == asked,
        Reference::Alias(alias) => aliases.contains(alias),
    };
    let is_user = |item: &UserItem| is(MemberKind::User, &item.user.id, &item.aliases);
    let is_group = |item: &GroupItem| is(MemberKind::Group, &item.group.id, &item.aliases);
    let users = model.users.iter().filter(|(_, item)| is_user(item));
    let groups = model.groups.iter().filter(|(_, item)| is_group(item));
    let owners: Vec<Owner> = users
        .map(|(slot, _)| Owner::User(*slot))
        .chain(groups.map(|(slot, _)| Owner::Group(*slot)))
        .collect();
    if let Reference::Alias(alias) = reference {
        assert!(view.alias_owners(alias).eq(owners.iter().copied()));
    }
    let expected = match owners[..] {
        [] => Owner::Nobody,
        [owner] => owner,
        _ => Owner::Several,
    };
    assert_eq!(view.resolve(reference), expected, "{reference:?}");
}

fn check_edges(view: &DirectoryView, model: &Model) {
    for group in 0..model.next_group + 1 {
        for layer in LAYERS {
            assert_eq!(view.edges(group, layer), model.edges_of(layer, group));
        }
        assert!(view.direct_users(group).iter().copied().eq(model.direct_users(group)));
        assert_eq!(view.subgroups(group), model.edges_of(Layer::Subgroup, group));
        assert!(view.parents_of_group(group).iter().copied().eq(model.parents(group)));
        let unresolved = model.unresolved.get(&group).cloned().unwrap_or_default();
        assert!(view.unresolved(group).iter().cloned().eq(unresolved));
    }
    for reference in (0..8).map(reference) {
        let waiting = model.unresolved.iter().filter(|(_, list)| list.contains(&reference));
        assert!(view.waiting_for(&reference).into_iter().eq(waiting.map(|(group, _)| *group)));
    }
    let users: usize = model.groups.keys().map(|group| model.direct_users(*group).len()).sum();
    let groups = model.edges.iter().filter(|(layer, _, _)| *layer == Layer::Subgroup).count();
    assert_eq!(view.membership_count(), users + groups);
}

fn check_nesting(view: &DirectoryView, model: &Model) {
    let mut members = BTreeMap::<u32, BTreeSet<u32>>::new();
    for user in 0..model.next_user + 1 {
        let direct = model.direct_groups(user);
        assert!(view.groups_of_user(user).iter().copied().eq(direct.iter().copied()));
        let above = model.above(direct);
        for group in 0..model.next_group + 1 {
            assert_eq!(view.is_member(user, group), above.contains(&group), "{user} in {group}");
        }
        above.iter().for_each(|group| assert!(members.entry(*group).or_default().insert(user)));
        assert!(view.ancestors_of_user(user).into_iter().eq(above));
    }
    let mut nested = BTreeMap::<u32, BTreeSet<u32>>::new();
    for group in 0..model.next_group + 1 {
        let mut above = model.above(model.parents(group));
        above.remove(&group);
        above.iter().for_each(|outer| assert!(nested.entry(*outer).or_default().insert(group)));
        assert!(view.ancestors_of_group(group).into_iter().eq(above));
    }
    for group in 0..model.next_group + 1 {
        let users = members.remove(&group).unwrap_or_default();
        assert_eq!(view.nested_user_count(group), users.len());
        assert!(view.nested_users(group).into_iter().eq(users));
        let groups = nested.remove(&group).unwrap_or_default();
        assert!(view.nested_groups(group).into_iter().eq(groups));
    }
}

/// Only where the model's own enumeration ends in time.
fn check_why(view: &DirectoryView, model: &Model) {
    for user in model.users.keys().take(4) {
        for group in model.groups.keys().take(6) {
            let expected = model.paths(*user, *group);
            let found = view.why(*user, *group, 10_000);
            assert!(found.is_sorted_by_key(Vec::len), "not the shortest first: {found:?}");
            assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>().len(), found.len());
            assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), expected);
            let fewer = view.why(*user, *group, 2);
            assert_eq!(fewer, found[..found.len().min(2)]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_version_reads_like_the_model(
        history in prop::collection::vec(prop::collection::vec(op(), 1..40), 1..8)
    ) {
        let mut model = Model::default();
        let mut view = DirectoryView::empty("corp", "acme", "vpn");
        let mut versions = vec![(view.clone(), model.clone())];
        for ops in &history {
            let changes: Vec<Change> = ops.iter().flat_map(|op| model.step(op)).collect();
            view = view.apply(&changes, view.last_seq() + 1).unwrap();
            versions.push((view.clone(), model.clone()));
        }
        for (view, model) in &versions {
            check(view, model);
        }
        check(&model.loaded(), &model);
    }

    #[test]
    fn why_lists_all_simple_paths(
        users in 1..4_u8,
        groups in 1..7_u8,
        toggles in prop::collection::vec((any::<bool>(), any::<u8>(), any::<u8>()), 0..16)
    ) {
        let mut model = Model::default();
        let mut ops: Vec<Op> = (0..users).map(Op::NewUser).collect();
        ops.extend((0..groups).map(Op::NewGroup));
        ops.extend(toggles.into_iter().map(|(nest, group, member)| {
            Op::Toggle(if nest { 2 } else { 0 }, group, vec![member])
        }));
        let changes: Vec<Change> = ops.iter().flat_map(|op| model.step(op)).collect();
        let view = DirectoryView::empty("corp", "acme", "vpn").apply(&changes, 1).unwrap();
        check_why(&view, &model);
    }

    #[test]
    fn a_large_directory_crosses_leaves_and_shards(
        seed in prop::collection::vec(op(), 20..60)
    ) {
        let mut model = Model::default();
        let mut first: Vec<Op> = (0..200).map(Op::NewUser).collect();
        first.extend((0..70).map(Op::NewGroup));
        first.extend((0..70).map(|n| Op::Toggle(n, n / 2, (0..200).step_by(n as usize + 1).collect())));
        let view = DirectoryView::empty("corp", "acme", "vpn");
        let changes: Vec<Change> = first.iter().flat_map(|op| model.step(op)).collect();
        let view = view.apply(&changes, 1).unwrap();
        let before = model.clone();
        let changes: Vec<Change> = seed.iter().flat_map(|op| model.step(op)).collect();
        let next = view.apply(&changes, 1).unwrap();
        for (view, model) in [(&view, &before), (&next, &model)] {
            check_objects(view, model);
            check_names(view, model);
            check_edges(view, model);
        }
    }

    #[test]
    fn contradictions_are_errors_and_leave_a_whole_view(
        wild in prop::collection::vec(wild_change(), 1..12)
    ) {
        let mut model = Model::default();
        let ops = [Op::NewUser(0), Op::NewUser(1), Op::NewGroup(0), Op::NewGroup(1),
            Op::Toggle(0, 0, vec![0]), Op::Toggle(2, 1, vec![0])];
        let changes: Vec<Change> = ops.iter().flat_map(|op| model.step(op)).collect();
        let view = DirectoryView::empty("corp", "acme", "vpn").apply(&changes, 1).unwrap();
        if let Ok(next) = view.apply(&wild, 7) {
            for group in 0..4 {
                for user in next.direct_users(group).iter() {
                    prop_assert!(next.user_record(*user).is_some());
                    prop_assert!(next.group_record(group).is_some());
                    prop_assert!(next.groups_of_user(*user).contains(&group));
                }
                for inner in next.subgroups(group) {
                    prop_assert!(next.group_record(*inner).is_some());
                    prop_assert!(next.parents_of_group(*inner).contains(&group));
                }
            }
        }
        check(&view, &model);
    }
}

/// A change about slots that may or may not be there.
fn wild_change() -> impl Strategy<Value = Change> {
    let put = prop_oneof![Just(Put::Created), Just(Put::Updated), Just(Put::Silent)];
    let slot = prop_oneof![9 => 0..4_u32, 1 => Just(u32::MAX)];
    let record = |slot: u32| encode_user(&user_item(slot, 2));
    prop_oneof![
        (slot.clone(), put.clone()).prop_map(move |(slot, put)| Change::User {
            slot,
            record: record(slot),
            put
        }),
        (slot.clone(), put, any::<bool>()).prop_map(move |(slot, put, good)| Change::Group {
            slot,
            record: if good { encode_group(&group_item(slot, 1)) } else { vec![7] },
            put
        }),
        slot.clone().prop_map(|slot| Change::UserDeleted { slot, visible: true }),
        slot.clone().prop_map(|slot| Change::GroupDeleted { slot, visible: true }),
        (slot.clone(), 0..3_usize, any::<bool>(), prop::collection::vec(slot.clone(), 0..3))
            .prop_map(|(group, layer, added, members)| Change::Edges {
                group,
                layer: LAYERS[layer],
                added,
                visible: true,
                members
            }),
        (slot, any::<bool>()).prop_map(|(group, added)| {
            Change::Unresolved { group, added, references: vec![reference(1)] }
        }),
    ]
}

#[test]
fn why_finds_a_path_among_more_than_could_be_listed() {
    // Ten levels of ten groups, each level wholly inside the next.
    let mut changes =
        vec![Change::User { slot: 0, record: encode_user(&user_item(0, 0)), put: Put::Created }];
    for slot in 0..100 {
        let record = encode_group(&group_item(slot, 0));
        changes.push(Change::Group { slot, record, put: Put::Created });
    }
    changes.push(edge_change(0, Layer::Listed, true, [0].into()));
    for outer in 10..100 {
        let below = outer / 10 * 10 - 10;
        changes.push(edge_change(outer, Layer::Subgroup, true, (below..below + 10).collect()));
    }
    let view = DirectoryView::empty("corp", "acme", "vpn").apply(&changes, 1).unwrap();
    let paths = view.why(0, 99, 50);
    assert_eq!(paths.len(), 50);
    assert!(paths.iter().all(|path| path.len() == 10 && path[0] == 0 && path[9] == 99));
    assert!(view.is_member(0, 99));
    assert_eq!(view.last_seq(), changes.iter().map(Change::events).sum::<u64>());
}

#[test]
fn s5_one_large_group_costs_its_own_list_only() {
    let mut model = Model::default();
    let mut ops: Vec<Op> = (0..200).map(Op::NewUser).collect();
    ops.extend((0..3).map(Op::NewGroup));
    ops.push(Op::Toggle(0, 0, (0..199).collect()));
    let changes: Vec<Change> = ops.iter().flat_map(|op| model.step(op)).collect();
    let view = DirectoryView::empty("corp", "acme", "vpn").apply(&changes, 1).unwrap();
    let changes = model.step(&Op::Toggle(0, 1, vec![1]));
    let next = view.apply(&changes, 1).unwrap();
    let list = |view: &DirectoryView| view.edges(0, Layer::Listed).as_ptr();
    assert_eq!(list(&view), list(&next), "a neighbour's change copied the large group");
    check(&next, &model);
}
