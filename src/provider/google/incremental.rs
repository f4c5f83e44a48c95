//! An incremental crawl: what the audit feed speaks of, and a slice of the rest.

mod reread;
mod verify;

use std::collections::BTreeSet;
use std::future::Future;

use serde_json::Value;
use tracing::warn;

use self::reread::{Reread, check_odd, departed, reread};
use super::api::{Api, Found};
use super::bookmark::Bookmark;
use super::everybody::Everybody;
use super::feed::{self, Event, Feed};
use super::judged::Judged;
use super::map::{self, ReadGroup};
use super::members::{KnownGroup, Reading};
use super::rolling::Pending;
use super::touched::{Touch, Touched};
use super::{Google, full};
use crate::clock::{self, Duration, Timestamp};
use crate::model::Reference;
use crate::provider::http::{Quarantine, in_parallel};
use crate::provider::{Cursor, Extent, Item, Proof, PullError, Seal, Sink, Verified};

/// What was changed shows a little later, on all of Google's computers. So
/// long an event whose effect does not show is looked at again.
const SHOWS_WITHIN: Duration = Duration::from_mins(15);

/// Reads what changed since `cursor`; everything, when the feed is closed.
///
/// # Errors
/// Any doubt that what was read is whole.
pub async fn run(
    google: &mut Google,
    cursor: &Cursor,
    sink: &mut dyn Sink,
) -> Result<Seal, PullError> {
    let now = clock::now();
    let pending = google.pending.take().filter(|pending| pending.cursor == *cursor);
    let mut bookmark = Bookmark::read(&cursor.0)?;
    bookmark.check_age(now)?;
    match feed::read(&google.api, &mut bookmark, sink).await? {
        Feed::Events(events) => {
            google.feed_refused = None;
            let events = bookmark.fresh(events);
            let mut crawl = Incremental {
                google,
                bookmark,
                now,
                quarantine: Quarantine::new("google"),
                counts: Counts::default(),
                pending,
                handed_over: BTreeSet::new(),
                joined: Vec::new(),
                open: Vec::new(),
            };
            crawl.read(&events, sink).await
        }
        Feed::Closed(reason) => {
            warn!(reason, "the audit feed is closed to us; every poll reads everything");
            google.feed_refused = Some(now);
            full::run(google, sink).await
        }
    }
}

struct Incremental<'a> {
    google: &'a mut Google,
    bookmark: Bookmark,
    now: Timestamp,
    quarantine: Quarantine,
    counts: Counts,
    /// Groups of the page that is being read again.
    pending: Option<Pending>,
    /// Addresses and ids of users that the feed named: what a list that may be
    /// older says of them does not count.
    handed_over: BTreeSet<String>,
    /// Users that were handed over: members of whatever holds everybody.
    joined: Vec<Reference>,
    /// Groups that hold everybody, and whose other members were read.
    open: Vec<(String, Judged)>,
}

#[derive(Default)]
struct Counts {
    events: usize,
    touched: usize,
    verified_users: u64,
    verified_groups: u64,
    verifying_requests: u64,
    malformed: u64,
}

impl Incremental<'_> {
    async fn read(&mut self, events: &[Event], sink: &mut dyn Sink) -> Result<Seal, PullError> {
        let mut touched = Touched::by(events);
        self.counts.events = events.len();
        self.counts.touched = touched.users.len() + touched.groups.len();
        let (users, groups) = self.bookmark.again.next();
        touched.users.extend(users.into_iter().map(|id| (id, Touch::again())));
        touched.groups.extend(groups.into_iter().map(|id| (id, Touch::again())));
        let mut unsettled = BTreeSet::new();
        self.read_users(&touched, &mut unsettled, sink).await?;
        self.read_groups(&touched, &mut unsettled, sink).await?;
        self.verify(sink).await?;
        self.close_open(sink).await?;
        let acted_on = events.iter().enumerate().filter(|(place, _)| !unsettled.contains(place));
        self.bookmark.advance(acted_on.map(|(_, event)| event), self.now);
        Ok(self.seal())
    }

    async fn read_users(
        &mut self,
        touched: &Touched,
        unsettled: &mut BTreeSet<usize>,
        sink: &mut dyn Sink,
    ) -> Result<(), PullError> {
        let users = touched.users.clone();
        let all = self.gather(users, sink, |api, (email, touch)| async move {
            Ok((api.user(&email).await?, email, touch))
        });
        let mut read: Vec<(String, Touch, Option<Value>)> = Vec::new();
        for (found, email, touch) in all.await? {
            // Nothing is known of whom Google does not show.
            if found != Found::Closed {
                self.handed_over.insert(email.clone());
                read.push((email, touch, found.object()));
            }
        }
        // Deletions first: whoever has the address now is handed over after.
        let mut items = Vec::new();
        for (email, touch, object) in &read {
            let object = object.as_ref().filter(|object| !is_deleted(object));
            let is_there = object.is_some();
            if touch.deleted {
                items.push(Item::UserDeleted(Reference::Alias(map::mail_alias(email))));
            }
            if !is_there && !email.contains('@') {
                items.push(Item::UserDeleted(Reference::User(email.clone())));
            }
            self.settle(touch, touch.shows_user(object), unsettled);
        }
        for object in read.into_iter().filter_map(|(_, _, object)| object) {
            self.handed_over.extend(map::id_of(&object));
            self.take_user(&object, &mut items)?;
        }
        sink.page(items);
        Ok(())
    }

    fn take_user(&mut self, object: &Value, items: &mut Vec<Item>) -> Result<(), PullError> {
        let read = map::user(object, &self.google.config, &mut self.quarantine)?;
        items.extend(self.take_malformed());
        let Some(read) = read else { return Ok(()) };
        let reference = Reference::User(read.item.user.id.clone());
        if read.is_deleted || !self.google.config.covers(&read.item.user.username) {
            items.push(Item::UserDeleted(reference));
            return Ok(());
        }
        self.joined.push(reference);
        items.push(Item::User(read.item));
        Ok(())
    }

    async fn read_groups(
        &mut self,
        touched: &Touched,
        unsettled: &mut BTreeSet<usize>,
        sink: &mut dyn Sink,
    ) -> Result<(), PullError> {
        let groups: Vec<(String, Touch, Option<KnownGroup>)> = touched
            .groups
            .iter()
            .map(|(name, touch)| (name.clone(), touch.clone(), self.known(name)))
            .collect();
        let rereads = self
            .gather(groups, sink, |api, (name, touch, known)| async move {
                reread(&api, name, &touch, known).await
            })
            .await?;
        check_odd(touched, &rereads)?;
        let gone = rereads.iter().flat_map(|reread| reread.gone.iter().cloned());
        sink.page(gone.map(Item::GroupDeleted).collect());
        for reread in rereads {
            if let Some(touch) = touched.groups.get(&reread.name) {
                self.settle(touch, reread.shows, unsettled);
            }
            let items = self.take_reread(reread)?;
            sink.page(items);
        }
        Ok(())
    }

    /// Reads many things in parallel.
    async fn gather<I, T, F: Future<Output = Result<T, PullError>>>(
        &self,
        inputs: impl IntoIterator<Item = I>,
        sink: &mut dyn Sink,
        read: impl Fn(Api, I) -> F,
    ) -> Result<Vec<T>, PullError> {
        let api = &self.google.api;
        let at_once = self.google.config.http.parallel_requests_max;
        let mut all = Vec::new();
        let work = |input| read(api.clone(), input);
        in_parallel(inputs, at_once, work, |one| {
            sink.page(Vec::new());
            all.push(one);
        })
        .await?;
        Ok(all)
    }

    fn known(&self, name: &str) -> Option<KnownGroup> {
        match name.contains('@') {
            true => self.google.known.get(name).cloned(),
            false => Some(KnownGroup { id: name.to_owned(), count: None }),
        }
    }

    fn take_reread(&mut self, reread: Reread) -> Result<Vec<Item>, PullError> {
        let mut items = Vec::new();
        if reread.object.is_none() && !reread.gone.is_empty() {
            self.google.known.forget(&reread.name);
        }
        if let Some(object) = &reread.object {
            let Some(group) = self.take_group(object, &mut items)? else { return Ok(items) };
            if !self.google.config.covers(&group.email) {
                let id = Reference::Group(group.item.group.id);
                return Ok(vec![Item::GroupDeleted(id)]);
            }
            items.push(Item::Group(group.item));
        }
        if let Some((group, reading)) = reread.list {
            if let Reading::Whole(members) = &reading {
                self.google.known.count(&reread.name, members.len());
            }
            self.take_list(group, reading, &reread.left, &mut items);
        }
        Ok(items)
    }

    fn take_group(
        &mut self,
        object: &Value,
        items: &mut Vec<Item>,
    ) -> Result<Option<ReadGroup>, PullError> {
        let group = map::group(object, &self.google.config, &mut self.quarantine)?;
        items.extend(self.take_malformed());
        if let Some(group) = &group {
            self.google.known.learn(&group.email, &group.item.group.id, group.count);
        }
        Ok(group)
    }

    fn take_list(
        &mut self,
        group: String,
        reading: Reading,
        left: &[String],
        items: &mut Vec<Item>,
    ) {
        let judged = self.google.judge(&group, reading);
        let customer = self.bookmark.customer.clone();
        match &judged {
            Judged::List(members) if members.holds_everybody(customer.as_deref()) => {
                // Its complete list comes at the end; a new group needs one at once.
                items.push(Item::MembersAdded {
                    group: Reference::Group(group.clone()),
                    members: Vec::new(),
                });
                self.open.push((group, judged));
                return;
            }
            Judged::List(_) | Judged::Gone => {
                self.bookmark.everybody.remove(&group);
            }
            Judged::Kept { .. } => self.counts.malformed += 1,
            Judged::Short(_) => {}
        }
        let handed_over = self.google.items(&group, &judged, customer.as_deref());
        self.bookmark.again.note(&handed_over);
        items.extend(handed_over);
        if let Judged::Short(members) = &judged {
            items.extend(departed(&group, members, left));
        }
    }

    fn take_malformed(&mut self) -> Vec<Item> {
        let kept = self.quarantine.take_kept();
        self.counts.malformed += kept.len() as u64;
        self.bookmark.again.note(&kept);
        kept
    }

    /// Everybody: the lists of groups that were read, and whoever is new.
    async fn close_open(&mut self, sink: &mut dyn Sink) -> Result<(), PullError> {
        let customer = self.bookmark.customer.clone();
        if !self.open.is_empty() {
            let everybody = Everybody::list(&self.google.api, sink).await?;
            for (group, judged) in std::mem::take(&mut self.open) {
                let mut items = self.google.items(&group, &judged, customer.as_deref());
                if let Some(Item::Members { members, .. }) = items.first_mut() {
                    members.extend(everybody.references());
                }
                sink.page(items);
                self.bookmark.everybody.insert(group);
            }
        }
        if !self.joined.is_empty() {
            let join = |group: &String| Item::MembersAdded {
                group: Reference::Group(group.clone()),
                members: self.joined.clone(),
            };
            sink.page(self.bookmark.everybody.iter().map(join).collect());
        }
        Ok(())
    }

    /// Events whose effect does not show yet are not done with.
    fn settle(&self, touch: &Touch, shows: bool, unsettled: &mut BTreeSet<usize>) {
        if !shows && self.now < touch.newest.plus(SHOWS_WITHIN) {
            unsettled.extend(&touch.events);
        }
    }

    fn seal(&mut self) -> Seal {
        let cursor = Cursor(self.bookmark.token());
        let pending = self.pending.take();
        self.google.pending = pending.map(|it| Pending { cursor: cursor.clone(), ..it });
        let counts = &self.counts;
        Seal {
            extent: Extent::Changes,
            cursor: Some(cursor),
            proof: Proof::from(format!(
                "the audit feed was read to its end: {} new events named {} users and groups, each \
                 read again; {} users and {} groups were verified in turn (round {}); {} groups list \
                 fewer members than they count",
                counts.events,
                counts.touched,
                counts.verified_users,
                counts.verified_groups,
                self.bookmark.rolling.rounds + 1,
                self.google.shortages.len(),
            )),
            verified: Verified {
                users: counts.verified_users,
                groups: counts.verified_groups,
                requests: counts.verifying_requests,
            },
            requests: self.google.api.take_audit(),
            malformed: counts.malformed,
        }
    }
}

fn is_deleted(user: &Value) -> bool {
    user.get("deletionTime").and_then(Value::as_str).is_some_and(|time| !time.is_empty())
}
