//! Google's token endpoint, IAM, the metadata server and the token exchange.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rsa::KeyPair;
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use rosterd::clock;
use rosterd::provider::http::jwt::{Algorithm, SigningKey};
use serde_json::{Value, json};

use super::server::{GROUPS, REPORTS, USERS, error};
use crate::harness::vendor::{Request, Response};

pub const KEY: &str = include_str!("key.pem");
pub const ACCOUNT: &str = "rosterd@project.iam.gserviceaccount.com";
pub const ADMIN: &str = "admin@example.org";
const KEY_ID: &str = "kid1";
const CLIENT_ID: &str = "110000000000000000042";

/// Who may have which token.
pub struct Tokens {
    /// What the Admin console delegated.
    pub delegated: BTreeSet<&'static str>,
    /// Whose rights the account may use.
    pub admin: String,
    granted: BTreeMap<String, String>,
    serial: u64,
    /// Requests after which a token is refused.
    pub life: Option<u64>,
    used: BTreeMap<String, u64>,
}

impl Default for Tokens {
    fn default() -> Tokens {
        Tokens {
            delegated: BTreeSet::from([USERS, GROUPS, REPORTS]),
            admin: ADMIN.to_owned(),
            granted: BTreeMap::new(),
            serial: 0,
            life: None,
            used: BTreeMap::new(),
        }
    }
}

/// The key file of the service account.
pub fn key_file() -> String {
    json!({
        "type": "service_account",
        "client_email": ACCOUNT,
        "client_id": CLIENT_ID,
        "private_key_id": KEY_ID,
        "private_key": KEY,
        "token_uri": "https://oauth2.googleapis.com/token",
    })
    .to_string()
}

impl Tokens {
    /// RFC 7523, with all that google-auth sends.
    pub fn grant(&mut self, request: &Request) -> Response {
        let grant = request.form_value("grant_type");
        if grant.as_deref() != Some("urn:ietf:params:oauth:grant-type:jwt-bearer") {
            return refusal("unsupported_grant_type", "Invalid grant_type");
        }
        let assertion = request.form_value("assertion").unwrap_or_default();
        let claims = match verified(&assertion) {
            Ok(claims) => claims,
            Err(reason) => return refusal("invalid_grant", &format!("Invalid JWT: {reason}")),
        };
        if claims["sub"] != self.admin.as_str() {
            return refusal("invalid_grant", "Invalid email or User ID");
        }
        let scopes = claims["scope"].as_str().unwrap_or_default();
        if scopes.is_empty() || !scopes.split(' ').all(|scope| self.delegated.contains(scope)) {
            let text = "Client is unauthorized to retrieve access tokens using this method, or \
                        client not authorized for any of the scopes requested.";
            return refusal("unauthorized_client", text);
        }
        self.serial += 1;
        let token = format!("ya29.{}.{}", self.admin, self.serial);
        self.granted.insert(token.clone(), scopes.to_owned());
        let body = json!({ "access_token": token, "expires_in": 3599, "token_type": "Bearer" });
        Response::json(body)
    }

    /// A refusal, unless the token is good for that scope.
    pub fn check(&mut self, request: &Request, scope: &str) -> Option<Response> {
        let token = request.bearer().unwrap_or_default();
        let Some(scopes) = self.granted.get(token) else {
            return Some(error(401, "authError", "Invalid Credentials"));
        };
        let used = self.used.entry(token.to_owned()).or_default();
        *used += 1;
        if self.life.is_some_and(|life| *used > life) {
            return Some(error(401, "authError", "Invalid Credentials"));
        }
        let is_enough = scopes.split(' ').any(|granted| granted == scope);
        (!is_enough).then(|| error(403, "insufficientPermissions", "Insufficient Permission"))
    }

    /// IAM Credentials, `projects.serviceAccounts.signJwt`.
    pub fn sign_jwt(&mut self, request: &Request, account: &str) -> Response {
        if account != format!("{ACCOUNT}:signJwt") {
            return error(404, "notFound", "Not found; Gaia id not found");
        }
        if !matches!(request.bearer(), Some("platform" | "federated")) {
            return error(401, "authError", "Invalid Credentials");
        }
        let body = request.json();
        let claims: Value = serde_json::from_str(body["payload"].as_str().expect("a payload"))
            .expect("the payload is JSON as text");
        let key = SigningKey::from_pem(KEY).expect("a key");
        let header = json!({ "kid": KEY_ID });
        let signed = key.sign(
            Algorithm::Rs256,
            header.as_object().expect("an object"),
            claims.as_object().expect("claims"),
        );
        Response::json(json!({ "keyId": KEY_ID, "signedJwt": signed.expect("it signs") }))
    }

    pub fn metadata(&mut self, request: &Request) -> Response {
        if request.header("metadata-flavor") != Some("Google") {
            return Response::new(403);
        }
        let body =
            json!({ "access_token": "platform", "expires_in": 3599, "token_type": "Bearer" });
        Response::json(body).header("metadata-flavor", "Google")
    }

    /// RFC 8693 at the Security Token Service.
    pub fn exchange(&mut self, request: &Request) -> Response {
        let expected = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", "//iam.googleapis.com/pool"),
            ("scope", "https://www.googleapis.com/auth/cloud-platform"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ("subject_token", "token of the platform"),
        ];
        for (name, value) in expected {
            if request.form_value(name).as_deref() != Some(value) {
                return refusal("invalid_request", name);
            }
        }
        let body = json!({ "access_token": "federated", "expires_in": 3599, "token_type": "Bearer",
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token" });
        Response::json(body)
    }
}

/// The claims of a good assertion.
fn verified(assertion: &str) -> Result<Value, String> {
    let parts: Vec<&str> = assertion.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else { return Err("parts".into()) };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|error| error.to_string());
    let json = |part: &str| -> Result<Value, String> {
        serde_json::from_slice(&decode(part)?).map_err(|error| error.to_string())
    };
    let (head, claims_json) = (json(header)?, json(claims)?);
    if (&head["alg"], &head["typ"], &head["kid"])
        != (&json!("RS256"), &json!("JWT"), &json!(KEY_ID))
    {
        return Err("header".into());
    }
    let der = <rustls::pki_types::PrivatePkcs8KeyDer as rustls::pki_types::pem::PemObject>::from_pem_slice(KEY.as_bytes())
        .expect("a key");
    let pair = KeyPair::from_pkcs8(der.secret_pkcs8_der()).expect("a key");
    let message = format!("{header}.{claims}");
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref())
        .verify(message.as_bytes(), &decode(signature)?)
        .map_err(|_| "signature".to_owned())?;
    let number = |name: &str| claims_json[name].as_u64().ok_or_else(|| name.to_owned());
    let (issued, expires, now) = (number("iat")?, number("exp")?, clock::now().0 / 1000);
    if issued > now + 10 || expires <= now || expires > issued + 3600 {
        return Err("times".into());
    }
    if claims_json["iss"] != ACCOUNT || claims_json["aud"] != "https://oauth2.googleapis.com/token"
    {
        return Err("iss or aud".into());
    }
    Ok(claims_json)
}

fn refusal(error: &str, description: &str) -> Response {
    let status = if error == "unauthorized_client" { 401 } else { 400 };
    Response::error(status, json!({ "error": error, "error_description": description }))
}
