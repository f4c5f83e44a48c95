//! Turns the fields of an entry into a user, a group or a membership.

use serde_json::Value as Json;

use super::list::Entry;
use crate::model::{Attributes, Group, Reference, User, Value};

/// A user, and the groups that its `group_ids` name (Pomerium's format).
///
/// # Errors
/// When there is no id, or a field is not what it should be.
pub(super) fn user(entry: Entry) -> Result<User, String> {
    let mut user = User { active: true, ..User::default() };
    let mut id = None;
    let mut username = None;
    let mut email = None;
    for (name, value) in entry.fields.into_iter().filter(|(_, value)| !value.is_null()) {
        match name.as_str() {
            "id" => set(&mut id, &name, value)?,
            "username" | "userName" | "user_name" => set(&mut username, &name, value)?,
            "email" => set(&mut email, &name, value)?,
            "emails" => user.emails = emails(&value)?,
            "display_name" | "displayName" => set(&mut user.display_name, &name, value)?,
            "given_name" | "givenName" | "name.givenName" => {
                set(&mut user.given_name, &name, value)?;
            }
            "family_name" | "familyName" | "name.familyName" => {
                set(&mut user.family_name, &name, value)?;
            }
            "active" => user.active = boolean(&name, &value)?,
            "status" => set(&mut user.status, &name, value)?,
            "title" => set(&mut user.title, &name, value)?,
            "department" => set(&mut user.department, &name, value)?,
            "manager" | "manager.id" | "manager.value" => set(&mut user.manager, &name, value)?,
            _ => attribute(&mut user.attributes, name, value),
        }
    }
    if let Some(email) = email {
        user.emails.retain(|other| *other != email);
        user.emails.insert(0, email);
    }
    user.id = id.ok_or("a user without `id`")?;
    user.username =
        username.or_else(|| user.emails.first().cloned()).unwrap_or_else(|| user.id.clone());
    user.raw = entry.raw;
    Ok(user)
}

/// A group, and the members it lists itself, if it does.
///
/// # Errors
/// When there is no id, or a field is not what it should be.
pub(super) fn group(entry: Entry) -> Result<(Group, Option<Vec<Reference>>), String> {
    let mut group = Group::default();
    let mut id = None;
    let mut name = None;
    let mut listed = None;
    for (key, value) in entry.fields.into_iter().filter(|(_, value)| !value.is_null()) {
        match key.as_str() {
            "id" => set(&mut id, &key, value)?,
            "name" | "display_name" | "displayName" => set(&mut name, &key, value)?,
            "email" => set(&mut group.email, &key, value)?,
            "description" => set(&mut group.description, &key, value)?,
            "members" => listed = Some(members(&value)?),
            _ => attribute(&mut group.attributes, key, value),
        }
    }
    group.id = id.ok_or("a group without `id`")?;
    group.name = name.unwrap_or_else(|| group.id.clone());
    group.raw = entry.raw;
    Ok((group, listed))
}

/// One row of the list of memberships: the group's id, and its members.
///
/// # Errors
/// When there is no group, or no member.
pub(super) fn membership(entry: Entry) -> Result<(String, Vec<Reference>), String> {
    let mut group = None;
    let mut member = None;
    let mut kind = None;
    let mut found = None;
    for (key, value) in entry.fields.into_iter().filter(|(_, value)| !value.is_null()) {
        match key.as_str() {
            "group" | "group_id" => set(&mut group, &key, value)?,
            "member" | "member_id" => set(&mut member, &key, value)?,
            "kind" => set(&mut kind, &key, value)?,
            "user" | "user_id" => add(&mut found, [Reference::User(text(&key, value)?)]),
            "member_group" | "member_group_id" => {
                add(&mut found, [Reference::Group(text(&key, value)?)]);
            }
            "users" => add(&mut found, ids(&key, value)?.into_iter().map(Reference::User)),
            "groups" => add(&mut found, ids(&key, value)?.into_iter().map(Reference::Group)),
            "members" => add(&mut found, members(&value)?),
            // A misspelt list would lose members; what else is there says more
            // about the membership than is asked.
            _ if value.is_array() => return Err(format!("a membership has no list `{key}`")),
            _ => {}
        }
    }
    if let Some(member) = member {
        add(&mut found, [reference(member, kind.as_deref())?]);
    }
    let group = group.ok_or("a membership without `group`")?;
    let found = found.ok_or("a membership without `user`, `member` or `member_group`")?;
    Ok((group, found))
}

/// Takes `group_ids` (Pomerium's format) out of the fields of a user.
///
/// # Errors
/// When it is no list of texts.
pub(super) fn take_group_ids(entry: &mut Entry) -> Result<Vec<String>, String> {
    match entry.fields.iter().position(|(name, _)| name == "group_ids") {
        Some(at) => match entry.fields.swap_remove(at) {
            (_, Json::Null) => Ok(Vec::new()),
            (name, value) => ids(&name, value),
        },
        None => Ok(Vec::new()),
    }
}

fn members(value: &Json) -> Result<Vec<Reference>, String> {
    value.as_array().ok_or("`members` must be a list")?.iter().map(member).collect()
}

/// An id, or `{"kind": …, "id": …}`, or `{"type": …, "value": …}` (RFC 7643).
fn member(value: &Json) -> Result<Reference, String> {
    let Json::Object(object) = value else {
        return reference(text("members", value.clone())?, None);
    };
    let id = object.get("id").or_else(|| object.get("value")).ok_or("a member without `id`")?;
    let kind = object.get("kind").or_else(|| object.get("type")).and_then(Json::as_str);
    reference(text("id", id.clone())?, kind)
}

fn reference(id: String, kind: Option<&str>) -> Result<Reference, String> {
    match kind {
        None => Ok(Reference::Id(id)),
        Some(kind) if kind.eq_ignore_ascii_case("user") => Ok(Reference::User(id)),
        Some(kind) if kind.eq_ignore_ascii_case("group") => Ok(Reference::Group(id)),
        Some(kind) => Err(format!("a member's kind is `user` or `group`, not `{kind}`")),
    }
}

/// A list of addresses, a text with addresses between semicolons, or a list
/// of `{"value": …, "primary": true}` (RFC 7643). The primary one comes first.
fn emails(value: &Json) -> Result<Vec<String>, String> {
    let mut found: Vec<(bool, String)> = Vec::new();
    match value {
        Json::Array(items) => {
            for item in items {
                let address = item.get("value").unwrap_or(item).clone();
                let is_primary = item.get("primary").and_then(Json::as_bool).unwrap_or(false);
                found.push((is_primary, text("emails", address)?));
            }
        }
        other => {
            let all = text("emails", other.clone())?;
            found.extend(all.split(';').map(|address| (false, address.trim().to_owned())));
        }
    }
    found.sort_by_key(|(is_primary, _)| !is_primary);
    let mut emails: Vec<String> = Vec::new();
    for (_, address) in found {
        if !address.is_empty() && !emails.contains(&address) {
            emails.push(address);
        }
    }
    Ok(emails)
}

fn set(field: &mut Option<String>, name: &str, value: Json) -> Result<(), String> {
    if field.is_some() {
        return Err(format!("`{name}` is given twice, by two spellings"));
    }
    let value = text(name, value)?;
    if !value.is_empty() {
        *field = Some(value);
    }
    Ok(())
}

fn text(name: &str, value: Json) -> Result<String, String> {
    match value {
        Json::String(text) => Ok(text),
        Json::Number(number) => Ok(number.to_string()),
        _ => Err(format!("`{name}` must be a text")),
    }
}

fn boolean(name: &str, value: &Json) -> Result<bool, String> {
    let word = match value {
        Json::Bool(value) => return Ok(*value),
        Json::String(text) => text.to_ascii_lowercase(),
        _ => String::new(),
    };
    match word.as_str() {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err(format!("`{name}` must be true or false")),
    }
}

fn ids(name: &str, value: Json) -> Result<Vec<String>, String> {
    match value {
        Json::Array(items) => items.into_iter().map(|item| text(name, item)).collect(),
        Json::String(text) => Ok(text
            .split(';')
            .map(str::trim)
            .filter(|id| !id.is_empty())
            .map(str::to_owned)
            .collect()),
        _ => Err(format!("`{name}` must be a list")),
    }
}

fn add(found: &mut Option<Vec<Reference>>, references: impl IntoIterator<Item = Reference>) {
    found.get_or_insert_default().extend(references);
}

fn attribute(attributes: &mut Attributes, name: String, value: Json) {
    attributes.insert(name, attribute_value(value));
}

fn attribute_value(value: Json) -> Value {
    match value {
        Json::Bool(value) => Value::Bool(value),
        Json::String(text) => Value::Text(text),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Value::Integer(integer),
            None => Value::Text(number.to_string()),
        },
        Json::Array(items) => Value::List(items.into_iter().map(attribute_value).collect()),
        // Only within lists: elsewhere objects are flattened, and nulls left out.
        other => Value::Text(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::bundle::json;

    fn entry(text: &str) -> Entry {
        let mut found = None;
        let list = format!("[{text}]");
        json::each(&list, 0..list.len(), false, &mut |entry| {
            found = Some(entry);
            Ok(())
        })
        .unwrap();
        found.unwrap()
    }

    #[test]
    fn a_user_with_everything() {
        let text = r#"{"id": 7, "username": "ada", "emails": ["b@x", "a@x"], "email": "a@x",
            "display_name": "Ada L", "given_name": "Ada", "family_name": "L", "active": false,
            "status": "on leave", "title": "Dr", "department": "R&D", "manager": "u9",
            "office": {"city": "London", "floor": 3}, "tags": ["x", {"y": 1}], "ratio": 1.5, "none": null}"#;
        let user = user(Entry { raw: Some(text.into()), ..entry(text) }).unwrap();
        assert_eq!((user.id.as_str(), user.username.as_str()), ("7", "ada"));
        assert_eq!(user.emails, ["a@x", "b@x"]);
        assert!(!user.active);
        assert_eq!(user.manager.as_deref(), Some("u9"));
        let attributes: Vec<_> = user.attributes.into_iter().collect();
        assert_eq!(
            attributes,
            [
                ("office.city".to_owned(), Value::from("London")),
                ("office.floor".to_owned(), Value::Integer(3)),
                ("ratio".to_owned(), Value::from("1.5")),
                ("tags".to_owned(), Value::List(vec!["x".into(), r#"{"y":1}"#.into()])),
            ]
        );
        assert_eq!(user.raw.as_deref(), Some(text));
    }

    #[test]
    fn a_user_in_the_spelling_of_rfc_7643() {
        let text = r#"{"id": "u1", "userName": "ada", "displayName": "Ada", "name": {"givenName": "A", "familyName": "L"},
            "emails": [{"value": "w@x"}, {"value": "h@x", "primary": true}], "manager": {"value": "u2"}}"#;
        let user = user(entry(text)).unwrap();
        assert_eq!(user.emails, ["h@x", "w@x"]);
        assert_eq!(user.given_name.as_deref(), Some("A"));
        assert_eq!(user.manager.as_deref(), Some("u2"));
        assert!(user.active && user.attributes.is_empty() && user.raw.is_none());
    }

    #[test]
    fn a_username_falls_back_and_an_id_does_not() {
        assert_eq!(user(entry(r#"{"id": "u1", "email": "a@x"}"#)).unwrap().username, "a@x");
        assert_eq!(user(entry(r#"{"id": "u1"}"#)).unwrap().username, "u1");
        assert!(user(entry(r#"{"username": "ada"}"#)).is_err());
        assert!(user(entry(r#"{"id": ""}"#)).is_err());
        assert!(user(entry(r#"{"id": "u1", "active": "perhaps"}"#)).is_err());
        assert!(user(entry(r#"{"id": "u1", "userName": "a", "username": "b"}"#)).is_err());
    }

    #[test]
    fn members_come_in_several_spellings() {
        let text = r#"{"id": "g1", "members": ["u1", {"kind": "group", "id": "g2"}, {"type": "User", "value": "u2"}]}"#;
        let (group, members) = group(entry(text)).unwrap();
        assert_eq!(group.name, "g1");
        let expected = [
            Reference::Id("u1".into()),
            Reference::Group("g2".into()),
            Reference::User("u2".into()),
        ];
        assert_eq!(members.unwrap(), expected);
    }

    #[test]
    fn memberships_come_in_several_spellings() {
        for (text, expected) in [
            (r#"{"group": "g", "user": "u"}"#, vec![Reference::User("u".into())]),
            (r#"{"group": "g", "member": "m"}"#, vec![Reference::Id("m".into())]),
            (
                r#"{"group": "g", "member": "m", "kind": "group"}"#,
                vec![Reference::Group("m".into())],
            ),
            (r#"{"group": "g", "member_group": "m"}"#, vec![Reference::Group("m".into())]),
            (r#"{"group": "g", "users": [], "groups": ["m"]}"#, vec![Reference::Group("m".into())]),
            (r#"{"group": "g", "users": []}"#, vec![]),
        ] {
            assert_eq!(membership(entry(text)).unwrap(), ("g".to_owned(), expected), "{text}");
        }
        for text in [
            r#"{"user": "u"}"#,
            r#"{"group": "g"}"#,
            r#"{"group": "g", "usr": "u"}"#,
            r#"{"group": "g", "user": "u", "usres": []}"#,
        ] {
            assert!(membership(entry(text)).is_err(), "{text}");
        }
    }
}
