//! Whatever happens to either side, every receiver ends with exactly the
//! directory (known failures W5, W6 and W7).
//!
//! The scripted provider lives on, and endpoints of every manner tell of it to
//! receivers that break, hang, lose answers and come back, while the process
//! is stopped and killed, and retention passes. In the end everybody is well.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU8, Ordering as Atomic};
use std::time::Duration;

use async_trait::async_trait;
use rosterd::config::section;
use rosterd::model::{Act, Action, Attributes};
use rosterd::store::{Kept, Pruned, Retention};
use rosterd::sync::ledger::Ledger;
use rosterd::task::{Task, Trigger, shutdown};
use rosterd::webhook::{
    self, Controls, Disabled, Done, EndpointStatus, Notary, Order, OrderError, State, Statuses,
    WebhookConfig,
};
use rosterd::wire::{EventBody, GroupBody, UserBody};
use serde_json::Value as Json;
use tokio::runtime::Runtime;

use super::*;
use crate::harness::fold;
use crate::harness::receiver::{Answer, Ordering, Receiver};
use crate::harness::{wait_until, write_private};

const PATIENCE: Duration = Duration::from_secs(60);

/// Long enough that only an answer that never comes is late.
const TIMEOUT: Duration = Duration::from_millis(250);

/// Far longer than anything here takes.
const KEPT: Duration = Duration::from_secs(3600);

/// An endpoint, and what it promises.
struct Manners {
    name: &'static str,
    config: &'static str,
    /// Delays after failures before it is given up.
    retries: usize,
    ordering: Ordering,
    /// Whether it wants an event of this type.
    wants: fn(&str) -> bool,
    /// Whether it is configured only when everything is over.
    is_late: bool,
}

const PLAIN: Manners = Manners {
    name: "plain",
    config: "",
    retries: 1000,
    ordering: Ordering::BySeq,
    wants: |_| true,
    is_late: false,
};

const ENDPOINTS: [Manners; 8] = [
    PLAIN,
    Manners { name: "hasty", retries: 2, ..PLAIN },
    Manners { name: "late", is_late: true, ..PLAIN },
    Manners {
        name: "filtered",
        config: "events = [\"group.*\", \"user.deleted\"]",
        wants: |kind| kind.starts_with("group.") || kind == "user.deleted",
        ..PLAIN
    },
    Manners {
        name: "per_user",
        config: "ordering = \"per_user\"\nconcurrency = 4",
        ordering: Ordering::PerObject,
        ..PLAIN
    },
    Manners { name: "batches", config: "batch_max = 7", retries: 3, ..PLAIN },
    Manners {
        name: "polis",
        config: "format = \"polis\"",
        ordering: Ordering::Polis,
        wants: |kind| {
            (kind.starts_with("user.") || kind.starts_with("group."))
                && !kind.starts_with("group.group_")
        },
        ..PLAIN
    },
    Manners { name: SUMMARY, config: "on_first_sync = \"summary\"", ..PLAIN },
];

/// Is told of the first sync in one event.
const SUMMARY: &str = "summary";

/// How a receiver behaves for a while.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Well,
    /// Answers so, always.
    Answers(u16),
    Throttles,
    HangsUp,
    /// Does it, and the answer is lost.
    LosesAnswers,
    Silent,
    /// Now this, now that.
    Changes,
}

const MOODS: [Mood; 10] = [
    Mood::Well,
    Mood::Answers(500),
    Mood::Answers(302),
    Mood::Answers(410),
    Mood::Answers(503),
    Mood::Throttles,
    Mood::HangsUp,
    Mood::LosesAnswers,
    Mood::Silent,
    Mood::Changes,
];

impl Mood {
    fn answer(self, turn: u8) -> Answer {
        match self {
            Mood::Well => Answer::accept(),
            Mood::Answers(status) => {
                Answer::Status(status, vec!["location: /elsewhere".to_owned()])
            }
            Mood::Throttles => Answer::Status(429, vec!["retry-after: 0".to_owned()]),
            Mood::HangsUp => Answer::HangUp,
            Mood::LosesAnswers => Answer::AcceptAndHangUp,
            Mood::Silent => Answer::AcceptInSilence,
            Mood::Changes => match turn % 8 {
                0 => Answer::Status(500, Vec::new()),
                2 => Answer::AcceptAndHangUp,
                5 => Mood::Throttles.answer(turn),
                7 if turn == 7 => Answer::AcceptInSilence,
                _ => Answer::Status(200, Vec::new()),
            },
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// The provider changes, and is read.
    Live(Vec<Op>),
    Crawl(Mode),
    Approve,
    /// The process stops and starts.
    Restart,
    /// The process is gone from one moment to the next.
    Kill,
    /// This receiver behaves like that from now on.
    Mood(usize, u8),
    /// Retention passes so much of what was told so far, in 256ths.
    Forget(u8),
    /// Until this receiver is told something more, if it needs to be.
    Listen(usize),
    Pause(usize),
    Resume(usize),
    /// Once more, from so much of what it was told, in 256ths.
    Replay(usize, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let which = || 0..ENDPOINTS.len();
    prop_oneof![
        12 => prop::collection::vec(op(), 1..12).prop_map(Step::Live),
        3 => mode().prop_map(Step::Crawl),
        1 => Just(Step::Approve),
        1 => Just(Step::Restart),
        2 => Just(Step::Kill),
        5 => (which(), 0..MOODS.len() as u8).prop_map(|(who, mood)| Step::Mood(who, mood)),
        2 => any::<u8>().prop_map(Step::Forget),
        3 => which().prop_map(Step::Listen),
        1 => which().prop_map(Step::Pause),
        2 => which().prop_map(Step::Resume),
        1 => (which(), any::<u8>()).prop_map(|(who, share)| Step::Replay(who, share)),
    ]
}

/// A receiver through all processes.
struct Listener {
    manners: &'static Manners,
    receiver: Receiver,
    mood: Arc<AtomicU8>,
    config: WebhookConfig,
    /// What processes that are gone reported as lost.
    lost: u64,
    is_running: bool,
}

impl Listener {
    fn new(manners: &'static Manners, folder: &Path) -> Listener {
        let receiver = Receiver::start_with(manners.ordering);
        let mood = Arc::new(AtomicU8::new(0));
        let (mut turn, felt) = (0_u8, mood.clone());
        receiver.answer(move |_| {
            turn = turn.wrapping_add(1);
            MOODS[usize::from(felt.load(Atomic::SeqCst))].answer(turn)
        });
        let config = config(manners, &receiver, folder);
        Listener { manners, receiver, mood, config, lost: 0, is_running: !manners.is_late }
    }
}

fn config(manners: &Manners, receiver: &Receiver, folder: &Path) -> WebhookConfig {
    let secret = write_private(folder.join(manners.name), receiver.secret());
    let schedule = vec!["\"4ms\""; manners.retries].join(", ");
    let text = format!(
        "[webhook.{}]\nurl = \"{}\"\nsecret = {{ file = {secret:?} }}\nallow_private = true\n\
         retry_schedule = [{schedule}]\n{}\n",
        manners.name,
        receiver.url(),
        manners.config,
    );
    let read = section::read_text(&text, |root| {
        let (_, mut section) = root.sections("webhook").pop()?;
        WebhookConfig::read(&mut section)
    });
    WebhookConfig { timeout: TIMEOUT, ..read.unwrap_or_else(|report| panic!("{report}")) }
}

/// What a process has of its own: killed, nothing of it goes on.
struct Process {
    runtime: Runtime,
    parts: Parts,
    statuses: Arc<Statuses>,
    controls: Controls,
    running: Vec<(Task, Trigger)>,
}

impl Process {
    fn start(folder: &Path, world: &Arc<Mutex<World>>, manner: Manner) -> Process {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let parts = runtime.block_on(async { open(folder, world, manner) });
        let (statuses, controls) = (Arc::default(), Controls::default());
        Process { runtime, parts, statuses, controls, running: Vec::new() }
    }

    fn tell(&mut self, listener: &Listener) {
        let (trigger, shutdown) = shutdown();
        let ledger = &self.parts.ledger;
        let notary: Arc<dyn Notary> = Arc::new(Teller(ledger.clone()));
        let (journal, seq) = ((ledger.store().clone(), notary), ledger.view().subscribe());
        let (statuses, controls) = (self.statuses.clone(), &self.controls);
        let _context = self.runtime.enter();
        let task =
            webhook::start(listener.config.clone(), journal, seq, statuses, controls, shutdown);
        self.running.push((task.unwrap(), trigger));
    }

    fn sync(&self) -> Result<(), String> {
        self.runtime.block_on(self.parts.sync())
    }

    fn status(&self, name: &str) -> EndpointStatus {
        let all = self.statuses.snapshot(self.parts.ledger.store().last_seq());
        all.into_iter().find(|status| status.name == name).unwrap_or_default()
    }

    fn order(&self, name: &str, order: Order) -> Result<Done, OrderError> {
        self.runtime.block_on(self.controls.order(name, order))
    }

    fn stop(self) {
        self.runtime.block_on(async {
            for (task, trigger) in self.running {
                trigger.fire();
                task.join().await.unwrap();
            }
            self.parts.close().await;
        });
    }

    fn kill(self) {
        self.runtime.shutdown_timeout(PATIENCE);
    }
}

/// Tells in the journal of endpoints that were given up.
struct Teller(Ledger);

#[async_trait]
impl Notary for Teller {
    async fn disabled(&self, notice: Disabled) -> Result<(), String> {
        let details = Attributes::from([("webhook".to_owned(), Value::from(notice.webhook))]);
        let act = Act::of_daemon(Action::WEBHOOK_DISABLE);
        let told = self.0.announce(EventKind::WebhookDisabled, details, act).await;
        told.map_err(|error| error.to_string())
    }
}

/// Everything that goes on, and all that was ever told.
struct Stage {
    folder: tempfile::TempDir,
    world: Arc<Mutex<World>>,
    manner: Manner,
    process: Option<Process>,
    listeners: Vec<Listener>,
    /// The journal, with what retention has passed.
    told: Vec<Event>,
    /// The directory at some seqs.
    pictures: BTreeMap<u64, fold::Roster>,
}

impl Stage {
    fn new() -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let mut stage = Stage {
            world: Arc::default(),
            manner: Manner::new(LENS, strict()),
            process: None,
            listeners: ENDPOINTS
                .iter()
                .map(|manners| Listener::new(manners, folder.path()))
                .collect(),
            told: Vec::new(),
            pictures: BTreeMap::new(),
            folder,
        };
        stage.start();
        stage
    }

    fn start(&mut self) {
        let state = self.folder.path().join("state");
        let mut process = Process::start(&state, &self.world, self.manner);
        let running = self.listeners.iter().filter(|listener| listener.is_running);
        running.for_each(|listener| process.tell(listener));
        self.process = Some(process);
    }

    fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    /// Ends the process, however, and starts another.
    fn replace(&mut self, end: fn(Process)) {
        let process = self.process.take().unwrap();
        let statuses = process.statuses.clone();
        end(process);
        // It counts to its end.
        for status in statuses.snapshot(0) {
            let of = |listener: &&mut Listener| listener.manners.name == status.name;
            self.listeners.iter_mut().find(of).unwrap().lost += status.lost_total;
        }
        self.start();
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Live(ops) => {
                ops.iter().for_each(|op| self.world.lock().unwrap().apply(op));
                self.process().sync().unwrap();
            }
            Step::Crawl(mode) => {
                self.world.lock().unwrap().mode = Some(mode);
                let _well_or_badly = self.process().sync();
            }
            Step::Approve => self.approve(),
            Step::Restart => self.replace(Process::stop),
            Step::Kill => self.replace(Process::kill),
            Step::Mood(who, mood) => self.listeners[who].mood.store(mood, Atomic::SeqCst),
            Step::Forget(share) => self.forget(share),
            Step::Listen(who) => self.listen(who),
            Step::Pause(who) => self.order(who, Order::Pause),
            Step::Resume(who) => self.order(who, Order::Resume { skip: false }),
            Step::Replay(who, share) => {
                let from = self.told.len() as u64 * u64::from(share) / 256;
                self.order(who, Order::Replay { from, to: None });
            }
        }
        self.note();
    }

    fn approve(&self) {
        let process = self.process();
        let hold = process.parts.statuses.get("corp").and_then(|status| status.hold.clone());
        if let Some(hold) = hold {
            let remote = process.parts.poller.remote();
            // What must be read again first is refused.
            let _done_or_not = process.runtime.block_on(remote.approve(&hold.id, Caller::daemon()));
        }
    }

    /// Copies what the journal has more, and the directory as it is.
    fn note(&mut self) {
        let parts = &self.process.as_ref().unwrap().parts;
        self.told.extend(parts.ledger.store().events(self.told.len() as u64, 100_000).unwrap());
        let view = parts.ledger.view().load();
        if let Some(directory) = view.directory("corp") {
            self.pictures.insert(view.seq, picture(directory));
        }
    }

    /// Lets retention pass what came before some event that was told.
    fn forget(&self, share: u8) {
        let at = self.told.len() * usize::from(share) / 256;
        let Some(event) = self.told.get(at) else { return };
        // Nothing that is written meanwhile can be as old as that.
        let moment = event.occurred_at.minus(Duration::from_millis(1)).plus(KEPT);
        let kept = Kept::for_age(KEPT);
        let retention = Retention { journal: kept, history: kept };
        let store = self.process().parts.ledger.store();
        while let Pruned { more: true, .. } = store.prune(moment, &retention).unwrap() {}
    }

    fn order(&self, who: usize, order: Order) {
        match self.process().order(self.listeners[who].manners.name, order) {
            Ok(_) | Err(OrderError::Unknown(_) | OrderError::Refused(_)) => {}
            Err(OrderError::Gone { .. }) if matches!(order, Order::Replay { .. }) => {}
            Err(error) => panic!("{order:?}: {error}"),
        }
    }

    fn listen(&self, who: usize) {
        let Listener { receiver, manners, .. } = &self.listeners[who];
        let before = receiver.attempts();
        wait_until("an attempt", PATIENCE, || {
            let status = self.process().status(manners.name);
            let waits = matches!(status.state, State::Paused | State::Disabled);
            let idle = status.backlog == 0 || waits || !self.listeners[who].is_running;
            if idle || receiver.attempts() > before { Ok(()) } else { Err(format!("{status:?}")) }
        });
    }

    /// Everybody is well, and has been told everything.
    fn settle(&mut self) {
        for listener in &mut self.listeners {
            listener.mood.store(0, Atomic::SeqCst);
            if !listener.is_running {
                listener.is_running = true;
                self.process.as_mut().unwrap().tell(listener);
            }
        }
        // A failure of before may still be under way, and disable one later.
        (0..self.listeners.len()).for_each(|who| self.order(who, Order::Resume { skip: false }));
        for _poll in 0..2 {
            self.process().sync().unwrap();
        }
        self.await_quiet();
        self.note();
    }

    fn await_quiet(&self) {
        for listener in &self.listeners {
            let name = listener.manners.name;
            wait_until("everything to be told", PATIENCE, || {
                let status = self.process().status(name);
                if status.state == State::Disabled {
                    self.process().order(name, Order::Resume { skip: false }).unwrap();
                }
                let is_done = status.backlog == 0 && status.replaying.is_empty();
                if is_done { Ok(()) } else { Err(format!("{status:?}")) }
            });
        }
    }

    /// Nothing is sent when nothing changed, and nothing again.
    fn assert_silence(&mut self) {
        let attempts = |stage: &Stage| -> Vec<usize> {
            stage.listeners.iter().map(|listener| listener.receiver.attempts()).collect()
        };
        let (before, last) = (attempts(self), self.told.len());
        self.world.lock().unwrap().mode = Some(Mode::Whole);
        self.process().sync().unwrap();
        // What a process did is known once it has stopped.
        for _process in 0..2 {
            self.replace(Process::stop);
            assert_eq!(attempts(self), before, "w6: nothing changed, and it was told");
            self.process().sync().unwrap();
            self.await_quiet();
        }
        self.note();
        assert_eq!(self.told.len(), last, "w6: nothing changed, and it was written");
    }

    fn assert_told(&self) {
        let parts = &self.process().parts;
        let oldest = parts.ledger.store().oldest_seq();
        let last = picture(&parts.ledger.directory("corp"));
        for listener in &self.listeners {
            let Listener { manners: Manners { name, is_late, wants, .. }, receiver, .. } = listener;
            receiver.assert_no_complaints();
            let wanted: BTreeMap<u64, Json> = self.wanted(listener.manners);
            let arrivals = match listener.manners.ordering {
                Ordering::Polis => self.translated(&receiver.arrivals()),
                Ordering::BySeq | Ordering::PerObject => receiver.arrivals(),
            };
            let seqs: BTreeSet<u64> = arrivals.iter().map(seq).collect();
            for event in &arrivals {
                assert_eq!(wanted.get(&seq(event)), Some(event), "{name} was told something else");
            }
            let missing: Vec<u64> =
                wanted.keys().filter(|seq| !seqs.contains(seq)).copied().collect();
            let lost = listener.lost + self.process().status(name).lost_total;
            let kept: Vec<&u64> = missing.iter().filter(|seq| **seq >= oldest).collect();
            assert!(kept.is_empty(), "{name} lacks {kept:?} of {:?}", self.kinds());
            if !is_late {
                assert!(missing.len() as u64 <= lost, "{name} lacks {missing:?}, not {lost}");
            }
            if wants("user.created") && wants("group.group_added") {
                let summed_up = self.first_sync().filter(|_| *name == SUMMARY);
                let lacks = missing.last().copied().max(summed_up);
                assert_eq!(self.folded(&arrivals, lacks), last, "{name}");
            }
        }
    }

    /// The events that deliveries in the format of Polis stand for, by their ids;
    /// they must come in order, and speak of the same.
    fn translated(&self, arrivals: &[Json]) -> Vec<Json> {
        let known: BTreeMap<&str, &Event> =
            self.told.iter().map(|event| (event.id.as_str(), event)).collect();
        let translate = |delivery: &Json| {
            let event = json(&EventBody::from(known[delivery["id"].as_str().unwrap()]));
            let object = if event["data"]["user"].is_null() { "group" } else { "user" };
            assert_eq!(delivery["event"], event["type"], "{delivery}");
            assert_eq!(delivery["data"]["id"], event["data"][object]["id"], "{delivery}");
            event
        };
        let events: Vec<Json> = arrivals.iter().map(translate).collect();
        assert!(events.is_sorted_by_key(seq), "out of order: {arrivals:?}");
        events
    }

    /// All that was ever told, in words.
    fn kinds(&self) -> Vec<(u64, &'static str)> {
        self.told.iter().map(|event| (event.seq, event.kind.as_str())).collect()
    }

    /// What an endpoint should be told, by seq.
    fn wanted(&self, manners: &Manners) -> BTreeMap<u64, Json> {
        let first_sync = self.first_sync().filter(|_| manners.name == SUMMARY).unwrap_or(0);
        let is_told = |event: &&Event| {
            let is_summed_up =
                event.seq < first_sync && !matches!(event.payload, Payload::Directory { .. });
            (manners.wants)(event.kind.as_str()) && !is_summed_up
        };
        let told = self.told.iter().filter(is_told);
        told.map(|event| (event.seq, json(&EventBody::from(event)))).collect()
    }

    /// The seq of the `directory.synced` that ends the first sync.
    fn first_sync(&self) -> Option<u64> {
        let synced = self.told.iter().find(|event| event.kind == EventKind::DirectorySynced);
        synced.map(|event| event.seq)
    }

    /// What a receiver makes of it that takes a snapshot when it misses events.
    fn folded(&self, arrivals: &[Json], missing: Option<u64>) -> fold::Roster {
        let (from, mut roster) = match missing {
            None => (0, fold::Roster::default()),
            Some(missing) => {
                let (seq, picture) = self.pictures.range(missing..).next().unwrap();
                (*seq, picture.clone())
            }
        };
        for event in arrivals.iter().filter(|event| seq(event) > from) {
            roster.apply(event).unwrap_or_else(|complaint| panic!("{complaint}: {event}"));
        }
        roster
    }
}

fn seq(event: &Json) -> u64 {
    event["seq"].as_u64().unwrap()
}

fn json(value: &impl serde::Serialize) -> Json {
    serde_json::to_value(value).unwrap()
}

/// A directory as receivers are told of it.
fn picture(view: &DirectoryView) -> fold::Roster {
    let mut roster = fold::Roster::default();
    let user = |slot| record::decode_user(view.user_record(slot).unwrap()).unwrap().user;
    let group = |slot| record::decode_group(view.group_record(slot).unwrap()).unwrap().group;
    for slot in view.user_slots() {
        let user = user(slot);
        for of in view.groups_of_user(slot) {
            roster.memberships.insert((group(*of).id, "user", user.id.clone()));
        }
        roster.users.insert(user.id.clone(), json(&UserBody::from(&user)));
    }
    for slot in view.group_slots() {
        let of = group(slot);
        for inner in view.subgroups(slot) {
            roster.memberships.insert((of.id.clone(), "group", group(*inner).id));
        }
        roster.groups.insert(of.id.clone(), json(&GroupBody::from(&of)));
    }
    roster
}

fn run(steps: Vec<Step>) {
    let mut stage = Stage::new();
    steps.into_iter().for_each(|step| stage.take(step));
    stage.settle();
    stage.assert_told();
    stage.assert_silence();
    stage.process.take().unwrap().stop();
}

/// The place of an endpoint among all.
fn endpoint(name: &str) -> usize {
    ENDPOINTS.iter().position(|manners| manners.name == name).unwrap()
}

fn mood(wanted: fn(&Mood) -> bool) -> u8 {
    MOODS.iter().position(wanted).unwrap() as u8
}

#[test]
fn w5_a_batch_that_is_cut_anew_has_another_id() {
    let (who, silent) = (endpoint("batches"), mood(|mood| matches!(mood, Mood::Silent)));
    run(vec![
        Step::Mood(who, silent),
        Step::Live(vec![Op::PutUser(1, 0)]),
        Step::Listen(who),
        Step::Live(vec![Op::PutUser(2, 0)]),
        Step::Kill,
    ]);
}

#[test]
fn a_recovery_after_an_empty_first_sync_is_told_in_full() {
    run(vec![
        Step::Crawl(Mode::Well),
        Step::Crawl(Mode::Breaks(0)),
        Step::Live(vec![Op::PutGroup(0, 0)]),
    ]);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 20,
        max_shrink_iters: 100,
        ..ProptestConfig::default()
    })]

    #[test]
    fn w7_every_receiver_ends_with_the_directory(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        run(steps);
    }
}
