//! The life of one endpoint: read after the cursor, send until accepted, move on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::client::{Client, Outcome};
use super::config::WebhookConfig;
use super::control::Letter;
use super::journal::{Journal, JournalError, Position};
use super::schedule;
use super::status::Statuses;
use crate::clock;
use crate::model::{Event, Filter};
use crate::task::{self, Shutdown};

/// Events read at once.
const BATCH_EVENTS: usize = 128;

/// How far the stored cursor may lag behind accepted events: at most so many
/// are sent again after a crash.
const ACCEPTED_UNSAVED_MAX: u64 = 8;

/// The same for events that were filtered out, which cost only reading.
const SKIPPED_UNSAVED_MAX: u64 = 10_000;

/// A wake may be missed; the journal is looked at this often all the same.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// After the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// A delivery that is under way at shutdown may take this long to end.
const LAST_DELIVERY: Duration = Duration::from_secs(2);

/// The daemon was asked to stop.
struct Stop;

pub(super) struct Endpoint<J> {
    config: WebhookConfig,
    client: Client,
    journal: J,
    statuses: Arc<Statuses>,
    shutdown: Shutdown,
    position: Position,
    /// As stored.
    saved: Position,
    accepted_unsaved: u64,
}

impl<J: Journal> Endpoint<J> {
    pub(super) fn new(
        config: WebhookConfig,
        client: Client,
        journal: J,
        statuses: Arc<Statuses>,
        shutdown: Shutdown,
    ) -> Endpoint<J> {
        let (position, saved) = (Position::default(), Position::default());
        Endpoint {
            config,
            client,
            journal,
            statuses,
            shutdown,
            position,
            saved,
            accepted_unsaved: 0,
        }
    }

    pub(super) async fn run(
        mut self,
        mut seq: watch::Receiver<u64>,
        _orders: mpsc::Receiver<Letter>,
    ) {
        let Err(Stop) = self.deliver_for_ever(&mut seq).await else { return };
        self.save().await;
    }

    async fn deliver_for_ever(&mut self, seq: &mut watch::Receiver<u64>) -> Result<(), Stop> {
        self.take_up().await?;
        loop {
            seq.borrow_and_update();
            let events = self.read().await?;
            if events.is_empty() {
                self.save().await;
                self.sleep_until_woken(seq).await?;
            }
            for event in &events {
                self.pass(event).await?;
            }
        }
    }

    /// Finds the place where an earlier run stopped.
    async fn take_up(&mut self) -> Result<(), Stop> {
        let name = self.config.name.clone();
        loop {
            let endpoint = name.clone();
            match self.blocking(move |journal| journal.position(&endpoint)).await {
                Ok(position) => {
                    self.position = match position {
                        Some(position) => position,
                        None => self.start_at_the_oldest().await?,
                    };
                    self.saved = self.position.clone();
                    self.show();
                    return Ok(());
                }
                Err(error) => self.pause_for_store(&error).await?,
            }
        }
    }

    async fn start_at_the_oldest(&mut self) -> Result<Position, Stop> {
        loop {
            let oldest = match self.blocking(|journal| journal.events(0, 1)).await {
                Ok(_) => 1,
                Err(JournalError::Gone { oldest }) => oldest,
                Err(error) => {
                    self.pause_for_store(&error).await?;
                    continue;
                }
            };
            tracing::info!(
                webhook = self.config.name,
                seq = oldest,
                "a new webhook starts with the oldest event that is kept"
            );
            return Ok(Position { seq: oldest.saturating_sub(1), ..Position::default() });
        }
    }

    /// The next events, if there are any.
    async fn read(&mut self) -> Result<Vec<Event>, Stop> {
        loop {
            self.check_shutdown()?;
            let after = self.position.seq;
            match self.blocking(move |journal| journal.events(after, BATCH_EVENTS)).await {
                Ok(events) => return Ok(events),
                Err(JournalError::Gone { oldest }) => self.jump_to(oldest).await,
                Err(error) => self.pause_for_store(&error).await?,
            }
        }
    }

    /// Goes on after events that were dropped before they could be delivered.
    async fn jump_to(&mut self, oldest: u64) {
        let lost = oldest.saturating_sub(self.position.seq + 1);
        tracing::error!(
            webhook = self.config.name,
            lost,
            from = self.position.seq + 1,
            oldest,
            "events were never delivered: the journal no longer keeps them; \
             the receiver should take a snapshot"
        );
        self.position = Position { seq: oldest.saturating_sub(1), ..Position::default() };
        self.statuses.update(&self.config.name, |status| status.lost_total += lost);
        self.save().await;
        self.show();
    }

    /// Moves past one event: delivered, or none of this endpoint's business.
    async fn pass(&mut self, event: &Event) -> Result<(), Stop> {
        self.check_shutdown()?;
        let is_admitted = admits(&self.config.filter, event);
        if is_admitted {
            self.deliver(event).await?;
            self.accepted_unsaved += 1;
        }
        self.position = Position { seq: event.seq, ..Position::default() };
        let skipped = self.position.seq.saturating_sub(self.saved.seq);
        if self.accepted_unsaved >= ACCEPTED_UNSAVED_MAX || skipped >= SKIPPED_UNSAVED_MAX {
            self.save().await;
        }
        self.show();
        Ok(())
    }

    /// Sends one event until it is accepted.
    async fn deliver(&mut self, event: &Event) -> Result<(), Stop> {
        let body = self.config.format.body(event);
        loop {
            match self.send(&event.id, body.clone()).await? {
                Outcome::Accepted => {
                    self.note_accepted(event);
                    return Ok(());
                }
                Outcome::Failed { reason, retry_after } => {
                    let delay = self.note_failed(event, &reason, retry_after);
                    self.save().await;
                    self.pause(delay).await?;
                }
            }
        }
    }

    async fn send(&self, id: &str, body: Vec<u8>) -> Result<Outcome, Stop> {
        let too_late = async {
            self.shutdown.requested().await;
            tokio::time::sleep(LAST_DELIVERY).await;
        };
        tokio::select! {
            outcome = self.client.send(id, body, clock::now()) => Ok(outcome),
            () = too_late => Err(Stop),
        }
    }

    fn note_accepted(&self, event: &Event) {
        let (webhook, seq) = (&self.config.name, event.seq);
        match self.position.failures {
            0 => tracing::debug!(webhook, seq, kind = event.kind.as_str(), "delivered"),
            failures => tracing::info!(webhook, seq, failures, "delivered after failures"),
        }
        self.statuses.update(webhook, |status| {
            status.delivered_total += 1;
            status.last_error = None;
        });
    }

    /// Counts a failure and says how long to wait.
    fn note_failed(
        &mut self,
        event: &Event,
        reason: &str,
        retry_after: Option<Duration>,
    ) -> Duration {
        let now = clock::now();
        let failures = self.position.failures.saturating_add(1);
        let delay =
            schedule::delay(&self.config.retry_schedule, failures, retry_after, fastrand::f64());
        self.position.failures = failures;
        self.position.failing_since.get_or_insert(now);
        self.position.next_attempt_at = Some(now.plus(delay));
        tracing::warn!(
            webhook = self.config.name,
            seq = event.seq,
            failures,
            reason,
            next_attempt_at = %now.plus(delay),
            "not delivered"
        );
        self.statuses.update(&self.config.name, |status| {
            status.failed_total += 1;
            status.last_error = Some(reason.to_owned());
        });
        self.show();
        delay
    }

    /// Stores the cursor. A failure is no reason to stop delivering: it only
    /// means more repeats after a crash.
    async fn save(&mut self) {
        if self.position == self.saved {
            return;
        }
        let (name, position) = (self.config.name.clone(), self.position.clone());
        match self.blocking(move |journal| journal.set_position(&name, &position)).await {
            Ok(()) => {
                self.saved = self.position.clone();
                self.accepted_unsaved = 0;
            }
            Err(error) => {
                let webhook = &self.config.name;
                tracing::warn!(webhook, reason = %error, "the cursor was not stored");
            }
        }
    }

    async fn pause_for_store(&self, error: &JournalError) -> Result<(), Stop> {
        let webhook = &self.config.name;
        tracing::error!(webhook, reason = %error, "the journal cannot be read");
        self.statuses.update(webhook, |status| status.last_error = Some(error.to_string()));
        self.pause(STORE_PAUSE).await
    }

    async fn sleep_until_woken(&self, seq: &mut watch::Receiver<u64>) -> Result<(), Stop> {
        let woken = async {
            if seq.changed().await.is_err() {
                // Nobody is left who could wake; there is nothing more to come.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.shutdown.requested() => Err(Stop),
            () = woken => Ok(()),
            () = tokio::time::sleep(LOOK_EVERY) => Ok(()),
        }
    }

    async fn pause(&self, delay: Duration) -> Result<(), Stop> {
        tokio::select! {
            () = self.shutdown.requested() => Err(Stop),
            () = tokio::time::sleep(delay) => Ok(()),
        }
    }

    fn check_shutdown(&self) -> Result<(), Stop> {
        if self.shutdown.is_requested() { Err(Stop) } else { Ok(()) }
    }

    fn show(&self) {
        let position = &self.position;
        self.statuses.update(&self.config.name, |status| {
            status.last_delivered_seq = position.seq;
            status.consecutive_failures = position.failures;
            status.failing_since = position.failing_since;
            status.next_attempt_at = position.next_attempt_at;
        });
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&J) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let journal = self.journal.clone();
        let name = format!("webhook {} at the store", self.config.name);
        task::blocking(&name, move || work(&journal))
            .await
            .unwrap_or_else(|end| Err(JournalError::Failed(end.to_string())))
    }
}

fn admits(filter: &Filter, event: &Event) -> bool {
    filter.admits(event.kind, &event.tenant, &event.product, &event.directory)
}
