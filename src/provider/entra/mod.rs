//! Reads a tenant of Microsoft Entra ID by Microsoft Graph v1.0.
//!
//! | Room | What happens there |
//! |---|---|
//! | `config`, `objects` | the settings, and which properties of what are asked for |
//! | `auth`, `aadsts` | access tokens, and what refusals of them mean |
//! | `graph`, `batch` | Graph's answers, pages, quota, and twenty requests in one |
//! | `map` | from Graph's objects to users, groups and members |
//! | `crawl`, `members` | a full crawl: token of changes, lists, members, changes since |
//! | `rounds`, `changes`, `apply` | rounds of changes (delta queries): asked for, merged, read anew |
//! | `incremental` | what changed since the cursor, and the slice that is due |
//! | `patrol` | a slice of everything, read again at each poll |
//! | `place` | the cursor, and the token to go on with a crawl |
//! | `doctor` | what `rosterd doctor` says |
//!
//! What cannot be seen is unknown, never empty:
//! - An object with all properties null was shown without the permission to
//!   read it. Its last good record stands. If all objects of a kind are like
//!   that, the crawl fails and names the permission.
//! - A group whose members are refused (or hidden, without
//!   `Member.Read.Hidden`) keeps its last good members. One that was not known
//!   before is not shown until its members can be seen.
//! - Soft-deleted users are gone. They keep their memberships at Graph, and no
//!   round of changes tells of those again when they are restored, so the
//!   groups of every new or restored user are read.
//! - Replicas lag: a list may show who was removed a while ago. What rounds of
//!   changes told lately counts more than any list.
//!
//! Service principals and devices, when asked for, are users with an attribute
//! `objectType`. Managers are not read: Graph does not follow their changes.

mod aadsts;
mod apply;
mod auth;
mod batch;
mod changes;
mod config;
mod crawl;
mod doctor;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod graph;
mod incremental;
mod map;
mod members;
mod objects;
mod patrol;
mod place;
mod rounds;

use async_trait::async_trait;

pub use config::EntraConfig;

use self::crawl::Reading;
use self::graph::Graph;
use self::map::Mapper;
use self::place::Earlier;
use super::{Directory, Finding, Patience, PullError, Seal, Settings, Sink, Start};
use crate::digest::sha256_hex;

impl Settings for EntraConfig {
    fn kind(&self) -> &'static str {
        "entra"
    }

    fn origin(&self) -> String {
        self.resource()
    }

    fn fingerprint(&self) -> String {
        // Secrets are left out: a new one shows the same directory. So is the
        // way of proving, but not who is proved: permissions differ.
        let seen = format!(
            "{} {:?} {:?} {} {:?}",
            self.resource(),
            self.tenant_id,
            self.proof.client_id(),
            self.incremental,
            self.wanted
        );
        sha256_hex(seen.as_bytes())
    }

    fn is_resumable(&self) -> bool {
        true
    }

    fn open(&self, patience: Patience) -> Box<dyn Directory> {
        let graph = Graph::new(self, patience);
        Box::new(Entra { graph, config: self.clone(), earlier: Earlier::default() })
    }
}

/// One tenant.
struct Entra {
    config: EntraConfig,
    graph: Graph,
    /// Where rounds started a while ago: what a full crawl is not told.
    earlier: Earlier,
}

#[async_trait]
impl Directory for Entra {
    async fn crawl(&mut self, start: Start, sink: &mut dyn Sink) -> Result<Seal, PullError> {
        let mapper = Mapper::new(&self.config.wanted);
        let earlier = self.earlier.clone();
        let (graph, config) = (&self.graph, &self.config);
        let mut reading = Reading { graph, config, mapper, sink, earlier };
        let outcome = match start {
            Start::Full => crawl::full(&mut reading, None).await,
            Start::Resume(token) => crawl::full(&mut reading, Some(token)).await,
            Start::Incremental(cursor) => incremental::run(&mut reading, &cursor).await,
        };
        self.earlier = reading.earlier;
        outcome
    }

    async fn examine(&mut self) -> Vec<Finding> {
        doctor::examine(&self.config, &self.graph).await
    }
}
