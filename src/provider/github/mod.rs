//! Reads organizations of GitHub: github.com, Enterprise Server and Enterprise
//! Cloud with data residency.
//!
//! | Room | What happens there |
//! |---|---|
//! | [`config`] | the settings |
//! | `access`, `app` | the credential: one token, or one of an App for each organization |
//! | `vendor` | what answers mean: throttles, refusals, quota |
//! | `proof` | what the credential sees, before anything is believed |
//! | `ready`, `place`, `crawl` | one full crawl, and where it goes on |
//! | `graphql`, `members`, `teams`, `riders`, `pause` | reading by GraphQL |
//! | `rest`, `pages`, `conditional` | reading by REST |
//! | `tally` | what was read against what GitHub counts |
//! | `audit` | what changed, by the audit log |
//! | `map` | from GitHub's objects to users and groups, with the table of that |
//! | `doctor` | what `rosterd doctor` says |
//!
//! **Between full crawls.** Where the audit log is visible (Enterprise), a poll
//! reads the log and then whatever it names; the log is a hint, so everything
//! is read anew within `verify_within`, and at once for what it names and does
//! not explain. Elsewhere GitHub has nothing that tells all changes, and every
//! poll is a full crawl: by GraphQL that is about one request for a hundred
//! members and one for a hundred teams.

mod access;
mod app;
mod audit;
mod conditional;
pub mod config;
mod crawl;
mod doctor;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod graphql;
mod map;
mod members;
mod pages;
mod pause;
mod place;
mod proof;
mod ready;
mod rest;
mod riders;
mod tally;
mod teams;
mod vendor;

use std::collections::BTreeSet;

use async_trait::async_trait;

pub use config::GithubConfig;

use self::access::Access;
use self::config::Account;
use self::crawl::People;
use self::place::{Counts, Place};
use self::proof::Seen;
use super::{
    Cursor, Directory, Extent, Finding, Patience, Proof, PullError, Seal, Settings, Sink, Start,
    Verified,
};
use crate::clock;
use crate::digest::sha256_hex;

const NAME: &str = "github";

impl Settings for GithubConfig {
    fn kind(&self) -> &'static str {
        NAME
    }

    fn origin(&self) -> String {
        let root = self.url.as_str().trim_end_matches('/');
        format!("{root} ({})", self.organizations.join(", "))
    }

    fn fingerprint(&self) -> String {
        // A token sees what its owner sees, and only the token says who that
        // is; an App keeps its rights when its key is replaced.
        let account = match &self.account {
            Account::Token(token) => sha256_hex(token.expose().as_bytes()),
            Account::App { id, .. } => id.clone(),
        };
        let seen = format!(
            "{} {:?} {account:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            self.url,
            self.organizations,
            self.api,
            self.outside_collaborators,
            self.pending_invitations,
            self.saml_identities,
            self.secret_teams,
            self.incremental,
            self.keep_raw,
        );
        sha256_hex(seen.as_bytes())
    }

    fn is_resumable(&self) -> bool {
        true
    }

    fn open(&self, patience: Patience) -> Box<dyn Directory> {
        Box::new(Github {
            access: Access::new(self.clone(), patience),
            seen: Seen::default(),
            handled: BTreeSet::new(),
            people: None,
            size: teams::PAGE_MAX,
        })
    }
}

/// Some organizations under one credential.
struct Github {
    access: Access,
    seen: Seen,
    /// Entries of the audit log that the crawl under way acts upon.
    handled: BTreeSet<String>,
    /// Of a crawl that failed and may go on.
    people: Option<People>,
    /// Teams a page: as many as GitHub managed within its ten seconds.
    size: u32,
}

#[async_trait]
impl Directory for Github {
    async fn crawl(&mut self, start: Start, sink: &mut dyn Sink) -> Result<Seal, PullError> {
        let place = match start {
            Start::Full => Place::start(clock::now().0),
            Start::Resume(token) => Place::of_token(&token)?,
            Start::Incremental(cursor) => match audit::changes(self, &cursor, sink).await? {
                Some(seal) => return Ok(seal),
                None => Place::start(clock::now().0),
            },
        };
        let started = place.started;
        // What GitHub did not manage once it may manage now.
        self.size = teams::PAGE_MAX;
        let counts = crawl::run(self, place, sink).await?;
        let cursor = audit::begin(self, clock::Timestamp(started)).await?;
        Ok(Seal {
            extent: Extent::Whole,
            cursor: Some(cursor),
            proof: proof_of(&counts),
            verified: Verified::default(),
            requests: self.access.take_audit(),
            malformed: counts.malformed + counts.refused,
        })
    }

    fn recall(&mut self, cursor: &Cursor) {
        if let Some(seen) = audit::seen(cursor) {
            self.seen.recall(&seen);
        }
    }

    async fn examine(&mut self) -> Vec<Finding> {
        doctor::examine(self).await
    }
}

fn proof_of(counts: &Counts) -> Proof {
    let Counts { members, outside, invited, teams, refused, .. } = *counts;
    let mut proof = format!(
        "{members} members, {teams} teams, {outside} outside collaborators and {invited} \
         invitations read to the end, as many as GitHub counts"
    );
    if refused > 0 {
        proof.push_str(&format!("; {refused} teams may not be read and stay as they were"));
    }
    let seen = "who asks is proved to see everybody and every team of each organization";
    Proof::from(proof)
        .counted("members", counts.members_told, members)
        .counted("teams", counts.teams_told, counts.teams_listed)
        .visible(seen)
}
