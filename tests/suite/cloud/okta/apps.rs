//! Service apps: `private_key_jwt`, proofs of possession, and their tokens.

use rosterd::clock;
use rosterd::provider::{PullError, Start};

use super::Acme;
use super::access::{Access, App, Key};
use super::scene::{Scene, server, small};
use crate::cloud::{crawl_once, settings};
use crate::harness::vendor::{VendorServer, When};
use crate::harness::{artifacts, secrets, write_private};

/// A service app, as the org knows it, the settings that use it, and its key.
pub fn app(change: impl FnOnce(&mut App), more: &str) -> (VendorServer<Acme>, String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let public = Key::Ec(key.public_key_raw().to_vec());
    let (server, block) = app_with(public, &key.serialize_pem(), change, more);
    (server, block, key.serialize_pem())
}

/// The same with this key.
pub fn app_with(
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

/// R17, at the token endpoint: there is no `Retry-After` there either.
#[tokio::test]
async fn r17_a_throttled_token_endpoint_is_left_alone_until_its_reset() {
    let (server, block, _) = app(|_| {}, "");
    server.with(|acme| {
        // The reset is a time of the org's clock, which is not ours.
        acme.org.ahead = super::scene::DAY;
        acme.org.token_throttled = Some(50);
    });
    let before = clock::now();
    let settings = settings("okta", &block);
    let (_, outcome) = crawl_once(&*settings, Start::Full).await;
    let after = clock::now();
    let Err(PullError::Throttled { until, .. }) = outcome else { panic!("{outcome:?}") };
    // `Date` and the reset have whole seconds.
    assert!(until.0 >= before.0 + 49_000 && until.0 <= after.0 + 52_000, "{until}");
    assert_eq!(server.log().len(), 1, "asked again before the reset");
}
