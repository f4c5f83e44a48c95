//! The slice of the directory that is due, read whatever the feed says.

use serde_json::Value;

use super::super::api::Listed;
use super::super::everybody;
use super::super::map;
use super::super::members::KnownGroup;
use super::super::rolling::Pending;
use super::super::touched::Touch;
use super::Incremental;
use super::reread::reread;
use crate::provider::{Cursor, PullError, Sink};

impl Incremental<'_> {
    /// Reads the slice that is due.
    pub(super) async fn verify(&mut self, sink: &mut dyn Sink) -> Result<(), PullError> {
        let before = self.google.api.sent();
        sink.verifying(true);
        self.verify_what_is_due(sink).await?;
        sink.verifying(false);
        self.counts.verifying_requests = self.google.api.sent() - before;
        Ok(())
    }

    async fn verify_what_is_due(&mut self, sink: &mut dyn Sink) -> Result<(), PullError> {
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
        let rereads = self.gather(slice, sink, |api, id| async move {
            let known = KnownGroup { id: id.clone(), count: None };
            reread(&api, id, &Touch::again(), Some(known)).await
        });
        for reread in rereads.await? {
            let items = self.take_reread(reread)?;
            sink.page(items);
        }
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
}
