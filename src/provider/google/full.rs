//! A full crawl: users, groups, and the members of each group in parallel.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use super::Google;
use super::api::{Found, Listed};
use super::bookmark::Bookmark;
use super::everybody::{self, Everybody};
use super::map::{self, ReadUser, Who};
use super::members::{self, Members, Reading};
use super::progress::{Phase, Progress};
use super::vendor;
use crate::clock::{self, Duration, Timestamp};
use crate::model::Reference;
use crate::provider::http::{Cursors, Quarantine, in_parallel};
use crate::provider::{Cursor, Extent, Item, PullError, Seal, Sink};

/// Between checkpoints in the members phase, and in the groups phase.
const GROUPS_AT_ONCE: usize = 500;
const GROUP_PAGES_A_CHECKPOINT: u32 = 10;
/// So often a listing starts over when its page token expires.
const RESTARTS_MAX: u32 = 2;
/// A feed that was closed to us is tried again after this.
const FEED_RETRY: Duration = Duration::from_hours(1);
/// So many members that no list of users names are looked at.
const SUSPECTS_MAX: usize = 100;

/// Reads everything.
///
/// # Errors
/// Any doubt that it was everything.
pub async fn run(google: &mut Google, sink: &mut dyn Sink) -> Result<Seal, PullError> {
    Full::new(google, Progress::new(clock::now()), false).go(sink).await
}

/// Goes on where an earlier crawl ended.
///
/// # Errors
/// As [`run`]; [`PullError::CursorExpired`] when the token is of no use.
pub async fn resume(
    google: &mut Google,
    token: &[u8],
    sink: &mut dyn Sink,
) -> Result<Seal, PullError> {
    let progress = Progress::read(token)?;
    Full::new(google, progress, true).go(sink).await
}

struct Full<'a> {
    google: &'a mut Google,
    progress: Progress,
    quarantine: Quarantine,
    /// All users: when this very crawl listed them from the start, or listed
    /// them again before it went on with the members.
    everybody: Option<Everybody>,
    /// Groups that are read, and wait for the list of everybody.
    open: Vec<(String, Members)>,
    /// Groups whose answers made no sense, with their counts.
    odd: BTreeMap<String, Option<u64>>,
    /// All groups, when this very crawl listed them from the start.
    listed: Option<Everybody>,
    /// Members of our own domains whom the list of users did not name.
    suspects: BTreeMap<String, String>,
    /// Groups in groups that the list of groups did not name.
    suspect_groups: BTreeSet<String>,
}

impl<'a> Full<'a> {
    fn new(google: &'a mut Google, progress: Progress, is_resumed: bool) -> Full<'a> {
        let at_groups = progress.phase != Phase::Users;
        let progress_is_before_groups = !(is_resumed && at_groups);
        Full {
            google,
            progress,
            quarantine: Quarantine::new("google"),
            everybody: (!is_resumed).then(Everybody::default),
            open: Vec::new(),
            odd: BTreeMap::new(),
            listed: (progress_is_before_groups).then(Everybody::default),
            suspects: BTreeMap::new(),
            suspect_groups: BTreeSet::new(),
        }
    }

    async fn go(mut self, sink: &mut dyn Sink) -> Result<Seal, PullError> {
        let outcome = self.read(sink).await;
        if outcome.is_err() {
            sink.checkpoint(self.progress.token());
        }
        outcome
    }

    async fn read(&mut self, sink: &mut dyn Sink) -> Result<Seal, PullError> {
        if self.progress.phase == Phase::Users {
            self.read_users(sink).await?;
            self.progress.enter(Phase::Groups);
        }
        if self.progress.phase == Phase::Groups {
            self.read_groups(sink).await?;
            self.progress.enter(Phase::Members);
            sink.checkpoint(self.progress.token());
        }
        // Known failure R1: without all users, none would be missed.
        if self.everybody.is_none() && !self.progress.pending.is_empty() {
            self.everybody = Some(Everybody::list(&self.google.api, sink).await?);
        }
        self.read_members(sink).await?;
        self.look_for_suspect_groups(sink).await?;
        self.look_for_suspects(sink).await?;
        Ok(self.seal())
    }

    async fn read_users(&mut self, sink: &mut dyn Sink) -> Result<(), PullError> {
        let mut listing = Listing::new("the list of users", self.progress.page.as_deref())?;
        while self.progress.part < self.google.api.parts() {
            let listed =
                self.google.api.users(self.progress.part, self.progress.page.as_deref()).await?;
            let page = match listed {
                Listed::Page(page) => page,
                Listed::Expired(reason) => {
                    listing.restart(reason)?;
                    self.progress.page = None;
                    continue;
                }
                Listed::Missing => return Err(everybody::nobody()),
            };
            let items = self.users(&page.objects)?;
            sink.page(items);
            self.progress.page = listing.go_on(page.next)?;
            if self.progress.page.is_none() {
                self.progress.part += 1;
            }
            sink.checkpoint(self.progress.token());
        }
        // Known failure R3.
        if self.progress.users == 0 { Err(everybody::nobody()) } else { Ok(()) }
    }

    fn users(&mut self, objects: &[serde_json::Value]) -> Result<Vec<Item>, PullError> {
        let mut items = Vec::with_capacity(objects.len());
        for object in objects {
            let read = map::user(object, &self.google.config, &mut self.quarantine)?;
            let Some(read) = read.filter(|read| !read.is_deleted) else { continue };
            let ReadUser { item, customer, .. } = read;
            if let Some(everybody) = &mut self.everybody {
                everybody.add(&item.user.id, &item.user.username);
            }
            self.progress.users += 1;
            if self.progress.customer.is_none() {
                self.progress.customer = customer;
            }
            items.push(Item::User(item));
        }
        self.take_malformed(&mut items);
        Ok(items)
    }

    /// Malformed users and groups exist, too: they are no suspects.
    fn take_malformed(&mut self, items: &mut Vec<Item>) {
        let kept = self.quarantine.take_kept();
        self.progress.again.note(&kept);
        for kept in kept {
            self.progress.malformed += 1;
            match (&kept, &mut self.everybody, &mut self.listed) {
                (Item::Kept(Reference::User(id)), Some(all), _)
                | (Item::Kept(Reference::Group(id)), _, Some(all)) => {
                    all.add(id, "");
                }
                _ => {}
            }
            items.push(kept);
        }
    }

    async fn read_groups(&mut self, sink: &mut dyn Sink) -> Result<(), PullError> {
        let mut pages = 0;
        // An empty list is asked for twice (known failure R3).
        for attempt in 0..2 {
            let mut listing = Listing::new("the list of groups", self.progress.page.as_deref())?;
            while self.progress.part < self.google.api.parts() {
                let (part, page) = (self.progress.part, self.progress.page.as_deref());
                let page = match self.google.api.groups(part, page).await? {
                    Listed::Page(page) => page,
                    Listed::Expired(reason) => {
                        listing.restart(reason)?;
                        self.progress.page = None;
                        continue;
                    }
                    Listed::Missing => return Err(listing.missing()),
                };
                let items = self.groups(&page.objects)?;
                sink.page(items);
                self.progress.page = listing.go_on(page.next)?;
                if self.progress.page.is_none() {
                    self.progress.part += 1;
                }
                pages += 1;
                if pages % GROUP_PAGES_A_CHECKPOINT == 0 {
                    sink.checkpoint(self.progress.token());
                }
            }
            if self.progress.groups > 0 || attempt > 0 {
                break;
            }
            self.progress.enter(Phase::Groups);
        }
        Ok(())
    }

    fn groups(&mut self, objects: &[serde_json::Value]) -> Result<Vec<Item>, PullError> {
        let mut items = Vec::with_capacity(objects.len());
        for object in objects {
            let read = map::group(object, &self.google.config, &mut self.quarantine)?;
            let Some(read) = read else { continue };
            let id = read.item.group.id.clone();
            self.google.known.learn(&read.email, &id, read.count);
            if self.listed.as_mut().is_none_or(|listed| listed.add(&id, &read.email)) {
                self.progress.groups += 1;
                self.progress.pending.insert(id, read.count);
            }
            items.push(Item::Group(read.item));
        }
        self.take_malformed(&mut items);
        Ok(items)
    }

    async fn read_members(&mut self, sink: &mut dyn Sink) -> Result<(), PullError> {
        let api = self.google.api.clone();
        let at_once = self.google.config.http.parallel_requests_max;
        while !self.progress.pending.is_empty() {
            let next = self.progress.pending.iter().take(GROUPS_AT_ONCE);
            let next: Vec<(String, Option<u64>)> = next.map(|(id, n)| (id.clone(), *n)).collect();
            let work = |(group, count): (String, Option<u64>)| {
                let api = &api;
                async move { Ok((members::read(api, &group, count).await?, group)) }
            };
            in_parallel(next, at_once, work, |(reading, group)| {
                sink.page(self.take(group, reading));
            })
            .await?;
            self.close_open(sink).await?;
            self.check_forbidden()?;
            self.check_odd()?;
            sink.checkpoint(self.progress.token());
        }
        Ok(())
    }

    /// What to hand over for one group.
    fn take(&mut self, group: String, reading: Reading) -> Vec<Item> {
        let reading = self.google.judge(&group, reading);
        match &reading {
            Judged::List(members) => {
                self.suspect(members);
                if members.holds_everybody(self.progress.customer.as_deref()) {
                    self.open.push((group, members.clone()));
                    return Vec::new();
                }
            }
            Judged::Short(_) => self.progress.short += 1,
            Judged::Kept { is_forbidden } => {
                self.progress.malformed += 1;
                self.progress.forbidden += u64::from(*is_forbidden);
            }
            Judged::Gone => {}
        }
        let count = self.progress.pending.remove(&group).flatten();
        if matches!(reading, Judged::Kept { is_forbidden: false }) {
            self.odd.insert(group.clone(), count);
        }
        let items = self.google.items(&group, &reading, self.progress.customer.as_deref());
        self.progress.again.note(&items);
        items
    }

    /// Hands over the groups that hold everybody.
    async fn close_open(&mut self, sink: &mut dyn Sink) -> Result<(), PullError> {
        if self.open.is_empty() {
            return Ok(());
        }
        let everybody = match self.everybody.take() {
            Some(everybody) => everybody,
            None => Everybody::list(&self.google.api, sink).await?,
        };
        let customer = self.progress.customer.clone();
        for (group, list) in std::mem::take(&mut self.open) {
            let mut items = self.google.items(&group, &Judged::List(list), customer.as_deref());
            if let Some(Item::Members { members, .. }) = items.first_mut() {
                members.extend(everybody.references());
            }
            sink.page(items);
            self.progress.pending.remove(&group);
            self.progress.everybody.insert(group);
        }
        self.everybody = Some(everybody);
        Ok(())
    }

    fn check_forbidden(&self) -> Result<(), PullError> {
        let (forbidden, groups) = (self.progress.forbidden, self.progress.groups);
        if members::too_many(forbidden, groups) {
            let reason = format!("the members of {forbidden} of {groups} groups may not be read");
            return Err(vendor::closed(reason));
        }
        Ok(())
    }

    /// Groups that make no sense one by one are kept; many are an outage, and
    /// are read again when the crawl goes on.
    fn check_odd(&mut self) -> Result<(), PullError> {
        let (odd, groups) = (self.odd.len() as u64, self.progress.groups);
        if !members::too_many(odd, groups) {
            return Ok(());
        }
        self.progress.malformed -= odd;
        self.progress.pending.append(&mut self.odd);
        Err(members::outage(odd, groups))
    }

    /// Remembers members of our own domains whom the list of users lacks.
    fn suspect(&mut self, members: &Members) {
        if let Some(listed) = &self.listed {
            let groups = members.list.iter().filter(|member| member.who == Who::Group);
            let ours =
                groups.filter(|group| group.email.as_ref().is_some_and(|at| listed.is_ours(at)));
            let unlisted =
                ours.filter_map(|group| group.id.as_ref()).filter(|id| !listed.contains(id));
            self.suspect_groups.extend(unlisted.take(SUSPECTS_MAX).cloned());
        }
        let Some(everybody) = &self.everybody else { return };
        for member in &members.list {
            if let (Who::User, Some(id), Some(email)) = (member.who, &member.id, &member.email)
                && self.suspects.len() < SUSPECTS_MAX
                && everybody.is_ours(email)
                && !everybody.contains(id)
            {
                self.suspects.insert(id.clone(), email.clone());
            }
        }
    }

    /// Known failure R1, for groups: when one in another exists and was not
    /// listed, it is new, or a page was missing; all are listed once more.
    async fn look_for_suspect_groups(&mut self, sink: &mut dyn Sink) -> Result<(), PullError> {
        let mut existing = Vec::new();
        for id in std::mem::take(&mut self.suspect_groups) {
            if matches!(self.google.api.group(&id).await?, Found::Object(_)) {
                existing.push(id);
            }
            sink.page(Vec::new());
        }
        if existing.is_empty() {
            return Ok(());
        }
        self.progress.enter(Phase::Groups);
        self.read_groups(sink).await?;
        self.progress.enter(Phase::Members);
        self.read_members(sink).await?;
        let is_listed = |id: &&String| self.listed.as_ref().is_none_or(|all| all.contains(id));
        match existing.iter().find(|id| !is_listed(id)) {
            None => Ok(()),
            Some(id) => Err(PullError::Incomplete {
                what: "the list of groups".to_owned(),
                reason: format!("it lacks the group {id}, which exists"),
            }),
        }
    }

    /// Known failure R1: a page that is missing from the list of users shows
    /// when groups have members who exist and were not listed.
    async fn look_for_suspects(&mut self, sink: &mut dyn Sink) -> Result<(), PullError> {
        for (id, email) in std::mem::take(&mut self.suspects) {
            let found = self.google.api.user(&id).await?;
            sink.page(Vec::new());
            let Found::Object(object) = found else { continue };
            let read = map::user(&object, &self.google.config, &mut self.quarantine)?;
            let Some(read) = read.filter(|read| !read.is_deleted) else { continue };
            let created = read.created.as_deref().and_then(|time| Timestamp::parse(time).ok());
            let lately = self.progress.started().minus(Duration::from_mins(10));
            if created.is_none_or(|created| created < lately) {
                return Err(PullError::Incomplete {
                    what: "the list of users".to_owned(),
                    reason: format!("it lacks the user {id} ({email}), who exists"),
                });
            }
            let members_added = self.join_everybody(&read.item.user.id);
            sink.page([vec![Item::User(read.item)], members_added].concat());
            self.progress.users += 1;
        }
        Ok(())
    }

    fn join_everybody(&self, id: &str) -> Vec<Item> {
        let join = |group: &String| Item::MembersAdded {
            group: Reference::Group(group.clone()),
            members: vec![Reference::User(id.to_owned())],
        };
        self.progress.everybody.iter().map(join).collect()
    }

    fn seal(&mut self) -> Seal {
        let progress = &self.progress;
        let now = clock::now();
        let closed = self.google.feed_refused.is_some_and(|at| now < at.plus(FEED_RETRY));
        let wants_cursor = self.google.config.incremental && !closed;
        self.google.pending = None;
        Seal {
            extent: Extent::Whole,
            cursor: wants_cursor.then(|| Cursor(Bookmark::new(progress, now).token())),
            proof: format!(
                "{} users and {} groups were listed to the last page; the members of every group were \
                 read to the end and compared with directMembersCount ({} groups list fewer, \
                 {} may not be read: both keep the members they had){}",
                progress.users,
                progress.groups,
                progress.short,
                progress.forbidden,
                if closed { "; the audit feed is closed to us" } else { "" },
            ),
            requests: self.google.api.take_audit(),
            malformed: progress.malformed,
        }
    }
}

/// One listing: page tokens that come twice, and those that expire.
struct Listing {
    what: &'static str,
    cursors: Cursors,
    restarts: u32,
}

impl Listing {
    fn new(what: &'static str, page: Option<&str>) -> Result<Listing, PullError> {
        let mut cursors = Cursors::new(what);
        if let Some(page) = page {
            cursors.pass(page)?;
        }
        Ok(Listing { what, cursors, restarts: 0 })
    }

    /// Where the listing goes on, when it does.
    fn go_on(&mut self, next: Option<String>) -> Result<Option<String>, PullError> {
        if let Some(next) = &next {
            self.cursors.pass(next)?;
        }
        Ok(next)
    }

    fn restart(&mut self, reason: String) -> Result<(), PullError> {
        self.restarts += 1;
        if self.restarts > RESTARTS_MAX {
            return Err(PullError::CursorExpired { reason });
        }
        self.cursors = Cursors::new(self.what);
        Ok(())
    }

    fn missing(&self) -> PullError {
        PullError::Incomplete { what: self.what.to_owned(), reason: "there is none".to_owned() }
    }
}

/// A reading, once it is known whether a short list is to be believed.
pub enum Judged {
    List(Members),
    Short(Members),
    Kept { is_forbidden: bool },
    Gone,
}

impl Google {
    pub(super) fn judge(&mut self, group: &str, reading: Reading) -> Judged {
        match reading {
            Reading::Whole(members) => {
                self.shortages.clear(group);
                Judged::List(members)
            }
            Reading::Short { members, count } => {
                let missing = count - members.len().min(count);
                let enough = self.config.http.verify_within;
                if self.shortages.note(group, missing, clock::now(), enough) {
                    return Judged::List(members);
                }
                let listed = members.len();
                warn!(group, listed, count, "a group lists fewer members than it counts");
                Judged::Short(members)
            }
            Reading::Kept { reason, is_forbidden } => {
                warn!(group, reason, "a group cannot be read; its last good members are kept");
                Judged::Kept { is_forbidden }
            }
            Reading::Gone => {
                self.shortages.clear(group);
                Judged::Gone
            }
        }
    }

    /// What to hand over for a group's members. A list that is not believed
    /// adds members and removes none.
    pub(super) fn items(&self, group: &str, judged: &Judged, customer: Option<&str>) -> Vec<Item> {
        let id = Reference::Group(group.to_owned());
        let named = |members: &Members| members.references(self.config.external_members, customer);
        let kept = |members| {
            vec![Item::Kept(id.clone()), Item::MembersAdded { group: id.clone(), members }]
        };
        match judged {
            Judged::List(members) => {
                vec![Item::Members { group: id.clone(), members: named(members) }]
            }
            Judged::Short(members) => kept(named(members)),
            Judged::Kept { .. } => kept(Vec::new()),
            Judged::Gone => vec![Item::GroupDeleted(id.clone())],
        }
    }
}
