//! Reads again one group that the feed named, or whose turn it is.

use serde_json::Value;

use super::super::api::{Api, Found};
use super::super::map;
use super::super::members::{self, KnownGroup, Members, Reading};
use super::super::touched::{Last, Touch, Touched};
use crate::model::Reference;
use crate::provider::{Item, PullError};

/// What reading a touched group came to.
#[derive(Default)]
pub(super) struct Reread {
    pub name: String,
    pub gone: Vec<Reference>,
    pub object: Option<Value>,
    pub list: Option<(String, Reading)>,
    /// Addresses that left, by the feed.
    pub left: Vec<String>,
    /// The effect of every event shows.
    pub shows: bool,
}

/// Reads a group that the feed named: by its id where only its members
/// changed, else by the name, since another group may have that by now.
pub(super) async fn reread(
    api: &Api,
    name: String,
    touch: &Touch,
    known: Option<KnownGroup>,
) -> Result<Reread, PullError> {
    let left = touch.left().cloned().collect();
    let mut reread = Reread { name, shows: true, left, ..Reread::default() };
    if let Some(known) = known.as_ref().filter(|_| !touch.object) {
        let count = known.count.map(|count| count.saturating_sub(reread.left.len() as u64));
        match members::read(api, &known.id, count).await? {
            Reading::Gone => reread.gone.push(Reference::Group(known.id.clone())),
            reading => {
                reread.shows = shows(touch, &reading);
                reread.list = Some((known.id.clone(), reading));
                return Ok(reread);
            }
        }
    }
    let found = api.group(&reread.name).await?;
    if found == Found::Closed {
        return Ok(reread);
    }
    let object = found.object();
    let id = object.as_ref().and_then(map::id_of);
    if touch.deleted && id.is_none() {
        reread.gone.push(named(&reread.name));
    }
    // The object itself says that it is gone.
    if let Some(known) = known.filter(|known| Some(&known.id) != id.as_ref())
        && reread.gone.is_empty()
        && (known.id == reread.name || api.group(&known.id).await? == Found::Missing)
    {
        reread.gone.push(Reference::Group(known.id));
    }
    if touch.deleted && id.is_some() && reread.gone.is_empty() {
        reread.gone.push(named(&reread.name));
    }
    reread.shows = match touch.last {
        Some(Last::Created) => id.is_some(),
        Some(Last::Deleted) => id.is_none(),
        None => true,
    };
    if let (Some(id), Some(object)) = (id, object) {
        let reading = members::read(api, &id, map::count_of(&object)).await?;
        reread.shows &= shows(touch, &reading);
        reread.list = Some((id, reading));
        reread.object = Some(object);
    }
    Ok(reread)
}

/// Many groups at once that make no sense are an outage: the next poll reads
/// them. Those that were odd before, and are tried again, do not count.
pub(super) fn check_odd(touched: &Touched, rereads: &[Reread]) -> Result<(), PullError> {
    let is_told = |reread: &&Reread| {
        touched.groups.get(&reread.name).is_some_and(|touch| !touch.events.is_empty())
    };
    let is_odd = |reread: &&Reread| {
        matches!(&reread.list, Some((_, Reading::Kept { is_forbidden: false, .. })))
    };
    let told = rereads.iter().filter(is_told).count() as u64;
    let odd = rereads.iter().filter(is_told).filter(is_odd).count() as u64;
    if members::too_many(odd, told.max(odd + 1)) { Err(members::outage(odd, told)) } else { Ok(()) }
}

/// Whom the feed means by the name of a group.
fn named(name: &str) -> Reference {
    match name.contains('@') {
        true => Reference::Alias(map::mail_alias(name)),
        false => Reference::Group(name.to_owned()),
    }
}

/// A short list removes nobody, but those are gone whom it lacks and of whom
/// the feed says that they left.
pub(super) fn departed(group: &str, members: &Members, left: &[String]) -> Option<Item> {
    let gone = left.iter().filter(|email| email.contains('@') && !members.has(email));
    let members: Vec<Reference> =
        gone.map(|email| Reference::Alias(map::mail_alias(email))).collect();
    let group = Reference::Group(group.to_owned());
    (!members.is_empty()).then_some(Item::MembersRemoved { group, members })
}

/// Whether the list is what the feed says it should be.
fn shows(touch: &Touch, reading: &Reading) -> bool {
    match reading {
        Reading::Whole(members) => {
            touch.expected.iter().all(|(email, joined)| members.has(email) == *joined)
        }
        Reading::Short { .. } | Reading::Kept { .. } => false,
        Reading::Gone => true,
    }
}
