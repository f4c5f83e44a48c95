//! Membership changes wait, and are merged between and beside commits.

use super::crash::{NAMES, Run};
use super::world::{World, loaded};
use crate::model::Change;
use crate::store::Store;

fn rows(store: &Store, prefix: &[u8]) -> usize {
    store.slot().as_ref().unwrap().rows(prefix).unwrap().count()
}

/// A run in the middle of a merge.
fn half_merged() -> Run {
    let mut run = Run::new();
    for seed in 1..40 {
        run.step(0, seed, 30, 0, false);
        run.merging = run.store().merging().unwrap();
        run.merge_some(u64::from(run.merging.is_some()));
        if run.merging.is_some() {
            return run;
        }
    }
    panic!("nothing waits");
}

#[test]
fn what_waits_is_merged_in_pieces_between_which_commits_go_on() {
    let (mut together, mut begun) = (0, 0);
    for seed in 0..6 {
        let mut run = half_merged();
        let mut at = 100 * seed;
        while run.merging.is_some() {
            run.check();
            run.step(0, at, 12, 0, at % 5 == 0);
            at += 1;
        }
        together = together.max(at - 100 * seed);
        begun += 1;
        run.store().merge_all().unwrap();
        assert_eq!(rows(run.store(), b"c"), 0);
        run.finish();
    }
    assert!(begun == 6 && together > 2, "{together}");
}

#[test]
fn a_merge_that_fails_anywhere_is_begun_anew() {
    let mut failed = 0;
    for fault in 1..40 {
        let mut run = half_merged();
        let mut merging = run.merging.take().unwrap();
        run.store().slot().as_ref().unwrap().faults.fail_from(fault);
        let outcome = loop {
            match run.store().merge(&mut merging) {
                Ok(true) => {}
                outcome => break outcome,
            }
        };
        failed += usize::from(outcome.is_err());
        run.reopen();
        run.check();
        run.step(0, fault as u64, 12, 0, false);
        run.store().merge_all().unwrap();
        run.check();
        assert_eq!(rows(run.store(), b"c"), 0);
    }
    assert!(failed > 3, "{failed}");
}

#[test]
fn a_directory_that_is_gone_or_of_another_store_gets_no_rows() {
    let mut run = half_merged();
    let (_, mut commit) = run.worlds[0].step(&mut fastrand::Rng::with_seed(1), NAMES[0], 0);
    commit.changes = vec![Change::Cleared];
    run.store().commit(&commit).unwrap();
    let mut merging = run.merging.take().unwrap();
    assert!(!run.store().merge(&mut merging).unwrap());
    assert_eq!(loaded(run.store(), NAMES[0]), World::default());

    let mut run = half_merged();
    run.store().set_aside("a test").unwrap();
    let (_, commit) = World::default().step(&mut fastrand::Rng::with_seed(1), "other", 0);
    run.store().commit(&commit).unwrap();
    let mut merging = run.merging.take().unwrap();
    assert!(!run.store().merge(&mut merging).unwrap(), "it is of another store");
    assert_eq!((rows(run.store(), b"e"), rows(run.store(), b"c")), (0, 0));
}

#[test]
fn only_the_merge_that_was_begun_last_goes_on() {
    let mut run = half_merged();
    let mut older = run.merging.take().unwrap();
    let mut younger = run.store().merging().unwrap().unwrap();
    run.store().merge(&mut younger).unwrap();
    assert!(!run.store().merge(&mut older).unwrap());
    while run.store().merge(&mut younger).unwrap() {}
    run.check();
    run.finish();
}

#[test]
fn the_first_memberships_of_a_directory_do_not_wait() {
    let mut run = Run::new();
    run.step(0, 1, 30, 0, false);
    let members = run.worlds[0].edges.len();
    assert!(members > 5 && rows(run.store(), b"e") > 0, "{members}");
    assert_eq!(rows(run.store(), b"c"), 0);
    run.store().merge_all().unwrap();
    assert_eq!(loaded(run.store(), NAMES[0]), run.worlds[0]);
}

#[test]
fn nothing_is_left_of_members_and_groups_that_went() {
    let run = half_merged();
    // All groups go, and with them all that is merged or waits.
    let mut world = run.worlds[0].clone();
    let (_, mut commit) = world.step(&mut fastrand::Rng::with_seed(1), NAMES[0], 0);
    let edges = std::mem::take(&mut world.edges);
    let removals = edges.into_iter().map(|(group, layer, member)| Change::Edges {
        group,
        layer,
        added: false,
        visible: false,
        members: vec![member],
    });
    let groups =
        world.groups.keys().map(|slot| Change::GroupDeleted { slot: *slot, visible: false });
    commit.changes = removals.chain(groups).collect();
    run.store().commit(&commit).unwrap();
    world.groups.clear();
    world.unresolved.clear();
    assert_eq!(loaded(run.store(), NAMES[0]), world);
    run.store().merge_all().unwrap();
    assert_eq!(loaded(run.store(), NAMES[0]), world);
    assert_eq!((rows(run.store(), b"e"), rows(run.store(), b"c")), (0, 0));
}
