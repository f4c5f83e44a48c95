//! Every answer about the past, held against a naive picture of each seq.
//!
//! Random commits: people and groups come, go, come back as others, take and
//! swap names; memberships and nesting change; some commits tell nothing; the
//! directory is dropped and begins anew. Then retention passes, the store is rewritten and opened again,
//! and what is still kept must be told as before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value;

use super::fixture::{World, world_of};
use crate::clock::{Duration, Timestamp};
use crate::index::{Builder, DirectoryView, View};
use crate::model::{
    Cause, Change, Commit, EventKind, Group, Layer, Progress, Put, Reference, User,
};
use crate::provider::{GroupItem, UserItem};
use crate::query::resolve::Kind;
use crate::query::sources::Sources;
use crate::query::{Journal, check, objects};
use crate::store::record::{encode_group, encode_user};
use crate::store::{Kept, Options, Retention, Store};

const NAMES: [&str; 4] = ["ada", "Bob", "cy", "Straße"];

/// All that is there at one seq, by slot.
#[derive(Clone, Debug, Default)]
struct Picture {
    users: BTreeMap<u32, User>,
    groups: BTreeMap<u32, Group>,
    /// Group, whether the member is a user, member.
    edges: BTreeSet<(u32, bool, u32)>,
}

/// A store and a view with the same commits, and the picture after each event.
struct Run {
    folder: tempfile::TempDir,
    store: Option<Store>,
    view: DirectoryView,
    now: Picture,
    next: (u32, u32),
    /// From the end of the directory's first commit on.
    pictures: BTreeMap<u64, Picture>,
    /// The second and the last seq of each commit.
    commits: Vec<(u64, u64)>,
    random: fastrand::Rng,
    seconds: u64,
}

impl Run {
    fn new(seed: u64) -> Run {
        let folder = tempfile::tempdir().unwrap();
        let store = Some(Store::open(folder.path(), Options { cache_bytes: 1 << 20 }).unwrap().0);
        Run {
            folder,
            store,
            view: DirectoryView::empty("corp", "t", "p"),
            now: Picture::default(),
            next: (0, 0),
            pictures: BTreeMap::new(),
            commits: Vec::new(),
            random: fastrand::Rng::with_seed(seed),
            seconds: 0,
        }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn step(&mut self) {
        if self.random.u8(..) < 12 {
            return self.clear();
        }
        if self.random.u8(..) < 90
            && let Some(silent) = self.silent_change()
        {
            self.commit(vec![silent]);
            return;
        }
        let is_first = self.next == (0, 0);
        let changes = self.random_changes();
        let (first, last) = self.commit(changes.clone());
        // Each of them is one event.
        for (seq, change) in (first..).zip(&changes) {
            self.now.follow(change);
            self.pictures.insert(seq, self.now.clone());
        }
        if is_first {
            // Memberships of the first commit have no history of their own.
            self.pictures = self.pictures.split_off(&last);
        }
    }

    fn clear(&mut self) {
        let kind = EventKind::DirectoryRemoved;
        self.commit(vec![Change::Cleared, Change::Notice { kind, details: [].into() }]);
        self.view = DirectoryView::empty("corp", "t", "p");
        (self.now, self.next) = (Picture::default(), (0, 0));
        self.pictures.clear();
    }

    fn commit(&mut self, changes: Vec<Change>) -> (u64, u64) {
        self.seconds += self.random.u64(0..3);
        let commit = Commit {
            directory: "corp".into(),
            tenant: "t".into(),
            product: "p".into(),
            occurred_at: Timestamp(self.seconds * 1000),
            cause: Cause::Crawl { full: true },
            progress: Progress { as_of: Some(Timestamp(1)), ..Progress::default() },
            changes,
        };
        let committed = self.store().commit(&commit).unwrap();
        if commit.changes[0] != Change::Cleared {
            self.view = self.view.apply(&commit.changes, committed.first_seq).unwrap();
        }
        self.commits.push((self.seconds, committed.last_seq));
        (committed.first_seq, committed.last_seq)
    }

    /// One that is no event, when there is anybody to change.
    fn silent_change(&mut self) -> Option<Change> {
        let group = self.now.groups.keys().next().filter(|_| self.random.bool());
        let unresolved = |group: &u32| Change::Unresolved {
            group: *group,
            added: self.view.unresolved(*group).is_empty(),
            references: vec![Reference::Id("nobody".into())],
        };
        let user = self.now.users.iter().next();
        group.map(unresolved).or(user.map(|(slot, user)| put_user(*slot, user, Put::Silent)))
    }

    fn random_changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut after = self.now.clone();
        self.remove(&mut after, &mut changes);
        self.rename(&mut after, &mut changes);
        self.create(&mut after, &mut changes);
        self.join(&mut after, &mut changes);
        let kind = EventKind::DirectorySynced;
        changes.push(Change::Notice { kind, details: [].into() });
        changes
    }

    fn remove(&mut self, after: &mut Picture, changes: &mut Vec<Change>) {
        let gone_users: Vec<u32> =
            after.users.keys().copied().filter(|_| self.random.u8(..) < 30).collect();
        let gone_groups: Vec<u32> =
            after.groups.keys().copied().filter(|_| self.random.u8(..) < 20).collect();
        for (group, of_user, member) in after.edges.clone() {
            let gone = if of_user { &gone_users } else { &gone_groups };
            if gone_groups.contains(&group) || gone.contains(&member) || self.random.u8(..) < 40 {
                changes.push(edge(group, of_user, member, false));
                after.edges.remove(&(group, of_user, member));
            }
        }
        for slot in gone_users {
            after.users.remove(&slot);
            changes.push(Change::UserDeleted { slot, visible: true });
        }
        for slot in gone_groups {
            after.groups.remove(&slot);
            changes.push(Change::GroupDeleted { slot, visible: true });
        }
    }

    fn rename(&mut self, after: &mut Picture, changes: &mut Vec<Change>) {
        for (slot, user) in &mut after.users {
            if self.random.u8(..) < 90 {
                user.username = any_name(&mut self.random);
                user.emails = vec![format!("{}@x", any_name(&mut self.random))];
                changes.push(put_user(*slot, user, Put::Updated));
            }
        }
        for (slot, group) in &mut after.groups {
            if self.random.u8(..) < 90 {
                group.name = any_name(&mut self.random);
                changes.push(put_group(*slot, group, Put::Updated));
            }
        }
    }

    fn create(&mut self, after: &mut Picture, changes: &mut Vec<Change>) {
        for _ in 0..self.random.u8(0..4) {
            let slot = self.next.0;
            self.next.0 += 1;
            // An id may be named like somebody else; it wins.
            let taken = |id: &str| after.users.values().any(|user| user.id == id);
            let id =
                Some(any_name(&mut self.random)).filter(|id| !taken(id) && slot.is_multiple_of(3));
            let user = User {
                id: id.unwrap_or_else(|| format!("u{slot}-{}", self.seconds)),
                username: any_name(&mut self.random),
                emails: vec![format!("{}@x", any_name(&mut self.random))],
                ..User::default()
            };
            changes.push(put_user(slot, &user, Put::Created));
            after.users.insert(slot, user);
        }
        for _ in 0..self.random.u8(0..3) {
            let slot = self.next.1;
            self.next.1 += 1;
            let id = format!("g{slot}-{}", self.seconds);
            let group = Group { id, name: any_name(&mut self.random), ..Group::default() };
            changes.push(put_group(slot, &group, Put::Created));
            after.groups.insert(slot, group);
        }
    }

    fn join(&mut self, after: &mut Picture, changes: &mut Vec<Change>) {
        for &group in after.groups.keys() {
            let users = after.users.keys().map(|user| (group, true, *user));
            let groups = after.groups.keys().map(|inner| (group, false, *inner));
            for (group, of_user, member) in users.chain(groups).collect::<Vec<_>>() {
                if self.random.u8(..) < 50 && after.edges.insert((group, of_user, member)) {
                    changes.push(edge(group, of_user, member, true));
                }
            }
        }
    }

    fn reopen(&mut self) {
        self.store = None;
        let store = Store::open(self.folder.path(), Options { cache_bytes: 1 << 20 }).unwrap().0;
        let mut builder = Builder::new("corp", "t", "p");
        store.load("corp", &mut builder).unwrap();
        self.view = builder.finish().unwrap();
        self.store = Some(store);
    }

    fn world(&self) -> World {
        let views = if self.store().directories().unwrap().is_empty() {
            vec![]
        } else {
            vec![self.view.clone()]
        };
        let mut world = world_of(View::new(views, self.store().last_seq()));
        world.sources.journal = Arc::new(self.store().clone()) as Arc<dyn Journal>;
        world.confirm("corp", 1);
        world
    }

    /// All answers of all seqs that are kept.
    fn check(&self) {
        let world = self.world();
        let oldest = self.store().oldest_state().unwrap().0;
        for (&seq, picture) in self.pictures.range(oldest..) {
            Answers { sources: &world.sources, picture, seq }.check();
        }
        self.moments(&world, oldest);
        if let Some(first) = self.pictures.keys().next().copied().max(Some(oldest))
            && first > 0
        {
            let query = format!("directory=corp&at={}", first - 1);
            let refused = objects::list(&world.sources, Kind::User, Some(&query)).unwrap_err();
            assert!([404, 410].contains(&refused.status().as_u16()), "{refused}");
        }
    }
}

impl Run {
    fn prune(&self, kept: u32) {
        let retention = Retention {
            journal: Kept::for_age(Duration::from_secs(1)),
            history: Kept::for_age(Duration::from_secs(1) * kept),
        };
        let now = Timestamp(self.seconds * 1000);
        while self.store().prune(now, &retention).unwrap().more {}
    }

    /// A time stands for the last event at or before it.
    fn moments(&self, world: &World, oldest: u64) {
        (0..=self.seconds).for_each(|second| self.moment(world, oldest, second));
    }

    fn moment(&self, world: &World, oldest: u64, second: u64) {
        let query = format!("directory=corp&limit=1&at={}", Timestamp(second * 1000));
        let found = objects::list(&world.sources, Kind::User, Some(&query));
        let (_, seq) = self.commits.iter().rfind(|(at, _)| *at <= second).unwrap_or(&(0, 0));
        if *seq >= oldest && self.pictures.contains_key(seq) {
            let found: Value = serde_json::from_slice(&found.unwrap()).unwrap();
            assert_eq!(found["at_seq"], *seq, "at {second} s");
        } else {
            let refused = found.unwrap_err();
            assert!([404, 410].contains(&refused.status().as_u16()), "{refused}");
        }
    }
}

impl Picture {
    fn follow(&mut self, change: &Change) {
        match change {
            Change::User { slot, record, .. } => {
                let user = crate::store::record::decode_user(record).unwrap().user;
                self.users.insert(*slot, user);
            }
            Change::Group { slot, record, .. } => {
                let group = crate::store::record::decode_group(record).unwrap().group;
                self.groups.insert(*slot, group);
            }
            Change::UserDeleted { slot, .. } => drop(self.users.remove(slot)),
            Change::GroupDeleted { slot, .. } => drop(self.groups.remove(slot)),
            Change::Edges { group, layer, added, members, .. } => {
                for member in members {
                    let edge = (*group, *layer != Layer::Subgroup, *member);
                    if *added {
                        self.edges.insert(edge)
                    } else {
                        self.edges.remove(&edge)
                    };
                }
            }
            _ => {}
        }
    }

    /// Whom a text means: an id wins.
    fn users_named(&self, text: &str) -> Vec<u32> {
        let by_id = self.users.iter().filter(|(_, user)| user.id == text);
        let by_id: Vec<u32> = by_id.map(|(slot, _)| *slot).collect();
        let same = |name: &String| name.to_lowercase() == text.to_lowercase();
        let named = |user: &User| same(&user.username) || user.emails.iter().any(same);
        let by_name = self.users.iter().filter(|(_, user)| named(user)).map(|(slot, _)| *slot);
        if by_id.is_empty() { by_name.collect() } else { by_id }
    }

    fn groups_named(&self, text: &str) -> Vec<u32> {
        let by_id = self.groups.iter().filter(|(_, group)| group.id == text);
        let by_id: Vec<u32> = by_id.map(|(slot, _)| *slot).collect();
        let by_name = self
            .groups
            .iter()
            .filter(|(_, group)| group.name.to_lowercase() == text.to_lowercase());
        if by_id.is_empty() { by_name.map(|(slot, _)| *slot).collect() } else { by_id }
    }

    /// The groups that a user is in.
    fn groups_of(&self, user: u32, nested: bool) -> BTreeSet<u32> {
        let of = |of_user, member| {
            self.edges
                .iter()
                .filter(move |edge| (edge.1, edge.2) == (of_user, member))
                .map(|edge| edge.0)
        };
        let mut all: BTreeSet<u32> = of(true, user).collect();
        let mut before = all.len() + usize::from(nested);
        while all.len() != before {
            before = all.len();
            all.extend(all.clone().into_iter().flat_map(|group| of(false, group)));
        }
        all
    }

    /// The users and groups in a group.
    fn members_of(&self, group: u32, nested: bool) -> (BTreeSet<u32>, BTreeSet<u32>) {
        let of = |group, of_user| {
            self.edges
                .iter()
                .filter(move |edge| (edge.0, edge.1) == (group, of_user))
                .map(|edge| edge.2)
        };
        let mut groups: BTreeSet<u32> = of(group, false).collect();
        let mut users: BTreeSet<u32> = of(group, true).collect();
        let mut before = groups.len() + usize::from(nested);
        while groups.len() != before {
            before = groups.len();
            groups.extend(groups.clone().into_iter().flat_map(|inner| of(inner, false)));
        }
        if nested {
            users.extend(groups.iter().flat_map(|inner| of(*inner, true)));
            groups.remove(&group);
        }
        (users, groups)
    }

    fn user_ids(&self, slots: impl IntoIterator<Item = u32>) -> Vec<String> {
        slots.into_iter().map(|slot| self.users[&slot].id.clone()).collect()
    }

    fn group_ids(&self, slots: impl IntoIterator<Item = u32>) -> Vec<String> {
        slots.into_iter().map(|slot| self.groups[&slot].id.clone()).collect()
    }
}

struct Answers<'a> {
    sources: &'a Sources,
    picture: &'a Picture,
    seq: u64,
}

impl Answers<'_> {
    fn check(&self) {
        self.lists();
        let known: BTreeSet<String> = NAMES
            .iter()
            .flat_map(|name| [(*name).to_owned(), name.to_uppercase(), format!("{name}@x")])
            .chain(self.picture.users.values().map(|user| user.id.clone()))
            .collect();
        for text in &known {
            self.user(text);
        }
        for name in NAMES {
            self.group(name);
        }
        for (slot, group) in &self.picture.groups {
            self.group(&group.id);
            self.checks(*slot, &group.id);
        }
    }

    /// Paged by two, so that pages matter.
    fn lists(&self) {
        for kind in [Kind::User, Kind::Group] {
            let (mut listed, mut cursor) = (Vec::new(), String::new());
            loop {
                let query = format!("at={}&limit=2{cursor}", self.seq);
                let page = objects::list(self.sources, kind, Some(&query)).unwrap();
                let page: Value = serde_json::from_slice(&page).unwrap();
                let rows = page[kind.plural()].as_array().unwrap();
                listed.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
                let expected = match kind {
                    Kind::User => self.picture.users.len(),
                    Kind::Group => self.picture.groups.len(),
                };
                assert_eq!(page["total"], expected, "total at {}", self.seq);
                assert_eq!(page["at_seq"], self.seq);
                let Some(next) = page["next_cursor"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            let expected = match kind {
                Kind::User => self.picture.user_ids(self.picture.users.keys().copied()),
                Kind::Group => self.picture.group_ids(self.picture.groups.keys().copied()),
            };
            assert_eq!(listed, expected, "{kind:?} at {}", self.seq);
        }
    }

    fn user(&self, text: &str) {
        let named = self.picture.users_named(text);
        let query = format!("at={}", self.seq);
        let found = objects::one(self.sources, Kind::User, text, Some(&query));
        let Some(slot) = self.outcome(found, "user", &named, text) else { return };
        let user = &self.picture.users[&slot];
        for nested in [false, true] {
            let query = format!("at={}&nested={nested}", self.seq);
            let list = objects::related(self.sources, Kind::User, text, Some(&query)).unwrap();
            let expected = self.picture.groups_of(slot, nested);
            let what = format!("groups of {} at {}, nested {nested}", user.id, self.seq);
            assert_eq!(ids(&list, "groups"), self.picture.group_ids(expected), "{what}");
        }
    }

    fn group(&self, text: &str) {
        let named = self.picture.groups_named(text);
        let query = format!("at={}", self.seq);
        let found = objects::one(self.sources, Kind::Group, text, Some(&query));
        let Some(slot) = self.outcome(found, "group", &named, text) else { return };
        for nested in [false, true] {
            let query = format!("at={}&nested={nested}", self.seq);
            let list = objects::related(self.sources, Kind::Group, text, Some(&query)).unwrap();
            let (users, groups) = self.picture.members_of(slot, nested);
            let mut expected = self.picture.user_ids(users);
            expected.extend(self.picture.group_ids(groups));
            assert_eq!(ids(&list, "members"), expected, "members of {text} at {}", self.seq);
        }
    }

    fn checks(&self, group: u32, id: &str) {
        for (slot, user) in &self.picture.users {
            if self.picture.users_named(&user.id) != [*slot] {
                continue;
            }
            let user = user.id.replace('ß', "%C3%9F");
            let query = format!("user={user}&group={id}&at={}", self.seq);
            let answer = check::answer(self.sources, Some(&query)).unwrap();
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            let expected = self.picture.groups_of(*slot, true).contains(&group);
            assert_eq!(answer["member"], expected, "{query}");
            assert_eq!(answer["at_seq"], self.seq);
        }
    }

    /// The slot when one is meant; the right refusal when none or several are.
    fn outcome(
        &self,
        found: Result<Vec<u8>, crate::query::problem::Problem>,
        word: &str,
        named: &[u32],
        text: &str,
    ) -> Option<u32> {
        let id = |slot: &u32| match word {
            "user" => self.picture.users[slot].id.clone(),
            _ => self.picture.groups[slot].id.clone(),
        };
        match (found, named) {
            (Ok(found), [only]) => {
                let found: Value = serde_json::from_slice(&found).unwrap();
                assert_eq!(found[word]["id"], id(only), "{text} at {}", self.seq);
                Some(*only)
            }
            (Err(problem), []) => {
                assert_eq!(problem.status(), 404, "{text} at {}", self.seq);
                None
            }
            (Err(problem), several) => {
                assert_eq!(problem.status(), 409, "{text} at {}: {several:?}", self.seq);
                let body = problem.body();
                let candidates = body["candidates"].as_array().unwrap().iter();
                let candidates: Vec<String> =
                    candidates.map(|one| one["id"].as_str().unwrap().to_owned()).collect();
                assert_eq!(candidates, several.iter().map(id).collect::<Vec<_>>());
                None
            }
            (Ok(found), named) => {
                let found = String::from_utf8(found).unwrap();
                panic!("{text} at {} means {named:?}, not {found}", self.seq)
            }
        }
    }
}

fn ids(list: &[u8], name: &str) -> Vec<String> {
    let list: Value = serde_json::from_slice(list).unwrap();
    let rows = list[name].as_array().unwrap().iter();
    rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

fn any_name(random: &mut fastrand::Rng) -> String {
    let name = random.choice(NAMES).unwrap();
    if random.bool() { name.to_owned() } else { name.to_uppercase().replace("STRASSE", "Straße") }
}

fn put_user(slot: u32, user: &User, put: Put) -> Change {
    let item = UserItem { user: user.clone(), ..UserItem::default() };
    Change::User { slot, record: encode_user(&item), put }
}

fn put_group(slot: u32, group: &Group, put: Put) -> Change {
    let item = GroupItem { group: group.clone(), ..GroupItem::default() };
    Change::Group { slot, record: encode_group(&item), put }
}

fn edge(group: u32, of_user: bool, member: u32, added: bool) -> Change {
    let layer = if of_user { Layer::Listed } else { Layer::Subgroup };
    Change::Edges { group, layer, added, visible: true, members: vec![member] }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_answer_about_the_past_is_what_a_naive_picture_says(
        seed in any::<u64>(), commits in 2..6usize, kept in 1..6u32,
    ) {
        let mut run = Run::new(seed);
        (0..commits).for_each(|_| run.step());
        run.check();
        run.prune(kept);
        run.check();
        (0..2).for_each(|_| run.step());
        run.check();
        run.store().rewrite_now().unwrap();
        run.reopen();
        run.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn retention_moves_no_moment_that_is_kept(
        seed in any::<u64>(), commits in 4..12usize, kept in 1..4u32,
    ) {
        let mut run = Run::new(seed);
        (0..commits).for_each(|_| run.step());
        run.prune(kept);
        (0..2).for_each(|_| run.step());
        run.prune(kept);
        run.moments(&run.world(), run.store().oldest_state().unwrap().0);
    }
}
