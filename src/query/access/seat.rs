//! What one connection may do: worked out when it is accepted, and again when
//! other rules are in force.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::header::WWW_AUTHENTICATE;

use super::peer::{Peer, groups_of};
use super::permission::Permissions;
use super::routes::Need;
use super::{Access, Token, digest};
use crate::model::Caller;
use crate::query::denials::Refusal;
use crate::query::problem::Problem;
use crate::secret::Secret;

/// Permissions take the lowest bits of what is kept.
const PERMISSION_BITS: u32 = 8;

/// One connection, as far as permissions go.
#[derive(Debug)]
pub struct Seat {
    access: Access,
    peer: Peer,
    /// What a peer of the unix socket may do, and by which rules: the number of
    /// their generation, then the permissions.
    granted: AtomicU64,
    groups: OnceLock<Arc<[u32]>>,
    /// What the peer asked for that took a permission.
    used: AtomicU8,
    /// The tokens that were shown on it.
    shown: Mutex<Vec<Shown>>,
}

#[derive(Debug)]
struct Shown {
    digest: [u8; 32],
    name: Arc<str>,
    /// What was asked for with it.
    used: u8,
}

/// Beside the bits of permissions: something was asked for that took any one.
const ANY: u8 = 0x80;

/// Who asks, and what that one may do.
#[derive(Clone, Debug)]
pub struct Asker {
    pub permissions: Permissions,
    pub peer: Peer,
    /// The token that was shown.
    pub token: Option<Arc<str>>,
    /// Where to note what it uses; `None` when nothing can come between.
    pub seat: Option<Arc<Seat>>,
}

impl Seat {
    /// Of a connection that was just accepted.
    pub fn new(access: Access, peer: Peer) -> Seat {
        let seat = Seat {
            granted: AtomicU64::new(u64::MAX),
            access,
            peer,
            groups: OnceLock::new(),
            used: AtomicU8::new(0),
            shown: Mutex::default(),
        };
        let generation = seat.access.generation();
        seat.keep(generation, seat.work_out());
        seat
    }

    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// What the peer may do without any token.
    pub fn permissions(&self) -> Permissions {
        let generation = self.access.generation();
        let granted = self.granted.load(Ordering::Relaxed);
        if granted >> PERMISSION_BITS == generation {
            return Permissions::of_bits(granted.to_le_bytes()[0]);
        }
        let now = self.work_out();
        self.keep(generation, now);
        now
    }

    /// The peer, without any token.
    pub fn asker(&self) -> Asker {
        Asker { permissions: self.permissions(), peer: self.peer, token: None, seat: None }
    }

    /// Whoever has this token; `None` when it is none of ours.
    pub fn bearer(&self, given: &Secret) -> Option<Asker> {
        let digest = digest(given);
        let rules = self.access.rules();
        let Token { name, permissions, .. } = rules.token(&digest)?;
        self.show(digest, name);
        let (permissions, token) = (*permissions, Some(Arc::clone(name)));
        Some(Asker { permissions, peer: self.peer, token, seat: None })
    }

    /// Whether it was used for what is no longer permitted: an answer that goes on
    /// must end then.
    pub fn has_lost(&self) -> bool {
        let rules = self.access.rules();
        let now = |digest| rules.token(digest).map_or(Permissions::NONE, |t| t.permissions);
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        !permits(self.permissions(), self.used.load(Ordering::Relaxed))
            || shown.iter().any(|shown| !permits(now(&shown.digest), shown.used))
    }

    fn show(&self, digest: [u8; 32], name: &Arc<str>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if !shown.iter().any(|shown| shown.digest == digest) {
            shown.push(Shown { digest, name: Arc::clone(name), used: 0 });
        }
    }

    fn note_use(&self, token: Option<&str>, need: Need) {
        let bits = match need {
            Need::Nothing => 0,
            Need::Any => ANY,
            Need::Of(one) => Permissions::from(one).bits(),
        };
        let Some(token) = token else {
            self.used.fetch_or(bits, Ordering::Relaxed);
            return;
        };
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for shown in shown.iter_mut().filter(|shown| *shown.name == *token) {
            shown.used |= bits;
        }
    }

    fn keep(&self, generation: u64, permissions: Permissions) {
        let granted = generation << PERMISSION_BITS | u64::from(permissions.bits());
        self.granted.store(granted, Ordering::Relaxed);
    }

    fn work_out(&self) -> Permissions {
        match self.peer {
            Peer::Tcp(_) => Permissions::NONE,
            Peer::Unix { uid, gid, pid } => {
                self.access.rules().of_peer(uid, gid, || self.groups(uid, pid))
            }
        }
    }

    /// None when they cannot be known: then only what needs none is permitted.
    fn groups(&self, uid: u32, pid: Option<u32>) -> Arc<[u32]> {
        let groups = self.groups.get_or_init(|| {
            let pid = pid.filter(|pid| *pid > 0);
            let found = pid.map(|pid| groups_of(pid, uid));
            match found {
                Some(Ok(groups)) => groups.into(),
                Some(Err(reason)) => unreadable(uid, reason),
                None => unreadable(uid, "it runs in another pid namespace"),
            }
        });
        Arc::clone(groups)
    }
}

fn permits(now: Permissions, used: u8) -> bool {
    now.cover(Permissions::of_bits(used)) && (used & ANY == 0 || !now.is_empty())
}

fn unreadable(uid: u32, reason: impl std::fmt::Display) -> Arc<[u32]> {
    tracing::debug!(
        uid,
        "the supplementary groups of a client cannot be read, so it has only what its user and \
         its first group may: {reason}"
    );
    Arc::default()
}

impl Asker {
    /// What is missing for this; `None` when it is permitted.
    pub fn lacks(&self, need: Need) -> Option<Refusal> {
        match need {
            Need::Nothing => None,
            Need::Any => self.permissions.is_empty().then_some(Refusal::Permission(None)),
            Need::Of(one) => (!self.permissions.has(one)).then_some(Refusal::Permission(Some(one))),
        }
    }

    /// Notes that it was answered.
    pub fn uses(&self, need: Need) {
        if let Some(seat) = &self.seat {
            seat.note_use(self.token.as_deref(), need);
        }
    }

    /// The answer when it is not.
    pub fn forbidden(&self, need: Need) -> Problem {
        let word = match need {
            Need::Of(one) => one.word(),
            Need::Any | Need::Nothing => "ask",
        };
        let (who, hint) = match (self.peer, &self.token) {
            (Peer::Unix { uid, gid, .. }, _) => (
                format!("uid {uid} (gid {gid})"),
                format!(
                    "name the user, or a group of it, in a block [query.allow.NAME] with \
                     permissions = [\"{word}\"], and reload"
                ),
            ),
            (Peer::Tcp(_), token) => (
                format!("the token `{}`", token.as_deref().unwrap_or_default()),
                format!("add \"{word}\" to its `permissions`, and reload"),
            ),
        };
        let what = match need {
            Need::Of(_) => format!("the permission `{word}`, which {who} does not have"),
            Need::Any | Need::Nothing => format!("a permission, and {who} has none"),
        };
        let problem = Problem::forbidden(format!("this needs {what}")).hint(hint);
        let problem = problem.member("permitted", self.permissions);
        let problem = match need {
            Need::Of(one) => problem.member("permission", one.word()),
            Need::Any | Need::Nothing => problem,
        };
        match self.peer {
            // RFC 6750, section 3.1.
            Peer::Tcp(_) => problem.header(WWW_AUTHENTICATE, "Bearer error=\"insufficient_scope\""),
            Peer::Unix { .. } => problem,
        }
    }

    /// For the audit trail.
    pub fn caller(&self) -> Caller {
        match (self.peer, &self.token) {
            (Peer::Unix { uid, gid, pid }, _) => Caller::peer(uid, gid, pid),
            (Peer::Tcp(address), token) => {
                Caller::token(token.as_deref().unwrap_or_default(), address)
            }
        }
    }
}
