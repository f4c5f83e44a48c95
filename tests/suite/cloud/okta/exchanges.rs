//! Exchanges in the shape that orgs are known to answer in: two lines of
//! `Link`, limits, null for what is not set, arrays that are not there.

use rosterd::model::Reference;
use rosterd::provider::{Item, PullError, Start};
use serde_json::Value;

use super::block;
use crate::cloud::{crawl_once, settings};
use crate::harness::vendor::{Api, Request, Response, VendorServer};

const EXCHANGES: &str = include_str!("../../../../fixtures/okta/exchanges.json");

/// Answers as it is written; `lost`: as if the org were gone.
struct Written {
    exchanges: Vec<Value>,
    lost: bool,
}

impl Written {
    fn start(lost: bool) -> VendorServer<Written> {
        VendorServer::start(Written { exchanges: serde_json::from_str(EXCHANGES).unwrap(), lost })
    }
}

/// The part of a request that tells it from others.
fn key(path: &str) -> (String, bool, bool, bool) {
    let has = |part| path.contains(part);
    let plain = path.split('?').next().unwrap_or_default().to_owned();
    (plain, has("after="), has("DEPROVISIONED"), has("lastUpdated"))
}

impl Api for Written {
    fn answer(&mut self, request: &Request) -> Response {
        let query = |name| request.query(name).unwrap_or_default();
        let asked = format!(
            "{}?{}{}",
            request.path,
            query("filter"),
            match query("after") {
                "" => "",
                _ => "after=",
            }
        );
        let wanted = if self.lost { key("/lost") } else { key(&asked) };
        let found = self.exchanges.iter().find(|one| key(one["path"].as_str().unwrap()) == wanted);
        let found = found.unwrap_or_else(|| panic!("nothing is written for {asked}"));
        let status = found["status"].as_u64().unwrap() as u16;
        let mut response = Response::error(status, found["body"].clone());
        for (name, lines) in found["headers"].as_object().unwrap() {
            for line in lines.as_array().unwrap() {
                let line = line.as_str().unwrap().replace("BASE", &request.base);
                response = response.header(name, line);
            }
        }
        response
    }
}

#[tokio::test]
async fn exchanges_as_orgs_answer_are_read() {
    let server = Written::start(false);
    let settings = settings("okta", &block(&server.url(), ""));
    let (crawl, outcome) = crawl_once(&*settings, Start::Full).await;
    outcome.unwrap();
    let (mut users, mut members, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for item in crawl.collected.items {
        match item {
            Item::User(item) => users.push((item.user.username, item.user.active)),
            Item::Members { group, members: list } => members.push((group, list)),
            Item::Kept(group) => kept.push(group),
            _ => {}
        }
    }
    let user = |login: &str, active| (login.to_owned(), active);
    assert_eq!(users, [user("ada@example.org", true), user("bob@example.org", false)]);
    let team = Reference::Group("00gteam".to_owned());
    assert_eq!(members, [(team, vec![Reference::User("00uada".to_owned())])]);
    assert_eq!(kept, [Reference::Group("00gclosed".to_owned())]);
}

#[tokio::test]
async fn a_404_of_either_shape_is_told_in_its_own_words() {
    let server = Written::start(true);
    let settings = settings("okta", &block(&server.url(), ""));
    let (_, outcome) = crawl_once(&*settings, Start::Full).await;
    let Err(PullError::Incomplete { reason, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("Resource not found"), "{reason}");
}
