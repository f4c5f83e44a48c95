//! Reads a slice of everything again at each poll, so that each user and each
//! group with its members is seen anew within `verify_within`, whatever the
//! rounds of changes say.

use super::apply::{Findings, lists};
use super::crawl::{Reading, parse, resumable_page, sees_hidden};
use super::graph::{End, Graph, Page};
use super::map::Mapped;
use super::members::{Members, Wish};
use super::objects::{Kind, group_select};
use super::place::Patrol;
use crate::clock::{Duration, Timestamp};
use crate::model::Reference;
use crate::provider::{Item, PullError};

const USERS_PER_STEP: u64 = 999;
const GROUPS_PER_STEP: u64 = 20;

/// How much was read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Walked {
    pub users: usize,
    pub groups: usize,
}

/// Takes the steps that are due.
///
/// # Errors
/// When something cannot be read.
pub(super) async fn walk(
    reading: &mut Reading<'_>,
    patrol: &mut Patrol,
    findings: &Findings,
    now: Timestamp,
) -> Result<Walked, PullError> {
    let within = reading.config.http.verify_within;
    let mut walked = Walked::default();
    let due = steps(patrol.users, USERS_PER_STEP, &mut patrol.users_at, within, now);
    for _ in 0..due {
        let (count, is_end) = users(reading, patrol, findings).await?;
        walked.users += count;
        if is_end {
            break;
        }
    }
    let due = steps(patrol.groups, GROUPS_PER_STEP, &mut patrol.groups_at, within, now);
    for _ in 0..due {
        let (count, is_end) = groups(reading, patrol, findings).await?;
        walked.groups += count;
        if is_end {
            break;
        }
    }
    Ok(walked)
}

/// How many steps are due, and `at` moved on by them.
fn steps(total: u64, per_step: u64, at: &mut u64, within: Duration, now: Timestamp) -> u64 {
    let all = total.div_ceil(per_step).max(1);
    let within = u64::try_from(within.as_millis()).unwrap_or(u64::MAX).max(1);
    let one = (within / all).max(1);
    let elapsed = now.0.saturating_sub(*at);
    if elapsed >= within {
        *at = now.0;
        // Objects came since they were counted: until the list ends.
        return all.saturating_mul(2);
    }
    let due = elapsed / one;
    *at += due * one;
    due
}

async fn users(
    reading: &mut Reading<'_>,
    patrol: &mut Patrol,
    findings: &Findings,
) -> Result<(usize, bool), PullError> {
    let kind = Kind::Users;
    let first = format!("users?$top={USERS_PER_STEP}&$select={}", kind.select(reading.wanted()));
    let Some(page) =
        page(reading.graph, kind.list_endpoint(), &mut patrol.users_next, &first).await?
    else {
        return Ok((0, true));
    };
    let mut items = Vec::new();
    for value in page.value {
        match reading.mapper.user(kind, value)? {
            Mapped::Is(user) if !findings.told.contains(&user.user.id) => {
                items.push(Item::User(user));
            }
            Mapped::LeftOut(id) if !findings.told.contains(&id) => {
                items.push(Item::UserDeleted(Reference::User(id)));
            }
            Mapped::Kept(reference) if !is_told(findings, &reference) => {
                items.push(Item::Kept(reference));
            }
            // The list may be older than what the rounds told.
            Mapped::Is(_) | Mapped::LeftOut(_) | Mapped::Kept(_) => {}
        }
    }
    reading.mapper.take_kept();
    let count = items.len();
    reading.sink.page(items);
    Ok((count, patrol.users_next.is_none()))
}

async fn groups(
    reading: &mut Reading<'_>,
    patrol: &mut Patrol,
    findings: &Findings,
) -> Result<(usize, bool), PullError> {
    let first = format!("groups?$top={GROUPS_PER_STEP}&$select={}", group_select(reading.wanted()));
    let Some(page) = page(reading.graph, "GET /groups", &mut patrol.groups_next, &first).await?
    else {
        return Ok((0, true));
    };
    let sees_hidden = sees_hidden(reading.graph).await?;
    let (mut heads, mut wishes) = (Vec::new(), Vec::new());
    for value in page.value {
        match reading.mapper.group(value)? {
            Mapped::Is(group) if !findings.told.contains(&group.item.group.id) => {
                let is_hidden = group.is_hidden && !sees_hidden;
                wishes.push(Wish { id: group.item.group.id.clone(), is_hidden });
                heads.push(Item::Group(group.item));
            }
            Mapped::LeftOut(id) if !findings.told.contains(&id) => {
                heads.push(Item::GroupDeleted(Reference::Group(id)));
            }
            Mapped::Kept(reference) if !is_told(findings, &reference) => {
                heads.push(Item::Kept(reference));
            }
            Mapped::Is(_) | Mapped::LeftOut(_) | Mapped::Kept(_) => {}
        }
    }
    reading.mapper.take_kept();
    let count = wishes.len();
    reading.sink.page(heads);
    for (id, members) in lists(reading, wishes).await? {
        // Not there any more: a round of changes will say so.
        let items = match members {
            Members::Absent => Members::Refused.items(id),
            members => members.items(id),
        };
        reading.sink.page(items);
    }
    Ok((count, patrol.groups_next.is_none()))
}

/// Whether the rounds of this crawl told of it.
fn is_told(findings: &Findings, reference: &Reference) -> bool {
    match reference {
        Reference::User(id) | Reference::Group(id) => findings.told.contains(id),
        _ => false,
    }
}

/// The next page; a list that has forgotten its place starts anew next time.
async fn page(
    graph: &Graph,
    endpoint: &'static str,
    next: &mut Option<String>,
    first: &str,
) -> Result<Option<Page>, PullError> {
    let url = match next.take() {
        Some(next) => parse(&next)?,
        None => graph.url(first)?,
    };
    let page = resumable_page(graph, endpoint, url).await?;
    if let Some(Page { end: End::Next(url), .. }) = &page {
        *next = Some(url.to_string());
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_due_in_proportion_to_the_time() {
        let (within, mut at) = (Duration::from_secs(1000), 0);
        assert_eq!(steps(200, 20, &mut at, within, Timestamp(99_999)), 0);
        assert_eq!(steps(200, 20, &mut at, within, Timestamp(250_000)), 2);
        assert_eq!(at, 200_000);
        assert_eq!(steps(200, 20, &mut at, within, Timestamp(300_000)), 1);
        assert!(steps(200, 20, &mut at, within, Timestamp(2_000_000)) >= 10);
        assert_eq!(at, 2_000_000);
    }
}
