//! Reads by REST: what GraphQL does not have, and everything on servers
//! without GraphQL.
//!
//! The end of a list is that no next page is named, never a short page.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::access::Connection;
use super::crawl::Ready;
use super::graphql::{Trouble, incomplete};
use super::map::{
    Invitation, Person, Standing, invitation, invitation_reference, person, person_reference,
    team_reference,
};
use super::teams::{Batch, Team};
use super::vendor::message_of;
use crate::model::Reference;
use crate::provider::http::{Cursors, Quarantine, in_parallel};
use crate::provider::{PullError, UserItem};

/// Teams whose members are read before the crawl notes where it stands.
pub const SLICE: usize = 100;
/// Requests at once: GitHub allows 900 a minute of these, and answers one in
/// about a fifth of a second.
/// <https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api>
const AT_ONCE: usize = 3;

/// One page of a list.
#[derive(Debug, Default)]
pub struct Page {
    pub entries: Vec<Value>,
    pub next: Option<String>,
}

/// The accounts on a page, and their ids.
pub struct People {
    pub items: Vec<UserItem>,
    pub ids: Vec<u64>,
}

/// # Errors
/// As [`Connection::send`].
pub async fn members(connection: &Connection, after: Option<&str>) -> Result<Page, PullError> {
    let path = format!("/orgs/{}/members", connection.organization);
    page(connection, "GET /orgs/{org}/members", &path, &[], after).await
}

/// Ids of the owners.
///
/// # Errors
/// As [`Connection::send`].
pub async fn owners(connection: &Connection) -> Result<HashSet<u64>, PullError> {
    let path = format!("/orgs/{}/members", connection.organization);
    let query = [("role", "admin")];
    let all = whole(connection, "GET /orgs/{org}/members", &path, &query).await?;
    all.iter().map(|entry| id_of(entry, "an owner")).collect()
}

/// How many members there are: with one a page, the number of the last page.
///
/// # Errors
/// As [`Connection::send`].
pub async fn count_members(connection: &Connection) -> Result<u64, PullError> {
    let path = format!("/orgs/{}/members", connection.organization);
    let call = connection.get("GET /orgs/{org}/members", &path, &[("per_page", "1")]);
    let answer = connection.send(call).await?;
    let lines = answer.headers.get_all(http::header::LINK).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let last = crate::provider::http::links::target(lines, "last");
    let number = last.and_then(|last| answer.url.join(&last).ok()).and_then(|url| {
        url.query_pairs().find(|(name, _)| name == "page").and_then(|(_, page)| page.parse().ok())
    });
    match number {
        Some(number) => Ok(number),
        None => Ok(answer.json::<Vec<Value>>()?.len() as u64),
    }
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
pub async fn outside(connection: &Connection, after: Option<&str>) -> Result<Page, PullError> {
    let path = format!("/orgs/{}/outside_collaborators", connection.organization);
    page(connection, "GET /orgs/{org}/outside_collaborators", &path, &[], after).await
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
pub async fn invitations(connection: &Connection, after: Option<&str>) -> Result<Page, PullError> {
    let path = format!("/orgs/{}/invitations", connection.organization);
    page(connection, "GET /orgs/{org}/invitations", &path, &[], after).await
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

/// All teams with their child teams, still without members.
///
/// # Errors
/// As [`Connection::send`].
pub async fn teams(
    connection: &Connection,
    quarantine: &mut Quarantine,
) -> Result<Vec<Team>, PullError> {
    let path = format!("/orgs/{}/teams", connection.organization);
    let entries = whole(connection, "GET /orgs/{org}/teams", &path, &[]).await?;
    let mut children: HashMap<u64, Vec<u64>> = HashMap::new();
    for entry in &entries {
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
    Ok(teams.into_values().collect())
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

/// These teams with their direct members.
///
/// # Errors
/// [`Trouble::Gone`] when one is not there any more, or was renamed.
pub async fn with_members(connection: &Connection, teams: Vec<Team>) -> Result<Batch, Trouble> {
    let names: HashMap<u64, String> =
        teams.iter().map(|team| (team.id, team.slug.clone())).collect();
    let mut batch = Batch::default();
    let mut gone = None;
    let work = |mut team: Team| {
        let names = &names;
        async move {
            let read = direct_members(connection, &team, names).await;
            let id = team.id;
            Ok(match read {
                Ok(members) => {
                    team.members = members;
                    Ok(team)
                }
                Err(trouble) => Err((id, trouble)),
            })
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
    const ENDPOINT: &str = "GET /orgs/{org}/teams/{slug}/members";
    let slug =
        percent_encoding::utf8_percent_encode(slug, percent_encoding::NON_ALPHANUMERIC).to_string();
    let path = format!("/orgs/{}/teams/{slug}/members", connection.organization);
    let mut cursors = Cursors::new("GitHub team members");
    let mut all = Vec::new();
    let mut url = first(connection, &path, &[]);
    loop {
        let answer = connection.send(connection.follow(ENDPOINT, url).accept(&[404])).await;
        let answer = match answer {
            Err(error @ PullError::Unauthorized { .. }) => {
                let message = error.to_string();
                return Err(Trouble::Hidden(error, message));
            }
            answer => answer?,
        };
        if answer.status.as_u16() == 404 {
            let what = format!("GitHub, team {}/{slug}", connection.organization);
            return Err(Trouble::Gone(incomplete(&what, message_of(&answer))));
        }
        all.extend(answer.json::<Vec<Value>>()?);
        match answer.next_link()? {
            Some(next) => {
                cursors.pass(next.as_str())?;
                url = next;
            }
            None => return Ok(all),
        }
    }
}

/// One page of a list that may be hidden, which GitHub says with 404.
async fn page(
    connection: &Connection,
    endpoint: &'static str,
    path: &str,
    query: &[(&str, &str)],
    after: Option<&str>,
) -> Result<Page, PullError> {
    let url = match after {
        None => first(connection, path, query),
        Some(next) => Url::parse(next).map_err(|_| PullError::CursorExpired {
            reason: "the checkpoint names no page".to_owned(),
        })?,
    };
    let answer = connection.send(connection.follow(endpoint, url).accept(&[404])).await?;
    if answer.status.as_u16() == 404 {
        return Err(PullError::Unauthorized {
            what: format!("the organization {}", connection.organization),
            reason: format!("{endpoint}: {}", message_of(&answer)),
            permission: Some(
                "Members: Read-only, or for classic tokens an owner's read:org".into(),
            ),
        });
    }
    let next = answer.next_link()?.map(String::from);
    Ok(Page { entries: answer.json()?, next })
}

async fn whole(
    connection: &Connection,
    endpoint: &'static str,
    path: &str,
    query: &[(&str, &str)],
) -> Result<Vec<Value>, PullError> {
    let mut cursors = Cursors::new("GitHub");
    let mut all = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let read = page(connection, endpoint, path, query, after.as_deref()).await?;
        all.extend(read.entries);
        match read.next {
            Some(next) => {
                cursors.pass(&next)?;
                after = Some(next);
            }
            None => return Ok(all),
        }
    }
}

fn first(connection: &Connection, path: &str, query: &[(&str, &str)]) -> Url {
    let mut url = connection.config.rest(path);
    url.query_pairs_mut().append_pair("per_page", "100").extend_pairs(query);
    url
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
