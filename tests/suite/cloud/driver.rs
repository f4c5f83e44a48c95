//! Lets the daemon's parts follow a vendor through a random story, and looks
//! after every poll.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rosterd::provider::{Patience, Settings};

use super::script::{Step, Trouble, story};
use super::{Effect, Member, Op, Population, Vendor};
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
        catches_up: false,
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
                scene.catches_up = is_full;
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
    /// Each poll reads what changed, and commits it, before it reads everything.
    catches_up: bool,
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
            (Err(_), _) if self.catches_up => {
                assert_between(&now, &[&before, &there, &truth], &what);
            }
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
            Err(_) if self.catches_up => {
                let states = [&before, &self.truth()];
                assert_between(&self.parts.roster(), &states, "unsealed, and yet visible");
            }
            Err(_) => assert_eq!(self.parts.roster(), before, "unsealed, and yet visible"),
            Ok(()) => assert_eq!(fired, 0, "sealed without all answers"),
        }
        self.receiver.follow(&self.parts);
        self.parts.roster()
    }

    /// Another process takes over.
    async fn restart(self, folder: &Path, manner: Manner) -> Scene<V> {
        let Scene { server, parts, receiver, catches_up } = self;
        parts.close().await;
        let parts = open(folder, &server, manner);
        Scene { server, parts, receiver, catches_up }
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

/// The first crawl of a full directory ends ten times, at requests that `seed`
/// chooses, and goes on each time: all in all it sends no more than one that
/// nobody interrupts, and `again` for each time.
pub async fn a_first_crawl_goes_on_ten_times<V: Vendor>(
    population: Population,
    page: usize,
    seed: u64,
    again: usize,
) {
    let whole = crawled::<V>(population, page, &[]).await;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut places: Vec<usize> = (0..TIMES).map(|_| random.usize(1..whole)).collect();
    places.sort_unstable();
    let total = crawled::<V>(population, page, &places).await;
    assert!(
        total <= whole + TIMES * again,
        "{total} requests with interruptions at {places:?}, {whole} without (seed {seed})"
    );
}

const TIMES: usize = 10;

/// Crawls until all is read, cut off at these places of a whole crawl; how many
/// requests that took.
async fn crawled<V: Vendor>(population: Population, page: usize, places: &[usize]) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let mut world = V::default();
    world.fill(population);
    world.page(page);
    let server = VendorServer::start(world);
    let parts = open(folder.path(), &server, manner::<V>());
    let mut before = 0;
    for place in places {
        let armed = server.arm(Hazard::Refuse, When::from((place - before).max(1)));
        let outcome = parts.sync().await;
        assert!(outcome.is_err() && server.fired(armed) > 0, "at {place}: {outcome:?}");
        assert_eq!(parts.roster(), Roster::default(), "unsealed, and yet visible");
        server.disarm();
        before = *place;
    }
    parts.sync().await.unwrap();
    assert_eq!(parts.roster(), server.with(|vendor| vendor.roster()));
    parts.close().await;
    server.log().iter().filter(|seen| seen.hazard.is_none()).count()
}

/// Two directories with credentials of their own, read at the same time: each
/// server sees its own tokens only, and each copy is that of its own.
pub async fn two_directories_never_mix<V: Vendor>(
    settings: [Arc<dyn Settings>; 2],
    servers: [&VendorServer<V>; 2],
) {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [first, second] = settings;
    let manner = manner::<V>();
    let one = Parts::open(folders[0].path(), first, manner);
    let other = Parts::open(folders[1].path(), second, manner);
    for n in 0..6_u8 {
        servers[0].with(|vendor| {
            vendor.apply(&Op::PutUser(n, 1));
            vendor.apply(&Op::PutGroup(n, 1));
            vendor.apply(&Op::AddMember(n, Member::User(n)));
        });
        // The same names, and something else.
        servers[1].with(|vendor| {
            vendor.apply(&Op::PutUser(n, 2));
            vendor.apply(&Op::PutGroup(n, 2));
            vendor.apply(&Op::AddMember(0, Member::User(n)));
        });
        let outcomes = tokio::join!(one.sync(), other.sync());
        assert_eq!(outcomes, (Ok(()), Ok(())));
        for (parts, server) in [(&one, servers[0]), (&other, servers[1])] {
            assert_eq!(parts.roster(), server.with(|vendor| vendor.roster()));
        }
    }
    let tokens = servers.map(|server| {
        let log = server.log();
        assert!(log.iter().all(|seen| seen.status < 300), "a request was refused");
        let bearers = log.iter().filter_map(|seen| seen.request.bearer().map(str::to_owned));
        bearers.collect::<BTreeSet<String>>()
    });
    assert!(!tokens[0].is_empty() && tokens[0].is_disjoint(&tokens[1]), "a token went astray");
    one.close().await;
    other.close().await;
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
