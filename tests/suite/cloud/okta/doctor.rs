//! What `rosterd doctor` finds: which right is missing, and where to grant it.

use std::time::Duration;

use rosterd::provider::{Outcome, Patience};

use super::access::{Access, App};
use super::apps::app;
use super::scene::{Scene, server, small};
use super::{Acme, block};
use crate::cloud::settings;
use crate::harness::vendor::VendorServer;

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
