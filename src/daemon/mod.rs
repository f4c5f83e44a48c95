//! The wiring: the only place that sees every part.
//!
//! [`run`] opens the store, shows what it holds, takes the socket, starts a
//! poller per directory and a task per webhook, and then does what signals ask
//! for until it is told to stop. What was committed before a restart is served
//! from the first moment on.

mod fleet;
mod narrator;
mod opa_fleet;
mod operator;
mod pomerium_fleet;
mod records;
mod signals;
mod systemd;
mod upkeep;
mod webhook_desk;
mod webhook_fleet;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{error, info, warn};

use self::fleet::Fleet;
use self::opa_fleet::Opas;
use self::operator::Remotes;
use self::pomerium_fleet::Writers;
use self::signals::{Request, Requests};
use self::webhook_desk::Desk;
use self::webhook_fleet::Webhooks;
use crate::audit::Trail;
use crate::clock::Duration;
use crate::config::{Changes, Config};
use crate::export::opa;
use crate::export::pomerium;
use crate::log;
use crate::model::{Act, Caller};
use crate::query;
use crate::store::{Opening, Options, Store};
use crate::sync::ledger::Ledger;
use crate::sync::status::Statuses;
use crate::task::{self, Task, Trigger};
use crate::webhook;

/// How long stopping may take. systemd would kill us later than that.
const STOP_PATIENCE: Duration = Duration::from_secs(4);

/// How long the last entry of the audit trail may take.
const STOP_RECORD_PATIENCE: Duration = Duration::from_millis(500);

/// Why the daemon could not start or go on.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct Fatal {
    what: String,
    reason: String,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When the store or the socket cannot be had.
pub fn run(path: PathBuf, config: Config, log: log::Control) -> Result<(), Fatal> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .thread_name("rosterd")
        .build()
        .map_err(|error| fatal("cannot start the runtime", error))?;
    let outcome = runtime.block_on(async {
        let requests = Requests::listen().map_err(|e| fatal("cannot listen for signals", e))?;
        let daemon = Daemon::start(path, config, log).await?;
        daemon.obey(requests).await
    });
    // A commit or a file that hangs must not keep the process; a commit cut
    // short is finished or dropped at the next start.
    runtime.shutdown_timeout(Duration::from_millis(500));
    outcome
}

struct Daemon {
    path: PathBuf,
    config: Config,
    log: log::Control,
    fleet: Fleet,
    webhooks: Webhooks,
    opas: Opas,
    writers: Writers,
    desk: Desk,
    policies: query::SharedPolicies,
    trail: Trail,
    query: query::Running,
    access: query::Access,
    trigger: Trigger,
    /// Narrator, upkeep, watchdog: stopped when dropped.
    _helpers: Vec<Task>,
}

impl Daemon {
    async fn start(path: PathBuf, config: Config, log: log::Control) -> Result<Daemon, Fatal> {
        info!(version = env!("CARGO_PKG_VERSION"), config = %path.display(), "starting");
        let (ledger, opening) = open_ledger(&config).await?;
        let trail = ledger.trail().clone();
        record_start(&trail, &path, &config, opening).await;
        let (trigger, shutdown) = task::shutdown();
        let statuses = Statuses::default();
        let remotes = Remotes::new(trail.clone());
        let endpoints = Arc::new(webhook::Statuses::default());
        let controls = webhook::Controls::default();
        let desk = Desk::new(Arc::clone(&endpoints), controls.clone(), trail.clone());
        desk.adopt(&config).await;
        let pushers = opa::Pushers::default();
        let databrokers = Arc::new(pomerium::Statuses::default());
        let listeners = query::Listeners::take(&config.query)
            .map_err(|error| fatal("cannot take the query socket", error))?;
        let access = listeners.access().clone();
        let policies = query::SharedPolicies::new(config.policies.clone());
        let sources = query::Sources {
            view: Arc::clone(ledger.view()),
            statuses: statuses.clone(),
            journal: Arc::new(ledger.store().clone()),
            operator: Arc::new(remotes.clone()),
            backlog: Arc::new(operator::Lag::new(Arc::clone(&endpoints), ledger.store().clone())),
            trail: Arc::new(trail.clone()),
            endpoints: Arc::new(desk.clone()),
            policies: policies.clone(),
            pushers: pushers.clone(),
            databrokers: Arc::clone(&databrokers),
            shutdown: shutdown.clone(),
        };
        let mut helpers = vec![
            narrator::start(ledger.clone()),
            upkeep::start(ledger.store().clone(), config.store.clone(), config.audit),
            trail.keep_counting(),
        ];
        let places = Arc::new(query::Directories(statuses.clone()));
        let feed = opa::Feed::new(ledger.view().clone(), Arc::new(ledger.store().clone()), places);
        let mut fleet = Fleet::new(ledger.clone(), statuses, remotes);
        fleet.drop_unknown(&config, &Caller::daemon()).await;
        fleet.start(&config, config.directories.keys().cloned().collect());
        let query = query::start(listeners, sources, config.query.limits(), shutdown)
            .map_err(|error| fatal("cannot start the query thread", error))?;
        let mut webhooks = Webhooks::new(ledger.clone(), endpoints, controls);
        webhooks.start(&config, config.webhooks.keys().cloned().collect());
        let mut opas = Opas::new(feed, pushers);
        opas.start(&config);
        let mut writers = Writers::new(ledger.clone(), databrokers);
        writers.start(&config);
        helpers.extend(systemd::feed_watchdog(query.pulse()));
        info!(socket = %config.query.socket.display(), directories = config.directories.len(), "ready");
        systemd::ready(&summary(&config));
        let _helpers = helpers;
        Ok(Daemon {
            path,
            config,
            log,
            fleet,
            webhooks,
            desk,
            policies,
            trail,
            query,
            access,
            opas,
            writers,
            trigger,
            _helpers,
        })
    }

    async fn obey(mut self, mut requests: Requests) -> Result<(), Fatal> {
        let by = loop {
            tokio::select! {
                (request, sender) = requests.next() => match request {
                    Request::Stop => break Some(sender.into()),
                    Request::Reload => self.reload(sender.into()).await,
                    Request::PollAll => self.poll_all(sender.into()).await,
                },
                () = self.query_ended() => {
                    error!("the query thread ended, stopping");
                    break None;
                }
            }
        };
        self.stop(by).await
    }

    /// The query thread serves until shutdown; anything else is a fault.
    async fn query_ended(&self) {
        while !self.query.is_finished() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn poll_all(&self, by: Caller) {
        records::write_often(&self.trail, records::sync(&self.fleet.names(), by)).await;
        self.fleet.poll_all();
    }

    /// Reads the configuration again; a bad one changes nothing.
    async fn reload(&mut self, by: Caller) {
        systemd::reloading();
        let path = self.path.clone();
        match task::blocking("reload", move || Config::load(&path)).await {
            Ok(Ok(config)) => self.adopt(config, by).await,
            Ok(Err(report)) => {
                error!(
                    config = %self.path.display(),
                    "the new configuration is refused, the old one stays\n{}",
                    report.render(false)
                );
                let act = records::reload_refused(&self.path, by, &report);
                records::write_often(&self.trail, act).await;
            }
            Err(end) => {
                error!(error = %end, "cannot reload");
                let act = records::reload_failed(&self.path, by, &end.to_string());
                records::write_often(&self.trail, act).await;
            }
        }
        systemd::ready(&summary(&self.config));
    }

    async fn adopt(&mut self, config: Config, by: Caller) {
        let changes = Changes::between(&self.config, &config);
        if changes.access {
            self.access.adopt(&config.query.access);
        }
        report(&self.path, &changes);
        let act = records::reload(&self.path, by.clone(), &self.config, &config, &changes);
        records::write(&self.trail, act).await;
        self.fleet.stop(&changes.directories.removed).await;
        self.fleet.stop(&changes.directories.changed).await;
        let dropped = self.fleet.drop_unknown(&config, &by).await;
        for name in changes.directories.removed.iter().filter(|name| !dropped.contains(name)) {
            records::write(&self.trail, records::deleted(name, by.clone())).await;
        }
        for act in records::created(&changes.directories.added, &config, &by) {
            records::write(&self.trail, act).await;
        }
        let again = [changes.directories.added, changes.directories.changed].concat();
        self.fleet.start(&config, again);
        self.webhooks.stop(&changes.webhooks.removed, true).await;
        self.webhooks.stop(&changes.webhooks.changed, false).await;
        self.desk.adopt(&config).await;
        let again = [changes.webhooks.added, changes.webhooks.changed].concat();
        self.webhooks.start(&config, again);
        self.policies.replace(config.policies.clone());
        self.opas.stop(&changes.opas.removed, true).await;
        self.opas.stop(&changes.opas.changed, false).await;
        self.opas.start(&config);
        self.writers.stop_changed(&config, &changes.pomerium.changed).await;
        self.writers.start(&config);
        if changes.log {
            self.log.apply(&config.log);
        }
        self.config = config;
    }

    /// Drains: crawls are abandoned (they never happened), commits and
    /// answers under way end.
    async fn stop(self, by: Option<Caller>) -> Result<(), Fatal> {
        info!("stopping");
        systemd::stopping();
        self.trigger.fire();
        let Daemon { mut fleet, mut webhooks, mut opas, mut writers, desk, trail, query, .. } =
            self;
        let drained = async {
            fleet.stop_all().await;
            webhooks.stop_all().await;
            opas.stop_all().await;
            writers.stop_all().await;
            let joined = task::blocking("query", move || query.join()).await;
            // Those of clients that hung up too.
            desk.orders_ended().await;
            joined
        };
        let drained = tokio::time::timeout(STOP_PATIENCE, drained).await;
        record_stop(&trail, by).await;
        match drained {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => return Err(fatal("the query thread failed", error)),
            Ok(Err(end)) => return Err(fatal("stopping failed", end)),
            Err(_) => warn!("not everything ended in time, leaving all the same"),
        }
        info!("stopped");
        Ok(())
    }
}

/// Opens the store and loads it into the view; what cannot be read is set
/// aside and read from the providers again.
async fn open_ledger(config: &Config) -> Result<(Ledger, Opening), Fatal> {
    let folder = config.state_dir.clone();
    let options = Options { cache_bytes: config.store.cache_bytes };
    let opened = task::blocking("open the store", move || {
        let (store, mut opening) =
            Store::open(&folder, options).map_err(|error| fatal("cannot open the store", error))?;
        tell(&folder, &opening);
        let ledger = match Ledger::open(store.clone()) {
            Err(error) if error.is_damage() => {
                opening = store
                    .set_aside(&error.to_string())
                    .map_err(|error| fatal("cannot set the damaged store aside", error))?;
                tell(&folder, &opening);
                Ledger::open(store).map_err(|error| fatal("cannot load the store", error))
            }
            outcome => outcome.map_err(|error| fatal("cannot load the store", error)),
        };
        ledger.map(|ledger| (ledger, opening))
    });
    opened.await.map_err(|end| fatal("cannot open the store", end))?
}

/// The last act, of the run before, tells how that ended.
async fn record_start(trail: &Trail, path: &Path, config: &Config, opening: Opening) {
    let store = trail.store().clone();
    let last = task::blocking("audit", move || last_act(&store)).await.ok().flatten();
    if let Some(act) = records::reset(&opening) {
        records::write(trail, act).await;
    }
    records::write(trail, records::start(path, config, &opening, last.as_ref())).await;
}

fn last_act(store: &Store) -> Option<Act> {
    let none = store.audit(None, 0, &|_| true).ok()?;
    let after = none.last.checked_sub(1)?.max(none.oldest.saturating_sub(1));
    let page = store.audit(Some(after), 1, &|_| true).ok()?;
    page.entries.into_iter().next().map(|entry| entry.act)
}

/// The last thing that is done; a disk that hangs must not keep us.
async fn record_stop(trail: &Trail, by: Option<Caller>) {
    let written = async {
        trail.flush().await;
        records::write(trail, records::stop(by)).await;
    };
    if tokio::time::timeout(STOP_RECORD_PATIENCE, written).await.is_err() {
        warn!("the audit trail could not be written in time");
    }
}

fn tell(folder: &Path, opening: &Opening) {
    match opening {
        Opening::Existing => {}
        Opening::New => info!(state_dir = %folder.display(), "made a new store"),
        Opening::Rebuilt { aside, reason } => error!(
            state_dir = %folder.display(),
            aside = %aside.display(),
            reason,
            "the store was damaged and is set aside; reading all directories again"
        ),
    }
}

fn report(path: &Path, changes: &Changes) {
    let Changes { directories, webhooks, opas, pomerium, .. } = changes;
    info!(
        config = %path.display(),
        directories_added = named(&directories.added),
        directories_removed = named(&directories.removed),
        directories_changed = named(&directories.changed),
        webhooks_added = named(&webhooks.added),
        webhooks_removed = named(&webhooks.removed),
        webhooks_changed = named(&webhooks.changed),
        policies = changes.policies.then_some("changed"),
        opas_added = named(&opas.added),
        opas_removed = named(&opas.removed),
        opas_changed = named(&opas.changed),
        pomerium_added = named(&pomerium.added),
        pomerium_removed = named(&pomerium.removed),
        pomerium_changed = named(&pomerium.changed),
        "reloaded"
    );
    let keys = changes.at_next_start();
    if !keys.is_empty() {
        warn!(?keys, "these changes take effect at the next start");
    }
}

/// Names for a log line; nothing where there are none.
fn named(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| names.join(", "))
}

fn summary(config: &Config) -> String {
    match config.directories.len() {
        1 => "serving 1 directory".to_owned(),
        count => format!("serving {count} directories"),
    }
}

fn fatal(what: impl Into<String>, reason: impl std::fmt::Display) -> Fatal {
    Fatal { what: what.into(), reason: reason.to_string() }
}
