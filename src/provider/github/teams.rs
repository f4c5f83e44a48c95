//! Reads teams by GraphQL: a hundred a page with the first of their members,
//! then what is left of the larger ones, many at a time.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

    /// Takes in the next page of each list that came.
    ///
    /// # Errors
    /// [`PullError::Incomplete`] when one is not whole.
    pub(super) fn take(&mut self, value: &mut Value, organization: &str) -> Result<(), PullError> {
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

pub(super) const MEMBERS: &str = "fragment M on TeamMemberConnection { totalCount pageInfo { hasNextPage endCursor } \
     edges { role node { databaseId } } }";
const CHILDREN: &str = "fragment C on TeamConnection { totalCount pageInfo { hasNextPage endCursor } \
     nodes { databaseId } }";
const TEAM: &str = "fragment T on Team { id databaseId slug name description privacy \
     childTeams(first: 100) { ...C } members(first: 100, membership: IMMEDIATE) { ...M } }";
/// In the place of [`TEAM`], when that was refused.
const NAMES: &str = "fragment T on Team { id databaseId }";
const LISTING: &str = "query($login: String!, $first: Int!, $after: String, $privacy: TeamPrivacy) { \
     rateLimit { cost } organization(login: $login) { teams(first: $first, after: $after, \
     privacy: $privacy) { totalCount pageInfo { hasNextPage endCursor } nodes { ...T } } } }";

/// One page of the listing.
pub type Found = (Batch, Page);

/// Some teams, of which not all need be whole.
#[derive(Debug, Default)]
pub struct Batch {
    pub teams: Vec<Team>,
    /// Teams that are there, and that the credential may not read.
    pub refused: Vec<Reference>,
}

/// One page of the teams of an organization.
///
/// Who refuses the members of one team leaves null in its place, since no team
/// is without members in GitHub's schema: which one it is, another question
/// tells that asks for nothing but names.
///
/// # Errors
/// [`Trouble::Heavy`] when fewer than `first` should be asked for.
pub async fn page(
    connection: &Connection,
    first: u32,
    after: Option<&str>,
    quarantine: &mut Quarantine,
) -> Result<Found, Trouble> {
    let what = format!("GitHub, teams of {}", connection.organization);
    let document = format!("{LISTING} {TEAM} {CHILDREN} {MEMBERS}");
    let mut listing = Listing { connection, endpoint: "GraphQL teams", first, after };
    // The listing, and for each team two lists.
    let points = f64::from(1 + 2 * first) / 100.0;
    let (mut list, refused) = listing.ask(&document, points).await?;
    let mut hidden = HashSet::new();
    if let Value::Array(nodes) = &mut list["nodes"]
        && nodes.iter().any(Value::is_null)
        && !refused.is_empty()
    {
        listing.endpoint = "GraphQL names of teams";
        let (mut names, _) = listing.ask(&format!("{LISTING} {NAMES}"), 1.0).await?;
        let names = Page::read(&what, names.take(), "nodes")?;
        hidden = fill(nodes, names.entries).ok_or_else(|| {
            incomplete(&what, "they changed while it was asked which are refused".to_owned())
        })?;
    }
    let mut page = Page::read(&what, list, "nodes")?;
    let mut batch = Batch::default();
    for (index, node) in page.entries.iter_mut().enumerate() {
        let is_refused = hidden.contains(&index)
            || refused.iter().any(|path| {
                path.len() > 3 && path[2] == "nodes" && path[3].as_u64() == Some(index as u64)
            });
        batch.take(connection, node, is_refused, quarantine)?;
    }
    Ok((batch, page))
}

/// A page of the listing.
struct Listing<'a> {
    connection: &'a Connection,
    endpoint: &'static str,
    first: u32,
    after: Option<&'a str>,
}

impl Listing<'_> {
    /// The connection, and the paths of what was refused.
    async fn ask(&self, document: &str, points: f64) -> Result<(Value, Paths), Trouble> {
        let question = Question {
            endpoint: self.endpoint,
            document,
            variables: json!({
                "login": self.connection.organization,
                "first": self.first,
                "after": self.after,
                "privacy": privacy(self.connection),
            }),
            points,
            accepts: if self.first > 1 { TOO_SLOW } else { &[] },
        };
        let (mut data, refused) = whole_or_partly(ask(self.connection, question).await)?;
        Ok((data["organization"]["teams"].take(), refused))
    }
}

/// Which teams are wanted.
pub(super) fn privacy(connection: &Connection) -> Value {
    if connection.config.secret_teams { Value::Null } else { json!("VISIBLE") }
}

/// Puts names in the place of null; the numbers of those. `None` when the
/// names are not those of the same teams.
fn fill(nodes: &mut [Value], names: Vec<Value>) -> Option<HashSet<usize>> {
    let id = |node: &Value| node["databaseId"].as_u64();
    let readable: HashSet<u64> = nodes.iter().filter_map(id).collect();
    let (there, mut rest): (Vec<Value>, Vec<Value>) =
        names.into_iter().partition(|name| id(name).is_some_and(|id| readable.contains(&id)));
    let gaps: Vec<usize> = (0..nodes.len()).filter(|at| nodes[*at].is_null()).collect();
    if there.len() != readable.len() || gaps.len() != rest.len() {
        return None;
    }
    for (at, name) in gaps.iter().zip(rest.drain(..)) {
        nodes[*at] = name;
    }
    Some(gaps.into_iter().collect())
}

/// Teams by their node ids, with the numbers by which they are known.
///
/// # Errors
/// [`Trouble::Gone`] when one of them is not there any more.
pub async fn by_node(
    connection: &Connection,
    teams: &[(String, u64)],
    quarantine: &mut Quarantine,
) -> Result<Batch, Trouble> {
    let keys = teams.iter().map(|(id, _)| json!(id)).collect();
    let named = Named { connection, endpoint: "GraphQL node team", keys, by_slug: false };
    let known = |n: usize| Some(Reference::Group(teams.get(n)?.1.to_string()));
    named.read(known, quarantine).await
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
    let keys = slugs.iter().map(|slug| json!(slug)).collect();
    let named = Named { connection, endpoint: "GraphQL team", keys, by_slug: true };
    named.read(|_| None, quarantine).await
}

/// Teams that are asked for one by one, all at once.
struct Named<'a> {
    connection: &'a Connection,
    endpoint: &'static str,
    keys: Vec<Value>,
    by_slug: bool,
}

impl Named<'_> {
    /// `known`: which team it is, by its number in the question.
    async fn read(
        &self,
        known: impl Fn(usize) -> Option<Reference>,
        quarantine: &mut Quarantine,
    ) -> Result<Batch, Trouble> {
        let fragments = format!("{TEAM} {CHILDREN} {MEMBERS}");
        let (mut data, refused) = self.ask(&fragments, 2.0).await?;
        let mut names = None;
        let mut batch = Batch::default();
        for n in 0..self.keys.len() {
            let alias = format!("t{n}");
            let is_refused = refused.iter().any(|path| path.iter().any(|part| *part == alias));
            let mut node = data[&alias].take();
            match (node.is_null(), is_refused) {
                (true, false) => return Err(self.gone()),
                (true, true) => {
                    let reference = match known(n) {
                        Some(reference) => Some(reference),
                        None => {
                            if names.is_none() {
                                names = Some(self.ask(NAMES, 0.0).await?.0);
                            }
                            names.as_ref().and_then(|names| team_reference(&names[&alias]))
                        }
                    };
                    batch.refused.push(reference.ok_or_else(|| self.gone())?);
                }
                (false, _) => batch.take(self.connection, &mut node, is_refused, quarantine)?,
            }
        }
        Ok(batch)
    }

    /// What came, by alias, and the paths of what was refused.
    async fn ask(&self, fragments: &str, points: f64) -> Result<(Value, Paths), Trouble> {
        let (kind, before, behind) = match self.by_slug {
            true => ("String!", "organization(login: $login) { ", "} "),
            false => ("ID!", "", ""),
        };
        let (mut head, mut lines) = (String::new(), String::new());
        let mut variables = Map::new();
        if self.by_slug {
            head.push_str("$login: String!, ");
            variables.insert("login".to_owned(), json!(self.connection.organization));
        }
        for (n, key) in self.keys.iter().enumerate() {
            head.push_str(&format!("$k{n}: {kind}, "));
            lines.push_str(&match self.by_slug {
                true => format!("t{n}: team(slug: $k{n}) {{ ...T }} "),
                false => format!("t{n}: node(id: $k{n}) {{ ...T }} "),
            });
            variables.insert(format!("k{n}"), key.clone());
        }
        let document =
            format!("query({head}) {{ rateLimit {{ cost }} {before}{lines}{behind}}} {fragments}");
        let question = Question {
            endpoint: self.endpoint,
            document: &document,
            variables: Value::Object(variables),
            points: f64::max(1.0, points * self.keys.len() as f64 / 100.0),
            accepts: if self.keys.len() > 1 { TOO_SLOW } else { &[] },
        };
        let (mut data, refused) = whole_or_partly(ask(self.connection, question).await)?;
        let data = if self.by_slug { data["organization"].take() } else { data };
        Ok((data, refused))
    }

    fn gone(&self) -> Trouble {
        let what = format!("GitHub, teams of {}", self.connection.organization);
        Trouble::Gone(incomplete(&what, "a team is not there any more".to_owned()))
    }
}

/// Reads on in lists that are not whole.
///
/// # Errors
/// [`Trouble::Gone`] when a team is not there any more.
pub async fn read_on(connection: &Connection, teams: Vec<Team>) -> Result<Batch, Trouble> {
    let follow_up = FollowUp::of(&teams.iter().collect::<Vec<_>>());
    let document = follow_up.document();
    let lists = follow_up.members + follow_up.children;
    let question = Question {
        endpoint: "GraphQL team members",
        document: &document,
        variables: Value::Object(follow_up.variables),
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

/// The part of a question that asks for the next pages of some teams.
pub(super) struct FollowUp {
    pub head: String,
    pub lines: String,
    pub variables: Map<String, Value>,
    /// Lists of members, and of child teams.
    pub members: usize,
    pub children: usize,
}

impl FollowUp {
    pub fn of(teams: &[&Team]) -> FollowUp {
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
        FollowUp { head, lines, variables, members, children }
    }

    fn document(&self) -> String {
        let FollowUp { head, lines, .. } = self;
        // A fragment that nobody uses is an error.
        let mut document = format!("query({head}) {{ rateLimit {{ cost }} {lines}}}");
        if self.members > 0 {
            document.push_str(MEMBERS);
        }
        if self.children > 0 {
            document.push_str(CHILDREN);
        }
        document
    }
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
