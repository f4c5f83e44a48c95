//! The journal through filters: however it is paged, nothing is lost or repeated.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::subsequence;

use super::world::{World, open};
use crate::model::{Event, Filter};
use crate::store::{Asked, Store};

const PLACES: [(&str, &str, &str); 2] = [("corp", "acme", "vpn"), ("lab", "zeta", "vpn")];
const GLOBS: [&str; 7] =
    ["user.*", "*.deleted", "*.updated", "group.user_added", "group.group_*", "directory.*", "*"];

/// A store, and its whole journal.
struct Told {
    _dir: tempfile::TempDir,
    store: Store,
    all: Vec<Event>,
}

static TOLD: LazyLock<Told> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut random = fastrand::Rng::with_seed(5);
    let mut worlds = [World::default(), World::default()];
    for _ in 0..40 {
        let which = random.usize(..2);
        let (directory, tenant, product) = PLACES[which];
        let (after, mut commit) = worlds[which].step(&mut random, directory, 12);
        (commit.tenant, commit.product) = (tenant.into(), product.into());
        worlds[which] = after;
        store.commit(&commit).unwrap();
    }
    let all = store.events(0, usize::MAX).unwrap();
    Told { _dir: dir, store, all }
});

fn names(all: &'static [&'static str]) -> impl Strategy<Value = Option<BTreeSet<String>>> {
    let some = subsequence(all, 0..=all.len());
    proptest::option::of(some.prop_map(|names| names.into_iter().map(str::to_owned).collect()))
}

fn filters() -> impl Strategy<Value = Filter> {
    let globs = subsequence(&GLOBS[..], 1..=3);
    let places = (names(&["corp", "lab", "x"]), names(&["acme", "zeta"]), names(&["vpn", "x"]));
    (globs, places).prop_map(|(globs, (directories, tenants, products))| {
        let mut filter = Filter::of_kinds(&globs).unwrap();
        (filter.directories, filter.tenants, filter.products) = (directories, tenants, products);
        filter
    })
}

proptest! {
    #[test]
    fn w4_pages_of_any_size_are_the_filtered_journal(
        filter in filters(),
        pages in prop::collection::vec((1_usize..20, 1_u64..60), 1..8),
        after in 0_u64..400,
        beyond in 0_u64..400,
    ) {
        let Told { store, all, .. } = &*TOLD;
        let last = all.len() as u64;
        let (mut after, until) = (after.min(last), last.saturating_sub(beyond));
        let wanted: Vec<&Event> = all
            .iter()
            .filter(|event| event.seq > after && event.seq <= until)
            .filter(|event| {
                filter.admits(event.kind, &event.tenant, &event.product, &event.directory)
            })
            .collect();
        let mut told = Vec::new();
        for (limit, passed_max) in pages.iter().cycle() {
            let (limit, passed_max) = (*limit, *passed_max);
            let asked = Asked { filter: &filter, after, until, limit, passed_max };
            let part = store.events_asked(&asked).unwrap();
            if after >= until {
                prop_assert_eq!((part.events.len(), part.upto), (0, after));
                break;
            }
            prop_assert!(part.events.len() <= limit);
            prop_assert!(part.upto > after && part.upto <= until, "it gets on, and not too far");
            prop_assert!(part.events.iter().all(|event| event.seq <= part.upto));
            told.extend(part.events);
            after = part.upto;
        }
        prop_assert_eq!(told.iter().collect::<Vec<_>>(), wanted);
    }
}

#[test]
fn no_reading_passes_over_much_more_than_it_may() {
    let Told { store, all, .. } = &*TOLD;
    let mut filter = Filter::all();
    filter.tenants = Some(BTreeSet::new());
    let asked = Asked { filter: &filter, after: 0, until: u64::MAX, limit: 9, passed_max: 40 };
    let part = store.events_asked(&asked).unwrap();
    // A block is read whole; here it has room for some ten events.
    assert!((40..80).contains(&part.upto) && part.events.is_empty(), "{}", part.upto);
    let after = all.len() as u64 - 3;
    let part = store.events_asked(&Asked { after, ..asked }).unwrap();
    assert_eq!(part.upto, all.len() as u64);
}
