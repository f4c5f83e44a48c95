//! Microsoft's own client reads the same tenant from the same stub, and the
//! stub answers in the shapes that its models know.

use super::stub::CLIENT;
use super::{Contoso, SECRET, block, settings};
use crate::cloud::{Member, Op, Vendor, assert_same};
use crate::harness::parts::{Manner, Parts};
use crate::harness::roster::Lens;
use crate::harness::vendor::VendorServer;
use crate::harness::{clients, schema};

fn filled() -> VendorServer<Contoso> {
    let server = VendorServer::start(Contoso::default());
    server.with(|contoso| {
        (0..9).for_each(|user| contoso.apply(&Op::PutUser(user, 1)));
        (0..4).for_each(|group| contoso.apply(&Op::PutGroup(group, 1)));
        (0..9).for_each(|user| contoso.apply(&Op::AddMember(user % 3, Member::User(user))));
        contoso.apply(&Op::AddMember(0, Member::Group(1)));
        contoso.apply(&Op::RemoveMember(0, Member::User(3)));
        contoso.apply(&Op::DeleteUser(5));
        contoso.page(2);
    });
    server
}

fn open(folder: &std::path::Path, server: &VendorServer<Contoso>) -> Parts {
    let lens = Lens { user: Contoso::user_words, group: Contoso::group_words };
    Parts::open(folder, settings("entra", &block(&server.url(), "")), Manner::unguarded(lens))
}

#[tokio::test]
async fn microsofts_own_client_reads_the_same() {
    let server = filled();
    let url = server.url();
    let run = move || clients::run("graph.py", &[&url, CLIENT], &SECRET);
    let read = tokio::task::spawn_blocking(run).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let parts = open(folder.path(), &server);
    parts.sync().await.unwrap();
    assert_same(&read, &parts.roster());
    assert_same(&read["told"], &parts.roster());
    parts.close().await;
}

#[tokio::test]
async fn the_stub_answers_in_the_shapes_that_microsofts_models_know() {
    let server = filled();
    server.record();
    let folder = tempfile::tempdir().unwrap();
    let parts = open(folder.path(), &server);
    for op in [
        Op::PutUser(4, 2),
        Op::PutUser(20, 2),
        Op::AddMember(0, Member::User(4)),
        Op::PutGroup(0, 2),
    ] {
        parts.sync().await.unwrap();
        server.with(|contoso| contoso.apply(&op));
    }
    parts.sync().await.unwrap();
    parts.close().await;
    let exchanges = server.exchanges();
    let is_plain = |path: &str| path.ends_with("/token") || path.ends_with("$count");
    let validate = move || schema::validate("entra", &exchanges, |request| is_plain(&request.path));
    tokio::task::spawn_blocking(validate).await.unwrap();
}
