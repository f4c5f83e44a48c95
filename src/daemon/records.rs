//! What the daemon itself writes into the audit trail.

use std::path::Path;

use super::signals::Sender;
use crate::audit::Trail;
use crate::config::{Changes, Config, Report};
use crate::model::{Act, Action, Caller, Target};
use crate::store::Opening;

/// Mistakes of a refused configuration that are recorded.
const MISTAKES_MAX: usize = 20;

/// Writes an act down. What cannot be written is logged, and nothing waits for it.
pub async fn write(trail: &Trail, act: Act) {
    let _ = trail.record(act).await;
}

/// The same for what a script may do all day long: it may only be counted.
pub async fn write_often(trail: &Trail, act: Act) {
    let _ = trail.record_often(act).await;
}

/// The daemon begins to serve; whether it had stopped in order before.
pub fn start(path: &Path, config: &Config, opening: &Opening, last: Option<&Act>) -> Act {
    let store = match opening {
        Opening::Existing => "existing",
        Opening::New => "new",
        Opening::Rebuilt { .. } => "rebuilt",
    };
    let act = Act::of_daemon(Action::DAEMON_START)
        .on("configuration", &path.display().to_string())
        .with("version", env!("CARGO_PKG_VERSION"))
        .with("pid", u64::from(std::process::id()))
        .with("store", store)
        .with("directories", config.directories.keys().cloned().collect::<Vec<_>>())
        .with("webhooks", config.webhooks.keys().cloned().collect::<Vec<_>>());
    match last {
        Some(last) => act.with("stopped_in_order", last.action == Action::DAEMON_STOP),
        None => act,
    }
}

pub fn stop(by: Option<Caller>) -> Act {
    match by {
        Some(by) => Act::of(Action::DAEMON_STOP, by),
        None => Act::of_daemon(Action::DAEMON_STOP).with("reason", "the query thread ended"),
    }
}

/// Damage led to a new store; `None` when there was none.
pub fn reset(opening: &Opening) -> Option<Act> {
    let Opening::Rebuilt { aside, reason } = opening else { return None };
    let act = Act::of_daemon(Action::STORE_RESET).with("reason", reason.as_str());
    Some(act.with("aside", aside.display().to_string()))
}

/// A new configuration, with what is different in it; no secret is.
pub fn reload(path: &Path, by: Caller, old: &Config, new: &Config, changes: &Changes) -> Act {
    let difference = old.outline.difference(&new.outline);
    let later = changes.at_next_start().into_iter().map(str::to_owned).collect::<Vec<_>>();
    Act::of(Action::CONFIG_RELOAD, by)
        .on("configuration", &path.display().to_string())
        .with("outcome", "applied")
        .with("added", difference.added)
        .with("removed", difference.removed)
        .with("changed", difference.changed)
        .with("at_next_start", later)
}

pub fn reload_refused(path: &Path, by: Caller, report: &Report) -> Act {
    let mistakes = report.mistakes().iter().take(MISTAKES_MAX);
    let mistakes = mistakes.map(|mistake| match mistake.place {
        Some(place) => format!("{}:{}: {}", place.line, place.column, mistake.message),
        None => mistake.message.clone(),
    });
    reload_failed(path, by, "the configuration is not valid")
        .with("mistakes", mistakes.collect::<Vec<_>>())
}

pub fn reload_failed(path: &Path, by: Caller, reason: &str) -> Act {
    Act::of(Action::CONFIG_RELOAD_REFUSED, by)
        .on("configuration", &path.display().to_string())
        .refused(reason)
}

/// Directories that came into the configuration.
pub fn created<'a>(
    names: &'a [String],
    config: &'a Config,
    by: &'a Caller,
) -> impl Iterator<Item = Act> + 'a {
    let added = names.iter().filter_map(|name| config.directories.get(name));
    added.map(|directory| {
        Act::of(Action::DIRECTORY_CREATE, by.clone())
            .on("directory", &directory.name)
            .with("provider", directory.provider.kind())
            .with("origin", directory.provider.origin())
            .with("tenant", directory.tenant.as_str())
            .with("product", directory.product.as_str())
    })
}

/// A directory that left the configuration before anything of it was stored.
pub fn deleted(name: &str, by: Caller) -> Act {
    Act::of(Action::DIRECTORY_DELETE, by).on("directory", name)
}

/// Somebody asked for polls now.
pub fn sync(names: &[String], by: Caller) -> Act {
    let target = |name: &String| Target { kind: "directory".to_owned(), name: name.clone() };
    let targets = names.iter().map(target).collect();
    Act { targets, ..Act::of(Action::DIRECTORY_SYNC, by) }.with("outcome", "requested")
}

impl From<Sender> for Caller {
    fn from(sender: Sender) -> Caller {
        Caller::signal(sender.signal, sender.process)
    }
}
