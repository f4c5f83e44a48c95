//! A full crawl: users, groups, and the members of each group in parallel.

mod lists;
mod members;
mod suspects;

use std::collections::BTreeMap;

use super::Google;
use super::bookmark::Bookmark;
use super::everybody::Everybody;
use super::members::Members;
use super::progress::{Phase, Progress};
use crate::clock::{self, Duration};
use crate::provider::http::Quarantine;
use crate::provider::{Cursor, Extent, Proof, PullError, Seal, Sink, Verified};

/// A feed that was closed to us is tried again after this.
const FEED_RETRY: Duration = Duration::from_hours(1);

/// Reads everything.
///
/// # Errors
/// Any doubt that it was everything.
pub async fn run(google: &mut Google, sink: &mut dyn Sink) -> Result<Seal, PullError> {
    Full::new(google, Progress::new(clock::now()), false).go(sink).await
}

/// Goes on where an earlier crawl ended.
///
/// # Errors
/// As [`run`]; [`PullError::CursorExpired`] when the token is of no use.
pub async fn resume(
    google: &mut Google,
    token: &[u8],
    sink: &mut dyn Sink,
) -> Result<Seal, PullError> {
    let progress = Progress::read(token)?;
    Full::new(google, progress, true).go(sink).await
}

struct Full<'a> {
    google: &'a mut Google,
    progress: Progress,
    quarantine: Quarantine,
    /// All users: when this very crawl listed them from the start, or listed
    /// them again before it went on with the members.
    everybody: Option<Everybody>,
    /// Groups that are read, and wait for the list of everybody.
    open: Vec<(String, Members)>,
    /// Groups whose answers made no sense, with their counts.
    odd: BTreeMap<String, Option<u64>>,
    /// All groups: a crawl that goes on lists them once more.
    listed: Everybody,
}

impl<'a> Full<'a> {
    fn new(google: &'a mut Google, progress: Progress, is_resumed: bool) -> Full<'a> {
        Full {
            google,
            progress,
            quarantine: Quarantine::new("google"),
            everybody: (!is_resumed).then(Everybody::default),
            open: Vec::new(),
            odd: BTreeMap::new(),
            listed: Everybody::default(),
        }
    }

    async fn go(mut self, sink: &mut dyn Sink) -> Result<Seal, PullError> {
        let outcome = self.read(sink).await;
        if outcome.is_err() {
            sink.checkpoint(self.progress.token());
        }
        outcome
    }

    async fn read(&mut self, sink: &mut dyn Sink) -> Result<Seal, PullError> {
        if self.progress.phase == Phase::Users {
            self.read_users(sink).await?;
            self.progress.enter(Phase::Groups);
        }
        // Groups came and went since an earlier attempt listed them.
        self.progress.start_groups();
        self.read_groups(sink).await?;
        self.look_for_unlisted(sink).await?;
        self.progress.enter(Phase::Members);
        sink.checkpoint(self.progress.token());
        // Known failure R1: without all users, none would be missed. They are read
        // again whole, since a page of the earlier attempt may have been missing.
        if self.everybody.is_none() && !self.progress.pending.is_empty() {
            self.everybody = Some(Everybody::default());
            self.progress.start_users();
            self.read_users(sink).await?;
        }
        self.read_members(sink).await?;
        self.look_for_suspect_groups(sink).await?;
        self.look_for_suspects(sink).await?;
        Ok(self.seal())
    }

    fn seal(&mut self) -> Seal {
        let progress = &self.progress;
        let now = clock::now();
        let closed = self.google.feed_refused.is_some_and(|at| now < at.plus(FEED_RETRY));
        let wants_cursor = self.google.config.incremental && !closed;
        self.google.pending = None;
        Seal {
            extent: Extent::Whole,
            cursor: wants_cursor.then(|| Cursor(Bookmark::new(progress, now).token())),
            proof: Proof::from(format!(
                "{} users and {} groups were listed to the last page; the members of every group were \
                 read to the end and compared with directMembersCount ({} groups list fewer, \
                 {} may not be read: both keep the members they had){}",
                progress.users,
                progress.groups,
                progress.short,
                progress.forbidden,
                if closed { "; the audit feed is closed to us" } else { "" },
            ))
            .counted(
                "groups with as many members as they count",
                Some(progress.groups),
                progress.groups.saturating_sub(progress.short + progress.forbidden),
            ),
            verified: Verified::default(),
            requests: self.google.api.take_audit(),
            malformed: progress.malformed,
        }
    }
}
