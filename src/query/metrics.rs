//! `/metrics`: what Prometheus sees.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::access::Peer;
use super::denials::Refusal;
use super::events::Readers;
use super::opa::BundleCounts;
use super::problem::Problem;
use super::sources::Sources;
use crate::clock;

mod opa;
mod pomerium;
mod webhooks;

/// Counts requests and connections; everything else is read when asked for.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<RequestLabels, Counter>,
    /// The hot path's own, looked up once.
    pub checks_answered: Counter,
    pub connections_open: Gauge,
    pub connections_accepted: Counter,
    closed: Family<ClosedLabels, Counter>,
    denied: Family<DeniedLabels, Counter>,
    decisions: Family<DecisionLabels, Counter>,
    /// Who reads events.
    pub feed: Readers,
    /// What OPAs fetch.
    pub bundles: BundleCounts,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    by: &'static str,
    policy: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClosedLabels {
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeniedLabels {
    via: &'static str,
    reason: &'static str,
    /// The one that was missing; empty when it was something else.
    permission: &'static str,
}

impl Metrics {
    /// All zero.
    pub fn new(sources: &Sources) -> Metrics {
        let mut registry = Registry::with_prefix("rosterd");
        let requests = Family::<RequestLabels, Counter>::default();
        let checks_answered = requests.get_or_create_owned(&request_labels("/v1/check", 200));
        let connections_open = Gauge::default();
        let connections_accepted = Counter::default();
        let closed = Family::<ClosedLabels, Counter>::default();
        let denied = Family::<DeniedLabels, Counter>::default();
        registry.register("requests", "Requests answered", requests.clone());
        registry.register(
            "connections_open",
            "Connections to the query socket",
            connections_open.clone(),
        );
        registry.register("connections", "Connections accepted", connections_accepted.clone());
        registry.register(
            "connections_closed_by_us",
            "Connections closed for a reason of ours",
            closed.clone(),
        );
        registry.register("access_denied", "Requests refused to who asked", denied.clone());
        let decisions = Family::<DecisionLabels, Counter>::default();
        let help = "Decisions for enforcement points; the reason `member` is yes";
        registry.register("decisions", help, decisions.clone());
        let feed = Readers::new(&mut registry);
        let bundles = BundleCounts::new(&mut registry);
        registry.register_collector(Box::new(Readings(sources.clone())));
        let registry = Arc::new(registry);
        Metrics {
            registry,
            requests,
            checks_answered,
            connections_open,
            connections_accepted,
            closed,
            denied,
            decisions,
            feed,
            bundles,
        }
    }

    /// Counts one answer.
    pub fn answered(&self, route: &str, code: u16) {
        self.requests.get_or_create(&request_labels(route, code)).inc();
    }

    /// Counts a decision for an enforcement point.
    pub fn decided(&self, by: &'static str, policy: &str, reason: &'static str) {
        let labels = DecisionLabels { by, policy: policy.to_owned(), reason };
        self.decisions.get_or_create(&labels).inc();
    }

    /// Counts a connection that we closed.
    pub fn closed(&self, reason: &'static str) {
        self.closed.get_or_create(&ClosedLabels { reason: reason.to_owned() }).inc();
    }

    /// Counts a request that was refused to who asked.
    pub fn denied(&self, peer: Peer, refusal: Refusal) {
        let via = peer.via();
        let (reason, permission) = refusal.words();
        self.denied.get_or_create(&DeniedLabels { via, reason, permission }).inc();
    }

    /// The exposition text.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn text(&self) -> Result<String, Problem> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .map_err(Problem::internal)?;
        Ok(text)
    }
}

fn request_labels(route: &str, code: u16) -> RequestLabels {
    RequestLabels { route: route.to_owned(), code }
}

/// Reads the directories, the journal and the webhooks at the time of asking.
struct Readings(Sources);

impl std::fmt::Debug for Readings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Readings")
    }
}

/// A label and its value.
type Sample = (String, i64);

impl Collector for Readings {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Readings(sources) = self;
        let view = sources.view.load();
        let seq = [ConstGauge::new(number(view.seq))];
        for gauge in &seq {
            let metric =
                encoder.encode_descriptor("seq", "The last event", None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        self.gauges(&mut encoder, "users", "Users", |status| {
            view.directory(&status.name).map(|directory| directory.user_count() as i64)
        })?;
        self.gauges(&mut encoder, "groups", "Groups", |status| {
            view.directory(&status.name).map(|directory| directory.group_count() as i64)
        })?;
        self.gauges(&mut encoder, "memberships", "Direct memberships", |status| {
            view.directory(&status.name).map(|directory| directory.membership_count() as i64)
        })?;
        let now = clock::now();
        self.gauges(
            &mut encoder,
            "directory_age_seconds",
            "Time since the directory was last confirmed",
            |status| status.age_seconds(now, clock::instant()).map(number),
        )?;
        self.gauges(
            &mut encoder,
            "directory_freshness_objective_seconds",
            "How old the directory may become before that is told",
            |status| status.freshness_objective.map(|age| number(age.as_secs())),
        )?;
        self.gauges(
            &mut encoder,
            "directory_fresh",
            "Whether the freshness objective is met",
            |status| status.is_fresh(now).map(i64::from),
        )?;
        self.gauges(
            &mut encoder,
            "directory_last_success_timestamp_seconds",
            "End of the last crawl that was read whole",
            |status| status.last_success.map(|at| number(at.0 / 1000)),
        )?;
        self.gauges(
            &mut encoder,
            "directory_next_poll_timestamp_seconds",
            "When the next poll starts",
            |status| status.next_poll_at.map(|at| number(at.0 / 1000)),
        )?;
        self.gauges(
            &mut encoder,
            "directory_drift",
            "Differences that only reading again found, since the start",
            |status| Some(number(status.drift)),
        )?;
        self.gauges(
            &mut encoder,
            "directory_failures_in_a_row",
            "Polls that failed since the last success",
            |status| Some(i64::from(status.consecutive_failures)),
        )?;
        self.gauges(
            &mut encoder,
            "directory_held",
            "Whether changes wait for a person",
            |status| Some(i64::from(status.hold.is_some())),
        )?;
        self.held_removals(&mut encoder)?;
        self.gauges(
            &mut encoder,
            "directory_malformed",
            "Objects that the last crawl could not decode; their last good records stand",
            |status| status.last_crawl.as_ref().map(|crawl| number(crawl.malformed)),
        )?;
        self.crawls(&mut encoder)?;
        self.provider_requests(&mut encoder)?;
        webhooks::encode(&mut encoder, &sources.backlog.endpoints())?;
        opa::encode(&mut encoder, &sources.pushers.all())?;
        pomerium::encode(&mut encoder, &sources.databrokers.snapshot(view.seq))
    }
}

impl Readings {
    fn gauges(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        read: impl Fn(&crate::sync::status::DirectoryStatus) -> Option<i64>,
    ) -> std::fmt::Result {
        let all = self.0.statuses.all();
        let samples =
            all.iter().filter_map(|status| Some((status.name.clone(), read(status)?))).collect();
        gauges(encoder, (name, help), "directory", samples)
    }

    fn held_removals(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let shape = ConstGauge::new(0_i64).metric_type();
        let help = "Removals that wait for a person (users: removed or disabled)";
        let mut metric = encoder.encode_descriptor("directory_held_removals", help, None, shape)?;
        for status in self.0.statuses.all() {
            let held = status.hold.as_ref().map(|hold| hold.held).unwrap_or_default();
            for (category, count) in held.named() {
                let labels = [("directory", status.name.as_str()), ("category", category)];
                ConstGauge::new(number(count)).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn crawls(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let shape = ConstCounter::new(0_u64).metric_type();
        let mut metric = encoder.encode_descriptor("crawls", "Crawls ended", None, shape)?;
        for status in self.0.statuses.all() {
            let ends = [("sealed", status.crawls_sealed), ("failed", status.crawls_failed)];
            for (end, count) in ends {
                let labels = [("directory", status.name.as_str()), ("end", end)];
                ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn provider_requests(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let shape = ConstCounter::new(0_u64).metric_type();
        let help = "Requests to providers, as sealed crawls report them";
        let mut metric = encoder.encode_descriptor("provider_requests", help, None, shape)?;
        for status in self.0.statuses.all() {
            for (endpoint, count) in &status.requests {
                let labels = [("directory", status.name.as_str()), ("endpoint", endpoint.as_str())];
                ConstCounter::new(*count).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

fn gauges(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    label: &str,
    samples: Vec<Sample>,
) -> std::fmt::Result {
    let shape = ConstGauge::new(0_i64).metric_type();
    let mut metric = encoder.encode_descriptor(name, help, None, shape)?;
    for (value, sample) in samples {
        let labels = [(label, value.as_str())];
        ConstGauge::new(sample).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
