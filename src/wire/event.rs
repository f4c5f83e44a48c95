//! One entry of the journal as JSON: the body of a webhook and of the feed.

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::{AttributesBody, GroupBody, UserBody};
use crate::clock::Timestamp;
use crate::model::{Attributes, Event, Group, MemberObject, Payload, Previous, User};

/// One entry of the journal.
///
/// The same event always gives the same bytes.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub struct EventBody<'a> {
    /// `evt_…`; a webhook's `webhook-id`.
    pub id: &'a str,
    /// Its number in the journal, without gaps.
    pub seq: u64,
    /// `user.created`, `group.user_added`, `directory.failing`, …
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(serialize_with = "rfc_3339")]
    pub occurred_at: Timestamp,
    pub tenant: &'a str,
    pub product: &'a str,
    pub directory: &'a str,
    pub data: DataBody<'a>,
}

impl EventBody<'_> {
    /// The JSON text.
    pub fn to_json(&self) -> Vec<u8> {
        // Texts, numbers and maps with text keys have no way to fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl<'a> From<&'a Event> for EventBody<'a> {
    fn from(event: &'a Event) -> EventBody<'a> {
        EventBody {
            id: &event.id,
            seq: event.seq,
            kind: event.kind.as_str(),
            occurred_at: event.occurred_at,
            tenant: &event.tenant,
            product: &event.product,
            directory: &event.directory,
            data: DataBody::from(&event.payload),
        }
    }
}

/// The `data` of an event: `user`; `group`; `group` and `user`; `group` and
/// `member` (the inner group); or the details of a `directory.*` event.
///
/// Updates carry `previous`, with only the fields that changed, as they were.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = EventData)]
pub enum DataBody<'a> {
    User {
        user: UserBody<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        previous: Option<PreviousBody<'a>>,
    },
    Group {
        group: GroupBody<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        previous: Option<PreviousBody<'a>>,
    },
    GroupUser {
        group: GroupBody<'a>,
        user: UserBody<'a>,
    },
    GroupGroup {
        group: GroupBody<'a>,
        member: GroupBody<'a>,
    },
    Directory(AttributesBody<'a>),
}

impl<'a> From<&'a Payload> for DataBody<'a> {
    fn from(payload: &'a Payload) -> DataBody<'a> {
        match payload {
            Payload::User { user, previous } => DataBody::User {
                user: user.into(),
                previous: previous.as_ref().map(|Previous(old)| PreviousBody::of_user(old, user)),
            },
            Payload::Group { group, previous } => DataBody::Group {
                group: group.into(),
                previous: previous.as_ref().map(|Previous(old)| PreviousBody::of_group(old, group)),
            },
            Payload::Membership { group, member: MemberObject::User(user) } => {
                DataBody::GroupUser { group: group.into(), user: user.into() }
            }
            Payload::Membership { group, member: MemberObject::Group(member) } => {
                DataBody::GroupGroup { group: group.into(), member: member.into() }
            }
            Payload::Directory { details } => DataBody::Directory(AttributesBody(details)),
        }
    }
}

/// The changed fields of an object as they were; `null` where a field was left
/// out. `attributes` is one field, and told whole.
#[derive(Clone, Debug, Default)]
pub struct PreviousBody<'a> {
    fields: Vec<(&'static str, Old<'a>)>,
}

impl<'a> PreviousBody<'a> {
    /// What differs in `old` from the user that is `new`.
    pub fn of_user(old: &'a User, new: &User) -> PreviousBody<'a> {
        let mut body = PreviousBody::default();
        body.text("id", Some(&old.id), Some(&new.id));
        body.text("username", Some(&old.username), Some(&new.username));
        body.text("email", old.email(), new.email());
        if old.emails != new.emails {
            body.fields.push(("emails", Old::Texts(&old.emails)));
        }
        body.option("display_name", &old.display_name, &new.display_name);
        body.option("given_name", &old.given_name, &new.given_name);
        body.option("family_name", &old.family_name, &new.family_name);
        if old.active != new.active {
            body.fields.push(("active", Old::Bool(old.active)));
        }
        body.option("status", &old.status, &new.status);
        body.option("title", &old.title, &new.title);
        body.option("department", &old.department, &new.department);
        body.option("manager", &old.manager, &new.manager);
        body.attributes(&old.attributes, &new.attributes);
        body.option("raw", &old.raw, &new.raw);
        body
    }

    /// What differs in `old` from the group that is `new`.
    pub fn of_group(old: &'a Group, new: &Group) -> PreviousBody<'a> {
        let mut body = PreviousBody::default();
        body.text("id", Some(&old.id), Some(&new.id));
        body.text("name", Some(&old.name), Some(&new.name));
        body.option("email", &old.email, &new.email);
        body.option("description", &old.description, &new.description);
        body.attributes(&old.attributes, &new.attributes);
        body.option("raw", &old.raw, &new.raw);
        body
    }

    /// The names of the fields.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.fields.iter().map(|(name, _)| *name)
    }

    fn text(&mut self, name: &'static str, old: Option<&'a str>, new: Option<&str>) {
        if old != new {
            self.fields.push((name, old.map_or(Old::Nothing, Old::Text)));
        }
    }

    fn option(&mut self, name: &'static str, old: &'a Option<String>, new: &Option<String>) {
        self.text(name, old.as_deref(), new.as_deref());
    }

    fn attributes(&mut self, old: &'a Attributes, new: &Attributes) {
        if old != new {
            self.fields.push(("attributes", Old::Attributes(old)));
        }
    }
}

impl Serialize for PreviousBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.fields.iter().map(|(name, old)| (name, old)))
    }
}

#[derive(Clone, Debug)]
enum Old<'a> {
    Nothing,
    Bool(bool),
    Text(&'a str),
    Texts(&'a [String]),
    Attributes(&'a Attributes),
}

impl Serialize for Old<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Old::Nothing | Old::Texts([]) => serializer.serialize_none(),
            Old::Attributes(values) if values.is_empty() => serializer.serialize_none(),
            Old::Bool(value) => serializer.serialize_bool(*value),
            Old::Text(value) => serializer.serialize_str(value),
            Old::Texts(values) => serializer.collect_seq(values.iter()),
            Old::Attributes(values) => AttributesBody(values).serialize(serializer),
        }
    }
}

fn rfc_3339<S: Serializer>(moment: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(moment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EventKind, Value};

    fn event(kind: EventKind, payload: Payload) -> Event {
        Event {
            id: "evt_1".into(),
            seq: 812,
            kind,
            occurred_at: Timestamp::parse("2026-11-20T10:15:00Z").unwrap(),
            tenant: "acme".into(),
            product: "vpn".into(),
            directory: "corp".into(),
            payload,
        }
    }

    fn check(kind: EventKind, payload: Payload, data: &str) {
        let event = event(kind, payload);
        let text = String::from_utf8(EventBody::from(&event).to_json()).unwrap();
        let head = format!(
            r#"{{"id":"evt_1","seq":812,"type":"{}","occurred_at":"2026-11-20T10:15:00Z","tenant":"acme","product":"vpn","directory":"corp","data":"#,
            kind.as_str()
        );
        assert_eq!(text, format!("{head}{data}}}"));
    }

    fn ada() -> User {
        User { id: "u1".into(), username: "ada".into(), active: true, ..User::default() }
    }

    fn group(id: &str) -> Group {
        Group { id: id.into(), name: "Ops".into(), ..Group::default() }
    }

    #[test]
    fn a_membership_names_both_sides() {
        check(
            EventKind::GroupUserAdded,
            Payload::Membership { group: group("g1"), member: MemberObject::User(ada()) },
            r#"{"group":{"id":"g1","name":"Ops"},"user":{"id":"u1","username":"ada","active":true}}"#,
        );
        check(
            EventKind::GroupGroupAdded,
            Payload::Membership { group: group("g1"), member: MemberObject::Group(group("g2")) },
            r#"{"group":{"id":"g1","name":"Ops"},"member":{"id":"g2","name":"Ops"}}"#,
        );
    }

    #[test]
    fn an_update_carries_only_the_changed_fields_as_they_were() {
        let old = User {
            emails: vec!["old@x".into()],
            attributes: [("a".to_owned(), Value::Integer(1)), ("b".to_owned(), "x".into())].into(),
            ..ada()
        };
        let new = User {
            active: false,
            title: Some("Dr".into()),
            attributes: [("b".to_owned(), "x".into()), ("c".to_owned(), Value::Bool(true))].into(),
            ..ada()
        };
        check(
            EventKind::UserUpdated,
            Payload::User { user: new, previous: Some(Previous(old)) },
            r#"{"user":{"id":"u1","username":"ada","active":false,"title":"Dr","attributes":{"b":"x","c":true}},"previous":{"email":"old@x","emails":["old@x"],"active":true,"title":null,"attributes":{"a":1,"b":"x"}}}"#,
        );
    }

    #[test]
    fn a_group_update_and_a_creation() {
        let new = Group { description: Some("runs things".into()), ..group("g1") };
        check(
            EventKind::GroupUpdated,
            Payload::Group { group: new, previous: Some(Previous(group("g1"))) },
            r#"{"group":{"id":"g1","name":"Ops","description":"runs things"},"previous":{"description":null}}"#,
        );
        check(
            EventKind::UserCreated,
            Payload::User { user: ada(), previous: None },
            r#"{"user":{"id":"u1","username":"ada","active":true}}"#,
        );
    }

    #[test]
    fn a_directory_event_carries_its_details() {
        check(
            EventKind::DirectorySynced,
            Payload::Directory { details: [("users".to_owned(), Value::Integer(3))].into() },
            r#"{"users":3}"#,
        );
    }
}
