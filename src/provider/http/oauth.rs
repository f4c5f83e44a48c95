//! Access tokens for client credentials (RFC 6749, section 4.4).

use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Method, StatusCode};
use oauth2::basic::{BasicClient, BasicErrorResponse, BasicTokenResponse};
use oauth2::{
    AsyncHttpClient, AuthType, ClientId, ClientSecret, HttpRequest, HttpResponse,
    RequestTokenError, Scope, TokenResponse, TokenUrl,
};
use url::Url;

use super::call::{Answer, Call, place};
use super::credential::Token;
use super::transport::Transport;
use crate::printable::printable;
use crate::provider::PullError;
use crate::secret::Secret;

/// How requests to token endpoints are counted.
pub const ENDPOINT: &str = "POST token";
/// RFC 7523, section 2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const DESCRIPTION_LENGTH_MAX: usize = 500;

/// What proves that the client is who it says.
#[derive(Clone, Copy, Debug)]
pub enum ClientProof<'a> {
    Secret(&'a Secret),
    /// A signed token about the client (RFC 7523). Servers take each one once,
    /// so such a request is not sent again: the caller signs a new one.
    Assertion(&'a str),
}

/// What the server granted.
pub struct Granted {
    pub token: Token,
    /// `Bearer` or `DPoP`.
    pub token_type: String,
    /// Without its body, which held the token.
    pub answer: Answer,
}

/// Why there is no token. `Debug` shows no body.
pub enum OauthError {
    /// The server says no, with a code of RFC 6749 or an extension.
    Refused {
        error: String,
        description: Option<String>,
        answer: Box<Answer>,
    },
    Pull(PullError),
}

/// Asks for a token. `headers` go with the request (`DPoP`, say).
///
/// # Errors
/// See [`OauthError`].
pub fn client_credentials<'a>(
    transport: &Transport,
    token_url: &Url,
    client_id: &str,
    proof: ClientProof<'a>,
    scopes: &[&str],
    headers: &[(&'static str, String)],
) -> BoxFuture<'a, Result<Granted, OauthError>> {
    let client_id = ClientId::new(client_id.to_owned());
    let scopes: Vec<Scope> = scopes.iter().map(|scope| Scope::new((*scope).to_owned())).collect();
    let is_repeatable = matches!(proof, ClientProof::Secret(_)) && headers.is_empty();
    let sender = Sender {
        transport: transport.clone(),
        token_url: token_url.clone(),
        headers: headers.to_vec(),
        is_repeatable,
        kept: Mutex::new(None),
    };
    Box::pin(exchange(sender, client_id, proof, scopes))
}

async fn exchange(
    sender: Sender,
    client_id: ClientId,
    proof: ClientProof<'_>,
    scopes: Vec<Scope>,
) -> Result<Granted, OauthError> {
    let mut client = BasicClient::new(client_id)
        .set_token_uri(TokenUrl::from_url(sender.token_url.clone()))
        .set_auth_type(AuthType::RequestBody);
    if let ClientProof::Secret(secret) = proof {
        client = client.set_client_secret(ClientSecret::new(secret.expose().to_owned()));
    }
    let mut request = client.exchange_client_credentials().add_scopes(scopes);
    if let ClientProof::Assertion(assertion) = proof {
        request = request
            .add_extra_param("client_assertion_type", ASSERTION_TYPE)
            .add_extra_param("client_assertion", assertion);
    }
    let result = request.request_async(&sender).await;
    let answer = sender.kept.into_inner().unwrap_or_else(PoisonError::into_inner);
    conclude(result, answer, &sender.token_url)
}

/// What the `oauth2` crate sends its one request with. A type with a name: with
/// a closure in its place the compiler cannot see that the future is `Send`.
struct Sender {
    transport: Transport,
    token_url: Url,
    headers: Vec<(&'static str, String)>,
    is_repeatable: bool,
    kept: Mutex<Option<Answer>>,
}

impl<'c> AsyncHttpClient<'c> for Sender {
    type Error = PullError;
    type Future = BoxFuture<'c, Result<HttpResponse, PullError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let call = to_call(request, &self.token_url, &self.headers, self.is_repeatable);
            let answer = self.transport.send(call).await?;
            let response = to_response(&answer);
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
            Ok(response)
        })
    }
}

type Exchanged = Result<BasicTokenResponse, RequestTokenError<PullError, BasicErrorResponse>>;

fn conclude(
    result: Exchanged,
    answer: Option<Answer>,
    token_url: &Url,
) -> Result<Granted, OauthError> {
    let incomplete =
        |reason| OauthError::Pull(PullError::Incomplete { what: place(token_url), reason });
    let answer = match (answer, &result) {
        (Some(answer), _) => answer,
        (None, Err(RequestTokenError::Request(error))) => {
            return Err(OauthError::Pull(error.clone()));
        }
        (None, _) => return Err(incomplete("no request was sent".to_owned())),
    };
    match result {
        Ok(response) => granted(&response, answer).map_err(incomplete),
        Err(RequestTokenError::ServerResponse(refusal)) => Err(OauthError::Refused {
            error: printable(refusal.error().as_ref()).into_owned(),
            description: refusal.error_description().map(|text| short(text)),
            answer: Box::new(answer),
        }),
        Err(RequestTokenError::Request(error)) => Err(OauthError::Pull(error)),
        Err(RequestTokenError::Parse(..) | RequestTokenError::Other(_)) => {
            Err(OauthError::Pull(strange(&answer, token_url)))
        }
    }
}

fn granted(response: &BasicTokenResponse, mut answer: Answer) -> Result<Granted, String> {
    let token_type = match response.token_type().as_ref() {
        // The library compares in lower case (RFC 6749, section 5.1).
        "bearer" => "Bearer",
        "dpop" => "DPoP",
        other => return Err(format!("it grants a token of the type `{}`", printable(other))),
    };
    let value = response.access_token().secret();
    if value.is_empty() {
        return Err("it grants an empty token".to_owned());
    }
    let token = Token { value: Secret::new(value.clone()), expires_in: response.expires_in() };
    answer.body = Bytes::new();
    Ok(Granted { token, token_type: token_type.to_owned(), answer })
}

/// An answer that RFC 6749 does not know. Its body may hold a token, so it is
/// not shown.
fn strange(answer: &Answer, token_url: &Url) -> PullError {
    let (what, status) = (place(token_url), answer.status);
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => PullError::Unauthorized {
            what,
            reason: format!("the token endpoint answers {status} without an OAuth error"),
            permission: None,
        },
        _ => PullError::Incomplete {
            what,
            reason: format!(
                "the answer of the token endpoint ({status}, {} bytes) is neither a token nor an OAuth error",
                answer.body.len()
            ),
        },
    }
}

fn to_call(
    request: HttpRequest,
    url: &Url,
    headers: &[(&'static str, String)],
    is_repeatable: bool,
) -> Call {
    let (parts, body) = request.into_parts();
    let call = Call {
        method: Method::POST,
        headers: parts.headers,
        body: Some(Bytes::from(body)),
        is_safe: is_repeatable,
        ..Call::get(ENDPOINT, url.clone())
    };
    headers.iter().fold(call, |call, (name, value)| call.header(name, value))
}

fn to_response(answer: &Answer) -> HttpResponse {
    let mut response = HttpResponse::new(answer.body.to_vec());
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers.clone();
    response
}

/// The first line, since some servers add traces.
fn short(description: &str) -> String {
    let line = description.lines().next().unwrap_or_default();
    let cut: String = line.chars().take(DESCRIPTION_LENGTH_MAX).collect();
    printable(&cut).into_owned()
}

impl fmt::Debug for OauthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OauthError::Refused { error, description, answer } => f
                .debug_struct("Refused")
                .field("error", error)
                .field("description", description)
                .field("status", &answer.status)
                .finish_non_exhaustive(),
            OauthError::Pull(error) => f.debug_tuple("Pull").field(error).finish(),
        }
    }
}

/// For callers that do nothing about particular codes.
impl From<OauthError> for PullError {
    fn from(error: OauthError) -> PullError {
        let (error, description, answer) = match error {
            OauthError::Pull(error) => return error,
            OauthError::Refused { error, description, answer } => (error, description, answer),
        };
        let what = place(&answer.url);
        let reason = match description {
            Some(description) => format!("{error}: {description}"),
            None => error.clone(),
        };
        match error.as_str() {
            "temporarily_unavailable" | "server_error" => PullError::Unreachable { what, reason },
            "invalid_request" | "unsupported_grant_type" => PullError::Misconfigured {
                what,
                reason,
                hint: "compare the settings of the provider with those of its application".into(),
            },
            _ => PullError::Unauthorized { what, reason, permission: None },
        }
    }
}

#[cfg(test)]
mod tests;
