//! The schema of the entities, in both forms that Cedar reads.

use serde_json::{Map, Value, json};

pub(super) const USER: &str = "Rosterd::User";
pub(super) const GROUP: &str = "Rosterd::Group";

const NAMESPACE: &str = "Rosterd";

#[derive(Clone, Copy)]
enum Type {
    Text,
    Texts,
    Flag,
}

/// A name, a type, and whether it is always there.
type Attribute = (&'static str, Type, bool);

const USER_ATTRIBUTES: [Attribute; 15] = [
    ("id", Type::Text, true),
    ("username", Type::Text, true),
    ("active", Type::Flag, true),
    ("emails", Type::Texts, true),
    ("directory", Type::Text, true),
    ("tenant", Type::Text, true),
    ("product", Type::Text, true),
    ("email", Type::Text, false),
    ("display_name", Type::Text, false),
    ("given_name", Type::Text, false),
    ("family_name", Type::Text, false),
    ("status", Type::Text, false),
    ("title", Type::Text, false),
    ("department", Type::Text, false),
    ("manager", Type::Text, false),
];

const GROUP_ATTRIBUTES: [Attribute; 7] = [
    ("id", Type::Text, true),
    ("name", Type::Text, true),
    ("directory", Type::Text, true),
    ("tenant", Type::Text, true),
    ("product", Type::Text, true),
    ("email", Type::Text, false),
    ("description", Type::Text, false),
];

const ENTITIES: [(&str, &[Attribute]); 2] =
    [("User", &USER_ATTRIBUTES), ("Group", &GROUP_ATTRIBUTES)];

/// In JSON.
pub fn json_schema() -> Value {
    let types = ENTITIES.into_iter().map(|(name, attributes)| {
        let attributes = attributes.iter().map(|(name, kind, required)| {
            let mut attribute = kind.json();
            if !required {
                attribute["required"] = false.into();
            }
            ((*name).to_owned(), attribute)
        });
        let entity = json!({
            "memberOfTypes": ["Group"],
            "shape": { "type": "Record", "attributes": attributes.collect::<Map<_, _>>() },
            "tags": Type::Texts.json(),
        });
        (name.to_owned(), entity)
    });
    json!({ NAMESPACE: { "entityTypes": types.collect::<Map<_, _>>(), "actions": {} } })
}

/// In Cedar's own syntax.
pub fn text_schema() -> String {
    let entities = ENTITIES.map(|(name, attributes)| {
        let lines = attributes.iter().map(|(name, kind, required)| {
            let mark = if *required { "" } else { "?" };
            format!("    {name}{mark}: {},\n", kind.text())
        });
        let lines: String = lines.collect();
        format!("  entity {name} in [Group] = {{\n{lines}  }} tags {};\n", Type::Texts.text())
    });
    format!("namespace {NAMESPACE} {{\n{}}}\n", entities.join("\n"))
}

impl Type {
    fn json(self) -> Value {
        match self {
            Type::Text => json!({ "type": "String" }),
            Type::Texts => json!({ "type": "Set", "element": { "type": "String" } }),
            Type::Flag => json!({ "type": "Boolean" }),
        }
    }

    fn text(self) -> &'static str {
        match self {
            Type::Text => "String",
            Type::Texts => "Set<String>",
            Type::Flag => "Bool",
        }
    }
}
