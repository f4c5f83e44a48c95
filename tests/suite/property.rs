//! Whatever happens, the folded events equal the committed directory, and what
//! is committed is a state that the provider had (invariants 1, 5 and 6).
//!
//! A scripted provider lives through random changes, errors, half crawls,
//! panics, expired cursors and mass deletions, while the daemon's own parts
//! (poller, reconciler, guard, ledger, store, view) follow it and are thrown
//! away and reopened in between. What the guard holds never shows, what it
//! does not hold does, and an approval leads to what the provider had.

mod large;
mod restarts;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use proptest::prelude::*;
use rosterd::index::DirectoryView;
use rosterd::model::{Caller, Event, EventKind, Group, Payload, Reference, Removal, User, Value};
use rosterd::provider::{
    Cursor, Directory, Extent, Finding, GroupItem, Item, Patience, PullError, Seal, Settings, Sink,
    Start, UserItem, Verified,
};
use rosterd::store::record;
use rosterd::sync::guard::{Limits, OnHold};
use rosterd::sync::poller::HoldError;
use tokio::sync::Notify;

use crate::harness::parts::{Manner, Parts, Receiver};
use crate::harness::roster::{Lens, Roster};

const USERS: u8 = 12;
const GROUPS: u8 = 6;

/// One thing that happens at the provider.
#[derive(Clone, Debug)]
enum Op {
    /// Creates the user, or changes its title.
    PutUser(u8, u8),
    /// The server rewrites the lists that name it, and tells nobody.
    RenameUser(u8, u8),
    /// The server empties the lists that name it, and tells nobody.
    DeleteUser(u8),
    /// Every user from this one on.
    DeleteUsers(u8),
    /// Whether the user may sign in.
    SetActive(u8, bool),
    PutGroup(u8, u8),
    RenameGroup(u8, u8),
    DeleteGroup(u8),
    /// By distinguished name, whether or not anybody has it.
    AddMember(u8, Member),
    RemoveMember(u8, Member),
    Empty(u8),
    /// The user's own record states a group (a primary group).
    Declare(u8, Option<u8>),
}

#[derive(Clone, Copy, Debug)]
enum Member {
    User(u8),
    Group(u8),
}

/// How a crawl goes.
#[derive(Clone, Copy, Debug)]
enum Mode {
    Well,
    /// Reads everything although asked for changes.
    Whole,
    /// Fails after so many items.
    Breaks(u8),
    /// Has used up its quota after so many items.
    Throttled(u8),
    /// Forgets the members of one group, and seals all the same.
    Forgets,
    Panics(u8),
    /// Gives no sign of life any more after so many items.
    Hangs(u8),
    CursorExpires,
}

#[derive(Clone, Debug)]
enum Step {
    Change(Vec<Op>),
    Crawl(Mode),
    /// Fails like that, and goes on in another process.
    Abandon(Mode),
    /// The process ends in the middle of a crawl, after so many items.
    CutShort(u8),
    Restart,
    /// Approves what is held, if anything is.
    Approve,
    Reject,
}

fn op() -> impl Strategy<Value = Op> {
    let member = prop_oneof![
        3 => (0..USERS).prop_map(Member::User),
        1 => (0..GROUPS).prop_map(Member::Group)
    ];
    prop_oneof![
        4 => (0..USERS, 0..3u8).prop_map(|(u, t)| Op::PutUser(u, t)),
        1 => (0..USERS, 0..3u8).prop_map(|(u, n)| Op::RenameUser(u, n)),
        2 => (0..USERS).prop_map(Op::DeleteUser),
        1 => (0..USERS).prop_map(Op::DeleteUsers),
        2 => (0..USERS, any::<bool>()).prop_map(|(u, active)| Op::SetActive(u, active)),
        1 => (0..GROUPS).prop_map(Op::Empty),
        3 => (0..GROUPS, 0..3u8).prop_map(|(g, t)| Op::PutGroup(g, t)),
        1 => (0..GROUPS, 0..3u8).prop_map(|(g, n)| Op::RenameGroup(g, n)),
        1 => (0..GROUPS).prop_map(Op::DeleteGroup),
        6 => (0..GROUPS, member.clone()).prop_map(|(g, m)| Op::AddMember(g, m)),
        3 => (0..GROUPS, member).prop_map(|(g, m)| Op::RemoveMember(g, m)),
        2 => (0..USERS, prop::option::of(0..GROUPS)).prop_map(|(u, g)| Op::Declare(u, g)),
    ]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        6 => Just(Mode::Well),
        2 => Just(Mode::Whole),
        2 => (0..12u8).prop_map(Mode::Breaks),
        1 => (0..12u8).prop_map(Mode::Throttled),
        1 => Just(Mode::Forgets),
        1 => (0..12u8).prop_map(Mode::Panics),
        1 => Just(Mode::CursorExpires),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(op(), 1..6).prop_map(Step::Change),
        6 => mode().prop_map(Step::Crawl),
        1 => mode().prop_map(Step::Abandon),
        2 => (0..12u8).prop_map(Step::CutShort),
        1 => Just(Step::Restart),
        1 => Just(Step::Approve),
        1 => Just(Step::Reject),
    ]
}

/// The provider's directory.
#[derive(Clone, Debug, Default)]
struct World {
    users: BTreeMap<String, WorldUser>,
    groups: BTreeMap<String, WorldGroup>,
    /// Counts changes; a cursor is a value of it.
    version: u64,
    /// When each id was last touched, deletions too; users and groups.
    touched: BTreeMap<(bool, String), u64>,
    /// How often an id was created: a re-created account has another id.
    incarnations: BTreeMap<String, u64>,
    mode: Option<Mode>,
    /// The mode of the crawl after that.
    then: Option<Mode>,
    /// Where crawls started, in order.
    starts: Vec<Start>,
    /// Rung by a crawl that hangs.
    hangs: Arc<Notify>,
    fingerprint: String,
    /// Names that a list carried while nobody had them.
    dangled: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct WorldUser {
    dn: String,
    title: u8,
    active: bool,
    declares: Option<u8>,
}

#[derive(Clone, Debug, PartialEq)]
struct WorldGroup {
    dn: String,
    number: u8,
    description: u8,
    members: BTreeSet<String>,
}

impl World {
    fn apply(&mut self, op: &Op) {
        self.version += 1;
        match *op {
            Op::PutUser(n, title) => match self.user(n) {
                Some(id) => {
                    self.users.get_mut(&id).unwrap().title = title;
                    self.touch(true, id);
                }
                None => {
                    let id = self.incarnate(format!("u{n}"));
                    let dn = format!("uid=u{n},0");
                    self.users
                        .insert(id.clone(), WorldUser { dn, title, active: true, declares: None });
                    self.touch(true, id);
                }
            },
            Op::RenameUser(n, name) => {
                let to = format!("uid=u{n},{name}");
                if let Some(id) = self.user(n) {
                    let from =
                        std::mem::replace(&mut self.users.get_mut(&id).unwrap().dn, to.clone());
                    self.rewrite(&from, Some(&to));
                    self.touch(true, id);
                }
            }
            Op::DeleteUser(n) => self.delete_user(n),
            Op::DeleteUsers(from) => (from..USERS).for_each(|n| self.delete_user(n)),
            Op::SetActive(n, active) => {
                if let Some(id) = self.user(n) {
                    self.users.get_mut(&id).unwrap().active = active;
                    self.touch(true, id);
                }
            }
            Op::PutGroup(n, description) => match self.group(n) {
                Some(id) => {
                    self.groups.get_mut(&id).unwrap().description = description;
                    self.touch(false, id);
                }
                None => {
                    let id = self.incarnate(format!("g{n}"));
                    let dn = format!("cn=g{n},0");
                    let group = WorldGroup { dn, number: n, description, members: BTreeSet::new() };
                    self.groups.insert(id.clone(), group);
                    self.touch(false, id);
                }
            },
            Op::RenameGroup(n, name) => {
                let to = format!("cn=g{n},{name}");
                if let Some(id) = self.group(n) {
                    let from =
                        std::mem::replace(&mut self.groups.get_mut(&id).unwrap().dn, to.clone());
                    self.rewrite(&from, Some(&to));
                    self.touch(false, id);
                }
            }
            Op::DeleteGroup(n) => {
                if let Some(id) = self.group(n) {
                    let gone = self.groups.remove(&id).unwrap();
                    self.rewrite(&gone.dn, None);
                    self.touch(false, id);
                }
            }
            Op::Empty(n) => {
                if let Some(id) = self.group(n) {
                    self.groups.get_mut(&id).unwrap().members.clear();
                    self.touch(false, id);
                }
            }
            Op::AddMember(n, member) => self.edit_members(n, member, true),
            Op::RemoveMember(n, member) => self.edit_members(n, member, false),
            Op::Declare(n, group) => {
                if let Some(id) = self.user(n) {
                    self.users.get_mut(&id).unwrap().declares = group;
                    self.touch(true, id);
                }
            }
        }
    }

    fn delete_user(&mut self, n: u8) {
        if let Some(id) = self.user(n) {
            let gone = self.users.remove(&id).unwrap();
            self.rewrite(&gone.dn, None);
            self.touch(true, id);
        }
    }

    fn edit_members(&mut self, n: u8, member: Member, add: bool) {
        let dn = match member {
            Member::User(u) => {
                self.user(u).map_or_else(|| format!("uid=u{u},0"), |id| self.users[&id].dn.clone())
            }
            Member::Group(g) => {
                self.group(g).map_or_else(|| format!("cn=g{g},0"), |id| self.groups[&id].dn.clone())
            }
        };
        let Some(id) = self.group(n) else { return };
        let exists = self.users.values().any(|user| user.dn == dn)
            || self.groups.values().any(|group| group.dn == dn);
        if !exists {
            self.dangled.insert(dn.clone());
        }
        let members = &mut self.groups.get_mut(&id).unwrap().members;
        if add {
            members.insert(dn);
        } else {
            members.remove(&dn);
        }
        self.touch(false, id);
    }

    /// What a server with referential integrity does to lists, silently.
    ///
    /// A name that dangled may be one that no crawl has ever seen resolved;
    /// only reading the list again can tell, so that is not kept silent.
    fn rewrite(&mut self, from: &str, to: Option<&str>) {
        let mut told = Vec::new();
        for (id, group) in &mut self.groups {
            if group.members.remove(from) {
                group.members.extend(to.map(str::to_owned));
                told.push(id.clone());
            }
        }
        if self.dangled.contains(from) {
            self.dangled.extend(to.map(str::to_owned));
            told.into_iter().for_each(|id| self.touch(false, id));
        }
    }

    fn incarnate(&mut self, name: String) -> String {
        let times = self.incarnations.entry(name.clone()).or_default();
        *times += 1;
        format!("{name}#{times}")
    }

    fn touch(&mut self, user: bool, id: String) {
        self.touched.insert((user, id), self.version);
    }

    fn user(&self, n: u8) -> Option<String> {
        let prefix = format!("u{n}#");
        self.users.keys().find(|id| id.starts_with(&prefix)).cloned()
    }

    fn group(&self, n: u8) -> Option<String> {
        let prefix = format!("g{n}#");
        self.groups.keys().find(|id| id.starts_with(&prefix)).cloned()
    }

    fn user_item(&self, id: &str) -> Item {
        let user = &self.users[id];
        Item::User(UserItem {
            user: User {
                id: id.to_owned(),
                username: id.to_owned(),
                active: user.active,
                title: Some(user.title.to_string()),
                ..User::default()
            },
            aliases: vec![user.dn.clone()],
            groups: user.declares.iter().map(|n| Reference::Alias(format!("gid:{n}"))).collect(),
        })
    }

    fn group_items(&self, id: &str) -> [Item; 2] {
        let group = &self.groups[id];
        let item = GroupItem {
            group: Group {
                id: id.to_owned(),
                name: id.to_owned(),
                description: Some(group.description.to_string()),
                ..Group::default()
            },
            aliases: vec![group.dn.clone(), format!("gid:{}", group.number)],
        };
        let members = group.members.iter().cloned().map(Reference::Alias).collect();
        [Item::Group(item), Item::Members { group: Reference::Group(id.to_owned()), members }]
    }

    fn everything(&self) -> Vec<Item> {
        let users = self.users.keys().map(|id| self.user_item(id));
        let groups = self.groups.keys().flat_map(|id| self.group_items(id));
        users.chain(groups).collect()
    }

    fn changes_since(&self, version: u64) -> Vec<Item> {
        let mut items = Vec::new();
        for ((user, id), touched) in &self.touched {
            if *touched <= version {
                continue;
            }
            match (user, self.users.contains_key(id), self.groups.contains_key(id)) {
                (true, true, _) => items.push(self.user_item(id)),
                (true, false, _) => items.push(Item::UserDeleted(Reference::Id(id.clone()))),
                (false, _, true) => items.extend(self.group_items(id)),
                (false, _, false) => items.push(Item::GroupDeleted(Reference::Id(id.clone()))),
            }
        }
        items
    }

    /// What readers should see.
    fn roster(&self) -> Roster {
        let seen = |user: &WorldUser| word(user.title, user.active);
        let users: BTreeMap<String, String> =
            self.users.iter().map(|(id, user)| (id.clone(), seen(user))).collect();
        let groups: BTreeMap<String, String> = self
            .groups
            .iter()
            .map(|(id, group)| (id.clone(), group.description.to_string()))
            .collect();
        let by_dn: BTreeMap<&str, &String> = self
            .users
            .iter()
            .map(|(id, user)| (user.dn.as_str(), id))
            .chain(self.groups.iter().map(|(id, group)| (group.dn.as_str(), id)))
            .collect();
        let mut members = BTreeSet::new();
        for (id, group) in &self.groups {
            for dn in &group.members {
                if let Some(member) = by_dn.get(dn.as_str()) {
                    members.insert((id.clone(), (*member).clone()));
                }
            }
        }
        for (id, user) in &self.users {
            if let Some(group) = user.declares.and_then(|n| self.group(n)) {
                members.insert((group, id.clone()));
            }
        }
        Roster { users, groups, members }
    }
}

#[derive(Clone, Debug)]
struct Scripted(Arc<Mutex<World>>);

impl Settings for Scripted {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    fn origin(&self) -> String {
        "scripted".to_owned()
    }

    fn fingerprint(&self) -> String {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).fingerprint.clone()
    }

    fn is_resumable(&self) -> bool {
        true
    }

    fn open(&self, _: Patience) -> Box<dyn Directory> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Directory for Scripted {
    async fn crawl(&mut self, start: Start, sink: &mut dyn Sink) -> Result<Seal, PullError> {
        match self.read(start, sink)? {
            Some(seal) => Ok(seal),
            None => std::future::pending().await,
        }
    }

    async fn examine(&mut self) -> Vec<Finding> {
        Vec::new()
    }
}

impl Scripted {
    /// `None`: it hangs.
    fn read(&self, start: Start, sink: &mut dyn Sink) -> Result<Option<Seal>, PullError> {
        let mut world = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let then = world.then.take();
        let mode = std::mem::replace(&mut world.mode, then).unwrap_or(Mode::Well);
        world.starts.push(start.clone());
        let hangs = world.hangs.clone();
        let cursor = Cursor(world.version.to_be_bytes().to_vec());
        let version = world.version;
        let resumed = match &start {
            Start::Resume(token) => Some(Token::read(token)),
            Start::Full | Start::Incremental(_) => None,
        };
        if resumed.as_ref().is_some_and(|token| token.version != version) {
            return Err(PullError::CursorExpired { reason: "the world went on".into() });
        }
        // The token counts items of the list that it was made for.
        let mode = match (&resumed, mode) {
            (None, mode)
            | (
                Some(_),
                mode @ (Mode::Breaks(_) | Mode::Throttled(_) | Mode::Panics(_) | Mode::Hangs(_)),
            ) => mode,
            (Some(_), _) => Mode::Well,
        };
        let start = match &resumed {
            Some(Token { since: Some(since), .. }) => {
                Start::Incremental(Cursor(since.to_be_bytes().to_vec()))
            }
            Some(Token { since: None, .. }) => Start::Full,
            None => start,
        };
        let since = match &start {
            Start::Incremental(Cursor(since)) => {
                Some(u64::from_be_bytes(since.as_slice().try_into().unwrap()))
            }
            Start::Full | Start::Resume(_) => None,
        };
        let (mut items, extent) = match (&start, mode) {
            (Start::Incremental(_), Mode::CursorExpires) => {
                return Err(PullError::CursorExpired { reason: "scripted".into() });
            }
            (Start::Incremental(_), mode) if !matches!(mode, Mode::Whole) => {
                (world.changes_since(since.unwrap_or_default()), Extent::Changes)
            }
            _ => (world.everything(), Extent::Whole),
        };
        drop(world);
        let mut failure = None;
        match mode {
            Mode::Breaks(after) => {
                items.truncate(usize::from(after));
                let (what, reason) = ("scripted".into(), "cut".into());
                failure = Some(PullError::Unreachable { what, reason });
            }
            Mode::Throttled(after) => {
                items.truncate(usize::from(after));
                let until = rosterd::clock::now();
                failure = Some(PullError::Throttled { what: "scripted".into(), until });
            }
            Mode::Panics(after) => {
                for item in items.into_iter().take(usize::from(after)) {
                    sink.page(vec![item]);
                }
                panic!("scripted");
            }
            Mode::Forgets => {
                let lists = |item: &Item| matches!(item, Item::Members { .. });
                if let Some(at) = items.iter().position(lists)
                    && extent == Extent::Whole
                {
                    items.remove(at);
                    for item in items {
                        sink.page(vec![item]);
                    }
                    return Ok(Some(seal(extent, cursor)));
                }
            }
            Mode::Hangs(after) => items.truncate(usize::from(after)),
            Mode::Well | Mode::Whole | Mode::CursorExpires => {}
        }
        let since = since.filter(|_| extent == Extent::Changes);
        // One page is handed over twice, as when the token was made before it.
        let done = resumed.map_or(0, |token| token.done.saturating_sub(1));
        for (at, item) in items.into_iter().enumerate().skip(done) {
            sink.page(vec![item]);
            sink.checkpoint(Token { version, since, done: at + 1 }.write());
        }
        if matches!(mode, Mode::Hangs(_)) {
            hangs.notify_one();
            return Ok(None);
        }
        if let Some(error) = failure {
            return Err(error);
        }
        Ok(Some(seal(extent, cursor)))
    }
}

/// Where a failed crawl goes on, if the world has not changed since.
struct Token {
    version: u64,
    since: Option<u64>,
    done: usize,
}

impl Token {
    fn write(&self) -> Vec<u8> {
        let since = self.since.unwrap_or(u64::MAX);
        [self.version, since, self.done as u64].map(u64::to_be_bytes).concat()
    }

    fn read(bytes: &[u8]) -> Token {
        let number = |at: usize| u64::from_be_bytes(bytes[at * 8..][..8].try_into().unwrap());
        let since = Some(number(1)).filter(|since| *since != u64::MAX);
        Token { version: number(0), since, done: number(2) as usize }
    }
}

fn seal(extent: Extent, cursor: Cursor) -> Seal {
    let (proof, requests) = ("scripted".to_owned().into(), BTreeMap::new());
    let verified = Verified::default();
    Seal { extent, cursor: Some(cursor), proof, verified, requests, malformed: 0 }
}

/// What is compared of a user.
fn word(title: impl std::fmt::Display, active: bool) -> String {
    format!("{title}{}", if active { "" } else { " may not sign in" })
}

const LENS: Lens = Lens {
    user: |user| word(user.title.as_ref().unwrap(), user.active),
    group: |group| group.description.clone().unwrap(),
};

fn open(folder: &Path, world: &Arc<Mutex<World>>, manner: Manner) -> Parts {
    Parts::open(folder, Arc::new(Scripted(world.clone())), manner)
}

/// What is committed is the provider's directory but for what is held.
fn assert_apart(parts: &Parts, before: &Roster, expected: &Roster, when: &str) {
    let got = parts.roster();
    let Some(hold) = parts.ledger.progress("corp").hold else {
        return assert_eq!(&got, expected, "nothing is held {when}");
    };
    if hold.whole.is_some() {
        return assert_eq!(&got, before, "everything is held {when}");
    }
    let held = Held::of(&hold.pending.removals, &parts.ledger.directory("corp"));
    let mut users = expected.users.clone();
    users.extend(
        held.users.iter().chain(&held.disabled).map(|id| (id.clone(), before.users[id].clone())),
    );
    assert_eq!(got.users, users, "{held:?} are held {when}");
    let mut groups = expected.groups.clone();
    groups.extend(held.groups.iter().map(|id| (id.clone(), before.groups[id].clone())));
    assert_eq!(got.groups, groups, "{held:?} are held {when}");
    let lives = |id: &String| users.contains_key(id) || groups.contains_key(id);
    let stays = |(group, member): &&(String, String)| {
        let held_ends = held.groups.contains(group)
            || held.groups.contains(member)
            || held.users.contains(member)
            || held.members.contains(&(group.clone(), member.clone()));
        held_ends && lives(group) && lives(member)
    };
    let mut members = expected.members.clone();
    members.extend(before.members.iter().filter(stays).cloned());
    assert_eq!(got.members, members, "{held:?} are held {when}");
}

/// Held removals by ids.
#[derive(Debug, Default)]
struct Held {
    users: BTreeSet<String>,
    disabled: BTreeSet<String>,
    groups: BTreeSet<String>,
    members: BTreeSet<(String, String)>,
}

impl Held {
    fn of(removals: &BTreeSet<Removal>, view: &DirectoryView) -> Held {
        let id = |record: Option<&[u8]>| record::id_of(record.unwrap()).unwrap().to_owned();
        let user = |slot| id(view.user_record(slot));
        let group = |slot| id(view.group_record(slot));
        let mut held = Held::default();
        for removal in removals {
            match *removal {
                Removal::User(slot) => held.users.insert(user(slot)),
                Removal::Disabled(slot) => held.disabled.insert(user(slot)),
                Removal::Group(slot) => held.groups.insert(group(slot)),
                Removal::Member { group: of, member } => {
                    let member = match member {
                        rosterd::model::Member::User(slot) => user(slot),
                        rosterd::model::Member::Group(slot) => group(slot),
                    };
                    held.members.insert((group(of), member))
                }
            };
        }
        held
    }
}

async fn run(steps: Vec<Step>, manner: Manner) {
    let folder = tempfile::tempdir().unwrap();
    let world = Arc::new(Mutex::new(World::default()));
    let mut parts = open(folder.path(), &world, manner);
    let mut receiver = Receiver::new(LENS);
    // What the provider had when it was last read.
    let mut read = Roster::default();
    for step in steps.into_iter().chain([Step::Crawl(Mode::Well), Step::Crawl(Mode::Well)]) {
        match step {
            Step::Change(ops) => {
                let mut world = world.lock().unwrap();
                for op in &ops {
                    world.apply(op);
                }
            }
            Step::Crawl(mode) => {
                let before = parts.roster();
                world.lock().unwrap().mode = Some(mode);
                let outcome = parts.sync().await;
                read = world.lock().unwrap().roster();
                match outcome {
                    Ok(()) => assert_apart(&parts, &before, &read, &format!("after {mode:?}")),
                    Err(_) => assert_eq!(parts.roster(), before, "unsealed, and yet visible"),
                }
                // The next poll goes well and recovers from whatever this one did.
                let before = parts.roster();
                parts.sync().await.unwrap();
                assert_apart(&parts, &before, &read, &format!("when recovered from {mode:?}"));
                let quiet = parts.ledger.store().last_seq();
                parts.sync().await.unwrap();
                assert_eq!(parts.ledger.store().last_seq(), quiet, "an idle poll told something");
            }
            Step::Abandon(mode) => {
                world.lock().unwrap().mode = Some(mode);
                let _well_or_badly = parts.sync().await;
                parts.close().await;
                parts = open(folder.path(), &world, manner);
                read = recover(&parts, &world).await;
            }
            Step::CutShort(after) => {
                let before = parts.roster();
                cut_short(parts, &world, after).await;
                parts = open(folder.path(), &world, manner);
                assert_eq!(parts.roster(), before, "unsealed, and yet visible");
                read = recover(&parts, &world).await;
            }
            Step::Restart => {
                parts.close().await;
                parts = open(folder.path(), &world, manner);
            }
            Step::Approve => {
                let hold = parts.statuses.get("corp").unwrap().hold.clone();
                if let Some(hold) = hold {
                    parts.poller.remote().approve("hold_0", Caller::daemon()).await.unwrap_err();
                    let approved = parts.poller.remote().approve(&hold.id, Caller::daemon()).await;
                    match approved {
                        Ok(()) => assert_eq!(parts.roster(), read, "approved"),
                        Err(HoldError::NotReadAgain { .. }) => assert!(hold.whole.is_some()),
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            Step::Reject => {
                let hold = parts.statuses.get("corp").unwrap().hold.clone();
                if let Some(hold) = hold {
                    parts.poller.remote().reject("hold_0", Caller::daemon()).await.unwrap_err();
                    parts.poller.remote().reject(&hold.id, Caller::daemon()).await.unwrap();
                    assert!(parts.ledger.progress("corp").hold.unwrap().rejected);
                }
            }
        }
        receiver.follow(&parts);
    }
}

/// The process ends while a crawl that has read so many items waits for more.
async fn cut_short(parts: Parts, world: &Arc<Mutex<World>>, after: u8) {
    let hangs = {
        let mut world = world.lock().unwrap();
        world.mode = Some(Mode::Hangs(after));
        world.hangs.clone()
    };
    parts.poller.remote().nudge();
    hangs.notified().await;
    parts.close().await;
}

/// The next poll goes well, whatever there was before.
async fn recover(parts: &Parts, world: &Arc<Mutex<World>>) -> Roster {
    let before = parts.roster();
    parts.sync().await.unwrap();
    let read = world.lock().unwrap().roster();
    assert_apart(parts, &before, &read, "after a restart");
    read
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

#[test]
fn only_what_was_asked_for_in_full_postpones_the_next_full_crawl() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let parts = open(folder.path(), &world, Manner::new(LENS, Limits::default()));
        let full_at = || parts.ledger.progress("corp").full_at;
        let change = |user, mode| {
            let mut world = world.lock().unwrap();
            world.apply(&Op::PutUser(user, 0));
            world.mode = Some(mode);
        };
        change(1, Mode::Well);
        parts.sync().await.unwrap();
        let first = full_at();
        assert!(first.is_some());
        change(2, Mode::Whole);
        parts.sync().await.unwrap();
        assert_eq!(parts.roster().users.len(), 2);
        assert_eq!(full_at(), first, "a delta that read everything passed for a full crawl");
    });
}

#[test]
fn r16_a_crawl_that_failed_goes_on_where_it_was() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let parts = open(folder.path(), &world, Manner::new(LENS, Limits::default()));
        for user in 0..6 {
            world.lock().unwrap().apply(&Op::PutUser(user, 0));
        }
        world.lock().unwrap().mode = Some(Mode::Breaks(3));
        parts.sync().await.unwrap_err();
        assert_eq!(parts.roster(), Roster::default(), "unsealed, and yet visible");
        parts.sync().await.unwrap();
        assert_eq!(parts.roster().users.len(), 6);
        // Three pages before the failure; then the third again, and the other three.
        let crawl = parts.statuses.get("corp").unwrap().last_crawl.clone().unwrap();
        assert_eq!(crawl.pages, 3 + 4);
    });
}

#[test]
fn r16_a_crawl_that_rests_for_its_quota_is_no_failure() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let parts = open(folder.path(), &world, Manner::new(LENS, Limits::default()));
        for user in 0..6 {
            world.lock().unwrap().apply(&Op::PutUser(user, 0));
        }
        for (after, failures) in [(3, 0), (5, 0), (0, 1)] {
            world.lock().unwrap().mode = Some(Mode::Throttled(after));
            parts.sync().await.unwrap_err();
            let status = parts.statuses.get("corp").unwrap();
            // Getting no further is a failure all the same.
            assert_eq!(status.consecutive_failures, failures, "after {after}");
        }
        parts.sync().await.unwrap();
        assert_eq!(parts.roster().users.len(), 6);
        // Three pages; then the third again and two more; none; the fifth again
        // and the last. The place is kept by one that got nowhere, too.
        let crawl = parts.statuses.get("corp").unwrap().last_crawl.clone().unwrap();
        assert_eq!(crawl.pages, 3 + 3 + 2);
    });
}

/// The kinds of all events so far, with the reason of those that have one.
fn told(parts: &Parts) -> Vec<(EventKind, Option<Value>)> {
    let events = parts.ledger.store().events(0, 1000).unwrap();
    let reason = |event: &Event| match &event.payload {
        Payload::Directory { details } => details.get("reason").cloned(),
        _ => None,
    };
    events.iter().map(|event| (event.kind, reason(event))).collect()
}

#[test]
fn a_missed_freshness_objective_is_told_once_and_taken_back() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let objective = Some(rosterd::clock::Duration::from_millis(10));
        let manner =
            Manner { freshness_objective: objective, ..Manner::new(LENS, Limits::default()) };
        let parts = open(folder.path(), &world, manner);
        while told(&parts).is_empty() {
            tokio::task::yield_now().await;
        }
        world.lock().unwrap().mode = Some(Mode::Breaks(0));
        parts.sync().await.unwrap_err();
        parts.sync().await.unwrap();
        let failing = |reason| (EventKind::DirectoryFailing, Some(Value::from(reason)));
        let expected = [
            failing("freshness_objective"),
            failing("poll"),
            (EventKind::DirectoryRecovered, None),
            (EventKind::DirectorySynced, Some(Value::from("first"))),
        ];
        assert_eq!(told(&parts)[..4], expected);
    });
}

#[test]
fn whatever_was_told_to_fail_is_taken_back_exactly_once() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let objective = Some(rosterd::clock::Duration::from_millis(10));
        let manner =
            Manner { freshness_objective: objective, ..Manner::new(LENS, Limits::default()) };
        let parts = open(folder.path(), &world, manner);
        let news = || {
            let is_news = |kind: &EventKind| {
                matches!(kind, EventKind::DirectoryFailing | EventKind::DirectoryRecovered)
            };
            told(&parts).into_iter().map(|(kind, _)| kind).filter(is_news).collect::<Vec<_>>()
        };
        // Each time only the objective is missed: no poll fails.
        for round in 0..3 {
            while news().len() == 2 * round {
                tokio::task::yield_now().await;
            }
            parts.sync().await.unwrap();
        }
        let one = [EventKind::DirectoryFailing, EventKind::DirectoryRecovered];
        assert_eq!(news()[..6], one.repeat(3));
    });
}

#[test]
fn the_third_incomplete_crawl_in_a_row_is_told_with_what_differs() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let parts = open(folder.path(), &world, Manner::new(LENS, Limits::default()));
        world.lock().unwrap().apply(&Op::PutGroup(1, 0));
        for failures in 1..=3 {
            assert_eq!(told(&parts), [], "before failure {failures}");
            world.lock().unwrap().mode = Some(Mode::Forgets);
            parts.sync().await.unwrap_err();
        }
        let event = parts.ledger.store().events(0, 10).unwrap().remove(0);
        assert_eq!(event.kind, EventKind::DirectoryFailing);
        let Payload::Directory { details } = event.payload else { panic!("{:?}", event.kind) };
        let Value::Text(error) = &details["error"] else { panic!("{details:?}") };
        assert!(error.contains("the group g1#1") && error.contains("were not read"), "{error}");
    });
}

#[test]
fn an_approval_reads_nothing_so_the_picture_gets_no_younger() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let parts = open(folder.path(), &world, Manner::new(LENS, strict()));
        (0..8).for_each(|user| world.lock().unwrap().apply(&Op::PutUser(user, 0)));
        parts.sync().await.unwrap();
        (0..4).for_each(|user| world.lock().unwrap().apply(&Op::DeleteUser(user)));
        parts.sync().await.unwrap();
        let before = parts.ledger.progress("corp");
        let hold = before.hold.expect("half of all users are held");
        assert_eq!(hold.whole, None);
        parts.poller.remote().approve(&hold.id, Caller::daemon()).await.unwrap();
        let after = parts.ledger.progress("corp");
        assert_eq!((after.hold, after.as_of), (None, before.as_of));
        assert_eq!(parts.roster(), world.lock().unwrap().roster());
    });
}

#[test]
fn what_the_feed_forgot_is_found_by_reading_again_and_counted() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let world = Arc::new(Mutex::new(World::default()));
        let full_every = rosterd::clock::Duration::ZERO;
        let manner = Manner { full_every, ..Manner::new(LENS, Limits::default()) };
        let parts = open(folder.path(), &world, manner);
        world.lock().unwrap().apply(&Op::PutUser(1, 0));
        parts.sync().await.unwrap();
        let drift = || parts.statuses.get("corp").unwrap().drift;
        world.lock().unwrap().apply(&Op::PutUser(2, 0));
        parts.sync().await.unwrap();
        assert_eq!(drift(), 0, "the feed told of it");
        world.lock().unwrap().apply(&Op::PutUser(1, 7));
        world.lock().unwrap().touched.clear();
        parts.sync().await.unwrap();
        assert_eq!(drift(), 1);
        assert_eq!(parts.roster(), world.lock().unwrap().roster());
    });
}

#[test]
fn what_a_full_crawl_that_rested_finds_is_counted_too() {
    for restarts in [false, true] {
        block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let world = Arc::new(Mutex::new(World::default()));
            let full_every = rosterd::clock::Duration::ZERO;
            let manner = Manner { full_every, ..Manner::new(LENS, Limits::default()) };
            let mut parts = open(folder.path(), &world, manner);
            (0..6).for_each(|user| world.lock().unwrap().apply(&Op::PutUser(user, 0)));
            parts.sync().await.unwrap();
            {
                let mut world = world.lock().unwrap();
                world.apply(&Op::PutUser(1, 7));
                world.apply(&Op::PutUser(5, 7));
                world.touched.clear();
                // What the feed has to tell is read first; then the full crawl rests.
                (world.mode, world.then) = (Some(Mode::Well), Some(Mode::Throttled(3)));
                world.starts.clear();
            }
            parts.sync().await.unwrap_err();
            if restarts {
                parts.close().await;
                parts = open(folder.path(), &world, manner);
            }
            parts.sync().await.unwrap();
            assert!(
                matches!(
                    world.lock().unwrap().starts[..3],
                    [Start::Incremental(_), Start::Full, Start::Resume(_)]
                ),
                "it went on"
            );
            assert_eq!(parts.statuses.get("corp").unwrap().drift, 2, "restarts: {restarts}");
            assert_eq!(parts.roster(), world.lock().unwrap().roster());
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn w7_folded_events_equal_the_directory(steps in prop::collection::vec(step(), 1..30)) {
        block_on(run(steps, Manner::unguarded(LENS)));
    }

    #[test]
    fn the_same_holds_when_the_guard_holds(steps in prop::collection::vec(step(), 1..30)) {
        // Nothing is written before the process is asked to end.
        let checkpoint_every = std::time::Duration::from_secs(3600);
        let manner = Manner::new(LENS, strict());
        block_on(run(steps, Manner { checkpoint_every, on_hold: OnHold::HoldAll, ..manner }));
    }

    #[test]
    fn the_same_holds_when_the_guard_holds_a_part(steps in prop::collection::vec(step(), 1..30)) {
        block_on(run(steps, Manner::new(LENS, strict())));
    }
}

/// Two removals of a kind may be too many already.
fn strict() -> Limits {
    Limits { floor: 1, ..Limits::default() }
}
