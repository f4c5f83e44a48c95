//! Lets the daemon's parts follow a vendor through a random story, and looks
//! after every poll.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rosterd::provider::Patience;

use super::script::{Step, Trouble, story};
use super::{Effect, Vendor};
use crate::harness::parts::{Manner, Parts, Receiver};
use crate::harness::roster::{Lens, Roster};
use crate::harness::vendor::{Hazard, VendorServer, When};

/// Whatever happens: a poll that fails leaves the committed directory as it
/// was, one that succeeds makes it the vendor's, the next one recovers, an
/// idle one tells nothing, and the folded events are the directory.
pub fn lives_through_anything<V: Vendor>() {
    let config = ProptestConfig {
        cases: V::CASES,
        max_shrink_iters: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let outcome = TestRunner::new(config).run(&(story(), 2..6usize), |(steps, page)| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(run::<V>(steps, page));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

async fn run<V: Vendor>(steps: Vec<Step>, page: usize) {
    let folder = tempfile::tempdir().unwrap();
    let server = VendorServer::start(V::default());
    server.with(|vendor| vendor.page(page));
    let mut manner = manner::<V>();
    let mut scene = Scene {
        parts: open(folder.path(), &server, manner),
        receiver: Receiver::new(manner.lens),
        server,
    };
    for step in steps.into_iter().chain([Step::Poll(Trouble::None)]) {
        match step {
            Step::Change(ops) => {
                scene.server.with(|vendor| ops.iter().for_each(|op| vendor.apply(op)));
            }
            Step::Poll(trouble) => scene.poll(trouble).await,
            Step::Interrupt { at, how, restarts } => {
                let mut before = scene.parts.roster();
                for at in &at {
                    before = scene.interrupt(*at, how, before).await;
                    if restarts {
                        scene = scene.restart(folder.path(), manner).await;
                    }
                }
                scene.settle(&format!("cut off at {at:?} by {how:?}, {restarts}")).await;
            }
            Step::Restart { is_full } => {
                manner.full_every = if is_full { Duration::ZERO } else { NEVER };
                scene = scene.restart(folder.path(), manner).await;
            }
        }
        scene.receiver.follow(&scene.parts);
    }
    scene.parts.close().await;
}

const NEVER: Duration = Duration::from_hours(1000);

fn manner<V: Vendor>() -> Manner {
    let lens = Lens { user: V::user_words, group: V::group_words };
    let patience = Patience {
        request_timeout: Duration::from_secs(20),
        stall_timeout: Duration::from_secs(60),
    };
    Manner { patience, full_every: NEVER, ..Manner::unguarded(lens) }
}

fn open<V: Vendor>(folder: &Path, server: &VendorServer<V>, manner: Manner) -> Parts {
    let url = server.url();
    Parts::open(folder, server.with(|vendor| vendor.settings(&url)), manner)
}

struct Scene<V: Vendor> {
    server: VendorServer<V>,
    parts: Parts,
    receiver: Receiver,
}

impl<V: Vendor> Scene<V> {
    async fn poll(&mut self, trouble: Trouble) {
        let before = self.parts.roster();
        let there = self.truth();
        let allowed = self.stir(trouble.clone());
        let outcome = self.parts.sync().await;
        self.calm();
        let (truth, now) = (self.truth(), self.parts.roster());
        let what = format!("after {trouble:?}, which came to {outcome:?}");
        match (outcome, allowed) {
            (Err(_), _) => assert_eq!(now, before, "unsealed, and yet visible {what}"),
            (Ok(()), Effect::Exact) if V::SETTLES_AFTER == 1 => assert_eq!(now, truth, "{what}"),
            (Ok(()), _) => assert_between(&now, &[&before, &there, &truth], &what),
        }
        self.receiver.follow(&self.parts);
        self.settle(&what).await;
    }

    /// Lets `trouble` come over the next poll; what that may come to.
    fn stir(&self, trouble: Trouble) -> Effect {
        match trouble {
            Trouble::None => Effect::Exact,
            Trouble::Http(hazard, at, times) => {
                self.server.arm(hazard, When::nth(at).times(times));
                Effect::Exact
            }
            Trouble::Own(_) if V::HAZARDS.is_empty() => Effect::Exact,
            Trouble::Own(number) => {
                let (name, effect) = V::HAZARDS[number % V::HAZARDS.len()];
                self.server.with(|vendor| vendor.hazard(name));
                effect
            }
            Trouble::Meanwhile(at, ops) => {
                let change = move |vendor: &mut V| ops.iter().for_each(|op| vendor.apply(op));
                self.server.meanwhile(When::nth(at), change);
                Effect::Kept
            }
        }
    }

    /// A poll is cut off at that request; what is committed then.
    async fn interrupt(&mut self, at: usize, how: Hazard, before: Roster) -> Roster {
        let armed = self.server.arm(how, When::from(at));
        let outcome = self.parts.sync().await;
        let fired = self.server.fired(armed);
        self.calm();
        match outcome {
            Err(_) => assert_eq!(self.parts.roster(), before, "unsealed, and yet visible"),
            Ok(()) => assert_eq!(fired, 0, "sealed without all answers"),
        }
        self.receiver.follow(&self.parts);
        self.parts.roster()
    }

    /// Another process takes over.
    async fn restart(self, folder: &Path, manner: Manner) -> Scene<V> {
        let Scene { server, parts, receiver } = self;
        parts.close().await;
        let parts = open(folder, &server, manner);
        Scene { server, parts, receiver }
    }

    /// All goes well from here on: the copy becomes exact, and stays so.
    async fn settle(&mut self, what: &str) {
        for _ in 0..V::SETTLES_AFTER {
            let outcome = self.parts.sync().await;
            assert_eq!(outcome, Ok(()), "no recovery {what}");
            self.receiver.follow(&self.parts);
        }
        assert_eq!(self.parts.roster(), self.truth(), "when it had recovered {what}");
        let quiet = self.parts.ledger.store().last_seq();
        assert_eq!(self.parts.sync().await, Ok(()), "an idle poll failed {what}");
        assert_eq!(self.parts.ledger.store().last_seq(), quiet, "an idle poll told something");
    }

    fn calm(&self) {
        self.server.disarm();
        self.server.with(V::calm);
    }

    fn truth(&self) -> Roster {
        self.server.with(|vendor| vendor.roster())
    }
}

/// Everything in `now` was so in one of the states, and what was so in all of
/// them is so in `now`.
fn assert_between(now: &Roster, states: &[&Roster], what: &str) {
    let objects = |roster: &Roster| -> BTreeSet<(bool, String, String)> {
        let list = |is_user: bool, all: &BTreeMap<String, String>| -> Vec<_> {
            all.iter().map(|(id, words)| (is_user, id.clone(), words.clone())).collect()
        };
        [list(true, &roster.users), list(false, &roster.groups)].concat().into_iter().collect()
    };
    assert_set_between(&objects(now), states.iter().map(|state| objects(state)), what);
    let memberships = states.iter().map(|state| state.members.clone());
    assert_set_between(&now.members, memberships, what);
}

fn assert_set_between<T: Ord + Clone + std::fmt::Debug>(
    now: &BTreeSet<T>,
    states: impl Iterator<Item = BTreeSet<T>>,
    what: &str,
) {
    let states: Vec<BTreeSet<T>> = states.collect();
    for one in now {
        assert!(states.iter().any(|state| state.contains(one)), "made up: {one:?} {what}");
    }
    for one in states.iter().flatten() {
        let always = states.iter().all(|state| state.contains(one));
        assert!(!always || now.contains(one), "lost: {one:?} {what}");
    }
}
