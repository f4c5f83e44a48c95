//! Asks one check after the other while other work goes on: over the socket, of a
//! bare hyper responder at the same moments, and of the view in process.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rosterd::index::SharedView;

use super::answer::lengths;
use super::measure::p50_p99;
use super::population::{Moment, Population};

/// Between two questions, so that asking takes little of a core.
const PAUSE: Duration = Duration::from_millis(1);

/// What was measured since the last [`Asker::take`].
#[derive(Default)]
pub struct Latencies {
    rosterd: Vec<Duration>,
    bare: Vec<Duration>,
    view: Vec<Duration>,
    /// Answers other than 200: never synced, or nobody of that id any more.
    refused: usize,
}

/// Somebody who asks until dropped.
pub struct Asker {
    latencies: Arc<Mutex<Latencies>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// Where to ask.
pub struct Sockets {
    pub rosterd: PathBuf,
    pub bare: PathBuf,
}

impl Asker {
    pub fn start(sockets: &Sockets, view: Arc<SharedView>, population: Population) -> Asker {
        let latencies = Arc::<Mutex<Latencies>>::default();
        let stop = Arc::<AtomicBool>::default();
        let mut rosterd = UnixStream::connect(&sockets.rosterd).expect("rosterd answers");
        let mut bare = UnixStream::connect(&sockets.bare).expect("the floor answers");
        let (to, until) = (latencies.clone(), stop.clone());
        let work = move || {
            let mut number = 0;
            while !until.load(Ordering::Relaxed) {
                number += 1;
                let (user, group) = question(&population, number);
                let request = check(&user, &group);
                // Who comes first finds colder caches.
                let (bare, (ours, status)) = if number.is_multiple_of(2) {
                    let (bare, _) = exchange(&mut bare, &request);
                    (bare, exchange(&mut rosterd, &request))
                } else {
                    let ours = exchange(&mut rosterd, &request);
                    (exchange(&mut bare, &request).0, ours)
                };
                let in_process = look_up(&view, &user, &group);
                let mut latencies = to.lock().unwrap_or_else(PoisonError::into_inner);
                latencies.bare.push(bare);
                latencies.rosterd.push(ours);
                latencies.view.push(in_process);
                latencies.refused += usize::from(status != 200);
                drop(latencies);
                std::thread::sleep(PAUSE);
            }
        };
        let thread = std::thread::Builder::new().name("asker".to_owned()).spawn(work);
        Asker { latencies, stop, thread: Some(thread.expect("a thread")) }
    }

    /// What was measured since the last time.
    pub fn take(&self) -> Latencies {
        std::mem::take(&mut *self.latencies.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, times) in [("socket", &self.rosterd), ("bare", &self.bare), ("view", &self.view)]
        {
            let (p50, p99) = p50_p99(&mut times.clone());
            let worst = times.iter().max().copied().unwrap_or_default();
            write!(f, "{name} p50 {p50:.1?} p99 {p99:.1?} max {worst:.1?}; ")?;
        }
        write!(f, "{} asked, {} not 200", self.rosterd.len(), self.refused)
    }
}

fn question(population: &Population, number: u32) -> (String, String) {
    let group = number.wrapping_mul(2_654_435_761) % population.groups;
    let user = number.wrapping_mul(40_503) % population.users;
    let at = Moment::default();
    (population.id_on(user, at), population.group_id(group, at))
}

fn look_up(view: &SharedView, user: &str, group: &str) -> Duration {
    let started = Instant::now();
    let view = view.load();
    let is_member = view.directory("corp").is_some_and(|directory| {
        let (user, group) = (directory.user_by_id(user), directory.group_by_id(group));
        user.zip(group).is_some_and(|(user, group)| directory.is_member(user, group))
    });
    std::hint::black_box(is_member);
    started.elapsed()
}

pub fn check(user: &str, group: &str) -> Vec<u8> {
    get(&format!("/v1/check?user={user}&group={group}"))
}

pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
}

/// How long an answer takes, and its status.
fn exchange(stream: &mut UnixStream, request: &[u8]) -> (Duration, u16) {
    let started = Instant::now();
    let (status, _) = ask(stream, request);
    (started.elapsed(), status)
}

/// Sends a request, reads the whole short answer; its status and body.
pub fn ask(stream: &mut UnixStream, request: &[u8]) -> (u16, Vec<u8>) {
    stream.write_all(request).expect("writes");
    let mut buffer = [0_u8; 64 << 10];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).expect("reads");
        assert_ne!(read, 0, "the server hung up");
        filled += read;
        if let Some((head, body)) = lengths(&buffer[..filled])
            && filled >= head + body
        {
            let status =
                std::str::from_utf8(&buffer[9..12]).ok().and_then(|code| code.parse().ok());
            return (status.unwrap_or(0), buffer[head..head + body].to_vec());
        }
    }
}

/// Reads an answer to its end, however long; returns how many bytes came.
pub fn drink(socket: &Path, path: &str) -> u64 {
    let mut stream = UnixStream::connect(socket).expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("writes");
    std::io::copy(&mut stream, &mut std::io::sink()).expect("reads to the end")
}
