//! `/openapi.json`: the wire format, described by the types that are written.
//!
//! | File | What it holds |
//! |---|---|
//! | `operation` | one request: what it takes, what it answers |
//! | `parameters`, `problems`, `schemas` | what operations are made of |
//! | `asking`, `following`, `engines`, `operating`, `upkeep` | the operations, by what they are for |
//!
//! A route without an operation fails a test, and so does an operation without
//! a route, a word of a problem that is not in `problems`, and a schema that two
//! types claim.

mod asking;
mod engines;
mod following;
mod operating;
pub(super) mod operation;
pub(super) mod parameters;
pub(super) mod problems;
pub(super) mod schemas;
#[cfg(test)]
mod tests;
mod upkeep;

use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::{Value, json};
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::schema::Components;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::server::{ServerBuilder, ServerVariableBuilder};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Paths};

use operation::Operation;

/// The scheme of the token.
const BEARER: &str = "bearer";

const DESCRIPTION: &str = "\
A faithful, local copy of the users, groups and memberships of identity providers.

A REF names a user by id, username or email, and a group by id, name or email; \
`directory/REF` narrows it. In a path it is percent-encoded, slashes included. \
An answer says where it comes from and how old that is: `seq` is the last event \
it knows of, `as_of` the end of the crawl that last confirmed the directory. \
*Unknown* is an answer of its own, never *no*: errors are problems (RFC 9457) \
whose `title` is a word to branch on. Parameters that are not known are refused.";

/// The name and meaning of each part, in the order of the document.
const TAGS: [(&str, &str); 5] = [
    (asking::TAG, "Who is in what, now and at any moment that is kept."),
    (following::TAG, "What changed, in order and without a gap."),
    (engines::TAG, "What policy engines are fed, and decisions for enforcement points."),
    (operating::TAG, "How directories and webhooks fare, and what to do about it."),
    (upkeep::TAG, "How the daemon itself fares."),
];

/// The document as JSON. Made when first asked for.
pub(super) fn text() -> Bytes {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    TEXT.get_or_init(|| Bytes::from(document(operations()).to_string())).clone()
}

/// All operations there are.
fn operations() -> Vec<Operation> {
    let parts = [
        asking::operations(),
        following::operations(),
        engines::operations(),
        operating::operations(),
        upkeep::operations(),
    ];
    parts.into_iter().flatten().collect()
}

fn document(operations: Vec<Operation>) -> Value {
    let mut paths = Paths::new();
    let mut components = Components::new();
    for operation in operations {
        let (path, method, operation, schemas) = operation.build();
        paths.add_path_operation(path, vec![method], operation);
        components.schemas.extend(schemas);
    }
    components.security_schemes.insert(BEARER.to_owned(), bearer().into());
    // Texts and numbers have no way to fail.
    let mut document = serde_json::to_value(frame(paths, components)).unwrap_or_default();
    any_of(&mut document);
    document
}

fn frame(paths: Paths, components: Components) -> OpenApi {
    let info = InfoBuilder::new()
        .title("rosterd")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .extensions(Some(ExtensionsBuilder::new().add("x-problems", words()).build()))
        .license(Some(LicenseBuilder::new().name(env!("CARGO_PKG_LICENSE")).build()));
    let tags =
        TAGS.map(|(name, what)| TagBuilder::new().name(name).description(Some(what)).build());
    let tcp = ServerBuilder::new()
        .url("http://127.0.0.1:{port}")
        .description(Some("Loopback TCP, as `query.listen` says; it takes the token."))
        .parameter("port", ServerVariableBuilder::new().default_value("7411"));
    let socket = ServerBuilder::new()
        .url("http+unix://{socket}")
        .description(Some(
            "The unix socket, as `query.socket` says, percent-encoded; who may use it \
             is decided by its mode and by who asks.",
        ))
        .parameter(
            "socket",
            ServerVariableBuilder::new().default_value("%2Frun%2Frosterd%2Fquery.sock"),
        );
    OpenApiBuilder::new()
        .info(info.build())
        .servers(Some([tcp.build(), socket.build()]))
        .paths(paths)
        .components(Some(components))
        .security(Some([
            SecurityRequirement::new(BEARER, Vec::<String>::new()),
            SecurityRequirement::default(),
        ]))
        .tags(Some(tags))
        .build()
}

/// The words of all problems, those of paths and methods that are not here included.
fn words() -> Value {
    let word = |word: &problems::Word| json!({ "title": word.name, "status": word.status, "meaning": word.meaning });
    problems::ALL.iter().map(word).collect()
}

fn bearer() -> SecurityScheme {
    SecurityScheme::Http(
        HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("Over TCP only; the unix socket knows who asks."))
            .build(),
    )
}

/// An untagged enum is any of its variants: more than one may fit.
fn any_of(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(variants) = fields.remove("oneOf") {
                fields.insert("anyOf".to_owned(), variants);
            }
            fields.values_mut().for_each(any_of);
        }
        Value::Array(values) => values.iter_mut().for_each(any_of),
        _ => {}
    }
}
