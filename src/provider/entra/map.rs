//! From Graph's objects to users, groups and members.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::config::Wanted;
use super::objects::{GroupKind, Kind};
use crate::model::{Attributes, Group, Reference, User, Value};
use crate::provider::http::Quarantine;
use crate::provider::{GroupItem, Item, PullError, UserItem};

/// What became of one object.
#[derive(Debug, PartialEq)]
pub(super) enum Mapped<T> {
    Is(T),
    /// The settings leave it out.
    LeftOut(String),
    /// Its last good record stands, for this reference.
    Kept(Reference),
}

/// Reads objects by the settings; counts what it cannot read.
pub(super) struct Mapper<'a> {
    pub wanted: &'a Wanted,
    pub quarantine: Quarantine,
    /// Objects that came with little more than their id: the permission to
    /// read them is missing, and nothing of them was cleared.
    pub stripped: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Person {
    id: String,
    user_principal_name: Option<String>,
    display_name: Option<String>,
    given_name: Option<String>,
    surname: Option<String>,
    mail: Option<String>,
    proxy_addresses: Option<Vec<String>>,
    account_enabled: Option<bool>,
    user_type: Option<String>,
    external_user_state: Option<String>,
    job_title: Option<String>,
    department: Option<String>,
    // Service principals and devices.
    app_id: Option<String>,
    device_id: Option<String>,
    service_principal_type: Option<String>,
    operating_system: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Team {
    id: String,
    display_name: Option<String>,
    mail: Option<String>,
    description: Option<String>,
    group_types: Option<Vec<String>>,
    security_enabled: Option<bool>,
    mail_enabled: Option<bool>,
    visibility: Option<String>,
}

/// A group, and whether its members may be hidden from us.
#[derive(Debug, PartialEq)]
pub(super) struct MappedGroup {
    pub item: GroupItem,
    pub is_hidden: bool,
}

impl<'a> Mapper<'a> {
    pub(super) fn new(wanted: &'a Wanted) -> Mapper<'a> {
        Mapper { wanted, quarantine: Quarantine::new("Microsoft Graph"), stripped: 0 }
    }

    /// Reads a user, or what is read like one.
    ///
    /// # Errors
    /// [`PullError::Incomplete`] when it does not say who it is.
    pub(super) fn user(&mut self, kind: Kind, value: Json) -> Result<Mapped<UserItem>, PullError> {
        let own = match &value {
            Json::Object(object) => object.clone(),
            _ => Map::new(),
        };
        let Some(person) =
            self.quarantine.decode::<Person>(value, |v| reference(v, Reference::User))?
        else {
            return Ok(Mapped::Kept(Reference::User(text_id(&own))));
        };
        let reference = Reference::User(person.id.clone());
        // Graph shows what may not be read as null. These are never null
        // otherwise ("limited information", permissions overview).
        let name = match kind {
            Kind::Users => person.user_principal_name.clone(),
            Kind::ServicePrincipals => person.app_id.clone(),
            Kind::Devices => person.display_name.clone().or_else(|| person.device_id.clone()),
        };
        let (Some(username), Some(active)) = (name, person.account_enabled) else {
            self.stripped += 1;
            return Ok(Mapped::Kept(reference));
        };
        let is_guest = person.user_type.as_deref() == Some("Guest");
        if kind == Kind::Users && is_guest && !self.wanted.guests {
            return Ok(Mapped::LeftOut(person.id));
        }
        let state = person.external_user_state.clone().filter(|state| state != "Accepted");
        let status = if active { state } else { Some("accountEnabled=false".to_owned()) };
        let mut attributes = Attributes::new();
        let mut note = |name: &str, value: &Option<String>| {
            let value = value.as_deref().map(|text| (name.to_owned(), Value::from(text)));
            attributes.extend(value);
        };
        match kind {
            Kind::Users => note("userType", &person.user_type),
            Kind::ServicePrincipals => {
                note("objectType", &Some("servicePrincipal".to_owned()));
                note("servicePrincipalType", &person.service_principal_type);
            }
            Kind::Devices => {
                note("objectType", &Some("device".to_owned()));
                note("deviceId", &person.device_id);
                note("operatingSystem", &person.operating_system);
            }
        }
        if kind == Kind::Users {
            extra(&mut attributes, &own, &self.wanted.attributes);
        }
        let user = User {
            username,
            emails: emails(person.mail, person.proxy_addresses.unwrap_or_default()),
            display_name: person.display_name,
            given_name: person.given_name,
            family_name: person.surname,
            active,
            status,
            title: person.job_title,
            department: person.department,
            manager: None,
            attributes,
            raw: self.raw(own),
            id: person.id,
        };
        Ok(Mapped::Is(UserItem { user, ..UserItem::default() }))
    }

    /// Reads a group.
    ///
    /// # Errors
    /// [`PullError::Incomplete`] when it does not say which one it is.
    pub(super) fn group(&mut self, value: Json) -> Result<Mapped<MappedGroup>, PullError> {
        let own = match &value {
            Json::Object(object) => object.clone(),
            _ => Map::new(),
        };
        let Some(team) =
            self.quarantine.decode::<Team>(value, |v| reference(v, Reference::Group))?
        else {
            return Ok(Mapped::Kept(Reference::Group(text_id(&own))));
        };
        let (Some(name), Some(security)) = (team.display_name, team.security_enabled) else {
            self.stripped += 1;
            return Ok(Mapped::Kept(Reference::Group(team.id)));
        };
        let types = team.group_types.unwrap_or_default();
        let mail_enabled = team.mail_enabled.unwrap_or(false);
        let kind = GroupKind::of(&types, security, mail_enabled);
        let kinds = &self.wanted.group_kinds;
        if (self.wanted.security_enabled_only && !security)
            || (!kinds.is_empty() && !kinds.contains(&kind))
        {
            return Ok(Mapped::LeftOut(team.id));
        }
        let mut attributes = Attributes::from([
            ("securityEnabled".to_owned(), Value::Bool(security)),
            ("mailEnabled".to_owned(), Value::Bool(mail_enabled)),
            ("groupTypes".to_owned(), Value::List(types.into_iter().map(Value::Text).collect())),
        ]);
        extra(&mut attributes, &own, &self.wanted.group_attributes);
        let group = Group {
            name,
            email: team.mail.filter(|mail| !mail.is_empty()),
            description: team.description,
            attributes,
            raw: self.raw(own),
            id: team.id,
        };
        let is_hidden = team.visibility.as_deref() == Some("HiddenMembership");
        Ok(Mapped::Is(MappedGroup { item: GroupItem { group, ..GroupItem::default() }, is_hidden }))
    }

    /// Objects that could not be used.
    pub(super) fn bad(&self) -> u64 {
        self.quarantine.count() + self.stripped
    }

    /// What was kept since this was last asked.
    pub(super) fn take_kept(&mut self) -> Vec<Item> {
        self.quarantine.take_kept()
    }

    /// Without annotations, which differ from request to request.
    fn raw(&self, mut own: Map<String, Json>) -> Option<String> {
        if !self.wanted.keep_raw {
            return None;
        }
        own.retain(|name, _| !name.contains('@'));
        Some(Json::Object(own).to_string())
    }
}

/// Whom a member means; `None` for what is neither user nor group here.
///
/// # Errors
/// [`PullError::Incomplete`] when it has no id.
pub(super) fn member(wanted: &Wanted, value: &Json) -> Result<Option<Reference>, PullError> {
    let id = value.get("id").and_then(Json::as_str).filter(|id| !id.is_empty());
    let Some(id) = id.map(str::to_owned) else {
        return Err(PullError::Incomplete {
            what: "Microsoft Graph".to_owned(),
            reason: "a member has no id".to_owned(),
        });
    };
    let Some(name) = value.get("@odata.type").and_then(Json::as_str) else {
        return Ok(Some(Reference::Id(id)));
    };
    Ok(match (name, Kind::of_type(name)) {
        ("#microsoft.graph.group", _) => Some(Reference::Group(id)),
        (_, Some(Kind::Users)) => Some(Reference::User(id)),
        (_, Some(Kind::ServicePrincipals)) => {
            wanted.service_principals.then_some(Reference::User(id))
        }
        (_, Some(Kind::Devices)) => wanted.devices.then_some(Reference::User(id)),
        _ => None,
    })
}

/// The id of an object of a page or delta.
pub(super) fn id_of(value: &Json) -> Option<&str> {
    value.get("id").and_then(Json::as_str).filter(|id| !id.is_empty())
}

fn reference(value: &Json, of: fn(String) -> Reference) -> Option<Reference> {
    id_of(value).map(|id| of(id.to_owned()))
}

fn text_id(own: &Map<String, Json>) -> String {
    own.get("id").and_then(Json::as_str).unwrap_or_default().to_owned()
}

/// `mail` first, then the other addresses, the primary one (`SMTP:` in
/// capitals) before its aliases. Not `otherMails`, which nobody verifies.
fn emails(mail: Option<String>, proxies: Vec<String>) -> Vec<String> {
    let mut found: Vec<(bool, String)> = proxies
        .iter()
        .filter_map(|proxy| {
            let (kind, address) = proxy.split_once(':')?;
            kind.eq_ignore_ascii_case("smtp").then(|| (kind != "SMTP", address.to_owned()))
        })
        .collect();
    found.sort();
    let mut seen = BTreeSet::new();
    let all = mail.into_iter().chain(found.into_iter().map(|(_, address)| address));
    all.filter(|email| !email.is_empty() && seen.insert(email.to_lowercase())).collect()
}

fn extra(attributes: &mut Attributes, own: &Map<String, Json>, names: &[String]) {
    for name in names {
        if let Some(value) = own.get(name) {
            add(attributes, name, value);
        }
    }
}

/// Nested objects become attributes with dots in their names.
fn add(attributes: &mut Attributes, name: &str, value: &Json) {
    match value {
        Json::Null => {}
        Json::Object(fields) => {
            for (field, value) in fields {
                add(attributes, &format!("{name}.{field}"), value);
            }
        }
        value => attributes.extend([(name.to_owned(), plain(value))]),
    }
}

fn plain(value: &Json) -> Value {
    match value {
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => {
            number.as_i64().map_or_else(|| Value::Text(number.to_string()), Value::Integer)
        }
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(values) => Value::List(values.iter().map(plain).collect()),
        Json::Null | Json::Object(_) => Value::Text(value.to_string()),
    }
}

#[cfg(test)]
mod tests;
