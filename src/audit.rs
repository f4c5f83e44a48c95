//! The audit trail: every action that is not data flow, written where the
//! store is, told to the log, and followed by whoever asks.
//!
//! An entry is durable before the action is answered. Writing one may fail on a
//! bad disk like every write; then it stands at least in the log, as an error.

mod repeats;

use std::sync::Arc;

use tokio::sync::watch;
use tracing::{error, info};

use self::repeats::Repeats;
use crate::clock::{self, Duration};
use crate::model::{Act, Actor, Attributes, Value};
use crate::store::Store;
use crate::task;

/// How often there is a look at what was counted.
const COUNTED_EVERY: Duration = Duration::from_secs(1);

/// The trail. A cheap handle.
#[derive(Clone, Debug)]
pub struct Trail {
    store: Store,
    moved: Arc<watch::Sender<u64>>,
    repeats: Arc<Repeats>,
}

/// Why an act is not (surely) in the trail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit trail cannot be written: {0}")]
pub struct AuditError(String);

impl Trail {
    /// The trail that `store` keeps.
    pub fn new(store: Store) -> Trail {
        Trail { store, moved: Arc::new(watch::Sender::new(0)), repeats: Arc::default() }
    }

    /// The store, to read from.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Moves whenever something was recorded.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// Writes an act down, durably.
    ///
    /// # Errors
    /// When it is not surely kept; it was logged as an error then.
    pub async fn record(&self, act: Act) -> Result<(), AuditError> {
        let trail = self.clone();
        let recorded = task::blocking("audit", move || trail.record_blocking(&act)).await;
        recorded.unwrap_or_else(|end| Err(AuditError(end.to_string())))
    }

    /// The same for what a script may do all day long: when it was done often
    /// just before, it is only counted, and [`Trail::flush`] or a task of
    /// [`Trail::keep_counting`] writes the count down.
    ///
    /// # Errors
    /// As for [`Trail::record`].
    pub async fn record_often(&self, act: Act) -> Result<(), AuditError> {
        match self.repeats.admit(act) {
            Some(act) => self.record(act).await,
            None => Ok(()),
        }
    }

    /// Writes counts down for as long as the task lives.
    pub fn keep_counting(&self) -> task::Task {
        let trail = self.clone();
        task::spawn("audit", async move {
            loop {
                tokio::time::sleep(COUNTED_EVERY).await;
                trail.record_all(trail.repeats.tick()).await;
            }
        })
    }

    /// Writes down what was counted so far.
    pub async fn flush(&self) {
        self.record_all(self.repeats.take()).await;
    }

    async fn record_all(&self, acts: Vec<Act>) {
        for act in acts {
            // What cannot be written was logged.
            let _ = self.record(act).await;
        }
    }

    /// The same as [`Trail::record`], for threads that may block.
    ///
    /// # Errors
    /// As for [`Trail::record`].
    pub fn record_blocking(&self, act: &Act) -> Result<(), AuditError> {
        match self.store.record(clock::now(), act) {
            Ok(seq) => {
                self.tell(seq, act);
                Ok(())
            }
            Err(error) => {
                let act = Line(act);
                error!(%error, "cannot write the audit trail; not in it: {act}");
                Err(AuditError(error.to_string()))
            }
        }
    }

    /// An act was recorded under this number: wakes those who follow.
    pub fn tell(&self, seq: u64, act: &Act) {
        info!(audit = seq, "{}", Line(act));
        self.moved.send_modify(|last| *last = seq.max(*last));
    }
}

/// An act on one line: `directory_sync.sync by uid 0 (pid 7): directory corp`.
struct Line<'a>(&'a Act);

impl std::fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let act = self.0;
        write!(f, "{} by {}", act.action.as_str(), Name(&act.actor))?;
        let mut link = ':';
        for target in &act.targets {
            write!(f, "{link} {} {}", target.kind, target.name)?;
            link = ',';
        }
        fields(f, &act.context)?;
        fields(f, &act.metadata)
    }
}

/// An actor in words.
struct Name<'a>(&'a Actor);

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Actor::Daemon => f.write_str("the daemon"),
            Actor::Process { uid, pid: Some(pid), .. } => write!(f, "uid {uid} (pid {pid})"),
            Actor::Process { uid, .. } => write!(f, "uid {uid}"),
            Actor::Token(name) => write!(f, "token {name}"),
            Actor::Stranger(Some(address)) => write!(f, "somebody at {address}"),
            Actor::Stranger(None) => f.write_str("others"),
        }
    }
}

fn fields(f: &mut std::fmt::Formatter<'_>, attributes: &Attributes) -> std::fmt::Result {
    for (name, value) in attributes {
        write!(f, " {name}=")?;
        plain(f, value)?;
    }
    Ok(())
}

fn plain(f: &mut std::fmt::Formatter<'_>, value: &Value) -> std::fmt::Result {
    match value {
        Value::Bool(value) => write!(f, "{value}"),
        Value::Integer(number) => write!(f, "{number}"),
        Value::Text(text) => write!(f, "{text:?}"),
        Value::List(values) => {
            f.write_str("[")?;
            for (position, value) in values.iter().enumerate() {
                f.write_str(if position > 0 { ", " } else { "" })?;
                plain(f, value)?;
            }
            f.write_str("]")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Action, Caller};
    use crate::store::Options;

    #[test]
    fn an_act_is_one_line_in_the_log() {
        let act = Act::of(Action::HOLD_APPROVE, Caller::peer(1000, 100, Some(7)))
            .on("directory", "corp")
            .on("hold", "h1")
            .refused("nothing is\nheld");
        assert_eq!(
            Line(&act).to_string(),
            "directory_sync.hold.approve by uid 1000 (pid 7): directory corp, hold h1 \
             via=\"socket\" outcome=\"refused\" reason=\"nothing is\\nheld\""
        );
    }

    #[tokio::test]
    async fn whoever_follows_is_woken_after_the_act_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), Options { cache_bytes: 1 << 20 }).unwrap();
        let trail = Trail::new(store);
        let mut moved = trail.subscribe();
        trail.record(Act::of_daemon(Action::DAEMON_START)).await.unwrap();
        assert!(moved.has_changed().unwrap());
        let page = trail.store().audit(None, 10, &|_| true).unwrap();
        assert_eq!(page.last, *moved.borrow_and_update());
        assert_eq!(page.entries[0].act.action, Action::DAEMON_START);
    }

    #[tokio::test]
    async fn what_is_repeated_is_counted_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), Options { cache_bytes: 1 << 20 }).unwrap();
        let trail = Trail::new(store);
        for pid in 0..1_000 {
            let by = Caller::peer(1000, 100, Some(pid));
            trail.record_often(Act::of(Action::DIRECTORY_SYNC, by)).await.unwrap();
        }
        trail.record(Act::of_daemon(Action::HOLD)).await.unwrap();
        trail.flush().await;
        let page = trail.store().audit(Some(0), 100, &|_| true).unwrap();
        let acts: Vec<&Act> = page.entries.iter().map(|entry| &entry.act).collect();
        assert_eq!(acts.len(), 10 + 1 + 1);
        assert_eq!(acts[10].action, Action::HOLD);
        assert_eq!(acts[11].metadata["count"], Value::Integer(990));
    }
}
