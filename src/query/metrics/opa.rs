//! What Prometheus sees of the pushers into OPAs.

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use super::{gauges, number};
use crate::export::opa::{PushState, PushStatus};

pub(super) fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    pushers: &[PushStatus],
) -> std::fmt::Result {
    let gauge = |encoder: &mut DescriptorEncoder<'_>, words, read: fn(&PushStatus) -> i64| {
        let samples = pushers.iter().map(|status| (status.name.clone(), read(status)));
        gauges(encoder, words, "opa", samples.collect())
    };
    let help = "Whether OPA had all there was when it was last asked";
    gauge(encoder, ("opa_push_current", help), |status| {
        i64::from(status.state == PushState::Current)
    })?;
    gauge(encoder, ("opa_push_seq", "The last event that OPA has"), |status| number(status.seq))?;
    counter(encoder, "opa_push_puts", "Whole documents pushed", pushers, |one| one.puts)?;
    counter(encoder, "opa_push_patches", "Patches pushed", pushers, |one| one.patches)?;
    counter(encoder, "opa_push_bytes", "Bytes pushed", pushers, |one| one.bytes)?;
    counter(encoder, "opa_push_failures", "Pushes that failed", pushers, |one| one.failures)
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    pushers: &[PushStatus],
    read: fn(&PushStatus) -> u64,
) -> std::fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for status in pushers {
        let labels = [("opa", status.name.as_str())];
        ConstCounter::new(read(status)).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}
