//! Tokens of a GitHub App: a signed statement of who it is, and with that one
//! token for each organization that it is installed in.
//!
//! <https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app>

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::access::with_headers;
use super::config::GithubConfig;
use super::vendor::message_of;
use crate::clock::{self, Duration, Timestamp};
use crate::provider::PullError;
use crate::provider::http::jwt::{Algorithm, SigningKey};
use crate::provider::http::{Answer, Call, Grant, Token, Transport};
use crate::secret::Secret;

/// The statement is dated back, for clocks that differ.
const BACKDATED: Duration = Duration::from_mins(1);
/// GitHub takes statements that are good for up to ten minutes.
const STATEMENT_LIFE: Duration = Duration::from_mins(9);
/// Of an installation's token.
const TOKEN_LIFE: Duration = Duration::from_hours(1);

/// What makes an App's statements.
#[derive(Clone)]
pub struct App {
    pub config: Arc<GithubConfig>,
    pub transport: Transport,
    pub id: String,
    pub key: Arc<SigningKey>,
}

/// Fetches the tokens for one organization.
pub struct InstallationGrant {
    pub app: App,
    pub organization: String,
}

/// An App's installation in an organization.
#[derive(Debug, Deserialize)]
pub struct Installation {
    pub id: u64,
    #[serde(default)]
    pub permissions: BTreeMap<String, Value>,
    #[serde(default)]
    pub suspended_at: Option<String>,
}

impl Installation {
    /// Whether the App may read members, which covers teams and invitations.
    pub fn reads_members(&self) -> bool {
        let level = self.permissions.get("members").and_then(Value::as_str);
        matches!(level, Some("read" | "write" | "admin"))
    }
}

#[async_trait]
impl Grant for InstallationGrant {
    async fn grant(&self) -> Result<Token, PullError> {
        let installation = self.app.installation(&self.organization).await?;
        self.app.check(&installation, &self.organization)?;
        self.app.token(installation.id).await
    }
}

impl App {
    /// Where the App is installed.
    ///
    /// # Errors
    /// When it is not installed there, or not known.
    pub async fn installation(&self, organization: &str) -> Result<Installation, PullError> {
        let url = self.config.rest(&format!("/orgs/{organization}/installation"));
        let answer = self.send(Call::get("GET /orgs/{org}/installation", url)).await?;
        match answer.status.as_u16() {
            200 => answer.json(),
            404 => Err(PullError::Misconfigured {
                what: format!("the organization {organization}"),
                reason: format!("the GitHub App {} is not installed there", self.id),
                hint:
                    "an owner installs it: Settings, Developer settings, GitHub Apps, Install App"
                        .to_owned(),
            }),
            _ => Err(refused(&answer)),
        }
    }

    /// That the App may read there what a crawl reads.
    ///
    /// # Errors
    /// [`PullError::Unauthorized`]. Without the permission GitHub shows public
    /// members only, with 200.
    pub fn check(&self, found: &Installation, organization: &str) -> Result<(), PullError> {
        let reason = if found.suspended_at.is_some() {
            "the installation is suspended; an owner resumes it under Settings, GitHub Apps"
        } else if !found.reads_members() {
            "grant it under the App's Permissions & events, Organization permissions, Members: \
             Read-only, and let an owner accept that"
        } else {
            return Ok(());
        };
        Err(PullError::Unauthorized {
            what: format!("the organization {organization}"),
            reason: reason.to_owned(),
            permission: Some("members: read".to_owned()),
        })
    }

    async fn token(&self, installation: u64) -> Result<Token, PullError> {
        #[derive(Deserialize)]
        struct Granted {
            token: String,
            expires_at: String,
        }
        let url = self.config.rest(&format!("/app/installations/{installation}/access_tokens"));
        let endpoint = "POST /app/installations/{id}/access_tokens";
        // A token more does no harm.
        let answer = self.send(Call::post_json(endpoint, url, &json!({})).read_only()).await?;
        if answer.status.as_u16() != 201 {
            return Err(refused(&answer));
        }
        let granted: Granted = answer.json()?;
        let life = Timestamp::parse(&granted.expires_at)
            .map_or(TOKEN_LIFE, |end| Duration::from_secs(answer.received.seconds_until(end)));
        let value = Secret::new(granted.token);
        Ok(Token { value, expires_in: Some(life.min(TOKEN_LIFE)) })
    }

    async fn send(&self, call: Call) -> Result<Answer, PullError> {
        let statement = self.statement()?;
        self.transport
            .send(with_headers(call).header("authorization", &format!("Bearer {statement}")))
            .await
    }

    fn statement(&self) -> Result<String, PullError> {
        let claims = claims(&self.id, clock::now());
        self.key.sign(Algorithm::Rs256, &Map::new(), &claims).map_err(|reason| {
            PullError::Misconfigured {
                what: "private_key".to_owned(),
                reason,
                hint: "use the PEM file that GitHub gave out under the App's Private keys"
                    .to_owned(),
            }
        })
    }
}

fn claims(id: &str, now: Timestamp) -> Map<String, Value> {
    // Both an id and a client id are issuers; an id is a number.
    let issuer = id.parse::<u64>().map_or_else(|_| json!(id), |id| json!(id));
    Map::from_iter([
        ("iat".to_owned(), json!(now.minus(BACKDATED).0 / 1000)),
        ("exp".to_owned(), json!(now.plus(STATEMENT_LIFE).0 / 1000)),
        ("iss".to_owned(), issuer),
    ])
}

fn refused(answer: &Answer) -> PullError {
    let mut reason = message_of(answer);
    let is_clock = ["'Expiration time'", "'Issued at'"].iter().any(|claim| reason.contains(claim));
    if is_clock {
        let theirs = answer.header("date").unwrap_or("unknown").escape_debug().to_string();
        reason.push_str(&format!(
            "; the clocks differ: it is {} here and {theirs} there, set the clock of this host",
            answer.received
        ));
    } else if answer.status.as_u16() == 401 {
        reason.push_str("; `app_id` and `private_key` must be of the same App");
    }
    PullError::Unauthorized { what: "GitHub".to_owned(), reason, permission: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_dated_back_and_short() {
        let claims = claims("12345", Timestamp(1_700_000_000_000));
        assert_eq!(claims["iss"], json!(12345));
        assert_eq!(claims["iat"], json!(1_699_999_940));
        let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
        assert!(life <= 600, "{life}");
        assert_eq!(super::claims("Iv23liAbc", Timestamp(0))["iss"], json!("Iv23liAbc"));
    }

    #[test]
    fn the_permission_to_read_members_is_needed() {
        let with = |permissions: Value| Installation {
            id: 1,
            permissions: serde_json::from_value(permissions).unwrap(),
            suspended_at: None,
        };
        assert!(with(json!({ "members": "read" })).reads_members());
        assert!(with(json!({ "members": "write", "contents": "read" })).reads_members());
        assert!(!with(json!({ "metadata": "read" })).reads_members());
    }
}
