//! Many requests at once, and the first error ends them all.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::provider::PullError;

/// Runs `work` on every input, at most `at_once` at a time, and hands each
/// result to `each` as it comes.
///
/// # Errors
/// The first one. Work under way is dropped.
pub async fn in_parallel<I, T, F>(
    inputs: impl IntoIterator<Item = I>,
    at_once: usize,
    work: impl Fn(I) -> F,
    mut each: impl FnMut(T),
) -> Result<(), PullError>
where
    F: Future<Output = Result<T, PullError>>,
{
    let mut waiting = inputs.into_iter();
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < at_once.max(1)
            && let Some(input) = waiting.next()
        {
            running.push(work(input));
        }
        match running.next().await {
            Some(result) => each(result?),
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn no_more_than_asked_for_run_at_once_and_all_are_handed_over() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut seen = Vec::new();
        let work = async |n: u32| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(n)
        };
        in_parallel(0..20, 3, work, |n| seen.push(n)).await.unwrap();
        seen.sort_unstable();
        assert_eq!(seen, (0..20).collect::<Vec<_>>());
        assert_eq!(most.into_inner(), 3);
    }

    #[tokio::test]
    async fn the_first_error_ends_it() {
        let error = |n: u32| async move {
            match n {
                7 => Err(PullError::CursorExpired { reason: "seven".into() }),
                n => Ok(n),
            }
        };
        let mut seen = Vec::new();
        in_parallel(0.., 2, error, |n| seen.push(n)).await.unwrap_err();
        assert!(seen.iter().all(|n| *n < 9));
    }
}
