//! The stub in the common tests: random stories, and a large world.

use std::sync::Arc;

use rosterd::model::User;
use rosterd::provider::Settings;

use super::block;
use super::world::World;
use crate::cloud::{Effect, Member, Op, Population, Vendor, group_words, restart, user_words};
use crate::harness::roster::Roster;
use crate::harness::{artifacts, write_private};

#[test]
fn github_lives_through_anything() {
    crate::cloud::lives_through_anything::<World>();
}

const RESTART: restart::Setting = restart::Setting {
    kind: "github",
    block: lasting_block,
    page: |request| {
        let body = request.json();
        let asks = body["query"].as_str()?.contains("membersWithRole(first: $first");
        asks.then(|| body["variables"]["after"].to_string())
    },
};

#[test]
fn r16_github_goes_on_after_a_kill_at_every_request() {
    restart::killed_everywhere::<World>(&RESTART);
}

/// Its token can be read again by a process that starts later.
fn lasting_block(url: &str) -> String {
    let file = write_private(artifacts().join("github-token"), "t0k3n");
    format!(
        "url = \"{url}/api/v3\"\norganizations = [\"acme\"]\nquota_share = 1\n\
         token = {{ file = {:?} }}",
        file.display().to_string()
    )
}

impl Vendor for World {
    const HAZARDS: &'static [(&'static str, Effect)] = &[
        ("errors in a 200", Effect::Exact),
        ("data null", Effect::Exact),
        ("null node", Effect::Exact),
        ("empty page", Effect::Exact),
        ("repeated cursor", Effect::Exact),
        ("missing page", Effect::Exact),
        ("non-member", Effect::Exact),
        ("points used up", Effect::Exact),
        ("too slow", Effect::Exact),
        ("timeout in a 200", Effect::Exact),
        ("forbidden team", Effect::Kept),
        ("malformed user", Effect::Kept),
    ];

    fn settings(&self, url: &str) -> Arc<dyn Settings> {
        block(&format!("{url}/api/v3"), "")
    }

    fn apply(&mut self, op: &Op) {
        let user = |world: &World, n: u8| {
            world.people.values().find(|one| one.login == format!("u{n}")).map(|one| one.id)
        };
        let team = |world: &World, n: u8| {
            let prefix = format!("g{n}");
            world.orgs[0].teams.values().find(|one| one.name == prefix).map(|one| one.id)
        };
        match *op {
            Op::PutUser(n, title) => {
                let id = user(self, n).unwrap_or_else(|| self.member(0, &format!("u{n}")));
                self.people.get_mut(&id).unwrap().name = Some(format!("title {title}"));
            }
            Op::Disable(n) | Op::Enable(n) => {
                let Some(id) = user(self, n) else { return };
                self.people.get_mut(&id).unwrap().suspended = matches!(op, Op::Disable(_));
            }
            Op::DeleteUser(n) => {
                let Some(id) = user(self, n) else { return };
                self.people.remove(&id);
                self.orgs[0].members.remove(&id);
                self.orgs[0]
                    .teams
                    .values_mut()
                    .for_each(|team| team.members.retain(|member, _| *member != id));
            }
            Op::PutGroup(n, text) => {
                let id = team(self, n).unwrap_or_else(|| self.make_team(0, &format!("g{n}"), &[]));
                let team = self.change_team(id);
                (team.name, team.description) = (format!("g{n}"), Some(format!("text {text}")));
            }
            Op::RenameGroup(n, name) => {
                let Some(id) = team(self, n) else { return };
                self.change_team(id).slug = format!("g{n}-{name}");
            }
            Op::DeleteGroup(n) => {
                let Some(id) = team(self, n) else { return };
                self.orgs[0].teams.remove(&id);
                let children = self.orgs[0].teams.values_mut().filter(|one| one.parent == Some(id));
                children.for_each(|one| one.parent = None);
            }
            Op::AddMember(n, Member::User(u)) => {
                let (Some(id), Some(user)) = (team(self, n), user(self, u)) else { return };
                self.change_team(id).members.insert(user, false);
            }
            Op::RemoveMember(n, Member::User(u)) => {
                let (Some(id), Some(user)) = (team(self, n), user(self, u)) else { return };
                self.change_team(id).members.remove(&user);
            }
            Op::AddMember(n, Member::Group(m)) => {
                let (Some(id), Some(child)) = (team(self, n), team(self, m)) else { return };
                let mut above = Some(id);
                while let Some(at) = above {
                    if at == child {
                        return;
                    }
                    above = self.change_team(at).parent;
                }
                self.change_team(child).parent = Some(id);
            }
            Op::RemoveMember(n, Member::Group(m)) => {
                let (Some(id), Some(child)) = (team(self, n), team(self, m)) else { return };
                let child = self.change_team(child);
                child.parent = child.parent.filter(|parent| *parent != id);
            }
        }
    }

    fn page(&mut self, objects_max: usize) {
        self.page = objects_max;
    }

    fn hazard(&mut self, name: &str) {
        self.hazard = Self::HAZARDS.iter().map(|(known, _)| *known).find(|known| *known == name);
    }

    fn calm(&mut self) {
        self.hazard = None;
    }

    fn roster(&self) -> Roster {
        let org = &self.orgs[0];
        let (whole, owners) =
            (format!("organization-{}", org.id), format!("organization-{}-owners", org.id));
        let mut roster = Roster::default();
        roster.groups.insert(whole.clone(), group_words(&org.login, None));
        roster.groups.insert(owners.clone(), group_words(&format!("{}:owners", org.login), None));
        for (id, is_owner) in &org.members {
            let person = &self.people[id];
            roster
                .users
                .insert(id.to_string(), user_words(person.name.as_deref(), !person.suspended));
            roster.members.insert((whole.clone(), id.to_string()));
            if *is_owner {
                roster.members.insert((owners.clone(), id.to_string()));
            }
        }
        for team in org.teams.values() {
            let words =
                group_words(&format!("{}/{}", org.login, team.slug), team.description.as_deref());
            roster.groups.insert(team.id.to_string(), words);
            for id in team.members.keys() {
                roster.members.insert((team.id.to_string(), id.to_string()));
            }
            if let Some(parent) = team.parent {
                roster.members.insert((parent.to_string(), team.id.to_string()));
            }
        }
        roster
    }

    fn fill(&mut self, population: Population) {
        let ids: Vec<u64> =
            (0..population.users).map(|n| self.member(0, &format!("user{n}"))).collect();
        for group in 0..population.groups {
            let members: Vec<u64> = population.members(group).map(|user| ids[user]).collect();
            self.make_team(0, &format!("team{group}"), &members);
        }
    }

    fn user_words(user: &User) -> String {
        user_words(user.display_name.as_deref(), user.active)
    }
}
