//! Questions about the past, over a real store.

use std::sync::Arc;

use serde_json::{Value, json};

use super::fixture::{World, edges, group, user, world_of};
use crate::clock::Timestamp;
use crate::index::{DirectoryView, View};
use crate::model::{Actor, Cause, Change, Commit, Layer, Progress, Put};
use crate::query::Journal;
use crate::store::{Options, Store};

/// A store and a view that take the same commits.
pub struct History {
    pub store: Store,
    view: DirectoryView,
    folder: Arc<tempfile::TempDir>,
}

impl History {
    pub fn new() -> History {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path(), Options::default()).unwrap();
        let view = DirectoryView::empty("corp", "acme", "vpn");
        History { store, view, folder: folder.into() }
    }

    /// Another directory of the same store.
    fn beside(&self, name: &str) -> History {
        let view = DirectoryView::empty(name, "acme", "vpn");
        History { store: self.store.clone(), view, folder: Arc::clone(&self.folder) }
    }

    pub fn commit(&mut self, seconds: u64, changes: Vec<Change>) {
        self.commit_for(seconds, changes, Cause::Crawl { full: false });
    }

    fn commit_for(&mut self, seconds: u64, changes: Vec<Change>, cause: Cause) {
        let commit = Commit {
            directory: self.view.name().to_owned(),
            tenant: "acme".into(),
            product: "vpn".into(),
            occurred_at: Timestamp(seconds * 1000),
            changes,
            cause,
            progress: Progress { as_of: Some(Timestamp(seconds * 1000)), ..Progress::default() },
        };
        let committed = self.store.commit(&commit).unwrap();
        self.view = self.view.apply(&commit.changes, committed.first_seq).unwrap();
    }

    pub fn world(&self) -> World {
        self.world_with([])
    }

    fn world_with<const N: usize>(&self, others: [&History; N]) -> World {
        let all = [self].into_iter().chain(others);
        let views: Vec<DirectoryView> = all.map(|one| one.view.clone()).collect();
        let names: Vec<String> = views.iter().map(|view| view.name().to_owned()).collect();
        let mut world = world_of(View::new(views, self.store.last_seq()));
        world.sources.journal = Arc::new(self.store.clone()) as Arc<dyn Journal>;
        names.iter().for_each(|name| world.confirm(name, 1));
        world
    }
}

pub fn renamed(change: Change) -> Change {
    let Change::User { slot, record, .. } = change else { panic!("{change:?} is no user") };
    Change::User { slot, record, put: Put::Updated }
}

pub fn gone(group: u32, layer: Layer, members: &[u32]) -> Change {
    Change::Edges { group, layer, added: false, visible: true, members: members.to_vec() }
}

/// At 100 s ada is in inner ⊂ outer; at 200 s inner leaves outer; at 300 s ada
/// leaves inner and bob joins outer.
fn history() -> History {
    let mut history = History::new();
    history.commit(
        100,
        vec![
            user(0, "u1", "ada", "ada@x"),
            user(1, "u2", "bob", "bob@x"),
            group(0, "g1", "outer"),
            group(1, "g2", "inner"),
            edges(0, Layer::Subgroup, &[1]),
            edges(1, Layer::Listed, &[0]),
        ],
    );
    history.commit(200, vec![gone(0, Layer::Subgroup, &[1])]);
    history.commit(300, vec![gone(1, Layer::Listed, &[0]), edges(0, Layer::Listed, &[1])]);
    history
}

fn at(seconds: u64) -> String {
    format!("at={}", Timestamp(seconds * 1000))
}

#[tokio::test]
async fn a_check_of_the_past_is_exact_to_the_commit() {
    let world = history().world();
    let member = async |user: &str, group: &str, seconds: u64| {
        let uri = format!("/v1/check?user={user}&group={group}&{}", at(seconds));
        world.get(&uri).await.1["member"].clone()
    };
    assert_eq!(member("ada", "outer", 100).await, json!(true));
    assert_eq!(member("ada", "outer", 199).await, json!(true));
    assert_eq!(member("ada", "outer", 200).await, json!(false));
    assert_eq!(member("ada", "inner", 299).await, json!(true));
    assert_eq!(member("ada", "inner", 300).await, json!(false));
    assert_eq!(member("bob", "outer", 299).await, json!(false));
    assert_eq!(member("bob", "outer", 300).await, json!(true));
    let (status, body) = world.get(&format!("/v1/check?user=ada&group=inner&{}", at(99))).await;
    assert_eq!((status.as_u16(), &body["title"]), (410, &json!("gone")));
}

#[tokio::test]
async fn lists_of_the_past_show_who_was_there() {
    let world = history().world();
    let ids = async |path: &str, list: &str, seconds: u64| {
        let (_, body) = world.get(&format!("{path}?nested=true&{}", at(seconds))).await;
        let rows = body[list].as_array().unwrap().iter();
        rows.map(|row| row["id"].clone()).collect::<Vec<Value>>()
    };
    assert_eq!(ids("/v1/groups/outer/members", "members", 150).await, ["u1", "g2"]);
    assert_eq!(ids("/v1/groups/outer/members", "members", 250).await, [""; 0]);
    assert_eq!(ids("/v1/groups/outer/members", "members", 350).await, ["u2"]);
    assert_eq!(ids("/v1/users/ada/groups", "groups", 150).await, ["g1", "g2"]);
    assert_eq!(ids("/v1/users/ada/groups", "groups", 250).await, ["g2"]);
    assert_eq!(ids("/v1/users/ada/groups", "groups", 350).await, [""; 0]);
}

/// ada joins a group, is renamed, leaves by an approval, and is deleted; another
/// takes the name.
fn life() -> History {
    let mut life = history();
    life.commit(400, vec![edges(0, Layer::Listed, &[0])]);
    life.commit(500, vec![renamed(user(0, "u1", "ada.l", "ada@x"))]);
    let by = Actor::Process { uid: 0, gid: Some(0), pid: Some(7) };
    let approval = Cause::Approval { hold: "h_1".into(), by };
    let deleted = Change::UserDeleted { slot: 0, visible: true };
    life.commit_for(600, vec![gone(0, Layer::Listed, &[0]), deleted], approval);
    life.commit(700, vec![user(2, "u9", "ada", "ada@y")]);
    life
}

#[tokio::test]
async fn a_history_reads_like_a_log_with_reasons_also_of_the_deleted() {
    let world = life().world();
    let (status, body) = world.get("/v1/users/ada.l/history").await;
    assert_eq!(status, 200, "{body}");
    let entries = body["history"].as_array().unwrap();
    let told: Vec<(&str, &Value)> = entries
        .iter()
        .map(|entry| (entry["what"].as_str().unwrap(), &entry["occurred_at"]))
        .collect();
    assert_eq!(
        told,
        [
            ("left", &json!("1970-01-01T00:05:00Z")),
            ("joined", &json!("1970-01-01T00:06:40Z")),
            ("updated", &json!("1970-01-01T00:08:20Z")),
            ("left", &json!("1970-01-01T00:10:00Z")),
            ("deleted", &json!("1970-01-01T00:10:00Z")),
        ]
    );
    assert_eq!(entries[0]["group"], json!({ "id": "g2", "name": "inner" }));
    assert_eq!(entries[0]["cause"], json!({ "kind": "crawl", "extent": "incremental" }));
    assert_eq!(entries[2]["previous"], json!({ "username": "ada" }));
    assert_eq!(entries[3]["cause"]["hold"], "h_1");
    assert_eq!(entries[3]["cause"]["by"]["uid"], 0);
    assert_eq!(body["start"]["groups"], json!([{ "id": "g2", "name": "inner" }]));
    assert_eq!(body["total"], 5);
    // The name is another's now; the moment tells who is meant.
    let (_, other) = world.get("/v1/users/ada/history").await;
    assert_eq!(other["user"]["id"], "u9");
    let (_, then) = world.get(&format!("/v1/users/ada/history?{}", at(450))).await;
    assert_eq!(then["history"], body["history"]);
}

#[tokio::test]
async fn a_history_comes_in_pages_and_of_a_part_of_the_time() {
    let world = life().world();
    let (_, whole) = world.get("/v1/users/u1/history").await;
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let (_, page) = world.get(&format!("/v1/users/u1/history?limit=2{cursor}")).await;
        assert_eq!(page["total"], 5);
        paged.extend(page["history"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(json!(paged), whole["history"]);
    let since = Timestamp(400_000);
    let uri = format!("/v1/users/u1/history?since={since}&until={}", Timestamp(500_000));
    let (_, part) = world.get(&uri).await;
    assert_eq!(part["history"], json!([whole["history"][2]]));
    assert_eq!(part["start"]["groups"], json!([{ "id": "g1", "name": "outer" }]));
}

#[tokio::test]
async fn a_group_s_history_tells_who_came_and_went() {
    let world = life().world();
    let (_, body) = world.get("/v1/groups/outer/history").await;
    let told: Vec<String> = body["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            format!(
                "{} {}",
                entry["what"].as_str().unwrap(),
                entry["member"]["id"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(told, ["member_left g2", "member_joined u2", "member_joined u1", "member_left u1"]);
    let (_, inner) = world.get("/v1/groups/inner/history?until=7").await;
    assert_eq!(inner["history"][0]["what"], "left");
    assert_eq!(inner["history"][0]["group"]["name"], "outer");
    assert_eq!(inner["start"]["users"], 1);
}

#[tokio::test]
async fn a_seq_is_as_good_as_a_time_and_the_paths_are_of_now_only() {
    let world = history().world();
    let (_, by_seq) = world.get("/v1/check?user=ada&group=outer&at=6").await;
    assert_eq!((&by_seq["member"], &by_seq["at_seq"]), (&json!(true), &json!(6)));
    assert_eq!(by_seq["at"], "1970-01-01T00:01:40Z");
    assert_eq!(world.get("/v1/check?user=ada&group=outer&at=7").await.1["member"], false);
    assert_eq!(world.get("/v1/check?user=ada&group=outer&at=10").await.0, 400);
    assert_eq!(world.get("/v1/check?user=ada&group=outer&at=noon").await.0, 400);
    let (status, old) = world.get("/v1/check?user=ada&group=outer&at=5").await;
    assert_eq!((status.as_u16(), &old["oldest"]), (410, &json!(6)));
    assert_eq!(old["oldest_at"], "1970-01-01T00:01:40Z");
    assert_eq!(world.get("/v1/why?user=ada&group=outer&at=6").await.0, 400);
}

/// u1 is in admins, is deleted after an approval, comes back and joins again.
fn returned() -> History {
    let mut life = History::new();
    let ada = |slot| user(slot, "u1", "ada", "ada@x");
    life.commit(100, vec![ada(0), group(0, "g1", "admins"), edges(0, Layer::Listed, &[0])]);
    let by = Actor::Process { uid: 0, gid: Some(0), pid: Some(7) };
    let approval = Cause::Approval { hold: "h_1".into(), by };
    let deleted = |slot| Change::UserDeleted { slot, visible: true };
    life.commit_for(200, vec![gone(0, Layer::Listed, &[0]), deleted(0)], approval);
    // Another spelling is another id.
    life.commit(300, vec![user(1, "U1", "other", "other@x")]);
    life.commit(400, vec![deleted(1)]);
    life.commit(500, vec![ada(2), edges(0, Layer::Listed, &[2])]);
    life
}

fn told(body: &Value) -> Vec<&str> {
    let entries = body["history"].as_array().unwrap_or_else(|| panic!("no history: {body}"));
    entries.iter().map(|entry| entry["what"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn who_left_and_came_back_has_one_history() {
    let world = returned().world();
    let (_, body) = world.get("/v1/users/u1/history").await;
    assert_eq!(told(&body), ["left", "deleted", "created", "joined"]);
    assert_eq!((&body["total"], &body["user"]["id"]), (&json!(4), &json!("u1")));
    assert_eq!(body["history"][1]["cause"]["hold"], "h_1");
    assert_eq!(body["start"]["groups"], json!([{ "id": "g1", "name": "admins" }]));
    // Whoever of them is asked for, and in pages.
    let (_, by_name) = world.get("/v1/users/ada/history").await;
    let (_, of_then) = world.get(&format!("/v1/users/ada/history?{}", at(150))).await;
    for other in [by_name, of_then] {
        assert_eq!((&other["history"], &other["start"]), (&body["history"], &body["start"]));
    }
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    while paged.len() < 4 {
        let (_, page) = world.get(&format!("/v1/users/u1/history?limit=1{cursor}")).await;
        assert_eq!(page["total"], 4);
        paged.push(page["history"][0].clone());
        cursor = format!("&cursor={}", page["next_cursor"].as_str().unwrap_or("none"));
    }
    assert_eq!((json!(paged), cursor.as_str()), (body["history"].clone(), "&cursor=none"));
    // In between there was nobody, and later there is one again.
    let since = |seconds: u64| format!("/v1/users/u1/history?since={}", Timestamp(seconds * 1000));
    let (_, between) = world.get(&since(450)).await;
    assert_eq!(told(&between), ["created", "joined"]);
    assert_eq!(between["start"]["exists"], false);
    let (_, later) = world.get(&since(500)).await;
    assert_eq!(later["start"]["groups"], json!([{ "id": "g1", "name": "admins" }]));
}

#[tokio::test]
async fn when_nobody_is_called_so_now_whoever_was_last_is_meant() {
    let mut life = returned();
    let deleted = |slot| Change::UserDeleted { slot, visible: true };
    life.commit(600, vec![gone(0, Layer::Listed, &[2]), deleted(2)]);
    let world = life.world();
    let (_, body) = world.get("/v1/users/u1/history").await;
    assert_eq!(told(&body), ["left", "deleted", "created", "joined", "left", "deleted"]);
    // Both are called bea; the first one is so for longer.
    life.commit(700, vec![user(3, "u3", "bea", "b3@x")]);
    life.commit(710, vec![user(4, "u4", "bea", "b4@x")]);
    life.commit(720, vec![deleted(4)]);
    life.commit(730, vec![renamed(user(3, "u3", "beatrix", "b3@x"))]);
    // What somebody takes for a name stays another's id.
    life.commit(740, vec![user(5, "u5", "u4", "b5@x")]);
    life.commit(750, vec![deleted(5)]);
    let world = life.world();
    let id = async |text: &str| {
        world.get(&format!("/v1/users/{text}/history")).await.1["user"]["id"].clone()
    };
    assert_eq!(id("bea").await, "u3");
    assert_eq!(id("u4").await, "u4");
    assert_eq!(id("corp%2Fu4").await, "u4");
    assert_eq!(world.get("/v1/users/nobody/history").await.0, 404);
}

#[tokio::test]
async fn who_was_called_so_last_is_asked_for_by_directory_when_several_had_one() {
    let mut corp = returned();
    let deleted = |slot| Change::UserDeleted { slot, visible: true };
    corp.commit(600, vec![gone(0, Layer::Listed, &[2]), deleted(2)]);
    let mut partner = corp.beside("partner");
    partner.commit(700, vec![user(0, "p1", "ada", "ada@y")]);
    partner.commit(710, vec![deleted(0)]);
    let world = corp.world_with([&partner]);
    let (status, body) = world.get("/v1/users/ada/history").await;
    assert_eq!(status, 409);
    let ids: Vec<&Value> =
        body["candidates"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(ids, ["u1", "p1"]);
    assert!(body["hint"].as_str().unwrap().contains("directory/REF"));
    for (text, id) in [("corp%2Fada", "u1"), ("partner%2Fada", "p1")] {
        assert_eq!(world.get(&format!("/v1/users/{text}/history")).await.1["user"]["id"], id);
    }
}
