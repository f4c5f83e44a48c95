//! What follows from the outcome of a delivery: on to the next, a pause, or the
//! end of all deliveries until a person decides.

use std::time::Duration;

use super::client::Outcome;
use super::courier::Sent;
use super::endpoint::Endpoint;
use super::journal::{Journal, JournalError};
use super::notary::Disabled;
use super::queue::Failures;
use super::schedule;
use crate::clock;
use crate::model::{Attempt, Event, EventKind, Payload, Value};
use crate::store::DisabledRow;

/// Events read at once to see what was told.
const READ_EVENTS: usize = 128;

impl<J: Journal> Endpoint<J> {
    /// A delivery ended.
    pub(super) fn settle(&mut self, sent: Sent) {
        let Sent { outcome, attempt } = sent;
        match outcome {
            Outcome::Accepted => self.note_accepted(&attempt),
            Outcome::Failed { reason, retry_after } => {
                self.note_failed(&attempt, reason, retry_after);
            }
            Outcome::Unwanted { reason } => {
                self.stream().queue.failed(attempt.first_seq, attempt.at);
                self.count_failure(&reason);
                self.disable(reason);
            }
        }
    }

    fn note_accepted(&mut self, attempt: &Attempt) {
        self.stream().queue.accepted(attempt.first_seq);
        self.accepted_unsaved += attempt.events as usize;
        let (webhook, seq) = (&self.config.name, attempt.last_seq);
        match attempt.number {
            1 => tracing::debug!(webhook, seq, events = attempt.events, "delivered"),
            number => tracing::info!(webhook, seq, attempts = number, "delivered after failures"),
        }
        self.statuses.update(webhook, |status| {
            status.delivered_total += 1;
            status.last_error = None;
            status.latency.note(u64::from(attempt.latency_ms));
        });
    }

    /// Puts the delivery off, or disables the endpoint after the last delay.
    fn note_failed(&mut self, attempt: &Attempt, reason: String, retry_after: Option<Duration>) {
        let (now, instant) = (clock::now(), clock::instant());
        let failures = self.stream().queue.failed(attempt.first_seq, attempt.at);
        let Failures { count: failures, since } = failures;
        self.count_failure(&reason);
        self.urgent = true;
        let (schedule, random) = (&self.config.retry_schedule, fastrand::f64());
        let delay = schedule::delay(schedule, (failures, now.since(since)), retry_after, random);
        let Some(delay) = delay else {
            self.disable(format!("{reason}, {failures} times in a row"));
            return;
        };
        tracing::warn!(
            webhook = self.config.name,
            seq = attempt.first_seq,
            failures,
            reason,
            next_attempt_at = %now.plus(delay),
            "not delivered"
        );
        let queue = &mut self.stream().queue;
        queue.put_off(attempt.first_seq, instant + delay, now.plus(delay));
        if retry_after.is_some() {
            let floor = schedule::floor(retry_after);
            queue.hold_off(instant + floor, now.plus(floor));
        }
    }

    fn count_failure(&mut self, reason: &str) {
        self.statuses.update(&self.config.name, |status| {
            status.failed_total += 1;
            status.last_error = Some(reason.to_owned());
        });
    }

    /// Sends nothing more until a person says so; once, whatever fails after it.
    fn disable(&mut self, reason: String) {
        self.urgent = true;
        if self.disabled.is_some() {
            return;
        }
        let at = clock::now();
        let failing = self.stream().queue.failing();
        let failing_since = failing.iter().map(|row| row.since).min().unwrap_or(at);
        tracing::error!(
            webhook = self.config.name,
            reason,
            failing_since = %failing_since,
            "disabled: nothing is sent until it is resumed"
        );
        let untold_after = Some(*self.seq.borrow());
        self.disabled = Some(DisabledRow { at, failing_since, reason, untold_after });
        self.maybe_told = false;
    }

    /// Tells of it in the journal, once.
    pub(super) async fn tell_if_disabled(&mut self) {
        let Some(disabled) = self.disabled.clone() else { return };
        let Some(after) = disabled.untold_after.filter(|_| !self.store_is_resting()) else {
            return;
        };
        let notice = Disabled {
            webhook: self.config.name.clone(),
            since: disabled.failing_since,
            reason: disabled.reason,
            seq: self.live.queue.cursor(),
        };
        match self.tell(notice, after).await {
            Ok(()) => {
                if let Some(disabled) = &mut self.disabled {
                    disabled.untold_after = None;
                }
                self.urgent = true;
                self.save_if_due(false).await;
            }
            Err(error) => {
                self.maybe_told = true;
                self.store_failed(&error);
            }
        }
    }

    async fn tell(&mut self, notice: Disabled, after: u64) -> Result<(), JournalError> {
        if self.maybe_told {
            let sought = notice.clone();
            if self.courier.blocking(move |journal| is_told(journal, &sought, after)).await? {
                return Ok(());
            }
        }
        self.notary.disabled(notice).await.map_err(JournalError::Failed)
    }
}

/// Whether the journal has that notice after a seq.
fn is_told(
    journal: &impl Journal,
    notice: &Disabled,
    mut after: u64,
) -> Result<bool, JournalError> {
    loop {
        match journal.events(after, READ_EVENTS) {
            Ok(events) if events.iter().any(|event| tells(event, notice)) => return Ok(true),
            Ok(events) => match events.last() {
                Some(last) => after = last.seq,
                None => return Ok(false),
            },
            Err(JournalError::Gone { oldest }) => after = oldest.saturating_sub(1).max(after),
            Err(error) => return Err(error),
        }
    }
}

fn tells(event: &Event, notice: &Disabled) -> bool {
    let Payload::Directory { details } = &event.payload else { return false };
    let has = |name: &str, text: &str| details.get(name) == Some(&Value::from(text));
    event.kind == EventKind::WebhookDisabled
        && has("webhook", &notice.webhook)
        && has("since", &notice.since.to_string())
}
