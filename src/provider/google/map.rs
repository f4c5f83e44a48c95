//! From Google's JSON to users, groups and members.

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::config::GoogleConfig;
use crate::model::{Attributes, Group, Reference, User, Value};
use crate::provider::http::Quarantine;
use crate::provider::{GroupItem, PullError, UserItem};

/// What is used of a user (schema `User` of the description).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawUser {
    id: String,
    primary_email: String,
    #[serde(default)]
    suspended: bool,
    #[serde(default)]
    archived: bool,
    suspension_reason: Option<String>,
    deletion_time: Option<String>,
    customer_id: Option<String>,
    creation_time: Option<String>,
    org_unit_path: Option<String>,
    #[serde(default)]
    name: Name,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    non_editable_aliases: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Name {
    full_name: Option<String>,
    display_name: Option<String>,
    given_name: Option<String>,
    family_name: Option<String>,
}

/// A user as read, with what only this provider needs.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadUser {
    pub item: UserItem,
    pub customer: Option<String>,
    pub created: Option<String>,
    /// Soft-deleted: not there any more.
    pub is_deleted: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawGroup {
    id: String,
    email: String,
    name: Option<String>,
    description: Option<String>,
    direct_members_count: Option<Json>,
}

/// A group as read.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadGroup {
    pub item: GroupItem,
    pub email: String,
    /// Eventually consistent.
    pub count: Option<u64>,
}

#[derive(Deserialize)]
struct RawMember {
    id: Option<String>,
    email: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// A direct member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub who: Who,
    pub id: Option<String>,
    /// In lower case.
    pub email: Option<String>,
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    User,
    Group,
    /// Everybody in the customer's organisation.
    Customer,
    /// Somebody without a Google account.
    External,
    /// Of a type that is not known here.
    Other,
}

/// The user in `value`; `None` when it is malformed, and kept as it was.
///
/// # Errors
/// [`PullError::Incomplete`] when it is malformed and nameless.
pub fn user(
    value: &Json,
    config: &GoogleConfig,
    quarantine: &mut Quarantine,
) -> Result<Option<ReadUser>, PullError> {
    let raw = match RawUser::deserialize(value) {
        Ok(raw) if !raw.id.is_empty() => raw,
        Ok(_) => return quarantine.keep(None, "its id is empty").map(|()| None),
        Err(error) => {
            let known = id_of(value).map(Reference::User);
            return quarantine.keep(known, &error.to_string()).map(|()| None);
        }
    };
    let status = match (raw.archived, raw.suspended) {
        (true, _) => "archived",
        (_, true) => "suspended",
        _ => "active",
    };
    let mut emails = vec![raw.primary_email.clone()];
    // Only addresses that Google vouches for: what stands in `emails` may be
    // anybody's, and others are looked up by it (known failure R22).
    for alias in raw.aliases.iter().chain(&raw.non_editable_aliases) {
        if !emails.contains(alias) {
            emails.push(alias.clone());
        }
    }
    let organization = primary(value.get("organizations"));
    let user = User {
        id: raw.id,
        username: raw.primary_email.clone(),
        emails,
        display_name: raw.name.full_name.or(raw.name.display_name),
        given_name: raw.name.given_name,
        family_name: raw.name.family_name,
        active: !raw.suspended && !raw.archived,
        status: Some(status.to_owned()),
        title: text_of(organization, "title"),
        department: text_of(organization, "department"),
        manager: manager(value),
        attributes: user_attributes(value, raw.org_unit_path, raw.suspension_reason, config),
        raw: config.keep_raw.then(|| value.to_string()),
    };
    let aliases = vec![mail_alias(&raw.primary_email)];
    Ok(Some(ReadUser {
        item: UserItem { user, aliases, groups: Vec::new() },
        customer: raw.customer_id,
        created: raw.creation_time,
        is_deleted: raw.deletion_time.is_some_and(|time| !time.is_empty()),
    }))
}

/// The group in `value`; `None` when it is malformed, and kept as it was.
///
/// # Errors
/// [`PullError::Incomplete`] when it is malformed and nameless.
pub fn group(
    value: &Json,
    config: &GoogleConfig,
    quarantine: &mut Quarantine,
) -> Result<Option<ReadGroup>, PullError> {
    let raw = match RawGroup::deserialize(value) {
        Ok(raw) if !raw.id.is_empty() => raw,
        Ok(_) => return quarantine.keep(None, "its id is empty").map(|()| None),
        Err(error) => {
            let known = id_of(value).map(Reference::Group);
            return quarantine.keep(known, &error.to_string()).map(|()| None);
        }
    };
    let mut attributes = Attributes::new();
    for name in &config.attributes {
        insert(&mut attributes, name, find(value, name));
    }
    let name = raw.name.filter(|name| !name.is_empty());
    let group = Group {
        id: raw.id,
        name: name.unwrap_or_else(|| raw.email.clone()),
        email: Some(raw.email.clone()),
        description: raw.description.filter(|text| !text.is_empty()),
        attributes,
        raw: config.keep_raw.then(|| value.to_string()),
    };
    let item = GroupItem { group, aliases: vec![mail_alias(&raw.email)] };
    let count = raw.direct_members_count.as_ref().and_then(number);
    Ok(Some(ReadGroup { item, email: raw.email.to_lowercase(), count }))
}

/// The member in `value`.
///
/// # Errors
/// The reason, when nobody can say who that is.
pub fn member(value: &Json) -> Result<Member, String> {
    let raw = RawMember::deserialize(value).map_err(|error| error.to_string())?;
    let who = match raw.kind.as_deref() {
        Some("USER") => Who::User,
        Some("GROUP") => Who::Group,
        Some("CUSTOMER") => Who::Customer,
        Some("EXTERNAL") => Who::External,
        _ => Who::Other,
    };
    let id = raw.id.filter(|id| !id.is_empty());
    let email = raw.email.filter(|email| !email.is_empty()).map(|email| email.to_lowercase());
    if id.is_none() && email.is_none() && who != Who::Customer {
        return Err("a member has neither an id nor an address".to_owned());
    }
    Ok(Member { who, id, email })
}

impl Member {
    /// How the group's list names it; `None` for everybody.
    pub fn reference(&self) -> Option<Reference> {
        let reference = match (self.who, &self.id, &self.email) {
            (Who::Customer, ..) => return None,
            (Who::User, Some(id), _) => Reference::User(id.clone()),
            (Who::Group, Some(id), _) => Reference::Group(id.clone()),
            (Who::Other, Some(id), _) => Reference::Id(id.clone()),
            (Who::User | Who::Group, None, Some(email)) => Reference::Alias(mail_alias(email)),
            // An id that no user or group has: an address outside the
            // organisation must never mean somebody within.
            (_, _, Some(email)) => Reference::Id(format!("external:{email}")),
            (_, Some(id), None) => Reference::Id(format!("external:{id}")),
            (_, None, None) => return None,
        };
        Some(reference)
    }

    /// What tells it from other members of the group.
    pub fn key(&self) -> String {
        let name = self.id.as_ref().or(self.email.as_ref());
        name.cloned().unwrap_or_else(|| "everybody".to_owned())
    }
}

/// The alias by which the audit feed names a user or a group.
pub fn mail_alias(email: &str) -> String {
    format!("mail:{}", email.to_lowercase())
}

/// The part behind the `@`, in lower case.
pub fn domain(email: &str) -> Option<String> {
    email.rsplit_once('@').map(|(_, domain)| domain.to_lowercase())
}

/// The id, when the object has one.
pub fn id_of(value: &Json) -> Option<String> {
    value.get("id")?.as_str().filter(|id| !id.is_empty()).map(str::to_owned)
}

fn user_attributes(
    value: &Json,
    org_unit: Option<String>,
    suspension: Option<String>,
    config: &GoogleConfig,
) -> Attributes {
    let mut attributes = Attributes::new();
    if let Some(path) = org_unit {
        attributes.insert("orgUnitPath".to_owned(), Value::Text(path));
    }
    if let Some(reason) = suspension {
        attributes.insert("suspensionReason".to_owned(), Value::Text(reason));
    }
    let empty = Map::new();
    for (schema, fields) in value.get("customSchemas").and_then(Json::as_object).unwrap_or(&empty) {
        for (field, value) in fields.as_object().unwrap_or(&empty) {
            insert(&mut attributes, &format!("{schema}.{field}"), Some(value));
        }
    }
    for name in &config.attributes {
        insert(&mut attributes, name, find(value, name));
    }
    attributes
}

fn insert(attributes: &mut Attributes, name: &str, value: Option<&Json>) {
    if let Some(value) = value.and_then(converted) {
        attributes.insert(name.to_owned(), value);
    }
}

/// A field by its name; dots lead into objects.
fn find<'a>(value: &'a Json, name: &str) -> Option<&'a Json> {
    name.split('.').try_fold(value, |value, part| value.get(part))
}

fn converted(value: &Json) -> Option<Value> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => {
            number.as_i64().map_or_else(|| Value::Text(number.to_string()), Value::Integer)
        }
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(list) => Value::List(list.iter().filter_map(element).collect()),
        Json::Object(_) => Value::Text(value.to_string()),
    })
}

/// Fields of several values are lists of `{"type": …, "value": …}`.
fn element(value: &Json) -> Option<Value> {
    converted(value.get("value").unwrap_or(value))
}

fn primary(list: Option<&Json>) -> Option<&Json> {
    let list = list?.as_array()?;
    let is_primary = |entry: &&Json| entry.get("primary").and_then(Json::as_bool) == Some(true);
    list.iter().find(is_primary).or_else(|| list.first())
}

fn manager(value: &Json) -> Option<String> {
    let relations = value.get("relations")?.as_array()?;
    let is_manager =
        |relation: &&Json| relation.get("type").and_then(Json::as_str) == Some("manager");
    text_of(relations.iter().find(is_manager), "value")
}

fn text_of(value: Option<&Json>, name: &str) -> Option<String> {
    let text = value?.get(name)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// A count is a string in JSON (format int64), or a number.
fn number(value: &Json) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// `directMembersCount` of a group.
pub fn count_of(group: &Json) -> Option<u64> {
    group.get("directMembersCount").and_then(number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::section::read_text;

    fn config(more: &str) -> GoogleConfig {
        let text = format!("impersonate = \"a@b\"\nservice_account = \"s@p\"\n{more}");
        read_text(&text, GoogleConfig::read).unwrap()
    }

    fn read(value: &Json, more: &str) -> ReadUser {
        let mut quarantine = Quarantine::new("google");
        user(value, &config(more), &mut quarantine).unwrap().unwrap()
    }

    #[test]
    fn a_user_is_read_with_what_google_vouches_for() {
        let value = json!({
            "id": "107", "primaryEmail": "ada@x.org", "suspended": false, "archived": false,
            "name": { "fullName": "Ada L", "givenName": "Ada", "familyName": "L" },
            "aliases": ["al@x.org", "ada@x.org"],
            "emails": [{ "address": "somebody@else.example", "type": "home" }],
            "organizations": [{ "title": "old" }, { "title": "Chief", "department": "R", "primary": true }],
            "relations": [{ "type": "manager", "value": "boss@x.org" }],
            "orgUnitPath": "/corp",
            "customSchemas": { "Job": { "level": 3, "on": true, "tags": [{ "value": "a" }, { "value": "b" }] } },
            "externalIds": [{ "value": "e1", "type": "organization" }]
        });
        let user = read(&value, "attributes = [\"externalIds\", \"name.givenName\"]").item.user;
        assert_eq!(user.emails, ["ada@x.org", "al@x.org"]);
        assert_eq!((user.title.as_deref(), user.department.as_deref()), (Some("Chief"), Some("R")));
        assert_eq!((user.manager.as_deref(), user.active), (Some("boss@x.org"), true));
        assert_eq!(user.attributes["orgUnitPath"], Value::from("/corp"));
        assert_eq!(user.attributes["Job.level"], Value::Integer(3));
        let list = Value::List(vec!["a".into(), "b".into()]);
        assert_eq!(user.attributes["Job.tags"], list);
        assert_eq!(user.attributes["externalIds"], Value::List(vec!["e1".into()]));
        assert_eq!(user.attributes["name.givenName"], Value::from("Ada"));
    }

    #[test]
    fn suspended_archived_and_deleted_are_three_states() {
        let state = |more: Json| {
            let mut value = json!({ "id": "1", "primaryEmail": "a@x.org" });
            value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let read = read(&value, "");
            (read.item.user.active, read.item.user.status.unwrap(), read.is_deleted)
        };
        assert_eq!(state(json!({})), (true, "active".into(), false));
        assert_eq!(state(json!({ "suspended": true })), (false, "suspended".into(), false));
        assert_eq!(state(json!({ "archived": true })), (false, "archived".into(), false));
        assert!(state(json!({ "deletionTime": "2026-11-01T00:00:00Z" })).2);
    }

    #[test]
    fn r22_an_address_outside_never_means_somebody_within() {
        let named = |value: Json| member(&value).unwrap().reference();
        let outside = named(json!({ "type": "EXTERNAL", "email": "Ada@x.org", "id": "" }));
        assert_eq!(outside, Some(Reference::Id("external:ada@x.org".into())));
        let user = named(json!({ "type": "USER", "id": "107", "email": "ada@x.org" }));
        assert_eq!(user, Some(Reference::User("107".into())));
        assert_eq!(named(json!({ "type": "CUSTOMER", "id": "C01" })), None);
        assert!(member(&json!({ "type": "USER" })).is_err());
    }

    #[test]
    fn a_count_is_text_or_a_number() {
        assert_eq!(count_of(&json!({ "directMembersCount": "12" })), Some(12));
        assert_eq!(count_of(&json!({ "directMembersCount": 12 })), Some(12));
        assert_eq!(count_of(&json!({})), None);
    }
}
