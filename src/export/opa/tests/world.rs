//! A naive directory that changes at random, and the document it should give.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::clock::Timestamp;
use crate::fold::fold;
use crate::model::{Cause, Change, Commit, EventKind, Group, Layer, Progress, Put, User};
use crate::provider::{GroupItem, UserItem};
use crate::store::record::{encode_group, encode_user};

/// Ids and names that must not be taken apart.
const ODD: [&str; 12] =
    ["a", "A", "a/b", "~1", "a~0", "%2F", "100%", "\u{0}", "ü☃", "a b", "..", "-"];
const NAMES: [&str; 7] = ["App-One", "app-two", "APP", "Ops", "ΟΔΟΣ", "οδος", "ops/~%"];

#[derive(Clone, Default)]
pub struct World {
    pub users: BTreeMap<u32, User>,
    pub groups: BTreeMap<u32, Group>,
    edges: BTreeSet<(u32, Layer, u32)>,
    next_user: u32,
    next_group: u32,
}

impl World {
    /// Changes at random; what is to be committed for it.
    pub fn step(&mut self, random: &mut fastrand::Rng, directory: &str) -> Commit {
        let mut changes = Vec::new();
        if random.u8(0..60) == 0 && !(self.users.is_empty() && self.groups.is_empty()) {
            *self = World::default();
            changes.push(Change::Cleared);
            changes.push(notice(EventKind::DirectoryRemoved));
        } else {
            self.shrink(random, &mut changes);
            self.rename(random, &mut changes);
            self.grow(random, &mut changes);
        }
        Commit {
            directory: directory.to_owned(),
            tenant: format!("t-{directory}"),
            product: "vpn".into(),
            occurred_at: Timestamp(random.u64(1..1_000_000)),
            changes,
            cause: Cause::Crawl { full: true },
            progress: Progress::default(),
        }
    }

    fn shrink(&mut self, random: &mut fastrand::Rng, changes: &mut Vec<Change>) {
        let users: Vec<u32> =
            self.users.keys().copied().filter(|_| random.u8(0..20) == 0).collect();
        let groups: Vec<u32> =
            self.groups.keys().copied().filter(|_| random.u8(0..20) == 0).collect();
        let gone: Vec<(u32, Layer, u32)> = self
            .edges
            .iter()
            .copied()
            .filter(|(group, layer, member)| {
                let members = if *layer == Layer::Subgroup { &groups } else { &users };
                groups.contains(group) || members.contains(member) || random.u8(0..12) == 0
            })
            .collect();
        for edge in gone {
            self.edge(edge, false, changes);
        }
        for slot in users {
            self.users.remove(&slot);
            changes.push(Change::UserDeleted { slot, visible: true });
        }
        for slot in groups {
            self.groups.remove(&slot);
            changes.push(Change::GroupDeleted { slot, visible: true });
        }
    }

    fn rename(&mut self, random: &mut fastrand::Rng, changes: &mut Vec<Change>) {
        for (slot, user) in &mut self.users {
            if random.u8(0..10) == 0 {
                let before = user.clone();
                *user = person(random, &user.id);
                if *user != before {
                    changes.push(put_user(*slot, user, Put::Updated));
                }
            }
        }
        for (slot, group) in &mut self.groups {
            if random.u8(0..8) == 0 {
                let before = group.clone();
                *group = team(random, &group.id);
                if *group != before {
                    changes.push(put_group(*slot, group, Put::Updated));
                }
            }
        }
    }

    fn grow(&mut self, random: &mut fastrand::Rng, changes: &mut Vec<Change>) {
        for id in ODD {
            if random.u8(0..6) == 0 && !self.users.values().any(|user| user.id == id) {
                let user = person(random, id);
                changes.push(put_user(self.next_user, &user, Put::Created));
                self.users.insert(self.next_user, user);
                self.next_user += 1;
            }
            if random.u8(0..6) == 0 && !self.groups.values().any(|group| group.id == id) {
                let group = team(random, id);
                changes.push(put_group(self.next_group, &group, Put::Created));
                self.groups.insert(self.next_group, group);
                self.next_group += 1;
            }
        }
        let users: Vec<u32> = self.users.keys().copied().collect();
        let groups: Vec<u32> = self.groups.keys().copied().collect();
        for _ in 0..random.u8(0..6) {
            let layer = random.choice([Layer::Listed, Layer::Declared, Layer::Subgroup]).unwrap();
            let members = if layer == Layer::Subgroup { &groups } else { &users };
            if let (Some(group), Some(member)) = (random.choice(&groups), random.choice(members))
                && !self.edges.contains(&(*group, layer, *member))
            {
                self.edge((*group, layer, *member), true, changes);
            }
        }
    }

    fn edge(&mut self, edge: (u32, Layer, u32), added: bool, changes: &mut Vec<Change>) {
        let (group, layer, member) = edge;
        let other = match layer {
            Layer::Listed => Layer::Declared,
            Layer::Declared => Layer::Listed,
            Layer::Subgroup => Layer::Subgroup,
        };
        let visible = other == layer || !self.edges.contains(&(group, other, member));
        if added {
            self.edges.insert(edge);
        } else {
            self.edges.remove(&edge);
        }
        changes.push(Change::Edges { group, layer, added, visible, members: vec![member] });
    }

    /// What the document should say of it, without tenant, product and `as_of`.
    pub fn document(&self, prefix: Option<&str>) -> Map<String, Value> {
        let shown = self.shown(prefix);
        let (mut users, mut groups) = (Map::new(), Map::new());
        let mut indices: BTreeMap<&str, BTreeMap<String, Map<String, Value>>> = BTreeMap::new();
        for index in ["usernames", "emails", "group_names", "group_emails"] {
            indices.insert(index, BTreeMap::new());
        }
        let mut found = |index: &'static str, key: &str, id: &str| {
            if !key.is_empty() {
                let all = indices.get_mut(index).unwrap().entry(fold(key).into_owned());
                all.or_default().insert(id.to_owned(), json!(true));
            }
        };
        for (slot, user) in &self.users {
            let of = |(g, l, m): &(u32, Layer, u32)| {
                (*l != Layer::Subgroup && m == slot && shown.contains(g)).then_some(*g)
            };
            let of: Map<String, Value> =
                self.edges.iter().filter_map(of).map(|g| self.member(g)).collect();
            if prefix.is_some() && of.is_empty() {
                continue;
            }
            let mut body = json!({"username": user.username, "active": user.active, "groups": of});
            if let Some(email) = user.emails.first() {
                body["email"] = json!(email);
            }
            users.insert(user.id.clone(), body);
            found("usernames", &user.username, &user.id);
            user.emails.iter().for_each(|email| found("emails", email, &user.id));
        }
        for slot in &shown {
            let group = &self.groups[slot];
            let mut above = self.closure(BTreeSet::from([*slot]), true);
            above.retain(|g| g != slot && shown.contains(g));
            let above: Map<String, Value> = above.into_iter().map(|g| self.member(g)).collect();
            let mut body = json!({"name": group.name, "ancestors": above});
            if let Some(email) = &group.email {
                body["email"] = json!(email);
                found("group_emails", email, &group.id);
            }
            found("group_names", &group.name, &group.id);
            groups.insert(group.id.clone(), body);
        }
        let mut document = Map::new();
        document.insert("users".into(), users.into());
        document.insert("groups".into(), groups.into());
        for (index, keys) in indices {
            let keys: Map<String, Value> =
                keys.into_iter().map(|(key, ids)| (key, ids.into())).collect();
            document.insert(index.into(), keys.into());
        }
        document
    }

    fn member(&self, group: u32) -> (String, Value) {
        (self.groups[&group].id.clone(), json!(true))
    }

    fn shown(&self, prefix: Option<&str>) -> BTreeSet<u32> {
        let Some(prefix) = prefix else { return self.groups.keys().copied().collect() };
        let named = self.groups.iter().filter(|(_, group)| fold(&group.name).starts_with(prefix));
        self.closure(named.map(|(slot, _)| *slot).collect(), false)
    }

    fn closure(&self, mut all: BTreeSet<u32>, up: bool) -> BTreeSet<u32> {
        loop {
            let nested = self.edges.iter().filter(|(_, layer, _)| *layer == Layer::Subgroup);
            let next = nested.filter_map(|(outer, _, inner)| match up {
                true => all.contains(inner).then_some(*outer),
                false => all.contains(outer).then_some(*inner),
            });
            let more: BTreeSet<u32> = all.iter().copied().chain(next).collect();
            if more.len() == all.len() {
                return all;
            }
            all = more;
        }
    }
}

pub fn notice(kind: EventKind) -> Change {
    Change::Notice { kind, details: [("n".to_owned(), crate::model::Value::Integer(1))].into() }
}

fn person(random: &mut fastrand::Rng, id: &str) -> User {
    let emails = (0..random.usize(0..3)).map(|_| format!("{}@X", name(random))).collect();
    User {
        id: id.to_owned(),
        username: if random.u8(0..9) == 0 { String::new() } else { name(random) },
        emails,
        active: random.bool(),
        ..User::default()
    }
}

fn team(random: &mut fastrand::Rng, id: &str) -> Group {
    let email = random.bool().then(|| format!("{}@X", name(random)));
    Group { id: id.to_owned(), name: name(random), email, ..Group::default() }
}

fn name(random: &mut fastrand::Rng) -> String {
    (*random.choice(&NAMES).unwrap()).to_owned()
}

fn put_user(slot: u32, user: &User, put: Put) -> Change {
    let record = encode_user(&UserItem { user: user.clone(), ..UserItem::default() });
    Change::User { slot, record, put }
}

fn put_group(slot: u32, group: &Group, put: Put) -> Change {
    let record = encode_group(&GroupItem { group: group.clone(), ..GroupItem::default() });
    Change::Group { slot, record, put }
}
