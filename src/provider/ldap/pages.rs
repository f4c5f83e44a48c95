//! Reads a search page by page (RFC 2696), with pages as large as the server
//! lets us.

use std::collections::HashSet;

use ldap3::Scope;
use ldap3::controls::RawControl;
use tracing::debug;

use super::answer::{ADMIN_LIMIT, SIZE_LIMIT, SUCCESS};
use super::ber::{INTEGER, OCTET_STRING, Reader, SEQUENCE, write, write_integer};
use super::entry::Entry;
use super::session::{Message, Request, Session};
use crate::provider::PullError;

/// Paged results (RFC 2696).
pub const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";

/// Below this a smaller page is not what the server wants.
const PAGE_SIZE_MIN: u32 = 10;
/// How often a server may send a page of nothing before its end.
const EMPTY_PAGES_MAX: u32 = 200;

/// A search whose answer comes in pages.
pub struct Pages<'a> {
    request: Request<'a>,
    /// `None` when the server does not page: then the first page is all.
    size: Option<u32>,
    cookie: Vec<u8>,
    is_over: bool,
    empty_pages: u32,
    /// The first entry of each page, to notice a server that goes in circles.
    firsts: HashSet<String>,
    pub count: u64,
    pub entries: u64,
}

impl<'a> Pages<'a> {
    /// `size` is `None` for a server that does not page.
    pub fn new(request: Request<'a>, size: Option<u32>) -> Pages<'a> {
        Pages {
            request,
            size,
            cookie: Vec::new(),
            is_over: false,
            empty_pages: 0,
            firsts: HashSet::new(),
            count: 0,
            entries: 0,
        }
    }

    /// The next page, or `None` once the server said that there is no more.
    ///
    /// A page counts only when it ended with success, so an error 4 or 11
    /// never passes for a small or empty directory.
    ///
    /// # Errors
    /// When the server ends the search in any other way.
    pub async fn next(&mut self, session: &mut Session) -> Result<Option<Vec<Entry>>, PullError> {
        if self.is_over {
            return Ok(None);
        }
        loop {
            let mut request = self.request.clone();
            request.controls.extend(self.size.map(|size| page_control(size, &self.cookie)));
            let mut entries = Vec::new();
            let mut take = |message| {
                if let Message::Entry(entry, _) = message {
                    entries.push(entry);
                }
                Ok(())
            };
            let done = session.search(request, &mut take).await?;
            match done.code {
                SUCCESS => {
                    let cookie = match (self.size, done.control(PAGED_RESULTS)) {
                        (Some(_), Some(value)) => read_cookie(value)
                            .ok_or_else(|| session.incomplete("its page mark cannot be read"))?,
                        (Some(_), None) if !self.cookie.is_empty() => {
                            return Err(session.incomplete("a page came without a page mark"));
                        }
                        // No mark at all: everything came at once.
                        _ => Vec::new(),
                    };
                    return self.turn(session, cookie, entries).map(Some);
                }
                ADMIN_LIMIT | SIZE_LIMIT if self.shrink() => {
                    debug!(
                        server = session.url(),
                        size = self.size,
                        code = done.code,
                        "smaller pages"
                    );
                }
                _ => {
                    let doing = format!("searching {}", self.request.base);
                    return Err(session.error(&done, &doing));
                }
            }
        }
    }

    /// Whether the server said that there is no more.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// How large pages may be, as learned.
    pub fn size(&self) -> Option<u32> {
        self.size
    }

    fn turn(
        &mut self,
        session: &Session,
        cookie: Vec<u8>,
        entries: Vec<Entry>,
    ) -> Result<Vec<Entry>, PullError> {
        self.count += 1;
        self.entries += entries.len() as u64;
        self.is_over = cookie.is_empty();
        self.cookie = cookie;
        let repeats = match entries.first() {
            Some(first) => !self.firsts.insert(first.dn.clone()),
            None => {
                self.empty_pages += 1;
                self.empty_pages > EMPTY_PAGES_MAX
            }
        };
        if repeats {
            let reason = format!("its pages below {} go in circles", self.request.base);
            return Err(session.incomplete(reason));
        }
        Ok(entries)
    }

    fn shrink(&mut self) -> bool {
        match self.size {
            Some(size) if size > PAGE_SIZE_MIN => {
                self.size = Some((size / 2).max(PAGE_SIZE_MIN));
                true
            }
            _ => false,
        }
    }
}

/// The subtree below `base`, as [`Pages`] wants it.
pub fn subtree<'a>(
    label: &'static str,
    base: &'a str,
    filter: &'a str,
    attributes: &'a [String],
    controls: Vec<RawControl>,
) -> Request<'a> {
    Request { label, base, scope: Scope::Subtree, filter, attributes, controls }
}

/// `SEQUENCE { size INTEGER, cookie OCTET STRING }`
fn page_control(size: u32, cookie: &[u8]) -> RawControl {
    let parts = [write_integer(INTEGER, i64::from(size)), write(OCTET_STRING, cookie)].concat();
    RawControl { ctype: PAGED_RESULTS.to_owned(), crit: true, val: Some(write(SEQUENCE, &parts)) }
}

fn read_cookie(value: &[u8]) -> Option<Vec<u8>> {
    let mut parts = Reader::new(Reader::new(value).expect(SEQUENCE).ok()?);
    parts.expect(INTEGER).ok()?;
    parts.expect(OCTET_STRING).ok().map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_reads_back() {
        let control = page_control(500, b"mark");
        assert_eq!(read_cookie(&control.val.unwrap()).unwrap(), b"mark");
        assert_eq!(read_cookie(b"junk"), None);
    }
}
