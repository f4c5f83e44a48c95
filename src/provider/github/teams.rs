//! Reads teams by GraphQL: a hundred a page with the first of their members,
//! then what is left of the larger ones, many at a time.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::access::Connection;
use super::graphql::{Page, Part, Question, TOO_SLOW, Trouble, ask, incomplete};
use super::map::team_reference;
use super::tally::Tally;
use crate::model::Reference;
use crate::provider::PullError;
use crate::provider::http::Quarantine;

/// As many as GitHub allows.
pub const PAGE_MAX: u32 = 100;
/// Teams whose next members are asked for in one request: 5,000 members.
pub const AT_ONCE: usize = 50;

/// A team, and how far its lists are read.
#[derive(Clone, Debug, Default)]
pub struct Team {
    pub id: u64,
    pub node_id: String,
    pub slug: String,
    pub name: String,
    pub description: Option<String>,
    /// `visible` or `secret`.
    pub privacy: String,
    /// Direct members, and whether each is a maintainer.
    pub members: BTreeMap<u64, bool>,
    pub children: BTreeSet<u64>,
    pub raw: Option<String>,
    pub(super) rest_of_members: Rest,
    pub(super) rest_of_children: Rest,
}

/// What is left of a list.
#[derive(Clone, Debug, Default)]
pub(super) struct Rest {
    next: Option<String>,
    tally: Tally,
}

impl Team {
    pub fn is_whole(&self) -> bool {
        self.rest_of_members.next.is_none() && self.rest_of_children.next.is_none()
    }

    /// That the lists hold as many as GitHub counts.
    ///
    /// # Errors
    /// [`PullError::Incomplete`] when they do not.
    pub fn check(&self, organization: &str) -> Result<(), PullError> {
        let what = |list| format!("the {list} of the team {organization}/{}", self.slug);
        self.rest_of_members.tally.check(&what("members"))?;
        self.rest_of_children.tally.check(&what("child teams"))
    }

    fn take(&mut self, value: &mut Value, organization: &str) -> Result<(), PullError> {
        let what = format!("GitHub, team {organization}/{}", self.slug);
        if let Some(list) = value.get_mut("members") {
            let page = Page::read(&what, list.take(), "edges")?;
            for edge in &page.entries {
                let id = edge["node"]["databaseId"].as_u64();
                let id = id.ok_or_else(|| incomplete(&what, "a member has no id".to_owned()))?;
                if self.members.insert(id, edge["role"] == "MAINTAINER").is_none() {
                    self.rest_of_members.tally.read += 1;
                }
            }
            self.rest_of_members.pass(&what, page)?;
        }
        if let Some(list) = value.get_mut("childTeams") {
            let page = Page::read(&what, list.take(), "nodes")?;
            for node in &page.entries {
                let id = node["databaseId"].as_u64();
                let id =
                    id.ok_or_else(|| incomplete(&what, "a child team has no id".to_owned()))?;
                if self.children.insert(id) {
                    self.rest_of_children.tally.read += 1;
                }
            }
            self.rest_of_children.pass(&what, page)?;
        }
        Ok(())
    }
}

impl Rest {
    fn pass(&mut self, what: &str, page: Page) -> Result<(), PullError> {
        if page.next.is_some() && page.next == self.next {
            return Err(incomplete(
                what,
                "the listing goes in circles: a cursor came twice".into(),
            ));
        }
        self.tally.told(page.total);
        self.tally.page();
        self.next = page.next;
        // A list never has more pages than entries, apart from a few empty ones.
        if self.tally.pages > page.total + 100 {
            return Err(incomplete(what, "the listing does not end".to_owned()));
        }
        Ok(())
    }
}

const MEMBERS: &str = "fragment M on TeamMemberConnection { totalCount pageInfo { hasNextPage endCursor } \
     edges { role node { databaseId } } }";
const CHILDREN: &str = "fragment C on TeamConnection { totalCount pageInfo { hasNextPage endCursor } \
     nodes { databaseId } }";
const TEAM: &str = "fragment T on Team { id databaseId slug name description privacy \
     childTeams(first: 100) { ...C } members(first: 100, membership: IMMEDIATE) { ...M } }";
const LISTING: &str = "query($login: String!, $first: Int!, $after: String, $privacy: TeamPrivacy) { \
     rateLimit { cost } organization(login: $login) { teams(first: $first, after: $after, \
     privacy: $privacy) { totalCount pageInfo { hasNextPage endCursor } nodes { ...T } } } }";

/// Some teams, of which not all need be whole.
#[derive(Debug, Default)]
pub struct Batch {
    pub teams: Vec<Team>,
    /// Teams that are there, and that the credential may not read.
    pub refused: Vec<Reference>,
}

/// One page of the teams of an organization.
///
/// # Errors
/// [`Trouble::Heavy`] when fewer than `first` should be asked for.
pub async fn page(
    connection: &Connection,
    first: u32,
    after: Option<&str>,
    quarantine: &mut Quarantine,
) -> Result<(Batch, Page), Trouble> {
    let config = &connection.config;
    let document = format!("{LISTING} {TEAM} {CHILDREN} {MEMBERS}");
    let question = Question {
        endpoint: "GraphQL teams",
        document: &document,
        variables: json!({
            "login": connection.organization,
            "first": first,
            "after": after,
            "privacy": if config.secret_teams { Value::Null } else { json!("VISIBLE") },
        }),
        // The listing, and for each team two lists.
        points: f64::from(1 + 2 * first) / 100.0,
        accepts: if first > 1 { TOO_SLOW } else { &[] },
    };
    let (mut data, refused) = whole_or_partly(ask(connection, question).await)?;
    let what = format!("GitHub, teams of {}", connection.organization);
    let mut page = Page::read(&what, data["organization"]["teams"].take(), "nodes")?;
    let mut batch = Batch::default();
    for (index, node) in page.entries.iter_mut().enumerate() {
        let is_refused = refused.iter().any(|path| {
            path.len() > 3 && path[2] == "nodes" && path[3].as_u64() == Some(index as u64)
        });
        batch.take(connection, node, is_refused, quarantine)?;
    }
    Ok((batch, page))
}

/// Teams by their node ids.
///
/// # Errors
/// [`Trouble::Gone`] when one of them is not there any more.
pub async fn by_node(
    connection: &Connection,
    node_ids: &[String],
    quarantine: &mut Quarantine,
) -> Result<Batch, Trouble> {
    let ids = node_ids.iter().map(|id| json!(id)).collect();
    let line = |n: usize| format!("t{n}: node(id: $k{n}) {{ ...T }} ");
    named(connection, "GraphQL node team", "ID!", ids, ("", line, ""), quarantine).await
}

/// Teams by their slugs.
///
/// # Errors
/// [`Trouble::Gone`] when one of them is not there any more, or was renamed.
pub async fn by_slug(
    connection: &Connection,
    slugs: &[String],
    quarantine: &mut Quarantine,
) -> Result<Batch, Trouble> {
    let slugs = slugs.iter().map(|slug| json!(slug)).collect();
    let line = |n: usize| format!("t{n}: team(slug: $k{n}) {{ ...T }} ");
    let around = ("organization(login: $login) { ", line, "} ");
    named(connection, "GraphQL team", "String!", slugs, around, quarantine).await
}

async fn named(
    connection: &Connection,
    endpoint: &'static str,
    kind: &str,
    keys: Vec<Value>,
    (before, line, behind): (&str, impl Fn(usize) -> String, &str),
    quarantine: &mut Quarantine,
) -> Result<Batch, Trouble> {
    let in_organization = !before.is_empty();
    let mut head = if in_organization { "$login: String!, ".to_owned() } else { String::new() };
    let mut variables = Map::new();
    if in_organization {
        variables.insert("login".to_owned(), json!(connection.organization));
    }
    let mut lines = String::new();
    let count = keys.len();
    for (n, key) in keys.into_iter().enumerate() {
        head.push_str(&format!("$k{n}: {kind}, "));
        lines.push_str(&line(n));
        variables.insert(format!("k{n}"), key);
    }
    let document = format!(
        "query({head}) {{ rateLimit {{ cost }} {before}{lines}{behind}}} {TEAM} {CHILDREN} {MEMBERS}"
    );
    let question = Question {
        endpoint,
        document: &document,
        variables: Value::Object(variables),
        points: 2.0 * count as f64 / 100.0,
        accepts: if count > 1 { TOO_SLOW } else { &[] },
    };
    let (mut data, refused) = whole_or_partly(ask(connection, question).await)?;
    let place = if in_organization { &mut data["organization"] } else { &mut data };
    let mut batch = Batch::default();
    for n in 0..count {
        let alias = format!("t{n}");
        let is_refused = refused.iter().any(|path| path.iter().any(|part| *part == alias));
        let mut node = place[&alias].take();
        if node.is_null() && !is_refused {
            let what = format!("GitHub, teams of {}", connection.organization);
            return Err(Trouble::Gone(incomplete(
                &what,
                "a team is not there any more".to_owned(),
            )));
        }
        batch.take(connection, &mut node, is_refused, quarantine)?;
    }
    Ok(batch)
}

/// Reads on in lists that are not whole.
///
/// # Errors
/// [`Trouble::Gone`] when a team is not there any more.
pub async fn read_on(connection: &Connection, teams: Vec<Team>) -> Result<Batch, Trouble> {
    let (document, variables, lists) = follow_up(&teams);
    let question = Question {
        endpoint: "GraphQL team members",
        document: &document,
        variables,
        points: lists as f64 / 100.0,
        accepts: if teams.len() > 1 { TOO_SLOW } else { &[] },
    };
    let (mut data, refused) = whole_or_partly(ask(connection, question).await)?;
    let mut batch = Batch::default();
    for (n, mut team) in teams.into_iter().enumerate() {
        let alias = format!("t{n}");
        if refused.iter().any(|path| path.first().is_some_and(|part| *part == alias)) {
            batch.refused.push(Reference::Group(team.id.to_string()));
            continue;
        }
        let value = &mut data[&alias];
        if value["databaseId"].as_u64() != Some(team.id) {
            let what = format!("GitHub, team {}/{}", connection.organization, team.slug);
            return Err(Trouble::Gone(incomplete(&what, "it is not there any more".to_owned())));
        }
        for (list, rest) in
            [("members", &team.rest_of_members), ("childTeams", &team.rest_of_children)]
        {
            if rest.next.is_some() && value[list].is_null() {
                let what = format!("GitHub, team {}/{}", connection.organization, team.slug);
                return Err(incomplete(&what, format!("its {list} are null")).into());
            }
        }
        team.take(value, &connection.organization)?;
        batch.teams.push(team);
    }
    Ok(batch)
}

/// The document, its variables, and how many lists it asks for.
fn follow_up(teams: &[Team]) -> (String, Value, usize) {
    let (mut head, mut lines) = (String::new(), String::new());
    let mut variables = Map::new();
    let (mut members, mut children) = (0, 0);
    for (n, team) in teams.iter().enumerate() {
        head.push_str(&format!("$k{n}: ID!, "));
        variables.insert(format!("k{n}"), json!(team.node_id));
        lines.push_str(&format!("t{n}: node(id: $k{n}) {{ ... on Team {{ databaseId "));
        if let Some(after) = &team.rest_of_members.next {
            members += 1;
            head.push_str(&format!("$m{n}: String!, "));
            variables.insert(format!("m{n}"), json!(after));
            lines.push_str(&format!(
                "members(first: 100, after: $m{n}, membership: IMMEDIATE) {{ ...M }} "
            ));
        }
        if let Some(after) = &team.rest_of_children.next {
            children += 1;
            head.push_str(&format!("$c{n}: String!, "));
            variables.insert(format!("c{n}"), json!(after));
            lines.push_str(&format!("childTeams(first: 100, after: $c{n}) {{ ...C }} "));
        }
        lines.push_str("} } ");
    }
    // A fragment that nobody uses is an error.
    let mut document = format!("query({head}) {{ rateLimit {{ cost }} {lines}}}");
    if members > 0 {
        document.push_str(MEMBERS);
    }
    if children > 0 {
        document.push_str(CHILDREN);
    }
    (document, Value::Object(variables), members + children)
}

impl Batch {
    fn take(
        &mut self,
        connection: &Connection,
        node: &mut Value,
        is_refused: bool,
        quarantine: &mut Quarantine,
    ) -> Result<(), PullError> {
        let organization = &connection.organization;
        let what = || format!("GitHub, teams of {organization}");
        let reference = team_reference(node);
        if is_refused {
            let reference = reference.ok_or_else(|| {
                incomplete(&what(), "a team that is refused has no id".to_owned())
            })?;
            self.refused.push(reference);
            return Ok(());
        }
        let Some(mut team) = head(node) else {
            return quarantine.keep(reference, "a team without its name or slug");
        };
        if node["members"].is_null() || node["childTeams"].is_null() {
            return Err(incomplete(&what(), format!("the team {} has null for a list", team.slug)));
        }
        team.take(node, organization)?;
        if connection.config.keep_raw {
            if let Value::Object(fields) = node {
                fields.retain(|name, _| name != "members" && name != "childTeams");
            }
            team.raw = Some(node.to_string());
        }
        self.teams.push(team);
        Ok(())
    }
}

fn head(node: &Value) -> Option<Team> {
    let text = |key: &str| node[key].as_str().map(str::to_owned);
    Some(Team {
        id: node["databaseId"].as_u64()?,
        node_id: text("id")?,
        slug: text("slug").filter(|slug| !slug.is_empty())?,
        name: text("name")?,
        description: text("description"),
        privacy: text("privacy")?.to_lowercase(),
        ..Team::default()
    })
}

type Paths = Vec<Vec<Value>>;

fn whole_or_partly(outcome: Result<Value, Trouble>) -> Result<(Value, Paths), Trouble> {
    match outcome {
        Ok(data) => Ok((data, Vec::new())),
        Err(Trouble::Partly(part)) => {
            let Part { data, refused, error } = *part;
            // Less than a team being refused can be told apart from all of them.
            let is_inner = refused.iter().all(|path| path.len() > 1 || is_alias(path));
            if is_inner { Ok((data, refused)) } else { Err(Trouble::Fatal(error)) }
        }
        Err(trouble) => Err(trouble),
    }
}

fn is_alias(path: &[Value]) -> bool {
    let first = path.first().and_then(Value::as_str).unwrap_or_default();
    first.strip_prefix('t').is_some_and(|digits| digits.parse::<u32>().is_ok())
}
