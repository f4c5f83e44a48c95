//! The requests, and the proof that something is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use serde_json::Value;
use url::Url;

use super::config::{Login, OktaConfig};
use super::credential::{GrantedScopes, ServiceApp};
use super::shortage::users_count;
use super::vendor::{self, NOT_FOUND};
use super::walk::{List, Walk};
use crate::clock::{Duration, Timestamp};
use crate::provider::http::{
    Allowance, Answer, Budget, Call, Client, Credential, Fixed, HttpConfig, Transport,
};
use crate::provider::{Patience, PullError};

/// As Okta documents them for a minute; each answer says how much it really is.
const ALLOWANCES: [Allowance; 5] = [
    allowance("users", 600.0),
    allowance("user", 1200.0),
    allowance("groups", 500.0),
    allowance("group", 1200.0),
    allowance("logs", 120.0),
];

/// An org lets so many requests be under way at once.
const CONCURRENT_MAX: usize = 75;

/// What Okta recommends, and the default of members.
const USERS_A_PAGE: &str = "200";
const GROUPS_A_PAGE: &str = "200";
const MEMBERS_A_PAGE: &str = "1000";
const EVENTS_A_PAGE: &str = "1000";
const GROUP_IDS_A_PAGE: &str = "10000";
/// Groups with the number of their users.
const STATS: (&str, &str) = ("expand", "stats");

/// The way to one org under one credential.
#[derive(Clone)]
pub struct Api {
    client: Client,
    base: Url,
    scopes: Option<GrantedScopes>,
    pub at_once: usize,
}

/// What came of asking for one object.
pub enum Found {
    Here(Value),
    /// Okta knows nothing of that id.
    Gone,
    /// It may be there, but is not for us to see.
    Hidden,
}

impl Api {
    /// Connects when first asked to read.
    ///
    /// # Errors
    /// [`PullError::Misconfigured`] when the credential cannot be used.
    pub fn new(config: &OktaConfig, patience: Patience) -> Result<Api, PullError> {
        let at_once = config.http.parallel_requests_max.min(CONCURRENT_MAX);
        let http = HttpConfig { parallel_requests_max: at_once, ..config.http.clone() };
        let transport = Transport::new(&http, &config.url, patience).resuming(vendor::resumes_at);
        let mut scopes = None;
        let credential: Arc<dyn Credential> = match &config.login {
            Login::Token(token) => Arc::new(Fixed::new("authorization", token, "SSWS ")?),
            Login::App(app) => {
                let app = ServiceApp::new(transport.clone(), &config.url, app)?;
                scopes = Some(app.scopes());
                Arc::new(app)
            }
        };
        let budget = Budget::of(&http, &config.url, config.account(), &ALLOWANCES);
        let client = Client::new(&http, transport, Arc::new(vendor::Okta), credential, budget);
        Ok(Api { client, base: config.url.clone(), scopes, at_once })
    }

    /// Every user but the deprovisioned ones.
    pub fn users(&self) -> Walk {
        Walk::new(List::Users, self.url("/api/v1/users", &[("limit", USERS_A_PAGE)]))
    }

    /// The users that the plain listing leaves out.
    pub fn deprovisioned(&self) -> Walk {
        self.filtered_users("status eq \"DEPROVISIONED\"")
    }

    /// Users of any status whose record changed after `since`.
    pub fn users_changed(&self, since: Timestamp) -> Walk {
        self.filtered_users(&format!("lastUpdated gt \"{}\"", moment(since)))
    }

    pub fn groups(&self) -> Walk {
        self.groups_by(GROUPS_A_PAGE)
    }

    /// All groups on as few pages as can be.
    pub fn group_ids(&self) -> Walk {
        let query = [("limit", GROUP_IDS_A_PAGE)];
        Walk::new(List::Groups, self.url("/api/v1/groups", &query))
    }

    /// With the number of users of each.
    pub fn groups_by(&self, limit: &str) -> Walk {
        let query = [("limit", limit), STATS];
        Walk::new(List::Groups, self.url("/api/v1/groups", &query))
    }

    /// Groups whose profile or members changed after `since`.
    pub fn groups_changed(&self, since: Timestamp) -> Walk {
        let since = moment(since);
        let filter = format!("lastMembershipUpdated gt \"{since}\" or lastUpdated gt \"{since}\"");
        self.filtered_groups(&filter)
    }

    /// `Everyone`, should it be visible, with the number of users that it has.
    pub fn built_in_groups(&self) -> Walk {
        self.filtered_groups("type eq \"BUILT_IN\"")
    }

    pub fn members(&self, group: &str) -> Walk {
        let path = format!("/api/v1/groups/{}/users", segment(group));
        Walk::new(List::Members, self.url(&path, &[("limit", MEMBERS_A_PAGE)]))
    }

    /// Events published within a time. Both ends are given: without `until`
    /// Okta would name a next page for ever.
    pub fn events(&self, since: Timestamp, until: Timestamp, filter: &str) -> Walk {
        let (since, until) = (moment(since), moment(until));
        let query = [
            ("since", since.as_str()),
            ("until", until.as_str()),
            ("sortOrder", "ASCENDING"),
            ("limit", EVENTS_A_PAGE),
            ("filter", filter),
        ];
        Walk::new(List::Logs, self.url("/api/v1/logs", &query))
    }

    /// One user by id.
    pub async fn user(&self, id: &str) -> Result<Found, PullError> {
        let url = self.url(&format!("/api/v1/users/{}", segment(id)), &[]);
        self.find(Call::get("GET /api/v1/users/{id}", url).bucket("user")).await
    }

    /// One group by id.
    pub async fn group(&self, id: &str) -> Result<Found, PullError> {
        let url = self.url(&format!("/api/v1/groups/{}", segment(id)), &[]);
        self.find(Call::get("GET /api/v1/groups/{id}", url).bucket("group")).await
    }

    /// How many users a group has by now; `None`: that is not told.
    pub async fn users_count(&self, group: &str) -> Result<Option<(u64, Timestamp)>, PullError> {
        let mut walk = self.filtered_groups(&format!("id eq \"{group}\""));
        while let Some(page) = walk.next(self).await? {
            if let Some(count) = page.objects.iter().find_map(users_count) {
                return Ok(Some((count, page.time)));
            }
        }
        Ok(None)
    }

    pub async fn send(&self, call: Call) -> Result<Answer, PullError> {
        self.client.send(call).await
    }

    /// Requests sent since the last time this was asked, by endpoint.
    /// Requests sent so far in this crawl.
    pub fn sent(&self) -> u64 {
        self.client.sent()
    }

    pub fn take_audit(&self) -> BTreeMap<String, u64> {
        self.client.take_audit()
    }

    /// What the newest token of a service app is good for.
    pub fn granted_scopes(&self) -> Option<Vec<String>> {
        self.scopes.as_ref().and_then(GrantedScopes::get)
    }

    async fn find(&self, call: Call) -> Result<Found, PullError> {
        let answer = self.send(call.accept(&[403, 404])).await?;
        match answer.status {
            StatusCode::NOT_FOUND => proof_of_absence(&answer).map(|()| Found::Gone),
            StatusCode::FORBIDDEN => Ok(Found::Hidden),
            _ => answer.json().map(Found::Here),
        }
    }

    fn filtered_users(&self, filter: &str) -> Walk {
        let query = [("filter", filter), ("limit", USERS_A_PAGE)];
        Walk::new(List::Users, self.url("/api/v1/users", &query))
    }

    fn filtered_groups(&self, filter: &str) -> Walk {
        let query = [("filter", filter), ("limit", GROUPS_A_PAGE), STATS];
        Walk::new(List::Groups, self.url("/api/v1/groups", &query))
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

/// Whether a 404 is about the object: a proxy, or an org that is no more,
/// answers 404 in other words, and proves nothing.
///
/// # Errors
/// [`PullError::Incomplete`] when it is not.
pub fn proof_of_absence(answer: &Answer) -> Result<(), PullError> {
    if vendor::error_of(answer).error_code == NOT_FOUND {
        return Ok(());
    }
    Err(PullError::Incomplete {
        what: answer.url.to_string(),
        reason: format!("{}: that does not prove that the object is gone", vendor::told(answer)),
    })
}

/// As Okta's filters want it: always with milliseconds.
fn moment(time: Timestamp) -> String {
    let seconds = Timestamp(time.0 - time.0 % 1000).to_string();
    format!("{}.{:03}Z", seconds.trim_end_matches('Z'), time.0 % 1000)
}

/// An id as one segment of a path.
fn segment(id: &str) -> String {
    percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC).to_string()
}

const fn allowance(bucket: &'static str, units: f64) -> Allowance {
    Allowance { bucket, units, per: Duration::from_mins(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_always_have_milliseconds() {
        let time = Timestamp::parse("2026-11-20T10:15:00Z").unwrap();
        assert_eq!(moment(time), "2026-11-20T10:15:00.000Z");
        assert_eq!(moment(Timestamp(time.0 + 7)), "2026-11-20T10:15:00.007Z");
    }
}
