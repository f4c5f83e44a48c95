//! An Okta org in this process: what it lists, filters, logs and limits, as
//! the vendor documents it, and the odd things that orgs do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rosterd::clock::{self, Timestamp};
use serde_json::{Value, json};

use super::access::Access;
use crate::harness::vendor::{Api, Body, Request, Response};

pub const EVERYONE: &str = "00gEveryone";

/// Window of every limit.
const MINUTE: Duration = Duration::from_secs(60);

/// One org.
pub struct Org {
    pub users: BTreeMap<String, Value>,
    pub groups: BTreeMap<String, Group>,
    pub events: Vec<Value>,
    pub access: Access,
    /// Requests a minute, by bucket.
    pub limits: BTreeMap<&'static str, usize>,
    /// Requests beyond a limit, which a client that reads the headers never makes.
    pub over_limit: usize,
    /// Groups whose members are forbidden.
    pub forbidden: BTreeSet<String>,
    /// Without the role or scope for the System Log.
    pub log_forbidden: bool,
    /// Only the admin of these groups, who sees neither others nor Everyone.
    pub role_groups: Option<BTreeSet<String>>,
    /// An empty page with a link to the next one comes before each page.
    pub empty_pages: bool,
    /// Serves no more objects a page than this, whatever is asked for.
    pub page_max: usize,
    /// Users whose record has no status, and one that has no id.
    pub malformed: BTreeSet<String>,
    pub nameless: Option<String>,
    /// Links that were given out before are of no use any more.
    pub links_expired: bool,
    /// All links lead to the same page.
    pub links_repeat: bool,
    /// Links lead to another origin.
    pub links_elsewhere: bool,
    /// A proxy drops the `Link` headers.
    pub without_links: bool,
    /// 404 is not about an object: the org itself is gone, say.
    pub lost_in_other_words: bool,
    /// These are left out of the plain listing of users without a word.
    pub hidden_users: BTreeSet<String>,
    /// The same for lists of members.
    pub hidden_members: BTreeSet<String>,
    /// How much higher the counts of some groups are than they should be.
    pub counted_too_many: BTreeMap<String, usize>,
    /// `expand=stats` is ignored.
    pub without_counts: bool,
    /// The token endpoint answers 429; its window ends after so many seconds.
    pub token_throttled: Option<u64>,
    /// The org's clock runs ahead of ours by so much.
    pub ahead: Duration,
    spent: BTreeMap<&'static str, VecDeque<Timestamp>>,
    next_event: u64,
}

#[derive(Clone, Debug)]
pub struct Group {
    pub kind: &'static str,
    pub name: String,
    pub description: Option<String>,
    pub members: BTreeSet<String>,
    pub updated: Timestamp,
    pub membership_updated: Timestamp,
}

impl Org {
    /// With nobody in it but the group of all users.
    pub fn new(access: Access) -> Org {
        let mut org = Org {
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
            events: Vec::new(),
            access,
            limits: BTreeMap::new(),
            over_limit: 0,
            forbidden: BTreeSet::new(),
            log_forbidden: false,
            role_groups: None,
            empty_pages: false,
            page_max: usize::MAX,
            malformed: BTreeSet::new(),
            nameless: None,
            links_expired: false,
            links_repeat: false,
            links_elsewhere: false,
            without_links: false,
            lost_in_other_words: false,
            hidden_users: BTreeSet::new(),
            hidden_members: BTreeSet::new(),
            counted_too_many: BTreeMap::new(),
            without_counts: false,
            token_throttled: None,
            ahead: Duration::ZERO,
            spent: BTreeMap::new(),
            next_event: 0,
        };
        org.put_group(EVERYONE, "BUILT_IN", "Everyone");
        org.long_ago();
        org
    }

    pub fn now(&self) -> Timestamp {
        clock::now().plus(self.ahead)
    }

    /// Everything so far happened a year before.
    pub fn long_ago(&mut self) {
        let then = self.now().minus(Duration::from_secs(365 * 24 * 3600));
        for user in self.users.values_mut() {
            user["lastUpdated"] = json!(iso(then));
        }
        for group in self.groups.values_mut() {
            (group.updated, group.membership_updated) = (then, then);
        }
        self.events.clear();
    }

    pub fn put_user(&mut self, id: &str, status: &str, profile: Value) {
        let now = iso(self.now());
        let mut whole = json!({
            "login": format!("{id}@example.com"), "email": format!("{id}@example.com"),
            "firstName": "First", "lastName": id, "mobilePhone": null, "secondEmail": null,
        });
        for (name, value) in profile.as_object().into_iter().flatten() {
            whole[name] = value.clone();
        }
        let created = !self.users.contains_key(id);
        self.users.insert(
            id.to_owned(),
            json!({
                "id": id, "status": status, "created": now, "activated": null, "statusChanged": now,
                "lastLogin": null, "lastUpdated": now, "passwordChanged": null,
                "type": {"id": "oty1"}, "profile": whole,
                "credentials": {"password": {}, "provider": {"type": "OKTA", "name": "OKTA"}},
                "_links": {"self": {"href": format!("https://acme.okta.com/api/v1/users/{id}")}},
            }),
        );
        if created {
            self.tell("user.lifecycle.create", &[(id, "User")]);
        }
    }

    pub fn delete_user(&mut self, id: &str) {
        self.users.remove(id);
        for group in self.groups.values_mut() {
            group.members.remove(id);
        }
        self.tell("user.lifecycle.delete.completed", &[(id, "User")]);
    }

    pub fn put_group(&mut self, id: &str, kind: &'static str, name: &str) {
        let now = self.now();
        let fresh = Group {
            kind,
            name: name.to_owned(),
            description: None,
            members: BTreeSet::new(),
            updated: now,
            membership_updated: now,
        };
        let group = self.groups.entry(id.to_owned()).or_insert(fresh);
        (group.name, group.updated) = (name.to_owned(), now);
    }

    pub fn delete_group(&mut self, id: &str) {
        self.groups.remove(id);
        self.tell("group.lifecycle.delete", &[(id, "UserGroup")]);
    }

    /// `loudly`: dated and logged, as it should be.
    pub fn add(&mut self, group: &str, user: &str, loudly: bool) {
        self.groups.get_mut(group).expect("a group").members.insert(user.to_owned());
        if loudly {
            self.membership("group.user_membership.add", group, user);
        }
    }

    pub fn remove(&mut self, group: &str, user: &str, loudly: bool) {
        self.groups.get_mut(group).expect("a group").members.remove(user);
        if loudly {
            self.membership("group.user_membership.remove", group, user);
        }
    }

    fn membership(&mut self, event: &str, group: &str, user: &str) {
        self.groups.get_mut(group).expect("a group").membership_updated = self.now();
        self.tell(event, &[(user, "User"), (group, "UserGroup")]);
    }

    /// Logs an event.
    pub fn tell(&mut self, event: &str, targets: &[(&str, &str)]) {
        self.next_event += 1;
        let targets: Vec<Value> = targets
            .iter()
            .map(|(id, kind)| json!({"id": id, "type": kind, "alternateId": "a", "displayName": "d"}))
            .collect();
        let event = json!({
            "uuid": format!("event-{}", self.next_event), "eventType": event, "version": "0",
            "published": iso(self.now()), "severity": "INFO", "target": targets,
            "outcome": {"result": "SUCCESS"}, "actor": {"id": "00uAdmin", "type": "User"},
        });
        self.events.push(event);
    }

    /// Whom a list of members names, in the order of ids.
    pub fn members(&self, group: &str) -> Vec<String> {
        match group {
            EVERYONE => self.users.keys().cloned().collect(),
            _ => self.groups[group].members.iter().cloned().collect(),
        }
    }

    /// As it is shown.
    fn user(&self, id: &str) -> Value {
        let mut user = self.users[id].clone();
        if self.malformed.contains(id) {
            user["status"] = Value::Null;
        }
        if self.nameless.as_deref() == Some(id) {
            user["id"] = Value::Null;
        }
        user
    }

    fn sees(&self, group: &str) -> bool {
        self.role_groups.as_ref().is_none_or(|groups| groups.contains(group))
    }

    fn list_users(&self, request: &Request) -> Response {
        let filter = request.query("filter");
        let visible = self.role_groups.as_ref().map(|groups| {
            groups.iter().flat_map(|group| self.members(group)).collect::<BTreeSet<_>>()
        });
        let is_shown = |id: &String, user: &Value| {
            let shown = match filter {
                None => user["status"] != "DEPROVISIONED",
                Some(filter) => matches(filter, user),
            };
            let is_visible = visible.as_ref().is_none_or(|visible| visible.contains(id));
            shown && is_visible && (filter.is_some() || !self.hidden_users.contains(id))
        };
        let users = self.users.iter().filter(|(id, user)| is_shown(id, user));
        let ids = users.map(|(id, _)| id.clone()).collect();
        self.page(request, ids, (200, usize::MAX), |id| self.user(id))
    }

    fn list_groups(&self, request: &Request) -> Response {
        let group = |id: &str| {
            let mut object = self.groups[id].json(id);
            if request.query("expand") == Some("stats") && !self.without_counts {
                let more = self.counted_too_many.get(id).copied().unwrap_or(0);
                let count = self.members(id).len() + more;
                object["_embedded"] = json!({"stats": {"usersCount": count}});
            }
            object
        };
        let filter = request.query("filter");
        let is_shown = |id: &String| filter.is_none_or(|filter| matches(filter, &group(id)));
        let ids = self.groups.keys().filter(|id| self.sees(id) && is_shown(id));
        self.page(request, ids.cloned().collect(), (10_000, 10_000), group)
    }

    fn list_members(&self, request: &Request, group: &str) -> Response {
        if !self.groups.contains_key(group) || !self.sees(group) {
            return not_found(group, "UserGroup");
        }
        if self.forbidden.contains(group) {
            return forbidden();
        }
        let is_shown =
            |id: &String| self.users.contains_key(id) && !self.hidden_members.contains(id);
        let members = self.members(group).into_iter().filter(is_shown);
        self.page(request, members.collect(), (1000, usize::MAX), |id| self.user(id))
    }

    fn list_events(&self, request: &Request) -> Response {
        if self.log_forbidden {
            return forbidden();
        }
        let time = |name| request.query(name).map(|text| Timestamp::parse(text).expect("a time"));
        let (since, until) = (time("since").unwrap_or_default(), time("until"));
        let filter = request.query("filter");
        let is_meant = |event: &Value| {
            let published = Timestamp::parse(event["published"].as_str().unwrap()).unwrap();
            published >= since
                && until.is_none_or(|until| published < until)
                && filter.is_none_or(|filter| matches(filter, event))
        };
        let events = self.events.iter().enumerate().filter(|(_, event)| is_meant(event));
        let places = events.map(|(at, _)| format!("{at:09}")).collect();
        let event = |at: &str| self.events[at.parse::<usize>().unwrap()].clone();
        self.page(request, places, (100, 1000), event)
    }

    /// One page in the order of keys, with a link to the next one. `limits` are
    /// the usual and the largest number of objects.
    fn page(
        &self,
        request: &Request,
        keys: Vec<String>,
        limits: (usize, usize),
        object: impl Fn(&str) -> Value,
    ) -> Response {
        let limit: usize =
            request.query("limit").map_or(limits.0, |text| text.parse().expect("a number"));
        let after = request.query("after");
        if limit == 0 || limit > limits.1 || (after.is_some() && self.links_expired) {
            return error(400, "E0000031", "Invalid search criteria.");
        }
        let base = if self.links_elsewhere { "http://127.0.0.1:9" } else { &request.base };
        let link = |after: &str| {
            let after = if self.links_repeat { "same" } else { after };
            request.link(&[("after", after)]).replacen(&request.base, base, 1)
        };
        let limit = limit.min(self.page_max);
        let own = Response::json(json!([])).link("self", &request.link(&[]));
        // An empty page before each one: its link is marked.
        if self.empty_pages && !after.is_some_and(|after| after.ends_with('~')) {
            return own.link("next", &link(&format!("{}~", after.unwrap_or_default())));
        }
        let after =
            after.filter(|after| *after != "same").unwrap_or_default().trim_end_matches('~');
        let rest: Vec<&String> = keys.iter().filter(|key| key.as_str() > after).collect();
        let shown: Vec<Value> = rest.iter().take(limit).map(|key| object(key)).collect();
        let response = Response { body: Body::Json(Value::Array(shown)), ..own };
        match rest.get(limit.saturating_sub(1)) {
            Some(last) if rest.len() > limit => response.link("next", &link(last)),
            _ if self.links_repeat => response.link("next", &link("same")),
            _ => response,
        }
    }

    /// Counts a request against its limit; the headers, and whether it is over.
    fn limited(&mut self, bucket: &'static str) -> (Vec<(String, String)>, bool) {
        let now = self.now();
        let limit = self.limits.get(bucket).copied().unwrap_or(1_000_000);
        let spent = self.spent.entry(bucket).or_default();
        while spent.front().is_some_and(|at| at.plus(MINUTE) <= now) {
            spent.pop_front();
        }
        let is_over = spent.len() >= limit;
        if !is_over {
            spent.push_back(now);
        }
        let reset = spent.front().copied().unwrap_or(now).plus(MINUTE).0.div_ceil(1000);
        let remaining = limit - spent.len();
        let headers = [("limit", limit as u64), ("remaining", remaining as u64), ("reset", reset)];
        let headers =
            headers.map(|(name, value)| (format!("x-rate-limit-{name}"), value.to_string()));
        (headers.to_vec(), is_over)
    }

    fn route(&self, request: &Request) -> Response {
        match request.segments().as_slice() {
            ["api", "v1", "users"] => self.list_users(request),
            ["api", "v1", "users", id] => match self.users.contains_key(*id) {
                true => Response::json(self.user(id)),
                false => not_found(id, "User"),
            },
            ["api", "v1", "groups"] => self.list_groups(request),
            ["api", "v1", "groups", id] => match self.groups.get(*id) {
                Some(group) if self.sees(id) => Response::json(group.json(id)),
                _ => not_found(id, "UserGroup"),
            },
            ["api", "v1", "groups", id, "users"] => self.list_members(request, id),
            ["api", "v1", "logs"] => self.list_events(request),
            _ => lost(),
        }
    }

    fn dated(&self, response: Response) -> Response {
        let moment = jiff::Timestamp::from_millisecond(self.now().0 as i64).expect("a time");
        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&moment);
        response.header("date", date.expect("a date"))
    }
}

impl Group {
    fn json(&self, id: &str) -> Value {
        json!({
            "id": id, "created": iso(self.updated), "lastUpdated": iso(self.updated),
            "lastMembershipUpdated": iso(self.membership_updated), "type": self.kind,
            "objectClass": ["okta:user_group"],
            "profile": {"name": self.name, "description": self.description},
            "_links": {"users": {"href": format!("https://acme.okta.com/api/v1/groups/{id}/users")}},
        })
    }
}

impl Api for Org {
    fn answer(&mut self, request: &Request) -> Response {
        if request.path == "/oauth2/v1/token" {
            if let Some(seconds) = self.token_throttled {
                let reset = self.now().plus(Duration::from_secs(seconds)).0.div_ceil(1000);
                return self.dated(too_many_until(reset));
            }
            let response = self.access.token(request);
            return self.dated(response);
        }
        if let Some(refusal) = self.access.refuses(request) {
            return self.dated(refusal);
        }
        let (headers, is_over) = self.limited(bucket(request));
        let mut response = match is_over {
            true => {
                self.over_limit += 1;
                too_many()
            }
            false => self.route(request),
        };
        if response.status == 404 && self.lost_in_other_words {
            response = lost();
        }
        if self.without_links {
            response.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("link"));
        }
        response.headers.extend(headers);
        self.dated(response)
    }

    /// Without `Retry-After`: the end of the window by the org's clock.
    fn throttled(&mut self, _: &Request) -> Response {
        self.dated(too_many_until(self.now().0.div_ceil(1000)))
    }

    fn server_error(&mut self, _: &Request) -> Response {
        let response = error(500, "E0000009", "Internal Server Error");
        self.dated(response)
    }

    fn refused(&mut self, _: &Request) -> Response {
        let response = error(401, "E0000011", "Invalid token provided");
        self.dated(response)
    }
}

/// More requests at once than an org allows: zeros, and a reset that means little.
pub fn too_many_at_once() -> Response {
    too_many()
        .header("x-rate-limit-limit", "0")
        .header("x-rate-limit-remaining", "0")
        .header("x-rate-limit-reset", "4102444800")
}

pub fn error(status: u16, code: &str, summary: &str) -> Response {
    Response::error(
        status,
        json!({
            "errorCode": code, "errorSummary": summary, "errorLink": code,
            "errorId": "oae1", "errorCauses": [],
        }),
    )
}

pub fn iso(time: Timestamp) -> String {
    let seconds = Timestamp(time.0 / 1000 * 1000).to_string();
    format!("{}.{:03}Z", seconds.trim_end_matches('Z'), time.0 % 1000)
}

/// `reset` is in seconds of the org's clock.
fn too_many_until(reset: u64) -> Response {
    too_many()
        .header("x-rate-limit-limit", "600")
        .header("x-rate-limit-remaining", "0")
        .header("x-rate-limit-reset", reset.to_string())
}

fn too_many() -> Response {
    error(429, "E0000047", "API call exceeded rate limit due to too many requests.")
}

fn forbidden() -> Response {
    let text = "You do not have permission to perform the requested action";
    error(403, "E0000006", text)
}

fn lost() -> Response {
    Response::error(404, json!({"status": 404, "message": "Resource not found"}))
}

fn not_found(id: &str, kind: &str) -> Response {
    error(404, "E0000007", &format!("Not found: Resource not found: {id} ({kind})"))
}

fn bucket(request: &Request) -> &'static str {
    match request.segments().as_slice() {
        [_, _, "users"] => "users",
        [_, _, "groups"] | [_, _, "groups", _, "users"] => "groups",
        [_, _, "logs"] => "logs",
        _ => "others",
    }
}

/// `name op "value"`, with `and` before `or`, as Okta's filters have it.
fn matches(filter: &str, object: &Value) -> bool {
    filter.split(" or ").any(|any| any.split(" and ").all(|term| holds(term, object)))
}

fn holds(term: &str, object: &Value) -> bool {
    let mut words = term.trim().splitn(3, ' ');
    let (name, operator) = (words.next().unwrap(), words.next().unwrap());
    let wanted = words.next().unwrap().trim_matches('"');
    let found = object.pointer(&format!("/{}", name.replace('.', "/"))).and_then(Value::as_str);
    match (found, operator) {
        (None, _) => false,
        (Some(found), "eq") => found == wanted,
        (Some(found), "gt") => found > wanted,
        (Some(found), "ge") => found >= wanted,
        (Some(found), "lt") => found < wanted,
        (_, other) => panic!("the operator {other} in {term}"),
    }
}
