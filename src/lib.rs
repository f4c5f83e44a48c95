//! rosterd keeps a faithful, local, queryable copy of the users, groups and
//! memberships of identity providers, and tells others what changed.
//!
//! Data flows one way, and the rooms are listed in that order:
//!
//! | Room | What happens there |
//! |---|---|
//! | [`config`] | TOML to typed values; the only room that reads configuration files and the environment |
//! | [`model`] | users, groups, memberships, changes, events: plain values |
//! | [`provider`] | reads a directory, page by page, and says when it has all of it |
//! | [`sync`] | polls, compares while reading, guards, and commits |
//! | [`store`] | records, journal, history and cursors in one atomic, durable write |
//! | [`index`] | the immutable picture in memory that readers query |
//! | [`wire`] | how objects and events look as JSON |
//! | [`query`] | HTTP over the unix socket |
//! | [`export`] | what policy engines are fed |
//! | [`webhook`] | tells other systems, from the journal |
//! | [`export`] | what policy engines are fed, in the form each of them reads |
//! | [`tls`] | whom rosterd trusts, and what it shows of itself; for LDAP, HTTP and webhooks alike |
//! | [`client`] | asks a running daemon, for Rust programs and the command |
//! | [`cli`] | the command; talks to the daemon through the client |
//! | [`audit`] | who did what: the trail of actions that are not data flow |
//! | [`digest`] | short names for long texts |
//! | [`fold`] | names without their case |
//! | [`daemon`] | the wiring: the only place that sees every part |
//!
//! A reader never sees a provider, a provider never sees the store, and only
//! [`clock`] reads the time. `tests/suite/tidy.rs` holds the code to that.
#![forbid(unsafe_code)]

pub mod audit;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod digest;
pub mod export;
pub mod fold;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod glob;
pub mod index;
pub mod log;
pub mod model;
pub mod printable;
pub mod provider;
pub mod query;
pub mod retry;
pub mod secret;
pub mod store;
pub mod sync;
pub mod task;
pub mod tls;
pub mod webhook;
pub mod wire;
