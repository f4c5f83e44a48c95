//! Sends requests to one origin and reads bounded answers.
//!
//! The origin (scheme, host and port) is the configured one, whatever links
//! and redirects say: the credential goes with every request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use http::header::LOCATION;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use tracing::debug;
use url::{Origin, Url};

use super::call::{Answer, Call, place};
use super::config::{HttpConfig, Proxy};
use super::vendor;
use crate::clock::{self, Duration, Timestamp};
use crate::printable;
use crate::provider::{Patience, PullError, pulse};
use crate::retry::Growing;
use crate::tls::{self, Trust};

const USER_AGENT: &str = concat!("rosterd/", env!("CARGO_PKG_VERSION"));

/// Of a decompressed answer. The largest real pages have a few megabytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;
const REDIRECTS_MAX: usize = 5;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts of one request while there is trouble.
const ATTEMPTS_MAX: u32 = 5;
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// The way to one origin. Clones share connections and counts.
#[derive(Clone)]
pub struct Transport(Arc<Inner>, Resumes);

/// When a throttled request may be sent again, as the answer says.
type Resumes = fn(&Answer) -> Option<Timestamp>;

struct Inner {
    /// Or why it cannot be set up.
    http: Result<reqwest::Client, PullError>,
    base: Url,
    patience: Patience,
    /// Requests sent, by endpoint.
    sent: Mutex<BTreeMap<&'static str, u64>>,
}

/// Why an exchange gave no answer.
pub(super) enum Failure {
    /// The network, or the server: another attempt may do.
    Passing(String),
    Final(PullError),
}

impl Transport {
    /// Pinned to the origin of `base`. What cannot be set up is told by every
    /// request.
    pub fn new(config: &HttpConfig, base: &Url, patience: Patience) -> Transport {
        let http = build(config, base, patience).map_err(|reason| PullError::Misconfigured {
            what: place(base),
            reason,
            hint: "correct the settings of the provider".to_owned(),
        });
        let sent = Mutex::default();
        let inner = Inner { http, base: base.clone(), patience, sent };
        Transport(Arc::new(inner), vendor::retry_after)
    }

    /// For vendors that have other words for it than `Retry-After`.
    pub fn resuming(self, resumes: Resumes) -> Transport {
        Transport(self.0, resumes)
    }

    /// Sends a request that carries its own credential, to a token endpoint,
    /// say. Returns any answer that is not trouble of the server, whatever its
    /// status.
    ///
    /// # Errors
    /// [`PullError::Unreachable`] when attempts are used up, and whatever
    /// [`Transport::new`] met with.
    pub async fn send(&self, call: Call) -> Result<Answer, PullError> {
        let mut attempts = Attempts::new(&call);
        loop {
            let reason = match self.exchange(&call, &[]).await {
                Ok(answer) if is_trouble(&answer) => {
                    let reason = format!("it answers {}", answer.status);
                    match (self.1)(&answer) {
                        Some(until) => {
                            attempts.wait_until(until, reason).await?;
                            continue;
                        }
                        None => reason,
                    }
                }
                Ok(answer) => return Ok(answer),
                Err(Failure::Passing(reason)) => reason,
                Err(Failure::Final(error)) => return Err(error),
            };
            attempts.wait(reason).await?;
        }
    }

    /// Requests sent since [`Transport::take_audit`] was asked last.
    pub fn sent(&self) -> u64 {
        self.0.sent.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// Requests sent since the last time this was asked, by endpoint.
    pub fn take_audit(&self) -> BTreeMap<String, u64> {
        let mut sent = self.0.sent.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *sent).into_iter().map(|(name, n)| (name.to_owned(), n)).collect()
    }

    pub(super) fn patience(&self) -> Patience {
        self.0.patience
    }

    /// One request, with redirects within the origin, and its answer.
    pub(super) async fn exchange(
        &self,
        call: &Call,
        authorization: &[(HeaderName, HeaderValue)],
    ) -> Result<Answer, Failure> {
        if let Some(name) = call.mistake {
            return Err(Failure::Final(PullError::Misconfigured {
                what: call.place(),
                reason: format!("the header `{name}` cannot be sent"),
                hint: "look for line breaks in the settings of the provider".to_owned(),
            }));
        }
        let mut url = call.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            self.check_origin(&url)?;
            let answer = self.once(call, url.clone(), authorization).await?;
            match redirect(call, &answer).map_err(Failure::Final)? {
                Some(target) => url = target,
                None => return Ok(answer),
            }
        }
        Err(Failure::Final(incomplete(&call.url, "it redirects too often".to_owned())))
    }

    /// Known failure R21: a credential must not follow a link to another host.
    fn check_origin(&self, url: &Url) -> Result<(), Failure> {
        let (ours, theirs) = (self.0.base.origin(), url.origin());
        if ours == theirs && matches!(ours, Origin::Tuple(..)) {
            return Ok(());
        }
        let (ours, theirs) = (ours.ascii_serialization(), theirs.ascii_serialization());
        Err(Failure::Final(PullError::Incomplete {
            what: ours.clone(),
            reason: format!(
                "it points to {theirs}, where nothing is sent to: the credential is for {ours} only"
            ),
        }))
    }

    async fn once(
        &self,
        call: &Call,
        url: Url,
        authorization: &[(HeaderName, HeaderValue)],
    ) -> Result<Answer, Failure> {
        let http = self.0.http.as_ref().map_err(|error| Failure::Final(error.clone()))?;
        let mut request = http.request(call.method.clone(), url).headers(call.headers.clone());
        for (name, value) in authorization {
            request = request.header(name, value);
        }
        if let Some(body) = &call.body {
            request = request.body(body.clone());
        }
        self.note(call.endpoint);
        let started = clock::instant();
        let response = request.send().await;
        pulse::beat();
        let mut response = response.map_err(passing)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let (url, body) = (response.url().clone(), read(&mut response).await?);
        let (endpoint, bytes) = (call.endpoint, body.len());
        let millis = (clock::instant() - started).as_millis() as u64;
        debug!(endpoint, status = status.as_u16(), bytes, millis, "answered");
        Ok(Answer { status, headers, body, url, received: clock::now() })
    }

    fn note(&self, endpoint: &'static str) {
        let mut sent = self.0.sent.lock().unwrap_or_else(PoisonError::into_inner);
        *sent.entry(endpoint).or_default() += 1;
    }
}

fn is_trouble(answer: &Answer) -> bool {
    answer.status.is_server_error()
        || matches!(answer.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// Attempts at one request while there is trouble.
pub(super) struct Attempts {
    place: String,
    is_safe: bool,
    made: u32,
    delays: Growing,
}

impl Attempts {
    pub(super) fn new(call: &Call) -> Attempts {
        let delays = Growing::new(RETRY_FIRST, RETRY_MAX);
        Attempts { place: call.place(), is_safe: call.is_safe, made: 0, delays }
    }

    /// Waits for the time that the server named, if that is near.
    ///
    /// # Errors
    /// [`PullError::Throttled`] when it is not, or when nothing may be sent twice.
    async fn wait_until(&mut self, until: Timestamp, reason: String) -> Result<(), PullError> {
        let wait = Duration::from_millis(until.0.saturating_sub(clock::now().0));
        if !self.is_safe || wait > RETRY_MAX {
            return Err(PullError::Throttled { what: self.place.clone(), until });
        }
        tokio::time::sleep(wait).await;
        self.wait(reason).await
    }

    /// The delay after one more failure.
    pub(super) fn delay(&mut self) -> Duration {
        self.delays.next(fastrand::f64())
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// [`PullError::Unreachable`] for this `reason`, when there is to be none.
    pub(super) async fn wait(&mut self, reason: String) -> Result<(), PullError> {
        self.made += 1;
        let delay = self.delay();
        if !self.is_safe || self.made >= ATTEMPTS_MAX {
            return Err(PullError::Unreachable { what: self.place.clone(), reason });
        }
        debug!(place = self.place, reason, "trying again");
        tokio::time::sleep(delay).await;
        Ok(())
    }
}

fn build(config: &HttpConfig, base: &Url, patience: Patience) -> Result<reqwest::Client, String> {
    let trust = match &config.ca {
        Some(pem) => Trust::Only(pem),
        None if base.scheme() == "http" => Trust::Nobody,
        None => Trust::Platform,
    };
    let mut tls = tls::client_config(trust, config.identity.as_ref())?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let timeout = patience.request_timeout;
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .timeout(timeout)
        // Without a single byte for this long, it is over before that.
        .read_timeout(timeout.mul_f64(0.75))
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .pool_max_idle_per_host(config.parallel_requests_max)
        .user_agent(USER_AGENT);
    match &config.proxy {
        Proxy::Environment => {}
        Proxy::Direct => builder = builder.no_proxy(),
        Proxy::Through { url, username, password } => {
            let mut proxy = reqwest::Proxy::all(url.clone()).map_err(|error| {
                format!("the proxy cannot be used: {}", printable::request_failure(&error))
            })?;
            if let Some(username) = username {
                let password = password.as_ref().map_or("", |password| password.expose());
                proxy = proxy.basic_auth(username, password);
            }
            builder = builder.proxy(proxy);
        }
    }
    builder.build().map_err(|error| {
        format!("the HTTP client cannot be set up: {}", printable::request_failure(&error))
    })
}

/// Where a redirect of a `GET` leads to.
fn redirect(call: &Call, answer: &Answer) -> Result<Option<Url>, PullError> {
    let follows = matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308);
    if !follows || call.method != Method::GET || call.accepted.contains(&answer.status.as_u16()) {
        return Ok(None);
    }
    let Some(location) = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok()) else {
        return Ok(None);
    };
    let target = answer.url.join(location);
    target.map(Some).map_err(|_| incomplete(&call.url, "it redirects to nowhere".to_owned()))
}

async fn read(response: &mut reqwest::Response) -> Result<Bytes, Failure> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(passing)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            let reason = format!("the answer has more than {} MiB", ANSWER_BYTES_MAX >> 20);
            return Err(Failure::Final(incomplete(response.url(), reason)));
        }
        pulse::beat();
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn passing(error: reqwest::Error) -> Failure {
    Failure::Passing(printable::request_failure(&error))
}

fn incomplete(url: &Url, reason: String) -> PullError {
    PullError::Incomplete { what: place(url), reason }
}
