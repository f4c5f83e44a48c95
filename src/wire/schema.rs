//! What the types of this room that write themselves look like, for the
//! description of the wire format.

use std::borrow::Cow;

use serde_json::json;
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, ArrayBuilder, ObjectBuilder, SchemaType, Type,
};
use utoipa::openapi::{KnownFormat, Ref, RefOr, Schema, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

use super::audit::ActorBody;
use super::{AttributesBody, CauseBody, PreviousBody, ValueBody};
use crate::clock::Timestamp;

type Schemas = Vec<(String, RefOr<Schema>)>;

/// A schema of its own under a name.
macro_rules! named {
    ($type:ty, $name:literal, $schema:expr $(, $part:ty)*) => {
        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                $name.into()
            }

            fn schemas(_all: &mut Schemas) {
                $(
                    _all.push((<$part>::name().into_owned(), <$part>::schema()));
                    <$part>::schemas(_all);
                )*
            }
        }

        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }
    };
}

named!(Timestamp, "Timestamp", {
    text("A moment in UTC, as RFC 3339 has it.")
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .examples([json!("2026-11-20T10:15:00Z")])
});
named!(AttributesBody<'_>, "Attributes", map("Extra attributes by name."), ValueBody<'static>);
named!(ValueBody<'_>, "AttributeValue", {
    let list = ArrayBuilder::new().items(Ref::from_schema_name("AttributeValue"));
    AnyOfBuilder::new()
        .description(Some("A boolean, an integer, a text, or a list of these."))
        .item(ObjectBuilder::new().schema_type(Type::Boolean))
        .item(ObjectBuilder::new().schema_type(Type::Integer))
        .item(ObjectBuilder::new().schema_type(Type::String))
        .item(list)
});
named!(PreviousBody<'_>, "Previous", {
    ObjectBuilder::new()
        .description(Some(
            "The fields that changed, as they were; `null` where a field was left out. \
             `attributes` is one field, and told whole.",
        ))
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
});
named!(ActorBody<'_>, "Actor", {
    let kinds = ["daemon", "process", "token", "stranger"];
    ObjectBuilder::new()
        .description(Some("Who did it."))
        .property("kind", text("What is known of them.").enum_values(Some(kinds)))
        .required("kind")
        .property("uid", number("Of a process."))
        .property("gid", number("Of a process."))
        .property("pid", number("Of a process."))
        .property("name", text("Of a token."))
        .property("address", text("Of a stranger."))
});
named!(
    CauseBody<'_>,
    "Cause",
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
        .description(Some(
            "Why something changed; `null` for what is older than the keeping of causes."
        ))
        .property("kind", text("`first`, `crawl`, `approval`, …"))
        .required("kind")
        .property("extent", text("Of a crawl.").enum_values(Some(["full", "incremental"])))
        .property("hold", text("Of an approval: the id of what was held."))
        .property("by", Ref::from_schema_name("Actor")),
    ActorBody<'static>
);

fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description))
}

fn number(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).description(Some(description))
}

fn map(description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .description(Some(description))
        .additional_properties(Some(Ref::from_schema_name("AttributeValue")))
}
