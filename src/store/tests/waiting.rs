//! Membership changes wait, and are merged between and beside commits.

use super::crash::{NAMES, Run};
use super::world::{World, loaded};
use crate::model::{Change, Layer};
use crate::store::engine::Batch;
use crate::store::row::{self, Side};
use crate::store::{Merging, Store};

fn rows(store: &Store, prefix: &[u8]) -> usize {
    store.slot().as_ref().unwrap().rows(prefix).unwrap().count()
}

/// A run in the middle of a merge.
fn half_merged() -> (Run, Merging) {
    let mut run = Run::new();
    for seed in 1..40 {
        run.step(0, seed, 30, 0, false);
        if let Some(mut merging) = run.store().begin_merge().unwrap()
            && run.store().merge(&mut merging).unwrap()
        {
            return (run, merging);
        }
    }
    panic!("nothing waits");
}

/// Goes on to the end; how many pieces it took.
fn finish(store: &Store, merging: &mut Merging) -> u32 {
    let mut pieces = 1;
    while store.merge(merging).unwrap() {
        pieces += 1;
    }
    pieces
}

#[test]
fn what_waits_is_merged_in_pieces_between_which_commits_go_on() {
    let mut most = 0;
    for seed in 0..6 {
        let (mut run, merging) = half_merged();
        let (mut merging, mut commits) = (Some(merging), 0);
        while let Some(mut piece) = merging.take() {
            // A step would begin merges of its own.
            let mut random = fastrand::Rng::with_seed(100 * seed + commits);
            let (after, commit) = run.worlds[0].step(&mut random, NAMES[0], 12);
            run.store().commit(&commit).unwrap();
            run.worlds[0] = after;
            run.check();
            commits += 1;
            merging = run.store().merge(&mut piece).unwrap().then_some(piece);
            run.check();
        }
        most = most.max(commits);
        run.store().merge_all().unwrap();
        run.finish();
    }
    assert!(most > 2, "no merge took more than {most} pieces");
}

#[test]
fn a_merge_that_fails_anywhere_is_begun_anew() {
    let mut failed = 0;
    for fault in 1..40 {
        let (mut run, mut merging) = half_merged();
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

/// An error may have lost the pieces before it, or the one it was met in.
#[test]
fn no_merge_goes_on_after_an_error() {
    let (mut run, mut merging) = half_merged();
    let waiting = rows(run.store(), b"c");
    run.store().slot().as_ref().unwrap().give_up();
    assert!(!run.store().merge(&mut merging).unwrap(), "the files were opened again");
    assert_eq!(rows(run.store(), b"c"), waiting);

    run.check();
    let (run, mut merging) = half_merged();
    let waiting = rows(run.store(), b"c");
    damage_chunks(run.store());
    while run.store().merge(&mut merging).is_ok_and(|more| more) {}
    assert!(run.store().is_in_doubt(), "the damage was met");
    assert!(!run.store().merge(&mut merging).unwrap(), "what it had in hand is not merged");
    assert_eq!(rows(run.store(), b"c"), waiting);
}

/// Every chunk is there, and none can be read.
fn damage_chunks(store: &Store) {
    let slot = store.slot();
    let engine = slot.as_ref().unwrap();
    let keys: Vec<_> = engine.rows(b"e").unwrap().map(|row| row.unwrap().key).collect();
    let mut batch = Batch::default();
    keys.into_iter().for_each(|key| batch.put(key, &[]));
    engine.write(&mut batch).unwrap();
}

#[test]
fn a_rewrite_between_the_pieces_takes_along_what_was_merged() {
    let (mut run, mut merging) = half_merged();
    run.store().rewrite_now().unwrap();
    finish(run.store(), &mut merging);
    run.check();
    run.store().merge_all().unwrap();
    run.finish();
}

#[test]
fn a_directory_that_is_gone_or_of_another_store_gets_no_rows() {
    let (run, mut merging) = half_merged();
    let (_, mut commit) = run.worlds[0].step(&mut fastrand::Rng::with_seed(1), NAMES[0], 0);
    commit.changes = vec![Change::Cleared];
    run.store().commit(&commit).unwrap();
    let before = (rows(run.store(), b"e"), rows(run.store(), b"c"));
    assert!(!run.store().merge(&mut merging).unwrap());
    assert_eq!((rows(run.store(), b"e"), rows(run.store(), b"c")), before);

    let (run, mut merging) = half_merged();
    run.store().set_aside("a test").unwrap();
    let (_, commit) = World::default().step(&mut fastrand::Rng::with_seed(1), "other", 0);
    run.store().commit(&commit).unwrap();
    let before = rows(run.store(), b"e");
    for _ in 0..50 {
        assert!(!run.store().merge(&mut merging).unwrap(), "it is of another store");
        assert!(run.store().begin_merge().unwrap().is_none());
    }
    assert_eq!((rows(run.store(), b"e"), rows(run.store(), b"c")), (before, 0));
}

#[test]
fn only_the_merge_that_was_begun_last_goes_on() {
    let (mut run, mut older) = half_merged();
    let mut younger = run.store().begin_merge().unwrap().unwrap();
    run.store().merge(&mut younger).unwrap();
    assert!(!run.store().merge(&mut older).unwrap());
    finish(run.store(), &mut younger);
    run.check();
    run.finish();
}

#[test]
fn loading_merges_when_very_much_waits() {
    let mut run = Run::new();
    let (mut waited, mut thinned) = (0, 0);
    for seed in 1..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (after, commit) = run.worlds[0].step(&mut random, NAMES[0], 30);
        run.store().commit(&commit).unwrap();
        run.worlds[0] = after;
        let before = rows(run.store(), b"c");
        run.check();
        waited = waited.max(before);
        thinned += usize::from(rows(run.store(), b"c") < before);
    }
    assert!(thinned > 0 && waited < 60, "{thinned} {waited}");
    run.finish();
}

/// An older version cut what it derives in other places; or never finished.
#[test]
fn what_another_attempt_at_a_commit_left_is_not_believed() {
    let mut run = Run::new();
    for seed in 1..5 {
        run.step(0, seed, 40, 0, false);
    }
    let head = run.store().published();
    let (marker, dir) = (&head.marker, head.dirs[NAMES[0]].id);
    let asked = |run: &Run| {
        let users = 0..run.worlds[0].next_user;
        let questions =
            users.flat_map(|user| (marker.first_seq..=marker.last_seq).map(move |seq| (user, seq)));
        let answer = |(user, seq)| {
            let now = run.worlds[0].groups_of_user(user);
            run.store().groups_of_user_at(NAMES[0], user, &now, seq).unwrap()
        };
        questions.map(answer).collect::<Vec<_>>()
    };
    let before = asked(&run);
    assert!(!run.worlds[0].edges.contains(&(0, Layer::Listed, 0)));
    {
        let slot = run.store().slot();
        let engine = slot.as_ref().unwrap();
        let side = Side::GroupsOfUser;
        let from = row::history_at(dir, side, marker.first_seq, 0, 0);
        let real = engine.rows_from(&row::history_side(dir, side), &from).unwrap().next().unwrap();
        let (real, _) = row::read_history(&real.unwrap().key).unwrap();
        assert!(real + 2 < marker.last_seq, "there is room for a run within it");
        let mut batch = Batch::default();
        // User 0 joins group 0, in a part that this version does not write.
        batch.put(row::waiting_at(dir, marker.commit, 9, 0), &[0, 1]);
        // A run that begins within the real one, and hides it from questions.
        let hiding = (marker.last_seq, true, Vec::<u8>::new());
        batch.put_encoded(row::history_at(dir, side, real + 1, 0, 0), &hiding).unwrap();
        batch.put_encoded(row::APPLIED.to_vec(), &(marker.commit - 1)).unwrap();
        engine.write(&mut batch).unwrap();
    }
    assert_ne!(asked(&run), before, "it does harm");
    run.reopen();
    run.check();
    assert_eq!(asked(&run), before);
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
    let (run, _) = half_merged();
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
