//! The daemon's parts around one generated directory: store, view, poller, socket.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rosterd::clock;
use rosterd::query::{
    Limits as Patience, Listeners, QueryConfig, Running, SharedPolicies, Sources, start,
};
use rosterd::store::{Options, Store};
use rosterd::sync::guard::{Limits, OnHold};
use rosterd::sync::ledger::Ledger;
use rosterd::sync::poller::{Checkpointing, Poller, Terms};
use rosterd::sync::schedule::Delays;
use rosterd::sync::status::Statuses;
use rosterd::task::{self, Trigger};

use super::asker::{self, Asker, Sockets};
use super::bare::start_bare;
use super::nobody::Nothing;
use super::population::{Moment, Population};
use super::scripted::Scripted;

/// Nothing in a bench waits for so long.
const NEVER: Duration = Duration::from_hours(24);
/// Bytes of an answer to a check, about.
const ANSWER: usize = 180;

pub struct House {
    pub population: Population,
    pub store: Store,
    pub ledger: Ledger,
    pub provider: Scripted,
    pub sockets: Sockets,
    pub folder: PathBuf,
    runtime: tokio::runtime::Runtime,
    poller: Poller,
    trigger: Trigger,
    running: Running,
}

impl House {
    /// Opens the store in `folder`, loads it, and serves.
    pub fn open(folder: &Path, population: Population) -> House {
        let (store, _) = Store::open(&folder.join("store"), options()).expect("it opens");
        let ledger = Ledger::open(store.clone()).expect("it loads");
        House::around(folder, population, ledger)
    }

    pub fn around(folder: &Path, population: Population, ledger: Ledger) -> House {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let entered = runtime.enter();
        let (trigger, shutdown) = task::shutdown();
        let (statuses, provider) = (Statuses::default(), Scripted::new(population));
        let terms = terms(provider.clone());
        let (ledger_of, statuses_of, until) = (ledger.clone(), statuses.clone(), shutdown.clone());
        let poller = Poller::start(terms, ledger_of, statuses_of, Some(NEVER), until);
        let store = ledger.store().clone();
        let at = std::env::temp_dir().join(format!("rosterd-scale-{}", std::process::id()));
        std::fs::create_dir_all(&at).expect("a folder for the sockets");
        let sockets = Sockets { rosterd: at.join("rosterd.sock"), bare: at.join("bare.sock") };
        start_bare(&sockets.bare, ANSWER);
        let config = QueryConfig { socket: sockets.rosterd.clone(), ..QueryConfig::default() };
        let listeners = Listeners::take(&config).expect("the socket can be taken");
        let sources = Sources {
            view: ledger.view().clone(),
            statuses,
            journal: Arc::new(store.clone()),
            operator: Arc::new(Nothing),
            backlog: Arc::new(Nothing),
            trail: Arc::new(Nothing),
            endpoints: Arc::new(Nothing),
            policies: SharedPolicies::default(),
            pushers: rosterd::export::opa::Pushers::default(),
            databrokers: Arc::default(),
            shutdown: shutdown.clone(),
        };
        let running =
            start(listeners, sources, Patience::default(), shutdown).expect("the server starts");
        drop(entered);
        let folder = folder.to_owned();
        House {
            population,
            store,
            ledger,
            provider,
            sockets,
            folder,
            runtime,
            poller,
            trigger,
            running,
        }
    }

    /// Polls now, to the end of the commit.
    pub fn sync(&self, at: Moment, feeds: bool) {
        self.provider.show(at, feeds);
        self.runtime.block_on(self.poller.remote().sync()).expect("the crawl seals");
    }

    pub fn asker(&self) -> Asker {
        Asker::start(&self.sockets, self.ledger.view().clone(), self.population)
    }

    /// The answer to one request over the socket.
    pub fn ask(&self, path: &str) -> (u16, Vec<u8>) {
        let mut stream = UnixStream::connect(&self.sockets.rosterd).expect("connects");
        asker::ask(&mut stream, &asker::get(path))
    }

    /// Merges the membership changes that wait, as upkeep does; how many pieces it took.
    pub fn merge(&self) -> u32 {
        let mut pieces = 0;
        while let Some(mut merging) = self.store.begin_merge().expect("reads") {
            pieces += 1;
            while self.store.merge(&mut merging).expect("merges") {
                pieces += 1;
            }
        }
        pieces
    }

    pub fn close(self) {
        self.trigger.fire();
        self.runtime.block_on(self.poller.join());
        self.running.join().expect("the server ends well");
        if let Some(folder) = self.sockets.bare.parent() {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// The defaults, or `CACHE_MB` of sled's pages.
pub fn options() -> Options {
    let megabytes = std::env::var("CACHE_MB").ok().and_then(|text| text.parse::<u64>().ok());
    megabytes.map_or_else(Options::default, |megabytes| Options { cache_bytes: megabytes << 20 })
}

fn terms(provider: Scripted) -> Terms {
    Terms {
        name: "corp".into(),
        tenant: "acme".into(),
        product: "vpn".into(),
        delays: Delays { min: NEVER, max: NEVER },
        patience: rosterd::provider::Patience { request_timeout: NEVER, stall_timeout: NEVER },
        full_every: NEVER,
        checkpoints: Checkpointing { every: NEVER, max_age: NEVER },
        freshness_objective: None,
        // What a tick takes away is meant.
        limits: Limits::none(),
        on_hold: OnHold::default(),
        settings: Arc::new(provider),
    }
}

/// A moment of now as a query takes it.
pub fn now() -> String {
    clock::now().to_string()
}
