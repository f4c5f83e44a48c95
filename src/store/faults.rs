//! Lets tests make every write fail from a chosen one on, as a crash would.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::error::Trouble;

/// Counts writes down; without a limit it counts them below zero.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Arc<AtomicI64>);

const ENDLESS: i64 = 0;

impl Faults {
    /// The next `writes - 1` succeed; nothing after them does.
    pub(super) fn fail_from(&self, writes: i64) {
        self.0.store(writes.max(1), Ordering::Relaxed);
    }

    pub(super) fn spend(&self) -> Result<(), Trouble> {
        match self.0.load(Ordering::Relaxed) {
            ENDLESS => Ok(()),
            1 => Err(Trouble::Failed("a fault was injected".to_owned())),
            left => {
                self.0.store(left - 1, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}
