//! Microsoft Entra ID, from a tenant in this process.

mod access;
mod crawls;
mod replicas;
mod scene;
mod second_client;
mod size;
mod stub;
mod tenant;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use rosterd::provider::Settings;
use serde_json::json;

use self::stub::{CLIENT, Proof, Stub};
use self::tenant::{GROUP, Tenant, USER};
use super::{Effect, Member, Op, Population, Vendor, group_words, settings, user_words};
use crate::harness::roster::Roster;
use crate::harness::vendor::{Api, Request, Response, VendorServer};
use crate::harness::{artifacts, secrets, write_private};

static SECRET: LazyLock<String> = LazyLock::new(secrets::password);
static SECRET_FILE: LazyLock<PathBuf> =
    LazyLock::new(|| write_private(artifacts().join("entra-secret"), &*SECRET));

/// A tenant as the common tests see it: numbers stand for ids.
pub struct Contoso {
    pub stub: Stub,
    users: BTreeMap<u8, String>,
    groups: BTreeMap<u8, String>,
    born: u32,
}

impl Default for Contoso {
    fn default() -> Contoso {
        let stub = Stub::new(Proof::Secret(SECRET.clone()));
        Contoso { stub, users: BTreeMap::new(), groups: BTreeMap::new(), born: 0 }
    }
}

impl Contoso {
    fn fresh(&mut self, prefix: &str, number: u8) -> String {
        self.born += 1;
        format!("{prefix}{number}x{}", self.born)
    }

    fn put_user(&mut self, number: u8, properties: serde_json::Value) {
        if !self.users.contains_key(&number) {
            let id = self.fresh("u", number);
            self.users.insert(number, id);
        }
        self.stub.tenant.put_user(&self.users[&number], properties);
    }

    /// Twenty users, of whom some are in `crew`.
    pub fn fill_small(&mut self) {
        self.stub.tenant.put_group("crew", json!({}));
        for number in 0..20 {
            let id = format!("u{number}");
            self.stub.tenant.put_user(&id, json!({}));
            if number % 2 == 0 {
                self.stub.tenant.add("crew", &id, USER);
            }
        }
    }

    /// One more user, who is in `crew`.
    pub fn join(&mut self, id: &str) {
        self.stub.tenant.put_user(id, json!({}));
        self.stub.tenant.add("crew", id, USER);
    }

    fn member(&self, member: Member) -> Option<(String, &'static str)> {
        match member {
            Member::User(number) => Some((self.users.get(&number)?.clone(), USER)),
            Member::Group(number) => Some((self.groups.get(&number)?.clone(), GROUP)),
        }
    }
}

impl Api for Contoso {
    fn answer(&mut self, request: &Request) -> Response {
        self.stub.answer(request)
    }

    fn throttled(&mut self, request: &Request) -> Response {
        self.stub.throttled(request)
    }

    fn server_error(&mut self, request: &Request) -> Response {
        self.stub.server_error(request)
    }

    fn refused(&mut self, request: &Request) -> Response {
        self.stub.refused(request)
    }
}

impl Vendor for Contoso {
    const HAZARDS: &'static [(&'static str, Effect)] = &[
        ("empty pages", Effect::Exact),
        ("an empty page between", Effect::Exact),
        ("a link comes twice", Effect::Exact),
        ("links lead elsewhere", Effect::Exact),
        ("an error in a 200", Effect::Exact),
        ("changes are forgotten", Effect::Exact),
        ("the state is lost", Effect::Exact),
        ("changes are not offered", Effect::Exact),
        ("changes come twice", Effect::Exact),
        ("changes are told whole", Effect::Exact),
        ("throttled parts", Effect::Exact),
        ("failing parts", Effect::Exact),
        ("the token expires", Effect::Exact),
        ("a page is missing", Effect::Exact),
        ("a user without an id", Effect::Exact),
        ("a page token expires between polls", Effect::Exact),
        ("throttled parts without a time", Effect::Exact),
        // A process that has just started was not told of anything before.
        (stub::LAG, Effect::Kept),
        ("a forbidden group", Effect::Kept),
        ("a malformed user", Effect::Kept),
        ("properties are null", Effect::Kept),
    ];

    fn settings(&self, url: &str) -> Arc<dyn Settings> {
        settings("entra", &block(url, "quota_share = 1\nverify_within = \"1s\"\n"))
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::PutUser(user, title) => {
                self.put_user(user, json!({ "jobTitle": format!("title {title}") }));
            }
            Op::Disable(user) if self.users.contains_key(&user) => {
                self.put_user(user, json!({ "accountEnabled": false }));
            }
            Op::Enable(user) if self.users.contains_key(&user) => {
                self.put_user(user, json!({ "accountEnabled": true }));
            }
            Op::Disable(_) | Op::Enable(_) => {}
            Op::DeleteUser(user) => match self.users.remove(&user) {
                Some(id) if user % 2 == 0 => self.stub.tenant.bin_user(&id),
                Some(id) => self.stub.tenant.delete_user(&id),
                None => {}
            },
            Op::PutGroup(group, text) => {
                if !self.groups.contains_key(&group) {
                    let id = self.fresh("g", group);
                    self.groups.insert(group, id);
                }
                let description = json!({ "description": format!("about {text}") });
                self.stub.tenant.put_group(&self.groups[&group], description);
            }
            Op::RenameGroup(group, name) => {
                if let Some(id) = self.groups.get(&group) {
                    let name = json!({ "displayName": format!("name {name}") });
                    self.stub.tenant.put_group(id, name);
                }
            }
            Op::DeleteGroup(group) => {
                if let Some(id) = self.groups.remove(&group) {
                    self.stub.tenant.delete_group(&id);
                }
            }
            Op::AddMember(group, member) => {
                if let (Some(group), Some((member, kind))) =
                    (self.groups.get(&group), self.member(member))
                {
                    self.stub.tenant.add(group, &member, kind);
                }
            }
            Op::RemoveMember(group, member) => {
                if let (Some(group), Some((member, _))) =
                    (self.groups.get(&group), self.member(member))
                {
                    self.stub.tenant.remove(group, &member);
                }
            }
        }
    }

    fn page(&mut self, objects_max: usize) {
        self.stub.page = objects_max;
    }

    fn hazard(&mut self, name: &str) {
        self.stub.arm(name);
    }

    fn calm(&mut self) {
        self.stub.calm();
    }

    fn roster(&self) -> Roster {
        roster(&self.stub.tenant)
    }

    fn fill(&mut self, population: Population) {
        for user in 0..population.users {
            self.stub.tenant.put_user(&format!("u{user:06}"), json!({ "jobTitle": "Engineer" }));
        }
        for group in 0..population.groups {
            let id = format!("g{group:06}");
            self.stub.tenant.put_group(&id, json!({}));
            for user in population.members(group) {
                self.stub.tenant.add(&id, &format!("u{user:06}"), USER);
            }
        }
    }
}

/// The settings for a tenant that takes the secret.
pub fn block(url: &str, more: &str) -> String {
    let file = SECRET_FILE.display().to_string();
    format!(
        "tenant_id = \"contoso.com\"\nclient_id = \"{CLIENT}\"\nauthority = \"{url}\"\n\
         graph = \"{url}\"\nclient_secret = {{ file = {file:?} }}\n{more}"
    )
}

/// What readers should see of a tenant.
pub fn roster(tenant: &Tenant) -> Roster {
    let mut roster = Roster::default();
    for (id, user) in &tenant.users {
        let words = user_words(user["jobTitle"].as_str(), user["accountEnabled"] == true);
        roster.users.insert(id.clone(), words);
    }
    for (id, group) in &tenant.groups {
        let name = group["displayName"].as_str().expect("a name");
        roster.groups.insert(id.clone(), group_words(name, group["description"].as_str()));
        let members = tenant.members[id].keys();
        let lives = |member: &&String| {
            tenant.users.contains_key(*member) || tenant.groups.contains_key(*member)
        };
        roster.members.extend(members.filter(lives).map(|member| (id.clone(), member.clone())));
    }
    roster
}

#[test]
fn entra_lives_through_anything() {
    super::lives_through_anything::<Contoso>();
}

#[tokio::test]
async fn a_first_crawl_interrupted_ten_times_at_random_pages_resumes_each_time() {
    let population = Population { users: 400, groups: 400, memberships: 200 };
    for seed in 0..3 {
        // What is asked for at once is lost, and a new token is fetched in vain.
        super::a_first_crawl_goes_on_ten_times::<Contoso>(population, 10, seed, 12).await;
    }
}

#[tokio::test]
async fn two_directories_with_different_credentials_never_mix() {
    let secret = secrets::password();
    let file = write_private(artifacts().join("entra-other-secret"), &secret);
    let other = Contoso { stub: Stub::new(Proof::Secret(secret)), ..Contoso::default() };
    let servers = [VendorServer::start(Contoso::default()), VendorServer::start(other)];
    let first = block(&servers[0].url(), "");
    let second = block(&servers[1].url(), "");
    let second = second.replace(&SECRET_FILE.display().to_string(), &file.display().to_string());
    let blocks = [first, second].map(|block| settings("entra", &block));
    super::two_directories_never_mix(blocks, [&servers[0], &servers[1]]).await;
}

const RESTART: super::restart::Setting = super::restart::Setting {
    kind: "entra",
    block: |url| block(url, "quota_share = 1"),
    page: |request| request.path.ends_with("v1.0/users").then(|| request.raw_query.clone()),
};

#[test]
fn r16_entra_goes_on_after_a_kill_at_every_request() {
    super::restart::killed_everywhere::<Contoso>(&RESTART);
}
