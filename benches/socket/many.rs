//! Sixty-four clients at a time, on both cores: how many checks a second, what
//! each costs the server, and whether a commit of 1 % shows in their waiting.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rosterd::clock;
use rosterd::index::{SharedView, View};
use rosterd::model::{Cause, Change, Commit, Layer, Put};
use rosterd::store::{Committed, Store, StoreError, record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::answer::lengths;
use super::common::{self, Size};
use super::questions::{self, Naming};

const CLIENTS: u32 = 64;
const WINDOW: Duration = Duration::from_secs(5);
/// Questions that each client asks again and again.
const QUESTIONS: u32 = 512;

/// What is measured of one server, whose thread has this name.
pub struct Server {
    pub name: &'static str,
    pub thread: &'static str,
    pub socket: PathBuf,
}

/// Both servers in turn, at rest and while 1 % is being committed.
pub fn run(size: Size, servers: &[Server], store: &Store, view: &Arc<SharedView>) {
    unpin();
    println!("{CLIENTS} clients, keep-alive, two cores");
    for server in servers {
        measure(size, server, "at rest");
    }
    let first = common::first_commit(size);
    store.commit(&first).expect("commits");
    drop(first);
    let committing = Committing::start(size, store.clone(), Arc::clone(view));
    println!("{CLIENTS} clients while 1 % after the other is committed and published");
    for server in servers {
        measure(size, server, "committing");
    }
    println!("  {} commits meanwhile\n", committing.stop());
}

fn measure(size: Size, server: &Server, when: &str) {
    let before = thread_cpu(server.thread);
    let started = Instant::now();
    let mut times = ask_from_many(size, &server.socket);
    let wall = started.elapsed();
    let cpu = thread_cpu(server.thread).saturating_sub(before);
    times.sort_unstable();
    let at = |part: usize| times[times.len() * part / 1000];
    println!(
        "  {:<10} {when:<10} {:>7.0}/s  p50 {:>8.1?}  p99 {:>8.1?}  p99.9 {:>8.1?}  {:.1?} of CPU each",
        server.name,
        times.len() as f64 / wall.as_secs_f64(),
        at(500),
        at(990),
        at(999),
        cpu / times.len() as u32
    );
}

fn ask_from_many(size: Size, socket: &Path) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let end = Instant::now() + WINDOW;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let number = |n: u32| client * QUESTIONS + n;
                let asked = (0..QUESTIONS).map(|n| questions::check(size, number(n), Naming::Ids));
                tokio::spawn(client_of(socket.to_owned(), asked.collect(), end))
            })
            .collect();
        let mut times = Vec::new();
        for client in clients {
            times.extend(client.await.expect("the client ends well"));
        }
        times
    })
}

async fn client_of(socket: PathBuf, requests: Vec<Vec<u8>>, end: Instant) -> Vec<Duration> {
    let mut stream = tokio::net::UnixStream::connect(socket).await.expect("connects");
    let mut times = Vec::new();
    let mut buffer = [0_u8; 4096];
    for request in requests.iter().cycle() {
        let started = Instant::now();
        if started > end {
            break;
        }
        stream.write_all(request).await.expect("writes");
        let mut filled = 0;
        loop {
            filled += stream.read(&mut buffer[filled..]).await.expect("reads");
            if lengths(&buffer[..filled]).is_some_and(|(head, body)| filled >= head + body) {
                break;
            }
        }
        times.push(started.elapsed());
    }
    times
}

/// Commits 1 % after the other until it is stopped.
struct Committing {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u32>,
}

impl Committing {
    fn start(size: Size, store: Store, view: Arc<SharedView>) -> Committing {
        let stop = Arc::<AtomicBool>::default();
        let until = Arc::clone(&stop);
        let work = move || {
            let mut round = 0;
            while !until.load(Ordering::Relaxed) {
                round += 1;
                let commit = one_percent(size, round);
                let publish = |now: &View| {
                    let Committed { first_seq, last_seq } = store.commit(&commit)?;
                    let corp = now.directory("corp").expect("it is there");
                    let next = corp.apply(&commit.changes, first_seq).expect("the changes fit");
                    Ok::<_, StoreError>(now.with_directory(Arc::new(next), last_seq))
                };
                view.change(publish).expect("commits");
            }
            round
        };
        let thread = std::thread::Builder::new().name("committing".to_owned()).spawn(work);
        Committing { stop, thread: thread.expect("a thread") }
    }

    fn stop(self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the commits go well")
    }
}

/// Titles of 1 % of the users, and a member less or more in 1 % of the groups.
fn one_percent(size: Size, round: u32) -> Commit {
    let users = (round % 100..size.users).step_by(100).map(|slot| {
        let mut item = common::user(slot);
        item.user.title = Some(format!("Title {round}"));
        Change::User { slot, record: record::encode_user(&item), put: Put::Updated }
    });
    let edges = (0..size.groups).step_by(100).filter_map(|group| {
        let member = common::members(size, group).first().copied()?;
        let (layer, added) = (Layer::Listed, round.is_multiple_of(2));
        Some(Change::Edges { group, layer, added, visible: true, members: vec![member] })
    });
    // Removals come before, additions after.
    let (before, after) = edges.partition::<Vec<_>, _>(|_| !round.is_multiple_of(2));
    let changes = before.into_iter().chain(users).chain(after).collect();
    let empty = common::first_commit(Size { users: 0, groups: 0, ..size });
    Commit { occurred_at: clock::now(), changes, cause: Cause::Crawl { full: false }, ..empty }
}

/// CPU time of the threads of this name so far.
fn thread_cpu(name: &str) -> Duration {
    let nanos = tasks().filter(|task| read(task, "comm").trim() == name).map(|task| {
        read(&task, "schedstat").split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
    });
    Duration::from_nanos(nanos.sum())
}

/// Lets every thread use every core again.
fn unpin() {
    let mut cores = rustix::thread::CpuSet::new();
    let count = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let count = count.lines().filter(|line| line.starts_with("processor")).count();
    (0..count.max(1)).for_each(|core| cores.set(core));
    for task in tasks() {
        let tid = task.file_name().and_then(|name| name.to_str()?.parse().ok());
        if let Some(tid) = tid.and_then(rustix::thread::Pid::from_raw) {
            let _ = rustix::thread::sched_setaffinity(Some(tid), &cores);
        }
    }
}

fn tasks() -> impl Iterator<Item = PathBuf> {
    let all = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    all.map(|task| task.path())
}

fn read(task: &Path, file: &str) -> String {
    std::fs::read_to_string(task.join(file)).unwrap_or_default()
}
