//! Endpoints against a receiver that misbehaves, over a journal in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value as Json;

use super::*;
use crate::clock::{self, Timestamp};
use crate::config::section;
use crate::model::{Event, EventKind, Group, MemberObject, Payload, User};
use crate::task::{Trigger, shutdown};

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
    fails: bool,
}

impl Memory {
    fn new() -> Memory {
        let kept = Kept { oldest: 1, ..Kept::default() };
        Memory { inner: Arc::new(Mutex::new(kept)), seq: watch::Sender::new(0) }
    }

    fn append(&self, kind: EventKind, payload: Payload) {
        let mut kept = self.inner.lock().unwrap();
        let seq = kept.events.len() as u64 + 1;
        kept.events.push(Event {
            id: format!("evt_{seq}"),
            seq,
            kind,
            occurred_at: Timestamp(seq),
            tenant: "acme".into(),
            product: "vpn".into(),
            directory: if seq.is_multiple_of(2) { "even" } else { "odd" }.into(),
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
        self.inner.lock().unwrap().positions.insert(endpoint.to_owned(), position.clone());
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
}

type Script = Box<dyn FnMut() -> Act + Send>;

/// What a receiver collected.
#[derive(Clone)]
struct Receiver {
    ledger: Arc<Mutex<Ledger>>,
    address: SocketAddr,
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
            script: Box::new(|| Act::Accept(204)),
            accepted: Vec::new(),
            attempts: 0,
            redirected: 0,
        }));
        let app = Router::new()
            .route("/hook", post(take))
            .route("/elsewhere", post(redirected).get(redirected))
            .with_state(Arc::clone(&ledger));
        let serving = task::spawn("receiver", async { axum::serve(listener, app).await.unwrap() });
        Receiver { ledger, address, _serving: Arc::new(serving) }
    }

    fn act(&self, script: impl FnMut() -> Act + Send + 'static) {
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

    fn config(&self, name: &str, more: &str) -> WebhookConfig {
        let url = format!("http://{}/hook?token=classified", self.address);
        config(name, &url, &format!("allow_private = true\n{more}"))
    }
}

async fn redirected(State(ledger): State<Arc<Mutex<Ledger>>>) {
    ledger.lock().unwrap().redirected += 1;
}

async fn take(
    State(ledger): State<Arc<Mutex<Ledger>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let act = {
        let mut ledger = ledger.lock().unwrap();
        ledger.attempts += 1;
        standardwebhooks::Webhook::new(SECRET).unwrap().verify(&body, &headers).unwrap();
        let act = (ledger.script)();
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
    };
    let location = [(header::LOCATION, "/elsewhere")];
    (StatusCode::from_u16(status).unwrap(), location, "thank you").into_response()
}

fn config(name: &str, url: &str, more: &str) -> WebhookConfig {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), SECRET).unwrap();
    let text = format!(
        "[webhook.{name}]\nurl = \"{url}\"\nsecret = {{ file = {:?} }}\n\
         retry_schedule = [\"1ms\", \"5ms\"]\n{more}\n",
        secret.path()
    );
    let config = section::read_text(&text, |root| {
        let (_, mut section) = root.sections("webhook").pop()?;
        WebhookConfig::read(&mut section)
    });
    config.unwrap_or_else(|report| panic!("{report}"))
}

fn run(config: WebhookConfig, memory: &Memory, statuses: &Arc<Statuses>) -> (Task, Trigger) {
    let (trigger, shutdown) = shutdown();
    let (statuses, seq) = (Arc::clone(statuses), memory.seq.subscribe());
    let task =
        start(config, memory.clone(), seq, statuses, &Controls::default(), shutdown).unwrap();
    (task, trigger)
}

fn user(number: usize) -> User {
    User { id: format!("u{number}"), username: format!("user{number}"), ..User::default() }
}

fn group(number: usize) -> Group {
    Group { id: format!("g{number}"), name: format!("Group {number}"), ..Group::default() }
}

/// A directory that changes at random and says so to the journal.
struct World {
    random: fastrand::Rng,
    users: BTreeMap<usize, User>,
    members: BTreeSet<(usize, usize)>,
}

impl World {
    fn step(&mut self, memory: &Memory) {
        let number = self.random.usize(0..6);
        let Some(user) = self.users.get(&number).cloned() else {
            self.users.insert(number, user(number));
            let payload = Payload::User { user: user(number), previous: None };
            return memory.append(EventKind::UserCreated, payload);
        };
        let edge = (self.random.usize(0..3), number);
        match self.random.u8(0..4) {
            0 if !self.members.iter().any(|(_, member)| *member == number) => {
                self.users.remove(&number);
                memory.append(EventKind::UserDeleted, Payload::User { user, previous: None });
            }
            1 => {
                let new = User { title: Some(self.random.u32(..).to_string()), ..user.clone() };
                self.users.insert(number, new.clone());
                let previous = Some(crate::model::Previous(user));
                memory.append(EventKind::UserUpdated, Payload::User { user: new, previous });
            }
            _ => {
                let kind = if self.members.remove(&edge) {
                    EventKind::GroupUserRemoved
                } else {
                    self.members.insert(edge);
                    EventKind::GroupUserAdded
                };
                let member = MemberObject::User(user);
                memory.append(kind, Payload::Membership { group: group(edge.0), member });
            }
        }
    }

    /// What a receiver should know, as it would write it.
    fn told(&self) -> (BTreeMap<String, Json>, BTreeSet<(String, String)>) {
        let users = self.users.values().map(|user| {
            (user.id.clone(), serde_json::to_value(crate::wire::UserBody::from(user)).unwrap())
        });
        let members = self.members.iter();
        (users.collect(), members.map(|(g, u)| (format!("g{g}"), format!("u{u}"))).collect())
    }
}

fn fold(bodies: &[Json]) -> (BTreeMap<String, Json>, BTreeSet<(String, String)>) {
    let (mut users, mut members) = (BTreeMap::new(), BTreeSet::new());
    let id = |object: &Json| object["id"].as_str().unwrap().to_owned();
    for body in bodies {
        let data = &body["data"];
        match body["type"].as_str().unwrap() {
            "user.created" | "user.updated" => {
                users.insert(id(&data["user"]), data["user"].clone());
            }
            "user.deleted" => assert!(users.remove(&id(&data["user"])).is_some()),
            "group.user_added" => assert!(members.insert((id(&data["group"]), id(&data["user"])))),
            "group.user_removed" => {
                assert!(members.remove(&(id(&data["group"]), id(&data["user"]))));
            }
            other => panic!("{other}"),
        }
    }
    (users, members)
}

#[tokio::test]
async fn w7_the_fold_equals_the_directory_whatever_the_receiver_does() {
    for seed in 0..3 {
        let mut world = World {
            random: fastrand::Rng::with_seed(seed),
            users: BTreeMap::new(),
            members: BTreeSet::new(),
        };
        let (memory, statuses) = (Memory::new(), Arc::default());
        let receiver = Receiver::start().await;
        let mut moods = fastrand::Rng::with_seed(seed + 100);
        receiver.act(move || match moods.u8(0..20) {
            0..=2 => Act::Refuse(500, None),
            3 => Act::Refuse(503, Some("0")),
            4 => Act::Refuse(302, None),
            5 if moods.u8(0..6) == 0 => Act::AcceptInSilence,
            6 => Act::Accept(200),
            _ => Act::Accept(204),
        });
        let mut config = receiver.config("audit", "");
        config.timeout = Duration::from_millis(100);
        let mut seen = 0;
        for _restart in 0..4 {
            let running = run(config.clone(), &memory, &statuses);
            for _ in 0..40 {
                world.step(&memory);
            }
            // Killed somewhere in the middle, with the cursor as last stored.
            seen += 20;
            until("half of it is there", || receiver.bodies().len() >= seen).await;
            drop(running);
        }
        receiver.act(|| Act::Accept(204));
        let _running = run(config, &memory, &statuses);
        let last = memory.last_seq();
        until("all of it is there", || receiver.bodies().len() as u64 == last).await;
        assert_eq!(receiver.seqs(), (1..=last).collect::<Vec<_>>(), "w5: in order, seed {seed}");
        assert_eq!(fold(&receiver.bodies()), world.told(), "seed {seed}");
        assert_eq!(receiver.ledger.lock().unwrap().redirected, 0);
    }
}

#[tokio::test]
async fn w1_w2_a_dead_endpoint_delays_nobody_else() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let (dead, alive) = (Receiver::start().await, Receiver::start().await);
    dead.act(|| Act::Refuse(500, None));
    let _dead = run(dead.config("dead", ""), &memory, &statuses);
    let _alive = run(alive.config("alive", ""), &memory, &statuses);
    memory.append_users(50);
    until("the living one has it all", || alive.bodies().len() == 50).await;
    until("the dead one was tried again", || dead.attempts() > 2).await;
    assert!(dead.bodies().is_empty());
    let status = |name: &str| {
        let all = statuses.snapshot(memory.last_seq());
        all.into_iter().find(|status| status.name == name).unwrap()
    };
    until("the statuses say so", || status("alive").backlog == 0).await;
    let status = status("dead");
    assert_eq!((status.backlog, status.last_delivered_seq), (50, 0));
    assert!(status.consecutive_failures > 1 && status.next_attempt_at.is_some());
    assert_eq!(status.last_error.as_deref(), Some("it answers 500 Internal Server Error"));
    assert!(!format!("{status:?}").contains("classified"));
}

#[tokio::test]
async fn w3_a_204_is_not_sent_again() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let receiver = Receiver::start().await;
    let (task, trigger) = run(receiver.config("audit", ""), &memory, &statuses);
    memory.append_users(3);
    until("all is there", || memory.stored_seq("audit") == Some(3)).await;
    trigger.fire();
    task.join().await.unwrap();
    assert_eq!(receiver.attempts(), 3);
}

#[tokio::test]
async fn filters_skip_without_losing_the_place() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let receiver = Receiver::start().await;
    let more = "events = [\"user.*\"]\ndirectories = [\"even\"]";
    let (task, trigger) = run(receiver.config("audit", more), &memory, &statuses);
    memory.append_users(9);
    until("the cursor is at the end", || memory.stored_seq("audit") == Some(9)).await;
    assert_eq!(receiver.seqs(), [2, 4, 6, 8]);
    trigger.fire();
    task.join().await.unwrap();
    let _again = run(receiver.config("audit", more), &memory, &statuses);
    memory.append_users(1);
    until("the next one is there", || receiver.seqs() == [2, 4, 6, 8, 10]).await;
    assert_eq!(receiver.attempts(), 5);
}

#[tokio::test]
async fn what_the_journal_dropped_is_counted_and_passed_over() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let receiver = Receiver::start().await;
    memory.append_users(10);
    memory.set_position("audit", &Position { seq: 2, ..Position::default() }).unwrap();
    memory.inner.lock().unwrap().oldest = 6;
    let _late = run(receiver.config("audit", ""), &memory, &statuses);
    let _new = run(receiver.config("new", ""), &memory, &statuses);
    until("both are at the end", || receiver.ledger.lock().unwrap().accepted.len() == 10).await;
    assert_eq!(receiver.seqs(), [6, 7, 8, 9, 10]);
    let lost: Vec<u64> = statuses.snapshot(10).iter().map(|status| status.lost_total).collect();
    assert_eq!(lost, [3, 0]);
}

#[tokio::test]
async fn shutdown_stores_the_cursor_and_does_not_wait_for_the_dead() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let receiver = Receiver::start().await;
    let mut config = receiver.config("audit", "");
    config.retry_schedule = vec![Duration::from_secs(3600)];
    let mut answers = [Act::Accept(200), Act::Accept(200), Act::Refuse(410, None)].into_iter();
    receiver.act(move || answers.next().unwrap_or(Act::Accept(204)));
    let (task, trigger) = run(config.clone(), &memory, &statuses);
    memory.append_users(3);
    until("the third was refused", || receiver.attempts() == 3).await;
    trigger.fire();
    task.join().await.unwrap();
    let position = memory.position("audit").unwrap().unwrap();
    assert_eq!((position.seq, position.failures), (2, 1));
    // A new start does not wait for what is left of the hour.
    let _again = run(config, &memory, &statuses);
    until("the third is there", || receiver.seqs() == [1, 2, 3]).await;
    assert_eq!(receiver.attempts(), 4);
}

#[tokio::test]
async fn w8_a_destination_on_this_host_is_refused_unless_allowed() {
    let receiver = Receiver::start().await;
    let config = WebhookConfig { reach: address::Reach::Public, ..receiver.config("audit", "") };
    let error = client::Client::new(&config).err().unwrap();
    assert!(error.contains("allow_private") && !error.contains("classified"), "{error}");
    // By name: refused when the name is resolved, at every attempt.
    let mut by_name = config.clone();
    by_name.url.set_host(Some("localhost")).unwrap();
    let client = client::Client::new(&by_name).unwrap();
    let outcome = client.send("evt_1", b"{}".to_vec(), clock::now()).await;
    let client::Outcome::Failed { reason, .. } = outcome else { panic!("it was sent") };
    assert!(reason.contains("private network") && !reason.contains("classified"), "{reason}");
    assert_eq!(receiver.attempts(), 0);
}

#[tokio::test]
async fn tls_trusts_the_given_authority_and_no_other() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let _serving = task::spawn("TLS receiver", async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _read = stream.read(&mut [0; 4096]).await;
            let _written = stream.write_all(b"HTTP/1.1 204 x\r\nconnection: close\r\n\r\n").await;
        }
    });
    let mut config = config("audit", &url, "allow_private = true");
    config.ca = Some(made.cert.pem().into_bytes());
    let send = async |config: &WebhookConfig| {
        let client = client::Client::new(config).unwrap();
        client.send("evt_1", b"{}".to_vec(), clock::now()).await
    };
    assert_eq!(send(&config).await, client::Outcome::Accepted);
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    config.ca = Some(other.cert.pem().into_bytes());
    let client::Outcome::Failed { reason, .. } = send(&config).await else { panic!("trusted") };
    assert!(reason.contains("certificate"), "{reason}");
    config.ca = Some(b"none".to_vec());
    assert!(client::Client::new(&config).is_err());
}

#[tokio::test]
async fn a_store_that_fails_shows_in_the_status() {
    let (memory, statuses) = (Memory::new(), Arc::default());
    let receiver = Receiver::start().await;
    memory.inner.lock().unwrap().fails = true;
    let (task, trigger) = run(receiver.config("audit", ""), &memory, &statuses);
    let shown = || statuses.snapshot(0).first().and_then(|status| status.last_error.clone());
    until("the status shows it", || shown().as_deref() == Some("the disk is gone")).await;
    trigger.fire();
    task.join().await.unwrap();
}
