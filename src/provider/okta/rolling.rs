//! Reads a slice of everything again at each poll, whatever filters and log
//! say, so that all of it is read within `verify_within`.

use super::api::Api;
use super::bookmark::{Rolling, Track};
use super::crawl::{Crawl, Left, Wanted};
use super::full::begin;
use super::walk::{List, Page, Walk};
use crate::clock::{Duration, Timestamp};
use crate::provider::PullError;

/// Groups come in small pages, each of which is read at once, members and all.
const GROUPS_A_SLICE: u64 = 20;
const USERS_A_SLICE: u64 = 200;

/// After a long pause not everything is made up for in one poll.
const SLICES_MAX: u64 = 25;

/// Reads what is due; how many users and groups. The members of the groups
/// are left to be read with those of other groups.
pub async fn read(
    crawl: &mut Crawl<'_>,
    rolling: &mut Rolling,
    now: Timestamp,
    within: Duration,
    left: &mut Left,
) -> Result<(u64, u64), PullError> {
    if rolling.users.ended && rolling.groups.ended && rolling.part(now, within) >= 1.0 {
        rolling.begin_anew(now);
    }
    let part = rolling.part(now, within);
    let users = read_users(crawl, &mut rolling.users, part).await?;
    let groups = read_groups(crawl, &mut rolling.groups, part, left).await?;
    Ok((users, groups))
}

impl Rolling {
    /// How much of the round is over.
    fn part(&self, now: Timestamp, within: Duration) -> f64 {
        let passed = now.0.saturating_sub(self.since) as f64;
        passed / (within.as_millis() as f64).max(1.0)
    }

    fn begin_anew(&mut self, now: Timestamp) {
        let anew = |track: &Track| Track { total: track.done, ..Track::default() };
        *self = Rolling { since: now.0, users: anew(&self.users), groups: anew(&self.groups) };
    }
}

impl Track {
    /// Whether one more slice of so many objects is due.
    fn is_due(&self, part: f64, slice: u64) -> bool {
        let due = (self.total as f64 * part) as u64;
        !self.ended && (part >= 1.0 || self.done + slice <= due)
    }

    /// Notes a page, and where the listing goes on after it.
    fn passed(&mut self, count: usize, walk: &Walk) {
        self.done += count as u64;
        self.next = walk.place().map(ToString::to_string);
    }
}

async fn read_users(crawl: &mut Crawl<'_>, track: &mut Track, part: f64) -> Result<u64, PullError> {
    let before = track.done;
    for _ in 0..SLICES_MAX {
        if !track.is_due(part, USERS_A_SLICE) {
            break;
        }
        let second = track.in_second_list;
        let first = |api: &Api| if second { api.deprovisioned() } else { api.users() };
        let Some((page, walk)) = slice(crawl.api, List::Users, track, first).await? else { break };
        track.passed(page.objects.len(), &walk);
        crawl.users(page.objects)?;
        if track.next.is_none() {
            (track.ended, track.in_second_list) = (second, true);
        }
    }
    Ok(track.done.saturating_sub(before))
}

async fn read_groups(
    crawl: &mut Crawl<'_>,
    track: &mut Track,
    part: f64,
    left: &mut Left,
) -> Result<u64, PullError> {
    let before = track.done;
    for _ in 0..SLICES_MAX {
        if !track.is_due(part, GROUPS_A_SLICE) {
            break;
        }
        let first = |api: &Api| api.groups_by(&GROUPS_A_SLICE.to_string());
        let Some((page, walk)) = slice(crawl.api, List::Groups, track, first).await? else { break };
        track.passed(page.objects.len(), &walk);
        for listed in crawl.groups(page.objects)? {
            if listed.is_everyone {
                crawl.everyone(listed.item);
            } else {
                let wanted = left.entry(listed.item.group.id.clone()).or_insert_with(|| Wanted {
                    count: listed.count,
                    only_verified: true,
                    ..Wanted::default()
                });
                wanted.item = Some(listed.item);
            }
        }
        track.ended = track.next.is_none();
    }
    Ok(track.done.saturating_sub(before))
}

/// One page. `None`: the link is of no use any more, and the list begins anew
/// at the next poll.
async fn slice(
    api: &Api,
    list: List,
    track: &mut Track,
    first: impl FnOnce(&Api) -> Walk,
) -> Result<Option<(Page, Walk)>, PullError> {
    let mut walk = begin(list, track.next.clone(), || first(api))?;
    match walk.next(api).await {
        Ok(Some(page)) => Ok(Some((page, walk))),
        Ok(None) => Ok(None),
        Err(PullError::CursorExpired { .. }) => {
            *track = Track { total: track.total, ..Track::default() };
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_due_evenly_and_all_by_the_end_of_the_round() {
        let track = |done| Track { total: 1000, done, ..Track::default() };
        assert!(!track(0).is_due(0.1, 200));
        assert!(track(0).is_due(0.2, 200));
        assert!(!track(200).is_due(0.39, 200));
        assert!(track(200).is_due(0.4, 200));
        assert!(track(1000).is_due(1.0, 200), "the end must be seen, whatever was counted");
        assert!(!Track { ended: true, ..track(1000) }.is_due(1.0, 200));
    }

    #[test]
    fn a_round_begins_when_the_time_of_the_last_one_is_over() {
        let minute = Duration::from_mins(1);
        let mut rolling = Rolling { since: 1_000, ..Rolling::default() };
        rolling.users.done = 7;
        assert!(rolling.part(Timestamp(31_000), minute) < 0.51);
        rolling.begin_anew(Timestamp(61_000));
        assert_eq!((rolling.since, rolling.users.total, rolling.users.done), (61_000, 7, 0));
    }
}
