//! Events, the audit trail, and everything at one seq.

use super::operation::Operation;
use super::parameters::{last_event_id, limit, moment, places, position, query, text, types, wait};
use super::problems::{BUSY, GONE, STORE_UNAVAILABLE, UNKNOWN};
use crate::query::{audit, events, snapshot};
use crate::wire::EventBody;

/// The name of this part.
pub const TAG: &str = "watch";

/// The operations of this part.
pub fn operations() -> Vec<Operation> {
    [events(), snapshot(), audit()].map(|operation| operation.tag(TAG)).into()
}

fn events() -> Operation {
    Operation::get("/v1/events", "listEvents", "The journal: what changed")
        .describe(
            "Go on with `after` set to `seq` of the answer before. With `Accept: \
             text/event-stream` it is a stream that does not end: each message has the \
             seq as its id, the type as its event and the event as its data.",
        )
        .with(position())
        .with([limit(), wait(), types()])
        .with(places())
        .with([last_event_id()])
        .answers::<events::ListBody<'static>>(200, "A page, or a stream.")
        .streams::<EventBody<'static>>(200, "A page, or a stream.", "text/event-stream")
        .may(&[GONE, STORE_UNAVAILABLE])
}

fn snapshot() -> Operation {
    Operation::get("/v1/snapshot", "getSnapshot", "Everything at one seq, to go on from there")
        .describe(
            "The first line is of type `start`, the last of type `end` with the number of \
             lines between; without it a snapshot is not whole. Then follow the events \
             after its seq.",
        )
        .with(places())
        .streams::<snapshot::Line<'static>>(200, "One line each.", "application/x-ndjson")
        .may(&[UNKNOWN, BUSY])
}

fn audit() -> Operation {
    let action = text().examples([serde_json::json!("directory_sync.hold.*")]);
    Operation::get("/v1/audit", "listAudit", "The audit trail: who did what")
        .with(position())
        .with([
            limit(),
            query("action", "Only actions that fit this glob.", action),
            query("since", "Only since this moment.", moment()),
            wait(),
        ])
        .answers::<audit::ListBody<'static>>(200, "A page.")
        .may(&[GONE, STORE_UNAVAILABLE])
}
