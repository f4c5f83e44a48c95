//! Questions about the past, over a real store.

use std::sync::Arc;

use serde_json::{Value, json};

use super::fixture::{World, edges, group, user, world_of};
use crate::clock::Timestamp;
use crate::index::{DirectoryView, View};
use crate::model::{Change, Commit, Layer, Progress};
use crate::query::Journal;
use crate::store::{Options, Store};

/// A store and a view that take the same commits.
struct History {
    store: Store,
    view: DirectoryView,
    _folder: tempfile::TempDir,
}

impl History {
    fn new() -> History {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path(), Options::default()).unwrap();
        History { store, view: DirectoryView::empty("corp", "acme", "vpn"), _folder: folder }
    }

    fn commit(&mut self, seconds: u64, changes: Vec<Change>) {
        let commit = Commit {
            directory: "corp".into(),
            tenant: "acme".into(),
            product: "vpn".into(),
            occurred_at: Timestamp(seconds * 1000),
            changes,
            progress: Progress { as_of: Some(Timestamp(seconds * 1000)), ..Progress::default() },
        };
        let committed = self.store.commit(&commit).unwrap();
        self.view = self.view.apply(&commit.changes, committed.first_seq).unwrap();
    }

    fn world(&self) -> World {
        let mut world = world_of(View::new([self.view.clone()], self.store.last_seq()));
        world.sources.journal = Arc::new(self.store.clone()) as Arc<dyn Journal>;
        world.confirm("corp", 1);
        world
    }
}

fn gone(group: u32, layer: Layer, members: &[u32]) -> Change {
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
