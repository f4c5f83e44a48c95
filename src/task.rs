//! Named tasks with an owner, and the way to ask them to stop.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;

/// A running task. Dropping it stops the task.
#[derive(Debug)]
pub struct Task<T = ()> {
    name: Arc<str>,
    handle: tokio::task::JoinHandle<T>,
}

/// How a task ended when it did not return.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskEnd {
    #[error("task {name} was stopped")]
    Stopped { name: String },
    #[error("task {name} panicked: {message}")]
    Panicked { name: String, message: String },
}

/// Starts `future` on the current runtime under `name`.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
pub fn spawn<F>(name: impl Into<String>, future: F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Task { name: name.into().into(), handle: tokio::spawn(future) }
}

/// Runs blocking `work` off the runtime's own threads.
///
/// # Errors
/// When the work panicked.
pub async fn blocking<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, TaskEnd> {
    tokio::task::spawn_blocking(work).await.map_err(|end| TaskEnd::of(name, end))
}

/// Work that is done to its end, also when nobody waits for it any more. A cheap
/// handle.
#[derive(Clone, Debug)]
pub struct Errands {
    runtime: tokio::runtime::Handle,
    /// Everything under way holds a receiver.
    under_way: Arc<watch::Sender<()>>,
}

impl Errands {
    /// On the current runtime, wherever they are waited for.
    pub fn here() -> Errands {
        let runtime = tokio::runtime::Handle::current();
        Errands { runtime, under_way: Arc::new(watch::Sender::new(())) }
    }

    /// Begins `work` and waits for its value.
    ///
    /// # Errors
    /// When it panicked, or the runtime ended.
    pub async fn run<F>(&self, name: &str, work: F) -> Result<F::Output, TaskEnd>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let under_way = self.under_way.subscribe();
        let whole = async move {
            let value = work.await;
            drop(under_way);
            value
        };
        self.runtime.spawn(whole).await.map_err(|end| TaskEnd::of(name, end))
    }

    /// Returns when none is under way.
    pub async fn ended(&self) {
        self.under_way.closed().await;
    }
}

impl<T> Task<T> {
    /// Waits for the task's value.
    ///
    /// # Errors
    /// When it panicked or was stopped.
    pub async fn join(mut self) -> Result<T, TaskEnd> {
        (&mut self.handle).await.map_err(|end| TaskEnd::of(&self.name, end))
    }

    /// Whether it has ended, however.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Stops it at its next await.
    pub fn stop(&self) {
        self.handle.abort();
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl TaskEnd {
    fn of(name: &str, end: tokio::task::JoinError) -> TaskEnd {
        let name = name.to_owned();
        match end.try_into_panic() {
            Ok(payload) => TaskEnd::Panicked { name, message: panic_message(payload.as_ref()) },
            Err(_) => TaskEnd::Stopped { name },
        }
    }
}

/// The text of a caught panic.
pub fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

/// Fires [`Shutdown`]. Dropping it fires too, so no task outlives its owner.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

/// Told to every task that should end in good order.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// A trigger and the shutdown it fires.
pub fn shutdown() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (Trigger(sender), Shutdown(receiver))
}

impl Trigger {
    /// Asks everyone to stop.
    pub fn fire(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Returns when asked to stop; at once when that was before.
    pub async fn requested(&self) {
        let mut receiver = self.0.clone();
        // An error means that the trigger is gone, which asks just the same.
        let _ = receiver.wait_for(|stop| *stop).await;
    }

    /// Whether it was asked.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_of_its_task_only() {
        let end = spawn("poller corp", async { panic!("boom") }).join().await.unwrap_err();
        assert_eq!(end.to_string(), "task poller corp panicked: boom");
    }

    #[tokio::test]
    async fn shutdown_reaches_those_who_ask_late() {
        let (trigger, shutdown) = shutdown();
        assert!(!shutdown.is_requested());
        trigger.fire();
        shutdown.requested().await;
        assert!(shutdown.is_requested());
    }

    #[tokio::test]
    async fn a_dropped_trigger_asks_too() {
        let (trigger, shutdown) = shutdown();
        drop(trigger);
        shutdown.requested().await;
        assert!(shutdown.is_requested());
    }
}
