//! Access tokens: by secret, certificate, token of another issuer, or the
//! platform's own identity.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::aadsts;
use super::config::{EntraConfig, Managed, Proof};
use crate::clock::{self, Duration, Timestamp};
use crate::config;
use crate::provider::http::config::Proxy;
use crate::provider::http::jwt::{self, Algorithm, SigningKey};
use crate::provider::http::oauth::{ClientProof, OauthError, client_credentials};
use crate::provider::http::{Answer, Call, Grant, HttpConfig, Token, Transport};
use crate::provider::{Patience, PullError};
use crate::secret::Secret;
use crate::task;

/// An assertion is good for this long; Entra recommends five to ten minutes.
const ASSERTION_LIFE: Duration = Duration::from_mins(5);
/// An assertion is taken once, so trouble is answered with a new one.
const ASSERTIONS_MAX: u32 = 3;
const IMDS_VERSION: &str = "2018-02-01";
const APP_SERVICE_VERSION: &str = "2019-08-01";

/// Fetches tokens for one configuration.
pub(super) struct Access {
    config: EntraConfig,
    transport: Transport,
}

impl Access {
    pub(super) fn new(config: &EntraConfig, patience: Patience) -> Access {
        let transport = match &config.proof {
            // It leads to this machine: no proxy, no certificate of ours.
            Proof::Managed(identity) => {
                let http =
                    HttpConfig { proxy: Proxy::Direct, identity: None, ..config.http.clone() };
                Transport::new(&http, &identity.endpoint, patience)
            }
            _ => Transport::new(&config.http, &config.authority, patience),
        };
        Access { config: config.clone(), transport }
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.transport
    }

    async fn by_secret(&self, client_id: &str, secret: &Secret) -> Result<Token, PullError> {
        self.exchange(client_id, ClientProof::Secret(secret)).await.map_err(|e| self.refusal(e))
    }

    async fn by_certificate(
        &self,
        client_id: &str,
        certificate: &Secret,
        key: &Secret,
    ) -> Result<Token, PullError> {
        let mut attempt = 1;
        loop {
            let assertion = assertion(client_id, &self.config.token_url(), certificate, key)
                .map_err(|reason| self.unusable(reason, "certificate"))?;
            match self.exchange(client_id, ClientProof::Assertion(assertion.expose())).await {
                Err(OauthError::Pull(PullError::Unreachable { .. }))
                    if attempt < ASSERTIONS_MAX =>
                {
                    attempt += 1;
                }
                result => return result.map_err(|error| self.refusal(error)),
            }
        }
    }

    /// The file is read at every grant: whoever writes it renews it.
    async fn by_file(&self, client_id: &str, file: &std::path::Path) -> Result<Token, PullError> {
        let path = file.to_owned();
        let read = task::blocking("token file", move || config::read_secret_file(&path)).await;
        let token = match read {
            Ok(Ok(token)) => token,
            Ok(Err(reason)) => return Err(self.unusable(reason, "federated_token_file")),
            Err(end) => return Err(self.unusable(end.to_string(), "federated_token_file")),
        };
        let granted = self.exchange(client_id, ClientProof::Assertion(token.expose())).await;
        granted.map_err(|error| self.refusal(error))
    }

    async fn exchange(&self, id: &str, proof: ClientProof<'_>) -> Result<Token, OauthError> {
        let (url, scope) = (self.config.token_url(), self.config.scope());
        client_credentials(&self.transport, &url, id, proof, &[&scope], &[])
            .await
            .map(|granted| granted.token)
    }

    async fn by_platform(&self, identity: &Managed) -> Result<Token, PullError> {
        let answer = self.transport.send(self.platform_call(identity)).await?;
        if !answer.status.is_success() {
            return Err(platform_refusal(identity, &answer));
        }
        let granted: Granted = answer.json()?;
        let expires_in = granted.life(clock::now());
        Ok(Token { value: Secret::new(granted.access_token), expires_in })
    }

    fn platform_call(&self, identity: &Managed) -> Call {
        let mut url = identity.endpoint.clone();
        let is_app_service = identity.header.is_some();
        let version = if is_app_service { APP_SERVICE_VERSION } else { IMDS_VERSION };
        url.query_pairs_mut()
            .append_pair("api-version", version)
            .append_pair("resource", &self.config.resource());
        if let Some(id) = &identity.client_id {
            url.query_pairs_mut().append_pair("client_id", id);
        }
        let call = Call::get("GET managed identity token", url);
        match &identity.header {
            Some(header) => call.header("x-identity-header", header.expose()),
            None => call.header("metadata", "true"),
        }
    }

    fn refusal(&self, error: OauthError) -> PullError {
        let what = self.config.token_url().to_string();
        match error {
            OauthError::Pull(error) => error,
            OauthError::Refused { error, description, .. } => {
                let told = description.unwrap_or_else(|| error.clone());
                let hint = aadsts::hint(&told).map(|hint| format!("; {hint}")).unwrap_or_default();
                // Only the first line says what is wrong; traces follow.
                let first = told.lines().next().unwrap_or_default().to_owned();
                PullError::Unauthorized {
                    what,
                    reason: format!("{error}: {first}{hint}"),
                    permission: None,
                }
            }
        }
    }

    fn unusable(&self, reason: String, key: &str) -> PullError {
        PullError::Misconfigured {
            what: self.config.token_url().to_string(),
            reason,
            hint: format!("correct what `{key}` names"),
        }
    }
}

#[async_trait]
impl Grant for Access {
    async fn grant(&self) -> Result<Token, PullError> {
        match &self.config.proof {
            Proof::Secret { client_id, secret } => self.by_secret(client_id, secret).await,
            Proof::Certificate { client_id, certificate, key } => {
                self.by_certificate(client_id, certificate, key).await
            }
            Proof::Federated { client_id, file } => self.by_file(client_id, file).await,
            Proof::Managed(identity) => self.by_platform(identity).await,
        }
    }
}

/// What the platform grants. Numbers come as text.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<Value>,
    /// Seconds since 1970.
    expires_on: Option<Value>,
}

impl Granted {
    fn life(&self, now: Timestamp) -> Option<Duration> {
        let number = |value: &Option<Value>| match value {
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => text.parse::<u64>().ok(),
            _ => None,
        };
        let left = || Some(number(&self.expires_on)?.saturating_sub(now.0 / 1000));
        number(&self.expires_in).or_else(left).map(Duration::from_secs)
    }
}

fn platform_refusal(identity: &Managed, answer: &Answer) -> PullError {
    let hint = match &identity.client_id {
        Some(_) => "is the user-assigned identity of `client_id` assigned to this machine?",
        None => "is a managed identity switched on for this machine?",
    };
    PullError::Unauthorized {
        what: identity.endpoint.to_string(),
        reason: format!("it answers {}: {}; {hint}", answer.status, answer.excerpt()),
        permission: None,
    }
}

/// A signed statement of who asks (Microsoft identity platform, certificate
/// credentials): PS256, the certificate by its SHA-256, for this address only.
fn assertion(
    client_id: &str,
    token_url: &Url,
    certificate: &Secret,
    key: &Secret,
) -> Result<Secret, String> {
    let thumbprint = jwt::certificate_thumbprint_sha256(certificate.expose())?;
    let key = SigningKey::from_pem(key.expose())?;
    let now = clock::now().0 / 1000;
    let claims = json!({
        "aud": token_url.as_str(),
        "iss": client_id,
        "sub": client_id,
        "jti": jwt::token_id()?,
        "nbf": now,
        "iat": now,
        "exp": now + ASSERTION_LIFE.as_secs(),
    });
    let header = json!({ "x5t#S256": URL_SAFE_NO_PAD.encode(thumbprint) });
    let signed = key.sign(Algorithm::Ps256, &object(header), &object(claims))?;
    Ok(Secret::new(signed))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// The application permissions in a token (`roles`), when it is a readable
/// JWT. A hint for people, never a decision about access.
pub(super) fn roles(token: &Secret) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Claims {
        #[serde(default)]
        roles: Vec<String>,
    }
    let payload = token.expose().split('.').nth(1)?;
    let bytes = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let claims: Claims = serde_json::from_slice(&bytes).ok()?;
    Some(claims.roles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_life_of_a_platforms_token_comes_as_text_or_moment() {
        let granted = |text: &str| serde_json::from_str::<Granted>(text).unwrap();
        let now = Timestamp(1_000_000);
        let life = granted(r#"{"access_token":"t","expires_in":"3599"}"#).life(now);
        assert_eq!(life, Some(Duration::from_secs(3599)));
        let life = granted(r#"{"access_token":"t","expires_on":"1060"}"#).life(now);
        assert_eq!(life, Some(Duration::from_secs(60)));
    }

    #[test]
    fn roles_are_read_from_a_token_that_is_a_jwt() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"roles":["User.Read.All"]}"#);
        let token = Secret::new(format!("e30.{payload}.sig"));
        assert_eq!(roles(&token), Some(vec!["User.Read.All".to_owned()]));
        assert_eq!(roles(&Secret::new("opaque".into())), None);
    }
}
