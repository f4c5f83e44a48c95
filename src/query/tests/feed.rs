//! The feed over a real store, while commits go on: readers of every kind see
//! exactly the journal, or what their filter leaves of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use super::fixture::{World, user, world_of};
use super::watching::Stream;
use crate::clock::Timestamp;
use crate::index::View;
use crate::model::{Cause, Change, Commit, Event, EventKind, Progress};
use crate::query::journal::Journal;
use crate::store::{Options, Store};
use crate::task;

const COMMITS: u32 = 120;

/// Ways to ask, and what each leaves of the journal. The last event of all is
/// in each of them.
type Way = (&'static str, fn(&Event) -> bool);
const WAYS: [Way; 5] = [
    ("", |_| true),
    ("&type=user.*,directory.failing", |event| {
        matches!(event.kind, EventKind::UserCreated | EventKind::DirectoryFailing)
    }),
    ("&directory=lab", |event| event.directory == "lab"),
    ("&type=directory.*&tenant=zeta", |event| {
        event.tenant == "zeta" && event.kind != EventKind::UserCreated
    }),
    ("&product=vpn&directory=none&directory=lab", |event| event.directory == "lab"),
];

/// A real store behind the routes. Commits are visible when they are published.
struct Feed {
    world: World,
    store: Store,
    /// The last seq, once the writer is done.
    last: AtomicU64,
    _dir: tempfile::TempDir,
}

impl Feed {
    fn new() -> Feed {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), Options::default()).unwrap();
        let mut world = world_of(View::default());
        world.sources.journal = Arc::new(store.clone()) as Arc<dyn Journal>;
        Feed { world, store, last: AtomicU64::new(0), _dir: dir }
    }

    /// Makes commits, as the daemon does; asks between commit and publication,
    /// when the journal is ahead of what readers may know.
    fn write(&self, runtime: &tokio::runtime::Handle) {
        let mut slots = BTreeMap::new();
        for number in 0..COMMITS {
            let commit = commit(number, &mut slots);
            let publish = |view: &View| {
                let committed = self.store.commit(&commit)?;
                runtime.block_on(self.shows_nothing_after(view.seq));
                let mut next = View::clone(view);
                next.seq = committed.last_seq;
                Ok::<_, crate::store::StoreError>(next)
            };
            self.world.sources.view.change(publish).unwrap();
        }
        self.last.store(self.store.last_seq(), Ordering::SeqCst);
    }

    async fn shows_nothing_after(&self, visible: u64) {
        for (query, _) in WAYS {
            let (_, body) = self.world.get(&format!("/v1/events?after={visible}{query}")).await;
            assert!(seqs(&body).is_empty(), "{query}: {body}");
            assert_eq!((&body["seq"], &body["last_seq"]), (&visible.into(), &visible.into()));
        }
    }

    fn wanted(&self, way: Way) -> Vec<u64> {
        let all = self.store.events(0, usize::MAX).unwrap();
        all.iter().filter(|event| way.1(event)).map(|event| event.seq).collect()
    }
}

/// One to three events, in one of two directories; at the end one that all ask for.
fn commit(number: u32, slots: &mut BTreeMap<&'static str, u32>) -> Commit {
    let (directory, tenant) =
        if number.is_multiple_of(2) { ("corp", "acme") } else { ("lab", "zeta") };
    let slot = slots.entry(directory).or_default();
    let mut changes = Vec::new();
    for _ in 0..number % 3 {
        changes.push(user(*slot, &format!("u{slot}"), "ada", "ada@example.org"));
        *slot += 1;
    }
    if number.is_multiple_of(3) || number.is_multiple_of(11) {
        let kind = EventKind::DirectorySynced;
        changes.push(Change::Notice { kind, details: BTreeMap::new() });
    }
    if number + 1 == COMMITS {
        let kind = EventKind::DirectoryFailing;
        changes.push(Change::Notice { kind, details: BTreeMap::new() });
    }
    Commit {
        directory: directory.into(),
        tenant: tenant.into(),
        product: "vpn".into(),
        occurred_at: Timestamp(u64::from(number)),
        changes,
        cause: Cause::Unknown,
        progress: Progress::default(),
    }
}

fn seqs(body: &Value) -> Vec<u64> {
    body["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect()
}

/// Polls until all is told.
async fn poll(feed: Arc<Feed>, query: &str, limit: u64, wait: &str) -> Vec<u64> {
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let last = feed.last.load(Ordering::SeqCst);
        if last > 0 && after == last {
            return seen;
        }
        let uri = format!("/v1/events?after={after}&limit={limit}&wait={wait}{query}");
        let (status, body) = feed.world.get(&uri).await;
        assert_eq!(status, 200, "{body}");
        let seq = body["seq"].as_u64().unwrap();
        assert!(seq >= after && seq <= feed.world.sources.view.load().seq);
        assert!(seqs(&body).iter().all(|one| (after + 1..=seq).contains(one)), "{body}");
        seen.extend(seqs(&body));
        after = seq;
    }
}

/// Reads streams that break off again and again, each resumed at the last id of
/// the one before, until the last event of all.
async fn stream(feed: Arc<Feed>, query: &str, seed: u64) -> Vec<u64> {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut last_id, mut seen) = ("0".to_owned(), Vec::new());
    loop {
        let uri = format!("/v1/events?after=0{query}");
        let mut stream = Stream::open(&feed.world, &uri, Some(&last_id)).await;
        for _ in 0..random.usize(1..5) {
            stream.chunk().await.unwrap();
        }
        for part in stream.text.split_terminator("\n\n") {
            let field = |name: &str| part.lines().find_map(|line| line.strip_prefix(name));
            // What the standard says of an id holds with and without data.
            if let Some(id) = field("id: ") {
                id.clone_into(&mut last_id);
            }
            if field("data: ").is_some() {
                seen.push(last_id.parse().unwrap());
            }
            if field("event: ") == Some("directory.failing") {
                return seen;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn w4_a_cursor_never_passes_an_event_that_is_not_yet_visible() {
    let feed = Arc::new(Feed::new());
    let mut readers = Vec::new();
    for way in WAYS {
        for (limit, wait) in [(1, "30s"), (2, "20ms"), (3, "0s")] {
            let task = task::spawn("poll", poll(Arc::clone(&feed), way.0, limit, wait));
            readers.push((way, task));
        }
    }
    let (writer, runtime) = (Arc::clone(&feed), tokio::runtime::Handle::current());
    let thread = std::thread::spawn(move || writer.write(&runtime));
    for (way, task) in readers {
        assert_eq!(task.join().await.unwrap(), feed.wanted(way), "{}", way.0);
    }
    thread.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn w5_streams_that_break_off_repeat_nothing_and_keep_the_order() {
    let feed = Arc::new(Feed::new());
    let mut readers = Vec::new();
    for way in WAYS {
        for seed in 0..2 {
            let task = task::spawn("stream", stream(Arc::clone(&feed), way.0, seed));
            readers.push((way, task));
        }
    }
    let (writer, runtime) = (Arc::clone(&feed), tokio::runtime::Handle::current());
    let thread = std::thread::spawn(move || writer.write(&runtime));
    for (way, task) in readers {
        assert_eq!(task.join().await.unwrap(), feed.wanted(way), "{}", way.0);
    }
    thread.join().unwrap();
}
