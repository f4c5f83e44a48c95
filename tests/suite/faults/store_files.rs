//! Files of the store that were cut short or have other bits, below the real
//! process: what it says afterwards is right, or it reads everything again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Crew, PATIENCE, crew, wait_for_crew, wait_healthy};
use crate::harness::daemon::Daemon;
use crate::harness::wait_until;

/// The files of a state directory, by their path in it.
type Image = BTreeMap<PathBuf, Vec<u8>>;

fn image_of(state: &Path) -> Image {
    let mut image = Image::new();
    let mut folders = vec![state.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(state).expect("below it").to_owned();
                image.insert(name, std::fs::read(path).expect("readable"));
            }
        }
    }
    image
}

fn put_back(image: &Image, state: &Path) {
    std::fs::remove_dir_all(state).expect("one's own directory");
    for (name, bytes) in image {
        let path = state.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a directory");
        std::fs::write(path, bytes).expect("room");
    }
    std::fs::create_dir_all(state.join("db-1/blobs")).expect("a directory");
}

/// Ways to damage a file: cut at several places, and bits flipped where
/// something is written.
fn damages(bytes: &[u8], random: &mut fastrand::Rng) -> Vec<(String, Vec<u8>)> {
    let len = bytes.len();
    let mut places = vec![0, len / 2, len.saturating_sub(1)];
    places.dedup();
    let mut all: Vec<(String, Vec<u8>)> = places
        .into_iter()
        .filter(|place| *place < len)
        .map(|place| (format!("cut at {place} of {len}"), bytes[..place].to_vec()))
        .collect();
    let written: Vec<usize> = (0..len).filter(|at| bytes[*at] != 0).collect();
    // A short file leads elsewhere by any of its bytes: `db-3` for `db-1`.
    let flips: Vec<(usize, u8)> = if len <= 8 {
        written.iter().map(|at| (*at, 1)).collect()
    } else {
        (0..3.min(written.len()))
            .map(|_| (written[random.usize(..written.len())], random.u8(..8)))
            .collect()
    };
    for (at, bit) in flips {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << bit;
        all.push((format!("bit {bit} of byte {at} flipped"), flipped));
    }
    all
}

#[test]
fn a_damaged_file_leads_to_right_answers_or_to_reading_everything_again() {
    let mut daemon = Daemon::prepare("");
    let mut people = Crew::new(&daemon, 40);
    daemon.configure(&people.block());
    daemon.resume();
    daemon.wait_ready();
    people.join("late");
    wait_for_crew(&daemon, &people.names());
    let told = daemon.events(0);
    daemon.stop(PATIENCE);
    let image = image_of(&daemon.state());
    let mut random = fastrand::Rng::with_seed(4);
    let (mut kept, mut rebuilt) = (0, 0);
    for (name, bytes) in &image {
        for (what, damaged) in damages(bytes, &mut random) {
            let what = format!("{}: {what}", name.display());
            put_back(&image, &daemon.state());
            std::fs::write(daemon.state().join(name), damaged).expect("room");
            daemon.resume();
            if survives(&daemon, &people, &told, &what) {
                assert!(name.starts_with("db-1"), "{what}: what was told is lost");
                rebuilt += 1;
            } else {
                kept += 1;
            }
            daemon.stop(PATIENCE);
        }
    }
    println!("{kept} times nothing was lost, {rebuilt} times everything was read again");
    assert!(kept > 0 && rebuilt > 0);
}

#[test]
fn a_file_that_is_cut_below_the_running_process_costs_no_answer() {
    let mut daemon = Daemon::prepare("");
    let mut people = Crew::new(&daemon, 40);
    daemon.configure(&people.block());
    daemon.resume();
    daemon.wait_ready();
    let database = std::fs::OpenOptions::new().write(true).open(daemon.state().join("db-1/db"));
    let database = database.expect("it is there");
    let length = database.metadata().expect("it is open").len();
    database.set_len(length / 2).expect("one's own file");
    people.join("late");
    wait_for_crew(&daemon, &people.names());
    wait_healthy(&daemon);
    let told = daemon.events(0);
    daemon.stop(PATIENCE);
    daemon.resume();
    survives(&daemon, &people, &told, "cut while it ran");
}

/// Whether everything was read again.
fn survives(daemon: &Daemon, people: &Crew, told: &[Value], what: &str) -> bool {
    // Before the first poll there is the picture of before, or none.
    let shown = crew(daemon);
    assert!(shown.is_empty() || shown == people.names(), "{what}: {shown:?}");
    wait_for_crew(daemon, &people.names());
    wait_healthy(daemon);
    let last = told.last().and_then(|event| event["seq"].as_u64()).expect("events");
    let answer = daemon.request("GET", "/v1/events?after=0&limit=1000", None);
    if answer.status() == 200 {
        let events = daemon.events(0);
        assert_eq!(events[..told.len()], *told, "{what}: other events\n{}", daemon.log());
        assert_eq!(events.len(), told.len(), "{what}: told something\n{}", daemon.log());
        return false;
    }
    // Damage that comes to light only here leads to the same.
    let oldest = wait_until("the journal to go on anew", PATIENCE, || {
        let answer = daemon.request("GET", "/v1/events?after=0", None);
        answer.json()["oldest"].as_u64().ok_or_else(|| answer.text() + &daemon.log())
    });
    assert!(oldest > last, "{what}: a seq is used again");
    let events = daemon.events(oldest - 1);
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap_or("")).collect();
    assert_eq!(kinds, ["directory.synced"], "{what}: {events:?}\n{}", daemon.log());
    assert_eq!(events[0]["data"]["reason"], "rebuilt", "{what}");
    assert_eq!(events[0]["seq"], oldest, "{what}");
    assert_eq!(crew(daemon), people.names(), "{what}");
    true
}
