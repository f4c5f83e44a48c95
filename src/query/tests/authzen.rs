//! The OpenID Authorization API, by its text and its certification scenario.

use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::fixture::{World, edges, group, user, world, world_of};
use crate::clock::Duration;
use crate::index::{DirectoryView, View};
use crate::model::{Change, Layer, Put, User};
use crate::provider::UserItem;
use crate::query::policies::{AuthzenConfig, Policies};
use crate::store::record::encode_user;

async fn ask(world: &World, path: &str, body: &Value) -> (StatusCode, Value) {
    let request = Request::post(path).header("content-type", "application/json");
    let (status, _, body) = world.send(request, &body.to_string()).await;
    (status, body)
}

fn question(user: &str, group: &str) -> Value {
    json!({
        "subject": { "type": "user", "id": user },
        "action": { "name": "member" },
        "resource": { "type": "group", "id": group },
    })
}

async fn decision(world: &World, body: &Value) -> (bool, String) {
    let (status, answer) = ask(world, "/access/v1/evaluation", body).await;
    assert_eq!(status, 200, "{answer}");
    let reason = answer["context"]["reason"].as_str().unwrap().to_owned();
    (answer["decision"].as_bool().unwrap(), reason)
}

fn set(world: &World, authzen: AuthzenConfig) {
    world.sources.policies.replace(Policies { authzen, ..Policies::default() });
}

#[tokio::test]
async fn members_are_permitted_and_others_denied() {
    let world = world();
    let (status, answer) = ask(&world, "/access/v1/evaluation", &question("u1", "g1")).await;
    assert_eq!(status, 200);
    assert_eq!(answer["decision"], true);
    let context = &answer["context"];
    assert_eq!(context["reason"], "member");
    assert_eq!(context["seq"], 10);
    assert_eq!(context["directory"], "corp");
    assert!(context["as_of"].is_string() && context["age_seconds"].is_u64(), "{context}");
    assert_eq!(context["user"], json!({ "id": "u1", "username": "ada", "active": true }));
    assert_eq!(context["group"], json!({ "id": "g1", "name": "eng" }));
    let not = decision(&world, &question("u1", "g3")).await;
    assert_eq!(not, (false, "not-member".to_owned()));
}

#[tokio::test]
async fn what_is_not_known_is_a_denial_that_says_so() {
    let world = world();
    let cases = [
        ("nobody", "g1", "unknown-user", 404),
        ("u1", "nothing", "unknown-group", 404),
        ("bob@example.org", "g1", "ambiguous-user", 409),
        ("p1", "g1", "no-common-directory", 404),
        ("", "g1", "unknown-user", 404),
    ];
    for (user, group, reason, status) in cases {
        let (_, answer) = ask(&world, "/access/v1/evaluation", &question(user, group)).await;
        assert_eq!(answer["decision"], false, "{answer}");
        assert_eq!(answer["context"]["reason"], reason);
        assert_eq!(answer["context"]["error"]["status"], status);
        assert_eq!(answer["context"]["seq"], 10);
    }
    let mut other = question("u1", "g1");
    other["action"]["name"] = "read".into();
    assert_eq!(decision(&world, &other).await, (false, "unsupported-action".to_owned()));
    let mut other = question("u1", "g1");
    other["subject"]["type"] = "spaceship".into();
    assert_eq!(decision(&world, &other).await, (false, "unsupported-subject-type".to_owned()));
    let mut other = question("u1", "g1");
    other["resource"]["type"] = "record".into();
    assert_eq!(decision(&world, &other).await, (false, "unsupported-resource-type".to_owned()));
}

#[tokio::test]
async fn what_is_stale_is_a_denial() {
    let world = world();
    world.confirm("corp", 100);
    let mut asked = question("u1", "g1");
    assert!(decision(&world, &asked).await.0, "any age will do");
    asked["context"] = json!({ "max_age": "99s", "time": "1985-10-26T01:22-07:00" });
    assert_eq!(decision(&world, &asked).await, (false, "stale".to_owned()));
    let config = AuthzenConfig { max_age: Some(Duration::from_secs(99)), ..Default::default() };
    set(&world, config);
    asked["context"]["max_age"] = "1h".into();
    assert!(decision(&world, &asked).await.0, "the question goes before the setting");
    assert_eq!(decision(&world, &question("u1", "g1")).await, (false, "stale".to_owned()));
    // Nobody knows whether the one that was not read has such a user.
    assert_eq!(decision(&world, &question("nobody", "g1")).await, (false, "stale".to_owned()));
}

#[tokio::test]
async fn never_synced_is_a_denial() {
    let view = DirectoryView::empty("corp", "t", "p").apply(&[], 0).unwrap();
    let world = world_of(View::new([view], 0));
    let status = crate::sync::status::DirectoryStatus::new("corp", "t", "p");
    world.sources.statuses.insert(status);
    assert_eq!(decision(&world, &question("u1", "g1")).await, (false, "stale".to_owned()));
}

#[tokio::test]
async fn r19_disabled_users_are_denied_unless_configured() {
    let disabled = User { id: "u1".into(), username: "ada".into(), ..User::default() };
    assert!(!disabled.active);
    let record = encode_user(&UserItem { user: disabled, ..UserItem::default() });
    let changes = [
        Change::User { slot: 0, record, put: Put::Created },
        user(1, "u2", "bob", "bob@x"),
        group(0, "g1", "eng"),
        edges(0, Layer::Listed, &[0, 1]),
    ];
    let view = DirectoryView::empty("corp", "t", "p").apply(&changes, 1).unwrap();
    let world = world_of(View::new([view], 1));
    world.confirm("corp", 1);
    assert_eq!(decision(&world, &question("u1", "g1")).await, (false, "inactive".to_owned()));
    assert!(decision(&world, &question("u2", "g1")).await.0);
    set(&world, AuthzenConfig { allow_inactive: true, ..AuthzenConfig::default() });
    assert!(decision(&world, &question("u1", "g1")).await.0);
}

#[tokio::test]
async fn unknown_members_and_properties_are_passed_over() {
    let world = world();
    let body = json!({
        "subject": { "type": "user", "id": "u1", "properties": { "role": ["x"] }, "more": 1 },
        "action": { "name": "member", "properties": { "soft": true } },
        "resource": { "type": "group", "id": "g1", "properties": { "id": "g3" } },
        "context": { "ip": "192.0.2.1", "nested": { "max_age": 3 } },
        "foo": "bar",
        "future": { "subject": [null] },
    });
    assert!(decision(&world, &body).await.0);
}

#[tokio::test]
async fn requests_that_are_wrong_as_such_are_400() {
    let world = world();
    let whole = question("u1", "g1");
    for pointer in [
        "/subject",
        "/action",
        "/resource",
        "/subject/type",
        "/subject/id",
        "/action/name",
        "/resource/type",
        "/resource/id",
    ] {
        for value in [None, Some(json!(123)), Some(Value::Null), Some(json!("alice"))] {
            // Strings are what these are.
            if value == Some(json!("alice")) && pointer.matches('/').count() == 2 {
                continue;
            }
            let mut body = whole.clone();
            let (parent, member) = pointer.rsplit_once('/').unwrap();
            let parent = body.pointer_mut(parent).unwrap().as_object_mut().unwrap();
            match value {
                None => drop(parent.remove(member)),
                Some(value) => drop(parent.insert(member.to_owned(), value)),
            }
            for path in ["/access/v1/evaluation", "/access/v1/evaluations"] {
                let (status, answer) = ask(&world, path, &body).await;
                assert_eq!(status, 400, "{body} {answer}");
            }
        }
    }
    let mut age = whole.clone();
    age["context"] = json!({ "max_age": 300 });
    assert_eq!(ask(&world, "/access/v1/evaluation", &age).await.0, 400);
    let mut options = whole.clone();
    options["options"] = json!({ "evaluations_semantic": "first" });
    assert_eq!(ask(&world, "/access/v1/evaluations", &options).await.0, 400);
    let json = || Request::post("/access/v1/evaluation").header("content-type", "application/json");
    let nested = "[".repeat(100_000);
    let twice = r#"{"subject":{"type":"user","id":"u1"},"subject":{"type":"user","id":"u2"}}"#;
    for text in [
        "",
        "{",
        "null",
        "[]",
        " [null, null, null, null, null, null]",
        "\"x\"",
        "\u{feff}{}",
        nested.as_str(),
        twice,
    ] {
        let (status, _, answer) = world.send(json(), text).await;
        assert_eq!(status, 400, "{answer}");
        assert_eq!(answer["title"], "bad-request");
    }
    let text = whole.to_string();
    let plain = Request::post("/access/v1/evaluation").header("content-type", "text/plain");
    assert_eq!(world.send(plain, &text).await.0, 400);
    assert_eq!(world.send(Request::post("/access/v1/evaluation"), &text).await.0, 400);
    let utf8 = "Application/JSON; charset=utf-8";
    let request = Request::post("/access/v1/evaluation").header("content-type", utf8);
    assert_eq!(world.send(request, &text).await.0, 200);
    assert_eq!(world.get("/access/v1/evaluation").await.0, 405);
}

#[tokio::test]
async fn the_identifier_of_a_request_comes_back() {
    let world = world();
    let good = question("u1", "g1").to_string();
    for (body, status) in [(good.as_str(), 200), ("{", 400)] {
        let request = Request::post("/access/v1/evaluation")
            .header("content-type", "application/json")
            .header("x-request-id", "bfe9eb29-ab87 é".as_bytes());
        let (got, headers, _) = world.send(request, body).await;
        assert_eq!(got, status);
        assert_eq!(headers["x-request-id"].as_bytes(), "bfe9eb29-ab87 é".as_bytes());
    }
    let request = Request::post("/access/v1/evaluation").header("content-type", "application/json");
    assert!(world.send(request, &good).await.1.get("x-request-id").is_none());
}

fn decisions(answer: &Value) -> Vec<bool> {
    let list = answer["evaluations"].as_array().unwrap_or_else(|| panic!("{answer}"));
    list.iter().map(|one| one["decision"].as_bool().unwrap()).collect()
}

#[tokio::test]
async fn many_questions_share_defaults_and_are_answered_in_order() {
    let world = world();
    let body = json!({
        "subject": { "type": "user", "id": "u1" },
        "action": { "name": "member" },
        "resource": { "type": "group", "id": "g3" },
        "evaluations": [
            { "resource": { "id": "g1" } },
            {},
            { "subject": { "type": "user", "id": "nobody" } },
            { "action": { "name": "owner" } },
            { "resource": ["group", "g1", null, null] },
            { "resource": { "type": "group", "id": "g2" }, "context": { "max_age": "1s" } },
            { "resource": { "type": "group", "id": "g2" }, "unknown": {} },
        ],
    });
    let (status, answer) = ask(&world, "/access/v1/evaluations", &body).await;
    assert_eq!(status, 200);
    assert_eq!(decisions(&answer), [true, false, false, false, false, false, true]);
    assert!(answer.get("decision").is_none());
    let reasons: Vec<&str> = answer["evaluations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["context"]["reason"].as_str().unwrap())
        .collect();
    let expected = [
        "member",
        "not-member",
        "unknown-user",
        "unsupported-action",
        "bad-request",
        "stale",
        "member",
    ];
    assert_eq!(reasons, expected);
    assert_eq!(answer["evaluations"][4]["context"]["error"]["status"], 400);
    // A question that lacks something is a denial in its place.
    let body = json!({ "evaluations": [question("u1", "g1"), {}] });
    assert_eq!(decisions(&ask(&world, "/access/v1/evaluations", &body).await.1), [true, false]);
}

#[tokio::test]
async fn without_evaluations_it_is_a_single_one() {
    let world = world();
    for evaluations in [None, Some(json!([])), Some(Value::Null)] {
        let mut body = question("u1", "g1");
        if let Some(evaluations) = evaluations {
            body["evaluations"] = evaluations;
        }
        let (status, answer) = ask(&world, "/access/v1/evaluations", &body).await;
        assert_eq!((status.as_u16(), &answer["decision"]), (200, &json!(true)), "{answer}");
        assert!(answer.get("evaluations").is_none());
    }
}

#[tokio::test]
async fn it_stops_where_it_is_told_to() {
    let world = world();
    let semantic = async |word: &str| {
        let groups = ["g1", "nothing", "g2", "g3"];
        let body = json!({
            "subject": { "type": "user", "id": "u1" },
            "action": { "name": "member" },
            "options": { "evaluations_semantic": word, "another": 1 },
            "evaluations": groups.map(|id| json!({ "resource": { "type": "group", "id": id } })),
        });
        decisions(&ask(&world, "/access/v1/evaluations", &body).await.1)
    };
    assert_eq!(semantic("execute_all").await, [true, false, true, false]);
    assert_eq!(semantic("deny_on_first_deny").await, [true, false]);
    assert_eq!(semantic("permit_on_first_permit").await, [true]);
}

#[tokio::test]
async fn long_lists_are_answered_aside_and_endless_ones_refused() {
    let world = world();
    let body = |count: usize| {
        let mut body = question("u1", "g1");
        body["evaluations"] = vec![json!({}); count].into();
        body
    };
    let (status, answer) = ask(&world, "/access/v1/evaluations", &body(3_000)).await;
    assert_eq!(status, 200);
    assert_eq!(decisions(&answer), vec![true; 3_000]);
    let (status, answer) = ask(&world, "/access/v1/evaluations", &body(10_001)).await;
    assert_eq!(status, 400, "{answer}");
}

#[tokio::test]
async fn metadata_is_told_where_it_is_true() {
    let world = world();
    assert_eq!(world.get("/.well-known/authzen-configuration").await.0, 404);
    let url = Some("https://pdp.example.org".to_owned());
    set(&world, AuthzenConfig { url, ..AuthzenConfig::default() });
    let (status, body) = world.get("/.well-known/authzen-configuration").await;
    assert_eq!(status, 200);
    let expected = json!({
        "policy_decision_point": "https://pdp.example.org",
        "access_evaluation_endpoint": "https://pdp.example.org/access/v1/evaluation",
        "access_evaluations_endpoint": "https://pdp.example.org/access/v1/evaluations",
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn the_age_that_all_questions_ask_for_is_not_lost_to_a_context_of_one() {
    let world = world();
    world.confirm("corp", 3_600);
    let mut body = question("u1", "g1");
    body["context"] = json!({ "max_age": "5m" });
    body["evaluations"] =
        json!([{}, { "context": { "ip": "192.0.2.1" } }, { "context": { "max_age": "2h" } }]);
    let (_, answer) = ask(&world, "/access/v1/evaluations", &body).await;
    let decisions: Vec<&Value> =
        answer["evaluations"].as_array().unwrap().iter().map(|one| &one["decision"]).collect();
    assert_eq!(decisions, [false, false, true]);
}

#[tokio::test]
async fn a_name_that_is_very_long_is_refused_and_not_repeated() {
    let world = world();
    let long = "x".repeat(2_000);
    let (status, answer) = ask(&world, "/access/v1/evaluation", &question(&long, "g1")).await;
    assert_eq!(status, 400);
    assert!(answer["detail"].as_str().unwrap().len() < 200, "{answer}");
    let mut body = question(&long, "g1");
    body["evaluations"] = json!(vec![json!({}); 1_000]);
    let (status, answer) = ask(&world, "/access/v1/evaluations", &body).await;
    assert_eq!(status, 200);
    assert!(answer.to_string().len() < 500_000);
}
