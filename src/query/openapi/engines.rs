//! What policy engines are fed, and decisions for enforcement points.
//!
//! Envoy's own paths are not among them: the rest of a path and the method are
//! its client's there, or it is gRPC, and OpenAPI has words for neither.

use std::borrow::Cow;

use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder};
use utoipa::openapi::{Ref, RefOr, Required, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::operation::Operation;
use super::parameters::{list, max_age, places, query, text};
use super::problems::{AMBIGUOUS, BUSY, SLOW, STALE, STORE_UNAVAILABLE, TOO_LARGE, UNKNOWN, Word};
use super::schemas;
use crate::query::{authzen, opa};

/// The name of this part.
pub const TAG: &str = "engines";

/// Of whatever is handed out whole.
const OF_EXPORT: [Word; 4] = [UNKNOWN, BUSY, STALE, STORE_UNAVAILABLE];

/// The operations of this part.
pub fn operations() -> Vec<Operation> {
    let all = for_opa().into_iter().chain(for_others()).chain(decisions());
    all.map(|operation| operation.tag(TAG)).collect()
}

fn for_opa() -> [Operation; 2] {
    let prefix = "Only groups whose name begins like this, and whoever is in them.";
    [
        Operation::get("/v1/opa/bundle.tar.gz", "getOpaBundle", "A bundle for Open Policy Agent")
            .describe(
                "With `Prefer: modes=snapshot,delta` whoever holds an earlier one gets what \
                 changed since; with `wait=N`, up to a minute, an answer once something did.",
            )
            .with(places())
            .with([query("group_prefix", prefix, text())])
            .with([header("Prefer", "What OPA writes."), if_none_match()])
            .answers_as(200, "The whole, or a delta.", "application/vnd.openpolicyagent.bundles")
            .unchanged()
            .may(&OF_EXPORT),
        Operation::get("/v1/opa", "listOpaPushers", "How the pushers into OPAs fare")
            .answers::<opa::PushersBody>(200, "All of them."),
    ]
}

fn for_others() -> [Operation; 3] {
    let one = "Only this user, with all groups that the user is in: an id, a username or an \
               email, or `directory/REF`. Not with `directory`, `tenant` or `product`.";
    let formats = text().enum_values(Some(["json", "cedar"]));
    let ids = "What users are called: `id`, `username`, `email` or `attribute:NAME`, for all \
               directories, or as `directory/…` for one.";
    [
        Operation::get("/v1/cedar/entities", "getCedarEntities", "Users and groups for Cedar")
            .with(places())
            .with([query("user", one, text().min_length(Some(1))), max_age(), if_none_match()])
            .answers::<CedarEntities>(200, "Entities as Cedar reads them.")
            .unchanged()
            .may(&OF_EXPORT)
            .may(&[AMBIGUOUS]),
        Operation::get("/v1/cedar/schema", "getCedarSchema", "The schema of those entities")
            .with([query("format", "In JSON, or in Cedar's own syntax.", formats)])
            .with([if_none_match()])
            .answers::<CedarSchema>(200, "In JSON, or as text.")
            .answers_as(200, "In JSON, or as text.", "text/plain; charset=utf-8")
            .unchanged(),
        Operation::get("/v1/pomerium/bundle.zip", "getPomeriumBundle", "A bundle for Pomerium")
            .with(places())
            .with([list("id", ids, text().pattern(Some("^[^,]+$"))), max_age(), if_none_match()])
            .answers_as(200, "The records of users and of groups.", "application/zip")
            .unchanged()
            .may(&OF_EXPORT),
    ]
}

fn decisions() -> [Operation; 3] {
    [
        Operation::post("/access/v1/evaluation", "evaluate", "May this user do that? (AuthZEN)")
            .describe(
                "The OpenID Authorization API 1.0. Whether a `user` is a `member` of a `group`; \
                 whatever cannot be answered is `false`, and the context says why.",
            )
            .takes::<Evaluation>("The question.")
            .answers::<authzen::Decided<'static>>(200, "The decision.")
            .may(&[TOO_LARGE, SLOW]),
        Operation::post("/access/v1/evaluations", "evaluateMany", "The same of many at once")
            .describe("Without `evaluations` it is a single one, and answered like it.")
            .takes::<Evaluations>("The questions, and what goes for all of them.")
            .answers::<AnyDecision>(200, "A decision for each, up to the one that ends it.")
            .may(&[TOO_LARGE, SLOW]),
        Operation::get(
            "/.well-known/authzen-configuration",
            "getAuthzenConfiguration",
            "Where decisions are to be had",
        )
        .answers::<authzen::Metadata>(200, "The addresses, when `authzen.url` is set.")
        .may(&[UNKNOWN]),
    ]
}

/// What to hold against the answer's `ETag`.
fn if_none_match() -> Parameter {
    header("If-None-Match", "The `ETag` of what is held: 304 while that is all there is.")
}

fn header(name: &str, what: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(what))
        .schema(Some(text()))
        .build()
}

/// One question.
#[derive(ToSchema)]
#[expect(dead_code, reason = "read by hand, tolerantly; this is its description")]
struct Evaluation {
    subject: Entity,
    action: Action,
    resource: Entity,
    context: Option<EvaluationTerms>,
}

/// A user or a group. What else it has is passed over.
#[derive(ToSchema)]
#[schema(as = EvaluationEntity)]
#[expect(dead_code, reason = "read by hand, tolerantly; this is its description")]
struct Entity {
    /// `user` of a subject, `group` of a resource.
    r#type: String,
    /// A REF.
    id: String,
}

/// What the subject would like to do.
#[derive(ToSchema)]
#[schema(as = EvaluationAction)]
#[expect(dead_code, reason = "read by hand, tolerantly; this is its description")]
struct Action {
    /// `member`.
    name: String,
}

/// What goes with the question.
#[derive(ToSchema)]
#[expect(dead_code, reason = "read by hand, tolerantly; this is its description")]
struct EvaluationTerms {
    /// Rather `false` than by older knowledge.
    #[schema(value_type = Option<schemas::Duration>)]
    max_age: Option<()>,
}

/// Many questions, or one.
struct Evaluations;

impl ToSchema for Evaluations {
    fn name() -> Cow<'static, str> {
        "Evaluations".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Evaluation::name().into_owned(), Evaluation::schema()));
        Evaluation::schemas(schemas);
    }
}

impl PartialSchema for Evaluations {
    /// What is wrong with one of many is told in its place.
    fn schema() -> RefOr<Schema> {
        let questions = ArrayBuilder::new().items(ObjectBuilder::new()).min_items(Some(1));
        let many = ObjectBuilder::new()
            .property("evaluations", questions)
            .required("evaluations")
            .description(Some(
                "Each as a single one; what it leaves out is what `subject`, `action`, \
                 `resource` and `context` beside `evaluations` say. \
                 `options.evaluations_semantic` is `execute_all`, `deny_on_first_deny` or \
                 `permit_on_first_permit`.",
            ));
        AnyOfBuilder::new().item(many).item(Ref::from_schema_name(Evaluation::name())).into()
    }
}

/// Decisions, or one.
#[derive(ToSchema)]
#[schema(as = EvaluationsAnswer)]
#[serde(untagged)]
#[expect(dead_code, reason = "the two are written where they are made")]
enum AnyDecision {
    Many(authzen::Results<'static>),
    One(authzen::Decided<'static>),
}

/// Users and groups as Cedar's entities.
struct CedarEntities;

impl ToSchema for CedarEntities {
    fn name() -> Cow<'static, str> {
        "CedarEntities".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((CedarEntity::name().into_owned(), CedarEntity::schema()));
        CedarEntity::schemas(schemas);
    }
}

impl PartialSchema for CedarEntities {
    fn schema() -> RefOr<Schema> {
        let entities = ArrayBuilder::new().items(Ref::from_schema_name(CedarEntity::name()));
        Schema::Array(entities.build()).into()
    }
}

/// One entity; `/v1/cedar/schema` says what its attributes are.
#[derive(ToSchema)]
#[expect(dead_code, reason = "entities are written beside the view; this is their description")]
struct CedarEntity {
    uid: CedarUid,
    #[schema(value_type = Object)]
    attrs: (),
    parents: Vec<CedarUid>,
    #[schema(value_type = Object)]
    tags: (),
}

/// The name of an entity.
#[derive(ToSchema)]
#[expect(dead_code, reason = "entities are written beside the view; this is their description")]
struct CedarUid {
    r#type: String,
    /// `directory/id`.
    id: String,
}

/// A schema in Cedar's JSON form.
struct CedarSchema;

impl ToSchema for CedarSchema {
    fn name() -> Cow<'static, str> {
        "CedarSchema".into()
    }
}

impl PartialSchema for CedarSchema {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().into()
    }
}
