//! Holds what a stub answered against what its vendor publishes.

use serde_json::{Value, json};

use super::clients;
use super::vendor::{Exchange, Request};

/// Panics with the violations when an answer is not as the vendor describes
/// it. `vendor` is `google`, `github`, `okta` or `entra`; what `skip` likes
/// (token endpoints, which no description has) is left out.
pub fn validate(vendor: &str, exchanges: &[Exchange], skip: impl Fn(&Request) -> bool) {
    let judged: Vec<String> = exchanges
        .iter()
        .filter(|exchange| !skip(&exchange.request))
        .map(|Exchange { request, status, body }| {
            let Request { method, path, .. } = request;
            let request = request.json();
            json!({ "method": method, "path": path, "status": status, "request": request, "body": body })
        })
        .map(|line| line.to_string() + "\n")
        .collect();
    assert!(!judged.is_empty(), "nothing was recorded");
    let violations = violations(vendor, &judged.concat());
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

fn violations(vendor: &str, lines: &str) -> Vec<String> {
    let modules = clients::node_script("");
    let modules = modules.to_str().expect("a path in UTF-8");
    let printed = clients::run("validate.py", &[vendor, modules], lines);
    serde_json::from_value(printed).expect("a list of sentences")
}

/// Panics when one of these bodies of `POST /graphql` is none that GitHub's
/// published schema allows.
pub fn validate_graphql(requests: &[Value]) {
    let mistakes = query_mistakes(requests);
    assert!(mistakes.is_empty(), "\n{}", mistakes.join("\n"));
}

fn query_mistakes(requests: &[Value]) -> Vec<String> {
    let lines: String = requests.iter().map(|request| request.to_string() + "\n").collect();
    let printed = clients::run("graphql.mjs", &[], &lines);
    serde_json::from_value(printed).expect("a list of sentences")
}

/// A right answer of each vendor, and the same with something wrong in it.
#[test]
fn a_wrong_answer_is_told_from_a_right_one() {
    let user = json!({ "id": "1", "primaryEmail": "a@example.org", "suspended": false });
    let team = json!({
        "id": 1, "node_id": "T", "url": "https://api.github.com/teams/1", "html_url": "https://github.com/t",
        "name": "a", "slug": "a", "description": null, "privacy": "closed", "permission": "pull",
        "members_url": "https://api.github.com/x", "repositories_url": "https://api.github.com/y",
        "parent": null, "type": "organization", "organization_id": 2,
        "notification_setting": "notifications_enabled"
    });
    let okta =
        json!({ "id": "00u", "status": "ACTIVE", "lastLogin": null, "profile": { "login": "a" } });
    let graph = json!({ "id": "1", "displayName": "A", "accountEnabled": true, "jobTitle": null });
    for (vendor, path, right, wrong) in [
        (
            "google",
            "/admin/directory/v1/users",
            json!({ "users": [user] }),
            json!({ "users": [{ "suspended": "no", "nickname": "x" }] }),
        ),
        ("github", "/orgs/acme/teams", json!([team]), json!([{ "id": "1" }])),
        ("okta", "/api/v1/users", json!([okta]), json!([{ "id": 7 }])),
        (
            "entra",
            "/v1.0/users/delta",
            json!({ "value": [graph] }),
            json!({ "value": [{ "accountEnabled": "yes", "nickname": "x" }] }),
        ),
    ] {
        let line = |body: &serde_json::Value| {
            json!({ "method": "GET", "path": path, "status": 200, "request": null, "body": body })
                .to_string()
        };
        assert_eq!(violations(vendor, &line(&right)), [""; 0], "{vendor}");
        assert!(!violations(vendor, &line(&wrong)).is_empty(), "{vendor}");
    }
}

#[test]
fn a_wrong_query_is_told_from_a_right_one() {
    let query = "query($org: String!) { organization(login: $org) { id login } }";
    let right = json!({ "query": query, "variables": { "org": "acme" } });
    validate_graphql(&[right]);
    let wrong = json!({ "query": query.replace("login }", "nick }") });
    assert_eq!(query_mistakes(&[wrong]).len(), 1);
}
