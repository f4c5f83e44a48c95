//! One request, and the answer to it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use super::links;
use crate::clock::Timestamp;
use crate::provider::PullError;

/// A request, without what says who asks.
#[derive(Clone)]
pub struct Call {
    /// What it is counted as: `GET /groups/{id}/members`.
    pub endpoint: &'static str,
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Option<Bytes>,
    /// The vendor's bucket of quota that it takes from.
    pub bucket: &'static str,
    /// In the vendor's units.
    pub cost: f64,
    /// Sending it twice does no harm.
    pub is_safe: bool,
    /// Statuses that are answers, whatever the vendor's rules say.
    pub accepted: &'static [u16],
    /// A header that cannot be sent.
    pub(super) mistake: Option<&'static str>,
}

/// What came back, whole.
#[derive(Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Decompressed.
    pub body: Bytes,
    /// Where it came from in the end, after redirects.
    pub url: Url,
    pub received: Timestamp,
}

impl Call {
    /// A `GET`, which is always safe.
    pub fn get(endpoint: &'static str, url: Url) -> Call {
        Call {
            endpoint,
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: None,
            bucket: "",
            cost: 1.0,
            is_safe: true,
            accepted: &[],
            mistake: None,
        }
    }

    /// A `POST` of a form, as OAuth wants it.
    pub fn post_form(endpoint: &'static str, url: Url, form: &[(&str, &str)]) -> Call {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form.iter().copied())
            .finish();
        let body = Bytes::from(body);
        Call { method: Method::POST, is_safe: false, body: Some(body), ..Call::get(endpoint, url) }
            .header("content-type", "application/x-www-form-urlencoded")
    }

    /// A `POST` of JSON.
    pub fn post_json(endpoint: &'static str, url: Url, body: &serde_json::Value) -> Call {
        let body = Bytes::from(body.to_string());
        Call { method: Method::POST, is_safe: false, body: Some(body), ..Call::get(endpoint, url) }
            .header("content-type", "application/json")
    }

    /// Sets a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Call {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            (Ok(header), Ok(value)) => {
                self.headers.insert(header, value);
            }
            _ => self.mistake = Some(name),
        }
        self
    }

    /// Takes from this bucket of the vendor's quota.
    pub fn bucket(self, bucket: &'static str) -> Call {
        Call { bucket, ..self }
    }

    /// Costs so many of the vendor's units.
    pub fn cost(self, cost: f64) -> Call {
        Call { cost, ..self }
    }

    /// Only reads, although it is a `POST`: may be sent again.
    pub fn read_only(self) -> Call {
        Call { is_safe: true, ..self }
    }

    /// Takes these statuses as answers.
    pub fn accept(self, accepted: &'static [u16]) -> Call {
        Call { accepted, ..self }
    }

    /// The address without its query, which may hold more than people should see.
    pub fn place(&self) -> String {
        place(&self.url)
    }
}

impl Answer {
    /// Decodes the body.
    ///
    /// # Errors
    /// [`PullError::Incomplete`], with the place in the text.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, PullError> {
        serde_json::from_slice(&self.body).map_err(|error| PullError::Incomplete {
            what: place(&self.url),
            reason: format!(
                "the answer ({}, {} bytes) is not the JSON that was asked for: {error}",
                self.status.as_u16(),
                self.body.len()
            ),
        })
    }

    /// The header's first value, when it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The header's first value, when it is a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.header(name)?.trim().parse().ok()
    }

    /// The address that `Link: <…>; rel="next"` names, if any does (RFC 8288).
    ///
    /// # Errors
    /// [`PullError::Incomplete`] when a link cannot be read, or is no address:
    /// it may have been the one to the next page.
    pub fn next_link(&self) -> Result<Option<Url>, PullError> {
        let unreadable = |error: &dyn std::fmt::Display| PullError::Incomplete {
            what: place(&self.url),
            reason: format!("the links to other pages cannot be read: {error}"),
        };
        let lines = self.headers.get_all(http::header::LINK).iter();
        let lines: Vec<&str> = lines
            .map(|line| std::str::from_utf8(line.as_bytes()))
            .collect::<Result<_, _>>()
            .map_err(|error| unreadable(&error))?;
        let Some(target) =
            links::strict_target(&lines, "next").map_err(|error| unreadable(&error))?
        else {
            return Ok(None);
        };
        self.url.join(&target).map(Some).map_err(|error| unreadable(&error))
    }

    /// The beginning of the body, for people.
    pub fn excerpt(&self) -> String {
        const LENGTH_MAX: usize = 200;
        let text = String::from_utf8_lossy(&self.body);
        let mut short: String = text.chars().take(LENGTH_MAX).collect();
        if short.len() < text.len() {
            short.push('…');
        }
        short.escape_debug().to_string()
    }
}

/// Without the body and the headers, which may hold secrets.
impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Call({} {})", self.method, self.place())
    }
}

/// Without the body and the headers, which may hold tokens.
impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer({} from {}, {} bytes)", self.status, place(&self.url), self.body.len())
    }
}

/// Scheme, host, port and path.
pub fn place(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}
