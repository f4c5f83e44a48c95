//! Reads Okta: users of all statuses, groups, and who is in them.
//!
//! | Room | What happens there |
//! |---|---|
//! | [`config`] | the settings |
//! | `credential` | API tokens; service apps with `private_key_jwt` and DPoP |
//! | `vendor` | what Okta's answers mean: `errorCode`, `X-Rate-Limit-*` |
//! | `api`, `walk` | requests, pages, and the proof that something is gone |
//! | `map` | from JSON to users, groups and events of the System Log |
//! | `bookmark` | the cursor, and the token of a crawl that goes on |
//! | `crawl` | what full and incremental crawls share: people and member lists |
//! | `shortage` | lists that hold fewer users than Okta counts |
//! | `full`, `changes`, `rolling` | the full crawl; the incremental one; the slice it reads again |
//! | `doctor` | what `rosterd doctor` says |
//!
//! **Users.** The plain listing leaves out `DEPROVISIONED`, so that status is
//! listed on its own; every other one comes with the plain listing, also those
//! that Okta may add. Who changes status between the two lists is in neither:
//! a full crawl ends with the users that changed while it ran.
//!
//! **Everyone.** The built-in group holds every user, also deprovisioned ones
//! (which have `active: false`). Its list is never read: each user's record
//! says that it belongs there, in full and incremental crawls alike.
//!
//! **Counts.** Groups come with the number of their users (`expand=stats`), in
//! the same pages. A full crawl that read fewer users than Everyone has fails
//! and is tried again; a group whose list is short gains members and loses none.
//! Both end when the difference has stood for `verify_within`.
//!
//! **Deletions** are in no filter. The System Log tells of them, and a 404
//! (`E0000007`) for the very id proves each. Without `okta.logs.read` every
//! crawl lists the groups' ids and compares; deleted users, which Okta makes
//! `DEPROVISIONED` first, leave with the next full crawl.
//!
//! **Changes** are asked for with an overlap, since log and filters are a
//! little late. Neither is the whole truth: a rolling slice of users and groups
//! is read again at every poll, all within `verify_within`.

mod api;
mod bookmark;
mod changes;
pub mod config;
mod crawl;
mod credential;
mod doctor;
mod full;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod map;
mod rolling;
mod shortage;
mod vendor;
mod walk;

use async_trait::async_trait;

pub use config::OktaConfig;

use self::api::Api;
use self::bookmark::{Bookmark, Phase, Token};
use self::crawl::Left;
use self::full::Gathered;
use self::shortage::Shortages;
use super::{Directory, Finding, Patience, PullError, Seal, Settings, Sink, Start};
use crate::digest::sha256_hex;

impl Settings for OktaConfig {
    fn kind(&self) -> &'static str {
        "okta"
    }

    fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    fn fingerprint(&self) -> String {
        // An API token sees what its creator sees, and only the token says who
        // that is; an app keeps its rights when its key is replaced.
        let account = match &self.login {
            config::Login::Token(token) => sha256_hex(token.expose().as_bytes()),
            config::Login::App(app) => format!("{} {:?}", app.client_id, app.scopes),
        };
        let seen = format!(
            "{} {account} {:?} {:?} {:?} {:?} {}",
            self.url,
            self.active_statuses,
            self.group_types,
            self.attributes,
            self.incremental,
            self.keep_raw,
        );
        sha256_hex(seen.as_bytes())
    }

    fn is_resumable(&self) -> bool {
        true
    }

    fn open(&self, patience: Patience) -> Box<dyn Directory> {
        Box::new(Okta { config: self.clone(), patience, api: None, memory: Memory::default() })
    }
}

/// One Okta org.
struct Okta {
    config: OktaConfig,
    patience: Patience,
    api: Option<Api>,
    memory: Memory,
}

/// What is remembered as long as the process lives.
#[derive(Default)]
struct Memory {
    /// Of the full crawl that a token may ask to go on with.
    gathered: Option<Gathered>,
    /// Groups that the incremental crawl which began at that time did not get to.
    left: Option<(u64, Left)>,
    /// Lists that were shorter than their counts.
    shortages: Shortages,
    /// Whether the System Log could be read the last time.
    has_log: Option<bool>,
}

#[async_trait]
impl Directory for Okta {
    async fn crawl(&mut self, start: Start, sink: &mut dyn Sink) -> Result<Seal, PullError> {
        let api = self.api()?;
        api.take_audit();
        let mut seal = match start {
            Start::Full => full::run(self, &api, None, sink).await,
            Start::Incremental(cursor) => {
                let bookmark = Bookmark::read(&cursor.0)?;
                changes::run(self, &api, bookmark, sink).await
            }
            Start::Resume(token) => match Token::read(&token)? {
                Token { started, phase: Phase::Changes(paused), .. } => {
                    changes::go_on(self, &api, started, *paused, sink).await
                }
                token => full::run(self, &api, Some(token), sink).await,
            },
        }?;
        seal.requests = api.take_audit();
        Ok(seal)
    }

    async fn examine(&mut self) -> Vec<Finding> {
        doctor::examine(self).await
    }
}

impl Okta {
    /// The way to the org, made once: tokens and budget live as long as it.
    fn api(&mut self) -> Result<Api, PullError> {
        if let Some(api) = &self.api {
            return Ok(api.clone());
        }
        let api = Api::new(&self.config, self.patience)?;
        self.api = Some(api.clone());
        Ok(api)
    }
}
