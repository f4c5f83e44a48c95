//! Sends one delivery and says what became of it.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use rustls::ClientConfig;
use url::Url;

use super::address::Resolver;
use super::config::WebhookConfig;
use super::format::Format;
use crate::clock::Timestamp;
use crate::printable;
use crate::retry;
use crate::tls::{self, Trust};

const USER_AGENT: &str = concat!("rosterd/", env!("CARGO_PKG_VERSION"));

/// More of an answer is not read: the connection is closed instead.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// The first bytes of an answer's body, for people to read.
const SHOWN_BYTES: usize = 512;

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Accepted,
    Failed {
        reason: String,
        retry_after: Option<Duration>,
    },
    /// The receiver wants no more.
    Unwanted {
        reason: String,
    },
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub outcome: Outcome,
    pub status: Option<u16>,
    /// How the body begins, made printable.
    pub answer: String,
}

impl Outcome {
    /// Why it was not accepted.
    pub(super) fn reason(&self) -> Option<&str> {
        match self {
            Outcome::Accepted => None,
            Outcome::Failed { reason, .. } | Outcome::Unwanted { reason } => Some(reason),
        }
    }
}

/// Sends to one endpoint, over few connections that it keeps.
#[derive(Clone, Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    url: Url,
    format: Format,
    headers: HeaderMap,
}

impl Client {
    /// # Errors
    /// In words, when TLS cannot be set up or the address is not allowed.
    pub(super) fn new(config: &WebhookConfig) -> Result<Client, String> {
        config.reach.check(&config.url)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(config)?)
            .dns_resolver(Arc::new(Resolver(config.reach)))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .timeout(config.timeout)
            .user_agent(USER_AGENT)
            .pool_max_idle_per_host(config.concurrency)
            .build()
            .map_err(|error| {
                format!("the HTTP client cannot be set up: {}", printable::request_failure(&error))
            })?;
        Ok(Client {
            http,
            url: config.url.clone(),
            format: config.format.clone(),
            headers: config.headers.clone(),
        })
    }

    /// Sends `body` as the event `id`, at `now`.
    pub(super) async fn send(&self, id: &str, body: Vec<u8>, now: Timestamp) -> Reply {
        let mut request = self
            .http
            .post(self.url.clone())
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, "application/json");
        for (name, value) in self.format.headers(id, now, &body) {
            request = request.header(name, value);
        }
        match request.body(body).send().await {
            Ok(mut response) => {
                let status = response.status();
                let outcome = outcome(status, response.headers(), now);
                let answer = drain(&mut response).await;
                Reply { outcome, status: Some(status.as_u16()), answer }
            }
            Err(error) => {
                let reason = printable::request_failure(&error);
                let outcome = Outcome::Failed { reason, retry_after: None };
                Reply { outcome, status: None, answer: String::new() }
            }
        }
    }
}

fn outcome(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Outcome {
    if status.is_success() {
        return Outcome::Accepted;
    }
    let slows = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    let asked = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    if status == StatusCode::GONE {
        return Outcome::Unwanted { reason: "it answers 410 Gone: it wants no more".to_owned() };
    }
    let reason = match status {
        status if status.is_redirection() => {
            format!("it answers {status}, and redirects are not followed")
        }
        status => format!("it answers {status}"),
    };
    let retry_after = asked.filter(|_| slows).and_then(|value| retry::retry_after(value, now));
    Outcome::Failed { reason, retry_after }
}

/// Reads a short answer to its end, so the connection can be used again; how it
/// begins. What goes wrong here does not matter: the status has been said.
async fn drain(response: &mut reqwest::Response) -> String {
    let mut bytes_left = ANSWER_BYTES_MAX;
    let mut shown = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let wanted = SHOWN_BYTES.saturating_sub(shown.len());
        shown.extend(chunk.iter().take(wanted));
        match bytes_left.checked_sub(chunk.len()) {
            Some(left) => bytes_left = left,
            None => break,
        }
    }
    printable::printable(&String::from_utf8_lossy(&shown)).into_owned()
}

fn tls(config: &WebhookConfig) -> Result<ClientConfig, String> {
    let trust = match &config.ca {
        Some(pem) => Trust::Only(pem),
        None if config.url.scheme() == "http" => Trust::Nobody,
        None => Trust::Platform,
    };
    tls::client_config(trust, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: Option<&str>) -> Outcome {
        let mut headers = HeaderMap::new();
        headers.extend(retry_after.map(|value| (RETRY_AFTER, value.parse().unwrap())));
        outcome(StatusCode::from_u16(status).unwrap(), &headers, Timestamp(0))
    }

    #[test]
    fn w3_any_2xx_is_success() {
        for status in 200..300 {
            assert_eq!(answer(status, None), Outcome::Accepted);
        }
        for status in [199, 301, 304, 400, 500] {
            assert!(matches!(answer(status, Some("9")), Outcome::Failed { retry_after: None, .. }));
        }
        assert!(matches!(answer(410, None), Outcome::Unwanted { .. }));
    }

    #[test]
    fn retry_after_counts_where_it_means_slow_down() {
        for status in [429, 502, 503, 504] {
            let Outcome::Failed { retry_after, .. } = answer(status, Some("9")) else { panic!() };
            assert_eq!(retry_after, Some(Duration::from_secs(9)));
        }
    }
}
