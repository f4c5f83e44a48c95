//! One full crawl: for each organization members, outside collaborators and
//! invitations; then for each its teams.
//!
//! It can go on after every page: see [`Place`].

use std::collections::{HashSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::access::Connection;
use super::config::Extra;
use super::graphql::Trouble;
use super::map::{People, organization, team};
use super::members::{self, Saml};
use super::proof::{Facts, Interface, Seen, prove};
use super::rest::{self, Listing};
use super::tally::Tally;
use super::teams::{self, Batch, Team};
use super::vendor::is_forbidden;
use super::{Github, NAME};
use crate::provider::http::{Cursors, Quarantine};
use crate::provider::{Item, PullError, Sink};

/// Where a crawl stands: what it hands to [`Sink::checkpoint`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    version: u8,
    step: usize,
    /// The page to read next; by REST, the last team that was read.
    after: Option<String>,
    tally: Tally,
    /// Teams that are not whole, to be read again from their start.
    pending: Vec<String>,
    /// When the crawl began, and what it counted so far.
    pub started: u64,
    pub counts: Counts,
    /// What it had counted when this step began.
    before: Counts,
    /// What was visible when this was made.
    seen: Seen,
}

/// To be changed with the meaning of a [`Place`].
const VERSION: u8 = 2;

/// What was read, for the proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub members: u64,
    pub outside: u64,
    pub invited: u64,
    pub teams: u64,
    /// Teams that the credential may not read; they stay as they were.
    pub refused: u64,
    pub malformed: u64,
}

impl Place {
    pub fn start(started: u64) -> Place {
        Place {
            version: VERSION,
            step: 0,
            after: None,
            tally: Tally::default(),
            pending: Vec::new(),
            started,
            counts: Counts::default(),
            before: Counts::default(),
            seen: Seen::default(),
        }
    }

    /// # Errors
    /// [`PullError::CursorExpired`] when the token is none of ours.
    pub fn of_token(token: &[u8]) -> Result<Place, PullError> {
        let place: Option<Place> = serde_json::from_slice(token).ok();
        place.filter(|place| place.version == VERSION).ok_or_else(|| PullError::CursorExpired {
            reason: "the checkpoint is of another version".to_owned(),
        })
    }

    fn token(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn next_step(&mut self) {
        self.step += 1;
        self.after = None;
        self.tally = Tally::default();
        self.pending = Vec::new();
        self.before = self.counts;
    }
}

/// What a step reads, of which organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Members(usize),
    Outside(usize),
    Invited(usize),
    Teams(usize),
}

fn steps(organizations: usize) -> Vec<Step> {
    let all = 0..organizations;
    let people = all.clone().flat_map(|n| [Step::Members(n), Step::Outside(n), Step::Invited(n)]);
    people.chain(all.map(Step::Teams)).collect()
}

/// An organization, proved.
#[derive(Clone)]
pub struct Ready {
    pub connection: Connection,
    pub facts: Facts,
    pub saml: bool,
}

/// Proves what is visible of every organization.
///
/// # Errors
/// When something that is needed is not visible.
pub async fn ready(github: &mut Github) -> Result<Vec<Ready>, PullError> {
    let mut all = Vec::new();
    for name in github.access.config.organizations.clone() {
        let connection = github.access.to(&name)?;
        let facts = prove(&connection).await?;
        let seen = &mut github.seen;
        seen.note(&name, "its GraphQL interface", facts.by == Interface::Graphql)?;
        if facts.by == Interface::Graphql {
            seen.note(&name, "public addresses", facts.sees_emails)?;
        }
        if connection.config.secret_teams {
            seen.note(&name, "secret teams", facts.sees_all_teams)?;
        }
        let saml = sees_saml(github, &connection, &facts).await?;
        all.push(Ready { connection, facts, saml });
    }
    Ok(all)
}

async fn sees_saml(
    github: &mut Github,
    connection: &Connection,
    facts: &Facts,
) -> Result<bool, PullError> {
    let wanted = connection.config.saml_identities;
    if wanted == Extra::Off || facts.by == Interface::Rest {
        return Ok(false);
    }
    let found = members::saml(connection).await.map_err(Trouble::into_error)?;
    if let (Saml::Hidden(error), Extra::On) = (&found, wanted) {
        return Err(error.clone());
    }
    let is = matches!(found, Saml::Visible);
    github.seen.note(&connection.organization, "identities of single sign-on", is)?;
    Ok(is)
}

/// Reads everything from `place` on.
///
/// # Errors
/// At the first doubt; the sink got a checkpoint before that.
pub async fn run(
    github: &mut Github,
    mut place: Place,
    sink: &mut dyn Sink,
) -> Result<Counts, PullError> {
    // Should it fail at once, it can still go on there.
    if place.step > 0 || place.after.is_some() {
        sink.checkpoint(place.token());
    }
    github.seen.recall(&place.seen);
    let all = ready(github).await?;
    place.seen = github.seen.clone();
    let steps = steps(all.len());
    let mut people = People::of(all.len());
    while let Some(step) = steps.get(place.step).copied() {
        let mut quarantine = Quarantine::new(NAME);
        let malformed_before = place.counts.malformed;
        let mut reading = Reading {
            place: &mut place,
            malformed_before,
            people: &mut people,
            quarantine: &mut quarantine,
            sink: &mut *sink,
            size: &mut github.size,
            checkpoints: people_are_handed_over(&all, step),
        };
        match step {
            Step::Members(n) => reading.members(&all[n]).await?,
            Step::Outside(n) => {
                let is = reading.outside(&all[n]).await?;
                github.seen.note(&all[n].connection.organization, "outside collaborators", is)?;
            }
            Step::Invited(n) => {
                let is = reading.invited(&all[n]).await?;
                github.seen.note(&all[n].connection.organization, "pending invitations", is)?;
            }
            Step::Teams(n) => reading.teams(&all[n]).await?,
        }
        place.counts.malformed = malformed_before + quarantine.count();
        place.next_step();
        place.seen = github.seen.clone();
        if matches!(steps.get(place.step), Some(Step::Teams(0)) | None) {
            people.flush(sink);
        }
        if steps.get(place.step).is_none_or(|next| people_are_handed_over(&all, *next)) {
            sink.checkpoint(place.token());
        }
    }
    Ok(place.counts)
}

/// Whether all accounts that were read before `step` were handed over: a crawl
/// of several organizations does so when it has read them all.
fn people_are_handed_over(all: &[Ready], step: Step) -> bool {
    all.len() == 1 || matches!(step, Step::Teams(_))
}

/// One step under way.
struct Reading<'a> {
    place: &'a mut Place,
    malformed_before: u64,
    people: &'a mut People,
    quarantine: &'a mut Quarantine,
    sink: &'a mut dyn Sink,
    size: &'a mut u32,
    /// The crawl may go on in the middle of this step.
    checkpoints: bool,
}

impl Reading<'_> {
    async fn members(&mut self, ready: &Ready) -> Result<(), PullError> {
        let what = format!("the members of {}", ready.connection.organization);
        match ready.facts.by {
            Interface::Graphql => self.members_by_graphql(ready).await?,
            Interface::Rest => self.members_by_rest(ready).await?,
        }
        self.place.tally.check(&what)?;
        self.place.counts.members += self.place.tally.read;
        // Whoever asks is one of them, and an App needs one to be installed.
        if self.place.tally.read == 0 {
            return Err(super::graphql::incomplete(&what, "there are none".to_owned()));
        }
        Ok(())
    }

    async fn members_by_graphql(&mut self, ready: &Ready) -> Result<(), PullError> {
        let Ready { connection, facts, saml } = ready;
        let mut cursors = Cursors::new("GitHub members");
        let mut known = HashSet::new();
        let mut first = teams::PAGE_MAX;
        loop {
            let after = self.place.after.clone();
            let asked =
                members::page(connection, facts, first, after.as_deref(), *saml, self.quarantine);
            let found = match asked.await {
                Err(Trouble::Heavy(_)) if first > 1 => {
                    first /= 2;
                    continue;
                }
                outcome => outcome.map_err(Trouble::into_error)?,
            };
            self.place.tally.read +=
                found.ids.iter().filter(|id| known.insert(**id)).count() as u64;
            self.place.tally.told(found.page.total);
            self.people.take(found.items, self.quarantine.take_kept(), self.sink);
            match found.page.next {
                Some(next) => self.turn(&mut cursors, next)?,
                None => return Ok(()),
            }
        }
    }

    async fn members_by_rest(&mut self, ready: &Ready) -> Result<(), PullError> {
        let (connection, sink) = (&ready.connection, &mut *self.sink);
        let owners = rest::owners(connection, &mut || sink.page(Vec::new())).await?;
        let entries = rest::members(connection, &mut || sink.page(Vec::new())).await?;
        let read = rest::people(entries, ready, &owners, self.quarantine)?;
        self.place.tally.read = read.ids.len() as u64;
        self.people.take(read.items, self.quarantine.take_kept(), self.sink);
        Ok(())
    }

    async fn outside(&mut self, ready: &Ready) -> Result<bool, PullError> {
        let wanted = ready.connection.config.outside_collaborators;
        if wanted == Extra::Off {
            return Ok(false);
        }
        let sink = &mut *self.sink;
        let list = rest::outside(&ready.connection, &mut || sink.page(Vec::new())).await;
        let Some(list) = visible(list, wanted)? else { return Ok(false) };
        let read = rest::outsiders(list, ready, self.quarantine)?;
        self.place.counts.outside += read.len() as u64;
        self.people.take(read, self.quarantine.take_kept(), self.sink);
        Ok(true)
    }

    async fn invited(&mut self, ready: &Ready) -> Result<bool, PullError> {
        let wanted = ready.connection.config.pending_invitations;
        if wanted == Extra::Off {
            return Ok(false);
        }
        let sink = &mut *self.sink;
        let list = rest::invitations(&ready.connection, &mut || sink.page(Vec::new())).await;
        let Some(list) = visible(list, wanted)? else { return Ok(false) };
        let read = rest::invited(list, ready, self.quarantine)?;
        self.place.counts.invited += read.len() as u64;
        self.people.take(read, self.quarantine.take_kept(), self.sink);
        Ok(true)
    }

    async fn teams(&mut self, ready: &Ready) -> Result<(), PullError> {
        self.sink.page(organization(&ready.facts));
        match ready.facts.by {
            Interface::Graphql => self.teams_by_graphql(ready).await?,
            Interface::Rest => self.teams_by_rest(ready).await?,
        }
        let what = format!("the teams of {}", ready.connection.organization);
        self.place.tally.check(&what)?;
        let (counts, before) = (self.place.counts, self.place.before);
        let (read, refused) = (counts.teams - before.teams, counts.refused - before.refused);
        if read == 0 && refused > 0 {
            return Err(PullError::Unauthorized {
                what,
                reason: format!("the members of all {refused} teams are refused"),
                permission: Some("Members: Read-only (classic token: read:org)".to_owned()),
            });
        }
        Ok(())
    }

    async fn teams_by_graphql(&mut self, ready: &Ready) -> Result<(), PullError> {
        let connection = &ready.connection;
        let mut cursors = Cursors::new("GitHub teams");
        let mut open: VecDeque<Team> = VecDeque::new();
        for ids in std::mem::take(&mut self.place.pending).chunks(teams::AT_ONCE) {
            let batch = teams::by_node(connection, ids, self.quarantine).await;
            self.batch(batch.map_err(Trouble::into_error)?, ready, &mut open)?;
        }
        let mut known = HashSet::new();
        let mut restarted = false;
        loop {
            let after = self.place.after.clone();
            let asked =
                teams::page(connection, *self.size, after.as_deref(), self.quarantine).await;
            let (batch, page) = match asked {
                Err(Trouble::Heavy(_)) if *self.size > 1 => {
                    *self.size /= 2;
                    continue;
                }
                outcome => outcome.map_err(Trouble::into_error)?,
            };
            let ids = page.entries.iter().filter_map(|node| node["databaseId"].as_u64());
            self.place.tally.read += ids.filter(|id| known.insert(*id)).count() as u64;
            self.place.tally.told(page.total);
            self.batch(batch, ready, &mut open)?;
            let is_last = page.next.is_none();
            let drained = self.drain(ready, &mut open, is_last).await;
            match drained {
                Ok(()) => {}
                // A team went away while its members were read: what is there
                // now, the listing tells.
                Err(Trouble::Gone(_)) if !restarted => {
                    restarted = true;
                    cursors = Cursors::new("GitHub teams");
                    open.clear();
                    known.clear();
                    self.place.counts = self.place.before;
                    self.place.tally = Tally::default();
                    self.place.after = None;
                    continue;
                }
                Err(trouble) => return Err(trouble.into_error()),
            }
            match page.next {
                Some(next) => {
                    self.place.pending = open.iter().map(|team| team.node_id.clone()).collect();
                    self.turn(&mut cursors, next)?;
                }
                None => return Ok(()),
            }
        }
    }

    /// Hands over what is whole, and remembers what is not.
    fn batch(
        &mut self,
        batch: Batch,
        ready: &Ready,
        open: &mut VecDeque<Team>,
    ) -> Result<(), PullError> {
        let mut items = self.quarantine.take_kept();
        self.place.counts.refused += batch.refused.len() as u64;
        items.extend(batch.refused.into_iter().map(Item::Kept));
        for found in batch.teams {
            if !found.is_whole() {
                open.push_back(found);
                continue;
            }
            found.check(&ready.facts.login)?;
            self.place.counts.teams += 1;
            items.extend(team(&found, &ready.facts));
        }
        self.sink.page(items);
        Ok(())
    }

    /// Reads on in the teams that are not whole: in full batches, or to the end.
    async fn drain(
        &mut self,
        ready: &Ready,
        open: &mut VecDeque<Team>,
        to_the_end: bool,
    ) -> Result<(), Trouble> {
        let mut at_once = teams::AT_ONCE;
        while open.len() >= teams::AT_ONCE || (to_the_end && !open.is_empty()) {
            let some: Vec<Team> = open.drain(..at_once.min(open.len())).collect();
            match teams::read_on(&ready.connection, some.clone()).await {
                Ok(batch) => self.batch(batch, ready, open)?,
                Err(Trouble::Heavy(_)) if at_once > 1 => {
                    at_once /= 2;
                    some.into_iter().rev().for_each(|team| open.push_front(team));
                }
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(())
    }

    async fn teams_by_rest(&mut self, ready: &Ready) -> Result<(), PullError> {
        let done: u64 = match &self.place.after {
            Some(id) => id.parse().unwrap_or_default(),
            None => 0,
        };
        let Listing { teams: mut all, mut names } = self.listing(ready).await?;
        all.retain(|team| team.id > done);
        let mut restarted = false;
        while !all.is_empty() {
            let some: Vec<Team> = all.drain(..rest::SLICE.min(all.len())).collect();
            let last = some.last().map(|team| team.id);
            let read = match rest::with_members(&ready.connection, some.clone(), &names).await {
                Err(Trouble::Gone(_)) if !restarted => {
                    restarted = true;
                    let first = some.first().map_or(0, |team| team.id);
                    Listing { teams: all, names } = self.listing(ready).await?;
                    all.retain(|team| team.id >= first);
                    continue;
                }
                outcome => outcome.map_err(Trouble::into_error)?,
            };
            self.batch(read, ready, &mut VecDeque::new())?;
            self.place.after = last.map(|id| id.to_string());
            self.checkpoint();
        }
        Ok(())
    }

    async fn listing(&mut self, ready: &Ready) -> Result<Listing, PullError> {
        let sink = &mut *self.sink;
        let progress = &mut || sink.page(Vec::new());
        let listing = rest::teams(&ready.connection, self.quarantine, progress).await?;
        self.sink.page(self.quarantine.take_kept());
        Ok(listing)
    }

    /// Turns to the next page.
    fn turn(&mut self, cursors: &mut Cursors, next: String) -> Result<(), PullError> {
        cursors.pass(&next)?;
        self.place.after = Some(next);
        self.checkpoint();
        Ok(())
    }

    fn checkpoint(&mut self) {
        self.place.counts.malformed = self.malformed_before + self.quarantine.count();
        if self.checkpoints {
            self.sink.checkpoint(self.place.token());
        }
    }
}

/// The list, or `None` when it may be missing and is refused.
fn visible<T>(list: Result<T, PullError>, wanted: Extra) -> Result<Option<T>, PullError> {
    match list {
        Ok(list) => Ok(Some(list)),
        Err(error) if is_forbidden(&error) && wanted == Extra::Auto => Ok(None),
        Err(error) => Err(error),
    }
}
