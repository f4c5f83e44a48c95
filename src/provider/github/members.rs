//! Reads the members of an organization by GraphQL, with the addresses that
//! its identity provider vouches for.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::access::Connection;
use super::graphql::{Page, Question, TOO_SLOW, Trouble, ask};
use super::map::{Person, Standing, person, person_reference};
use super::proof::Facts;
use super::ready::Ready;
use super::riders::{Ride, Riders};
use crate::provider::http::Quarantine;
use crate::provider::{PullError, UserItem};

/// The accounts on one page, and their ids.
pub struct People {
    pub items: Vec<UserItem>,
    /// Of everybody on it, also of who could not be decoded.
    pub ids: Vec<u64>,
    pub page: Page,
}

/// Asks for one page of members, and for what `riders` want to know.
///
/// # Errors
/// [`Trouble::Heavy`] when fewer than `first` should be asked for.
pub async fn ask_page(
    ready: &Ready,
    first: u32,
    after: Option<&str>,
    riders: Option<&mut Riders>,
) -> Result<Value, Trouble> {
    let Ready { connection, facts, .. } = ready;
    let ride = riders.as_ref().map(|riders| riders.ride(connection));
    let mut variables = json!({ "login": connection.organization, "first": first, "after": after });
    let lists = ride.as_ref().map_or(0, |ride| ride.lists);
    let document = document(facts, ride.as_ref());
    if let (Some(ride), Value::Object(all)) = (ride, &mut variables) {
        all.extend(ride.variables);
    }
    let question = Question {
        endpoint: "GraphQL members",
        document: &document,
        variables,
        points: f64::max(1.0, (1 + lists) as f64 / 100.0),
        accepts: if first > 1 { TOO_SLOW } else { &[] },
    };
    let mut data = ask(connection, question).await?;
    if let Some(riders) = riders {
        riders.take(&mut data, &connection.organization)?;
    }
    Ok(data)
}

/// The members on a page.
///
/// # Errors
/// When it is not whole.
pub async fn read_page(
    ready: &Ready,
    mut data: Value,
    quarantine: &mut Quarantine,
) -> Result<People, Trouble> {
    let Ready { connection, facts, saml } = ready;
    let what = format!("GitHub, members of {}", connection.organization);
    let list = data["organization"]["membersWithRole"].take();
    let mut page = Page::read(&what, list, "edges")?;
    let mut found: Vec<(Person, Standing, Option<String>)> = Vec::new();
    let mut ids = Vec::new();
    for edge in page.entries.drain(..) {
        let node = edge["node"].clone();
        let raw = connection.config.keep_raw.then(|| node.to_string());
        let standing = standing(&edge, &what)?;
        ids.extend(node["databaseId"].as_u64());
        let decoded: Option<Person> = quarantine.decode(node, person_reference)?;
        found.extend(decoded.map(|person| (person, standing, raw)));
    }
    let logins: Vec<&str> = found.iter().map(|(person, ..)| person.login.as_str()).collect();
    let mut emails = match *saml {
        true => saml_emails(connection, &logins).await?,
        false => BTreeMap::new(),
    };
    let items = found
        .into_iter()
        .map(|(found, standing, raw)| {
            let vouched = emails.remove(&found.id).unwrap_or_default();
            person(found, standing, facts, vouched, raw)
        })
        .collect();
    Ok(People { items, ids, page })
}

/// How many members and teams GitHub counts.
///
/// # Errors
/// When it does not tell.
pub async fn totals(connection: &Connection) -> Result<(u64, u64), Trouble> {
    let question = Question {
        endpoint: "GraphQL totals",
        document: "query($login: String!) { rateLimit { cost } organization(login: $login) { \
                   membersWithRole(first: 1) { totalCount } teams(first: 1) { totalCount } } }",
        variables: json!({ "login": connection.organization }),
        points: 1.0,
        accepts: &[],
    };
    let data = ask(connection, question).await?;
    let of = |list: &str| data["organization"][list]["totalCount"].as_u64();
    of("membersWithRole").zip(of("teams")).ok_or_else(|| {
        let what = format!("GitHub, organization {}", connection.organization);
        Trouble::Fatal(super::graphql::incomplete(&what, "it has no counts".to_owned()))
    })
}

/// Accounts by their logins, whose standing is known.
///
/// # Errors
/// [`Trouble::Gone`] when there is no account of such a name.
pub async fn by_login(
    ready: &Ready,
    logins: &[(String, Standing)],
    quarantine: &mut Quarantine,
) -> Result<Vec<UserItem>, Trouble> {
    let Ready { connection, facts, saml } = ready;
    if logins.is_empty() {
        return Ok(Vec::new());
    }
    let fields = fields(facts);
    let (mut head, mut lines) = (String::new(), String::new());
    let mut variables = Map::new();
    for (n, (login, _)) in logins.iter().enumerate() {
        head.push_str(&format!("$u{n}: String!, "));
        lines.push_str(&format!("u{n}: user(login: $u{n}) {{ {fields} }} "));
        variables.insert(format!("u{n}"), json!(login));
    }
    let document = format!("query({head}) {{ rateLimit {{ cost }} {lines}}}");
    let question = Question {
        endpoint: "GraphQL user",
        document: &document,
        variables: Value::Object(variables),
        points: 1.0,
        accepts: &[],
    };
    let mut data = ask(connection, question).await?;
    let names: Vec<&str> = logins.iter().map(|(login, _)| login.as_str()).collect();
    let mut emails = match saml {
        true => saml_emails(connection, &names).await?,
        false => BTreeMap::new(),
    };
    let mut items = Vec::new();
    for (n, (_, standing)) in logins.iter().enumerate() {
        let node = data[format!("u{n}")].take();
        let raw = connection.config.keep_raw.then(|| node.to_string());
        let decoded: Option<Person> = quarantine.decode(node, person_reference)?;
        let Some(found) = decoded else { continue };
        let vouched = emails.remove(&found.id).unwrap_or_default();
        items.push(person(found, *standing, facts, vouched, raw));
    }
    Ok(items)
}

fn fields(facts: &Facts) -> String {
    let email = if facts.sees_emails { "email" } else { "" };
    let suspended = if facts.tells_suspended { "suspendedAt" } else { "" };
    format!("databaseId login name {email} {suspended}")
}

fn document(facts: &Facts, ride: Option<&Ride>) -> String {
    let fields = fields(facts);
    let (head, inside, beside, fragments) = match ride {
        Some(ride) => (&*ride.head, ride.inside, &*ride.beside, ride.fragments),
        None => Default::default(),
    };
    format!(
        "query($login: String!, $first: Int!, $after: String, {head}) {{ rateLimit {{ cost }} \
         organization(login: $login) {{ membersWithRole(first: $first, after: $after) {{ totalCount \
         pageInfo {{ hasNextPage endCursor }} edges {{ role node {{ {fields} }} }} }} {inside} }} \
         {beside} }} {fragments}"
    )
}

fn standing(edge: &Value, what: &str) -> Result<Standing, PullError> {
    match edge["role"].as_str() {
        Some("ADMIN") => Ok(Standing::Owner),
        Some(_) => Ok(Standing::Member),
        None => Err(PullError::Incomplete {
            what: what.to_owned(),
            reason: "a member has no role".to_owned(),
        }),
    }
}

const IDENTITY: &str = "fragment I on ExternalIdentityConnection { edges { node { user { databaseId } \
     samlIdentity { nameId username emails { value primary } } \
     scimIdentity { username emails { value primary } } } } }";

/// Whether the organization has an identity provider, and the credential sees it.
///
/// # Errors
/// When that cannot be told.
pub async fn saml(connection: &Connection) -> Result<Saml, Trouble> {
    let question = Question {
        endpoint: "GraphQL samlIdentityProvider",
        document: "query($login: String!) { rateLimit { cost } organization(login: $login) { \
                   samlIdentityProvider { externalIdentities(first: 1) { totalCount } } } }",
        variables: json!({ "login": connection.organization }),
        points: 1.0,
        accepts: &[],
    };
    match ask(connection, question).await {
        Ok(data) if data["organization"]["samlIdentityProvider"].is_object() => Ok(Saml::Visible),
        Ok(data) if data["organization"].is_object() => Ok(Saml::None),
        Ok(_) => Err(Trouble::Fatal(super::graphql::incomplete(
            &format!("GitHub, organization {}", connection.organization),
            "it is null".to_owned(),
        ))),
        Err(Trouble::Hidden(error, _)) => Ok(Saml::Hidden(error)),
        Err(Trouble::Partly(part)) => Ok(Saml::Hidden(part.error)),
        Err(trouble) => Err(trouble),
    }
}

/// What is seen of an organization's identity provider.
pub enum Saml {
    Visible,
    /// There is none, or it is that of the enterprise.
    None,
    /// Owners and Apps only see it.
    Hidden(PullError),
}

/// The addresses of accounts by their ids, asked for all at once.
async fn saml_emails(
    connection: &Connection,
    logins: &[&str],
) -> Result<BTreeMap<u64, Vec<String>>, Trouble> {
    let mut emails = BTreeMap::new();
    if logins.is_empty() {
        return Ok(emails);
    }
    let (mut head, mut lines) = ("$login: String!".to_owned(), String::new());
    let mut variables = Map::from_iter([("login".to_owned(), json!(connection.organization))]);
    for (n, login) in logins.iter().enumerate() {
        head.push_str(&format!(", $u{n}: String!"));
        lines.push_str(&format!("u{n}: externalIdentities(first: 5, login: $u{n}) {{ ...I }} "));
        variables.insert(format!("u{n}"), json!(login));
    }
    let document = format!(
        "query({head}) {{ rateLimit {{ cost }} organization(login: $login) {{ \
         samlIdentityProvider {{ {lines}}} }} }} {IDENTITY}"
    );
    let question = Question {
        endpoint: "GraphQL externalIdentities",
        document: &document,
        variables: Value::Object(variables),
        points: logins.len() as f64 / 100.0,
        accepts: &[],
    };
    let data = ask(connection, question).await?;
    let provider = &data["organization"]["samlIdentityProvider"];
    let what = format!("GitHub, identities of {}", connection.organization);
    for n in 0..logins.len() {
        let edges = provider[format!("u{n}")]["edges"].as_array().ok_or_else(|| {
            super::graphql::incomplete(&what, "an answer has no identities, not even none".into())
        })?;
        for edge in edges {
            let node = &edge["node"];
            let Some(id) = node["user"]["databaseId"].as_u64() else { continue };
            let known: &mut Vec<String> = emails.entry(id).or_default();
            known.extend(addresses(node));
        }
    }
    Ok(emails)
}

/// All that look like addresses, those marked as primary first.
fn addresses(identity: &Value) -> Vec<String> {
    let (saml, scim) = (&identity["samlIdentity"], &identity["scimIdentity"]);
    let listed = [saml, scim]
        .into_iter()
        .flat_map(|source| source["emails"].as_array().into_iter().flatten());
    let (primary, other): (Vec<&Value>, Vec<&Value>) =
        listed.partition(|email| email["primary"] == true);
    let listed = primary.into_iter().chain(other).map(|email| &email["value"]);
    let names = [&saml["nameId"], &saml["username"], &scim["username"]];
    listed
        .chain(names)
        .filter_map(Value::as_str)
        .filter(|text| text.contains('@'))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_the_identity_provider_sent() {
        let identity = json!({
            "samlIdentity": { "nameId": "ann@corp.example", "username": "ann",
                "emails": [{ "value": "second@corp.example", "primary": false },
                           { "value": "first@corp.example", "primary": true }] },
            "scimIdentity": null,
        });
        assert_eq!(
            addresses(&identity),
            ["first@corp.example", "second@corp.example", "ann@corp.example"]
        );
        assert_eq!(addresses(&json!({ "samlIdentity": null })), Vec::<String>::new());
    }
}
