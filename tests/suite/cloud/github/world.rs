//! The stub's world: organizations, accounts, and what goes wrong at GitHub.

use std::collections::{BTreeMap, BTreeSet};

use rosterd::clock::{self, Duration, Instant};
use serde_json::{Value, json};

use super::{graphql, rest};
use crate::harness::vendor::{Api, Body, Request, Response};

#[derive(Clone, Debug)]
pub struct Person {
    pub id: u64,
    pub login: String,
    pub name: Option<String>,
    /// Public; empty for none.
    pub email: String,
    pub suspended: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Org {
    pub id: u64,
    pub login: String,
    pub name: Option<String>,
    /// Whether each is an owner.
    pub members: BTreeMap<u64, bool>,
    /// Who made the membership public.
    pub public: BTreeSet<u64>,
    pub teams: BTreeMap<u64, Team>,
    pub outside: BTreeSet<u64>,
    /// Id, login and address.
    pub invitations: Vec<(u64, Option<String>, Option<String>)>,
    /// Addresses by login.
    pub saml: Option<BTreeMap<String, String>>,
    /// Entries of the audit log, oldest first; `None`: it is not for sale.
    pub log: Option<Vec<Value>>,
}

#[derive(Clone, Debug, Default)]
pub struct Team {
    pub id: u64,
    pub slug: String,
    pub name: String,
    pub description: Option<String>,
    pub secret: bool,
    /// Whether each is a maintainer.
    pub members: BTreeMap<u64, bool>,
    pub parent: Option<u64>,
}

pub struct World {
    pub orgs: Vec<Org>,
    pub people: BTreeMap<u64, Person>,
    /// Objects a page, at most.
    pub page: usize,
    pub hazard: Option<&'static str>,
    pub caller_is_member: bool,
    pub caller_is_owner: bool,
    pub has_graphql: bool,
    /// REST says which members of a team come from its child teams.
    pub tells_inherited: bool,
    /// The scopes of a classic token.
    pub scopes: Option<&'static str>,
    /// Tokens that are taken; the App's come and go.
    pub tokens: BTreeSet<String>,
    pub app: Option<super::app::AppAtGithub>,
    /// Between the host and `/orgs`.
    pub root: &'static str,
    /// Extra headers of every answer.
    pub headers: Vec<(&'static str, String)>,
    /// When requests came that cost something, of which bucket, and how much.
    pub spent: Vec<(Instant, &'static str, f64)>,
    /// When it throttled, and until when it said so.
    pub closed: Vec<(Instant, Instant)>,
    throttles: usize,
    last_id: u64,
}

impl Default for World {
    fn default() -> World {
        let mut world = World {
            orgs: vec![Org { id: 1, login: "acme".into(), log: None, ..Org::default() }],
            people: BTreeMap::new(),
            page: 100,
            hazard: None,
            caller_is_member: true,
            caller_is_owner: true,
            has_graphql: true,
            tells_inherited: true,
            scopes: None,
            tokens: BTreeSet::from(["t0k3n".to_owned()]),
            app: None,
            root: "",
            headers: Vec::new(),
            spent: Vec::new(),
            closed: Vec::new(),
            throttles: 0,
            last_id: 1000,
        };
        let boss = world.person("boss");
        world.orgs[0].members.insert(boss, true);
        world
    }
}

impl World {
    pub fn id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// An account, that is in nothing yet.
    pub fn person(&mut self, login: &str) -> u64 {
        let id = self.id();
        let person = Person {
            id,
            login: login.to_owned(),
            name: Some(format!("The {login}")),
            email: String::new(),
            suspended: false,
        };
        self.people.insert(id, person);
        id
    }

    pub fn member(&mut self, org: usize, login: &str) -> u64 {
        let id = self.person(login);
        self.orgs[org].members.insert(id, false);
        id
    }

    pub fn make_team(&mut self, org: usize, slug: &str, members: &[u64]) -> u64 {
        let id = self.id();
        let members = members.iter().map(|id| (*id, false)).collect();
        let (slug, name) = (slug.to_owned(), slug.to_uppercase());
        let team = Team { id, slug, name, members, ..Team::default() };
        self.orgs[org].teams.insert(id, team);
        id
    }

    pub fn change_team(&mut self, id: u64) -> &mut Team {
        let (org, _) = self.team(id).expect("a team");
        self.orgs[org].teams.get_mut(&id).unwrap()
    }

    pub fn team_called(&self, slug: &str) -> u64 {
        let mut all = self.orgs.iter().flat_map(|org| org.teams.values());
        all.find(|team| team.slug == slug).expect("a team").id
    }

    pub fn org_index(&self, login: &str) -> Option<usize> {
        self.orgs.iter().position(|org| org.login.eq_ignore_ascii_case(login))
    }

    pub fn team(&self, id: u64) -> Option<(usize, u64)> {
        let at = self.orgs.iter().position(|org| org.teams.contains_key(&id))?;
        Some((at, id))
    }

    /// Whose record is malformed while that hazard is armed.
    pub fn victim(&self) -> u64 {
        self.orgs[0].members.keys().nth(1).copied().unwrap_or_default()
    }

    pub fn sees_all(&self) -> bool {
        (self.caller_is_member || self.app.is_some()) && self.hazard != Some("non-member")
    }

    /// Whether the armed hazard happens to this page, once.
    pub fn strike(&mut self, what: &str, has_next: bool) -> Option<&'static str> {
        let hazard = self.hazard?;
        let fits = match hazard {
            "empty page" => matches!(what, "members" | "teams" | "team members"),
            "repeated cursor" | "missing page" => has_next,
            _ => false,
        };
        if fits && hazard != "repeated cursor" {
            self.hazard = None;
        }
        fits.then_some(hazard)
    }

    pub fn log(&mut self, org: usize, action: &str, more: Value) {
        let Some(log) = &mut self.orgs[org].log else { return };
        let id = format!("entry-{}", log.len());
        let mut entry =
            json!({ "@timestamp": clock::now().0, "_document_id": id, "action": action });
        for (key, value) in more.as_object().unwrap() {
            entry[key] = value.clone();
        }
        log.push(entry);
    }

    /// The next full second, but never this very moment.
    fn reset(&mut self) -> String {
        let reset = clock::now().0 / 1000 + 1;
        let wait = Duration::from_millis(reset * 1000 - clock::now().0);
        self.closed.push((clock::instant(), clock::instant() + wait));
        reset.to_string()
    }

    fn graphql(&mut self, request: &Request) -> Response {
        match self.hazard {
            Some("points used up") => {
                self.hazard = None;
                let error = json!({ "type": "RATE_LIMITED", "message": "API rate limit exceeded" });
                return Response::json(json!({ "errors": [error] }))
                    .header("x-ratelimit-remaining", "0")
                    .header("x-ratelimit-resource", "graphql")
                    .header("x-ratelimit-reset", self.reset());
            }
            Some("allow list") => {
                let error =
                    json!({ "type": "FORBIDDEN", "path": ["organization"], "message": ALLOW_LIST });
                return Response::json(
                    json!({ "data": { "organization": null }, "errors": [error] }),
                );
            }
            Some("too slow") => {
                self.hazard = None;
                return Response::error(502, json!({ "message": "Server Error" }));
            }
            Some("data null") => return Response::json(json!({ "data": null })),
            _ => {}
        }
        let mut outcome = graphql::execute(self, &request.json());
        match self.hazard {
            Some("errors in a 200") => {
                outcome
                    .errors
                    .push(json!({ "message": "Something broke", "path": ["organization"] }));
            }
            Some("timeout in a 200") => {
                self.hazard = None;
                let message = "Something went wrong while executing your query. This may be the result of a timeout";
                outcome.errors.push(json!({ "message": message }));
            }
            _ => {}
        }
        let mut body = json!({ "data": outcome.data });
        if !outcome.errors.is_empty() {
            body["errors"] = json!(outcome.errors);
        }
        let cost = (outcome.connections as f64 / 100.0).round().max(1.0);
        body["data"]["rateLimit"] = json!({ "cost": cost });
        self.spent.push((request.received, "graphql", cost));
        Response::json(body)
    }
}

impl Api for World {
    fn answer(&mut self, request: &Request) -> Response {
        assert!(request.header("user-agent").is_some(), "GitHub insists on it");
        let path = request.path.strip_prefix("/api/v3").unwrap_or(&request.path).to_owned();
        let is_app_call = path.ends_with("/installation") || path.starts_with("/app/");
        if let (Some(app), true) = (&self.app, is_app_call) {
            let app = app.clone();
            return app.answer(self, &path, request);
        }
        if !credential(request).is_some_and(|token| self.tokens.contains(token)) {
            return self.refused(request);
        }
        if self.hazard == Some("allow list") && request.method == "GET" {
            return Response::error(403, json!({ "message": ALLOW_LIST }));
        }
        let is_graphql = path == "/graphql" || request.path == "/api/graphql";
        let mut response = if is_graphql && self.has_graphql && request.method == "POST" {
            self.graphql(request)
        } else {
            let response = rest::answer(self, &path, request);
            rest::tagged(self, response, request)
        };
        if response.status != 304 && !is_graphql {
            self.spent.push((request.received, "core", 1.0));
        }
        if let Some(scopes) = self.scopes {
            response = response.header("x-oauth-scopes", scopes);
        }
        for (name, value) in &self.headers {
            response = response.header(name, value.clone());
        }
        response
    }

    /// By turns in all ways that GitHub has.
    fn throttled(&mut self, _: &Request) -> Response {
        self.throttles += 1;
        if self.throttles % 3 == 1 {
            self.closed.push((clock::instant(), clock::instant() + Duration::from_secs(1)));
        }
        match self.throttles % 3 {
            0 => Response::error(
                403,
                json!({ "message": "API rate limit exceeded for user ID 1.", "documentation_url": "https://docs.github.com/rest" }),
            )
            .header("x-ratelimit-remaining", "0")
            .header("x-ratelimit-reset", self.reset()),
            1 => Response::error(403, json!({ "message": "You have exceeded a secondary rate limit." }))
                .header("retry-after", "1"),
            _ => Response::error(429, json!({ "message": "Too many requests" })),
        }
    }

    fn server_error(&mut self, _: &Request) -> Response {
        Response::new(502).body(Body::Bytes(b"<html>Unicorn!</html>".to_vec()))
    }

    fn refused(&mut self, _: &Request) -> Response {
        Response::error(401, json!({ "message": "Bad credentials", "status": "401" }))
    }
}

/// GitHub takes both words for it.
fn credential(request: &Request) -> Option<&str> {
    request.bearer().or_else(|| request.header("authorization")?.strip_prefix("token "))
}

const ALLOW_LIST: &str = "Although you appear to have the correct authorization credentials, the \
    `acme` organization has an IP allow list enabled, and your IP address is not permitted to access \
    this resource.";
