//! Known failures of the field, one test each.

use rosterd::provider::{Item, PullError, Start};

use super::block;
use super::tests::{open, start};
use crate::cloud::{Member, Op, Vendor, crawl_once, settings};
use crate::harness::vendor::{Hazard, When};

#[tokio::test]
async fn r1_members_that_google_counts_and_does_not_list_are_kept() {
    let server = start();
    server.with(|google| {
        (0..6).for_each(|user| google.apply(&Op::PutUser(user, 1)));
        google.apply(&Op::PutGroup(0, 1));
        (0..6).for_each(|user| google.apply(&Op::AddMember(0, Member::User(user))));
    });
    let folder = tempfile::tempdir().unwrap();
    let parts =
        open(folder.path(), settings("google", &block(&server.url(), "incremental = \"off\"")));
    parts.sync().await.unwrap();
    assert_eq!(parts.roster().members.len(), 6);
    server.with(|google| google.hazard("members missing"));
    parts.sync().await.unwrap();
    assert_eq!(parts.roster().members.len(), 6, "a page is missing, not the members");
    server.with(|google| {
        google.calm();
        google.apply(&Op::RemoveMember(0, Member::User(1)));
    });
    parts.sync().await.unwrap();
    assert_eq!(parts.roster().members.len(), 5);
    parts.close().await;
}

#[tokio::test]
async fn r1_users_that_groups_have_and_the_list_lacks_end_the_crawl() {
    let server = start();
    server.with(|google| {
        (0..6).for_each(|user| google.apply(&Op::PutUser(user, 1)));
        google.apply(&Op::PutGroup(0, 1));
        (0..6).for_each(|user| google.apply(&Op::AddMember(0, Member::User(user))));
        google.forgotten_users = 3;
    });
    let settings = settings("google", &block(&server.url(), ""));
    let (_, outcome) = crawl_once(&*settings, Start::Full).await;
    let Err(PullError::Incomplete { reason, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("who exists"), "{reason}");
}

#[tokio::test]
async fn r1_a_crawl_that_goes_on_misses_users_too() {
    let server = start();
    server.with(|google| {
        (0..6).for_each(|user| google.apply(&Op::PutUser(user, 1)));
        google.apply(&Op::PutGroup(0, 1));
        (0..6).for_each(|user| google.apply(&Op::AddMember(0, Member::User(user))));
        google.forgotten_users = 3;
    });
    let settings = settings("google", &block(&server.url(), ""));
    server.arm(Hazard::Refuse, When::matching(|request| request.path.ends_with("/members")));
    let (crawl, outcome) = crawl_once(&*settings, Start::Full).await;
    outcome.unwrap_err();
    server.disarm();
    let token = crawl.checkpoints.last().unwrap().clone();
    let (_, outcome) = crawl_once(&*settings, Start::Resume(token)).await;
    let Err(PullError::Incomplete { reason, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("who exists"), "{reason}");
}

#[tokio::test]
async fn r1_a_short_list_loses_whom_the_feed_says_has_left() {
    let server = start();
    server.with(|google| {
        (0..6).for_each(|user| google.apply(&Op::PutUser(user, 1)));
        google.apply(&Op::PutGroup(0, 1));
        (0..6).for_each(|user| google.apply(&Op::AddMember(0, Member::User(user))));
    });
    let folder = tempfile::tempdir().unwrap();
    let parts = open(folder.path(), settings("google", &block(&server.url(), "")));
    parts.sync().await.unwrap();
    server.with(|google| {
        google.hazard("members missing");
        google.apply(&Op::RemoveMember(0, Member::User(5)));
    });
    parts.sync().await.unwrap();
    assert_eq!(parts.roster(), server.with(|google| google.roster()));
    parts.close().await;
}

#[tokio::test]
async fn r1_groups_that_others_hold_and_the_list_lacks_are_listed_again() {
    let server = start();
    server.with(|google| {
        google.apply(&Op::PutUser(0, 1));
        (0..3).for_each(|group| google.apply(&Op::PutGroup(group, 1)));
        google.apply(&Op::AddMember(0, Member::User(0)));
        google.apply(&Op::AddMember(1, Member::Group(0)));
        google.forgotten_groups = 1;
    });
    let folder = tempfile::tempdir().unwrap();
    let parts = open(folder.path(), settings("google", &block(&server.url(), "")));
    let error = parts.sync().await.unwrap_err();
    assert!(error.contains("which exists"), "{error}");
    let again = When::nth(2).only(|request| request.path.ends_with("/groups"));
    server.meanwhile(again, |google| google.forgotten_groups = 0);
    parts.sync().await.unwrap();
    assert_eq!(parts.roster(), server.with(|google| google.roster()));
    parts.close().await;
}

#[tokio::test]
async fn r3_an_empty_list_of_users_ends_the_crawl() {
    let server = start();
    let settings = settings("google", &block(&server.url(), ""));
    let (_, outcome) = crawl_once(&*settings, Start::Full).await;
    assert!(matches!(outcome, Err(PullError::Incomplete { .. })), "{outcome:?}");
}

#[tokio::test]
async fn r15_a_group_closed_to_us_stops_no_other() {
    let server = start();
    server.with(|google| {
        (0..3).for_each(|user| google.apply(&Op::PutUser(user, 1)));
        (0..3).for_each(|group| google.apply(&Op::PutGroup(group, 1)));
        (0..3).for_each(|n| google.apply(&Op::AddMember(n, Member::User(n))));
        google.hazard("forbidden group");
    });
    let settings = settings("google", &block(&server.url(), ""));
    let (crawl, outcome) = crawl_once(&*settings, Start::Full).await;
    let seal = outcome.unwrap();
    assert_eq!(seal.malformed, 1);
    let lists = crawl.collected.items.iter().filter(|item| matches!(item, Item::Members { .. }));
    assert_eq!(lists.count(), 2);
    assert!(crawl.collected.items.iter().any(|item| matches!(item, Item::Kept(_))));
}

#[tokio::test]
async fn r15_an_odd_group_stops_no_other_and_many_stop_all() {
    for status in [200, 400, 404, 503] {
        let server = start();
        server.with(|google| {
            (0..3).for_each(|user| google.apply(&Op::PutUser(user, 1)));
            (0..3).for_each(|group| google.apply(&Op::PutGroup(group, 1)));
            (0..3).for_each(|n| google.apply(&Op::AddMember(n, Member::User(n))));
            google.odd_groups = (1, status);
        });
        let settings = settings("google", &block(&server.url(), ""));
        let (crawl, outcome) = crawl_once(&*settings, Start::Full).await;
        assert_eq!(outcome.unwrap().malformed, 1, "{status}");
        let items = crawl.collected.items;
        let lists = items.iter().filter(|item| matches!(item, Item::Members { .. }));
        assert_eq!(lists.count(), 2, "{status}");
        assert!(items.iter().any(|item| matches!(item, Item::Kept(_))), "{status}");
        server.with(|google| google.odd_groups = (3, status));
        let (crawl, outcome) = crawl_once(&*settings, Start::Full).await;
        assert!(matches!(outcome, Err(PullError::Incomplete { .. })), "{status}: {outcome:?}");
        server.with(|google| google.odd_groups = (0, status));
        let token = crawl.checkpoints.last().unwrap().clone();
        let (crawl, outcome) = crawl_once(&*settings, Start::Resume(token)).await;
        outcome.unwrap();
        let items = crawl.collected.items;
        let lists = items.iter().filter(|item| matches!(item, Item::Members { .. }));
        assert_eq!(lists.count(), 3, "{status}: all are read when it goes on");
    }
}

#[tokio::test]
async fn r16_a_crawl_goes_on_where_it_was_cut_off() {
    let server = start();
    server.with(|google| {
        (0..12).for_each(|user| google.apply(&Op::PutUser(user, 1)));
        (0..6).for_each(|group| google.apply(&Op::PutGroup(group, 1)));
        google.page = 4;
    });
    let folder = tempfile::tempdir().unwrap();
    let parts =
        open(folder.path(), settings("google", &block(&server.url(), "parallel_requests_max = 1")));
    server.arm(Hazard::Refuse, When::from(8));
    parts.sync().await.unwrap_err();
    server.disarm();
    server.forget();
    parts.sync().await.unwrap();
    assert_eq!(parts.roster(), server.with(|google| google.roster()));
    // 3 pages of users, 2 of groups and 6 lists in all; the 8th request was the 2nd list.
    // Users and groups are listed again, to miss none.
    let count = |end: &'static str| server.count(move |request| request.path.ends_with(end));
    assert_eq!((count("/users"), count("/groups"), count("/members")), (3, 2, 5));
    parts.close().await;
}

#[tokio::test]
async fn r22_an_address_that_is_used_again_is_another_person() {
    let server = start();
    server.with(|google| {
        (0..3).for_each(|user| google.apply(&Op::PutUser(user, 1)));
        google.apply(&Op::PutGroup(0, 1));
        google.apply(&Op::AddMember(0, Member::User(1)));
    });
    let folder = tempfile::tempdir().unwrap();
    let parts = open(folder.path(), settings("google", &block(&server.url(), "")));
    parts.sync().await.unwrap();
    server.with(|google| {
        google.apply(&Op::DeleteUser(1));
        google.apply(&Op::PutUser(1, 2));
    });
    parts.sync().await.unwrap();
    let roster = parts.roster();
    assert_eq!(roster, server.with(|google| google.roster()));
    assert!(roster.members.is_empty(), "the newcomer inherited a membership");
    parts.close().await;
}

#[tokio::test]
async fn r7_groups_that_were_deleted_leave_in_incremental_mode() {
    let server = start();
    server.with(|google| {
        google.apply(&Op::PutUser(0, 1));
        (0..2).for_each(|group| google.apply(&Op::PutGroup(group, 1)));
    });
    let folder = tempfile::tempdir().unwrap();
    let parts = open(folder.path(), settings("google", &block(&server.url(), "")));
    parts.sync().await.unwrap();
    server.with(|google| google.apply(&Op::DeleteGroup(1)));
    server.forget();
    parts.sync().await.unwrap();
    assert_eq!(parts.roster().groups.len(), 1);
    assert_eq!(server.count(|request| request.path.ends_with("/users")), 0, "no full crawl");
    parts.close().await;
}

#[tokio::test]
async fn r8_the_end_of_a_list_is_what_google_says_it_is() {
    for hazard in ["short pages", "empty page", "empty first page"] {
        let server = start();
        server.with(|google| {
            (0..9).for_each(|user| google.apply(&Op::PutUser(user, 1)));
            (0..5).for_each(|group| google.apply(&Op::PutGroup(group, 1)));
            (0..9).for_each(|user| google.apply(&Op::AddMember(user % 3, Member::User(user))));
            google.page = 2;
            google.hazard(hazard);
        });
        let folder = tempfile::tempdir().unwrap();
        let parts = open(folder.path(), settings("google", &block(&server.url(), "")));
        parts.sync().await.unwrap();
        assert_eq!(parts.roster(), server.with(|google| google.roster()), "{hazard}");
        parts.close().await;
    }
}

#[tokio::test]
async fn r11_page_tokens_that_lead_back_end_the_crawl() {
    let server = start();
    server.with(|google| {
        (0..9).for_each(|user| google.apply(&Op::PutUser(user, 1)));
        google.page = 2;
        google.hazard("repeated cursor");
    });
    let settings = settings("google", &block(&server.url(), ""));
    let (_, outcome) = crawl_once(&*settings, Start::Full).await;
    assert!(matches!(outcome, Err(PullError::Incomplete { .. })), "{outcome:?}");
}

#[tokio::test]
async fn r12_a_malformed_user_stays_as_it_was_until_it_can_be_read() {
    let server = start();
    server.with(|google| (0..3).for_each(|user| google.apply(&Op::PutUser(user, 1))));
    let folder = tempfile::tempdir().unwrap();
    let parts = open(folder.path(), settings("google", &block(&server.url(), "")));
    parts.sync().await.unwrap();
    let before = parts.roster();
    server.with(|google| {
        (0..3).for_each(|user| google.apply(&Op::PutUser(user, 2)));
        google.hazard("malformed user");
    });
    parts.sync().await.unwrap();
    let now = parts.roster();
    let same = now.users.iter().filter(|(id, words)| before.users.get(*id) == Some(words));
    assert_eq!((now.users.len(), same.count()), (3, 1));
    server.with(Vendor::calm);
    parts.sync().await.unwrap();
    assert_eq!(parts.roster(), server.with(|google| google.roster()));
    parts.close().await;
}

#[tokio::test]
async fn r19_a_suspended_user_is_inactive_after_the_next_poll() {
    let server = start();
    server.with(|google| (0..3).for_each(|user| google.apply(&Op::PutUser(user, 1))));
    let folder = tempfile::tempdir().unwrap();
    let parts = open(folder.path(), settings("google", &block(&server.url(), "")));
    parts.sync().await.unwrap();
    server.with(|google| google.apply(&Op::Disable(1)));
    parts.sync().await.unwrap();
    let inactive = parts.roster().users.values().filter(|words| words.contains("inactive")).count();
    assert_eq!(inactive, 1);
    parts.close().await;
}

#[tokio::test]
async fn only_the_domains_that_were_asked_for_are_read() {
    let server = start();
    server.with(|google| {
        (0..3).for_each(|user| google.apply(&Op::PutUser(user, 1)));
        google.world.add_user("eve@other.example");
    });
    let folder = tempfile::tempdir().unwrap();
    let more = "domains = [\"example.org\"]";
    let parts = open(folder.path(), settings("google", &block(&server.url(), more)));
    parts.sync().await.unwrap();
    assert_eq!(parts.roster().users.len(), 3);
    server.with(|google| {
        google.world.tell("admin", "CHANGE_PASSWORD", &[("USER_EMAIL", "eve@other.example")]);
    });
    parts.sync().await.unwrap();
    assert_eq!(parts.roster().users.len(), 3, "the feed told of somebody outside");
    parts.close().await;
}

#[tokio::test]
async fn r1_groups_that_come_and_go_before_a_crawl_goes_on_are_right() {
    // In the list of groups, before all lists of members, and after some.
    for at in [5, 6, 7, 8, 9] {
        let server = start();
        server.with(|google| {
            (0..4).for_each(|user| google.apply(&Op::PutUser(user, 1)));
            (0..6).for_each(|group| google.apply(&Op::PutGroup(group, 1)));
            (0..6).for_each(|group| google.apply(&Op::AddMember(group, Member::User(group % 4))));
            google.page = 4;
        });
        let folder = tempfile::tempdir().unwrap();
        let more = "parallel_requests_max = 1\nincremental = \"off\"";
        let parts = open(folder.path(), settings("google", &block(&server.url(), more)));
        server.arm(Hazard::Refuse, When::from(at));
        parts.sync().await.unwrap_err();
        server.disarm();
        server.with(|google| {
            (0..6).step_by(2).for_each(|group| google.apply(&Op::DeleteGroup(group)));
            google.apply(&Op::PutGroup(9, 1));
            google.apply(&Op::AddMember(9, Member::User(1)));
        });
        parts.sync().await.unwrap();
        assert_eq!(parts.roster(), server.with(|google| google.roster()), "{at}");
        parts.close().await;
    }
}

#[tokio::test]
async fn r1_a_list_of_groups_that_lacks_known_ones_ends_a_crawl_that_goes_on() {
    let server = start();
    server.with(|google| {
        google.apply(&Op::PutUser(0, 1));
        (0..3).for_each(|group| google.apply(&Op::PutGroup(group, 1)));
    });
    let settings = settings("google", &block(&server.url(), ""));
    server.arm(Hazard::Refuse, When::matching(|request| request.path.ends_with("/members")));
    let (crawl, outcome) = crawl_once(&*settings, Start::Full).await;
    outcome.unwrap_err();
    server.disarm();
    server.with(|google| google.forgotten_groups = 1);
    let token = crawl.checkpoints.last().unwrap().clone();
    let (_, outcome) = crawl_once(&*settings, Start::Resume(token)).await;
    let Err(PullError::Incomplete { reason, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("which exists"), "{reason}");
}

#[tokio::test]
async fn r5_a_feed_that_is_gone_from_its_start_is_read_past_and_not_replaced_by_another() {
    let server = start();
    server.with(|google| {
        (0..3).for_each(|user| google.apply(&Op::PutUser(user, 1)));
        (0..2).for_each(|group| google.apply(&Op::PutGroup(group, 1)));
    });
    let folder = tempfile::tempdir().unwrap();
    let parts = open(folder.path(), settings("google", &block(&server.url(), "")));
    parts.sync().await.unwrap();
    server.with(|google| {
        google.closed_feeds.insert("groups_enterprise", 410);
        google.apply(&Op::AddMember(1, Member::User(1)));
    });
    parts.sync().await.unwrap();
    assert_eq!(parts.roster(), server.with(|google| google.roster()), "all was read");
    server.with(|google| {
        google.closed_feeds.clear();
        google.apply(&Op::AddMember(1, Member::User(2)));
    });
    server.forget();
    parts.sync().await.unwrap();
    assert_eq!(parts.roster(), server.with(|google| google.roster()));
    assert_eq!(server.count(|request| request.path.ends_with("/users")), 0, "by the feed");
    assert_eq!(server.count(|request| request.path.ends_with("/applications/groups")), 0);
    parts.close().await;
}

#[tokio::test]
async fn an_edition_without_one_feed_of_groups_has_the_other() {
    for status in [400, 404] {
        let server = start();
        server.with(|google| {
            google.apply(&Op::PutUser(0, 1));
            google.apply(&Op::PutUser(1, 1));
            google.apply(&Op::PutGroup(1, 1));
        });
        let folder = tempfile::tempdir().unwrap();
        let parts = open(folder.path(), settings("google", &block(&server.url(), "")));
        // With the feed, and then after a change of edition.
        for _ in 0..2 {
            parts.sync().await.unwrap();
        }
        server.with(|google| {
            google.closed_feeds.insert("groups_enterprise", status);
            google.world.add_member_told("groups", 1, 0);
        });
        // What the one that went has not told is lost, so everything is read.
        parts.sync().await.unwrap();
        assert_eq!(parts.roster(), server.with(|google| google.roster()), "{status}");
        server.with(|google| google.world.add_member_told("groups", 1, 1));
        server.forget();
        parts.sync().await.unwrap();
        assert_eq!(parts.roster(), server.with(|google| google.roster()), "{status}");
        assert_eq!(server.count(|request| request.path.ends_with("/users")), 0, "by the feed");
        parts.close().await;
    }
}
