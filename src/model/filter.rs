//! Which events a reader is told: by type, directory, tenant and product.

use std::collections::BTreeSet;

use super::EventKind;
use crate::glob;

/// Types of events, and where they may come from; `None` lets all through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    kinds: BTreeSet<EventKind>,
    pub directories: Option<BTreeSet<String>>,
    pub tenants: Option<BTreeSet<String>>,
    pub products: Option<BTreeSet<String>>,
}

/// A glob that no type of event matches.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no event is called `{}`", .0.escape_debug())]
pub struct UnknownKind(pub String);

impl UnknownKind {
    /// What would be right.
    pub fn hint(&self) -> String {
        let known: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("known are {}, and `*` stands for any text", known.join(", "))
    }
}

impl Filter {
    /// Lets everything through.
    pub fn all() -> Filter {
        let kinds = EventKind::ALL.into_iter().collect();
        Filter { kinds, directories: None, tenants: None, products: None }
    }

    /// Lets through the types that any of `globs` matches.
    ///
    /// # Errors
    /// Each glob that matches none.
    pub fn of_kinds(globs: &[impl AsRef<str>]) -> Result<Filter, Vec<UnknownKind>> {
        let mut kinds = BTreeSet::new();
        let mut unknown = Vec::new();
        for glob in globs.iter().map(AsRef::as_ref) {
            let matching: Vec<EventKind> = matching(glob).collect();
            kinds.extend(&matching);
            if matching.is_empty() {
                unknown.push(UnknownKind(glob.to_owned()));
            }
        }
        match unknown.as_slice() {
            [] => Ok(Filter { kinds, ..Filter::all() }),
            _ => Err(unknown),
        }
    }

    /// The types that it lets through; `None` for all.
    pub fn only_kinds(&self) -> Option<Vec<&'static str>> {
        let some = self.kinds.len() < EventKind::ALL.len();
        some.then(|| self.kinds.iter().map(|kind| kind.as_str()).collect())
    }

    /// Whether it lets events of this type through.
    pub fn has(&self, kind: EventKind) -> bool {
        self.kinds.contains(&kind)
    }

    /// Without the types that a reader cannot be told of; `None` when there is
    /// nothing left.
    pub fn only(mut self, can_be_told: impl Fn(EventKind) -> bool) -> Option<Filter> {
        self.kinds.retain(|kind| can_be_told(*kind));
        (!self.kinds.is_empty()).then_some(self)
    }

    /// Whether a reader is told of an event of that type from there. Events of
    /// no directory go to whoever asks for their type.
    pub fn admits(&self, kind: EventKind, tenant: &str, product: &str, directory: &str) -> bool {
        let within = |names: &Option<BTreeSet<String>>, name: &str| {
            names.as_ref().is_none_or(|names| names.contains(name))
        };
        self.has(kind)
            && (kind == EventKind::WebhookDisabled
                || within(&self.directories, directory)
                    && within(&self.tenants, tenant)
                    && within(&self.products, product))
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
        assert_eq!(matching("*").count(), EventKind::ALL.len());
    }

    #[test]
    fn a_glob_without_a_match_is_named() {
        let unknown = Filter::of_kinds(&["user.*", "grup.*"]).unwrap_err();
        assert_eq!(unknown, [UnknownKind("grup.*".into())]);
        assert!(unknown[0].hint().contains("group.created"));
    }

    #[test]
    fn every_dimension_counts() {
        let named = |name: &str| Some(BTreeSet::from([name.to_owned()]));
        let filter = Filter {
            directories: named("corp"),
            tenants: named("acme"),
            products: named("vpn"),
            ..Filter::of_kinds(&["user.*"]).unwrap()
        };
        let admits = |tenant, product, directory| {
            filter.admits(EventKind::UserCreated, tenant, product, directory)
        };
        assert!(admits("acme", "vpn", "corp"));
        assert!(!admits("other", "vpn", "corp"));
        assert!(!admits("acme", "other", "corp"));
        assert!(!admits("acme", "vpn", "other"));
        assert!(!filter.admits(EventKind::GroupCreated, "acme", "vpn", "corp"));
        assert!(!filter.admits(EventKind::WebhookDisabled, "", "", ""));
        let all = Filter { directories: named("corp"), ..Filter::all() };
        assert!(all.admits(EventKind::WebhookDisabled, "", "", ""));
    }
}
