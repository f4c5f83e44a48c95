//! Measures the way from a commit to receivers on this host, beside the same
//! HTTP client posting the same bodies to the same receiver without rosterd,
//! and what a dead endpoint costs the others.
//!
//! `cargo bench --bench webhooks -- [EVENTS COMMITS ROUNDS]`
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock and owns its runtime")]

#[expect(dead_code, reason = "each bench uses its part")]
mod common;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use common::{Size, cpu};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rosterd::config::section;
use rosterd::model::{Change, Commit, Put};
use rosterd::store::{Options, Store, record};
use rosterd::sync::ledger::Ledger;
use rosterd::task::{self, Task, Trigger};
use rosterd::tls::{Trust, client_config};
use rosterd::webhook::{self, Controls, Disabled, Notary, Statuses, WebhookConfig};
use rosterd::wire::EventBody;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// Between two small commits.
const TICK: Duration = Duration::from_millis(25);

const MANY: usize = 50;

/// Ways to configure an endpoint.
const MANNERS: [(&str, &str); 3] = [
    ("rosterd", ""),
    ("rosterd, per_user", "ordering = \"per_user\"\nconcurrency = 4"),
    ("rosterd, batch_max 100", "batch_max = 100"),
];

fn main() {
    let [events, commits, rounds] = arguments([5_000, 200, 3]);
    let receiver = Receiver::start();
    for endpoints in [1, MANY] {
        throughput(&receiver, endpoints, events, rounds);
    }
    for endpoints in [1, MANY] {
        steady(&receiver, endpoints, commits, rounds);
    }
    beside_the_dead(&receiver, commits, rounds);
}

fn arguments(default: [usize; 3]) -> [usize; 3] {
    let mut given = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    default.map(|number| given.next().unwrap_or(number))
}

/// One commit of many events, until everybody has all of them.
fn throughput(receiver: &Receiver, endpoints: usize, events: usize, rounds: usize) {
    println!("one commit of {events} events to {endpoints} endpoint(s)");
    let bodies = bodies(events);
    let mut runs = vec![("bare client", Vec::new())];
    runs.extend(MANNERS.map(|(name, _)| (name, Vec::new())));
    for _ in 0..rounds {
        runs[0].1.push(measured(|| {
            let bare = Bare::start(receiver, endpoints);
            receiver.clear();
            let started = Instant::now();
            bodies.iter().for_each(|body| bare.post(body));
            receiver.wait_for(endpoints * events);
            started.elapsed()
        }));
        for (run, (_, manner)) in runs[1..].iter_mut().zip(MANNERS) {
            run.1.push(measured(|| {
                let rosterd = Rosterd::start(receiver.urls(endpoints), manner);
                receiver.clear();
                let started = rosterd.commit(&creations(events));
                receiver.wait_for(endpoints * events);
                started.elapsed()
            }));
        }
    }
    for (name, mut times) in runs {
        times.sort_unstable();
        let (wall, cpu) = times[times.len() / 2];
        let rate = (endpoints * events) as f64 / wall.as_secs_f64();
        println!(
            "  {name:<24} {:>8.2} s  {rate:>8.0} events/s  {:>6.2} s CPU",
            wall.as_secs_f64(),
            cpu.as_secs_f64()
        );
    }
    println!();
}

/// With the CPU time of all of it.
fn measured(work: impl FnOnce() -> Duration) -> (Duration, Duration) {
    let before = cpu();
    let wall = work();
    (wall, cpu().saturating_sub(before))
}

/// Small commits, one each tick.
fn steady(receiver: &Receiver, endpoints: usize, commits: usize, rounds: usize) {
    println!("a commit of one event each {TICK:?} to {endpoints} endpoint(s), to its receipt");
    let bodies = bodies(commits);
    let mut bare = Vec::new();
    let mut ours = vec![Vec::new(); MANNERS.len()];
    for _ in 0..rounds {
        bare.extend(bare_latencies(receiver, endpoints, &bodies));
        for (times, (_, manner)) in ours.iter_mut().zip(MANNERS) {
            times.extend(latencies(receiver, receiver.urls(endpoints), manner, commits));
        }
    }
    print_latencies("bare client", &mut bare);
    for ((name, _), times) in MANNERS.iter().zip(&mut ours) {
        print_latencies(name, times);
    }
    println!();
}

/// The same with one endpoint of fifty that is dead; of the others.
fn beside_the_dead(receiver: &Receiver, commits: usize, rounds: usize) {
    println!("the same to {} endpoints, beside one that", MANY - 1);
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let refused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let url = |listener: &TcpListener| {
        format!("http://{}/", listener.local_addr().expect("a bound socket has an address"))
    };
    let neighbours = [
        ("is alive", receiver.url(MANY - 1)),
        ("never answers", url(&silent)),
        ("refuses connections", url(&refused)),
    ];
    drop(refused);
    let mut times = vec![Vec::new(); neighbours.len()];
    for _ in 0..rounds {
        for ((_, neighbour), times) in neighbours.iter().zip(&mut times) {
            let mut urls = receiver.urls(MANY - 1);
            urls.push(neighbour.clone());
            times.extend(latencies(receiver, urls, "", commits));
        }
    }
    for ((name, _), times) in neighbours.iter().zip(&mut times) {
        print_latencies(name, times);
    }
}

/// From the return of each commit to each of its receipts, but for those of
/// the fiftieth endpoint.
fn latencies(
    receiver: &Receiver,
    urls: Vec<String>,
    manner: &str,
    commits: usize,
) -> Vec<Duration> {
    let endpoints = urls.len().min(MANY - 1);
    let rosterd = Rosterd::start(urls, manner);
    receiver.clear();
    rosterd.commit(&creations(1));
    receiver.wait_for_all_of(endpoints, 1);
    receiver.clear();
    let mut returned = HashMap::new();
    let mut next = Instant::now();
    for n in 0..commits {
        next += TICK;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        let at = rosterd.commit(&update(n));
        returned.insert(n as u64 + 2, at);
    }
    receiver.wait_for_all_of(endpoints, commits);
    receiver.since(&returned)
}

fn bare_latencies(receiver: &Receiver, endpoints: usize, bodies: &[Bytes]) -> Vec<Duration> {
    let bare = Bare::start(receiver, endpoints);
    receiver.clear();
    bare.post(&bodies[0]);
    receiver.wait_for(endpoints);
    receiver.clear();
    let mut sent = HashMap::new();
    let mut next = Instant::now();
    for (body, seq) in bodies.iter().zip(1..) {
        next += TICK;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        sent.insert(seq, Instant::now());
        bare.post(body);
    }
    receiver.wait_for(endpoints * bodies.len());
    receiver.since(&sent)
}

fn print_latencies(name: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 1000).min(times.len() - 1)];
    println!(
        "  {name:<24} p50 {:>9.2?}  p99 {:>9.2?}  p99.9 {:>9.2?}  {} receipts",
        at(500),
        at(990),
        at(999),
        times.len()
    );
}

/// The daemon's own parts: a store, its ledger, and endpoints that follow it.
struct Rosterd {
    runtime: Runtime,
    ledger: Ledger,
    running: Vec<(Task, Trigger)>,
    _folder: tempfile::TempDir,
}

impl Rosterd {
    fn start(urls: Vec<String>, manner: &str) -> Rosterd {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (store, _) = Store::open(&folder.path().join("state"), Options::default())
            .expect("a new store opens");
        let ledger = Ledger::open(store).expect("it loads");
        let runtime = runtime();
        let (statuses, controls) = (Arc::new(Statuses::default()), Controls::default());
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("it is written");
        let context = runtime.enter();
        let start = |(n, url): (usize, &String)| {
            let text = format!(
                "[webhook.w{n}]\nurl = \"{url}\"\nsecret = {{ file = {secret:?} }}\n\
                 allow_private = true\n{manner}\n"
            );
            let config = section::read_text(&text, |root| {
                let (_, mut section) = root.sections("webhook").pop()?;
                WebhookConfig::read(&mut section)
            });
            let (trigger, shutdown) = task::shutdown();
            let (store, seq) = (ledger.store().clone(), ledger.view().subscribe());
            let journal = (store, Arc::new(Nobody) as Arc<dyn Notary>);
            let config = config.unwrap_or_else(|report| panic!("{report}"));
            let task = webhook::start(config, journal, seq, statuses.clone(), &controls, shutdown);
            (task.expect("it starts"), trigger)
        };
        let running = urls.iter().enumerate().map(start).collect();
        drop(context);
        Rosterd { runtime, ledger, running, _folder: folder }
    }

    /// When it returned.
    fn commit(&self, commit: &Commit) -> Instant {
        let generation = self.ledger.generation();
        let done = self.ledger.commit(commit.clone(), generation);
        self.runtime.block_on(done).expect("it commits");
        Instant::now()
    }
}

impl Drop for Rosterd {
    fn drop(&mut self) {
        for (_, trigger) in &self.running {
            trigger.fire();
        }
        let running = std::mem::take(&mut self.running);
        self.runtime.block_on(async {
            for (task, _) in running {
                let _ended = task.join().await;
            }
        });
    }
}

/// Nobody is told when an endpoint is given up; none is here.
struct Nobody;

#[async_trait]
impl Notary for Nobody {
    async fn disabled(&self, _: Disabled) -> Result<(), String> {
        Ok(())
    }
}

/// One task for each endpoint that posts what it is given, one after the other.
struct Bare {
    _runtime: Runtime,
    tasks: Vec<mpsc::UnboundedSender<Bytes>>,
}

impl Bare {
    fn start(receiver: &Receiver, endpoints: usize) -> Bare {
        let runtime = runtime();
        let start = |url: String| {
            let (sender, mut bodies) = mpsc::unbounded_channel::<Bytes>();
            let tls = client_config(Trust::Nobody, None).expect("TLS that trusts nobody");
            let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy();
            let client = client.pool_max_idle_per_host(1).build().expect("a client");
            runtime.spawn(async move {
                while let Some(body) = bodies.recv().await {
                    let request = client.post(&url).header("content-type", "application/json");
                    let answer = request.body(body).send().await.expect("it answers");
                    answer.bytes().await.expect("it ends");
                }
            });
            sender
        };
        let tasks = receiver.urls(endpoints).into_iter().map(start).collect();
        Bare { _runtime: runtime, tasks }
    }

    fn post(&self, body: &Bytes) {
        for task in &self.tasks {
            task.send(body.clone()).expect("the task runs");
        }
    }
}

/// As the daemon has it.
fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().build().expect("a runtime")
}

/// Accepts everything, and notes when.
#[derive(Clone)]
struct Receiver {
    port: u16,
    receipts: Arc<(Mutex<Receipts>, Condvar)>,
}

#[derive(Default)]
struct Receipts {
    /// Endpoint and seq, once each.
    all: HashMap<(usize, u64), Instant>,
    wanted: usize,
}

impl Receiver {
    fn start() -> Receiver {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("nonblocking");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let receiver = Receiver { port, receipts: Arc::default() };
        let serving = receiver.clone();
        std::thread::spawn(move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().build().expect("a runtime");
            runtime.block_on(serving.serve(listener));
        });
        receiver
    }

    async fn serve(self, listener: TcpListener) {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        loop {
            let (stream, _) = listener.accept().await.expect("accepts");
            stream.set_nodelay(true).expect("a TCP socket");
            let receiver = self.clone();
            tokio::spawn(async move {
                let service = hyper::service::service_fn(|request: Request<Incoming>| {
                    let receiver = receiver.clone();
                    async move {
                        let endpoint = request.uri().path()[1..].parse().expect("a number");
                        let body = request.into_body().collect().await.map(|body| body.to_bytes());
                        receiver.note(endpoint, &body.unwrap_or_default());
                        let response = Response::builder().status(204);
                        Ok::<_, Infallible>(
                            response.body(Empty::<Bytes>::new()).expect("an answer"),
                        )
                    }
                });
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    fn url(&self, endpoint: usize) -> String {
        format!("http://127.0.0.1:{}/{endpoint}", self.port)
    }

    fn urls(&self, endpoints: usize) -> Vec<String> {
        (0..endpoints).map(|endpoint| self.url(endpoint)).collect()
    }

    fn note(&self, endpoint: usize, body: &[u8]) {
        let now = Instant::now();
        let (receipts, changed) = &*self.receipts;
        let mut receipts = receipts.lock().expect("nobody panics here");
        for seq in seqs(body) {
            receipts.all.entry((endpoint, seq)).or_insert(now);
        }
        if receipts.all.len() >= receipts.wanted {
            changed.notify_all();
        }
    }

    fn clear(&self) {
        self.receipts.0.lock().expect("nobody panics here").all.clear();
    }

    fn wait_for(&self, count: usize) {
        let (receipts, changed) = &*self.receipts;
        let mut receipts = receipts.lock().expect("nobody panics here");
        receipts.wanted = count;
        while receipts.all.len() < count {
            receipts = changed.wait(receipts).expect("nobody panics here");
        }
    }

    /// Until each of the first `endpoints` has so many.
    fn wait_for_all_of(&self, endpoints: usize, count: usize) {
        let (receipts, changed) = &*self.receipts;
        let mut receipts = receipts.lock().expect("nobody panics here");
        receipts.wanted = endpoints * count;
        let has = |receipts: &Receipts| {
            receipts.all.keys().filter(|(endpoint, _)| *endpoint < endpoints).count()
        };
        while receipts.all.len() < endpoints * count || has(&receipts) < endpoints * count {
            receipts = changed.wait(receipts).expect("nobody panics here");
        }
    }

    /// From the moments by seq to the receipts, but for the fiftieth endpoint.
    fn since(&self, moments: &HashMap<u64, Instant>) -> Vec<Duration> {
        let receipts = self.receipts.0.lock().expect("nobody panics here");
        let counted = receipts.all.iter().filter(|((endpoint, _), _)| *endpoint < MANY - 1);
        counted
            .filter_map(|((_, seq), at)| Some(at.saturating_duration_since(*moments.get(seq)?)))
            .collect()
    }
}

/// The seqs of the events in a body.
fn seqs(body: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let name = b"\"seq\":";
    let found = (0..body.len()).filter(move |&at| body[at] == b'"' && body[at..].starts_with(name));
    found.map(move |at| {
        let digits = body[at + name.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
    })
}

/// So many users.
fn creations(count: usize) -> Commit {
    common::first_commit(Size { users: count as u32, groups: 0, memberships: 0 })
}

/// The first user has another title.
fn update(n: usize) -> Commit {
    let mut item = common::user(0);
    item.user.title = Some(format!("Title {n}"));
    let record = record::encode_user(&item);
    Commit { changes: vec![Change::User { slot: 0, record, put: Put::Updated }], ..creations(0) }
}

/// What deliveries of these creations carry.
fn bodies(count: usize) -> Vec<Bytes> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (store, _) = Store::open(folder.path(), Options::default()).expect("a new store opens");
    store.commit(&creations(count)).expect("it commits");
    let events = store.events(0, count).expect("they are read");
    events.iter().map(|event| EventBody::from(event).to_json().into()).collect()
}
