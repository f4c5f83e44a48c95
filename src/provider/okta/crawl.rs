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
use super::shortage::{Shortages, users_count};
use super::vendor;
use super::walk::{Read, Walk};
use crate::clock::Timestamp;
use crate::model::Reference;
use crate::provider::http::{Answer, Quarantine};
use crate::provider::{GroupItem, Item, PullError, Sink, UserItem, Verified};

/// One crawl under way.
pub struct Crawl<'a> {
    pub api: &'a Api,
    pub config: &'a OktaConfig,
    pub sink: &'a mut dyn Sink,
    /// What is known from before of lists that are too short.
    pub shortages: &'a mut Shortages,
    pub quarantine: Quarantine,
    /// Users that were handed over.
    pub seen: Seen,
    /// Groups whose members may not be read.
    pub forbidden: u64,
    /// Groups whose members were read.
    pub readable: u64,
    /// Groups whose lists are not believed, since they are too short.
    pub short: u64,
    /// How many users Okta says that Everyone has, where it is visible.
    pub everyone: Option<(String, u64)>,
    /// What is to be asked for again.
    pub unsure: Unsure,
    /// What was read again although no feed named it.
    pub verified: Verified,
}

/// Ids by their hash: a few bytes each.
#[derive(Clone, Debug, Default)]
pub struct Seen(HashSet<u64>, foldhash::fast::RandomState);

impl Seen {
    /// Whether it is new.
    pub fn insert(&mut self, id: &str) -> bool {
        self.0.insert(self.1.hash_one(id))
    }

    pub fn len(&self) -> u64 {
        self.0.len() as u64
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
    pub changed_at: Option<Timestamp>,
    /// How many users are in it.
    pub count: Option<u64>,
}

/// What to do with members who were not handed over before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Strangers {
    /// The listing of users lacks them: hand them over.
    HandOver,
    /// They are known from before, or will come with their own change.
    Leave,
}

/// The groups whose members are still to be read.
pub type Left = BTreeMap<String, Wanted>;

/// A group whose members are to be read.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Its own record, where that is to be handed over as well.
    pub item: Option<GroupItem>,
    /// How many users should be in it, where that is known.
    pub count: Option<u64>,
    /// No feed named it: it is read again to see whether that is right.
    pub only_verified: bool,
}

/// So many groups are counted again in one crawl: a member may have left since
/// the first count.
const RECOUNTS_MAX: u64 = 200;

/// Of one group, while its pages are read.
struct Reading {
    id: String,
    walk: Walk,
    members: Vec<Reference>,
    count: Option<u64>,
    /// Whether it is to be counted again.
    recount: bool,
    /// By Okta's clock.
    now: Timestamp,
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
    pub fn new(
        api: &'a Api,
        config: &'a OktaConfig,
        sink: &'a mut dyn Sink,
        shortages: &'a mut Shortages,
    ) -> Crawl<'a> {
        Crawl {
            api,
            config,
            sink,
            shortages,
            quarantine: Quarantine::new(vendor::NAME),
            seen: Seen::default(),
            forbidden: 0,
            readable: 0,
            short: 0,
            everyone: None,
            unsure: Unsure::default(),
            verified: Verified::default(),
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
        let count = users_count(&object);
        let Some(group) = self.quarantine.decode::<OktaGroup>(object, map::group_reference)? else {
            self.doubt_group(known.as_ref());
            return Ok(None);
        };
        if let (true, Some(count)) = (group.is_everyone(), count) {
            self.everyone = Some((group.id.clone(), count));
        }
        if !self.config.wants_type(&group.kind) {
            return Ok(None);
        }
        let (is_everyone, stamp) = (group.is_everyone(), group.stamp());
        let changed_at = group.changed_at();
        match map::group(self.config, group, raw) {
            Ok(item) => Ok(Some(Listed { item, is_everyone, stamp, changed_at, count })),
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
        let api = self.api;
        let counted = |(id, wanted): (&String, &Wanted)| (id.clone(), wanted.count);
        let mut waiting = left.iter().map(counted).collect::<Vec<_>>().into_iter();
        let mut recounts = 0;
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < api.at_once
                && let Some((id, count)) = waiting.next()
            {
                running.push(Reading::new(api, id, count).next(api));
            }
            let Some(read) = running.next().await else { return Ok(()) };
            let mut reading = read?;
            if let Some(page) = reading.page.take() {
                reading.now = vendor::server_time(&page);
                self.members_page(&page, &mut reading.members, strangers)?;
            }
            match reading.end.take() {
                None => running.push(reading.next(api)),
                // A group that only the log names was not counted yet.
                Some(End::Complete)
                    if (reading.missing() > 0
                        || (reading.count.is_none() && strangers == Strangers::Leave))
                        && !reading.recount
                        && recounts < RECOUNTS_MAX =>
                {
                    recounts += 1;
                    reading.recount = true;
                    running.push(reading.next(api));
                }
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

    /// Whether the list is too short to be believed.
    fn is_short(&mut self, reading: &Reading) -> bool {
        let missing = reading.missing();
        if missing == 0 {
            self.shortages.clear(&reading.id);
            return false;
        }
        let enough = self.config.http.verify_within;
        if self.shortages.note(&reading.id, missing, reading.now, enough) {
            return false;
        }
        self.short += 1;
        let group = &reading.id;
        warn!(group, missing, "a group lists fewer members than it has; it loses none for now");
        true
    }

    fn end_of_group(&mut self, left: &mut Left, reading: Reading, end: End) {
        let is_short = matches!(end, End::Complete) && self.is_short(&reading);
        let Reading { id, members, .. } = reading;
        let only_verified = left.get(&id).is_some_and(|wanted| wanted.only_verified);
        let group = Reference::Group(id.clone());
        let items = match end {
            End::Complete => {
                self.readable += 1;
                let item = left.remove(&id).and_then(|wanted| wanted.item);
                let mut items: Vec<Item> = item.map(Item::Group).into_iter().collect();
                if is_short {
                    self.doubt_group(Some(&group));
                    items.push(Item::Kept(group.clone()));
                    items.push(Item::MembersAdded { group, members });
                } else {
                    items.push(Item::Members { group, members });
                }
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
                self.shortages.clear(&id);
                vec![Item::GroupDeleted(group)]
            }
        };
        self.sink.verifying(only_verified);
        self.sink.page(items);
        self.sink.verifying(false);
    }
}

impl Reading {
    fn new(api: &Api, id: String, count: Option<u64>) -> Reading {
        let (walk, members) = (api.members(&id), Vec::new());
        let now = Timestamp::default();
        Reading { id, walk, members, count, recount: false, now, page: None, end: None }
    }

    /// How many more members are counted than were listed.
    fn missing(&self) -> u64 {
        self.count.map_or(0, |count| count.saturating_sub(self.members.len() as u64))
    }

    async fn next(mut self, api: &Api) -> Result<Reading, PullError> {
        if self.recount {
            let fresh = api.users_count(&self.id).await?.map(|(count, _)| count);
            // One that cannot be had again leaves the first one standing.
            self.count = match (self.count, fresh) {
                (Some(count), Some(fresh)) => Some(count.min(fresh)),
                (count, fresh) => count.or(fresh),
            };
            self.end = Some(End::Complete);
            return Ok(self);
        }
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
