//! The full crawl: users, groups, members, and who changed meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;
use url::Url;

use super::Okta;
use super::api::Api;
use super::bookmark::{Bookmark, Phase, Rolling, Token, Track, Unsure};
use super::config::Incremental;
use super::crawl::{Crawl, Left, Listed, Seen, Strangers, Wanted};
use super::vendor;
use super::walk::{List, Page, Walk};
use crate::clock::{Duration, Timestamp};
use crate::provider::{Extent, Proof, PullError, Seal, Sink, Verified};

/// So many groups are read between two checkpoints.
const GROUPS_A_CHECKPOINT: u64 = 500;

/// What happened this long before a crawl began is there for it to read.
const SETTLING: Duration = Duration::from_secs(30);

/// What a full crawl read and has not handed over, or must know later on.
#[derive(Default)]
pub struct Gathered {
    /// When it began; `None` before the first answer.
    started: Option<Timestamp>,
    /// Users that were handed over.
    seen: Seen,
    /// Some of them were handed over before a restart, and are not in `seen`.
    has_forgotten: bool,
    groups: Left,
    /// Which groups are still to be read, when others were before a restart.
    only: Option<BTreeSet<String>>,
    /// Every group's id.
    ids: BTreeSet<String>,
    /// How the groups were that changed so late that the next crawl sees them.
    fresh: BTreeMap<String, String>,
    everyone: Option<String>,
    /// The same with the number of its users.
    counted: Option<(String, u64)>,
    unsure: Unsure,
}

/// A full crawl under way.
struct Full<'a> {
    crawl: Crawl<'a>,
    gathered: Gathered,
    users: u64,
}

/// Reads everything, or what is left of it.
pub async fn run(
    okta: &mut Okta,
    api: &Api,
    token: Option<Token>,
    sink: &mut dyn Sink,
) -> Result<Seal, PullError> {
    let mut full = Full {
        crawl: Crawl::new(api, &okta.config, sink, &mut okta.memory.shortages),
        gathered: Gathered::default(),
        users: token.as_ref().map_or(0, |token| token.users),
    };
    let phase = match token {
        None => Phase::Users { next: None },
        Some(token) => {
            let started = Timestamp(token.started);
            let gathered = okta.memory.gathered.take();
            let gathered = gathered.filter(|gathered| gathered.started == Some(started));
            full.crawl.readable = token.readable;
            full.resume(started, gathered, token.phase)
        }
    };
    let outcome = full.go_on(phase).await;
    full.gathered.seen = std::mem::take(&mut full.crawl.seen);
    full.gathered.unsure = std::mem::take(&mut full.crawl.unsure);
    full.gathered.counted = full.crawl.everyone.take();
    let keep_ids = okta.memory.has_log != Some(true);
    match outcome.and_then(|()| full.seal(keep_ids)) {
        Ok(seal) => Ok(seal),
        Err(error) => {
            okta.memory.gathered = Some(full.gathered);
            Err(error)
        }
    }
}

impl Full<'_> {
    /// Where a crawl goes on: without what it gathered, groups are listed anew.
    fn resume(&mut self, started: Timestamp, gathered: Option<Gathered>, phase: Phase) -> Phase {
        if let Some(mut gathered) = gathered {
            self.crawl.seen = std::mem::take(&mut gathered.seen);
            self.crawl.unsure = std::mem::take(&mut gathered.unsure);
            self.crawl.everyone = gathered.counted.take();
            self.gathered = gathered;
            return phase;
        }
        self.gathered.started = Some(started);
        self.gathered.has_forgotten = true;
        match phase {
            Phase::Groups { .. } => Phase::Groups { next: None },
            Phase::Members { left } => {
                // Only these, once they are listed again.
                self.gathered.only = Some(left.into_iter().collect());
                Phase::Groups { next: None }
            }
            other => other,
        }
    }

    async fn go_on(&mut self, phase: Phase) -> Result<(), PullError> {
        let api = self.crawl.api;
        let mut phase = phase;
        let left = loop {
            phase = match phase {
                Phase::Users { next } => {
                    let walk = begin(List::Users, next.clone(), || api.users())?;
                    self.list_users(walk, next, |next| Phase::Users { next }).await?;
                    Phase::Deprovisioned { next: None }
                }
                Phase::Deprovisioned { next } => {
                    let walk = begin(List::Users, next.clone(), || api.deprovisioned())?;
                    self.list_users(walk, next, |next| Phase::Deprovisioned { next }).await?;
                    Phase::Groups { next: None }
                }
                Phase::Groups { next } => {
                    let walk = begin(List::Groups, next.clone(), || api.groups())?;
                    self.list_groups(walk, next).await?;
                    self.count_users().await?;
                    Phase::Members { left: self.gathered.groups.keys().cloned().collect() }
                }
                Phase::Members { left } => break left,
                Phase::Changes(_) => return Err(foreign()),
            };
            self.checkpoint(phase.clone());
        };
        self.gathered.groups.retain(|id, _| left.contains(id));
        self.read_members().await?;
        self.catch_up().await
    }

    async fn list_users(
        &mut self,
        mut walk: Walk,
        mut place: Option<String>,
        phase: impl Fn(Option<String>) -> Phase,
    ) -> Result<(), PullError> {
        while let Some(page) = self.page(&mut walk, &place, &phase).await? {
            self.take_users(page)?;
            place = walk.place().map(ToString::to_string);
            if place.is_some() {
                self.checkpoint(phase(place.clone()));
            }
        }
        Ok(())
    }

    async fn list_groups(
        &mut self,
        mut walk: Walk,
        mut place: Option<String>,
    ) -> Result<(), PullError> {
        let phase = |next| Phase::Groups { next };
        while let Some(page) = self.page(&mut walk, &place, &phase).await? {
            for listed in self.crawl.groups(page.objects)? {
                self.gather(listed);
            }
            place = walk.place().map(ToString::to_string);
            if place.is_some() {
                self.checkpoint(phase(place.clone()));
            }
        }
        Ok(())
    }

    /// The page at `place`. Without it, the next attempt begins there.
    async fn page(
        &mut self,
        walk: &mut Walk,
        place: &Option<String>,
        phase: impl Fn(Option<String>) -> Phase,
    ) -> Result<Option<Page>, PullError> {
        let outcome = walk.next(self.crawl.api).await;
        match &outcome {
            Ok(Some(page)) => self.begun(page.time),
            Ok(None) | Err(PullError::CursorExpired { .. }) => {}
            // Before the first answer there is nothing to go on with.
            Err(_) if self.gathered.started.is_none() => {}
            Err(_) => self.checkpoint(phase(place.clone())),
        }
        outcome
    }

    fn gather(&mut self, listed: Listed) {
        let id = listed.item.group.id.clone();
        self.gathered.ids.insert(id.clone());
        let is_wanted = self.gathered.only.as_ref().is_none_or(|only| only.contains(&id));
        let settled = self.gathered.started.map(|at| at.minus(SETTLING));
        // Others were read before they were listed: they may have changed since.
        if is_wanted && listed.changed_at >= settled {
            self.gathered.fresh.insert(id.clone(), listed.stamp);
        }
        if listed.is_everyone {
            self.gathered.everyone = Some(id);
            self.crawl.everyone(listed.item);
        } else if is_wanted {
            let wanted =
                Wanted { item: Some(listed.item), count: listed.count, only_verified: false };
            self.gathered.groups.insert(id, wanted);
        }
    }

    async fn read_members(&mut self) -> Result<(), PullError> {
        let started = self.gathered.started.unwrap_or_default();
        let users = self.users;
        let checkpoint = |sink: &mut dyn Sink, left: &Left, readable| {
            let phase = Phase::Members { left: left.keys().cloned().collect() };
            let token = Token { users, readable, ..Token::new(started, phase) };
            sink.checkpoint(token.write());
        };
        let mut count = 0;
        let outcome = self
            .crawl
            .members(&mut self.gathered.groups, Strangers::HandOver, |sink, left, readable| {
                count += 1;
                if count % GROUPS_A_CHECKPOINT == 0 {
                    checkpoint(sink, left, readable);
                }
            })
            .await;
        checkpoint(self.crawl.sink, &self.gathered.groups, self.crawl.readable);
        outcome?;
        let Crawl { forbidden, readable, .. } = self.crawl;
        if forbidden <= readable {
            return Ok(());
        }
        let reason = match readable {
            0 => "no group's members may be read".to_owned(),
            _ => {
                format!("the members of {forbidden} groups may not be read, of {readable} they may")
            }
        };
        Err(PullError::Unauthorized {
            what: vendor::NAME.to_owned(),
            reason,
            permission: Some("okta.groups.read".to_owned()),
        })
    }

    /// Users whose status changed between the two lists are in neither.
    async fn catch_up(&mut self) -> Result<(), PullError> {
        let started = self.gathered.started.unwrap_or_default();
        let mut walk = self.crawl.api.users_changed(started.minus(SETTLING));
        while let Some(page) = walk.next(self.crawl.api).await? {
            self.take_users(page)?;
        }
        Ok(())
    }

    /// Counts those that are new.
    fn take_users(&mut self, page: Page) -> Result<(), PullError> {
        let before = self.crawl.seen.len();
        self.crawl.users(page.objects)?;
        self.users += self.crawl.seen.len() - before;
        Ok(())
    }

    /// Known failure R1: a page of users may be missing without a word. Everyone
    /// was counted after the users were listed: who came meanwhile is found by
    /// the time of change, and who left is not counted any more.
    async fn count_users(&mut self) -> Result<(), PullError> {
        let Some((everyone, count)) = self.crawl.everyone.clone() else { return Ok(()) };
        if self.users >= count {
            self.crawl.shortages.clear(&everyone);
            return Ok(());
        }
        let before = self.users;
        self.catch_up().await?;
        if self.gathered.has_forgotten {
            // Who came in the time of change may have been counted before a restart.
            self.users = before;
        }
        let api = self.crawl.api;
        // One that cannot be had again leaves the first one standing.
        let fresh = api.users_count(&everyone).await?;
        let (fresh, now) = fresh.unwrap_or((count, self.gathered.started.unwrap_or_default()));
        let count = count.min(fresh);
        let missing = count.saturating_sub(self.users);
        if missing == 0 {
            return Ok(());
        }
        let enough = self.crawl.config.http.verify_within;
        if self.crawl.shortages.note(&everyone, missing, now, enough) {
            warn!(missing, "Everyone has more users than are listed, as it had for long; going on");
            return Ok(());
        }
        Err(PullError::Incomplete {
            what: "the list of all users".to_owned(),
            reason: format!(
                "it has {} of the {count} users that Okta counts in Everyone: the rest is missing, \
                 or hidden from the role; should that stand for {} h, the list is believed",
                self.users,
                enough.as_secs() / 3600
            ),
        })
    }

    fn begun(&mut self, time: Timestamp) {
        self.gathered.started.get_or_insert(time);
    }

    fn checkpoint(&mut self, phase: Phase) {
        let started = self.gathered.started.unwrap_or_default();
        let token = Token {
            users: self.users,
            readable: self.crawl.readable,
            ..Token::new(started, phase)
        };
        self.crawl.sink.checkpoint(token.write());
    }

    fn seal(&mut self, keep_ids: bool) -> Result<Seal, PullError> {
        if self.users == 0 {
            return Err(PullError::Incomplete {
                what: "the list of all users".to_owned(),
                reason: "nobody is in it, though an org has at least one administrator".to_owned(),
            });
        }
        let started = self.gathered.started.unwrap_or_default();
        let groups = self.gathered.ids.len() as u64;
        let track = |total| Track { total, ..Track::default() };
        let bookmark = Bookmark {
            groups: std::mem::take(&mut self.gathered.fresh),
            everyone: self.gathered.everyone.clone(),
            unsure: std::mem::take(&mut self.gathered.unsure),
            shortages: self.crawl.shortages.kept(),
            group_ids: keep_ids.then(|| std::mem::take(&mut self.gathered.ids)),
            rolling: Rolling { since: started.0, users: track(self.users), groups: track(groups) },
            ..Bookmark::new(started, started.minus(SETTLING))
        };
        let Crawl { forbidden, readable, short, .. } = self.crawl;
        let counted = self.gathered.counted.as_ref().map(|(_, count)| *count);
        let mut proof = format!(
            "every list ended without a next page: {} users, {groups} groups, the members of {readable}",
            self.users
        );
        if forbidden > 0 {
            proof
                .push_str(&format!("; {forbidden} groups are closed to us and stand as they were"));
        }
        if short > 0 {
            proof.push_str(&format!("; {short} groups list fewer members than they have"));
        }
        let incremental = self.crawl.config.incremental != Incremental::Off;
        Ok(Seal {
            extent: Extent::Whole,
            cursor: incremental.then(|| bookmark.write()),
            proof: Proof::from(proof)
                .counted("members of the group of all users", counted, self.users)
                .visible(format!("the members of {readable} groups were seen, of {forbidden} not")),
            verified: Verified::default(),
            requests: BTreeMap::new(),
            malformed: self.crawl.quarantine.count() + forbidden + short,
        })
    }
}

/// A listing from its beginning, or from a link that a token holds.
pub fn begin(
    list: List,
    next: Option<String>,
    first: impl FnOnce() -> Walk,
) -> Result<Walk, PullError> {
    match next {
        None => Ok(first()),
        Some(next) => Url::parse(&next).map(|next| Walk::go_on(list, next)).map_err(|_| foreign()),
    }
}

fn foreign() -> PullError {
    PullError::CursorExpired { reason: "it is no place in a listing".to_owned() }
}
