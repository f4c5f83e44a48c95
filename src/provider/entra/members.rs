//! Reads the direct members of groups, twenty groups a request.

use serde_json::Value as Json;
use url::Url;

use super::batch::{PARTS_MAX, Part};
use super::config::Wanted;
use super::graph::{End, Graph, incomplete, page_of};
use super::map;
use crate::model::Reference;
use crate::provider::http::{Call, Cursors};
use crate::provider::{Item, PullError};

const MORE: &str = "GET /groups/{id}/members";
/// Units: three, one less for `$select`.
pub(super) const COST: f64 = 2.0;

/// What could be seen of a group's members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Members {
    Listed(Vec<Reference>),
    /// They are hidden from us: the list is empty, or refused.
    Hidden,
    /// We are refused.
    Refused,
    /// There is no such group, or not yet where we ask.
    Absent,
}

/// One group to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub id: String,
    /// Whom we may not see is left out of the list rather than refused.
    pub is_hidden: bool,
}

impl Members {
    /// Both lists in one; what of either cannot be seen is unknown of both.
    fn with(self, more: Members) -> Members {
        match (self, more) {
            (Members::Listed(mut members), Members::Listed(more)) => {
                let fresh: Vec<Reference> =
                    more.into_iter().filter(|one| !members.contains(one)).collect();
                members.extend(fresh);
                Members::Listed(members)
            }
            // Members of the hidden group were seen; it has no service principals.
            (Members::Listed(members), Members::Hidden) => Members::Listed(members),
            (Members::Listed(_), unseen) | (unseen, _) => unseen,
        }
    }

    /// What to hand over for the group with this id, which was handed over.
    pub(super) fn items(self, id: String) -> Vec<Item> {
        let group = Reference::Group(id);
        match self {
            Members::Listed(members) => vec![Item::Members { group, members }],
            // Taken back, and then kept: with its last good members when it was
            // known before. One that was not is not shown with an empty list.
            Members::Hidden | Members::Refused | Members::Absent => {
                vec![Item::GroupDeleted(group.clone()), Item::Kept(group)]
            }
        }
    }
}

impl Graph {
    /// The members of up to [`PARTS_MAX`] groups.
    ///
    /// # Errors
    /// When some list is not whole.
    pub(super) async fn members(
        &self,
        wanted: &Wanted,
        groups: Vec<Wish>,
    ) -> Result<Vec<(String, Members)>, PullError> {
        debug_assert!(groups.len() <= PARTS_MAX);
        let mut lists = self.listed(wanted, &groups, path).await?;
        if wanted.service_principals {
            let more = self.listed(wanted, &groups, service_principals).await?;
            lists = lists.into_iter().zip(more).map(|(list, more)| list.with(more)).collect();
        }
        Ok(groups.into_iter().map(|group| group.id).zip(lists).collect())
    }

    async fn listed(
        &self,
        wanted: &Wanted,
        groups: &[Wish],
        path: fn(&str) -> String,
    ) -> Result<Vec<Members>, PullError> {
        let paths: Vec<String> = groups.iter().map(|group| path(&group.id)).collect();
        let parts = self.batch(&paths, COST).await?;
        let mut lists = Vec::new();
        for (group, part) in groups.iter().zip(parts) {
            lists.push(self.members_of(wanted, group, part).await?);
        }
        Ok(lists)
    }

    async fn members_of(
        &self,
        wanted: &Wanted,
        group: &Wish,
        part: Part,
    ) -> Result<Members, PullError> {
        match part.status {
            200 => {}
            403 if group.is_hidden => return Ok(Members::Hidden),
            403 => return Ok(Members::Refused),
            404 => return Ok(Members::Absent),
            _ => return Err(part.unexpected("the members of a group")),
        }
        let mut page = page_of(part.body)?;
        let mut members = Vec::new();
        let mut cursors = Cursors::new("the members of a group");
        loop {
            take(wanted, &page.value, &mut members)?;
            let next = match page.end {
                End::Last => break,
                End::Delta(_) => return Err(incomplete("members end like changes".to_owned())),
                End::Next(next) => next,
            };
            cursors.pass(next.as_str())?;
            page = match self.more(next).await? {
                Ok(page) => page,
                Err(instead) => return Ok(instead),
            };
        }
        if members.is_empty() && group.is_hidden {
            return Ok(Members::Hidden);
        }
        Ok(Members::Listed(members))
    }

    async fn more(&self, next: Url) -> Result<Result<super::graph::Page, Members>, PullError> {
        let call = Call::get(MORE, next).cost(COST).accept(&[403, 404]);
        let answer = self.send(call.header("consistencylevel", "eventual")).await?;
        match answer.status.as_u16() {
            403 => Ok(Err(Members::Refused)),
            404 => Ok(Err(Members::Absent)),
            _ => page_of(answer.json()?).map(Ok),
        }
    }
}

/// Where the members of a group are.
pub(super) fn path(group: &str) -> String {
    format!("groups/{group}/members?$top=999&$select=id")
}

/// Where the service principals among them are: v1.0 leaves them out of the
/// plain list (Microsoft Graph, known issues). A cast is an advanced query,
/// which takes `$count` and the header `ConsistencyLevel`.
fn service_principals(group: &str) -> String {
    format!(
        "groups/{group}/members/microsoft.graph.servicePrincipal?$count=true&$top=999&$select=id"
    )
}

fn take(wanted: &Wanted, value: &[Json], members: &mut Vec<Reference>) -> Result<(), PullError> {
    for one in value {
        members.extend(map::member(wanted, one)?);
    }
    Ok(())
}
