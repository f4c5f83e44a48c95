//! The life of one endpoint: read after the cursor, send until accepted, move
//! on; and in between do what operators ask.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, watch};

use super::body;
use super::client::Client;
use super::config::{Ordering, WebhookConfig};
use super::control::Letter;
use super::courier::{Contents, Courier, Sent};
use super::journal::{Journal, JournalError, Position};
use super::notary::Notary;
use super::orders::Testing;
use super::queue::Rules;
use super::status::Statuses;
use super::stream::Stream;
use crate::clock::{self, Instant};
use crate::store::{DisabledRow, ReplayRow};
use crate::task::Shutdown;

/// Unfinished events that are kept in memory where they may overtake each other:
/// so many may wait behind what fails before nobody gets anything.
const ROOM_EVENTS: usize = 1000;
/// The same where they keep their order.
const ORDERED_ROOM_EVENTS: usize = 128;

/// A wake may be missed; the journal is looked at this often all the same.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// After the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// Deliveries that are under way at shutdown may take this long to end.
const LAST_DELIVERY: Duration = Duration::from_secs(2);

/// What is under way.
pub(super) type Under<T> = FuturesUnordered<Pin<Box<dyn Future<Output = T> + Send>>>;

pub(super) struct Endpoint<J> {
    pub(super) config: WebhookConfig,
    pub(super) courier: Courier<J>,
    pub(super) notary: Arc<dyn Notary>,
    pub(super) statuses: Arc<Statuses>,
    shutdown: Shutdown,
    pub(super) seq: watch::Receiver<u64>,
    orders: mpsc::Receiver<Letter>,
    pub(super) live: Stream,
    /// What is sent before it; the first of them is `replay`.
    pub(super) replays: VecDeque<ReplayRow>,
    pub(super) replay: Option<Stream>,
    pub(super) paused: bool,
    pub(super) disabled: Option<DisabledRow>,
    /// Somebody may have been told already that it is disabled.
    pub(super) maybe_told: bool,
    pub(super) sending: Under<Sent>,
    pub(super) testing: Under<Testing>,
    /// An order that waits for the deliveries under way.
    pub(super) held: Option<Letter>,
    /// As stored.
    pub(super) saved: Position,
    /// The position is to be stored now.
    pub(super) urgent: bool,
    pub(super) accepted_unsaved: usize,
    /// The store failed and is left alone until then.
    pub(super) store_rests: Option<Instant>,
    /// When it was last decided what can be done: what became due since then is
    /// seen in the next step.
    now: Instant,
}

/// Why an endpoint goes on.
enum Wake {
    Stop,
    Order(Letter),
    Sent(Sent),
    Tested(Testing),
    Look,
}

impl<J: Journal> Endpoint<J> {
    pub(super) fn new(
        config: WebhookConfig,
        client: Client,
        (journal, notary): (J, Arc<dyn Notary>),
        (seq, orders): (watch::Receiver<u64>, mpsc::Receiver<Letter>),
        statuses: Arc<Statuses>,
        shutdown: Shutdown,
    ) -> Endpoint<J> {
        let (webhook, notes) = (config.name.clone(), config.log_deliveries);
        let courier = Courier { webhook, client, journal, notes };
        let live = Stream::of(rules(&config), &Position::default());
        Endpoint {
            config,
            courier,
            notary,
            statuses,
            shutdown,
            seq,
            orders,
            live,
            replays: VecDeque::new(),
            replay: None,
            paused: false,
            disabled: None,
            maybe_told: true,
            sending: FuturesUnordered::new(),
            testing: FuturesUnordered::new(),
            held: None,
            saved: Position::default(),
            urgent: false,
            accepted_unsaved: 0,
            store_rests: None,
            now: clock::instant(),
        }
    }

    pub(super) async fn run(mut self) {
        if !self.take_up().await {
            return;
        }
        while !self.shutdown.is_requested() {
            if self.held.is_none()
                && let Ok(letter) = self.orders.try_recv()
            {
                self.take_order(letter).await;
            } else if !self.step().await {
                self.wait().await;
            }
        }
        self.end().await;
    }

    pub(super) fn rules(&self) -> Rules {
        rules(&self.config)
    }

    /// What is delivered now: a replay first.
    pub(super) fn stream(&mut self) -> &mut Stream {
        self.replay.as_mut().unwrap_or(&mut self.live)
    }

    /// Reads, sends and stores what can be now. Returns whether there is more
    /// to do at once.
    async fn step(&mut self) -> bool {
        self.now = clock::instant();
        while let Some(Some(sent)) = self.sending.next().now_or_never() {
            self.settle(sent);
        }
        if self.sending.is_empty()
            && let Some(letter) = self.held.take()
        {
            self.obey(letter).await;
        }
        self.turn_to_replays();
        self.save_if_due(false).await;
        if self.may_send() {
            let wanted = self.stream().wanted().filter(|_| !self.store_is_resting());
            // A batch is what is there, so all of that is read first.
            if wanted.is_none() || self.config.ordering == Ordering::PerUser {
                self.start_deliveries();
            }
            if let Some(wanted) = wanted {
                self.read(wanted).await;
                return true;
            }
        }
        self.save_if_due(self.sending.is_empty()).await;
        self.tell_if_disabled().await;
        self.show();
        false
    }

    fn may_send(&self) -> bool {
        !self.paused && self.disabled.is_none() && self.held.is_none()
    }

    fn start_deliveries(&mut self) {
        let batched = self.config.batch_max > 1;
        let now = self.now;
        while let Some(parcel) = self.stream().queue.next(now) {
            let message = body::of_parcel(&self.config.format, &parcel, batched);
            let courier = self.courier.clone();
            self.sending.push(Box::pin(courier.send(message, Contents::from(&parcel))));
        }
    }

    /// Goes from one replay to the next, and back to what waits.
    fn turn_to_replays(&mut self) {
        if self.replay.as_ref().is_some_and(Stream::is_over) {
            tracing::info!(webhook = self.config.name, "replayed");
            self.replays.pop_front();
            self.replay = None;
            self.urgent = true;
        }
        if self.replay.is_none()
            && let Some(next) = self.replays.front()
        {
            self.replay = Some(Stream::of_replay(rules(&self.config), *next));
        }
    }

    async fn wait(&mut self) {
        match self.wake().await {
            Wake::Order(letter) => self.take_order(letter).await,
            Wake::Sent(sent) => self.settle(sent),
            Wake::Tested(testing) => testing.report(),
            Wake::Look => self.live.look_again(),
            Wake::Stop => {}
        }
    }

    async fn wake(&mut self) -> Wake {
        let now = self.now;
        let due = self.stream().queue.due().filter(|_| self.may_send());
        let due = [due, self.store_rests].into_iter().flatten().filter(|at| *at > now).min();
        let left = due.map(|at| at.saturating_duration_since(clock::instant()));
        let sleep = left.unwrap_or(LOOK_EVERY).min(LOOK_EVERY);
        let moved = async {
            if self.seq.changed().await.is_err() {
                // Nobody is left who could wake; there is nothing more to come.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.shutdown.requested() => Wake::Stop,
            Some(letter) = self.orders.recv(), if self.held.is_none() => Wake::Order(letter),
            Some(sent) = self.sending.next() => Wake::Sent(sent),
            Some(testing) = self.testing.next() => Wake::Tested(testing),
            () = moved => Wake::Look,
            () = tokio::time::sleep(sleep) => Wake::Look,
        }
    }

    /// Lets what is under way end, for a while, and stores how far it came.
    async fn end(&mut self) {
        let ending = async {
            while let Some(sent) = self.sending.next().await {
                self.settle(sent);
            }
        };
        // What takes longer is sent again.
        let _ = tokio::time::timeout(LAST_DELIVERY, ending).await;
        self.save_if_due(true).await;
    }

    /// After an error of the store: it is left alone for a while.
    pub(super) fn store_failed(&mut self, error: &JournalError) {
        let webhook = &self.config.name;
        tracing::error!(webhook, reason = %error, "the journal cannot be read");
        self.statuses.update(webhook, |status| status.last_error = Some(error.to_string()));
        self.store_rests = Some(clock::instant() + STORE_PAUSE);
    }

    pub(super) fn store_is_resting(&self) -> bool {
        self.store_rests.is_some_and(|until| until > self.now)
    }

    /// Waits until the store may be asked again; false at shutdown.
    pub(super) async fn let_store_rest(&mut self) -> bool {
        tokio::select! {
            () = self.shutdown.requested() => false,
            () = tokio::time::sleep(STORE_PAUSE) => true,
        }
    }
}

fn rules(config: &WebhookConfig) -> Rules {
    let per_user = config.ordering == Ordering::PerUser;
    let room = if per_user { ROOM_EVENTS } else { ORDERED_ROOM_EVENTS };
    Rules {
        per_user,
        concurrency: config.concurrency,
        batch_max: config.batch_max,
        batch_apart: config.format.batches_apart(),
        room,
    }
}
