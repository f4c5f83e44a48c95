//! Reads Google Workspace by the Directory API of the Admin SDK.
//!
//! | Room | What happens there |
//! |---|---|
//! | [`config`], [`key`] | the settings, and the keys they name |
//! | `session`, `grant`, `platform` | tokens: delegation, and what signs for it |
//! | `vendor` | what Google's answers mean |
//! | `api`, `wire` | the requests, and pages read strictly |
//! | `map` | from JSON to users, groups and members |
//! | `members`, `shortage`, `judged` | one group's complete members, compared with the count |
//! | `full`, `progress` | a full crawl, which goes on where it ended |
//! | `feed`, `touched` | the audit feed: a hint at what to read again |
//! | `incremental`, `rolling`, `again`, `bookmark` | what changed, a slice of the rest, what was read badly, and the cursor |
//! | `doctor` | what `rosterd doctor` says |

mod again;
mod api;
mod bookmark;
pub mod config;
mod doctor;
mod everybody;
mod feed;
mod full;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod grant;
mod incremental;
mod judged;
pub mod key;
mod map;
mod members;
mod platform;
mod progress;
mod rolling;
mod session;
mod shortage;
mod touched;
mod vendor;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;

pub use config::GoogleConfig;

use self::api::Api;
use self::config::{Access, Coverage};
use self::members::Known;
use self::rolling::Pending;
use self::shortage::Shortages;
use super::{Directory, Finding, Patience, PullError, Seal, Settings, Sink, Start};
use crate::clock::Timestamp;
use crate::digest::sha256_hex;

impl Settings for GoogleConfig {
    fn kind(&self) -> &'static str {
        "google"
    }

    fn origin(&self) -> String {
        let whole = match &self.coverage {
            Coverage::Customer(customer) => format!("customer {customer}"),
            Coverage::Domains(domains) => domains.join(", "),
        };
        format!("{} ({whole}, as {})", self.api, self.impersonate)
    }

    fn fingerprint(&self) -> String {
        // Keys are left out: a new one shows the same directory.
        let account = match &self.access {
            Access::Key(key) => &key.client_email,
            Access::Keyless { service_account, .. } => service_account,
        };
        let seen = format!(
            "{} {:?} {:?} {account:?} {:?} {:?} {} {} {}",
            self.api,
            self.coverage,
            self.impersonate,
            self.schemas,
            self.attributes,
            self.external_members,
            self.incremental,
            self.keep_raw,
        );
        sha256_hex(seen.as_bytes())
    }

    fn is_resumable(&self) -> bool {
        true
    }

    fn open(&self, patience: Patience) -> Box<dyn Directory> {
        let config = Arc::new(self.clone());
        Box::new(Google {
            api: Api::new(&config, patience),
            config,
            known: Known::default(),
            shortages: Shortages::default(),
            pending: None,
            feed_refused: None,
        })
    }
}

/// One organisation, or some of its domains.
struct Google {
    config: Arc<GoogleConfig>,
    api: Api,
    /// What earlier crawls saw, to save requests; nothing depends on it.
    known: Known,
    shortages: Shortages,
    /// The page of groups that is being read again, slice by slice.
    pending: Option<Pending>,
    /// When the audit feed last turned out to be closed to us.
    feed_refused: Option<Timestamp>,
}

#[async_trait]
impl Directory for Google {
    async fn crawl(&mut self, start: Start, sink: &mut dyn Sink) -> Result<Seal, PullError> {
        self.api.take_audit();
        match start {
            Start::Incremental(cursor) => incremental::run(self, &cursor, sink).await,
            Start::Resume(token) => full::resume(self, &token, sink).await,
            Start::Full => full::run(self, sink).await,
        }
    }

    async fn examine(&mut self) -> Vec<Finding> {
        doctor::examine(self).await
    }
}
