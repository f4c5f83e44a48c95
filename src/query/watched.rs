//! What a connection is doing and since when, noted as its bytes pass by.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A clock that is moved by hand, so that noting the time costs a load.
#[derive(Debug, Default)]
pub struct Ticks {
    now: AtomicU32,
    turns: AtomicU64,
}

/// What one connection is doing. Shared with whoever watches over all of them.
#[derive(Debug)]
pub struct Activity {
    ticks: Arc<Ticks>,
    phase: AtomicU8,
    /// The tick at which the phase began.
    since: AtomicU32,
    /// Orders phases that began in the same tick.
    turn: AtomicU64,
    blocked: AtomicBool,
    blocked_since: AtomicU32,
    /// What is being sent is a stream of events.
    feed: AtomicBool,
    /// The requests under way, where there may be several at a time.
    streams: Mutex<Streams>,
}

#[derive(Debug, Default)]
struct Streams {
    next: u64,
    /// With the tick since when the client has to make room for an answer.
    open: BTreeMap<u64, Option<u32>>,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// For the client's next request.
    Idle,
    /// For the rest of a request's head.
    Head,
    /// For us.
    Answer,
    /// For the client to read.
    Blocked,
    /// For whatever each of its streams waits for.
    Shared,
}

impl Ticks {
    /// Moves on by one.
    pub fn advance(&self) {
        self.now.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it moved.
    pub fn now(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }
}

impl Activity {
    /// Of a connection that was just accepted.
    pub fn new(ticks: Arc<Ticks>) -> Activity {
        let activity = Activity {
            ticks,
            phase: AtomicU8::new(0),
            since: AtomicU32::new(0),
            turn: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            blocked_since: AtomicU32::new(0),
            feed: AtomicBool::new(false),
            streams: Mutex::default(),
        };
        activity.enter(Phase::Idle);
        activity
    }

    /// From now on there may be several requests at a time.
    pub fn share(&self) {
        self.enter(Phase::Shared);
    }

    /// A phase begins.
    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.since.store(self.ticks.now(), Ordering::Relaxed);
        self.turn.store(self.ticks.turns.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether a stream of events is being sent.
    pub fn is_feed(&self) -> bool {
        self.feed.load(Ordering::Relaxed)
    }

    /// A stream of events begins, or the answer ended.
    fn set_feed(&self, feed: bool) {
        self.feed.store(feed, Ordering::Relaxed);
    }

    /// The phase, for how many ticks, and its place in the order of all phases.
    pub fn phase(&self) -> (Phase, u32, u64) {
        let turn = self.turn.load(Ordering::Relaxed);
        let elapsed =
            |since: &AtomicU32| self.ticks.now().wrapping_sub(since.load(Ordering::Relaxed));
        if self.blocked.load(Ordering::Relaxed) {
            return (Phase::Blocked, elapsed(&self.blocked_since), turn);
        }
        match self.entered() {
            Phase::Shared => {
                let (phase, since) = self.shared_phase();
                (phase, self.ticks.now().wrapping_sub(since), turn)
            }
            phase => (phase, elapsed(&self.since), turn),
        }
    }

    /// That of the stream that waits longest for its client, if any does.
    fn shared_phase(&self) -> (Phase, u32) {
        let since = self.since.load(Ordering::Relaxed);
        let streams = self.streams();
        let now = self.ticks.now();
        let waiting = streams.open.values().flatten().max_by_key(|then| now.wrapping_sub(**then));
        match waiting {
            Some(then) => (Phase::Blocked, *then),
            None if streams.open.is_empty() => (Phase::Idle, since),
            None => (Phase::Answer, since),
        }
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entered(&self) -> Phase {
        let phases = [Phase::Idle, Phase::Head, Phase::Answer, Phase::Shared];
        let entered = self.phase.load(Ordering::Relaxed);
        phases.into_iter().find(|phase| *phase as u8 == entered).unwrap_or(Phase::Answer)
    }

    fn bytes_came(&self) {
        if self.entered() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    fn write_ended<T>(&self, outcome: &Poll<io::Result<T>>) {
        if outcome.is_ready() {
            if self.blocked.load(Ordering::Relaxed) {
                self.blocked.store(false, Ordering::Relaxed);
            }
        } else if !self.blocked.swap(true, Ordering::Relaxed) {
            self.blocked_since.store(self.ticks.now(), Ordering::Relaxed);
        }
    }
}

/// One request, from its head to the end of its answer.
#[derive(Debug)]
pub struct Turn {
    activity: Arc<Activity>,
    /// Its number among those of a shared connection.
    stream: Option<u64>,
}

impl Turn {
    /// A request has come.
    pub fn begin(activity: &Arc<Activity>) -> Turn {
        let activity = Arc::clone(activity);
        if activity.entered() != Phase::Shared {
            activity.enter(Phase::Answer);
            return Turn { activity, stream: None };
        }
        activity.share();
        let stream = {
            let mut streams = activity.streams();
            let stream = streams.next;
            streams.next += 1;
            streams.open.insert(stream, None);
            stream
        };
        Turn { activity, stream: Some(stream) }
    }

    /// The answer is a stream of events.
    pub fn set_feed(&self, feed: bool) {
        self.activity.set_feed(feed);
    }

    /// There is something to send: the client has to make room for it. Where
    /// connections are not shared, that shows in the connection itself.
    pub fn waits_for_client(&self) {
        if let Some(stream) = self.stream {
            self.activity.streams().open.insert(stream, Some(self.activity.ticks.now()));
        }
    }

    /// There is nothing to send yet.
    pub fn waits_for_us(&self) {
        if let Some(stream) = self.stream {
            self.activity.streams().open.insert(stream, None);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.activity.set_feed(false);
        match self.stream {
            None => self.activity.enter(Phase::Idle),
            Some(stream) => {
                self.activity.streams().open.remove(&stream);
                self.activity.share();
            }
        }
    }
}

/// A stream whose activity is noted.
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    /// Notes what `stream` does in `activity`.
    pub fn new(stream: S, activity: Arc<Activity>) -> Watched<S> {
        Watched { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.activity.bytes_came();
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.activity.write_ended(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.activity.write_ended(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_timed_in_ticks_and_ordered_within_them() {
        let ticks = Arc::new(Ticks::default());
        let one = Activity::new(Arc::clone(&ticks));
        let other = Activity::new(Arc::clone(&ticks));
        assert!(one.phase().2 < other.phase().2);
        ticks.advance();
        assert_eq!(one.phase().0, Phase::Idle);
        assert_eq!(one.phase().1, 1);
        one.bytes_came();
        ticks.advance();
        one.bytes_came();
        assert_eq!((one.phase().0, one.phase().1), (Phase::Head, 1));
        one.write_ended::<()>(&Poll::Pending);
        ticks.advance();
        one.write_ended::<()>(&Poll::Pending);
        assert_eq!((one.phase().0, one.phase().1), (Phase::Blocked, 1));
        one.write_ended(&Poll::Ready(Ok(())));
        assert_eq!(one.phase().0, Phase::Head);
    }

    #[test]
    fn a_shared_connection_waits_for_what_its_slowest_stream_waits_for() {
        let ticks = Arc::new(Ticks::default());
        let activity = Arc::new(Activity::new(Arc::clone(&ticks)));
        let phase = || (activity.phase().0, activity.phase().1);
        activity.bytes_came();
        activity.share();
        ticks.advance();
        activity.bytes_came();
        assert_eq!(phase(), (Phase::Idle, 1), "frames are not the head of a request");
        let (one, other) = (Turn::begin(&activity), Turn::begin(&activity));
        ticks.advance();
        assert_eq!(phase().0, Phase::Answer);
        one.waits_for_client();
        ticks.advance();
        other.waits_for_client();
        assert_eq!(phase(), (Phase::Blocked, 1));
        one.waits_for_us();
        assert_eq!(phase(), (Phase::Blocked, 0));
        drop(other);
        assert_eq!(phase().0, Phase::Answer, "one is still open");
        drop(one);
        ticks.advance();
        assert_eq!(phase(), (Phase::Idle, 1));
    }
}
