//! Large teams, whose members are read along with those of the organization.
//!
//! The pages of one list follow each other, so a team of ten thousand takes a
//! hundred requests in a row. The list of all members takes as many or more;
//! the same requests read both.
//!
//! Nothing depends on it: whatever is wrong, [`Riders::give_up`], and the step
//! that reads teams reads them whole.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::access::Connection;
use super::graphql::{Page, incomplete};
use super::teams::{FollowUp, Team};
use crate::provider::PullError;

/// With fewer members than this, a team is read with its listing and a few
/// requests for many teams.
const LARGE: u64 = 300;
/// So many teams are read along at once.
const AT_ONCE: usize = 10;
/// Members that are remembered until the listing of the teams asks for them.
const MEMBERS_MAX: u64 = 100_000;

/// Teams that are read along.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Riders {
    /// The page of the listing of teams that shows which are large.
    after: Option<String>,
    are_all_known: bool,
    teams: Vec<Team>,
    /// How many members they have, as GitHub counts.
    members: u64,
}

/// What is added to a question.
pub struct Ride {
    pub head: String,
    /// Inside the organization, and beside it.
    pub inside: &'static str,
    pub beside: String,
    pub fragments: &'static str,
    pub variables: Map<String, Value>,
    /// Lists that GitHub counts for it.
    pub lists: usize,
}

/// Which teams are large: the first member of each, with the number of all.
const SIZES: &str = "teams(first: 100, after: $sizes, privacy: $privacy) { totalCount \
     pageInfo { hasNextPage endCursor } nodes { id databaseId \
     members(first: 1, membership: IMMEDIATE) { ...M } } }";

impl Riders {
    /// Whether there is nothing (more) to read along.
    pub fn is_over(&self) -> bool {
        self.are_all_known && self.teams.iter().all(Team::is_whole)
    }

    pub fn give_up(&mut self) {
        *self = Riders { are_all_known: true, ..Riders::default() };
    }

    /// What to ask beside the next page of members.
    pub fn ride(&self, connection: &Connection) -> Ride {
        let open: Vec<&Team> = self.open().map(|at| &self.teams[at]).collect();
        let FollowUp { mut head, lines, mut variables, members, .. } = FollowUp::of(&open);
        let mut lists = members;
        if !self.are_all_known {
            head.push_str("$sizes: String, $privacy: TeamPrivacy, ");
            variables.insert("sizes".to_owned(), json!(self.after));
            variables.insert("privacy".to_owned(), super::teams::privacy(connection));
            lists += 101;
        }
        Ride {
            head,
            inside: if self.are_all_known { "" } else { SIZES },
            beside: lines,
            fragments: super::teams::MEMBERS,
            variables,
            lists,
        }
    }

    /// Takes in what came for it.
    ///
    /// # Errors
    /// [`PullError::Incomplete`] for anything that is not whole.
    pub fn take(&mut self, data: &mut Value, organization: &str) -> Result<(), PullError> {
        for (n, at) in self.open().collect::<Vec<_>>().into_iter().enumerate() {
            let (team, value) = (&mut self.teams[at], &mut data[format!("t{n}")]);
            if value["databaseId"].as_u64() != Some(team.id) || value["members"].is_null() {
                let what = format!("GitHub, team {} of {organization}", team.id);
                return Err(incomplete(&what, "its members did not come along".to_owned()));
            }
            team.take(value, organization)?;
        }
        if self.are_all_known {
            return Ok(());
        }
        let what = format!("GitHub, teams of {organization}");
        let page = Page::read(&what, data["organization"]["teams"].take(), "nodes")?;
        for mut node in page.entries {
            self.admit(&mut node, organization)?;
        }
        if page.next.is_some() && page.next == self.after {
            return Err(incomplete(&what, "a cursor came twice".to_owned()));
        }
        self.are_all_known = page.next.is_none();
        self.after = page.next;
        Ok(())
    }

    fn admit(&mut self, node: &mut Value, organization: &str) -> Result<(), PullError> {
        let members = node["members"]["totalCount"].as_u64().unwrap_or_default();
        if members < LARGE || self.members + members > MEMBERS_MAX {
            return Ok(());
        }
        let id = node["databaseId"].as_u64();
        let Some((id, node_id)) = id.zip(node["id"].as_str()) else { return Ok(()) };
        let mut team = Team { id, node_id: node_id.to_owned(), ..Team::default() };
        team.take(node, organization)?;
        self.members += members;
        self.teams.push(team);
        Ok(())
    }

    /// Gives a team whose listing has come what was read along.
    pub fn board(&mut self, team: &mut Team) {
        let Some(at) = self.teams.iter().position(|known| known.id == team.id) else { return };
        let known = self.teams.swap_remove(at);
        if known.members.len() > team.members.len() {
            team.members = known.members;
            team.rest_of_members = known.rest_of_members;
        }
    }

    fn open(&self) -> impl Iterator<Item = usize> {
        let all = self.teams.iter().enumerate();
        all.filter(|(_, team)| !team.is_whole()).map(|(at, _)| at).take(AT_ONCE)
    }
}
