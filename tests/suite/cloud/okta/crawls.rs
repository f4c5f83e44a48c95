//! Crawls of an org: what they read, what they cost, and what they survive.

use std::time::Duration;

use rosterd::provider::{Outcome, Patience, Settings};
use serde_json::json;

use super::access::{Access, App, Key};
use super::stub::{EVERYONE, Org};
use super::{Acme, block, roster};
use crate::cloud::{Population, Vendor, settings};
use crate::harness::parts::{Manner, Parts};
use crate::harness::roster::Lens;
use crate::harness::vendor::{Hazard, VendorServer, When};
use crate::harness::{artifacts, secrets, write_private};

const DAY: Duration = Duration::from_hours(24);

/// An org, and the daemon's parts that follow it.
pub(super) struct Scene {
    pub server: VendorServer<Acme>,
    pub parts: Parts,
    _folder: tempfile::TempDir,
}

impl Scene {
    /// With `change` made before the first poll, long ago.
    pub fn open(more: &str, change: impl FnOnce(&mut Org)) -> Scene {
        let server = server(change);
        let settings = settings("okta", &block(&server.url(), more));
        Scene::follow(server, settings)
    }

    pub fn follow(server: VendorServer<Acme>, settings: std::sync::Arc<dyn Settings>) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let lens = Lens { user: Acme::user_words, group: Acme::group_words };
        let patience = Patience {
            request_timeout: Duration::from_secs(20),
            stall_timeout: Duration::from_secs(60),
        };
        let manner = Manner { patience, ..Manner::unguarded(lens) };
        Scene { parts: Parts::open(folder.path(), settings, manner), server, _folder: folder }
    }

    fn change<R>(&self, change: impl FnOnce(&mut Org) -> R) -> R {
        self.server.with(|acme| change(&mut acme.org))
    }

    /// Polls once, which must do; how many requests it took.
    pub async fn sync(&self) -> usize {
        self.server.forget();
        self.parts.sync().await.unwrap();
        self.server.log().len()
    }

    /// Polls once; the copy is then exact.
    pub async fn sync_exactly(&self) -> usize {
        let requests = self.sync().await;
        assert_eq!(self.parts.roster(), self.server.with(|acme| roster(&acme.org)));
        requests
    }

    fn has(&self, group: &str, user: &str) -> bool {
        self.parts.roster().members.contains(&(group.to_owned(), user.to_owned()))
    }

    fn lines(&self) -> Vec<String> {
        self.server.log().iter().map(crate::harness::vendor::Seen::line).collect()
    }
}

fn server(change: impl FnOnce(&mut Org)) -> VendorServer<Acme> {
    let server = VendorServer::start(Acme::default());
    server.with(|acme| {
        acme.org.users.clear();
        change(&mut acme.org);
        acme.org.long_ago();
    });
    server
}

/// Ada and Bob in Engineers and, Bob alone, in Sales.
fn small(org: &mut Org) {
    for user in ["00uada", "00ubob", "00ucyd"] {
        org.put_user(user, "ACTIVE", json!({}));
    }
    org.put_group("00gengineers", "OKTA_GROUP", "Engineers");
    org.put_group("00gsales", "APP_GROUP", "Sales");
    org.add("00gengineers", "00uada", false);
    org.add("00gengineers", "00ubob", false);
    org.add("00gsales", "00ubob", false);
}

#[tokio::test]
async fn a_large_org_takes_no_more_requests_than_it_must() {
    let server = server(|_| {});
    server.with(|acme| {
        acme.fill(Population::BIG);
        acme.org.limits.extend([("users", 2_000), ("groups", 8_000), ("logs", 120)]);
    });
    let settings = settings("okta", &block(&server.url(), "quota_share = 0.5"));
    let scene = Scene::follow(server, settings);
    let full = scene.sync_exactly().await;
    // Pages of users and of groups, and each group's members: 10 pages of the
    // first, one of each other. Two more: deprovisioned users, and users that
    // changed meanwhile. Everyone's 20 pages are spared.
    assert!(full <= 100 + 11 + 10 + 1_999 + 2, "{full} requests");
    assert!(!scene.lines().contains(&format!("GET /api/v1/groups/{EVERYONE}/users")));
    assert_eq!(scene.sync_exactly().await, 3, "{:?}", scene.lines());
    scene.change(|org| {
        for group in 0..20 {
            org.add(&format!("00g{:06}", 100 + group), "00u000001", true);
        }
    });
    assert_eq!(scene.sync_exactly().await, 3 + 20, "{:?}", scene.lines());
    assert_eq!(scene.sync_exactly().await, 3, "handled once: {:?}", scene.lines());
    assert_eq!(scene.change(|org| org.over_limit), 0, "the quota was overdrawn");
}

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

#[tokio::test]
async fn r16_a_crawl_that_is_interrupted_again_and_again_reads_no_page_twice() {
    let scene = Scene::open("parallel_requests_max = 1", |org| {
        (0..20).for_each(|user| org.put_user(&format!("00u{user:02}"), "ACTIVE", json!({})));
        for group in 0..6 {
            let id = format!("00g{group}");
            org.put_group(&id, "OKTA_GROUP", &id);
            org.add(&id, &format!("00u{group:02}"), false);
        }
        org.page_max = 2;
    });
    let mut interruptions = 0;
    loop {
        // At the very first request of an attempt too.
        scene.server.arm(Hazard::Refuse, When::nth(fastrand::usize(1..=3)));
        let outcome = scene.parts.sync().await;
        scene.server.disarm();
        if outcome.is_ok() {
            break;
        }
        interruptions += 1;
        assert!(interruptions < 500, "no attempt gets any further");
    }
    assert!(interruptions >= 10, "{interruptions} interruptions");
    let mut pages: Vec<String> = Vec::new();
    for seen in scene.server.log().into_iter().filter(|seen| seen.status == 200) {
        let (filter, after) = (seen.request.query("filter"), seen.request.query("after"));
        pages.push(format!("{} {filter:?} {after:?}", seen.line()));
    }
    let all = pages.len();
    pages.sort();
    pages.dedup();
    assert_eq!(pages.len(), all, "a page was read twice: {:?}", scene.lines());
    assert_eq!(scene.parts.roster(), scene.server.with(|acme| roster(&acme.org)));
}

#[tokio::test]
async fn r7_a_user_who_is_deleted_after_the_listing_leaves_with_the_same_poll() {
    let scene = Scene::open("", small);
    scene.sync_exactly().await;
    scene.change(|org| org.put_user("00ucyd", "ACTIVE", json!({"title": "Engineer"})));
    let deleted = scene.server.meanwhile(When::nth(2), |acme| acme.org.delete_user("00ucyd"));
    scene.sync_exactly().await;
    assert_eq!(scene.server.fired(deleted), 1);
}

#[tokio::test]
async fn r7_a_user_whose_deletion_takes_a_while_leaves_once_it_is_done() {
    let scene = Scene::open("", small);
    scene.sync_exactly().await;
    // The event comes first, and only once.
    scene.change(|org| org.tell("user.lifecycle.delete.initiated", &[("00ucyd", "User")]));
    scene.sync_exactly().await;
    scene.change(|org| {
        org.delete_user("00ucyd");
        org.events.pop();
    });
    scene.sync_exactly().await;
}

#[tokio::test]
async fn r1_a_full_page_that_lost_its_links_is_not_the_last_one() {
    let scene = Scene::open("", |org| {
        (0..250).for_each(|user| org.put_user(&format!("00u{user:03}"), "ACTIVE", json!({})));
        org.without_links = true;
    });
    let error = scene.parts.sync().await.unwrap_err();
    assert!(error.contains("`Link`"), "{error}");
    scene.change(|org| org.without_links = false);
    scene.sync_exactly().await;
}

#[tokio::test]
async fn r1_a_list_of_nobody_removes_nobody() {
    let scene = Scene::open("incremental = \"off\"", small);
    scene.sync_exactly().await;
    let before = scene.parts.roster();
    scene.change(|org| org.hidden_users = org.users.keys().cloned().collect());
    let error = scene.parts.sync().await.unwrap_err();
    assert!(error.contains("administrator"), "{error}");
    assert_eq!(scene.parts.roster(), before);
}

#[tokio::test]
async fn r15_more_closed_groups_than_open_ones_are_a_missing_permission() {
    let closed = ["00gsales".to_owned(), "00gsupport".to_owned()];
    let scene = Scene::open("", |org| {
        small(org);
        org.put_group("00gsupport", "OKTA_GROUP", "Support");
        org.add("00gsupport", "00ucyd", false);
        org.forbidden.extend(closed);
    });
    // Also for an attempt that goes on, and reads no open group itself.
    for _ in 0..2 {
        let error = scene.parts.sync().await.unwrap_err();
        assert!(error.contains("okta.groups.read"), "{error}");
    }
    scene.change(|org| org.forbidden.clear());
    scene.sync_exactly().await;
}

#[tokio::test]
async fn r7_deleted_groups_and_users_leave_between_full_crawls() {
    let scene = Scene::open("", small);
    scene.sync_exactly().await;
    scene.change(|org| {
        org.delete_group("00gsales");
        org.delete_user("00ucyd");
    });
    assert_eq!(scene.sync_exactly().await, 3 + 2, "each is proved once: {:?}", scene.lines());
    assert_eq!(scene.sync_exactly().await, 3);
}

#[tokio::test]
async fn r7_deleted_groups_leave_also_without_the_system_log() {
    let scene = Scene::open("", |org| {
        small(org);
        org.log_forbidden = true;
    });
    scene.sync_exactly().await;
    scene.sync_exactly().await;
    scene.change(|org| org.delete_group("00gsales"));
    // Users, groups, the ids of all groups, and the proof; the log is not asked each time.
    assert_eq!(scene.sync_exactly().await, 4, "{:?}", scene.lines());
}

#[tokio::test]
async fn a_404_in_other_words_proves_nothing() {
    let scene = Scene::open("", small);
    scene.sync_exactly().await;
    let before = scene.parts.roster();
    scene.change(|org| {
        org.lost_in_other_words = true;
        org.delete_group("00gsales");
    });
    let error = scene.parts.sync().await.unwrap_err();
    assert!(error.contains("does not prove"), "{error}");
    assert_eq!(scene.parts.roster(), before);
}

#[tokio::test]
async fn r18_a_membership_that_is_logged_but_not_dated_is_found() {
    let scene = Scene::open("", small);
    scene.sync_exactly().await;
    scene.change(|org| {
        org.add("00gsales", "00ucyd", false);
        org.tell("group.user_membership.add", &[("00ucyd", "User"), ("00gsales", "UserGroup")]);
    });
    assert_eq!(scene.sync_exactly().await, 3 + 1, "{:?}", scene.lines());
}

#[tokio::test]
async fn r18_a_membership_that_nothing_tells_of_is_found_within_the_time_to_verify() {
    let scene = Scene::open("verify_within = \"24h\"", small);
    scene.sync_exactly().await;
    scene.change(|org| org.add("00gsales", "00ucyd", false));
    scene.change(|org| org.ahead += DAY / 2);
    assert_eq!(scene.sync().await, 3, "nothing is due yet: {:?}", scene.lines());
    assert!(!scene.has("00gsales", "00ucyd"));
    scene.change(|org| org.ahead += DAY / 2);
    // Two lists of users, one of groups, and two groups with members of their own.
    assert_eq!(scene.sync_exactly().await, 3 + 2 + 1 + 2, "{:?}", scene.lines());
    assert_eq!(scene.sync_exactly().await, 3, "the next round has just begun");
}

#[tokio::test]
async fn r15_a_forbidden_group_keeps_its_members_and_stops_nobody() {
    let scene = Scene::open("", small);
    scene.sync_exactly().await;
    scene.change(|org| {
        org.forbidden.insert("00gsales".to_owned());
        org.add("00gsales", "00ucyd", true);
        org.add("00gengineers", "00ucyd", true);
    });
    scene.sync().await;
    assert!(scene.has("00gsales", "00ubob") && scene.has("00gengineers", "00ucyd"));
    scene.change(|org| org.forbidden.clear());
    scene.sync_exactly().await;
}

#[tokio::test]
async fn no_readable_group_at_all_is_a_missing_permission() {
    let scene = Scene::open("", |org| {
        small(org);
        org.forbidden.extend(["00gsales".to_owned(), "00gengineers".to_owned()]);
    });
    let error = scene.parts.sync().await.unwrap_err();
    assert!(error.contains("okta.groups.read"), "{error}");
}

#[tokio::test]
async fn r1_users_missing_from_the_listing_stay_when_a_group_names_them() {
    let scene = Scene::open("incremental = \"off\"", small);
    scene.sync_exactly().await;
    scene.change(|org| org.hidden_users.insert("00uada".to_owned()));
    scene.sync_exactly().await;
}

#[tokio::test]
async fn r19_a_deactivated_user_is_inactive_at_the_next_poll() {
    let scene = Scene::open("", small);
    scene.sync_exactly().await;
    scene.change(|org| org.put_user("00uada", "DEPROVISIONED", json!({})));
    scene.sync_exactly().await;
    assert_eq!(scene.parts.roster().users["00uada"], "- inactive");
    assert!(scene.has("00gengineers", "00uada"), "as Okta shows it");
}

#[tokio::test]
async fn only_the_types_of_groups_that_are_wanted_are_read() {
    let scene = Scene::open("group_types = [\"OKTA_GROUP\"]", small);
    scene.sync().await;
    let groups: Vec<String> = scene.parts.roster().groups.into_keys().collect();
    assert_eq!(groups, ["00gengineers"]);
}

#[tokio::test]
async fn a_role_for_some_groups_shows_only_those() {
    let scene = Scene::open("", |org| {
        small(org);
        org.role_groups = Some(["00gsales".to_owned()].into());
    });
    scene.sync().await;
    let roster = scene.parts.roster();
    assert_eq!((roster.users.len(), roster.groups.len()), (1, 1));
    let findings = examine(&scene.server, &block(&scene.server.url(), "")).await;
    let narrow =
        findings.iter().find(|(step, outcome, _)| step == "visibility" && *outcome == Outcome::Bad);
    assert!(narrow.is_some_and(|(_, _, words)| words.contains("Everyone")), "{findings:?}");
}

/// A service app, as the org knows it, the settings that use it, and its key.
pub(super) fn app(
    change: impl FnOnce(&mut App),
    more: &str,
) -> (VendorServer<Acme>, String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let public = Key::Ec(key.public_key_raw().to_vec());
    let (server, block) = app_with(public, &key.serialize_pem(), change, more);
    (server, block, key.serialize_pem())
}

/// The same with this key.
pub(super) fn app_with(
    public: Key,
    pem: &str,
    change: impl FnOnce(&mut App),
    more: &str,
) -> (VendorServer<Acme>, String) {
    let mut app = App::new("0oaRosterd", public);
    app.key_id = Some("k1".to_owned());
    change(&mut app);
    let server = server(|org| {
        small(org);
        org.access = Access::App(Box::new(app));
    });
    secrets::note(pem.lines().nth(1).expect("a key").to_owned());
    let name = format!("okta-key-{}.pem", fastrand::u64(..));
    let file = write_private(artifacts().join(name), pem);
    let block = format!(
        "url = \"{}\"\nclient_id = \"0oaRosterd\"\nkey_id = \"k1\"\n\
         private_key = {{ file = {:?} }}\n{more}",
        server.url(),
        file.display().to_string()
    );
    (server, block)
}

fn granted(scene: &Scene) -> usize {
    scene.change(|org| match &org.access {
        Access::App(app) => app.granted,
        Access::Token(_) => 0,
    })
}

#[tokio::test]
async fn a_service_app_reads_with_one_token() {
    let (server, block, _) = app(|_| {}, "");
    let scene = Scene::follow(server, settings("okta", &block));
    scene.sync_exactly().await;
    scene.sync_exactly().await;
    assert_eq!(granted(&scene), 1);
}

#[tokio::test]
async fn a_token_that_ends_during_a_crawl_is_replaced() {
    let (server, block, _) = app(|_| {}, "");
    let scene = Scene::follow(server, settings("okta", &block));
    scene.server.meanwhile(When::nth(4), |acme| match &mut acme.org.access {
        Access::App(app) => app.revoke(),
        Access::Token(_) => {}
    });
    scene.sync_exactly().await;
    assert_eq!(granted(&scene), 2);
}

#[tokio::test]
async fn proofs_of_possession_are_given_when_the_app_requires_them() {
    for dpop in ["dpop = \"auto\"", "dpop = true"] {
        let nonces = |app: &mut App| {
            app.requires_dpop = true;
            app.token_nonce = Some("nonce-of-the-token-endpoint".to_owned());
            app.api_nonce = Some("nonce-of-the-api".to_owned());
        };
        let (server, block, _) = app(nonces, dpop);
        let scene = Scene::follow(server, settings("okta", &block));
        scene.sync_exactly().await;
        scene.change(|org| {
            if let Access::App(app) = &mut org.access {
                app.api_nonce = Some("another".to_owned());
            }
        });
        scene.sync_exactly().await;
        assert_eq!(granted(&scene), 1, "{dpop}");
    }
}

#[tokio::test]
async fn an_app_that_requires_proofs_says_so_when_they_are_switched_off() {
    let (server, block, _) = app(|app| app.requires_dpop = true, "dpop = false");
    let scene = Scene::follow(server, settings("okta", &block));
    let error = scene.parts.sync().await.unwrap_err();
    assert!(error.contains("invalid_dpop_proof") && error.contains("dpop = false"), "{error}");
}

#[tokio::test]
async fn without_the_scope_of_the_log_the_rest_is_read() {
    let scopes = |app: &mut App| app.scopes = vec!["okta.users.read", "okta.groups.read"];
    let (server, block, _) = app(scopes, "");
    let scene = Scene::follow(server, settings("okta", &block));
    scene.sync_exactly().await;
    scene.sync_exactly().await;
    scene.change(|org| org.delete_group("00gsales"));
    scene.sync_exactly().await;
    let findings = examine(&scene.server, &block).await;
    let log = findings.iter().find(|(_, _, words)| words.contains("okta.logs.read is missing"));
    let (_, outcome, words) = log.unwrap_or_else(|| panic!("{findings:?}"));
    assert_eq!(*outcome, Outcome::Warning);
    assert!(words.contains("Okta API Scopes") && words.contains("0oaRosterd"), "{words}");
}

/// What `doctor` says.
async fn examine(server: &VendorServer<Acme>, block: &str) -> Vec<(String, Outcome, String)> {
    server.forget();
    let patience = Patience {
        request_timeout: Duration::from_secs(20),
        stall_timeout: Duration::from_secs(60),
    };
    let findings = settings("okta", block).open(patience).examine().await;
    findings.into_iter().map(|finding| (finding.step, finding.outcome, finding.detail)).collect()
}

#[tokio::test]
async fn doctor_finds_nothing_wrong_where_nothing_is() {
    let server = server(small);
    let findings = examine(&server, &block(&server.url(), "")).await;
    assert!(findings.iter().all(|(_, outcome, _)| *outcome == Outcome::Good), "{findings:?}");
    let steps: Vec<&str> = findings.iter().map(|(step, ..)| step.as_str()).collect();
    for step in ["network", "credential", "permission", "visibility"] {
        assert!(steps.contains(&step), "{findings:?}");
    }
}

#[tokio::test]
async fn doctor_names_the_scope_that_is_missing_and_where_to_grant_it() {
    for missing in ["okta.users.read", "okta.groups.read"] {
        let scopes = move |app: &mut App| app.scopes.retain(|scope| *scope != missing);
        let asked: Vec<&str> = ["okta.users.read", "okta.groups.read", "okta.logs.read"]
            .into_iter()
            .filter(|scope| *scope != missing)
            .collect();
        let (server, block, _) = app(scopes, &format!("scopes = {asked:?}"));
        let findings = examine(&server, &block).await;
        let (_, outcome, words) = findings.last().unwrap();
        assert_eq!(*outcome, Outcome::Bad, "{findings:?}");
        assert!(words.contains(&format!("grant {missing}")), "{words}");
    }
}

#[tokio::test]
async fn doctor_tells_a_wrong_token_from_a_missing_right() {
    let server = server(small);
    server.with(|acme| acme.org.access = Access::Token("another".to_owned()));
    let findings = examine(&server, &block(&server.url(), "")).await;
    let (step, outcome, words) = findings.last().unwrap();
    assert_eq!((step.as_str(), *outcome), ("credential", Outcome::Bad), "{words}");
    assert!(words.contains("Security > API > Tokens"), "{words}");
}
