//! What operators ask of an endpoint while it runs.

use tokio::sync::oneshot;

use super::body;
use super::control::{Done, Letter, Order, OrderError};
use super::courier::Contents;
use super::endpoint::Endpoint;
use super::journal::{Journal, JournalError, Position};
use super::stream::Stream;
use crate::clock;
use crate::model::Attempt;
use crate::store::ReplayRow;

/// Replays that may wait for one endpoint, and tests that may be under way.
const REPLAYS_MAX: usize = 16;
const TESTS_MAX: usize = 4;

type Answer = oneshot::Sender<Result<Done, OrderError>>;

/// A test that ended, and who waits for it.
pub(super) struct Testing {
    attempt: Attempt,
    answer: Answer,
}

impl Testing {
    pub(super) fn report(self) {
        // Whoever asked may have gone.
        let _ = self.answer.send(Ok(Done::Tested(self.attempt)));
    }
}

impl<J: Journal> Endpoint<J> {
    /// Does what is asked; what changes the order of deliveries when none is
    /// under way any more.
    pub(super) async fn take_order(&mut self, letter: Letter) {
        match letter {
            (Order::Test, answer) => self.test(answer),
            (Order::Pause | Order::Replay { .. } | Order::Resume { skip: true }, _)
                if !self.sending.is_empty() =>
            {
                self.held = Some(letter);
            }
            letter => self.obey(letter).await,
        }
    }

    pub(super) async fn obey(&mut self, (order, answer): Letter) {
        let outcome = match order {
            Order::Pause => self.pause().await,
            Order::Resume { skip } => self.resume(skip).await,
            Order::Replay { from, to } => self.replay(from, to).await,
            Order::Test => return self.test(answer),
        };
        self.show();
        // Whoever asked may have gone.
        let _ = answer.send(outcome);
    }

    async fn pause(&mut self) -> Result<Done, OrderError> {
        self.paused = true;
        self.keep().await?;
        tracing::info!(webhook = self.config.name, "paused");
        Ok(Done::Paused)
    }

    async fn resume(&mut self, skip: bool) -> Result<Done, OrderError> {
        (self.paused, self.disabled) = (false, None);
        if skip {
            self.skip_all();
        }
        self.live.queue.forgive();
        self.stream().queue.forgive();
        self.keep().await?;
        tracing::info!(webhook = self.config.name, skip, "resumed");
        Ok(Done::Resumed)
    }

    /// What waits counts as delivered.
    fn skip_all(&mut self) {
        let last = (*self.seq.borrow()).max(self.live.queue.cursor());
        self.live = Stream::of(self.rules(), &Position { seq: last, ..Position::default() });
        self.replays.clear();
        self.replay = None;
    }

    async fn replay(&mut self, from: u64, to: Option<u64>) -> Result<Done, OrderError> {
        let (from, last) = (from.max(1), self.live.queue.cursor());
        let to = to.unwrap_or(last.max(from));
        if from > to {
            return Err(OrderError::Refused(format!("from {from} to {to} is nothing")));
        }
        if from > last {
            let what = format!("event {from} was not delivered yet; the last one was {last}");
            return Err(OrderError::Refused(what));
        }
        if self.replays.len() >= REPLAYS_MAX {
            let what = format!("{REPLAYS_MAX} replays wait already");
            return Err(OrderError::Refused(what));
        }
        let kept = self.courier.blocking(move |journal| journal.events(from - 1, 1)).await;
        kept.map_err(OrderError::from)?;
        let to = to.min(last);
        if to == last {
            self.deliver_again_what_overtook();
        }
        self.replays.push_back(ReplayRow { next: from, to });
        self.keep().await?;
        tracing::info!(webhook = self.config.name, from, to, "replaying");
        Ok(Done::Replaying { from, to })
    }

    /// Events beyond the cursor that are done would be older, to a receiver,
    /// than the replayed ones; so they follow them once more.
    fn deliver_again_what_overtook(&mut self) {
        if self.live.beyond().is_some() {
            let position = Position { beyond: None, ..self.position() };
            self.live = Stream::of(self.rules(), &position);
        }
    }

    async fn keep(&mut self) -> Result<(), OrderError> {
        self.urgent = true;
        Ok(self.save().await?)
    }

    /// Sends a test beside everything else.
    fn test(&mut self, answer: Answer) {
        if self.testing.len() >= TESTS_MAX {
            let _ = answer.send(Err(OrderError::Refused("tests are under way already".into())));
            return;
        }
        let message = body::of_test(&self.config.format, &self.config.name, clock::now());
        let sending =
            self.courier.clone().send(message, Contents { number: 1, ..Contents::default() });
        self.testing.push(Box::pin(async move {
            let attempt = sending.await.attempt;
            Testing { attempt, answer }
        }));
    }
}

impl From<JournalError> for OrderError {
    fn from(error: JournalError) -> OrderError {
        match error {
            JournalError::Gone { oldest } => OrderError::Gone { oldest },
            JournalError::Failed(reason) => OrderError::Failed(reason),
        }
    }
}
