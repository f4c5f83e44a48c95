//! Readers of events that are slow, on a real socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;

use super::clients::{Served, read_to_end, serve};
use super::fixture::{event, world};

const LAST: u64 = 20_000;
const DEAF: &str = "rosterd_feed_readers_dropped_total{reason=\"does not read\"}";
const BEHIND: &str = "rosterd_feed_readers_dropped_total{reason=\"behind\"}";
const READING: &str = "rosterd_feed_readers{kind=\"sse\"}";

fn open(served: &Served, after: u64) -> UnixStream {
    let mut stream = served.connect();
    let head = "host: x\r\naccept: text/event-stream\r\n";
    // A browser repeats its first query, beside the header.
    let request =
        format!("GET /v1/events?after=10 HTTP/1.1\r\n{head}last-event-id: {after}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// The ids of the events that came whole.
fn ids(text: &str) -> Vec<u64> {
    let whole = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
    let parts = whole.split("\n\n").filter(|part| part.contains("\ndata: "));
    let id = |part: &str| part.lines().find_map(|line| line.strip_prefix("id: ")?.parse().ok());
    parts.map(|part| id(part).unwrap()).collect()
}

#[test]
fn a_reader_that_stops_reading_is_dropped_and_goes_on_without_a_gap() {
    let served = serve(world(), 16);
    served.world.journal.events.lock().unwrap().extend((1..=10).map(event));
    let mut deaf = open(&served, 10);
    let mut begun = [0; 64];
    deaf.read_exact(&mut begun).unwrap();
    served.wait_for_metric(READING, 1);
    for first in (11..=LAST).step_by(100) {
        let some = (first..first + 100).take_while(|seq| *seq <= LAST);
        served.world.journal.events.lock().unwrap().extend(some.map(event));
        served.world.show(LAST.min(first + 99));
    }
    served.wait_for_metric(DEAF, 1);
    assert_eq!(served.metric(READING), 0);
    let taken = served.world.journal.given.load(Ordering::SeqCst);
    let got = [begun.as_slice(), &read_to_end(&mut deaf)].concat();
    assert!(!got.ends_with(b"0\r\n\r\n"), "an end in order says that there is no more");
    let mut seen = ids(&String::from_utf8_lossy(&got));
    assert!((1..LAST as usize / 2).contains(&seen.len()), "{}", seen.len());
    // What waits for a reader is a few chunks, however much there is to tell.
    assert!(taken < seen.len() + 8 * 32, "{taken} were read for {}", seen.len());

    let mut resumed = open(&served, *seen.last().unwrap());
    let (mut text, mut buffer) = (String::new(), [0; 65_536]);
    while ids(&text[text.len().saturating_sub(2_000)..]).last() != Some(&LAST) {
        let count = resumed.read(&mut buffer).unwrap();
        assert!(count > 0, "it ended at {:?}", ids(&text).last());
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    seen.extend(ids(&text));
    assert_eq!(seen, (11..=LAST).collect::<Vec<_>>());
}

#[test]
fn a_reader_that_retention_overtook_is_told_where_the_journal_starts() {
    let served = serve(world(), 16);
    let mut behind = open(&served, 10);
    served.wait_for_metric(READING, 1);
    *served.world.journal.oldest.lock().unwrap() = 13;
    served.world.show(13);
    let text = String::from_utf8(read_to_end_of_answer(&mut behind)).unwrap();
    assert!(text.contains("event: problem\ndata: {"), "{text}");
    assert!(text.contains("\"oldest\":13") && text.contains("\"status\":410"), "{text}");
    served.wait_for_metric(BEHIND, 1);
    assert_eq!((served.metric(READING), served.metric(DEAF)), (0, 0));
}

/// Reads until the answer ends in order; the connection stays.
fn read_to_end_of_answer(stream: &mut UnixStream) -> Vec<u8> {
    let (mut bytes, mut one) = (Vec::new(), [0]);
    while !bytes.ends_with(b"\r\n0\r\n\r\n") {
        assert_eq!(stream.read(&mut one).unwrap(), 1, "closed within an answer");
        bytes.push(one[0]);
    }
    bytes
}

#[test]
fn waits_are_counted_while_they_last() {
    const WAITING: &str = "rosterd_feed_readers{kind=\"wait\"}";
    let served = serve(world(), 16);
    let mut waiting = served.connect();
    waiting.write_all(b"GET /v1/events?after=10&wait=60s HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    served.wait_for_metric(WAITING, 1);
    served.world.tell(11);
    let mut answer = [0; 15];
    waiting.read_exact(&mut answer).unwrap();
    assert_eq!((&answer, served.metric(WAITING)), (b"HTTP/1.1 200 OK", 0));
}
