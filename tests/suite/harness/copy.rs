//! What a provider handed over, folded into a copy of the directory: a plain
//! stand-in for the reconciler, so that providers are tested on their own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rosterd::model::Reference;
use rosterd::provider::{
    Cursor, Directory, Extent, GroupItem, Item, Patience, PullError, Seal, Sink, Start, UserItem,
};

/// As patient as a test can be with a machine that does other things too.
pub const PATIENCE: Patience =
    Patience { request_timeout: Duration::from_secs(60), stall_timeout: Duration::from_secs(120) };

/// Takes down all items of one crawl.
#[derive(Debug, Default)]
pub struct Collector {
    pub items: Vec<Item>,
    pub pages: usize,
}

impl Sink for Collector {
    fn page(&mut self, items: Vec<Item>) {
        self.pages += 1;
        self.items.extend(items);
    }
}

/// Users, groups and memberships as they stand after some crawls.
#[derive(Clone, Debug, Default)]
pub struct Copy {
    pub users: BTreeMap<String, UserItem>,
    pub groups: BTreeMap<String, GroupItem>,
    /// By group: whom its list means by id, and what it names that nobody is.
    lists: BTreeMap<String, (BTreeSet<String>, BTreeSet<Reference>)>,
    pub cursor: Option<Cursor>,
}

impl Copy {
    /// Reads everything anew.
    pub async fn full(directory: &mut dyn Directory) -> Copy {
        let mut copy = Copy::default();
        copy.crawl(directory, Start::Full).await.expect("a full crawl seals");
        copy
    }

    /// Reads what changed, and everything when the cursor has expired, as the
    /// poller does. Says what the crawl that sealed covered.
    pub async fn follow(&mut self, directory: &mut dyn Directory) -> Followed {
        let cursor = self.cursor.clone().expect("a cursor");
        match self.crawl(directory, Start::Incremental(cursor)).await {
            Ok((seal, items)) => Followed { seal, items, anew: None },
            Err(PullError::CursorExpired { reason }) => {
                let (seal, items) = self.crawl(directory, Start::Full).await.expect("it seals");
                Followed { seal, items, anew: Some(reason) }
            }
            Err(error) => panic!("an incremental crawl failed: {error}"),
        }
    }

    pub async fn crawl(
        &mut self,
        directory: &mut dyn Directory,
        start: Start,
    ) -> Result<(Seal, Vec<Item>), PullError> {
        let mut sink = Collector::default();
        let seal = directory.crawl(start, &mut sink).await?;
        self.apply(sink.items.clone(), seal.extent);
        self.cursor.clone_from(&seal.cursor);
        Ok((seal, sink.items))
    }

    /// Applies one sealed crawl.
    pub fn apply(&mut self, items: Vec<Item>, extent: Extent) {
        let before = std::mem::take(self);
        if extent == Extent::Changes {
            *self = before.clone();
        }
        let mut lists = Vec::new();
        for item in items {
            match item {
                Item::User(user) => drop(self.users.insert(user.user.id.clone(), user)),
                Item::Group(group) => drop(self.groups.insert(group.group.id.clone(), group)),
                Item::UserDeleted(gone) => self.forget(&gone, true),
                Item::GroupDeleted(gone) => self.forget(&gone, false),
                Item::Kept(kept) => self.keep(&before, &kept),
                Item::Members { .. } | Item::MembersAdded { .. } | Item::MembersRemoved { .. } => {
                    lists.push(item);
                }
            }
        }
        // References count once everything that was read is known.
        for list in lists {
            self.list(list);
        }
        let there: BTreeSet<String> =
            self.users.keys().chain(self.groups.keys()).cloned().collect();
        let groups: BTreeSet<String> = self.groups.keys().cloned().collect();
        self.lists.retain(|group, _| groups.contains(group));
        let waiting: Vec<(String, Vec<Reference>)> = self
            .lists
            .iter()
            .map(|(id, list)| (id.clone(), list.1.iter().cloned().collect()))
            .collect();
        for (group, references) in waiting {
            for reference in references {
                if let Some(id) = self.resolve(&reference) {
                    let list = self.lists.entry(group.clone()).or_default();
                    list.1.remove(&reference);
                    list.0.insert(id);
                }
            }
        }
        for (members, _) in self.lists.values_mut() {
            members.retain(|id| there.contains(id));
        }
    }

    /// `group/member` by name, for every direct membership, also those that
    /// the users' own records name.
    pub fn memberships(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for (group, (members, _)) in &self.lists {
            for member in members {
                all.insert(format!("{}/{}", self.name(group), self.name(member)));
            }
        }
        for user in self.users.values() {
            for group in user.groups.iter().filter_map(|group| self.resolve(group)) {
                all.insert(format!("{}/{}", self.name(&group), user.user.username));
            }
        }
        all
    }

    /// Everything that readers could see, in words, by id.
    pub fn picture(&self) -> Vec<String> {
        let users = self.users.values().map(|user| format!("{:?}", user.user));
        let groups = self.groups.values().map(|group| format!("{:?}", group.group));
        users.chain(groups).chain(self.memberships()).collect()
    }

    pub fn user(&self, username: &str) -> &UserItem {
        let found = self.users.values().find(|user| user.user.username == username);
        found.unwrap_or_else(|| panic!("no user {username}"))
    }

    pub fn usernames(&self) -> BTreeSet<&str> {
        self.users.values().map(|user| user.user.username.as_str()).collect()
    }

    pub fn group(&self, name: &str) -> &GroupItem {
        let found = self.groups.values().find(|group| group.group.name == name);
        found.unwrap_or_else(|| panic!("no group {name}"))
    }

    /// The names of a group's direct members, by its own list.
    pub fn members(&self, group: &str) -> BTreeSet<String> {
        let id = &self.group(group).group.id;
        self.lists[id].0.iter().map(|member| self.name(member)).collect()
    }

    fn name(&self, id: &str) -> String {
        let user = self.users.get(id).map(|user| user.user.username.clone());
        user.or_else(|| Some(self.groups.get(id)?.group.name.clone()))
            .unwrap_or_else(|| id.to_owned())
    }

    fn resolve(&self, reference: &Reference) -> Option<String> {
        let users = self.users.values().map(|user| (&user.user.id, &user.aliases));
        let groups = self.groups.values().map(|group| (&group.group.id, &group.aliases));
        match reference {
            Reference::User(id) => self.users.contains_key(id).then(|| id.clone()),
            Reference::Group(id) => self.groups.contains_key(id).then(|| id.clone()),
            Reference::Id(id) => {
                let known = self.users.contains_key(id) || self.groups.contains_key(id);
                known.then(|| id.clone())
            }
            Reference::Alias(alias) => {
                let mut owners = users.chain(groups).filter(|(_, aliases)| aliases.contains(alias));
                let owner = owners.next()?.0.clone();
                owners.next().is_none().then_some(owner)
            }
        }
    }

    fn list(&mut self, item: Item) {
        let (group, members, mode) = match item {
            Item::Members { group, members } => (group, members, 0),
            Item::MembersAdded { group, members } => (group, members, 1),
            Item::MembersRemoved { group, members } => (group, members, -1),
            _ => return,
        };
        // A group that is out of scope may well be named.
        let Some(group) = self.resolve(&group) else {
            assert_ne!(mode, 0, "a complete list belongs to a group that is known");
            return;
        };
        let ids: Vec<(Reference, Option<String>)> =
            members.into_iter().map(|member| (member.clone(), self.resolve(&member))).collect();
        let list = self.lists.entry(group).or_default();
        if mode == 0 {
            *list = Default::default();
        }
        for (member, id) in ids {
            match (id, mode) {
                (Some(id), -1) => drop(list.0.remove(&id)),
                (None, -1) => drop(list.1.remove(&member)),
                (Some(id), _) => drop(list.0.insert(id)),
                (None, _) => drop(list.1.insert(member)),
            }
        }
    }

    fn forget(&mut self, reference: &Reference, user: bool) {
        let Some(id) = self.resolve(reference) else { return };
        if user {
            self.users.remove(&id);
        } else {
            self.groups.remove(&id);
            self.lists.remove(&id);
        }
        for (members, _) in self.lists.values_mut() {
            members.remove(&id);
        }
    }

    fn keep(&mut self, before: &Copy, reference: &Reference) {
        let Some(id) = before.resolve(reference) else { return };
        if let Some(user) = before.users.get(&id) {
            self.users.insert(id.clone(), user.clone());
        }
        if let Some(group) = before.groups.get(&id) {
            self.groups.insert(id.clone(), group.clone());
            self.lists.insert(id.clone(), before.lists.get(&id).cloned().unwrap_or_default());
        }
    }
}

/// A crawl that followed another.
#[derive(Debug)]
pub struct Followed {
    pub seal: Seal,
    pub items: Vec<Item>,
    /// Why it read everything, when the cursor had expired.
    pub anew: Option<String>,
}

impl Followed {
    /// Operations sent in all.
    pub fn operations(&self) -> u64 {
        self.seal.requests.values().sum()
    }

    pub fn is_changes(&self) -> bool {
        self.anew.is_none() && self.seal.extent == Extent::Changes
    }

    /// The users handed over, by name.
    pub fn users(&self) -> BTreeSet<&str> {
        let users = self.items.iter().filter_map(|item| match item {
            Item::User(user) => Some(user.user.username.as_str()),
            _ => None,
        });
        users.collect()
    }

    /// The groups handed over, by name.
    pub fn groups(&self) -> BTreeSet<&str> {
        let groups = self.items.iter().filter_map(|item| match item {
            Item::Group(group) => Some(group.group.name.as_str()),
            _ => None,
        });
        groups.collect()
    }
}
