//! Pages of one listing, one after the other.
//!
//! The end of a list is the absence of `rel="next"`: neither an empty page nor
//! a short one. The link is followed as it is.

use http::StatusCode;
use http::header::LINK;
use serde::de::IgnoredAny;
use serde_json::Value;
use url::Url;

use super::api::Api;
use super::vendor;
use crate::clock::Timestamp;
use crate::provider::PullError;
use crate::provider::http::call::place;
use crate::provider::http::{Answer, Call, Cursors};

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    Users,
    Groups,
    Members,
    Logs,
}

impl List {
    fn endpoint(self) -> &'static str {
        match self {
            List::Users => "GET /api/v1/users",
            List::Groups => "GET /api/v1/groups",
            List::Members => "GET /api/v1/groups/{id}/users",
            List::Logs => "GET /api/v1/logs",
        }
    }

    /// Lists of groups and of their members share one limit.
    fn bucket(self) -> &'static str {
        match self {
            List::Users => "users",
            List::Groups | List::Members => "groups",
            List::Logs => "logs",
        }
    }
}

/// One page, as it came.
pub struct Page {
    pub objects: Vec<Value>,
    /// The server's clock.
    pub time: Timestamp,
}

/// What a request for a page gave.
pub enum Read {
    /// A page, not decoded yet.
    Page(Answer),
    /// 403 or 404, if the listing takes them for answers.
    Refused(Answer),
}

/// A listing, as far as it was read.
pub struct Walk {
    list: List,
    next: Option<Url>,
    /// The next page is named by a link of an earlier one.
    continues: bool,
    cursors: Cursors,
}

impl Walk {
    /// Begins at `url`.
    pub fn new(list: List, url: Url) -> Walk {
        let cursors = Cursors::new(list.endpoint());
        Walk { list, next: Some(url), continues: false, cursors }
    }

    /// Goes on at a link.
    pub fn go_on(list: List, next: Url) -> Walk {
        Walk { continues: true, ..Walk::new(list, next) }
    }

    /// Where it goes on; `None` at the end.
    pub fn place(&self) -> Option<&Url> {
        self.next.as_ref()
    }

    /// The next page; `None` after the last.
    ///
    /// # Errors
    /// [`PullError::CursorExpired`] when the link is of no use any more.
    pub async fn next(&mut self, api: &Api) -> Result<Option<Page>, PullError> {
        match self.read(api, &[400]).await? {
            None => Ok(None),
            Some(Read::Page(answer)) => {
                Ok(Some(Page { objects: answer.json()?, time: vendor::server_time(&answer) }))
            }
            Some(Read::Refused(answer)) => Err(PullError::Incomplete {
                what: answer.url.to_string(),
                reason: vendor::told(&answer),
            }),
        }
    }

    /// The same; 403 and 404 are answers.
    pub async fn next_if_allowed(&mut self, api: &Api) -> Result<Option<Read>, PullError> {
        self.read(api, &[400, 403, 404]).await
    }

    async fn read(
        &mut self,
        api: &Api,
        accepted: &'static [u16],
    ) -> Result<Option<Read>, PullError> {
        let Some(url) = self.next.clone() else { return Ok(None) };
        let call = Call::get(self.list.endpoint(), url).bucket(self.list.bucket()).accept(accepted);
        let answer = api.send(call).await?;
        match answer.status {
            StatusCode::BAD_REQUEST if self.continues => {
                return Err(PullError::CursorExpired { reason: vendor::told(&answer) });
            }
            StatusCode::BAD_REQUEST => {
                let what = self.list.endpoint().to_owned();
                return Err(PullError::Incomplete { what, reason: vendor::told(&answer) });
            }
            status if !status.is_success() => return Ok(Some(Read::Refused(answer))),
            _ => {}
        }
        let next = answer.next_link()?;
        match &next {
            Some(next) => self.cursors.pass(next.as_str())?,
            None => proof_of_end(&answer)?,
        }
        (self.next, self.continues) = (next, true);
        Ok(Some(Read::Page(answer)))
    }
}

/// Whether a page without a next one is the last: Okta names each page by
/// `rel="self"`, so that a full page without any link has lost them on its way.
fn proof_of_end(answer: &Answer) -> Result<(), PullError> {
    let mut links = answer.headers.get_all(LINK).iter();
    if links.any(|line| line.to_str().is_ok_and(|line| line.contains("rel=\"self\""))) {
        return Ok(());
    }
    let limit = answer.url.query_pairs().find(|(name, _)| name == "limit");
    let limit = limit.and_then(|(_, limit)| limit.parse::<usize>().ok());
    let count = answer.json::<Vec<IgnoredAny>>()?.len();
    if limit.is_none_or(|limit| count < limit) {
        return Ok(());
    }
    Err(PullError::Incomplete {
        what: place(&answer.url),
        reason: format!(
            "a full page of {count} came without any `Link`, so that nothing says whether more \
             follow; let whatever stands between pass that header on"
        ),
    })
}
