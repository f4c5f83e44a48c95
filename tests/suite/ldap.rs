//! The LDAP provider against real OpenLDAP servers.

use std::collections::BTreeSet;
use std::time::Duration;

use rosterd::model::Reference;
use rosterd::provider::ldap::{Draft, Incremental, LdapConfig, Schema};
use rosterd::provider::{Directory, Extent, Item, Outcome, Patience, PullError, Settings, Start};
use rosterd::secret::Secret;

use crate::harness::copy::{Collector, Copy, PATIENCE};
use crate::harness::ldif::Shape;
use crate::harness::slapd::{Options, Slapd};

const SMALL: Shape =
    Shape { users: 40, groups: 6, groups_per_user: 2, everyone: 30, nested: false };

fn draft(slapd: &Slapd, identity: (String, &str)) -> Draft {
    Draft {
        urls: vec![slapd.url()],
        base: slapd.base().to_owned(),
        bind_dn: Some(identity.0),
        bind_password: Some(Secret::new(identity.1.to_owned())),
        ca: Some(std::fs::read(slapd.ca()).unwrap()),
        ..Draft::default()
    }
}

fn settings(draft: Draft) -> LdapConfig {
    draft.finish().unwrap()
}

fn poller(slapd: &Slapd) -> Box<dyn Directory> {
    settings(draft(slapd, slapd.poller())).open(PATIENCE)
}

fn sync(slapd: &Slapd) -> Box<dyn Directory> {
    settings(draft(slapd, slapd.sync())).open(PATIENCE)
}

async fn failure(directory: &mut dyn Directory) -> PullError {
    directory.crawl(Start::Full, &mut Collector::default()).await.unwrap_err()
}

/// After whatever happened, the copy that followed is what reading anew gives.
async fn assert_right(copy: &Copy, slapd: &Slapd) {
    let fresh = Copy::full(&mut *poller(slapd)).await;
    let (left, right) = (copy.picture(), fresh.picture());
    let differs = left.iter().filter(|line| !right.contains(line));
    let differs: Vec<_> = differs.chain(right.iter().filter(|line| !left.contains(line))).collect();
    assert!(differs.is_empty(), "{differs:#?}");
}

#[tokio::test]
async fn a_full_crawl_reads_users_groups_and_members_over_every_kind_of_connection() {
    let slapd = Slapd::start(Options { shape: SMALL, ..Options::default() });
    let starttls = draft(&slapd, slapd.poller());
    let tls = Draft { urls: vec![slapd.ldaps_url()], ..starttls.clone() };
    let plain = Draft { starttls: Some(false), ca: None, ..starttls.clone() };
    let external = Draft {
        urls: vec![slapd.ldapi_url()],
        bind_dn: None,
        bind_password: None,
        sasl_external: true,
        ..starttls.clone()
    };
    let mut pictures = Vec::new();
    for draft in [starttls, tls, plain, external] {
        let copy = Copy::full(&mut *settings(draft).open(PATIENCE)).await;
        assert_eq!((copy.users.len(), copy.groups.len()), (40, 7));
        assert_eq!(copy.members("everyone").len(), 30);
        pictures.push(copy.picture());
    }
    assert!(pictures.windows(2).all(|pair| pair[0] == pair[1]));
    let copy = Copy::full(&mut *poller(&slapd)).await;
    let user = &copy.user("u000007").user;
    assert_eq!(user.emails, ["u000007@example.org"]);
    assert_eq!(user.display_name.as_deref(), Some("User 7"));
    assert_eq!(user.given_name.as_deref(), Some("Given7"));
    assert_eq!(user.family_name.as_deref(), Some("Sn7"));
    assert!(user.active && user.status.is_none());
    assert_eq!(slapd.values(&slapd.user_dn(7), "entryUUID"), std::slice::from_ref(&user.id));
    assert_eq!(copy.group("g00003").group.description.as_deref(), Some("group 3"));
}

#[tokio::test]
async fn fact_1_a_member_change_is_seen_by_the_group_alone() {
    let slapd = Slapd::start(Options { shape: SMALL, ..Options::default() });
    let mut directory = sync(&slapd);
    let mut copy = Copy::full(&mut *directory).await;
    let before = slapd.values(&slapd.user_dn(5), "entryCSN");
    slapd.member(&slapd.group_dn(3), &slapd.user_dn(5), true);
    assert_eq!(slapd.values(&slapd.user_dn(5), "entryCSN"), before);
    let followed = copy.follow(&mut *directory).await;
    assert!(followed.is_changes(), "{:?}", followed.seal);
    assert_eq!(followed.users(), BTreeSet::new());
    assert_eq!(followed.groups(), BTreeSet::from(["g00003"]));
    assert!(copy.members("g00003").contains("u000005"));
    assert_right(&copy, &slapd).await;
}

#[tokio::test]
async fn fact_2_what_refint_edits_without_a_trace_is_right_all_the_same() {
    let slapd = Slapd::start(Options { shape: SMALL, ..Options::default() });
    let mut directory = sync(&slapd);
    let mut copy = Copy::full(&mut *directory).await;
    assert!(copy.members("everyone").contains("u000006"));
    let group = "cn=everyone,ou=groups,dc=example,dc=org";
    let before = slapd.values(group, "entryCSN");
    slapd.delete(&slapd.user_dn(6));
    slapd.modify(&format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: uid=renamed8\ndeleteoldrdn: 1\n",
        slapd.user_dn(8)
    ));
    assert_eq!(slapd.values(group, "entryCSN"), before, "refint leaves no trace");
    let followed = copy.follow(&mut *directory).await;
    assert!(followed.is_changes(), "{:?}", followed.seal);
    let members = copy.members("everyone");
    assert!(!members.contains("u000006") && !members.contains("u000008"));
    assert!(members.contains("renamed8"));
    assert_right(&copy, &slapd).await;
}

#[tokio::test]
async fn fact_3_deletions_come_as_id_sets() {
    let slapd = Slapd::start(Options { shape: SMALL, ..Options::default() });
    let mut directory = sync(&slapd);
    let mut copy = Copy::full(&mut *directory).await;
    let gone = copy.user("u000011").user.id.clone();
    slapd.delete(&slapd.user_dn(11));
    slapd.delete(&slapd.group_dn(2));
    let followed = copy.follow(&mut *directory).await;
    assert!(followed.is_changes(), "{:?}", followed.seal);
    assert!(followed.items.contains(&Item::UserDeleted(Reference::User(gone))));
    assert!(!copy.usernames().contains("u000011"));
    assert_right(&copy, &slapd).await;
}

#[tokio::test]
async fn fact_3_a_deletion_before_a_restart_gives_a_present_phase() {
    let mut slapd = Slapd::start(Options { shape: SMALL, ..Options::default() });
    let mut directory = sync(&slapd);
    let mut copy = Copy::full(&mut *directory).await;
    slapd.delete(&slapd.user_dn(12));
    slapd.restart();
    let followed = copy.follow(&mut *directory).await;
    assert_eq!(followed.anew, None);
    assert_eq!(followed.seal.extent, Extent::Whole);
    assert!(
        followed.items.iter().any(|item| matches!(item, Item::Kept(_))),
        "unchanged ones are named"
    );
    assert!(!copy.usernames().contains("u000012"));
    assert_right(&copy, &slapd).await;
    let idle = copy.follow(&mut *directory).await;
    assert!(idle.is_changes() && idle.items.is_empty(), "{idle:?}");
}

#[tokio::test]
async fn fact_3_an_ancient_cookie_expires_and_a_garbage_cookie_is_right_all_the_same() {
    let slapd = Slapd::start(Options { shape: SMALL, ..Options::default() });
    let mut directory = sync(&slapd);
    let copy = Copy::full(&mut *directory).await;
    let cursor = copy.cursor.clone().unwrap();
    let ancient = "rid=000,csn=20200101000000.000000Z#000000#001#000000";
    let future = "rid=000,csn=20991231000000.000000Z#000000#001#000000";
    let cookies = [ancient, future, "rid=000,csn=garbage", "nonsense", ""];
    for (nth, cookie) in cookies.into_iter().enumerate() {
        let mut copy = copy.clone();
        copy.cursor = Some(with_cookie(&cursor, cookie));
        slapd.delete(&slapd.user_dn(20 + nth));
        slapd.modify(&format!(
            "dn: {}\nchangetype: modify\nreplace: sn\nsn: {}\n",
            slapd.user_dn(1),
            cookie.len()
        ));
        copy.follow(&mut *directory).await;
        assert_right(&copy, &slapd).await;
        let idle = copy.follow(&mut *directory).await;
        assert!(idle.is_changes() && idle.items.is_empty(), "{cookie}: {:?}", idle.seal);
    }
}

/// Replaces the three cookies of a cursor, whose form is the provider's own:
/// each stands there with its length in front.
fn with_cookie(cursor: &rosterd::provider::Cursor, cookie: &str) -> rosterd::provider::Cursor {
    let bytes = &cursor.0;
    let start = bytes.windows(4).position(|window| window == b"rid=").unwrap() - 1;
    let mut out = bytes[..start].to_vec();
    for _ in 0..3 {
        out.push(u8::try_from(cookie.len()).unwrap());
        out.extend_from_slice(cookie.as_bytes());
    }
    rosterd::provider::Cursor(out)
}

#[tokio::test]
async fn fact_4_entries_loaded_under_another_server_id_are_right_all_the_same() {
    let slapd = Slapd::start(Options { shape: SMALL, loaded_under: 2, ..Options::default() });
    let mut directory = sync(&slapd);
    let mut copy = Copy::full(&mut *directory).await;
    slapd.modify(&format!("dn: {}\nchangetype: modify\nreplace: sn\nsn: New\n", slapd.user_dn(1)));
    slapd.delete(&slapd.user_dn(2));
    copy.follow(&mut *directory).await;
    assert_eq!(copy.user("u000001").user.family_name.as_deref(), Some("New"));
    assert_right(&copy, &slapd).await;
    slapd.delete(&slapd.user_dn(3));
    copy.follow(&mut *directory).await;
    assert_right(&copy, &slapd).await;
}

#[tokio::test]
async fn fact_5_pages_shrink_to_the_servers_cap() {
    let shape = Shape { users: 1200, ..SMALL };
    let slapd = Slapd::start(Options { shape, page_cap: Some(200), ..Options::default() });
    let mut directory = poller(&slapd);
    let mut copy = Copy::default();
    let (seal, _) = copy.crawl(&mut *directory, Start::Full).await.unwrap();
    assert_eq!(copy.users.len(), 1200);
    // 1000, 500 and 250 are refused, 125 is not.
    assert_eq!(seal.requests["users"], 3 + 10);
    let (seal, _) = copy.crawl(&mut *directory, Start::Full).await.unwrap();
    assert_eq!(seal.requests["users"], 10, "what was learned is remembered");
}

#[tokio::test]
async fn fact_5_a_limit_is_never_an_empty_set() {
    let slapd = Slapd::start(Options { shape: SMALL, page_cap: Some(5), ..Options::default() });
    let error = failure(&mut *poller(&slapd)).await;
    let PullError::Incomplete { reason, .. } = &error else { panic!("{error}") };
    assert!(reason.contains("limit"), "{reason}");
}

#[tokio::test]
async fn an_incremental_crawl_over_the_servers_limit_reads_everything() {
    let slapd = Slapd::start(Options { shape: SMALL, page_cap: Some(20), ..Options::default() });
    let mut directory = poller(&slapd);
    let mut copy = Copy::full(&mut *directory).await;
    for user in 0..25 {
        slapd.modify(&format!(
            "dn: {}\nchangetype: modify\nreplace: sn\nsn: New\n",
            slapd.user_dn(user)
        ));
    }
    let followed = copy.follow(&mut *directory).await;
    assert!(
        followed.anew.is_some_and(|reason| reason.contains("lets through")),
        "{:?}",
        followed.seal
    );
    assert_right(&copy, &slapd).await;
}

#[tokio::test]
async fn fact_8_a_frozen_server_is_unreachable_within_the_deadline() {
    let slapd = Slapd::start(Options { shape: SMALL, ..Options::default() });
    let patience = Patience { request_timeout: Duration::from_millis(300), ..PATIENCE };
    let mut directory = settings(draft(&slapd, slapd.poller())).open(patience);
    slapd.freeze();
    let error = failure(&mut *directory).await;
    assert!(
        matches!(&error, PullError::Unreachable { reason, .. } if reason.contains("within 0.3 s")),
        "{error}"
    );
    slapd.thaw();
    Copy::full(&mut *poller(&slapd)).await;
}

#[tokio::test]
async fn an_idle_poll_costs_a_constant_number_of_operations_and_hands_over_nothing() {
    let mut costs = BTreeSet::new();
    for users in [10, 400] {
        let slapd = Slapd::start(Options { shape: Shape { users, ..SMALL }, ..Options::default() });
        let mut directory = poller(&slapd);
        let mut copy = Copy::full(&mut *directory).await;
        for _ in 0..2 {
            let idle = copy.follow(&mut *directory).await;
            assert!(idle.is_changes() && idle.items.is_empty(), "{idle:?}");
            costs.insert(idle.operations());
        }
        let user = slapd.user_dn(1);
        slapd.modify(&format!("dn: {user}\nchangetype: modify\nreplace: sn\nsn: New\n"));
        let followed = copy.follow(&mut *directory).await;
        assert_eq!(followed.users(), BTreeSet::from(["u000001"]));
        costs.insert(followed.operations());
    }
    // StartTLS, bind, root entry, three searches, unbind.
    assert_eq!(costs, BTreeSet::from([7]));
}

#[tokio::test]
async fn every_kind_of_change_arrives_incrementally() {
    let shape = Shape { users: 30, groups: 21, groups_per_user: 2, everyone: 10, nested: true };
    let slapd = Slapd::start(Options { shape, ..Options::default() });
    let mut directory = poller(&slapd);
    let mut copy = Copy::full(&mut *directory).await;
    assert!(copy.members("g00010").contains("g00009"));
    let new = "uid=zoe,ou=people,dc=example,dc=org";
    let steps = [
        format!("dn: {new}\nobjectClass: inetOrgPerson\nuid: zoe\ncn: Zoe\nsn: Z\nmail: zoe@example.org\n"),
        format!("dn: cn=crew,ou=groups,dc=example,dc=org\nobjectClass: groupOfNames\ncn: crew\nmember: {new}\n"),
        format!("dn: {}\nchangetype: modify\nadd: member\nmember: cn=crew,ou=groups,dc=example,dc=org\n", slapd.group_dn(1)),
        format!("dn: cn=crew,ou=groups,dc=example,dc=org\nchangetype: modify\nadd: member\nmember: {}\n", slapd.group_dn(1)),
        format!("dn: {new}\nchangetype: modify\ndelete: mail\n"),
        "dn: cn=crew,ou=groups,dc=example,dc=org\nchangetype: modrdn\nnewrdn: cn=team\ndeleteoldrdn: 1\n".to_owned(),
        format!("dn: {new}\nchangetype: delete\n"),
        format!("dn: {new}\nobjectClass: inetOrgPerson\nuid: zoe\ncn: Zoe again\nsn: Z\n"),
        "dn: cn=team,ou=groups,dc=example,dc=org\nchangetype: delete\n".to_owned(),
    ];
    for step in steps {
        slapd.modify(&step);
        let followed = copy.follow(&mut *directory).await;
        assert!(followed.is_changes(), "{step}: {:?}", followed.seal);
        assert_right(&copy, &slapd).await;
    }
}

#[tokio::test]
async fn a_renamed_container_takes_everything_below_it_along() {
    let slapd = Slapd::start(Options {
        shape: SMALL,
        refint: false,
        memberof: false,
        ..Options::default()
    });
    let mut directory = poller(&slapd);
    let mut copy = Copy::full(&mut *directory).await;
    slapd.modify(
        "dn: ou=people,dc=example,dc=org\nchangetype: modrdn\nnewrdn: ou=staff\ndeleteoldrdn: 1\n",
    );
    slapd.modify(&format!(
        "dn: {}\nchangetype: modify\nreplace: member\nmember: uid=u000003,ou=staff,dc=example,dc=org\n",
        slapd.group_dn(1)
    ));
    let followed = copy.follow(&mut *directory).await;
    assert!(followed.anew.is_some_and(|reason| reason.contains("container")));
    assert_eq!(copy.members("g00001"), BTreeSet::from(["u000003".to_owned()]));
    assert_right(&copy, &slapd).await;
}

#[tokio::test]
async fn a_new_or_empty_container_changes_nothing() {
    let slapd = Slapd::start(Options { shape: SMALL, ..Options::default() });
    let mut directory = poller(&slapd);
    let mut copy = Copy::full(&mut *directory).await;
    slapd.modify("dn: ou=new,dc=example,dc=org\nobjectClass: organizationalUnit\nou: new\n");
    assert!(copy.follow(&mut *directory).await.is_changes());
    slapd.modify(
        "dn: ou=new,dc=example,dc=org\nchangetype: modrdn\nnewrdn: ou=other\ndeleteoldrdn: 1\n",
    );
    assert!(copy.follow(&mut *directory).await.is_changes());
}

#[tokio::test]
async fn an_entry_that_leaves_the_filter_or_the_base_is_gone() {
    let slapd = Slapd::start(Options { shape: SMALL, ..Options::default() });
    let narrow = Draft {
        users_base: Some("ou=people,dc=example,dc=org".into()),
        users_filter: Some("(&(objectClass=inetOrgPerson)(!(title=left)))".into()),
        ..draft(&slapd, slapd.sync())
    };
    let mut directory = settings(narrow.clone()).open(PATIENCE);
    let mut copy = Copy::full(&mut *directory).await;
    slapd.modify(&format!(
        "dn: {}\nchangetype: modify\nadd: title\ntitle: left\n",
        slapd.user_dn(1)
    ));
    slapd.modify(&format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: uid=u000002\ndeleteoldrdn: 1\nnewsuperior: ou=groups,dc=example,dc=org\n",
        slapd.user_dn(2)
    ));
    copy.follow(&mut *directory).await;
    assert!(!copy.usernames().contains("u000001") && !copy.usernames().contains("u000002"));
    let fresh = Copy::full(&mut *settings(narrow).open(PATIENCE)).await;
    assert_eq!(copy.picture(), fresh.picture());
}

#[tokio::test]
async fn without_synchronisation_every_crawl_is_full() {
    let slapd = Slapd::start(Options { shape: SMALL, syncprov: false, ..Options::default() });
    let copy = Copy::full(&mut *poller(&slapd)).await;
    assert_eq!((copy.users.len(), copy.cursor), (40, None));
    let asked = Draft { incremental: Incremental::Syncrepl, ..draft(&slapd, slapd.poller()) };
    let error = failure(&mut *settings(asked).open(PATIENCE)).await;
    assert!(error.to_string().contains("syncprov"), "{error}");
}

#[tokio::test]
async fn deltas_are_not_trusted_where_no_server_tells_what_changed() {
    let slapd = Slapd::start(Options { shape: SMALL, ..Options::default() });
    let by_membership = Draft {
        users_filter: Some(format!("(memberOf={})", slapd.group_dn(1))),
        ..draft(&slapd, slapd.sync())
    };
    assert_eq!(Copy::full(&mut *settings(by_membership).open(PATIENCE)).await.cursor, None);
}

#[tokio::test]
async fn failover_keeps_the_cursor_with_the_server_it_came_from() {
    let first = Slapd::start(Options { shape: SMALL, ..Options::default() });
    let mut second = Slapd::start(Options { shape: SMALL, ..Options::default() });
    let both = Draft {
        urls: vec!["ldap://127.0.0.1:1".into(), second.ldaps_url()],
        ca: Some(std::fs::read(second.ca()).unwrap()),
        ..draft(&second, second.sync())
    };
    let mut directory = settings(both.clone()).open(PATIENCE);
    let mut copy = Copy::full(&mut *directory).await;
    assert!(copy.follow(&mut *directory).await.is_changes());
    let cas = [std::fs::read(first.ca()).unwrap(), std::fs::read(second.ca()).unwrap()].concat();
    let (_, password) = first.sync();
    // Both servers take the same account with different passwords, so only one is signed in to.
    let other = Draft {
        urls: vec![first.ldaps_url(), second.ldaps_url()],
        ca: Some(cas),
        bind_password: Some(Secret::new(password.to_owned())),
        ..both
    };
    second.stop();
    let followed = copy.follow(&mut *settings(other).open(PATIENCE)).await;
    assert!(followed.anew.is_some_and(|reason| reason.contains("it was made at")));
}

#[tokio::test]
async fn operators_are_told_in_words_what_is_wrong() {
    let slapd = Slapd::start(Options { shape: SMALL, ..Options::default() });
    let good = draft(&slapd, slapd.poller());
    let wrong_password = Draft { bind_password: Some(Secret::new("nope".into())), ..good.clone() };
    let error = failure(&mut *settings(wrong_password).open(PATIENCE)).await;
    assert!(
        matches!(&error, PullError::Unauthorized { reason, .. } if reason.contains("password")),
        "{error}"
    );
    let wrong_base = Draft { base: "dc=example,dc=com".into(), ..good.clone() };
    let error = failure(&mut *settings(wrong_base).open(PATIENCE)).await;
    assert!(matches!(&error, PullError::Misconfigured { .. }), "{error}");
    let missing = Draft { users_base: Some("ou=nobody,dc=example,dc=org".into()), ..good.clone() };
    let error = failure(&mut *settings(missing).open(PATIENCE)).await;
    assert!(error.to_string().contains("no such entry"), "{error}");
    let other_ca = Slapd::start(Options::default());
    let stranger = Draft { ca: Some(std::fs::read(other_ca.ca()).unwrap()), ..good.clone() };
    let error = failure(&mut *settings(stranger).open(PATIENCE)).await;
    assert!(error.to_string().contains("TLS failed"), "{error}");
    let nobody = Draft { urls: vec!["ldaps://127.0.0.1:1".into()], ..good };
    let error = failure(&mut *settings(nobody).open(PATIENCE)).await;
    assert!(
        matches!(&error, PullError::Unreachable { reason, .. } if reason.contains("refused")),
        "{error}"
    );
}

#[tokio::test]
async fn posix_groups_name_their_members_by_name_and_number() {
    let base = "dc=example,dc=org";
    let extra = format!(
        "dn: cn=wheel,ou=groups,{base}\nobjectClass: posixGroup\ncn: wheel\ngidNumber: 10\n\
         memberUid: u000001\nmemberUid: U000002\nmemberUid: stranger\n\n\
         dn: cn=users,ou=groups,{base}\nobjectClass: posixGroup\ncn: users\ngidNumber: 100000\n\n"
    );
    let slapd = Slapd::start(Options { shape: SMALL, extra_ldif: extra, ..Options::default() });
    let posix = Draft { schema: Some(Schema::Rfc2307), ..draft(&slapd, slapd.poller()) };
    let copy = Copy::full(&mut *settings(posix.clone()).open(PATIENCE)).await;
    assert_eq!(copy.groups.len(), 2);
    assert_eq!(copy.members("wheel"), BTreeSet::from(["u000001".to_owned(), "u000002".to_owned()]));
    assert!(copy.memberships().contains("users/u000009"));
    let without = Draft { primary_group: Some(false), ..posix };
    let copy = Copy::full(&mut *settings(without).open(PATIENCE)).await;
    assert_eq!(copy.memberships().len(), 2);
}

#[tokio::test]
async fn names_are_matched_however_they_are_written() {
    let extra = "dn: cn=odd,ou=groups,dc=example,dc=org\nobjectClass: groupOfNames\ncn: odd\n\
                 member: UID=U000001, OU=People, DC=Example, DC=Org\n\
                 member: cn=Doe\\2C Jane+uid=jane,ou=people,dc=example,dc=org\n\n\
                 dn: uid=jane+cn=Doe\\, Jane,ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\n\
                 uid: jane\ncn: Doe, Jane\nsn: Doe\n\n";
    let slapd =
        Slapd::start(Options { shape: SMALL, extra_ldif: extra.into(), ..Options::default() });
    let copy = Copy::full(&mut *poller(&slapd)).await;
    assert_eq!(copy.members("odd"), BTreeSet::from(["jane".to_owned(), "u000001".to_owned()]));
}

#[tokio::test]
async fn attributes_on_request_and_their_names_are_the_operators_choice() {
    let slapd = Slapd::start(Options { shape: SMALL, ..Options::default() });
    let mut names = Schema::Rfc2307bis.user_names();
    names.username = "mail".into();
    names.title = "employeeNumber".into();
    let own = Draft {
        user: Some(names),
        attributes: vec!["uidNumber".into(), "objectClass".into()],
        keep_raw: true,
        ..draft(&slapd, slapd.poller())
    };
    let copy = Copy::full(&mut *settings(own).open(PATIENCE)).await;
    let user = &copy.user("u000004@example.org").user;
    assert_eq!(user.title.as_deref(), Some("4"));
    assert_eq!(user.attributes["uidNumber"], "100004".into());
    let raw = user.raw.as_deref().unwrap();
    assert!(raw.contains("\"homeDirectory\"") && !raw.contains("userPassword"), "{raw}");
}

#[tokio::test]
async fn doctor_names_each_step_and_what_is_missing() {
    let slapd = Slapd::start(Options { shape: SMALL, ..Options::default() });
    let findings = poller(&slapd).examine().await;
    assert!(findings.iter().all(|finding| finding.outcome == Outcome::Good), "{findings:#?}");
    let steps: BTreeSet<&str> = findings.iter().map(|finding| finding.step.as_str()).collect();
    for step in ["network", "TLS", "credential", "visibility", "incremental"] {
        assert!(steps.contains(step), "{step} in {findings:#?}");
    }
    let wrong =
        Draft { bind_password: Some(Secret::new("nope".into())), ..draft(&slapd, slapd.poller()) };
    let findings = settings(wrong).open(PATIENCE).examine().await;
    let bad: Vec<_> = findings.iter().filter(|finding| finding.outcome == Outcome::Bad).collect();
    assert_eq!(bad.iter().map(|finding| finding.step.as_str()).collect::<Vec<_>>(), ["credential"]);
    let none = Draft { users_filter: Some("(uid=nobody)".into()), ..draft(&slapd, slapd.poller()) };
    let findings = settings(none).open(PATIENCE).examine().await;
    assert!(
        findings.iter().any(|f| f.step == "visibility" && f.outcome == Outcome::Warning),
        "{findings:#?}"
    );
}
