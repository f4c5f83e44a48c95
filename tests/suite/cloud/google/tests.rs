//! What a full crawl and an idle poll ask for, and how the credential is used.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rosterd::provider::{Item, Settings, Start};

use super::server::{GROUPS, Google, REPORTS, USERS};
use super::token::{ACCOUNT, ADMIN};
use super::world::CUSTOMER;
use super::{block, file};
use crate::cloud::{Crawl, Member, Op, Population, Vendor, settings};
use crate::harness::copy::PATIENCE;
use crate::harness::parts::{Manner, Parts};
use crate::harness::roster::Lens;
use crate::harness::vendor::{Request, Seen, VendorServer};

pub fn open(folder: &std::path::Path, settings: Arc<dyn Settings>) -> Parts {
    let lens = Lens { user: Google::user_words, group: Google::group_words };
    Parts::open(folder, settings, Manner { patience: PATIENCE, ..Manner::unguarded(lens) })
}

pub fn start() -> VendorServer<Google> {
    VendorServer::start(Google::default())
}

fn of_api(request: &Request) -> bool {
    request.path.starts_with("/admin/")
}

fn path_is(request: &Request, end: &str) -> bool {
    request.path.ends_with(end)
}

fn is_feed(request: &Request) -> bool {
    request.path.contains("/reports/")
}

fn a_small_world(google: &mut Google) {
    for user in 0..6 {
        google.apply(&Op::PutUser(user, 1));
    }
    for group in 0..3 {
        google.apply(&Op::PutGroup(group, 1));
        google.apply(&Op::AddMember(group, Member::User(group)));
    }
}

/// At 80 % of what Google allows.
fn most(url: &str) -> String {
    // Nothing is due to be read in turn, however long the test takes.
    block(url, "verify_within = \"365d\"").replace("quota_share = 1.0", "quota_share = 0.8")
}

/// No minute had more requests than that.
fn assert_budget(log: &[Seen], most: usize) {
    let times: Vec<_> =
        log.iter().filter(|seen| of_api(&seen.request)).map(|seen| seen.received).collect();
    assert!(times.len() > most, "it could all go within a minute");
    for window in times.windows(most + 1) {
        assert!(window[most] - window[0] >= Duration::from_mins(1), "over the budget");
    }
}

/// The table of requests that a provider may cost, for a smaller directory.
#[tokio::test]
async fn a_big_directory_costs_no_more_requests_than_it_must() {
    let server = start();
    server.with(|google| google.fill(Population::BIG));
    let folder = tempfile::tempdir().unwrap();
    let parts = open(folder.path(), settings("google", &most(&server.url())));
    parts.sync().await.unwrap();
    assert_eq!(parts.roster(), server.with(|google| google.roster()));
    assert_budget(&server.log(), 2_400 * 8 / 10);
    let users = server.count(|request| path_is(request, "/users"));
    let groups = server.count(|request| path_is(request, "/groups"));
    let members = server.count(|request| path_is(request, "/members"));
    // Of 2,000 groups, one has 10,000 members in pages of 200, the others one page.
    assert_eq!((users, groups, members), (20_000 / 500, 2_000 / 200, 1_999 + 10_000 / 200));
    assert_eq!(server.count(of_api), users + groups + members);
    assert_eq!(server.count(|request| request.path == "/token"), 1);
    server.forget();
    parts.sync().await.unwrap();
    assert_eq!((server.count(is_feed), server.count(of_api)), (2, 2), "an idle poll");
    let changed = 2_000 / 100;
    server.with(|google| {
        let groups: Vec<String> =
            google.world.groups.keys().skip(1).take(changed).cloned().collect();
        let user = google.world.users.keys().next().unwrap().clone();
        let email = google.world.users[&user].email.clone();
        for group in groups {
            let members = &google.world.groups[&group].members;
            let place = google.world.groups[&group].email.clone();
            let name = if members.contains_key(&user) {
                "REMOVE_GROUP_MEMBER"
            } else {
                "ADD_GROUP_MEMBER"
            };
            if name == "ADD_GROUP_MEMBER" {
                google.world.add_member(&group, "USER", &user);
            } else {
                google.world.groups.get_mut(&group).unwrap().members.remove(&user);
            }
            google.world.tell("admin", name, &[("GROUP_EMAIL", &place), ("USER_EMAIL", &email)]);
        }
    });
    server.forget();
    parts.sync().await.unwrap();
    assert_eq!(parts.roster(), server.with(|google| google.roster()));
    assert_eq!(server.count(of_api), 2 + changed, "after {changed} changed groups");
    server.forget();
    parts.sync().await.unwrap();
    assert_eq!(server.count(of_api), 2, "idle again");
    parts.close().await;
}

#[tokio::test]
async fn without_a_key_iam_signs_for_whoever_the_platform_says_we_are() {
    for more in [
        String::new(),
        format!("credential_configuration = {{ file = {:?} }}\n", file("workload.json")),
    ] {
        let server = start();
        server.with(a_small_world);
        let url = server.url();
        let block = format!(
            "impersonate = \"{ADMIN}\"\nservice_account = \"{ACCOUNT}\"\napi = \"{url}\"\n\
             token_url = \"{url}/token\"\niam = \"{url}\"\nmetadata = \"{url}\"\n\
             sts_url = \"{url}/sts\"\n{more}"
        );
        let folder = tempfile::tempdir().unwrap();
        let parts = open(folder.path(), settings("google", &block));
        parts.sync().await.unwrap();
        assert_eq!(parts.roster(), server.with(|google| google.roster()));
        let by = if more.is_empty() { "/token" } else { "/sts" };
        assert!(server.count(|request| request.path.ends_with(by)) > 0);
        parts.close().await;
    }
}

#[tokio::test]
async fn a_token_that_ends_in_the_middle_is_replaced() {
    let server = start();
    server.with(a_small_world);
    server.with(|google| google.tokens.life = Some(3));
    let folder = tempfile::tempdir().unwrap();
    let parts = open(folder.path(), settings("google", &block(&server.url(), "")));
    parts.sync().await.unwrap();
    assert_eq!(parts.roster(), server.with(|google| google.roster()));
    parts.close().await;
}

#[tokio::test]
async fn r10_everybody_external_members_and_nested_groups_are_what_they_are() {
    let server = start();
    server.with(a_small_world);
    let all = server.with(|google| {
        let all = google.world.add_group("all@example.org");
        google.world.add_member(&all, "CUSTOMER", CUSTOMER);
        google.world.add_member(&all, "EXTERNAL", "bob@elsewhere.example");
        let first = google.world.groups.keys().next().unwrap().clone();
        google.world.add_member(&all, "GROUP", &first);
        all
    });
    let folder = tempfile::tempdir().unwrap();
    let parts = open(folder.path(), settings("google", &block(&server.url(), "")));
    parts.sync().await.unwrap();
    let roster = parts.roster();
    assert_eq!(roster, server.with(|google| google.roster()));
    assert_eq!(roster.members.iter().filter(|(group, _)| *group == all).count(), 6 + 1);
    let view = parts.ledger.directory("corp");
    let slot = view.group_by_id(&all).unwrap();
    assert_eq!(view.unresolved(slot).len(), 1, "the external member is kept, and is nobody");
    // Whoever comes belongs to it, too, and whoever goes does not.
    server.with(|google| {
        google.apply(&Op::PutUser(9, 1));
        google.apply(&Op::DeleteUser(0));
    });
    server.forget();
    parts.sync().await.unwrap();
    assert_eq!(parts.roster(), server.with(|google| google.roster()));
    assert_eq!(server.count(|request| path_is(request, "/users")), 0, "nobody was listed again");
    parts.close().await;
}

#[tokio::test]
async fn without_the_audit_feed_every_poll_reads_everything() {
    let server = start();
    server.with(a_small_world);
    server.with(|google| google.tokens.delegated.remove(REPORTS));
    let folder = tempfile::tempdir().unwrap();
    let parts = open(folder.path(), settings("google", &block(&server.url(), "")));
    for user in 10..13 {
        server.with(|google| google.apply(&Op::PutUser(user, 1)));
        parts.sync().await.unwrap();
        assert_eq!(parts.roster(), server.with(|google| google.roster()));
    }
    let findings = settings("google", &block(&server.url(), "")).open(PATIENCE).examine().await;
    let told: Vec<&str> = findings.iter().map(|finding| finding.detail.as_str()).collect();
    assert!(told.iter().any(|detail| detail.contains(REPORTS)), "{told:?}");
    parts.close().await;
}

#[tokio::test]
async fn doctor_names_what_is_missing_and_where_to_grant_it() {
    let server = start();
    server.with(a_small_world);
    server.with(|google| google.tokens.delegated.remove(GROUPS));
    let settings = settings("google", &block(&server.url(), ""));
    let told = |findings: &[rosterd::provider::Finding]| -> String {
        findings.iter().map(|finding| format!("{finding:?}\n")).collect()
    };
    let text = told(&settings.open(PATIENCE).examine().await);
    for part in ["Domain", "110000000000000000042", GROUPS] {
        assert!(text.to_lowercase().contains(&part.to_lowercase()), "{part} in {text}");
    }
    server.with(|google| google.tokens.delegated = [USERS, GROUPS, REPORTS].into());
    let text = told(&settings.open(PATIENCE).examine().await);
    for part in ["6 users and 3 groups are visible", "as many as Google counts", "audit feed"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn doctor_warns_when_no_member_of_any_group_is_visible() {
    let server = start();
    server.with(|google| {
        google.apply(&Op::PutUser(1, 1));
        (0..3).for_each(|group| google.apply(&Op::PutGroup(group, 1)));
    });
    let findings = settings("google", &block(&server.url(), "")).open(PATIENCE).examine().await;
    let warning = findings.iter().find(|finding| finding.detail.contains("0 members of 3 groups"));
    let warning = warning.unwrap_or_else(|| panic!("{findings:?}"));
    assert_eq!(warning.outcome, rosterd::provider::Outcome::Warning);
}

#[tokio::test]
async fn attributes_come_with_the_user() {
    let server = start();
    server.with(a_small_world);
    let folder = tempfile::tempdir().unwrap();
    let parts = open(folder.path(), settings("google", &block(&server.url(), "")));
    parts.sync().await.unwrap();
    let view = parts.ledger.directory("corp");
    let slot = view.user_slots().next().unwrap();
    let item = rosterd::store::record::decode_user(view.user_record(slot).unwrap()).unwrap();
    let names: Vec<&str> = item.user.attributes.keys().map(String::as_str).collect();
    assert_eq!(names, ["Employee.number", "Employee.on_call", "orgUnitPath"]);
    parts.close().await;
}

#[tokio::test]
async fn r18_what_the_feed_never_tells_is_found_by_reading_all_in_turn() {
    let server = start();
    server.with(a_small_world);
    let folder = tempfile::tempdir().unwrap();
    let settings = settings("google", &block(&server.url(), "verify_within = \"1s\""));
    let parts = open(folder.path(), settings);
    parts.sync().await.unwrap();
    server.with(|google| {
        let user = google.world.add_user("silent@example.org");
        let group = google.world.groups.keys().next_back().unwrap().clone();
        google.world.add_member(&group, "USER", &user);
        google.world.groups.get_mut(&group).unwrap().name = "renamed in silence".into();
    });
    let truth = server.with(|google| google.roster());
    let mut polls = 0;
    while parts.roster() != truth {
        parts.sync().await.unwrap();
        polls += 1;
        assert!(polls < 20_000, "never found");
    }
    let drift = parts.statuses.get("corp").unwrap().drift;
    assert!(drift > 0, "what the feed never told was not counted");
    parts.close().await;
}

#[tokio::test]
async fn r18_polls_that_come_to_nothing_skip_no_group_and_no_group_is_old() {
    let server = start();
    let groups = 40_u8;
    server.with(|google| {
        google.apply(&Op::PutUser(0, 1));
        (0..groups).for_each(|group| google.apply(&Op::PutGroup(group, 1)));
    });
    let settings = settings("google", &block(&server.url(), "verify_within = \"1s\""));
    let mut directory = settings.open(PATIENCE);
    let seal = directory.crawl(Start::Full, &mut Crawl::default()).await.unwrap();
    let mut cursor = seal.cursor.unwrap();
    server.with(|google| google.world.feed.clear());
    let mut read = BTreeSet::new();
    for poll in 0.. {
        assert!(poll < 20_000, "the round never ends");
        let name = format!("name {poll}");
        server.with(|google| {
            google.world.groups.values_mut().for_each(|group| group.name.clone_from(&name));
        });
        let mut crawl = Crawl::default();
        let seal = directory.crawl(Start::Incremental(cursor.clone()), &mut crawl).await.unwrap();
        // Every other crawl is thrown away.
        if poll % 2 > 0 {
            continue;
        }
        cursor = seal.cursor.unwrap();
        for item in crawl.collected.items {
            let Item::Group(group) = item else { continue };
            assert_eq!(group.group.name, name, "what is handed over was read long ago");
            read.insert(group.group.id);
        }
        if seal.proof.ends.contains("(round 2)") {
            break;
        }
    }
    assert_eq!(read.len(), usize::from(groups), "groups were skipped");
}
