//! Clients that are slow, hostile or many, on a real socket.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fixture::{World, user, world, world_of};
use crate::clock;
use crate::index::{DirectoryView, View};
use crate::query::config::QueryConfig;
use crate::query::listener::Listeners;
use crate::query::server::{Limits, Running, start};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);
pub const CHECK: &str = "GET /v1/check?user=u1&group=g1 HTTP/1.1\r\nhost: x\r\n\r\n";

pub struct Served {
    pub world: World,
    running: Running,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

/// Serves a world with little patience.
pub fn serve(world: World, connections_max: usize) -> Served {
    let short = Duration::from_millis(200);
    let tick = Duration::from_millis(20);
    let limits = Limits { connections_max, head: short, stall: short, tick, ..Limits::default() };
    serve_with(world, limits)
}

pub fn serve_with(world: World, limits: Limits) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("q.sock");
    let config = QueryConfig { socket: path.clone(), ..QueryConfig::default() };
    let listeners = Listeners::take(&config).unwrap();
    let shutdown = world.sources.shutdown.clone();
    let running = start(listeners, world.sources.clone(), limits, shutdown).unwrap();
    Served { world, running, path, _folder: folder }
}

impl Served {
    /// Waits for its end.
    pub fn ended(self) {
        self.running.join().unwrap();
        assert!(!self.path.exists());
    }

    pub fn connect(&self) -> UnixStream {
        connect(&self.path)
    }

    /// Asks on a connection of its own.
    fn ask(&self, request: &str) -> String {
        let mut stream = self.connect();
        exchange(&mut stream, request)
    }

    pub fn metric(&self, line_start: &str) -> u64 {
        let text = self.ask("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
        let line = text.lines().find(|line| line.starts_with(line_start));
        line.and_then(|line| line.rsplit(' ').next()?.trim().parse().ok()).unwrap_or(0)
    }

    pub fn wait_for_metric(&self, line_start: &str, enough: u64) {
        let deadline = clock::instant() + PATIENCE;
        while self.metric(line_start) < enough {
            assert!(clock::instant() < deadline, "{line_start} never reached {enough}");
            std::thread::yield_now();
        }
    }
}

fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends a request and reads one answer with a stated length.
pub fn exchange(stream: &mut UnixStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    read_answer(stream)
}

fn read_answer(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    let mut one = [0_u8; 1];
    while !bytes.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut one).unwrap();
        assert_eq!(count, 1, "closed within a head: {}", String::from_utf8_lossy(&bytes));
        bytes.push(one[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

/// Reads until the daemon closes; a reset is closing too.
pub fn read_to_end(stream: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => bytes,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => bytes,
        Err(error) => panic!("not closed: {error}"),
    }
}

#[test]
fn a_connection_serves_many_requests_also_pipelined() {
    let served = serve(world(), 16);
    let mut stream = served.connect();
    for _ in 0..3 {
        let answer = exchange(&mut stream, CHECK);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
        assert!(answer.contains("{\"member\":true,\"seq\":10,\"directory\":\"corp\""), "{answer}");
    }
    stream.write_all(CHECK.repeat(20).as_bytes()).unwrap();
    for _ in 0..20 {
        assert!(read_answer(&mut stream).contains("\"member\":true"));
    }
    let last =
        exchange(&mut stream, "GET /v1/users HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert!(last.contains("\"total\":4"), "{last}");
    assert!(read_to_end(&mut stream).is_empty());
    assert_eq!(served.metric("rosterd_requests_total{route=\"/v1/check\",code=\"200\"}"), 23);
}

#[test]
fn half_a_request_is_closed_and_blocks_nobody() {
    let served = serve(world(), 16);
    let mut half = served.connect();
    half.write_all(&CHECK.as_bytes()[..20]).unwrap();
    assert!(served.ask(CHECK).contains("\"member\":true"));
    assert!(read_to_end(&mut half).is_empty());
    served.wait_for_metric("rosterd_connections_closed_by_us_total{reason=\"slow request\"}", 1);
}

#[test]
fn a_huge_head_is_refused() {
    let served = serve(world(), 16);
    let mut stream = served.connect();
    let head = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    // The daemon may close before all of it is written.
    let _ = stream.write_all(head.as_bytes());
    let answer = String::from_utf8(read_to_end(&mut stream)).unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let mut garbage = served.connect();
    garbage.write_all(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n").unwrap();
    let answer = String::from_utf8(read_to_end(&mut garbage)).unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(served.ask(CHECK).contains("\"member\":true"));
}

#[test]
fn a_client_that_does_not_read_is_dropped_and_costs_one_chunk() {
    let users: Vec<_> = (0..20_000).map(|n| user(n, &format!("u{n}"), "ada", "ada@x")).collect();
    let view = DirectoryView::empty("corp", "t", "p").apply(&users, 1).unwrap();
    let world = world_of(View::new([view], 20_000));
    world.confirm("corp", 1);
    let served = serve(world, 16);
    let mut deaf = served.connect();
    deaf.write_all(b"GET /v1/snapshot HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    served.wait_for_metric("rosterd_connections_closed_by_us_total{reason=\"does not read\"}", 1);
    let got = read_to_end(&mut deaf);
    assert!(!got.ends_with(b"0\r\n\r\n"), "it was sent whole");
    assert!(got.len() < 1 << 20, "{} bytes were buffered", got.len());
}

#[test]
fn ten_thousand_connections_leave_room_for_the_next() {
    let served = serve_with(world(), Limits { connections_max: 512, ..Limits::default() });
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let room = descriptors.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap());
    let many = 10_000.min(room.saturating_sub(2_000));
    assert!(many >= 1_000, "this test needs 3,000 descriptors: see `ulimit -n`");
    let mut steady = served.connect();
    let mut crowd = Vec::new();
    for number in 0..many {
        crowd.push(served.connect());
        if number % 100 == 0 {
            // The one that asks now and then is never the longest waiting.
            assert!(exchange(&mut steady, CHECK).contains("\"member\":true"));
            assert!(served.ask(CHECK).contains("\"member\":true"));
            assert!(served.metric("rosterd_connections_open") <= 512);
        }
    }
    let closed = served.metric("rosterd_connections_closed_by_us_total{reason=\"full\"}");
    assert!(closed as usize >= many - 512, "{closed}");
    assert!(read_to_end(&mut crowd[0]).is_empty());
}

#[test]
fn a_panic_is_an_answer_of_its_request_only() {
    let served = serve(world(), 16);
    let mut stream = served.connect();
    let request = "POST /v1/directories/panic/sync HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer = exchange(&mut stream, request);
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(answer.contains("urn:rosterd:internal"), "{answer}");
    assert!(exchange(&mut stream, CHECK).contains("\"member\":true"));
}

#[test]
fn at_shutdown_answers_under_way_end_and_others_are_closed() {
    let served = serve(world(), 16);
    let mut idle = served.connect();
    assert!(exchange(&mut idle, CHECK).contains("\"member\":true"));
    let mut waiting = served.connect();
    waiting.write_all(b"GET /v1/events?after=10&wait=60s HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut watching = served.connect();
    let accept = "accept: text/event-stream";
    let request = format!("GET /v1/events?after=10 HTTP/1.1\r\nhost: x\r\n{accept}\r\n\r\n");
    watching.write_all(request.as_bytes()).unwrap();
    let mut first = [0_u8; 15];
    watching.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    served.wait_for_metric("rosterd_connections_open", 3);
    served.world.trigger.fire();
    assert!(read_to_end(&mut idle).is_empty());
    let answer = String::from_utf8(read_to_end(&mut waiting)).unwrap();
    assert!(answer.is_empty() || answer.contains("\"events\":[]"), "{answer}");
    assert!(read_to_end(&mut watching).ends_with(b"0\r\n\r\n"));
    served.ended();
}
