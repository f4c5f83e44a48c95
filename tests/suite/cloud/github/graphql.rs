//! Just enough of a GraphQL server: parses documents by the grammar, checks
//! what GitHub checks of them, and executes them on the stub's world.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::world::{Org, World};

/// A field, or a fragment's fields, of a selection.
#[derive(Clone, Debug)]
enum Selection {
    Field { alias: String, name: String, arguments: Vec<(String, Value)>, fields: Vec<Selection> },
    Spread(String),
    Inline(String, Vec<Selection>),
}

/// `$name` in arguments stands as `{"$": "name"}` until it is filled in.
const VARIABLE: &str = "$";

#[derive(Debug, Default)]
struct Document {
    variables: BTreeSet<String>,
    fields: Vec<Selection>,
    fragments: BTreeMap<String, Vec<Selection>>,
}

/// What stands under `data` and `errors`, and how many connections were read.
pub struct Outcome {
    pub data: Value,
    pub errors: Vec<Value>,
    pub connections: usize,
}

/// Carries out a request's body.
pub fn execute(world: &mut World, body: &Value) -> Outcome {
    let document = Parser::new(body["query"].as_str().unwrap_or_default()).document();
    let given = body["variables"].as_object().cloned().unwrap_or_default();
    for name in given.keys() {
        assert!(document.variables.contains(name), "${name} is not declared");
    }
    let mut used = BTreeSet::new();
    let bodies = document.fragments.values().chain([&document.fields]);
    bodies.for_each(|fields| note_spreads(fields, &mut used));
    for name in document.fragments.keys() {
        assert!(used.contains(name), "the fragment {name} is not used");
    }
    let mut run = Run {
        world,
        document: &document,
        given,
        errors: Vec::new(),
        connections: 0,
        path: Vec::new(),
    };
    let fields = document.fields.clone();
    let data = run.object(&Object::Query, &fields);
    let (errors, connections) = (run.errors, run.connections);
    let is_gone = errors.iter().any(|error: &Value| error["path"] == json!(["organization"]));
    Outcome {
        data: if is_gone { json!({ "organization": null }) } else { data },
        errors,
        connections,
    }
}

/// Entries of two pages and one more.
const WINDOW: usize = 201;

fn after(with: &Arguments) -> u64 {
    match with.get("after").and_then(Value::as_str) {
        Some(cursor) => cursor.strip_prefix("after:").unwrap().parse().unwrap(),
        None => 0,
    }
}

fn note_spreads(fields: &[Selection], used: &mut BTreeSet<String>) {
    for selection in fields {
        match selection {
            Selection::Spread(name) => drop(used.insert(name.clone())),
            Selection::Inline(_, fields) | Selection::Field { fields, .. } => {
                note_spreads(fields, used)
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Object {
    Query,
    Organization(usize),
    User(u64),
    Team(usize, u64),
    Identities(usize),
    Plain(Value),
}

struct Run<'a> {
    world: &'a mut World,
    document: &'a Document,
    given: Map<String, Value>,
    errors: Vec<Value>,
    connections: usize,
    path: Vec<Value>,
}

/// Whether GitHub's schema says that the field is never null.
fn must_be(on: &Object, field: &str) -> bool {
    let fields: &[&str] = match on {
        Object::Team(..) => &["id", "slug", "name", "privacy", "members", "childTeams"],
        Object::Organization(_) => &["id", "login", "membersWithRole", "teams"],
        Object::User(_) => &["id", "login", "email"],
        Object::Identities(_) => &["externalIdentities"],
        Object::Query | Object::Plain(_) => &[],
    };
    fields.contains(&field)
}

type Arguments = BTreeMap<String, Value>;

impl Run<'_> {
    fn object(&mut self, object: &Object, fields: &[Selection]) -> Value {
        let mut answer = Map::new();
        let is_whole = self.fill(object, fields, &mut answer);
        if is_whole { Value::Object(answer) } else { Value::Null }
    }

    /// `false` when a field is null that must not be: then the object is.
    /// <https://spec.graphql.org/October2021/#sec-Handling-Field-Errors>
    fn fill(
        &mut self,
        object: &Object,
        fields: &[Selection],
        answer: &mut Map<String, Value>,
    ) -> bool {
        let mut is_whole = true;
        for selection in fields {
            match selection {
                Selection::Spread(name) => {
                    let inner = self.document.fragments[name].clone();
                    is_whole &= self.fill(object, &inner, answer);
                }
                Selection::Inline(kind, inner) => {
                    assert_eq!(kind, "Team", "only teams are asked for by node");
                    is_whole &= self.fill(object, inner, answer);
                }
                Selection::Field { alias, name, arguments, fields } => {
                    let arguments = self.arguments(arguments);
                    self.path.push(json!(alias));
                    let value = self.field(object, name, &arguments, fields);
                    self.path.pop();
                    is_whole &= !(value.is_null() && must_be(object, name));
                    answer.insert(alias.clone(), value);
                }
            }
        }
        is_whole
    }

    fn arguments(&self, written: &[(String, Value)]) -> Arguments {
        let fill = |value: &Value| match value.get(VARIABLE).and_then(Value::as_str) {
            Some(name) => {
                assert!(self.document.variables.contains(name), "${name} is not declared");
                self.given.get(name).cloned().unwrap_or_default()
            }
            None => value.clone(),
        };
        written.iter().map(|(name, value)| (name.clone(), fill(value))).collect()
    }

    fn field(&mut self, on: &Object, name: &str, with: &Arguments, fields: &[Selection]) -> Value {
        match (on, name) {
            (Object::Query, "rateLimit") => json!({ "cost": 1 }),
            (Object::Query, "__type") => {
                json!({ "fields": [{ "name": "login" }, { "name": "suspendedAt" }] })
            }
            (Object::Query, "organization") => {
                let found = self.world.org_index(with["login"].as_str().unwrap());
                self.or_not_found(found.map(Object::Organization), fields)
            }
            (Object::Query, "user") => {
                let login = with["login"].as_str().unwrap();
                let found = self.world.people.values().find(|one| one.login == login);
                let found = found.map(|one| Object::User(one.id));
                self.or_not_found(found, fields)
            }
            (Object::Query, "node") => {
                let id = with["id"].as_str().and_then(|id| id.strip_prefix("T_")).unwrap();
                let found = self.world.team(id.parse().unwrap());
                self.or_not_found(found.map(|(org, id)| Object::Team(org, id)), fields)
            }
            (Object::Organization(org), _) => self.of_organization(*org, name, with, fields),
            (Object::Identities(org), "externalIdentities") => self.identities(*org, with, fields),
            (Object::User(id), _) => {
                let person = &self.world.people[id];
                match name {
                    "databaseId" => json!(id),
                    "login" => json!(person.login),
                    "name"
                        if self.world.hazard == Some("malformed user")
                            && *id == self.world.victim() =>
                    {
                        json!(7)
                    }
                    "name" => json!(person.name),
                    "email" => json!(person.email),
                    "suspendedAt" => json!(person.suspended.then_some("2026-01-01T00:00:00Z")),
                    other => panic!("a user has no {other}"),
                }
            }
            (Object::Team(org, id), _) => self.of_team(*org, *id, name, with, fields),
            (Object::Plain(value), _) => value[name].clone(),
            (other, name) => panic!("{other:?} has no {name}"),
        }
    }

    fn or_not_found(&mut self, found: Option<Object>, fields: &[Selection]) -> Value {
        match found {
            Some(object) => self.object(&object, fields),
            None => {
                let path = self.path.clone();
                self.errors.push(
                    json!({ "type": "NOT_FOUND", "path": path, "message": "Could not resolve" }),
                );
                Value::Null
            }
        }
    }

    fn of_organization(
        &mut self,
        at: usize,
        name: &str,
        with: &Arguments,
        fields: &[Selection],
    ) -> Value {
        let org: &Org = &self.world.orgs[at];
        match name {
            "databaseId" => json!(org.id),
            "login" => json!(org.login),
            "name" => json!(org.name),
            "viewerIsAMember" => json!(self.world.caller_is_member),
            "viewerCanAdminister" => json!(self.world.caller_is_owner),
            "membersWithRole" => {
                let sees_all = self.world.sees_all();
                let members =
                    || org.members.iter().filter(|(id, _)| sees_all || org.public.contains(*id));
                let (total, after) = (members().count(), after(with));
                // Of twenty thousand, those that a page may be made of.
                let next = members().skip_while(|(id, _)| **id <= after).take(WINDOW);
                let all: Vec<(u64, Object, Value)> = next
                    .map(|(id, admin)| {
                        let role = if *admin { "ADMIN" } else { "MEMBER" };
                        (*id, Object::User(*id), json!({ "role": role }))
                    })
                    .collect();
                self.connection_of(total, "members", all, with, fields)
            }
            "teams" => {
                let visible_only = with.get("privacy").is_some_and(|privacy| privacy == "VISIBLE");
                let teams = org.teams.values().filter(|team| !(team.secret && visible_only));
                let all =
                    teams.map(|team| (team.id, Object::Team(at, team.id), json!({}))).collect();
                self.connection("teams", all, with, fields)
            }
            "team" => {
                let slug = with["slug"].as_str().unwrap();
                let found = org.teams.values().find(|team| team.slug == slug).map(|team| team.id);
                self.or_not_found(found.map(|id| Object::Team(at, id)), fields)
            }
            "samlIdentityProvider" => match &org.saml {
                Some(_) => self.object(&Object::Identities(at), fields),
                None => Value::Null,
            },
            other => panic!("an organization has no {other}"),
        }
    }

    fn of_team(
        &mut self,
        at: usize,
        id: u64,
        name: &str,
        with: &Arguments,
        fields: &[Selection],
    ) -> Value {
        let org = &self.world.orgs[at];
        let team = &org.teams[&id];
        let is_forbidden =
            self.world.hazard == Some("forbidden team") && org.teams.keys().next() == Some(&id);
        match name {
            "databaseId" => json!(id),
            "id" => json!(format!("T_{id}")),
            "slug" => json!(team.slug),
            "name" => json!(team.name),
            "description" => json!(team.description),
            "privacy" => json!(if team.secret { "SECRET" } else { "VISIBLE" }),
            "members" if is_forbidden => {
                let path = self.path.clone();
                self.errors.push(json!({ "type": "FORBIDDEN", "path": path, "message": "Resource not accessible" }));
                Value::Null
            }
            "members" => {
                assert_eq!(
                    with.get("membership"),
                    Some(&json!("IMMEDIATE")),
                    "child teams' members too"
                );
                let (total, after) = (team.members.len(), after(with));
                let next = team.members.iter().skip_while(|(id, _)| **id <= after).take(WINDOW);
                let all = next
                    .map(|(id, maintains)| {
                        let role = if *maintains { "MAINTAINER" } else { "MEMBER" };
                        (*id, Object::User(*id), json!({ "role": role }))
                    })
                    .collect();
                self.connection_of(total, "team members", all, with, fields)
            }
            "childTeams" => {
                let all = org
                    .teams
                    .values()
                    .filter(|child| child.parent == Some(id))
                    .map(|child| (child.id, Object::Team(at, child.id), json!({})))
                    .collect();
                self.connection("child teams", all, with, fields)
            }
            other => panic!("a team has no {other}"),
        }
    }

    fn identities(&mut self, at: usize, with: &Arguments, fields: &[Selection]) -> Value {
        let saml = self.world.orgs[at].saml.clone().unwrap_or_default();
        let wanted = with.get("login").and_then(Value::as_str);
        let all = saml
            .into_iter()
            .filter(|(login, _)| wanted.is_none_or(|wanted| wanted == login))
            .filter_map(|(login, email)| {
                let id = self.world.people.values().find(|one| one.login == login)?.id;
                let node = json!({ "user": { "databaseId": id }, "scimIdentity": null,
                    "samlIdentity": { "nameId": email, "username": null, "emails": [] } });
                Some((id, Object::Plain(node), json!({})))
            })
            .collect();
        self.connection("identities", all, with, fields)
    }

    /// A page by key: `after` names the last id before it.
    fn connection(
        &mut self,
        what: &'static str,
        all: Vec<(u64, Object, Value)>,
        with: &Arguments,
        fields: &[Selection],
    ) -> Value {
        self.connection_of(all.len(), what, all, with, fields)
    }

    /// `all` need be no more than the page and the next one.
    fn connection_of(
        &mut self,
        total: usize,
        what: &'static str,
        mut all: Vec<(u64, Object, Value)>,
        with: &Arguments,
        fields: &[Selection],
    ) -> Value {
        self.connections += 1;
        let first = with.get("first").and_then(Value::as_u64).expect("`first` is needed") as usize;
        assert!((1..=100).contains(&first), "`first` is between 1 and 100");
        let after = after(with);
        all.retain(|(id, ..)| *id > after);
        let size = first.min(self.world.page);
        let mut has_next = all.len() > size;
        let rest = all.split_off(size.min(all.len()));
        let mut end = all.last().map_or(after, |(id, ..)| *id);
        match self.world.strike(what, has_next && first > 1) {
            Some("empty page") => {
                // Nobody on it, and yet it goes on, at the same place.
                all.clear();
                (has_next, end) = (true, after);
            }
            Some("repeated cursor") => end = after,
            Some("missing page") => {
                end = rest.iter().take(size).next_back().map_or(end, |(id, ..)| *id);
                has_next = rest.len() > size;
            }
            _ => {}
        }
        let mut nodes: Vec<(Object, Value)> =
            all.into_iter().map(|(_, object, edge)| (object, edge)).collect();
        let null_at = (self.world.hazard == Some("null node") && !nodes.is_empty()).then_some(0);
        let mut answer = Map::new();
        let selected = self.flatten(fields);
        for selection in &selected {
            let Selection::Field { alias, name, fields, .. } = selection else { unreachable!() };
            self.path.push(json!(alias));
            let value = match name.as_str() {
                "totalCount" => json!(total),
                "pageInfo" => {
                    json!({ "hasNextPage": has_next, "endCursor": format!("after:{end}") })
                }
                "nodes" => {
                    self.entries(&mut nodes, null_at, |run, object, _| run.object(object, fields))
                }
                "edges" => self.entries(&mut nodes, null_at, |run, object, edge| {
                    let mut answer = Map::new();
                    for selection in fields {
                        let Selection::Field { alias, name, fields, .. } = selection else {
                            unreachable!()
                        };
                        let value = if name == "node" {
                            run.node(object, fields)
                        } else {
                            edge[name].clone()
                        };
                        answer.insert(alias.clone(), value);
                    }
                    Value::Object(answer)
                }),
                other => panic!("a connection has no {other}"),
            };
            self.path.pop();
            answer.insert(alias.clone(), value);
        }
        Value::Object(answer)
    }

    fn node(&mut self, object: &Object, fields: &[Selection]) -> Value {
        match object {
            Object::Plain(value) => value.clone(),
            object => self.object(object, fields),
        }
    }

    fn entries(
        &mut self,
        nodes: &mut [(Object, Value)],
        null_at: Option<usize>,
        mut of: impl FnMut(&mut Self, &Object, &Value) -> Value,
    ) -> Value {
        let mut all = Vec::new();
        for (index, (object, edge)) in nodes.iter().enumerate() {
            self.path.push(json!(index));
            let value = if null_at == Some(index) { Value::Null } else { of(self, object, edge) };
            self.path.pop();
            all.push(value);
        }
        Value::Array(all)
    }

    fn flatten(&mut self, fields: &[Selection]) -> Vec<Selection> {
        let mut all = Vec::new();
        for selection in fields {
            match selection {
                Selection::Spread(name) => {
                    let inner = self.document.fragments[name].clone();
                    all.extend(self.flatten(&inner));
                }
                other => all.push(other.clone()),
            }
        }
        all
    }
}

/// The grammar of <https://spec.graphql.org>, as far as queries need it.
struct Parser {
    tokens: Vec<String>,
    at: usize,
}

impl Parser {
    fn new(text: &str) -> Parser {
        let mut tokens = Vec::new();
        let mut rest = text.trim_start_matches(is_ignored);
        while let Some(first) = rest.chars().next() {
            let length = if first == '"' {
                rest[1..].find('"').expect("a string ends") + 2
            } else if rest.starts_with("...") {
                3
            } else if first.is_alphanumeric() || first == '_' {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            } else {
                first.len_utf8()
            };
            tokens.push(rest[..length].to_owned());
            rest = rest[length..].trim_start_matches(is_ignored);
        }
        Parser { tokens, at: 0 }
    }

    fn document(mut self) -> Document {
        let mut document = Document::default();
        while self.at < self.tokens.len() {
            match self.next().as_str() {
                "query" => {
                    if self.accept("(") {
                        while !self.accept(")") {
                            self.expect("$");
                            document.variables.insert(self.next());
                            self.expect(":");
                            while !matches!(self.peek(), "$" | ")") {
                                self.at += 1;
                            }
                        }
                    }
                    assert!(document.fields.is_empty(), "one query at a time");
                    document.fields = self.selections();
                }
                "fragment" => {
                    let name = self.next();
                    self.expect("on");
                    self.next();
                    let fields = self.selections();
                    document.fragments.insert(name, fields);
                }
                other => panic!("`{other}` begins no definition"),
            }
        }
        document
    }

    fn selections(&mut self) -> Vec<Selection> {
        self.expect("{");
        let mut all = Vec::new();
        while !self.accept("}") {
            if self.accept("...") {
                let name = self.next();
                all.push(match name.as_str() {
                    "on" => Selection::Inline(self.next(), self.selections()),
                    _ => Selection::Spread(name),
                });
                continue;
            }
            let mut name = self.next();
            let alias = name.clone();
            if self.accept(":") {
                name = self.next();
            }
            let mut arguments = Vec::new();
            if self.accept("(") {
                while !self.accept(")") {
                    let key = self.next();
                    self.expect(":");
                    arguments.push((key, self.value()));
                }
            }
            let fields = if self.peek() == "{" { self.selections() } else { Vec::new() };
            all.push(Selection::Field { alias, name, arguments, fields });
        }
        assert!(!all.is_empty(), "a selection is not empty");
        all
    }

    fn value(&mut self) -> Value {
        let token = self.next();
        if token == VARIABLE {
            return json!({ VARIABLE: self.next() });
        }
        match token.strip_prefix('"') {
            Some(text) => json!(text.trim_end_matches('"')),
            None => token.parse::<u64>().map_or_else(|_| json!(token), |number| json!(number)),
        }
    }

    fn peek(&self) -> &str {
        self.tokens.get(self.at).map_or("", String::as_str)
    }

    fn next(&mut self) -> String {
        self.at += 1;
        self.tokens[self.at - 1].clone()
    }

    fn accept(&mut self, token: &str) -> bool {
        let is = self.peek() == token;
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, token: &str) {
        assert_eq!(self.next(), token);
    }
}

fn is_ignored(c: char) -> bool {
    c.is_whitespace() || c == ','
}
