//! The client that all HTTP providers share.
//!
//! A provider makes a [`Call`], a [`Client`] answers it:
//!
//! 1. [`budget`] lets it go when the credential's quota allows: at most
//!    `quota_share` of what the vendor allows, in turn, and never before a time
//!    that the vendor named.
//! 2. [`credential`] says who asks; tokens are fetched once, early, and once
//!    more when they are refused.
//! 3. [`transport`] sends it, to the configured origin only, over TLS, proxy
//!    and deadlines, and reads a bounded answer.
//! 4. [`vendor`] says what the answer means. What is safe is tried again.
//!
//! [`jwt`] and [`oauth`] get tokens for a key or a secret.
//!
//! [`cursors`], [`quarantine`] and [`parallel`] help to read pages strictly.

pub mod budget;
pub mod call;
pub mod client;
pub mod config;
pub mod credential;
pub mod cursors;
pub mod jwt;
pub mod links;
pub mod oauth;
pub mod parallel;
pub mod quarantine;
pub mod transport;
pub mod vendor;

pub use budget::{Allowance, Budget};
pub use call::{Answer, Call};
pub use client::Client;
pub use config::{HttpConfig, url_or};
pub use credential::{Authorization, Credential, Fixed, Grant, Token, Tokens};
pub use cursors::Cursors;
pub use parallel::in_parallel;
pub use quarantine::Quarantine;
pub use transport::Transport;
pub use vendor::{Quota, Scope, Vendor, Verdict, ordinary, retry_after};
