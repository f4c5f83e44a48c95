//! OAuth service apps: tokens for a signed assertion (`private_key_jwt`), and
//! proofs of possession where the app requires them (RFC 9449).
//!
//! Source: Okta, "Implement OAuth for Okta with a service app" and "Configure
//! OAuth 2.0 Demonstrating Proof-of-Possession". An app that requires DPoP
//! answers `invalid_dpop_proof` to a request without one; the token endpoint
//! then asks for a nonce.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderName;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use serde_json::{Map, Value, json};
use tracing::warn;
use url::Url;

use super::config::{App, Dpop, LOGS_SCOPE};
use super::vendor::NAME;
use crate::clock::{self, Duration};
use crate::provider::PullError;
use crate::provider::http::credential::sensitive;
use crate::provider::http::jwt::{SigningKey, token_id};
use crate::provider::http::oauth::{ClientProof, OauthError, client_credentials};
use crate::provider::http::{
    Answer, Authorization, Call, Credential, Grant, Token, Tokens, Transport,
};
use crate::retry::Growing;

/// Okta takes up to an hour.
const ASSERTION_SECONDS: u64 = 300;
/// A proof, a nonce and one scope less may be asked for, one after the other.
const REFUSALS_MAX: u32 = 4;
const ATTEMPTS_MAX: u32 = 4;
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// A service app, as what requests carry.
pub struct ServiceApp {
    asker: Arc<Asker>,
    tokens: Tokens<Arc<Asker>>,
}

/// The scopes that the newest token was asked for with.
#[derive(Clone)]
pub struct GrantedScopes(Arc<Asker>);

/// Asks for tokens.
struct Asker {
    transport: Transport,
    token_url: Url,
    app: App,
    key: SigningKey,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The key of proofs, once they are needed.
    prover: Option<Arc<SigningKey>>,
    /// The token is bound to that key.
    is_bound: bool,
    /// What the token endpoint, and the API, want in the next proof.
    token_nonce: Option<String>,
    api_nonce: Option<String>,
    /// The System Log is not granted.
    without_log: bool,
    granted: bool,
}

impl ServiceApp {
    /// # Errors
    /// [`PullError::Misconfigured`] when the key cannot be used.
    pub fn new(transport: Transport, base: &Url, app: &App) -> Result<ServiceApp, PullError> {
        let key = SigningKey::from_pem(app.private_key.expose()).map_err(broken_key)?;
        let mut token_url = base.clone();
        token_url.set_path("/oauth2/v1/token");
        let prover = match app.dpop {
            Dpop::Always => Some(Arc::new(SigningKey::generate_es256().map_err(broken_key)?)),
            Dpop::Auto | Dpop::Never => None,
        };
        let state = Mutex::new(State { prover, ..State::default() });
        let asker = Arc::new(Asker { transport, token_url, app: app.clone(), key, state });
        Ok(ServiceApp { tokens: Tokens::new(Arc::clone(&asker)), asker })
    }

    pub fn scopes(&self) -> GrantedScopes {
        GrantedScopes(Arc::clone(&self.asker))
    }
}

impl GrantedScopes {
    /// `None` before the first token.
    pub fn get(&self) -> Option<Vec<String>> {
        let granted = self.0.state().granted;
        granted.then(|| self.0.scopes().into_iter().map(str::to_owned).collect())
    }
}

#[async_trait]
impl Credential for ServiceApp {
    async fn authorize(&self, call: &Call) -> Result<Authorization, PullError> {
        let (token, generation) = self.tokens.current().await?;
        let (prover, nonce) = {
            let state = self.asker.state();
            (state.prover.clone().filter(|_| state.is_bound), state.api_nonce.clone())
        };
        let scheme = if prover.is_some() { "DPoP" } else { "Bearer" };
        let mut headers =
            vec![(AUTHORIZATION, sensitive(&format!("{scheme} {}", token.expose()))?)];
        if let Some(prover) = prover {
            let method = call.method.as_str();
            let proof = proof(&prover, method, &call.url, nonce.as_deref(), Some(token.expose()))?;
            headers.push((HeaderName::from_static("dpop"), sensitive(&proof)?));
        }
        Ok(Authorization { headers, generation })
    }

    async fn refused(&self, used: &Authorization, answer: &Answer) -> Result<bool, PullError> {
        if wants_nonce(answer) {
            let nonce = answer.header("dpop-nonce").map(str::to_owned);
            let given = nonce.is_some();
            self.asker.state().api_nonce = nonce;
            return Ok(given);
        }
        self.tokens.renew(used.generation).await?;
        Ok(true)
    }
}

#[async_trait]
impl Grant for Arc<Asker> {
    async fn grant(&self) -> Result<Token, PullError> {
        // The scope may have been granted since the last token.
        self.state().without_log = false;
        let mut delays = Growing::new(RETRY_FIRST, RETRY_MAX);
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.ask().await {
                Err(PullError::Unreachable { .. }) if attempts < ATTEMPTS_MAX => {
                    tokio::time::sleep(delays.next(fastrand::f64())).await;
                }
                outcome => return outcome,
            }
        }
    }
}

impl Asker {
    async fn ask(&self) -> Result<Token, PullError> {
        let mut refusals = 0;
        loop {
            let assertion = self.assertion()?;
            let headers: Vec<(&'static str, String)> =
                self.proof()?.map(|proof| ("dpop", proof)).into_iter().collect();
            let outcome = client_credentials(
                &self.transport,
                &self.token_url,
                &self.app.client_id,
                ClientProof::Assertion(&assertion),
                &self.scopes(),
                &headers,
            );
            match outcome.await {
                Ok(granted) => {
                    let mut state = self.state();
                    state.is_bound = granted.token_type.eq_ignore_ascii_case("DPoP");
                    state.granted = true;
                    keep_nonce(&mut state, &granted.answer);
                    return Ok(granted.token);
                }
                Err(OauthError::Pull(error)) => return Err(error),
                Err(OauthError::Refused { error, description, answer }) => {
                    refusals += 1;
                    if refusals > REFUSALS_MAX || !self.cure(&error, &answer)? {
                        return Err(self.refusal(&error, description.as_deref()));
                    }
                }
            }
        }
    }

    /// Whether another attempt can do better.
    fn cure(&self, error: &str, answer: &Answer) -> Result<bool, PullError> {
        let mut state = self.state();
        match error {
            "invalid_dpop_proof" if self.app.dpop == Dpop::Auto && state.prover.is_none() => {
                let key = SigningKey::generate_es256().map_err(broken_key)?;
                state.prover = Some(Arc::new(key));
                keep_nonce(&mut state, answer);
                Ok(true)
            }
            "use_dpop_nonce" => {
                let before = state.token_nonce.take();
                keep_nonce(&mut state, answer);
                Ok(state.token_nonce.is_some() && state.token_nonce != before)
            }
            "invalid_scope"
                if !state.without_log && self.app.scopes.iter().any(|s| s == LOGS_SCOPE) =>
            {
                warn!(scope = LOGS_SCOPE, "asking for a token without the scope of the System Log");
                state.without_log = true;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn refusal(&self, error: &str, description: Option<&str>) -> PullError {
        let description = description.unwrap_or("no more is said");
        let cure = match error {
            "invalid_client" => {
                "register the public key under Applications > (the app) > General > Client \
                 Credentials, as client authentication \"Public key / Private key\", and set \
                 `key_id` to its KID"
            }
            "invalid_scope" | "access_denied" | "consent_required" => {
                "grant the scopes under Applications > (the app) > Okta API Scopes"
            }
            "invalid_dpop_proof" => "the app requires DPoP: do not set `dpop = false`",
            _ => "look at the app under Applications in the Admin Console",
        };
        let permission = (error == "invalid_scope").then(|| self.scopes().join(" "));
        let reason = format!("the token endpoint says {error}: {description}; {cure}");
        PullError::Unauthorized { what: NAME.to_owned(), reason, permission }
    }

    fn assertion(&self) -> Result<String, PullError> {
        let now = clock::now().0 / 1000;
        let mut header = Map::new();
        if let Some(key_id) = &self.app.key_id {
            header.insert("kid".to_owned(), json!(key_id));
        }
        let claims = object(json!({
            "iss": self.app.client_id,
            "sub": self.app.client_id,
            "aud": self.token_url.as_str(),
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
            "jti": token_id().map_err(broken_key)?,
        }));
        self.key.sign(self.key.natural(), &header, &claims).map_err(broken_key)
    }

    fn proof(&self) -> Result<Option<String>, PullError> {
        let (prover, nonce) = {
            let state = self.state();
            (state.prover.clone(), state.token_nonce.clone())
        };
        let proof = |prover: Arc<SigningKey>| {
            proof(&prover, "POST", &self.token_url, nonce.as_deref(), None)
        };
        prover.map(proof).transpose()
    }

    fn scopes(&self) -> Vec<&str> {
        let without_log = self.state().without_log;
        let scopes = self.app.scopes.iter().map(String::as_str);
        scopes.filter(|scope| !(without_log && *scope == LOGS_SCOPE)).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A proof for one request (RFC 9449, section 4.2).
fn proof(
    key: &SigningKey,
    method: &str,
    url: &Url,
    nonce: Option<&str>,
    token: Option<&str>,
) -> Result<String, PullError> {
    let mut target = url.clone();
    target.set_query(None);
    target.set_fragment(None);
    let header = object(json!({ "typ": "dpop+jwt", "jwk": key.public_jwk() }));
    let mut claims = object(json!({
        "jti": token_id().map_err(broken_key)?,
        "htm": method,
        "htu": target.as_str(),
        "iat": clock::now().0 / 1000,
    }));
    if let Some(nonce) = nonce {
        claims.insert("nonce".to_owned(), json!(nonce));
    }
    if let Some(token) = token {
        let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
        claims.insert("ath".to_owned(), json!(URL_SAFE_NO_PAD.encode(digest)));
    }
    key.sign(key.natural(), &header, &claims).map_err(broken_key)
}

/// `WWW-Authenticate: DPoP error="use_dpop_nonce"` (RFC 9449, section 9).
fn wants_nonce(answer: &Answer) -> bool {
    let mut challenges = answer.headers.get_all(WWW_AUTHENTICATE).iter();
    challenges.any(|line| line.to_str().is_ok_and(|line| line.contains("use_dpop_nonce")))
}

fn keep_nonce(state: &mut State, answer: &Answer) {
    if let Some(nonce) = answer.header("dpop-nonce") {
        state.token_nonce = Some(nonce.to_owned());
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn broken_key(reason: String) -> PullError {
    PullError::Misconfigured {
        what: "the key of the service app".to_owned(),
        reason,
        hint: "`private_key` must name a PEM file with an RSA or EC private key".to_owned(),
    }
}
