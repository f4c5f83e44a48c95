//! Microsoft Graph and its token endpoint, as far as rosterd asks them, with
//! what goes wrong there.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rosterd::clock::{self, Duration, Instant};
use serde_json::{Value, json};

use super::tenant::Tenant;
use crate::harness::vendor::{Api, Body, Request, Response};

/// Whether these bytes sign that text.
pub type Verifier = Box<dyn Fn(&str, &[u8]) -> bool + Send>;

/// How it must be proved who asks.
pub enum Proof {
    Secret(String),
    /// The SHA-256 of the certificate, and how to check a signature.
    Certificate(Vec<u8>, Verifier),
    /// The token of another issuer.
    Federated(String),
    /// Headers that the platform insists on.
    Platform(&'static str, String),
}

pub struct Stub {
    pub tenant: Tenant,
    pub proof: Proof,
    pub roles: Vec<&'static str>,
    pub page: usize,
    /// What goes wrong just now, by name.
    pub hazards: BTreeSet<String>,
    pub granted: usize,
    /// Tells its tokens from those of others.
    who: u64,
    /// Where Graph is, when it is at another host.
    pub graph_at: Option<String>,
    /// Uses that are left of the newest token, when it wears out.
    uses: usize,
    /// Throttles parts of batches until so many were refused.
    throttles: usize,
    closed_until: Option<Instant>,
    /// Requests that came before the announced time.
    pub too_early: usize,
    /// Requests, and parts of batches, by what they ask for; resource units.
    pub units: Vec<(Instant, f64)>,
    assertions: BTreeSet<String>,
    /// Rounds that start before this place of the log can start no more.
    forgotten: usize,
    /// Page tokens of lists are good for one.
    epoch: usize,
}

pub const CLIENT: &str = "11111111-1111-1111-1111-111111111111";
const PRINCIPAL: &str = "#microsoft.graph.servicePrincipal";
const PAGE_MAX: usize = 999;
pub const LAG: &str = "a lagging replica shows a removed user in a listing";
const THROTTLE: Duration = Duration::from_millis(52);

impl Stub {
    pub fn new(proof: Proof) -> Stub {
        Stub {
            tenant: Tenant::default(),
            proof,
            roles: vec!["User.Read.All", "GroupMember.Read.All"],
            page: PAGE_MAX,
            hazards: BTreeSet::new(),
            granted: 0,
            who: fastrand::u64(..),
            graph_at: None,
            uses: usize::MAX,
            throttles: 0,
            closed_until: None,
            too_early: 0,
            units: Vec::new(),
            assertions: BTreeSet::new(),
            forgotten: 0,
            epoch: 0,
        }
    }

    pub fn arm(&mut self, name: &str) {
        self.hazards.insert(name.to_owned());
        match name {
            "the token expires" => self.uses = 2,
            "throttled parts" | "throttled parts without a time" => self.throttles = 3,
            "a page token expires between polls" => self.epoch += 1,
            "changes are forgotten" | "the state is lost" => self.forgotten = self.tenant.tick(),
            _ => {}
        }
    }

    pub fn calm(&mut self) {
        self.hazards.clear();
        self.tenant.settle();
        (self.uses, self.throttles) = (usize::MAX, 0);
    }

    fn has(&self, name: &str) -> bool {
        self.hazards.contains(name)
    }

    /// A token as Entra makes them: a JWT that shows the roles.
    fn token(&self) -> String {
        let claims = json!({ "roles": self.roles, "n": self.granted, "oid": self.who });
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    /// Takes the first token that `other` grants for its own.
    pub fn trust(&mut self, other: &Stub) {
        (self.who, self.granted, self.uses) = (other.who, 1, usize::MAX);
    }

    fn grant(&mut self, request: &Request) -> Response {
        if let Err(reason) = self.check_proof(request) {
            let body = json!({ "error": "invalid_client", "error_description": reason });
            return Response::error(401, body);
        }
        self.granted += 1;
        self.uses = if self.has("the token expires") { 6 } else { usize::MAX };
        let token = self.token();
        Response::json(match self.proof {
            Proof::Platform(..) => json!({ "access_token": token, "expires_in": "3599",
                "resource": request.query("resource"), "token_type": "Bearer" }),
            _ => json!({ "access_token": token, "expires_in": 3599, "token_type": "Bearer" }),
        })
    }

    fn check_proof(&mut self, request: &Request) -> Result<(), String> {
        if let Proof::Platform(header, value) = &self.proof {
            let is_told = request.header(header) == Some(value.as_str());
            return if is_told { Ok(()) } else { Err(format!("{header} is missing")) };
        }
        let value = |name| request.form_value(name).unwrap_or_default();
        let graph = self.graph_at.as_ref().unwrap_or(&request.base);
        if value("scope") != format!("{graph}/.default") || value("client_id") != CLIENT {
            return Err("AADSTS700016: Application was not found in the directory".to_owned());
        }
        let assertion = value("client_assertion");
        match &self.proof {
            Proof::Secret(secret) if *secret == value("client_secret") => Ok(()),
            Proof::Secret(_) => Err("AADSTS7000215: Invalid client secret provided.".to_owned()),
            Proof::Federated(token) if *token == assertion => Ok(()),
            Proof::Federated(_) => Err("AADSTS70021: No matching federated identity".to_owned()),
            Proof::Certificate(thumbprint, is_signed) => {
                let url = format!("{}{}", request.base, request.path);
                check_assertion(&assertion, &url, thumbprint, is_signed)?;
                if self.assertions.insert(assertion) {
                    Ok(())
                } else {
                    Err("AADSTS700027: replay".into())
                }
            }
            Proof::Platform(..) => Ok(()),
        }
    }

    fn graph(&mut self, request: &Request) -> Response {
        if request.bearer() != Some(self.token().as_str()) || self.uses == 0 {
            return self.refused(request);
        }
        self.uses = self.uses.saturating_sub(1);
        if self.closed_until.is_some_and(|until| request.received < until) {
            self.too_early += 1;
        }
        match request.segments()[1..] {
            ["$batch"] => self.batch(request),
            _ => self.single(request),
        }
    }

    fn batch(&mut self, request: &Request) -> Response {
        let body = request.json();
        let parts = body["requests"].as_array().cloned().unwrap_or_default();
        if parts.is_empty() || parts.len() > 20 {
            return error(400, "BadRequest", "a batch has 1 to 20 requests");
        }
        let mut responses = Vec::new();
        for part in parts.iter().rev() {
            let answer = self.part(request, part);
            let headers: serde_json::Map<String, Value> =
                answer.headers.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
            let body = match answer.body {
                Body::Json(body) => body,
                _ => Value::Null,
            };
            responses.push(json!({ "id": part["id"], "status": answer.status, "headers": headers, "body": body }));
        }
        Response::json(json!({ "responses": responses }))
    }

    fn part(&mut self, outer: &Request, part: &Value) -> Response {
        if self.throttles > 0 {
            self.throttles -= 1;
            let mut answer = self.throttled(outer);
            if self.has("throttled parts without a time") {
                answer.headers.retain(|(name, _)| name != "retry-after");
                self.closed_until = None;
            }
            return answer;
        }
        if self.has("failing parts") && fastrand::bool() {
            return error(503, "ServiceUnavailable", "later");
        }
        let text = part["url"].as_str().expect("a part has an address");
        let url = url::Url::parse(&format!("{}/v1.0{text}", outer.base)).expect("an address");
        let inner = Request {
            method: "GET".to_owned(),
            path: url.path().to_owned(),
            segments: url.path().split('/').skip(1).map(|s| s.replace("%24", "$")).collect(),
            raw_query: url.query().unwrap_or_default().to_owned(),
            query: url.query_pairs().into_owned().collect(),
            body: Vec::new(),
            ..outer.clone()
        };
        self.single(&inner)
    }

    fn single(&mut self, request: &Request) -> Response {
        let path: Vec<&str> = request.segments()[1..].to_vec();
        let cost = match path.as_slice() {
            ["groups", _, "members", ..] => 2.0,
            _ => 1.0,
        };
        self.units.push((request.received, cost));
        if request
            .query("$top")
            .is_some_and(|top| top.parse().is_ok_and(|top: usize| top > PAGE_MAX))
        {
            let message = "Invalid page size specified: must be between 1 and 999 inclusive.";
            return error(400, "Request_BadRequest", message);
        }
        match *path.as_slice() {
            [what @ ("users" | "groups"), "$count"] => self.count(request, what == "users"),
            [what @ ("users" | "groups"), "delta" | "delta()" | "microsoft.graph.delta()"] => {
                self.delta(request, what == "users")
            }
            [what @ ("users" | "groups")] => self.list(request, what == "users"),
            ["groups", id, "members"] => self.members(request, id, false),
            ["groups", id, "members", "microsoft.graph.servicePrincipal"] => {
                self.members(request, id, true)
            }
            ["users", _, "memberOf"] if self.has("no groups of users") => missing(),
            ["users", id, "memberOf"] => match self.tenant.users.contains_key(id) {
                true => self.paged(request, &self.tenant.groups_of(id), Value::clone),
                false => missing(),
            },
            ["servicePrincipals" | "devices", ..] => self.others(request, &path),
            [what @ ("users" | "groups"), id] => self.object(request, what == "users", id),
            _ => error(400, "BadRequest", "Resource not found for the segment"),
        }
    }

    fn count(&self, request: &Request, users: bool) -> Response {
        if request.header("consistencylevel") != Some("eventual") {
            return error(400, "Request_BadRequest", "$count needs ConsistencyLevel: eventual");
        }
        let count = if users { self.tenant.users.len() } else { self.tenant.groups.len() };
        number(count)
    }

    fn object(&self, request: &Request, users: bool, id: &str) -> Response {
        let objects = if users { &self.tenant.users } else { &self.tenant.groups };
        match objects.get(id) {
            Some(object) => {
                let mut shown = self.spoiled(self.selected(request, object), users);
                shown["@odata.context"] = json!(format!("{}/v1.0/$metadata", request.base));
                Response::json(shown)
            }
            None => missing(),
        }
    }

    fn list(&self, request: &Request, users: bool) -> Response {
        let all: Vec<&Value> = match users {
            true if self.has(LAG) => self.tenant.users_once(),
            true => self.tenant.users.values().collect(),
            false => self.tenant.groups.values().collect(),
        };
        let show = |object: &&Value| self.spoiled(self.selected(request, object), users);
        self.paged(request, &all, show)
    }

    /// Service principals or devices, which never change here.
    fn others(&self, request: &Request, path: &[&str]) -> Response {
        let objects = self.tenant.others.get(path[0]).cloned().unwrap_or_default();
        match path[1..] {
            [] => self.paged(request, &objects, |object| self.selected(request, object)),
            ["$count"] => number(objects.len()),
            ["delta"] => {
                let link = format!("{}{}?$deltatoken=0", request.base, request.path);
                Response::json(json!({ "value": [], "@odata.deltaLink": link }))
            }
            _ => missing(),
        }
    }

    fn members(&self, request: &Request, id: &str, principals: bool) -> Response {
        let is_forbidden = self.has("a forbidden group")
            && self.tenant.groups.keys().next().is_some_and(|g| g == id);
        if is_forbidden || self.has("all members are forbidden") {
            return error(403, "Authorization_RequestDenied", "Insufficient privileges");
        }
        let is_hidden =
            self.tenant.groups.get(id).is_some_and(|g| g["visibility"] == "HiddenMembership");
        // v1.0 leaves service principals out of the plain list.
        let is_asked = |one: &Value| (one["@odata.type"] == PRINCIPAL) == principals;
        let shown = match self.has(LAG) {
            true => self.tenant.members_once(id),
            false => self.tenant.shown_members(id),
        };
        match shown.map(|all| all.into_iter().filter(is_asked).collect::<Vec<_>>()) {
            Some(_) if is_hidden && !self.roles.contains(&"Member.Read.Hidden") => {
                self.paged(request, &[], Value::clone)
            }
            Some(members) => self.paged(request, &members, Value::clone),
            None => missing(),
        }
    }

    /// Only what `$select` names.
    fn selected(&self, request: &Request, object: &Value) -> Value {
        let names: Vec<&str> = request.query("$select").unwrap_or("id").split(',').collect();
        let fields = object.as_object().expect("an object").iter();
        let chosen = fields.filter(|(name, _)| names.contains(&name.as_str()));
        Value::Object(chosen.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// The first user is malformed, nameless or without properties, if so armed.
    fn spoiled(&self, mut object: Value, users: bool) -> Value {
        let objects = if users { &self.tenant.users } else { &self.tenant.groups };
        let is_first = objects.keys().next().is_some_and(|first| object["id"] == first.as_str());
        if !is_first && !self.has("no properties are shown") {
            return object;
        }
        if is_first && self.has("a malformed user") && users {
            object["accountEnabled"] = json!({ "odd": true });
        }
        if self.has("properties are null") || self.has("no properties are shown") {
            for (name, value) in object.as_object_mut().expect("an object") {
                if name != "id" {
                    *value = Value::Null;
                }
            }
        }
        if is_first && self.has("a user without an id") && users {
            object.as_object_mut().expect("an object").remove("id");
            object["accountEnabled"] = json!(7);
        }
        object
    }

    /// One page of a list.
    fn paged<T>(&self, request: &Request, all: &[T], show: impl Fn(&T) -> Value) -> Response {
        let top: usize = request.query("$top").and_then(|top| top.parse().ok()).unwrap_or(100);
        let token = request.query("$skiptoken").unwrap_or("0");
        let (start, epoch) = token.split_once('.').unwrap_or((token, ""));
        if !epoch.is_empty() && epoch != self.epoch.to_string() {
            let message = "The specified page token value has expired";
            return error(400, "Directory_ExpiredPageToken", message);
        }
        let start: usize = start.parse().expect("a place");
        self.window(request, all, show, (start, top.min(self.page)), None)
    }

    fn window<T>(
        &self,
        request: &Request,
        all: &[T],
        show: impl Fn(&T) -> Value,
        (start, size): (usize, usize),
        delta: Option<String>,
    ) -> Response {
        // Pages before this one that have nothing, and links all the same.
        let empty = "1000000";
        let is_empty = self.has("empty pages") && start == 0 && request.query("again").is_none();
        let is_void =
            self.has("an empty page between") && start > 0 && request.query("again").is_none();
        if is_empty || is_void {
            let here = start.to_string();
            let link = request.link(&[("$skiptoken", &here), ("again", empty)]);
            return Response::json(json!({ "value": [], "@odata.nextLink": link }));
        }
        if self.has("an error in a 200") {
            let error = json!({ "code": "InternalServerError", "message": "half of it" });
            return Response::json(json!({ "value": [], "error": error }));
        }
        let is_object_list = matches!(request.segments().as_slice(), [_, "users" | "groups"]);
        let skipped = usize::from(self.has("a page is missing") && is_object_list && start == 0);
        let value: Vec<Value> = all.iter().skip(start + skipped).take(size).map(show).collect();
        let end = (start + skipped + size).min(all.len());
        let mut body = json!({ "@odata.context": "x", "value": value });
        let next = (end < all.len()).then(|| {
            let end =
                if self.has("a link comes twice") { start.to_string() } else { end.to_string() };
            let place = format!("{end}.{}", self.epoch);
            request.link(&[("$skiptoken", if delta.is_none() { &place } else { &end })])
        });
        let next = next.map(|next| match self.has("links lead elsewhere") {
            true => next.replace("127.0.0.1", "localhost"),
            false => next,
        });
        match (next, delta) {
            (Some(next), _) => body["@odata.nextLink"] = json!(next),
            (None, Some(delta)) => body["@odata.deltaLink"] = json!(delta),
            (None, None) => {}
        }
        Response::json(body)
    }

    /// Tokens are places in the log: `$deltatoken=FROM`, and then
    /// `$deltatoken=FROM-TO&$skiptoken=…` for the pages of one round.
    fn delta(&self, request: &Request, users: bool) -> Response {
        if self.has("changes are not offered") {
            return error(400, "Request_UnsupportedQuery", "The specified API is not supported");
        }
        let token = request.query("$deltatoken").unwrap_or("0");
        let place = token.split('-').next().and_then(|from| from.parse::<usize>().ok());
        let is_forgotten = place.is_some_and(|from| from < self.forgotten);
        if self.has("changes are forgotten") && is_forgotten {
            let fresh = format!("{}{}?$deltatoken=", request.base, request.path);
            return error(410, "Gone", "resync").header("location", fresh);
        }
        if self.has("the state is lost") && is_forgotten {
            return error(400, "syncStateNotFound", "too old");
        }
        let now = self.tenant.now();
        let link = |token: &str| {
            let select = request.query("$select").unwrap_or_default();
            format!("{}{}?$deltatoken={token}&$select={select}", request.base, request.path)
        };
        if token == "latest" {
            return Response::json(
                json!({ "value": [], "@odata.deltaLink": link(&now.to_string()) }),
            );
        }
        let (from, to) = token.split_once('-').unwrap_or((token, ""));
        let from: usize = from.parse().unwrap_or(0);
        let to = to.parse().unwrap_or(now);
        let is_minimal = request.header("prefer") == Some("return=minimal")
            && !self.has("changes are told whole");
        // Some changes may come again.
        let from = if self.has("changes come twice") { from.saturating_sub(3) } else { from };
        let entries = self.tenant.changes(users, from, to, is_minimal);
        let mut round = request.clone();
        round.query.retain(|(name, _)| name != "$deltatoken");
        round.query.push(("$deltatoken".to_owned(), format!("{from}-{to}")));
        let start = request.query("$skiptoken").and_then(|token| token.parse().ok()).unwrap_or(0);
        let end = Some(link(&to.to_string()));
        self.window(&round, &entries, Value::clone, (start, self.page), end)
    }
}

impl Api for Stub {
    fn answer(&mut self, request: &Request) -> Response {
        match (request.method.as_str(), request.segments().as_slice()) {
            ("POST", [_, "oauth2", "v2.0", "token"]) => self.grant(request),
            ("GET", ["metadata", ..]) => self.grant(request),
            (_, ["v1.0", ..]) => self.graph(request),
            _ => error(404, "NotFound", "nothing there"),
        }
    }

    fn throttled(&mut self, _: &Request) -> Response {
        self.closed_until = Some(clock::instant() + THROTTLE);
        error(429, "TooManyRequests", "Please retry again later.").header("Retry-After", "0.052")
    }

    fn server_error(&mut self, _: &Request) -> Response {
        error(500, "InternalServerError", "oops")
    }

    fn refused(&mut self, _: &Request) -> Response {
        error(
            401,
            "InvalidAuthenticationToken",
            "Lifetime validation failed, the token is expired.",
        )
    }
}

fn error(status: u16, code: &str, message: &str) -> Response {
    let inner = json!({ "request-id": "94fb3b52", "date": "2026-11-20T00:00:00" });
    Response::error(
        status,
        json!({ "error": { "code": code, "message": message, "innerError": inner } }),
    )
    .header("request-id", "94fb3b52")
}

/// A count, as plain text behind a byte order mark.
fn number(count: usize) -> Response {
    Response::new(200)
        .header("content-type", "text/plain")
        .body(Body::Bytes(format!("\u{feff}{count}").into_bytes()))
}

fn missing() -> Response {
    error(404, "Request_ResourceNotFound", "Resource does not exist")
}

/// What Entra insists on (certificate credentials).
fn check_assertion(
    assertion: &str,
    url: &str,
    thumbprint: &[u8],
    is_signed: &(dyn Fn(&str, &[u8]) -> bool + Send),
) -> Result<(), String> {
    let wrong = |what: &str| format!("AADSTS700027: {what}");
    let (signed, signature) = assertion.rsplit_once('.').ok_or_else(|| wrong("no JWT"))?;
    let (header, claims) = signed.split_once('.').ok_or_else(|| wrong("no JWT"))?;
    let decode =
        |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).unwrap_or_default();
    let json = |text: &str| serde_json::from_slice::<Value>(&decode(text)).unwrap_or_default();
    let (header, claims) = (json(header), json(claims));
    let told = header["x5t#S256"].as_str().map(decode).unwrap_or_default();
    if header["alg"] != "PS256" || header["typ"] != "JWT" || told != thumbprint {
        return Err(wrong("the header names no registered certificate"));
    }
    if claims["aud"] != url || claims["iss"] != CLIENT || claims["sub"] != CLIENT {
        return Err(wrong("audience, issuer or subject"));
    }
    let number = |name: &str| claims[name].as_u64().unwrap_or_default();
    let now = clock::now().0 / 1000;
    if number("nbf") > now + 300 || number("exp") < now || number("exp") - number("nbf") > 600 {
        return Err("AADSTS700024: not within its time".to_owned());
    }
    if claims["jti"].as_str().is_none_or(|id| id.len() < 16)
        || !is_signed(signed, &decode(signature))
    {
        return Err(wrong("the signature"));
    }
    Ok(())
}
