//! Full crawls: what they read, and how they go on after interruptions.

use rosterd::clock;
use rosterd::provider::Start;
use serde_json::json;

use super::access::Access;
use super::roster;
use super::scene::{Scene, server, small};
use super::stub::EVERYONE;
use crate::cloud::{crawl_once, settings};
use crate::harness::vendor::{Hazard, Seen, When};
use crate::harness::{artifacts, secrets, write_private};

#[tokio::test]
async fn users_in_all_statuses_are_read_also_those_of_tomorrow() {
    let statuses = [
        "ACTIVE",
        "DEPROVISIONED",
        "LOCKED_OUT",
        "PASSWORD_EXPIRED",
        "PROVISIONED",
        "RECOVERY",
        "STAGED",
        "SUSPENDED",
        "SOMETHING_NEW",
    ];
    let scene = Scene::open("", |org| {
        for status in statuses {
            org.put_user(&format!("00u{status}"), status, json!({}));
        }
    });
    scene.sync().await;
    let users = scene.parts.roster().users;
    assert_eq!(users.len(), statuses.len());
    let active = users.iter().filter(|(_, words)| words.ends_with(" active"));
    let active: Vec<&str> = active.map(|(id, _)| &id["00u".len()..]).collect();
    assert_eq!(active, ["ACTIVE", "LOCKED_OUT", "PASSWORD_EXPIRED", "RECOVERY"]);
}

#[tokio::test]
async fn everyone_is_right_without_being_read() {
    let scene = Scene::open("", small);
    scene.sync_exactly().await;
    scene.change(|org| org.put_user("00udan", "STAGED", json!({})));
    scene.sync_exactly().await;
    assert!(scene.has(EVERYONE, "00udan"));
    scene.change(|org| org.delete_user("00uada"));
    scene.sync_exactly().await;
    assert!(!scene.has(EVERYONE, "00uada"));
}

#[tokio::test]
async fn r4_after_a_first_crawl_that_died_everything_is_still_read() {
    let scene = Scene::open("", small);
    scene.server.arm(Hazard::Refuse, When::from(4));
    scene.parts.sync().await.unwrap_err();
    scene.server.disarm();
    scene.sync_exactly().await;
    assert!(!scene.lines().contains(&"GET /api/v1/logs".to_owned()), "{:?}", scene.lines());
}

#[tokio::test]
async fn r16_a_crawl_goes_on_where_it_was() {
    let scene = Scene::open("parallel_requests_max = 1", small);
    scene.server.arm(Hazard::Refuse, When::nth(5));
    scene.parts.sync().await.unwrap_err();
    // Left are one group, and who changed meanwhile.
    assert_eq!(scene.sync_exactly().await, 2, "{:?}", scene.lines());
}

/// A random page is refused, ten times; at the very first one of an attempt too.
#[tokio::test]
async fn a_first_crawl_interrupted_ten_times_at_random_pages_resumes_each_time() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let scene = Scene::open("parallel_requests_max = 1", |org| {
        (0..20).for_each(|user| org.put_user(&format!("00u{user:02}"), "ACTIVE", json!({})));
        for group in 0..6 {
            let id = format!("00g{group}");
            org.put_group(&id, "OKTA_GROUP", &id);
            org.add(&id, &format!("00u{group:02}"), false);
        }
        org.page_max = 2;
    });
    for interruption in 0..10 {
        scene.server.arm(Hazard::Refuse, When::nth(random.usize(1..=3)));
        let outcome = scene.parts.sync().await;
        scene.server.disarm();
        assert!(outcome.is_err(), "{interruption}, seed {seed}");
        assert!(scene.parts.roster().users.is_empty(), "{interruption}, seed {seed}");
    }
    scene.parts.sync().await.unwrap();
    let mut pages: Vec<String> = Vec::new();
    for seen in scene.server.log().into_iter().filter(|seen| seen.status == 200) {
        let (filter, after) = (seen.request.query("filter"), seen.request.query("after"));
        pages.push(format!("{} {filter:?} {after:?}", seen.line()));
    }
    let all = pages.len();
    pages.sort();
    pages.dedup();
    assert_eq!(pages.len(), all, "a page was read twice, seed {seed}: {:?}", scene.lines());
    // Pages of users, one of deprovisioned ones, of groups with Everyone, of
    // members, and who changed meanwhile; and what was refused.
    assert_eq!(scene.server.log().len(), 10 + 1 + 4 + 6 + 1 + 10, "seed {seed}");
    assert_eq!(scene.parts.roster(), scene.server.with(|acme| roster(&acme.org)), "seed {seed}");
}

#[tokio::test]
async fn only_the_types_of_groups_that_are_wanted_are_read() {
    let scene = Scene::open("group_types = [\"OKTA_GROUP\"]", small);
    scene.sync().await;
    let groups: Vec<String> = scene.parts.roster().groups.into_keys().collect();
    assert_eq!(groups, ["00gengineers"]);
}

/// Known failure S1 in the field: what one tenant asks for lands at another.
#[tokio::test]
async fn two_directories_with_different_credentials_never_mix() {
    let passwords = [secrets::password(), secrets::password()];
    let scenes: Vec<Scene> = (0..2)
        .map(|number| {
            let server = server(|org| {
                org.access = Access::Token(passwords[number].clone());
                // The same ids in both.
                for user in ["00uada", "00ubob", "00ucyd"] {
                    org.put_user(user, "ACTIVE", json!({"title": format!("of {number}")}));
                }
                org.put_group("00gteam", "OKTA_GROUP", &format!("Team {number}"));
                org.add("00gteam", ["00uada", "00ubob"][number], false);
                org.page_max = 1;
            });
            let name = format!("okta-token-{number}");
            let file = write_private(artifacts().join(name), &passwords[number]);
            let block = format!(
                "url = \"{}\"\ntoken = {{ file = {:?} }}",
                server.url(),
                file.display().to_string()
            );
            Scene::follow(server, settings("okta", &block))
        })
        .collect();
    for round in 0..3 {
        let (first, second) = tokio::join!(scenes[0].sync_exactly(), scenes[1].sync_exactly());
        assert!(first > 0 && second > 0);
        for (number, scene) in scenes.iter().enumerate() {
            let own = format!("SSWS {}", passwords[number]);
            let log = scene.server.log();
            assert!(log.iter().all(|seen| seen.request.header("authorization") == Some(&own)));
            scene.change(|org| {
                org.put_user("00ucyd", "ACTIVE", json!({"title": format!("{number} {round}")}));
                org.add("00gteam", "00ucyd", true);
            });
        }
    }
}

#[tokio::test]
async fn r1_a_page_that_is_missing_after_a_restart_shows_by_the_count() {
    let server = server(|org| {
        small(org);
        org.page_max = 2;
    });
    let settings = settings("okta", &super::block(&server.url(), "parallel_requests_max = 1"));
    server.arm(Hazard::Refuse, When::nth(2));
    let (crawl, outcome) = crawl_once(&*settings, Start::Full).await;
    outcome.unwrap_err();
    let token = crawl.checkpoints.last().expect("the first page was read").clone();
    // One who was read before changed since, which must not make up for one who
    // is missing now: the new process does not know whom the old one counted.
    server.with(|acme| {
        acme.org.put_user("00uada", "ACTIVE", json!({"title": "Engineer"}));
        acme.org.hidden_users.insert("00ucyd".to_owned());
    });
    let (_, outcome) = crawl_once(&*settings, Start::Resume(token)).await;
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("2 of the 3 users that Okta counts"), "{error}");
}

#[tokio::test]
async fn which_statuses_are_active_is_a_setting() {
    let statuses = |org: &mut super::stub::Org| {
        for status in ["ACTIVE", "SUSPENDED", "LOCKED_OUT", "PROVISIONED"] {
            org.put_user(&format!("00u{status}"), status, json!({}));
        }
    };
    let cases = [
        ("", ["ACTIVE", "LOCKED_OUT"]),
        ("active_statuses = [\"SUSPENDED\", \"PROVISIONED\"]", ["PROVISIONED", "SUSPENDED"]),
    ];
    for (setting, expected) in cases {
        let scene = Scene::open(setting, statuses);
        scene.sync().await;
        let users = scene.parts.roster().users;
        let active = users.iter().filter(|(_, word)| word.ends_with(" active"));
        let active: Vec<&str> = active.map(|(id, _)| id.trim_start_matches("00u")).collect();
        assert_eq!(active, expected, "{setting}");
    }
}

#[tokio::test]
async fn r17_nothing_is_asked_before_the_reset_of_a_429() {
    let scene = Scene::open("parallel_requests_max = 1", small);
    let throttled = scene.server.arm(Hazard::Throttle, When::nth(2));
    scene.sync_exactly().await;
    assert_eq!(scene.server.fired(throttled), 1);
    let (here, now, ahead) =
        (clock::instant(), clock::now(), scene.change(|org| org.ahead.as_millis() as u64));
    // By the org's clock.
    let at = |seen: &Seen| now.0 + ahead - (here - seen.received).as_millis() as u64;
    let log = scene.server.log();
    let refused = log.iter().position(|seen| seen.status == 429).expect("it was throttled");
    let reset = at(&log[refused]).div_ceil(1000) * 1000;
    let early = log[refused + 1..].iter().filter(|seen| at(seen) + 2 < reset).count();
    assert!(log.len() > refused + 1 && early == 0, "{early} requests came before the reset");
}
