//! Feeds what reads GraphQL and REST answers.

use super::graphql::{self, Page};
use super::map::{Invitation, Person, invitation_reference, person_reference};
use crate::fuzzing::json;
use crate::provider::http::Quarantine;

/// An answer to a query, a connection in it, or a REST page.
pub fn feed(bytes: &[u8]) {
    graphql::fed(bytes);
    let Some(value) = json(bytes) else { return };
    let mut quarantine = Quarantine::new("GitHub");
    let entries = match Page::read("GitHub", value.clone(), "nodes") {
        Ok(page) => page.entries,
        Err(_) => value.as_array().cloned().unwrap_or_default(),
    };
    for entry in entries {
        let _ = quarantine.decode::<Person>(entry.clone(), person_reference);
        let _ = quarantine.decode::<Invitation>(entry, invitation_reference);
    }
    let _ = quarantine.take_kept();
}
