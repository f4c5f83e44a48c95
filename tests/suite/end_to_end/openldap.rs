//! Real OpenLDAP with 10,000 users and 1,000 groups, page cap 500: each kind of
//! change is told exactly, within one poll, for a constant number of operations.

use std::time::Duration;

use super::{assert_journal_is_the_picture, footprint, objects, openldap, operations};
use crate::harness::daemon::Daemon;
use crate::harness::ldif::Shape;
use crate::harness::slapd::{Options, Slapd};
use crate::harness::story::assert_story;
use crate::harness::wait_until;

fn large() -> Slapd {
    let shape =
        Shape { users: 10_000, groups: 1_000, groups_per_user: 5, everyone: 0, nested: true };
    Slapd::start(Options { shape, page_cap: Some(500), ..Options::default() })
}

#[test]
fn each_kind_of_change_is_told_exactly_within_one_poll() {
    let slapd = large();
    let daemon = Daemon::start(&openldap("corp", &slapd));
    daemon.wait_ready();
    assert_eq!(objects(&daemon, "/v1/users", "users").len(), 10_000);
    assert_eq!(objects(&daemon, "/v1/groups", "groups").len(), 1_000);
    let first = daemon.directory("corp");
    assert!(operations(&first) > 20, "10,000 users come in more than 20 pages: {first}");

    let (group, user) = (|n| slapd.group_dn(n), |n| slapd.user_dn(n));
    let mut costs = Vec::new();
    let mut told = |expected: &[&str]| {
        assert_story(&daemon.sync_events("corp"), expected);
        costs.push(operations(&daemon.directory("corp")));
    };

    slapd.modify(&format!("dn: {}\nchangetype: modify\nreplace: sn\nsn: Changed\n", user(7)));
    told(&["user.updated u000007"]);

    slapd.modify(&format!(
        "dn: uid=fresh,ou=people,{}\nobjectClass: inetOrgPerson\nuid: fresh\ncn: Fresh\nsn: F\n",
        slapd.base()
    ));
    told(&["user.created fresh"]);

    slapd.member(&group(1), &format!("uid=fresh,ou=people,{}", slapd.base()), true);
    told(&["group.user_added g00001 fresh"]);

    slapd.member(&group(1), &format!("uid=fresh,ou=people,{}", slapd.base()), false);
    told(&["group.user_removed g00001 fresh"]);

    slapd.modify(&format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: uid=renamed\ndeleteoldrdn: 1\n",
        user(8)
    ));
    told(&["user.updated renamed"]);

    let lost: Vec<String> = slapd
        .values(&user(9), "memberOf")
        .iter()
        .map(|dn| format!("group.user_removed {} u000009", cn(dn)))
        .collect();
    assert_eq!(lost.len(), 5);
    slapd.delete(&user(9));
    let mut expected: Vec<&str> = lost.iter().map(String::as_str).collect();
    expected.push("user.deleted u000009");
    told(&expected);

    slapd.modify(&format!(
        "dn: cn=crew,ou=groups,{}\nobjectClass: groupOfNames\ncn: crew\nmember: {}\nmember: {}\n",
        slapd.base(),
        user(11),
        group(2)
    ));
    told(&["group.created crew", "group.user_added crew u000011", "group.group_added crew g00002"]);

    slapd.member(&format!("cn=crew,ou=groups,{}", slapd.base()), &group(2), false);
    told(&["group.group_removed crew g00002"]);

    slapd.modify(&format!(
        "dn: cn=crew,ou=groups,{}\nchangetype: modify\nreplace: description\ndescription: us\n",
        slapd.base()
    ));
    told(&["group.updated crew"]);

    slapd.modify(&format!(
        "dn: cn=crew,ou=groups,{}\nchangetype: modrdn\nnewrdn: cn=team\ndeleteoldrdn: 1\n",
        slapd.base()
    ));
    told(&["group.updated team"]);

    slapd.delete(&format!("cn=team,ou=groups,{}", slapd.base()));
    told(&["group.user_removed team u000011", "group.deleted team"]);

    told(&[]);
    let most = costs.iter().max().copied().unwrap_or(0);
    assert!(most <= 10, "an incremental poll of 10,000 users took {most} operations: {costs:?}");
    assert_journal_is_the_picture(&daemon);
}

#[test]
fn an_idle_poll_writes_nothing_and_costs_the_same_for_20_users_as_for_10_000() {
    let (large, small) = (large(), Slapd::start(Options::default()));
    let daemon = Daemon::start(&often(&format!(
        "{}{}",
        openldap("large", &large),
        openldap("small", &small)
    )));
    daemon.wait_ready();
    for name in ["large", "small"] {
        idle_poll(&daemon, name);
    }
    let settled =
        wait_until("the state directory to come to rest", Duration::from_secs(60), || {
            let before = footprint(&daemon.state());
            std::thread::sleep(Duration::from_secs(1));
            if footprint(&daemon.state()) == before { Ok(before) } else { Err("it changes") }
        });
    let seq = daemon.last_seq();
    let mut costs = Vec::new();
    for name in ["large", "small", "large", "small"] {
        let status = idle_poll(&daemon, name);
        assert_eq!(status["consecutive_failures"], 0, "{status}");
        costs.push(operations(&status));
    }
    assert_eq!(daemon.last_seq(), seq);
    assert!(costs.windows(2).all(|pair| pair[0] == pair[1]), "{costs:?}");
    // Longer than the engine's own period of flushing.
    std::thread::sleep(Duration::from_secs(2));
    let after = footprint(&daemon.state());
    let names = |files: &std::collections::BTreeMap<String, _>| {
        files.keys().cloned().collect::<Vec<String>>()
    };
    assert_eq!(names(&after), names(&settled));
    for (file, (length, written, bytes)) in &settled {
        let (now_length, now_written, now_bytes) = &after[file];
        assert_eq!((now_length, now_written), (length, written), "{file} was written");
        assert!(now_bytes == bytes, "{file} was written");
    }
}

/// Polled without anybody asking, which would be recorded.
fn often(config: &str) -> String {
    config.replace("min_delay = \"1h\"", "min_delay = \"1s\"")
}

/// The status after one more poll.
fn idle_poll(daemon: &Daemon, name: &str) -> serde_json::Value {
    let sealed = daemon.directory(name)["crawls_sealed"].clone();
    wait_until("an idle poll", Duration::from_secs(60), || {
        let status = daemon.directory(name);
        let polled = status["crawls_sealed"] != sealed && status["crawling"] == false;
        if polled { Ok(status) } else { Err(status.to_string()) }
    })
}

fn cn(dn: &str) -> &str {
    dn.split([',', '=']).nth(1).unwrap_or_default()
}
