//! Incremental reading by content synchronisation, refreshOnly (RFC 4533).
//!
//! Three searches a poll, each with a cookie of its own: users, groups, and
//! containers. The last is there because renaming a container renames
//! everything below it without touching it; then everything is read anew.

use std::collections::{BTreeSet, HashSet};

use ldap3::Scope;
use ldap3::controls::RawControl;

use super::answer::{
    ADMIN_LIMIT, Done, SIZE_LIMIT, SUCCESS, SYNC_REFRESH_REQUIRED, TIME_LIMIT,
    UNAVAILABLE_CRITICAL_EXTENSION, UNWILLING,
};
use super::ber::{
    BOOLEAN, ENUMERATED, Malformed, OCTET_STRING, Reader, SEQUENCE, SET, integer, write,
    write_integer,
};
use super::bookmark::Place;
use super::config::Incremental;
use super::crawl::{Outcome, Reading, expired, group_items, user_item};
use super::entry::Entry;
use super::root::Flavour;
use super::session::{Message, Request};
use super::{dn, ids};
use crate::model::Reference;
use crate::provider::{Extent, Item, PullError, Sink};

pub const SYNC_REQUEST: &str = "1.3.6.1.4.1.4203.1.9.1.1";
const SYNC_STATE: &str = "1.3.6.1.4.1.4203.1.9.1.2";
const SYNC_DONE: &str = "1.3.6.1.4.1.4203.1.9.1.3";
const SYNC_INFO: &[u8] = b"1.3.6.1.4.1.4203.1.9.1.4";
const REFRESH_ONLY: i64 = 1;
/// With more changes than this a full crawl, in pages, takes less memory.
const CHANGED_MAX: usize = 50_000;

/// No entry has the nil UUID; a search for it gets nothing but a cookie.
const NOTHING: &str = "(entryUUID=00000000-0000-0000-0000-000000000000)";
const CONTAINERS: &str = "(|(objectClass=organizationalUnit)(objectClass=organization)\
    (objectClass=domain)(objectClass=dcObject)(objectClass=locality)(objectClass=country))";

/// Takes cookies for "from now on".
///
/// # Errors
/// When the server does not answer, or was told to offer this and does not.
pub async fn begin(reading: &mut Reading<'_>) -> Result<Option<Place>, PullError> {
    let config = reading.mapper.config;
    let base = dn::normalise(&config.base);
    let bases = [&config.users.base, &config.groups.base];
    // Containers are watched below `base` only.
    let is_watched = bases.iter().all(|scope| dn::is_within(&dn::normalise(scope), &base));
    if !is_watched || !reading.root.supports(SYNC_REQUEST) {
        return not_offered(reading);
    }
    let mut cookies = Vec::new();
    for base in [&config.users.base, &config.groups.base, &config.base] {
        match cookie_for(reading, base).await? {
            Some(cookie) => cookies.push(cookie),
            None => return not_offered(reading),
        }
    }
    let [users, groups, containers] = <[Vec<u8>; 3]>::try_from(cookies).unwrap_or_default();
    Ok(Some(Place::Syncrepl { users, groups, containers }))
}

fn not_offered(reading: &Reading<'_>) -> Result<Option<Place>, PullError> {
    if reading.mapper.config.incremental != Incremental::Syncrepl {
        return Ok(None);
    }
    Err(PullError::Misconfigured {
        what: reading.session.url().to_owned(),
        reason: "the server does not offer content synchronisation (RFC 4533)".to_owned(),
        hint: "load the `syncprov` overlay there, or leave `incremental` out".to_owned(),
    })
}

/// `None` when the server announces the control and yet refuses it there
/// (databases without the overlay).
async fn cookie_for(reading: &mut Reading<'_>, base: &str) -> Result<Option<Vec<u8>>, PullError> {
    let request = Request {
        label: "sync",
        base,
        scope: Scope::Subtree,
        filter: NOTHING,
        attributes: &["1.1".to_owned()],
        controls: vec![sync_request(None)],
    };
    let done = reading.session.search(request, &mut |_| Ok(())).await?;
    match done.code {
        SUCCESS => Ok(end_of(&done)
            .map_err(|error| unreadable(reading, error))?
            .and_then(|end| end.cookie)),
        UNAVAILABLE_CRITICAL_EXTENSION | UNWILLING => Ok(None),
        _ => Err(reading.session.error(&done, &format!("searching {base}"))),
    }
}

/// Reads what changed since `cookies` (users, groups, containers).
///
/// # Errors
/// [`PullError::CursorExpired`] also when a container was renamed.
pub async fn changes(
    reading: &mut Reading<'_>,
    cookies: [Vec<u8>; 3],
    sink: &mut dyn Sink,
) -> Result<Outcome, PullError> {
    let config = reading.mapper.config;
    let [user_cookie, group_cookie, container_cookie] = cookies;

    let wanted = ["hasSubordinates".to_owned()];
    let search = Search {
        label: "sync containers",
        base: &config.base,
        filter: CONTAINERS,
        wanted: &wanted,
    };
    let containers = sweep(reading, &search, container_cookie).await?;
    if containers.changed.iter().any(|(_, entry)| !is_empty(entry)) {
        return Err(expired("a container was renamed or changed"));
    }
    sink.page(Vec::new());

    let wanted = reading.mapper.user_attributes();
    let search = Search {
        label: "sync users",
        base: &config.users.base,
        filter: &config.users.filter,
        wanted: &wanted,
    };
    let users = sweep(reading, &search, user_cookie).await?;
    sink.page(Vec::new());

    let wanted = reading.mapper.group_attributes();
    let search = Search {
        label: "sync groups",
        base: &config.groups.base,
        filter: &config.groups.filter,
        wanted: &wanted,
    };
    let mut groups = sweep(reading, &search, group_cookie).await?;

    if users.names_all != groups.names_all {
        return Err(expired("the server no longer knows what was deleted"));
    }
    let extent = if users.names_all { Extent::Whole } else { Extent::Changes };
    let proof = format!(
        "content synchronisation: {} users and {} groups changed, {}",
        users.changed.len(),
        groups.changed.len(),
        if users.names_all { "everything present was named" } else { "deletions were named" },
    );
    let place = Place::Syncrepl {
        users: users.cookie.clone(),
        groups: groups.cookie.clone(),
        containers: containers.cookie,
    };
    let mut items = users.others(Reference::User, Item::UserDeleted);
    items.extend(groups.others(Reference::Group, Item::GroupDeleted));
    sink.page(items);
    let changed = users.changed.iter();
    let items = changed.map(|(_, entry)| user_item(reading, entry)).collect::<Result<_, _>>()?;
    sink.page(items);
    for (_, entry) in std::mem::take(&mut groups.changed) {
        let items = group_items(reading, entry, &[]).await?;
        sink.page(items);
    }
    Ok(Outcome { extent, place: Some(place), proof })
}

/// One of the three searches.
struct Search<'a> {
    label: &'static str,
    base: &'a str,
    filter: &'a str,
    wanted: &'a [String],
}

/// What one search told.
#[derive(Debug, Default)]
struct Sweep {
    changed: Vec<(String, Entry)>,
    /// Ids that are there, unchanged.
    present: HashSet<String>,
    deleted: HashSet<String>,
    /// Present phase: what was not named is gone.
    names_all: bool,
    cookie: Vec<u8>,
}

impl Sweep {
    fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.present.is_empty() && self.deleted.is_empty()
    }

    /// What is to be said of objects that did not come with the answer. An
    /// object that came is there, whatever else was said of it.
    fn others(
        &self,
        reference: fn(String) -> Reference,
        deletion: fn(Reference) -> Item,
    ) -> Vec<Item> {
        let came: HashSet<&String> = self.changed.iter().map(|(id, _)| id).collect();
        let deleted = self.deleted.iter().filter(|id| !came.contains(id)).cloned();
        let deleted = deleted.map(|id| deletion(reference(id)));
        let present = self.present.iter().filter(|id| !came.contains(id)).cloned();
        let present = present.map(|id| Item::Kept(reference(id)));
        deleted.chain(present).collect()
    }

    fn take(&mut self, message: Message) -> Result<(), Malformed> {
        match message {
            Message::Entry(entry, controls) => {
                let control = controls.iter().find(|control| control.ctype == SYNC_STATE);
                let value = control.and_then(|control| control.val.as_deref());
                let (state, id) =
                    read_state(value.ok_or(Malformed("an entry without its sync state"))?)?;
                match state {
                    0 => drop(self.present.insert(id)),
                    3 => drop(self.deleted.insert(id)),
                    _ => self.changed.push((id, entry)),
                }
            }
            Message::Intermediate(name, value) if name == SYNC_INFO => self.take_info(&value)?,
            Message::Intermediate(..) => {}
        }
        Ok(())
    }

    /// `syncInfoValue`, RFC 4533 section 2.5. Only the id sets matter to a
    /// client that does not persist.
    fn take_info(&mut self, value: &[u8]) -> Result<(), Malformed> {
        const SYNC_ID_SET: u8 = 0xa3;
        let Some(element) = Reader::new(value).next()? else { return Ok(()) };
        if element.tag != SYNC_ID_SET {
            return Ok(());
        }
        let mut parts = Reader::new(element.body);
        parts.optional(OCTET_STRING)?;
        let deletes = is_true(parts.optional(BOOLEAN)?);
        let mut set = Reader::new(parts.expect(SET)?);
        let into = if deletes { &mut self.deleted } else { &mut self.present };
        while !set.is_empty() {
            into.insert(ids::uuid(set.expect(OCTET_STRING)?).ok_or(NO_UUID)?);
        }
        Ok(())
    }
}

async fn sweep(
    reading: &mut Reading<'_>,
    search: &Search<'_>,
    cookie: Vec<u8>,
) -> Result<Sweep, PullError> {
    let request = Request {
        label: search.label,
        base: search.base,
        scope: Scope::Subtree,
        filter: search.filter,
        attributes: search.wanted,
        controls: vec![sync_request(Some(&cookie))],
    };
    if reading.root.flavour == Flavour::OpenLdap && origins(&cookie).is_empty() {
        return Err(expired("it says nothing that this server understands"));
    }
    let what = reading.session.url().to_owned();
    let mut swept = Sweep { cookie, ..Sweep::default() };
    let mut take = |message| {
        let unreadable = |error: Malformed| PullError::Incomplete {
            what: what.clone(),
            reason: error.to_string(),
        };
        swept.take(message).map_err(unreadable)?;
        if swept.changed.len() > CHANGED_MAX {
            return Err(expired(format!("more than {CHANGED_MAX} objects changed")));
        }
        Ok(())
    };
    let done = reading.session.search(request, &mut take).await?;
    match done.code {
        SUCCESS => {}
        SYNC_REFRESH_REQUIRED => return Err(expired("the server asks to read everything anew")),
        TIME_LIMIT | SIZE_LIMIT | ADMIN_LIMIT => {
            return Err(expired(format!(
                "more changed than the server lets through at once (result {})",
                done.code
            )));
        }
        // OpenLDAP, when its database is older than the cookie.
        UNWILLING => return Err(expired(format!("the server does not take it: {}", done.text))),
        _ => return Err(reading.session.error(&done, &format!("searching {}", search.base))),
    }
    let end = end_of(&done).map_err(|error| unreadable(reading, error))?.ok_or_else(|| {
        reading.session.incomplete("the synchronisation ended without its end mark")
    })?;
    swept.names_all = !end.deletes_named;
    swept.cookie = match end.cookie {
        Some(cookie) if origins(&cookie) != origins(&swept.cookie) => {
            return Err(expired("it does not know of all servers that made changes"));
        }
        Some(cookie) => cookie,
        // A server that has nothing new need not send its cookie again.
        None if swept.is_empty() => swept.cookie,
        None => return Err(expired("the server takes it for none")),
    };
    Ok(swept)
}

/// The ids of the servers whose changes a cookie of OpenLDAP covers:
/// `rid=000,csn=TIME#COUNT#SERVER#MOD;…`.
///
/// To a cookie that does not cover all of them (or that it cannot read at
/// all) OpenLDAP sends everything as changed and then says that it named the
/// deletions, which it did not.
fn origins(cookie: &[u8]) -> BTreeSet<&[u8]> {
    let fields = cookie.split(|byte| *byte == b',');
    let stamps = fields.filter_map(|field| field.strip_prefix(b"csn="));
    let stamps = stamps.flat_map(|stamps| stamps.split(|byte| *byte == b';'));
    stamps.filter_map(|stamp| stamp.split(|byte| *byte == b'#').nth(2)).collect()
}

/// `syncDoneValue`, RFC 4533 section 2.4.
struct End {
    cookie: Option<Vec<u8>>,
    deletes_named: bool,
}

fn end_of(done: &Done) -> Result<Option<End>, Malformed> {
    let Some(value) = done.control(SYNC_DONE) else { return Ok(None) };
    let mut parts = Reader::new(Reader::new(value).expect(SEQUENCE)?);
    let cookie = parts.optional(OCTET_STRING)?.map(<[u8]>::to_vec);
    let deletes_named = is_true(parts.optional(BOOLEAN)?);
    Ok(Some(End { cookie, deletes_named }))
}

/// `syncStateValue`, RFC 4533 section 2.3: the state and the id.
pub(super) fn read_state(value: &[u8]) -> Result<(i64, String), Malformed> {
    let mut parts = Reader::new(Reader::new(value).expect(SEQUENCE)?);
    let state = integer(parts.expect(ENUMERATED)?)?;
    let id = ids::uuid(parts.expect(OCTET_STRING)?).ok_or(NO_UUID)?;
    Ok((state, id))
}

/// `syncRequestValue`, RFC 4533 section 2.2.
fn sync_request(cookie: Option<&[u8]>) -> RawControl {
    let mut parts = write_integer(ENUMERATED, REFRESH_ONLY);
    parts.extend(cookie.map(|cookie| write(OCTET_STRING, cookie)).unwrap_or_default());
    RawControl { ctype: SYNC_REQUEST.to_owned(), crit: true, val: Some(write(SEQUENCE, &parts)) }
}

const NO_UUID: Malformed = Malformed("an id that is no UUID");

/// DEFAULT FALSE.
fn is_true(value: Option<&[u8]>) -> bool {
    value.is_some_and(|value| value.first().is_some_and(|byte| *byte != 0))
}

/// Renaming an empty container renames nothing else.
fn is_empty(entry: &Entry) -> bool {
    entry.text("hasSubordinates").is_some_and(|text| text.eq_ignore_ascii_case("false"))
}

fn unreadable(reading: &Reading<'_>, error: Malformed) -> PullError {
    reading.session.incomplete(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 16] = [7; 16];

    fn id_set(deletes: Option<bool>) -> Vec<u8> {
        let mut parts = write(OCTET_STRING, b"cookie");
        parts.extend(deletes.map(|d| write(BOOLEAN, &[u8::from(d) * 0xff])).unwrap_or_default());
        parts.extend(write(SET, &write(OCTET_STRING, &ID)));
        write(0xa3, &parts)
    }

    #[test]
    fn an_id_set_names_what_is_gone_or_what_is_there() {
        let id = ids::uuid(&ID).unwrap();
        let mut sweep = Sweep::default();
        sweep.take_info(&id_set(Some(true))).unwrap();
        assert!(sweep.deleted.contains(&id) && sweep.present.is_empty());
        sweep.take_info(&id_set(None)).unwrap();
        assert!(sweep.present.contains(&id));
        assert!(
            sweep.take_info(&write(0xa3, &write(SET, &write(OCTET_STRING, b"short")))).is_err()
        );
    }

    #[test]
    fn a_cookie_names_the_servers_it_covers() {
        let cookie = b"rid=000,sid=001,csn=20261121022322.037595Z#000000#001#000000;20260101000000.000000Z#000000#002#000000";
        assert_eq!(origins(cookie), BTreeSet::from([&b"001"[..], b"002"]));
        assert_eq!(origins(b"nonsense"), BTreeSet::new());
        assert_eq!(origins(b"rid=000,csn=garbage"), BTreeSet::new());
    }

    #[test]
    fn what_came_with_the_answer_is_there() {
        let id = ids::uuid(&ID).unwrap();
        let mut sweep = Sweep { changed: vec![(id.clone(), Entry::default())], ..Sweep::default() };
        sweep.deleted.insert(id);
        assert_eq!(sweep.others(Reference::User, Item::UserDeleted), []);
    }

    #[test]
    fn the_end_mark_defaults_to_the_present_phase() {
        let done = |parts: &[u8]| Done {
            controls: vec![RawControl {
                ctype: SYNC_DONE.to_owned(),
                crit: false,
                val: Some(write(SEQUENCE, parts)),
            }],
            ..Done::default()
        };
        let end = end_of(&done(&write(OCTET_STRING, b"c"))).unwrap().unwrap();
        assert!(!end.deletes_named);
        assert_eq!(end.cookie.unwrap(), b"c");
        assert!(end_of(&done(&write(BOOLEAN, &[0xff]))).unwrap().unwrap().deletes_named);
        assert!(end_of(&Done::default()).unwrap().is_none());
    }
}
