//! Requests as a vendor sees them, and answers as it writes them.

use rosterd::clock::Instant;
use serde_json::Value;

/// A request, whole.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// `http://127.0.0.1:PORT`: where links lead to.
    pub base: String,
    /// As it was sent, without the query.
    pub path: String,
    /// Between the slashes, decoded.
    pub segments: Vec<String>,
    /// As it was sent, without the question mark.
    pub raw_query: String,
    /// Decoded, in order.
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// When it had come whole.
    pub received: Instant,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// Written one line each; a name may come several times.
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

/// What an answer carries.
#[derive(Clone, Debug)]
pub enum Body {
    Empty,
    Json(Value),
    Bytes(Vec<u8>),
}

impl Request {
    /// For `match (request.method.as_str(), request.segments().as_slice())`.
    pub fn segments(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// The first value of that name.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value of that name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// What follows `Bearer `.
    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// The body as JSON; `null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The body as a form.
    pub fn form(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(&self.body).into_owned().collect()
    }

    /// The first value of that name in a form.
    pub fn form_value(&self, name: &str) -> Option<String> {
        self.form().into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Its own address with these parameters changed: the link to another page.
    pub fn link(&self, parameters: &[(&str, &str)]) -> String {
        let kept = self.query.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let kept = kept.filter(|(key, _)| parameters.iter().all(|(changed, _)| changed != key));
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(kept).extend_pairs(parameters);
        format!("{}{}?{}", self.base, self.path, query.finish())
    }
}

impl Response {
    /// Without a body.
    pub fn new(status: u16) -> Response {
        Response { status, headers: Vec::new(), body: Body::Empty }
    }

    /// 200 with JSON.
    pub fn json(body: Value) -> Response {
        Response::new(200).body(Body::Json(body))
    }

    /// Another status with JSON.
    pub fn error(status: u16, body: Value) -> Response {
        Response::new(status).body(Body::Json(body))
    }

    /// 200 with a page for people.
    pub fn html(text: &str) -> Response {
        let body = Body::Bytes(text.as_bytes().to_vec());
        Response::new(200).header("content-type", "text/html; charset=utf-8").body(body)
    }

    pub fn body(self, body: Body) -> Response {
        Response { body, ..self }
    }

    /// Adds a line.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Response {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// Adds `Link: <url>; rel="…"`, a line of its own.
    pub fn link(self, rel: &str, url: &str) -> Response {
        self.header("link", format!("<{url}>; rel=\"{rel}\""))
    }

    /// All bytes of the body.
    pub(super) fn bytes(&self) -> Vec<u8> {
        match &self.body {
            Body::Empty => Vec::new(),
            Body::Json(value) => serde_json::to_vec(value).expect("a value can be written"),
            Body::Bytes(bytes) => bytes.clone(),
        }
    }
}

/// Decodes `%XX` in one segment of a path.
pub(super) fn decode(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned()
}
