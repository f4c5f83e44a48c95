//! Schemas of what is read as text, or added to a problem by name.

use std::borrow::Cow;

use serde_json::json;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::clock::Timestamp;
use crate::query::resolve::CandidateBody;

/// Whole numbers with units, each unit once, in falling order.
pub const DURATION: &str = r"^(?=\d)(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$";

/// A duration, such as `90s` or `1h30m`.
pub struct Duration;

impl ToSchema for Duration {
    fn name() -> Cow<'static, str> {
        "Duration".into()
    }
}

impl PartialSchema for Duration {
    fn schema() -> RefOr<Schema> {
        duration().into()
    }
}

/// The description of the wire format.
pub struct Document;

impl ToSchema for Document {
    fn name() -> Cow<'static, str> {
        "OpenApi".into()
    }
}

impl PartialSchema for Document {
    fn schema() -> RefOr<Schema> {
        let version = ObjectBuilder::new().schema_type(Type::String).pattern(Some(r"^3\.1\."));
        ObjectBuilder::new().property("openapi", version).required("openapi").into()
    }
}

/// A duration that is not absurdly long.
pub fn duration() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(DURATION))
        .max_length(Some(10))
        .description(Some("Whole numbers with units, in falling order: `90s`, `5m`, `1h30m`."))
        .examples([json!("5m")])
}

/// What some problems say besides.
#[derive(ToSchema)]
#[expect(dead_code, reason = "handlers add members by name; this is their description")]
pub struct ProblemMembers<'a> {
    /// Of `ambiguous`: `user` or `group`.
    #[schema(nullable = false)]
    ambiguous: Option<&'a str>,
    /// Of `ambiguous`: the first twenty objects that the REF may mean.
    #[schema(nullable = false)]
    candidates: Option<Vec<CandidateBody<'a>>>,
    /// Of `unknown`: `user`, `group`, `directory` or `pair`.
    #[schema(nullable = false)]
    unknown: Option<&'a str>,
    /// Of `stale` and `gone`: the directory's name.
    #[schema(nullable = false)]
    directory: Option<&'a str>,
    /// Of `not-ready`: the names of those that were not read yet.
    #[schema(nullable = false)]
    directories: Option<Vec<&'a str>>,
    /// Of `stale`: how old it is.
    #[schema(nullable = false)]
    age_seconds: Option<u64>,
    /// Of `gone`: the first seq, or number, that is kept.
    #[schema(nullable = false)]
    oldest: Option<u64>,
    /// Of `gone`: since when.
    #[schema(nullable = false)]
    oldest_at: Option<Timestamp>,
    /// Of `bad-request`: the last seq, or number, that was given.
    #[schema(nullable = false)]
    last_seq: Option<u64>,
    /// Of `forbidden`: what is lacking.
    #[schema(nullable = false)]
    permission: Option<&'a str>,
    /// Of `forbidden`: what whoever asks may do.
    #[schema(nullable = false)]
    permitted: Option<Vec<&'a str>>,
    /// To Envoy: why a policy that explains itself lets nobody through.
    #[schema(nullable = false)]
    reason: Option<&'a str>,
    /// Of `other-hold`: the id of what is held now.
    #[schema(nullable = false)]
    held: Option<&'a str>,
}
