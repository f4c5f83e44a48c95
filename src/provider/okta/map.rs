//! From Okta's JSON to users, groups, and events of the System Log.
//!
//! | Okta | rosterd |
//! |---|---|
//! | `profile.login` | username |
//! | `profile.email`, `profile.secondEmail` | emails, in this order |
//! | `profile.displayName`, else first and last name | display name |
//! | `profile.firstName`, `profile.lastName` | given and family name |
//! | `profile.title`, `profile.department` | the same |
//! | `profile.managerId`, else `profile.manager` | manager |
//! | `status`, `transitioningToStatus` | status as it is; active when each of them is in `active_statuses` |
//! | all else in `profile`, `type.id`, `realmId`; a group's `type` | attributes of that name |

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::config::OktaConfig;
use crate::clock::Timestamp;
use crate::model::{Attributes, Group, Reference, User, Value};
use crate::provider::{GroupItem, UserItem};

/// How the records of users name the built-in group that holds all of them.
const EVERYONE: &str = "everyone";

/// Profile fields of users that have a place of their own.
const USER_FIELDS: [&str; 10] = [
    "login",
    "email",
    "secondEmail",
    "displayName",
    "firstName",
    "lastName",
    "title",
    "department",
    "managerId",
    "manager",
];
const GROUP_FIELDS: [&str; 2] = ["name", "description"];

/// Left out of what is kept as it came: links and credentials, and the time
/// of the last sign-in, which is no change of the directory.
const NOT_KEPT: [&str; 4] = ["_links", "_embedded", "credentials", "lastLogin"];

/// A user as Okta shows it; what is missing here is malformed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OktaUser {
    id: String,
    status: String,
    transitioning_to_status: Option<String>,
    profile: Map<String, Json>,
    #[serde(rename = "type")]
    kind: Option<Kind>,
    realm_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Kind {
    id: Option<String>,
}

/// A group as Okta shows it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OktaGroup {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    profile: Map<String, Json>,
    last_updated: Option<String>,
    last_membership_updated: Option<String>,
}

/// An event of the System Log.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    pub uuid: String,
    pub event_type: String,
    pub target: Option<Vec<Target>>,
}

/// What an event is about.
#[derive(Debug, Deserialize)]
pub struct Target {
    pub id: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

impl OktaGroup {
    /// The built-in group of all users.
    pub fn is_everyone(&self) -> bool {
        self.kind == "BUILT_IN" && self.name() == Some("Everyone")
    }

    /// Changes whenever Okta says that the group or its members did.
    pub fn stamp(&self) -> String {
        let part = |time: &Option<String>| time.clone().unwrap_or_default();
        format!("{} {}", part(&self.last_updated), part(&self.last_membership_updated))
    }

    /// The later of both times of change.
    pub fn changed_at(&self) -> Option<Timestamp> {
        let times = [&self.last_updated, &self.last_membership_updated];
        times.into_iter().flatten().filter_map(|time| Timestamp::parse(time).ok()).max()
    }

    fn name(&self) -> Option<&str> {
        self.profile.get("name").and_then(Json::as_str)
    }
}

/// The id in any object, also a malformed one.
pub fn id_of(object: &Json) -> Option<&str> {
    object.get("id").and_then(Json::as_str).filter(|id| !id.is_empty())
}

pub fn user_reference(object: &Json) -> Option<Reference> {
    id_of(object).map(|id| Reference::User(id.to_owned()))
}

pub fn group_reference(object: &Json) -> Option<Reference> {
    id_of(object).map(|id| Reference::Group(id.to_owned()))
}

/// The object as it came, as far as it is kept.
pub fn raw(config: &OktaConfig, object: &Json) -> Option<String> {
    let fields = object.as_object().filter(|_| config.keep_raw)?;
    let kept = fields.iter().filter(|(name, _)| !NOT_KEPT.contains(&name.as_str()));
    let kept: Map<String, Json> = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    Some(Json::Object(kept).to_string())
}

/// # Errors
/// What is malformed.
pub fn user(config: &OktaConfig, user: OktaUser, raw: Option<String>) -> Result<UserItem, String> {
    let OktaUser { id, status, transitioning_to_status, profile, kind, realm_id } = user;
    let text = |name: &str| text(&profile, name);
    let username = text("login")?.ok_or("`profile.login` is missing")?;
    let (given_name, family_name) = (text("firstName")?, text("lastName")?);
    let whole_name = || {
        let parts: Vec<&str> =
            [&given_name, &family_name].into_iter().flatten().map(String::as_str).collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    };
    let mut emails: Vec<String> = Vec::new();
    for email in [text("email")?, text("secondEmail")?].into_iter().flatten() {
        if !emails.iter().any(|other| other.eq_ignore_ascii_case(&email)) {
            emails.push(email);
        }
    }
    let is_active = |status: &String| config.active_statuses.contains(status);
    let mut attributes = attributes(config, &profile, &USER_FIELDS);
    let more = [("type.id", kind.and_then(|kind| kind.id)), ("realmId", realm_id)];
    for (name, value) in more {
        if let Some(value) = value.filter(|_| is_wanted(config, name)) {
            attributes.insert(name.to_owned(), Value::Text(value));
        }
    }
    Ok(UserItem {
        user: User {
            id,
            username,
            emails,
            display_name: text("displayName")?.or_else(whole_name),
            active: is_active(&status) && transitioning_to_status.iter().all(is_active),
            status: Some(status),
            title: text("title")?,
            department: text("department")?,
            manager: text("managerId")?.or(text("manager")?),
            given_name,
            family_name,
            attributes,
            raw,
        },
        aliases: Vec::new(),
        groups: vec![Reference::Alias(EVERYONE.to_owned())],
    })
}

/// # Errors
/// What is malformed.
pub fn group(
    config: &OktaConfig,
    group: OktaGroup,
    raw: Option<String>,
) -> Result<GroupItem, String> {
    let aliases = if group.is_everyone() { vec![EVERYONE.to_owned()] } else { Vec::new() };
    let mut attributes = attributes(config, &group.profile, &GROUP_FIELDS);
    attributes.insert("type".to_owned(), Value::Text(group.kind.clone()));
    Ok(GroupItem {
        group: Group {
            name: text(&group.profile, "name")?.ok_or("`profile.name` is missing")?,
            email: None,
            description: text(&group.profile, "description")?,
            id: group.id,
            attributes,
            raw,
        },
        aliases,
    })
}

/// What else the profile says; objects within it get dots in their names.
fn attributes(config: &OktaConfig, profile: &Map<String, Json>, own: &[&str]) -> Attributes {
    let mut found = Attributes::new();
    for (name, value) in profile.iter().filter(|(name, _)| !own.contains(&name.as_str())) {
        if is_wanted(config, name) {
            flatten(name.clone(), value, &mut found);
        }
    }
    found
}

fn is_wanted(config: &OktaConfig, name: &str) -> bool {
    config.attributes.as_ref().is_none_or(|wanted| wanted.iter().any(|one| one == name))
}

fn flatten(name: String, value: &Json, found: &mut Attributes) {
    match value {
        Json::Null => {}
        Json::Object(fields) => {
            for (inner, value) in fields {
                flatten(format!("{name}.{inner}"), value, found);
            }
        }
        other => {
            found.insert(name, plain(other));
        }
    }
}

fn plain(value: &Json) -> Value {
    match value {
        Json::Bool(value) => Value::Bool(*value),
        Json::String(text) => Value::Text(text.clone()),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Value::Integer(integer),
            None => Value::Text(number.to_string()),
        },
        Json::Array(items) => Value::List(items.iter().map(plain).collect()),
        other => Value::Text(other.to_string()),
    }
}

/// A text of a profile; absent, null and empty are the same.
fn text(profile: &Map<String, Json>, name: &str) -> Result<Option<String>, String> {
    match profile.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => Err(format!("`profile.{name}` is no text")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::section::read_text;

    fn config(more: &str) -> OktaConfig {
        let text = format!("url = \"https://a.okta.com\"\ntoken = {{ env = \"PATH\" }}\n{more}");
        read_text(&text, OktaConfig::read).unwrap()
    }

    fn mapped(config: &OktaConfig, object: Json) -> Result<UserItem, String> {
        let raw = raw(config, &object);
        user(config, serde_json::from_value(object).map_err(|e| e.to_string())?, raw)
    }

    fn ada() -> Json {
        json!({
            "id": "00u1", "status": "ACTIVE", "lastLogin": "2026-01-01T00:00:00.000Z",
            "type": {"id": "oty1"}, "credentials": {"password": {}}, "_links": {},
            "profile": {
                "login": "ada@example.com", "email": "ada@example.com", "secondEmail": "a@home.example",
                "firstName": "Ada", "lastName": "Lovelace", "displayName": null, "title": "Countess",
                "department": "Engines", "manager": "Charles", "managerId": "00u9", "costCenter": "7",
                "badges": ["x", 2], "remote": true, "office": {"city": "London"}, "empty": null
            }
        })
    }

    #[test]
    fn the_profile_is_mapped_and_custom_attributes_are_kept() {
        let user = mapped(&config(""), ada()).unwrap().user;
        assert_eq!((user.id.as_str(), user.username.as_str()), ("00u1", "ada@example.com"));
        assert_eq!(user.emails, ["ada@example.com", "a@home.example"]);
        assert_eq!(user.display_name.as_deref(), Some("Ada Lovelace"));
        assert_eq!(user.given_name.as_deref(), Some("Ada"));
        assert_eq!(user.family_name.as_deref(), Some("Lovelace"));
        assert_eq!(user.title.as_deref(), Some("Countess"));
        assert_eq!(user.department.as_deref(), Some("Engines"));
        assert_eq!(user.manager.as_deref(), Some("00u9"));
        assert!(user.active && user.raw.is_none());
        let attributes: Vec<_> = user.attributes.into_iter().collect();
        assert_eq!(
            attributes,
            [
                ("badges".to_owned(), Value::List(vec!["x".into(), Value::Integer(2)])),
                ("costCenter".to_owned(), "7".into()),
                ("office.city".to_owned(), "London".into()),
                ("remote".to_owned(), Value::Bool(true)),
                ("type.id".to_owned(), "oty1".into()),
            ]
        );
        let only = mapped(&config("attributes = [\"costCenter\"]"), ada()).unwrap().user;
        assert_eq!(only.attributes.keys().collect::<Vec<_>>(), ["costCenter"]);
    }

    #[test]
    fn a_sign_in_is_no_change_and_credentials_are_not_kept() {
        let raw = mapped(&config("keep_raw = true"), ada()).unwrap().user.raw.unwrap();
        assert!(raw.contains("costCenter"));
        for left_out in ["lastLogin", "credentials", "_links"] {
            assert!(!raw.contains(left_out), "{raw}");
        }
    }

    #[test]
    fn r19_the_status_decides_who_is_active() {
        let active = |config: &OktaConfig, status: &str, to: Json| {
            let mut object = ada();
            object["status"] = status.into();
            object["transitioningToStatus"] = to;
            mapped(config, object).unwrap().user.active
        };
        let usual = config("");
        for status in ["ACTIVE", "PASSWORD_EXPIRED", "LOCKED_OUT", "RECOVERY"] {
            assert!(active(&usual, status, Json::Null), "{status}");
        }
        let others = ["STAGED", "PROVISIONED", "SUSPENDED", "DEPROVISIONED", "ACTIVATING", "NEW"];
        for status in others {
            assert!(!active(&usual, status, Json::Null), "{status}");
        }
        assert!(!active(&usual, "ACTIVE", "DEPROVISIONED".into()));
        assert!(!active(&usual, "STAGED", "ACTIVE".into()));
        let own = config("active_statuses = [\"ACTIVE\", \"PROVISIONED\"]");
        assert!(active(&own, "PROVISIONED", Json::Null));
        assert!(!active(&own, "LOCKED_OUT", Json::Null));
    }

    #[test]
    fn r12_what_lacks_a_login_or_a_status_is_malformed() {
        for (pointer, value) in [
            ("/status", Json::Null),
            ("/profile", Json::Null),
            ("/profile/login", Json::Null),
            ("/profile/login", json!(7)),
            ("/profile/email", json!({})),
        ] {
            let mut object = ada();
            *object.pointer_mut(pointer).unwrap() = value;
            assert!(mapped(&config(""), object).is_err(), "{pointer}");
        }
    }

    #[test]
    fn everyone_is_the_built_in_group_of_that_name() {
        let read = |kind: &str, name: &str| {
            let object =
                json!({"id": "00g1", "type": kind, "profile": {"name": name, "dn": "CN=x"}});
            let group: OktaGroup = serde_json::from_value(object).unwrap();
            let is_everyone = group.is_everyone();
            (super::group(&config(""), group, None).unwrap(), is_everyone)
        };
        let (everyone, is_everyone) = read("BUILT_IN", "Everyone");
        assert!(is_everyone);
        let user = mapped(&config(""), ada()).unwrap();
        assert_eq!(user.groups, [Reference::Alias(everyone.aliases[0].clone())]);
        let (other, is_everyone) = read("OKTA_GROUP", "Everyone");
        assert!(!is_everyone && other.aliases.is_empty());
        assert_eq!(other.group.attributes["dn"], "CN=x".into());
        assert_eq!(other.group.attributes["type"], "OKTA_GROUP".into());
    }
}
