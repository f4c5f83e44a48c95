//! The daemon's own parts for one directory, without the daemon: poller,
//! reconciler, guard, ledger, store and view. And one who follows its events.

use std::path::Path;
use std::sync::Arc;

use rosterd::clock::Duration;
use rosterd::model::Event;
use rosterd::provider::{Patience, Settings};
use rosterd::store::{self, Store};
use rosterd::sync::guard::{Limits, OnHold};
use rosterd::sync::ledger::Ledger;
use rosterd::sync::poller::{Checkpointing, Poller, Terms};
use rosterd::sync::schedule::Delays;
use rosterd::sync::status::Statuses;
use rosterd::task;

use super::roster::{Lens, Roster};

const HOUR: Duration = Duration::from_secs(3600);

/// How the parts treat a directory.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub limits: Limits,
    pub on_hold: OnHold,
    pub patience: Patience,
    pub full_every: Duration,
    pub checkpoint_every: Duration,
    pub freshness_objective: Option<Duration>,
    pub lens: Lens,
}

impl Manner {
    /// As patient as can be, full crawls only when there is no cursor, and each
    /// checkpoint on disk.
    pub fn new(lens: Lens, limits: Limits) -> Manner {
        let patience = Patience { request_timeout: HOUR, stall_timeout: HOUR };
        Manner {
            limits,
            on_hold: OnHold::default(),
            patience,
            full_every: HOUR * 1000,
            checkpoint_every: Duration::ZERO,
            freshness_objective: None,
            lens,
        }
    }

    /// Nothing is held, however much is removed.
    pub fn unguarded(lens: Lens) -> Manner {
        Manner::new(lens, Limits::none())
    }
}

/// One directory, polled only when asked to.
pub struct Parts {
    pub ledger: Ledger,
    pub statuses: Statuses,
    pub poller: Poller,
    lens: Lens,
    trigger: task::Trigger,
}

impl Parts {
    pub fn open(folder: &Path, settings: Arc<dyn Settings>, manner: Manner) -> Parts {
        let (store, _) = Store::open(folder, store::Options::default()).unwrap();
        let ledger = Ledger::open(store).unwrap();
        let terms = Terms {
            freshness_objective: manner.freshness_objective,
            name: "corp".into(),
            tenant: "acme".into(),
            product: "vpn".into(),
            delays: Delays { min: HOUR, max: HOUR },
            patience: manner.patience,
            full_every: manner.full_every,
            checkpoints: Checkpointing { every: manner.checkpoint_every, max_age: 24 * HOUR },
            limits: manner.limits,
            on_hold: manner.on_hold,
            settings,
        };
        let (trigger, shutdown) = task::shutdown();
        let statuses = Statuses::default();
        let poller = Poller::start(terms, ledger.clone(), statuses.clone(), Some(HOUR), shutdown);
        Parts { ledger, statuses, poller, lens: manner.lens, trigger }
    }

    pub async fn close(self) {
        self.trigger.fire();
        self.poller.join().await;
    }

    /// Polls once.
    ///
    /// # Errors
    /// The poll's failure, as a sentence.
    pub async fn sync(&self) -> Result<(), String> {
        self.poller.remote().sync().await
    }

    pub fn roster(&self) -> Roster {
        Roster::of(&self.ledger.directory("corp"), self.lens)
    }
}

/// A receiver that keeps what it folded, and checks what it gets again.
pub struct Receiver {
    roster: Roster,
    events: Vec<Event>,
    lens: Lens,
}

impl Receiver {
    pub fn new(lens: Lens) -> Receiver {
        Receiver { roster: Roster::default(), events: Vec::new(), lens }
    }

    /// Takes what is new; what it folded is then the committed directory.
    pub fn follow(&mut self, parts: &Parts) {
        let all = parts.ledger.store().events(0, 100_000).unwrap();
        assert_eq!(all[..self.events.len()], self.events[..], "an event changed its body");
        for (event, seq) in all.iter().zip(1..) {
            assert_eq!(event.seq, seq, "the seqs have a gap");
        }
        for event in &all[self.events.len()..] {
            self.roster.fold(event, self.lens);
        }
        self.events = all;
        assert_eq!(self.roster, parts.roster(), "the folded events are not the directory");
    }
}
