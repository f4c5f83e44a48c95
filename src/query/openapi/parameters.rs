//! What goes into paths, queries and headers.

use serde_json::json;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{KnownFormat, Required, Schema, SchemaFormat};

use super::schemas;
use crate::model::EventKind;

/// The greatest number that a signed integer of 64 bits holds: a seq is far below it.
const SEQ_MAX: i64 = i64::MAX;

/// `{ref}` of a user.
pub fn user_ref() -> Parameter {
    in_path("ref", "The user: an id, a username or an email, or `directory/REF`.")
}

/// `{ref}` of a group.
pub fn group_ref() -> Parameter {
    in_path("ref", "The group: an id, a name or an email, or `directory/REF`.")
}

/// A part of the path.
pub fn in_path(name: &str, what: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(what))
        .schema(Some(text().min_length(Some(1))))
        .build()
}

/// A parameter of the query that may be left out.
pub fn query(name: &str, what: &str, schema: impl Into<Schema>) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(what))
        .schema(Some(schema.into()))
        .build()
}

/// The same, which must be there.
pub fn required(name: &str, what: &str, schema: impl Into<Schema>) -> Parameter {
    let parameter = query(name, what, schema);
    ParameterBuilder::from(parameter).required(Required::True).build()
}

/// One that may be repeated, or whose values are separated by commas.
pub fn list(name: &str, what: &str, of: ObjectBuilder) -> Parameter {
    let list = ArrayBuilder::new().items(of).min_items(Some(1)).build();
    let parameter = query(name, what, Schema::Array(list));
    ParameterBuilder::from(parameter).style(Some(ParameterStyle::Form)).explode(Some(true)).build()
}

/// `max_age`.
pub fn max_age() -> Parameter {
    query("max_age", "Rather no answer (`stale`) than an older one.", schemas::duration())
}

/// `at`.
pub fn at() -> Parameter {
    query("at", "As of this moment: a time, or a seq.", moment_or_seq())
}

/// `limit`, of a list whose pages have a hundred rows otherwise.
pub fn limit() -> Parameter {
    limit_of(100, "How many rows a page has at most.")
}

/// `limit`, with another default.
pub fn limit_of(default: u32, what: &str) -> Parameter {
    let limit = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(1000))
        .default(Some(json!(default)));
    query("limit", what, limit)
}

/// `cursor`.
pub fn cursor() -> Parameter {
    query("cursor", "`next_cursor` of the page before, unchanged.", text().min_length(Some(1)))
}

/// `directory`, of lists.
pub fn directory() -> Parameter {
    query("directory", "Only of this directory.", text())
}

/// `nested`.
pub fn nested() -> Parameter {
    query("nested", "Also through nested groups.", flag())
}

/// `after` and `cursor`, which say the same.
pub fn position() -> [Parameter; 2] {
    [
        query(
            "after",
            "Begin behind this number; without it, with the oldest that is kept.",
            seq(),
        ),
        query("cursor", "The same, as `next_cursor` has it. Give one of the two.", seq()),
    ]
}

/// `wait`.
pub fn wait() -> Parameter {
    let up_to_a_minute = r"^(60s|1m|[1-5]?[0-9]s([1-9][0-9]{0,2}ms)?|[1-9][0-9]{0,3}ms)$";
    let schema = text().pattern(Some(up_to_a_minute)).examples([json!("30s")]);
    query("wait", "How long to wait for the first one when there is none; up to a minute.", schema)
}

/// `directory`, `tenant` and `product`, each a list.
pub fn places() -> [Parameter; 3] {
    let name = || text().pattern(Some("^[^,]+$"));
    [
        list("directory", "Only of these directories.", name()),
        list("tenant", "Only of directories of these tenants.", name()),
        list("product", "Only of directories of these products.", name()),
    ]
}

/// `type`.
pub fn types() -> Parameter {
    let globs = ["*", "user.*", "group.*", "directory.*", "webhook.*"];
    let kinds = EventKind::ALL.iter().map(|kind| kind.as_str());
    let one = text().enum_values(Some(globs.into_iter().chain(kinds)));
    list(
        "type",
        "Only events of these types. Other globs that some type fits will do as well.",
        one,
    )
}

/// `Last-Event-ID`.
pub fn last_event_id() -> Parameter {
    ParameterBuilder::new()
        .name("Last-Event-ID")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("Begin behind this seq, whatever the query says."))
        .schema(Some(seq()))
        .build()
}

/// A moment: a time, or a seq.
pub fn moment_or_seq() -> Schema {
    AnyOfBuilder::new().item(seq()).item(moment()).into()
}

/// A time in RFC 3339.
pub fn moment() -> ObjectBuilder {
    text()
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .examples([json!("2026-11-20T10:15:00Z")])
}

/// The number of an event.
pub fn seq() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(0))
        .maximum(Some(SEQ_MAX as f64))
}

/// `true` or `false`.
pub fn flag() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Boolean).default(Some(json!(false)))
}

/// A text.
pub fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}
