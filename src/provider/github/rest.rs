//! Reads by REST: what GraphQL does not have, and everything on servers
//! without GraphQL.
//!
//! The end of a list is that no next page is named, never a short page.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;
use serde_json::Value;

use super::access::Connection;
use super::graphql::{Trouble, incomplete};
use super::map::{
    Invitation, Person, Standing, invitation, invitation_reference, person, person_reference,
    team_reference,
};
use super::pages::{List, Progress};
use super::ready::Ready;
use super::teams::{Batch, Team};
use crate::model::Reference;
use crate::provider::http::{Quarantine, in_parallel};
use crate::provider::{PullError, UserItem};

/// Teams whose members are read before the crawl notes where it stands.
pub const SLICE: usize = 100;
/// Requests at once: GitHub allows 900 a minute of these, and answers one in
/// about a fifth of a second.
/// <https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api>
const AT_ONCE: usize = 3;

/// The accounts on a page, and their ids.
pub struct People {
    pub items: Vec<UserItem>,
    pub ids: Vec<u64>,
}

/// # Errors
/// As [`List::whole`].
pub async fn members(
    connection: &Connection,
    progress: Progress<'_>,
) -> Result<Vec<Value>, PullError> {
    listed(connection, "GET /orgs/{org}/members", "members", &[], progress).await
}

/// Ids of the owners.
///
/// # Errors
/// As [`List::whole`].
pub async fn owners(
    connection: &Connection,
    progress: Progress<'_>,
) -> Result<HashSet<u64>, PullError> {
    let query = [("role", "admin")];
    let all = listed(connection, "GET /orgs/{org}/members", "members", &query, progress).await?;
    all.iter().map(|entry| id_of(entry, "an owner")).collect()
}

/// # Errors
/// [`PullError::Incomplete`] for an account without an id.
pub fn people(
    entries: Vec<Value>,
    ready: &Ready,
    owners: &HashSet<u64>,
    quarantine: &mut Quarantine,
) -> Result<People, PullError> {
    let mut read = People { items: Vec::new(), ids: Vec::new() };
    for entry in entries {
        let id = entry["id"].as_u64();
        let is_owner = id.is_some_and(|id| owners.contains(&id));
        let standing = if is_owner { Standing::Owner } else { Standing::Member };
        read.ids.extend(id);
        read.items.extend(account(entry, standing, ready, quarantine)?);
    }
    Ok(read)
}

/// # Errors
/// [`PullError::Unauthorized`] when they may not be read.
pub async fn outside(
    connection: &Connection,
    progress: Progress<'_>,
) -> Result<Vec<Value>, PullError> {
    const ENDPOINT: &str = "GET /orgs/{org}/outside_collaborators";
    listed(connection, ENDPOINT, "outside_collaborators", &[], progress).await
}

/// # Errors
/// [`PullError::Incomplete`] for an account without an id.
pub fn outsiders(
    entries: Vec<Value>,
    ready: &Ready,
    quarantine: &mut Quarantine,
) -> Result<Vec<UserItem>, PullError> {
    let mut read = Vec::new();
    for entry in entries {
        read.extend(account(entry, Standing::Outside, ready, quarantine)?);
    }
    Ok(read)
}

/// # Errors
/// [`PullError::Unauthorized`] when they may not be read.
pub async fn invitations(
    connection: &Connection,
    progress: Progress<'_>,
) -> Result<Vec<Value>, PullError> {
    listed(connection, "GET /orgs/{org}/invitations", "invitations", &[], progress).await
}

/// # Errors
/// [`PullError::Incomplete`] for an invitation without an id.
pub fn invited(
    entries: Vec<Value>,
    ready: &Ready,
    quarantine: &mut Quarantine,
) -> Result<Vec<UserItem>, PullError> {
    let mut read = Vec::new();
    for entry in entries {
        let raw = ready.connection.config.keep_raw.then(|| entry.to_string());
        let decoded: Option<Invitation> = quarantine.decode(entry, invitation_reference)?;
        read.extend(decoded.map(|found| invitation(found, &ready.facts, raw)));
    }
    Ok(read)
}

/// The teams of an organization.
pub struct Listing {
    /// In the order of their ids, with their child teams, still without members.
    pub teams: Vec<Team>,
    /// The slugs of all that are there, also of those that are left out.
    pub names: HashMap<u64, String>,
}

/// # Errors
/// As [`List::whole`].
pub async fn teams(
    connection: &Connection,
    quarantine: &mut Quarantine,
    progress: Progress<'_>,
) -> Result<Listing, PullError> {
    let entries = listed(connection, "GET /orgs/{org}/teams", "teams", &[], progress).await?;
    let mut names = HashMap::new();
    let mut children: HashMap<u64, Vec<u64>> = HashMap::new();
    for entry in &entries {
        let slug = entry["slug"].as_str().map(str::to_owned);
        names.extend(entry["id"].as_u64().zip(slug));
        if let (Some(id), Some(parent)) = (entry["id"].as_u64(), entry["parent"]["id"].as_u64()) {
            children.entry(parent).or_default().push(id);
        }
    }
    let mut teams = BTreeMap::new();
    for entry in entries {
        let raw = connection.config.keep_raw.then(|| entry.to_string());
        let Some(listed) = quarantine.decode::<Listed>(entry, team_reference)? else { continue };
        let is_secret = listed.privacy.as_deref() == Some("secret");
        if is_secret && !connection.config.secret_teams {
            continue;
        }
        let own = children.remove(&listed.id).unwrap_or_default();
        let team = Team {
            id: listed.id,
            slug: listed.slug,
            name: listed.name,
            description: listed.description,
            // GraphQL's words for it.
            privacy: if is_secret { "secret" } else { "visible" }.to_owned(),
            children: own.into_iter().collect(),
            raw,
            ..Team::default()
        };
        teams.insert(team.id, team);
    }
    Ok(Listing { teams: teams.into_values().collect(), names })
}

#[derive(Deserialize)]
struct Listed {
    id: u64,
    slug: String,
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    privacy: Option<String>,
}

/// These teams with their direct members. `names`: the slugs of all teams.
///
/// # Errors
/// [`Trouble::Gone`] when one is not there any more, or was renamed.
pub async fn with_members(
    connection: &Connection,
    teams: Vec<Team>,
    names: &HashMap<u64, String>,
) -> Result<Batch, Trouble> {
    let mut batch = Batch::default();
    let mut gone = None;
    let work = |mut team: Team| async move {
        match direct_members(connection, &team, names).await {
            Ok(members) => {
                team.members = members;
                Ok(Ok(team))
            }
            Err(trouble @ (Trouble::Gone(_) | Trouble::Hidden(..))) => Ok(Err((team.id, trouble))),
            // An outage is none of this team alone.
            Err(trouble) => Err(trouble.into_error()),
        }
    };
    let at_once = connection.config.http.parallel_requests_max.min(AT_ONCE);
    let each = |outcome: Result<Team, (u64, Trouble)>| match outcome {
        Ok(team) => batch.teams.push(team),
        // One team that may not be read is no reason to stop (R15).
        Err((id, Trouble::Hidden(..))) => batch.refused.push(Reference::Group(id.to_string())),
        Err((_, trouble)) => gone = Some(trouble),
    };
    in_parallel(teams, at_once, work, each).await?;
    if !batch.refused.is_empty() {
        // Or is it the credential that is not good any more?
        let path = format!("/orgs/{}", connection.organization);
        connection.send(connection.get("GET /orgs/{org}", &path, &[])).await?;
    }
    match gone {
        Some(trouble) => Err(trouble),
        None => Ok(batch),
    }
}

async fn direct_members(
    connection: &Connection,
    team: &Team,
    names: &HashMap<u64, String>,
) -> Result<BTreeMap<u64, bool>, Trouble> {
    let entries = team_members(connection, &team.slug).await?;
    let tells_inherited = entries.iter().any(|entry| entry["inherited"].is_boolean());
    let mut members = BTreeMap::new();
    for entry in &entries {
        if entry["inherited"] != true {
            let id = id_of(entry, "a member of a team")?;
            members.insert(id, entry["role"] == "maintainer");
        }
    }
    if tells_inherited || team.children.is_empty() || members.is_empty() {
        return Ok(members);
    }
    // Older servers list the members of child teams without saying so. Who is
    // in both is a member through the child team here.
    for child in team.children.iter().filter_map(|id| names.get(id)) {
        for entry in team_members(connection, child).await? {
            members.remove(&id_of(&entry, "a member of a team")?);
        }
    }
    Ok(members)
}

async fn team_members(connection: &Connection, slug: &str) -> Result<Vec<Value>, Trouble> {
    let list = List {
        connection,
        endpoint: "GET /orgs/{org}/teams/{slug}/members",
        path: format!("/orgs/{}/teams/{slug}/members", connection.organization),
        query: &[],
        is_counted: false,
    };
    list.whole(&mut || {}).await
}

/// A list of the organization that may be hidden, which GitHub says with 404.
async fn listed(
    connection: &Connection,
    endpoint: &'static str,
    name: &str,
    query: &[(&str, &str)],
    progress: Progress<'_>,
) -> Result<Vec<Value>, PullError> {
    let path = format!("/orgs/{}/{name}", connection.organization);
    let list = List { connection, endpoint, path, query, is_counted: true };
    match list.whole(progress).await {
        Err(Trouble::Gone(error)) => Err(PullError::Unauthorized {
            what: format!("the organization {}", connection.organization),
            reason: format!("{endpoint}: {error}"),
            permission: Some(
                "Members: Read-only, or for classic tokens an owner's read:org".into(),
            ),
        }),
        outcome => outcome.map_err(Trouble::into_error),
    }
}

fn account(
    entry: Value,
    standing: Standing,
    ready: &Ready,
    quarantine: &mut Quarantine,
) -> Result<Option<UserItem>, PullError> {
    let raw = ready.connection.config.keep_raw.then(|| entry.to_string());
    let decoded: Option<Person> = quarantine.decode(entry, person_reference)?;
    Ok(decoded.map(|found| person(found, standing, &ready.facts, Vec::new(), raw)))
}

fn id_of(entry: &Value, who: &str) -> Result<u64, PullError> {
    entry["id"].as_u64().ok_or_else(|| incomplete("GitHub", format!("{who} has no id")))
}
