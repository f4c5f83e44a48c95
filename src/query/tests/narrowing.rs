//! `directory/REF` means something in that directory, or nothing: whoever can
//! choose a name in one directory must not pass for somebody of another.

use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::fixture::{World, edges, group, user, world_of};
use crate::clock::Duration;
use crate::index::{DirectoryView, View};
use crate::model::{Change, Layer};
use crate::query::decision::{Moment, Question};
use crate::query::policies::{Policies, Policy};

/// In `corp` the group admins, with ada. In `forge`, where people name their
/// groups and themselves, a group corp/admins with mallory, who is also there
/// under the name corp/trent.
fn forged(corp_is_read: bool) -> World {
    let corp = [user(0, "u1", "ada", "ada@corp.example"), group(0, "g1", "admins")];
    let corp = [corp.as_slice(), &[edges(0, Layer::Listed, &[0])]].concat();
    let forge: Vec<Change> = vec![
        user(0, "f1", "mallory", "m@forge.example"),
        user(1, "f2", "corp/trent", "t@forge.example"),
        group(0, "fg1", "corp/admins"),
        edges(0, Layer::Listed, &[0, 1]),
    ];
    let view = |name: &str, changes: &[Change]| {
        DirectoryView::empty(name, "t", "p").apply(changes, 1).unwrap()
    };
    let mut views = vec![view("forge", &forge)];
    if corp_is_read {
        views.push(view("corp", &corp));
    }
    let world = world_of(View::new(views, 10));
    world.confirm("forge", 5);
    world.confirm("corp", 5);
    if !corp_is_read {
        world.sources.statuses.update("corp", |status| status.as_of = None);
    }
    world
}

async fn check(world: &World, user: &str, group: &str) -> (u16, Value) {
    let path = format!("/v1/check?user={user}&group={group}");
    let (status, _, body) = world.send(Request::get(path), "").await;
    (status.as_u16(), body)
}

#[tokio::test]
async fn a_name_that_begins_like_a_directory_is_not_found_elsewhere() {
    let world = forged(true);
    assert_eq!(check(&world, "ada", "corp/admins").await.1["member"], true);
    let (status, body) = check(&world, "mallory", "corp/admins").await;
    assert_eq!((status, &body["unknown"]), (404, &json!("pair")), "{body}");
    let (status, body) = check(&world, "corp/trent", "corp/admins").await;
    assert_eq!((status, &body["unknown"]), (404, &json!("user")), "{body}");
    // Whoever means that one says so.
    assert_eq!(check(&world, "mallory", "forge/corp/admins").await.1["member"], true);
    assert_eq!(check(&world, "forge/corp/trent", "fg1").await.1["member"], true);
}

#[tokio::test]
async fn a_directory_that_is_not_read_yet_is_stale_and_not_somebody_elses() {
    let world = forged(false);
    let (status, body) = check(&world, "mallory", "corp/admins").await;
    assert_eq!((status, &body["title"]), (503, &json!("stale")), "{body}");
    let question = json!({
        "subject": { "type": "user", "id": "mallory" },
        "action": { "name": "member" },
        "resource": { "type": "group", "id": "corp/admins" },
    });
    let request = Request::post("/access/v1/evaluation").header("content-type", "application/json");
    let (status, _, body) = world.send(request, &question.to_string()).await;
    assert_eq!((status, &body["decision"]), (StatusCode::OK, &json!(false)), "{body}");
}

#[tokio::test]
async fn a_policy_of_one_directory_looks_nowhere_else() {
    let world = forged(true);
    let policy = Policy {
        header: "x-auth-user".parse().unwrap(),
        group: "admins".into(),
        directory: Some("corp".into()),
        max_age: Duration::from_secs(60),
        allow_inactive: false,
        explain: false,
    };
    let ext_authz = [("staff".to_owned(), policy)].into();
    world.sources.policies.replace(Policies { ext_authz, ..Policies::default() });
    for (user, status) in [("ada", 200), ("u1", 200), ("mallory", 403), ("trent", 403)] {
        let request = Request::get("/ext_authz/staff/").header("x-auth-user", user);
        assert_eq!(world.send(request, "").await.0, status, "{user}");
    }
    let moment = Moment::now(&world.sources);
    let question = Question {
        user: "ada",
        group: "g1",
        directory: None,
        max_age: None,
        allow_inactive: false,
    };
    assert!(moment.decide(question).unwrap().reason.allows());
    let forge = Question { directory: Some("forge"), ..question };
    assert_eq!(moment.decide(forge).unwrap_err().about("unknown"), Some("user"));
    let nowhere = Question { directory: Some("nowhere"), ..question };
    assert_eq!(moment.decide(nowhere).unwrap_err().word(), "stale");
}
