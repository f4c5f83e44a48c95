//! Accepts connections on a thread of its own and serves them until shutdown.
//!
//! A client costs at most one connection, the head of one request, its body
//! (1 MiB) and one chunk of an answer; a client that keeps us waiting is closed.
//! Over HTTP/2 that is so for each of its streams.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::access::{Access, Peer, Seat};
use super::config::CONNECTIONS_MAX;
use super::connections::Connections;
use super::http2;
use super::listener::Listeners;
use super::service::{Desk, Service};
use super::sources::Sources;
use super::watched::{Activity, Ticks, Watched};
use crate::clock::{self, Instant};
use crate::task::{self, Shutdown, Task, panic_message};

/// What a request's head may take: the buffer of a connection.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Descriptors that are left to everyone else.
const DESCRIPTORS_SPARED: u64 = 256;
/// How often it is told that connections cannot be accepted.
const COMPLAIN_EVERY: Duration = Duration::from_mins(1);

/// Limits of patience with clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Above this the connection that waited longest is closed for a new one.
    pub connections_max: usize,
    /// For the head of a request, from its first byte.
    pub head: Duration,
    /// Between requests.
    pub idle: Duration,
    /// For a client that does not read what it asked for.
    pub stall: Duration,
    /// For answers under way at shutdown.
    pub drain: Duration,
    /// How exactly these are kept.
    pub tick: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: CONNECTIONS_MAX,
            head: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            stall: Duration::from_secs(10),
            drain: Duration::from_secs(2),
            tick: Duration::from_secs(1),
        }
    }
}

/// The running server.
#[derive(Debug)]
pub struct Running {
    thread: std::thread::JoinHandle<io::Result<()>>,
    ticks: Arc<Ticks>,
}

impl Running {
    /// Waits for its end. Blocks.
    ///
    /// # Errors
    /// When it could not go on, or panicked.
    pub fn join(self) -> io::Result<()> {
        self.thread.join().unwrap_or_else(|panic| {
            let message = panic_message(panic.as_ref());
            Err(io::Error::other(format!("the query thread panicked: {message}")))
        })
    }

    /// Whether it has ended, however.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Reads a number that grows every second for as long as requests are
    /// being served.
    pub fn pulse(&self) -> impl Fn() -> u32 + Send + 'static {
        let ticks = Arc::clone(&self.ticks);
        move || ticks.now()
    }
}

/// Serves on a thread of its own, named `query`, until shutdown.
///
/// # Errors
/// When the thread or its runtime cannot be made.
pub fn start(
    listeners: Listeners,
    sources: Sources,
    limits: Limits,
    shutdown: Shutdown,
) -> io::Result<Running> {
    let ticks = Arc::new(Ticks::default());
    let beats = Arc::clone(&ticks);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("query-aside")
        .max_blocking_threads(8)
        .build()?;
    let serve = move || runtime.block_on(run(listeners, sources, limits, ticks, shutdown));
    let thread = std::thread::Builder::new().name("query".to_owned()).spawn(serve)?;
    Ok(Running { thread, ticks: beats })
}

/// Serves until shutdown, then lets answers under way end.
///
/// # Errors
/// When the listeners cannot be used.
pub async fn run(
    listeners: Listeners,
    sources: Sources,
    mut limits: Limits,
    ticks: Arc<Ticks>,
    shutdown: Shutdown,
) -> io::Result<()> {
    limits.connections_max = limits.connections_max.min(descriptors());
    let (unix, tcp) = listeners.listen()?;
    let desk = Arc::new(Desk::new(sources));
    let connections = Connections::new(limits, desk.metrics.clone(), ticks);
    let server = Server {
        desk: Arc::clone(&desk),
        access: listeners.access().clone(),
        connections: connections.clone(),
        shutdown: shutdown.clone(),
    };
    let mut recording = None;
    tokio::select! {
        () = server.accept(&unix, tcp.as_ref()) => {}
        () = watch_over(&connections, &desk, listeners.access(), limits.tick, &mut recording) => {}
        () = shutdown.requested() => {}
    }
    drop((unix, tcp));
    if tokio::time::timeout(limits.drain, connections.all_ended()).await.is_err() {
        connections.close_all();
    }
    // What was begun is not cut off: it is counted nowhere else any more.
    if let Some(recording) = recording {
        let _ = recording.join().await;
    }
    desk.record(desk.denials.take()).await;
    drop(listeners);
    Ok(())
}

/// `recording` is what is being written into the audit trail.
async fn watch_over(
    connections: &Connections,
    desk: &Arc<Desk>,
    access: &Access,
    tick: Duration,
    recording: &mut Option<Task>,
) {
    let mut generation = access.generation();
    let mut ticks = tokio::time::interval(tick);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        connections.tick();
        if std::mem::replace(&mut generation, access.generation()) != generation {
            connections.close_those_who_lost();
        }
        // Patience with clients must not depend on the disk.
        let free = recording.as_ref().is_none_or(Task::is_finished);
        let denied = if free { desk.denials.tick() } else { Vec::new() };
        if !denied.is_empty() {
            let desk = Arc::clone(desk);
            *recording = Some(task::spawn("denials", async move { desk.record(denied).await }));
        }
    }
}

struct Server {
    desk: Arc<Desk>,
    access: Access,
    connections: Connections,
    shutdown: Shutdown,
}

enum Client {
    Unix(UnixStream),
    Tcp(TcpStream, SocketAddr),
}

impl Server {
    async fn accept(&self, unix: &UnixListener, tcp: Option<&TcpListener>) {
        let mut backoff = Duration::ZERO;
        let mut complaint = Complaint::default();
        loop {
            match next(unix, tcp).await {
                Ok(Client::Unix(stream)) => {
                    backoff = Duration::ZERO;
                    match Peer::of(&stream) {
                        Ok(peer) => self.serve(stream, peer),
                        Err(error) => tracing::warn!(
                            "a connection is refused, the kernel does not say whose it is: {error}"
                        ),
                    }
                }
                Ok(Client::Tcp(stream, address)) => {
                    backoff = Duration::ZERO;
                    // An answer is one write: waiting for more to send only delays it.
                    let _ = stream.set_nodelay(true);
                    self.serve(stream, Peer::Tcp(address));
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    backoff = (backoff * 2).clamp(Duration::from_millis(5), Duration::from_secs(1));
                    complaint.tell(&error);
                    // Those accepted just now get their answers first.
                    tokio::time::sleep(backoff).await;
                    self.connections.make_room();
                }
            }
        }
    }

    fn serve<S>(&self, stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Arc::new(Activity::new(Arc::clone(&self.connections.ticks)));
        let seat = Arc::new(Seat::new(self.access.clone(), peer));
        let (desk, own) = (Arc::clone(&self.desk), Arc::clone(&seat));
        let service = Service { desk, seat: own, activity: Arc::clone(&activity) };
        let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
        let (connections, shutdown) = (self.connections.clone(), self.shutdown.clone());
        self.connections.add(activity, seat, |number| {
            task::spawn("query connection", async move {
                converse(io, service, &shutdown).await;
                connections.ended(number);
            })
        });
    }
}

/// Tells of what happens again and again, now and then.
#[derive(Default)]
struct Complaint {
    told: Option<Instant>,
    untold: u64,
}

impl Complaint {
    fn tell(&mut self, error: &io::Error) {
        let now = clock::instant();
        if self.told.is_some_and(|then| now < then + COMPLAIN_EVERY) {
            self.untold += 1;
            return;
        }
        let again = std::mem::take(&mut self.untold);
        self.told = Some(now);
        tracing::warn!(
            again = (again > 0).then_some(again),
            "cannot accept a connection to the query socket: {error}; those that wait longest \
             are closed; raise the limit of open files (LimitNOFILE=) or lower \
             `query.connections_max`"
        );
    }
}

/// The next client. Dropping it loses none.
async fn next(unix: &UnixListener, tcp: Option<&TcpListener>) -> io::Result<Client> {
    let Some(tcp) = tcp else {
        return unix.accept().await.map(|(stream, _)| Client::Unix(stream));
    };
    tokio::select! {
        unix = unix.accept() => unix.map(|(stream, _)| Client::Unix(stream)),
        tcp = tcp.accept() => tcp.map(|(stream, address)| Client::Tcp(stream, address)),
    }
}

/// Serves one connection; at shutdown only what is under way.
async fn converse<S>(io: TokioIo<Watched<S>>, service: Service, shutdown: &Shutdown)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    // Without `pipeline_flush`: with it hyper (1.x, `can_buffer`) takes in an
    // answer as fast as it is made, whether or not the client reads.
    builder.max_buf_size(HEAD_BYTES_MAX);
    let mut connection = builder.serve_connection(io, service);
    let ended = tokio::select! {
        biased;
        ended = &mut connection => Some(ended),
        () = shutdown.requested() => None,
    };
    let ended = match ended {
        Some(Err(error)) if error.is_parse() => {
            let parts = connection.into_parts();
            if parts.read_buf.starts_with(http2::PREFACE) {
                let stream = parts.io.into_inner();
                http2::converse(stream, parts.read_buf, parts.service, shutdown).await
            } else {
                Err(error)
            }
        }
        Some(ended) => ended,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection to the query socket broke off: {error}");
    }
}

/// Asks for as many descriptors as we may have; returns how many connections fit.
fn descriptors() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Refused: what is allowed now has to do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let spared = DESCRIPTORS_SPARED.min(allowed / 2);
    usize::try_from((allowed - spared).max(1)).unwrap_or(usize::MAX)
}
