//! Counts reveal what is missing without a word.

use super::scene::{DAY, Scene, small};

#[tokio::test]
async fn r1_a_page_of_users_that_is_missing_shows_by_the_count() {
    let scene = Scene::open("incremental = \"off\"", small);
    scene.sync_exactly().await;
    let before = scene.parts.roster();
    // In no group, so that nothing else tells of it.
    scene.change(|org| org.hidden_users.insert("00ucyd".to_owned()));
    for _ in 0..2 {
        let error = scene.parts.sync().await.unwrap_err();
        assert!(error.contains("2 of the 3 users"), "{error}");
        assert_eq!(scene.parts.roster(), before);
    }
    scene.change(|org| org.hidden_users.clear());
    scene.sync_exactly().await;
}

#[tokio::test]
async fn a_count_that_lags_behind_for_good_holds_nobody_up_for_ever() {
    let scene = Scene::open("incremental = \"off\"\nverify_within = \"24h\"", |org| {
        small(org);
        org.counted_too_many.insert(super::stub::EVERYONE.to_owned(), 1);
    });
    scene.parts.sync().await.unwrap_err();
    scene.change(|org| org.ahead += DAY / 2);
    scene.parts.sync().await.unwrap_err();
    scene.change(|org| org.ahead += DAY / 2);
    scene.sync_exactly().await;
    // It is known for a quirk by now.
    scene.change(|org| org.delete_user("00ucyd"));
    scene.sync_exactly().await;
}

#[tokio::test]
async fn who_leaves_between_list_and_count_is_not_missed() {
    let scene = Scene::open("incremental = \"off\"", small);
    scene.sync_exactly().await;
    // Listed are users, deprovisioned ones, and groups with their counts; then
    // the members of the first group.
    let left = scene.server.meanwhile(crate::harness::vendor::When::nth(4), |acme| {
        acme.org.remove("00gengineers", "00ubob", true);
        acme.org.remove("00gsales", "00ubob", true);
    });
    scene.sync_exactly().await;
    assert_eq!(scene.server.fired(left), 1);
}

#[tokio::test]
async fn r1_a_group_that_lists_fewer_members_than_it_has_loses_none() {
    for incremental in ["off", "auto"] {
        let scene = Scene::open(&format!("incremental = \"{incremental}\""), small);
        scene.sync_exactly().await;
        scene.change(|org| {
            org.hidden_members.insert("00ubob".to_owned());
            org.add("00gengineers", "00ucyd", true);
            org.add("00gsales", "00ucyd", true);
        });
        scene.sync().await;
        assert!(scene.has("00gengineers", "00ubob") && scene.has("00gsales", "00ubob"));
        assert!(scene.has("00gengineers", "00ucyd"), "who is listed joins");
        scene.change(|org| {
            org.hidden_members.clear();
            org.remove("00gsales", "00ubob", false);
        });
        scene.sync_exactly().await;
    }
}

#[tokio::test]
async fn a_group_that_is_counted_too_high_for_good_is_believed_in_time() {
    let scene = Scene::open("verify_within = \"24h\"", |org| {
        small(org);
        org.counted_too_many.insert("00gsales".to_owned(), 1);
    });
    scene.sync_exactly().await;
    scene.change(|org| org.remove("00gsales", "00ubob", true));
    scene.sync().await;
    assert!(scene.has("00gsales", "00ubob"), "it may be a page that is missing");
    scene.change(|org| org.ahead += DAY + DAY / 24);
    scene.sync_exactly().await;
}
