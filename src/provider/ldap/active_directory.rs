//! Incremental reading of Active Directory: DirSync where the account may,
//! `uSNChanged` otherwise.
//!
//! Both only tell *which* objects were touched; what they are now is then
//! read from the objects themselves, within the configured bases and filters.
//! A touched object that is not found there is gone, or out of scope, which
//! is the same. So attributes that a delta leaves out are never taken for
//! empty, and an object that ceases to match a filter is noticed.

use std::collections::{BTreeMap, BTreeSet};

use ldap3::Scope;
use ldap3::controls::RawControl;
use tracing::debug;

use super::answer::{
    Done, INSUFFICIENT_ACCESS, SUCCESS, UNAVAILABLE_CRITICAL_EXTENSION, UNWILLING,
};
use super::ber::{
    INTEGER, Malformed, OCTET_STRING, Reader, SEQUENCE, integer, write, write_integer,
};
use super::bookmark::{DirSync, Place, Usn};
use super::config::Incremental;
use super::crawl::{Outcome, Reading, expired, group_item, group_items, user_item};
use super::entry::Entry;
use super::pages::{Pages, subtree};
use super::ranges::{self, Range};
use super::session::{Message, Request};
use super::{dn, ids};
use crate::model::Reference;
use crate::provider::{Extent, Item, PullError, Sink};

/// Controls of Active Directory (MS-ADTS section 3.1.1.3.4.1).
const DIRSYNC: &str = "1.2.840.113556.1.4.841";
const SHOW_DELETED: &str = "1.2.840.113556.1.4.417";
const EXTENDED_DN: &str = "1.2.840.113556.1.4.529";
/// Flags of the DirSync request.
const OBJECT_SECURITY: i64 = 0x1;
const INCREMENTAL_VALUES: i64 = i32::MIN as i64;
/// How much one answer may hold; the server splits by objects.
const ANSWER_BYTES_MAX: i64 = 4 << 20;
/// `CN=Deleted Objects` by its well-known GUID.
const DELETED_OBJECTS: &str = "18E2EA80684F11D2B9AA00C04F79F805";
/// No object has the nil GUID; a search for it gets nothing but a cookie.
const NOTHING: &str = r"(objectGUID=\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00)";
/// How many objects are looked up at once.
const LOOKUP_MAX: usize = 50;
/// With more touched objects than this, reading everything is cheaper.
const TOUCHED_MAX: usize = 5_000;
const CONTAINERS: [&str; 4] = ["organizationalUnit", "container", "builtinDomain", "domainDNS"];

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
            match first_cookie(reading, &context, object_security).await? {
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
    let mut cookie = place.cookie.clone();
    loop {
        let wanted = watched_attributes(reading);
        let request = Request {
            label: "dirsync",
            base: &context,
            scope: Scope::Subtree,
            filter: "(objectClass=*)",
            attributes: &wanted,
            controls: vec![dirsync_request(&cookie, place.object_security), extended_names()],
        };
        let mut entries = Vec::new();
        let done = collect(reading, request, &mut entries).await?;
        let answer = match done.code {
            SUCCESS => dirsync_answer(&done)
                .map_err(|error| reading.session.incomplete(error.to_string()))?,
            INSUFFICIENT_ACCESS | UNWILLING | UNAVAILABLE_CRITICAL_EXTENSION => {
                return Err(expired(format!("DirSync is refused now: {}", done.text)));
            }
            _ => return Err(reading.session.error(&done, "asking for changes by DirSync")),
        };
        let answer = answer
            .ok_or_else(|| reading.session.incomplete("DirSync ended without its end mark"))?;
        for entry in &entries {
            touched.add(reading, entry)?;
        }
        sink.page(Vec::new());
        let stands_still = answer.more && answer.cookie == cookie && entries.is_empty();
        if stands_still {
            return Err(reading.session.incomplete("DirSync goes in circles"));
        }
        cookie = answer.cookie;
        if !answer.more {
            break;
        }
    }
    let moved = at.number != place.at.number;
    let place = Place::DirSync(DirSync { cookie, at, ..place });
    apply(reading, &context, touched, place, moved, sink).await
}

/// Reads what changed since `place` by update numbers.
///
/// # Errors
/// As [`dirsync`].
pub async fn usn(
    reading: &mut Reading<'_>,
    place: Usn,
    sink: &mut dyn Sink,
) -> Result<Outcome, PullError> {
    let (context, at) = resume(reading, &place).await?;
    let mut touched = Touched::default();
    let moved = at.number != place.number;
    if moved {
        let filter = format!("(uSNChanged>={})", place.number.saturating_add(1));
        let wanted = ["objectGUID", "objectClass", "isDeleted"].map(str::to_owned);
        let request = subtree("changes", &context, &filter, &wanted, vec![show_deleted()]);
        let mut pages = Pages::new(request, reading.page_size);
        while let Some(entries) = pages.next(&mut reading.session).await? {
            for entry in &entries {
                touched.add_whole(reading, entry)?;
            }
            sink.page(Vec::new());
        }
    }
    apply(reading, &context, touched, Place::Usn(at), moved, sink).await
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

/// What a delta said of one object.
#[derive(Debug, Default)]
struct Touch {
    is_deleted: bool,
    /// More than single values of its member list is new.
    is_whole: bool,
    /// It is new, renamed or moved, and perhaps what others lie below.
    is_renamed: bool,
    /// Known to be a container.
    is_container: bool,
    added: Vec<Reference>,
    removed: Vec<Reference>,
}

#[derive(Debug, Default)]
struct Touched(BTreeMap<String, Touch>);

impl Touched {
    /// From an answer of DirSync, which carries only what changed.
    fn add(&mut self, reading: &Reading<'_>, entry: &Entry) -> Result<(), PullError> {
        let touch = self.of(reading, entry)?;
        touch.is_deleted |= entry.is_true("isDeleted");
        for (name, values) in &entry.attributes {
            let lower = name.to_lowercase();
            match (Range::read(&lower), lower.as_str()) {
                (Some(range), _) if range.attribute == "member" => {
                    let members = values.iter().map(|value| reading.mapper.member(value));
                    // `1-1` joined, `0-0` left (MS-ADTS section 3.1.1.3.4.1.3).
                    if range.start == 1 {
                        touch.added.extend(members)
                    } else {
                        touch.removed.extend(members)
                    }
                }
                (
                    None,
                    "objectguid" | "instancetype" | "objectclass" | "isdeleted" | "parentguid",
                ) => {}
                (None, "name") => {
                    touch.is_renamed = true;
                    touch.is_whole = true;
                }
                _ => touch.is_whole = true,
            }
        }
        Ok(())
    }

    /// From a search, which carries the objects themselves.
    fn add_whole(&mut self, reading: &Reading<'_>, entry: &Entry) -> Result<(), PullError> {
        let is_container = CONTAINERS.iter().any(|class| entry.is_of_class(class));
        let touch = self.of(reading, entry)?;
        touch.is_deleted |= entry.is_true("isDeleted");
        touch.is_whole = true;
        touch.is_renamed = true;
        touch.is_container |= is_container;
        Ok(())
    }

    fn of(&mut self, reading: &Reading<'_>, entry: &Entry) -> Result<&mut Touch, PullError> {
        let id = reading.mapper.id(entry, "objectGUID").ok_or_else(|| {
            reading
                .session
                .incomplete(format!("a changed object without `objectGUID`: {}", entry.dn))
        })?;
        Ok(self.0.entry(id).or_default())
    }
}

/// Hands over what the touched objects are now.
async fn apply(
    reading: &mut Reading<'_>,
    context: &str,
    mut touched: Touched,
    place: Place,
    moved: bool,
    sink: &mut dyn Sink,
) -> Result<Outcome, PullError> {
    let count = touched.0.len();
    if count > TOUCHED_MAX {
        return Err(expired(format!("{count} objects changed, more than {TOUCHED_MAX}")));
    }
    if scopes_move(reading, context) && renamed_container(reading, context, &touched).await? {
        return Err(expired("a container was renamed or moved"));
    }
    let at = match &place {
        Place::DirSync(place) => &place.at,
        Place::Usn(at) => at,
        Place::Syncrepl { .. } => return Err(expired("it was made by another kind of server")),
    };
    // Deletions that the account cannot see show by what is no longer there.
    let by_presence = moved && !at.sees_deleted;
    if by_presence {
        // A crawl that lists everything needs complete member lists.
        touched.0.values_mut().for_each(|touch| touch.is_whole = true);
    }
    let live = hand_over(reading, &touched, sink).await?;
    if by_presence {
        keep_present(reading, &live, sink).await?;
    } else {
        let gone = touched.0.keys().filter(|id| !live.contains(*id));
        let gone = gone.flat_map(|id| {
            [
                Item::UserDeleted(Reference::User(id.clone())),
                Item::GroupDeleted(Reference::Group(id.clone())),
            ]
        });
        sink.page(gone.collect());
    }
    let how = match place {
        Place::DirSync(_) => "DirSync",
        _ => "uSNChanged",
    };
    Ok(Outcome {
        extent: if by_presence { Extent::Whole } else { Extent::Changes },
        place: Some(place),
        proof: format!(
            "{how}: {count} objects touched, {} of them in scope{}",
            live.len(),
            if by_presence { ", everything present was listed" } else { "" }
        ),
    })
}

/// Reads touched objects in groups of [`LOOKUP_MAX`]; returns the ids found.
async fn hand_over(
    reading: &mut Reading<'_>,
    touched: &Touched,
    sink: &mut dyn Sink,
) -> Result<BTreeSet<String>, PullError> {
    let mut live = BTreeSet::new();
    let there = touched.0.iter().filter(|(_, touch)| !touch.is_deleted);
    let there: Vec<&String> = there.map(|(id, _)| id).collect();
    for ids in there.chunks(LOOKUP_MAX) {
        hand_over_users(reading, touched, ids, &mut live, sink).await?;
    }
    let is_whole = |id: &&String| touched.0.get(*id).is_none_or(|touch| touch.is_whole);
    let (whole, partial): (Vec<&String>, Vec<&String>) = there.iter().partition(|id| is_whole(id));
    for ids in whole.chunks(LOOKUP_MAX) {
        hand_over_groups(reading, ids, &mut live, sink).await?;
    }
    for ids in partial.chunks(LOOKUP_MAX) {
        hand_over_joins(reading, touched, ids, &mut live, sink).await?;
    }
    Ok(live)
}

async fn hand_over_users(
    reading: &mut Reading<'_>,
    touched: &Touched,
    ids: &[&String],
    live: &mut BTreeSet<String>,
    sink: &mut dyn Sink,
) -> Result<(), PullError> {
    let config = reading.mapper.config;
    let by_filter = config.users.filter != config.schema.users_filter();
    let mut wanted = reading.mapper.user_attributes();
    wanted.push("memberOf".to_owned());
    for mut entry in look_up(reading, "users", &config.users, ids, &wanted).await? {
        ranges::complete(&mut reading.session, &mut entry, &[extended_names()]).await?;
        let Some(item) = reading.mapper.user(&entry) else {
            return user_item(reading, &entry).map(|_| ());
        };
        let id = item.user.id.clone();
        let mut items = vec![Item::User(item)];
        // One that came into scope was in its groups before, and their lists
        // do not change by that.
        if by_filter || touched.0.get(&id).is_none_or(|touch| touch.is_renamed) {
            items.extend(memberships(&entry, &id));
        }
        live.insert(id);
        sink.page(items);
    }
    Ok(())
}

/// The groups that the user's own entry shows. Not all that it may be in
/// (other domains), so they only ever add.
fn memberships(entry: &Entry, id: &str) -> Vec<Item> {
    let groups = entry.texts("memberOf");
    let groups = groups.iter().filter_map(|group| super::map::extended_guid(group));
    let joined = |group| Item::MembersAdded {
        group: Reference::Group(group),
        members: vec![Reference::User(id.to_owned())],
    };
    groups.map(joined).collect()
}

async fn hand_over_groups(
    reading: &mut Reading<'_>,
    ids: &[&String],
    live: &mut BTreeSet<String>,
    sink: &mut dyn Sink,
) -> Result<(), PullError> {
    let config = reading.mapper.config;
    let wanted = reading.mapper.group_attributes();
    for entry in look_up(reading, "groups", &config.groups, ids, &wanted).await? {
        live.extend(reading.mapper.id(&entry, "objectGUID"));
        let items = group_items(reading, entry, &[extended_names()]).await?;
        sink.page(items);
    }
    Ok(())
}

/// Groups of which only single members joined or left.
async fn hand_over_joins(
    reading: &mut Reading<'_>,
    touched: &Touched,
    ids: &[&String],
    live: &mut BTreeSet<String>,
    sink: &mut dyn Sink,
) -> Result<(), PullError> {
    let config = reading.mapper.config;
    let wanted = reading.mapper.group_head_attributes();
    for entry in look_up(reading, "groups", &config.groups, ids, &wanted).await? {
        let item = group_item(reading, &entry)?;
        let id = item.group.id.clone();
        let mut items = vec![Item::Group(item)];
        if let Some(touch) = touched.0.get(&id) {
            let group = || Reference::Group(id.clone());
            items.push(Item::MembersRemoved { group: group(), members: touch.removed.clone() });
            items.push(Item::MembersAdded { group: group(), members: touch.added.clone() });
        }
        live.insert(id);
        sink.page(items);
    }
    Ok(())
}

/// The objects with these ids that are in `scope`.
async fn look_up(
    reading: &mut Reading<'_>,
    label: &'static str,
    scope: &super::config::Scope,
    ids: &[&String],
    wanted: &[String],
) -> Result<Vec<Entry>, PullError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let filter = format!("(&{}{})", scope.filter, any_of(ids));
    let request = subtree(label, &scope.base, &filter, wanted, vec![extended_names()]);
    reading.session.entries(request).await
}

fn any_of(ids: &[&String]) -> String {
    let each = ids.iter().filter_map(|id| ids::guid_in_filter(id));
    let each: String = each.map(|bytes| format!("(objectGUID={bytes})")).collect();
    format!("(|{each})")
}

/// Lists everything that is there by id alone.
async fn keep_present(
    reading: &mut Reading<'_>,
    live: &BTreeSet<String>,
    sink: &mut dyn Sink,
) -> Result<(), PullError> {
    let config = reading.mapper.config;
    let wanted = ["objectGUID".to_owned()];
    let scopes = [(&config.users, true), (&config.groups, false)];
    for (scope, are_users) in scopes {
        let reference = if are_users { Reference::User } else { Reference::Group };
        let request = subtree("present", &scope.base, &scope.filter, &wanted, Vec::new());
        let mut pages = Pages::new(request, reading.page_size);
        while let Some(entries) = pages.next(&mut reading.session).await? {
            let mut items = Vec::new();
            for entry in &entries {
                let id = reading.mapper.id(entry, "objectGUID");
                let id = id.ok_or_else(|| {
                    reading.session.incomplete(format!("{} hides its id", entry.dn))
                })?;
                if !live.contains(&id) {
                    items.push(Item::Kept(reference(id)));
                }
            }
            sink.page(items);
        }
        reading.page_size = pages.size();
    }
    Ok(())
}

/// Whether moving a container could move objects into or out of scope.
fn scopes_move(reading: &Reading<'_>, context: &str) -> bool {
    let config = reading.mapper.config;
    let context = dn::normalise(context);
    [&config.users.base, &config.groups.base].iter().any(|base| dn::normalise(base) != context)
}

/// Whether a container was made, renamed or moved: what lies below it moves
/// along without being touched.
async fn renamed_container(
    reading: &mut Reading<'_>,
    context: &str,
    touched: &Touched,
) -> Result<bool, PullError> {
    let renamed = touched.0.iter().filter(|(_, touch)| touch.is_renamed && !touch.is_deleted);
    let renamed: Vec<_> = renamed.collect();
    if renamed.iter().any(|(_, touch)| touch.is_container) {
        return Ok(true);
    }
    // uSNChanged tells classes, DirSync does not.
    let unknown: Vec<&String> = renamed.iter().map(|(id, _)| *id).collect();
    let classes: String = CONTAINERS.iter().map(|class| format!("(objectClass={class})")).collect();
    for ids in unknown.chunks(LOOKUP_MAX) {
        let filter = format!("(&(|{classes}){})", any_of(ids));
        let wanted = ["1.1".to_owned()];
        let request = subtree("containers", context, &filter, &wanted, Vec::new());
        if !reading.session.entries(request).await?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
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

/// The cookie for "from now on", or how the server refuses.
async fn first_cookie(
    reading: &mut Reading<'_>,
    context: &str,
    object_security: bool,
) -> Result<Result<Vec<u8>, Done>, PullError> {
    let mut cookie = Vec::new();
    loop {
        let request = Request {
            label: "dirsync",
            base: context,
            scope: Scope::Subtree,
            filter: NOTHING,
            attributes: &["objectGUID".to_owned()],
            controls: vec![dirsync_request(&cookie, object_security)],
        };
        let done = collect(reading, request, &mut Vec::new()).await?;
        if done.code != SUCCESS {
            return Ok(Err(done));
        }
        let answer =
            dirsync_answer(&done).map_err(|error| reading.session.incomplete(error.to_string()))?;
        let Some(answer) = answer else { return Ok(Err(done)) };
        let stands_still = answer.more && answer.cookie == cookie;
        cookie = answer.cookie;
        if stands_still {
            return Err(reading.session.incomplete("DirSync goes in circles"));
        }
        if !answer.more {
            return Ok(Ok(cookie));
        }
    }
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

fn show_deleted() -> RawControl {
    RawControl { ctype: SHOW_DELETED.to_owned(), crit: true, val: None }
}

/// `SEQUENCE { Flag INTEGER }`, 1 for the readable form.
pub fn extended_names() -> RawControl {
    let value = write(SEQUENCE, &write_integer(INTEGER, 1));
    RawControl { ctype: EXTENDED_DN.to_owned(), crit: false, val: Some(value) }
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
