//! Asks only for what changed: `If-None-Match` with the `ETag` of the answer
//! before. GitHub answers 304 to that when nothing changed, which costs nothing
//! of the quota.
//! <https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api#use-conditional-requests-if-appropriate>
//!
//! Tags are of one credential: an App's new token every hour makes answers new.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{ETAG, LINK};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::access::Connection;
use super::graphql::incomplete;
use crate::provider::PullError;
use crate::provider::http::{Answer, Call};

/// Of the bodies that are remembered for one organization.
const BYTES_MAX: usize = 64 << 20;
const SCOPES: &str = "x-oauth-scopes";

/// Answers to one organization's credential.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    answers: HashMap<String, Known>,
    /// Lists that were read whole: by the address of the first page, address
    /// and tag of all.
    lists: HashMap<String, Vec<Page>>,
    bytes: usize,
    round: u64,
}

/// Address and tag of a page.
pub type Page = (String, String);

#[derive(Clone)]
struct Known {
    tag: String,
    links: HeaderMap,
    tells_scopes: bool,
    body: Bytes,
    round: u64,
}

/// What came of asking again.
pub struct Asked {
    pub answer: Answer,
    /// It is the one before.
    pub is_unchanged: bool,
    pub tag: Option<String>,
}

impl Memory {
    /// A crawl begins: what none of the two before asked for is forgotten. So
    /// what there is no room for never drives out what will be asked for.
    pub fn turn(&self) {
        let mut kept = self.lock();
        kept.round += 1;
        let oldest = kept.round.saturating_sub(2);
        kept.answers.retain(|_, known| known.round >= oldest);
        kept.bytes = kept.answers.values().map(|known| known.body.len()).sum();
        let Kept { answers, lists, .. } = &mut *kept;
        lists.retain(|first, _| answers.contains_key(first));
    }

    /// The pages of a list that was read whole.
    pub fn list(&self, first: &str) -> Option<Vec<Page>> {
        self.lock().lists.get(first).cloned()
    }

    /// Notes that these pages are the whole list.
    pub fn note_list(&self, first: &str, pages: Vec<Page>) {
        let mut kept = self.lock();
        if kept.answers.contains_key(first) {
            kept.lists.insert(first.to_owned(), pages);
        }
    }

    fn find(&self, url: &str) -> Option<Known> {
        let mut kept = self.lock();
        let round = kept.round;
        let known = kept.answers.get_mut(url)?;
        known.round = round;
        Some(known.clone())
    }

    /// `body`: what of it is to be remembered, if it is in order.
    fn learn(&self, url: &str, answer: &Answer, body: Option<Bytes>) {
        let mut kept = self.lock();
        if let Some(known) = kept.answers.remove(url) {
            kept.bytes -= known.body.len();
        }
        let Some((tag, body)) = answer.header(ETAG.as_str()).zip(body) else { return };
        if kept.bytes + body.len() > BYTES_MAX {
            return;
        }
        let mut links = HeaderMap::new();
        for line in answer.headers.get_all(LINK) {
            links.append(LINK, line.clone());
        }
        let tells_scopes = answer.headers.contains_key(SCOPES);
        kept.bytes += body.len();
        let known = Known { tag: tag.to_owned(), links, tells_scopes, body, round: kept.round };
        kept.answers.insert(url.to_owned(), known);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Asks for one page of a list.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn page_again(&self, call: Call) -> Result<Asked, PullError> {
        let is_whole = self.config.keep_raw;
        self.again(call, |body| slim(body).map(|slim| if is_whole { body.clone() } else { slim }))
            .await
    }

    /// Asks for one object, whose answer also says what the credential may do.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn object_again(&self, call: Call) -> Result<Answer, PullError> {
        let known = self.memory.find(call.url.as_str());
        let asked = self.again(call.clone(), object).await?;
        // Should a 304 not tell the scopes of a token, a new answer does.
        let is_mute = !asked.answer.headers.contains_key(SCOPES);
        if asked.is_unchanged && is_mute && known.is_some_and(|known| known.tells_scopes) {
            return self.send(call).await;
        }
        Ok(asked.answer)
    }

    async fn again(
        &self,
        call: Call,
        remembered: impl Fn(&Bytes) -> Option<Bytes>,
    ) -> Result<Asked, PullError> {
        let url = call.url.as_str().to_owned();
        let known = self.memory.find(&url);
        let call = match &known {
            Some(known) => call.header("if-none-match", &known.tag),
            None => call,
        };
        let mut answer = self.send(call).await?;
        if answer.status == StatusCode::NOT_MODIFIED {
            let Some(Known { tag, links, body, .. }) = known else {
                return Err(incomplete("GitHub", format!("{url} is unchanged, but since when?")));
            };
            answer.status = StatusCode::OK;
            answer.body = body;
            if !answer.headers.contains_key(LINK) {
                answer.headers.extend(links);
            }
            return Ok(Asked { answer, is_unchanged: true, tag: Some(tag) });
        }
        if answer.status == StatusCode::OK {
            self.memory.learn(&url, &answer, remembered(&answer.body));
        }
        let tag = answer.header(ETAG.as_str()).map(str::to_owned);
        let is_unchanged = tag.is_some() && tag == known.map(|known| known.tag);
        Ok(Asked { answer, is_unchanged, tag })
    }
}

/// A list without the addresses in its entries, which are most of it. `None`:
/// it is no list, and shall not come again.
fn slim(body: &Bytes) -> Option<Bytes> {
    let Ok(Value::Array(mut entries)) = serde_json::from_slice(body) else { return None };
    entries.iter_mut().for_each(strip);
    Some(Bytes::from(Value::Array(entries).to_string()))
}

fn object(body: &Bytes) -> Option<Bytes> {
    let is_whole = serde_json::from_slice::<Value>(body).is_ok_and(|value| value.is_object());
    is_whole.then(|| body.clone())
}

/// Takes away what is of no use.
pub fn strip(entry: &mut Value) {
    if let Value::Object(fields) = entry {
        fields.retain(|name, _| !name.ends_with("url"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn answer(tag: &str, length: usize) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(ETAG, tag.parse().unwrap());
        let url = "https://api.github.com/x".parse().unwrap();
        let body = Bytes::from(vec![b' '; length]);
        Answer { status: StatusCode::OK, headers, body, url, received: Timestamp(0) }
    }

    fn learn(memory: &Memory, url: &str, length: usize) {
        let answer = answer("\"1\"", length);
        memory.learn(url, &answer, Some(answer.body.clone()));
    }

    #[test]
    fn what_is_remembered_has_an_end() {
        let memory = Memory::default();
        learn(&memory, "first", BYTES_MAX - 10);
        learn(&memory, "second", 11);
        assert!(memory.find("first").is_some() && memory.find("second").is_none());
        learn(&memory, "first", 20);
        learn(&memory, "second", BYTES_MAX - 20);
        assert!(memory.find("second").is_some(), "the room of the one before is free again");
    }

    #[test]
    fn what_nobody_asks_for_any_more_is_forgotten() {
        let memory = Memory::default();
        learn(&memory, "old", 1);
        learn(&memory, "used", 1);
        memory.note_list("old", Vec::new());
        for _ in 0..3 {
            memory.turn();
            memory.find("used");
        }
        assert!(memory.find("old").is_none() && memory.find("used").is_some());
        assert_eq!((memory.list("old"), memory.lock().bytes), (None, 1));
    }

    #[test]
    fn r1_half_an_answer_is_not_remembered() {
        for text in [&b"[{\"id\":1}"[..], b"<html>", b"{\"id\":1"] {
            let body = Bytes::from_static(text);
            assert_eq!((slim(&body), object(&body)), (None, None));
        }
    }

    #[test]
    fn entries_are_remembered_without_their_addresses() {
        let body = Bytes::from_static(br#"[{"id":1,"html_url":"x","url":"y"}]"#);
        assert_eq!(slim(&body).unwrap(), &br#"[{"id":1}]"#[..]);
    }
}
