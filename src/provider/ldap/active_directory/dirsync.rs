//! DirSync: the controller tells what changed since the cookie that it gave.

use ldap3::Scope;
use ldap3::controls::RawControl;

use super::touched::{Touched, apply};
use super::{collect, extended_names, resume};
use crate::provider::ldap::answer::{
    Done, INSUFFICIENT_ACCESS, SUCCESS, UNAVAILABLE_CRITICAL_EXTENSION, UNWILLING,
};
use crate::provider::ldap::ber::{
    INTEGER, Malformed, OCTET_STRING, Reader, SEQUENCE, integer, write, write_integer,
};
use crate::provider::ldap::bookmark::{DirSync, Place};
use crate::provider::ldap::crawl::{Outcome, Reading, expired};
use crate::provider::ldap::entry::Entry;
use crate::provider::ldap::session::Request;
use crate::provider::{PullError, Sink};

/// The control of MS-ADTS section 3.1.1.3.4.1.3.
const DIRSYNC: &str = "1.2.840.113556.1.4.841";
/// Flags of the request.
const OBJECT_SECURITY: i64 = 0x1;
const INCREMENTAL_VALUES: i64 = i32::MIN as i64;
/// How much one answer may hold; the server splits by objects.
const ANSWER_BYTES_MAX: i64 = 4 << 20;
/// No object has the nil GUID; a search for it gets nothing but a cookie.
const NOTHING: &str = r"(objectGUID=\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00)";

/// Reads what changed since `place` by DirSync.
///
/// # Errors
/// [`PullError::CursorExpired`] when another controller answers, or this one
/// was restored.
pub async fn dirsync(
    reading: &mut Reading<'_>,
    place: DirSync,
    sink: &mut dyn Sink,
) -> Result<Outcome, PullError> {
    let (context, at) = resume(reading, &place.at).await?;
    let mut touched = Touched::default();
    let wanted = watched_attributes(reading);
    let mut round = Round {
        context: &context,
        filter: "(objectClass=*)",
        wanted: &wanted,
        names: Some(extended_names()),
        object_security: place.object_security,
        cookie: place.cookie.clone(),
        more: true,
    };
    while let Some(step) = round.next(reading).await? {
        for entry in &step.map_err(|done| refused(reading, &done))? {
            touched.add(reading, entry)?;
        }
        sink.page(Vec::new());
    }
    let (cookie, moved) = (round.cookie, at.number != place.at.number);
    let place = Place::DirSync(DirSync { cookie, at, ..place });
    apply(reading, &context, touched, place, moved, sink).await
}

/// The cookie for "from now on", or how the server refuses.
pub async fn first_cookie(
    reading: &mut Reading<'_>,
    context: &str,
    object_security: bool,
) -> Result<Result<Vec<u8>, Done>, PullError> {
    let wanted = ["objectGUID".to_owned()];
    let mut round = Round {
        context,
        filter: NOTHING,
        wanted: &wanted,
        names: None,
        object_security,
        cookie: Vec::new(),
        more: true,
    };
    while let Some(step) = round.next(reading).await? {
        if let Err(refusal) = step {
            return Ok(Err(refusal));
        }
    }
    Ok(Ok(round.cookie))
}

/// Asks again and again, until the server says that there is no more.
struct Round<'a> {
    context: &'a str,
    filter: &'a str,
    wanted: &'a [String],
    names: Option<RawControl>,
    object_security: bool,
    /// The newest one.
    cookie: Vec<u8>,
    more: bool,
}

impl Round<'_> {
    /// The objects of the next answer, or how the server refuses; `None` at the
    /// end.
    async fn next(
        &mut self,
        reading: &mut Reading<'_>,
    ) -> Result<Option<Result<Vec<Entry>, Done>>, PullError> {
        if !self.more {
            return Ok(None);
        }
        let mut controls = vec![dirsync_request(&self.cookie, self.object_security)];
        controls.extend(self.names.clone());
        let request = Request {
            label: "dirsync",
            base: self.context,
            scope: Scope::Subtree,
            filter: self.filter,
            attributes: self.wanted,
            controls,
        };
        let mut entries = Vec::new();
        let done = collect(reading, request, &mut entries).await?;
        if done.code != SUCCESS {
            return Ok(Some(Err(done)));
        }
        let answer =
            dirsync_answer(&done).map_err(|error| reading.session.incomplete(error.to_string()))?;
        let Some(answer) = answer else { return Ok(Some(Err(done))) };
        if answer.more && answer.cookie == self.cookie && entries.is_empty() {
            return Err(reading.session.incomplete("DirSync goes in circles"));
        }
        (self.cookie, self.more) = (answer.cookie, answer.more);
        Ok(Some(Ok(entries)))
    }
}

fn refused(reading: &Reading<'_>, done: &Done) -> PullError {
    match done.code {
        SUCCESS => reading.session.incomplete("DirSync ended without its end mark"),
        INSUFFICIENT_ACCESS | UNWILLING | UNAVAILABLE_CRITICAL_EXTENSION => {
            expired(format!("DirSync is refused now: {}", done.text))
        }
        _ => reading.session.error(done, "asking for changes by DirSync"),
    }
}

/// The attributes whose changes matter; DirSync reports no others.
fn watched_attributes(reading: &Reading<'_>) -> Vec<String> {
    let config = reading.mapper.config;
    let mut watched = reading.mapper.user_attributes();
    watched.extend(reading.mapper.group_attributes());
    watched.extend(["name", "isDeleted", "objectCategory"].map(str::to_owned));
    for filter in [&config.users.filter, &config.groups.filter] {
        watched.extend(attributes_of(filter));
    }
    watched.sort_by_key(|name| name.to_lowercase());
    watched.dedup_by_key(|name| name.to_lowercase());
    watched
}

/// The attributes that a filter looks at (RFC 4515).
fn attributes_of(filter: &str) -> Vec<String> {
    let items = filter.split('(').filter_map(|item| item.split_once('='));
    let names = items.map(|(name, _)| {
        let name = name.trim_end_matches(['>', '<', '~']);
        name.split([':', ';']).next().unwrap_or_default().trim().to_owned()
    });
    names.filter(|name| !name.is_empty()).collect()
}

struct Answer {
    more: bool,
    cookie: Vec<u8>,
}

/// `SEQUENCE { MoreResults INTEGER, unused INTEGER, CookieServer OCTET STRING }`
fn dirsync_answer(done: &Done) -> Result<Option<Answer>, Malformed> {
    let Some(value) = done.control(DIRSYNC) else { return Ok(None) };
    let mut parts = Reader::new(Reader::new(value).expect(SEQUENCE)?);
    let more = integer(parts.expect(INTEGER)?)? != 0;
    parts.expect(INTEGER)?;
    let cookie = parts.expect(OCTET_STRING)?.to_vec();
    Ok(Some(Answer { more, cookie }))
}

/// `SEQUENCE { Flags INTEGER, MaxBytes INTEGER, Cookie OCTET STRING }`
fn dirsync_request(cookie: &[u8], object_security: bool) -> RawControl {
    let flags = INCREMENTAL_VALUES | if object_security { OBJECT_SECURITY } else { 0 };
    let parts = [
        write_integer(INTEGER, flags),
        write_integer(INTEGER, ANSWER_BYTES_MAX),
        write(OCTET_STRING, cookie),
    ];
    let value = write(SEQUENCE, &parts.concat());
    RawControl { ctype: DIRSYNC.to_owned(), crit: true, val: Some(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attributes_of_a_filter_are_found() {
        let filter = "(&(objectCategory=person)(!(userAccountControl:1.2.840.113556.1.4.803:=2))(age>=7)(cn~=x))";
        assert_eq!(attributes_of(filter), ["objectCategory", "userAccountControl", "age", "cn"]);
    }

    #[test]
    fn the_request_fits_32_bits() {
        let value = dirsync_request(b"", true).val.unwrap();
        let mut parts = Reader::new(Reader::new(&value).expect(SEQUENCE).unwrap());
        assert_eq!(parts.expect(INTEGER).unwrap(), [0x80, 0, 0, 1]);
    }

    #[test]
    fn an_answer_without_the_control_is_none() {
        assert!(dirsync_answer(&Done::default()).unwrap().is_none());
    }
}
