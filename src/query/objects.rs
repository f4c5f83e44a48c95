//! `/v1/users` and `/v1/groups`: lists, single objects, the groups of a user,
//! the members of a group, and why one is in the other.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::freshness::{self, Freshness};
use super::listing::{About, List, Listed, Object, Place, Row, Rows};
use super::page::Page;
use super::parameters::Parameters;
use super::past::{Past, Then};
use super::problem::Problem;
use super::resolve::{Candidate, Kind, Search};
use super::sources::Sources;
use super::{check, lists_at};
use crate::clock;
use crate::index::{DirectoryView, View};
use crate::store::record;
use crate::wire::{GroupBody, UserBody};

/// How many paths `why` returns at most.
const PATHS_MAX: usize = 1_000;

/// Answers `/v1/users` and `/v1/groups`.
///
/// # Errors
/// When a parameter is wrong, or the directory it names is unknown.
pub fn list(sources: &Sources, kind: Kind, query: Option<&str>) -> Result<Vec<u8>, Problem> {
    let parameters = Parameters::parse(query, &["directory", "at", "limit", "cursor"])?;
    if let Some(at) = parameters.text("at") {
        return lists_at::list(sources, kind, &parameters, at);
    }
    let name = kind.plural();
    let page = Page::read(&parameters, name)?;
    let only = parameters.text("directory");
    let view = sources.view.load();
    if let Some(only) = only.filter(|only| sources.statuses.get(only).is_none()) {
        return Err(unknown_directory(only));
    }
    let chosen = || view.directories().filter(|one| only.is_none_or(|name| name == one.name()));
    let rows = Rows::take(chosen().flat_map(|directory| rows_from(directory, kind, &page)), &page);
    let count = |directory: &Arc<DirectoryView>| match kind {
        Kind::User => directory.user_count(),
        Kind::Group => directory.group_count(),
    };
    let list = List {
        rows: kind.into(),
        objects: rows.objects()?,
        total: chosen().map(count).sum(),
        next_cursor: rows.next.map(|next| next.encode(name)),
        seq: view.seq,
        about: About::Directories {
            all: freshness::of_all(&sources.statuses, only, clock::now()),
            past: None,
        },
    };
    list.to_json()
}

/// Answers `/v1/users/REF` and `/v1/groups/REF`.
///
/// # Errors
/// When the REF is unknown, ambiguous, or its directory stale.
pub fn one(
    sources: &Sources,
    kind: Kind,
    text: &str,
    query: Option<&str>,
) -> Result<Vec<u8>, Problem> {
    let parameters = Parameters::parse(query, &["max_age", "at"])?;
    let view = sources.view.load();
    let search = search(sources, &view, &parameters)?;
    let Candidate { directory, slot } = search.one(kind, text)?;
    let place = Place {
        seq: view.seq,
        directory: directory.name(),
        freshness: Freshness::of(&sources.statuses, directory.name(), search.now),
        past: search.then.map(|then| then.at.into()),
    };
    let (object, counts) = match search.then {
        None => (Object::read(&Row { directory, kind, slot })?, counts(directory, kind, slot)),
        Some(then) => one_at(then, directory, kind, slot)?,
    };
    let body = match (&object, counts) {
        (Object::User(user), CountsBody::User(counts)) => {
            serde_json::to_value(UserAnswer { user: user.into(), counts, place })
        }
        (Object::Group(group), CountsBody::Group(counts)) => {
            serde_json::to_value(GroupAnswer { group: group.into(), counts, place })
        }
        _ => return Err(Problem::internal("the counts are of another kind")),
    };
    to_json(&body.map_err(Problem::internal)?)
}

/// One user.
#[derive(Serialize, ToSchema)]
pub(super) struct UserAnswer<'a> {
    user: UserBody<'a>,
    counts: UserCounts,
    #[serde(flatten)]
    place: Place<'a>,
}

/// One group.
#[derive(Serialize, ToSchema)]
pub(super) struct GroupAnswer<'a> {
    group: GroupBody<'a>,
    counts: GroupCounts,
    #[serde(flatten)]
    place: Place<'a>,
}

/// What a user is in.
#[derive(Clone, Copy, Serialize, ToSchema)]
struct UserCounts {
    /// Directly.
    groups: usize,
    /// Directly and through nested groups.
    nested_groups: usize,
}

/// What is in a group.
#[derive(Clone, Copy, Serialize, ToSchema)]
struct GroupCounts {
    /// Directly.
    users: usize,
    /// Directly.
    groups: usize,
    /// Directly and through nested groups.
    nested_users: usize,
    /// References to nobody known; left out of the past, where they are not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    unresolved: Option<usize>,
}

#[derive(Clone, Copy)]
enum CountsBody {
    User(UserCounts),
    Group(GroupCounts),
}

fn counts(directory: &DirectoryView, kind: Kind, slot: u32) -> CountsBody {
    match kind {
        Kind::User => CountsBody::User(UserCounts {
            groups: directory.groups_of_user(slot).len(),
            nested_groups: directory.ancestors_of_user(slot).len(),
        }),
        Kind::Group => CountsBody::Group(GroupCounts {
            users: directory.direct_users(slot).len(),
            groups: directory.subgroups(slot).len(),
            nested_users: directory.nested_user_count(slot),
            unresolved: Some(directory.unresolved(slot).len()),
        }),
    }
}

/// The same as it was, but for references that nobody was: they are not kept.
fn one_at(
    then: Then<'_>,
    directory: &DirectoryView,
    kind: Kind,
    slot: u32,
) -> Result<(Object, CountsBody), Problem> {
    let past = then.of(directory);
    let object = past.object(kind, slot)?;
    let counts = match kind {
        Kind::User => CountsBody::User(UserCounts {
            groups: past.groups(slot, false)?.len(),
            nested_groups: past.groups(slot, true)?.len(),
        }),
        Kind::Group => {
            let (users, groups) = past.members(slot, false)?;
            let (users, groups) = (users.len(), groups.len());
            let nested_users = past.members(slot, true)?.0.len();
            CountsBody::Group(GroupCounts { users, groups, nested_users, unresolved: None })
        }
    };
    then.require(directory.name())?;
    let object = object.ok_or_else(|| Problem::internal("it was found and is not there"))?;
    Ok((object, counts))
}

/// Answers `/v1/users/REF/groups` (`kind` is a user) and `/v1/groups/REF/members`.
///
/// # Errors
/// When the REF is unknown, ambiguous, or its directory stale; when the past
/// that is asked for is not kept.
pub fn related(
    sources: &Sources,
    kind: Kind,
    text: &str,
    query: Option<&str>,
) -> Result<Vec<u8>, Problem> {
    let known = ["nested", "at", "limit", "cursor", "max_age"];
    let parameters = Parameters::parse(query, &known)?;
    let list = if kind == Kind::User { "groups-of-user" } else { "members" };
    let page = Page::read(&parameters, list)?;
    let nested = parameters.flag("nested")?;
    let view = sources.view.load();
    let search = search(sources, &view, &parameters)?;
    let Candidate { directory, slot } = search.one(kind, text)?;
    let past = search.then.map(|then| then.of(directory));
    let (users, groups) = match &past {
        Some(past) => past_slots(past, kind, slot, nested)?,
        None => slots(directory, kind, slot, nested),
    };
    let total = users.len() + groups.len();
    let rows = Rows::take(slot_rows(directory, users, groups, &page), &page);
    let objects = match &past {
        Some(past) => rows.objects_at(past)?,
        None => rows.objects()?,
    };
    search.then.map(|then| then.require(directory.name())).transpose()?;
    let answer = List {
        rows: if kind == Kind::User { Listed::Groups } else { Listed::Members },
        objects,
        total,
        next_cursor: rows.next.map(|next| next.encode(list)),
        seq: view.seq,
        about: About::Directory {
            name: directory.name(),
            freshness: Freshness::of(&sources.statuses, directory.name(), search.now),
            past: search.then.map(|then| then.at),
        },
    };
    answer.to_json()
}

/// Why a user is in a group.
#[derive(Serialize, ToSchema)]
#[schema(as = Why)]
pub(super) struct WhyBody<'a> {
    member: bool,
    /// The seq of the last event that the answer knows of.
    seq: u64,
    directory: &'a str,
    #[serde(flatten)]
    freshness: Freshness,
    user: UserBody<'a>,
    group: GroupBody<'a>,
    /// Each from a group the user is directly in to the group that was asked for.
    paths: Vec<Vec<Step<'a>>>,
    /// There may be more paths than these.
    truncated: bool,
}

/// A group on the way.
#[derive(Serialize, ToSchema)]
struct Step<'a> {
    id: &'a str,
    name: &'a str,
}

/// Answers `/v1/why`.
///
/// # Errors
/// As for a check.
pub fn why(sources: &Sources, query: Option<&str>) -> Result<Vec<u8>, Problem> {
    let parameters = Parameters::parse(query, &["user", "group", "max_age", "limit", "at"])?;
    if parameters.text("at").is_some() {
        return Err(Problem::bad_request("`/v1/why` tells the paths of now only")
            .hint("/v1/check?at= tells whether it was so; /v1/users/REF/groups?nested=true&at= lists the groups"));
    }
    let limit = parameters.limit(PATHS_MAX)?;
    let view = sources.view.load();
    let search = search(sources, &view, &parameters)?;
    let (pair, freshness) =
        search.pair(parameters.required("user")?, parameters.required("group")?)?;
    let directory = pair.directory;
    let mut paths = directory.why(pair.user, pair.group, limit + 1);
    let truncated = paths.len() > limit;
    paths.truncate(limit);
    let steps = |path: &Vec<u32>| path.iter().map(|group| step(directory, *group)).collect();
    let user = Object::read(&Row { directory, kind: Kind::User, slot: pair.user })?;
    let group = Object::read(&Row { directory, kind: Kind::Group, slot: pair.group })?;
    let (Some(user), Some(group)) = (user.as_user(), group.as_group()) else {
        return Err(Problem::internal("a record is of another kind"));
    };
    to_json(&WhyBody {
        member: directory.is_member(pair.user, pair.group),
        seq: view.seq,
        directory: directory.name(),
        freshness,
        user: user.into(),
        group: group.into(),
        paths: paths.iter().map(steps).collect::<Result<_, Problem>>()?,
        truncated,
    })
}

/// 404 for a directory that is not configured.
pub fn unknown_directory(name: &str) -> Problem {
    Problem::unknown(format!("there is no directory `{}`", name.escape_debug()))
        .member("unknown", "directory")
        .hint("/v1/directories lists them")
}

fn search<'v>(
    sources: &'v Sources,
    view: &'v View,
    parameters: &Parameters<'_>,
) -> Result<Search<'v>, Problem> {
    let max_age = parameters.duration("max_age")?;
    let now = clock::now();
    let then = check::then(sources, parameters.text("at"), view.seq, now)?;
    Ok(Search { view, statuses: &sources.statuses, max_age, now, then, only: None })
}

fn step(directory: &DirectoryView, group: u32) -> Result<Step<'_>, Problem> {
    let record = directory.group_record(group).unwrap_or_default();
    let (id, name) = record::id_and_name_of(record).map_err(Problem::internal)?;
    Ok(Step { id, name })
}

fn rows_from<'v>(
    directory: &'v Arc<DirectoryView>,
    kind: Kind,
    page: &Page,
) -> Box<dyn Iterator<Item = Row<'v>> + 'v> {
    let start = match &page.from {
        Some(from) if directory.name() < from.directory.as_str() => {
            return Box::new(std::iter::empty());
        }
        Some(from) if directory.name() == from.directory => from.slot,
        _ => 0,
    };
    let row = move |slot| Row { directory, kind, slot };
    match kind {
        Kind::User => Box::new(directory.user_slots_from(start).map(row)),
        Kind::Group => Box::new(directory.group_slots_from(start).map(row)),
    }
}

fn slot_rows<'v>(
    directory: &'v Arc<DirectoryView>,
    users: Vec<u32>,
    groups: Vec<u32>,
    page: &Page,
) -> impl Iterator<Item = Row<'v>> + 'v {
    let (user_from, group_from) = match &page.from {
        Some(from) if from.kind == Kind::Group => (u32::MAX, from.slot),
        Some(from) => (from.slot, 0),
        None => (0, 0),
    };
    let users = users.into_iter().filter(move |slot| *slot >= user_from);
    let groups = groups.into_iter().filter(move |slot| *slot >= group_from);
    let user = move |slot| Row { directory, kind: Kind::User, slot };
    let group = move |slot| Row { directory, kind: Kind::Group, slot };
    users.map(user).chain(groups.map(group))
}

fn slots(directory: &DirectoryView, kind: Kind, slot: u32, nested: bool) -> (Vec<u32>, Vec<u32>) {
    match (kind, nested) {
        (Kind::User, false) => (Vec::new(), directory.groups_of_user(slot).to_vec()),
        (Kind::User, true) => (Vec::new(), directory.ancestors_of_user(slot)),
        (Kind::Group, false) => {
            (directory.direct_users(slot).into_owned(), directory.subgroups(slot).to_vec())
        }
        (Kind::Group, true) => (directory.nested_users(slot), directory.nested_groups(slot)),
    }
}

fn past_slots(
    past: &Past<'_>,
    kind: Kind,
    slot: u32,
    nested: bool,
) -> Result<(Vec<u32>, Vec<u32>), Problem> {
    match kind {
        Kind::User => Ok((Vec::new(), past.groups(slot, nested)?)),
        Kind::Group => Ok(past.members(slot, nested)?),
    }
}

fn to_json(body: &impl Serialize) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(body).map_err(Problem::internal)
}
