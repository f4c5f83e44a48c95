//! What Prometheus sees of the webhooks.

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use super::{gauges, number};
use crate::webhook::{EndpointStatus, Latency, State};

pub(super) fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    endpoints: &[EndpointStatus],
) -> std::fmt::Result {
    let gauge =
        |encoder: &mut DescriptorEncoder<'_>, words, read: &dyn Fn(&EndpointStatus) -> i64| {
            let samples = endpoints.iter().map(|status| (status.name.clone(), read(status)));
            gauges(encoder, words, "webhook", samples.collect())
        };
    gauge(encoder, ("webhook_backlog_events", "Events not yet delivered"), &|status| {
        number(status.backlog)
    })?;
    let help = "Whether deliveries are given up until a person resumes them";
    gauge(encoder, ("webhook_disabled", help), &|status| {
        i64::from(status.state == State::Disabled)
    })?;
    gauge(encoder, ("webhook_paused", "Whether a person paused deliveries"), &|status| {
        i64::from(status.state == State::Paused)
    })?;
    counter(encoder, "webhook_deliveries", "Deliveries accepted", endpoints, |status| {
        status.delivered_total
    })?;
    counter(encoder, "webhook_failures", "Attempts that were not accepted", endpoints, |status| {
        status.failed_total
    })?;
    let help = "Events never delivered because the journal no longer had them";
    counter(encoder, "webhook_lost_events", help, endpoints, |status| status.lost_total)?;
    latency(encoder, endpoints)
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    endpoints: &[EndpointStatus],
    read: impl Fn(&EndpointStatus) -> u64,
) -> std::fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for status in endpoints {
        let labels = [("webhook", status.name.as_str())];
        ConstCounter::new(read(status)).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn latency(encoder: &mut DescriptorEncoder<'_>, endpoints: &[EndpointStatus]) -> std::fmt::Result {
    let (name, help) = ("webhook_latency_seconds", "How long accepted deliveries took");
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for status in endpoints {
        let Latency { count, sum_millis, buckets } = &status.latency;
        let bounds = Latency::BOUNDS_MILLIS.iter().map(|millis| *millis as f64 / 1000.0);
        let mut all: Vec<(f64, u64)> = bounds.zip(buckets.iter().copied()).collect();
        all.push((f64::INFINITY, count.saturating_sub(buckets.iter().sum())));
        let labels = [("webhook", status.name.as_str())];
        let mut family = metric.encode_family(&labels)?;
        family.encode_histogram::<NoLabelSet>(*sum_millis as f64 / 1000.0, *count, &all, None)?;
    }
    Ok(())
}
