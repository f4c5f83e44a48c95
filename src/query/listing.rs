//! How lists of users, groups and members look.

use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::freshness::{Freshness, Freshnesses};
use super::page::{Page, Position};
use super::past::{At, Past};
use super::problem::Problem;
use super::resolve::Kind;
use crate::index::DirectoryView;
use crate::model::{Group, MemberObject, User};
use crate::store::record;
use crate::wire;

/// A row of a list before it is read.
#[derive(Clone, Debug)]
pub struct Row<'v> {
    pub directory: &'v Arc<DirectoryView>,
    pub kind: Kind,
    pub slot: u32,
}

/// One page of rows and where the next one starts.
#[derive(Debug)]
pub struct Rows<'v> {
    pub rows: Vec<Row<'v>>,
    pub next: Option<Position>,
}

/// A user or a group, whole.
#[derive(Clone, Debug)]
pub enum Object {
    User(User),
    Group(Group),
}

/// `{"users": […], "total": N, "next_cursor": "…", "seq": N, …}`
pub struct List<'a> {
    /// `users`, `groups` or `members`.
    pub name: &'static str,
    pub objects: Vec<(&'a str, Object)>,
    pub total: usize,
    pub next_cursor: Option<String>,
    pub seq: u64,
    pub about: About<'a>,
}

/// Where a list comes from.
pub enum About<'a> {
    /// Several directories, perhaps as they were; each row names its own.
    Directories { all: Freshnesses, past: Option<(At, Unreached)> },
    /// One directory, perhaps as it was.
    Directory { name: &'a str, freshness: Freshness, past: Option<At> },
}

/// Directories that are left out because what is kept of them begins later, each
/// with the seq it begins with.
pub type Unreached = Vec<(String, Option<u64>)>;

impl<'v> Rows<'v> {
    /// Takes one page from all `rows` that are not before the page's start.
    pub fn take(rows: impl Iterator<Item = Row<'v>>, page: &Page) -> Rows<'v> {
        let mut rows: Vec<Row<'v>> = rows.take(page.limit + 1).collect();
        let next = (rows.len() > page.limit).then(|| rows.pop()).flatten();
        let next = next.map(|row| Position {
            directory: row.directory.name().to_owned(),
            kind: row.kind,
            slot: row.slot,
        });
        Rows { rows, next }
    }

    /// Reads the objects as they are now.
    ///
    /// # Errors
    /// When a record is damaged.
    pub fn objects(&self) -> Result<Vec<(&'v str, Object)>, Problem> {
        let read = |row: &Row<'v>| Ok((row.directory.name(), Object::read(row)?));
        self.rows.iter().map(read).collect()
    }

    /// Reads the objects as they were; those that are gone since included.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn objects_at(&self, past: &Past<'_>) -> Result<Vec<(&'v str, Object)>, Problem> {
        let mut objects = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let object = past.object(row.kind, row.slot)?;
            objects.extend(object.map(|object| (row.directory.name(), object)));
        }
        Ok(objects)
    }
}

impl Object {
    /// Reads one object of the view.
    ///
    /// # Errors
    /// When its record is damaged.
    pub fn read(row: &Row<'_>) -> Result<Object, Problem> {
        let read = |bytes: Option<&[u8]>| bytes.unwrap_or_default().to_owned();
        match row.kind {
            Kind::User => record::decode_user(&read(row.directory.user_record(row.slot)))
                .map(|item| Object::User(item.user)),
            Kind::Group => record::decode_group(&read(row.directory.group_record(row.slot)))
                .map(|item| Object::Group(item.group)),
        }
        .map_err(Problem::internal)
    }

    /// As JSON, without its kind.
    pub fn body(&self) -> ObjectBody<'_> {
        match self {
            Object::User(user) => ObjectBody::User(user.into()),
            Object::Group(group) => ObjectBody::Group(group.into()),
        }
    }

    fn member_body(&self) -> wire::MemberBody<'_> {
        match self {
            Object::User(user) => wire::MemberBody::User(user.into()),
            Object::Group(group) => wire::MemberBody::Group(group.into()),
        }
    }
}

impl From<MemberObject> for Object {
    fn from(object: MemberObject) -> Object {
        match object {
            MemberObject::User(user) => Object::User(user),
            MemberObject::Group(group) => Object::Group(group),
        }
    }
}

/// A user or a group as JSON.
#[derive(Clone, Copy, Serialize)]
#[serde(untagged)]
pub enum ObjectBody<'a> {
    User(wire::UserBody<'a>),
    Group(wire::GroupBody<'a>),
}

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(self.name, &ListedRows(self))?;
        map.serialize_entry("total", &self.total)?;
        if let Some(cursor) = &self.next_cursor {
            map.serialize_entry("next_cursor", cursor)?;
        }
        map.serialize_entry("seq", &self.seq)?;
        match &self.about {
            About::Directories { all, past } => {
                map.serialize_entry("directories", all)?;
                if let Some((at, unreached)) = past {
                    serialize_at(&mut map, at)?;
                    serialize_unreached(&mut map, unreached)?;
                }
            }
            About::Directory { name, freshness, past } => {
                map.serialize_entry("directory", name)?;
                map.serialize_entry("as_of", &freshness.as_of.map(|at| at.to_string()))?;
                map.serialize_entry("age_seconds", &freshness.age_seconds)?;
                if let Some(at) = past {
                    serialize_at(&mut map, at)?;
                }
            }
        }
        map.end()
    }
}

fn serialize_at<M: SerializeMap>(map: &mut M, at: &At) -> Result<(), M::Error> {
    if let Some(moment) = at.moment {
        map.serialize_entry("at", &moment.to_string())?;
    }
    map.serialize_entry("at_seq", &at.seq)
}

fn serialize_unreached<M: SerializeMap>(map: &mut M, all: &Unreached) -> Result<(), M::Error> {
    if all.is_empty() {
        return Ok(());
    }
    let bodies: Vec<_> = all
        .iter()
        .map(|(name, oldest)| serde_json::json!({ "directory": name, "oldest": oldest }))
        .collect();
    map.serialize_entry("not_kept", &bodies)
}

struct ListedRows<'l, 'a>(&'l List<'a>);

impl Serialize for ListedRows<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let List { name, objects, about, .. } = self.0;
        match (about, *name) {
            (_, "members") => {
                serializer.collect_seq(objects.iter().map(|(_, object)| object.member_body()))
            }
            (About::Directory { .. }, _) => {
                serializer.collect_seq(objects.iter().map(|(_, object)| object.body()))
            }
            (About::Directories { .. }, _) => serializer.collect_seq(
                objects
                    .iter()
                    .map(|(directory, object)| PlacedBody { directory, object: object.body() }),
            ),
        }
    }
}

#[derive(Serialize)]
struct PlacedBody<'a> {
    directory: &'a str,
    #[serde(flatten)]
    object: ObjectBody<'a>,
}
