//! The store: first commit, a 1 % change, peak memory, size on disk, reopening.
//!
//! `cargo bench --bench store -- USERS GROUPS MEMBERSHIPS`

#[expect(dead_code, reason = "each bench uses its part")]
mod common;
#[path = "common/disk.rs"]
mod disk;

use common::{Size, cpu, first_commit, memory};
use disk::on_disk;
use rosterd::clock;
use rosterd::model::{Change, Commit, Layer, Put};
use rosterd::store::{Options, Store, record};
use rosterd::sync::ledger::Ledger;

fn main() {
    let size = Size::from_arguments(Size { users: 100_000, groups: 10_000, memberships: 500_000 });
    println!("{size}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (store, _) = Store::open(folder.path(), Options::default()).expect("a new store opens");

    let commit = first_commit(size);
    let before = memory("VmRSS");
    common::reset_peak();
    timed("first commit", || store.commit(&commit).map(drop).expect("commits"));
    println!("memory above the changes: {} MB", memory("VmHWM").saturating_sub(before));
    println!("on disk: {} MB", on_disk(folder.path()) >> 20);
    drop(commit);

    for round in 1..=5 {
        let commit = one_percent(size, round);
        timed("1 % changed", || store.commit(&commit).map(drop).expect("commits"));
    }
    println!("on disk: {} MB", on_disk(folder.path()) >> 20);
    timed("read 100,000 events", || {
        let mut after = 0;
        while after < 100_000 {
            let events = store.events(after, 1_000).expect("reads");
            after = events.last().map_or(u64::MAX, |event| event.seq);
        }
    });
    drop(store);

    let before = memory("VmRSS");
    common::reset_peak();
    timed("reopen and load the view", || {
        let (store, _) = Store::open(folder.path(), Options::default()).expect("reopens");
        let ledger = Ledger::open(store).expect("loads");
        println!("users loaded: {}", ledger.directory("corp").user_count());
        println!("memory with the view: {} MB above {before} MB", memory("VmRSS") - before);
    });
}

/// New titles for 1 % of the users and groups, and one member less for 10 % of
/// the groups in odd rounds, back again in even ones.
fn one_percent(size: Size, round: u32) -> Commit {
    let users = (0..size.users).step_by(100).map(|slot| {
        let mut item = common::user(slot);
        item.user.title = Some(format!("Title {round}"));
        Change::User { slot, record: record::encode_user(&item), put: Put::Updated }
    });
    let groups = (0..size.groups).step_by(100).map(|slot| {
        let mut item = common::group(slot);
        item.group.description = Some(format!("Round {round}"));
        Change::Group { slot, record: record::encode_group(&item), put: Put::Updated }
    });
    let edges = (0..size.groups).step_by(10).filter_map(|slot| {
        let member = common::members(size, slot).first().copied()?;
        let added = round.is_multiple_of(2);
        let layer = Layer::Listed;
        Some(Change::Edges { group: slot, layer, added, visible: true, members: vec![member] })
    });
    let (removed, added) = edges.partition::<Vec<_>, _>(|_| !round.is_multiple_of(2));
    let changes = removed.into_iter().chain(users).chain(groups).chain(added).collect();
    Commit {
        occurred_at: clock::now(),
        changes,
        ..first_commit(Size { users: 0, groups: 0, ..size })
    }
}

fn timed(what: &str, work: impl FnOnce()) {
    let (wall, start) = (clock::instant(), cpu());
    work();
    let wall = (clock::instant() - wall).as_secs_f64();
    println!("{what}: {wall:.2} s ({:.2} s CPU)", (cpu() - start).as_secs_f64());
}
