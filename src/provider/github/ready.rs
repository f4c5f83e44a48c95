//! Proves what is visible of every organization before any of it is read.

use super::Github;
use super::access::Connection;
use super::config::Extra;
use super::graphql::Trouble;
use super::members::{self, Saml};
use super::proof::{Facts, Interface, prove};
use crate::provider::PullError;

/// An organization, proved.
#[derive(Clone)]
pub struct Ready {
    pub connection: Connection,
    pub facts: Facts,
    pub saml: bool,
}

/// # Errors
/// When something that is needed is not visible.
pub async fn ready(github: &mut Github) -> Result<Vec<Ready>, PullError> {
    let mut all = Vec::new();
    for name in github.access.config.organizations.clone() {
        let connection = github.access.to(&name)?;
        let facts = prove(&connection).await?;
        let seen = &mut github.seen;
        seen.note(&name, "its GraphQL interface", facts.by == Interface::Graphql)?;
        if facts.by == Interface::Graphql {
            seen.note(&name, "public addresses", facts.sees_emails)?;
        }
        if connection.config.secret_teams {
            seen.note(&name, "secret teams", facts.sees_all_teams)?;
        }
        let saml = sees_saml(github, &connection, &facts).await?;
        all.push(Ready { connection, facts, saml });
    }
    Ok(all)
}

async fn sees_saml(
    github: &mut Github,
    connection: &Connection,
    facts: &Facts,
) -> Result<bool, PullError> {
    let wanted = connection.config.saml_identities;
    if wanted == Extra::Off || facts.by == Interface::Rest {
        return Ok(false);
    }
    let found = members::saml(connection).await.map_err(Trouble::into_error)?;
    if let (Saml::Hidden(error), Extra::On) = (&found, wanted) {
        return Err(error.clone());
    }
    let is = matches!(found, Saml::Visible);
    github.seen.note(&connection.organization, "identities of single sign-on", is)?;
    Ok(is)
}
