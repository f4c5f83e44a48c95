//! Reads which events an endpoint is told.

use std::collections::BTreeSet;

use crate::config::Section;
use crate::model::Filter;

/// Reads `events` (globs over the types of events), `directories`, `tenants`
/// and `products` (names); `None` when it noted a mistake.
pub fn read(section: &mut Section<'_>) -> Option<Filter> {
    let mut names = |key| section.texts(key).map(BTreeSet::from_iter);
    let (directories, tenants, products) =
        (names("directories"), names("tenants"), names("products"));
    let kinds = match section.texts("events") {
        None => Ok(Filter::all()),
        Some(globs) => Filter::of_kinds(&globs),
    };
    match kinds {
        Ok(mut filter) => {
            (filter.directories, filter.tenants, filter.products) =
                (directories, tenants, products);
            Some(filter)
        }
        Err(unknown) => {
            for glob in unknown {
                section.error("events", glob.to_string(), Some(glob.hint()));
            }
            None
        }
    }
}
