//! What a large tenant costs: requests against the best strategy known.

use std::collections::{BTreeMap, BTreeSet};

use rosterd::clock::Duration;
use rosterd::model::Reference;
use rosterd::provider::{Compared, Extent, Item, Start};

use super::{Contoso, USER, block, settings};
use crate::cloud::{Population, Vendor};
use crate::harness::copy::{Collector, PATIENCE};
use crate::harness::vendor::VendorServer;

const USER_PAGES: u64 = 21;
const GROUP_PAGES: u64 = 3;
const BATCHES: u64 = 100;
/// Of the first group, which has half of all users.
const MORE_MEMBERS: u64 = 10;
/// Resource units of a large tenant in ten seconds, and our half of them.
const WINDOW: Duration = Duration::from_secs(10);
const SHARE: f64 = 4000.0;

#[tokio::test]
async fn a_large_tenant_costs_what_the_best_strategy_does() {
    let mut contoso = Contoso::default();
    contoso.fill(Population::BIG);
    let server = VendorServer::start(contoso);
    let settings = settings("entra", &block(&server.url(), ""));
    let mut directory = settings.open(PATIENCE);
    let mut collected = Collector::default();
    let seal = directory.crawl(Start::Full, &mut collected).await.unwrap();
    let sent: u64 = seal.requests.values().sum();
    let tokens = 1 + 2 + 2 + 2; // a token, two "latest", two counts, two drained rounds
    assert_eq!(sent, server.log().len() as u64, "the audit is what was sent");
    assert_eq!(
        sent,
        USER_PAGES + GROUP_PAGES + BATCHES + MORE_MEMBERS + tokens,
        "{:?}",
        seal.requests
    );
    assert!(seal.proof.ends.contains("20000 users and 2000 groups"), "{}", seal.proof.ends);
    let compared =
        |what: &str, count| Compared { what: what.to_owned(), announced: count, read: count };
    assert_eq!(seal.proof.compared, [compared("users", 20_000), compared("groups", 2_000)]);
    within_the_share(&server);

    let mut cursor = seal.cursor.expect("a cursor");
    let mut poll = async |expected: u64| {
        let mut collected = Collector::default();
        let start = Start::Incremental(cursor.clone());
        let seal = directory.crawl(start, &mut collected).await.unwrap();
        assert_eq!(seal.extent, Extent::Changes);
        let sent: u64 = seal.requests.values().sum();
        assert!(sent <= expected, "{:?}", seal.requests);
        cursor = seal.cursor.expect("a cursor");
        collected.items.len()
    };
    assert_eq!(poll(3).await, 0, "nothing changed");
    server.with(|contoso| {
        for group in 0..20 {
            contoso.stub.tenant.add(&format!("g{group:06}"), "u019999", USER);
        }
    });
    assert_eq!(poll(3).await, 20, "one addition for each group");
}

/// In no ten seconds more than our share of the units.
fn within_the_share(server: &VendorServer<Contoso>) {
    let units = server.with(|contoso| contoso.stub.units.clone());
    let (mut first, mut spent) = (0, 0.0);
    for (at, cost) in &units {
        spent += cost;
        while units[first].0 + WINDOW <= *at {
            spent -= units[first].1;
            first += 1;
        }
        assert!(spent <= SHARE, "{spent} units in ten seconds");
    }
}

#[tokio::test]
async fn what_is_read_of_a_large_group_is_all_of_it() {
    let mut contoso = Contoso::default();
    let population = Population { users: 2500, groups: 2, memberships: 2600 };
    contoso.fill(population);
    let server = VendorServer::start(contoso);
    let settings = settings("entra", &block(&server.url(), "quota_share = 1"));
    let mut collected = Collector::default();
    settings.open(PATIENCE).crawl(Start::Full, &mut collected).await.unwrap();
    let mut lists: BTreeMap<String, BTreeSet<Reference>> = BTreeMap::new();
    for item in collected.items {
        if let Item::Members { group: Reference::Group(id), members } = item {
            lists.insert(id, members.into_iter().collect());
        }
    }
    let user = |number| Reference::User(format!("u{number:06}"));
    for group in 0..2 {
        let expected: BTreeSet<Reference> = population.members(group).map(user).collect();
        assert_eq!(lists[&format!("g{group:06}")], expected);
    }
}
