//! Who may ask an org: API tokens, and service apps with `private_key_jwt`,
//! with or without proofs of possession (RFC 9449), all of it verified.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use rosterd::clock;
use serde_json::{Value, json};

use super::stub::error;
use crate::harness::vendor::{Request, Response};

/// What an org accepts.
pub enum Access {
    Token(String),
    App(Box<App>),
}

/// A service app.
pub struct App {
    pub client_id: String,
    pub key: Key,
    pub key_id: Option<String>,
    pub scopes: Vec<&'static str>,
    pub requires_dpop: bool,
    /// Wanted in proofs at the token endpoint, and at the API.
    pub token_nonce: Option<String>,
    pub api_nonce: Option<String>,
    pub lifetime_seconds: u64,
    /// Tokens in use, each with the key that it is bound to, and its scopes.
    tokens: Vec<Granted>,
    /// Assertions and proofs are good for once.
    used: std::collections::BTreeSet<String>,
    pub granted: usize,
}

/// A public key.
pub enum Key {
    /// P-256, an uncompressed point.
    Ec(Vec<u8>),
    /// Modulus and exponent.
    Rsa(Vec<u8>, Vec<u8>),
}

struct Granted {
    value: String,
    key: Option<Value>,
    scopes: Vec<String>,
}

impl App {
    pub fn new(client_id: &str, key: Key) -> App {
        App {
            client_id: client_id.to_owned(),
            key,
            key_id: None,
            scopes: vec!["okta.users.read", "okta.groups.read", "okta.logs.read"],
            requires_dpop: false,
            token_nonce: None,
            api_nonce: None,
            lifetime_seconds: 3600,
            tokens: Vec::new(),
            used: std::collections::BTreeSet::new(),
            granted: 0,
        }
    }

    /// No token is good any more.
    pub fn revoke(&mut self) {
        self.tokens.clear();
    }

    fn token(&mut self, request: &Request) -> Result<Response, Response> {
        let form = |name| request.form_value(name).unwrap_or_default();
        if form("grant_type") != "client_credentials"
            || form("client_assertion_type")
                != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        {
            return Err(refusal("unsupported_grant_type", "Of another kind."));
        }
        let url = format!("{}{}", request.base, request.path);
        self.assertion(&form("client_assertion"), &url)?;
        let key = self.proof(request, &url, self.token_nonce.clone(), None)?;
        if self.requires_dpop && key.is_none() {
            let text = "The DPoP proof JWT header is missing.";
            return Err(refusal("invalid_dpop_proof", text));
        }
        let scopes: Vec<String> = form("scope").split(' ').map(str::to_owned).collect();
        if scopes.iter().any(|scope| !self.scopes.contains(&scope.as_str())) {
            let text = "One or more scopes are not configured for the application.";
            return Err(refusal("invalid_scope", text));
        }
        self.granted += 1;
        let value = format!("token-{}", self.granted);
        let kind = if key.is_some() { "DPoP" } else { "Bearer" };
        let answer = json!({
            "token_type": kind, "expires_in": self.lifetime_seconds, "access_token": value,
            "scope": scopes.join(" "),
        });
        self.tokens.push(Granted { value, key, scopes });
        let response = Response::json(answer);
        Ok(match &self.token_nonce {
            Some(nonce) => response.header("dpop-nonce", nonce.clone()),
            None => response,
        })
    }

    fn assertion(&mut self, assertion: &str, url: &str) -> Result<(), Response> {
        let wrong = |text: &str| refusal("invalid_client", text);
        let (header, claims) = verified(assertion, &self.key).map_err(|text| wrong(&text))?;
        let now = clock::now().0 / 1000;
        let number = |name: &str| claims[name].as_u64().unwrap_or(0);
        if claims["iss"] != *self.client_id || claims["sub"] != *self.client_id {
            return Err(wrong("`iss` and `sub` are the client's id."));
        }
        if claims["aud"] != *url {
            return Err(wrong("The `aud` claim is not this endpoint."));
        }
        if number("exp") <= now || number("exp") > now + 3600 || number("iat") > now + 60 {
            return Err(wrong("The assertion is expired, or good for too long."));
        }
        if self.key_id.is_some()
            && header.get("kid").and_then(Value::as_str) != self.key_id.as_deref()
        {
            return Err(wrong("No key of that `kid`."));
        }
        if !self.used.insert(claims["jti"].to_string()) {
            return Err(wrong("The assertion was used before."));
        }
        Ok(())
    }

    /// The key of a good proof; `None` when there is no proof.
    fn proof(
        &mut self,
        request: &Request,
        url: &str,
        nonce: Option<String>,
        token: Option<&str>,
    ) -> Result<Option<Value>, Response> {
        let Some(proof) = request.header("dpop") else { return Ok(None) };
        let wrong = |text: &str| refusal("invalid_dpop_proof", text);
        let header = part(proof, 0).ok_or_else(|| wrong("No header."))?;
        let jwk = header.get("jwk").cloned().unwrap_or_default();
        let key = Key::of(&jwk).ok_or_else(|| wrong("No key."))?;
        let (header, claims) = verified(proof, &key).map_err(|text| wrong(&text))?;
        if header["typ"] != "dpop+jwt" || claims["htm"] != *request.method || claims["htu"] != *url
        {
            return Err(wrong("It is for another request."));
        }
        if claims["iat"].as_u64().unwrap_or(0).abs_diff(clock::now().0 / 1000) > 60 {
            return Err(wrong("It is too old."));
        }
        if token.is_some_and(|token| claims["ath"] != *digest(token)) {
            return Err(wrong("It is for another token."));
        }
        if !self.used.insert(claims["jti"].to_string()) {
            return Err(wrong("It was used before."));
        }
        match nonce {
            Some(nonce) if claims["nonce"] != *nonce => {
                let text = "Authorization server requires nonce in DPoP proof.";
                Err(refusal("use_dpop_nonce", text).header("dpop-nonce", nonce))
            }
            _ => Ok(Some(jwk)),
        }
    }

    /// Why a request to the API is refused.
    fn refuses(&mut self, request: &Request) -> Option<Response> {
        let authorization = request.header("authorization").unwrap_or_default().to_owned();
        let (scheme, value) = authorization.split_once(' ').unwrap_or_default();
        let Some(at) = self.tokens.iter().position(|token| token.value == value) else {
            return Some(invalid_token());
        };
        let (bound, scopes) = (self.tokens[at].key.clone(), self.tokens[at].scopes.clone());
        if scheme != if bound.is_some() { "DPoP" } else { "Bearer" } {
            return Some(invalid_token());
        }
        if bound.is_some() {
            let url = format!("{}{}", request.base, request.path);
            match self.proof(request, &url, self.api_nonce.clone(), Some(value)) {
                Ok(key) if key == bound => {}
                Ok(_) => return Some(invalid_token()),
                Err(refusal) => {
                    let error = refusal.headers.iter().any(|(name, _)| name == "dpop-nonce");
                    let error = if error { "use_dpop_nonce" } else { "invalid_dpop_proof" };
                    let challenge = format!("DPoP error=\"{error}\"");
                    let refusal = Response { status: 401, ..refusal };
                    return Some(refusal.header("www-authenticate", challenge));
                }
            }
        }
        let wanted = match request.segments().as_slice() {
            [_, _, "users", ..] => "okta.users.read",
            [_, _, "logs"] => "okta.logs.read",
            _ => "okta.groups.read",
        };
        if scopes.iter().any(|scope| scope == wanted) {
            return None;
        }
        let challenge = "Bearer error=\"insufficient_scope\", error_description=\"The access token \
                         provided does not contain the required scopes.\"";
        let text = "You do not have permission to perform the requested action";
        Some(error(403, "E0000006", text).header("www-authenticate", challenge))
    }
}

impl Access {
    /// Answers at the token endpoint.
    pub fn token(&mut self, request: &Request) -> Response {
        match self {
            Access::Token(_) => refusal("invalid_client", "There is no app."),
            Access::App(app) => app.token(request).unwrap_or_else(|refusal| refusal),
        }
    }

    pub fn refuses(&mut self, request: &Request) -> Option<Response> {
        match self {
            Access::Token(token) => {
                let good = request.header("authorization") == Some(&format!("SSWS {token}"));
                (!good).then(invalid_token)
            }
            Access::App(app) => app.refuses(request),
        }
    }
}

fn invalid_token() -> Response {
    error(401, "E0000011", "Invalid token provided")
}

fn refusal(code: &str, text: &str) -> Response {
    Response::error(400, json!({"error": code, "error_description": text}))
}

/// Header and claims of a token signed with ES256 or RS256.
fn verified(token: &str, key: &Key) -> Result<(Value, Value), String> {
    let (signed, signature) = token.rsplit_once('.').ok_or("Not three parts.")?;
    let header = part(token, 0).ok_or("No header.")?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|e| e.to_string())?;
    let verified = match (key, header["alg"].as_str()) {
        (Key::Ec(point), Some("ES256")) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(signed.as_bytes(), &signature),
        (Key::Rsa(n, e), Some("RS256")) => RsaPublicKeyComponents { n, e }.verify(
            &RSA_PKCS1_2048_8192_SHA256,
            signed.as_bytes(),
            &signature,
        ),
        _ => return Err("Another algorithm.".to_owned()),
    };
    verified.map_err(|_| "The signature is wrong.".to_owned())?;
    Ok((header, part(token, 1).ok_or("No claims.")?))
}

fn part(token: &str, at: usize) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(at)?).ok()?;
    serde_json::from_slice(&bytes).ok()
}

impl Key {
    /// A JSON Web Key without its private half.
    fn of(jwk: &Value) -> Option<Key> {
        let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str()?).ok();
        match (jwk["kty"].as_str()?, jwk.get("d")) {
            ("EC", None) => Some(Key::Ec([vec![4], part("x")?, part("y")?].concat())),
            ("RSA", None) => Some(Key::Rsa(part("n")?, part("e")?)),
            _ => None,
        }
    }

    /// The public half of a private RSA key in PEM.
    pub fn rsa(pem: &str) -> Key {
        let key = rosterd::provider::http::jwt::SigningKey::from_pem(pem).expect("a key");
        Key::of(&key.public_jwk()).expect("an RSA key")
    }
}

fn digest(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, token.as_bytes()))
}
