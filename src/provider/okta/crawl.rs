//! What full and incremental crawls share: users of a page, and the members of
//! many groups at once.

use std::collections::{BTreeMap, HashSet};
use std::hash::BuildHasher;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use tracing::warn;

use super::api::{self, Api, Found};
use super::bookmark::Unsure;
use super::config::OktaConfig;
use super::map::{self, OktaGroup, OktaUser};
use super::vendor;
use super::walk::{Read, Walk};
use crate::model::Reference;
use crate::provider::http::{Answer, Quarantine};
use crate::provider::{GroupItem, Item, PullError, Sink, UserItem};

/// One crawl under way.
pub struct Crawl<'a> {
    pub api: &'a Api,
    pub config: &'a OktaConfig,
    pub sink: &'a mut dyn Sink,
    pub quarantine: Quarantine,
    /// Users that were handed over.
    pub seen: Seen,
    /// Groups whose members may not be read.
    pub forbidden: u64,
    /// Groups whose members were read.
    pub readable: u64,
    /// What is to be asked for again.
    pub unsure: Unsure,
}

/// Ids by their hash: a few bytes each.
#[derive(Clone, Debug, Default)]
pub struct Seen(HashSet<u64>, foldhash::fast::RandomState);

impl Seen {
    /// Whether it is new.
    pub fn insert(&mut self, id: &str) -> bool {
        self.0.insert(self.1.hash_one(id))
    }

    pub fn contains(&self, id: &str) -> bool {
        self.0.contains(&self.1.hash_one(id))
    }
}

/// A group, as a listing shows it.
pub struct Listed {
    pub item: GroupItem,
    pub is_everyone: bool,
    pub stamp: String,
    pub changed_at: Option<crate::clock::Timestamp>,
}

/// What to do with members who were not handed over before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Strangers {
    /// The listing of users lacks them: hand them over.
    HandOver,
    /// They are known from before, or will come with their own change.
    Leave,
}

/// The groups whose members are still to be read, each with its own record
/// where that is to be handed over as well.
pub type Left = BTreeMap<String, Option<GroupItem>>;

/// Of one group, while its pages are read.
struct Reading {
    id: String,
    walk: Walk,
    members: Vec<Reference>,
    /// The page just read.
    page: Option<Answer>,
    end: Option<End>,
}

/// A member, of whom most often only the id matters: the whole user is decoded
/// when the listing of users lacks it.
#[derive(Deserialize)]
struct Member {
    id: Option<String>,
}

enum End {
    Complete,
    Forbidden(String),
    /// Proved by a 404 for the group itself.
    Gone,
}

impl<'a> Crawl<'a> {
    pub fn new(api: &'a Api, config: &'a OktaConfig, sink: &'a mut dyn Sink) -> Crawl<'a> {
        Crawl {
            api,
            config,
            sink,
            quarantine: Quarantine::new(vendor::NAME),
            seen: Seen::default(),
            forbidden: 0,
            readable: 0,
            unsure: Unsure::default(),
        }
    }

    /// Hands over a page of users; how many it has.
    pub fn users(&mut self, page: Vec<Value>) -> Result<u64, PullError> {
        let count = page.len() as u64;
        let mut items = Vec::with_capacity(page.len());
        for object in page {
            items.extend(self.user(object)?.map(Item::User));
        }
        items.extend(self.quarantine.take_kept());
        self.sink.page(items);
        Ok(count)
    }

    /// Decodes a user; `None` when it is malformed and its last record stands.
    fn user(&mut self, object: Value) -> Result<Option<UserItem>, PullError> {
        let (known, raw) = (map::user_reference(&object), map::raw(self.config, &object));
        if let Some(id) = map::id_of(&object) {
            self.seen.insert(id);
        }
        let item = match self.quarantine.decode::<OktaUser>(object, map::user_reference)? {
            None => None,
            Some(user) => match map::user(self.config, user, raw) {
                Ok(item) => Some(item),
                Err(reason) => self.quarantine.keep(known.clone(), &reason).map(|()| None)?,
            },
        };
        if let (None, Some(Reference::User(id))) = (&item, &known) {
            self.unsure.user(id);
        }
        Ok(item)
    }

    /// Decodes a group; `None` when it is malformed, or of a type that is not
    /// wanted.
    pub fn group(&mut self, object: Value) -> Result<Option<Listed>, PullError> {
        let (known, raw) = (map::group_reference(&object), map::raw(self.config, &object));
        let Some(group) = self.quarantine.decode::<OktaGroup>(object, map::group_reference)? else {
            self.doubt_group(known.as_ref());
            return Ok(None);
        };
        if !self.config.wants_type(&group.kind) {
            return Ok(None);
        }
        let (is_everyone, stamp) = (group.is_everyone(), group.stamp());
        let changed_at = group.changed_at();
        match map::group(self.config, group, raw) {
            Ok(item) => Ok(Some(Listed { item, is_everyone, stamp, changed_at })),
            Err(reason) => {
                self.doubt_group(known.as_ref());
                self.quarantine.keep(known, &reason).map(|()| None)
            }
        }
    }

    fn doubt_group(&mut self, known: Option<&Reference>) {
        if let Some(Reference::Group(id)) = known {
            self.unsure.group(id);
        }
    }

    /// Decodes a page of groups and tells the sink of progress.
    pub fn groups(&mut self, page: Vec<Value>) -> Result<Vec<Listed>, PullError> {
        let mut listed = Vec::with_capacity(page.len());
        for object in page {
            listed.extend(self.group(object)?);
        }
        let kept = self.quarantine.take_kept();
        self.sink.page(kept);
        Ok(listed)
    }

    /// Hands over the group of all users: each user's record says that it
    /// belongs there, so the list itself stays empty.
    pub fn everyone(&mut self, item: GroupItem) {
        let group = Reference::Group(item.group.id.clone());
        self.sink.page(vec![Item::Group(item), Item::Members { group, members: Vec::new() }]);
    }

    /// Reads the members of all groups that are `left`, page by page and many
    /// at once. In `left` stay those that are closed to us, and on an error
    /// those that are not done: whoever goes on asks for them again.
    ///
    /// `done` is told after each group.
    pub async fn members(
        &mut self,
        left: &mut Left,
        strangers: Strangers,
        mut done: impl FnMut(&mut dyn Sink, &Left, u64),
    ) -> Result<(), PullError> {
        let (api, ids) = (self.api, left.keys().cloned().collect::<Vec<_>>());
        let mut waiting = ids.into_iter();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < api.at_once
                && let Some(id) = waiting.next()
            {
                running.push(Reading::new(api, id).next(api));
            }
            let Some(read) = running.next().await else { return Ok(()) };
            let mut reading = read?;
            if let Some(page) = reading.page.take() {
                self.members_page(&page, &mut reading.members, strangers)?;
            }
            match reading.end.take() {
                None => running.push(reading.next(api)),
                Some(end) => {
                    self.end_of_group(left, reading, end);
                    done(self.sink, left, self.readable);
                }
            }
        }
    }

    fn members_page(
        &mut self,
        page: &Answer,
        members: &mut Vec<Reference>,
        strangers: Strangers,
    ) -> Result<(), PullError> {
        let before = members.len();
        for member in page.json::<Vec<Member>>()? {
            let Some(id) = member.id.filter(|id| !id.is_empty()) else {
                return Err(PullError::Incomplete {
                    what: "the members of a group".to_owned(),
                    reason: "one of them has no id".to_owned(),
                });
            };
            members.push(Reference::User(id));
        }
        let mut items = Vec::new();
        let seen = |member: &Reference| match member {
            Reference::User(id) => self.seen.contains(id),
            _ => false,
        };
        if strangers == Strangers::HandOver && !members.iter().skip(before).all(seen) {
            for object in page.json::<Vec<Value>>()? {
                if !map::id_of(&object).is_some_and(|id| self.seen.contains(id)) {
                    items.extend(self.user(object)?.map(Item::User));
                }
            }
        }
        items.extend(self.quarantine.take_kept());
        self.sink.page(items);
        Ok(())
    }

    fn end_of_group(&mut self, left: &mut Left, reading: Reading, end: End) {
        let Reading { id, members, .. } = reading;
        let group = Reference::Group(id.clone());
        let items = match end {
            End::Complete => {
                self.readable += 1;
                let item = left.remove(&id).flatten();
                let mut items: Vec<Item> = item.map(Item::Group).into_iter().collect();
                items.push(Item::Members { group, members });
                items
            }
            End::Forbidden(reason) => {
                self.forbidden += 1;
                self.doubt_group(Some(&group));
                warn!(?group, reason, "a group's members may not be read; the last ones stand");
                vec![Item::Kept(group)]
            }
            End::Gone => {
                left.remove(&id);
                vec![Item::GroupDeleted(group)]
            }
        };
        self.sink.page(items);
    }
}

impl Reading {
    fn new(api: &Api, id: String) -> Reading {
        let walk = api.members(&id);
        Reading { id, walk, members: Vec::new(), page: None, end: None }
    }

    async fn next(mut self, api: &Api) -> Result<Reading, PullError> {
        match self.walk.next_if_allowed(api).await {
            Ok(Some(Read::Page(page))) => {
                self.page = Some(page);
                if self.walk.place().is_none() {
                    self.end = Some(End::Complete);
                }
            }
            Ok(None) => self.end = Some(End::Complete),
            Ok(Some(Read::Refused(answer))) => self.end = Some(self.refused(api, &answer).await?),
            // Another list, read from its beginning, would be no better.
            Err(PullError::CursorExpired { reason }) => {
                let what = format!("the members of the group {}", self.id);
                return Err(PullError::Incomplete { what, reason });
            }
            Err(error) => return Err(error),
        }
        Ok(self)
    }

    async fn refused(&self, api: &Api, answer: &Answer) -> Result<End, PullError> {
        if answer.status == StatusCode::FORBIDDEN {
            return Ok(End::Forbidden(vendor::told(answer)));
        }
        api::proof_of_absence(answer)?;
        match api.group(&self.id).await? {
            Found::Gone => Ok(End::Gone),
            Found::Hidden => Ok(End::Forbidden(vendor::told(answer))),
            Found::Here(_) => Err(PullError::Incomplete {
                what: format!("the group {}", self.id),
                reason: "it is there, but its members are not".to_owned(),
            }),
        }
    }
}
