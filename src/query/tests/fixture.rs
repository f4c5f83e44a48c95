//! A small world: two directories, a journal in memory, an operator who notes
//! what is asked.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::Body;
use axum::{Extension, Router};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::clock::{self, Timestamp};
use crate::index::{DirectoryView, SharedView, View};
use crate::model::{
    Act, AuditEntry, Caller, Change, Event, EventKind, Group, Layer, MemberKind, MemberObject,
    Payload, Put, User,
};
use crate::provider::{GroupItem, UserItem};
use crate::query::access::{Asker, Peer, Permissions};
use crate::query::audit::Wanted;
use crate::query::journal::{Journal, JournalError};
use crate::query::metrics::Metrics;
use crate::query::policies::SharedPolicies;
use crate::query::router::router;
use crate::query::sources::{
    AuditTrail, Backlog, Endpoints, HeldChanges, Operator, OperatorError, Page, Plan, Row, Sources,
};
use crate::query::tests::webhooks::NotingDesk;
use crate::store::record::{encode_group, encode_user};
use crate::store::{Asked, AuditPage, Happenings, Part};
use crate::sync::status::{Counts, DirectoryStatus, HeldRemovals, HoldSummary, Statuses};
use crate::task::{self, Trigger};
use tokio::sync::watch;

pub struct World {
    pub sources: Sources,
    pub journal: Arc<MemoryJournal>,
    pub operator: Arc<NotingOperator>,
    pub trail: Arc<MemoryTrail>,
    pub desk: Arc<NotingDesk>,
    pub trigger: Trigger,
}

/// `corp`: ada (u1) and bob (u2); eng ⊃ core ⊃ eng (a circle), ada in core, bob
/// in eng; `partner`: another ada (p1) in its own eng. Seq 10.
pub fn world() -> World {
    let corp = corp();
    let mut changes = vec![user(0, "p1", "ada", "ada@partner.example"), group(0, "pg1", "eng")];
    changes.push(edges(0, Layer::Listed, &[0]));
    let partner = DirectoryView::empty("partner", "acme", "vpn").apply(&changes, 8).unwrap();
    let world = world_of(View::new([corp, partner], 10));
    world.confirm("corp", 5);
    world.confirm("partner", 5);
    world
}

pub fn world_of(view: View) -> World {
    let journal = Arc::new(MemoryJournal::default());
    let operator = Arc::new(NotingOperator::default());
    let trail = Arc::new(MemoryTrail::default());
    let desk = Arc::new(NotingDesk::default());
    let (trigger, shutdown) = task::shutdown();
    let sources = Sources {
        view: Arc::new(SharedView::new(view)),
        statuses: Statuses::default(),
        journal: Arc::clone(&journal) as Arc<dyn Journal>,
        operator: Arc::clone(&operator) as Arc<dyn Operator>,
        backlog: Arc::new(OneEndpoint),
        trail: Arc::clone(&trail) as Arc<dyn AuditTrail>,
        endpoints: Arc::clone(&desk) as Arc<dyn Endpoints>,
        policies: SharedPolicies::default(),
        pushers: crate::export::opa::Pushers::default(),
        databrokers: Arc::default(),
        shutdown,
    };
    World { sources, journal, operator, trail, desk, trigger }
}

fn corp() -> DirectoryView {
    let changes = [
        user(0, "u1", "ada", "ada@example.org"),
        user(1, "u2", "bob", "bob@example.org"),
        user(2, "cn=Eve/x,dc=example", "eve", "bob@example.org"),
        group(0, "g1", "eng"),
        group(1, "g2", "core"),
        group(2, "g3", "empty"),
        edges(0, Layer::Listed, &[1]),
        edges(0, Layer::Subgroup, &[1]),
        edges(1, Layer::Subgroup, &[0]),
        edges(1, Layer::Listed, &[0]),
    ];
    DirectoryView::empty("corp", "acme", "vpn").apply(&changes, 1).unwrap()
}

pub fn user(slot: u32, id: &str, username: &str, email: &str) -> Change {
    let user = User {
        id: id.into(),
        username: username.into(),
        emails: vec![email.into()],
        active: true,
        ..User::default()
    };
    let record = encode_user(&UserItem { user, ..UserItem::default() });
    Change::User { slot, record, put: Put::Created }
}

pub fn group(slot: u32, id: &str, name: &str) -> Change {
    let group = Group { id: id.into(), name: name.into(), ..Group::default() };
    let record = encode_group(&GroupItem { group, ..GroupItem::default() });
    Change::Group { slot, record, put: Put::Created }
}

pub fn edges(group: u32, layer: Layer, members: &[u32]) -> Change {
    Change::Edges { group, layer, added: true, visible: true, members: members.to_vec() }
}

impl World {
    /// The directory was confirmed so many seconds ago.
    pub fn confirm(&self, directory: &str, seconds_ago: u64) {
        let mut status = DirectoryStatus::new(directory, "acme", "vpn");
        status.as_of = Some(clock::now().minus(clock::Duration::from_secs(seconds_ago)));
        status.provider = "bundle";
        self.sources.statuses.insert(status);
    }

    pub fn router(&self) -> Router {
        self.router_for(Permissions::ALL)
    }

    /// As it is for a peer with these permissions.
    pub fn router_for(&self, permissions: Permissions) -> Router {
        let peer = Peer::Unix { uid: 7, gid: 8, pid: Some(9) };
        let asker = Asker { permissions, peer, token: None, seat: None };
        router(self.sources.clone(), Metrics::new(&self.sources)).layer(Extension(asker))
    }

    /// A new event: journaled, then visible.
    pub fn tell(&self, seq: u64) {
        self.journal.events.lock().unwrap().push(event(seq));
        self.show(seq);
    }

    /// The view moves on to a seq.
    pub fn show(&self, seq: u64) {
        let mut view = View::clone(&self.sources.view.load());
        view.seq = seq;
        self.sources.view.publish(view);
    }

    pub async fn get(&self, uri: &str) -> (StatusCode, Value) {
        let (status, _, body) = self.send(Request::get(uri), "").await;
        (status, body)
    }

    pub async fn post(&self, uri: &str) -> (StatusCode, Value) {
        let (status, _, body) = self.send(Request::post(uri), "").await;
        (status, body)
    }

    /// Sends a request; an answer that is not JSON comes as text.
    pub async fn send(
        &self,
        request: http::request::Builder,
        body: &str,
    ) -> (StatusCode, HeaderMap, Value) {
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| text());
        (parts.status, parts.headers, body)
    }
}

pub fn event(seq: u64) -> Event {
    let user = User { id: format!("u{seq}"), username: "x".into(), ..User::default() };
    Event {
        id: format!("evt_{seq}"),
        seq,
        kind: EventKind::UserCreated,
        occurred_at: Timestamp(1_000 * seq),
        tenant: "acme".into(),
        product: "vpn".into(),
        directory: "corp".into(),
        payload: Payload::User { user, previous: None },
    }
}

/// Its history: ada was in the group `empty` (2) and in nothing else at seq 3,
/// which began at 3 s.
#[derive(Default)]
pub struct MemoryJournal {
    pub events: Mutex<Vec<Event>>,
    pub oldest: Mutex<u64>,
    /// How many events readers took.
    pub given: AtomicUsize,
    /// How far any of them came.
    pub read_to: AtomicU64,
}

impl Journal for MemoryJournal {
    fn oldest_seq(&self) -> u64 {
        (*self.oldest.lock().unwrap()).max(1)
    }

    fn read(&self, asked: &Asked<'_>) -> Result<Part, JournalError> {
        let oldest = self.oldest_seq();
        if asked.after + 1 < oldest {
            return Err(JournalError::Gone { oldest });
        }
        let mut part = Part { events: Vec::new(), upto: asked.until };
        let events = self.events.lock().unwrap();
        let mut passed = 0;
        for event in events.iter().filter(|one| one.seq > asked.after && one.seq <= asked.until) {
            let Event { kind, tenant, product, directory, .. } = event;
            if asked.filter.admits(*kind, tenant, product, directory) {
                part.events.push(event.clone());
            } else {
                passed += 1;
            }
            if part.events.len() == asked.limit || passed == asked.passed_max {
                part.upto = event.seq;
                break;
            }
        }
        self.given.fetch_add(part.events.len(), Ordering::SeqCst);
        self.read_to.fetch_max(part.upto, Ordering::SeqCst);
        Ok(part)
    }

    fn history_start(&self, _: &str) -> Result<Option<u64>, JournalError> {
        Ok(Some(2))
    }

    fn seq_at(&self, at: Timestamp) -> Result<Option<u64>, JournalError> {
        Ok(Some(at.0 / 1000).filter(|seq| *seq > 0).map(|seq| seq.min(10)))
    }

    fn oldest_state(&self) -> Result<(u64, Option<Timestamp>), JournalError> {
        Ok((2, Some(Timestamp(2_000))))
    }

    fn time_of(&self, seq: u64) -> Result<Option<Timestamp>, JournalError> {
        Ok(Some(Timestamp(seq * 1_000)))
    }

    fn formerly_named(&self, _: &str, _: MemberKind, _: &str) -> Result<Vec<u32>, JournalError> {
        Ok(vec![])
    }

    fn last_named(
        &self,
        _: &str,
        _: MemberKind,
        _: u32,
        _: &str,
    ) -> Result<Option<u64>, JournalError> {
        Ok(None)
    }

    fn count_at(&self, _: &str, _: MemberKind, _: u64) -> Result<u64, JournalError> {
        Ok(0)
    }

    fn objects_at(
        &self,
        _: &str,
        _: MemberKind,
        _: u32,
        _: usize,
        _: u64,
    ) -> Result<Vec<(u32, MemberObject)>, JournalError> {
        Ok(vec![])
    }

    fn happenings(
        &self,
        _: &str,
        _: (MemberKind, u32),
        _: std::ops::RangeInclusive<u64>,
        _: u64,
        _: usize,
    ) -> Result<Happenings, JournalError> {
        Ok(Happenings::default())
    }

    fn groups_of_user_at(
        &self,
        _: &str,
        user: u32,
        current: &[u32],
        seq: u64,
    ) -> Result<Vec<u32>, JournalError> {
        Ok(if (user, seq) == (0, 3) { vec![2] } else { current.to_vec() })
    }

    fn parents_of_group_at(
        &self,
        _: &str,
        _: u32,
        current: &[u32],
        _: u64,
    ) -> Result<Vec<u32>, JournalError> {
        Ok(current.to_vec())
    }

    fn members_of_group_at(
        &self,
        _: &str,
        group: u32,
        (users, groups): (&[u32], &[u32]),
        seq: u64,
    ) -> Result<(Vec<u32>, Vec<u32>), JournalError> {
        Ok(match (group, seq) {
            (2, 3) => (vec![0], vec![]),
            (1, 3) => (vec![], vec![0]),
            _ => (users.to_vec(), groups.to_vec()),
        })
    }

    fn user_at(&self, _: &str, user: u32, _: u64) -> Result<Option<User>, JournalError> {
        let (id, username) = (format!("u{}", user + 1), format!("old{user}"));
        Ok(Some(User { id, username, ..User::default() }))
    }

    fn group_at(&self, _: &str, group: u32, _: u64) -> Result<Option<Group>, JournalError> {
        let (id, name) = (format!("g{}", group + 1), format!("old{group}"));
        Ok(Some(Group { id, name, ..Group::default() }))
    }
}

#[derive(Default)]
pub struct NotingOperator(pub Mutex<Vec<String>>);

fn page_of(all: &[&str], page: &Page, held: bool) -> Vec<Row> {
    let row = |text: &&str| Row { held, text: (*text).to_owned() };
    all.iter().skip(page.offset).take(page.limit).map(row).collect()
}

impl NotingOperator {
    fn note(&self, what: String) -> Result<(), OperatorError> {
        self.0.lock().unwrap().push(what);
        Ok(())
    }
}

#[async_trait]
impl Operator for NotingOperator {
    async fn sync(&self, directory: &str, _: Caller) -> Result<(), OperatorError> {
        assert_ne!(directory, "panic");
        if directory != "corp" {
            return Err(OperatorError::UnknownDirectory(directory.into()));
        }
        self.note(format!("sync {directory}"))
    }

    async fn plan(&self, directory: &str, page: Page) -> Result<Plan, OperatorError> {
        if directory != "corp" {
            return Err(OperatorError::Failed("cannot reach it".into()));
        }
        if page.of.as_ref().is_some_and(|of| of != "p1") {
            return Err(OperatorError::PlanGone("the plan is gone".into()));
        }
        let applies = Counts { users_created: 2, ..Counts::default() };
        let all = ["creates user bob (u2)", "creates user cy (u3)"];
        let rows = page_of(&all, &page, false);
        Ok(Plan { id: "p1".into(), applies, hold: None, rows, total: 2 })
    }

    async fn hold(&self, directory: &str, page: Page) -> Result<HeldChanges, OperatorError> {
        if directory != "corp" {
            return Err(OperatorError::NothingHeld(directory.into()));
        }
        let summary = HoldSummary {
            id: "h1".into(),
            since: Timestamp(0),
            reason: "too many".into(),
            reasons: vec!["too many".into()],
            counts: Counts { users_deleted: 7, ..Counts::default() },
            rejected: false,
            whole: None,
            held: HeldRemovals { users: 7, ..HeldRemovals::default() },
        };
        let rows = page_of(&["deletes user ada (u1)"], &page, true);
        Ok(HeldChanges { summary, rows, total: 1, unlisted: None })
    }

    async fn approve(&self, directory: &str, id: &str, by: Caller) -> Result<(), OperatorError> {
        if id != "h1" {
            let (directory, asked) = (directory.into(), id.into());
            return Err(OperatorError::OtherHold { directory, asked, held: "h1".into() });
        }
        assert_eq!(by, Caller::peer(7, 8, Some(9)));
        self.note(format!("approve {directory} {id}"))
    }

    async fn reject(&self, directory: &str, id: &str, by: Caller) -> Result<(), OperatorError> {
        assert_eq!(by, Caller::peer(7, 8, Some(9)));
        self.note(format!("reject {directory} {id}"))
    }
}

/// Entries 1, 2, 3 …, as they were recorded.
#[derive(Default)]
pub struct MemoryTrail {
    pub acts: Mutex<Vec<Act>>,
    pub oldest: Mutex<u64>,
    moved: watch::Sender<u64>,
}

#[async_trait]
impl AuditTrail for MemoryTrail {
    fn read(&self, wanted: &Wanted) -> Result<AuditPage, JournalError> {
        let (acts, oldest) = (self.acts.lock().unwrap(), (*self.oldest.lock().unwrap()).max(1));
        let after = wanted.after.unwrap_or(oldest - 1);
        if after + 1 < oldest {
            return Err(JournalError::Gone { oldest });
        }
        let entry = |(number, act): (usize, &Act)| {
            let seq = number as u64 + 1;
            AuditEntry { seq, at: Timestamp(1_000 * seq), act: act.clone() }
        };
        let all = acts.iter().enumerate().map(entry);
        let all = all.filter(|entry| entry.seq > after && wanted.accepts(entry));
        let all: Vec<AuditEntry> = all.collect();
        let (total, last) = (all.len() as u64, acts.len() as u64);
        Ok(AuditPage { entries: all.into_iter().take(wanted.limit).collect(), total, oldest, last })
    }

    fn moved(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    async fn record(&self, act: Act) {
        self.acts.lock().unwrap().push(act);
        self.moved.send_modify(|count| *count += 1);
    }
}

struct OneEndpoint;

impl Backlog for OneEndpoint {
    fn endpoints(&self) -> Vec<crate::webhook::EndpointStatus> {
        let statuses = crate::webhook::EndpointStatus {
            name: "audit".into(),
            state: crate::webhook::State::Disabled,
            backlog: 3,
            delivered_total: 2,
            latency: crate::webhook::Latency {
                count: 2,
                sum_millis: 1500,
                buckets: [0, 1, 0, 0, 0, 0, 0, 0, 1, 0],
            },
            ..crate::webhook::EndpointStatus::default()
        };
        vec![statuses]
    }
}
