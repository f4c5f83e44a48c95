//! Cedar: what the daemon hands out, judged by Cedar's own engine.

use serde_json::{Value, json};

use crate::harness::clients;
use crate::harness::daemon::Daemon;
use crate::harness::{self, http};

const POLICIES: &str = include_str!("../../docs/cedar/policies.cedar");
const APP: &str = include_str!("../../docs/cedar/app.cedarschema");
const SERVICES: &str = include_str!("../../docs/cedar/services.json");

/// Enough to ask whether one is in another.
const PROBE: &str = "namespace Probe { entity Thing; action member appliesTo { \
                     principal: [Rosterd::User, Rosterd::Group], resource: [Rosterd::Group] }; }";
const PROBE_POLICY: &str = "permit (principal, action == Probe::Action::\"member\", resource) when { principal in resource };";

fn acme() -> Daemon {
    let path = format!("{}/fixtures/acme", env!("CARGO_MANIFEST_DIR"));
    started(&format!(
        "[directory.acme]\npoll.min_delay = \"1h\"\npoll.max_delay = \"1h\"\n\
         provider.bundle = {{ path = \"{path}\" }}\n"
    ))
}

fn started(config: &str) -> Daemon {
    let daemon = Daemon::start(config);
    daemon.wait_ready();
    daemon
}

/// A directory whose groups are nested in circles, and one with the same ids.
fn circles() -> Daemon {
    let of = |name: &str| {
        format!(
            "[directory.{name}]\npoll.min_delay = \"1h\"\npoll.max_delay = \"1h\"\n\
             provider.bundle = {{ path = \"{name}.json\" }}\n"
        )
    };
    let mut daemon = Daemon::prepare(&format!("{}{}", of("corp"), of("partner")));
    let group = |id: &str, members: Value| json!({ "id": id, "name": id, "members": members });
    let corp = json!({
        "users": [
            { "id": "ada", "badge": [7, "x"], "title": "Countess" },
            { "id": "bob", "email": "bob@acme.example" },
            { "id": "kim \"q\"/1" },
        ],
        "groups": [
            // a ⊃ b ⊃ c ⊃ a, x ⊃ y ⊃ x; the second circle is in the first.
            group("a", json!(["b", "x"])),
            group("b", json!(["c"])),
            group("c", json!(["a", "ada"])),
            group("x", json!(["y"])),
            group("y", json!(["x", "bob", "leaf"])),
            group("leaf", json!(["kim \"q\"/1"])),
            group("top", json!(["b"])),
            group("self", json!(["self", "ada"])),
        ],
    });
    let partner = json!({ "users": [{ "id": "ada" }], "groups": [group("a", json!(["ada"]))] });
    harness::write(daemon.dir().join("corp.json"), corp.to_string());
    harness::write(daemon.dir().join("partner.json"), partner.to_string());
    daemon.resume();
    daemon.wait_ready();
    daemon
}

fn entities(daemon: &Daemon, query: &str) -> Vec<Value> {
    let list = daemon.get(&format!("/v1/cedar/entities{query}"));
    list.as_array().expect("a list").clone()
}

fn text_schema(daemon: &Daemon) -> String {
    daemon.request("GET", "/v1/cedar/schema?format=cedar", None).text()
}

fn judge(schema: Value, entities: Vec<Value>, policies: &str, requests: Vec<Value>) -> Value {
    let told = json!({
        "schema": schema, "entities": entities, "policies": policies, "requests": requests,
    });
    let answer = clients::run("cedar.py", &[], &told.to_string());
    assert_eq!(answer["error"], Value::Null);
    assert_eq!(answer["mistakes"], json!([]));
    answer
}

#[test]
fn entities_keep_the_schema_in_either_form() {
    for daemon in [acme(), circles()] {
        let all = entities(&daemon, "");
        assert!(all.len() > 5);
        judge(daemon.get("/v1/cedar/schema"), all.clone(), "", vec![]);
        judge(text_schema(&daemon).into(), all, "", vec![]);
    }
}

#[test]
fn an_entity_without_what_is_required_is_refused() {
    let daemon = acme();
    let mut all = entities(&daemon, "");
    let user = all.iter_mut().find(|entity| entity["uid"]["type"] == "Rosterd::User");
    user.unwrap()["attrs"].as_object_mut().unwrap().remove("active");
    let told = json!({ "schema": daemon.get("/v1/cedar/schema"), "entities": all });
    let answer = clients::run("cedar.py", &[], &told.to_string());
    assert!(answer["error"].as_str().unwrap().contains("does not conform"), "{answer}");
}

#[test]
fn the_worked_example_decides_what_it_says() {
    let daemon = acme();
    let schema = text_schema(&daemon) + APP;
    let services: Vec<Value> = serde_json::from_str(SERVICES).unwrap();
    let request = |user: &str, action: &str, service: &str, mfa: bool| {
        json!({
            "principal": format!("Rosterd::User::\"acme/{user}\""),
            "action": format!("App::Action::\"{action}\""),
            "resource": format!("App::Service::\"{service}\""),
            "context": { "mfa": mfa },
        })
    };
    let asked = [
        ("u-1006", "deploy", "shop", true),
        ("u-1006", "deploy", "shop", false),
        ("u-1006", "deploy", "ledger", true),
        ("u-1016", "deploy", "ledger", true),
        ("u-1016", "view", "shop", false),
    ];
    let requests: Vec<Value> = asked.iter().map(|(u, a, s, m)| request(u, a, s, *m)).collect();
    let by = |id: &str| entities(&daemon, &format!("?user=acme/{id}"));
    let whole = [entities(&daemon, ""), services.clone()].concat();
    let answer = judge(schema.clone().into(), whole, POLICIES, requests.clone());
    let decisions: Vec<&str> = answer["decisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["decision"].as_str().unwrap())
        .collect();
    assert_eq!(decisions, ["Allow", "Deny", "Deny", "Deny", "Allow"], "{answer}");
    // The entities of one user are enough to decide about that user.
    for (request, decision) in requests.into_iter().zip(decisions) {
        let user = request["principal"].as_str().unwrap().split('/').nth(1).unwrap();
        let some = [by(user.trim_end_matches('"')), services.clone()].concat();
        let answer = judge(schema.clone().into(), some, POLICIES, vec![request]);
        assert_eq!(answer["decisions"][0]["decision"], decision);
    }
}

const PAGE: &str = include_str!("../../docs/cedar.md");

#[test]
fn the_page_shows_what_its_script_prints() {
    assert!(PAGE.contains(POLICIES.trim()), "the policies of the page are others");
    let daemon = acme();
    let lines: Vec<&str> = PAGE.lines().collect();
    let shown = lines
        .windows(2)
        .filter_map(|pair| Some((pair[0].strip_prefix("$ decide.py var/query.sock ")?, pair[1])));
    let mut count = 0;
    for (words, printed) in shown {
        let socket = daemon.socket();
        let mut arguments = vec![socket.to_str().unwrap()];
        arguments.extend(words.split(' '));
        let text = clients::run_text("../../docs/cedar/decide.py", &arguments, "");
        assert_eq!(text.trim(), printed, "{words}");
        count += 1;
    }
    assert_eq!(count, 5);
}

#[test]
fn circles_of_groups_reach_cedar_as_what_they_mean() {
    let daemon = circles();
    let schema = text_schema(&daemon) + PROBE;
    let users = ["corp/ada", "corp/bob", "corp/kim \\\"q\\\"/1", "partner/ada"];
    let groups = ["a", "b", "c", "x", "y", "leaf", "top", "self"];
    let request = |kind: &str, inner: &str, outer: &str| {
        json!({
            "principal": format!("Rosterd::{kind}::\"{inner}\""),
            "action": "Probe::Action::\"member\"",
            "resource": format!("Rosterd::Group::\"{outer}\""),
            "context": {},
        })
    };
    let mut requests = Vec::new();
    let mut expected = Vec::new();
    for user in users {
        let (directory, id) = user.split_once('/').unwrap();
        for group in groups.iter().filter(|group| directory == "corp" || **group == "a") {
            requests.push(request("User", user, &format!("{directory}/{group}")));
            let id = percent(&id.replace('\\', ""));
            let query = format!("/v1/check?user={directory}/{id}&group={directory}/{group}");
            expected.push(daemon.get(&query)["member"].as_bool().unwrap());
        }
    }
    assert_eq!(expected.iter().filter(|is| **is).count(), 19);
    // A group outside of the circles is in all of them; none of another directory is.
    for outer in ["a", "b", "c", "x", "y", "top"] {
        requests.push(request("Group", "corp/leaf", &format!("corp/{outer}")));
        expected.push(true);
    }
    for (inner, outer, is) in
        [("x", "a", true), ("y", "top", true), ("a", "x", false), ("top", "b", false)]
    {
        requests.push(request("Group", &format!("corp/{inner}"), &format!("corp/{outer}")));
        expected.push(is);
    }
    requests.push(request("User", "partner/ada", "corp/a"));
    expected.push(false);
    let policy = PROBE_POLICY;
    let answer = judge(schema.clone().into(), entities(&daemon, ""), policy, requests.clone());
    for ((one, is), request) in
        answer["decisions"].as_array().unwrap().iter().zip(&expected).zip(&requests)
    {
        let wanted = if *is { "Allow" } else { "Deny" };
        assert_eq!(one["decision"], wanted, "{request}");
    }
    let some = entities(&daemon, "?user=corp/bob");
    let ids: Vec<&str> = some.iter().map(|one| one["uid"]["id"].as_str().unwrap()).collect();
    assert_eq!(ids[0], "corp/bob");
    assert_eq!(ids.len(), 7, "itself, both circles and the top: {ids:?}");
    let about_bob = |request: &&Value| request["principal"] == "Rosterd::User::\"corp/bob\"";
    let requests: Vec<Value> = requests.iter().filter(about_bob).cloned().collect();
    let answer = judge(schema.into(), some, policy, requests);
    let allowed = answer["decisions"].as_array().unwrap().iter();
    assert_eq!(allowed.filter(|one| one["decision"] == "Allow").count(), 6);
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn entities_and_schema_have_tags_that_hold_until_something_changes() {
    let daemon = circles();
    for path in [
        "/v1/cedar/entities",
        "/v1/cedar/entities?directory=partner",
        "/v1/cedar/entities?user=corp/bob",
        "/v1/cedar/schema",
    ] {
        let tag = |held: Option<&str>| {
            let headers: Vec<(&str, &str)> =
                held.map(|tag| ("if-none-match", tag)).into_iter().collect();
            let answer = http::request_with(&daemon.socket(), "GET", path, &headers, None).unwrap();
            (answer.status(), answer.header("etag").unwrap().to_owned())
        };
        let (status, first) = tag(None);
        assert_eq!(status, 200);
        assert!(first.starts_with('"'), "{first}");
        assert_eq!(tag(Some(&first)), (304, first.clone()), "{path}");
    }
    let tag = |path: &str| {
        let answer = daemon.request("GET", path, None);
        answer.header("etag").unwrap().to_owned()
    };
    let (all, partner) = ("/v1/cedar/entities", "/v1/cedar/entities?directory=partner");
    let before = (tag(all), tag(partner));
    let path = daemon.dir().join("corp.json");
    let mut corp: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    corp["users"][0]["title"] = "Lady".into();
    harness::write(path, corp.to_string());
    daemon.sync("corp");
    assert_ne!(tag(all), before.0);
    assert_eq!(tag(partner), before.1, "what changed is elsewhere");
}

#[test]
fn what_cannot_be_answered_is_refused() {
    let daemon = circles();
    for (path, status) in [
        ("/v1/cedar/entities?user=nobody", 404),
        ("/v1/cedar/entities?user=ada", 409),
        ("/v1/cedar/entities?user=corp/ada&directory=corp", 400),
        ("/v1/cedar/entities?directory=nowhere", 404),
        ("/v1/cedar/entities?tenant=nobody", 404),
        ("/v1/cedar/schema?format=xml", 400),
    ] {
        assert_eq!(daemon.request("GET", path, None).status(), status, "{path}");
    }
}
