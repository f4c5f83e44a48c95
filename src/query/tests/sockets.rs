//! Taking the socket, and only the socket.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::fixture::world;
use crate::model::Actor;
use crate::query::access::{AccessConfig, Permissions, TokenRule};
use crate::query::config::QueryConfig;
use crate::query::listener::{ListenError, Listeners};
use crate::query::server::{Limits, start};
use crate::secret::Secret;

fn config(path: &Path) -> QueryConfig {
    QueryConfig { socket: path.to_owned(), mode: 0o620, ..QueryConfig::default() }
}

#[test]
fn the_socket_has_its_mode_and_goes_with_us() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/folder/q.sock");
    let listeners = Listeners::take(&config(&path)).unwrap();
    let mode = std::fs::symlink_metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o620);
    assert_eq!(listeners.path().unwrap(), path);
    UnixStream::connect(&path).unwrap();
    drop(listeners);
    let left: Vec<_> = path.parent().unwrap().read_dir().unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_socket_on_which_nobody_answers_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("q.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let listeners = Listeners::take(&config(&path)).unwrap();
    UnixStream::connect(&path).unwrap();
    drop(listeners);
}

#[test]
fn a_socket_on_which_somebody_answers_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("q.sock");
    let other = UnixListener::bind(&path).unwrap();
    let error = Listeners::take(&config(&path)).unwrap_err();
    assert!(matches!(error, ListenError::InUse(_)), "{error}");
    assert!(error.to_string().contains("hint:"));
    other.set_nonblocking(true).unwrap();
    UnixStream::connect(&path).unwrap();
    assert!(other.accept().is_ok());
}

#[test]
fn nothing_but_a_socket_is_ever_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("q.sock");
    std::fs::write(&path, "precious").unwrap();
    let error = Listeners::take(&config(&path)).unwrap_err();
    assert!(matches!(error, ListenError::NotASocket(_)), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    // Nor what has taken the place of ours.
    let path = folder.path().join("p.sock");
    let listeners = Listeners::take(&config(&path)).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    drop(listeners);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn over_tcp_the_token_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let token = TokenRule {
        name: "query.token".into(),
        secret: Secret::new("t0ken".into()),
        permissions: Permissions::ALL,
    };
    let config = QueryConfig {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        access: AccessConfig { tokens: vec![token], ..AccessConfig::default() },
        ..config(&folder.path().join("q.sock"))
    };
    let listeners = Listeners::take(&config).unwrap();
    let address = listeners.address().unwrap();
    let world = world();
    let shutdown = world.sources.shutdown.clone();
    let running = start(listeners, world.sources.clone(), Limits::default(), shutdown).unwrap();
    let ask = |host: &str, token: &str| {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let request = format!(
            "GET /v1/check?user=u1&group=g1 HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("localhost", "t0ken").contains("\"member\":true"));
    let refused = ask("localhost", "guess");
    assert!(refused.starts_with("HTTP/1.1 401 ") && refused.contains("www-authenticate: Bearer"));
    assert!(ask("evil.example.org", "t0ken").starts_with("HTTP/1.1 421 "));
    world.trigger.fire();
    running.join().unwrap();
    let acts = world.trail.acts.lock().unwrap();
    let stranger = Actor::Stranger(Some([127, 0, 0, 1].into()));
    assert!(!acts.is_empty() && acts.iter().all(|act| act.actor == stranger), "{acts:?}");
    let reasons: String = acts.iter().map(|act| format!("{:?}", act.metadata["reason"])).collect();
    assert!(reasons.contains("token") && reasons.contains("Host"), "{reasons}");
}
