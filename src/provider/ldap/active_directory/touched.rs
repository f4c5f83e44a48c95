//! What touched objects are now: read from the objects themselves.

use std::collections::{BTreeMap, BTreeSet};

use super::extended_names;
use crate::model::Reference;
use crate::provider::ldap::bookmark::Place;
use crate::provider::ldap::crawl::{Outcome, Reading, expired, group_item, group_items, user_item};
use crate::provider::ldap::entry::Entry;
use crate::provider::ldap::pages::{Pages, subtree};
use crate::provider::ldap::ranges::{self, Range};
use crate::provider::ldap::{dn, ids, map};
use crate::provider::{Extent, Item, PullError, Sink, UserItem};

/// How many objects are looked up at once.
const LOOKUP_MAX: usize = 50;
/// With more touched objects than this, reading everything is cheaper.
const TOUCHED_MAX: usize = 5_000;
const CONTAINERS: [&str; 4] = ["organizationalUnit", "container", "builtinDomain", "domainDNS"];

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

/// All of them, by id.
#[derive(Debug, Default)]
pub struct Touched(BTreeMap<String, Touch>);

impl Touched {
    /// From an answer of DirSync, which carries only what changed.
    pub fn add(&mut self, reading: &Reading<'_>, entry: &Entry) -> Result<(), PullError> {
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
    pub fn add_whole(&mut self, reading: &Reading<'_>, entry: &Entry) -> Result<(), PullError> {
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
///
/// # Errors
/// [`PullError::CursorExpired`] when reading everything is cheaper, or the only
/// way.
pub async fn apply(
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

/// How a touched object is read again.
#[derive(Clone, Copy)]
enum Kind {
    User,
    /// With all its members.
    Group,
    /// A group of which only single members joined or left.
    Joins,
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
    let is_whole = |id: &&String| touched.0.get(*id).is_none_or(|touch| touch.is_whole);
    let (whole, partial): (Vec<&String>, Vec<&String>) = there.iter().partition(|id| is_whole(id));
    for (kind, ids) in [(Kind::User, there), (Kind::Group, whole), (Kind::Joins, partial)] {
        for ids in ids.chunks(LOOKUP_MAX) {
            for entry in look_up(reading, kind, ids).await? {
                let (id, items) = match kind {
                    Kind::User => user(reading, touched, entry).await?,
                    Kind::Group => group(reading, entry).await?,
                    Kind::Joins => joins(reading, touched, &entry)?,
                };
                live.extend(id);
                sink.page(items);
            }
        }
    }
    Ok(live)
}

/// The objects with these ids that are in scope.
async fn look_up(
    reading: &mut Reading<'_>,
    kind: Kind,
    ids: &[&String],
) -> Result<Vec<Entry>, PullError> {
    let config = reading.mapper.config;
    let (label, scope, wanted) = match kind {
        Kind::User => {
            let mut wanted = reading.mapper.user_attributes();
            wanted.push("memberOf".to_owned());
            ("users", &config.users, wanted)
        }
        Kind::Group => ("groups", &config.groups, reading.mapper.group_attributes()),
        Kind::Joins => ("groups", &config.groups, reading.mapper.group_head_attributes()),
    };
    let filter = format!("(&{}{})", scope.filter, any_of(ids));
    let request = subtree(label, &scope.base, &filter, &wanted, vec![extended_names()]);
    reading.session.entries(request).await
}

async fn user(
    reading: &mut Reading<'_>,
    touched: &Touched,
    mut entry: Entry,
) -> Result<(Option<String>, Vec<Item>), PullError> {
    let config = reading.mapper.config;
    let by_filter = config.users.filter != config.schema.users_filter();
    ranges::complete(&mut reading.session, &mut entry, &[extended_names()]).await?;
    let item = user_item(reading, &entry)?;
    let Item::User(UserItem { user, .. }) = &item else { return Ok((None, vec![item])) };
    let id = user.id.clone();
    let mut items = vec![item];
    // One that came into scope was in its groups before, and their lists
    // do not change by that.
    if by_filter || touched.0.get(&id).is_none_or(|touch| touch.is_renamed) {
        items.extend(memberships(&entry, &id));
    }
    Ok((Some(id), items))
}

/// The groups that the user's own entry shows. Not all that it may be in
/// (other domains), so they only ever add.
fn memberships(entry: &Entry, id: &str) -> Vec<Item> {
    let groups = entry.texts("memberOf");
    let groups = groups.iter().filter_map(|group| map::extended_guid(group));
    let joined = |group| Item::MembersAdded {
        group: Reference::Group(group),
        members: vec![Reference::User(id.to_owned())],
    };
    groups.map(joined).collect()
}

async fn group(
    reading: &mut Reading<'_>,
    entry: Entry,
) -> Result<(Option<String>, Vec<Item>), PullError> {
    let id = reading.mapper.id(&entry, "objectGUID");
    Ok((id, group_items(reading, entry, &[extended_names()]).await?))
}

fn joins(
    reading: &Reading<'_>,
    touched: &Touched,
    entry: &Entry,
) -> Result<(Option<String>, Vec<Item>), PullError> {
    let item = group_item(reading, entry)?;
    let id = item.group.id.clone();
    let mut items = vec![Item::Group(item)];
    if let Some(touch) = touched.0.get(&id) {
        let group = || Reference::Group(id.clone());
        items.push(Item::MembersRemoved { group: group(), members: touch.removed.clone() });
        items.push(Item::MembersAdded { group: group(), members: touch.added.clone() });
    }
    Ok((Some(id), items))
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
