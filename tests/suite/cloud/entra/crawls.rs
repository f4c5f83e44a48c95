//! Crawls of a tenant: what is read, what is kept, and what is told when.

use rosterd::provider::{Extent, PullError, Start};
use serde_json::json;

use super::scene::{Scene, is_batch};
use super::{USER, block, settings};
use crate::cloud::crawl_once;
use crate::harness::roster::Roster;
use crate::harness::vendor::{Hazard, When};

#[tokio::test]
async fn what_happens_during_a_full_crawl_is_in_it() {
    let scene = Scene::new("");
    scene.server.meanwhile(When::nth(1).only(is_batch), |contoso| {
        let tenant = &mut contoso.stub.tenant;
        tenant.put_user("u9", json!({ "jobTitle": "new" }));
        tenant.put_user("u2", json!({ "jobTitle": "promoted" }));
        tenant.delete_user("u1");
        tenant.put_group("g9", json!({ "description": "new" }));
        tenant.add("g9", "u9", USER);
        tenant.delete_group("g2");
    });
    scene.sync_to_truth().await;
}

#[tokio::test]
async fn r6_a_partial_change_blanks_nothing() {
    let scene = Scene::new("");
    scene.sync_to_truth().await;
    scene.change(|tenant| {
        tenant.put_user("u1", json!({ "department": "R&D" }));
        tenant.put_group("g1", json!({ "mail": "g1@contoso.com" }));
    });
    scene.sync_to_truth().await;
}

#[tokio::test]
async fn r7_a_deleted_group_leaves_between_full_crawls() {
    let scene = Scene::new("");
    scene.sync_to_truth().await;
    scene.change(|tenant| tenant.delete_group("g2"));
    scene.sync_to_truth().await;
    assert!(!scene.parts.roster().groups.contains_key("g2"));
}

#[tokio::test]
async fn r5_a_forgotten_token_is_replaced_by_a_full_crawl_in_the_same_poll() {
    for how in ["changes are forgotten", "the state is lost"] {
        let scene = Scene::new("");
        scene.sync_to_truth().await;
        scene.change(|tenant| tenant.delete_user("u3"));
        scene.server.with(|contoso| contoso.stub.arm(how));
        scene.sync_to_truth().await;
    }
}

#[tokio::test]
async fn r5_nothing_is_removed_until_the_new_round_seals() {
    let scene = Scene::new("");
    scene.sync_to_truth().await;
    let before = scene.parts.roster();
    scene.change(|tenant| tenant.delete_user("u3"));
    scene.server.with(|contoso| contoso.stub.arm("changes are forgotten"));
    scene.server.arm(Hazard::TruncatedJson, When::matching(is_batch));
    scene.sync().await.unwrap_err();
    assert_eq!(scene.parts.roster(), before);
    scene.server.disarm();
    scene.sync_to_truth().await;
}

#[tokio::test]
async fn a_restored_user_is_a_member_again_even_after_a_full_crawl() {
    for is_read_anew in [false, true] {
        let scene = Scene::new("");
        scene.sync_to_truth().await;
        scene.change(|tenant| tenant.bin_user("u1"));
        scene.sync_to_truth().await;
        if is_read_anew {
            scene.anew().await;
        }
        assert!(!scene.members("g1").contains("u1"));
        scene.change(|tenant| tenant.restore_user("u1"));
        scene.sync_to_truth().await;
        assert!(scene.members("g1").contains("u1"), "anew: {is_read_anew}");
    }
}

#[tokio::test]
async fn the_groups_of_a_restored_user_are_asked_for_until_they_are_told() {
    let scene = Scene::new("");
    scene.change(|tenant| tenant.bin_user("u1"));
    scene.sync_to_truth().await;
    scene.change(|tenant| tenant.restore_user("u1"));
    scene.server.with(|contoso| contoso.stub.arm("no groups of users"));
    scene.sync().await.unwrap();
    assert!(!scene.members("g1").contains("u1"));
    scene.server.with(|contoso| contoso.stub.calm());
    scene.sync_to_truth().await;
    assert!(scene.members("g1").contains("u1"));
}

#[tokio::test]
async fn r15_a_forbidden_group_keeps_its_members_and_stops_nobody() {
    let scene = Scene::new("");
    scene.sync_to_truth().await;
    scene.change(|tenant| {
        tenant.add("g1", "u5", USER);
        tenant.put_user("u4", json!({ "jobTitle": "promoted" }));
    });
    scene.server.with(|contoso| contoso.stub.arm("a forbidden group"));
    scene.server.with(|contoso| contoso.stub.arm("changes are forgotten"));
    scene.sync().await.unwrap();
    assert!(scene.members("g1").contains("u1"), "its last good members");
    assert_eq!(scene.parts.roster().users, scene.truth().users);
    scene.server.with(|contoso| contoso.stub.calm());
    scene.sync_to_truth().await;
}

#[tokio::test]
async fn a_group_with_hidden_members_is_not_shown_as_an_empty_one() {
    let scene = Scene::new("");
    scene.change(|tenant| {
        tenant.put_group("h", json!({ "visibility": "HiddenMembership" }));
        tenant.add("h", "u5", USER);
    });
    scene.sync().await.unwrap();
    assert!(!scene.parts.roster().groups.contains_key("h"));
    scene.server.with(|contoso| {
        contoso.stub.roles.push("Member.Read.Hidden");
        contoso.stub.granted += 1;
    });
    scene.anew().await;
    scene.sync_to_truth().await;
    scene.server.with(|contoso| {
        contoso.stub.roles.retain(|role| *role != "Member.Read.Hidden");
        contoso.stub.granted += 1;
    });
    scene.anew().await;
    assert!(scene.members("h").contains("u5"), "unknown is not empty");
}

#[tokio::test]
async fn users_without_properties_throughout_are_a_missing_permission() {
    let scene = Scene::new("");
    scene.sync_to_truth().await;
    let before = scene.parts.roster();
    scene.change(|tenant| {
        for id in ["u2", "u3", "u4", "u5"] {
            tenant.delete_user(id);
        }
    });
    scene.server.with(|contoso| contoso.stub.arm("properties are null"));
    scene.server.with(|contoso| contoso.stub.arm("changes are forgotten"));
    let error = scene.sync().await.unwrap_err();
    assert!(error.contains("User.Read.All"), "{error}");
    assert_eq!(scene.parts.roster(), before);
}

#[tokio::test]
async fn a_missing_permission_is_still_missing_when_the_crawl_is_tried_again() {
    for (hazard, permission) in [
        ("all members are forbidden", "GroupMember.Read.All"),
        ("no properties are shown", "User.Read.All"),
    ] {
        let scene = Scene::new("");
        scene.server.with(|contoso| {
            contoso.stub.page = 2;
            contoso.stub.arm(hazard);
        });
        for attempt in 1..=3 {
            let error = scene.sync().await.unwrap_err();
            assert!(error.contains(permission), "{hazard}, attempt {attempt}: {error}");
        }
        assert_eq!(scene.parts.roster(), Roster::default());
        scene.server.with(|contoso| contoso.stub.calm());
        scene.sync_to_truth().await;
    }
}

#[tokio::test]
async fn r1_a_list_that_is_too_short_is_so_also_when_the_crawl_goes_on() {
    let scene = Scene::new("");
    scene.server.with(|contoso| {
        contoso.stub.page = 2;
        contoso.stub.arm("a page is missing");
    });
    for _ in 0..3 {
        let error = scene.sync().await.unwrap_err();
        assert!(error.contains("4 users were listed, and 5 are counted"), "{error}");
    }
}

#[tokio::test]
async fn r1_a_page_that_is_silently_missing_is_found_by_counting() {
    let scene = Scene::new("");
    scene.server.with(|contoso| contoso.stub.arm("a page is missing"));
    let error = scene.sync().await.unwrap_err();
    assert!(error.contains("4 users were listed, and 5 are counted"), "{error}");
}

#[tokio::test]
async fn without_changes_on_offer_every_crawl_is_full() {
    let scene = Scene::new("");
    scene.server.with(|contoso| contoso.stub.arm("changes are not offered"));
    scene.sync_to_truth().await;
    scene.change(|tenant| tenant.delete_user("u3"));
    scene.sync_to_truth().await;
}

#[tokio::test]
async fn guests_and_groups_can_be_left_out_also_between_full_crawls() {
    let scene = Scene::new("guests = false\nsecurity_enabled_only = true\n");
    scene.change(|tenant| tenant.put_user("guest", json!({ "userType": "Guest" })));
    scene.sync().await.unwrap();
    assert!(!scene.parts.roster().users.contains_key("guest"));
    scene.change(|tenant| {
        tenant.put_user("guest", json!({ "userType": "Member" }));
        tenant.put_user("u5", json!({ "userType": "Guest" }));
        tenant.put_group("g2", json!({ "securityEnabled": false }));
    });
    scene.sync().await.unwrap();
    let now = scene.parts.roster();
    assert!(now.users.contains_key("guest") && !now.users.contains_key("u5"));
    assert!(!now.groups.contains_key("g2"));
    scene.change(|tenant| tenant.put_group("g2", json!({ "securityEnabled": true })));
    scene.sync().await.unwrap();
    assert!(scene.members("g2").contains("u2"), "its members are read, not only its changes");
}

#[tokio::test]
async fn service_principals_and_devices_are_members_when_asked_for() {
    let fill = |scene: &Scene| {
        scene.change(|tenant| {
            let app = json!({ "id": "app", "appId": "a", "displayName": "App",
                "accountEnabled": true, "servicePrincipalType": "Application" });
            let phone = json!({ "id": "phone", "deviceId": "d", "displayName": "Phone",
                "accountEnabled": true, "operatingSystem": "iOS" });
            tenant.others.insert("servicePrincipals", vec![app]);
            tenant.others.insert("devices", vec![phone]);
            tenant.add("g1", "app", "#microsoft.graph.servicePrincipal");
            tenant.add("g1", "phone", "#microsoft.graph.device");
            tenant.add("g1", "contact", "#microsoft.graph.orgContact");
        });
    };
    for (more, has_app, has_phone) in [
        ("", false, false),
        ("service_principals = true\n", true, false),
        ("service_principals = true\ndevices = true\n", true, true),
    ] {
        let scene = Scene::new(more);
        fill(&scene);
        scene.sync().await.unwrap();
        let members = scene.members("g1");
        assert_eq!((members.contains("app"), members.contains("phone")), (has_app, has_phone));
        assert!(members.contains("u1") && !members.contains("contact"));
    }
}

#[tokio::test]
async fn r16_a_crawl_that_was_cut_off_goes_on_where_it_was() {
    let scene = Scene::new("");
    let settings = settings("entra", &block(&scene.server.url(), ""));
    scene.server.arm(Hazard::Refuse, When::matching(is_batch));
    let (first, outcome) = crawl_once(&*settings, Start::Full).await;
    assert!(matches!(outcome, Err(PullError::Unauthorized { .. })), "{outcome:?}");
    scene.server.disarm();
    scene.server.forget();
    let token = first.checkpoints.last().expect("a checkpoint").clone();
    let (_, outcome) = crawl_once(&*settings, Start::Resume(token)).await;
    assert_eq!(outcome.unwrap().extent, Extent::Whole);
    let lists = scene.server.count(|request| request.path.ends_with("/users"));
    assert_eq!(lists, 0, "users are not listed again");
}

#[tokio::test]
async fn r17_no_request_comes_before_the_time_that_graph_names() {
    let scene = Scene::new("parallel_requests_max = 1\n");
    scene.server.arm(Hazard::Throttle, When::nth(4).times(2));
    scene.server.with(|contoso| contoso.stub.arm("throttled parts"));
    scene.sync_to_truth().await;
    scene.server.with(|contoso| {
        assert_eq!(contoso.stub.too_early, 0);
        assert_eq!(contoso.stub.granted, 1, "one token is enough");
    });
}
