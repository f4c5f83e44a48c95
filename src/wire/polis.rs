//! Events as directory sync of Ory Polis (BoxyHQ's SAML Jackson before) sends
//! them: the bodies of webhooks in that format.
//!
//! The shapes are those of <https://www.ory.com/docs/polis/directory-sync/events>
//! and <https://boxyhq.com/docs/directory-sync/events>. The receiver of these
//! pages does not verify the bytes that came but `JSON.stringify(body)`, so a
//! body must be the text that JavaScript would write again: compact, with keys
//! that are numbers first, and without numbers that JavaScript writes
//! differently. Such a number is sent as a text.

use serde::{Serialize, Serializer};
use serde_json::{Map, Number, Value, json};

use super::AttributesBody;
use crate::model::{Event, Group, MemberObject, Payload, User};

const SCIM_USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const SCIM_GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const SCIM_ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// The greatest whole number that JavaScript tells from its neighbours.
const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

/// JavaScript writes smaller fractions with an exponent sooner or later.
const PLAIN_FRACTION_MIN: f64 = 1e-5;

/// `{"directory_id": …, "event": …, "tenant": …, "product": …, "data": {…}}`
///
/// The same event always gives the same bytes. An update does not say what was
/// there before.
#[derive(Clone, Debug, Serialize)]
pub struct PolisBody<'a> {
    pub directory_id: &'a str,
    pub event: &'a str,
    pub tenant: &'a str,
    pub product: &'a str,
    pub data: PolisData<'a>,
}

impl PolisBody<'_> {
    /// The JSON text.
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }

    /// The JSON text of a batch: an array, however many there are.
    pub fn batch_to_json(events: &[PolisBody<'_>]) -> Vec<u8> {
        to_json(&events)
    }
}

impl<'a> From<&'a Event> for PolisBody<'a> {
    fn from(event: &'a Event) -> PolisBody<'a> {
        PolisBody {
            directory_id: &event.directory,
            event: event.kind.as_str(),
            tenant: &event.tenant,
            product: &event.product,
            data: PolisData::from(&event.payload),
        }
    }
}

/// The `data` of an event: the user, the group, or the user with its `group`.
/// What Polis has no event for has a shape after these.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum PolisData<'a> {
    User(PolisUser<'a>),
    Group(PolisGroup<'a>),
    UserInGroup {
        #[serde(flatten)]
        user: PolisUser<'a>,
        group: PolisGroup<'a>,
    },
    GroupInGroup {
        #[serde(flatten)]
        member: PolisGroup<'a>,
        group: PolisGroup<'a>,
    },
    Details(Plain),
}

impl<'a> From<&'a Payload> for PolisData<'a> {
    fn from(payload: &'a Payload) -> PolisData<'a> {
        match payload {
            Payload::User { user, .. } => PolisData::User(user.into()),
            Payload::Group { group, .. } => PolisData::Group(group.into()),
            Payload::Membership { group, member: MemberObject::User(user) } => {
                PolisData::UserInGroup { user: user.into(), group: group.into() }
            }
            Payload::Membership { group, member: MemberObject::Group(member) } => {
                PolisData::GroupInGroup { member: member.into(), group: group.into() }
            }
            Payload::Directory { details } => {
                PolisData::Details(Plain(value(&AttributesBody(details))))
            }
        }
    }
}

/// `{"id": …, "first_name": …, "last_name": …, "email": …, "active": …, "raw": {…}}`
///
/// As Polis does it, names that are not known are empty, and `email` is the
/// username where there is no address.
#[derive(Clone, Debug, Serialize)]
pub struct PolisUser<'a> {
    pub id: &'a str,
    pub first_name: &'a str,
    pub last_name: &'a str,
    pub email: &'a str,
    pub active: bool,
    pub raw: Plain,
}

impl<'a> From<&'a User> for PolisUser<'a> {
    fn from(user: &'a User) -> PolisUser<'a> {
        PolisUser {
            id: &user.id,
            first_name: user.given_name.as_deref().unwrap_or_default(),
            last_name: user.family_name.as_deref().unwrap_or_default(),
            email: user.email().unwrap_or(&user.username),
            active: user.active,
            raw: Plain(kept(user.raw.as_deref()).unwrap_or_else(|| scim_user(user))),
        }
    }
}

/// `{"id": …, "name": …, "raw": {…}}`
#[derive(Clone, Debug, Serialize)]
pub struct PolisGroup<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub raw: Plain,
}

impl<'a> From<&'a Group> for PolisGroup<'a> {
    fn from(group: &'a Group) -> PolisGroup<'a> {
        let raw = kept(group.raw.as_deref()).unwrap_or_else(|| scim_group(group));
        PolisGroup { id: &group.id, name: &group.name, raw: Plain(raw) }
    }
}

/// A JSON value, written as JavaScript writes it again after reading it.
#[derive(Clone, Debug)]
pub struct Plain(pub Value);

impl Serialize for Plain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        PlainRef(&self.0).serialize(serializer)
    }
}

struct PlainRef<'a>(&'a Value);

impl Serialize for PlainRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Number(number) => serialize_number(number, serializer),
            Value::Array(values) => serializer.collect_seq(values.iter().map(PlainRef)),
            Value::Object(fields) => serializer.collect_map(
                ordered(fields).into_iter().map(|(key, value)| (key, PlainRef(value))),
            ),
            other => other.serialize(serializer),
        }
    }
}

/// The order of ECMAScript's `OrdinaryOwnPropertyKeys`: array indexes,
/// ascending, before all other keys, which stay as they are.
fn ordered(fields: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by_key(|(key, _)| array_index(key).map_or(u64::MAX, u64::from));
    fields
}

fn array_index(key: &str) -> Option<u32> {
    let index: u32 = key.parse().ok()?;
    (index != u32::MAX && index.to_string() == key).then_some(index)
}

fn serialize_number<S: Serializer>(number: &Number, serializer: S) -> Result<S::Ok, S::Error> {
    let is_safe = |magnitude: u64| magnitude <= SAFE_INTEGER_MAX;
    if let Some(whole) =
        number.as_i64().or_else(|| whole(number)).filter(|n| is_safe(n.unsigned_abs()))
    {
        return serializer.serialize_i64(whole);
    }
    match number.as_f64().filter(|_| number.is_f64()) {
        Some(fraction) if fraction.fract() != 0.0 && fraction.abs() >= PLAIN_FRACTION_MIN => {
            serializer.serialize_f64(fraction)
        }
        _ => serializer.collect_str(number),
    }
}

/// `1.0` and `1e3`, which JavaScript writes without a point.
fn whole(number: &Number) -> Option<i64> {
    let number = number.as_f64().filter(|number| number.fract() == 0.0)?;
    format!("{number:.0}").parse().ok()
}

/// The object as the provider sent it, where it was kept and is one.
fn kept(raw: Option<&str>) -> Option<Value> {
    serde_json::from_str(raw?).ok().filter(Value::is_object)
}

/// A user as SCIM would have it (RFC 7643, sections 4.1 and 4.3), with what
/// else is known of it in `attributes`.
fn scim_user(user: &User) -> Value {
    let mut raw = Map::new();
    raw.insert("schemas".to_owned(), json!([SCIM_USER]));
    raw.insert("id".to_owned(), json!(user.id));
    raw.insert("externalId".to_owned(), json!(user.id));
    raw.insert("userName".to_owned(), json!(user.username));
    raw.insert("active".to_owned(), json!(user.active));
    let emails = user.emails.iter().enumerate();
    let emails = emails.map(|(at, email)| json!({ "value": email, "primary": at == 0 }));
    insert(&mut raw, "emails", Value::Array(emails.collect()));
    insert(&mut raw, "displayName", json!(user.display_name));
    insert(&mut raw, "title", json!(user.title));
    let mut name = Map::new();
    insert(&mut name, "givenName", json!(user.given_name));
    insert(&mut name, "familyName", json!(user.family_name));
    insert(&mut raw, "name", Value::Object(name));
    let mut enterprise = Map::new();
    insert(&mut enterprise, "department", json!(user.department));
    if let Some(manager) = &user.manager {
        enterprise.insert("manager".to_owned(), json!({ "value": manager }));
    }
    if !enterprise.is_empty() {
        raw.insert("schemas".to_owned(), json!([SCIM_USER, SCIM_ENTERPRISE]));
    }
    insert(&mut raw, SCIM_ENTERPRISE, Value::Object(enterprise));
    insert(&mut raw, "status", json!(user.status));
    insert(&mut raw, "attributes", value(&AttributesBody(&user.attributes)));
    Value::Object(raw)
}

/// A group as SCIM would have it (RFC 7643, section 4.2), without its members,
/// which have events of their own.
fn scim_group(group: &Group) -> Value {
    let mut raw = Map::new();
    raw.insert("schemas".to_owned(), json!([SCIM_GROUP]));
    raw.insert("id".to_owned(), json!(group.id));
    raw.insert("externalId".to_owned(), json!(group.id));
    raw.insert("displayName".to_owned(), json!(group.name));
    insert(&mut raw, "email", json!(group.email));
    insert(&mut raw, "description", json!(group.description));
    insert(&mut raw, "attributes", value(&AttributesBody(&group.attributes)));
    Value::Object(raw)
}

/// What is absent or empty is left out.
fn insert(object: &mut Map<String, Value>, key: &str, value: Value) {
    let is_empty = match &value {
        Value::Null => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    if !is_empty {
        object.insert(key.to_owned(), value);
    }
}

fn value(body: &impl Serialize) -> Value {
    // Texts, numbers and maps with text keys have no way to fail.
    serde_json::to_value(body).unwrap_or_default()
}

fn to_json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

#[cfg(test)]
mod tests;
