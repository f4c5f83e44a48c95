//! What GitHub really answered once: the recordings of `@octokit/fixtures`.
//!
//! | Scenario | here |
//! |---|---|
//! | get-organization | the organization itself |
//! | add-and-remove-repository-collaborator | lists of accounts, and invitations |
//! | paginate-issues | links from page to page, which lead to another path |
//! | branch-protection, errors | how it says 404 and 422 |
//! | rename-repository | a redirect |
//!
//! It has no members and no teams; the others are of repositories and issues.

use std::collections::BTreeMap;

use rosterd::provider::http::links;
use rosterd::provider::{PullError, Start};
use serde_json::{Value, json};

use super::block;
use super::world::World;
use crate::cloud::Crawl;
use crate::harness::clients;
use crate::harness::copy::{Copy, PATIENCE};
use crate::harness::vendor::{Api, Request, Response, VendorServer};

/// The exchanges of a scenario.
fn scenario(name: &str) -> Vec<Value> {
    let path = format!("@octokit/fixtures/scenarios/api.github.com/{name}/normalized-fixture.json");
    let text = std::fs::read_to_string(clients::node_script(&path)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A recorded answer, with its links on the stub's own host.
fn replay(exchange: &Value, base: &str) -> Response {
    let status = u16::try_from(exchange["status"].as_u64().unwrap()).unwrap();
    let mut response = Response::error(status, exchange["response"].clone());
    for (name, value) in exchange["headers"].as_object().unwrap() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        // Those of the connection are the stub's own.
        if !matches!(name.as_str(), "connection" | "content-length" | "date" | "content-type") {
            response = response.header(name, text.replace("https://api.github.com", base));
        }
    }
    response
}

/// Answers with recordings where there are any.
#[derive(Default)]
struct Replayed {
    world: World,
    recorded: BTreeMap<&'static str, Value>,
    keeps_links: bool,
}

impl Api for Replayed {
    fn answer(&mut self, request: &Request) -> Response {
        let base = if self.keeps_links { "https://api.github.com" } else { &request.base };
        match self.recorded.get(&*request.path) {
            Some(exchange) => replay(exchange, base),
            None => self.world.answer(request),
        }
    }
}

const ORG: &str = "/orgs/octokit-fixture-org";

fn replayed(more: &[(&'static str, Value)]) -> (VendorServer<Replayed>, String) {
    let mut api = Replayed::default();
    api.world.orgs[0].login = "octokit-fixture-org".to_owned();
    api.recorded.insert(ORG, scenario("get-organization").remove(0));
    api.recorded.extend(more.iter().cloned());
    let settings = "organizations = [\"octokit-fixture-org\"]\napi = \"rest\"".to_owned();
    (VendorServer::start(api), settings)
}

#[tokio::test]
async fn recorded_organizations_accounts_and_invitations_are_read() {
    let exchanges = scenario("add-and-remove-repository-collaborator");
    let list = |part: &str| {
        let of = |exchange: &&Value| exchange["path"].as_str().unwrap().ends_with(part);
        exchanges.iter().filter(|exchange| exchange["method"] == "get").find(of).unwrap().clone()
    };
    let (server, settings) = replayed(&[
        ("/orgs/octokit-fixture-org/outside_collaborators", list("/collaborators")),
        ("/orgs/octokit-fixture-org/invitations", list("/invitations")),
    ]);
    let copy = Copy::full(&mut *block(&server.url(), &settings).open(PATIENCE)).await;
    let group = copy.groups.values().find(|group| group.group.id == "organization-1000").unwrap();
    assert_eq!(group.group.name, "octokit-fixture-org");
    let recorded = list("/collaborators");
    let people = recorded["response"].as_array().unwrap();
    assert!(!people.is_empty());
    for person in people {
        let ours = &copy.user(person["login"].as_str().unwrap()).user;
        assert_eq!(ours.id, person["id"].to_string());
    }
    assert!(copy.users.contains_key("invitation-1000"));
}

#[tokio::test]
async fn recorded_errors_are_told_in_githubs_words() {
    let not_found = scenario("branch-protection").remove(0);
    let invalid = scenario("errors").remove(0);
    for (exchange, words) in [(not_found, "Branch not protected"), (invalid, "Validation Failed")] {
        let (server, settings) = replayed(&[("/orgs/octokit-fixture-org/teams", exchange)]);
        let mut directory = block(&server.url(), &settings).open(PATIENCE);
        let error = directory.crawl(Start::Full, &mut Crawl::default()).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn r21_a_recorded_redirect_is_followed_on_this_host_only() {
    let moved = scenario("rename-repository").remove(1);
    assert_eq!(moved["status"], 301);
    let target = json!({ "status": 200, "response": [], "headers": {} });
    let teams = "/orgs/octokit-fixture-org/teams";
    let (server, settings) = replayed(&[(teams, moved), ("/repositories/1000", target)]);
    let mut directory = block(&server.url(), &settings).open(PATIENCE);
    directory.crawl(Start::Full, &mut Crawl::default()).await.unwrap();
    assert!(server.count(|request| request.path == "/repositories/1000") > 0);
    server.with(|api| api.keeps_links = true);
    let error = directory.crawl(Start::Full, &mut Crawl::default()).await.unwrap_err();
    assert!(matches!(error, PullError::Incomplete { .. }), "{error}");
    assert!(error.to_string().contains("https://api.github.com"), "{error}");
}

#[test]
fn recorded_links_lead_from_page_to_page() {
    let pages = scenario("paginate-issues");
    for (n, page) in pages.iter().enumerate() {
        let link = page["headers"]["link"].as_str().unwrap();
        let next = links::target([link].into_iter(), "next");
        let following = pages.get(n + 1).map(|page| page["path"].as_str().unwrap());
        let address = following.map(|path| format!("https://api.github.com{path}"));
        assert_eq!(next, address, "page {n}");
        let last = links::target([link].into_iter(), "last");
        assert_eq!(last.is_some(), following.is_some());
    }
}
