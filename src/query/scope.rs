//! Which directories an engine is fed, and how sure that is.

use super::filter;
use super::parameters::Parameters;
use super::problem::Problem;
use super::snapshot::chosen;
use super::sources::Sources;
use crate::index::View;

/// Reads `directory`, `tenant`, `product` and `max_age`: the names of the
/// directories that are meant.
///
/// # Errors
/// When there are none, or any was never synced, or is too old: whoever replaces
/// all that they have by the answer must not take it for empty.
pub fn read(
    sources: &Sources,
    view: &View,
    parameters: &Parameters<'_>,
) -> Result<Vec<String>, Problem> {
    let filter = filter::read(parameters)?;
    let max_age = parameters.duration("max_age")?;
    let directories = chosen(sources, &filter)?;
    for (name, freshness) in &directories {
        freshness.require(name, max_age)?;
        if view.directory(name).is_none() {
            let detail = format!("the directory {name} is being read again");
            return Err(Problem::stale(detail).member("directory", name.as_str()));
        }
    }
    Ok(directories.into_keys().collect())
}
