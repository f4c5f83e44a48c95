//! What a filter lets through, and what of the rest a reader is told.

use std::sync::atomic::Ordering;

use http::Request;
use serde_json::{Value, json};

use super::fixture::{World, event, world};
use super::watching::Stream;
use crate::model::{Event, EventKind};

fn seqs(body: &Value) -> Vec<u64> {
    body["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect()
}

fn synced(seq: u64) -> Event {
    Event { kind: EventKind::DirectorySynced, directory: "partner".into(), ..event(seq) }
}

/// A world whose journal holds 1..=10; 4 and 8 are of another type and directory.
fn told() -> World {
    let world = world();
    let one = |seq| if seq % 4 == 0 { synced(seq) } else { event(seq) };
    world.journal.events.lock().unwrap().extend((1..=10).map(one));
    world
}

#[tokio::test]
async fn a_filter_leaves_out_the_rest_and_the_cursor_goes_on_past_it() {
    let world = told();
    for query in [
        "type=directory.*",
        "type=directory.synced,group.*",
        "type=directory.synced&type=user.deleted",
        "directory=partner",
        "directory=partner,nobody",
        "type=directory.*&tenant=acme&product=vpn",
    ] {
        let (status, body) = world.get(&format!("/v1/events?after=1&{query}")).await;
        assert_eq!((status.as_u16(), seqs(&body)), (200, vec![4, 8]), "{query}");
        assert_eq!((&body["seq"], &body["next_cursor"]), (&json!(10), &Value::Null));
        assert_eq!(body["total"], Value::Null, "it is not counted, so it is not told");
        let (_, body) = world.get(&format!("/v1/events?after=1&limit=1&{query}")).await;
        assert_eq!((seqs(&body), &body["next_cursor"]), (vec![4], &json!("4")));
    }
    let (_, body) = world.get("/v1/events?after=1&tenant=other").await;
    assert_eq!((seqs(&body), &body["seq"]), (vec![], &json!(10)));
    let (_, body) = world.get("/v1/events?after=1&type=*").await;
    assert_eq!((seqs(&body).len(), &body["total"]), (9, &json!(9)));
}

#[tokio::test]
async fn a_filter_that_can_match_nothing_is_refused() {
    let world = told();
    let (status, body) = world.get("/v1/events?type=user.*,grup.*").await;
    assert_eq!((status.as_u16(), &body["detail"]), (400, &json!("no event is called `grup.*`")));
    assert!(body["hint"].as_str().unwrap().contains("group.created"), "{body}");
    for query in ["type=", "directory=", "directory=a,,b", "tenant=a,", "limit=1&limit=2"] {
        assert_eq!(world.get(&format!("/v1/events?{query}")).await.0, 400, "{query}");
    }
    let stream = Request::get("/v1/events?type=x").header("accept", "text/event-stream");
    assert_eq!(world.send(stream, "").await.0, 400);
}

#[tokio::test]
async fn an_answer_tells_the_age_of_the_directories_it_is_about() {
    let world = told();
    let (_, body) = world.get("/v1/events?directory=corp,nobody").await;
    let directories = body["directories"].as_object().unwrap();
    assert_eq!(directories.keys().collect::<Vec<_>>(), ["corp", "nobody"]);
    assert!(directories["corp"]["age_seconds"].is_u64());
    assert_eq!(directories["nobody"]["as_of"], Value::Null, "never synced, which is not empty");
    let (_, body) = world.get("/v1/events?tenant=other").await;
    assert_eq!(body["directories"], json!({}));
}

#[tokio::test]
async fn a_long_poll_waits_on_while_only_other_events_come() {
    let world = told();
    let asked = world.get("/v1/events?after=10&type=directory.*&wait=60s");
    let others = async {
        world.tell(11);
        // It has read on past the one it does not want.
        while world.journal.read_to.load(Ordering::SeqCst) < 11 {
            tokio::task::yield_now().await;
        }
        world.journal.events.lock().unwrap().push(synced(12));
        world.show(12);
    };
    let ((status, body), ()) = tokio::join!(asked, others);
    assert_eq!((status.as_u16(), seqs(&body), &body["seq"]), (200, vec![12], &json!(12)));
}

/// A long journal of which a reader of `directory.*` wants the last only.
fn long() -> World {
    let world = told();
    world.journal.events.lock().unwrap().extend((11..=199).map(event).chain([synced(200)]));
    world.show(200);
    world
}

#[tokio::test]
async fn one_answer_passes_over_so_many_events_and_tells_how_far_it_came() {
    let world = long();
    let (mut after, mut seen, mut pages) = (8, Vec::new(), 0);
    loop {
        let uri = format!("/v1/events?after={after}&type=directory.*&wait=60s");
        let (_, body) = world.get(&uri).await;
        seen.extend(seqs(&body));
        let seq = body["seq"].as_u64().unwrap();
        assert!(seq > after && seq <= after + 50, "{after} {seq}");
        (after, pages) = (seq, pages + 1);
        match body["next_cursor"].as_str() {
            Some(cursor) => assert_eq!(cursor, seq.to_string()),
            None => break,
        }
    }
    assert_eq!((after, seen, pages), (200, vec![200], 4));
}

#[tokio::test]
async fn a_stream_tells_where_it_is_by_ids_without_data() {
    let world = long();
    let mut stream = Stream::open(&world, "/v1/events?after=8&type=directory.*", None).await;
    while !stream.text.contains("data: ") {
        stream.chunk().await.unwrap();
    }
    let parts: Vec<&str> = stream.text.split_terminator("\n\n").collect();
    assert_eq!(parts[1..4], [": alive\nid: 58", ": alive\nid: 108", ": alive\nid: 158"]);
    assert!(parts[4].starts_with("id: 200\nevent: directory.synced\ndata: {"), "{}", parts[4]);
    let mut resumed =
        Stream::open(&world, "/v1/events?type=directory.*&after=8", Some("158")).await;
    resumed.chunk().await.unwrap();
    assert!(resumed.text.starts_with(": after 158\n"), "{}", resumed.text);
    assert!(resumed.text.contains("\n\nid: 200\n"), "{}", resumed.text);
}

#[tokio::test]
async fn a_snapshot_of_some_directories_holds_them_alone() {
    let world = world();
    for query in ["directory=partner", "directory=partner&tenant=acme"] {
        let request = Request::get(format!("/v1/snapshot?{query}"));
        let (status, _, body) = world.send(request, "").await;
        let text = body.as_str().unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (start, end) = (&lines[0], lines.last().unwrap());
        assert_eq!((status.as_u16(), &start["seq"], &end["seq"]), (200, &json!(10), &json!(10)));
        assert_eq!(start["directories"].as_object().unwrap().len(), 1);
        assert_eq!((lines.len(), &end["count"]), (5, &json!(3)), "{text}");
        assert!(lines[1..4].iter().all(|line| line["directory"] == "partner"), "{text}");
    }
    for query in ["directory=nobody", "tenant=nobody", "directory=corp,nobody", "product=x"] {
        let (status, body) = world.get(&format!("/v1/snapshot?{query}")).await;
        assert_eq!(status, 404, "what nobody knows is not empty: {query}: {body}");
    }
    assert_eq!(world.get("/v1/snapshot?type=user.*").await.0, 400);
}
