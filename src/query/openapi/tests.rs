//! That the document says what the daemon does, and all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use axum::body::Body;
use http::header::ALLOW;
use http::{Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt;

use super::{document, operations, problems};
use crate::query::tests::fixture::world;

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"];

fn described() -> Value {
    document(operations())
}

/// The paths of the router, as it shows itself.
fn routes() -> BTreeSet<String> {
    let shown = format!("{:?}", world().router());
    let quoted = shown.split('"').skip(1).step_by(2);
    // The fallback shows itself as the root.
    let paths = quoted.filter(|text| text.starts_with('/') && *text != "/");
    let paths = paths.filter(|text| !text.contains("__private"));
    // Envoy's own: see `engines`.
    let envoys = ["/ext_authz/", "/envoy.service.auth.v3.Authorization/"];
    let is_envoys = |path: &&str| envoys.iter().any(|start| path.starts_with(start));
    paths.filter(|path| !is_envoys(path)).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_route_is_described_and_nothing_else() {
    let document = described();
    let paths = document["paths"].as_object().unwrap();
    let named: BTreeSet<String> = paths.keys().cloned().collect();
    assert_eq!(named, routes());
    for (path, operations) in paths {
        let mut expected: BTreeSet<String> =
            operations.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        let other = METHODS.iter().find(|method| !expected.contains(**method)).unwrap();
        if expected.contains("GET") {
            expected.insert("HEAD".into());
        }
        let uri = path.replace(['{', '}'], "x");
        let request = Request::builder().method(*other).uri(uri).body(Body::empty()).unwrap();
        let answer = world().router().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{other} {path}");
        let allowed = answer.headers()[ALLOW].to_str().unwrap();
        let allowed: BTreeSet<String> = allowed.split(',').map(|name| name.trim().into()).collect();
        assert_eq!(allowed, expected, "{path}");
    }
}

#[test]
fn every_operation_has_a_name_of_its_own_and_says_what_it_is_for() {
    let document = described();
    let mut ids = BTreeSet::new();
    for operation in operations_of(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{id} comes twice");
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{id}");
        assert!(operation["tags"].as_array().is_some_and(|tags| tags.len() == 1), "{id}");
    }
}

#[test]
fn a_path_names_its_parameters() {
    let document = described();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let parts = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let expected: BTreeSet<&str> = parts.collect();
        for operation in operations.as_object().unwrap().values() {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let in_path = parameters.iter().filter(|one| one["in"] == "path");
            let named: BTreeSet<&str> = in_path.map(|one| one["name"].as_str().unwrap()).collect();
            assert_eq!(named, expected, "{path}");
        }
    }
}

#[test]
fn no_two_types_claim_a_schema_and_every_reference_leads_to_one() {
    let mut known = BTreeMap::new();
    for operation in operations() {
        for (name, schema) in operation.build().3 {
            let schema = serde_json::to_value(schema).unwrap();
            let earlier = known.entry(name.clone()).or_insert_with(|| schema.clone());
            assert_eq!(*earlier, schema, "{name}");
        }
    }
    let mut references = BTreeSet::new();
    collect_references(&described(), &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let name = reference.strip_prefix("#/components/schemas/").unwrap();
        assert!(known.contains_key(name), "{reference}");
    }
}

#[test]
fn every_word_of_a_problem_is_known_with_its_status() {
    let mut written = BTreeSet::new();
    for source in sources() {
        for call in source.split("Problem::new(").skip(1) {
            let arguments: String = call.split_whitespace().collect::<Vec<_>>().join(" ");
            let status = arguments.trim_start_matches("http::").strip_prefix("StatusCode::");
            let Some((status, rest)) = status.and_then(|text| text.split_once(", \"")) else {
                continue;
            };
            let word = rest.split('"').next().unwrap();
            written.insert((status_of(status), word.to_owned()));
        }
    }
    let known = problems::ALL.iter().map(|word| (word.status, word.name.to_owned()));
    assert_eq!(written, known.collect());
}

#[test]
fn every_member_of_a_problem_is_described() {
    let document = described();
    let members = document["components"]["schemas"]["ProblemMembers"]["properties"].clone();
    let known: BTreeSet<&str> = members.as_object().unwrap().keys().map(String::as_str).collect();
    let all: String = sources().concat();
    let written: BTreeSet<&str> =
        all.split(".member(\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(known, written);
}

#[test]
fn the_page_about_the_wire_format_has_every_word() {
    let page = std::fs::read_to_string(root().join("docs/api.md")).unwrap();
    for word in problems::ALL {
        let row = format!("| `{}` | {} |", word.name, word.status);
        assert!(page.contains(&row), "docs/api.md has no row that begins {row}");
    }
}

fn operations_of(document: &Value) -> impl Iterator<Item = &Value> {
    let paths = document["paths"].as_object().unwrap().values();
    paths.flat_map(|operations| operations.as_object().unwrap().values())
}

fn collect_references(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            into.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect_references(value, into));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_references(value, into)),
        _ => {}
    }
}

/// The sources of the room, without their tests.
fn sources() -> Vec<String> {
    let mut all = Vec::new();
    let mut folders = vec![root().join("src/query")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("tests.rs")
            {
                let text = std::fs::read_to_string(&path).unwrap();
                all.push(text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned());
            }
        }
    }
    all
}

/// `PAYLOAD_TOO_LARGE` is 413.
fn status_of(name: &str) -> u16 {
    let is_named = |status: &StatusCode| {
        status
            .canonical_reason()
            .is_some_and(|reason| reason.to_uppercase().replace([' ', '-'], "_") == name)
    };
    let mut all = (400..600).filter_map(|code| StatusCode::from_u16(code).ok());
    all.find(is_named).unwrap_or_else(|| panic!("{name} is no status")).as_u16()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
