//! Proves what the credential sees, before anything is believed.
//!
//! Whoever is not a member of an organization sees its public members only,
//! with status 200, and a token without the scope `read:org` likewise.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::access::Connection;
use super::config::Api;
use super::graphql::{Question, Trouble, ask, incomplete};
use super::vendor::message_of;
use crate::provider::PullError;
use crate::provider::http::Answer;

/// What is known of an organization and of who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub id: u64,
    /// In its own spelling.
    pub login: String,
    pub name: Option<String>,
    /// Who asks sees all teams, also secret ones: an owner, or an App.
    pub sees_all_teams: bool,
    pub by: Interface,
    /// Public addresses may be asked for.
    pub sees_emails: bool,
    /// Accounts say whether they are suspended.
    pub tells_suspended: bool,
}

/// By which interface to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    Graphql,
    Rest,
}

/// What was visible once: should it vanish, that is a lost permission and not
/// a change of the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen(BTreeSet<(String, String)>);

impl Seen {
    /// Adds what was visible when a cursor was made.
    pub fn recall(&mut self, other: &Seen) {
        self.0.extend(other.0.iter().cloned());
    }

    /// Notes whether `part` of the organization is visible now.
    ///
    /// # Errors
    /// [`PullError::Unauthorized`] when it was before, and is not any more.
    pub fn note(
        &mut self,
        organization: &str,
        part: &'static str,
        is: bool,
    ) -> Result<(), PullError> {
        let key = (organization.to_lowercase(), part.to_owned());
        if is {
            self.0.insert(key);
            return Ok(());
        }
        if !self.0.contains(&key) {
            return Ok(());
        }
        Err(PullError::Unauthorized {
            what: format!("the organization {organization}"),
            reason: format!(
                "{part} were visible before and are not any more; give the credential back what it \
                 lost, or change the settings so that the directory goes on without"
            ),
            permission: Some(format!("whatever shows {part}")),
        })
    }
}

const MEMBER_HINT: &str = "the token's user must be a member of the organization, better an owner: \
     let an owner invite it, or use a GitHub App";

/// Proves that the credential sees all members of the organization.
///
/// # Errors
/// [`PullError::Unauthorized`], with what to do, when it does not.
pub async fn prove(connection: &Connection) -> Result<Facts, PullError> {
    match connection.config.api {
        Api::Rest => by_rest(connection).await,
        Api::Graphql => by_graphql(connection).await.map_err(Trouble::into_error),
        Api::Auto => match by_graphql(connection).await {
            // No GraphQL there, or no such organization: REST will tell.
            Err(Trouble::Gone(_)) => by_rest(connection).await,
            outcome => outcome.map_err(Trouble::into_error),
        },
    }
}

const PROBE: &str = "query($login: String!) { rateLimit { cost } \
     organization(login: $login) { databaseId login name viewerIsAMember viewerCanAdminister \
     membersWithRole(first: 1) { nodes { databaseId email } } } }";
const PROBE_WITHOUT_EMAIL: &str = "query($login: String!) { rateLimit { cost } \
     organization(login: $login) { databaseId login name viewerIsAMember viewerCanAdminister \
     membersWithRole(first: 1) { nodes { databaseId } } } }";
/// Servers of one's own know a field that github.com does not have.
const FIELDS: &str = "query { __type(name: \"User\") { fields { name } } }";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probed {
    database_id: u64,
    login: String,
    name: Option<String>,
    viewer_is_a_member: bool,
    viewer_can_administer: bool,
}

async fn by_graphql(connection: &Connection) -> Result<Facts, Trouble> {
    let (data, sees_emails) = match probe(connection, PROBE).await {
        // Classic tokens need `user:email` beside `read:org` for it.
        Err(Trouble::Hidden(_, message)) if message.contains("email") => {
            (probe(connection, PROBE_WITHOUT_EMAIL).await?, false)
        }
        outcome => (outcome?, true),
    };
    let what = || format!("the organization {}", connection.organization);
    let probed: Probed = serde_json::from_value(data["organization"].clone())
        .map_err(|error| incomplete(&what(), format!("the first answer is not whole: {error}")))?;
    let is_app = connection.app().is_some();
    if !is_app && !probed.viewer_is_a_member && !probed.viewer_can_administer {
        return Err(Trouble::Fatal(not_a_member(connection)));
    }
    let tells_suspended = connection.config.is_server() && tells_suspended(connection).await?;
    Ok(Facts {
        id: probed.database_id,
        login: probed.login,
        name: probed.name.filter(|name| !name.is_empty()),
        sees_all_teams: is_app || probed.viewer_can_administer,
        by: Interface::Graphql,
        sees_emails,
        tells_suspended,
    })
}

async fn probe(connection: &Connection, document: &str) -> Result<Value, Trouble> {
    let question = Question {
        endpoint: "GraphQL organization",
        document,
        variables: json!({ "login": connection.organization }),
        points: 1.0,
        accepts: &[404, 405, 501],
    };
    ask(connection, question).await
}

async fn tells_suspended(connection: &Connection) -> Result<bool, Trouble> {
    let question = Question {
        endpoint: "GraphQL __type",
        document: FIELDS,
        variables: json!({}),
        points: 1.0,
        accepts: &[],
    };
    let data = ask(connection, question).await?;
    let fields = data["__type"]["fields"].as_array().map_or(&[][..], Vec::as_slice);
    Ok(fields.iter().any(|field| field["name"] == "suspendedAt"))
}

async fn by_rest(connection: &Connection) -> Result<Facts, PullError> {
    #[derive(Deserialize)]
    struct Organization {
        id: u64,
        login: String,
        #[serde(default)]
        name: Option<String>,
    }
    let name = &connection.organization;
    let call = connection.get("GET /orgs/{org}", &format!("/orgs/{name}"), &[]).accept(&[404]);
    let answer = connection.object_again(call).await?;
    if answer.status.as_u16() == 404 {
        return Err(PullError::Misconfigured {
            what: format!("the organization {name}"),
            reason: "there is none of this name, or the credential may not know of it".to_owned(),
            hint: "correct `organizations`, or let an owner give the credential access".to_owned(),
        });
    }
    check_scopes(&answer, name)?;
    let found: Organization = answer.json()?;
    let sees_all_teams = match connection.app() {
        // The installation's permission was checked when its token was fetched.
        Some(_) => true,
        None => membership(connection).await?,
    };
    Ok(Facts {
        id: found.id,
        login: found.login,
        name: found.name.filter(|name| !name.is_empty()),
        sees_all_teams,
        by: Interface::Rest,
        sees_emails: false,
        tells_suspended: false,
    })
}

/// Whether the token's user is an owner; an error when it is no member.
async fn membership(connection: &Connection) -> Result<bool, PullError> {
    #[derive(Deserialize)]
    struct Membership {
        state: String,
        role: String,
    }
    let path = format!("/user/memberships/orgs/{}", connection.organization);
    let call = connection.get("GET /user/memberships/orgs/{org}", &path, &[]).accept(&[403, 404]);
    let mut answer = connection.object_again(call).await?;
    if answer.status.as_u16() == 404 {
        answer = membership_by_name(connection).await?;
    }
    if answer.status.as_u16() == 404 {
        return Err(not_a_member(connection));
    }
    if answer.status.as_u16() == 403 {
        return Err(PullError::Unauthorized {
            what: format!("the organization {}", connection.organization),
            reason: message_of(&answer),
            permission: Some("Members: Read-only (classic token: read:org)".to_owned()),
        });
    }
    let membership: Membership = answer.json()?;
    if membership.state != "active" {
        return Err(not_a_member(connection));
    }
    Ok(membership.role == "admin")
}

/// The same for servers that do not know the shorter way.
async fn membership_by_name(connection: &Connection) -> Result<Answer, PullError> {
    #[derive(Deserialize)]
    struct Caller {
        login: String,
    }
    let caller: Caller =
        connection.object_again(connection.get("GET /user", "/user", &[])).await?.json()?;
    let path = format!("/orgs/{}/memberships/{}", connection.organization, caller.login);
    let endpoint = "GET /orgs/{org}/memberships/{username}";
    connection.object_again(connection.get(endpoint, &path, &[]).accept(&[403, 404])).await
}

fn not_a_member(connection: &Connection) -> PullError {
    PullError::Unauthorized {
        what: format!("the organization {}", connection.organization),
        reason: format!("GitHub shows public members only to who asks; {MEMBER_HINT}"),
        permission: Some("membership".to_owned()),
    }
}

/// Classic tokens tell their scopes with every answer; without this one they
/// see public members only.
fn check_scopes(answer: &Answer, name: &str) -> Result<(), PullError> {
    let Some(scopes) = answer.header("x-oauth-scopes") else { return Ok(()) };
    let is_enough = scopes
        .split(',')
        .any(|scope| matches!(scope.trim(), "read:org" | "write:org" | "admin:org"));
    if is_enough {
        return Ok(());
    }
    Err(PullError::Unauthorized {
        what: format!("the organization {name}"),
        reason: format!(
            "the token has the scopes `{}`; tick read:org under Settings, Developer settings, \
             Personal access tokens",
            scopes.escape_debug()
        ),
        permission: Some("read:org".to_owned()),
    })
}
