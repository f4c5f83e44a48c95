//! Tries everything that a crawl needs, one step at a time, for
//! `rosterd doctor`.

use super::access::Connection;
use super::config::{Account, Extra, Incremental};
use super::graphql::Trouble;
use super::members::{self, Saml};
use super::proof::{Facts, Interface, prove};
use super::vendor::is_forbidden;
use super::{Github, audit, rest};
use crate::provider::http::Quarantine;
use crate::provider::{Finding, Outcome, PullError};

/// Some lines for each organization; later ones are left out once one is bad.
pub async fn examine(github: &mut Github) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in github.access.config.organizations.clone() {
        let outcome = match github.access.to(&name) {
            Ok(connection) => examine_organization(&connection, &mut findings).await,
            Err(error) => Err(("credential", error)),
        };
        if let Err((step, error)) = outcome {
            findings.push(finding(step_of(step, &error), Outcome::Bad, error.to_string()));
        }
    }
    findings
}

async fn examine_organization(
    connection: &Connection,
    findings: &mut Vec<Finding>,
) -> Result<(), (&'static str, PullError)> {
    let name = &connection.organization;
    if let Some(app) = connection.app() {
        let found = app.installation(name).await.map_err(|error| ("credential", error))?;
        app.check(&found, name).map_err(|error| ("permission", error))?;
        let detail = format!(
            "the App {} is installed in {name} and may read members (members: read)",
            app.id
        );
        findings.push(finding("permission", Outcome::Good, detail));
    }
    let facts = prove(connection).await.map_err(|error| ("visibility", error))?;
    findings.push(reached(connection, &facts));
    findings.extend(visible_teams(connection, &facts));
    findings.push(counted(connection, &facts).await.map_err(|error| ("visibility", error))?);
    findings.extend(addresses(connection, &facts).await.map_err(|error| ("permission", error))?);
    for (what, wanted) in [
        ("outside collaborators", connection.config.outside_collaborators),
        ("pending invitations", connection.config.pending_invitations),
    ] {
        let found = extra(connection, what, wanted).await;
        findings.extend(found.map_err(|error| ("permission", error))?);
    }
    findings.push(log(connection).await.map_err(|error| ("incremental", error))?);
    Ok(())
}

/// What kind of trouble an error is, for the reader's eye.
fn step_of(step: &'static str, error: &PullError) -> &'static str {
    match error {
        PullError::Unreachable { .. } => "network",
        PullError::Unauthorized { permission: None, .. } => "credential",
        PullError::Unauthorized { .. } => "permission",
        PullError::Throttled { .. } => "quota",
        _ => step,
    }
}

fn reached(connection: &Connection, facts: &Facts) -> Finding {
    let who = match connection.config.account {
        Account::Token(_) => "the token's user is a member of",
        Account::App { .. } => "the App is installed in",
    };
    let by = match facts.by {
        Interface::Graphql => "GraphQL",
        Interface::Rest => "REST",
    };
    let detail = format!("{who} {}, so all members are visible; read by {by}", facts.login);
    finding("visibility", Outcome::Good, detail)
}

fn visible_teams(connection: &Connection, facts: &Facts) -> Option<Finding> {
    if facts.sees_all_teams || !connection.config.secret_teams {
        return None;
    }
    let detail = format!(
        "secret teams of {} are visible only as far as the token's user is in them: let an owner's \
         token read, or an App, or write `secret_teams = false`",
        facts.login
    );
    Some(finding("visibility", Outcome::Warning, detail))
}

async fn counted(connection: &Connection, facts: &Facts) -> Result<Finding, PullError> {
    let name = &facts.login;
    let (members, teams) = match facts.by {
        Interface::Graphql => members::totals(connection).await.map_err(Trouble::into_error)?,
        Interface::Rest => {
            let mut quarantine = Quarantine::new(super::NAME);
            let teams = rest::teams(connection, &mut quarantine, &mut || {}).await?.teams;
            (rest::members(connection, &mut || {}).await?.len() as u64, teams.len() as u64)
        }
    };
    let detail = format!("{members} members and {teams} teams of {name} are visible");
    let outcome = if members == 0 { Outcome::Bad } else { Outcome::Good };
    Ok(finding("visibility", outcome, detail))
}

async fn addresses(connection: &Connection, facts: &Facts) -> Result<Vec<Finding>, PullError> {
    let name = &facts.login;
    let mut findings = Vec::new();
    if facts.by == Interface::Rest {
        let detail = "names and addresses are not read: lists of REST do not have them".to_owned();
        return Ok(vec![finding("addresses", Outcome::Warning, detail)]);
    }
    if !facts.sees_emails {
        let detail = "public addresses are not visible: tick user:email (or read:user) beside \
                      read:org at the token";
        findings.push(finding("addresses", Outcome::Warning, detail.to_owned()));
    }
    if connection.config.saml_identities == Extra::Off {
        return Ok(findings);
    }
    let found = match members::saml(connection).await.map_err(Trouble::into_error)? {
        Saml::Visible => {
            let detail = format!("the identities of single sign-on of {name} are visible");
            finding("addresses", Outcome::Good, detail)
        }
        Saml::None => {
            let detail = format!(
                "{name} shows no identity provider of its own, so addresses are the public ones only"
            );
            finding("addresses", Outcome::Good, detail)
        }
        Saml::Hidden(error) => {
            let outcome = outcome_of(connection.config.saml_identities);
            let detail = format!(
                "the identities of single sign-on of {name} are not visible ({error}): let an owner's \
                 token with admin:org read, or an App with Administration: Read-only"
            );
            finding("addresses", outcome, detail)
        }
    };
    findings.push(found);
    Ok(findings)
}

async fn extra(
    connection: &Connection,
    what: &'static str,
    wanted: Extra,
) -> Result<Option<Finding>, PullError> {
    if wanted == Extra::Off {
        return Ok(None);
    }
    let page = match what {
        "outside collaborators" => rest::outside(connection, &mut || {}).await,
        _ => rest::invitations(connection, &mut || {}).await,
    };
    let name = &connection.organization;
    match page {
        Ok(_) => {
            let detail = format!("{what} of {name} are visible");
            Ok(Some(finding("permission", Outcome::Good, detail)))
        }
        Err(error) if is_forbidden(&error) => {
            let key = what.replace(' ', "_");
            let detail = format!(
                "{what} of {name} are left out ({error}): let an owner's token read, grant Members: \
                 Read-only, or write `{key} = \"off\"`"
            );
            Ok(Some(finding("permission", outcome_of(wanted), detail)))
        }
        Err(error) => Err(error),
    }
}

async fn log(connection: &Connection) -> Result<Finding, PullError> {
    let name = &connection.organization;
    let wanted = connection.config.incremental;
    if wanted == Incremental::Off {
        let detail = "every crawl is full, as configured".to_owned();
        return Ok(finding("incremental", Outcome::Good, detail));
    }
    Ok(match audit::probe(connection).await? {
        Ok(()) => {
            let detail = format!("changes are read by the audit log of {name}");
            finding("incremental", Outcome::Good, detail)
        }
        Err(error) => {
            let is_wanted = wanted == Incremental::AuditLog;
            let outcome = if is_wanted { Outcome::Bad } else { Outcome::Warning };
            finding("incremental", outcome, format!("every crawl is full: {error}"))
        }
    })
}

fn outcome_of(wanted: Extra) -> Outcome {
    if wanted == Extra::On { Outcome::Bad } else { Outcome::Warning }
}

fn finding(step: &str, outcome: Outcome, detail: String) -> Finding {
    Finding { step: step.to_owned(), outcome, detail }
}
