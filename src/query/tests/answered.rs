//! What `rosterd::client` makes of the answers, over both kinds of sockets.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use futures_util::TryStreamExt;
use serde_json::Value;

use super::fixture::{World, world};
use super::sockets::with_token;
use crate::client::{
    CheckResult, Client, ClientError, Follow, Listing, Member, SnapshotLine, Terms, User,
};
use crate::query::access::Permissions;
use crate::query::listener::Listeners;
use crate::query::server::{Limits, Running, start};
use crate::secret::Secret;

/// A world behind a unix socket and, with a token, a port.
struct Served {
    world: World,
    running: Running,
    port: Option<std::net::SocketAddr>,
}

const TOKEN: &str = "t0ken";

fn serve_at(folder: &Path) -> Served {
    let config = with_token(&folder.join("q.sock"), TOKEN, Permissions::ALL);
    let listeners = Listeners::take(&config).unwrap();
    let (world, port) = (world(), listeners.address());
    let shutdown = world.sources.shutdown.clone();
    let running = start(listeners, world.sources.clone(), Limits::default(), shutdown).unwrap();
    Served { world, running, port }
}

impl Served {
    /// Connections accepted so far, that of the question included.
    fn accepted(&self, folder: &Path) -> u64 {
        let mut stream = UnixStream::connect(folder.join("q.sock")).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("rosterd_connections_total "));
        line.unwrap().trim().parse().unwrap()
    }

    fn stop(self) {
        self.world.trigger.fire();
        self.running.join().unwrap();
    }
}

fn served() -> (tempfile::TempDir, Served, Client) {
    let folder = tempfile::tempdir().unwrap();
    let served = serve_at(folder.path());
    let client = Client::new(&folder.path().join("q.sock"));
    (folder, served, client)
}

#[tokio::test]
async fn a_check_is_typed_and_whole() {
    let (_folder, _served, client) = served();
    let answer = client.check("corp/ada", "eng", &Terms::default()).await.unwrap();
    assert!(answer.member);
    assert_eq!((answer.user.id.as_str(), answer.group.id.as_str()), ("u1", "g1"));
    assert_eq!((answer.place.directory.as_str(), answer.place.seq), ("corp", 10));
    assert!(answer.place.as_of.is_some());
    assert_eq!(answer.json()["member"], Value::Bool(true));
    let answer = client.check("corp/u1", "empty", &Terms::default()).await.unwrap();
    assert!(!answer.member);
}

#[tokio::test]
async fn a_problem_is_an_error_with_a_word() {
    let (_folder, _served, client) = served();
    let error = client.check("ada", "eng", &Terms::default()).await.unwrap_err();
    assert_eq!(error.word(), Some("ambiguous"));
    let error = client.user("no/body", &Terms::default()).await.unwrap_err();
    assert_eq!(error.word(), Some("unknown"));
    let terms = Terms { max_age: Some("1s".into()), at: None };
    let error = client.check("corp/u1", "g1", &terms).await.unwrap_err();
    assert_eq!(error.word(), Some("stale"));
}

#[tokio::test]
async fn many_checks_answer_in_their_places() {
    let (_folder, _served, client) = served();
    let pairs = [("u1", "g1"), ("nobody", "g1"), ("u2", "g3")];
    let answer = client.check_many(&pairs, &Terms::default()).await.unwrap();
    let words: Vec<Result<bool, &str>> = answer
        .checks
        .iter()
        .map(|one| one.member().map_err(|problem| problem.title.as_str()))
        .collect();
    assert_eq!(words, [Ok(true), Err("unknown"), Ok(false)]);
    assert!(
        matches!(&answer.checks[0], CheckResult::Answer { directory, .. } if directory == "corp")
    );
}

#[tokio::test]
async fn lists_are_read_page_by_page_and_row_by_row() {
    let (_folder, _served, client) = served();
    let mut pages = client.users(&Listing::default());
    let mut ids = Vec::new();
    while let Some(page) = pages.next_page_of(3).await.unwrap() {
        assert!(page.rows.len() <= 3);
        assert_eq!(page.rest["total"], 4);
        ids.extend(page.rows.into_iter().map(|user| user.id));
    }
    assert_eq!(ids, ["u1", "u2", "cn=Eve/x,dc=example", "p1"]);
    let rows: Vec<User> = client.users(&Listing::default()).stream().try_collect().await.unwrap();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[3].directory.as_deref(), Some("partner"));
    let members = client.members("corp/eng", false, &Terms::default());
    let members = members.read(usize::MAX).await.unwrap().rows;
    assert_eq!(members.iter().map(kind).collect::<Vec<_>>(), ["bob", "core"]);
    let lost = client.members("nothing", false, &Terms::default()).stream();
    let error = lost.try_collect::<Vec<Member>>().await.unwrap_err();
    assert_eq!(error.word(), Some("unknown"));
}

fn kind(member: &Member) -> &str {
    match member {
        Member::User(user) => &user.username,
        Member::Group(group) => &group.name,
    }
}

#[tokio::test]
async fn a_snapshot_and_what_follows_make_the_whole() {
    let (_folder, served, client) = served();
    let lines = client.snapshot(&["corp".into()]).await.unwrap();
    let lines: Vec<SnapshotLine> = lines.try_collect().await.unwrap();
    assert_eq!(lines.first(), Some(&SnapshotLine::Start { seq: 10 }));
    let between = lines.len() as u64 - 2;
    assert_eq!(lines.last(), Some(&SnapshotLine::End { seq: 10, count: between }));
    let users = lines.iter().filter(|line| matches!(line, SnapshotLine::User { .. })).count();
    assert_eq!(users, 3);
    let follow = Follow { after: Some(10), ..Follow::default() };
    let mut events = std::pin::pin!(client.follow(follow));
    served.world.tell(11);
    served.world.tell(12);
    assert_eq!(events.try_next().await.unwrap().unwrap().seq, 11);
    assert_eq!(events.try_next().await.unwrap().unwrap().seq, 12);
}

#[tokio::test]
async fn operators_are_heard() {
    let (_folder, _served, client) = served();
    assert!(client.sync("corp").await.unwrap().requested);
    let all = client.directories().await.unwrap();
    let names: Vec<&str> = all.directories.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["corp", "partner"]);
    assert_eq!(client.directory("corp").await.unwrap().provider, "bundle");
    assert_eq!(client.sync("nowhere").await.unwrap_err().word(), Some("unknown"));
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let (folder, served, client) = served();
    let before = served.accepted(folder.path());
    for _ in 0..5 {
        client.check("corp/ada", "eng", &Terms::default()).await.unwrap();
    }
    assert_eq!(client.user("nobody", &Terms::default()).await.unwrap_err().word(), Some("unknown"));
    assert_eq!(served.accepted(folder.path()) - before, 2, "one of the client's, one of ours");
}

#[tokio::test]
async fn a_connection_that_went_is_replaced() {
    let (folder, served, client) = served();
    client.check("corp/ada", "eng", &Terms::default()).await.unwrap();
    served.stop();
    let served = serve_at(folder.path());
    assert!(client.check("corp/ada", "eng", &Terms::default()).await.unwrap().member);
    served.stop();
    let _served = serve_at(folder.path());
    assert!(
        client.sync("corp").await.unwrap().requested,
        "what changes something takes a connection of its own"
    );
}

#[tokio::test]
async fn nobody_there_is_told_from_no() {
    let (_folder, served, client) = served();
    served.stop();
    let error = client.check("corp/ada", "eng", &Terms::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn over_tcp_the_token_is_needed() {
    let (_folder, served, _) = served();
    let port = served.port.unwrap();
    let client = Client::tcp(port, Secret::new(TOKEN.into()));
    assert!(client.check("corp/ada", "eng", &Terms::default()).await.unwrap().member);
    let stranger = Client::tcp(port, Secret::new("other".into()));
    let error = stranger.check("corp/ada", "eng", &Terms::default()).await.unwrap_err();
    assert_eq!(error.word(), Some("unauthorized"));
}
