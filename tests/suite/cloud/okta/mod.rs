//! Okta, from an org in this process.

mod access;
mod apps;
mod changes;
mod counts;
mod crawls;
mod doctor;
mod doubts;
mod exchanges;
mod scene;
mod second_client;
mod size;
mod stub;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use rosterd::provider::Settings;
use serde_json::json;

use self::access::Access;
use self::stub::{EVERYONE, Org};
use super::{Effect, Member, Op, Population, Vendor, group_words, settings, user_words};
use crate::harness::roster::Roster;
use crate::harness::vendor::{Api, Request, Response};
use crate::harness::{artifacts, secrets, write_private};

static TOKEN: LazyLock<String> = LazyLock::new(secrets::password);
static TOKEN_FILE: LazyLock<PathBuf> =
    LazyLock::new(|| write_private(artifacts().join("okta-token"), &*TOKEN));

/// An org as the common tests see it: numbers stand for ids.
pub struct Acme {
    pub org: Org,
    users: BTreeMap<u8, String>,
    groups: BTreeMap<u8, String>,
    born: u32,
    trouble: Trouble,
}

/// What happens to the next requests, apart from what the org itself knows.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Trouble {
    #[default]
    None,
    /// So many times.
    TooManyAtOnce(u8),
}

impl Default for Acme {
    /// With one administrator, as there always is.
    fn default() -> Acme {
        let mut org = Org::new(Access::Token(TOKEN.clone()));
        org.put_user("00uadmin", "ACTIVE", json!({}));
        org.long_ago();
        Acme {
            org,
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
            born: 0,
            trouble: Trouble::None,
        }
    }
}

impl Acme {
    fn id(&mut self, prefix: &str, number: u8) -> String {
        self.born += 1;
        format!("{prefix}{number}x{}", self.born)
    }

    fn put_user(&mut self, number: u8, title: u8) {
        if !self.users.contains_key(&number) {
            let id = self.id("00u", number);
            self.users.insert(number, id);
        }
        let id = &self.users[&number];
        let status = match self.org.users.get(id) {
            Some(user) => user["status"].as_str().unwrap().to_owned(),
            None => "ACTIVE".to_owned(),
        };
        self.org.put_user(id, &status, json!({"title": format!("title {title}")}));
    }

    fn set_status(&mut self, number: u8, status: &str, event: &str) {
        let Some(id) = self.users.get(&number).cloned() else { return };
        let now = stub::iso(self.org.now());
        let user = self.org.users.get_mut(&id).unwrap();
        (user["status"], user["lastUpdated"]) = (json!(status), json!(now));
        self.org.tell(event, &[(&id, "User")]);
    }

    fn put_group(&mut self, number: u8, change: impl FnOnce(&mut stub::Group)) {
        if !self.groups.contains_key(&number) {
            let id = self.id("00g", number);
            self.org.put_group(&id, "OKTA_GROUP", &format!("group {number}"));
            self.org.tell("group.lifecycle.create", &[(&id, "UserGroup")]);
            self.groups.insert(number, id);
        }
        let now = self.org.now();
        let group = self.org.groups.get_mut(&self.groups[&number]).unwrap();
        change(group);
        group.updated = now;
    }

    fn membership(&self, group: u8, member: Member) -> Option<(String, String)> {
        let Member::User(user) = member else { return None };
        Some((self.groups.get(&group)?.clone(), self.users.get(&user)?.clone()))
    }
}

impl Api for Acme {
    fn answer(&mut self, request: &Request) -> Response {
        if let Trouble::TooManyAtOnce(left) = self.trouble {
            self.trouble = if left > 1 { Trouble::TooManyAtOnce(left - 1) } else { Trouble::None };
            return stub::too_many_at_once();
        }
        self.org.answer(request)
    }

    fn throttled(&mut self, request: &Request) -> Response {
        self.org.throttled(request)
    }

    fn server_error(&mut self, request: &Request) -> Response {
        self.org.server_error(request)
    }

    fn refused(&mut self, request: &Request) -> Response {
        self.org.refused(request)
    }
}

impl Vendor for Acme {
    const HAZARDS: &'static [(&'static str, Effect)] = &[
        ("empty pages", Effect::Exact),
        ("a link comes twice", Effect::Exact),
        ("links lead elsewhere", Effect::Exact),
        ("links have expired", Effect::Exact),
        ("too many at once", Effect::Exact),
        ("the log is closed", Effect::Exact),
        ("a malformed user", Effect::Kept),
        ("a user without an id", Effect::Exact),
        ("a forbidden group", Effect::Kept),
        ("users are missing", Effect::Exact),
        ("members are missing", Effect::Kept),
    ];

    fn settings(&self, url: &str) -> Arc<dyn Settings> {
        settings("okta", &block(url, "quota_share = 1"))
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::PutUser(user, title) => self.put_user(user, title),
            Op::Disable(user) if user % 2 == 0 => {
                self.set_status(user, "SUSPENDED", "user.lifecycle.suspend");
            }
            Op::Disable(user) => {
                self.set_status(user, "DEPROVISIONED", "user.lifecycle.deactivate");
            }
            Op::Enable(user) => self.set_status(user, "ACTIVE", "user.lifecycle.activate"),
            Op::DeleteUser(user) => {
                if let Some(id) = self.users.remove(&user) {
                    self.org.delete_user(&id);
                }
            }
            Op::PutGroup(group, text) => self.put_group(group, |group| {
                group.description = Some(format!("about {text}"));
            }),
            Op::RenameGroup(group, _) if !self.groups.contains_key(&group) => {}
            Op::RenameGroup(group, name) => self.put_group(group, |group| {
                group.name = format!("name {name}");
            }),
            Op::DeleteGroup(group) => {
                if let Some(id) = self.groups.remove(&group) {
                    self.org.delete_group(&id);
                }
            }
            Op::AddMember(group, member) => {
                if let Some((group, user)) = self.membership(group, member) {
                    self.org.add(&group, &user, true);
                }
            }
            Op::RemoveMember(group, member) => {
                if let Some((group, user)) = self.membership(group, member) {
                    self.org.remove(&group, &user, true);
                }
            }
        }
    }

    fn page(&mut self, objects_max: usize) {
        self.org.page_max = objects_max;
    }

    fn hazard(&mut self, name: &str) {
        let user = self.users.values().next().cloned();
        match name {
            "empty pages" => self.org.empty_pages = true,
            "a link comes twice" => self.org.links_repeat = true,
            "links lead elsewhere" => self.org.links_elsewhere = true,
            "links have expired" => self.org.links_expired = true,
            "too many at once" => self.trouble = Trouble::TooManyAtOnce(2),
            "the log is closed" => self.org.log_forbidden = true,
            "a malformed user" => self.org.malformed = user.into_iter().collect(),
            "a user without an id" => self.org.nameless = user,
            "users are missing" => self.org.hidden_users = user.into_iter().collect(),
            "members are missing" => self.org.hidden_members = user.into_iter().collect(),
            "a forbidden group" => {
                self.org.forbidden = self.groups.values().next().cloned().into_iter().collect();
            }
            other => panic!("no hazard {other}"),
        }
    }

    fn calm(&mut self) {
        self.org.empty_pages = false;
        self.org.links_repeat = false;
        self.org.links_elsewhere = false;
        self.org.links_expired = false;
        self.org.log_forbidden = false;
        self.org.malformed = BTreeSet::new();
        self.org.nameless = None;
        self.org.hidden_users = BTreeSet::new();
        self.org.hidden_members = BTreeSet::new();
        self.org.forbidden = BTreeSet::new();
        self.trouble = Trouble::None;
    }

    fn roster(&self) -> Roster {
        roster(&self.org)
    }

    fn fill(&mut self, population: Population) {
        for user in 0..population.users {
            self.org.put_user(&format!("00u{user:06}"), "ACTIVE", json!({"title": "Engineer"}));
        }
        for group in 0..population.groups {
            let id = format!("00g{group:06}");
            self.org.put_group(&id, "OKTA_GROUP", &format!("Group {group}"));
            for user in population.members(group) {
                self.org.add(&id, &format!("00u{user:06}"), false);
            }
        }
        self.org.long_ago();
    }
}

/// The settings for an org that takes the token.
pub fn block(url: &str, more: &str) -> String {
    format!("url = \"{url}\"\ntoken = {{ file = {:?} }}\n{more}", TOKEN_FILE.display().to_string())
}

/// What readers should see of an org.
pub fn roster(org: &Org) -> Roster {
    let mut roster = Roster::default();
    for (id, user) in &org.users {
        let words = user_words(user["profile"]["title"].as_str(), user["status"] == "ACTIVE");
        roster.users.insert(id.clone(), words);
        roster.members.insert((EVERYONE.to_owned(), id.clone()));
    }
    for (id, group) in &org.groups {
        let words = group_words(&group.name, group.description.as_deref());
        roster.groups.insert(id.clone(), words);
        roster.members.extend(group.members.iter().map(|user| (id.clone(), user.clone())));
    }
    roster
}

#[test]
fn okta_lives_through_anything() {
    super::lives_through_anything::<Acme>();
}

const RESTART: super::restart::Setting = super::restart::Setting {
    kind: "okta",
    block: |url| block(url, "quota_share = 1"),
    page: |request| {
        let is_page = request.path == "/api/v1/users" && !request.raw_query.contains("lastUpdated");
        is_page.then(|| request.raw_query.clone())
    },
};

#[test]
fn r16_okta_goes_on_after_a_kill_at_every_request() {
    super::restart::killed_everywhere::<Acme>(&RESTART);
}

#[test]
fn r16_a_crawl_goes_on_over_reloads() {
    super::restart::goes_on_over_reloads::<Acme>(&RESTART);
}

#[test]
fn other_settings_invalidate_the_cursor_and_the_checkpoint() {
    let other = "active_statuses = [\"ACTIVE\"]";
    super::restart::other_settings_are_another_directory::<Acme>(&RESTART, other);
}
