//! Users and groups as Pomerium knows them: by the ids that its sessions have.
//!
//! Who is deactivated has no record, so no policy on groups lets them in. An id
//! that two users have (or two groups) means neither of them: whoever signs in
//! with it is in no group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::index::{DirectoryView, View};
use crate::model::{User, Value};
use crate::store::record::{self, RecordError};

/// What a user's record is called: what Pomerium's identity provider names as
/// the user's id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IdMode {
    /// The provider's immutable id.
    #[default]
    Id,
    Username,
    /// The primary address.
    Email,
    /// One of the attributes that the directory is told to keep.
    Attribute(String),
}

/// The directories that are told of, and how their users are called.
pub type Scope = BTreeMap<String, IdMode>;

/// One user, as it is put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    pub id: String,
    /// Of all groups, nested ones too. Sorted.
    pub group_ids: Vec<String>,
    pub display_name: String,
    pub email: String,
    pub username: String,
}

/// One group, as it is put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Team {
    pub id: String,
    pub name: String,
    pub email: String,
}

/// Everyone in scope at one seq.
pub struct Roster {
    directories: Vec<(Arc<DirectoryView>, IdMode)>,
    /// Ids that several active users have.
    ambiguous: BTreeSet<String>,
    /// Active users who have no id of the kind that is asked for.
    nameless: u64,
}

impl IdMode {
    /// Reads `id`, `username`, `email` or `attribute:NAME`.
    ///
    /// # Errors
    /// When it is something else; in words.
    pub fn parse(text: &str) -> Result<IdMode, String> {
        match (text, text.split_once(':')) {
            ("id", _) => Ok(IdMode::Id),
            ("username", _) => Ok(IdMode::Username),
            ("email", _) => Ok(IdMode::Email),
            (_, Some(("attribute", name))) if !name.is_empty() => {
                Ok(IdMode::Attribute(name.to_owned()))
            }
            _ => Err(format!("`{}` names no id of a user", text.escape_debug())),
        }
    }

    /// What would be right.
    pub const HINT: &'static str = "write \"id\", \"username\", \"email\" or \"attribute:NAME\"";

    fn of(&self, user: &User) -> Option<String> {
        let id = match self {
            IdMode::Id => Some(user.id.clone()),
            IdMode::Username => Some(user.username.clone()),
            IdMode::Email => user.email().map(str::to_owned),
            IdMode::Attribute(name) => user.attributes.get(name).and_then(text),
        };
        id.filter(|id| !id.is_empty())
    }
}

impl std::fmt::Display for IdMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            IdMode::Id => f.write_str("id"),
            IdMode::Username => f.write_str("username"),
            IdMode::Email => f.write_str("email"),
            IdMode::Attribute(name) => write!(f, "attribute:{name}"),
        }
    }
}

/// The id of a user who may sign in.
pub fn id_of(user: &User, mode: &IdMode) -> Option<String> {
    mode.of(user)
}

impl Roster {
    /// Blocks for as long as it takes to look at every user.
    ///
    /// # Errors
    /// When a record is damaged.
    pub fn new(view: &View, scope: &Scope) -> Result<Roster, RecordError> {
        let here = |name: &String| view.directory(name).map(Arc::clone);
        let named = scope.iter().filter_map(|(name, mode)| Some((here(name)?, mode.clone())));
        let directories = named.collect();
        let mut roster = Roster { directories, ambiguous: BTreeSet::new(), nameless: 0 };
        roster.find_ambiguous()?;
        Ok(roster)
    }

    /// The directories there are.
    pub fn directories(&self) -> impl Iterator<Item = &DirectoryView> {
        self.directories.iter().map(|(directory, _)| &**directory)
    }

    /// How many users' ids are somebody else's too, or not there at all.
    pub fn left_out(&self) -> u64 {
        self.ambiguous.len() as u64 + self.nameless
    }

    /// What the user's record is called, unless there is none.
    ///
    /// # Errors
    /// When a record is damaged.
    pub fn id_of(&self, directory: usize, slot: u32) -> Result<Option<String>, RecordError> {
        let Some((directory, mode)) = self.directories.get(directory) else { return Ok(None) };
        let user = user(directory, slot)?.filter(|user| user.active);
        let id = user.and_then(|user| mode.of(&user));
        Ok(id.filter(|id| !self.ambiguous.contains(id)))
    }

    /// The user, unless there is no record for them.
    ///
    /// # Errors
    /// When a record is damaged.
    pub fn person(&self, directory: usize, slot: u32) -> Result<Option<Person>, RecordError> {
        let Some((directory, mode)) = self.directories.get(directory) else { return Ok(None) };
        let Some(user) = user(directory, slot)?.filter(|user| user.active) else { return Ok(None) };
        let Some(id) = mode.of(&user).filter(|id| !self.ambiguous.contains(id)) else {
            return Ok(None);
        };
        let mut group_ids = Vec::new();
        for group in directory.ancestors_of_user(slot) {
            let Some(record) = directory.group_record(group) else { continue };
            let id = record::id_of(record)?;
            if self.is_only_group(id) {
                group_ids.push(id.to_owned());
            }
        }
        group_ids.sort();
        let email = user.email().unwrap_or_default().to_owned();
        let display_name = user.display_name.unwrap_or_default();
        Ok(Some(Person { id, group_ids, display_name, email, username: user.username }))
    }

    /// The group, unless there is no record for it.
    ///
    /// # Errors
    /// When a record is damaged.
    pub fn team(&self, directory: usize, slot: u32) -> Result<Option<Team>, RecordError> {
        let Some((directory, _)) = self.directories.get(directory) else { return Ok(None) };
        let Some(record) = directory.group_record(slot) else { return Ok(None) };
        let keys = record::GroupKeys::read(record)?;
        if !self.is_only_group(keys.id) {
            return Ok(None);
        }
        let email = keys.email.unwrap_or_default().to_owned();
        Ok(Some(Team { id: keys.id.to_owned(), name: keys.name.to_owned(), email }))
    }

    /// Whether no other directory has a group of that id.
    pub fn is_only_group(&self, id: &str) -> bool {
        let mut all = self.directories();
        self.directories.len() == 1
            || all.by_ref().filter(|directory| directory.group_by_id(id).is_some()).nth(1).is_none()
    }

    /// Two passes, so that only the ids in doubt are kept.
    fn find_ambiguous(&mut self) -> Result<(), RecordError> {
        let is_unique = matches!(self.directories.as_slice(), [] | [(_, IdMode::Id)]);
        if is_unique {
            return Ok(());
        }
        let mut hashes = Vec::new();
        let mut nameless = 0;
        self.each_id(|id| match id {
            Some(id) => hashes.push(hash(&id)),
            None => nameless += 1,
        })?;
        hashes.sort();
        let twice = hashes.windows(2).filter_map(|pair| match pair {
            [a, b] if a == b => Some(*a),
            _ => None,
        });
        let twice: BTreeSet<u64> = twice.collect();
        let (mut seen, mut ambiguous) = (BTreeSet::new(), BTreeSet::new());
        if !twice.is_empty() {
            self.each_id(|id| {
                let id = id.filter(|id| twice.contains(&hash(id)));
                ambiguous.extend(id.and_then(|id| seen.replace(id)));
            })?;
        }
        (self.ambiguous, self.nameless) = (ambiguous, nameless);
        Ok(())
    }

    fn each_id(&self, mut take: impl FnMut(Option<String>)) -> Result<(), RecordError> {
        for (directory, mode) in &self.directories {
            for slot in directory.user_slots() {
                if let Some(user) = user(directory, slot)?.filter(|user| user.active) {
                    take(mode.of(&user));
                }
            }
        }
        Ok(())
    }
}

fn user(directory: &DirectoryView, slot: u32) -> Result<Option<User>, RecordError> {
    directory.user_record(slot).map(record::decode_user).transpose().map(|item| Some(item?.user))
}

fn hash(id: &str) -> u64 {
    crate::digest::sha256_number(id.as_bytes())
}

/// An id is one text or number; a list of one is that one.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::List(list) => match list.as_slice() {
            [one] => text(one),
            _ => None,
        },
        Value::Bool(_) => None,
    }
}
