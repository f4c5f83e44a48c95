//! Domain-wide delegation: a signed assertion, exchanged for an access token.
//!
//! As google-auth does it: RFC 7523 with `sub` naming the administrator.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::config::{Access, GoogleConfig};
use super::key::ServiceKey;
use super::platform::Platforms;
use crate::clock::{self, Duration};
use crate::provider::http::call::place;
use crate::provider::http::jwt::{Algorithm, SigningKey};
use crate::provider::http::{Answer, Call, Grant, Token, Transport};
use crate::provider::{Patience, PullError};
use crate::secret::Secret;

/// What Google expects as audience, wherever the request goes in fact
/// (google-auth sends this constant, too).
const AUDIENCE: &str = "https://oauth2.googleapis.com/token";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const LIFE_SECONDS: u64 = 3600;

/// Fetches tokens for one set of scopes.
#[derive(Clone)]
pub struct Delegation {
    shared: Arc<Shared>,
    scopes: String,
}

struct Shared {
    transport: Transport,
    token_url: Url,
    impersonate: String,
    account: String,
    /// How the Admin console calls the service account.
    client_id: String,
    signer: Signer,
}

enum Signer {
    Key(ServiceKey),
    Iam(Box<Platforms>),
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<f64>,
}

#[derive(Default, Deserialize)]
struct Refusal {
    error: Option<String>,
    error_description: Option<String>,
}

impl Delegation {
    /// Connects to nothing yet.
    pub fn new(config: &GoogleConfig, patience: Patience) -> Delegation {
        let (account, client_id, signer) = match &config.access {
            Access::Key(key) => {
                let id = key.client_id.clone();
                let id = id.unwrap_or_else(|| format!("of {}", key.client_email));
                (key.client_email.clone(), id, Signer::Key(key.clone()))
            }
            Access::Keyless { service_account, iam, platform } => {
                let platforms =
                    Platforms::new(&config.http, service_account, iam, platform, patience);
                let id = format!("(the unique ID of {service_account})");
                (service_account.clone(), id, Signer::Iam(Box::new(platforms)))
            }
        };
        let shared = Shared {
            transport: Transport::new(&config.http, &config.token_url, patience),
            token_url: config.token_url.clone(),
            impersonate: config.impersonate.clone(),
            account,
            client_id,
            signer,
        };
        Delegation { shared: Arc::new(shared), scopes: String::new() }
    }

    /// The same delegation for other scopes.
    pub fn with_scopes(&self, scopes: &str) -> Delegation {
        Delegation { shared: Arc::clone(&self.shared), scopes: scopes.to_owned() }
    }

    fn claims(&self) -> Map<String, Value> {
        let now = clock::now().0 / 1000;
        let claims = [
            ("iss", json!(self.shared.account)),
            ("sub", json!(self.shared.impersonate)),
            ("scope", json!(self.scopes)),
            ("aud", json!(AUDIENCE)),
            ("iat", json!(now)),
            ("exp", json!(now + LIFE_SECONDS)),
        ];
        claims.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    async fn assertion(&self) -> Result<String, PullError> {
        let key = match &self.shared.signer {
            Signer::Iam(platforms) => return platforms.sign(&self.claims()).await,
            Signer::Key(key) => key,
        };
        let mut header = Map::new();
        if let Some(id) = &key.key_id {
            header.insert("kid".to_owned(), json!(id));
        }
        let signed = SigningKey::from_pem(key.private_key.expose())
            .and_then(|key| key.sign(Algorithm::Rs256, &header, &self.claims()));
        signed.map_err(|reason| PullError::Misconfigured {
            what: "the service account's key".to_owned(),
            reason,
            hint: "download a new one (IAM & Admin > Service Accounts > Keys)".to_owned(),
        })
    }

    fn refusal(&self, answer: &Answer) -> PullError {
        let refusal: Refusal = serde_json::from_slice(&answer.body).unwrap_or_default();
        let error = refusal.error.unwrap_or_else(|| answer.status.to_string());
        let told = refusal.error_description.unwrap_or_default();
        let shared = &self.shared;
        let permission = match error.as_str() {
            "unauthorized_client" | "access_denied" | "invalid_scope" => Some(format!(
                "domain-wide delegation: in the Admin console under Security > Access and data control > \
                 API controls > Manage domain-wide delegation, add the client ID {} with the scopes {}",
                shared.client_id,
                self.scopes.replace(' ', ",")
            )),
            _ => None,
        };
        let hint = match error.as_str() {
            "invalid_grant" => format!(
                "; check that {} is an active administrator, that the key of {} still exists, \
                 and that this computer's clock is right",
                shared.impersonate, shared.account
            ),
            "invalid_client" => format!("; the service account {} may be gone", shared.account),
            _ => String::new(),
        };
        let reason = format!("{error}: {}{hint}", told.escape_debug());
        PullError::Unauthorized { what: place(&shared.token_url), reason, permission }
    }
}

#[async_trait]
impl Grant for Delegation {
    async fn grant(&self) -> Result<Token, PullError> {
        let assertion = self.assertion().await?;
        let form = [("grant_type", JWT_BEARER), ("assertion", assertion.as_str())];
        // Asking twice gives two tokens, which does no harm.
        let url = self.shared.token_url.clone();
        let call = Call::post_form("POST /token", url, &form).read_only();
        let answer = self.shared.transport.send(call).await?;
        if !answer.status.is_success() {
            return Err(self.refusal(&answer));
        }
        token(&answer)
    }
}

/// The token in an answer of OAuth.
pub fn token(answer: &Answer) -> Result<Token, PullError> {
    // Decoding errors could show parts of the token.
    let granted: Granted =
        serde_json::from_slice(&answer.body).map_err(|_| PullError::Incomplete {
            what: place(&answer.url),
            reason: "the answer holds no access token".to_owned(),
        })?;
    let expires_in = granted.expires_in.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
    Ok(Token {
        value: Secret::new(granted.access_token),
        expires_in: expires_in.map(Duration::from_secs_f64),
    })
}
