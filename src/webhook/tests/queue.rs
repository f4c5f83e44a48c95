//! The scheduler alone, against a plain account of what may overtake what.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::clock::Instant;
use crate::webhook::queue::{Queue, Rules};

const ROOM: usize = 12;
const SECOND: Duration = Duration::from_secs(1);

/// What an event speaks of, as a receiver sees it.
#[derive(Clone, Debug)]
enum About {
    User(u8),
    Group(u8),
    Member(u8, u8),
    Subgroup(u8, u8),
    Directory,
    Nothing,
}

fn about() -> impl Strategy<Value = (bool, About)> {
    let about = prop_oneof![
        4 => (0..5u8).prop_map(About::User),
        2 => (0..3u8).prop_map(About::Group),
        4 => (0..3u8, 0..5u8).prop_map(|(group, user)| About::Member(group, user)),
        1 => (0..3u8, 0..3u8).prop_map(|(group, inner)| About::Subgroup(group, inner)),
        1 => Just(About::Directory),
        1 => Just(About::Nothing),
    ];
    (any::<bool>(), about)
}

fn event(seq: u64, (first, about): &(bool, About)) -> Event {
    let directory = match about {
        About::Nothing => "",
        _ if *first => "corp",
        _ => "lab",
    };
    let named = |number: &u8| group(usize::from(*number));
    let payload = match about {
        About::User(number) => Payload::User { user: user(usize::from(*number)), previous: None },
        About::Group(number) => Payload::Group { group: named(number), previous: None },
        About::Member(group, member) => Payload::Membership {
            group: named(group),
            member: MemberObject::User(user(usize::from(*member))),
        },
        About::Subgroup(group, member) => {
            Payload::Membership { group: named(group), member: MemberObject::Group(named(member)) }
        }
        About::Directory | About::Nothing => Payload::Directory { details: Attributes::new() },
    };
    Event {
        id: format!("evt_{seq}"),
        seq,
        kind: EventKind::UserCreated,
        occurred_at: Timestamp(seq),
        tenant: "acme".into(),
        product: "vpn".into(),
        directory: directory.into(),
        payload,
    }
}

/// Whether the later of two events has to wait for the earlier.
fn waits((a_first, a): &(bool, About), (b_first, b): &(bool, About)) -> bool {
    let ids = |about: &About| match *about {
        About::User(user) => vec![(0, user)],
        About::Group(group) => vec![(1, group)],
        About::Member(group, user) => vec![(1, group), (0, user)],
        About::Subgroup(group, inner) => vec![(1, group), (1, inner)],
        About::Directory | About::Nothing => vec![],
    };
    match (a, b) {
        (About::Nothing, _) | (_, About::Nothing) => false,
        _ if a_first != b_first => false,
        (About::Directory, _) | (_, About::Directory) => true,
        _ => ids(a).iter().any(|id| ids(b).contains(id)),
    }
}

fn rules(per_user: bool, concurrency: usize, batch_max: usize) -> Rules {
    Rules { per_user, concurrency, batch_max, batch_apart: false, room: ROOM }
}

/// Runs all events through a queue whose deliveries end in random order, some
/// of them badly; returns the deliveries as they were accepted.
fn run(rules: Rules, told: &[(bool, About)], seed: u64) -> Vec<Vec<u64>> {
    let (mut random, mut now) = (fastrand::Rng::with_seed(seed), clock::instant());
    let mut queue = Queue::new(rules, 0, &[]);
    let mut open: BTreeSet<u64> = BTreeSet::new();
    let (mut under_way, mut accepted) = (Vec::new(), Vec::new());
    let mut broken = BTreeMap::new();
    while queue.cursor() < told.len() as u64 {
        while queue.read() < told.len() as u64 && queue.room() > 0 && random.u8(0..4) > 0 {
            let seq = queue.read() + 1;
            if random.u8(0..8) == 0 {
                queue.skip_to(seq);
            } else {
                queue.add(event(seq, &told[seq as usize - 1]));
                open.insert(seq);
            }
        }
        assert!(queue.len() <= ROOM.max(rules.batch_max), "the window is bounded");
        assert!(queue.cursor() < open.first().copied().unwrap_or(u64::MAX), "nothing is passed");
        while let Some(parcel) = queue.next(now) {
            let seqs: Vec<u64> = parcel.events.iter().map(|event| event.seq).collect();
            for earlier in open.range(..parcel.first) {
                let (earlier, later) =
                    (&told[*earlier as usize - 1], &told[parcel.first as usize - 1]);
                assert!(rules.per_user && !waits(earlier, later), "{earlier:?} before {later:?}");
            }
            if let Some(before) = broken.remove(&parcel.first) {
                assert_eq!(before, seqs, "a failed delivery keeps its events");
            }
            under_way.push((parcel.first, seqs));
            assert!(under_way.len() <= rules.concurrency);
        }
        if under_way.is_empty() {
            now = queue.due().filter(|due| *due > now).unwrap_or(now);
            continue;
        }
        let (first, seqs) = under_way.swap_remove(random.usize(0..under_way.len()));
        if random.u8(0..3) == 0 {
            queue.failed(first, Timestamp(1));
            queue.put_off(first, now + SECOND, Timestamp(2));
            broken.insert(first, seqs);
        } else {
            queue.accepted(first);
            seqs.iter().for_each(|seq| assert!(open.remove(seq), "once"));
            accepted.push(seqs);
        }
    }
    assert!(open.is_empty() && under_way.is_empty(), "everything is delivered");
    accepted
}

proptest! {
    #[test]
    fn w5_order_is_kept_per_user_and_group(
        told in prop::collection::vec(about(), 1..80), concurrency in 1..6usize, seed in any::<u64>(),
    ) {
        run(rules(true, concurrency, 1), &told, seed);
    }

    #[test]
    fn w5_order_is_kept_in_batches(
        told in prop::collection::vec(about(), 1..80), batch_max in 1..20usize, seed in any::<u64>(),
    ) {
        let accepted = run(rules(false, 1, batch_max), &told, seed);
        prop_assert!(accepted.iter().all(|batch| batch.len() <= batch_max));
        prop_assert!(accepted.concat().is_sorted());
    }
}

fn queue_of_users(rules: Rules, count: u8) -> Queue {
    let mut queue = Queue::new(rules, 0, &[]);
    for number in 0..count {
        queue.add(event(u64::from(number) + 1, &(true, About::User(number))));
    }
    queue
}

fn all_next(queue: &mut Queue, now: Instant) -> Vec<u64> {
    std::iter::from_fn(|| queue.next(now)).map(|parcel| parcel.first).collect()
}

#[test]
fn while_nothing_succeeds_only_the_oldest_is_tried() {
    let now = clock::instant();
    let mut queue = queue_of_users(rules(true, 3, 1), 5);
    assert_eq!(all_next(&mut queue, now), [1, 2, 3]);
    for first in [1, 2, 3] {
        queue.failed(first, Timestamp(1));
        queue.put_off(first, now + SECOND, Timestamp(2));
    }
    assert!(all_next(&mut queue, now).is_empty());
    assert_eq!(queue.due(), Some(now + SECOND));
    assert_eq!(all_next(&mut queue, now + SECOND), [1]);
    assert!(all_next(&mut queue, now + SECOND).is_empty());
    queue.accepted(1);
    assert_eq!(all_next(&mut queue, now + SECOND), [2, 3, 4]);
}

#[test]
fn the_next_attempt_is_the_one_that_will_be_made() {
    let now = clock::instant();
    let mut queue = queue_of_users(rules(true, 3, 1), 5);
    assert_eq!(queue.next_attempt_at(), None);
    assert_eq!(all_next(&mut queue, now), [1, 2, 3]);
    for (first, seconds) in [(2, 5), (3, 7)] {
        queue.failed(first, Timestamp(1));
        queue.put_off(first, now + seconds * SECOND, Timestamp(seconds.into()));
    }
    // The first is under way, and says nothing yet.
    assert_eq!(queue.next_attempt_at(), Some(Timestamp(5)));
    queue.failed(1, Timestamp(1));
    queue.put_off(1, now + 9 * SECOND, Timestamp(9));
    // It is down: only the oldest is tried, though others would be due before.
    assert_eq!(queue.next_attempt_at(), Some(Timestamp(9)));
    assert_eq!(all_next(&mut queue, now + 9 * SECOND), [1]);
    assert_eq!(queue.next_attempt_at(), None, "it is being made");
    queue.accepted(1);
    assert_eq!(queue.next_attempt_at(), Some(Timestamp(5)));
}

#[test]
fn what_the_receiver_asks_for_holds_back_everything() {
    let now = clock::instant();
    let mut queue = queue_of_users(rules(true, 3, 1), 5);
    assert_eq!(all_next(&mut queue, now), [1, 2, 3]);
    queue.failed(1, Timestamp(1));
    queue.put_off(1, now + SECOND, Timestamp(2));
    queue.hold_off(now + 9 * SECOND, Timestamp(10));
    assert_eq!(queue.next_attempt_at(), Some(Timestamp(10)));
    assert!(all_next(&mut queue, now + 8 * SECOND).is_empty());
    assert_eq!(queue.due(), Some(now + 9 * SECOND));
    assert_eq!(all_next(&mut queue, now + 9 * SECOND), [1]);
}

#[test]
fn one_event_that_fails_again_and_again_does_not_hold_back_the_others() {
    let mut now = clock::instant();
    let mut queue = queue_of_users(rules(true, 3, 1), 1);
    for _ in 0..9 {
        assert_eq!(all_next(&mut queue, now), [1]);
        queue.failed(1, Timestamp(1));
        queue.put_off(1, now + SECOND, Timestamp(2));
        now += SECOND;
    }
    queue.put_off(1, now + SECOND, Timestamp(2));
    queue.add(event(2, &(true, About::User(7))));
    assert_eq!(all_next(&mut queue, now), [2]);
}
