//! Tells systemd how the daemon is; does nothing where there is no systemd.

use sd_notify::NotifyState;
use tracing::warn;

use crate::task::{self, Task};

/// Start-up is done: questions are answered.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
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

/// Feeds systemd's watchdog, if it is on, for as long as the runtime runs this
/// task and `pulse`, which the query thread moves, goes on.
pub fn feed_watchdog(pulse: impl Fn() -> u32 + Send + 'static) -> Option<Task> {
    let every = sd_notify::watchdog_enabled()?.checked_div(3)?;
    Some(task::spawn("watchdog", async move {
        let mut seen = None;
        loop {
            let count = pulse();
            if seen != Some(count) {
                send(&[NotifyState::Watchdog]);
            }
            seen = Some(count);
            tokio::time::sleep(every).await;
        }
    }))
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "cannot tell systemd; is NOTIFY_SOCKET right?");
    }
}
