//! The random stories once more: by REST, and with an audit log.

use std::collections::BTreeMap;
use std::sync::Arc;

use rosterd::model::User;
use rosterd::provider::Settings;
use serde_json::json;

use super::block;
use super::world::World;
use crate::cloud::{Effect, Member, Op, Population, Vendor};
use crate::harness::roster::Roster;
use crate::harness::vendor::{Api, Request, Response};

#[test]
fn github_lives_through_anything_by_rest() {
    crate::cloud::lives_through_anything::<Another<REST>>();
}

#[test]
fn github_lives_through_anything_with_an_audit_log() {
    crate::cloud::lives_through_anything::<Another<LOG>>();
}

const REST: u8 = 0;
const LOG: u8 = 1;

/// The same world, read in another way. Neither way tells of names, nor of who
/// is suspended, so accounts are compared by their logins.
struct Another<const WAY: u8>(World);

impl<const WAY: u8> Default for Another<WAY> {
    fn default() -> Another<WAY> {
        let mut world = World::default();
        world.orgs[0].log = (WAY == LOG).then(Vec::new);
        // Or else a story would wait for its quota after each throttle.
        world.headers.push(("x-ratelimit-limit", "1000000".into()));
        Another(world)
    }
}

impl<const WAY: u8> Api for Another<WAY> {
    fn answer(&mut self, request: &Request) -> Response {
        self.0.answer(request)
    }

    fn throttled(&mut self, request: &Request) -> Response {
        self.0.throttled(request)
    }

    fn server_error(&mut self, request: &Request) -> Response {
        self.0.server_error(request)
    }

    fn refused(&mut self, request: &Request) -> Response {
        self.0.refused(request)
    }
}

impl<const WAY: u8> Another<WAY> {
    /// Writes down what GitHub writes down of the change.
    fn log(&mut self, op: &Op, before: &BTreeMap<String, u64>) {
        let user = |n: u8| format!("u{n}");
        let now = logins(&self.0);
        let named = |n: u8| self.0.orgs[0].teams.values().find(|team| team.name == format!("g{n}"));
        let slug = |n: u8| named(n).map(|team| json!({ "team": format!("acme/{}", team.slug) }));
        let (action, entry) = match *op {
            Op::PutUser(n, _) if !before.contains_key(&user(n)) => {
                ("org.add_member", Some(json!({ "user": user(n), "user_id": now[&user(n)] })))
            }
            Op::DeleteUser(n) => {
                let id = before.get(&user(n));
                ("org.remove_member", id.map(|id| json!({ "user": user(n), "user_id": id })))
            }
            Op::AddMember(n, Member::User(_)) => ("team.add_member", slug(n)),
            Op::RemoveMember(n, Member::User(_)) => ("team.remove_member", slug(n)),
            Op::AddMember(n, _) | Op::RemoveMember(n, _) => ("team.change_parent_team", slug(n)),
            Op::PutGroup(n, _) => ("team.create", slug(n)),
            Op::RenameGroup(n, _) => ("team.rename", slug(n)),
            Op::DeleteGroup(n) => ("team.destroy", Some(json!({ "team": format!("acme/g{n}") }))),
            Op::PutUser(..) | Op::Disable(_) | Op::Enable(_) => return,
        };
        if let Some(entry) = entry {
            self.0.log(0, action, entry);
        }
    }
}

fn logins(world: &World) -> BTreeMap<String, u64> {
    world.people.values().map(|one| (one.login.clone(), one.id)).collect()
}

impl<const WAY: u8> Vendor for Another<WAY> {
    const HAZARDS: &'static [(&'static str, Effect)] = World::HAZARDS;
    const CASES: u32 = 12;

    fn settings(&self, url: &str) -> Arc<dyn Settings> {
        match WAY {
            // A server, which has no quota to keep to.
            REST => block(&format!("{url}/api/v3"), "api = \"rest\""),
            _ => block(
                url,
                "outside_collaborators = \"off\"\npending_invitations = \"off\"\nquota_share = 1",
            ),
        }
    }

    fn apply(&mut self, op: &Op) {
        let before = logins(&self.0);
        self.0.apply(op);
        self.log(op, &before);
    }

    fn page(&mut self, objects_max: usize) {
        self.0.page(objects_max);
    }

    fn hazard(&mut self, name: &str) {
        self.0.hazard(name);
    }

    fn calm(&mut self) {
        self.0.calm();
    }

    fn roster(&self) -> Roster {
        let mut roster = self.0.roster();
        for (id, words) in &mut roster.users {
            words.clone_from(&self.0.people[&id.parse().unwrap()].login);
        }
        roster
    }

    fn fill(&mut self, population: Population) {
        self.0.fill(population);
    }

    fn user_words(user: &User) -> String {
        user.username.clone()
    }
}
