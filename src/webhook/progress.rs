//! How far an endpoint is: taken up from the store, read on, stored and shown.

use std::collections::BTreeMap;

use super::config::FirstSync;
use super::endpoint::Endpoint;
use super::journal::{Journal, JournalError, Position};
use super::status::State;
use super::stream::{Stream, Wanted};
use crate::model::{Event, Filter, Payload};
use crate::store::ReplayRow;

/// How far the stored position may lag behind accepted events: at most so many
/// are sent again after a crash, and those under way.
const ACCEPTED_UNSAVED_MAX: usize = 8;

/// The same for events that were filtered out, which cost only reading.
const SKIPPED_UNSAVED_MAX: u64 = 10_000;

impl<J: Journal> Endpoint<J> {
    /// Finds the place where an earlier run stopped; false at shutdown.
    pub(super) async fn take_up(&mut self) -> bool {
        loop {
            let endpoint = self.config.name.clone();
            let found = self.courier.blocking(move |journal| journal.position(&endpoint)).await;
            let position = match found {
                Ok(Some(position)) => Ok(position),
                Ok(None) => self.start_at_the_oldest().await,
                Err(error) => Err(error),
            };
            match position {
                Ok(position) => {
                    self.be_at(position);
                    return true;
                }
                Err(error) => self.store_failed(&error),
            }
            if !self.let_store_rest().await {
                return false;
            }
        }
    }

    async fn start_at_the_oldest(&mut self) -> Result<Position, JournalError> {
        let oldest = match self.courier.blocking(|journal| journal.events(0, 1)).await {
            Ok(_) => 1,
            Err(JournalError::Gone { oldest }) => oldest,
            Err(error) => return Err(error),
        };
        tracing::info!(
            webhook = self.config.name,
            seq = oldest,
            "a new webhook starts with the oldest event that is kept"
        );
        Ok(Position { seq: oldest.saturating_sub(1), ..Position::default() })
    }

    fn be_at(&mut self, position: Position) {
        self.live = Stream::of(self.rules(), &position);
        self.replays = position.replays.iter().copied().collect();
        self.paused = position.paused;
        self.disabled.clone_from(&position.disabled);
        self.saved = position;
        self.show();
        if let Some(disabled) = &self.disabled {
            let (webhook, reason) = (&self.config.name, &disabled.reason);
            tracing::warn!(webhook, reason, "disabled; nothing is sent until it is resumed");
        }
    }

    /// Reads what follows, and takes of it what this endpoint is told.
    pub(super) async fn read(&mut self, wanted: Wanted) {
        let Wanted { after, limit } = wanted;
        let sums_up = self.config.on_first_sync == FirstSync::Summary;
        let read = move |journal: &J| {
            let events = journal.events(after, limit)?;
            let ends = if sums_up { first_syncs(journal, &events)? } else { BTreeMap::new() };
            Ok((events, ends))
        };
        match self.courier.blocking(read).await {
            Ok((events, ends)) => {
                let filter = self.config.filter.clone();
                let admits = |event: &Event| admits(&filter, event) && !is_summed_up(&ends, event);
                self.stream().take(wanted, events, admits);
            }
            Err(JournalError::Gone { oldest }) => self.jump_to(oldest),
            Err(error) => self.store_failed(&error),
        }
    }

    /// Goes on after events that were dropped before they could be delivered.
    fn jump_to(&mut self, oldest: u64) {
        let lost = self.stream().jump_to(oldest);
        self.urgent = true;
        if self.replay.is_some() {
            tracing::error!(
                webhook = self.config.name,
                lost,
                oldest,
                "events were not replayed: the journal no longer keeps them"
            );
            return;
        }
        tracing::error!(
            webhook = self.config.name,
            lost,
            oldest,
            "events were never delivered: the journal no longer keeps them; \
             the receiver should take a snapshot"
        );
        self.statuses.update(&self.config.name, |status| status.lost_total += lost);
    }

    pub(super) fn position(&self) -> Position {
        Position {
            seq: self.live.queue.cursor(),
            beyond: self.live.beyond(),
            failing: self.live.queue.failing(),
            paused: self.paused,
            disabled: self.disabled.clone(),
            replays: self.replays_left(),
        }
    }

    fn replays_left(&self) -> Vec<ReplayRow> {
        let mut replays: Vec<ReplayRow> = self.replays.iter().copied().collect();
        if let (Some(first), Some(stream)) = (replays.first_mut(), &self.replay) {
            first.next = first.next.max(stream.queue.cursor() + 1);
        }
        replays
    }

    /// Stores the position when it moved far enough, or at all if nothing else
    /// is to be done. A failure is no reason to stop delivering: it only means
    /// more repeats after a crash.
    pub(super) async fn save_if_due(&mut self, idle: bool) {
        let skipped = self.live.queue.cursor().saturating_sub(self.saved.seq);
        let far = self.accepted_unsaved >= ACCEPTED_UNSAVED_MAX.max(self.config.concurrency)
            || skipped >= SKIPPED_UNSAVED_MAX + self.accepted_unsaved as u64;
        if !(self.urgent || idle || far) || self.store_is_resting() {
            return;
        }
        if let Err(error) = self.save().await {
            tracing::warn!(
                webhook = self.config.name,
                reason = %error,
                "the position was not stored"
            );
        }
    }

    /// Stores the position now, if it is another than before.
    pub(super) async fn save(&mut self) -> Result<(), JournalError> {
        let position = self.position();
        if position != self.saved {
            let (name, stored) = (self.config.name.clone(), position.clone());
            let work = move |journal: &J| journal.set_position(&name, &stored);
            self.courier.blocking(work).await?;
            self.saved = position;
        }
        (self.urgent, self.accepted_unsaved) = (false, 0);
        Ok(())
    }

    pub(super) fn show(&mut self) {
        let in_flight = self.sending.len();
        let replays = self.replays_left().iter().map(|replay| (replay.next, replay.to)).collect();
        let queue = &self.replay.as_ref().unwrap_or(&self.live).queue;
        let mut failing = queue.failing();
        failing.retain(|row| row.failures > 0);
        let state = match self.held_back() {
            Some(state) => state,
            None if failing.is_empty() => State::Delivering,
            None => State::Failing,
        };
        let next_attempt_at = if state == State::Failing { queue.next_attempt_at() } else { None };
        let live = &self.live.queue;
        let disabled = self.disabled.as_ref();
        self.statuses.update(&self.config.name, |status| {
            status.state = state;
            status.disabled_since = disabled.map(|disabled| disabled.at);
            status.disabled_reason = disabled.map(|disabled| disabled.reason.clone());
            status.replaying = replays;
            status.in_flight = in_flight;
            status.last_delivered_seq = live.cursor();
            status.settled = live.read().saturating_sub(live.len() as u64);
            status.consecutive_failures = failing.iter().map(|row| row.failures).max().unwrap_or(0);
            status.failing_since = failing.iter().map(|row| row.since).min();
            status.next_attempt_at = next_attempt_at;
        });
    }

    fn held_back(&self) -> Option<State> {
        let disabled = self.disabled.is_some().then_some(State::Disabled);
        disabled.or(self.paused.then_some(State::Paused))
    }
}

fn admits(filter: &Filter, event: &Event) -> bool {
    filter.admits(event.kind, &event.tenant, &event.product, &event.directory)
}

/// Where the first sync of each directory ends that the events speak of.
fn first_syncs(
    journal: &impl Journal,
    events: &[Event],
) -> Result<BTreeMap<String, u64>, JournalError> {
    let mut ends = BTreeMap::new();
    for event in events.iter().filter(|event| is_of_object(event)) {
        if !ends.contains_key(&event.directory) {
            ends.insert(event.directory.clone(), journal.first_sync_end(&event.directory)?);
        }
    }
    Ok(ends)
}

fn is_summed_up(ends: &BTreeMap<String, u64>, event: &Event) -> bool {
    is_of_object(event) && ends.get(&event.directory).is_some_and(|end| event.seq <= *end)
}

fn is_of_object(event: &Event) -> bool {
    !matches!(event.payload, Payload::Directory { .. })
}
