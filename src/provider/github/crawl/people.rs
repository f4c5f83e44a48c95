//! The steps that read people, and who is in several organizations.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::super::config::Extra;
use super::super::graphql::{Trouble, incomplete};
use super::super::map::merge;
use super::super::proof::Interface;
use super::super::ready::Ready;
use super::super::vendor::is_forbidden;
use super::super::{members, rest, teams};
use super::Reading;
use crate::model::Reference;
use crate::provider::http::Cursors;
use crate::provider::{Item, PullError, Sink, UserItem};

impl Reading<'_> {
    pub(super) async fn members(&mut self, ready: &Ready) -> Result<(), PullError> {
        let what = format!("the members of {}", ready.connection.organization);
        match ready.facts.by {
            Interface::Graphql => self.members_by_graphql(ready).await?,
            Interface::Rest => self.members_by_rest(ready).await?,
        }
        self.place.tally.check(&what)?;
        let (counts, tally) = (&mut self.place.counts, &self.place.tally);
        counts.members += tally.read;
        counts.members_told = tally.announced(counts.members_told);
        // Whoever asks is one of them, and an App needs one to be installed.
        if self.place.tally.read == 0 {
            return Err(incomplete(&what, "there are none".to_owned()));
        }
        Ok(())
    }

    async fn members_by_graphql(&mut self, ready: &Ready) -> Result<(), PullError> {
        let mut cursors = Cursors::new("GitHub members");
        let mut known = HashSet::new();
        let mut first = teams::PAGE_MAX;
        loop {
            let after = self.place.after.clone();
            // Only with several pages there is time for something else.
            let riders = &mut self.place.riders;
            let riders = Some(riders).filter(|riders| after.is_some() && !riders.is_over());
            let rides = riders.is_some();
            let data = match members::ask_page(ready, first, after.as_deref(), riders).await {
                Err(trouble) if rides && trouble.is_of_the_question() => {
                    self.place.riders.give_up();
                    self.pause.after(&trouble).await;
                    continue;
                }
                Err(trouble @ Trouble::Heavy(_)) if first > 1 => {
                    first /= 2;
                    self.pause.after(&trouble).await;
                    continue;
                }
                outcome => outcome.map_err(Trouble::into_error)?,
            };
            self.pause.reset();
            let found = members::read_page(ready, data, self.quarantine).await;
            let found = found.map_err(Trouble::into_error)?;
            self.place.tally.read +=
                found.ids.iter().filter(|id| known.insert(**id)).count() as u64;
            self.place.tally.told(found.page.total);
            self.hand_over(found.items);
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
        self.hand_over(read.items);
        Ok(())
    }

    /// Whether they are visible.
    pub(super) async fn outside(&mut self, ready: &Ready) -> Result<bool, PullError> {
        let wanted = ready.connection.config.outside_collaborators;
        if wanted == Extra::Off {
            return Ok(false);
        }
        let sink = &mut *self.sink;
        let list = rest::outside(&ready.connection, &mut || sink.page(Vec::new())).await;
        let Some(list) = visible(list, wanted)? else { return Ok(false) };
        let read = rest::outsiders(list, ready, self.quarantine)?;
        self.place.counts.outside += read.len() as u64;
        self.hand_over(read);
        Ok(true)
    }

    /// Whether they are visible.
    pub(super) async fn invited(&mut self, ready: &Ready) -> Result<bool, PullError> {
        let wanted = ready.connection.config.pending_invitations;
        if wanted == Extra::Off {
            return Ok(false);
        }
        let sink = &mut *self.sink;
        let list = rest::invitations(&ready.connection, &mut || sink.page(Vec::new())).await;
        let Some(list) = visible(list, wanted)? else { return Ok(false) };
        let read = rest::invited(list, ready, self.quarantine)?;
        self.place.counts.invited += read.len() as u64;
        self.hand_over(read);
        Ok(true)
    }

    fn hand_over(&mut self, items: Vec<UserItem>) {
        let kept = self.quarantine.take_kept();
        self.people.take(self.organization, items, kept, self.sink);
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

/// Hands accounts over. Who is in several organizations is handed over with
/// each of them again, as one record of all that is known by then.
pub struct People {
    /// When the crawl began that they are of.
    crawl: u64,
    /// What each organization shows of an account; `None` when there is one
    /// organization only.
    shown: Option<BTreeMap<String, BTreeMap<usize, UserItem>>>,
    /// Who was malformed in one organization: what another shows of them is
    /// only a part, so their last good records stand.
    kept: BTreeSet<String>,
}

impl People {
    pub fn new(crawl: u64, organizations: usize) -> People {
        let shown = (organizations > 1).then(BTreeMap::new);
        People { crawl, shown, kept: BTreeSet::new() }
    }

    pub fn is_of(&self, crawl: u64) -> bool {
        self.crawl == crawl
    }

    /// Takes in what the organization of this number shows. A page may come
    /// again, when a crawl goes on.
    fn take(
        &mut self,
        organization: usize,
        items: Vec<UserItem>,
        kept: Vec<Item>,
        sink: &mut dyn Sink,
    ) {
        let Some(shown) = &mut self.shown else {
            sink.page(items.into_iter().map(Item::User).chain(kept).collect());
            return;
        };
        let mut told = Vec::new();
        for item in items {
            let id = item.user.id.clone();
            let parts = shown.entry(id.clone()).or_default();
            parts.insert(organization, item);
            if !self.kept.contains(&id) {
                told.extend(parts.values().cloned().reduce(merge).map(Item::User));
            }
        }
        for item in kept {
            if let Item::Kept(Reference::User(id)) = &item
                && self.kept.insert(id.clone())
                && shown.contains_key(id)
            {
                // What was handed over of them before is only a part, too.
                told.push(Item::UserDeleted(Reference::User(id.clone())));
            }
            told.push(item);
        }
        sink.page(told);
    }
}
