//! A poller whose store has a bad moment.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::*;
use crate::model::EventKind;
use crate::provider::{Cursor, Directory, Extent, Finding, PullError, Seal, Sink, Start, Verified};
use crate::store::{Options, Store};

const HOUR: Duration = Duration::from_secs(3600);

/// A directory of nobody.
#[derive(Clone, Debug)]
struct Nobody;

impl Settings for Nobody {
    fn kind(&self) -> &'static str {
        "nobody"
    }

    fn origin(&self) -> String {
        "nowhere".to_owned()
    }

    fn fingerprint(&self) -> String {
        String::new()
    }

    fn open(&self, _: Patience) -> Box<dyn Directory> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Directory for Nobody {
    async fn crawl(&mut self, _: Start, _: &mut dyn Sink) -> Result<Seal, PullError> {
        Ok(Seal {
            extent: Extent::Whole,
            cursor: Some(Cursor(Vec::new())),
            proof: "nobody is there".to_owned().into(),
            verified: Verified::default(),
            requests: BTreeMap::new(),
            malformed: 0,
        })
    }

    async fn examine(&mut self) -> Vec<Finding> {
        Vec::new()
    }
}

fn terms(freshness_objective: Duration) -> Terms {
    Terms {
        name: "corp".into(),
        tenant: "acme".into(),
        product: "vpn".into(),
        delays: Delays { min: HOUR, max: HOUR },
        patience: Patience { request_timeout: HOUR, stall_timeout: HOUR },
        full_every: HOUR,
        checkpoints: Checkpointing { every: HOUR, max_age: HOUR },
        freshness_objective: Some(freshness_objective),
        limits: Limits::default(),
        on_hold: OnHold::default(),
        settings: Arc::new(Nobody),
    }
}

#[tokio::test]
async fn what_could_not_be_told_is_not_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path(), Options::default()).unwrap();
    let ledger = Ledger::open(store.clone()).unwrap();
    let (_trigger, shutdown) = task::shutdown();
    store.fail_writes();
    let terms = terms(Duration::from_millis(10));
    let poller = Poller::start(terms, ledger, Statuses::default(), Some(HOUR), shutdown);
    // That the objective is missed cannot be journaled.
    while !store.is_broken() {
        tokio::task::yield_now().await;
    }
    poller.remote().sync().await.unwrap();
    let kinds = store.events(0, 100).unwrap().into_iter().map(|event| event.kind);
    let is_news = |kind: &EventKind| {
        [EventKind::DirectoryFailing, EventKind::DirectoryRecovered].contains(kind)
    };
    for (position, kind) in kinds.filter(is_news).enumerate() {
        let expected = match position % 2 {
            0 => EventKind::DirectoryFailing,
            _ => EventKind::DirectoryRecovered,
        };
        assert_eq!(kind, expected, "receivers who heard of nothing were told that it is over");
    }
}
