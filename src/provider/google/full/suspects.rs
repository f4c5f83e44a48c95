//! Known failure R1: whom the lists of users and of groups should have named.

use serde_json::Value;

use super::super::api::Found;
use super::super::map::{self, Who};
use super::super::members::Members;
use super::super::progress::Phase;
use super::Full;
use crate::clock::{Duration, Timestamp};
use crate::model::Reference;
use crate::provider::{Item, PullError, Sink};

/// So many users and groups that a list does not name are looked at.
const SUSPECTS_MAX: usize = 100;

impl Full<'_> {
    /// Groups that an earlier attempt listed and this one does not are gone;
    /// or a page is missing, and they exist.
    pub(super) async fn look_for_unlisted(&mut self, sink: &mut dyn Sink) -> Result<(), PullError> {
        let known = self.progress.pending.keys().chain(&self.progress.done);
        let unlisted: Vec<String> = known.filter(|id| !self.listed.contains(id)).cloned().collect();
        if unlisted.len() > SUSPECTS_MAX {
            let reason = format!("{} groups went since the crawl began", unlisted.len());
            return Err(PullError::CursorExpired { reason });
        }
        for id in unlisted {
            match self.google.api.group(&id).await? {
                Found::Object(object) if self.covers(&object) => return Err(lacking(&id)),
                Found::Object(_) | Found::Missing => {
                    self.progress.pending.remove(&id);
                    self.progress.done.remove(&id);
                    self.progress.everybody.remove(&id);
                    sink.page(vec![Item::GroupDeleted(Reference::Group(id))]);
                }
                // Its last good members are kept when it is read.
                Found::Closed => sink.page(Vec::new()),
            }
        }
        Ok(())
    }

    /// A group may have got an address in a domain that is not read.
    fn covers(&self, group: &Value) -> bool {
        let email = group.get("email").and_then(Value::as_str).unwrap_or_default();
        self.google.config.covers(&email.to_lowercase())
    }

    /// Remembers members of our own domains whom the list of users lacks.
    pub(super) fn suspect(&mut self, members: &Members) {
        let listed = &self.listed;
        let groups = members.list.iter().filter(|member| member.who == Who::Group);
        let ours = groups.filter(|group| group.email.as_ref().is_some_and(|at| listed.is_ours(at)));
        let unlisted = ours.filter_map(|group| group.id.as_ref()).filter(|id| !listed.contains(id));
        self.progress.suspect_groups.extend(unlisted.take(SUSPECTS_MAX).cloned());
        let Some(everybody) = &self.everybody else { return };
        for member in &members.list {
            if let (Who::User, Some(id), Some(email)) = (member.who, &member.id, &member.email)
                && self.progress.suspects.len() < SUSPECTS_MAX
                && everybody.is_ours(email)
                && !everybody.contains(id)
            {
                self.progress.suspects.insert(id.clone(), email.clone());
            }
        }
    }

    /// Known failure R1, for groups: when one in another exists and was not
    /// listed, it is new, or a page was missing; all are listed once more.
    pub(super) async fn look_for_suspect_groups(
        &mut self,
        sink: &mut dyn Sink,
    ) -> Result<(), PullError> {
        let mut existing = Vec::new();
        for id in self.progress.suspect_groups.clone() {
            if matches!(self.google.api.group(&id).await?, Found::Object(_)) {
                existing.push(id);
            }
            sink.page(Vec::new());
        }
        self.progress.suspect_groups.clear();
        if existing.is_empty() {
            return Ok(());
        }
        self.progress.enter(Phase::Groups);
        self.read_groups(sink).await?;
        self.progress.enter(Phase::Members);
        self.read_members(sink).await?;
        match existing.iter().find(|id| !self.listed.contains(id)) {
            None => Ok(()),
            Some(id) => Err(lacking(id)),
        }
    }

    /// Known failure R1: a page that is missing from the list of users shows
    /// when groups have members who exist and were not listed.
    pub(super) async fn look_for_suspects(&mut self, sink: &mut dyn Sink) -> Result<(), PullError> {
        for (id, email) in self.progress.suspects.clone() {
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
        self.progress.suspects.clear();
        Ok(())
    }

    fn join_everybody(&self, id: &str) -> Vec<Item> {
        let join = |group: &String| Item::MembersAdded {
            group: Reference::Group(group.clone()),
            members: vec![Reference::User(id.to_owned())],
        };
        self.progress.everybody.iter().map(join).collect()
    }
}

fn lacking(group: &str) -> PullError {
    PullError::Incomplete {
        what: "the list of groups".to_owned(),
        reason: format!("it lacks the group {group}, which exists"),
    }
}
