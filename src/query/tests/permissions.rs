//! Every route times every permission: nothing is answered that is not permitted.

use std::collections::BTreeSet;
use std::path::Path;

use axum::body::Body;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use proptest::prelude::*;
use serde_json::Value;
use tower::ServiceExt;

use super::fixture::{World, world};
use crate::query::access::{Need, Permission, Permissions, need};
use crate::query::denials::Refusal;

/// Every pattern that some file of this room gives to a router.
fn patterns() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/query");
    walk(&folder, &mut |text| {
        for word in ["route(", "route_service(", "nest(", "nest_service("] {
            for (at, _) in text.match_indices(&format!(".{word}")) {
                let after = text[at + 1 + word.len()..].trim_start();
                let literal = after.strip_prefix('"').and_then(|rest| rest.split('"').next());
                found.extend(literal.filter(|path| path.starts_with('/')).map(str::to_owned));
            }
        }
    });
    assert!(found.len() > 30, "the routes are somewhere else: {found:?}");
    found
}

fn walk(folder: &Path, read: &mut impl FnMut(&str)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, read);
        } else {
            read(&std::fs::read_to_string(path).unwrap());
        }
    }
}

/// A path that the pattern matches.
fn path(pattern: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "corp" } else { part }.to_owned();
    pattern.split('/').map(part).collect::<Vec<_>>().join("/")
}

async fn ask(world: &World, permissions: Permissions, method: Method, path: &str) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let response = world.router_for(permissions).oneshot(request).await.unwrap();
    let status = response.status();
    // A stream has no end; what is refused has one. And Envoy is told 403 by a
    // policy too: that is an answer.
    if response.extensions().get::<Refusal>().is_none() {
        let is_an_answer = status != StatusCode::FORBIDDEN || path.starts_with("/ext_authz/");
        assert!(is_an_answer, "{path} is refused and nobody is told");
        return (if status == StatusCode::FORBIDDEN { 200 } else { status.as_u16() }, Value::Null);
    }
    assert_eq!(status, StatusCode::FORBIDDEN);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    // Of HEAD there is none.
    (status.as_u16(), serde_json::from_slice(&body).unwrap_or_default())
}

/// All sixteen of them.
fn all_permissions() -> impl Iterator<Item = Permissions> {
    (0..16_u8).map(|bits| {
        let has = |one: &Permission| bits & (1 << *one as u8) != 0;
        Permission::ALL.into_iter().filter(has).collect()
    })
}

fn permits(permissions: Permissions, need: Need) -> bool {
    match need {
        Need::Nothing => true,
        Need::Any => !permissions.is_empty(),
        Need::Of(one) => permissions.has(one),
    }
}

#[test]
fn every_route_is_in_the_table() {
    let unknown: Vec<String> =
        patterns().into_iter().filter(|pattern| need(pattern).is_none()).collect();
    assert!(unknown.is_empty(), "add these to src/query/access/routes.rs: {unknown:?}");
}

#[tokio::test]
async fn every_route_is_answered_to_those_who_may_and_to_nobody_else() {
    let world = world();
    for pattern in patterns() {
        let need = need(&pattern).unwrap();
        for permissions in all_permissions() {
            for method in [Method::GET, Method::HEAD, Method::POST, Method::DELETE] {
                let (status, body) =
                    ask(&world, permissions, method.clone(), &path(&pattern)).await;
                let what = format!("{method} {pattern} with {permissions:?}: {status}");
                assert_eq!(status != 403, permits(permissions, need), "{what}");
                assert_ne!(status, 500, "{what}");
                if status == 403 && method != Method::HEAD {
                    assert_eq!(body["type"], "urn:rosterd:forbidden", "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_names_what_is_missing_and_what_to_do() {
    let (world, ask_only) = (world(), Permissions::from(Permission::Ask));
    let (status, body) = ask(&world, ask_only, Method::GET, "/v1/users").await;
    assert_eq!(status, 403);
    let detail = "this needs the permission `list`, which uid 7 (gid 8) does not have";
    assert_eq!(body["detail"], detail);
    assert_eq!(body["permission"], "list");
    assert_eq!(body["permitted"], serde_json::json!(["ask"]));
    assert!(body["hint"].as_str().unwrap().contains("[query.allow."), "{body}");
    let (_, body) = ask(&world, Permissions::NONE, Method::GET, "/metrics").await;
    assert_eq!(body["detail"], "this needs a permission, and uid 7 (gid 8) has none");
}

#[tokio::test]
async fn what_is_nowhere_is_told_only_to_those_who_may_something() {
    let world = world();
    for path in ["/v1/nothing", "/", "//v1/users", "/v1//users"] {
        assert_eq!(ask(&world, Permissions::NONE, Method::GET, path).await.0, 403, "{path}");
        let one = Permission::Ask.into();
        assert_eq!(ask(&world, one, Method::GET, path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn a_request_that_nobody_vouches_for_is_answered_to_nobody() {
    let world = world();
    let router = crate::query::router::router(
        world.sources.clone(),
        crate::query::metrics::Metrics::new(&world.sources),
    );
    let request = Request::get("/v1/users").body(Body::empty()).unwrap();
    assert_eq!(router.oneshot(request).await.unwrap().status(), 500);
}

/// Ways of writing a path that some server somewhere takes for the same.
fn spelling() -> impl Strategy<Value = String> {
    let patterns: Vec<String> = patterns().into_iter().collect();
    let twist = prop_oneof![
        Just(("/", "//")),
        Just(("/", "/./")),
        Just(("/", "/x/../")),
        Just(("/", "%2f")),
        Just(("/", "/%2e%2e/")),
        Just(("v1", "V1")),
        Just(("v1", "v%31")),
        Just(("/", "\\")),
        Just(("s", "%73")),
        Just(("check", "check;x=1")),
        Just(("check", "check/")),
        Just(("v1", "healthz/../v1")),
        Just(("v1", "healthz%2f..%2fv1")),
    ];
    (proptest::sample::select(patterns), proptest::collection::vec(twist, 0..3)).prop_map(
        |(pattern, twists)| {
            let plain = path(&pattern);
            twists.iter().fold(plain, |path, (from, to)| path.replacen(from, to, 2))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// However a path is written, who may nothing gets nothing but the pulse,
    /// and who may one thing nothing that takes another.
    #[test]
    fn no_spelling_of_a_path_leads_past_the_table(path in spelling(), bits in 0..16_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _context = runtime.enter();
        let world = world();
        let permissions = all_permissions().nth(bits).unwrap();
        // Not every spelling is a path at all.
        prop_assume!(path.parse::<http::Uri>().is_ok() && path.starts_with('/'));
        let asked = ask(&world, permissions, Method::GET, &path);
        let status = runtime.block_on(asked).0;
        let fitting = patterns().into_iter().filter(|pattern| fits(pattern, &path));
        // As the router does: what is written out goes before what is left open.
        let matched = fitting.min_by_key(|pattern| pattern.matches('{').count());
        let need = matched.map_or(Need::Any, |pattern| need(&pattern).unwrap());
        prop_assert_eq!(status != 403, permits(permissions, need), "{} {}", status, path);
    }
}

/// Matches part by part, as written; the patterns have no `{*rest}` but at the end.
fn fits(pattern: &str, path: &str) -> bool {
    let mut path = path.split(['?', '#']).next().unwrap_or_default().split('/');
    for part in pattern.split('/') {
        let Some(written) = path.next() else { return false };
        if part.starts_with("{*") {
            return !written.is_empty();
        }
        if part != written && (!part.starts_with('{') || written.is_empty()) {
            return false;
        }
    }
    path.next().is_none()
}
