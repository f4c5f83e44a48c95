//! Incremental reading of Active Directory: DirSync where the account may,
//! `uSNChanged` otherwise.
//!
//! | Room | What happens there |
//! |---|---|
//! | `dirsync` | the deltas that the controller keeps for us, and its cookie |
//! | `numbers` | objects with a higher update number than the last one |
//! | `touched` | what the objects are now that either of them told of |
//!
//! Both only tell *which* objects were touched; what they are now is then
//! read from the objects themselves, within the configured bases and filters.
//! A touched object that is not found there is gone, or out of scope, which
//! is the same. So attributes that a delta leaves out are never taken for
//! empty, and an object that ceases to match a filter is noticed.

mod dirsync;
mod numbers;
mod touched;

use ldap3::Scope;
use ldap3::controls::RawControl;
use tracing::debug;

use super::answer::{Done, SUCCESS};
use super::ber::{INTEGER, SEQUENCE, write, write_integer};
use super::bookmark::{DirSync, Place, Usn};
use super::config::Incremental;
use super::crawl::{Reading, expired};
use super::entry::Entry;
use super::session::{Message, Request};
use super::{dn, ids};
use crate::provider::PullError;

pub use self::dirsync::dirsync;
pub use self::numbers::usn;

/// Controls of Active Directory (MS-ADTS section 3.1.1.3.4.1).
const SHOW_DELETED: &str = "1.2.840.113556.1.4.417";
const EXTENDED_DN: &str = "1.2.840.113556.1.4.529";
/// `CN=Deleted Objects` by its well-known GUID.
const DELETED_OBJECTS: &str = "18E2EA80684F11D2B9AA00C04F79F805";

/// Takes marks for "from now on".
///
/// # Errors
/// When the server does not answer, or refuses what was asked for by name.
pub async fn begin(reading: &mut Reading<'_>) -> Result<Option<Place>, PullError> {
    let Some(number) = reading.root.highest_usn() else { return Ok(None) };
    let Some(context) = context(reading) else { return Ok(None) };
    let controller = controller(reading).await?;
    let sees_deleted = sees_deleted(reading, &context).await?;
    let at = Usn { controller, number, sees_deleted };
    let mode = reading.mapper.config.incremental;
    if mode != Incremental::Usn {
        for object_security in [false, true] {
            match dirsync::first_cookie(reading, &context, object_security).await? {
                Ok(cookie) => {
                    return Ok(Some(Place::DirSync(DirSync { cookie, object_security, at })));
                }
                Err(refusal) if mode == Incremental::DirSync && object_security => {
                    return Err(reading.session.error(&refusal, "asking for changes by DirSync"));
                }
                Err(refusal) => {
                    debug!(object_security, code = refusal.code, "DirSync is refused");
                }
            }
        }
    }
    Ok(Some(Place::Usn(at)))
}

/// Checks that this is the controller of the mark, and takes the next one,
/// before anything is read.
async fn resume(reading: &mut Reading<'_>, place: &Usn) -> Result<(String, Usn), PullError> {
    let context = context(reading).ok_or_else(|| expired("the server no longer holds `base`"))?;
    let controller = controller(reading).await?;
    if controller != place.controller {
        return Err(expired("another domain controller answers, or this one was restored"));
    }
    let number =
        reading.root.highest_usn().ok_or_else(|| expired("the server hides its update number"))?;
    if number < place.number {
        return Err(expired("the server's update number went back"));
    }
    Ok((context, Usn { controller, number, sees_deleted: place.sees_deleted }))
}

/// The naming context that is searched for changes.
fn context(reading: &Reading<'_>) -> Option<String> {
    let config = reading.mapper.config;
    let context = reading.root.context_of(&config.users.base)?;
    (reading.root.context_of(&config.groups.base).as_ref() == Some(&context)).then_some(context)
}

/// The identity of the controller and of its database.
async fn controller(reading: &mut Reading<'_>) -> Result<String, PullError> {
    let Some(service) = reading.root.service() else { return Ok(String::new()) };
    let wanted = ["invocationId".to_owned()];
    let settings = reading.session.entry("controller", &service, &wanted, Vec::new()).await?;
    let incarnation = settings
        .and_then(|entry| ids::guid(entry.values("invocationId").first()?))
        .unwrap_or_default();
    Ok(format!("{}#{incarnation}", dn::normalise(&service)))
}

/// Whether the account may look into `CN=Deleted Objects`.
async fn sees_deleted(reading: &mut Reading<'_>, context: &str) -> Result<bool, PullError> {
    let place = format!("<WKGUID={DELETED_OBJECTS},{context}>");
    let wanted = ["objectGUID".to_owned()];
    let request = Request {
        label: "deleted objects",
        base: &place,
        scope: Scope::Base,
        filter: "(objectClass=*)",
        attributes: &wanted,
        controls: vec![show_deleted()],
    };
    let mut entries = Vec::new();
    let done = collect(reading, request, &mut entries).await?;
    Ok(done.code == SUCCESS && entries.iter().any(|entry| !entry.values("objectGUID").is_empty()))
}

async fn collect(
    reading: &mut Reading<'_>,
    request: Request<'_>,
    entries: &mut Vec<Entry>,
) -> Result<Done, PullError> {
    let mut take = |message| {
        if let Message::Entry(entry, _) = message {
            entries.push(entry);
        }
        Ok(())
    };
    reading.session.search(request, &mut take).await
}

fn show_deleted() -> RawControl {
    RawControl { ctype: SHOW_DELETED.to_owned(), crit: true, val: None }
}

/// `SEQUENCE { Flag INTEGER }`, 1 for the readable form.
pub fn extended_names() -> RawControl {
    let value = write(SEQUENCE, &write_integer(INTEGER, 1));
    RawControl { ctype: EXTENDED_DN.to_owned(), crit: false, val: Some(value) }
}
