//! What Prometheus sees of the writers to databrokers.

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use super::{gauges, number};
use crate::export::pomerium::{State, WriterStatus};

type Read = fn(&WriterStatus) -> u64;

const GAUGES: [(&str, &str, Read); 5] = [
    ("pomerium_writing", "Whether we hold the databroker's lease", |status| {
        u64::from(status.state == State::Writing)
    }),
    ("pomerium_backlog_events", "Events not yet written", |status| status.backlog),
    ("pomerium_refused", "Records larger than a request may be, and left out", |status| {
        status.refused
    }),
    ("pomerium_left_out", "Users with no id, or with one that others have too", |status| {
        status.left_out
    }),
    (
        "pomerium_written_timestamp_seconds",
        "When everything was last known to be written",
        |status| status.written_at.map_or(0, |at| at.0 / 1000),
    ),
];

const COUNTERS: [(&str, &str, Read); 4] = [
    ("pomerium_put", "Records put", |status| status.put_total),
    ("pomerium_deleted", "Records deleted", |status| status.deleted_total),
    ("pomerium_failures", "Times that writing broke off", |status| status.failed_total),
    ("pomerium_listed", "Times that all records were asked for", |status| status.listed_total),
];

pub(super) fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    writers: &[WriterStatus],
) -> std::fmt::Result {
    for (name, help, read) in GAUGES {
        let samples = writers.iter().map(|status| (status.name.clone(), number(read(status))));
        gauges(encoder, (name, help), "pomerium", samples.collect())?;
    }
    for (name, help, read) in COUNTERS {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for status in writers {
            let labels = [("pomerium", status.name.as_str())];
            ConstCounter::new(read(status)).encode(metric.encode_family(&labels)?)?;
        }
    }
    Ok(())
}
