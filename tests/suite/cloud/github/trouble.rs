//! What goes wrong at GitHub never becomes a smaller directory.

use rosterd::provider::{Outcome, PullError, Start};

use super::open;
use super::world::World;
use crate::cloud::Crawl;
use crate::harness::copy::Copy;

fn some(world: &mut World) {
    let ids: Vec<u64> = (0..9).map(|n| world.member(0, &format!("u{n}"))).collect();
    for n in 0..5 {
        world.make_team(0, &format!("g{n}"), &ids[n..]);
    }
    world.page = 4;
}

/// A crawl under a hazard that GitHub does not get over.
async fn fails(more: &str, hazard: &'static str) -> PullError {
    let (server, mut directory) = open(more, some);
    let before = Copy::full(&mut *directory).await.picture();
    server.with(|world| world.hazard = Some(hazard));
    let outcome = directory.crawl(Start::Full, &mut Crawl::default()).await;
    server.with(|world| world.hazard = None);
    assert_eq!(Copy::full(&mut *directory).await.picture(), before, "it recovers from {hazard}");
    outcome.expect_err(hazard)
}

#[tokio::test]
async fn r2_errors_nulls_and_missing_parts_in_a_200_end_the_crawl() {
    for hazard in ["errors in a 200", "data null", "null node"] {
        let error = fails("", hazard).await;
        assert!(matches!(error, PullError::Incomplete { .. }), "{hazard}: {error}");
    }
}

#[tokio::test]
async fn r8_a_page_that_is_silently_missing_shows_in_the_count() {
    let error = fails("", "missing page").await;
    assert!(error.to_string().contains("GitHub counts"), "{error}");
}

#[tokio::test]
async fn r11_a_cursor_that_comes_again_ends_the_crawl() {
    let error = fails("", "repeated cursor").await;
    assert!(error.to_string().contains("circles"), "{error}");
}

#[tokio::test]
async fn r3_an_empty_page_is_not_the_end() {
    let (server, mut directory) = open("", some);
    let before = Copy::full(&mut *directory).await.picture();
    server.with(|world| world.hazard = Some("empty page"));
    assert_eq!(Copy::full(&mut *directory).await.picture(), before);
    assert_eq!(server.with(|world| world.hazard), None, "it happened");
}

#[tokio::test]
async fn a_query_that_is_too_slow_is_asked_in_smaller_parts() {
    for hazard in ["too slow", "timeout in a 200"] {
        let (server, mut directory) = open("", some);
        let before = Copy::full(&mut *directory).await.picture();
        // From the first page of teams on.
        let armed = crate::harness::vendor::When::next(1)
            .only(|request| request.json()["query"].to_string().contains("teams(first: $first"));
        server.meanwhile(armed, move |world: &mut World| world.hazard = Some(hazard));
        server.forget();
        assert_eq!(Copy::full(&mut *directory).await.picture(), before, "{hazard}");
        let sizes: Vec<u64> = server
            .log()
            .iter()
            .filter_map(|seen| seen.request.json()["variables"]["first"].as_u64())
            .collect();
        assert!(sizes.contains(&50), "{hazard}: {sizes:?}");
    }
}

#[tokio::test]
async fn r15_a_team_that_is_refused_stays_as_it_was() {
    for more in ["", "api = \"rest\""] {
        let (server, mut directory) = open(more, some);
        let mut copy = Copy::full(&mut *directory).await;
        let before = copy.picture();
        server.with(|world| world.hazard = Some("forbidden team"));
        let (seal, _) = copy.crawl(&mut *directory, Start::Full).await.unwrap();
        assert_eq!(copy.picture(), before);
        assert_eq!(seal.malformed, 1);
        assert!(seal.proof.ends.contains("1 teams may not be read"), "{}", seal.proof.ends);
    }
}

#[tokio::test]
async fn r12_a_malformed_user_stays_as_it_was() {
    for more in ["", "api = \"rest\""] {
        let (server, mut directory) = open(more, some);
        let mut copy = Copy::full(&mut *directory).await;
        let before = copy.picture();
        server.with(|world| world.hazard = Some("malformed user"));
        let (seal, _) = copy.crawl(&mut *directory, Start::Full).await.unwrap();
        assert_eq!(copy.picture(), before);
        assert_eq!(seal.malformed, 1);
    }
}

#[tokio::test]
async fn r1_who_is_no_member_sees_a_part_and_is_told_so() {
    for more in ["", "api = \"rest\""] {
        let (server, mut directory) = open(more, |world| {
            some(world);
            let public = *world.orgs[0].members.keys().nth(1).unwrap();
            world.orgs[0].public.insert(public);
            (world.caller_is_member, world.caller_is_owner) = (false, false);
        });
        let error = directory.crawl(Start::Full, &mut Crawl::default()).await.unwrap_err();
        assert!(matches!(error, PullError::Unauthorized { .. }), "{error}");
        let findings = directory.examine().await;
        let bad = findings.iter().find(|finding| finding.outcome == Outcome::Bad).unwrap();
        assert_eq!(bad.step, "permission");
        assert!(bad.detail.contains("let an owner invite it"), "{}", bad.detail);
        assert!(
            server.count(|request| request.path.ends_with("/members")) == 0,
            "nothing was read"
        );
    }
}

#[tokio::test]
async fn r1_what_was_visible_once_and_is_not_any_more_is_no_removal() {
    let (server, mut directory) = open("", |world| {
        some(world);
        let eve = world.person("eve");
        world.orgs[0].outside.insert(eve);
    });
    Copy::full(&mut *directory).await;
    server.with(|world| world.caller_is_owner = false);
    let error = directory.crawl(Start::Full, &mut Crawl::default()).await.unwrap_err();
    assert!(error.to_string().contains("visible before"), "{error}");
}

#[tokio::test]
async fn a_token_without_the_scope_or_single_sign_on_is_told_so() {
    let attempt = async |make: fn(&mut World)| {
        let (_server, mut directory) = open("api = \"rest\"", |world| {
            some(world);
            make(world);
        });
        directory.crawl(Start::Full, &mut Crawl::default()).await
    };
    let scope = attempt(|world| world.scopes = Some("repo, user")).await.unwrap_err();
    assert!(scope.to_string().contains("missing permission: read:org"), "{scope}");
    attempt(|world| world.scopes = Some("read:org")).await.unwrap();
    let partial = attempt(|world| {
        world.headers.push(("x-github-sso", "partial-results; organizations=1".into()));
    });
    assert!(partial.await.unwrap_err().to_string().contains("single sign-on"));
}

#[tokio::test]
async fn a_renamed_team_is_looked_up_anew() {
    for more in ["", "api = \"rest\""] {
        let (server, mut directory) = open(more, some);
        let armed = crate::harness::vendor::When::next(1).only(move |request| {
            request.path.ends_with("/members") && request.path.contains("/teams/")
                || request.json()["query"].to_string().contains("$m0")
        });
        server.meanwhile(armed, |world: &mut World| {
            let ids: Vec<u64> = world.orgs[0].teams.keys().copied().collect();
            for id in ids {
                let slug = format!("new-{}", world.change_team(id).slug);
                world.change_team(id).slug = slug;
            }
            // GraphQL asks by ids, which only a deletion makes useless.
            let first = *world.orgs[0].teams.keys().next().unwrap();
            world.orgs[0].teams.remove(&first);
        });
        let copy = Copy::full(&mut *directory).await;
        let names: Vec<&str> =
            copy.groups.values().map(|group| group.group.name.as_str()).collect();
        assert!(names.contains(&"acme/new-g1") || more.is_empty(), "{names:?}");
        let renamed =
            copy.groups.values().filter(|group| group.group.name.starts_with("acme/")).count();
        assert_eq!(renamed, 4, "{names:?}");
    }
}

#[tokio::test]
async fn the_doctor_says_what_is_visible() {
    let (_server, mut directory) = open("", some);
    let findings = directory.examine().await;
    assert!(findings.iter().all(|finding| finding.outcome != Outcome::Bad), "{findings:#?}");
    assert!(findings.iter().any(|finding| finding.detail.contains("10 members and 5 teams")));
    let (_server, mut directory) = open("pending_invitations = \"on\"", |world| {
        some(world);
        world.caller_is_owner = false;
    });
    let findings = directory.examine().await;
    let secret = findings.iter().find(|finding| finding.detail.contains("secret teams")).unwrap();
    assert_eq!(secret.outcome, Outcome::Warning);
    let invited =
        findings.iter().find(|finding| finding.detail.contains("pending invitations")).unwrap();
    assert_eq!(invited.outcome, Outcome::Bad);
}

/// Whether the request is for the second page of such a list.
fn second_page(of: &'static str) -> crate::harness::vendor::When {
    crate::harness::vendor::When::next(1)
        .only(move |request| request.path.ends_with(of) && request.query("page") == Some("2"))
}

#[tokio::test]
async fn r1_who_moves_to_a_page_already_read_is_not_taken_for_gone() {
    for (more, of) in [
        ("api = \"rest\"", "/acme/members"),
        ("api = \"rest\"", "/teams/g0/members"),
        ("", "/outside_collaborators"),
    ] {
        let (server, mut directory) = open(more, |world| {
            some(world);
            for n in 0..9 {
                let id = world.person(&format!("o{n}"));
                world.orgs[0].outside.insert(id);
            }
        });
        Copy::full(&mut *directory).await;
        let armed = server.meanwhile(second_page(of), move |world: &mut World| {
            let org = &mut world.orgs[0];
            let first = match of {
                "/outside_collaborators" => *org.outside.iter().next().unwrap(),
                _ => *org.members.keys().nth(1).unwrap(),
            };
            org.outside.remove(&first);
            org.members.remove(&first);
            org.teams.values_mut().for_each(|team| team.members.retain(|id, _| *id != first));
        });
        let copy = Copy::full(&mut *directory).await;
        assert_eq!(server.fired(armed), 1, "{of}");
        // One of nineteen has left, or only the team had to be read again.
        let (users, in_team) = match of {
            "/acme/members" => (18, 8),
            "/teams/g0/members" => (19, 8),
            _ => (18, 9),
        };
        assert_eq!((copy.users.len(), copy.members("acme/g0").len()), (users, in_team), "{of}");
    }
}

/// The same after a restart: what is remembered is in the cursor.
#[tokio::test]
async fn r1_a_permission_that_was_lost_over_a_restart_is_no_removal() {
    let (server, mut directory) = open("", |world| {
        some(world);
        let eve = world.person("eve");
        world.orgs[0].outside.insert(eve);
    });
    let cursor = Copy::full(&mut *directory).await.cursor.expect("it says what was visible");
    server.with(|world| world.caller_is_owner = false);
    let mut directory = super::block(&server.url(), "").open(crate::harness::copy::PATIENCE);
    let start = Start::Incremental(cursor);
    let error = directory.crawl(start, &mut Crawl::default()).await.unwrap_err();
    assert!(error.to_string().contains("visible before"), "{error}");
}

#[tokio::test]
async fn r8_a_first_page_without_its_link_to_the_next_is_not_the_whole() {
    let (server, mut directory) = open("api = \"rest\"", some);
    let before = Copy::full(&mut *directory).await.picture();
    server.with(|world| world.hazard = Some("no next page"));
    let error = directory.crawl(Start::Full, &mut Crawl::default()).await.unwrap_err();
    assert!(error.to_string().contains("GitHub counts"), "{error}");
    server.with(|world| world.hazard = None);
    assert_eq!(Copy::full(&mut *directory).await.picture(), before);
}
