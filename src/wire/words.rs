//! Events in words, for logs and for people who follow them.

use serde_json::Value;

/// What an event says, in one line without its time and seq:
/// `ada joined Engineering`.
///
/// `event` is the JSON of [`super::EventBody`]. What a field lacks is shown as
/// `?`, so an event of a newer version still reads.
pub fn sentence(event: &Value) -> String {
    let kind = text(event, "/type");
    let user = || named(event, "/data/user", "username");
    let group = || named(event, "/data/group", "name");
    let member = || named(event, "/data/member", "name");
    match kind {
        "user.created" => format!("user {} appeared", user()),
        "user.updated" => format!("user {} changed: {}", user(), differences(event, "user")),
        "user.deleted" => format!("user {} is gone", user()),
        "group.created" => format!("group {} appeared", group()),
        "group.updated" => format!("group {} changed: {}", group(), differences(event, "group")),
        "group.deleted" => format!("group {} is gone", group()),
        "group.user_added" => format!("user {} joined group {}", user(), group()),
        "group.user_removed" => format!("user {} left group {}", user(), group()),
        "group.group_added" => format!("group {} joined group {}", member(), group()),
        "group.group_removed" => format!("group {} left group {}", member(), group()),
        "directory.synced" => format!("directory synced: {}", details(event)),
        "directory.failing" => format!("directory failing: {}", details(event)),
        "directory.recovered" => "directory recovered".to_owned(),
        "directory.held" => format!("changes held: {}", details(event)),
        "directory.removed" => format!("directory removed: {}", details(event)),
        "webhook.disabled" => format!("webhook disabled: {}", details(event)),
        other => format!("{other}: {}", details(event)),
    }
}

fn text<'a>(event: &'a Value, pointer: &str) -> &'a str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or("?")
}

/// The name people use and the id that stays.
fn named(event: &Value, object: &str, name: &str) -> String {
    let name = text(event, &format!("{object}/{name}"));
    let id = text(event, &format!("{object}/id"));
    if name == id { name.to_owned() } else { format!("{name} ({id})") }
}

/// `title "Engineer" -> "Lead"; active true -> false`
fn differences(event: &Value, object: &str) -> String {
    let Some(previous) = event.pointer("/data/previous").and_then(Value::as_object) else {
        return "?".to_owned();
    };
    let current = event.pointer(&format!("/data/{object}"));
    let changes = previous.iter().map(|(field, before)| {
        let after = current.and_then(|object| object.get(field)).unwrap_or(&Value::Null);
        format!("{field} {} -> {}", shown(before), shown(after))
    });
    changes.collect::<Vec<_>>().join("; ")
}

fn details(event: &Value) -> String {
    let Some(data) = event.pointer("/data").and_then(Value::as_object) else {
        return "?".to_owned();
    };
    let details = data.iter().map(|(name, value)| match value.as_str() {
        Some(text) => format!("{name} {}", text.replace('\n', "; ")),
        None => format!("{name} {value}"),
    });
    details.collect::<Vec<_>>().join(", ")
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(event: &Value, expect: &str) {
        assert_eq!(sentence(event), expect);
    }

    #[test]
    fn memberships_read_as_joining_and_leaving() {
        let data = json!({
            "group": { "id": "g1", "name": "Engineering" },
            "user": { "id": "u1", "username": "ada" },
        });
        let added = json!({ "type": "group.user_added", "data": data });
        check(&added, "user ada (u1) joined group Engineering (g1)");
        let removed = json!({ "type": "group.user_removed", "data": data });
        check(&removed, "user ada (u1) left group Engineering (g1)");
    }

    #[test]
    fn updates_name_what_differs() {
        let event = json!({ "type": "user.updated", "data": {
            "user": { "id": "ada", "username": "ada", "title": "Lead", "active": false },
            "previous": { "active": true, "title": null },
        }});
        check(&event, "user ada changed: active true -> false; title none -> \"Lead\"");
    }

    #[test]
    fn notices_carry_their_details() {
        let event =
            json!({ "type": "directory.synced", "data": { "reason": "first", "users": 3 } });
        check(&event, "directory synced: reason first, users 3");
        check(&json!({ "type": "new.kind" }), "new.kind: ?");
    }
}
