//! The picture in memory that readers query: immutable, and cheap to replace.
//!
//! A [`View`] holds one [`DirectoryView`] a directory. Nothing in it ever
//! changes: [`DirectoryView::apply`] derives the next version from a commit's
//! changes and shares with the older one everything those leave alone, so a
//! small commit costs little however large the directory, and a reader works
//! on one consistent state for as long as it holds it. [`SharedView`] is where
//! the newest version is found, and where waiting for a newer one is possible.
//!
//! Objects are named by slots (see [`crate::model::Change`]). All lists of
//! slots ascend, and lists of objects are paged by slot: a slot is never used
//! twice, so "the next slot" is a cursor that stands however much comes and goes.
//!
//! | File | What it holds |
//! |---|---|
//! | `view`, `shared` | all directories at one seq; the newest of them |
//! | `directory` | one directory: look-ups and reads |
//! | `nesting`, `closure` | questions that follow nested groups |
//! | `touch` | what many look-ups will read, read ahead |
//! | `apply`, `builder` | the next version from changes; the first from the store |
//! | `records`, `lists`, `keys`, `ids`, `paged` | the structures that versions share |

mod apply;
mod builder;
mod closure;
mod directory;
mod ids;
mod keyed;
mod keys;
mod lists;
mod nesting;
mod paged;
mod records;
mod shared;
mod touch;
mod view;

#[cfg(test)]
mod against_model;

pub use apply::ApplyError;
pub use builder::{Builder, LoadError};
pub use directory::{AliasHash, DirectoryView, Owner};
pub use shared::SharedView;
pub use touch::TOUCHED;
pub use view::View;
