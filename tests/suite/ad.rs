//! The LDAP provider against a real Samba Active Directory.

use std::collections::BTreeSet;

use rosterd::model::Reference;
use rosterd::provider::ldap::{Draft, Incremental, LdapConfig, Schema};
use rosterd::provider::{Extent, Item, Outcome, PullError, Settings, Start};
use rosterd::secret::Secret;

use crate::harness::copy::{Collector, Copy, Followed, PATIENCE};
use crate::harness::samba::SambaAd;

/// An organizational unit with the objects that every test wants.
struct Domain {
    samba: SambaAd,
    ou: String,
}

impl Domain {
    fn start() -> Domain {
        let samba = SambaAd::start();
        let ou = format!("OU=test,{}", samba.base());
        samba.modify(&format!("dn: {ou}\nobjectClass: organizationalUnit\nou: test\n"));
        let domain = Domain { samba, ou };
        domain.users(0..12);
        domain.group("crew", &["u1", "u2", "u3"]);
        domain.group("inner", &["u4"]);
        domain.group("outer", &["inner", "u5"]);
        domain.samba.member(&domain.dn("inner"), &domain.dn("outer"), true);
        domain
    }

    fn dn(&self, name: &str) -> String {
        format!("CN={name},{}", self.ou)
    }

    fn users(&self, numbers: std::ops::Range<usize>) {
        let ldif = numbers.map(|number| {
            format!(
                "dn: {}\nobjectClass: user\nsAMAccountName: u{number}\nuserAccountControl: 544\n\
                 mail: u{number}@example.org\ngivenName: Given\nsn: Sn{number}\n\
                 displayName: User {number}\n\n",
                self.dn(&format!("u{number}"))
            )
        });
        self.samba.modify(&ldif.collect::<String>());
    }

    fn group(&self, name: &str, members: &[&str]) {
        let mut ldif =
            format!("dn: {}\nobjectClass: group\nsAMAccountName: {name}\n", self.dn(name));
        for member in members {
            ldif.push_str(&format!("member: {}\n", self.dn(member)));
        }
        self.samba.modify(&ldif);
    }

    fn draft(&self, incremental: Incremental) -> Draft {
        let (dn, password) = self.samba.admin();
        self.draft_as((dn, password.to_owned()), incremental)
    }

    fn draft_as(&self, (dn, password): (String, String), incremental: Incremental) -> Draft {
        Draft {
            urls: vec![self.samba.ldaps_url()],
            base: self.samba.base().to_owned(),
            bind_dn: Some(dn),
            bind_password: Some(Secret::new(password)),
            ca: Some(std::fs::read(self.samba.ca()).unwrap()),
            schema: Some(Schema::Ad),
            incremental,
            ..Draft::default()
        }
    }
}

fn settings(draft: Draft) -> LdapConfig {
    draft.finish().unwrap()
}

/// One directory, its copy, and reading anew to compare with.
struct Follower {
    settings: LdapConfig,
    copy: Copy,
}

impl Follower {
    async fn start(draft: Draft) -> Follower {
        let settings = settings(draft);
        let copy = Copy::full(&mut *settings.open(PATIENCE)).await;
        Follower { settings, copy }
    }

    /// Follows, and checks that the copy is what reading anew gives.
    async fn follow(&mut self, after: &str) -> Followed {
        let followed = self.copy.follow(&mut *self.settings.open(PATIENCE)).await;
        let fresh = Copy::full(&mut *self.settings.open(PATIENCE)).await;
        let (left, right) = (self.copy.picture(), fresh.picture());
        let missing: Vec<_> = right.iter().filter(|line| !left.contains(line)).collect();
        let extra: Vec<_> = left.iter().filter(|line| !right.contains(line)).collect();
        assert!(
            missing.is_empty() && extra.is_empty(),
            "{after}: {:?}\nmissing {missing:#?}\nextra {extra:#?}",
            followed.seal
        );
        followed
    }
}

#[tokio::test]
async fn a_full_crawl_reads_what_active_directory_spreads_over_many_places() {
    let domain = Domain::start();
    domain.samba.replace(&domain.dn("u6"), "userAccountControl", "546");
    domain.samba.replace(&domain.dn("u7"), "accountExpires", "116444736010000000");
    let foreign = "S-1-5-21-11-22-33-1234";
    domain.samba.member(&domain.dn("crew"), &format!("<SID={foreign}>"), true);
    let starttls = Draft { urls: vec![domain.samba.url()], ..domain.draft(Incremental::Auto) };
    let copy = Copy::full(&mut *settings(starttls).open(PATIENCE)).await;

    let user = copy.user("u1");
    assert_eq!(user.user.id, domain.samba.guid(&domain.dn("u1")));
    assert_eq!(user.user.emails, ["u1@example.org"]);
    assert_eq!(user.user.display_name.as_deref(), Some("User 1"));
    assert!(user.user.active && user.user.status.is_none());
    let disabled = &copy.user("u6").user;
    assert_eq!((disabled.active, disabled.status.as_deref()), (false, Some("ACCOUNTDISABLE")));
    let expired = &copy.user("u7").user;
    assert_eq!((expired.active, expired.status.as_deref()), (false, Some("accountExpires")));
    // Nested groups in a cycle are plain edges.
    assert_eq!(copy.members("inner"), BTreeSet::from(["outer".to_owned(), "u4".to_owned()]));
    assert_eq!(copy.members("outer"), BTreeSet::from(["inner".to_owned(), "u5".to_owned()]));
    let stranger = &copy.user(foreign).user;
    assert_eq!(stranger.status.as_deref(), Some("foreignSecurityPrincipal"));
    assert!(copy.members("crew").contains(foreign));
}

#[tokio::test]
async fn fact_7_the_primary_group_is_in_no_list_and_yet_a_membership() {
    let domain = Domain::start();
    domain.samba.member(&domain.dn("inner"), &domain.dn("u8"), true);
    let rid = domain.samba.rid(&domain.dn("inner")).to_string();
    for incremental in [Incremental::DirSync, Incremental::Usn] {
        let mut follower = Follower::start(domain.draft(incremental)).await;
        assert!(follower.copy.memberships().contains("Domain Users/u1"));
        assert!(!follower.copy.members("Domain Users").contains("u1"));
        domain.samba.replace(&domain.dn("u8"), "primaryGroupID", &rid);
        assert!(!domain.samba.values(&domain.dn("inner"), "member").contains(&domain.dn("u8")));
        follower.follow("another primary group").await;
        assert!(follower.copy.memberships().contains("inner/u8"));
        domain.samba.replace(&domain.dn("u8"), "primaryGroupID", "513");
        follower.follow("the old primary group").await;
        assert!(follower.copy.memberships().contains("inner/u8"), "AD puts it into the list then");
    }
}

#[tokio::test]
async fn fact_7_three_thousand_members_arrive() {
    let domain = Domain::start();
    domain.users(100..3100);
    let names: Vec<String> = (100..3100).map(|number| format!("u{number}")).collect();
    domain.group("big", &names.iter().map(String::as_str).collect::<Vec<_>>());
    for incremental in [Incremental::DirSync, Incremental::Usn] {
        let mut follower = Follower::start(domain.draft(incremental)).await;
        assert_eq!(follower.copy.members("big").len(), 3000);
        domain.samba.member(&domain.dn("big"), &domain.dn("u100"), false);
        let followed = follower.follow("one of 3,000 left").await;
        assert!(followed.is_changes());
        assert_eq!(follower.copy.members("big").len(), 2999);
        domain.samba.member(&domain.dn("big"), &domain.dn("u100"), true);
        let followed = follower.follow("one of 3,000 joined").await;
        if incremental == Incremental::DirSync {
            let listed = followed.items.iter().any(|item| matches!(item, Item::Members { .. }));
            assert!(!listed, "DirSync names the one who joined");
        }
    }
}

/// Changes of every kind, each followed and compared with reading anew.
async fn follow_every_kind_of_change(domain: &Domain, mut follower: Follower, sees_deleted: bool) {
    let samba = &domain.samba;
    let users = format!("CN=Users,{}", samba.base());
    let is_expected = |followed: &Followed, step: &str| {
        assert_eq!(followed.anew, None, "{step}");
        let extent = if sees_deleted { Extent::Changes } else { Extent::Whole };
        assert_eq!(followed.seal.extent, extent, "{step}");
    };
    let user_before = samba.values(&domain.dn("u9"), "uSNChanged");
    samba.member(&domain.dn("crew"), &domain.dn("u9"), true);
    assert_eq!(samba.values(&domain.dn("u9"), "uSNChanged"), user_before, "fact 6");
    is_expected(&follower.follow("a member joins").await, "join");
    samba.member(&domain.dn("crew"), &domain.dn("u1"), false);
    is_expected(&follower.follow("a member leaves").await, "leave");
    assert!(!follower.copy.members("crew").contains("u1"));

    let group_before = samba.values(&domain.dn("crew"), "uSNChanged");
    samba.delete(&domain.dn("u2"));
    assert_eq!(samba.values(&domain.dn("crew"), "uSNChanged"), group_before, "fact 6");
    is_expected(&follower.follow("a user is deleted").await, "delete");
    assert!(!follower.copy.usernames().contains("u2"));
    assert!(!follower.copy.members("crew").contains("u2"));

    samba.rename(&domain.dn("u3"), "CN=renamed", &domain.ou);
    is_expected(&follower.follow("a user is renamed").await, "rename");
    samba.replace(&domain.dn("renamed"), "sAMAccountName", "renamed");
    is_expected(&follower.follow("a user signs in by another name").await, "account name");
    assert!(follower.copy.members("crew").contains("renamed"));
    samba.rename(&domain.dn("renamed"), "CN=renamed", &users);
    follower.follow("a user is moved").await;
    samba.replace(&domain.dn("u5"), "userAccountControl", "546");
    is_expected(&follower.follow("a user is disabled").await, "disable");
    assert!(!follower.copy.user("u5").user.active);
    samba.modify(&format!("dn: {}\nchangetype: modify\ndelete: mail\n", domain.dn("u5")));
    is_expected(&follower.follow("an attribute is removed").await, "attribute");
    assert_eq!(follower.copy.user("u5").user.emails, [""; 0]);
    assert_eq!(follower.copy.user("u5").user.display_name.as_deref(), Some("User 5"), "R6");

    domain.group("new", &["u4", "crew"]);
    is_expected(&follower.follow("a group is made").await, "new group");
    samba.replace(&domain.dn("new"), "sAMAccountName", "newer");
    is_expected(&follower.follow("a group is renamed").await, "group name");
    samba.delete(&domain.dn("new"));
    is_expected(&follower.follow("r7 a group is deleted").await, "group deleted");
    domain.users(50..53);
    domain.group("late", &["u50"]);
    samba.member(&domain.dn("late"), &domain.dn("u51"), true);
    samba.member(&domain.dn("late"), &domain.dn("u50"), false);
    samba.delete(&domain.dn("u52"));
    is_expected(&follower.follow("many changes at once").await, "many");

    samba.rename(&domain.ou, "OU=moved", samba.base());
    follower.follow("an organizational unit is renamed").await;
    let moved = format!("OU=moved,{}", samba.base());
    samba.member(&format!("CN=crew,{moved}"), &format!("CN=u7,{moved}"), true);
    follower.follow("a member of a moved unit joins").await;
    assert!(follower.copy.members("crew").contains("u7"));
}

#[tokio::test]
async fn every_kind_of_change_arrives_by_dirsync() {
    let domain = Domain::start();
    let follower = Follower::start(domain.draft(Incremental::Auto)).await;
    follow_every_kind_of_change(&domain, follower, true).await;
}

#[tokio::test]
async fn fact_6_every_kind_of_change_arrives_by_update_numbers() {
    let domain = Domain::start();
    let follower = Follower::start(domain.draft(Incremental::Usn)).await;
    follow_every_kind_of_change(&domain, follower, true).await;
}

#[tokio::test]
async fn fact_6_an_ordinary_user_follows_every_kind_of_change() {
    let domain = Domain::start();
    let reader = domain.samba.create_user("reader");
    let follower = Follower::start(domain.draft_as(reader, Incremental::Auto)).await;
    follow_every_kind_of_change(&domain, follower, false).await;
}

#[tokio::test]
async fn an_ordinary_user_follows_by_update_numbers() {
    let domain = Domain::start();
    let reader = domain.samba.create_user("reader");
    let follower = Follower::start(domain.draft_as(reader, Incremental::Usn)).await;
    follow_every_kind_of_change(&domain, follower, false).await;
}

#[tokio::test]
async fn what_leaves_the_base_or_the_filter_is_gone() {
    let domain = Domain::start();
    let samba = &domain.samba;
    let users = format!("CN=Users,{}", samba.base());
    for incremental in [Incremental::DirSync, Incremental::Usn] {
        let draft = Draft {
            users_base: Some(domain.ou.clone()),
            groups_base: Some(domain.ou.clone()),
            users_filter: Some(
                "(&(objectCategory=person)(objectClass=user)(!(title=left)))".into(),
            ),
            ..domain.draft(incremental)
        };
        let mut follower = Follower::start(draft).await;
        samba.replace(&domain.dn("u1"), "title", "left");
        follower.follow("a user leaves the filter").await;
        assert!(!follower.copy.usernames().contains("u1"));
        samba.modify(&format!("dn: {}\nchangetype: modify\ndelete: title\n", domain.dn("u1")));
        follower.follow("a user comes back").await;
        assert!(follower.copy.usernames().contains("u1"));
        samba.rename(&domain.dn("u2"), "CN=u2", &users);
        follower.follow("a user is moved out").await;
        assert!(!follower.copy.usernames().contains("u2"));
        samba.rename(&format!("CN=u2,{users}"), "CN=u2", &domain.ou);
        let inner = format!("OU=inner,{}", domain.ou);
        samba.modify(&format!("dn: {inner}\nobjectClass: organizationalUnit\nou: inner\n"));
        samba.rename(&domain.dn("u3"), "CN=u3", &inner);
        follower.follow("a unit within").await;
        samba.rename(&inner, "OU=inner", samba.base());
        follower.follow("a unit is moved out with a user").await;
        assert!(!follower.copy.usernames().contains("u3"));
        samba.rename(&format!("CN=u3,OU=inner,{}", samba.base()), "CN=u3", &domain.ou);
        samba.delete(&format!("OU=inner,{}", samba.base()));
    }
}

#[tokio::test]
async fn an_idle_poll_costs_a_constant_number_of_operations() {
    let domain = Domain::start();
    for (incremental, cost) in [(Incremental::DirSync, 5), (Incremental::Usn, 4)] {
        let mut follower = Follower::start(domain.draft(incremental)).await;
        for _ in 0..2 {
            let idle = follower.follow("nothing").await;
            assert!(idle.is_changes() && idle.items.is_empty(), "{idle:?}");
            assert_eq!(idle.operations(), cost, "{:?}", idle.seal.requests);
        }
    }
}

#[tokio::test]
async fn a_cursor_of_another_controller_or_a_restored_one_expires() {
    let domain = Domain::start();
    for incremental in [Incremental::DirSync, Incremental::Usn] {
        let settings = settings(domain.draft(incremental));
        let mut copy = Copy::full(&mut *settings.open(PATIENCE)).await;
        let mut bytes = copy.cursor.clone().unwrap().0;
        let at = bytes.windows(3).position(|window| window == b"cn=").unwrap();
        bytes[at + 4] ^= 1;
        copy.cursor = Some(rosterd::provider::Cursor(bytes));
        let followed = copy.follow(&mut *settings.open(PATIENCE)).await;
        assert!(followed.anew.is_some_and(|reason| reason.contains("another domain controller")));
    }
}

#[tokio::test]
async fn operators_are_told_in_words_what_is_wrong_with_active_directory() {
    let domain = Domain::start();
    let fail = async |draft: Draft| {
        let mut directory = settings(draft).open(PATIENCE);
        directory.crawl(Start::Full, &mut Collector::default()).await.unwrap_err()
    };
    let (admin, _) = domain.samba.admin();
    let wrong = domain.draft_as((admin, "nope".to_owned()), Incremental::Auto);
    let error = fail(wrong).await;
    assert!(
        matches!(&error, PullError::Unauthorized { reason, .. } if reason.contains("wrong account name or password")),
        "{error}"
    );
    let (dn, password) = domain.samba.create_user("leaver");
    domain.samba.replace(&dn, "userAccountControl", "514");
    let error = fail(domain.draft_as((dn, password), Incremental::Auto)).await;
    assert!(
        matches!(&error, PullError::Unauthorized { reason, .. } if reason.contains("disabled")),
        "{error}"
    );
    let elsewhere =
        Draft { base: "DC=other,DC=example,DC=org".into(), ..domain.draft(Incremental::Auto) };
    let error = fail(elsewhere).await;
    assert!(matches!(&error, PullError::Misconfigured { .. }), "{error}");
    let reader = domain.samba.create_user("reader");
    let findings =
        settings(domain.draft_as(reader, Incremental::Auto)).open(PATIENCE).examine().await;
    let incremental = findings.iter().find(|finding| finding.step == "incremental").unwrap();
    assert_eq!(incremental.outcome, Outcome::Warning, "{findings:#?}");
    assert!(incremental.detail.contains("deleted objects"), "{findings:#?}");
    let findings = settings(domain.draft(Incremental::Auto)).open(PATIENCE).examine().await;
    assert!(findings.iter().all(|finding| finding.outcome == Outcome::Good), "{findings:#?}");
}

#[tokio::test]
async fn members_are_told_by_id_where_active_directory_tells_them() {
    let domain = Domain::start();
    let mut sink = Collector::default();
    settings(domain.draft(Incremental::Auto))
        .open(PATIENCE)
        .crawl(Start::Full, &mut sink)
        .await
        .unwrap();
    let crew = Reference::Group(domain.samba.guid(&domain.dn("crew")));
    let members = sink.items.iter().find_map(|item| match item {
        Item::Members { group, members } if *group == crew => Some(members),
        _ => None,
    });
    let expected = Reference::Id(domain.samba.guid(&domain.dn("u1")));
    assert!(members.unwrap().contains(&expected), "{members:?}");
}
