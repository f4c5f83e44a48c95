//! The pusher against an OPA that answers as told, and keeps what it is given.

use std::sync::Mutex;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State as Ext};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::*;
use crate::config::section;
use crate::export::opa::tests::{Setting, commit, crowd, joins, leaves, patcher, whole};

/// An OPA: its documents, what it was asked, and what it does next.
#[derive(Default)]
struct Opa {
    document: Mutex<Option<Value>>,
    asked: Mutex<Vec<String>>,
    /// Forgets everything before the next patch, as if restarted just then.
    restart: Mutex<bool>,
    late: Mutex<Late>,
}

/// A patch that OPA finishes after it was given up.
#[derive(Default)]
enum Late {
    #[default]
    Never,
    /// The next one will be.
    Next,
    /// It is given up, and nothing else is answered meanwhile.
    GivenUp(Vec<Value>),
    /// It is finished just before the one that comes next.
    Due(Vec<Value>),
}

async fn answer(Ext(opa): Ext<Arc<Opa>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    opa.asked.lock().unwrap().push(format!("{} {path}", parts.method));
    assert_eq!(parts.headers["authorization"], "Bearer t0ken");
    let Ok(body) = body.collect().await else { return StatusCode::BAD_REQUEST.into_response() };
    let body: Bytes = body.to_bytes();
    if parts.method == "PATCH" && std::mem::take(&mut *opa.restart.lock().unwrap()) {
        *opa.document.lock().unwrap() = None;
    }
    let mut document = opa.document.lock().unwrap();
    let late = &mut *opa.late.lock().unwrap();
    if matches!(late, Late::GivenUp(_)) {
        return StatusCode::GATEWAY_TIMEOUT.into_response();
    }
    match parts.method.as_str() {
        "GET" => {
            let marker = document.as_ref().map(|document| document["revision"].clone());
            let body = marker.map_or(json!({}), |marker| json!({ "result": marker }));
            axum::Json(body).into_response()
        }
        "PUT" => {
            *document = Some(serde_json::from_slice(&body).unwrap());
            StatusCode::NO_CONTENT.into_response()
        }
        "PATCH" => {
            assert_eq!(parts.headers["content-type"], "application/json-patch+json");
            let ops: Vec<Value> = serde_json::from_slice(&body).unwrap();
            patch(&mut document, late, ops).into_response()
        }
        other => panic!("{other}"),
    }
}

fn patch(document: &mut Option<Value>, late: &mut Late, ops: Vec<Value>) -> StatusCode {
    let Some(document) = document else { return StatusCode::NOT_FOUND };
    match std::mem::take(late) {
        Late::Next => {
            *late = Late::GivenUp(ops);
            return StatusCode::GATEWAY_TIMEOUT;
        }
        Late::Due(earlier) => *document = patcher::patched(document, &earlier).unwrap(),
        Late::Never | Late::GivenUp(_) => {}
    }
    match patcher::patched(document, &ops) {
        Ok(patched) => {
            *document = patched;
            StatusCode::NO_CONTENT
        }
        Err(_) => StatusCode::NOT_FOUND,
    }
}

/// A pusher into an OPA, and a directory to push.
struct World {
    opa: Arc<Opa>,
    setting: Setting,
    pushers: Pushers,
    config: OpaConfig,
    _folder: tempfile::TempDir,
    _server: Task,
}

async fn world() -> World {
    let opa = Arc::new(Opa::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(Arc::clone(&opa));
    let server = task::spawn("opa", async move { axum::serve(listener, router).await.unwrap() });
    let (setting, folder) = crowd(50).await;
    let config = config("edge", &url);
    World { opa, setting, pushers: Pushers::default(), config, _folder: folder, _server: server }
}

fn config(name: &str, url: &str) -> OpaConfig {
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "t0ken\n").unwrap();
    let file = token.path().display();
    let text = format!("[opa.{name}]\nurl = \"{url}\"\ntoken = {{ file = \"{file}\" }}\n");
    let read =
        |root: &mut crate::config::Section<'_>| OpaConfig::read(&mut root.sections("opa").pop()?.1);
    section::read_text(&text, read).unwrap()
}

impl World {
    fn start(&self, config: &OpaConfig) -> (Task, task::Trigger) {
        let (trigger, shutdown) = task::shutdown();
        let (feed, pushers) = (self.setting.feed.clone(), self.pushers.clone());
        (start(config.clone(), feed, pushers, shutdown).unwrap(), trigger)
    }

    /// Waits until OPA has what there is.
    async fn settled(&self) {
        let scope = Arc::new(Scope::default());
        let fresh = whole(&self.setting.feed.state(&scope).unwrap());
        let deadline = clock::instant() + Duration::from_secs(60);
        while self.opa.document.lock().unwrap().as_ref() != Some(&fresh) {
            assert!(clock::instant() < deadline, "OPA never got it: {:?}", self.status());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn status(&self) -> PushStatus {
        self.pushers.all().into_iter().find(|one| one.name == "edge").unwrap()
    }

    fn asked(&self, method: &str) -> usize {
        self.opa.asked.lock().unwrap().iter().filter(|one| one.starts_with(method)).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn opa_gets_the_whole_once_and_then_only_what_changed() {
    let world = world().await;
    let running = world.start(&world.config);
    world.settled().await;
    commit(&world.setting.ledger, vec![leaves(3)]).await;
    world.settled().await;
    assert_eq!((world.asked("PUT"), world.asked("PATCH")), (1, 1));
    // Started again, it finds out what OPA has already.
    drop(running);
    commit(&world.setting.ledger, vec![leaves(4)]).await;
    let _running = world.start(&world.config);
    world.settled().await;
    assert_eq!((world.asked("PUT"), world.asked("PATCH")), (1, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_opa_that_was_restarted_is_filled_again() {
    let world = world().await;
    let _running = world.start(&world.config);
    world.settled().await;
    *world.opa.document.lock().unwrap() = None;
    world.settled().await;
    assert_eq!(world.asked("PUT"), 2);
    // Between the question what it has and the patch.
    *world.opa.restart.lock().unwrap() = true;
    commit(&world.setting.ledger, vec![leaves(3)]).await;
    world.settled().await;
    assert_eq!((world.asked("PUT"), world.asked("PATCH")), (3, 1));
    assert_eq!(world.status().failures, 0, "the whole follows at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_patch_that_is_finished_late_mixes_no_two_states() {
    let world = world().await;
    let _running = world.start(&world.config);
    commit(&world.setting.ledger, vec![leaves(3)]).await;
    world.settled().await;
    let puts = world.asked("PUT");
    *world.opa.late.lock().unwrap() = Late::Next;
    commit(&world.setting.ledger, vec![joins(3)]).await;
    let deadline = clock::instant() + Duration::from_secs(60);
    while !matches!(*world.opa.late.lock().unwrap(), Late::GivenUp(_)) {
        assert!(clock::instant() < deadline, "no patch: {:?}", world.status());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // The next patch says nothing of that user: it joined and left in between.
    commit(&world.setting.ledger, vec![leaves(3), leaves(4)]).await;
    {
        let mut late = world.opa.late.lock().unwrap();
        let Late::GivenUp(ops) = std::mem::take(&mut *late) else { panic!("a patch") };
        *late = Late::Due(ops);
    }
    world.settled().await;
    assert_eq!(world.asked("PUT"), puts + 1, "the whole follows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_foreign_document_is_replaced() {
    let world = world().await;
    *world.opa.document.lock().unwrap() = Some(json!({"revision": "theirs", "users": 1}));
    let _running = world.start(&world.config);
    world.settled().await;
    assert_eq!(world.asked("PUT"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_dead_opa_stalls_nobody_and_is_told() {
    let world = world().await;
    // Takes connections and never answers, and nobody listening at all.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url =
        |listener: &tokio::net::TcpListener| format!("http://{}", listener.local_addr().unwrap());
    let (at_silent, at_closed) = (config("silent", &url(&silent)), config("closed", &url(&closed)));
    drop(closed);
    let _dead = (world.start(&at_silent), world.start(&at_closed));
    let _running = world.start(&world.config);
    world.settled().await;
    commit(&world.setting.ledger, vec![leaves(3)]).await;
    world.settled().await;
    let failing = || {
        let all = world.pushers.all();
        all.into_iter().find(|one| one.name == "closed" && one.state == PushState::Failing)
    };
    let deadline = clock::instant() + Duration::from_secs(60);
    while failing().is_none() {
        assert!(clock::instant() < deadline, "{:?}", world.pushers.all());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let status = failing().unwrap();
    assert!(status.failures > 0 && !status.last_error.unwrap().contains("t0ken"));
}
