//! Metrics, health, and this description.

use super::operation::Operation;
use super::problems::NOT_READY;
use super::schemas::Document;
use crate::query::router::{Health, Readiness};

/// The name of this part.
pub const TAG: &str = "upkeep";

/// What Prometheus reads.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The operations of this part.
pub fn operations() -> Vec<Operation> {
    let all = [
        Operation::get("/metrics", "getMetrics", "Metrics, for Prometheus").answers_as(
            200,
            "All of them.",
            OPENMETRICS,
        ),
        Operation::get("/healthz", "getHealth", "Is the daemon there?")
            .open()
            .answers::<Health>(200, "It is."),
        Operation::get("/readyz", "getReadiness", "Was every directory read, or restored?")
            .answers::<Readiness>(200, "Yes.")
            .may(&[NOT_READY]),
        Operation::get("/openapi.json", "getOpenApi", "This document")
            .answers::<Document>(200, "OpenAPI 3.1."),
    ];
    all.map(|operation| operation.tag(TAG)).into()
}
