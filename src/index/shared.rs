//! Where the newest view is found, and how to wait for a newer one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::view::View;

/// How long a writer waits for the readers of the view before, in milliseconds.
const PATIENCE_MS: u32 = 50;

/// The newest [`View`]. Reading never blocks and never waits for a writer.
#[derive(Debug)]
pub struct SharedView {
    current: ArcSwap<View>,
    seq: watch::Sender<u64>,
    turn: Mutex<()>,
}

impl SharedView {
    pub fn new(view: View) -> SharedView {
        let seq = watch::Sender::new(view.seq);
        SharedView { current: ArcSwap::from_pointee(view), seq, turn: Mutex::new(()) }
    }

    /// The newest view. Whoever was woken for a seq finds a view of at least that seq.
    pub fn load(&self) -> Arc<View> {
        self.current.load_full()
    }

    /// Tells when the seq moved. It carries the number only: what is there to
    /// be known is in [`SharedView::load`].
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.seq.subscribe()
    }

    /// Makes `view` the newest, then wakes who waits.
    ///
    /// For one writer. Several go through [`SharedView::change`]. Blocks for a
    /// moment while readers still look at the view before: not for async code.
    pub fn publish(&self, view: View) {
        let seq = view.seq;
        let before = self.current.swap(Arc::new(view));
        self.seq.send_replace(seq);
        outlive_readers(&before);
    }

    /// Derives the next view from the newest one and publishes it, one caller
    /// at a time.
    ///
    /// Commit inside `work`: the seqs of all directories are one series, and a
    /// view must hold everything up to its seq, so views have to be published
    /// in the order of their commits. Blocks; not for async code.
    ///
    /// # Errors
    /// Those of `work`; nothing is published then.
    pub fn change<E>(&self, work: impl FnOnce(&View) -> Result<View, E>) -> Result<(), E> {
        // A panic in another's work left the view as it was: whole.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let next = work(&self.load())?;
        self.publish(next);
        Ok(())
    }
}

/// Waits until nobody else holds the view, so that freeing what only it held
/// (milliseconds, after a large change) falls to the writer and not to a reader
/// with an answer to give. Who holds a view for long frees it himself.
fn outlive_readers(view: &Arc<View>) {
    for _ in 0..PATIENCE_MS {
        if Arc::strong_count(view) == 1 {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::DirectoryView;

    #[tokio::test]
    async fn who_is_woken_finds_the_view() {
        let shared = Arc::new(SharedView::new(View::default()));
        let mut moved = shared.subscribe();
        let writer = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for seq in 1..=100 {
                let directory = Arc::new(DirectoryView::empty(&seq.to_string(), "t", "p"));
                writer.change(|view| Ok::<_, ()>(view.with_directory(directory, seq))).unwrap();
            }
        });
        while *moved.borrow_and_update() < 100 {
            moved.changed().await.unwrap();
            let woken_for = *moved.borrow();
            let view = shared.load();
            assert!(view.seq >= woken_for);
            assert_eq!(view.directories().len() as u64, view.seq);
        }
        thread.join().unwrap();
    }

    #[test]
    fn a_failed_change_publishes_nothing() {
        let shared = SharedView::new(View::default());
        assert_eq!(shared.change(|_| Err("no")), Err("no"));
        assert_eq!(shared.load().seq, 0);
    }
}
