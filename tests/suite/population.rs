//! The generated directories of the benches are what they are said to be.

#[path = "../../benches/scale/generate.rs"]
pub mod generate;
#[expect(dead_code, reason = "the benches use the rest")]
#[path = "../../benches/scale/population.rs"]
pub mod generated;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

// By the name that the generator knows.
use self::generated as population;
use generated::{DEPTH, Moment, PERIODS, Population};
use rosterd::index::DirectoryView;
use rosterd::provider::{Extent, Item};
use rosterd::store::record;
use rosterd::sync::guard::{Gate, Limits};
use rosterd::sync::reconcile::Reconciler;

use crate::harness::daemon::Daemon;

const USERS: u32 = 5_000;

fn small() -> Population {
    Population::of(USERS)
}

fn items(population: &Population, at: Moment) -> Vec<Item> {
    population.pages(at).flatten().collect()
}

fn crawled(base: Arc<DirectoryView>, extent: Extent, pages: Vec<Vec<Item>>) -> Arc<DirectoryView> {
    let mut crawl = Reconciler::new(base.clone());
    pages.into_iter().for_each(|page| crawl.page(page));
    let limits = Limits::none();
    let outcome = crawl.seal(extent, &Gate { limits, ..Gate::default() }).unwrap();
    assert_eq!(outcome.held, None);
    Arc::new(base.apply(&outcome.applies.changes, base.last_seq() + 1).unwrap())
}

/// Everything by id: records, and the members of each group.
type Picture = (BTreeSet<Vec<u8>>, BTreeMap<String, BTreeSet<String>>);

fn picture(view: &DirectoryView) -> Picture {
    let id = |record: Option<&[u8]>| record::id_of(record.unwrap()).unwrap().to_owned();
    let users = view.user_slots().filter_map(|slot| view.user_record(slot));
    let groups = view.group_slots().filter_map(|slot| view.group_record(slot));
    let records = users.chain(groups).map(<[u8]>::to_vec).collect();
    let members = view.group_slots().map(|group| {
        let users = view.direct_users(group);
        let users = users.iter().map(|user| id(view.user_record(*user)));
        let inner = view.subgroups(group).iter().map(|inner| id(view.group_record(*inner)));
        (id(view.group_record(group)), users.chain(inner).collect())
    });
    (records, members.collect())
}

#[test]
fn the_same_seed_gives_the_same_directory_and_another_another() {
    let at = Moment { ticks: [3, 5, 1], newcomers: 2 };
    let seeded = |seed| items(&Population::new(500, 50, 5_000, seed), at);
    assert_eq!(seeded(7), seeded(7));
    assert_ne!(seeded(7), seeded(8));
}

#[test]
fn groups_are_skewed_one_has_everyone_and_the_sum_is_as_asked() {
    let population = small();
    let at = Moment::default();
    let mut sizes: Vec<usize> =
        (0..population.groups).map(|group| population.members(group, at).count()).collect();
    let sum: usize = sizes.iter().sum();
    let wanted = USERS as usize * 10;
    assert!(sum.abs_diff(wanted) < wanted / 20, "{sum} memberships instead of {wanted}");
    assert_eq!(sizes[0], USERS as usize);
    sizes.sort_unstable();
    let (median, mean) = (sizes[sizes.len() / 2], sum / sizes.len());
    assert!(median * 3 < mean, "the median is {median}, the mean {mean}");
    assert!(sizes[sizes.len() - 2] > USERS as usize / 2);
}

#[test]
fn groups_are_nested_eight_deep_and_no_deeper() {
    let population = small();
    let mut depth = vec![1; population.groups as usize];
    for group in (0..population.groups).rev() {
        let inner = population.children(group).map(|child| depth[child as usize]).max();
        depth[group as usize] = 1 + inner.unwrap_or(0);
    }
    assert_eq!(depth.iter().max(), Some(&DEPTH));
}

#[test]
fn a_tick_changes_as_many_objects_as_its_rate_says() {
    let population = small();
    let start = Moment::default();
    for (rate, period) in PERIODS.iter().enumerate().skip(1) {
        let later = start.after(rate);
        let changed = (0..USERS)
            .filter(|seat| {
                population.user(*seat, start).user.title != population.user(*seat, later).user.title
            })
            .count();
        let wanted = USERS as usize / *period as usize;
        assert!(changed.abs_diff(wanted) < wanted / 2, "{changed} instead of {wanted}");
    }
}

#[test]
fn a_feed_and_a_full_crawl_lead_to_the_same_picture() {
    let population = Population::of(1_000);
    let (mut before, mut after) = (Moment::default(), Moment::default());
    let empty = Arc::new(DirectoryView::empty("corp", "t", "p"));
    let mut fed = crawled(empty.clone(), Extent::Whole, population.pages(after).collect());
    for round in 0..12 {
        after = after.after(2);
        after.newcomers += round % 2;
        fed = crawled(fed, Extent::Changes, population.feed(before, after).collect());
        before = after;
    }
    let whole = crawled(empty, Extent::Whole, population.pages(after).collect());
    assert!(whole.membership_count() > 9_000, "{}", whole.membership_count());
    let ((fed_records, fed_members), (records, members)) = (picture(&fed), picture(&whole));
    assert!(fed_records == records, "the records differ");
    assert!(fed_members == members, "the members differ");
}

#[test]
fn a_bundle_that_is_generated_is_read_back_whole() {
    let population = Population::of(1_000);
    let at = Moment { ticks: [0, 2, 0], newcomers: 0 };
    let mut daemon = Daemon::prepare("");
    let file = daemon.dir().join("generated.json");
    generate::run(&population, &file, 2);
    let path = file.display();
    daemon.configure(&format!("[directory.corp]\nprovider.bundle = {{ path = \"{path}\" }}\n"));
    daemon.resume();
    daemon.wait_ready();
    let of_group = |group| {
        let users = population.members(group, at).map(|seat| population.id_on(seat, at));
        let inner = population.children(group).map(|child| population.group_id(child, at));
        let group = population.group_id(group, at);
        users.chain(inner).map(move |id| (group.clone(), id)).collect::<Vec<_>>()
    };
    let members: BTreeSet<(String, String)> = (0..population.groups).flat_map(of_group).collect();
    let status = daemon.directory("corp");
    let counts = ["users", "groups", "memberships", "unresolved"].map(|what| status[what].as_u64());
    let told = [population.users.into(), population.groups.into(), members.len() as u64, 0];
    assert_eq!(counts, told.map(Some), "{status}");
    assert!(crate::faults::held(&daemon) == members, "other memberships");
}
