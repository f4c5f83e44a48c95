//! From GitHub's objects to users and groups.
//!
//! | GitHub | here |
//! |---|---|
//! | account | user; id: the numeric account id, username: the login |
//! | organization | group `organization-ID`, named by its login, that every member's own record names |
//! | owners of it | group `organization-ID-owners`, named `LOGIN:owners`, likewise |
//! | team | group; id: the numeric team id, named `LOGIN/SLUG` |
//! | child team | member of its parent team |
//! | outside collaborator | user with the attribute `outside_collaborator_of`, in no group |
//! | pending invitation | user `invitation-ID` that is not active, with status `invited`, in no group |

use serde::Deserialize;
use serde_json::Value as Json;

use super::proof::Facts;
use super::teams::Team;
use crate::model::{Attributes, Group, Reference, User, Value};
use crate::provider::{GroupItem, Item, UserItem};

/// An account, as either interface shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Person {
    #[serde(alias = "databaseId")]
    pub id: u64,
    pub login: String,
    #[serde(default)]
    pub name: Option<String>,
    /// The public address; GraphQL says `""` for none.
    #[serde(default)]
    pub email: Option<String>,
    /// Servers of one's own only.
    #[serde(default, alias = "suspendedAt")]
    pub suspended_at: Option<String>,
}

/// A pending invitation (REST).
#[derive(Clone, Debug, Deserialize)]
pub struct Invitation {
    pub id: u64,
    /// `None` when an address was invited.
    #[serde(default)]
    pub login: Option<String>,
    #[serde(default)]
    pub email: Option<String>,
    #[serde(default)]
    pub role: Option<String>,
}

/// How an account belongs to an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Owner,
    Member,
    Outside,
}

pub fn organization_id(facts: &Facts) -> String {
    format!("organization-{}", facts.id)
}

pub fn owners_id(facts: &Facts) -> String {
    format!("organization-{}-owners", facts.id)
}

/// The reference in any object that has the id of an account.
pub fn person_reference(value: &Json) -> Option<Reference> {
    Some(Reference::User(id_of(value)?.to_string()))
}

/// The reference in any object that has the id of a team.
pub fn team_reference(value: &Json) -> Option<Reference> {
    Some(Reference::Group(id_of(value)?.to_string()))
}

pub fn invitation_reference(value: &Json) -> Option<Reference> {
    Some(Reference::User(invitation_id(id_of(value)?)))
}

fn id_of(value: &Json) -> Option<u64> {
    value["databaseId"].as_u64().or_else(|| value["id"].as_u64())
}

fn invitation_id(id: u64) -> String {
    format!("invitation-{id}")
}

/// An account of one organization. `emails` are those that the organization's
/// identity provider vouches for; the public one comes last.
pub fn person(
    person: Person,
    standing: Standing,
    facts: &Facts,
    emails: Vec<String>,
    raw: Option<String>,
) -> UserItem {
    let groups = match standing {
        Standing::Owner => vec![organization_id(facts), owners_id(facts)],
        Standing::Member => vec![organization_id(facts)],
        Standing::Outside => Vec::new(),
    };
    let mut attributes = Attributes::new();
    if standing == Standing::Outside {
        attributes.insert("outside_collaborator_of".to_owned(), list([facts.login.as_str()]));
    }
    let mut all = Vec::new();
    add_emails(&mut all, emails.into_iter().chain(person.email));
    let suspended = person.suspended_at.is_some();
    let user = User {
        id: person.id.to_string(),
        username: person.login,
        emails: all,
        display_name: person.name.filter(|name| !name.is_empty()),
        active: !suspended,
        status: suspended.then(|| "suspended".to_owned()),
        attributes,
        raw,
        ..User::default()
    };
    UserItem {
        user,
        aliases: Vec::new(),
        groups: groups.into_iter().map(Reference::Group).collect(),
    }
}

/// Somebody who was invited, and did not accept yet. The invitation has an id
/// of its own; the account that accepts it, if there is one yet, is not told.
pub fn invitation(invitation: Invitation, facts: &Facts, raw: Option<String>) -> UserItem {
    let mut attributes = Attributes::new();
    attributes.insert("invited_to".to_owned(), list([facts.login.as_str()]));
    attributes.extend(invitation.role.map(|role| ("invited_as".to_owned(), Value::Text(role))));
    let mut emails = Vec::new();
    add_emails(&mut emails, invitation.email);
    let id = invitation_id(invitation.id);
    let name = invitation.login.or_else(|| emails.first().cloned());
    let user = User {
        username: name.unwrap_or_else(|| id.clone()),
        id,
        emails,
        active: false,
        status: Some("invited".to_owned()),
        attributes,
        raw,
        ..User::default()
    };
    UserItem { user, aliases: Vec::new(), groups: Vec::new() }
}

/// The groups that every organization has. Their members say so themselves.
pub fn organization(facts: &Facts) -> Vec<Item> {
    let group = |id: String, name: String, description: Option<String>| {
        let members = Item::Members { group: Reference::Group(id.clone()), members: Vec::new() };
        let attributes =
            Attributes::from([("organization".to_owned(), facts.login.as_str().into())]);
        let group = Group { id, name, description, attributes, ..Group::default() };
        [Item::Group(GroupItem { group, aliases: Vec::new() }), members]
    };
    let owners = format!("{}:owners", facts.login);
    [
        group(organization_id(facts), facts.login.clone(), facts.name.clone()),
        group(owners_id(facts), owners, None),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A team with its complete direct members.
pub fn team(team: &Team, facts: &Facts) -> [Item; 2] {
    let name = format!("{}/{}", facts.login, team.slug);
    let mut attributes = Attributes::from([
        ("organization".to_owned(), facts.login.as_str().into()),
        ("display_name".to_owned(), team.name.as_str().into()),
        ("privacy".to_owned(), team.privacy.as_str().into()),
    ]);
    let mut maintainers: Vec<u64> =
        team.members.iter().filter(|(_, is)| **is).map(|(id, _)| *id).collect();
    maintainers.sort_unstable();
    if !maintainers.is_empty() {
        let ids = maintainers.iter().map(|id| Value::Text(id.to_string())).collect();
        attributes.insert("maintainers".to_owned(), Value::List(ids));
    }
    let id = team.id.to_string();
    let users = team.members.keys().map(|id| Reference::User(id.to_string()));
    let children = team.children.iter().map(|id| Reference::Group(id.to_string()));
    let members = users.chain(children).collect();
    let group = Group {
        id: id.clone(),
        name,
        description: team.description.clone().filter(|text| !text.is_empty()),
        attributes,
        raw: team.raw.clone(),
        ..Group::default()
    };
    let item = GroupItem { group, aliases: Vec::new() };
    [Item::Group(item), Item::Members { group: Reference::Group(id), members }]
}

/// One record of what two organizations show of an account.
pub fn merge(mut known: UserItem, other: UserItem) -> UserItem {
    add_emails(&mut known.user.emails, other.user.emails);
    known.groups.extend(other.groups);
    for (name, value) in other.user.attributes {
        match (known.user.attributes.get_mut(&name), value) {
            (Some(Value::List(all)), Value::List(more)) => all.extend(more),
            (Some(_), _) => {}
            (None, value) => drop(known.user.attributes.insert(name, value)),
        }
    }
    known
}

fn add_emails(all: &mut Vec<String>, more: impl IntoIterator<Item = String>) {
    for email in more {
        let known = all.iter().any(|known| known.eq_ignore_ascii_case(&email));
        if !email.is_empty() && !known {
            all.push(email);
        }
    }
}

fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> Value {
    Value::List(texts.into_iter().map(Value::from).collect())
}
