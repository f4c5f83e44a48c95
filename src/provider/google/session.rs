//! Access tokens by scope, behind the `GetToken` trait of google-apis-common.
//!
//! Asking for a scope that was not delegated makes Google refuse the whole
//! token, so the directory and the audit feed have tokens of their own.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use google_apis_common::GetToken;

use super::api::REPORTS_BUCKET;
use super::grant::Delegation;
use crate::digest::sha256_number;
use crate::provider::PullError;
use crate::provider::http::credential::sensitive;
use crate::provider::http::{Answer, Authorization, Call, Credential, Tokens};

pub const USERS_SCOPE: &str = "https://www.googleapis.com/auth/admin.directory.user.readonly";
pub const GROUPS_SCOPE: &str = "https://www.googleapis.com/auth/admin.directory.group.readonly";
pub const REPORTS_SCOPE: &str = "https://www.googleapis.com/auth/admin.reports.audit.readonly";

const DIRECTORY: &[&str] = &[USERS_SCOPE, GROUPS_SCOPE];
const REPORTS: &[&str] = &[REPORTS_SCOPE];

/// The tokens of one delegation. Clones share them.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    delegation: Delegation,
    tokens: Mutex<BTreeMap<String, Arc<Tokens<Delegation>>>>,
}

impl Session {
    /// Fetches nothing yet.
    pub fn new(delegation: Delegation) -> Session {
        Session(Arc::new(Inner { delegation, tokens: Mutex::default() }))
    }

    fn tokens(&self, scopes: &[&str]) -> Arc<Tokens<Delegation>> {
        let scopes = scopes.join(" ");
        let mut tokens = self.0.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(Tokens::new(self.0.delegation.with_scopes(&scopes)));
        Arc::clone(tokens.entry(scopes.clone()).or_insert_with(make))
    }
}

type Outcome = Result<Option<String>, Box<dyn std::error::Error + Send + Sync>>;

impl GetToken for Session {
    fn get_token<'a>(
        &'a self,
        scopes: &'a [&str],
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move {
            let (token, _) = self.tokens(scopes).current().await?;
            Ok(Some(token.expose().to_owned()))
        })
    }
}

/// Asks a [`GetToken`] for the scopes that a call needs.
#[async_trait]
impl Credential for Session {
    async fn authorize(&self, call: &Call) -> Result<Authorization, PullError> {
        let scopes = if call.bucket == REPORTS_BUCKET { REPORTS } else { DIRECTORY };
        let token = self.get_token(scopes).await.map_err(pull_error)?;
        let token = zeroize::Zeroizing::new(token.unwrap_or_default());
        let generation = fingerprint(&token);
        let value = sensitive(&zeroize::Zeroizing::new(format!("Bearer {}", *token)))?;
        Ok(Authorization { headers: vec![(http::header::AUTHORIZATION, value)], generation })
    }

    async fn refused(&self, used: &Authorization, _: &Answer) -> Result<bool, PullError> {
        for scopes in [DIRECTORY, REPORTS] {
            let known = self.0.tokens.lock().map(|tokens| tokens.contains_key(&scopes.join(" ")));
            if !known.unwrap_or(false) {
                continue;
            }
            let tokens = self.tokens(scopes);
            // What is wrong with a token that was not used is no matter here.
            let Ok((token, generation)) = tokens.current().await else { continue };
            if fingerprint(token.expose()) == used.generation {
                tokens.renew(generation).await?;
                return Ok(true);
            }
        }
        Ok(true)
    }
}

/// Tells a token from its successor; [`GetToken`] gives no number.
fn fingerprint(token: &str) -> u64 {
    sha256_number(token.as_bytes())
}

/// What went wrong, as it was before it went through [`GetToken`].
fn pull_error(error: Box<dyn std::error::Error + Send + Sync>) -> PullError {
    match error.downcast::<PullError>() {
        Ok(error) => *error,
        Err(error) => PullError::Unreachable {
            what: "the token endpoint".to_owned(),
            reason: error.to_string(),
        },
    }
}
