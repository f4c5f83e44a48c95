//! Taking the socket, and only the socket.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::fixture::world;
use crate::model::Actor;
use crate::query::access::{AccessConfig, Permission, Permissions, TokenRule};
use crate::query::config::QueryConfig;
use crate::query::listener::{ListenError, Listeners};
use crate::query::server::{Limits, start};
use crate::secret::Secret;

fn config(path: &Path) -> QueryConfig {
    QueryConfig { socket: path.to_owned(), mode: 0o620, ..QueryConfig::default() }
}

/// The same with a port, for whoever has the token.
pub fn with_token(path: &Path, secret: &str, permissions: Permissions) -> QueryConfig {
    let secret = Secret::new(secret.into());
    let token = TokenRule { name: "query.token".into(), secret, permissions };
    QueryConfig {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        access: AccessConfig { tokens: vec![token], ..AccessConfig::default() },
        ..config(path)
    }
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
    let config = with_token(&folder.path().join("q.sock"), "t0ken", Permissions::ALL);
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

/// The table of permissions and the router must read every request alike, and a
/// foreign name must count wherever it stands.
#[test]
fn no_way_of_writing_a_request_gets_past_the_permissions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("q.sock");
    let listeners = Listeners::take(&with_token(&path, "t0ken", Permission::Ask.into())).unwrap();
    let address = listeners.address().unwrap();
    let world = world();
    let shutdown = world.sources.shutdown.clone();
    let running = start(listeners, world.sources.clone(), Limits::default(), shutdown).unwrap();
    let ask = |line: &str, headers: &str| {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let request = format!("{line}\r\n{headers}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).and_then(|word| word.parse::<u16>().ok()).unwrap_or(0)
    };
    let token = "authorization: Bearer t0ken\r\n";
    let usual = format!("host: localhost\r\n{token}");
    let check = "/v1/check?user=u1&group=g1";
    for (target, expected) in [
        (check, 200),
        ("http://localhost/v1/check?user=u1&group=g1", 200),
        ("http://localhost:7411/v1/users", 403),
        ("HTTP://LOCALHOST/v1/users", 403),
        ("http://evil.example.org/v1/check?user=u1&group=g1", 421),
        ("http://localhost@evil.example.org/v1/users", 421),
        ("/v1/users", 403),
        ("/v1/users?x=/v1/check", 403),
        ("/v1/users#/v1/check", 403),
        ("/v1/check/../users", 404),
        ("/v1/check/%2e%2e/users", 404),
        ("/v1/check%2f..%2fusers", 404),
        ("/v1/check%3fuser=u1", 404),
        ("//v1/users", 404),
        ("/./v1/users", 404),
        ("/v1/users/", 404),
        ("/V1/users", 404),
        ("/v1/%75sers", 404),
        ("/v1/users/check", 403),
        ("/v1/users/..%2fcheck", 403),
        ("/healthz/../v1/users", 404),
        ("/healthz", 200),
    ] {
        assert_eq!(ask(&format!("GET {target} HTTP/1.1"), &usual), expected, "{target}");
        // Without a token all of it is refused but the pulse.
        let bare = ask(&format!("GET {target} HTTP/1.1"), "host: localhost\r\n");
        let pulse = if target == "/healthz" { 200 } else { 401 };
        assert_eq!(bare, if expected == 421 { 421 } else { pulse }, "{target}");
    }
    let get = format!("GET {check} HTTP/1.1");
    for (headers, expected) in [
        ("host: localhost\r\nhost: evil.example.org\r\n", 421),
        ("host: evil.example.org\r\nhost: localhost\r\n", 421),
        ("host: localhost\r\nHOST: localhost\r\n", 200),
        ("host:\r\n", 421),
        ("", 421),
        ("x-forwarded-host: localhost\r\nhost: evil.example.org\r\n", 421),
        ("host: localhost\r\nauthorization: Bearer guess\r\n", 401),
        ("host: localhost\r\nx-original-url: /healthz\r\nx-http-method-override: PUT\r\n", 200),
    ] {
        assert_eq!(ask(&get, &format!("{headers}{token}")), expected, "{headers}");
    }
    assert_eq!(ask(&format!("GET {check} HTTP/1.0"), token), 421);
    assert_eq!(ask(&format!("HEAD {check} HTTP/1.1"), &usual), 200);
    assert_eq!(ask("HEAD /v1/users HTTP/1.1", &usual), 403);
    assert_eq!(ask("POST /v1/directories/corp/sync HTTP/1.1", &usual), 403);
    assert_eq!(ask("DELETE /v1/webhooks/w HTTP/1.1", &usual), 403);
    assert_eq!(ask("OPTIONS /v1/users HTTP/1.1", &usual), 403);
    assert_eq!(world.operator.0.lock().unwrap().len(), 0, "nothing was done");
    world.trigger.fire();
    running.join().unwrap();
}

/// Checks are answered before the router knows of them.
#[test]
fn the_short_way_of_a_check_takes_the_permission_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("q.sock");
    let all_but_ask = [Permission::List, Permission::Watch, Permission::Operate];
    let permissions = all_but_ask.into_iter().collect();
    let listeners = Listeners::take(&with_token(&path, "t0ken", permissions)).unwrap();
    let address = listeners.address().unwrap();
    let world = world();
    let shutdown = world.sources.shutdown.clone();
    let running = start(listeners, world.sources.clone(), Limits::default(), shutdown).unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let request = "GET /v1/check?user=u1&group=g1 HTTP/1.1\r\nhost: localhost\r\n\
                   authorization: Bearer t0ken\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 ") && !answer.contains("member"), "{answer}");
    world.trigger.fire();
    running.join().unwrap();
    let acts = world.trail.acts.lock().unwrap();
    assert_eq!(acts[0].actor, Actor::Token("query.token".into()));
}
