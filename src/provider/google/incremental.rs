//! An incremental crawl: what the audit feed speaks of, and a slice of the rest.

use std::collections::BTreeSet;

use serde_json::Value;
use tracing::warn;

use super::api::{Api, Found, Listed};
use super::bookmark::Bookmark;
use super::everybody::{self, Everybody};
use super::feed::{self, Event, Feed};
use super::full::Judged;
use super::map::{self, ReadGroup};
use super::members::{self, KnownGroup, Members, Reading};
use super::rolling::Pending;
use super::touched::{Last, Touch, Touched};
use super::{Google, full};
use crate::clock::{self, Duration, Timestamp};
use crate::model::Reference;
use crate::provider::http::{Quarantine, in_parallel};
use crate::provider::{Cursor, Extent, Item, PullError, Seal, Sink};

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
    malformed: u64,
}

/// What reading a touched group came to.
#[derive(Default)]
struct Reread {
    name: String,
    gone: Vec<Reference>,
    object: Option<Value>,
    list: Option<(String, Reading)>,
    /// Addresses that left, by the feed.
    left: Vec<String>,
    /// The effect of every event shows.
    shows: bool,
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
        let api = self.google.api.clone();
        let at_once = self.google.config.http.parallel_requests_max;
        let mut read: Vec<(String, Touch, Option<Value>)> = Vec::new();
        let work = |(email, touch): (&String, &Touch)| {
            let api = &api;
            let (email, touch) = (email.clone(), touch.clone());
            async move { Ok((api.user(&email).await?, email, touch)) }
        };
        in_parallel(&touched.users, at_once, work, |(found, email, touch)| {
            sink.page(Vec::new());
            // Nothing is known of whom Google does not show.
            if found != Found::Closed {
                self.handed_over.insert(email.clone());
                read.push((email, touch, found.object()));
            }
        })
        .await?;
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
        let api = self.google.api.clone();
        let at_once = self.google.config.http.parallel_requests_max;
        let inputs: Vec<(String, Touch, Option<KnownGroup>)> = touched
            .groups
            .iter()
            .map(|(name, touch)| (name.clone(), touch.clone(), self.known(name)))
            .collect();
        let work = |(name, touch, known): (String, Touch, Option<KnownGroup>)| {
            let api = &api;
            async move { reread(api, name, &touch, known).await }
        };
        let mut rereads = Vec::new();
        in_parallel(inputs, at_once, work, |reread| {
            sink.page(Vec::new());
            rereads.push(reread);
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

    /// Reads the slice that is due.
    async fn verify(&mut self, sink: &mut dyn Sink) -> Result<(), PullError> {
        let within = self.google.config.http.verify_within;
        let mut due = self.bookmark.rolling.due(self.now, within);
        while due > 0 {
            let spent = match self.bookmark.rolling.in_groups {
                false => self.verify_users(sink).await?,
                true => self.verify_groups(due, sink).await?,
            };
            self.bookmark.rolling.spent(spent);
            due = due.saturating_sub(spent);
        }
        Ok(())
    }

    async fn verify_users(&mut self, sink: &mut dyn Sink) -> Result<u64, PullError> {
        let rolling = &self.bookmark.rolling;
        let listed = self.google.api.users(rolling.part, rolling.page.as_deref()).await?;
        let page = match listed {
            Listed::Page(page) => page,
            Listed::Expired(_) => {
                self.bookmark.rolling.page = None;
                return Ok(1);
            }
            Listed::Missing => return Err(everybody::nobody()),
        };
        let mut items = Vec::new();
        for object in &page.objects {
            if !self.was_handed_over(object) {
                self.take_user(object, &mut items)?;
            }
        }
        self.counts.verified_users += page.objects.len() as u64;
        sink.page(items);
        self.bookmark.rolling.turn(page.next, self.google.api.parts());
        Ok(1)
    }

    fn was_handed_over(&self, user: &Value) -> bool {
        let email = user.get("primaryEmail").and_then(Value::as_str).map(str::to_lowercase);
        let names = map::id_of(user).into_iter().chain(email);
        names.into_iter().any(|name| self.handed_over.contains(&name))
    }

    async fn verify_groups(&mut self, due: u64, sink: &mut dyn Sink) -> Result<u64, PullError> {
        let rolling = &self.bookmark.rolling;
        let (part, page) = (rolling.part, rolling.page.clone());
        let pending = self.pending.take();
        let Some(mut pending) = pending.filter(|it| (it.part, &it.page) == (part, &page)) else {
            return self.list_groups(part, page, sink).await;
        };
        let amount = pending.groups.len().min(usize::try_from(due).unwrap_or(usize::MAX));
        let slice = pending.groups.split_off(pending.groups.len() - amount);
        let api = self.google.api.clone();
        let at_once = self.google.config.http.parallel_requests_max;
        let work = |id: String| {
            let api = &api;
            let known = KnownGroup { id: id.clone(), count: None };
            async move { reread(api, id, &Touch::again(), Some(known)).await }
        };
        let mut outcome = Ok(());
        in_parallel(slice, at_once, work, |reread| match self.take_reread(reread) {
            Ok(items) => sink.page(items),
            Err(error) => outcome = Err(error),
        })
        .await?;
        outcome?;
        self.counts.verified_groups += amount as u64;
        if pending.groups.is_empty() {
            self.bookmark.rolling.turn(pending.next, self.google.api.parts());
        } else {
            self.pending = Some(pending);
        }
        Ok(amount.max(1) as u64)
    }

    /// Lists the page of groups that is read next.
    async fn list_groups(
        &mut self,
        part: usize,
        page: Option<String>,
        sink: &mut dyn Sink,
    ) -> Result<u64, PullError> {
        let listed = match self.google.api.groups(part, page.as_deref()).await? {
            Listed::Page(listed) => listed,
            Listed::Expired(_) | Listed::Missing => {
                self.bookmark.rolling.page = None;
                return Ok(1);
            }
        };
        let mut items = Vec::new();
        let mut groups = Vec::new();
        for object in &listed.objects {
            let group = self.take_group(object, &mut items)?;
            groups.extend(group.map(|group| group.item.group.id));
        }
        sink.page(items);
        if groups.is_empty() {
            self.bookmark.rolling.turn(listed.next, self.google.api.parts());
        } else {
            let cursor = Cursor(Vec::new());
            self.pending = Some(Pending { cursor, part, page, next: listed.next, groups });
        }
        Ok(1)
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
            proof: format!(
                "the audit feed was read to its end: {} new events named {} users and groups, each \
                 read again; {} users and {} groups were verified in turn (round {}); {} groups list \
                 fewer members than they count",
                counts.events,
                counts.touched,
                counts.verified_users,
                counts.verified_groups,
                self.bookmark.rolling.rounds + 1,
                self.google.shortages.len(),
            ),
            requests: self.google.api.take_audit(),
            malformed: counts.malformed,
        }
    }
}

/// Reads a group that the feed named: by its id where only its members
/// changed, else by the name, since another group may have that by now.
async fn reread(
    api: &Api,
    name: String,
    touch: &Touch,
    known: Option<KnownGroup>,
) -> Result<Reread, PullError> {
    let left = touch.left().cloned().collect();
    let mut reread = Reread { name, shows: true, left, ..Reread::default() };
    if let Some(known) = known.as_ref().filter(|_| !touch.object) {
        let count = known.count.map(|count| count.saturating_sub(reread.left.len() as u64));
        match members::read(api, &known.id, count).await? {
            Reading::Gone => reread.gone.push(Reference::Group(known.id.clone())),
            reading => {
                reread.shows = shows(touch, &reading);
                reread.list = Some((known.id.clone(), reading));
                return Ok(reread);
            }
        }
    }
    let found = api.group(&reread.name).await?;
    if found == Found::Closed {
        return Ok(reread);
    }
    let object = found.object();
    let id = object.as_ref().and_then(map::id_of);
    if touch.deleted && id.is_none() {
        reread.gone.push(named(&reread.name));
    }
    // The object itself says that it is gone.
    if let Some(known) = known.filter(|known| Some(&known.id) != id.as_ref())
        && reread.gone.is_empty()
        && (known.id == reread.name || api.group(&known.id).await? == Found::Missing)
    {
        reread.gone.push(Reference::Group(known.id));
    }
    if touch.deleted && id.is_some() && reread.gone.is_empty() {
        reread.gone.push(named(&reread.name));
    }
    reread.shows = match touch.last {
        Some(Last::Created) => id.is_some(),
        Some(Last::Deleted) => id.is_none(),
        None => true,
    };
    if let (Some(id), Some(object)) = (id, object) {
        let reading = members::read(api, &id, map::count_of(&object)).await?;
        reread.shows &= shows(touch, &reading);
        reread.list = Some((id, reading));
        reread.object = Some(object);
    }
    Ok(reread)
}

/// Many groups at once that make no sense are an outage: the next poll reads
/// them. Those that were odd before, and are tried again, do not count.
fn check_odd(touched: &Touched, rereads: &[Reread]) -> Result<(), PullError> {
    let is_told = |reread: &&Reread| {
        touched.groups.get(&reread.name).is_some_and(|touch| !touch.events.is_empty())
    };
    let is_odd = |reread: &&Reread| {
        matches!(&reread.list, Some((_, Reading::Kept { is_forbidden: false, .. })))
    };
    let told = rereads.iter().filter(is_told).count() as u64;
    let odd = rereads.iter().filter(is_told).filter(is_odd).count() as u64;
    if members::too_many(odd, told.max(odd + 1)) { Err(members::outage(odd, told)) } else { Ok(()) }
}

/// Whom the feed means by the name of a group.
fn named(name: &str) -> Reference {
    match name.contains('@') {
        true => Reference::Alias(map::mail_alias(name)),
        false => Reference::Group(name.to_owned()),
    }
}

/// A short list removes nobody, but those are gone whom it lacks and of whom
/// the feed says that they left.
fn departed(group: &str, members: &Members, left: &[String]) -> Option<Item> {
    let gone = left.iter().filter(|email| email.contains('@') && !members.has(email));
    let members: Vec<Reference> =
        gone.map(|email| Reference::Alias(map::mail_alias(email))).collect();
    let group = Reference::Group(group.to_owned());
    (!members.is_empty()).then_some(Item::MembersRemoved { group, members })
}

/// Whether the list is what the feed says it should be.
fn shows(touch: &Touch, reading: &Reading) -> bool {
    match reading {
        Reading::Whole(members) => {
            touch.expected.iter().all(|(email, joined)| members.has(email) == *joined)
        }
        Reading::Short { .. } | Reading::Kept { .. } => false,
        Reading::Gone => true,
    }
}

fn is_deleted(user: &Value) -> bool {
    user.get("deletionTime").and_then(Value::as_str).is_some_and(|time| !time.is_empty())
}
