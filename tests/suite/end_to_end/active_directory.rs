//! Real Active Directory (Samba): nesting with a cycle, a 3,000-member group,
//! primary groups, disabled, renamed, moved and deleted objects.

use std::fmt::Write;

use serde_json::Value;

use super::{active_directory, assert_journal_is_the_picture, page_through};
use crate::harness::daemon::Daemon;
use crate::harness::samba::SambaAd;
use crate::harness::story::assert_story;

const CROWD: usize = 3_000;

/// `OU=mass` with a group of many users; `OU=crew` with users u0 to u9, a cycle
/// of two groups inside a third, and a group for primary membership.
fn populated() -> SambaAd {
    let samba = SambaAd::start();
    let (mass, crew) = (format!("OU=mass,{}", samba.base()), format!("OU=crew,{}", samba.base()));
    let mut ldif = String::new();
    for ou in [&mass, &crew] {
        write!(ldif, "dn: {ou}\nobjectClass: organizationalUnit\n\n").unwrap();
    }
    let user = |name: &str, ou: &str| {
        format!(
            "dn: CN={name},{ou}\nobjectClass: user\nsAMAccountName: {name}\n\
             mail: {name}@example.org\nuserAccountControl: 544\n\n"
        )
    };
    let group = |name: &str, ou: &str, members: &[String]| {
        let lines: String = members.iter().map(|cn| format!("member: CN={cn},{ou}\n")).collect();
        format!("dn: CN={name},{ou}\nobjectClass: group\nsAMAccountName: {name}\n{lines}\n")
    };
    let crowd: Vec<String> = (0..CROWD).map(|n| format!("c{n}")).collect();
    ldif.extend(crowd.iter().map(|name| user(name, &mass)));
    ldif += &group("crowd", &mass, &crowd);
    ldif.extend((0..10).map(|n| user(&format!("u{n}"), &crew)));
    ldif += &group("inner", &crew, &["u0".to_owned()]);
    ldif += &group("middle", &crew, &["inner".to_owned()]);
    ldif += &group("outer", &crew, &["middle".to_owned()]);
    ldif += &group("main", &crew, &["u1".to_owned()]);
    samba.modify(&ldif);
    samba.member(&format!("CN=inner,{crew}"), &format!("CN=middle,{crew}"), true);
    samba
}

fn is_member(daemon: &Daemon, user: &str, group: &str) -> Value {
    daemon.get(&format!("/v1/check?user={user}&group={group}"))["member"].clone()
}

#[test]
fn an_active_directory_is_read_whole_and_each_change_is_told_exactly() {
    let samba = populated();
    let ou = format!("OU=crew,{}", samba.base());
    let dn = |cn: &str| format!("CN={cn},{ou}");
    let crowd = format!("CN=crowd,OU=mass,{}", samba.base());
    let daemon = Daemon::start(&active_directory("ad", &samba));
    daemon.wait_ready();

    let members = page_through(&daemon, "/v1/groups/crowd/members?nested=false", "members");
    assert_eq!(members.len(), CROWD);
    assert_eq!(is_member(&daemon, "u0", "outer"), true, "nested, through a cycle");
    assert_eq!(is_member(&daemon, "u1", "outer"), false);
    assert_eq!(is_member(&daemon, "u5", "Domain%20Users"), true, "by primary group");
    assert_story(&daemon.sync_events("ad"), &[]);

    samba.replace(&dn("u2"), "userAccountControl", "546");
    let events = daemon.sync_events("ad");
    assert_story(&events, &["user.updated u2"]);
    assert_eq!(events[0]["data"]["user"]["active"], false);
    assert_eq!(events[0]["data"]["previous"]["active"], true);

    samba.member(&crowd, &format!("CN=c3,OU=mass,{}", samba.base()), false);
    assert_story(&daemon.sync_events("ad"), &["group.user_removed crowd c3"]);
    samba.member(&crowd, &dn("u3"), true);
    assert_story(&daemon.sync_events("ad"), &["group.user_added crowd u3"]);
    samba.member(&dn("outer"), &crowd, true);
    assert_story(&daemon.sync_events("ad"), &["group.group_added outer crowd"]);

    // The primary group moves from the list of members to the user's own record
    // and the old one takes its place: u1 stays in both.
    samba.replace(&dn("u1"), "primaryGroupID", &samba.rid(&dn("main")).to_string());
    assert_story(&daemon.sync_events("ad"), &[]);
    assert_eq!(is_member(&daemon, "u1", "main"), true);
    assert_eq!(is_member(&daemon, "u1", "Domain%20Users"), true);

    samba.rename(&dn("u4"), "CN=zed", &ou);
    samba.replace(&dn("zed"), "sAMAccountName", "zed");
    assert_story(&daemon.sync_events("ad"), &["user.updated zed"]);
    assert_eq!(is_member(&daemon, "zed", "Domain%20Users"), true);

    samba.rename(&dn("inner"), "CN=core", &ou);
    samba.replace(&dn("core"), "sAMAccountName", "core");
    assert_story(&daemon.sync_events("ad"), &["group.updated core"]);

    samba.rename(&ou, "OU=people", samba.base());
    assert_story(&daemon.sync_events("ad"), &[]);
    let ou = format!("OU=people,{}", samba.base());
    let dn = |cn: &str| format!("CN={cn},{ou}");
    samba.member(&dn("main"), &dn("u6"), true);
    assert_story(&daemon.sync_events("ad"), &["group.user_added main u6"]);

    samba.delete(&dn("u6"));
    assert_story(
        &daemon.sync_events("ad"),
        &["group.user_removed main u6", "group.user_removed Domain Users u6", "user.deleted u6"],
    );
    samba.delete(&dn("middle"));
    assert_story(
        &daemon.sync_events("ad"),
        &[
            "group.group_removed middle core",
            "group.group_removed core middle",
            "group.group_removed outer middle",
            "group.deleted middle",
        ],
    );
    assert_eq!(is_member(&daemon, "u0", "outer"), false, "the way through the middle is gone");
    assert_eq!(is_member(&daemon, "u3", "outer"), true, "through the crowd");
    assert_journal_is_the_picture(&daemon);
}
