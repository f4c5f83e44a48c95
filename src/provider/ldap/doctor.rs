//! Tries everything that a crawl needs, one step at a time, for
//! `rosterd doctor`.

use std::sync::Arc;

use rustls::ClientConfig;

use super::bookmark::Place;
use super::config::{Bind, Security, Server};
use super::crawl::{Reading, begin, extended_names};
use super::map::Mapper;
use super::pages::{PAGED_RESULTS, Pages, subtree};
use super::root::{Flavour, Root};
use super::session::Session;
use super::{Incremental, Ldap, connect};
use crate::clock;
use crate::provider::{Finding, Outcome, PullError};

/// How many entries are looked at to say what is visible.
const SAMPLE: u32 = 100;

/// One line for each step; later steps of a server are left out once one fails.
pub async fn examine(ldap: &mut Ldap) -> Vec<Finding> {
    let tls = match ldap.tls() {
        Ok(tls) => tls,
        Err(error) => return vec![finding("TLS", Outcome::Bad, error.to_string())],
    };
    let mut findings = Vec::new();
    for server in &ldap.config.servers {
        let examined = examine_server(ldap, server, &tls, &mut findings).await;
        if let Err((step, error)) = examined {
            findings.push(finding(step, Outcome::Bad, error));
        }
    }
    findings
}

async fn examine_server(
    ldap: &Ldap,
    server: &Server,
    tls: &Arc<ClientConfig>,
    findings: &mut Vec<Finding>,
) -> Result<(), (&'static str, String)> {
    let failed = |step| move |error: PullError| (step, error.to_string());
    let url = &server.url;
    let timeout = ldap.patience.request_timeout;
    let at = |reason| format!("{url}: {reason}");
    let dialled = connect::dial(&server.place, None, timeout)
        .await
        .map_err(|reason| ("network", at(reason)))?;
    drop(dialled);
    findings.push(finding("network", Outcome::Good, format!("{url} accepts connections")));

    let mut session = Session::open(server, tls, None, timeout).await.map_err(failed("TLS"))?;
    let protection = match server.security {
        Security::Tls => "protected by TLS, and its certificate is good",
        Security::StartTls => "protected by StartTLS, and its certificate is good",
        Security::Plain => "not protected, and never leaves this host",
    };
    findings.push(finding(
        "TLS",
        Outcome::Good,
        format!("the connection to {url} is {protection}"),
    ));

    session.bind(&ldap.config.bind).await.map_err(failed("credential"))?;
    findings.push(signed_in(url, &ldap.config.bind));

    let root = Root::read(&mut session).await.map_err(failed("server"))?;
    let pages = !root.tells_controls() || root.supports(PAGED_RESULTS);
    findings.push(server_found(url, root.flavour, pages));
    let mapper = Mapper { config: &ldap.config, flavour: root.flavour, now: clock::now() };
    let page_size = pages.then(|| ldap.config.page_size.min(SAMPLE));
    let mut reading = Reading { session, root, mapper, page_size };
    findings.push(users_seen(&mut reading).await.map_err(failed("visibility"))?);
    findings.extend(groups_seen(&mut reading).await.map_err(failed("visibility"))?);
    findings.push(deltas_offered(&mut reading).await.map_err(failed("incremental"))?);
    reading.session.close().await;
    Ok(())
}

fn signed_in(url: &str, bind: &Bind) -> Finding {
    match bind {
        Bind::Anonymous => {
            let detail = format!("{url} is read anonymously; most servers show little to nobody");
            finding("credential", Outcome::Warning, detail)
        }
        Bind::Simple { name, .. } => {
            finding("credential", Outcome::Good, format!("{url} lets {name} in"))
        }
        Bind::External => {
            let detail = format!("{url} knows this process by its socket (SASL EXTERNAL)");
            finding("credential", Outcome::Good, detail)
        }
    }
}

fn server_found(url: &str, flavour: Flavour, pages: bool) -> Finding {
    let kind = flavour.as_str();
    if pages {
        return finding("server", Outcome::Good, format!("{url} is {kind} and answers in pages"));
    }
    let detail =
        format!("{url} is {kind} and does not answer in pages: each list must fit its size limit");
    finding("server", Outcome::Warning, detail)
}

async fn users_seen(reading: &mut Reading<'_>) -> Result<Finding, PullError> {
    let config = reading.mapper.config;
    let wanted = reading.mapper.user_attributes();
    let controls = extended_names(reading.root.flavour);
    let users = subtree("users", &config.users.base, &config.users.filter, &wanted, controls);
    let mut pages = Pages::new(users, reading.page_size);
    let entries = pages.next(&mut reading.session).await?.unwrap_or_default();
    let seen = amount(entries.len(), pages.is_over());
    let (base, filter) = (&config.users.base, &config.users.filter);
    if entries.is_empty() {
        let detail = format!(
            "no user below {base} matches {filter}: correct them, or let the account read there"
        );
        return Ok(finding("visibility", Outcome::Warning, detail));
    }
    if let Some(entry) = entries.iter().find(|entry| reading.mapper.user(entry).is_none()) {
        let detail = format!(
            "{} shows no `{}`: let the account read it",
            entry.dn,
            reading.mapper.user_id()
        );
        return Ok(finding("permission", Outcome::Bad, detail));
    }
    Ok(finding("visibility", Outcome::Good, format!("{seen} users are visible below {base}")))
}

async fn groups_seen(reading: &mut Reading<'_>) -> Result<Vec<Finding>, PullError> {
    let config = reading.mapper.config;
    let wanted = reading.mapper.group_attributes();
    let controls = extended_names(reading.root.flavour);
    let groups = subtree("groups", &config.groups.base, &config.groups.filter, &wanted, controls);
    let mut pages = Pages::new(groups, reading.page_size);
    let entries = pages.next(&mut reading.session).await?.unwrap_or_default();
    let seen = amount(entries.len(), pages.is_over());
    let (base, filter) = (&config.groups.base, &config.groups.filter);
    if entries.is_empty() {
        let detail = format!(
            "no group below {base} matches {filter}: correct them, or let the account read there"
        );
        return Ok(vec![finding("visibility", Outcome::Warning, detail)]);
    }
    if let Some(entry) = entries.iter().find(|entry| reading.mapper.group(entry).is_none()) {
        let detail = format!(
            "{} shows no `{}`: let the account read it",
            entry.dn,
            reading.mapper.group_id()
        );
        return Ok(vec![finding("permission", Outcome::Bad, detail)]);
    }
    let visible =
        finding("visibility", Outcome::Good, format!("{seen} groups are visible below {base}"));
    // A list in ranges has its values under another name.
    let has_members = |entry: &super::entry::Entry| {
        let ranged =
            entry.attributes.iter().any(|(name, _)| super::ranges::Range::read(name).is_some());
        ranged || !reading.mapper.members(entry).is_empty()
    };
    let names = [config.group.members.join("`, `"), config.group.member_names.clone()];
    let names: Vec<String> = names.into_iter().filter(|name| !name.is_empty()).collect();
    let names = names.join("`, `");
    let members = if entries.iter().any(has_members) {
        finding("permission", Outcome::Good, format!("members are readable (`{names}`)"))
    } else {
        let detail = format!(
            "none of these groups shows a member: let the account read `{names}`, or name the right attribute"
        );
        finding("permission", Outcome::Warning, detail)
    };
    Ok(vec![visible, members])
}

async fn deltas_offered(reading: &mut Reading<'_>) -> Result<Finding, PullError> {
    let how = match begin(reading).await? {
        Some(Place::Syncrepl { .. }) => "by content synchronisation (RFC 4533)",
        Some(Place::DirSync(place)) if place.at.sees_deleted => "by DirSync",
        Some(Place::Usn(at)) if at.sees_deleted => {
            "by uSNChanged; the right \"Replicating Directory Changes\" would allow DirSync"
        }
        Some(_) => {
            let detail = "changes are read incrementally, but the account does not see deleted objects: \
                          after each change all ids are listed; let it read CN=Deleted Objects";
            return Ok(finding("incremental", Outcome::Warning, detail.to_owned()));
        }
        None if reading.mapper.config.incremental == Incremental::Off => {
            let detail = "every crawl is full, as configured".to_owned();
            return Ok(finding("incremental", Outcome::Good, detail));
        }
        None => {
            let detail = match reading.root.flavour {
                Flavour::OpenLdap => {
                    "every crawl is full: the server offers no content synchronisation there \
                     (load the `syncprov` overlay), or a filter looks at `memberOf`"
                }
                Flavour::Ad | Flavour::Ds389 | Flavour::Other => {
                    "every crawl is full: the server offers nothing that tells all changes, \
                     or a filter looks at `memberOf`"
                }
            };
            return Ok(finding("incremental", Outcome::Warning, detail.to_owned()));
        }
    };
    Ok(finding("incremental", Outcome::Good, format!("changes are read {how}")))
}

fn amount(count: usize, is_all: bool) -> String {
    if is_all { count.to_string() } else { format!("{count} and more") }
}

fn finding(step: &str, outcome: Outcome, detail: String) -> Finding {
    Finding { step: step.to_owned(), outcome, detail }
}
