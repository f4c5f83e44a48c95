//! Okta's own client reads the same org from the same stub, and the stub
//! answers as Okta describes it.

use serde_json::{Value, json};

use super::access::{App, Key};
use super::apps::app_with;
use super::scene::Scene;
use super::{TOKEN, stub};
use crate::cloud::{Member, Op, Vendor, assert_same, settings};
use crate::harness::vendor::VendorServer;
use crate::harness::{clients, schema};

/// Their client knows RSA keys only, and those take long to make.
const RSA_KEY: &str = include_str!("../google/key.pem");

/// Some of everything, in small pages.
fn populate(acme: &mut super::Acme) {
    (0..9).for_each(|user| acme.apply(&Op::PutUser(user, 1)));
    (0..4).for_each(|group| acme.apply(&Op::PutGroup(group, 1)));
    (0..9).for_each(|user| acme.apply(&Op::AddMember(user % 3, Member::User(user))));
    [3, 4].into_iter().for_each(|user| acme.apply(&Op::Disable(user)));
    acme.page(2);
}

async fn read_by_their_client(server: &VendorServer<super::Acme>, login: Value) -> Value {
    let (url, login) = (server.url(), login.to_string());
    let run = move || clients::run("okta_org.py", &[&url], &login);
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Both read the same ids.
fn assert_same_with_everyone(read: &Value, scene: &Scene) {
    let roster = scene.parts.roster();
    assert_same(read, &roster);
    assert!(roster.groups.contains_key(stub::EVERYONE), "also the group that is never read");
}

#[tokio::test]
async fn oktas_own_client_reads_the_same() {
    let scene = Scene::open("", |_| {});
    scene.server.with(populate);
    scene.sync_exactly().await;
    // It puts the token right behind `SSWS`.
    let login = json!({ "token": format!(" {}", *TOKEN) });
    let read = read_by_their_client(&scene.server, login).await;
    assert_same_with_everyone(&read, &scene);
    assert!(read["events"].as_u64().unwrap() > 10);
}

#[tokio::test]
async fn oktas_own_client_signs_in_as_a_service_app_too() {
    for is_bound in [false, true] {
        let change = |app: &mut App| app.requires_dpop = is_bound;
        let (server, block) = app_with(Key::rsa(RSA_KEY), RSA_KEY, change, "");
        server.with(populate);
        let scene = Scene::follow(server, settings("okta", &block));
        scene.sync_exactly().await;
        let login = json!({
            "clientId": "0oaRosterd", "privateKey": RSA_KEY, "kid": "k1", "dpopEnabled": is_bound,
            "scopes": ["okta.users.read", "okta.groups.read", "okta.logs.read"],
        });
        assert_same_with_everyone(&read_by_their_client(&scene.server, login).await, &scene);
    }
}

/// Orgs send null for fields of a profile that are not set; newer descriptions
/// allow that, the one on npm does not know null.
fn drop_unset(body: &mut Value) {
    match body {
        Value::Array(objects) => objects.iter_mut().for_each(drop_unset),
        Value::Object(fields) => {
            if let Some(Value::Object(profile)) = fields.get_mut("profile") {
                profile.retain(|_, value| !value.is_null());
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn the_stub_answers_as_okta_describes_it() {
    let scene = Scene::open("", |_| {});
    scene.server.record();
    scene.server.with(populate);
    let deletions = [Op::DeleteUser(1), Op::DeleteGroup(1)];
    for op in [Op::PutUser(10, 1), Op::AddMember(0, Member::User(10)), deletions[0], deletions[1]] {
        scene.sync().await;
        scene.server.with(|acme| acme.apply(&op));
    }
    scene.sync().await;
    let mut exchanges = scene.server.exchanges();
    exchanges.iter_mut().for_each(|exchange| drop_unset(&mut exchange.body));
    tokio::task::spawn_blocking(move || schema::validate("okta", &exchanges, |_| false))
        .await
        .unwrap();
}
