//! How rounds of changes merge.

use serde_json::json;

use super::*;

fn wanted() -> Wanted {
    Wanted {
        guests: true,
        service_principals: false,
        devices: false,
        security_enabled_only: false,
        group_kinds: Vec::new(),
        attributes: Vec::new(),
        group_attributes: Vec::new(),
        keep_raw: false,
    }
}

fn groups(pages: &[Json]) -> TouchedGroups {
    let mut touched = TouchedGroups::default();
    for page in pages {
        touched.take(&wanted(), page.as_array().unwrap()).unwrap();
    }
    touched
}

fn joins(id: &str) -> Json {
    json!({ "@odata.type": "#microsoft.graph.user", "id": id })
}

fn leaves(id: &str) -> Json {
    json!({ "@odata.type": "#microsoft.graph.user", "id": id, "@removed": { "reason": "deleted" } })
}

fn users(ids: &[&str]) -> Vec<Reference> {
    ids.iter().map(|id| Reference::User((*id).to_owned())).collect()
}

#[test]
fn a_group_split_over_pages_is_merged_in_order() {
    let touched = groups(&[
        json!([{ "id": "g", "members@delta": [joins("1"), joins("2"), leaves("3")] }]),
        json!([]),
        json!([{ "id": "h", "displayName": "H" }, { "id": "g", "members@delta": [leaves("1"), joins("3")] }]),
    ]);
    let group = &touched.0["g"];
    assert_eq!((group.who(true), group.who(false)), (users(&["2", "3"]), users(&["1"])));
    assert!(!group.is_changed, "only its members changed");
    assert!(touched.0["h"].is_changed);
}

#[test]
fn a_removed_group_that_comes_back_is_read_anew() {
    let removed = json!({ "id": "g", "@removed": { "reason": "changed" } });
    let touched = groups(&[json!([{ "id": "g", "members@delta": [joins("1")] }, removed])]);
    assert_eq!(touched.0["g"], GroupTouch { is_removed: true, ..GroupTouch::default() });
    let touched =
        groups(&[json!([removed]), json!([{ "id": "g", "members@delta": [joins("1")] }])]);
    assert!(touched.0["g"].is_changed && !touched.0["g"].is_removed);
}

#[test]
fn members_of_other_kinds_are_told_apart() {
    let touched = groups(&[json!([{ "id": "g", "members@delta": [
        { "@odata.type": "#microsoft.graph.group", "id": "sub" },
        { "@odata.type": "#microsoft.graph.device", "id": "d" },
        { "@odata.type": "#microsoft.graph.orgContact", "id": "c" },
        { "id": "unnamed" },
    ] }])]);
    let expected = [Reference::Group("sub".into()), Reference::Id("unnamed".into())];
    assert_eq!(touched.0["g"].who(true), expected);
}

#[test]
fn r6_a_partial_entry_says_only_that_something_changed() {
    let mut touched = Touched::default();
    let page =
        [json!({ "id": "1", "jobTitle": "CTO" }), json!({ "id": "2", "userPrincipalName": "b" })];
    touched.take(&page).unwrap();
    assert_eq!(touched.0["1"], Touch::Changed { may_be_new: false });
    assert_eq!(touched.0["2"], Touch::Changed { may_be_new: true });
    let page = [
        json!({ "id": "1", "@removed": { "reason": "changed" } }),
        json!({ "id": "1", "jobTitle": "CTO" }),
        json!({ "id": "2", "@removed": { "reason": "deleted" } }),
    ];
    touched.take(&page).unwrap();
    assert_eq!(touched.0["1"], Touch::Changed { may_be_new: true });
    assert_eq!(touched.0["2"], Touch::Removed);
}

#[test]
fn a_change_of_nobody_is_an_error() {
    assert!(Touched::default().take(&[json!({ "jobTitle": "CTO" })]).is_err());
    let nameless =
        json!({ "id": "g", "members@delta": [{ "@odata.type": "#microsoft.graph.user" }] });
    assert!(TouchedGroups::default().take(&wanted(), &[nameless]).is_err());
}

fn window(users: &[&str], pages: &[Json]) -> Window {
    let mut touched = Touched::default();
    let page: Vec<Json> = users.iter().map(|id| json!({ "id": id })).collect();
    touched.take(&page).unwrap();
    Window::new([touched].iter(), &groups(pages))
}

#[test]
fn a_window_from_an_earlier_round_holds_what_both_rounds_tell() {
    let earlier = window(
        &["u1"],
        &[json!([
            { "id": "g", "members@delta": [leaves("1"), joins("2")] },
            { "id": "h", "displayName": "H" },
            { "id": "gone", "members@delta": [joins("3")] },
            { "id": "back", "@removed": { "reason": "changed" } },
        ])],
    );
    let later = window(
        &["u2"],
        &[json!([
            { "id": "g", "members@delta": [leaves("2")] },
            { "id": "gone", "@removed": { "reason": "changed" } },
            { "id": "back", "members@delta": [joins("4")] },
        ])],
    );
    let both = earlier.then(&later);
    assert!(both.tells_of_user("u1") && both.tells_of_user("u2") && !both.tells_of_user("u3"));
    let group = |id: &str| Reference::Group(id.to_owned());
    let left =
        |id: &str, who: &[&str]| Item::MembersRemoved { group: group(id), members: users(who) };
    let joined =
        |id: &str, who: &[&str]| Item::MembersAdded { group: group(id), members: users(who) };
    assert_eq!(both.members("g"), [left("g", &["1", "2"])], "the later word counts");
    assert!(both.tells_of_group("h") && !both.tells_of_group("g"));
    assert!(both.tells_of_group("gone") && both.members("gone").is_empty());
    assert_eq!(both.members("back"), [joined("back", &["4"])], "it is there again");
}
