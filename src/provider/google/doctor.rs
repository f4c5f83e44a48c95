//! Tries everything that a crawl needs, one step at a time, for
//! `rosterd doctor`.

use google_apis_common::GetToken;
use serde_json::Value;

use super::Google;
use super::api::Listed;
use super::config::Access;
use super::feed;
use super::map;
use super::members::{self, Reading};
use super::session::{GROUPS_SCOPE, REPORTS_SCOPE, USERS_SCOPE};
use crate::clock::{self, Duration};
use crate::provider::{Finding, Outcome, PullError};

/// So many groups are looked into for members.
const SAMPLE: usize = 5;

/// One line for each step; later steps are left out once one that they need fails.
pub async fn examine(google: &mut Google) -> Vec<Finding> {
    let mut findings = vec![account(google)];
    let users = scope(google, USERS_SCOPE, "users", &mut findings).await;
    let groups = scope(google, GROUPS_SCOPE, "groups and their members", &mut findings).await;
    if users && groups {
        let seen = match see(google, &mut findings).await {
            Ok(()) => None,
            Err((step, error)) => Some(bad(step, error)),
        };
        findings.extend(seen);
    }
    findings.push(incremental(google).await);
    findings
}

fn account(google: &Google) -> Finding {
    let config = &google.config;
    let detail = match &config.access {
        Access::Key(key) => {
            format!("{} signs with its key and acts as {}", key.client_email, config.impersonate)
        }
        Access::Keyless { service_account, .. } => format!(
            "IAM signs for {service_account}, without a key, which acts as {}",
            config.impersonate
        ),
    };
    Finding { step: "credential".to_owned(), outcome: Outcome::Good, detail }
}

/// Whether a token for this one scope can be had.
async fn scope(google: &Google, scope: &str, what: &str, findings: &mut Vec<Finding>) -> bool {
    match google.api.session().get_token(&[scope]).await {
        Ok(_) => {
            let detail = format!("the scope {scope} is delegated ({what})");
            findings.push(Finding { step: "permission".into(), outcome: Outcome::Good, detail });
            true
        }
        Err(error) => {
            let step = match error.downcast_ref::<PullError>() {
                Some(PullError::Unauthorized { permission: Some(_), .. }) => "permission",
                Some(PullError::Unreachable { .. }) => "network",
                _ => "credential",
            };
            findings.push(bad(step, error.to_string()));
            false
        }
    }
}

async fn see(google: &Google, findings: &mut Vec<Finding>) -> Result<(), (&'static str, String)> {
    let failed = |error: PullError| {
        let step = match &error {
            PullError::Unauthorized { .. } => "permission",
            PullError::Unreachable { .. } => "network",
            _ => "visibility",
        };
        (step, error.to_string())
    };
    let users = first_page(google.api.users(0, None).await.map_err(failed)?);
    let groups = first_page(google.api.groups(0, None).await.map_err(failed)?);
    let (users, all_users) = users.ok_or(("visibility", "there is no list of users".to_owned()))?;
    let (groups, all_groups) =
        groups.ok_or(("visibility", "there is no list of groups".to_owned()))?;
    if users.is_empty() {
        let detail = format!(
            "no user is visible: correct `customer` or `domains`, or give {} a role that sees them",
            google.config.impersonate
        );
        return Err(("visibility", detail));
    }
    let detail = format!(
        "{} users and {} groups are visible",
        amount(users.len(), all_users),
        amount(groups.len(), all_groups)
    );
    findings.push(Finding { step: "visibility".into(), outcome: Outcome::Good, detail });
    findings.push(administrator(google).await.map_err(failed)?);
    findings.extend(see_members(google, &groups).await.map_err(failed)?);
    Ok(())
}

/// Whether the impersonated account sees everybody, as far as Google says.
async fn administrator(google: &Google) -> Result<Finding, PullError> {
    let address = &google.config.impersonate;
    let user = google.api.user(address).await?.object();
    let is = |name: &str| user.as_ref().and_then(|user| user.get(name)).and_then(Value::as_bool);
    let (outcome, detail) = match (&user, is("isAdmin"), is("isDelegatedAdmin")) {
        (None, ..) => (Outcome::Warning, format!("{address} is not among the users it can see")),
        (_, Some(true), _) => {
            (Outcome::Good, format!("{address} is a super administrator and sees all"))
        }
        (_, _, Some(true)) => (
            Outcome::Warning,
            format!(
                "{address} has administrator roles: check in the Admin console under Account > Admin \
                 roles that they hold for all organizational units, or parts stay invisible"
            ),
        ),
        _ => (
            Outcome::Warning,
            format!(
                "{address} is no administrator: assign it a role with the privileges Users > Read and Groups > Read"
            ),
        ),
    };
    Ok(Finding { step: "visibility".to_owned(), outcome, detail })
}

async fn see_members(google: &Google, groups: &[Value]) -> Result<Option<Finding>, PullError> {
    let counted = |group: &&Value| map::count_of(group).is_some_and(|count| count > 0);
    let mut seen = 0;
    for group in groups.iter().filter(counted).take(SAMPLE) {
        let Some(id) = map::id_of(group) else { continue };
        match members::read(&google.api, &id, map::count_of(group)).await? {
            Reading::Whole(members) => seen += members.len(),
            Reading::Short { members, count } => {
                let detail = format!(
                    "the group {id} counts {count} members and lists {}: lists that stay short add \
                     members and remove none",
                    members.len()
                );
                return Ok(Some(warning("visibility", detail)));
            }
            Reading::Kept { reason, .. } => {
                let detail = format!("the members of the group {id} cannot be read: {reason}");
                return Ok(Some(warning("permission", detail)));
            }
            Reading::Gone => {}
        }
    }
    if seen == 0 {
        let detail = format!(
            "0 members of {} groups are visible: correct `customer` or `domains`, or the role of {}, \
             unless they are all empty",
            groups.len(),
            google.config.impersonate
        );
        return Ok((!groups.is_empty()).then(|| warning("visibility", detail)));
    }
    let detail = format!("members are readable, and as many as Google counts ({seen} looked at)");
    Ok(Some(Finding { step: "permission".to_owned(), outcome: Outcome::Good, detail }))
}

async fn incremental(google: &Google) -> Finding {
    if !google.config.incremental {
        let detail = "every crawl is full, as configured".to_owned();
        return Finding { step: "incremental".to_owned(), outcome: Outcome::Good, detail };
    }
    let start = clock::now().minus(Duration::from_mins(10));
    match feed::probe(&google.api, start).await {
        Ok(()) => {
            let detail = "changes are read by the audit feed, and verified in turn".to_owned();
            Finding { step: "incremental".to_owned(), outcome: Outcome::Good, detail }
        }
        Err(error) => {
            let detail = format!(
                "every crawl is full, since the audit feed cannot be read: {error}; delegate the scope \
                 {REPORTS_SCOPE} too, and give {} the privilege Reports",
                google.config.impersonate
            );
            warning("incremental", detail)
        }
    }
}

fn first_page(listed: Listed) -> Option<(Vec<Value>, bool)> {
    match listed {
        Listed::Page(page) => Some((page.objects, page.next.is_none())),
        Listed::Expired(_) | Listed::Missing => None,
    }
}

fn amount(count: usize, is_all: bool) -> String {
    if is_all { count.to_string() } else { format!("{count} and more") }
}

fn bad(step: &str, detail: String) -> Finding {
    Finding { step: step.to_owned(), outcome: Outcome::Bad, detail }
}

fn warning(step: &str, detail: String) -> Finding {
    Finding { step: step.to_owned(), outcome: Outcome::Warning, detail }
}
