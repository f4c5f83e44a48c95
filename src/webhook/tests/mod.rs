//! Endpoints against a receiver that misbehaves, over a journal in memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value as Json;

use async_trait::async_trait;

use super::*;
use crate::clock::{self, Timestamp};
use crate::config::section;
use crate::model::Value;
use crate::model::{Attempt, Attributes, Event, EventKind, Group, MemberObject, Payload, User};
use crate::task::{Trigger, shutdown};

mod batches;
mod deliveries;
mod disabling;
mod first_sync;
mod fold;
mod orders;
mod per_user;
mod queue;
mod reach;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Waits for a condition; fails when it does not come about.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = clock::instant() + Duration::from_secs(60);
    while !condition() {
        assert!(clock::instant() < deadline, "never came about: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A journal in memory.
#[derive(Clone)]
struct Memory {
    inner: Arc<Mutex<Kept>>,
    seq: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    events: Vec<Event>,
    oldest: u64,
    positions: BTreeMap<String, Position>,
    first_syncs: BTreeMap<String, u64>,
    attempts: Vec<Attempt>,
    fails: bool,
    /// How often the next notices are not committed.
    mute: usize,
}

impl Memory {
    fn new() -> Memory {
        let kept = Kept { oldest: 1, ..Kept::default() };
        Memory { inner: Arc::new(Mutex::new(kept)), seq: watch::Sender::new(0) }
    }

    fn append(&self, kind: EventKind, payload: Payload) {
        let seq = self.last_seq() + 1;
        let directory = if seq.is_multiple_of(2) { "even" } else { "odd" };
        self.append_to(directory, kind, payload);
    }

    fn append_to(&self, directory: &str, kind: EventKind, payload: Payload) {
        let mut kept = self.inner.lock().unwrap();
        let seq = kept.events.len() as u64 + 1;
        kept.events.push(Event {
            id: format!("evt_{seq}"),
            seq,
            kind,
            occurred_at: Timestamp(seq),
            tenant: "acme".into(),
            product: "vpn".into(),
            directory: directory.into(),
            payload,
        });
        self.seq.send_replace(seq);
    }

    fn append_users(&self, count: usize) {
        for number in 0..count {
            let payload = Payload::User { user: user(number), previous: None };
            self.append(EventKind::UserCreated, payload);
        }
    }

    fn last_seq(&self) -> u64 {
        self.inner.lock().unwrap().events.len() as u64
    }

    fn position_of(&self, name: &str) -> Position {
        self.inner.lock().unwrap().positions.get(name).cloned().unwrap_or_default()
    }

    /// What was told of disabled endpoints.
    fn notices(&self) -> Vec<Attributes> {
        let kept = self.inner.lock().unwrap();
        let told = kept.events.iter().filter(|event| event.kind == EventKind::WebhookDisabled);
        told.map(|event| match &event.payload {
            Payload::Directory { details } => details.clone(),
            other => panic!("{other:?}"),
        })
        .collect()
    }

    fn stored_seq(&self, name: &str) -> Option<u64> {
        self.inner.lock().unwrap().positions.get(name).map(|position| position.seq)
    }
}

impl Journal for Memory {
    fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, JournalError> {
        let kept = self.inner.lock().unwrap();
        if kept.fails {
            return Err(JournalError::Failed("the disk is gone".into()));
        }
        if after + 1 < kept.oldest {
            return Err(JournalError::Gone { oldest: kept.oldest });
        }
        Ok(kept.events.iter().filter(|event| event.seq > after).take(limit).cloned().collect())
    }

    fn position(&self, endpoint: &str) -> Result<Option<Position>, JournalError> {
        Ok(self.inner.lock().unwrap().positions.get(endpoint).cloned())
    }

    fn set_position(&self, endpoint: &str, position: &Position) -> Result<(), JournalError> {
        let mut kept = self.inner.lock().unwrap();
        if kept.fails {
            return Err(JournalError::Failed("the disk is gone".into()));
        }
        kept.positions.insert(endpoint.to_owned(), position.clone());
        Ok(())
    }

    fn first_sync_end(&self, directory: &str) -> Result<u64, JournalError> {
        Ok(self.inner.lock().unwrap().first_syncs.get(directory).copied().unwrap_or(0))
    }

    fn note_attempt(&self, _endpoint: &str, attempt: &Attempt) {
        self.inner.lock().unwrap().attempts.push(attempt.clone());
    }
}

#[async_trait]
impl Notary for Memory {
    async fn disabled(&self, notice: Disabled) -> Result<(), String> {
        {
            let mut kept = self.inner.lock().unwrap();
            if kept.mute > 0 {
                kept.mute -= 1;
                return Err("the disk is full".into());
            }
        }
        let details = Attributes::from([
            ("webhook".to_owned(), Value::from(notice.webhook)),
            ("since".to_owned(), Value::from(notice.since.to_string())),
            ("reason".to_owned(), Value::from(notice.reason)),
            ("seq".to_owned(), Value::from(notice.seq)),
        ]);
        self.append_to("", EventKind::WebhookDisabled, Payload::Directory { details });
        Ok(())
    }
}

/// What the receiver does with one delivery.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Accept(u16),
    /// Answers so, and forgets what was delivered.
    Refuse(u16, Option<&'static str>),
    /// Accepts it and never says so.
    AcceptInSilence,
    /// Accepts it and says so when the gate is open.
    AcceptAtTheGate,
}

/// Sees the body.
type Script = Box<dyn FnMut(&Json) -> Act + Send>;

/// What a receiver collected.
#[derive(Clone)]
struct Receiver {
    ledger: Arc<Mutex<Ledger>>,
    address: SocketAddr,
    open: watch::Sender<bool>,
    _serving: Arc<Task<()>>,
}

struct Ledger {
    script: Script,
    /// In the order of their acceptance, with repeats.
    accepted: Vec<(String, Vec<u8>)>,
    attempts: usize,
    redirected: usize,
}

impl Receiver {
    async fn start() -> Receiver {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ledger = Arc::new(Mutex::new(Ledger {
            script: Box::new(|_| Act::Accept(204)),
            accepted: Vec::new(),
            attempts: 0,
            redirected: 0,
        }));
        let open = watch::Sender::new(false);
        let gate = open.clone();
        let app = Router::new()
            .route("/hook", post(move |ledger, headers, body| take(ledger, headers, body, gate)))
            .route("/elsewhere", post(redirected).get(redirected))
            .with_state(Arc::clone(&ledger));
        let serving = task::spawn("receiver", async { axum::serve(listener, app).await.unwrap() });
        Receiver { ledger, address, open, _serving: Arc::new(serving) }
    }

    fn act(&self, mut script: impl FnMut() -> Act + Send + 'static) {
        self.act_on(move |_| script());
    }

    fn act_on(&self, script: impl FnMut(&Json) -> Act + Send + 'static) {
        self.ledger.lock().unwrap().script = Box::new(script);
    }

    fn attempts(&self) -> usize {
        self.ledger.lock().unwrap().attempts
    }

    /// Bodies by first acceptance. Checks that an id never has two bodies.
    fn bodies(&self) -> Vec<Json> {
        let ledger = self.ledger.lock().unwrap();
        let mut known: BTreeMap<&str, &[u8]> = BTreeMap::new();
        let mut bodies = Vec::new();
        for (id, body) in &ledger.accepted {
            match known.insert(id, body) {
                Some(before) => assert_eq!(before, body, "{id} has two bodies"),
                None => bodies.push(serde_json::from_slice(body).unwrap()),
            }
        }
        bodies
    }

    fn seqs(&self) -> Vec<u64> {
        self.bodies().iter().map(|body| body["seq"].as_u64().unwrap()).collect()
    }

    /// The seqs of all deliveries, with repeats, in the order of acceptance.
    fn told(&self) -> Vec<u64> {
        let ledger = self.ledger.lock().unwrap();
        let seq = |(_, body): &(String, Vec<u8>)| {
            serde_json::from_slice::<Json>(body).unwrap()["seq"].as_u64().unwrap()
        };
        ledger.accepted.iter().map(seq).collect()
    }

    fn config(&self, name: &str, more: &str) -> WebhookConfig {
        let url = format!("http://{}/hook?token=classified", self.address);
        config(name, &url, &format!("allow_private = true\n{more}"))
    }
}

async fn redirected(extract::State(ledger): extract::State<Arc<Mutex<Ledger>>>) {
    ledger.lock().unwrap().redirected += 1;
}

async fn take(
    extract::State(ledger): extract::State<Arc<Mutex<Ledger>>>,
    headers: HeaderMap,
    body: Bytes,
    gate: watch::Sender<bool>,
) -> Response {
    let act = {
        let mut ledger = ledger.lock().unwrap();
        ledger.attempts += 1;
        standardwebhooks::Webhook::new(SECRET).unwrap().verify(&body, &headers).unwrap();
        let act = (ledger.script)(&serde_json::from_slice(&body).unwrap());
        if !matches!(act, Act::Refuse(..)) {
            let id = headers["webhook-id"].to_str().unwrap().to_owned();
            ledger.accepted.push((id, body.to_vec()));
        }
        act
    };
    let status = match act {
        Act::Accept(status) | Act::Refuse(status, None) => status,
        Act::Refuse(status, Some(retry_after)) => {
            let status = StatusCode::from_u16(status).unwrap();
            return (status, [(header::RETRY_AFTER, retry_after)]).into_response();
        }
        Act::AcceptInSilence => std::future::pending().await,
        Act::AcceptAtTheGate => {
            gate.subscribe().wait_for(|open| *open).await.unwrap();
            204
        }
    };
    let location = [(header::LOCATION, "/elsewhere")];
    (StatusCode::from_u16(status).unwrap(), location, "thank you").into_response()
}

fn config(name: &str, url: &str, more: &str) -> WebhookConfig {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), SECRET).unwrap();
    let schedule = match more.contains("retry_schedule") {
        true => "",
        false => "retry_schedule = [\"1ms\", \"5ms\"]",
    };
    let text = format!(
        "[webhook.{name}]\nurl = \"{url}\"\nsecret = {{ file = {:?} }}\n{schedule}\n{more}\n",
        secret.path()
    );
    let config = section::read_text(&text, |root| {
        let (_, mut section) = root.sections("webhook").pop()?;
        WebhookConfig::read(&mut section)
    });
    config.unwrap_or_else(|report| panic!("{report}"))
}

fn run(config: WebhookConfig, memory: &Memory, statuses: &Arc<Statuses>) -> (Task, Trigger) {
    run_with(config, memory, statuses, &Controls::default())
}

fn run_with(
    config: WebhookConfig,
    memory: &Memory,
    statuses: &Arc<Statuses>,
    controls: &Controls,
) -> (Task, Trigger) {
    let (trigger, shutdown) = shutdown();
    let (statuses, seq) = (Arc::clone(statuses), memory.seq.subscribe());
    let room = (memory.clone(), Arc::new(memory.clone()) as Arc<dyn Notary>);
    (start(config, room, seq, statuses, controls, shutdown).unwrap(), trigger)
}

/// Ends it in good order.
async fn stop((task, trigger): (Task, Trigger)) {
    trigger.fire();
    task.join().await.unwrap();
}

fn status(statuses: &Statuses, memory: &Memory, name: &str) -> EndpointStatus {
    let all = statuses.snapshot(memory.last_seq());
    all.into_iter().find(|status| status.name == name).unwrap()
}

fn user(number: usize) -> User {
    User { id: format!("u{number}"), username: format!("user{number}"), ..User::default() }
}

fn group(number: usize) -> Group {
    Group { id: format!("g{number}"), name: format!("Group {number}"), ..Group::default() }
}
