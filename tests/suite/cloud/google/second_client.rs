//! Google's own client reads the same directory from the same stub, and the
//! stub answers as Google describes it.

use serde_json::Value;

use super::block;
use super::tests::{open, start};
use super::token::{ADMIN, key_file};
use crate::cloud::{Member, Op, Vendor, assert_same, settings};
use crate::harness::{clients, schema};

#[tokio::test]
async fn googles_own_client_reads_the_same() {
    let server = start();
    server.with(|google| {
        (0..9).for_each(|user| google.apply(&Op::PutUser(user, 1)));
        (0..4).for_each(|group| google.apply(&Op::PutGroup(group, 1)));
        (0..9).for_each(|user| google.apply(&Op::AddMember(user % 3, Member::User(user))));
        google.apply(&Op::AddMember(0, Member::Group(1)));
        google.page = 2;
    });
    let url = server.url();
    let mut key: Value = serde_json::from_str(&key_file()).unwrap();
    key["token_uri"] = format!("{url}/token").into();
    let key = key.to_string();
    let read = tokio::task::spawn_blocking({
        let url = url.clone();
        move || clients::run("workspace.py", &[&url, ADMIN], &key)
    });
    let read = read.await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let parts = open(folder.path(), settings("google", &block(&url, "")));
    parts.sync().await.unwrap();
    assert_same(&read, &parts.roster());
    let told = server.with(|google| google.world.feed["admin"].len());
    assert_eq!(read["events"], told);
    parts.close().await;
}

#[tokio::test]
async fn the_stub_answers_as_google_describes_it() {
    let server = start();
    server.record();
    server.with(|google| {
        (0..3).for_each(|user| google.apply(&Op::PutUser(user, 1)));
        google.apply(&Op::PutGroup(0, 1));
        google.apply(&Op::AddMember(0, Member::User(1)));
    });
    let folder = tempfile::tempdir().unwrap();
    let parts = open(folder.path(), settings("google", &block(&server.url(), "")));
    for op in [Op::PutUser(4, 1), Op::AddMember(0, Member::User(4)), Op::PutGroup(0, 2)] {
        parts.sync().await.unwrap();
        server.with(|google| google.apply(&op));
    }
    parts.sync().await.unwrap();
    parts.close().await;
    let exchanges = server.exchanges();
    tokio::task::spawn_blocking(move || {
        schema::validate("google", &exchanges, |request| request.path == "/token");
    })
    .await
    .unwrap();
}
