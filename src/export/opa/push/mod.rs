//! Keeps the document of an OPA current over its REST API.
//!
//! Each OPA is one task, so a dead one delays nobody. OPA keeps no state: the
//! document itself says which [`Revision`] it is, and that is asked for before
//! each push. What follows from it is the same as for a bundle: nothing, a patch,
//! or the whole. So an OPA that was restarted is filled again, one that missed
//! something gets what it missed, and this daemon may restart too.
//!
//! OPA has no conditional patch (`test` is refused), but applies a patch as a
//! whole or not at all, and goes on with one that was given up here. So each
//! begins by removing the key of the state that it was made for: one that meets an
//! OPA restarted in between, or one that a late patch moved on, finds nothing to
//! remove, gets 404, and the whole follows.

mod client;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::watch;

use super::config::OpaConfig;
use super::feed::{Change, Feed, State};
use super::patch::{Dialect, Op};
use super::scope::Scope;
use crate::clock::{self, Duration};
use crate::retry::Growing;
use crate::task::{self, Shutdown, Task};
use client::{Client, Reply};

pub use status::{PushState, PushStatus, Pushers};

/// How often it is looked whether OPA still has what it was given.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const FIRST_DELAY: Duration = Duration::from_millis(250);
const DELAY_MAX: Duration = Duration::from_secs(30);

/// Starts keeping one OPA current.
///
/// # Errors
/// In words, when TLS cannot be set up; its status says so too.
pub fn start(
    config: OpaConfig,
    feed: Feed,
    pushers: Pushers,
    shutdown: Shutdown,
) -> Result<Task, String> {
    pushers.add(&config);
    let client = Client::new(&config).inspect_err(|reason| {
        pushers.failed(&config.name, reason);
    })?;
    let name = format!("opa {}", config.name);
    let pusher = Pusher {
        moved: feed.moved(),
        scope: Arc::new(config.scope),
        name: config.name,
        client,
        feed,
        pushers,
        shutdown,
        delays: Growing::new(FIRST_DELAY, DELAY_MAX),
    };
    Ok(task::spawn(name, pusher.run()))
}

struct Pusher {
    name: String,
    client: Client,
    feed: Feed,
    scope: Arc<Scope>,
    moved: watch::Receiver<u64>,
    pushers: Pushers,
    shutdown: Shutdown,
    delays: Growing,
}

impl Pusher {
    async fn run(mut self) {
        let shutdown = self.shutdown.clone();
        loop {
            self.moved.borrow_and_update();
            let round = tokio::select! {
                round = self.round() => round,
                () = shutdown.requested() => return,
            };
            let pause = match round {
                Ok(()) => {
                    self.delays.reset();
                    self.pause(LOOK_EVERY, true).await
                }
                Err(reason) => {
                    self.failed(&reason);
                    let delay = self.delays.next(fastrand::f64());
                    self.pause(delay, false).await
                }
            };
            if pause == Pause::Stop {
                return;
            }
        }
    }

    /// Brings OPA from what it has to what is.
    async fn round(&mut self) -> Result<(), String> {
        let held = self.client.revision().await?;
        let (feed, scope) = (self.feed.clone(), Arc::clone(&self.scope));
        let looked = task::blocking("look what OPA lacks", move || {
            let state = feed.state(&scope)?;
            let change = match held {
                Some(held) => feed.change(held, &state)?,
                None => Change::Whole("it has none"),
            };
            Ok((state, change))
        });
        let looked: Result<_, super::feed::FeedError> = looked.await.map_err(|e| e.to_string())?;
        let (state, change) = looked.map_err(|error| error.to_string())?;
        match change {
            Change::Nothing => {
                self.pushers.current(&self.name, held.map_or(0, |held| held.seq));
                Ok(())
            }
            Change::Patch(ops) => self.patch(state, &ops).await,
            Change::Whole(why) => self.put(state, why).await,
        }
    }

    async fn patch(&self, state: State, ops: &[Op]) -> Result<(), String> {
        let bodies: Vec<_> = ops.iter().map(|op| op.body(Dialect::Rest)).collect();
        let body = serde_json::to_vec(&bodies).map_err(|error| error.to_string())?;
        let bytes = body.len();
        match self.client.patch(body).await? {
            Reply::Done => {
                self.pushers.patched(&self.name, state.revision.seq, bytes);
                Ok(())
            }
            Reply::Missing(_) => self.put(state, "it has not what is to be changed").await,
        }
    }

    async fn put(&self, state: State, why: &str) -> Result<(), String> {
        let seq = state.revision.seq;
        let started = clock::instant();
        match self.client.put(state).await? {
            (Reply::Done, bytes) => {
                let millis = clock::instant().saturating_duration_since(started).as_millis();
                tracing::info!(opa = self.name, seq, bytes, millis, why, "OPA got the whole");
                self.pushers.put(&self.name, seq, bytes);
                Ok(())
            }
            (Reply::Missing(reason), _) => Err(reason),
        }
    }

    fn failed(&self, reason: &str) {
        let failures = self.pushers.failed(&self.name, reason);
        // Once at once, and then now and then.
        if failures.is_power_of_two() {
            tracing::warn!(opa = self.name, reason, failures, "OPA cannot be kept current");
        }
    }

    async fn pause(&mut self, delay: Duration, until_moved: bool) -> Pause {
        let moved = async {
            if !until_moved || self.moved.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.shutdown.requested() => Pause::Stop,
            () = moved => Pause::Over,
            () = tokio::time::sleep(delay) => Pause::Over,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    Over,
    Stop,
}
