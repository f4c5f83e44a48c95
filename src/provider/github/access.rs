//! The way to each organization: under one token for all, or under one of the
//! App's installations each.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::app::{App, InstallationGrant};
use super::conditional::Memory;
use super::config::{Account, GithubConfig};
use super::vendor::{GRAPHQL, Github, REST};
use crate::clock::Duration;
use crate::provider::http::jwt::SigningKey;
use crate::provider::http::{
    Allowance, Answer, Budget, Call, Client, Credential, Fixed, Tokens, Transport,
};
use crate::provider::{Patience, PullError};

/// <https://docs.github.com/rest/about-the-rest-api/api-versions>
const API_VERSION: &str = "2022-11-28";

/// What every user and every installation is allowed at least, an hour.
/// <https://docs.github.com/graphql/overview/rate-limits-and-node-limits-for-the-graphql-api>
const UNITS_AN_HOUR: f64 = 5_000.0;
const HOUR: Duration = Duration::from_hours(1);

/// All ways of one directory. What cannot be set up is told by [`Access::to`].
pub struct Access {
    pub config: Arc<GithubConfig>,
    transport: Transport,
    kept: BTreeMap<String, Connection>,
}

/// The way to one organization.
#[derive(Clone)]
pub struct Connection {
    pub config: Arc<GithubConfig>,
    pub organization: String,
    /// Answers to this credential, as far as they are worth remembering.
    pub(super) memory: Memory,
    client: Client,
    app: Option<App>,
}

impl Access {
    pub fn new(config: GithubConfig, patience: Patience) -> Access {
        let transport = Transport::new(&config.http, &config.url, patience);
        Access { config: Arc::new(config), transport, kept: BTreeMap::new() }
    }

    /// The way to `organization`. Sends nothing yet.
    ///
    /// # Errors
    /// When the credential is of no use.
    pub fn to(&mut self, organization: &str) -> Result<Connection, PullError> {
        if let Some(known) = self.kept.get(organization) {
            return Ok(known.clone());
        }
        let connection = match &self.config.account {
            Account::Token(token) => {
                let shared = self.kept.values().next().map(|known| known.client.clone());
                let client = match shared {
                    Some(client) => client,
                    None => {
                        let fixed = Fixed::new("authorization", token, "Bearer ")?;
                        self.client(Arc::new(fixed), token.expose().as_bytes())
                    }
                };
                self.connection(organization, client, None)
            }
            Account::App { id, key } => {
                let key = SigningKey::from_pem(key.expose()).map_err(useless_key)?;
                let (config, transport) = (Arc::clone(&self.config), self.transport.clone());
                let app = App { config, transport, id: id.clone(), key: Arc::new(key) };
                let organization = organization.to_owned();
                let grant = InstallationGrant { app: app.clone(), organization };
                let organization = &grant.organization.clone();
                let budget_key = format!("{id} {}", organization.to_lowercase());
                let client = self.client(Arc::new(Tokens::new(grant)), budget_key.as_bytes());
                self.connection(organization, client, Some(app))
            }
        };
        self.kept.insert(organization.to_owned(), connection.clone());
        Ok(connection)
    }

    /// Requests sent since the last time this was asked, by endpoint.
    pub fn take_audit(&self) -> BTreeMap<String, u64> {
        self.transport.take_audit()
    }

    /// A full crawl begins.
    pub fn turn(&self) {
        self.kept.values().for_each(|known| known.memory.turn());
    }

    fn connection(&self, organization: &str, client: Client, app: Option<App>) -> Connection {
        let config = Arc::clone(&self.config);
        let memory = Memory::default();
        Connection { config, organization: organization.to_owned(), memory, client, app }
    }

    fn client(&self, credential: Arc<dyn Credential>, key: &[u8]) -> Client {
        let config = &self.config;
        let budget = Budget::of(&config.http, &config.url, key, &allowances(config));
        Client::new(&config.http, self.transport.clone(), Arc::new(Github), credential, budget)
    }
}

impl Connection {
    /// Reads a REST resource. `path` starts with a slash.
    pub fn get(&self, endpoint: &'static str, path: &str, query: &[(&str, &str)]) -> Call {
        let mut url = self.config.rest(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.follow(endpoint, url)
    }

    /// Reads the page that a link names.
    pub fn follow(&self, endpoint: &'static str, url: url::Url) -> Call {
        with_headers(Call::get(endpoint, url)).bucket(REST)
    }

    /// A query of GraphQL that costs so many points.
    pub fn query(
        &self,
        endpoint: &'static str,
        document: &str,
        variables: &Value,
        points: f64,
    ) -> Call {
        let body = serde_json::json!({ "query": document, "variables": variables });
        with_headers(Call::post_json(endpoint, self.config.graphql(), &body))
            .bucket(GRAPHQL)
            .cost(points)
            .read_only()
    }

    /// # Errors
    /// As [`Client::send`].
    pub async fn send(&self, call: Call) -> Result<Answer, PullError> {
        self.client.send(call).await
    }

    /// The App that asks, if it is one.
    pub fn app(&self) -> Option<&App> {
        self.app.as_ref()
    }
}

/// What GitHub wants of every request.
pub fn with_headers(call: Call) -> Call {
    call.header("accept", "application/vnd.github+json").header("x-github-api-version", API_VERSION)
}

/// A server of one's own has no limits unless its administrator sets some,
/// which its headers tell, likewise an hour.
fn allowances(config: &GithubConfig) -> Vec<Allowance> {
    let units = if config.is_server() { f64::INFINITY } else { UNITS_AN_HOUR };
    [REST, GRAPHQL].map(|bucket| Allowance { bucket, units, per: HOUR }).to_vec()
}

fn useless_key(reason: String) -> PullError {
    PullError::Misconfigured {
        what: "private_key".to_owned(),
        reason,
        hint: "use the PEM file that GitHub gave out under the App's Private keys".to_owned(),
    }
}
