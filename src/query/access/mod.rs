//! Who may do what: rules, and what they come to for one connection.
//!
//! | File | What it holds |
//! |---|---|
//! | `permission` | ask, list, watch, operate |
//! | `routes` | which route takes which |
//! | `config` | `[query.allow.NAME]`, `[query.tokens.NAME]` |
//! | `peer` | who is at the other end of the unix socket |
//! | `seat` | what one connection may do, also after a reload |
//! | `guard` | what is asked of a request over TCP |
//!
//! Without rules whoever may open the unix socket may do everything. With rules
//! root and the user of the daemon still may: both can read the store and replace
//! the configuration, so refusing them protects nothing, and a wrong rule locks
//! nobody out for good.

mod config;
mod guard;
mod peer;
mod permission;
mod routes;
mod seat;

pub use config::{AccessConfig, PeerRule, TokenRule};
pub use guard::admit;
pub use peer::Peer;
pub use permission::{Permission, Permissions};
pub use routes::{Need, need};
pub use seat::{Asker, Seat};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::digest::sha256;
use crate::secret::Secret;

/// The rules that are in force, for everyone who asks for them. A cheap handle.
#[derive(Clone, Debug)]
pub struct Access(Arc<Current>);

#[derive(Debug)]
struct Current {
    rules: ArcSwap<Rules>,
    /// Grows after the rules were replaced.
    generation: AtomicU64,
}

/// Who may do what, made ready for being asked.
#[derive(Debug)]
struct Rules {
    /// `None`: every peer everything.
    peers: Option<Vec<PeerRule>>,
    /// `None` when the own user looks like many others.
    own_uid: Option<u32>,
    tokens: Vec<Token>,
}

/// A token is compared by its digest, so that neither its bytes nor its length
/// show in the time that takes.
#[derive(Debug)]
struct Token {
    name: Arc<str>,
    digest: [u8; 32],
    permissions: Permissions,
}

impl Access {
    pub fn new(config: &AccessConfig) -> Access {
        let rules = ArcSwap::from_pointee(Rules::new(config));
        Access(Arc::new(Current { rules, generation: AtomicU64::new(0) }))
    }

    /// From now on other rules are in force.
    pub fn adopt(&self, config: &AccessConfig) {
        self.0.rules.store(Arc::new(Rules::new(config)));
        self.0.generation.fetch_add(1, Ordering::Release);
    }

    /// Differs from what it was when other rules are in force.
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    fn rules(&self) -> arc_swap::Guard<Arc<Rules>> {
        self.0.rules.load()
    }
}

impl Rules {
    fn new(config: &AccessConfig) -> Rules {
        let tokens = config.tokens.iter().map(|rule| Token {
            name: rule.name.as_str().into(),
            digest: digest(&rule.secret),
            permissions: rule.permissions,
        });
        let own_uid = Some(rustix::process::geteuid().as_raw());
        let own_uid = own_uid.filter(|uid| *uid != peer::OVERFLOW_ID || peer::knows_everybody());
        Rules { peers: known_peers(config), own_uid, tokens: tokens.collect() }
    }

    /// What a peer may do. Its supplementary groups are asked for only when
    /// something depends on them.
    fn of_peer(&self, uid: u32, gid: u32, groups: impl FnOnce() -> Arc<[u32]>) -> Permissions {
        let Some(rules) = &self.peers else { return Permissions::ALL };
        if uid == 0 || Some(uid) == self.own_uid {
            return Permissions::ALL;
        }
        let plain = |rule: &&PeerRule| rule.users.contains(&uid) || rule.groups.contains(&gid);
        let found = union(rules.iter().filter(plain));
        let by_group = union(rules.iter().filter(|rule| !rule.groups.is_empty()));
        if found.cover(by_group) {
            return found;
        }
        let groups = groups();
        let member = |rule: &&PeerRule| rule.groups.iter().any(|group| groups.contains(group));
        found.and(union(rules.iter().filter(member)))
    }

    /// The token that is this one. Takes as long whichever it is, and when it is
    /// none.
    fn token(&self, digest: &[u8; 32]) -> Option<&Token> {
        let none = u64::MAX;
        let mut found = none;
        for (position, token) in (0_u64..).zip(&self.tokens) {
            let same: Choice = token.digest.ct_eq(digest);
            found.conditional_assign(&position, same);
        }
        usize::try_from(found).ok().and_then(|found| self.tokens.get(found))
    }
}

/// In a user namespace that knows few users, all others have one number: a rule
/// about that number would be one about all of them.
fn known_peers(config: &AccessConfig) -> Option<Vec<PeerRule>> {
    let mut rules = config.peers.clone()?;
    if !peer::knows_everybody() {
        tracing::warn!(
            "the user namespace of this process does not know all users and groups: whom it does \
             not know `query.allow` permits nothing; under systemd, set PrivateUsers=no"
        );
        for rule in &mut rules {
            rule.users.retain(|id| *id != peer::OVERFLOW_ID);
            rule.groups.retain(|id| *id != peer::OVERFLOW_ID);
        }
    }
    Some(rules)
}

fn union<'a>(rules: impl Iterator<Item = &'a PeerRule>) -> Permissions {
    rules.fold(Permissions::NONE, |all, rule| all.and(rule.permissions))
}

fn digest(secret: &Secret) -> [u8; 32] {
    sha256(secret.expose().as_bytes())
}

#[cfg(test)]
mod tests;
