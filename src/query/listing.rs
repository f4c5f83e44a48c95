//! How lists of users, groups and members look.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::freshness::{Freshness, Freshnesses, moment_or_null};
use super::page::{Page, Position};
use super::past::{At, Past};
use super::problem::Problem;
use super::resolve::Kind;
use crate::clock::Timestamp;
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

/// A page of a list, as it is answered.
pub struct List<'a> {
    pub rows: Listed,
    pub objects: Vec<(&'a str, Object)>,
    pub total: usize,
    pub next_cursor: Option<String>,
    pub seq: u64,
    pub about: About<'a>,
}

/// What the rows of a list are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    Users,
    Groups,
    Members,
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

    /// The user that it is.
    pub fn as_user(&self) -> Option<&User> {
        match self {
            Object::User(user) => Some(user),
            Object::Group(_) => None,
        }
    }

    /// The group that it is.
    pub fn as_group(&self) -> Option<&Group> {
        match self {
            Object::User(_) => None,
            Object::Group(group) => Some(group),
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

impl List<'_> {
    /// The JSON text.
    ///
    /// # Errors
    /// None that is known of.
    pub fn to_json(&self) -> Result<Vec<u8>, Problem> {
        let count = Count { total: self.total, next_cursor: self.next_cursor.as_deref() };
        match &self.about {
            About::Directories { all, past } => {
                self.of_all(count, Places::new(self.seq, all, past.as_ref()))
            }
            About::Directory { name, freshness, past } => {
                let (seq, directory, freshness) = (self.seq, *name, *freshness);
                let past = past.map(AtBody::from);
                self.of_one(count, Place { seq, directory, freshness, past })
            }
        }
        .map_err(Problem::internal)
    }

    /// Of several directories.
    fn of_all(&self, count: Count<'_>, places: Places<'_>) -> serde_json::Result<Vec<u8>> {
        let objects = self.objects.iter();
        if self.rows == Listed::Users {
            let users = objects.filter_map(|(directory, object)| {
                Some(PlacedUser { directory, user: object.as_user()?.into() })
            });
            return serde_json::to_vec(&UsersBody { users: users.collect(), count, places });
        }
        let groups = objects.filter_map(|(directory, object)| {
            Some(PlacedGroup { directory, group: object.as_group()?.into() })
        });
        serde_json::to_vec(&GroupsBody { groups: groups.collect(), count, places })
    }

    /// Of one directory: the groups of a user, the members of a group.
    fn of_one(&self, count: Count<'_>, place: Place<'_>) -> serde_json::Result<Vec<u8>> {
        let objects = self.objects.iter().map(|(_, object)| object);
        if self.rows == Listed::Members {
            let members = objects.map(Object::member_body).collect();
            return serde_json::to_vec(&MembersBody { members, count, place });
        }
        let groups = objects.filter_map(|object| Some(object.as_group()?.into())).collect();
        serde_json::to_vec(&GroupsOfUserBody { groups, count, place })
    }
}

/// A page of users.
#[derive(Serialize, ToSchema)]
#[schema(as = Users)]
pub struct UsersBody<'a> {
    users: Vec<PlacedUser<'a>>,
    #[serde(flatten)]
    count: Count<'a>,
    #[serde(flatten)]
    places: Places<'a>,
}

/// A page of groups.
#[derive(Serialize, ToSchema)]
#[schema(as = Groups)]
pub struct GroupsBody<'a> {
    groups: Vec<PlacedGroup<'a>>,
    #[serde(flatten)]
    count: Count<'a>,
    #[serde(flatten)]
    places: Places<'a>,
}

/// A page of the groups that a user is in.
#[derive(Serialize, ToSchema)]
#[schema(as = GroupsOfUser)]
pub struct GroupsOfUserBody<'a> {
    groups: Vec<wire::GroupBody<'a>>,
    #[serde(flatten)]
    count: Count<'a>,
    #[serde(flatten)]
    place: Place<'a>,
}

/// A page of the members of a group: users, then groups.
#[derive(Serialize, ToSchema)]
#[schema(as = Members)]
pub struct MembersBody<'a> {
    members: Vec<wire::MemberBody<'a>>,
    #[serde(flatten)]
    count: Count<'a>,
    #[serde(flatten)]
    place: Place<'a>,
}

/// A user, and where.
#[derive(Serialize, ToSchema)]
struct PlacedUser<'a> {
    directory: &'a str,
    #[serde(flatten)]
    user: wire::UserBody<'a>,
}

/// A group, and where.
#[derive(Serialize, ToSchema)]
struct PlacedGroup<'a> {
    directory: &'a str,
    #[serde(flatten)]
    group: wire::GroupBody<'a>,
}

/// How much of a list is here.
#[derive(Serialize, ToSchema)]
#[schema(as = PageOf)]
struct Count<'a> {
    /// Of all pages.
    total: usize,
    /// Left out on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<&'a str>,
}

/// Which directory an answer is from, and how old that is.
#[derive(Serialize, ToSchema)]
pub struct Place<'a> {
    /// The seq of the last event that the answer knows of.
    pub seq: u64,
    pub directory: &'a str,
    #[serde(flatten)]
    pub freshness: Freshness,
    #[serde(flatten)]
    #[schema(value_type = AtBody)]
    pub past: Option<AtBody>,
}

/// Which directories an answer is from, and how old each is.
#[derive(Serialize, ToSchema)]
struct Places<'a> {
    /// The seq of the last event that the answer knows of.
    seq: u64,
    #[schema(value_type = BTreeMap<String, Freshness>)]
    directories: &'a Freshnesses,
    #[serde(flatten)]
    #[schema(value_type = AtBody)]
    past: Option<AtBody>,
    /// Directories that are left out because what is kept of them begins later
    /// than the moment that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    not_kept: Vec<NotKept<'a>>,
}

/// A directory whose history begins later than was asked for.
#[derive(Serialize, ToSchema)]
struct NotKept<'a> {
    directory: &'a str,
    /// The first seq that is kept; `null` when nothing is.
    #[schema(required)]
    oldest: Option<u64>,
}

/// The moment that was asked for; without one, there is neither member.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[schema(as = At)]
pub struct AtBody {
    /// When that was; left out where it is not known.
    #[serde(serialize_with = "moment_or_null", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    at: Option<Timestamp>,
    /// The last seq of that moment.
    #[schema(required = false)]
    at_seq: u64,
}

impl From<At> for AtBody {
    fn from(at: At) -> AtBody {
        AtBody { at: at.moment, at_seq: at.seq }
    }
}

impl<'a> Places<'a> {
    fn new(
        seq: u64,
        directories: &'a Freshnesses,
        past: Option<&'a (At, Unreached)>,
    ) -> Places<'a> {
        let unreached = past.map(|(_, unreached)| unreached.as_slice()).unwrap_or_default();
        let not_kept =
            unreached.iter().map(|(directory, oldest)| NotKept { directory, oldest: *oldest });
        let past = past.map(|(at, _)| AtBody::from(*at));
        Places { seq, directories, past, not_kept: not_kept.collect() }
    }
}
