//! Lets tests make every write fail from a chosen one on, as a crash would, and
//! the next readings of whole files, as a disk with a bad moment would.

use std::cell::Cell;
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

    /// Writes that are left.
    pub(super) fn left(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
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

thread_local! {
    static READS: Cell<u32> = const { Cell::new(0) };
}

/// The next `times` that this thread reads a database through fail.
pub(super) fn fail_reads(times: u32) {
    READS.set(times);
}

/// How many failures are left.
pub(super) fn reads_left() -> u32 {
    READS.get()
}

pub(super) fn spend_read() -> std::io::Result<()> {
    let left = READS.get();
    READS.set(left.saturating_sub(1));
    match left {
        0 => Ok(()),
        _ => Err(rustix::io::Errno::IO.into()),
    }
}
