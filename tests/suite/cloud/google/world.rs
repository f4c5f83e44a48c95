//! A Google Workspace in memory: users, groups, members, and what the audit
//! feed tells of them.

use std::collections::{BTreeMap, BTreeSet};

use rosterd::clock::{self, Timestamp};
use serde_json::{Value, json};

use crate::cloud::{Member, Op, Population, group_words, user_words};
use crate::harness::roster::Roster;

pub const CUSTOMER: &str = "C01abcdef";
pub const DOMAIN: &str = "example.org";

#[derive(Clone, Debug)]
pub struct StubUser {
    pub email: String,
    pub title: Option<String>,
    pub suspended: bool,
    pub archived: bool,
    pub created: Timestamp,
}

#[derive(Clone, Debug)]
pub struct StubGroup {
    pub email: String,
    pub name: String,
    pub description: Option<String>,
    /// By id: what it is and its address.
    pub members: BTreeMap<String, (&'static str, Option<String>)>,
}

#[derive(Clone, Debug, Default)]
pub struct World {
    pub users: BTreeMap<String, StubUser>,
    pub groups: BTreeMap<String, StubGroup>,
    user_ids: BTreeMap<u8, String>,
    group_ids: BTreeMap<u8, String>,
    serial: u64,
    /// Activities by application, newest first.
    pub feed: BTreeMap<&'static str, Vec<Value>>,
}

impl World {
    pub fn add_user(&mut self, email: &str) -> String {
        self.serial += 1;
        let id = format!("1{:020}", self.serial);
        let user = StubUser {
            email: email.to_owned(),
            title: None,
            suspended: false,
            archived: false,
            created: Timestamp(1_700_000_000_000),
        };
        self.users.insert(id.clone(), user);
        id
    }

    pub fn add_group(&mut self, email: &str) -> String {
        self.serial += 1;
        let id = format!("01{:08x}abc", self.serial);
        let group = StubGroup {
            email: email.to_owned(),
            name: email.to_owned(),
            description: None,
            members: BTreeMap::new(),
        };
        self.groups.insert(id.clone(), group);
        id
    }

    pub fn add_member(&mut self, group: &str, kind: &'static str, id: &str) {
        let email = match kind {
            "USER" => self.users.get(id).map(|user| user.email.clone()),
            "GROUP" => self.groups.get(id).map(|group| group.email.clone()),
            "EXTERNAL" => Some(id.to_owned()),
            _ => None,
        };
        let group = self.groups.get_mut(group).expect("a group");
        group.members.insert(id.to_owned(), (kind, email));
    }

    /// Tells something in the feed.
    pub fn tell(&mut self, application: &'static str, name: &str, parameters: &[(&str, &str)]) {
        self.serial += 1;
        let list = |(name, value): &(&str, &str)| json!({ "name": name, "value": value });
        let activity = json!({
            "kind": "admin#reports#activity",
            "id": {
                "time": clock::now().to_string(),
                "uniqueQualifier": self.serial.to_string(),
                "applicationName": application,
                "customerId": CUSTOMER,
            },
            "actor": { "email": "admin@example.org", "profileId": "1" },
            "events": [{
                "type": "GROUP_SETTINGS",
                "name": name,
                "parameters": parameters.iter().map(list).collect::<Vec<_>>(),
            }],
        });
        self.feed.entry(application).or_default().insert(0, activity);
    }

    pub fn apply(&mut self, op: &Op) {
        match *op {
            Op::PutUser(n, title) => self.put_user(n, title),
            Op::Disable(n) => self.suspend(n, true),
            Op::Enable(n) => self.suspend(n, false),
            Op::DeleteUser(n) => {
                let Some(id) = self.user_ids.remove(&n) else { return };
                let user = self.users.remove(&id).expect("a user");
                self.groups.values_mut().for_each(|group| {
                    group.members.remove(&id);
                });
                self.tell("admin", "DELETE_USER", &[("USER_EMAIL", &user.email)]);
            }
            Op::PutGroup(n, text) => self.put_group(n, text),
            Op::RenameGroup(n, name) => {
                let Some(id) = self.group_ids.get(&n) else { return };
                let group = self.groups.get_mut(id).expect("a group");
                group.name = format!("name {name}");
                let email = group.email.clone();
                self.tell("admin", "CHANGE_GROUP_NAME", &[("GROUP_EMAIL", &email)]);
            }
            Op::DeleteGroup(n) => {
                let Some(id) = self.group_ids.remove(&n) else { return };
                let email = self.groups.remove(&id).expect("a group").email;
                self.groups.values_mut().for_each(|group| {
                    group.members.remove(&id);
                });
                self.tell("admin", "DELETE_GROUP", &[("GROUP_EMAIL", &email)]);
            }
            Op::AddMember(group, member) => self.change_member(group, member, true),
            Op::RemoveMember(group, member) => self.change_member(group, member, false),
        }
    }

    fn put_user(&mut self, n: u8, title: u8) {
        let email = format!("user{n}@{DOMAIN}");
        let (id, event) = match self.user_ids.get(&n) {
            Some(id) => (id.clone(), "CHANGE_USER_ORGANIZATION"),
            None => (self.add_user(&email), "CREATE_USER"),
        };
        self.user_ids.insert(n, id.clone());
        self.users.get_mut(&id).expect("a user").title = Some(format!("title {title}"));
        self.tell("admin", event, &[("USER_EMAIL", &email)]);
    }

    fn suspend(&mut self, n: u8, suspended: bool) {
        let Some(id) = self.user_ids.get(&n) else { return };
        let user = self.users.get_mut(id).expect("a user");
        user.suspended = suspended;
        let email = user.email.clone();
        let event = if suspended { "SUSPEND_USER" } else { "UNSUSPEND_USER" };
        self.tell("admin", event, &[("USER_EMAIL", &email)]);
    }

    fn put_group(&mut self, n: u8, text: u8) {
        let email = format!("group{n}@{DOMAIN}");
        let (id, event) = match self.group_ids.get(&n) {
            Some(id) => (id.clone(), "CHANGE_GROUP_DESCRIPTION"),
            None => (self.add_group(&email), "CREATE_GROUP"),
        };
        self.group_ids.insert(n, id.clone());
        let group = self.groups.get_mut(&id).expect("a group");
        group.description = Some(format!("text {text}"));
        self.tell("admin", event, &[("GROUP_EMAIL", &email)]);
    }

    fn change_member(&mut self, n: u8, member: Member, joins: bool) {
        let Some(group) = self.group_ids.get(&n).cloned() else { return };
        let (kind, id) = match member {
            Member::User(user) => ("USER", self.user_ids.get(&user).cloned()),
            Member::Group(inner) => ("GROUP", self.group_ids.get(&inner).cloned()),
        };
        let Some(id) = id else { return };
        // Google rejects cycles.
        if joins && kind == "GROUP" && self.reaches(&id, &group) {
            return;
        }
        let email = match kind {
            "USER" => self.users[&id].email.clone(),
            _ => self.groups[&id].email.clone(),
        };
        if joins {
            self.add_member(&group, kind, &id);
        } else if self.groups.get_mut(&group).expect("a group").members.remove(&id).is_none() {
            return;
        }
        // Some ways of changing members show in one feed, some in the other.
        let place = self.groups[&group].email.clone();
        if n.is_multiple_of(2) {
            let name = if joins { "ADD_GROUP_MEMBER" } else { "REMOVE_GROUP_MEMBER" };
            self.tell("admin", name, &[("GROUP_EMAIL", &place), ("USER_EMAIL", &email)]);
        } else {
            let name = if joins { "add_member" } else { "remove_member" };
            self.tell("groups_enterprise", name, &[("group_id", &place), ("member_id", &email)]);
        }
    }

    /// A member joins, and this application tells of it.
    pub fn add_member_told(&mut self, application: &'static str, group: u8, user: u8) {
        let (group, user) = (self.group_ids[&group].clone(), self.user_ids[&user].clone());
        self.add_member(&group, "USER", &user);
        let (place, email) = (self.groups[&group].email.clone(), self.users[&user].email.clone());
        self.tell(application, "add_user", &[("group_email", &place), ("user_email", &email)]);
    }

    fn reaches(&self, from: &str, to: &str) -> bool {
        let inner = || self.groups[from].members.iter().filter(|(_, (kind, _))| *kind == "GROUP");
        from == to || inner().any(|(id, _)| self.reaches(id, to))
    }

    pub fn roster(&self) -> Roster {
        let words =
            |user: &StubUser| user_words(user.title.as_deref(), !user.suspended && !user.archived);
        let known: BTreeSet<&String> = self.users.keys().chain(self.groups.keys()).collect();
        let mut roster = Roster {
            users: self.users.iter().map(|(id, user)| (id.clone(), words(user))).collect(),
            ..Roster::default()
        };
        for (id, group) in &self.groups {
            let text = group_words(&group.name, group.description.as_deref());
            roster.groups.insert(id.clone(), text);
            for (member, (kind, _)) in &group.members {
                if *kind == "CUSTOMER" {
                    let all = self.users.keys().map(|user| (id.clone(), user.clone()));
                    roster.members.extend(all);
                } else if known.contains(member) {
                    roster.members.insert((id.clone(), member.clone()));
                }
            }
        }
        roster
    }

    pub fn fill(&mut self, population: Population) {
        let users: Vec<String> =
            (0..population.users).map(|n| self.add_user(&format!("u{n}@{DOMAIN}"))).collect();
        for n in 0..population.groups {
            let group = self.add_group(&format!("g{n}@{DOMAIN}"));
            for user in population.members(n) {
                self.add_member(&group, "USER", &users[user]);
            }
        }
    }
}
