//! Who reads the journal now, and who was dropped: for `/metrics` and the log.

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::query::problem::Problem;

/// Counts readers. A cheap handle.
#[derive(Clone)]
pub struct Readers {
    streams: Gauge,
    waits: Gauge,
    dropped: Family<Reason, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// A reader is counted as long as this lives.
pub struct Reader {
    gauge: Gauge,
    dropped: Family<Reason, Counter>,
}

/// Retention overtook the reader.
const BEHIND: &str = "behind";

impl Readers {
    /// Nobody yet.
    pub fn new(registry: &mut Registry) -> Readers {
        let readers = Family::<Kind, Gauge>::default();
        let dropped = Family::<Reason, Counter>::default();
        registry.register("feed_readers", "Readers of events: streams and waits", readers.clone());
        registry.register(
            "feed_readers_dropped",
            "Streams of events that we ended before the reader did",
            dropped.clone(),
        );
        let gauge = |kind| readers.get_or_create_owned(&Kind { kind });
        Readers { streams: gauge("sse"), waits: gauge("wait"), dropped }
    }

    /// Somebody opened a stream.
    pub fn streams(&self) -> Reader {
        self.enter(&self.streams)
    }

    /// Somebody waits for an event.
    pub fn waits(&self) -> Reader {
        self.enter(&self.waits)
    }

    /// So many streams were closed for one reason.
    pub fn dropped(&self, reason: &'static str, count: u64) {
        self.dropped.get_or_create(&Reason { reason }).inc_by(count);
    }

    fn enter(&self, gauge: &Gauge) -> Reader {
        gauge.inc();
        Reader { gauge: gauge.clone(), dropped: self.dropped.clone() }
    }
}

impl Reader {
    /// The stream ends with a problem.
    pub fn fell_behind(&self, problem: &Problem) {
        if problem.status() == StatusCode::GONE {
            self.dropped.get_or_create(&Reason { reason: BEHIND }).inc();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}
