//! Reads OpenLDAP, 389 Directory Server, Active Directory and others by LDAP.
//!
//! | Room | What happens there |
//! |---|---|
//! | [`config`], [`schema`] | the settings, and which attributes mean what |
//! | `connect`, `guard`, `session` | socket, TLS, the guard in front of ldap3, operations with a deadline |
//! | `root` | what the server says about itself |
//! | `crawl` | one crawl, full or incremental |
//! | `syncrepl`, `active_directory`, `bookmark` | incremental reading, and its cursor |
//! | `pages`, `ranges` | large answers in parts |
//! | `dn`, `ids`, `entry`, `map` | names, ids, and from entries to users and groups |
//! | `answer` | what result codes mean |
//! | `doctor` | what `rosterd doctor` says |

mod active_directory;
mod answer;
mod ber;
mod bookmark;
pub mod config;
mod connect;
mod crawl;
mod dn;
mod doctor;
mod entry;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod guard;
mod ids;
mod map;
mod pages;
mod ranges;
mod root;
pub mod schema;
mod session;
mod syncrepl;

use std::sync::Arc;

use async_trait::async_trait;
use rustls::ClientConfig;

pub use config::{Draft, Incremental, LdapConfig, Mistake};
pub use schema::Schema;

use super::{Directory, Finding, Patience, PullError, Seal, Settings, Sink, Start};
use crate::digest::sha256_hex;

impl Settings for LdapConfig {
    fn kind(&self) -> &'static str {
        "ldap"
    }

    fn origin(&self) -> String {
        let urls: Vec<&str> = self.servers.iter().map(|server| server.url.as_str()).collect();
        urls.join(", ")
    }

    fn fingerprint(&self) -> String {
        let mut urls: Vec<&str> = self.servers.iter().map(|server| server.url.as_str()).collect();
        urls.sort_unstable();
        // The password is left out: a new one shows the same directory, and
        // a digest of it would be stored.
        let account = match &self.bind {
            config::Bind::Anonymous => "anonymous",
            config::Bind::External => "external",
            config::Bind::Simple { name, .. } => name,
        };
        let seen = format!(
            "{urls:?} {:?} {account:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            self.base,
            self.schema,
            self.user,
            self.group,
            self.users,
            self.groups,
            self.primary_group,
            self.attributes,
            self.incremental,
            self.keep_raw,
        );
        sha256_hex(seen.as_bytes())
    }

    fn open(&self, patience: Patience) -> Box<dyn Directory> {
        Box::new(Ldap { config: self.clone(), patience, tls: None, page_size: None })
    }
}

/// One directory read by LDAP. Connects anew for every crawl, since servers
/// and what stands between cut idle connections off.
struct Ldap {
    config: LdapConfig,
    patience: Patience,
    tls: Option<Arc<ClientConfig>>,
    /// As large as the server let pages be.
    page_size: Option<u32>,
}

#[async_trait]
impl Directory for Ldap {
    async fn crawl(&mut self, start: Start, sink: &mut dyn Sink) -> Result<Seal, PullError> {
        crawl::run(self, start, sink).await
    }

    async fn examine(&mut self) -> Vec<Finding> {
        doctor::examine(self).await
    }
}

impl Ldap {
    /// The trust to verify servers by, read once.
    fn tls(&mut self) -> Result<Arc<ClientConfig>, PullError> {
        if let Some(tls) = &self.tls {
            return Ok(Arc::clone(tls));
        }
        let tls = connect::tls_config(self.config.ca.as_deref()).map_err(|reason| {
            PullError::Misconfigured {
                what: self.config.origin(),
                reason,
                hint: "`ca` must name a PEM file with the authority that signed the server's certificate".to_owned(),
            }
        })?;
        self.tls = Some(Arc::clone(&tls));
        Ok(tls)
    }
}
