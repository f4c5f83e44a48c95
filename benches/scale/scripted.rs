//! A provider that reads a generated directory, in full or by its feed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rosterd::provider::{
    Cursor, Directory, Extent, Finding, Patience, PullError, Seal, Settings, Sink, Start, Verified,
};

use super::measure;
use super::population::{Moment, Population};

/// What the provider is to show, and what it noted.
#[derive(Clone, Debug)]
pub struct Scripted {
    population: Population,
    script: Arc<Mutex<Script>>,
}

#[derive(Debug)]
struct Script {
    now: Moment,
    /// Whether it tells only what changed, when asked for that.
    feeds: bool,
    handed: Option<Handed>,
}

/// When the last page was handed over, and what had been spent by then.
#[derive(Clone, Copy, Debug)]
pub struct Handed {
    pub at: Instant,
    pub cpu: Duration,
    /// CPU time that comparing the pages took, without making them.
    pub comparing: Duration,
}

impl Scripted {
    pub fn new(population: Population) -> Scripted {
        let script = Script { now: Moment::default(), feeds: false, handed: None };
        Scripted { population, script: Arc::new(Mutex::new(script)) }
    }

    /// What the next crawl finds.
    pub fn show(&self, now: Moment, feeds: bool) {
        let mut script = self.script();
        (script.now, script.feeds) = (now, feeds);
    }

    pub fn handed(&self) -> Handed {
        self.script().handed.expect("a crawl ended")
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settings for Scripted {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    fn origin(&self) -> String {
        "generated".to_owned()
    }

    fn fingerprint(&self) -> String {
        String::new()
    }

    fn open(&self, _: Patience) -> Box<dyn Directory> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Directory for Scripted {
    async fn crawl(&mut self, start: Start, sink: &mut dyn Sink) -> Result<Seal, PullError> {
        let (now, feeds) = {
            let script = self.script();
            (script.now, script.feeds)
        };
        let since = match start {
            Start::Incremental(Cursor(bytes)) if feeds => Moment::from_bytes(&bytes),
            _ => None,
        };
        let mut comparing = Duration::ZERO;
        let mut hand_over = |page| {
            let before = measure::thread_cpu();
            sink.page(page);
            comparing += measure::thread_cpu() - before;
        };
        match since {
            Some(since) => self.population.feed(since, now).for_each(&mut hand_over),
            None => self.population.pages(now).for_each(&mut hand_over),
        }
        let handed = Handed { at: Instant::now(), cpu: measure::cpu(), comparing };
        self.script().handed = Some(handed);
        Ok(Seal {
            extent: if since.is_some() { Extent::Changes } else { Extent::Whole },
            cursor: Some(Cursor(now.to_bytes())),
            proof: "it was generated".to_owned().into(),
            verified: Verified::default(),
            requests: BTreeMap::new(),
            malformed: 0,
        })
    }

    async fn examine(&mut self) -> Vec<Finding> {
        Vec::new()
    }
}
