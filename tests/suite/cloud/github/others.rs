//! What others say: GitHub's own descriptions, another client, and somebody
//! else's stub.

use std::collections::{BTreeMap, BTreeSet};

use rosterd::provider::Start;
use serde_json::{Value, json};

use super::world::World;
use super::{block, open};
use crate::cloud::Crawl;
use crate::harness::copy::{Copy, PATIENCE};
use crate::harness::emulate::Emulator;
use crate::harness::{clients, schema};

fn some(world: &mut World) {
    let ids: Vec<u64> = (0..7).map(|n| world.member(0, &format!("u{n}"))).collect();
    let parent = world.make_team(0, "devs", &ids[..5]);
    let child = world.make_team(0, "core", &ids[4..]);
    world.change_team(child).parent = Some(parent);
    let eve = world.person("eve");
    world.orgs[0].outside.insert(eve);
    world.orgs[0].invitations.push((77, None, Some("new@corp.example".into())));
    world.orgs[0].saml = Some([("u1".to_owned(), "u1@corp.example".to_owned())].into());
    world.orgs[0].log = Some(Vec::new());
    world.page = 3;
}

#[tokio::test]
async fn every_query_is_one_that_the_published_schema_allows() {
    let (server, mut directory) = open("", some);
    server.record();
    Copy::full(&mut *directory).await;
    directory.examine().await;
    // Without the extras, which only a full crawl shows.
    let more = "outside_collaborators = \"off\"\npending_invitations = \"off\"";
    let mut directory = block(&server.url(), more).open(PATIENCE);
    let mut copy = Copy::full(&mut *directory).await;
    server.with(|world| {
        let boss = *world.people.keys().next().unwrap();
        world.log(0, "org.update_member", json!({ "user": "boss", "user_id": boss }));
        world.log(0, "team.add_member", json!({ "team": "acme/devs" }));
    });
    assert!(copy.follow(&mut *directory).await.is_changes());
    // Cut off while there are teams that are not whole.
    let mut crawl = Crawl::default();
    directory.crawl(Start::Full, &mut crawl).await.unwrap();
    for token in crawl.checkpoints {
        directory.crawl(Start::Resume(token), &mut Crawl::default()).await.unwrap();
    }
    let asked = server.exchanges();
    let asked = asked.iter().filter(|exchange| exchange.request.path == "/graphql");
    let asked: Vec<Value> = asked.map(|exchange| exchange.request.json()).collect();
    schema::validate_graphql(&asked);
}

#[tokio::test]
async fn the_stub_answers_as_github_describes_it() {
    let (server, mut directory) = open("api = \"rest\"", some);
    server.record();
    Copy::full(&mut *directory).await;
    schema::validate("github", &server.exchanges(), |request| {
        // Enterprise Cloud has another description; this one is told in parts.
        request.path.ends_with("/audit-log") || request.path.starts_with("/user/memberships/")
    });
}

#[tokio::test]
async fn pygithub_sees_the_same_organization() {
    let (server, mut directory) = open("", some);
    let copy = Copy::full(&mut *directory).await;
    let url = server.url();
    let listed =
        tokio::task::spawn_blocking(move || clients::run("pygithub.py", &[&url, "acme"], "t0k3n"));
    let listed = listed.await.unwrap();
    assert_same(&copy, &listed);
    assert_eq!(listed["outside"], json!(["eve"]));
    assert_eq!(listed["invited"], json!([77]));
}

#[tokio::test]
async fn an_emulator_by_others_is_read_by_rest() {
    let logins = ["octocat", "ann", "bob", "cid"];
    let users: Vec<Value> = logins.iter().map(|login| json!({ "login": login })).collect();
    let role = |login: &str| if login == "octocat" { "admin" } else { "member" };
    let members: Vec<Value> =
        logins.iter().map(|login| json!({ "login": login, "role": role(login) })).collect();
    let seed = json!({
        "tokens": { "t0k3n": { "login": "octocat", "scopes": ["read:org"] } },
        "github": { "users": users, "orgs": [{ "login": "acme", "name": "Acme", "members": members }] },
    });
    let filled = tokio::task::spawn_blocking(move || {
        let emulator = Emulator::start("github", &seed);
        // By the name that it gives itself in links: PyGithub insists on it.
        let url = emulator.url().replace("127.0.0.1", "localhost");
        let arguments = [&*url, "acme", "devs=ann,bob", "ops=bob,cid"];
        let listed = clients::run("pygithub.py", &arguments, "t0k3n");
        (emulator, listed)
    });
    let (emulator, listed) = filled.await.unwrap();
    let copy = Copy::full(&mut *block(&emulator.url(), "").open(PATIENCE)).await;
    assert_same(&copy, &listed);
    assert_eq!(copy.members("acme/ops"), ["bob", "cid"].map(str::to_owned).into());
    assert!(copy.memberships().contains("acme:owners/octocat"));
}

/// Members and teams are those that another client listed.
fn assert_same(copy: &Copy, listed: &Value) {
    let members: BTreeMap<String, u64> = serde_json::from_value(listed["members"].clone()).unwrap();
    let ours: BTreeMap<String, u64> = copy
        .users
        .values()
        .filter(|one| !one.groups.is_empty())
        .map(|one| (one.user.username.clone(), one.user.id.parse().unwrap()))
        .collect();
    assert_eq!(members, ours);
    for (slug, team) in listed["teams"].as_object().unwrap() {
        let name = format!("acme/{slug}");
        assert_eq!(team["id"].to_string(), copy.group(&name).group.id);
        // It lists the members of child teams, too.
        let mut all = copy.members(&name);
        if all.remove("acme/core") {
            all.extend(copy.members("acme/core"));
        }
        let theirs: BTreeSet<String> = serde_json::from_value(team["members"].clone()).unwrap();
        assert_eq!(theirs, all, "{slug}");
    }
}
