//! The incremental crawl: what the filters and the System Log tell, and a
//! slice of everything else.
//!
//! Idle it takes three requests: users and groups by their times of change,
//! and the log. Where the log may not be read, the ids of all groups are
//! listed in its place.

use std::collections::{BTreeMap, BTreeSet};

use tracing::{info, warn};

use super::api::{Api, Found};
use super::bookmark::{Bookmark, Paused, Phase, Token, Unsure};
use super::config::Incremental;
use super::crawl::{Crawl, Left, Strangers, Wanted};
use super::map::Event;
use super::{Okta, rolling};
use crate::clock::{Duration, Timestamp};
use crate::model::Reference;
use crate::provider::{Extent, Item, PullError, Seal, Sink, Verified};

/// What is asked for of the System Log. Profiles and new groups come by the
/// filters; here are memberships, which `lastMembershipUpdated` may miss, ends
/// of lives, which no filter shows, and changes of status.
const EVENTS: [&str; 16] = [
    "group.user_membership.add",
    "group.user_membership.remove",
    "group.lifecycle.create",
    "group.lifecycle.delete",
    "group.profile.update",
    "system.import.group.delete",
    "user.lifecycle.create",
    "user.lifecycle.activate",
    "user.lifecycle.deactivate",
    "user.lifecycle.suspend",
    "user.lifecycle.unsuspend",
    "user.lifecycle.reactivate",
    "user.lifecycle.delete.initiated",
    "user.lifecycle.delete.completed",
    "user.account.lock",
    "user.account.unlock",
];

/// A cursor older than this is not worth reading up to.
const AGE_MAX: Duration = Duration::from_hours(7 * 24);
/// How long a refused System Log is not asked again.
const LOG_AGAIN: Duration = Duration::from_hours(1);
/// More events than this are not remembered; repeats cost requests only.
const EVENTS_MAX: usize = 50_000;
/// `Date` has whole seconds.
const TICK: Duration = Duration::from_secs(1);

/// What an incremental crawl found out, and has to look at.
#[derive(Default)]
struct Touched {
    /// Groups whose members are to be read.
    members: Left,
    /// Groups that may be gone, or new.
    groups: BTreeSet<String>,
    /// Users that changed status, or may be gone.
    users: BTreeSet<String>,
    /// Those among them whose end the log tells of.
    deleted: BTreeSet<String>,
}

/// An incremental crawl under way.
struct Changes<'a> {
    crawl: Crawl<'a>,
    before: Bookmark,
    after: Bookmark,
    touched: Touched,
    /// Of the newest answer.
    now: Timestamp,
    since: Timestamp,
    proof: String,
}

/// Reads what changed since `before`.
pub async fn run(
    okta: &mut Okta,
    api: &Api,
    before: Bookmark,
    sink: &mut dyn Sink,
) -> Result<Seal, PullError> {
    if Timestamp(before.read_at).plus(AGE_MAX) < crate::clock::now() {
        return Err(PullError::CursorExpired { reason: "it is older than a week".to_owned() });
    }
    let since = before.since(okta.config.overlap);
    okta.memory.shortages.recall(&before.shortages);
    let mut changes = Changes {
        crawl: Crawl::new(api, &okta.config, sink, &mut okta.memory.shortages),
        after: Bookmark {
            events: BTreeSet::new(),
            groups: BTreeMap::new(),
            unsure: Unsure::default(),
            ..before.clone()
        },
        touched: Touched {
            users: before.unsure.users.clone(),
            groups: before.unsure.groups.clone(),
            ..Touched::default()
        },
        now: Timestamp(before.read_at),
        proof: String::new(),
        since,
        before,
    };
    changes.read_users().await?;
    changes.read_groups().await?;
    let has_log = changes.read_log().await?;
    okta.memory.has_log = Some(has_log);
    if has_log {
        changes.after.group_ids = None;
    } else {
        changes.compare_groups().await?;
    }
    changes.look_at_groups().await?;
    changes.look_at_users().await?;
    changes.read_again().await?;
    let started = changes.after.read_at;
    let left = std::mem::take(&mut changes.touched.members);
    let Changes { crawl, after, proof, .. } = changes;
    let paused = Paused { left: Vec::new(), bookmark: after, proof };
    let (left, outcome) = finish(crawl, started, left, paused).await;
    okta.memory.left = Some((started, left)).filter(|_| outcome.is_err());
    outcome
}

/// Goes on with the members of groups that changed.
pub async fn go_on(
    okta: &mut Okta,
    api: &Api,
    started: u64,
    paused: Paused,
    sink: &mut dyn Sink,
) -> Result<Seal, PullError> {
    let left = okta.memory.left.take().filter(|(of, _)| *of == started);
    let Some((_, left)) = left else {
        let reason = "the groups that it read are forgotten".to_owned();
        return Err(PullError::CursorExpired { reason });
    };
    let crawl = Crawl::new(api, &okta.config, sink, &mut okta.memory.shortages);
    let (left, outcome) = finish(crawl, started, left, paused).await;
    okta.memory.left = Some((started, left)).filter(|_| outcome.is_err());
    outcome
}

/// Reads the members of the groups that are `left`, and seals.
async fn finish(
    mut crawl: Crawl<'_>,
    started: u64,
    mut left: Left,
    mut paused: Paused,
) -> (Left, Result<Seal, PullError>) {
    let outcome = crawl.members(&mut left, Strangers::Leave, |_, _, _| {}).await;
    paused.bookmark.unsure.extend(std::mem::take(&mut crawl.unsure));
    if let Err(error) = outcome {
        paused.left = left.keys().cloned().collect();
        let phase = Phase::Changes(Box::new(paused));
        crawl.sink.checkpoint(Token::new(Timestamp(started), phase).write());
        return (left, Err(error));
    }
    paused.bookmark.shortages = crawl.shortages.kept();
    let seal = Seal {
        extent: Extent::Changes,
        cursor: Some(paused.bookmark.write()),
        proof: format!("{}; the members of {} groups", paused.proof, crawl.readable).into(),
        verified: crawl.verified,
        requests: BTreeMap::new(),
        malformed: crawl.quarantine.count() + crawl.forbidden,
    };
    (left, Ok(seal))
}

impl Changes<'_> {
    async fn read_users(&mut self) -> Result<(), PullError> {
        let mut walk = self.crawl.api.users_changed(self.since);
        let (mut count, mut started) = (0, None);
        while let Some(page) = walk.next(self.crawl.api).await.map_err(not_expired)? {
            started.get_or_insert(page.time);
            self.now = page.time;
            count += self.crawl.users(page.objects)?;
        }
        self.after.read_at = started.unwrap_or(self.now).0;
        self.proof = format!("{count} users by their time of change");
        Ok(())
    }

    async fn read_groups(&mut self) -> Result<(), PullError> {
        let mut walk = self.crawl.api.groups_changed(self.since);
        let mut count = 0;
        while let Some(page) = walk.next(self.crawl.api).await.map_err(not_expired)? {
            self.now = page.time;
            for listed in self.crawl.groups(page.objects)? {
                count += 1;
                let id = listed.item.group.id.clone();
                let known = self.before.groups.get(&id) == Some(&listed.stamp);
                self.after.groups.insert(id.clone(), listed.stamp);
                if listed.is_everyone {
                    self.after.everyone = Some(id);
                    self.crawl.everyone(listed.item);
                } else if !known {
                    let wanted = Wanted {
                        item: Some(listed.item),
                        count: listed.count,
                        only_verified: false,
                    };
                    self.touched.members.insert(id, wanted);
                }
            }
        }
        self.proof.push_str(&format!(", {count} groups by theirs"));
        Ok(())
    }

    /// Whether the System Log could be read.
    async fn read_log(&mut self) -> Result<bool, PullError> {
        if self.crawl.config.incremental == Incremental::Filters {
            return Ok(false);
        }
        let refused_at = self.before.log_refused.map(Timestamp);
        if refused_at.is_some_and(|at| at.plus(LOG_AGAIN) > self.now) {
            return Ok(false);
        }
        let until = self.now.plus(TICK);
        let mut walk = self.crawl.api.events(self.since, until, &filter());
        let (mut count, mut events) = (0, BTreeSet::new());
        loop {
            let page = match walk.next(self.crawl.api).await.map_err(not_expired) {
                Ok(Some(page)) => page,
                Ok(None) => break,
                Err(PullError::Unauthorized { reason, .. }) => {
                    warn!(
                        reason,
                        "the System Log may not be read; deleted groups are found by listing all"
                    );
                    self.after.log_refused = Some(self.now.0);
                    return Ok(false);
                }
                Err(error) => return Err(error),
            };
            for object in page.objects {
                count += 1;
                let event = event(object)?;
                if !self.before.events.contains(&event.uuid) && !events.contains(&event.uuid) {
                    self.touched.note(&event, self.after.everyone.as_deref());
                }
                events.insert(event.uuid);
            }
            self.crawl.sink.page(Vec::new());
        }
        if events.len() <= EVENTS_MAX {
            self.after.events = events;
        }
        self.after.log_refused = None;
        self.proof.push_str(&format!(", {count} events of the System Log"));
        Ok(true)
    }

    /// Finds deleted groups by comparing all ids with those of the last crawl.
    async fn compare_groups(&mut self) -> Result<(), PullError> {
        let Some(known) = self.before.group_ids.take() else {
            return Err(PullError::CursorExpired {
                reason: "the System Log may not be read any more, and which groups there were \
                         is not known"
                    .to_owned(),
            });
        };
        let mut walk = self.crawl.api.group_ids();
        let mut ids = BTreeSet::new();
        while let Some(page) = walk.next(self.crawl.api).await.map_err(not_expired)? {
            for object in &page.objects {
                let Some(id) = super::map::id_of(object) else { return Err(nameless()) };
                ids.insert(id.to_owned());
            }
            self.crawl.sink.page(Vec::new());
        }
        self.touched.groups.extend(known.difference(&ids).cloned());
        self.proof.push_str(&format!(", the ids of {} groups", ids.len()));
        self.after.group_ids = Some(ids);
        Ok(())
    }

    async fn look_at_groups(&mut self) -> Result<(), PullError> {
        for id in std::mem::take(&mut self.touched.groups) {
            if self.touched.members.get(&id).is_some_and(|wanted| wanted.item.is_some()) {
                continue;
            }
            match self.crawl.api.group(&id).await? {
                Found::Here(object) => {
                    if let Some(listed) = self.crawl.group(object)? {
                        let count = match self.before.unsure.groups.contains(&id) {
                            true => self.crawl.api.users_count(&id).await?,
                            false => None,
                        };
                        let count = count.map(|(count, _)| count);
                        let item = Some(listed.item);
                        let wanted = Wanted { item, count, only_verified: false };
                        self.touched.members.insert(id, wanted);
                    }
                    let kept = self.crawl.quarantine.take_kept();
                    self.crawl.sink.page(kept);
                }
                Found::Gone => {
                    info!(group = id, "a group is gone");
                    self.touched.members.remove(&id);
                    self.crawl.sink.page(vec![Item::GroupDeleted(Reference::Group(id))]);
                }
                Found::Hidden => {
                    self.crawl.unsure.group(&id);
                    self.crawl.sink.page(vec![Item::Kept(Reference::Group(id))]);
                }
            }
        }
        Ok(())
    }

    async fn look_at_users(&mut self) -> Result<(), PullError> {
        for id in std::mem::take(&mut self.touched.users) {
            // Who was listed before the log was read may be gone since.
            let is_deleted = self.touched.deleted.contains(&id);
            let is_doubted = is_deleted || self.before.unsure.users.contains(&id);
            if !is_doubted && self.crawl.seen.contains(&id) {
                continue;
            }
            match self.crawl.api.user(&id).await? {
                Found::Here(object) => {
                    self.crawl.users(vec![object])?;
                    // The deletion is under way: its event will not come again.
                    if is_deleted {
                        self.crawl.unsure.user(&id);
                    }
                }
                Found::Gone => {
                    self.crawl.sink.page(vec![Item::UserDeleted(Reference::User(id))]);
                }
                Found::Hidden => {
                    self.crawl.unsure.user(&id);
                    self.crawl.sink.page(vec![Item::Kept(Reference::User(id))]);
                }
            }
        }
        Ok(())
    }

    /// Reads a slice of all users and groups again.
    async fn read_again(&mut self) -> Result<(), PullError> {
        let within = self.crawl.config.http.verify_within;
        let before = self.crawl.api.sent();
        self.crawl.sink.verifying(true);
        let (users, groups) = rolling::read(
            &mut self.crawl,
            &mut self.after.rolling,
            Timestamp(self.after.read_at),
            within,
            &mut self.touched.members,
        )
        .await?;
        self.crawl.sink.verifying(false);
        let requests = self.crawl.api.sent() - before;
        self.crawl.verified = Verified { users, groups, requests };
        if users + groups > 0 {
            self.proof.push_str(&format!("; {users} users and {groups} groups read again"));
        }
        Ok(())
    }
}

impl Touched {
    fn note(&mut self, event: &Event, everyone: Option<&str>) {
        let targets = event.target.iter().flatten();
        for (id, kind) in
            targets.filter_map(|target| Some((target.id.clone()?, target.kind.as_deref()?)))
        {
            match event.event_type.as_str() {
                name if name.starts_with("user.") && kind == "User" => {
                    if name.starts_with("user.lifecycle.delete.") {
                        self.deleted.insert(id.clone());
                    }
                    self.users.insert(id);
                }
                name if name.starts_with("user.") => {}
                _ if !kind.ends_with("Group") || everyone == Some(id.as_str()) => {}
                name if name.starts_with("group.user_membership.") => {
                    self.members.entry(id).or_default();
                }
                _ => {
                    self.groups.insert(id);
                }
            }
        }
    }
}

fn event(object: serde_json::Value) -> Result<Event, PullError> {
    serde_json::from_value(object).map_err(|error| PullError::Incomplete {
        what: "the System Log".to_owned(),
        reason: format!("an event is malformed: {error}"),
    })
}

/// `eventType eq "…" or …`.
fn filter() -> String {
    EVENTS.map(|name| format!("eventType eq \"{name}\"")).join(" or ")
}

/// A link that expires between two pages says nothing about our own cursor.
fn not_expired(error: PullError) -> PullError {
    match error {
        PullError::CursorExpired { reason } => {
            PullError::Incomplete { what: "a list of changes".to_owned(), reason }
        }
        other => other,
    }
}

fn nameless() -> PullError {
    PullError::Incomplete {
        what: "the list of all groups".to_owned(),
        reason: "one of them has no id".to_owned(),
    }
}
