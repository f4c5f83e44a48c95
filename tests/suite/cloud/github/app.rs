//! A GitHub App as GitHub sees it: it checks the statements that the App
//! signs, and hands out tokens for one organization each.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use rosterd::clock::{self, Duration, Timestamp};
use rosterd::provider::http::jwt::SigningKey;
use serde_json::{Value, json};

use super::world::World;
use crate::harness::vendor::{Request, Response};

#[derive(Clone, Debug)]
pub struct AppAtGithub {
    pub id: u64,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    pub permissions: Value,
    /// Ids of installations by organization.
    pub installations: BTreeMap<String, u64>,
    /// How far GitHub's clock is ahead, in seconds.
    pub clock_ahead: i64,
    /// Of its tokens, in seconds.
    pub token_life: u64,
}

impl AppAtGithub {
    pub fn new(id: u64, key: &SigningKey) -> AppAtGithub {
        let public = key.public_jwk();
        let part = |name: &str| URL_SAFE_NO_PAD.decode(public[name].as_str().unwrap()).unwrap();
        AppAtGithub {
            id,
            modulus: part("n"),
            exponent: part("e"),
            permissions: json!({ "members": "read", "metadata": "read" }),
            installations: BTreeMap::new(),
            clock_ahead: 0,
            token_life: 3600,
        }
    }

    pub fn answer(&self, world: &mut World, path: &str, request: &Request) -> Response {
        if let Err(message) = self.verify(request) {
            return Response::error(401, json!({ "message": message }));
        }
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match segments.as_slice() {
            ["orgs", org, "installation"] => match self.installations.get(*org) {
                Some(id) => Response::json(json!({
                    "id": id, "app_id": self.id, "permissions": self.permissions, "suspended_at": null,
                })),
                None => Response::error(404, json!({ "message": "Not Found" })),
            },
            ["app", "installations", id, "access_tokens"] if request.method == "POST" => {
                let org = self.installations.iter().find(|(_, known)| known.to_string() == *id);
                let Some((org, _)) = org else {
                    return Response::error(404, json!({ "message": "Not Found" }));
                };
                let token = format!("ghs_{org}_{}", world.id());
                world.tokens.insert(token.clone());
                let end = clock::now().plus(Duration::from_secs(self.token_life));
                let permissions = self.permissions.clone();
                Response::error(
                    201,
                    json!({ "token": token, "expires_at": end.to_string(), "permissions": permissions }),
                )
            }
            _ => Response::error(404, json!({ "message": "Not Found" })),
        }
    }

    /// In GitHub's words.
    fn verify(&self, request: &Request) -> Result<(), String> {
        let undecodable = || "A JSON web token could not be decoded".to_owned();
        let token = request.bearer().ok_or_else(undecodable)?;
        let (message, signature) = token.rsplit_once('.').ok_or_else(undecodable)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| undecodable())?;
        let key = RsaPublicKeyComponents { n: &self.modulus, e: &self.exponent };
        key.verify(&RSA_PKCS1_2048_8192_SHA256, message.as_bytes(), &signature)
            .map_err(|_| undecodable())?;
        let (header, claims) = message.split_once('.').ok_or_else(undecodable)?;
        let part = |text: &str| -> Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
        };
        assert_eq!(part(header)["alg"], "RS256");
        let claims = part(claims);
        assert_eq!(claims["iss"].to_string().trim_matches('"'), self.id.to_string());
        let Timestamp(now) = clock::now();
        let now = i64::try_from(now / 1000).unwrap() + self.clock_ahead;
        let (issued, expires) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        if issued > now {
            return Err("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued".into());
        }
        if expires <= now || expires > now + 600 {
            return Err("'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires".into());
        }
        Ok(())
    }
}
