//! The requests of a crawl, each of one kind of page or object.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use url::Url;

use super::config::{Coverage, GoogleConfig, Schemas};
use super::grant::Delegation;
use super::session::Session;
use super::vendor::{self, AdminSdk};
use super::wire::{self, ACTIVITIES, GROUPS, List, MEMBERS, Page, USERS};
use crate::clock::{Duration, Timestamp};
use crate::provider::http::{Allowance, Answer, Budget, Call, Client, Transport};
use crate::provider::{Patience, PullError};

/// The audit feed has a quota, and a scope, of its own.
pub const REPORTS_BUCKET: &str = "reports";

/// 2,400 requests a minute for each user of a project, by default
/// (developers.google.com, Directory API limits).
const PER_MINUTE: f64 = 2400.0;
const MINUTE: Duration = Duration::from_mins(1);

const USERS_PAGE: &str = "500";
const GROUPS_PAGE: &str = "200";
const MEMBERS_PAGE: &str = "200";
const ACTIVITIES_PAGE: &str = "1000";

/// A page token that is of no use any more.
const EXPIRED: &[u16] = &[400, 410];
const MISSING: &[u16] = &[404];
const MISSING_OR_EXPIRED: &[u16] = &[400, 404, 410];

/// What asking for one object came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    Object(Value),
    Missing,
    /// It is closed to us: somebody else's, say.
    Closed,
}

impl Found {
    pub fn object(self) -> Option<Value> {
        match self {
            Found::Object(object) => Some(object),
            Found::Missing | Found::Closed => None,
        }
    }
}

/// Google as one directory sees it.
#[derive(Clone)]
pub struct Api {
    client: Client,
    session: Session,
    config: Arc<GoogleConfig>,
}

/// What asking for a page came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Listed {
    Page(Page),
    /// The page token, or the start of a feed, is of no use any more.
    Expired(String),
    /// There is no such group, or this customer has no such feed.
    Missing,
}

impl Api {
    /// Connects to nothing yet.
    pub fn new(config: &Arc<GoogleConfig>, patience: Patience) -> Api {
        let session = Session::new(Delegation::new(config, patience));
        let allowances =
            ["", REPORTS_BUCKET].map(|bucket| Allowance { bucket, units: PER_MINUTE, per: MINUTE });
        let identity = config.identity();
        let budget = Budget::of(&config.http, &config.api, identity.as_bytes(), &allowances);
        let transport = Transport::new(&config.http, &config.api, patience);
        let credential = Arc::new(session.clone());
        let client = Client::new(&config.http, transport, Arc::new(AdminSdk), credential, budget);
        Api { client, session, config: Arc::clone(config) }
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Requests sent so far in this crawl.
    pub fn sent(&self) -> u64 {
        self.client.sent()
    }

    pub fn take_audit(&self) -> BTreeMap<String, u64> {
        self.client.take_audit()
    }

    /// How many parts the listings of users and groups have: one for each domain.
    pub fn parts(&self) -> usize {
        match &self.config.coverage {
            Coverage::Customer(_) => 1,
            Coverage::Domains(domains) => domains.len(),
        }
    }

    /// One page of users.
    pub async fn users(&self, part: usize, page: Option<&str>) -> Result<Listed, PullError> {
        let mut url = self.url(&["directory", "v1", "users"])?;
        self.cover(&mut url, part);
        url.query_pairs_mut().append_pair("maxResults", USERS_PAGE);
        self.project(&mut url);
        self.list(Call::get("GET /users", url), USERS, page).await
    }

    /// One page of the ids of users.
    pub async fn user_ids(&self, part: usize, page: Option<&str>) -> Result<Listed, PullError> {
        let mut url = self.url(&["directory", "v1", "users"])?;
        self.cover(&mut url, part);
        url.query_pairs_mut()
            .append_pair("maxResults", USERS_PAGE)
            .append_pair("projection", "basic")
            .append_pair("fields", "kind,nextPageToken,users(id,primaryEmail,deletionTime)");
        self.list(Call::get("GET /users (ids)", url), USERS, page).await
    }

    /// One page of groups.
    pub async fn groups(&self, part: usize, page: Option<&str>) -> Result<Listed, PullError> {
        let mut url = self.url(&["directory", "v1", "groups"])?;
        self.cover(&mut url, part);
        url.query_pairs_mut().append_pair("maxResults", GROUPS_PAGE);
        self.list(Call::get("GET /groups", url), GROUPS, page).await
    }

    /// One page of a group's direct members.
    pub async fn members(&self, group: &str, page: Option<&str>) -> Result<Listed, PullError> {
        let mut url = self.url(&["directory", "v1", "groups", group, "members"])?;
        url.query_pairs_mut().append_pair("maxResults", MEMBERS_PAGE);
        self.list(Call::get("GET /groups/{id}/members", url), MEMBERS, page).await
    }

    /// One user by id or address.
    pub async fn user(&self, key: &str) -> Result<Found, PullError> {
        let mut url = self.url(&["directory", "v1", "users", key])?;
        self.project(&mut url);
        self.one(Call::get("GET /users/{id}", url)).await
    }

    /// One group by id or address.
    pub async fn group(&self, key: &str) -> Result<Found, PullError> {
        let url = self.url(&["directory", "v1", "groups", key])?;
        self.one(Call::get("GET /groups/{id}", url)).await
    }

    /// One page of an application's audit events since `start`.
    pub async fn activities(
        &self,
        application: &str,
        start: Timestamp,
        page: Option<&str>,
    ) -> Result<Listed, PullError> {
        let path = ["reports", "v1", "activity", "users", "all", "applications", application];
        let mut url = self.url(&path)?;
        url.query_pairs_mut()
            .append_pair("startTime", &start.to_string())
            .append_pair("maxResults", ACTIVITIES_PAGE);
        if let Coverage::Customer(customer) = &self.config.coverage
            && customer.starts_with('C')
        {
            url.query_pairs_mut().append_pair("customerId", customer);
        }
        let call = Call::get("GET /activity", url).bucket(REPORTS_BUCKET);
        self.list(call, ACTIVITIES, page).await
    }

    async fn list(
        &self,
        mut call: Call,
        list: List,
        page: Option<&str>,
    ) -> Result<Listed, PullError> {
        let of_group = list.array == MEMBERS.array;
        let of_feed = list.array == ACTIVITIES.array;
        // The vendor's own client repeats every parameter beside the token.
        if let Some(page) = page {
            call.url.query_pairs_mut().append_pair("pageToken", page);
        }
        let call = match (of_group, page.is_some()) {
            // Not every customer has every application.
            _ if of_feed => call.accept(MISSING_OR_EXPIRED),
            (true, true) => call.accept(MISSING_OR_EXPIRED),
            (true, false) => call.accept(MISSING),
            (false, true) => call.accept(EXPIRED),
            (false, false) => call,
        };
        let answer = self.client.send(call).await?;
        match answer.status.as_u16() {
            404 => Ok(Listed::Missing),
            // What is asked for by name, and not by a token, is not there.
            400 if page.is_none() => Ok(Listed::Missing),
            400 | 410 => Ok(Listed::Expired(expired(&answer))),
            _ if of_group => Page::read(&answer, list).map(Listed::Page),
            _ => Page::read(&answer, list)?.whole(&answer, list).map(Listed::Page),
        }
    }

    async fn one(&self, call: Call) -> Result<Found, PullError> {
        match self.client.send(call.accept(MISSING)).await {
            Ok(answer) if answer.status == http::StatusCode::NOT_FOUND => Ok(Found::Missing),
            Ok(answer) => wire::object(&answer).map(Found::Object),
            Err(error) if vendor::is_closed_object(&error) => Ok(Found::Closed),
            Err(error) => Err(error),
        }
    }

    fn url(&self, path: &[&str]) -> Result<Url, PullError> {
        let path: Vec<&str> = ["admin"].iter().chain(path).copied().collect();
        joined(&self.config.api, &path)
    }

    fn cover(&self, url: &mut Url, part: usize) {
        match &self.config.coverage {
            Coverage::Customer(customer) => {
                url.query_pairs_mut().append_pair("customer", customer);
            }
            Coverage::Domains(domains) => {
                let domain = domains.get(part).map_or("", String::as_str);
                url.query_pairs_mut().append_pair("domain", domain);
            }
        }
    }

    fn project(&self, url: &mut Url) {
        let mut query = url.query_pairs_mut();
        match &self.config.schemas {
            Schemas::All => query.append_pair("projection", "full"),
            Schemas::None => query.append_pair("projection", "basic"),
            Schemas::Named(names) => query
                .append_pair("projection", "custom")
                .append_pair("customFieldMask", &names.join(",")),
        };
    }
}

/// `base` with more path segments, which may hold anything.
///
/// # Errors
/// [`PullError::Misconfigured`] when `base` takes none.
pub fn joined(base: &Url, path: &[&str]) -> Result<Url, PullError> {
    let mut url = base.clone();
    match url.path_segments_mut() {
        Ok(mut segments) => {
            segments.pop_if_empty().extend(path);
        }
        Err(()) => {
            return Err(PullError::Misconfigured {
                what: base.to_string(),
                reason: "it is no address that paths can be added to".to_owned(),
                hint: "write it like https://admin.googleapis.com".to_owned(),
            });
        }
    }
    Ok(url)
}

fn expired(answer: &Answer) -> String {
    format!("a page token was answered with {}: {}", answer.status, answer.excerpt())
}
