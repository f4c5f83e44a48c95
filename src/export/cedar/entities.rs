//! Entities in Cedar's JSON, piece by piece.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::circles::Circles;
use super::schema::{GROUP, USER};
use crate::index::{DirectoryView, View};
use crate::model::{Attributes, Value};
use crate::store::record;

/// A piece ends with the entity that makes it longer than this.
const PIECE_BYTES: usize = 64 << 10;

/// One entity.
#[derive(Serialize)]
struct Entity<'a> {
    uid: Uid<'a>,
    attrs: Attrs<'a>,
    parents: Vec<Uid<'a>>,
    tags: BTreeMap<&'a str, Vec<String>>,
}

#[derive(Serialize)]
struct Uid<'a> {
    r#type: &'static str,
    id: Id<'a>,
}

/// The directory and the provider's id, as one text.
struct Id<'a>(&'a str, &'a str);

#[derive(Serialize)]
#[serde(untagged)]
enum Attrs<'a> {
    User(UserAttrs<'a>),
    Group(GroupAttrs<'a>),
}

/// As the schema has it; what is `Option` there is not required.
#[derive(Serialize)]
struct UserAttrs<'a> {
    id: &'a str,
    username: &'a str,
    active: bool,
    emails: &'a [String],
    directory: &'a str,
    tenant: &'a str,
    product: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    given_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    department: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manager: Option<&'a str>,
}

/// As the schema has it; what is `Option` there is not required.
#[derive(Serialize)]
struct GroupAttrs<'a> {
    id: &'a str,
    name: &'a str,
    directory: &'a str,
    tenant: &'a str,
    product: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
}

impl Serialize for Id<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{}/{}", self.0, self.1))
    }
}

/// All users and groups of some directories, as one JSON array.
pub struct Entities {
    view: Arc<View>,
    /// The directories that are left; the first is being written.
    left: std::collections::VecDeque<String>,
    /// Of the first of them.
    place: Place,
    circles: Option<Circles>,
    is_first: bool,
    is_done: bool,
}

/// The next to be written.
#[derive(Clone, Copy)]
enum Place {
    Groups(u32),
    Users(u32),
}

impl Entities {
    /// Of these directories; those that the view does not have are left out.
    pub fn new(view: Arc<View>, directories: Vec<String>) -> Entities {
        Entities {
            view,
            left: directories.into(),
            place: Place::Groups(0),
            circles: None,
            is_first: true,
            is_done: false,
        }
    }

    /// The next piece; `None` after the last. Blocks for a moment.
    ///
    /// # Errors
    /// In words, when a record is damaged.
    pub fn piece(&mut self) -> Result<Option<Vec<u8>>, String> {
        if self.is_done {
            return Ok(None);
        }
        let view = Arc::clone(&self.view);
        let mut out = Vec::with_capacity(PIECE_BYTES + 4096);
        while out.len() < PIECE_BYTES {
            let Some(name) = self.left.front() else {
                out.extend_from_slice(if self.is_first { b"[]\n" } else { b"\n]\n" });
                self.is_done = true;
                break;
            };
            match view.directory(name) {
                Some(directory) => self.write(&mut out, directory)?,
                None => drop(self.left.pop_front()),
            }
        }
        Ok(Some(out))
    }

    fn write(&mut self, out: &mut Vec<u8>, directory: &DirectoryView) -> Result<(), String> {
        let circles = self.circles.take().unwrap_or_else(|| Circles::of_directory(directory));
        match self.place {
            Place::Groups(from) => {
                self.place = Place::Users(0);
                for slot in directory.group_slots_from(from) {
                    if out.len() >= PIECE_BYTES {
                        self.place = Place::Groups(slot);
                        break;
                    }
                    self.separate(out);
                    write_group(out, directory, slot, &circles)?;
                }
                self.circles = Some(circles);
            }
            Place::Users(from) => {
                for slot in directory.user_slots_from(from) {
                    if out.len() >= PIECE_BYTES {
                        self.place = Place::Users(slot);
                        self.circles = Some(circles);
                        return Ok(());
                    }
                    self.separate(out);
                    write_user(out, directory, slot, &circles)?;
                }
                self.place = Place::Groups(0);
                self.left.pop_front();
            }
        }
        Ok(())
    }

    fn separate(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.is_first { b"[\n" } else { b",\n" });
        self.is_first = false;
    }
}

/// One user with all groups that the user is in, as a JSON array.
///
/// # Errors
/// In words, when a record is damaged.
pub fn of_user(directory: &DirectoryView, user: u32) -> Result<Vec<u8>, String> {
    let groups = directory.ancestors_of_user(user);
    let circles = Circles::among(groups.iter().copied(), directory);
    let mut out = b"[\n".to_vec();
    write_user(&mut out, directory, user, &circles)?;
    for group in groups {
        out.extend_from_slice(b",\n");
        write_group(&mut out, directory, group, &circles)?;
    }
    out.extend_from_slice(b"\n]\n");
    Ok(out)
}

fn write_user(
    out: &mut Vec<u8>,
    directory: &DirectoryView,
    slot: u32,
    circles: &Circles,
) -> Result<(), String> {
    let user = record::decode_user(directory.user_record(slot).unwrap_or_default());
    let user = user.map_err(words)?.user;
    let parents = circles.parents(directory.groups_of_user(slot));
    let attrs = Attrs::User(UserAttrs {
        id: &user.id,
        username: &user.username,
        active: user.active,
        emails: &user.emails,
        directory: directory.name(),
        tenant: directory.tenant(),
        product: directory.product(),
        email: user.email(),
        display_name: user.display_name.as_deref(),
        given_name: user.given_name.as_deref(),
        family_name: user.family_name.as_deref(),
        status: user.status.as_deref(),
        title: user.title.as_deref(),
        department: user.department.as_deref(),
        manager: user.manager.as_deref(),
    });
    let uid = Uid { r#type: USER, id: Id(directory.name(), &user.id) };
    let tags = tags(&user.attributes);
    write_entity(out, &Entity { uid, attrs, parents: uids(directory, &parents)?, tags })
}

fn write_group(
    out: &mut Vec<u8>,
    directory: &DirectoryView,
    slot: u32,
    circles: &Circles,
) -> Result<(), String> {
    let group = record::decode_group(directory.group_record(slot).unwrap_or_default());
    let group = group.map_err(words)?.group;
    let parents = circles.parents_of_group(slot, directory);
    let attrs = Attrs::Group(GroupAttrs {
        id: &group.id,
        name: &group.name,
        directory: directory.name(),
        tenant: directory.tenant(),
        product: directory.product(),
        email: group.email.as_deref(),
        description: group.description.as_deref(),
    });
    let uid = Uid { r#type: GROUP, id: Id(directory.name(), &group.id) };
    let tags = tags(&group.attributes);
    write_entity(out, &Entity { uid, attrs, parents: uids(directory, &parents)?, tags })
}

fn uids<'v>(directory: &'v DirectoryView, groups: &[u32]) -> Result<Vec<Uid<'v>>, String> {
    let uid = |group: &u32| {
        let record = directory.group_record(*group).unwrap_or_default();
        let id = record::id_of(record).map_err(words)?;
        Ok(Uid { r#type: GROUP, id: Id(directory.name(), id) })
    };
    groups.iter().map(uid).collect()
}

/// What an operator asked for beside, each as a set of texts: Cedar wants to
/// know types beforehand, and these are the provider's.
fn tags(attributes: &Attributes) -> BTreeMap<&str, Vec<String>> {
    let all = attributes.iter().map(|(name, value)| {
        let mut texts = Vec::new();
        flatten(value, &mut texts);
        (name.as_str(), texts)
    });
    all.collect()
}

fn flatten(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Bool(value) => texts.push(value.to_string()),
        Value::Integer(number) => texts.push(number.to_string()),
        Value::Text(text) => texts.push(text.clone()),
        Value::List(list) => list.iter().for_each(|value| flatten(value, texts)),
    }
}

fn write_entity(out: &mut Vec<u8>, entity: &Entity<'_>) -> Result<(), String> {
    serde_json::to_writer(&mut *out, entity).map_err(words)
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
