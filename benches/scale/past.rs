//! Questions to the journal and about the past, and the snapshot.

use std::hint::black_box;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rosterd::store::record;

use super::asker::{Asker, ask, drink, get};
use super::floors;
use super::house::House;
use super::measure::{cost, p50_p99};
use super::population::Moment;

/// Events that are read, at most.
const EVENTS: u64 = 1_000_000;
const QUESTIONS: usize = 2_000;

/// All of them; `middle` is a moment before the last commit.
pub fn run(house: &House, asker: &Asker, middle: &str) {
    journal(house, asker);
    as_of(house, middle);
    snapshot(house, asker);
}

fn journal(house: &House, asker: &Asker) {
    let last = house.store.last_seq();
    let (from, count) = (last.saturating_sub(EVENTS), last.min(EVENTS));
    let (reading, read) = cost(Some(asker), || {
        let (mut after, mut read) = (from, 0);
        while after < last {
            let events = house.store.events(after, 1_000).expect("reads");
            read += events.len() as u64;
            after = events.last().map_or(u64::MAX, |event| event.seq);
        }
        read
    });
    assert_eq!(read, count, "the journal has a gap");
    reading.print("journal read back");
    println!("{:<34} {:>8.0} events/s", "", read as f64 / reading.wall.as_secs_f64());
    let view = house.ledger.directory("corp");
    let slots: Vec<u32> = view.user_slots().collect();
    let (decoding, ()) = cost(None, || {
        for number in 0..read as usize {
            let slot = slots[number.wrapping_mul(40_503) % slots.len()];
            let record = view.user_record(slot).unwrap_or_default();
            black_box(record::decode_user(record).is_ok());
        }
    });
    println!(
        "{:<34} {:>8.0} events/s",
        "  floor: a user decoded for each",
        read as f64 / decoding.wall.as_secs_f64()
    );
}

fn as_of(house: &House, middle: &str) {
    let view = house.ledger.directory("corp");
    let store = &house.store;
    let (first, last) = (store.oldest_history_seq().max(1), store.last_seq());
    let slots: Vec<u32> = view.user_slots().collect();
    let mut rng = Rng::with_seed(1);
    let mut times: Vec<Duration> = (0..QUESTIONS)
        .map(|_| {
            let (slot, seq) = (slots[rng.usize(..slots.len())], rng.u64(first..=last));
            let started = Instant::now();
            let now = view.groups_of_user(slot);
            black_box(store.groups_of_user_at("corp", slot, now, seq).expect("answers"));
            started.elapsed()
        })
        .collect();
    print("groups of a user at a seq", &mut times);
    let at = Moment::default();
    let over_the_socket = |suffix: &str| {
        let mut stream = UnixStream::connect(&house.sockets.rosterd).expect("connects");
        let mut rng = Rng::with_seed(2);
        (0..QUESTIONS)
            .map(|_| {
                let user = house.population.id_on(rng.u32(..house.population.users), at);
                let group = house.population.group_id(rng.u32(..house.population.groups), at);
                let request = get(&format!("/v1/check?user={user}&group={group}{suffix}"));
                let started = Instant::now();
                black_box(ask(&mut stream, &request));
                started.elapsed()
            })
            .collect::<Vec<Duration>>()
    };
    print("check with at=, over the socket", &mut over_the_socket(&format!("&at={middle}")));
    print("  peer: check of now", &mut over_the_socket(""));
}

fn snapshot(house: &House, asker: &Asker) {
    let (reading, bytes) = cost(Some(asker), || drink(&house.sockets.rosterd, "/v1/snapshot"));
    reading.print("snapshot");
    println!(
        "{:<34} {} MB; the same bytes through a bare socket: {:.3} s wall",
        "",
        bytes >> 20,
        floors::pour(bytes)
    );
}

fn print(what: &str, times: &mut [Duration]) {
    let (p50, p99) = p50_p99(times);
    println!("{what:<34} p50 {p50:.1?} p99 {p99:.1?}");
}
