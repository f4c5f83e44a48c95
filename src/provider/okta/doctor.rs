//! Tries everything that a crawl needs, one step at a time, for
//! `rosterd doctor`.

use serde_json::Value;

use super::Okta;
use super::api::Api;
use super::config::{Incremental, Login, OktaConfig};
use super::map::{self, OktaGroup};
use super::shortage::users_count;
use super::walk::{Page, Walk};
use crate::clock::{self, Duration, Timestamp};
use crate::provider::{Finding, Outcome, PullError};

/// So many pages of users are counted to prove that all are visible.
const PAGES_MAX: usize = 25;

/// One line for each step; what cannot work after a failure is left out.
pub async fn examine(okta: &mut Okta) -> Vec<Finding> {
    let api = match okta.api() {
        Ok(api) => api,
        Err(error) => return vec![bad("credential", error.to_string())],
    };
    let mut doctor = Doctor { api: &api, config: &okta.config, findings: Vec::new() };
    doctor.examine().await;
    doctor.findings
}

struct Doctor<'a> {
    api: &'a Api,
    config: &'a OktaConfig,
    findings: Vec<Finding>,
}

/// What is known of the group of all users.
struct Everyone {
    is_visible: bool,
    /// How many users Okta says that it has.
    users: Option<u64>,
}

impl Doctor<'_> {
    async fn examine(&mut self) {
        let mut users = self.api.users();
        let first = users.next(self.api).await;
        let Some(first) = self.step("okta.users.read", first) else { return };
        self.connected(&first);
        let mut groups = self.api.groups();
        let page = groups.next(self.api).await;
        let Some(page) = self.step("okta.groups.read", page) else { return };
        let all = groups.place().is_none();
        self.members(&page.objects).await;
        self.log().await;
        let everyone = self.everyone().await;
        self.groups_seen(&page.objects, all, &everyone);
        self.users_seen(users, first.objects.len() as u64, &everyone).await;
    }

    /// The first answer proves network, TLS and credential.
    fn connected(&mut self, page: &Page) {
        let host = self.config.url.origin().ascii_serialization();
        self.findings.insert(0, good("network", format!("{host} answers")));
        let who = match &self.config.login {
            Login::Token(_) => "the API token is good; it sees what its creator's role shows, and \
                                dies with that account"
                .to_owned(),
            Login::App(app) => {
                let scopes = self.api.granted_scopes().unwrap_or_default().join(", ");
                format!("the service app {} gets tokens for {scopes}", app.client_id)
            }
        };
        self.findings.insert(1, good("credential", who));
        let (ours, theirs) = (clock::now(), page.time);
        let off = ours.0.abs_diff(theirs.0);
        if off > CLOCK_OFF_MAX.as_millis() as u64 {
            let detail = format!(
                "the clock of this host is {} s off Okta's; set it by NTP, or signed requests fail",
                off / 1000
            );
            self.findings.push(warning("clock", detail));
        }
    }

    fn step(&mut self, scope: &str, outcome: Result<Option<Page>, PullError>) -> Option<Page> {
        match outcome {
            Ok(page) => {
                self.findings.push(good("permission", format!("{scope} is granted")));
                Some(page.unwrap_or(Page { objects: Vec::new(), time: Timestamp(0) }))
            }
            Err(error) => {
                let finding = self.failure(scope, &error);
                self.findings.push(finding);
                None
            }
        }
    }

    fn failure(&self, scope: &str, error: &PullError) -> Finding {
        match error {
            PullError::Unauthorized { permission: Some(_), reason, .. } => {
                bad("permission", format!("{scope} is missing: {reason}. {}", self.cure(scope)))
            }
            PullError::Unauthorized { reason, .. } => {
                bad("credential", format!("{reason}. {}", self.new_credential()))
            }
            PullError::Unreachable { .. } => bad("network", error.to_string()),
            PullError::Misconfigured { .. } => bad("credential", error.to_string()),
            other => bad("answers", format!("{other}; is `url` the address of an Okta org?")),
        }
    }

    /// What to click, or whom to ask.
    fn cure(&self, scope: &str) -> String {
        match &self.config.login {
            Login::Token(_) => {
                let right = match scope {
                    "okta.logs.read" => {
                        "a role that may view the System Log (Report or Read-only Administrator)"
                    }
                    _ => {
                        "the role Read-only Administrator, or a custom role that may view all users and groups"
                    }
                };
                format!(
                    "In the Admin Console give the creator of the token {right} \
                     (Security > Administrators), or make a token as somebody who has it \
                     (Security > API > Tokens)"
                )
            }
            Login::App(app) => format!(
                "In the Admin Console open Applications > Applications > {}: under Okta API \
                 Scopes grant {scope}, and under Admin roles assign Read-only Administrator",
                app.client_id
            ),
        }
    }

    fn new_credential(&self) -> &'static str {
        match &self.config.login {
            Login::Token(_) => {
                "The token is wrong, was revoked, was not used for 30 days, or its creator is \
                 deactivated: make a new one under Security > API > Tokens"
            }
            Login::App(_) => "Check that the app is active, and its `client_id` and key",
        }
    }

    async fn members(&mut self, groups: &[Value]) {
        let id = groups.iter().find_map(|group| map::id_of(group));
        let Some(id) = id else { return };
        let outcome = self.api.members(id).next(self.api).await;
        let finding = match outcome {
            Ok(_) => good("permission", "members of groups are readable".to_owned()),
            Err(error) => self.failure("okta.groups.read", &error),
        };
        self.findings.push(finding);
    }

    async fn log(&mut self) {
        if self.config.incremental != Incremental::Auto {
            return;
        }
        let now = clock::now();
        let since = now.minus(Duration::from_mins(1));
        let filter = "eventType eq \"group.lifecycle.delete\"";
        let outcome = self.api.events(since, now, filter).next(self.api).await;
        let missing_scope = self
            .api
            .granted_scopes()
            .is_some_and(|scopes| !scopes.iter().any(|scope| scope == "okta.logs.read"));
        let finding = match outcome {
            Ok(_) => good("permission", "okta.logs.read is granted".to_owned()),
            Err(PullError::Unauthorized { .. }) => self.no_log(),
            Err(_) if missing_scope => self.no_log(),
            Err(error) => self.failure("okta.logs.read", &error),
        };
        self.findings.push(finding);
    }

    fn no_log(&self) -> Finding {
        let detail = format!(
            "okta.logs.read is missing: deleted groups are found by listing all groups at every \
             poll, deleted users by the next full crawl, and memberships that Okta does not date \
             by reading all groups again within `verify_within`. {}",
            self.cure("okta.logs.read")
        );
        warning("permission", detail)
    }

    async fn everyone(&self) -> Everyone {
        let mut walk = self.api.built_in_groups();
        let mut everyone = Everyone { is_visible: false, users: None };
        while let Ok(Some(page)) = walk.next(self.api).await {
            for object in page.objects {
                let count = users_count(&object);
                let group: Option<OktaGroup> = serde_json::from_value(object).ok();
                if group.is_some_and(|group| group.is_everyone()) {
                    everyone = Everyone { is_visible: true, users: count };
                }
            }
        }
        everyone
    }

    /// Only admins of some groups do not see the group of all users (Okta,
    /// "List all groups").
    fn groups_seen(&mut self, groups: &[Value], all: bool, everyone: &Everyone) {
        let seen = amount(groups.len() as u64, all);
        if everyone.is_visible {
            let detail = format!("{seen} groups are visible, and Everyone is among them");
            self.findings.push(good("visibility", detail));
            return;
        }
        let detail = format!(
            "{seen} groups are visible, and Everyone is not: the role shows a part of the \
             directory only, and the rest would be missing without a word. {}",
            self.cure("okta.groups.read")
        );
        self.findings.push(bad("visibility", detail));
    }

    async fn users_seen(&mut self, mut walk: Walk, first: u64, everyone: &Everyone) {
        let mut count = first;
        for _ in 1..PAGES_MAX {
            match walk.next(self.api).await {
                Ok(Some(page)) => count += page.objects.len() as u64,
                Ok(None) => break,
                Err(error) => {
                    let finding = self.failure("okta.users.read", &error);
                    self.findings.push(finding);
                    return;
                }
            }
        }
        let all = walk.place().is_none();
        let seen = amount(count, all);
        let finding = match everyone.users {
            Some(users) if all && count < users => {
                let detail = format!(
                    "{seen} users are visible, and Everyone has {users}: the others are \
                     deprovisioned, or the role hides them"
                );
                warning("visibility", detail)
            }
            Some(users) => {
                good("visibility", format!("{seen} users are visible; Everyone has {users}"))
            }
            None if count == 0 => {
                bad("visibility", format!("no user is visible. {}", self.cure("okta.users.read")))
            }
            None => good("visibility", format!("{seen} users are visible")),
        };
        self.findings.push(finding);
    }
}

/// Assertions and proofs are dated; Okta allows for a few minutes.
const CLOCK_OFF_MAX: Duration = Duration::from_mins(2);

fn amount(count: u64, is_all: bool) -> String {
    if is_all { count.to_string() } else { format!("{count} and more") }
}

fn good(step: &str, detail: String) -> Finding {
    Finding { step: step.to_owned(), outcome: Outcome::Good, detail }
}

fn warning(step: &str, detail: String) -> Finding {
    Finding { step: step.to_owned(), outcome: Outcome::Warning, detail }
}

fn bad(step: &str, detail: String) -> Finding {
    Finding { step: step.to_owned(), outcome: Outcome::Bad, detail }
}
