//! Retention goes on while a question about the past is answered.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;
use serde_json::Value;

use super::fixture::{World, edges, group, user};
use super::history::{History, gone, renamed};
use crate::clock::{Duration, Timestamp};
use crate::model::{Change, Group, Layer, MemberKind, MemberObject, User};
use crate::query::{Journal, JournalError};
use crate::store::{Asked, Happenings, Kept, Part, Retention, Store};

/// Does something to the store before each read of it.
struct Overtaken<F> {
    store: Store,
    before: F,
}

/// Hands each call on to the store.
macro_rules! hand_on {
    ($($name:ident($($argument:ident: $of:ty),*) -> $answer:ty;)*) => {
        impl<F: Fn(&Store, &str) + Send + Sync> Journal for Overtaken<F> {
            $(fn $name(&self, $($argument: $of),*) -> $answer {
                (self.before)(&self.store, stringify!($name));
                Journal::$name(&self.store, $($argument),*)
            })*
        }
    };
}

type Answer<T> = Result<T, JournalError>;

hand_on! {
    oldest_seq() -> u64;
    read(asked: &Asked<'_>) -> Answer<Part>;
    history_start(directory: &str) -> Answer<Option<u64>>;
    seq_at(at: Timestamp) -> Answer<Option<u64>>;
    oldest_state() -> Answer<(u64, Option<Timestamp>)>;
    time_of(seq: u64) -> Answer<Option<Timestamp>>;
    formerly_named(directory: &str, kind: MemberKind, text: &str) -> Answer<Vec<u32>>;
    last_named(directory: &str, kind: MemberKind, slot: u32, text: &str) -> Answer<Option<u64>>;
    count_at(directory: &str, kind: MemberKind, seq: u64) -> Answer<u64>;
    objects_at(
        directory: &str, kind: MemberKind, from: u32, limit: usize, seq: u64
    ) -> Answer<Vec<(u32, MemberObject)>>;
    happenings(
        directory: &str, object: (MemberKind, u32), range: RangeInclusive<u64>,
        after: u64, limit: usize
    ) -> Answer<Happenings>;
    groups_of_user_at(directory: &str, user: u32, current: &[u32], seq: u64) -> Answer<Vec<u32>>;
    parents_of_group_at(directory: &str, group: u32, current: &[u32], seq: u64) -> Answer<Vec<u32>>;
    members_of_group_at(
        directory: &str, group: u32, current: (&[u32], &[u32]), seq: u64
    ) -> Answer<(Vec<u32>, Vec<u32>)>;
    user_at(directory: &str, user: u32, seq: u64) -> Answer<Option<User>>;
    group_at(directory: &str, group: u32, seq: u64) -> Answer<Option<Group>>;
}

/// ada is renamed every 100 s, and in a group from 300 s on; bob is there until
/// 400 s, comes back at 600 s, and is gone for good at 700 s.
fn history() -> History {
    let mut history = History::new();
    let bob = |slot| user(slot, "u2", "bob", "bob@x");
    let first = vec![user(0, "u1", "ada1", "ada@x"), bob(1), group(0, "g1", "eng")];
    history.commit(100, [first, vec![edges(0, Layer::Listed, &[1])]].concat());
    for hundreds in 2..9 {
        let ada = renamed(user(0, "u1", &format!("ada{hundreds}"), "ada@x"));
        let also = match hundreds {
            3 => vec![edges(0, Layer::Listed, &[0])],
            4 => vec![gone(0, Layer::Listed, &[1]), Change::UserDeleted { slot: 1, visible: true }],
            6 => vec![bob(2), edges(0, Layer::Listed, &[2])],
            7 => vec![gone(0, Layer::Listed, &[2]), Change::UserDeleted { slot: 2, visible: true }],
            _ => vec![],
        };
        history.commit(hundreds * 100, [vec![ada], also].concat());
    }
    history
}

/// Lets go of all up to a second.
fn prune_to(store: &Store, second: u64) {
    let kept = Kept::for_age(Duration::ZERO);
    let retention = Retention { journal: kept, history: kept };
    while store.prune(Timestamp(second * 1000), &retention).unwrap().more {}
}

fn world(history: &History, before: impl Fn(&Store, &str) + Send + Sync + 'static) -> World {
    let mut world = history.world();
    world.sources.journal = Arc::new(Overtaken { store: history.store.clone(), before });
    world
}

/// An answer without its age.
async fn get(world: &World, uri: &str) -> (StatusCode, Value) {
    let (status, mut body) = world.get(uri).await;
    for name in ["as_of", "age_seconds", "directories"] {
        body.as_object_mut().unwrap().remove(name);
    }
    (status, body)
}

/// The answer when retention goes on before the nth read; how many reads it took.
async fn raced(uri: &str, nth: u64) -> ((StatusCode, Value), u64) {
    let history = history();
    let reads = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&reads);
    let world = world(&history, move |store, _| {
        if count.fetch_add(1, Ordering::SeqCst) == nth {
            prune_to(store, 520);
        }
    });
    (get(&world, uri).await, reads.load(Ordering::SeqCst))
}

#[tokio::test]
async fn an_answer_that_retention_overtakes_is_one_of_before_or_of_after() {
    let at = format!("at={}", Timestamp(150_000));
    for uri in [
        format!("/v1/users/u1?{at}"),
        format!("/v1/users/bob?{at}"),
        format!("/v1/groups/g1/members?nested=true&{at}"),
        format!("/v1/check?user=bob&group=eng&{at}"),
        format!("/v1/users?{at}"),
        "/v1/users/u1/history".to_owned(),
        "/v1/users/u2/history".to_owned(),
        "/v1/users/u2/history?since=7".to_owned(),
        "/v1/groups/g1/history".to_owned(),
        format!("/v1/users/ada1/history?{at}"),
    ] {
        let (whole, reads) = raced(&uri, u64::MAX).await;
        let (after, _) = raced(&uri, 0).await;
        assert_ne!(whole, after, "{uri}");
        for nth in 1..reads {
            let (found, _) = raced(&uri, nth).await;
            // What is gone may be told by the directory or by the moment.
            let is_gone = |status: StatusCode| status == StatusCode::GONE;
            let both_gone = is_gone(found.0) && is_gone(after.0);
            assert!(
                found == whole || found == after || both_gone,
                "{uri}, overtaken before read {nth}: {found:?}\nbefore: {whole:?}\nafter: {after:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_history_is_read_anew_a_few_times_and_then_refused() {
    let overtaken = async |times: u64| {
        let history = history();
        let readings = AtomicU64::new(0);
        let world = world(&history, move |store, read| {
            let reading = readings.load(Ordering::SeqCst);
            if read == "happenings" && reading < times {
                readings.store(reading + 1, Ordering::SeqCst);
                prune_to(store, (reading + 3) * 100);
            }
        });
        get(&world, "/v1/users/u1/history").await
    };
    assert_eq!(overtaken(0).await.1["total"], 8);
    let (status, body) = overtaken(2).await;
    assert_eq!(
        (status, &body["total"], &body["start"]["exists"]),
        (StatusCode::OK, &4.into(), &true.into())
    );
    let (status, body) = overtaken(3).await;
    assert_eq!((status, &body["directory"]), (StatusCode::GONE, &"corp".into()));
    assert!(body["oldest_at"].is_string(), "{body}");
}
