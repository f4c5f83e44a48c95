//! The journal as its watchers see it.

use std::sync::Arc;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::fixture::{World, event, world};

fn seqs(body: &Value) -> Vec<u64> {
    body["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect()
}

/// A world whose journal holds 1..=10.
fn told() -> World {
    let world = world();
    world.journal.events.lock().unwrap().extend((1..=10).map(event));
    world
}

#[tokio::test]
async fn a_poll_pages_in_order() {
    let world = told();
    let (status, body) = world.get("/v1/events?after=3&limit=4").await;
    assert_eq!((status.as_u16(), seqs(&body)), (200, vec![4, 5, 6, 7]));
    assert_eq!(
        (&body["total"], &body["seq"], &body["last_seq"]),
        (&json!(7), &json!(7), &json!(10))
    );
    assert_eq!(body["events"][0]["data"]["user"]["id"], "u4");
    assert!(body["directories"]["corp"]["age_seconds"].is_u64());
    let cursor = body["next_cursor"].as_str().unwrap();
    let (_, body) = world.get(&format!("/v1/events?cursor={cursor}")).await;
    assert_eq!((seqs(&body), &body["next_cursor"]), (vec![8, 9, 10], &Value::Null));
    let (_, body) = world.get("/v1/events").await;
    assert_eq!(seqs(&body).len(), 10);
    let (_, body) = world.get("/v1/events?after=10").await;
    assert_eq!((seqs(&body), &body["total"], &body["seq"]), (vec![], &json!(0), &json!(10)));
}

#[tokio::test]
async fn what_is_no_longer_kept_is_410_with_the_oldest() {
    let world = told();
    *world.journal.oldest.lock().unwrap() = 5;
    let (status, body) = world.get("/v1/events?after=3").await;
    assert_eq!((status.as_u16(), &body["oldest"]), (410, &json!(5)));
    let (_, body) = world.get("/v1/events").await;
    assert_eq!((seqs(&body)[0], &body["oldest_seq"]), (5, &json!(5)));
    let request = Request::get("/v1/events?after=3").header("accept", "text/event-stream");
    assert_eq!(world.send(request, "").await.0, 410);
    assert_eq!(world.get("/v1/events?after=11").await.0, 400);
    assert_eq!(world.get("/v1/events?after=18446744073709551615").await.0, 400);
    assert_eq!(world.get("/v1/events?after=1&wait=61s").await.0, 400);
    assert_eq!(world.get("/v1/events?after=1&cursor=1").await.0, 400);
}

#[tokio::test]
async fn w4_the_cursor_never_passes_an_event_that_is_not_visible() {
    let world = told();
    world.journal.events.lock().unwrap().extend([event(11), event(12)]);
    let (_, body) = world.get("/v1/events?after=9").await;
    assert_eq!((seqs(&body), &body["seq"]), (vec![10], &json!(10)));
    world.show(11);
    let (_, body) = world.get("/v1/events?after=10").await;
    assert_eq!((seqs(&body), &body["seq"], &body["last_seq"]), (vec![11], &json!(11), &json!(11)));
    world.show(12);
    let (_, body) = world.get("/v1/events?after=11").await;
    assert_eq!(seqs(&body), vec![12]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w4_long_polls_lose_nothing_while_events_come() {
    const LAST: u64 = 400;
    let world = Arc::new(told());
    let writer = Arc::clone(&world);
    let thread = std::thread::spawn(move || {
        for seq in 11..=LAST {
            writer.tell(seq);
            std::thread::yield_now();
        }
    });
    let (mut after, mut seen) = (10, Vec::new());
    while after < LAST {
        let (status, body) = world.get(&format!("/v1/events?after={after}&limit=7&wait=30s")).await;
        assert_eq!(status, 200);
        seen.extend(seqs(&body));
        after = body["seq"].as_u64().unwrap();
    }
    thread.join().unwrap();
    assert_eq!(seen, (11..=LAST).collect::<Vec<_>>());
}

/// An open stream, read until the text it got ends with a given one.
pub struct Stream {
    body: Body,
    pub text: String,
}

impl Stream {
    pub async fn open(world: &World, uri: &str, last_event_id: Option<&str>) -> Stream {
        let mut request = Request::get(uri).header("accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = world.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Stream { body: response.into_body(), text: String::new() }
    }

    /// `None` at the end of the stream.
    pub async fn chunk(&mut self) -> Option<()> {
        let data = self.body.frame().await?.unwrap().into_data().unwrap();
        self.text.push_str(std::str::from_utf8(&data).unwrap());
        Some(())
    }

    async fn ids(&mut self, count: usize) -> Vec<u64> {
        while self.text.matches("\nid: ").count() < count {
            self.chunk().await.unwrap();
        }
        let ids = self.text.lines().filter_map(|line| line.strip_prefix("id: "));
        ids.map(|id| id.parse().unwrap()).collect()
    }
}

#[tokio::test]
async fn a_stream_is_resumed_where_it_broke_off() {
    let world = told();
    let mut stream = Stream::open(&world, "/v1/events?after=8", None).await;
    assert_eq!(stream.ids(2).await, [9, 10]);
    assert!(
        stream.text.contains("\nid: 9\nevent: user.created\ndata: {\"id\":\"evt_9\",\"seq\":9,")
    );
    assert!(stream.text.ends_with("}\n\n"));
    world.tell(11);
    assert_eq!(stream.ids(3).await, [9, 10, 11]);
    drop(stream);
    world.tell(12);
    // A browser repeats its old query beside the header.
    let mut stream = Stream::open(&world, "/v1/events?after=8", Some("11")).await;
    assert_eq!(stream.ids(1).await, [12]);
    let request = Request::get("/v1/events").header("last-event-id", "x");
    assert_eq!(world.send(request, "").await.0, 400);
}

#[tokio::test]
async fn a_stream_ends_with_a_problem_when_it_fell_behind_and_at_shutdown_without() {
    let world = told();
    let mut behind = Stream::open(&world, "/v1/events?after=10", None).await;
    let mut quiet = Stream::open(&world, "/v1/events?after=10", None).await;
    behind.chunk().await.unwrap();
    quiet.chunk().await.unwrap();
    *world.journal.oldest.lock().unwrap() = 13;
    world.show(13);
    behind.chunk().await.unwrap();
    assert!(
        behind.text.contains("event: problem\ndata: {\"detail\":\"the journal starts at seq 13\"")
    );
    assert_eq!(behind.chunk().await, None);
    *world.journal.oldest.lock().unwrap() = 1;
    world.journal.events.lock().unwrap().extend((11..=13).map(event));
    assert_eq!(quiet.ids(3).await, [11, 12, 13]);
    world.trigger.fire();
    while quiet.chunk().await.is_some() {}
}

#[tokio::test]
async fn a_stream_with_much_to_tell_ends_at_shutdown_in_order() {
    let world = told();
    world.journal.events.lock().unwrap().extend((11..=100).map(event));
    world.show(100);
    let mut busy = Stream::open(&world, "/v1/events?after=0", None).await;
    assert_eq!(busy.ids(1).await.first(), Some(&1));
    world.trigger.fire();
    while busy.chunk().await.is_some() {}
    let ids = busy.ids(0).await;
    assert!(ids.len() < 100, "it goes on with what waits: {ids:?}");
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>(), "what it told is whole");
    assert!(busy.text.ends_with("}\n\n"));
}
