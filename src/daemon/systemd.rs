//! Tells systemd how the daemon is; does nothing where there is no systemd.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sd_notify::NotifyState;
use tracing::warn;

use crate::clock::Duration;
use crate::task::{self, Task};

/// Start-up is done: questions are answered.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// One line for `systemctl status`.
pub fn status(status: &str) {
    send(&[NotifyState::Status(status)]);
}

/// A reload has begun; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => warn!(%error, "cannot read the monotonic clock for systemd"),
    }
}

/// The daemon is draining.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Counts that the threads which must be alive are: each adds one now and then.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// Called by the thread that is watched.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Feeds systemd's watchdog, if it is on, for as long as the query thread
/// beats and the runtime runs this task.
pub fn feed_watchdog(pulse: Pulse) -> Option<Task> {
    let every = sd_notify::watchdog_enabled()?.checked_div(3)?;
    Some(task::spawn("watchdog", async move {
        let mut seen = None;
        loop {
            let count = pulse.count();
            if seen != Some(count) {
                send(&[NotifyState::Watchdog]);
            }
            seen = Some(count);
            tokio::time::sleep(every).await;
        }
    }))
}

/// How often a watched thread beats at most.
pub const BEAT: Duration = Duration::from_millis(250);

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "cannot tell systemd; is NOTIFY_SOCKET right?");
    }
}
