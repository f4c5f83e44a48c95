//! Memberships as data for Open Policy Agent.
//!
//! OPA gets one document, `data.rosterd`, as a bundle that it fetches or by
//! pushes into its `/v1/data`. Either way it first gets the whole, and then
//! what changed since:
//!
//! ```text
//! { "revision": "…", "held": { "…": true }, "seq": 812, "as_of": { "corp": "2026-11-20T10:15:00Z" },
//!   "directories": { "corp": { "tenant": "acme", "product": "vpn",
//!     "users":  { "u1": { "username": "ada", "email": "ada@…", "active": true,
//!                         "groups": { "g2": true } } },
//!     "groups": { "g2": { "name": "core", "ancestors": { "g1": true } } },
//!     "usernames":   { "ada": { "u1": true } }, "emails":       { … },
//!     "group_names": { "core": { "g2": true } }, "group_emails": { … } } } }
//! ```
//!
//! - **Sets are objects**, so that one membership is one operation of a patch,
//!   and a policy asks with one look-up.
//! - **`ancestors` holds all groups above a group**, however far, so that a nested
//!   membership takes a look-up per direct group. A policy could walk `parents`
//!   itself, but OPA turns the whole object into its own form for that, at each
//!   decision. The price: a group that moves into another changes each group
//!   below it.
//! - **Names lead to sets of ids**, folded as look-ups here fold them: a name may
//!   be of several, and a policy must not take one of them for the other.
//! - **`as_of` stands apart**: OPA reads all of an object that a policy goes
//!   through, and which directories there are should not take reading them. It
//!   is rounded down to [`AS_OF_STEP`], since it moves while nothing else does,
//!   and each step is sent to everyone.
//! - **`held` has the revision as its key**, for patches alone: each removes the
//!   key of the state that it was made for, and fails where that is not held.
//!
//! A [`Revision`] names the state that a client holds, across restarts: the seq,
//! when that was committed (a store restored from a backup gives the same seqs
//! again), a digest of the scope and the directories in it, and one of their
//! `as_of`. From it and the journal it is known what to patch: `touched` gathers
//! what the events since touched and how that was before, `picture` shows a
//! directory as it is and as it was, `scoped` leaves out what is out of scope,
//! and `delta` compares the two.

mod bundle;
mod config;
mod delta;
mod document;
mod facts;
mod feed;
mod patch;
mod picture;
mod push;
mod revision;
mod scope;
mod scoped;
mod shared;
#[cfg(test)]
pub(crate) mod tests;
mod touched;

pub use bundle::{delta_bundle, write_bundle};
pub use config::{OpaConfig, Target};
pub use document::Document;
pub use feed::{Change, Feed, FeedError, Places, State};
pub use patch::{Dialect, Op};
pub use push::{PushState, PushStatus, Pushers, start};
pub use revision::Revision;
pub use scope::{AS_OF_STEP, Place, Scope};
pub use shared::{Build, Builds, Progress};
