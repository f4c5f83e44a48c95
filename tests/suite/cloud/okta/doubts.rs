//! What leaves a crawl in doubt: lists that may not be whole, and groups that
//! are closed to us.

use super::scene::{Scene, small};
use serde_json::json;

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
    scene.change(|org| {
        org.without_counts = true;
        org.hidden_users = org.users.keys().cloned().collect();
    });
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
    scene.change(|org| {
        org.without_counts = true;
        org.hidden_users.insert("00uada".to_owned())
    });
    scene.sync_exactly().await;
}
