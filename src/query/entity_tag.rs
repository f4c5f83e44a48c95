//! Strong entity tags and `If-None-Match` (RFC 9110, sections 8.8.3 and 13.1.2),
//! for what is fetched again and again.

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};

/// The name of one state of something: whoever holds it holds the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityTag(String);

impl EntityTag {
    /// From text without quotes, spaces and control characters; anything else
    /// in it is left out, which no tag of ours has.
    pub fn new(text: &str) -> EntityTag {
        EntityTag(text.chars().filter(|c| c.is_ascii_graphic() && *c != '"').collect())
    }

    /// The text between the quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a header says it.
    pub fn header(&self) -> HeaderValue {
        // Visible ASCII always makes a header.
        HeaderValue::from_str(&format!("\"{}\"", self.0))
            .unwrap_or_else(|_| HeaderValue::from_static("\"\""))
    }

    /// 304 for those who hold it already; `None` when the whole is to be sent.
    pub fn unless_held(&self, headers: &HeaderMap) -> Option<Response> {
        Held::of(headers).has(self).then(|| self.not_modified())
    }

    /// 304: what the asker holds is still right.
    pub fn not_modified(&self) -> Response {
        self.mark(StatusCode::NOT_MODIFIED.into_response())
    }

    /// Names what an answer holds, and has caches ask each time.
    pub fn mark(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        headers.insert(ETAG, self.header());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

/// What an asker holds, by `If-None-Match`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// `*`: something, whatever it is.
    any: bool,
    tags: Vec<EntityTag>,
}

impl Held {
    /// Reads the header; what is no list of tags is nothing held.
    pub fn of(headers: &HeaderMap) -> Held {
        let mut held = Held::default();
        for value in headers.get_all(IF_NONE_MATCH) {
            match std::str::from_utf8(value.as_bytes()).map(str::trim) {
                Ok("*") => held.any = true,
                Ok(list) => held.tags.extend(tags(list)),
                Err(_) => {}
            }
        }
        held
    }

    /// Whether it is held. The comparison is the weak one, as `If-None-Match`
    /// wants it: `W/"x"` holds `"x"` (a proxy that compresses says so).
    pub fn has(&self, tag: &EntityTag) -> bool {
        self.any || self.tags.contains(tag)
    }

    /// The tags, in order; none for `*`.
    pub fn tags(&self) -> &[EntityTag] {
        &self.tags
    }
}

/// The tags of a list, up to where it is no list any more. What stands between
/// quotes may hold commas.
fn tags(list: &str) -> Vec<EntityTag> {
    let mut tags = Vec::new();
    let mut rest = list;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let opened = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"');
        let Some((text, after)) = opened.and_then(|opened| opened.split_once('"')) else {
            return tags;
        };
        tags.push(EntityTag(text.to_owned()));
        rest = after;
        if !rest.trim_start().is_empty() && !rest.trim_start().starts_with(',') {
            return tags;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let value = |text: &&str| (IF_NONE_MATCH, HeaderValue::from_str(text).unwrap());
        values.iter().map(value).collect()
    }

    fn held(values: &[&str]) -> Vec<String> {
        Held::of(&headers(values)).tags().iter().map(|tag| tag.as_str().to_owned()).collect()
    }

    #[test]
    fn lists_are_read_with_weak_tags_and_over_several_headers() {
        assert_eq!(held(&[r#""a""#]), ["a"]);
        assert_eq!(held(&[r#""a", W/"b" ,"c,d""#, r#""e""#]), ["a", "b", "c,d", "e"]);
        assert_eq!(held(&[r#", ,"a",, "b","#]), ["a", "b"]);
        assert_eq!(held(&[r#""""#]), [""]);
    }

    #[test]
    fn what_is_no_list_of_tags_is_not_held() {
        for text in ["a", "\"a", "", "w/\"a\"", "W/ \"a\"", "\u{ff}"] {
            assert_eq!(held(&[text]), [""; 0], "{text}");
        }
        assert_eq!(held(&[r#""a" "b""#]), ["a"]);
        assert_eq!(held(&[r#""a"x, "b""#]), ["a"]);
    }

    #[test]
    fn whoever_holds_it_gets_304_with_the_tag() {
        let tag = EntityTag::new("7-x");
        for one in [r#""7-x""#, r#"W/"7-x""#, r#""1", "7-x""#, "*", " * "] {
            let response = tag.unless_held(&headers(&[one])).expect(one);
            assert_eq!(response.status(), 304);
            assert_eq!(response.headers()[ETAG], r#""7-x""#);
            assert_eq!(response.headers()[CACHE_CONTROL], "no-cache");
        }
        for other in [r#""7""#, r#""7-X""#, "7-x", r#""*""#] {
            assert!(tag.unless_held(&headers(&[other])).is_none(), "{other}");
        }
        assert!(tag.unless_held(&HeaderMap::new()).is_none());
    }

    #[test]
    fn a_tag_is_always_a_header() {
        assert_eq!(EntityTag::new("a\"b c\n\u{e9}").header(), "\"abc\"");
    }
}
