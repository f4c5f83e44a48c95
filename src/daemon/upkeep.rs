//! Lets the store forget what is past its retention, and shrink.

use tracing::{info, warn};

use crate::clock::{self, Duration};
use crate::config::{AuditConfig, StoreConfig};
use crate::store::{AuditRetention, Retention, Store};
use crate::task::{self, Task};

/// How often there is a look.
const EVERY: Duration = Duration::from_mins(10);

/// Starts looking after `store`.
pub fn start(store: Store, config: StoreConfig, audit: AuditConfig) -> Task {
    task::spawn("upkeep", async move {
        let retention =
            Retention { journal: config.journal_retention, history: config.history_retention };
        let audit = AuditRetention { age: audit.retention, entries_max: audit.entries_max };
        loop {
            tokio::time::sleep(EVERY).await;
            let store = store.clone();
            let work = move || tend(&store, &retention, &audit);
            if let Err(end) = task::blocking("upkeep", work).await {
                warn!(error = %end, "looking after the store failed");
            }
        }
    })
}

fn tend(store: &Store, retention: &Retention, audit: &AuditRetention) {
    loop {
        match store.prune(clock::now(), retention) {
            Ok(pruned) => {
                if pruned.blocks > 0 {
                    info!(blocks = pruned.blocks, "forgot what is past its retention");
                }
                if !pruned.more {
                    break;
                }
            }
            Err(error) => {
                warn!(%error, "cannot forget old events");
                break;
            }
        }
    }
    match store.prune_audit(clock::now(), audit) {
        Ok(0) => {}
        Ok(entries) => info!(entries, "forgot what is past the retention of the audit trail"),
        Err(error) => warn!(%error, "cannot forget old entries of the audit trail"),
    }
    match store.rewrite_if_grown() {
        Ok(None) => {}
        Ok(Some(rewritten)) => info!(
            bytes_before = rewritten.bytes_before,
            bytes_after = rewritten.bytes_after,
            "rewrote the store"
        ),
        Err(error) => warn!(%error, "cannot rewrite the store"),
    }
}
