//! The sign of life of a crawl: whoever gets an answer from a provider says so,
//! and a crawl is given up only when nobody has for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

tokio::task_local! {
    static PULSE: Pulse;
}

/// Counts the signs of life of one crawl. A cheap handle.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// Runs a crawl whose [`beat`]s are counted here.
    pub async fn watch<F: Future>(&self, crawl: F) -> F::Output {
        PULSE.scope(self.clone(), crawl).await
    }

    /// One more.
    pub fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A sign of life of the crawl that this code is part of, if it is part of one.
pub fn beat() {
    let _ = PULSE.try_with(Pulse::beat);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn beats_count_for_the_crawl_they_are_part_of() {
        let (first, second) = (Pulse::default(), Pulse::default());
        let crawl = async {
            beat();
            tokio::task::yield_now().await;
            beat();
        };
        tokio::join!(first.watch(crawl), second.watch(async { beat() }));
        beat();
        assert_eq!((first.count(), second.count()), (2, 1));
    }
}
