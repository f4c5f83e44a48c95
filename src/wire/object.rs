//! Users, groups and members as JSON.

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::model::{Attributes, Group, MemberObject, User, Value};

/// A user.
///
/// What is absent or empty is left out.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = User)]
pub struct UserBody<'a> {
    /// As the provider gave it; it never changes hands.
    pub id: &'a str,
    pub username: &'a str,
    /// The first of `emails`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub email: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    #[schema(required = false)]
    pub emails: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub display_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub given_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub family_name: Option<&'a str>,
    /// Whether the provider lets this user sign in.
    pub active: bool,
    /// The provider's own word for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub status: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub department: Option<&'a str>,
    /// The provider's id of another user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub manager: Option<&'a str>,
    #[serde(skip_serializing_if = "AttributesBody::is_empty")]
    #[schema(required = false)]
    pub attributes: AttributesBody<'a>,
    /// The object as the provider sent it, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub raw: Option<&'a str>,
}

impl<'a> From<&'a User> for UserBody<'a> {
    fn from(user: &'a User) -> UserBody<'a> {
        UserBody {
            id: &user.id,
            username: &user.username,
            email: user.email(),
            emails: &user.emails,
            display_name: user.display_name.as_deref(),
            given_name: user.given_name.as_deref(),
            family_name: user.family_name.as_deref(),
            active: user.active,
            status: user.status.as_deref(),
            title: user.title.as_deref(),
            department: user.department.as_deref(),
            manager: user.manager.as_deref(),
            attributes: AttributesBody(&user.attributes),
            raw: user.raw.as_deref(),
        }
    }
}

/// A group.
///
/// What is absent or empty is left out.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = Group)]
pub struct GroupBody<'a> {
    /// As the provider gave it; it never changes hands.
    pub id: &'a str,
    pub name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub description: Option<&'a str>,
    #[serde(skip_serializing_if = "AttributesBody::is_empty")]
    #[schema(required = false)]
    pub attributes: AttributesBody<'a>,
    /// The object as the provider sent it, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub raw: Option<&'a str>,
}

impl<'a> From<&'a Group> for GroupBody<'a> {
    fn from(group: &'a Group) -> GroupBody<'a> {
        GroupBody {
            id: &group.id,
            name: &group.name,
            email: group.email.as_deref(),
            description: group.description.as_deref(),
            attributes: AttributesBody(&group.attributes),
            raw: group.raw.as_deref(),
        }
    }
}

/// A user or a group with `"kind": "user"` or `"kind": "group"` in front.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[schema(as = Member)]
pub enum MemberBody<'a> {
    User(UserBody<'a>),
    Group(GroupBody<'a>),
}

impl<'a> From<&'a MemberObject> for MemberBody<'a> {
    fn from(member: &'a MemberObject) -> MemberBody<'a> {
        match member {
            MemberObject::User(user) => MemberBody::User(user.into()),
            MemberObject::Group(group) => MemberBody::Group(group.into()),
        }
    }
}

/// Extra attributes: an object of scalars and lists, ordered by name.
#[derive(Clone, Copy, Debug)]
pub struct AttributesBody<'a>(pub &'a Attributes);

impl AttributesBody<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for AttributesBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, ValueBody(value))))
    }
}

/// One attribute's value: a boolean, an integer, a text, or a list of these.
#[derive(Clone, Copy, Debug)]
pub struct ValueBody<'a>(pub &'a Value);

impl Serialize for ValueBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Integer(value) => serializer.serialize_i64(*value),
            Value::Text(value) => serializer.serialize_str(value),
            Value::List(values) => serializer.collect_seq(values.iter().map(ValueBody)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(body: impl Serialize) -> String {
        serde_json::to_string(&body).unwrap()
    }

    #[test]
    fn what_is_absent_is_left_out() {
        let user = User { id: "u1".into(), username: "ada".into(), ..User::default() };
        let body = r#"{"id":"u1","username":"ada","active":false}"#;
        assert_eq!(json(UserBody::from(&user)), body);
        let group = Group { id: "g1".into(), name: "Ops".into(), ..Group::default() };
        assert_eq!(json(GroupBody::from(&group)), r#"{"id":"g1","name":"Ops"}"#);
    }

    #[test]
    fn the_fields_keep_their_order_and_kinds() {
        let user = User {
            id: "u1".into(),
            username: "ada".into(),
            emails: vec!["a@x".into(), "b@x".into()],
            active: true,
            attributes: [
                ("tags".to_owned(), Value::List(vec!["a".into(), Value::Integer(-1)])),
                ("remote".to_owned(), Value::Bool(true)),
            ]
            .into(),
            ..User::default()
        };
        assert_eq!(
            json(UserBody::from(&user)),
            r#"{"id":"u1","username":"ada","email":"a@x","emails":["a@x","b@x"],"active":true,"attributes":{"remote":true,"tags":["a",-1]}}"#
        );
    }

    #[test]
    fn a_member_says_its_kind() {
        let group = Group { id: "g2".into(), name: "Inner".into(), ..Group::default() };
        assert_eq!(
            json(MemberBody::from(&MemberObject::Group(group))),
            r#"{"kind":"group","id":"g2","name":"Inner"}"#
        );
    }
}
