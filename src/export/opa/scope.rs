//! Which part of all directories an engine is fed.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::clock::{Duration, Timestamp};
use crate::digest;
use crate::fold::fold;

/// `as_of` moves in steps of this, since each one is sent to everyone.
pub const AS_OF_STEP: Duration = Duration::from_secs(30);

/// Raised whenever the shape of the document changes, so that nobody patches
/// an older one.
const SHAPE: u32 = 2;

/// Which directories, and which groups of them; `None` is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Scope {
    pub directories: Option<BTreeSet<String>>,
    pub tenants: Option<BTreeSet<String>>,
    pub products: Option<BTreeSet<String>>,
    /// Only groups whose names begin so, whatever the case, the groups nested in
    /// them, and the users of any of these.
    pub group_prefix: Option<String>,
}

/// A directory, and when it was last confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub name: String,
    pub tenant: String,
    pub product: String,
    /// Rounded down to [`AS_OF_STEP`]; `None` when it was never synced.
    pub as_of: Option<Timestamp>,
}

impl Scope {
    /// With an empty prefix meaning none.
    #[must_use]
    pub fn with_group_prefix(mut self, prefix: Option<&str>) -> Scope {
        self.group_prefix = prefix.filter(|text| !text.is_empty()).map(|text| fold(text).into());
        self
    }

    /// Whether a directory is part of it.
    pub fn has(&self, place: &Place) -> bool {
        let within = |names: &Option<BTreeSet<String>>, name: &str| {
            names.as_ref().is_none_or(|names| names.contains(name))
        };
        within(&self.directories, &place.name)
            && within(&self.tenants, &place.tenant)
            && within(&self.products, &place.product)
    }

    /// Tells documents apart that cannot be patched into each other: of other
    /// scopes, of other directories, of another shape.
    pub fn shape(&self, places: &[Place]) -> u64 {
        let names: Vec<_> = places.iter().map(|p| (&p.name, &p.tenant, &p.product)).collect();
        number_of(&(SHAPE, self, names))
    }
}

impl Place {
    /// Rounds `as_of` down.
    pub fn new(name: &str, tenant: &str, product: &str, as_of: Option<Timestamp>) -> Place {
        let step = u64::try_from(AS_OF_STEP.as_millis()).unwrap_or(1);
        let as_of = as_of.map(|Timestamp(at)| Timestamp(at - at % step));
        Place { name: name.into(), tenant: tenant.into(), product: product.into(), as_of }
    }

    /// Tells apart how old the directories are.
    pub fn ages(places: &[Place]) -> u64 {
        let ages: Vec<_> = places.iter().map(|place| place.as_of.map(|at| at.0)).collect();
        number_of(&ages)
    }
}

fn number_of(value: &impl Serialize) -> u64 {
    // Texts, numbers and lists have no way to fail.
    digest::sha256_number(&serde_json::to_vec(value).unwrap_or_default())
}
