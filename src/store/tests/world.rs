//! A naive directory, random commits on it, and ways to compare a store with it.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Timestamp;
use crate::model::{
    Change, Commit, Event, EventKind, Group, Layer, MemberKind, MemberObject, Payload, Progress,
    Put, Reference, User,
};
use crate::provider::{GroupItem, UserItem};
use crate::store::{MembersAt, Options, Rows, Store, record};

/// All that one directory holds, by slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    pub users: BTreeMap<u32, UserItem>,
    pub groups: BTreeMap<u32, GroupItem>,
    pub edges: BTreeSet<(u32, Layer, u32)>,
    pub unresolved: BTreeMap<u32, Vec<Reference>>,
    pub next_user: u32,
    pub next_group: u32,
}

/// What receivers know after folding events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    pub users: BTreeMap<String, User>,
    pub groups: BTreeMap<String, Group>,
    pub members: BTreeSet<(String, MemberKind, String)>,
}

pub fn open(dir: &std::path::Path) -> Store {
    Store::open(dir, Options { cache_bytes: 1 << 20 }).unwrap().0
}

/// Reads a directory back, as the naive picture.
pub fn loaded(store: &Store, directory: &str) -> World {
    let mut world = World::default();
    store.load(directory, &mut world).unwrap();
    world
}

impl Rows for World {
    fn next_slots(&mut self, user: u32, group: u32) {
        (self.next_user, self.next_group) = (user, group);
    }
    fn user(&mut self, slot: u32, _: u64, bytes: Vec<u8>) {
        assert!(self.users.insert(slot, record::decode_user(&bytes).unwrap()).is_none());
    }
    fn group(&mut self, slot: u32, _: u64, bytes: Vec<u8>) {
        assert!(self.groups.insert(slot, record::decode_group(&bytes).unwrap()).is_none());
    }
    fn edges(&mut self, group: u32, layer: Layer, members: &[u32]) {
        for &member in members {
            assert!(self.edges.insert((group, layer, member)));
        }
    }
    fn unresolved(&mut self, group: u32, references: Vec<Reference>) {
        let sorted = BTreeSet::from_iter(references).into_iter().collect();
        assert!(self.unresolved.insert(group, sorted).is_none());
    }
}

impl World {
    /// A random commit that fits this world, and the world after it.
    pub fn step(
        &self,
        random: &mut fastrand::Rng,
        directory: &str,
        size: usize,
    ) -> (World, Commit) {
        let mut after = self.clone();
        let changes = after.random_changes(random, size);
        let commit = Commit {
            directory: directory.to_owned(),
            tenant: "acme".into(),
            product: "vpn".into(),
            occurred_at: Timestamp(1_000 * random.u64(1..1000)),
            changes,
            cause: crate::model::Cause::First,
            progress: Progress {
                fingerprint: format!("{:x}", random.u64(..)),
                as_of: Some(Timestamp(7)),
                ..Progress::default()
            },
        };
        (after, commit)
    }

    fn random_changes(&mut self, random: &mut fastrand::Rng, size: usize) -> Vec<Change> {
        if random.u8(..) < 8 {
            *self = World::default();
            return vec![Change::Cleared, notice(EventKind::DirectoryRemoved)];
        }
        let mut changes = Vec::new();
        let gone_users = some(random, self.users.keys(), size / 4);
        let gone_groups = some(random, self.groups.keys(), size / 8);
        self.remove_edges(random, size, &gone_users, &gone_groups, &mut changes);
        for slot in gone_users {
            self.users.remove(&slot);
            changes.push(Change::UserDeleted { slot, visible: true });
        }
        for slot in gone_groups {
            self.groups.remove(&slot);
            self.unresolved.remove(&slot);
            changes.push(Change::GroupDeleted { slot, visible: true });
        }
        self.put_objects(random, size, &mut changes);
        self.add_edges(random, size, &mut changes);
        self.be_silent(random, size, &mut changes);
        if random.u8(..) < 60 {
            changes.push(notice(EventKind::DirectorySynced));
        }
        changes
    }

    fn remove_edges(
        &mut self,
        random: &mut fastrand::Rng,
        size: usize,
        users: &BTreeSet<u32>,
        groups: &BTreeSet<u32>,
        changes: &mut Vec<Change>,
    ) {
        let chosen = some(random, self.edges.iter(), size / 2);
        let gone = |edge: &(u32, Layer, u32)| {
            let member = if edge.1 == Layer::Subgroup { groups } else { users };
            groups.contains(&edge.0) || member.contains(&edge.2) || chosen.contains(edge)
        };
        let removed: Vec<_> = self.edges.iter().copied().filter(gone).collect();
        for (group, layer, members) in by_group(removed) {
            self.split(group, layer, false, members, changes);
        }
    }

    fn add_edges(&mut self, random: &mut fastrand::Rng, size: usize, changes: &mut Vec<Change>) {
        let users: Vec<u32> = self.users.keys().copied().collect();
        let groups: Vec<u32> = self.groups.keys().copied().collect();
        let mut added = BTreeSet::new();
        for _ in 0..random.usize(0..=size) {
            let layer = *random.choice(&[Layer::Listed, Layer::Declared, Layer::Subgroup]).unwrap();
            let members = if layer == Layer::Subgroup { &groups } else { &users };
            if let (Some(&group), Some(&member)) = (random.choice(&groups), random.choice(members))
            {
                added.insert((group, layer, member));
            }
        }
        let added = added.into_iter().filter(|edge| !self.edges.contains(edge)).collect();
        for (group, layer, members) in by_group(added) {
            self.split(group, layer, true, members, changes);
        }
    }

    /// One change for what receivers see and one for what they do not.
    fn split(
        &mut self,
        group: u32,
        layer: Layer,
        added: bool,
        members: Vec<u32>,
        changes: &mut Vec<Change>,
    ) {
        let other = match layer {
            Layer::Listed => Layer::Declared,
            Layer::Declared => Layer::Listed,
            Layer::Subgroup => Layer::Subgroup,
        };
        let hidden = |member: &u32| other != layer && self.edges.contains(&(group, other, *member));
        let (silent, visible): (Vec<u32>, Vec<u32>) = members.into_iter().partition(hidden);
        for (members, visible) in [(visible, true), (silent, false)] {
            if members.is_empty() {
                continue;
            }
            for &member in &members {
                if added {
                    self.edges.insert((group, layer, member));
                } else {
                    self.edges.remove(&(group, layer, member));
                }
            }
            changes.push(Change::Edges { group, layer, added, visible, members });
        }
    }

    fn put_objects(&mut self, random: &mut fastrand::Rng, size: usize, changes: &mut Vec<Change>) {
        for slot in some(random, self.users.keys(), size / 4) {
            let item = self.users.get_mut(&slot).unwrap();
            item.user.display_name = Some(text(random));
            let record = record::encode_user(item);
            changes.push(Change::User { slot, record, put: Put::Updated });
        }
        for slot in some(random, self.groups.keys(), size / 4) {
            let item = self.groups.get_mut(&slot).unwrap();
            item.group.description = Some(text(random));
            let record = record::encode_group(item);
            changes.push(Change::Group { slot, record, put: Put::Updated });
        }
        for _ in 0..random.usize(0..=size) {
            let slot = self.next_user;
            self.next_user += random.u32(1..3);
            let item = user(slot, random);
            let record = record::encode_user(&item);
            self.users.insert(slot, item);
            changes.push(Change::User { slot, record, put: Put::Created });
            self.next_user = slot + 1;
        }
        for _ in 0..random.usize(0..=size / 2) {
            let slot = self.next_group;
            self.next_group += 1;
            let item = group(slot, random);
            let record = record::encode_group(&item);
            self.groups.insert(slot, item);
            changes.push(Change::Group { slot, record, put: Put::Created });
        }
    }

    fn be_silent(&mut self, random: &mut fastrand::Rng, size: usize, changes: &mut Vec<Change>) {
        for slot in some(random, self.users.keys(), size / 4) {
            let item = self.users.get_mut(&slot).unwrap();
            item.aliases = vec![text(random)];
            let record = record::encode_user(item);
            changes.push(Change::User { slot, record, put: Put::Silent });
        }
        for group in some(random, self.groups.keys(), size / 4) {
            self.change_unresolved(group, random, changes);
        }
    }

    /// Lists of several lengths: some are one row, some are spread.
    fn change_unresolved(
        &mut self,
        group: u32,
        random: &mut fastrand::Rng,
        changes: &mut Vec<Change>,
    ) {
        let before = BTreeSet::from_iter(self.unresolved.remove(&group).unwrap_or_default());
        let named = random.u8(0..=12);
        let after: BTreeSet<Reference> =
            (0..named).map(|_| Reference::Alias(format!("cn={}", random.u8(0..20)))).collect();
        for (added, references) in [(false, &before - &after), (true, &after - &before)] {
            let references = references.into_iter().collect();
            changes.push(Change::Unresolved { group, added, references });
        }
        if !after.is_empty() {
            self.unresolved.insert(group, after.into_iter().collect());
        }
    }

    /// What receivers should know of this world.
    pub fn folded(&self) -> Folded {
        let users = self.users.values().map(|item| (item.user.id.clone(), item.user.clone()));
        let groups = self.groups.values().map(|item| (item.group.id.clone(), item.group.clone()));
        let members = self.edges.iter().map(|(group, layer, member)| {
            let group = self.groups[group].group.id.clone();
            match layer {
                Layer::Subgroup => (group, MemberKind::Group, self.groups[member].group.id.clone()),
                _ => (group, MemberKind::User, self.users[member].user.id.clone()),
            }
        });
        Folded { users: users.collect(), groups: groups.collect(), members: members.collect() }
    }

    pub fn groups_of_user(&self, user: u32) -> Vec<u32> {
        let of =
            |&&(_, layer, member): &&(u32, Layer, u32)| layer != Layer::Subgroup && member == user;
        let groups: BTreeSet<u32> = self.edges.iter().filter(of).map(|edge| edge.0).collect();
        groups.into_iter().collect()
    }

    pub fn parents_of_group(&self, group: u32) -> Vec<u32> {
        let of =
            |&&(_, layer, member): &&(u32, Layer, u32)| layer == Layer::Subgroup && member == group;
        self.edges.iter().filter(of).map(|edge| edge.0).collect()
    }

    pub fn members_of_group(&self, group: u32) -> MembersAt {
        let of = |of_users: bool| -> Vec<u32> {
            let chosen: BTreeSet<u32> = self
                .edges
                .iter()
                .filter(|edge| edge.0 == group && (edge.1 != Layer::Subgroup) == of_users)
                .map(|edge| edge.2)
                .collect();
            chosen.into_iter().collect()
        };
        MembersAt { users: of(true), groups: of(false) }
    }
}

impl Folded {
    /// Follows one event, which must fit.
    pub fn follow(&mut self, event: &Event) {
        match &event.payload {
            Payload::User { user, previous } => {
                let before = match event.kind {
                    EventKind::UserDeleted => self.users.remove(&user.id),
                    _ => self.users.insert(user.id.clone(), user.clone()),
                };
                match event.kind {
                    EventKind::UserCreated => assert_eq!(before, None),
                    EventKind::UserDeleted => assert_eq!(before.as_ref(), Some(user)),
                    _ => assert_eq!(before, previous.clone().map(|previous| previous.0)),
                }
            }
            Payload::Group { group, previous } => {
                let before = match event.kind {
                    EventKind::GroupDeleted => self.groups.remove(&group.id),
                    _ => self.groups.insert(group.id.clone(), group.clone()),
                };
                match event.kind {
                    EventKind::GroupCreated => assert_eq!(before, None),
                    EventKind::GroupDeleted => assert_eq!(before.as_ref(), Some(group)),
                    _ => assert_eq!(before, previous.clone().map(|previous| previous.0)),
                }
            }
            Payload::Membership { group, member } => self.follow_membership(event, group, member),
            Payload::Directory { .. } if event.kind == EventKind::DirectoryRemoved => {
                *self = Folded::default();
            }
            Payload::Directory { .. } => {}
        }
    }

    fn follow_membership(&mut self, event: &Event, group: &Group, member: &MemberObject) {
        assert_eq!(self.groups.get(&group.id), Some(group));
        let (kind, id) = match member {
            MemberObject::User(user) => {
                assert_eq!(self.users.get(&user.id), Some(user));
                (MemberKind::User, user.id.clone())
            }
            MemberObject::Group(inner) => {
                assert_eq!(self.groups.get(&inner.id), Some(inner));
                (MemberKind::Group, inner.id.clone())
            }
        };
        let edge = (group.id.clone(), kind, id);
        match event.kind {
            EventKind::GroupUserAdded | EventKind::GroupGroupAdded => {
                assert!(self.members.insert(edge), "added twice");
            }
            _ => assert!(self.members.remove(&edge), "removed twice"),
        }
    }
}

pub fn user(slot: u32, random: &mut fastrand::Rng) -> UserItem {
    let user = User {
        id: format!("u{slot}-{:x}", random.u32(..)),
        username: format!("user{slot}"),
        display_name: Some(text(random)),
        ..User::default()
    };
    UserItem { user, aliases: vec![format!("uid={slot}")], groups: vec![] }
}

pub fn group(slot: u32, random: &mut fastrand::Rng) -> GroupItem {
    let group = Group {
        id: format!("g{slot}-{:x}", random.u32(..)),
        name: format!("group{slot}"),
        ..Group::default()
    };
    GroupItem { group, aliases: vec![] }
}

pub fn notice(kind: EventKind) -> Change {
    Change::Notice { kind, details: [("users".to_owned(), "many".into())].into() }
}

/// Text of any length, sometimes longer than one row.
fn text(random: &mut fastrand::Rng) -> String {
    let len = if random.u8(..) < 40 { random.usize(60..400) } else { random.usize(1..12) };
    (0..len).map(|_| random.alphanumeric()).collect()
}

fn some<'a, T: Clone + Ord + 'a>(
    random: &mut fastrand::Rng,
    all: impl ExactSizeIterator<Item = &'a T>,
    at_most: usize,
) -> BTreeSet<T> {
    let wanted = random.usize(0..=at_most.min(all.len()));
    random.choose_multiple(all, wanted).into_iter().cloned().collect()
}

fn by_group(edges: Vec<(u32, Layer, u32)>) -> Vec<(u32, Layer, Vec<u32>)> {
    let mut lists: BTreeMap<(u32, Layer), Vec<u32>> = BTreeMap::new();
    for (group, layer, member) in edges {
        lists.entry((group, layer)).or_default().push(member);
    }
    lists.into_iter().map(|((group, layer), members)| (group, layer, members)).collect()
}
