//! A provider that lives by a script: its directory, what happens to it, and
//! how a crawl of it goes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use proptest::prelude::*;
use rosterd::model::{Group, Reference, User};
use rosterd::provider::{
    Cursor, Directory, Extent, Finding, GroupItem, Item, Patience, PullError, Seal, Settings, Sink,
    Start, UserItem, Verified,
};
use tokio::sync::Notify;

use crate::harness::parts::{Manner, Parts};
use crate::harness::roster::{Lens, Roster};

pub const USERS: u8 = 12;
pub const GROUPS: u8 = 6;

/// One thing that happens at the provider.
#[derive(Clone, Debug)]
pub enum Op {
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
pub enum Member {
    User(u8),
    Group(u8),
}

/// How a crawl goes.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
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

pub fn op() -> impl Strategy<Value = Op> {
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

pub fn mode() -> impl Strategy<Value = Mode> {
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

/// The provider's directory.
#[derive(Clone, Debug, Default)]
pub struct World {
    users: BTreeMap<String, WorldUser>,
    groups: BTreeMap<String, WorldGroup>,
    /// Counts changes; a cursor is a value of it.
    version: u64,
    /// When each id was last touched, deletions too; users and groups.
    pub touched: BTreeMap<(bool, String), u64>,
    /// How often an id was created: a re-created account has another id.
    incarnations: BTreeMap<String, u64>,
    pub mode: Option<Mode>,
    /// The mode of the crawl after that.
    pub then: Option<Mode>,
    /// Where crawls started, in order.
    pub starts: Vec<Start>,
    /// Rung by a crawl that hangs.
    pub hangs: Arc<Notify>,
    pub fingerprint: String,
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
    pub fn apply(&mut self, op: &Op) {
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

    pub fn everything(&self) -> Vec<Item> {
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
    pub fn roster(&self) -> Roster {
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
pub struct Token {
    version: u64,
    since: Option<u64>,
    pub done: usize,
}

impl Token {
    fn write(&self) -> Vec<u8> {
        let since = self.since.unwrap_or(u64::MAX);
        [self.version, since, self.done as u64].map(u64::to_be_bytes).concat()
    }

    pub fn read(bytes: &[u8]) -> Token {
        let number = |at: usize| u64::from_be_bytes(bytes[at * 8..][..8].try_into().unwrap());
        let since = Some(number(1)).filter(|since| *since != u64::MAX);
        Token { version: number(0), since, done: number(2) as usize }
    }
}

pub fn seal(extent: Extent, cursor: Cursor) -> Seal {
    let (proof, requests) = ("scripted".to_owned().into(), BTreeMap::new());
    let verified = Verified::default();
    Seal { extent, cursor: Some(cursor), proof, verified, requests, malformed: 0 }
}

/// What is compared of a user.
fn word(title: impl std::fmt::Display, active: bool) -> String {
    format!("{title}{}", if active { "" } else { " may not sign in" })
}

pub const LENS: Lens = Lens {
    user: |user| word(user.title.as_ref().unwrap(), user.active),
    group: |group| group.description.clone().unwrap(),
};

pub fn open(folder: &Path, world: &Arc<Mutex<World>>, manner: Manner) -> Parts {
    Parts::open(folder, Arc::new(Scripted(world.clone())), manner)
}
