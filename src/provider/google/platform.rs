//! Without a key file: the platform says who we are, and IAM signs for us.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::api::joined;
use super::config::Platform;
use super::grant;
use crate::config::read_secret_file;
use crate::provider::http::call::place;
use crate::provider::http::config::Proxy;
use crate::provider::http::{Answer, Call, Grant, HttpConfig, Token, Tokens, Transport};
use crate::provider::{Patience, PullError};

const CLOUD_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// Has IAM sign assertions of one service account.
pub struct Platforms {
    iam: Transport,
    sign_url: Result<Url, PullError>,
    account: String,
    tokens: Tokens<PlatformToken>,
}

/// Fetches the token that IAM wants to see.
struct PlatformToken {
    transport: Transport,
    platform: Platform,
}

#[derive(Deserialize)]
struct Signed {
    #[serde(rename = "signedJwt")]
    signed_jwt: String,
}

impl Platforms {
    /// Connects to nothing yet.
    pub fn new(
        http: &HttpConfig,
        account: &str,
        iam: &Url,
        platform: &Platform,
        patience: Patience,
    ) -> Platforms {
        let transport = match platform {
            // It is a neighbour on the link, never behind a proxy.
            Platform::Metadata(url) => {
                let direct = HttpConfig { proxy: Proxy::Direct, ..http.clone() };
                Transport::new(&direct, url, patience)
            }
            Platform::Workload { sts, .. } => Transport::new(http, sts, patience),
        };
        let name = format!("{account}:signJwt");
        Platforms {
            iam: Transport::new(http, iam, patience),
            sign_url: joined(iam, &["v1", "projects", "-", "serviceAccounts", &name]),
            account: account.to_owned(),
            tokens: Tokens::new(PlatformToken { transport, platform: platform.clone() }),
        }
    }

    /// The signed assertion (IAM Credentials, `projects.serviceAccounts.signJwt`).
    pub async fn sign(&self, claims: &Map<String, Value>) -> Result<String, PullError> {
        let (mut answer, generation) = self.ask(claims).await?;
        if answer.status == http::StatusCode::UNAUTHORIZED {
            self.tokens.renew(generation).await?;
            (answer, _) = self.ask(claims).await?;
        }
        if !answer.status.is_success() {
            return Err(self.refusal(&answer));
        }
        let signed: Signed =
            serde_json::from_slice(&answer.body).map_err(|_| PullError::Incomplete {
                what: place(&answer.url),
                reason: "the answer holds no signed token".to_owned(),
            })?;
        Ok(signed.signed_jwt)
    }

    async fn ask(&self, claims: &Map<String, Value>) -> Result<(Answer, u64), PullError> {
        let (token, generation) = self.tokens.current().await?;
        let body = json!({ "payload": Value::Object(claims.clone()).to_string() });
        let call = Call::post_json("POST …:signJwt", self.sign_url.clone()?, &body)
            .header("authorization", &format!("Bearer {}", token.expose()))
            .read_only();
        Ok((self.iam.send(call).await?, generation))
    }

    fn refusal(&self, answer: &Answer) -> PullError {
        PullError::Unauthorized {
            what: place(&answer.url),
            reason: format!("it answers {}: {}", answer.status, answer.excerpt()),
            permission: Some(format!(
                "iam.serviceAccounts.signJwt on {}: enable the IAM Service Account Credentials API \
                 and grant the role Service Account Token Creator \
                 (roles/iam.serviceAccountTokenCreator) to the identity that rosterd runs as",
                self.account
            )),
        }
    }
}

#[async_trait]
impl Grant for PlatformToken {
    async fn grant(&self) -> Result<Token, PullError> {
        let call = match &self.platform {
            Platform::Metadata(url) => metadata_call(url)?,
            Platform::Workload { .. } => self.exchange_call().await?,
        };
        let answer = self.transport.send(call).await?;
        if !answer.status.is_success() {
            return Err(self.refusal(&answer));
        }
        grant::token(&answer)
    }
}

impl PlatformToken {
    /// RFC 8693. The file is read each time: its token is short-lived.
    async fn exchange_call(&self) -> Result<Call, PullError> {
        let Platform::Workload { workload, sts, token_file } = &self.platform else {
            return Err(self.unusable("there is nothing to exchange".to_owned()));
        };
        let content = read_secret_file(token_file).map_err(|reason| self.unusable(reason))?;
        let token = workload.subject_token(&content).map_err(|reason| self.unusable(reason))?;
        let form = [
            ("grant_type", TOKEN_EXCHANGE),
            ("audience", workload.audience.as_str()),
            ("scope", CLOUD_SCOPE),
            ("requested_token_type", ACCESS_TOKEN),
            ("subject_token_type", workload.subject_token_type.as_str()),
            ("subject_token", token.expose()),
        ];
        Ok(Call::post_form("POST sts /token", sts.clone(), &form).read_only())
    }

    fn refusal(&self, answer: &Answer) -> PullError {
        let permission = match &self.platform {
            Platform::Metadata(_) => "a service account attached to this machine",
            Platform::Workload { .. } => "a workload identity pool that accepts the subject token",
        };
        PullError::Unauthorized {
            what: place(&answer.url),
            reason: format!("it answers {}: {}", answer.status, answer.excerpt()),
            permission: Some(permission.to_owned()),
        }
    }

    fn unusable(&self, reason: String) -> PullError {
        PullError::Misconfigured {
            what: "the workload identity".to_owned(),
            reason,
            hint:
                "`credential_source.file` of `credential_configuration`, or `subject_token_file`, \
                   must name the file that the platform keeps fresh"
                    .to_owned(),
        }
    }
}

fn metadata_call(url: &Url) -> Result<Call, PullError> {
    let path = ["computeMetadata", "v1", "instance", "service-accounts", "default", "token"];
    let url = joined(url, &path)?;
    Ok(Call::get("GET metadata token", url).header("metadata-flavor", "Google"))
}
