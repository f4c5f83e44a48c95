//! Reads anew what rounds of changes tell of, and hands it over whole: an
//! entry of a round may hold the changed properties only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::batch::{PARTS_MAX, Part};
use super::changes::{Touch, Touched, TouchedGroups, Window};
use super::config::Wanted;
use super::crawl::{Reading, sees_hidden};
use super::graph::{End, Graph, incomplete, page_of};
use super::map::{self, Mapped};
use super::members::{Members, Wish};
use super::objects::{Kind, group_select};
use super::place::Pending;
use super::rounds::Drained;
use crate::model::Reference;
use crate::provider::http::{Call, Cursors, in_parallel};
use crate::provider::{Item, PullError};

/// So many crawls try to read an object that was told of and is not there
/// (replicas lag), or cannot be used. Then one that is not there is gone.
const ATTEMPTS_MAX: u32 = 5;
const MEMBER_OF: &str = "GET /users/{id}/memberOf";

/// What rounds of changes came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    pub users: usize,
    pub groups: usize,
    /// Who was pending, by id: not to be read again in the same crawl.
    pub retried: BTreeSet<String>,
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} users and {} groups in the rounds of changes", self.users, self.groups)
    }
}

/// Hands over what was touched, and what is pending. Afterwards `pending` is
/// what is to be tried again. What `window` tells counts more than lists.
///
/// # Errors
/// When something cannot be read.
pub(super) async fn apply(
    reading: &mut Reading<'_>,
    drained: Drained,
    window: &Window,
    pending: &mut Pending,
) -> Result<Findings, PullError> {
    let mut findings = Findings::default();
    let mut listed: BTreeSet<String> = drained.groups.0.keys().cloned().collect();
    for (kind, touched) in drained.touched {
        findings.users += touched.0.len();
        let waiting = pending.objects.entry(kind.path().to_owned()).or_default();
        findings.retried.extend(waiting.keys().cloned());
        users(reading, kind, touched, waiting, &mut listed).await?;
    }
    findings.groups = drained.groups.0.len();
    findings.retried.extend(pending.groups.keys().cloned());
    listed.extend(pending.groups.keys().cloned());
    let left_out = groups(reading, drained.groups, &mut pending.groups).await?;
    newer(reading, listed.difference(&left_out), window);
    Ok(findings)
}

/// Hands over who joined and left `groups`, after their lists.
pub(super) fn newer<'i>(
    reading: &mut Reading<'_>,
    groups: impl Iterator<Item = &'i String>,
    window: &Window,
) {
    reading.sink.page(groups.flat_map(|id| window.members(id)).collect());
}

async fn users(
    reading: &mut Reading<'_>,
    kind: Kind,
    touched: Touched,
    pending: &mut BTreeMap<String, u32>,
    listed: &mut BTreeSet<String>,
) -> Result<(), PullError> {
    let mut wanted: BTreeMap<String, bool> = pending.keys().map(|id| (id.clone(), true)).collect();
    let mut gone = Vec::new();
    for (id, touch) in touched.0 {
        match touch {
            Touch::Removed => {
                pending.remove(&id);
                wanted.remove(&id);
                gone.push(Item::UserDeleted(Reference::User(id)));
            }
            Touch::Changed { may_be_new } => {
                *wanted.entry(id).or_default() |= may_be_new;
            }
        }
    }
    reading.sink.page(gone);
    let before = pending.clone();
    let mut absent = BTreeSet::new();
    let ids: Vec<String> = wanted.keys().cloned().collect();
    let select = kind.select(reading.wanted());
    let path = |id: &String| format!("{}/{id}?$select={select}", kind.path());
    for (id, part) in read(reading, &ids, path).await? {
        if part.status == 404 {
            absent.insert(id.clone());
        }
        let items = user(reading, kind, &id, part, pending)?;
        reading.sink.page(items);
    }
    let new = wanted.into_iter().filter(|(id, may_be_new)| *may_be_new && !absent.contains(id));
    let new = new.map(|(id, _)| id).collect();
    for id in memberships(reading, kind, new, listed).await? {
        if !pending.contains_key(&id) {
            pending.extend(before.get(&id).map(|attempts| (id.clone(), *attempts)));
            again(pending, &id);
        }
    }
    Ok(())
}

fn user(
    reading: &mut Reading<'_>,
    kind: Kind,
    id: &str,
    part: Part,
    pending: &mut BTreeMap<String, u32>,
) -> Result<Vec<Item>, PullError> {
    let reference = || Reference::User(id.to_owned());
    let item = match part.status {
        200 => match reading.mapper.user(kind, part.body)? {
            Mapped::Is(user) => Item::User(user),
            Mapped::LeftOut(_) => Item::UserDeleted(reference()),
            Mapped::Kept(_) => {
                reading.mapper.take_kept();
                again(pending, id);
                return Ok(vec![Item::Kept(reference())]);
            }
        },
        404 if again(pending, id) => return Ok(Vec::new()),
        404 => Item::UserDeleted(reference()),
        403 => {
            again(pending, id);
            return Ok(vec![Item::Kept(reference())]);
        }
        _ => return Err(part.unexpected(kind.path())),
    };
    pending.remove(id);
    Ok(vec![item])
}

/// Notes that an object is to be tried again; `false` when that was done often
/// enough.
fn again(pending: &mut BTreeMap<String, u32>, id: &str) -> bool {
    let attempts = pending.entry(id.to_owned()).or_default();
    *attempts += 1;
    let goes_on = *attempts < ATTEMPTS_MAX;
    if !goes_on {
        pending.remove(id);
    }
    goes_on
}

/// The groups of users who may have been restored: soft-deleted users keep
/// their memberships, and no round tells of them when they come back.
/// Notes these groups, and hands back whose groups could not be read.
async fn memberships(
    reading: &mut Reading<'_>,
    kind: Kind,
    ids: Vec<String>,
    listed: &mut BTreeSet<String>,
) -> Result<Vec<String>, PullError> {
    let mut unread = Vec::new();
    let path = |id: &String| format!("{}/{id}/memberOf?$top=999&$select=id", kind.path());
    for (id, part) in read(reading, &ids, path).await? {
        let groups = match part.status {
            200 => groups_of(reading.graph, reading.wanted(), part).await?,
            403 | 404 => {
                unread.push(id);
                continue;
            }
            _ => return Err(part.unexpected("the groups of a user")),
        };
        let member = Reference::User(id);
        listed.extend(groups.iter().cloned());
        let added = groups.into_iter().map(|group| Item::MembersAdded {
            group: Reference::Group(group),
            members: vec![member.clone()],
        });
        reading.sink.page(added.collect());
    }
    Ok(unread)
}

async fn groups_of(graph: &Graph, wanted: &Wanted, part: Part) -> Result<Vec<String>, PullError> {
    let mut page = page_of(part.body)?;
    let mut cursors = Cursors::new("the groups of a user");
    let mut groups = Vec::new();
    loop {
        for value in &page.value {
            if let Some(Reference::Group(id)) = map::member(wanted, value)? {
                groups.push(id);
            }
        }
        let next = match page.end {
            End::Last => return Ok(groups),
            End::Delta(_) => {
                return Err(incomplete("groups of a user end like changes".to_owned()));
            }
            End::Next(next) => next,
        };
        cursors.pass(next.as_str())?;
        page = page_of(graph.send(Call::get(MEMBER_OF, next)).await?.json()?)?;
    }
}

/// Hands over groups; hands back those that the settings leave out.
async fn groups(
    reading: &mut Reading<'_>,
    touched: TouchedGroups,
    pending: &mut BTreeMap<String, u32>,
) -> Result<BTreeSet<String>, PullError> {
    let mut wanted: BTreeSet<String> = pending.keys().cloned().collect();
    let mut gone = Vec::new();
    for (id, touch) in touched.0 {
        if touch.is_removed {
            pending.remove(&id);
            wanted.remove(&id);
            gone.push(Item::GroupDeleted(Reference::Group(id)));
        } else if touch.is_changed {
            wanted.insert(id);
        }
    }
    reading.sink.page(gone);
    groups_anew(reading, wanted.into_iter().collect(), pending).await
}

/// Reads groups and their members; hands back those that the settings leave out.
///
/// # Errors
/// When something cannot be read.
pub(super) async fn groups_anew(
    reading: &mut Reading<'_>,
    ids: Vec<String>,
    pending: &mut BTreeMap<String, u32>,
) -> Result<BTreeSet<String>, PullError> {
    let mut left_out = BTreeSet::new();
    if ids.is_empty() {
        return Ok(left_out);
    }
    let sees_hidden = sees_hidden(reading.graph).await?;
    let select = group_select(reading.wanted());
    let mut wishes = Vec::new();
    for (id, part) in read(reading, &ids, |id| format!("groups/{id}?$select={select}")).await? {
        let reference = || Reference::Group(id.clone());
        let item = match part.status {
            200 => match reading.mapper.group(part.body)? {
                Mapped::Is(group) => {
                    let is_hidden = group.is_hidden && !sees_hidden;
                    wishes.push(Wish { id: id.clone(), is_hidden });
                    Item::Group(group.item)
                }
                Mapped::LeftOut(_) => {
                    pending.remove(&id);
                    left_out.insert(id.clone());
                    Item::GroupDeleted(reference())
                }
                Mapped::Kept(_) => {
                    reading.mapper.take_kept();
                    again(pending, &id);
                    Item::Kept(reference())
                }
            },
            404 if again(pending, &id) => continue,
            404 => Item::GroupDeleted(reference()),
            403 => {
                again(pending, &id);
                Item::Kept(reference())
            }
            _ => return Err(part.unexpected("groups")),
        };
        reading.sink.page(vec![item]);
    }
    for (id, members) in lists(reading, wishes).await? {
        if matches!(members, Members::Refused | Members::Absent) {
            again(pending, &id);
        } else {
            pending.remove(&id);
        }
        reading.sink.page(members.items(id));
    }
    Ok(left_out)
}

/// The members of any number of groups.
async fn lists(
    reading: &mut Reading<'_>,
    wishes: Vec<Wish>,
) -> Result<Vec<(String, Members)>, PullError> {
    let (graph, wanted) = (reading.graph, &reading.config.wanted);
    let sink = &mut *reading.sink;
    let chunks: Vec<Vec<Wish>> = wishes.chunks(PARTS_MAX).map(<[Wish]>::to_vec).collect();
    let mut all = Vec::new();
    let work = |chunk| graph.members(wanted, chunk);
    in_parallel(chunks, reading.config.http.parallel_requests_max, work, |lists| {
        sink.page(Vec::new());
        all.extend(lists);
    })
    .await?;
    Ok(all)
}

/// Reads one address for each id, twenty at a time.
async fn read(
    reading: &mut Reading<'_>,
    ids: &[String],
    path: impl Fn(&String) -> String,
) -> Result<Vec<(String, Part)>, PullError> {
    let graph = reading.graph;
    let sink = &mut *reading.sink;
    let mut chunks = Vec::new();
    for ids in ids.chunks(PARTS_MAX) {
        chunks.push((ids.to_vec(), ids.iter().map(&path).collect::<Vec<String>>()));
    }
    let mut all = Vec::new();
    let at_once = reading.config.http.parallel_requests_max;
    let work = |(ids, paths)| parts(graph, ids, paths);
    in_parallel(chunks, at_once, work, |parts| {
        sink.page(Vec::new());
        all.extend(parts);
    })
    .await?;
    Ok(all)
}

async fn parts(
    graph: &Graph,
    ids: Vec<String>,
    paths: Vec<String>,
) -> Result<Vec<(String, Part)>, PullError> {
    let parts = graph.batch(&paths, 1.0).await?;
    Ok(ids.into_iter().zip(parts).collect())
}
