//! No descriptors left, and twenty thousand clients at once.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use serde_json::Value;

use super::{
    Crew, PATIENCE, assert_nothing_lost, check, crew, lines, wait_for_crew, wait_for_log,
    wait_healthy,
};
use crate::harness::daemon::Daemon;
use crate::harness::process::Process;
use crate::harness::{http, wait_until};

const QUESTION: &str = "/v1/check?user=u0&group=crew";

/// What the process may open from now on.
fn allow(daemon: &Daemon, descriptors: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit { current: Some(descriptors), maximum };
    prlimit(Some(daemon.pid()), Resource::Nofile, limit).expect("one's own child");
}

/// A limit that leaves so many descriptors below it free.
fn all_but(daemon: &Daemon, free: u64) -> u64 {
    let folder = format!("/proc/{}/fd", daemon.pid().as_raw_pid());
    let names = std::fs::read_dir(folder).expect("one's own child");
    let number = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.expect("readable").file_name().to_string_lossy().parse::<u64>().expect("a number")
    };
    let open: BTreeSet<u64> = names.map(number).collect();
    let mut left = (0..).filter(|number| !open.contains(number));
    left.nth(usize::try_from(free).expect("few")).expect("there are more")
}

fn connect(daemon: &Daemon) -> UnixStream {
    let stream = UnixStream::connect(daemon.socket()).expect("the queue has room");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream
}

/// Asks on a connection that stays open.
fn ask(stream: &mut UnixStream, path: &str) -> Value {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it is open");
    http::read(&mut BufReader::new(stream)).expect("an answer").json()
}

#[test]
fn without_descriptors_polls_fail_with_a_reason_and_recover() {
    let mut daemon = Daemon::prepare("");
    let mut people = Crew::new(&daemon, 5);
    daemon.configure(&people.block());
    daemon.resume();
    daemon.wait_ready();
    let mut open = connect(&daemon);
    assert_eq!(ask(&mut open, QUESTION)["member"], true);
    allow(&daemon, 3);
    people.join("late");
    let status = wait_until("a poll to fail", PATIENCE, || {
        let status = ask(&mut open, "/v1/directories/corp");
        if status["state"] == "failing" { Ok(status) } else { Err(status.to_string()) }
    });
    let error = status["last_error"].as_str().expect("a failure has a reason");
    assert!(error.contains("Too many open files"), "{error}");
    assert!(error.contains("crew.json"), "it does not say what: {error}");
    println!("{error}");
    assert_eq!(ask(&mut open, QUESTION)["member"], true);
    // Whoever comes now waits in the queue until there is a descriptor.
    let mut waiting = connect(&daemon);
    wait_for_log(&daemon, "cannot accept a connection to the query socket");
    allow(&daemon, 1024);
    assert_eq!(ask(&mut waiting, QUESTION)["member"], true);
    wait_for_crew(&daemon, &people.names());
    wait_healthy(&daemon);
    assert_nothing_lost(&daemon);
}

#[test]
fn without_descriptors_clients_take_turns() {
    let mut daemon = Daemon::prepare("");
    let people = Crew::new(&daemon, 5);
    daemon.configure(&people.block());
    daemon.resume();
    daemon.wait_ready();
    allow(&daemon, all_but(&daemon, 6));
    // Nobody hangs up; those that wait longest make room.
    let mut crowd = Vec::new();
    for _ in 0..60 {
        let mut stream = connect(&daemon);
        assert_eq!(ask(&mut stream, QUESTION)["member"], true);
        crowd.push(stream);
    }
    let told = lines(&daemon, &["cannot accept a connection"]);
    print!("{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    drop(crowd);
    allow(&daemon, 1024);
    wait_for_crew(&daemon, &people.names());
    wait_healthy(&daemon);
}

/// Connects so many times, asks on each, says so, and holds them until its
/// standard input ends.
const CROWD: &str = "
import socket, sys, resource
path, count = sys.argv[1], int(sys.argv[2])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
question = b'GET /v1/check?user=u0&group=crew HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n'
held, answered = [], 0
for number in range(count):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    s.connect(path)
    if number % 2:
        s.sendall(question)
        answered += b'\"member\":true' in s.recv(4096)
    held.append(s)
print(len(held), answered, flush=True)
sys.stdin.read()
";

struct Crowd {
    process: Process,
}

impl Crowd {
    fn start(daemon: &Daemon, count: usize) -> Crowd {
        let socket = daemon.socket().display().to_string();
        let process = Process::start("python3", |command| {
            command.args(["-c", CROWD, &socket, &count.to_string()]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        });
        Crowd { process }
    }

    /// How many connections it holds, and how many questions were answered.
    fn wait(&mut self) -> (usize, usize) {
        let output = self.process.child().stdout.as_mut().expect("a pipe");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("it says something");
        let mut numbers = line.trim().split(' ').map(|word| word.parse().expect("a number"));
        (numbers.next().expect("a number"), numbers.next().expect("a number"))
    }
}

fn resident(daemon: &Daemon) -> u64 {
    let path = format!("/proc/{}/status", daemon.pid().as_raw_pid());
    let text = std::fs::read_to_string(path).expect("one's own child");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn open_connections(daemon: &Daemon) -> u64 {
    let text = daemon.request("GET", "/metrics", None).text();
    let line = text.lines().find(|line| line.starts_with("rosterd_connections_open "));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

/// As many stay open as there are descriptors for; a crowd beyond that costs
/// the longest idle ones their connection, and nobody an answer.
#[test]
fn twenty_thousand_clients_are_answered() {
    const MANY: usize = 20_000;
    let mut daemon = Daemon::prepare("");
    let people = Crew::new(&daemon, 5);
    daemon.configure(&format!("query.connections_max = 30000\n{}", people.block()));
    daemon.resume();
    daemon.wait_ready();
    let before = resident(&daemon);
    // No process holds more than its limit, not even this one.
    let mut crowds: Vec<Crowd> = (0..4).map(|_| Crowd::start(&daemon, MANY / 4)).collect();
    for crowd in &mut crowds {
        assert_eq!(crowd.wait(), (MANY / 4, MANY / 8), "{}", daemon.log());
        assert_eq!(check(&daemon, "").json()["member"], true);
    }
    let allowed = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let (open, most) = (open_connections(&daemon), (MANY as u64).min(allowed - 256));
    assert!(open + 8 >= most, "{open} of {most} are open");
    let each = (resident(&daemon) - before) * 1024 / open;
    println!("{open} connections are open, {each} bytes of memory each");
    assert_eq!(crew(&daemon), people.names());
    wait_healthy(&daemon);
    drop(crowds);
    wait_until("the connections to be gone", Duration::from_secs(60), || {
        let open = open_connections(&daemon);
        if open <= 2 { Ok(()) } else { Err(format!("{open} are open")) }
    });
    assert_eq!(check(&daemon, "").json()["member"], true);
}
