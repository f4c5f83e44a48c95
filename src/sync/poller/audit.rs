//! What a poller writes into the audit trail: holds, and what became of them.
//!
//! Whatever changes the store is recorded by the commit that does it
//! ([`Actor::recording`]); refusals and decisions that change nothing stored are
//! recorded before they are answered.

use super::HoldError;
use super::actor::Actor;
use crate::audit::Trail;
use crate::model::{Act, Action, Caller};
use crate::sync::status::{Counts, HoldSummary};

impl Actor {
    /// Approves a held set on behalf of somebody.
    pub(super) async fn approve_for(&mut self, id: &str, by: Caller) -> Result<(), HoldError> {
        self.decider = Some(by.clone());
        let outcome = self.approve(id).await;
        let act = self.act(Action::HOLD_APPROVE, id, by);
        let trail = self.ledger.trail().clone();
        match (&outcome, self.decider.take()) {
            (Ok(()), None) => outcome,
            (Ok(()), Some(_)) => answer(trail, act.with("outcome", "applied"), outcome).await,
            (Err(error), _) => refuse(trail, not_done(act, error), outcome).await,
        }
    }

    /// Rejects a held set on behalf of somebody.
    pub(super) async fn reject_for(&mut self, id: &str, by: Caller) -> Result<(), HoldError> {
        let outcome = self.reject(id).await;
        let act = self.act(Action::HOLD_REJECT, id, by);
        let trail = self.ledger.trail().clone();
        match &outcome {
            Ok(()) => answer(trail, act.with("outcome", "applied"), outcome).await,
            Err(error) => refuse(trail, not_done(act, error), outcome).await,
        }
    }

    /// The next commit holds this set.
    pub(super) fn record_hold(&mut self, hold: &HoldSummary) {
        let act = self.act(Action::HOLD, &hold.id, Caller::daemon());
        self.recording = Some(counted(act, &hold.counts).with("reason", hold.reason.as_str()));
    }

    /// The next commit lets a held set through: for whoever approved it, or
    /// because what is left of it is harmless.
    pub(super) fn record_release(&mut self, counts: &Counts) {
        let Some(id) = self.hold().map(|hold| hold.id.clone()) else { return };
        self.recording = Some(match self.decider.take() {
            Some(by) => {
                let act = self.act(Action::HOLD_APPROVE, &id, by);
                counted(act, counts).with("outcome", "applied")
            }
            None => self.act(Action::HOLD_CLEAR, &id, Caller::daemon()),
        });
    }

    fn act(&self, action: Action, hold: &str, by: Caller) -> Act {
        Act::of(action, by).on("directory", &self.terms.name).on("hold", hold)
    }
}

/// Nobody is told that it is done before that is kept.
async fn answer(trail: Trail, act: Act, outcome: Result<(), HoldError>) -> Result<(), HoldError> {
    let recorded = trail.record(act).await;
    outcome.and(recorded.map_err(|error| HoldError::Failed(error.to_string())))
}

/// Nothing was done; a script that asks again and again is only counted.
async fn refuse(trail: Trail, act: Act, outcome: Result<(), HoldError>) -> Result<(), HoldError> {
    let recorded = trail.record_often(act).await;
    outcome.and(recorded.map_err(|error| HoldError::Failed(error.to_string())))
}

fn not_done(act: Act, error: &HoldError) -> Act {
    match error {
        HoldError::Failed(reason) => act.with("outcome", "failed").with("reason", reason.as_str()),
        refusal => act.refused(refusal),
    }
}

/// What the set would do; nothing where it does nothing.
fn counted(act: Act, counts: &Counts) -> Act {
    let counts = counts.named().into_iter().filter(|(_, count)| *count > 0);
    counts.fold(act, |act, (name, count)| act.with(name, count))
}
