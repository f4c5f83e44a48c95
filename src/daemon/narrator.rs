//! Logs events as they happen, one line each.
//!
//! A first sync or a large change would bury everything else, so a batch that
//! is larger than an operator would read is told in one line.

use tracing::{info, warn};

use crate::sync::ledger::Ledger;
use crate::task::{self, Task};
use crate::wire::{EventBody, words};

/// How many events of one commit are logged one by one.
const SHOWN_MAX: u64 = 50;

/// Starts following the journal from where it is now.
pub fn start(ledger: Ledger) -> Task {
    let mut seq = ledger.view().subscribe();
    let mut told = *seq.borrow_and_update();
    task::spawn("narrator", async move {
        while seq.changed().await.is_ok() {
            let last = *seq.borrow_and_update();
            let ledger = ledger.clone();
            let work = move || narrate(&ledger, told, last);
            if let Err(end) = task::blocking("narrator", work).await {
                warn!(error = %end, "cannot log events");
            }
            told = last;
        }
    })
}

fn narrate(ledger: &Ledger, after: u64, last: u64) {
    let count = last.saturating_sub(after);
    if count > SHOWN_MAX {
        info!(events = count, last_seq = last, "many events; `rosterd events` shows them");
        return;
    }
    let events = match ledger.store().events(after, count as usize) {
        Ok(events) => events,
        Err(error) => return warn!(%error, "cannot read events for the log"),
    };
    for event in &events {
        let body = serde_json::to_value(EventBody::from(event)).unwrap_or_default();
        let what = words::sentence(&body);
        let (directory, kind) = (event.directory.as_str(), event.kind.as_str());
        info!(seq = event.seq, directory, kind, "{what}");
    }
}
