//! The lists of users and of groups, page by page.

use super::super::api::Listed;
use super::super::everybody;
use super::super::map::{self, ReadUser};
use super::super::progress::Phase;
use super::Full;
use crate::model::Reference;
use crate::provider::http::Cursors;
use crate::provider::{Item, PullError, Sink};

/// Between checkpoints.
const GROUP_PAGES_A_CHECKPOINT: u32 = 10;
/// So often a listing starts over when its page token expires.
const RESTARTS_MAX: u32 = 2;

impl Full<'_> {
    pub(super) async fn read_users(&mut self, sink: &mut dyn Sink) -> Result<(), PullError> {
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
            match (&kept, &mut self.everybody) {
                (Item::Kept(Reference::User(id)), Some(all)) => drop(all.add(id, "")),
                (Item::Kept(Reference::Group(id)), _) => drop(self.listed.add(id, "")),
                _ => {}
            }
            items.push(kept);
        }
    }

    pub(super) async fn read_groups(&mut self, sink: &mut dyn Sink) -> Result<(), PullError> {
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
            if self.listed.add(&id, &read.email) {
                self.progress.groups += 1;
                if !self.progress.done.contains(&id) {
                    self.progress.pending.insert(id, read.count);
                }
            }
            items.push(Item::Group(read.item));
        }
        self.take_malformed(&mut items);
        Ok(items)
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
