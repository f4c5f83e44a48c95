//! A held set that is too large to be stored beside the cursor.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use rosterd::model::User;
use rosterd::provider::{
    Cursor, Directory, Finding, Item, Patience, PullError, Seal, Settings, Sink, UserItem,
};
use rosterd::sync::poller::Page;

use super::world::seal;
use super::*;

const USERS: usize = 1_200;
/// Of each user; all together more than a row may hold.
const TITLE_BYTES: usize = 1_024;

/// Users with long titles, who may all sign in or all not.
#[derive(Clone, Debug, Default)]
struct Crowd(Arc<AtomicBool>);

impl Settings for Crowd {
    fn kind(&self) -> &'static str {
        "crowd"
    }

    fn origin(&self) -> String {
        "crowd".to_owned()
    }

    fn fingerprint(&self) -> String {
        String::new()
    }

    fn open(&self, _: Patience) -> Box<dyn Directory> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Directory for Crowd {
    /// What changed since a cursor is nothing: it comes once, in full.
    async fn crawl(&mut self, start: Start, sink: &mut dyn Sink) -> Result<Seal, PullError> {
        let extent = match start {
            Start::Incremental(_) => Extent::Changes,
            Start::Full | Start::Resume(_) => Extent::Whole,
        };
        if extent == Extent::Whole {
            sink.page((0..USERS).map(|n| self.user(n)).collect());
        }
        Ok(seal(extent, Cursor(vec![1])))
    }

    async fn examine(&mut self) -> Vec<Finding> {
        Vec::new()
    }
}

impl Crowd {
    fn user(&self, n: usize) -> Item {
        let user = User {
            id: format!("u{n}"),
            username: format!("u{n}"),
            title: Some("x".repeat(TITLE_BYTES)),
            active: !self.0.load(Ordering::Relaxed),
            ..User::default()
        };
        Item::User(UserItem { user, ..UserItem::default() })
    }
}

fn active(parts: &Parts) -> usize {
    let users = parts.roster().users;
    users.values().filter(|word| !word.contains("may not")).count()
}

#[test]
fn a_held_set_beyond_a_mebibyte_outlives_a_restart_by_a_full_crawl() {
    block_on(async {
        let (folder, crowd) = (tempfile::tempdir().unwrap(), Crowd::default());
        let full_every = rosterd::clock::Duration::ZERO;
        let often = Manner { full_every, ..Manner::new(LENS, strict()) };
        let seldom = Manner::new(LENS, strict());
        let parts = Parts::open(folder.path(), Arc::new(crowd.clone()), often);
        parts.sync().await.unwrap();
        crowd.0.store(true, Ordering::Relaxed);
        parts.sync().await.unwrap();
        let first = Page { of: None, offset: 0, limit: 10 };
        let before = parts.poller.remote().held(first.clone()).await.unwrap();
        assert_eq!((before.total, before.summary.held.users), (USERS as u64, USERS as u64));
        assert_eq!((before.summary.whole.as_deref(), active(&parts)), (None, USERS));
        let id = before.summary.id.clone();
        parts.poller.remote().reject(&id, Caller::daemon()).await.unwrap();
        parts.close().await;

        let parts = Parts::open(folder.path(), Arc::new(crowd.clone()), seldom);
        let stored = parts.ledger.progress("corp");
        assert_eq!(stored.cursor, None, "only a full crawl finds the set again");
        let hold = stored.hold.expect("it is held still");
        assert!(hold.pending.removals.is_empty() && hold.rejected);
        let remote = parts.poller.remote();
        let shown = remote.held(first.clone()).await.unwrap();
        assert_eq!(
            (shown.summary.id.as_str(), shown.summary.counts),
            (&*id, before.summary.counts)
        );
        assert!(shown.unlisted.is_some() && shown.rows.is_empty());
        remote.approve(&id, Caller::daemon()).await.unwrap_err();

        parts.sync().await.unwrap();
        let again = remote.held(first).await.unwrap();
        assert_eq!((again.summary.id.as_str(), again.rows), (&*id, before.rows));
        assert!(again.summary.rejected, "it keeps what was said about it");
        remote.approve(&id, Caller::daemon()).await.unwrap();
        assert_eq!(active(&parts), 0);
    });
}
