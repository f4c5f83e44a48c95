//! Polls directories, compares while reading, guards, and commits.
//!
//! ```text
//! poller ──start──▶ provider ──pages──▶ reconcile ──seal──▶ plan ──▶ guard ──▶ ledger
//! ```
//!
//! [`schedule`], [`guard`] and the comparison are pure; [`poller`] owns one
//! directory; [`ledger`] is the one way to change what is committed.

mod by_slot;
pub mod describe;
pub mod guard;
mod identity;
pub mod ledger;
mod names;
pub mod notice;
pub mod pages;
pub mod plan;
pub mod poller;
pub mod reconcile;
pub mod schedule;
mod slots;
pub mod split;
pub mod status;

#[cfg(test)]
mod tests;
