//! Paths and queries, encoded.

use std::fmt::Display;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stays as it is in a path or a query (RFC 3986, "unreserved").
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A part of a path, or a value in a query, encoded.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, KEPT).to_string()
}

/// A path with what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query(String);

impl Query {
    /// `/v1/` and these parts, each encoded.
    pub fn of(parts: &[&str]) -> Query {
        let parts: Vec<String> = parts.iter().map(|part| encoded(part)).collect();
        Query(format!("/v1/{}", parts.join("/")))
    }

    /// With a parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Display) -> Query {
        let link = if self.0.contains('?') { '&' } else { '?' };
        self.0 += &format!("{link}{name}={}", encoded(&value.to_string()));
        self
    }

    /// With a parameter, where there is a value.
    #[must_use]
    pub fn with_some(self, name: &str, value: Option<impl Display>) -> Query {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// With a parameter that comes once for each value.
    #[must_use]
    pub fn with_all(self, name: &str, values: &[String]) -> Query {
        values.iter().fold(self, |query, value| query.with(name, value))
    }

    /// As it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_encoded_whole() {
        assert_eq!(encoded("uid=ada,ou=x/y z"), "uid%3Dada%2Cou%3Dx%2Fy%20z");
        assert_eq!(encoded("ada.l-o_v~e"), "ada.l-o_v~e");
    }

    #[test]
    fn a_query_has_what_there_is() {
        let query = Query::of(&["users", "a/b", "groups"]).with("nested", true);
        let query = query.with_some("at", None::<&str>).with_all("x", &["1".into(), "&".into()]);
        assert_eq!(query.as_str(), "/v1/users/a%2Fb/groups?nested=true&x=1&x=%26");
    }
}
