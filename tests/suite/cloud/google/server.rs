//! The Admin SDK over HTTP, as its description has it, with Google's own ways
//! to go wrong.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::token::Tokens;
use super::world::{CUSTOMER, StubGroup, StubUser, World};
use crate::harness::vendor::{Api, Request, Response};

pub const USERS: &str = "https://www.googleapis.com/auth/admin.directory.user.readonly";
pub const GROUPS: &str = "https://www.googleapis.com/auth/admin.directory.group.readonly";
pub const REPORTS: &str = "https://www.googleapis.com/auth/admin.reports.audit.readonly";

/// What listings look like on the wire.
#[derive(Clone, Copy)]
struct List {
    array: &'static str,
    kind: &'static str,
    most: usize,
    default: usize,
}

/// Google as one service account sees it.
pub struct Google {
    pub world: World,
    /// As it was at the last calm: what lags behind still shows.
    before: World,
    pub tokens: Tokens,
    pub page: usize,
    hazards: BTreeSet<&'static str>,
    /// Hazards that happen once.
    spent: BTreeSet<&'static str>,
    throttles: u64,
    /// So many users are missing from the list, as if it were whole.
    pub forgotten_users: usize,
    /// And so many groups.
    pub forgotten_groups: usize,
    /// The members of so many groups are answered with this status.
    pub odd_groups: (usize, u16),
    /// Feeds that are answered with this status from their start.
    pub closed_feeds: BTreeMap<&'static str, u16>,
    /// Page tokens: what was asked for, and the last object that was shown.
    pages: BTreeMap<String, (String, String)>,
}

impl Default for Google {
    fn default() -> Google {
        Google {
            world: World::default(),
            before: World::default(),
            tokens: Tokens::default(),
            page: usize::MAX,
            hazards: BTreeSet::new(),
            spent: BTreeSet::new(),
            throttles: 0,
            forgotten_users: 0,
            forgotten_groups: 0,
            odd_groups: (0, 200),
            closed_feeds: BTreeMap::new(),
            pages: BTreeMap::new(),
        }
    }
}

impl Google {
    pub fn hazard(&mut self, name: &'static str) {
        self.hazards.insert(name);
    }

    pub fn calm(&mut self) {
        self.hazards.clear();
        self.spent.clear();
        self.before = self.world.clone();
    }

    fn has(&self, name: &str) -> bool {
        self.hazards.contains(name)
    }

    /// Whether this is the one time that the hazard happens.
    fn once(&mut self, name: &'static str) -> bool {
        self.hazards.contains(name) && self.spent.insert(name)
    }

    fn route(&mut self, request: &Request) -> Response {
        let segments = request.segments();
        match (request.method.as_str(), segments.as_slice()) {
            ("POST", ["token"]) => self.tokens.grant(request),
            ("POST", ["sts"]) => self.tokens.exchange(request),
            ("POST", ["v1", "projects", "-", "serviceAccounts", account]) => {
                self.tokens.sign_jwt(request, account)
            }
            (
                "GET",
                ["computeMetadata", "v1", "instance", "service-accounts", "default", "token"],
            ) => self.tokens.metadata(request),
            ("GET", ["admin", "directory", "v1", rest @ ..]) => self.directory(request, rest),
            (
                "GET",
                ["admin", "reports", "v1", "activity", "users", "all", "applications", name],
            ) => self.activities(request, name),
            _ => error(404, "notFound", "Not Found"),
        }
    }

    fn directory(&mut self, request: &Request, path: &[&str]) -> Response {
        let scope = if path[0] == "users" { USERS } else { GROUPS };
        if let Some(refusal) = self.tokens.check(request, scope) {
            return refusal;
        }
        match path {
            ["users"] => self.users(request),
            ["users", key] => {
                let found =
                    self.world.users.iter().find(|(id, user)| *id == key || user.email == *key);
                match found.map(|(id, user)| self.user(id, user, request)) {
                    Some(user) => Response::json(user),
                    None => error(404, "notFound", "Resource Not Found: userKey"),
                }
            }
            ["groups"] => self.groups(request),
            ["groups", key] => match self.find_group(key) {
                Some((id, group)) => Response::json(group_json(id, group)),
                None => error(404, "notFound", "Resource Not Found: groupKey"),
            },
            ["groups", key, "members"] => self.members(request, key),
            _ => error(404, "notFound", "Not Found"),
        }
    }

    fn find_group(&self, key: &str) -> Option<(&String, &StubGroup)> {
        self.world.groups.iter().find(|(id, group)| *id == key || group.email == key)
    }

    fn users(&mut self, request: &Request) -> Response {
        if let Some(refusal) = covered(request) {
            return refusal;
        }
        let domain = request.query("domain").map(|domain| format!("@{domain}"));
        let shown =
            self.world.users.iter().filter(|(_, user)| {
                domain.as_ref().is_none_or(|domain| user.email.ends_with(domain))
            });
        let ids = shown.skip(self.forgotten_users).map(|(id, _)| id.clone()).collect();
        let list = List { array: "users", kind: "admin#directory#users", most: 500, default: 100 };
        self.list(request, list, ids, |google, id| {
            google.user(id, &google.world.users[id], request)
        })
    }

    fn groups(&mut self, request: &Request) -> Response {
        if let Some(refusal) = covered(request) {
            return refusal;
        }
        let ids = self.world.groups.keys().skip(self.forgotten_groups).cloned().collect();
        let list =
            List { array: "groups", kind: "admin#directory#groups", most: 200, default: 200 };
        self.list(request, list, ids, |google, id| group_json(id, &google.world.groups[id]))
    }

    fn members(&mut self, request: &Request, key: &str) -> Response {
        if self.has("forbidden group")
            && self.world.groups.keys().next().map(String::as_str) == Some(key)
        {
            return error(403, "forbidden", "Not Authorized to access this resource/api");
        }
        let (odd, status) = self.odd_groups;
        if self.world.groups.keys().take(odd).any(|id| id == key) {
            return match status {
                200 => Response::html("<p>Sign in</p>"),
                status => error(status, "odd", "This group is odd"),
            };
        }
        let Some((id, group)) = self.find_group(key) else {
            return error(404, "notFound", "Resource Not Found: groupKey");
        };
        let lagging = self.before.groups.get(id).filter(|_| self.has("lagging lists"));
        let group = lagging.unwrap_or(group);
        let members = group.members.clone();
        let mut ids: Vec<String> = members.keys().cloned().collect();
        if self.has("members missing") {
            ids.truncate(ids.len() / 2);
        }
        let list =
            List { array: "members", kind: "admin#directory#members", most: 200, default: 200 };
        self.list(request, list, ids, |_, id| {
            let (kind, email) = &members[id];
            member_json(id, kind, email.as_deref())
        })
    }

    fn activities(&mut self, request: &Request, application: &str) -> Response {
        if let Some(refusal) = self.tokens.check(request, REPORTS) {
            return refusal;
        }
        if let Some(status) = self.closed_feeds.get(application) {
            return error(*status, "invalid", "Not this feed");
        }
        let start = request.query("startTime").unwrap_or("1970-01-01T00:00:00Z").to_owned();
        let world = if self.has("late feed") { &self.before } else { &self.world };
        let told = world.feed.get(application).into_iter().flatten();
        let told = told.filter(|activity| {
            let time = |text: &str| rosterd::clock::Timestamp::parse(text).expect("a time");
            time(activity["id"]["time"].as_str().expect("text")) >= time(&start)
        });
        let told: Vec<Value> = told.cloned().collect();
        let places = (0..told.len()).map(|place| format!("{place:09}")).collect();
        let list =
            List { array: "items", kind: "admin#reports#activities", most: 1000, default: 1000 };
        self.list(request, list, places, |_, place| {
            told[place.parse::<usize>().expect("a place")].clone()
        })
    }

    /// One page: everything behind the last object that was shown.
    fn list(
        &mut self,
        request: &Request,
        list: List,
        ids: Vec<String>,
        show: impl Fn(&Google, &str) -> Value,
    ) -> Response {
        let most = request.query("maxResults").map_or(list.default, |n| n.parse().unwrap_or(0));
        if most == 0 || most > list.most {
            return error(400, "invalid", "Invalid value for maxResults");
        }
        let asked = asked(request);
        let mut after = String::new();
        if let Some(token) = request.query("pageToken") {
            if self.once("expired page token") {
                return error(400, "invalid", "Invalid Input: pageToken");
            }
            if self.once("gone page token") {
                return error(410, "updatedMinTooLongAgo", "The page token is gone");
            }
            match self.pages.get(token) {
                Some((was_asked, last)) if *was_asked == asked => after.clone_from(last),
                _ => return error(400, "invalid", "Invalid Input: pageToken"),
            }
            if self.has("repeated cursor") {
                let body = json!({ "kind": list.kind, "etag": "e", "nextPageToken": token });
                return Response::json(body);
            }
        }
        if self.once("error in a 200") {
            return Response::json(json!({ "error": { "code": 500, "message": "backend error" } }));
        }
        if self.once("nothing in a 200") {
            return Response::json(json!({}));
        }
        let rest: Vec<&String> = ids.iter().filter(|id| after.is_empty() || **id > after).collect();
        let mut size = most.min(self.page);
        if self.has("short pages") {
            size = 1;
        }
        let first_is_empty = after.is_empty() && self.has("empty first page");
        if first_is_empty || (!after.is_empty() && !after.ends_with('!') && self.has("empty page"))
        {
            // `!` comes before all that ids are made of.
            return self.page_of(list, Vec::new(), Some(format!("{after}!")), &asked);
        }
        size = size.min(rest.len());
        let next = (size < rest.len()).then(|| rest[size - 1].clone());
        let objects = rest[..size].iter().map(|id| show(self, id)).collect();
        self.page_of(list, objects, next, &asked)
    }

    fn page_of(
        &mut self,
        list: List,
        objects: Vec<Value>,
        next: Option<String>,
        asked: &str,
    ) -> Response {
        let mut body = json!({ "kind": list.kind, "etag": "\"e\"" });
        // Google leaves out what is empty.
        if !objects.is_empty() {
            body[list.array] = Value::Array(objects);
        }
        if let Some(last) = next {
            let token = format!("page-{}", self.pages.len());
            self.pages.insert(token.clone(), (asked.to_owned(), last));
            body["nextPageToken"] = json!(token);
        }
        Response::json(body)
    }

    fn user(&self, id: &str, user: &StubUser, request: &Request) -> Value {
        let mut value = json!({
            "kind": "admin#directory#user",
            "id": id,
            "etag": "\"u\"",
            "primaryEmail": user.email,
            "name": { "givenName": "Ada", "familyName": "L", "fullName": "Ada L" },
            "isAdmin": false,
            "isDelegatedAdmin": false,
            "suspended": user.suspended,
            "archived": user.archived,
            "customerId": CUSTOMER,
            "orgUnitPath": "/corp",
            "creationTime": user.created.to_string(),
            "emails": [{ "address": user.email, "primary": true }],
        });
        if let Some(title) = &user.title {
            value["organizations"] = json!([{ "title": title, "primary": true }]);
        }
        if request.query("projection") == Some("full") {
            value["customSchemas"] = json!({ "Employee": { "number": "42", "on_call": true } });
        }
        if self.has("malformed user")
            && self.world.users.keys().next().map(String::as_str) == Some(id)
        {
            value["primaryEmail"] = json!({ "what": "is this" });
        }
        value
    }
}

impl Api for Google {
    fn answer(&mut self, request: &Request) -> Response {
        self.route(request)
    }

    fn throttled(&mut self, _: &Request) -> Response {
        self.throttles += 1;
        match self.throttles % 3 {
            0 => error(429, "rateLimitExceeded", "Rate Limit Exceeded"),
            1 => error(403, "userRateLimitExceeded", "User Rate Limit Exceeded"),
            _ => error(403, "quotaExceeded", "Quota exceeded for quota metric"),
        }
    }

    fn server_error(&mut self, _: &Request) -> Response {
        error(503, "backendError", "Service unavailable. Please try again")
    }

    fn refused(&mut self, _: &Request) -> Response {
        error(401, "authError", "Invalid Credentials")
    }
}

pub fn error(status: u16, reason: &str, message: &str) -> Response {
    let told = json!({ "domain": "global", "reason": reason, "message": message });
    let body = json!({ "error": { "code": status, "message": message, "errors": [told] } });
    Response::error(status, body)
}

pub fn group_json(id: &str, group: &StubGroup) -> Value {
    let mut value = json!({
        "kind": "admin#directory#group",
        "id": id,
        "etag": "\"g\"",
        "email": group.email,
        "name": group.name,
        "directMembersCount": group.members.len().to_string(),
        "adminCreated": true,
    });
    value["description"] = json!(group.description.clone().unwrap_or_default());
    value
}

fn member_json(id: &str, kind: &str, email: Option<&str>) -> Value {
    let mut value = json!({
        "kind": "admin#directory#member",
        "role": "MEMBER",
        "type": kind,
        "status": "ACTIVE",
    });
    if kind != "EXTERNAL" {
        value["id"] = json!(id);
    }
    if let Some(email) = email {
        value["email"] = json!(email);
    }
    value
}

/// Either `customer` or `domain` is required.
fn covered(request: &Request) -> Option<Response> {
    match (request.query("customer"), request.query("domain")) {
        (Some("my_customer" | CUSTOMER), None) | (None, Some(_)) => None,
        _ => Some(error(400, "badRequest", "Bad Request")),
    }
}

/// Everything but the page token: it must be repeated with every page.
fn asked(request: &Request) -> String {
    let parameters = request.query.iter().filter(|(name, _)| name != "pageToken");
    let text: Vec<String> = parameters.map(|(name, value)| format!("{name}={value}")).collect();
    format!("{}?{}", request.path, text.join("&"))
}
