//! Which events an endpoint is told.

use std::collections::BTreeSet;

use crate::config::Section;
use crate::glob;
use crate::model::EventKind;

/// Kinds of events, and directories. `None` lets all directories through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    kinds: BTreeSet<EventKind>,
    directories: Option<BTreeSet<String>>,
}

impl Filter {
    /// Lets everything through.
    pub fn all() -> Filter {
        Filter { kinds: EventKind::ALL.into_iter().collect(), directories: None }
    }

    /// Reads `events` (globs over the types of events) and `directories`
    /// (names); `None` when it noted a mistake.
    pub fn read(section: &mut Section<'_>) -> Option<Filter> {
        let globs = section.texts("events");
        let directories = section.texts("directories").map(BTreeSet::from_iter);
        let Some(globs) = globs else { return Some(Filter { directories, ..Filter::all() }) };
        let mut kinds = BTreeSet::new();
        let mut is_good = true;
        for glob in &globs {
            let matching: Vec<EventKind> = matching(glob).collect();
            if matching.is_empty() {
                let message = format!("no event is called `{}`", glob.escape_debug());
                let known: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
                let hint = format!("known are {}, and `*` stands for any text", known.join(", "));
                section.error("events", message, Some(hint));
                is_good = false;
            }
            kinds.extend(matching);
        }
        is_good.then_some(Filter { kinds, directories })
    }

    /// Whether an endpoint is told of such an event.
    pub fn admits(&self, kind: EventKind, directory: &str) -> bool {
        self.kinds.contains(&kind)
            && self.directories.as_ref().is_none_or(|names| names.contains(directory))
    }

    /// The directories that are named, if any are.
    pub fn directories(&self) -> impl Iterator<Item = &str> {
        self.directories.iter().flatten().map(String::as_str)
    }
}

fn matching(glob: &str) -> impl Iterator<Item = EventKind> {
    EventKind::ALL.into_iter().filter(move |kind| glob::matches(glob, kind.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (glob, count) in [
            ("*", 15),
            ("group.*", 7),
            ("*.deleted", 2),
            ("group.*_added", 2),
            ("user.created", 1),
            ("*user*", 5),
            ("user", 0),
            ("", 0),
        ] {
            assert_eq!(matching(glob).count(), count, "{glob}");
        }
    }

    #[test]
    fn directories_are_named_or_all() {
        let filter = Filter { directories: Some(["corp".to_owned()].into()), ..Filter::all() };
        assert!(filter.admits(EventKind::UserCreated, "corp"));
        assert!(!filter.admits(EventKind::UserCreated, "other"));
        assert_eq!(filter.directories().collect::<Vec<_>>(), ["corp"]);
    }
}
