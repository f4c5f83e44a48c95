//! The step that reads the teams of an organization.

use std::collections::{HashSet, VecDeque};

use super::super::graphql::Trouble;
use super::super::map::{organization, team};
use super::super::proof::Interface;
use super::super::ready::Ready;
use super::super::rest::{self, Listing};
use super::super::teams::{self, Batch, Team};
use super::Reading;
use crate::provider::http::Cursors;
use crate::provider::{Item, PullError};

impl Reading<'_> {
    pub(super) async fn teams(&mut self, ready: &Ready) -> Result<(), PullError> {
        self.sink.page(organization(&ready.facts));
        match ready.facts.by {
            Interface::Graphql => self.teams_by_graphql(ready).await?,
            Interface::Rest => self.teams_by_rest(ready).await?,
        }
        let what = format!("the teams of {}", ready.connection.organization);
        self.place.tally.check(&what)?;
        let (counts, tally) = (&mut self.place.counts, &self.place.tally);
        counts.teams_listed += tally.read;
        counts.teams_told = tally.announced(counts.teams_told);
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
        let mut cursors = Cursors::new("GitHub teams");
        let mut open: VecDeque<Team> = VecDeque::new();
        for ids in std::mem::take(&mut self.place.pending).chunks(teams::AT_ONCE) {
            let batch = teams::by_node(&ready.connection, ids, self.quarantine).await;
            self.batch(batch.map_err(Trouble::into_error)?, ready, &mut open)?;
        }
        let mut known = HashSet::new();
        let mut restarted = false;
        loop {
            let (batch, page) = self.page_of_teams(ready).await?;
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
                    self.place.rewind();
                    self.place.riders.give_up();
                    continue;
                }
                Err(trouble) => return Err(trouble.into_error()),
            }
            match page.next {
                Some(next) => {
                    let left = open.iter().map(|team| (team.node_id.clone(), team.id));
                    self.place.pending = left.collect();
                    self.turn(&mut cursors, next)?;
                }
                None => return Ok(()),
            }
        }
    }

    /// One page, of as many teams as GitHub manages.
    async fn page_of_teams(&mut self, ready: &Ready) -> Result<teams::Found, PullError> {
        loop {
            let after = self.place.after.as_deref();
            let asked = teams::page(&ready.connection, *self.size, after, self.quarantine).await;
            match asked {
                Err(trouble @ Trouble::Heavy(_)) if *self.size > 1 => {
                    *self.size /= 2;
                    self.pause.after(&trouble).await;
                }
                outcome => {
                    self.pause.reset();
                    return outcome.map_err(Trouble::into_error);
                }
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
        for mut found in batch.teams {
            self.place.riders.board(&mut found);
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
                Ok(batch) => {
                    self.pause.reset();
                    self.batch(batch, ready, open)?;
                }
                Err(trouble @ Trouble::Heavy(_)) if at_once > 1 => {
                    at_once /= 2;
                    self.pause.after(&trouble).await;
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
}
