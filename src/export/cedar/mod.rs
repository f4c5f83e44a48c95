//! Cedar: users and groups as entities, and the schema that they keep.
//!
//! Users are `Rosterd::User`, groups `Rosterd::Group`; an id is the directory's
//! name, a slash, and the provider's id, so that no two directories have one in
//! common: the name of a directory has no slash.
//!
//! Cedar refuses entities that contain each other. Groups that do are one to
//! it: whoever has one of them as a parent has all of them, and they share the
//! parents that each has outside. So for users, and for groups outside, `in`
//! says what rosterd says; only that the groups of a circle are in each other
//! is not told.

mod circles;
mod entities;
mod schema;

pub use entities::{Entities, of_user};
pub use schema::{json_schema, text_schema};

#[cfg(test)]
mod tests;
