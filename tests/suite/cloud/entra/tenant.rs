//! A tenant: users, groups, and a log of what changed, for delta queries.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// What Graph knows.
#[derive(Default)]
pub struct Tenant {
    pub users: BTreeMap<String, Value>,
    /// Users in the bin: they keep their memberships.
    pub bin: BTreeMap<String, Value>,
    pub groups: BTreeMap<String, Value>,
    /// By group: `@odata.type` by member.
    pub members: BTreeMap<String, BTreeMap<String, &'static str>>,
    /// Service principals and devices, by the name of their collection.
    pub others: BTreeMap<&'static str, Vec<Value>>,
    log: Vec<Change>,
    /// What a replica that lags still shows: removed users, former members.
    ghosts: BTreeMap<String, Value>,
    former: BTreeMap<String, BTreeMap<String, &'static str>>,
}

#[derive(Clone)]
enum Change {
    /// A user or a group, and which of its properties; empty: all.
    Object(bool, String, Vec<String>),
    Removed(bool, String, &'static str),
    Member(String, String, &'static str, bool),
    /// Of something that nobody follows.
    Other,
}

pub const USER: &str = "#microsoft.graph.user";
pub const GROUP: &str = "#microsoft.graph.group";

impl Tenant {
    /// The place of "now" in the log.
    pub fn now(&self) -> usize {
        self.log.len()
    }

    /// Something else happens; the place after it.
    pub fn tick(&mut self) -> usize {
        self.log.push(Change::Other);
        self.now()
    }

    /// All replicas are of one mind.
    pub fn settle(&mut self) {
        self.ghosts.clear();
        self.former.clear();
    }

    /// Something happens that no round will ever tell.
    pub fn in_silence(&mut self, change: impl FnOnce(&mut Tenant)) {
        let told = self.log.len();
        change(self);
        self.log.truncate(told);
    }

    pub fn put_user(&mut self, id: &str, properties: Value) {
        let user = user(id);
        let changed = put(&mut self.users, id, user, properties);
        self.log.extend(changed.map(|names| Change::Object(true, id.to_owned(), names)));
    }

    pub fn put_group(&mut self, id: &str, properties: Value) {
        let changed = put(&mut self.groups, id, group(id), properties);
        self.log.extend(changed.map(|names| Change::Object(false, id.to_owned(), names)));
        self.members.entry(id.to_owned()).or_default();
    }

    /// Into the bin; no list and no round tells of the memberships.
    pub fn bin_user(&mut self, id: &str) {
        if let Some(user) = self.users.remove(id) {
            self.ghosts.insert(id.to_owned(), user.clone());
            self.bin.insert(id.to_owned(), user);
            self.log.push(Change::Removed(true, id.to_owned(), "changed"));
        }
    }

    /// Out of the bin; again no round tells of the memberships.
    pub fn restore_user(&mut self, id: &str) {
        if let Some(user) = self.bin.remove(id) {
            self.users.insert(id.to_owned(), user);
            self.log.push(Change::Object(true, id.to_owned(), Vec::new()));
        }
    }

    /// For good.
    pub fn delete_user(&mut self, id: &str) {
        if let Some(user) = self.users.remove(id).or(self.bin.remove(id)) {
            self.ghosts.insert(id.to_owned(), user);
            self.log.push(Change::Removed(true, id.to_owned(), "deleted"));
            self.forget_member(id);
        }
    }

    pub fn delete_group(&mut self, id: &str) {
        if self.groups.remove(id).is_some() {
            self.members.remove(id);
            self.log.push(Change::Removed(false, id.to_owned(), "deleted"));
            self.forget_member(id);
        }
    }

    fn forget_member(&mut self, id: &str) {
        for group in self.members.keys().cloned().collect::<Vec<_>>() {
            self.remove(&group, id);
        }
    }

    pub fn add(&mut self, group: &str, member: &str, kind: &'static str) {
        let members = self.members.entry(group.to_owned()).or_default();
        if members.insert(member.to_owned(), kind).is_none() {
            self.log.push(Change::Member(group.to_owned(), member.to_owned(), kind, true));
        }
    }

    pub fn remove(&mut self, group: &str, member: &str) {
        if let Some(kind) = self.members.get_mut(group).and_then(|all| all.remove(member)) {
            let former = self.former.entry(group.to_owned()).or_default();
            former.insert(member.to_owned(), kind);
            self.log.push(Change::Member(group.to_owned(), member.to_owned(), kind, false));
        }
    }

    /// Direct members as lists show them: without those in the bin.
    pub fn shown_members(&self, group: &str) -> Option<Vec<Value>> {
        let members = self.members.get(group)?;
        let shown = members.iter().filter(|(id, _)| !self.bin.contains_key(*id));
        Some(shown.map(|(id, kind)| json!({ "@odata.type": kind, "id": id })).collect())
    }

    /// The lists of a replica that lags: of users, and of a group's members.
    pub fn users_once(&self) -> Vec<&Value> {
        let ghosts = self.ghosts.iter().filter(|(id, _)| !self.users.contains_key(*id));
        self.users.values().chain(ghosts.map(|(_, user)| user)).collect()
    }

    pub fn members_once(&self, group: &str) -> Option<Vec<Value>> {
        let mut shown = self.shown_members(group)?;
        let former = self.former.get(group).into_iter().flatten();
        let former = former.filter(|(id, _)| !self.members[group].contains_key(*id));
        shown.extend(former.map(|(id, kind)| json!({ "@odata.type": kind, "id": id })));
        Some(shown)
    }

    pub fn groups_of(&self, member: &str) -> Vec<Value> {
        let groups = self.members.iter().filter(|(_, members)| members.contains_key(member));
        groups.map(|(id, _)| json!({ "@odata.type": GROUP, "id": id })).collect()
    }

    /// What a round tells that goes from one place of the log to another.
    /// Large groups come several times, once for each change of a member.
    pub fn changes(&self, users: bool, from: usize, to: usize, is_minimal: bool) -> Vec<Value> {
        let mut entries = Vec::new();
        let mut told = BTreeSet::new();
        for change in &self.log[from.min(to)..to] {
            match change {
                Change::Object(is_user, id, names) if *is_user == users => {
                    let objects = if users { &self.users } else { &self.groups };
                    let Some(object) = objects.get(id) else { continue };
                    let names: Vec<String> = if is_minimal { names.clone() } else { Vec::new() };
                    if told.insert((id.clone(), names.clone())) {
                        entries.push(part(object, &names));
                    }
                }
                Change::Removed(is_user, id, reason) if *is_user == users => {
                    entries.push(json!({ "id": id, "@removed": { "reason": reason } }));
                }
                Change::Member(group, id, kind, added) if !users => {
                    if self.bin.contains_key(id) || !self.groups.contains_key(group) {
                        continue;
                    }
                    let mut member = json!({ "@odata.type": kind, "id": id });
                    if !added {
                        member["@removed"] = json!({ "reason": "deleted" });
                    }
                    entries.push(json!({ "id": group, "members@delta": [member] }));
                }
                _ => {}
            }
        }
        entries
    }
}

/// Puts or changes an object; the names of what changed, none of them for all.
fn put(
    objects: &mut BTreeMap<String, Value>,
    id: &str,
    fresh: Value,
    properties: Value,
) -> Option<Vec<String>> {
    let is_new = !objects.contains_key(id);
    let object = objects.entry(id.to_owned()).or_insert(fresh);
    let mut changed = Vec::new();
    for (name, value) in properties.as_object().expect("properties") {
        if object[name] != *value {
            object[name] = value.clone();
            changed.push(name.clone());
        }
    }
    match (is_new, changed.is_empty()) {
        (true, _) => Some(Vec::new()),
        (false, true) => None,
        (false, false) => Some(changed),
    }
}

/// The object with these properties, or with all that were ever set.
fn part(object: &Value, names: &[String]) -> Value {
    let fields = object.as_object().expect("an object").iter();
    let is_told = |name: &String, value: &Value| {
        name == "id" || names.contains(name) || (names.is_empty() && !value.is_null())
    };
    let told = fields.filter(|(name, value)| is_told(name, value));
    Value::Object(told.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>())
}

fn user(id: &str) -> Value {
    json!({
        "id": id, "userPrincipalName": format!("{id}@contoso.com"), "displayName": id,
        "givenName": null, "surname": null, "mail": null, "proxyAddresses": [],
        "accountEnabled": true, "userType": "Member", "externalUserState": null,
        "jobTitle": null, "department": null,
    })
}

fn group(id: &str) -> Value {
    json!({
        "id": id, "displayName": id, "mail": null, "description": null, "groupTypes": [],
        "securityEnabled": true, "mailEnabled": false, "visibility": null,
    })
}
