//! What the document says of one user and of one group.

use std::collections::{BTreeMap, BTreeSet};

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::fold::fold;
use crate::model::{Group, User};
use crate::store::record::{GroupKeys, RecordError, UserSummary, emails_of};

/// A user without memberships.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    pub username: String,
    pub emails: Vec<String>,
    pub active: bool,
}

/// A group without those above it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Team {
    pub name: String,
    pub email: Option<String>,
}

/// A user as the document has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserFacts {
    pub person: Person,
    pub groups: BTreeSet<String>,
}

/// A group as the document has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupFacts {
    pub team: Team,
    pub ancestors: BTreeSet<String>,
}

impl Person {
    /// Reads the part of a record that matters.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn read(record: &[u8]) -> Result<Person, RecordError> {
        let summary = UserSummary::read(record)?;
        let emails = emails_of(record)?.map(str::to_owned).collect();
        Ok(Person { username: summary.username.to_owned(), emails, active: summary.active })
    }

    /// Under which addresses it is found, folded.
    pub fn email_keys(&self) -> BTreeSet<String> {
        keys(self.emails.iter().map(String::as_str))
    }

    /// Under which name it is found, folded.
    pub fn name_keys(&self) -> BTreeSet<String> {
        keys(std::iter::once(self.username.as_str()))
    }
}

impl Team {
    /// Reads the part of a record that matters.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn read(record: &[u8]) -> Result<Team, RecordError> {
        let keys = GroupKeys::read(record)?;
        Ok(Team { name: keys.name.to_owned(), email: keys.email.map(str::to_owned) })
    }

    /// Under which address it is found, folded.
    pub fn email_keys(&self) -> BTreeSet<String> {
        keys(self.email.as_deref().into_iter())
    }

    /// Under which name it is found, folded.
    pub fn name_keys(&self) -> BTreeSet<String> {
        keys(std::iter::once(self.name.as_str()))
    }
}

impl From<&User> for Person {
    fn from(user: &User) -> Person {
        let User { username, emails, active, .. } = user;
        Person { username: username.clone(), emails: emails.clone(), active: *active }
    }
}

impl From<&Group> for Team {
    fn from(group: &Group) -> Team {
        Team { name: group.name.clone(), email: group.email.clone() }
    }
}

/// A user as JSON; `groups` is an object of `true`s.
pub struct UserBody<'a, G> {
    pub username: &'a str,
    pub email: Option<&'a str>,
    pub active: bool,
    pub groups: G,
}

/// A group as JSON; `ancestors` is an object of `true`s.
pub struct GroupBody<'a, A> {
    pub name: &'a str,
    pub email: Option<&'a str>,
    pub ancestors: A,
}

impl<G: Serialize> Serialize for UserBody<'_, G> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("username", self.username)?;
        if let Some(email) = self.email {
            map.serialize_entry("email", email)?;
        }
        map.serialize_entry("active", &self.active)?;
        map.serialize_entry("groups", &self.groups)?;
        map.end()
    }
}

impl<A: Serialize> Serialize for GroupBody<'_, A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", self.name)?;
        if let Some(email) = self.email {
            map.serialize_entry("email", email)?;
        }
        map.serialize_entry("ancestors", &self.ancestors)?;
        map.end()
    }
}

impl Serialize for UserFacts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Person { username, emails, active } = &self.person;
        let email = emails.first().map(String::as_str);
        let groups = set(&self.groups);
        UserBody { username, email, active: *active, groups }.serialize(serializer)
    }
}

impl Serialize for GroupFacts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, email) = (self.team.name.as_str(), self.team.email.as_deref());
        GroupBody { name, email, ancestors: set(&self.ancestors) }.serialize(serializer)
    }
}

/// A set as JSON.
pub fn set(names: &BTreeSet<String>) -> BTreeMap<&str, bool> {
    names.iter().map(|name| (name.as_str(), true)).collect()
}

fn keys<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    names.filter(|name| !name.is_empty()).map(|name| fold(name).into_owned()).collect()
}
