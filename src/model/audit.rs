//! What the audit trail tells: who did what to the daemon, and how it ended.
//!
//! Changes at the providers are data and stand in the journal; here are the
//! decisions of people, and those that the daemon took by itself.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use super::{Attributes, Value};
use crate::clock::Timestamp;

/// One line of the trail, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// From 1, without a gap.
    pub seq: u64,
    pub at: Timestamp,
    pub act: Act,
}

/// What was done, or refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    pub action: Action,
    pub actor: Actor,
    /// What it was done to, the most important first.
    pub targets: Vec<Target>,
    /// How it reached the daemon: `via`, and what goes with that.
    pub context: Attributes,
    /// What there is to know beside: `outcome`, `reason`, counts.
    pub metadata: Attributes,
}

/// The name of an action, for instance `directory_sync.hold.approve`.
///
/// Open, because a trail may have been written by a newer version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Action(Cow<'static, str>);

impl Action {
    pub const DAEMON_START: Action = Action::known("daemon.start");
    pub const DAEMON_STOP: Action = Action::known("daemon.stop");
    pub const CONFIG_RELOAD: Action = Action::known("config.reload");
    pub const CONFIG_RELOAD_REFUSED: Action = Action::known("config.reload_refused");
    pub const DIRECTORY_CREATE: Action = Action::known("directory_sync.create");
    pub const DIRECTORY_DELETE: Action = Action::known("directory_sync.delete");
    pub const DIRECTORY_SYNC: Action = Action::known("directory_sync.sync");
    pub const HOLD: Action = Action::known("directory_sync.hold");
    pub const HOLD_APPROVE: Action = Action::known("directory_sync.hold.approve");
    pub const HOLD_REJECT: Action = Action::known("directory_sync.hold.reject");
    pub const HOLD_CLEAR: Action = Action::known("directory_sync.hold.clear");
    pub const STORE_RESET: Action = Action::known("directory_sync.reset");
    pub const WEBHOOK_DISABLE: Action = Action::known("webhook.disable");
    pub const WEBHOOK_PAUSE: Action = Action::known("webhook.pause");
    pub const WEBHOOK_RESUME: Action = Action::known("webhook.resume");
    pub const WEBHOOK_REPLAY: Action = Action::known("webhook.replay");
    pub const WEBHOOK_TEST: Action = Action::known("webhook.test");
    pub const WEBHOOK_CLEAR: Action = Action::known("webhook.clear");
    pub const ACCESS_DENIED: Action = Action::known("access.denied");

    /// Every action of this version, as documented.
    pub const ALL: [Action; 19] = [
        Action::DAEMON_START,
        Action::DAEMON_STOP,
        Action::CONFIG_RELOAD,
        Action::CONFIG_RELOAD_REFUSED,
        Action::DIRECTORY_CREATE,
        Action::DIRECTORY_DELETE,
        Action::DIRECTORY_SYNC,
        Action::HOLD,
        Action::HOLD_APPROVE,
        Action::HOLD_REJECT,
        Action::HOLD_CLEAR,
        Action::STORE_RESET,
        Action::WEBHOOK_DISABLE,
        Action::WEBHOOK_PAUSE,
        Action::WEBHOOK_RESUME,
        Action::WEBHOOK_REPLAY,
        Action::WEBHOOK_TEST,
        Action::WEBHOOK_CLEAR,
        Action::ACCESS_DENIED,
    ];

    const fn known(name: &'static str) -> Action {
        Action(Cow::Borrowed(name))
    }

    /// An action as it was stored.
    pub fn named(name: String) -> Action {
        Action(Cow::Owned(name))
    }

    /// Its name on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The daemon by itself.
    Daemon,
    /// A process of this machine, as the kernel knows it: the peer of the unix
    /// socket (`SO_PEERCRED`), or the sender of a signal, whose group is not told.
    Process { uid: u32, gid: Option<u32>, pid: Option<u32> },
    /// Whoever has the token of this name.
    Token(String),
    /// Nobody we know: a client that did not show who it is. `None` stands for
    /// several addresses.
    Stranger(Option<IpAddr>),
}

/// What something was done to: a directory, a hold, a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub kind: String,
    pub name: String,
}

/// Who asks for something, and which way it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub actor: Actor,
    /// The context of the acts that it leads to.
    pub context: Attributes,
}

impl Act {
    /// Something that the daemon did by itself.
    pub fn of_daemon(action: Action) -> Act {
        Act::of(action, Caller::daemon())
    }

    pub fn of(action: Action, caller: Caller) -> Act {
        let Caller { actor, context } = caller;
        Act { action, actor, targets: Vec::new(), context, metadata: Attributes::new() }
    }

    /// Adds what it was done to.
    #[must_use]
    pub fn on(mut self, kind: &str, name: &str) -> Act {
        self.targets.push(Target { kind: kind.to_owned(), name: name.to_owned() });
        self
    }

    /// Adds something to know about it.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Act {
        self.metadata.insert(name.to_owned(), value.into());
        self
    }

    /// It was asked for and not done.
    #[must_use]
    pub fn refused(self, reason: impl std::fmt::Display) -> Act {
        self.with("outcome", "refused").with("reason", reason.to_string())
    }
}

impl Caller {
    pub fn daemon() -> Caller {
        Caller { actor: Actor::Daemon, context: Attributes::new() }
    }

    /// A peer of the unix socket.
    pub fn peer(uid: u32, gid: u32, pid: Option<u32>) -> Caller {
        Caller { actor: Actor::Process { uid, gid: Some(gid), pid }, context: via("socket") }
    }

    /// Whoever has a token, over TCP.
    pub fn token(name: &str, from: SocketAddr) -> Caller {
        let mut context = via("tcp");
        context.insert("address".to_owned(), from.to_string().into());
        Caller { actor: Actor::Token(name.to_owned()), context }
    }

    /// The sender of a signal, where the kernel told of one.
    pub fn signal(signal: &str, sender: Option<(u32, u32)>) -> Caller {
        let mut context = via("signal");
        context.insert("signal".to_owned(), signal.into());
        let actor = match sender {
            Some((uid, pid)) => Actor::Process { uid, gid: None, pid: Some(pid) },
            None => Actor::Daemon,
        };
        Caller { actor, context }
    }
}

fn via(way: &str) -> Attributes {
    Attributes::from([("via".to_owned(), way.into())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_actions_do_not_change() {
        let all = Action::ALL;
        let names: Vec<&str> = all.iter().map(Action::as_str).collect();
        assert_eq!(
            names,
            [
                "daemon.start",
                "daemon.stop",
                "config.reload",
                "config.reload_refused",
                "directory_sync.create",
                "directory_sync.delete",
                "directory_sync.sync",
                "directory_sync.hold",
                "directory_sync.hold.approve",
                "directory_sync.hold.reject",
                "directory_sync.hold.clear",
                "directory_sync.reset",
                "webhook.disable",
                "webhook.pause",
                "webhook.resume",
                "webhook.replay",
                "webhook.test",
                "webhook.clear",
                "access.denied",
            ]
        );
    }
    #[test]
    fn every_action_is_documented() {
        let page = include_str!("../../docs/audit.md");
        for action in Action::ALL {
            let row = format!("\n| `{}` | ", action.as_str());
            assert!(page.contains(&row), "docs/audit.md has no row for {}", action.as_str());
        }
    }
}
