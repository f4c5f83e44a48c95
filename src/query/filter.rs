//! Which events, or directories, a request is about: `type`, `directory`,
//! `tenant` and `product`.

use std::collections::BTreeSet;

use super::freshness::{self, Freshnesses};
use super::parameters::Parameters;
use super::problem::Problem;
use super::sources::Sources;
use crate::clock;
use crate::model::Filter;

/// The parameters that say where something is from.
pub const PLACES: [&str; 3] = ["directory", "tenant", "product"];
/// The parameter that says what happened.
pub const TYPE: &str = "type";

/// Reads the parameters; without any, all is let through.
///
/// # Errors
/// A type that no event has, or a name that is empty.
pub fn read(parameters: &Parameters<'_>) -> Result<Filter, Problem> {
    let mut filter = match parameters.list(TYPE) {
        None => Filter::all(),
        Some(globs) => Filter::of_kinds(&globs).map_err(|unknown| {
            let hint = unknown.first().map(|unknown| unknown.hint()).unwrap_or_default();
            let all: Vec<String> = unknown.iter().map(ToString::to_string).collect();
            Problem::bad_request(all.join("; ")).hint(hint)
        })?,
    };
    let [directories, tenants, products] = PLACES.map(|key| names(parameters, key));
    (filter.directories, filter.tenants, filter.products) = (directories?, tenants?, products?);
    Ok(filter)
}

/// How old the directories are that a filter is about. One that it names and
/// nobody knows was never synced.
pub fn freshness(sources: &Sources, filter: &Filter) -> Freshnesses {
    let now = clock::now();
    let of = |name: &String| (name.clone(), freshness::Freshness::of(&sources.statuses, name, now));
    let all = sources.statuses.all();
    let known =
        all.iter().filter(|status| is_from(filter, &status.name, &status.tenant, &status.product));
    let unknown = filter.directories.iter().flatten();
    let unknown = unknown.filter(|name| all.iter().all(|status| status.name != **name));
    known.map(|status| &status.name).chain(unknown).map(of).collect()
}

/// Whether a directory is among those that a filter names.
pub fn is_from(filter: &Filter, directory: &str, tenant: &str, product: &str) -> bool {
    let within = |names: &Option<BTreeSet<String>>, name: &str| {
        names.as_ref().is_none_or(|names| names.contains(name))
    };
    within(&filter.directories, directory)
        && within(&filter.tenants, tenant)
        && within(&filter.products, product)
}

fn names(parameters: &Parameters<'_>, key: &str) -> Result<Option<BTreeSet<String>>, Problem> {
    let Some(names) = parameters.list(key) else { return Ok(None) };
    if names.contains(&"") {
        return Err(Problem::bad_request(format!("the parameter `{key}` has an empty name"))
            .hint("several names are separated by commas, or the parameter is repeated"));
    }
    Ok(Some(names.into_iter().map(str::to_owned).collect()))
}
