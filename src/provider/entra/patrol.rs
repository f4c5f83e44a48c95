//! Reads a slice of everything again at each poll, so that each user and each
//! group with its members is seen anew within `verify_within`, whatever the
//! rounds of changes say.
//!
//! A list is read over hours, and Graph says nothing of how long its page
//! tokens live. When one is of no use any more, the list is walked again from
//! its beginning up to the page that is next.

use serde_json::Value as Json;

use super::apply::{Findings, groups_anew, newer};
use super::changes::Window;
use super::crawl::{Reading, parse};
use super::graph::{End, Graph, incomplete};
use super::map::{self, Mapped};
use super::objects::Kind;
use super::place::{Patrol, Place, Walk};
use super::rounds::GROUPS;
use crate::clock::{Duration, Timestamp};
use crate::model::Reference;
use crate::provider::http::Cursors;
use crate::provider::{Item, PullError};

const USERS_PER_STEP: u64 = 999;
const GROUPS_PER_STEP: u64 = 20;
/// Few enough that their ids fit into the cursor.
const GROUPS_PER_PAGE: u64 = 200;

/// How much was read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Walked {
    pub users: usize,
    pub groups: usize,
}

/// How many steps are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    users: u64,
    groups: u64,
}

impl Due {
    pub(super) fn is_any(self) -> bool {
        self.users > 0 || self.groups > 0
    }
}

/// What is due at `now`; it counts as done from here on.
pub(super) fn due(patrol: &mut Patrol, within: Duration, now: Timestamp) -> Due {
    Due {
        users: steps(&mut patrol.users, USERS_PER_STEP, within, now),
        groups: steps(&mut patrol.groups, GROUPS_PER_STEP, within, now),
    }
}

/// Takes the steps that are due.
///
/// # Errors
/// When something cannot be read.
pub(super) async fn walk(
    reading: &mut Reading<'_>,
    place: &mut Place,
    due: Due,
    findings: &Findings,
    window: &Window,
) -> Result<Walked, PullError> {
    let mut walked = Walked::default();
    for _ in 0..due.users {
        walked.users += users(reading, &mut place.patrol.users, findings, window).await?;
        if place.patrol.users.next.is_none() {
            break;
        }
    }
    for _ in 0..due.groups {
        walked.groups += groups(reading, place, findings, window).await?;
        if place.patrol.groups.next.is_none() && place.patrol.waiting.is_empty() {
            break;
        }
    }
    Ok(walked)
}

/// How many steps are due, and `walk.at` moved on by them.
fn steps(walk: &mut Walk, per_step: u64, within: Duration, now: Timestamp) -> u64 {
    let all = walk.total.div_ceil(per_step).max(1);
    let within = u64::try_from(within.as_millis()).unwrap_or(u64::MAX).max(1);
    let one = (within / all).max(1);
    let elapsed = now.0.saturating_sub(walk.at);
    if elapsed >= within {
        walk.at = now.0;
        // Objects came since they were counted: until the list ends.
        return all.saturating_mul(2);
    }
    let due = elapsed / one;
    walk.at += due * one;
    due
}

async fn users(
    reading: &mut Reading<'_>,
    walk: &mut Walk,
    findings: &Findings,
    window: &Window,
) -> Result<usize, PullError> {
    let kind = Kind::Users;
    let first = format!("users?$top={USERS_PER_STEP}&$select={}", kind.select(reading.wanted()));
    let mut pages = Pages::new(kind.list_endpoint(), first);
    let mut count = 0;
    // Pages on the way to the next one are as good as that.
    while let Some(page) = pages.next(reading.graph, walk).await? {
        let mut items = Vec::new();
        for value in page {
            let (id, item) = match reading.mapper.user(kind, value)? {
                Mapped::Is(user) => (user.user.id.clone(), Item::User(user)),
                Mapped::LeftOut(id) => (id.clone(), Item::UserDeleted(Reference::User(id))),
                Mapped::Kept(Reference::User(id)) => (id.clone(), Item::Kept(Reference::User(id))),
                Mapped::Kept(_) => continue,
            };
            // The list may be older than what was told, or than what was read.
            if !window.tells_of_user(&id) && !findings.retried.contains(&id) {
                items.push(item);
            }
        }
        reading.mapper.take_kept();
        count += items.len();
        reading.sink.page(items);
    }
    Ok(count)
}

/// Reads the groups whose turn it is, each on its own: when they were listed
/// may have been hours ago.
async fn groups(
    reading: &mut Reading<'_>,
    place: &mut Place,
    findings: &Findings,
    window: &Window,
) -> Result<usize, PullError> {
    let patrol = &mut place.patrol;
    if patrol.waiting.is_empty() {
        let mut pages =
            Pages::new("GET /groups", format!("{GROUPS}?$top={GROUPS_PER_PAGE}&$select=id"));
        while let Some(page) = pages.next(reading.graph, &mut patrol.groups).await? {
            patrol.waiting = page.iter().filter_map(map::id_of).map(str::to_owned).collect();
            reading.sink.page(Vec::new());
        }
    }
    let amount = patrol.waiting.len().min(usize::try_from(GROUPS_PER_STEP).unwrap_or(usize::MAX));
    let turn = patrol.waiting.drain(..amount);
    let ids: Vec<String> =
        turn.filter(|id| !window.tells_of_group(id) && !findings.retried.contains(id)).collect();
    let left_out = groups_anew(reading, ids.clone(), &mut place.pending.groups).await?;
    newer(reading, ids.iter().filter(|id| !left_out.contains(*id)), window);
    Ok(ids.len())
}

/// The pages of one step: the next one, behind those that lead to it.
struct Pages {
    endpoint: &'static str,
    first: String,
    cursors: Cursors,
    /// Pages to walk over.
    ahead: u64,
    is_over: bool,
}

impl Pages {
    fn new(endpoint: &'static str, first: String) -> Pages {
        let cursors = Cursors::new("a list that is read again");
        Pages { endpoint, first, cursors, ahead: 0, is_over: false }
    }

    async fn next(
        &mut self,
        graph: &Graph,
        walk: &mut Walk,
    ) -> Result<Option<Vec<Json>>, PullError> {
        if self.is_over {
            return Ok(None);
        }
        let page = match walk.next.take() {
            Some(next) => graph.remembered(self.endpoint, parse(&next)?).await?,
            None => None,
        };
        let page = match page {
            Some(page) => page,
            None => {
                self.ahead = walk.pages;
                if self.ahead > 0 {
                    let (endpoint, pages) = (self.endpoint, self.ahead);
                    tracing::info!(
                        endpoint,
                        pages,
                        "a page token has expired; walking there again"
                    );
                }
                walk.pages = 0;
                graph.page(self.endpoint, graph.url(&self.first)?, 1.0).await?
            }
        };
        walk.pages += 1;
        match page.end {
            End::Next(url) => {
                self.cursors.pass(url.as_str())?;
                walk.next = Some(url.to_string());
                self.is_over = self.ahead == 0;
                self.ahead = self.ahead.saturating_sub(1);
            }
            End::Last => (walk.pages, self.is_over) = (0, true),
            End::Delta(_) => return Err(incomplete("a list ends like changes".to_owned())),
        }
        Ok(Some(page.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_due_in_proportion_to_the_time() {
        let within = Duration::from_secs(1000);
        let mut walk = Walk { total: 200, ..Walk::default() };
        let mut steps = |at| steps(&mut walk, 20, within, Timestamp(at));
        assert_eq!(steps(99_999), 0);
        assert_eq!(steps(250_000), 2);
        assert_eq!(steps(300_000), 1, "the two took 200 seconds of these");
        assert!(steps(2_000_000) >= 10);
        assert_eq!(steps(2_099_999), 0);
    }
}
