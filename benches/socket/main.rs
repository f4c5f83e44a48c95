//! Measures checks over the socket beside a bare hyper responder on the same
//! kind of socket, in the same run, with the same client; client and servers
//! pinned to one core, so that the wake of an idle core does not hide the work.
//!
//! Then 64 clients at a time on both cores, at rest and while 1 % is committed.
//!
//! `cargo bench --bench socket -- [USERS GROUPS MEMBERSHIPS]`; with `opa PROGRAM` or
//! `openldap` behind that, the same questions through those instead; with `only WORD`,
//! those whose title has the word, for a profiler to look at.
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock and owns its runtime")]

#[path = "../common/answer.rs"]
mod answer;
#[path = "../common/bare.rs"]
mod bare;
#[expect(dead_code, reason = "each bench uses its part")]
#[path = "../common/mod.rs"]
mod common;
mod many;
#[path = "../common/nobody.rs"]
mod nobody;
mod opa;
mod openldap;
mod questions;

use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use answer::lengths;
use bare::start_bare;
use common::Size;
use nobody::Nothing;
use questions::{Naming, batch, check, nested, pair};
use rosterd::clock;
use rosterd::index::{DirectoryView, SharedView, View};
use rosterd::query::{Limits, Listeners, QueryConfig, SharedPolicies, Sources, start};
use rosterd::store::{Options, Store};
use rosterd::sync::status::{DirectoryStatus, Statuses};
use rosterd::task;

const ROUNDS: usize = 6;
const REQUESTS_A_ROUND: usize = 20_000;

fn main() {
    let size =
        Size::from_arguments(Size { users: 100_000, groups: 10_000, memberships: 1_000_000 });
    println!("{size}");
    let folder = Folder::new();
    if std::env::args().any(|word| word == "openldap") {
        return openldap::run(size, &folder.0);
    }
    pin_to_one_core();
    let view = view(size);
    println!("{} memberships in the view\n", view.membership_count());
    in_process(&view, size);
    let (trigger, shutdown) = task::shutdown();
    let rosterd = folder.0.join("rosterd.sock");
    let config = QueryConfig { socket: rosterd.clone(), ..QueryConfig::default() };
    let listeners = Listeners::take(&config).expect("the socket can be taken");
    let (store, _) =
        Store::open(&folder.0.join("store"), Options::default()).expect("the store opens");
    let sources = sources(view, store.clone(), shutdown.clone());
    let view = Arc::clone(&sources.view);
    let running =
        start(listeners, sources, Limits::default(), shutdown).expect("the server starts");
    let bare = folder.0.join("bare.sock");
    start_bare(&bare, answer_length(&rosterd, &check(size, 1, Naming::Ids)));
    match (behind("opa"), behind("only")) {
        (Some(program), _) => {
            let sockets = [("bare hyper", bare.as_path()), ("rosterd", rosterd.as_path())];
            opa::run(Path::new(&program), size, &sockets, &folder.0);
        }
        (None, Some(word)) => one_after_the_other(size, &bare, &rosterd, &word),
        (None, None) => {
            one_after_the_other(size, &bare, &rosterd, "");
            let bare = many::Server { name: "bare hyper", thread: "bare", socket: bare };
            let rosterd = many::Server { name: "rosterd", thread: "query", socket: rosterd };
            many::run(size, &[bare, rosterd], &store, &view);
        }
    }
    drop(trigger);
    running.join().expect("the server ends well");
}

/// The argument that follows this word.
fn behind(word: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != word).nth(1)
}

/// One client, pinned to one core with the servers; what has `word` in its title.
fn one_after_the_other(size: Size, bare: &Path, rosterd: &Path, word: &str) {
    let compare = |what: &str, servers: &_, requests, ask_all, request: &dyn Fn(u32) -> Vec<u8>| {
        if what.contains(word) {
            compare(what, servers, requests, ask_all, request);
        }
    };
    let servers = [("bare hyper", bare.to_owned()), ("rosterd", rosterd.to_owned())];
    let checks = |naming| move |n| check(size, n, naming);
    let each = REQUESTS_A_ROUND;
    compare("check by id, keep-alive", &servers, each, keep_alive, &checks(Naming::Ids));
    compare("check by username and name", &servers, each, keep_alive, &checks(Naming::Names));
    compare("check by email", &servers, each, keep_alive, &checks(Naming::Email));
    compare("check nested eight deep", &servers, each, keep_alive, &|n| nested(size, n));
    let by_id = checks(Naming::Ids);
    compare("check by id, one connection each", &servers, 5_000, connection_each, &by_id);
    compare("batch of 100 (for each batch)", &servers, 500, keep_alive, &|n| batch(size, n));
}

/// Runs the same requests against each server in turn, several times over.
fn compare(
    what: &str,
    servers: &[(&str, PathBuf); 2],
    requests: usize,
    ask_all: fn(&Path, &[Vec<u8>]) -> Vec<Duration>,
    request: &dyn Fn(u32) -> Vec<u8>,
) {
    let requests: Vec<Vec<u8>> = (0..requests).map(|n| request(n as u32)).collect();
    let mut rounds: [Vec<(Duration, Duration, Duration)>; 2] = Default::default();
    for _ in 0..ROUNDS {
        for ((_, socket), rounds) in servers.iter().zip(&mut rounds) {
            let started = Instant::now();
            let mut times = ask_all(socket, &requests);
            let whole = started.elapsed() / requests.len() as u32;
            times.sort_unstable();
            rounds.push((times[times.len() / 2], times[times.len() * 99 / 100], whole));
        }
    }
    println!("{what}");
    let mut medians = Vec::new();
    for ((name, _), mut rounds) in servers.iter().zip(rounds) {
        rounds.sort_unstable();
        let (p50, p99, whole) = rounds[rounds.len() / 2];
        let best = rounds[0].0;
        println!(
            "  {name:<12} p50 {p50:>9.2?}  p99 {p99:>9.2?}  best p50 {best:>9.2?}  {:>7.0}/s",
            1.0 / whole.as_secs_f64()
        );
        medians.push((p50.as_secs_f64(), p99.as_secs_f64()));
    }
    if let [bare, ours] = medians.as_slice() {
        println!("  ratio        p50 {:>8.2}×  p99 {:>8.2}×\n", ours.0 / bare.0, ours.1 / bare.1);
    }
}

fn keep_alive(socket: &Path, requests: &[Vec<u8>]) -> Vec<Duration> {
    let (mut stream, mut buffer) = (UnixStream::connect(socket).expect("connects"), buffer());
    requests.iter().map(|request| timed(|| ask(&mut stream, request, &mut buffer))).collect()
}

fn connection_each(socket: &Path, requests: &[Vec<u8>]) -> Vec<Duration> {
    let mut buffer = buffer();
    let mut once = |request: &Vec<u8>| {
        let mut stream = UnixStream::connect(socket).expect("connects");
        ask(&mut stream, request, &mut buffer)
    };
    requests.iter().map(|request| timed(|| once(request))).collect()
}

/// Room for one answer: filling it with zeros again for each would cost what a check does.
fn buffer() -> Vec<u8> {
    vec![0; 64 << 10]
}

fn timed(work: impl FnOnce() -> usize) -> Duration {
    let started = Instant::now();
    black_box(work());
    started.elapsed()
}

/// Sends a request, reads the whole answer, which must be a 200, returns the length of its body.
fn ask(stream: &mut UnixStream, request: &[u8], buffer: &mut [u8]) -> usize {
    exchange(stream, request, buffer).1
}

/// The same, returns the body.
fn answer_of(stream: &mut UnixStream, request: &[u8]) -> Vec<u8> {
    let mut buffer = buffer();
    let (head, body) = exchange(stream, request, &mut buffer);
    buffer[head..head + body].to_vec()
}

/// The lengths of head and body of the answer, which is at the beginning of the buffer.
fn exchange(stream: &mut UnixStream, request: &[u8], buffer: &mut [u8]) -> (usize, usize) {
    stream.write_all(request).expect("writes");
    let mut filled = 0;
    loop {
        filled += stream.read(&mut buffer[filled..]).expect("reads");
        if let Some((head, body)) = lengths(&buffer[..filled])
            && filled >= head + body
        {
            let is_answered = buffer.starts_with(b"HTTP/1.1 200");
            assert!(is_answered, "{}", String::from_utf8_lossy(&buffer[..filled]));
            return (head, body);
        }
    }
}

fn answer_length(socket: &Path, request: &[u8]) -> usize {
    let mut stream = UnixStream::connect(socket).expect("connects");
    ask(&mut stream, request, &mut buffer())
}

fn in_process(view: &DirectoryView, size: Size) {
    let pairs: Vec<(String, String)> = (0..20_000)
        .map(|n| pair(size, n))
        .map(|(user, group)| (common::user_id(user), common::group_id(group)))
        .collect();
    let started = Instant::now();
    let mut members = 0;
    for (user, group) in &pairs {
        let (user, group) = (view.user_by_id(user), view.group_by_id(group));
        members +=
            usize::from(user.zip(group).is_some_and(|(user, group)| view.is_member(user, group)));
    }
    let each = started.elapsed() / pairs.len() as u32;
    println!("in process: {each:.2?} a check by id, {members} of {} are members\n", pairs.len());
}

fn view(size: Size) -> DirectoryView {
    let empty = DirectoryView::empty("corp", "acme", "vpn");
    empty.apply(&common::first_commit(size).changes, 1).expect("the changes fit")
}

fn sources(view: DirectoryView, store: Store, shutdown: task::Shutdown) -> Sources {
    let statuses = Statuses::default();
    let mut status = DirectoryStatus::new("corp", "acme", "vpn");
    status.as_of = Some(clock::now());
    statuses.insert(status);
    Sources {
        view: Arc::new(SharedView::new(View::new([view], 1))),
        statuses,
        journal: Arc::new(store),
        operator: Arc::new(Nothing),
        backlog: Arc::new(Nothing),
        trail: Arc::new(Nothing),
        endpoints: Arc::new(Nothing),
        policies: SharedPolicies::default(),
        pushers: rosterd::export::opa::Pushers::default(),
        databrokers: Arc::default(),
        shutdown,
    }
}

fn pin_to_one_core() {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(0);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &cores) {
        println!("not pinned: {error}");
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let folder = std::env::temp_dir().join(format!("rosterd-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
