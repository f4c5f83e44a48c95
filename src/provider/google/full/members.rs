//! The members of all groups, in parallel.

use super::super::everybody::Everybody;
use super::super::judged::Judged;
use super::super::members::{self, Reading};
use super::super::vendor;
use super::Full;
use crate::provider::http::in_parallel;
use crate::provider::{Item, PullError, Sink};

/// Between checkpoints.
const GROUPS_AT_ONCE: usize = 500;

impl Full<'_> {
    pub(super) async fn read_members(&mut self, sink: &mut dyn Sink) -> Result<(), PullError> {
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
        self.progress.done.insert(group.clone());
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
            self.progress.done.insert(group.clone());
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
        self.progress.done.retain(|group| !self.odd.contains_key(group));
        self.progress.pending.append(&mut self.odd);
        Err(members::outage(odd, groups))
    }
}
