//! Pages, read strictly: what is missing must be missing in a page that is
//! otherwise whole, and an error in a 200 is an error.

use serde_json::{Map, Value};

use crate::provider::PullError;
use crate::provider::http::Answer;
use crate::provider::http::call::place;

/// One kind of list.
#[derive(Clone, Copy, Debug)]
pub struct List {
    /// The member that holds the objects.
    pub array: &'static str,
    /// What the page says it is.
    pub kind: &'static str,
}

pub const USERS: List = List { array: "users", kind: "admin#directory#users" };
pub const GROUPS: List = List { array: "groups", kind: "admin#directory#groups" };
pub const MEMBERS: List = List { array: "members", kind: "admin#directory#members" };
pub const ACTIVITIES: List = List { array: "items", kind: "admin#reports#activities" };

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    pub objects: Vec<Value>,
    /// Where the next page is; the end of the list is its absence.
    pub next: Option<String>,
    /// It says what it is, so a missing array is an empty one.
    pub is_whole: bool,
}

impl Page {
    /// # Errors
    /// [`PullError::Incomplete`] when it is no page of that list.
    pub fn read(answer: &Answer, list: List) -> Result<Page, PullError> {
        let mut page: Map<String, Value> = answer.json()?;
        let incomplete =
            |reason: String| PullError::Incomplete { what: place(&answer.url), reason };
        no_error(&page).map_err(incomplete)?;
        let is_whole = match page.get("kind") {
            None => false,
            Some(Value::String(kind)) if kind == list.kind => true,
            // The description of the Reports API names two spellings.
            Some(Value::String(kind))
                if kind.rsplit('#').next() == list.kind.rsplit('#').next() =>
            {
                true
            }
            Some(kind) => {
                return Err(incomplete(format!("it is {kind}, not a page of {}", list.array)));
            }
        };
        let objects = match page.remove(list.array) {
            None => Vec::new(),
            Some(Value::Array(objects)) if objects.iter().all(Value::is_object) => objects,
            Some(_) => {
                return Err(incomplete(format!("`{}` is not a list of objects", list.array)));
            }
        };
        let next = match page.remove("nextPageToken") {
            None | Some(Value::Null) => None,
            Some(Value::String(next)) => Some(next).filter(|next| !next.is_empty()),
            Some(_) => return Err(incomplete("`nextPageToken` is not a string".to_owned())),
        };
        let is_whole = is_whole || !objects.is_empty() || next.is_some();
        Ok(Page { objects, next, is_whole })
    }

    /// Fails when it neither holds anything nor says what it is.
    ///
    /// # Errors
    /// [`PullError::Incomplete`] then (known failure R1).
    pub fn whole(self, answer: &Answer, list: List) -> Result<Page, PullError> {
        if self.is_whole {
            return Ok(self);
        }
        Err(PullError::Incomplete {
            what: place(&answer.url),
            reason: format!(
                "`{}` is missing in an answer that does not say what it is",
                list.array
            ),
        })
    }
}

/// A single object.
///
/// # Errors
/// [`PullError::Incomplete`] when the answer is none.
pub fn object(answer: &Answer) -> Result<Value, PullError> {
    let object: Map<String, Value> = answer.json()?;
    let incomplete = |reason: String| PullError::Incomplete { what: place(&answer.url), reason };
    no_error(&object).map_err(incomplete)?;
    if !object.get("id").is_some_and(Value::is_string) {
        return Err(incomplete("the object has no id".to_owned()));
    }
    Ok(Value::Object(object))
}

/// Known failure R2, in Google's way.
fn no_error(page: &Map<String, Value>) -> Result<(), String> {
    match page.get("error").or_else(|| page.get("errors")) {
        None => Ok(()),
        Some(error) => {
            let mut text = error.to_string();
            text.truncate(text.char_indices().nth(200).map_or(text.len(), |(at, _)| at));
            Err(format!("an error came with a good status: {text}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;

    fn read(body: &str) -> Result<Page, PullError> {
        let answer = Answer {
            status: http::StatusCode::OK,
            headers: http::HeaderMap::new(),
            body: body.to_owned().into(),
            url: url::Url::parse("https://x/users").unwrap(),
            received: Timestamp(0),
        };
        Page::read(&answer, USERS)?.whole(&answer, USERS)
    }

    #[test]
    fn a_missing_array_is_empty_in_a_page_that_says_what_it_is() {
        let page = read(r#"{"kind":"admin#directory#users","etag":"x"}"#).unwrap();
        assert_eq!((page.objects.len(), page.next), (0, None));
        let page = read(r#"{"kind":"admin#directory#users","nextPageToken":"p"}"#).unwrap();
        assert_eq!(page.next.as_deref(), Some("p"));
        let page = read(&json!({ "users": [{ "id": "1" }] }).to_string()).unwrap();
        assert_eq!(page.objects.len(), 1);
    }

    #[test]
    fn r1_a_200_with_data_missing_is_no_empty_list() {
        for body in [
            "{}",
            r#"{"etag":"x"}"#,
            r#"{"kind":"admin#directory#users","users":null}"#,
            r#"{"kind":"admin#directory#groups"}"#,
            r#"{"kind":"admin#directory#users","users":[null]}"#,
            r#"{"users":[{"id":"1"}]"#,
            "[]",
            "",
        ] {
            assert!(matches!(read(body), Err(PullError::Incomplete { .. })), "{body}");
        }
    }

    #[test]
    fn r2_an_error_in_a_200_is_an_error() {
        let body = json!({ "kind": "admin#directory#users", "error": { "code": 500 } });
        assert!(matches!(read(&body.to_string()), Err(PullError::Incomplete { .. })));
    }
}
