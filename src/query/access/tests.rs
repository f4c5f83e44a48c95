//! Rules and what they come to, for peers and for tokens, also after a reload.

use proptest::prelude::*;

use super::*;

fn rule(users: &[u32], groups: &[u32], permissions: &[Permission]) -> PeerRule {
    let permissions = permissions.iter().copied().collect();
    let (users, groups) = (users.to_vec(), groups.to_vec());
    PeerRule { name: "query.allow.some".into(), users, groups, permissions }
}

fn rules(peers: Option<Vec<PeerRule>>) -> Rules {
    Rules::new(&AccessConfig { peers, tokens: Vec::new() })
}

/// The answer, and whether the supplementary groups were asked for.
fn asked(rules: &Rules, uid: u32, gid: u32, groups: &[u32]) -> (Permissions, bool) {
    let looked = std::cell::Cell::new(false);
    let found = rules.of_peer(uid, gid, || {
        looked.set(true);
        groups.into()
    });
    (found, looked.get())
}

#[test]
fn without_rules_everybody_may_everything_and_nothing_is_looked_up() {
    let open = rules(None);
    for uid in [0, 1, 1000, u32::MAX] {
        assert_eq!(asked(&open, uid, 1000, &[]), (Permissions::ALL, false));
    }
}

#[test]
fn root_and_the_own_user_are_never_locked_out() {
    let own = rustix::process::geteuid().as_raw();
    for peers in [vec![], vec![rule(&[0, own], &[], &[Permission::Ask])]] {
        let closed = rules(Some(peers));
        assert_eq!(asked(&closed, 0, 7, &[]), (Permissions::ALL, false));
        assert_eq!(asked(&closed, own, 7, &[]), (Permissions::ALL, false));
        assert_eq!(asked(&closed, 4711, 0, &[0]), (Permissions::NONE, false));
    }
}

#[test]
fn groups_are_looked_up_only_when_the_answer_depends_on_them() {
    let by_group = rules(Some(vec![
        rule(&[1000], &[], &[Permission::Ask, Permission::List]),
        rule(&[], &[50], &[Permission::List]),
    ]));
    assert!(!asked(&by_group, 1000, 7, &[]).1, "user 1000 has it all");
    assert!(!asked(&by_group, 1001, 50, &[]).1, "the first group gives it");
    assert_eq!(asked(&by_group, 1001, 7, &[49, 50]), (Permission::List.into(), true));
    assert_eq!(asked(&by_group, 1001, 7, &[49]), (Permissions::NONE, true));
    let by_user = rules(Some(vec![rule(&[1000], &[], &[Permission::Ask])]));
    assert!(!asked(&by_user, 1001, 7, &[50]).1);
}

#[test]
fn a_token_is_found_wherever_it_stands_and_only_whole() {
    let token = |name: &str, secret: &str, one: Permission| TokenRule {
        name: name.into(),
        secret: Secret::new(secret.into()),
        permissions: one.into(),
    };
    let tokens = vec![
        token("a", "first", Permission::Ask),
        token("b", "second", Permission::List),
        token("c", "third-and-longest", Permission::Watch),
    ];
    let rules = Rules::new(&AccessConfig { peers: None, tokens });
    let found = |text: &str| rules.token(&sha256(text.as_bytes())).map(|token| &*token.name);
    assert_eq!(
        ["first", "second", "third-and-longest"].map(found),
        [Some("a"), Some("b"), Some("c")]
    );
    for wrong in ["", "firs", "first ", "First", "third", "firstsecond", "\0"] {
        assert_eq!(found(wrong), None, "{wrong}");
    }
    assert!(Rules::new(&AccessConfig::default()).token(&sha256(b"")).is_none());
}

fn config(peers: Vec<PeerRule>) -> AccessConfig {
    AccessConfig { peers: Some(peers), tokens: Vec::new() }
}

/// Somebody on this seat asks for what takes this.
fn uses(seat: &Arc<Seat>, asker: Asker, need: Need) {
    let asker = Asker { seat: Some(Arc::clone(seat)), ..asker };
    assert!(asker.lacks(need).is_none());
    asker.uses(need);
}

#[test]
fn other_rules_hold_for_a_connection_that_is_open() {
    let access = Access::new(&AccessConfig::default());
    let peer = Peer::Unix { uid: 4711, gid: 4711, pid: None };
    let seat = || Arc::new(Seat::new(access.clone(), peer));
    let (lists, watches, scrapes, idles) = (seat(), seat(), seat(), seat());
    assert_eq!(lists.permissions(), Permissions::ALL);
    uses(&lists, lists.asker(), Need::Of(Permission::List));
    uses(&watches, watches.asker(), Need::Of(Permission::Watch));
    uses(&scrapes, scrapes.asker(), Need::Any);
    uses(&idles, idles.asker(), Need::Nothing);
    let all = [&lists, &watches, &scrapes, &idles];
    let lost = || all.map(|seat| seat.has_lost());
    access.adopt(&config(vec![rule(&[4711], &[], &Permission::ALL)]));
    assert_eq!(lost(), [false; 4]);
    access.adopt(&config(vec![rule(&[4711], &[], &[Permission::Watch])]));
    assert_eq!(lists.permissions(), Permission::Watch.into());
    assert_eq!(lost(), [true, false, false, false]);
    access.adopt(&config(vec![rule(&[4712], &[], &[Permission::Watch])]));
    assert_eq!(lost(), [true, true, true, false]);
    assert_eq!(idles.permissions(), Permissions::NONE);
    access.adopt(&AccessConfig::default());
    assert_eq!(idles.permissions(), Permissions::ALL);
}

#[test]
fn a_connection_loses_with_the_tokens_that_were_used_on_it() {
    let token = |secret: &str, all: &[Permission]| TokenRule {
        name: format!("query.tokens.{secret}"),
        secret: Secret::new(secret.into()),
        permissions: all.iter().copied().collect(),
    };
    let config = |tokens: Vec<TokenRule>| AccessConfig { peers: None, tokens };
    let (ask, watch) = (Permission::Ask, Permission::Watch);
    let access = Access::new(&config(vec![token("one", &[ask, watch]), token("two", &[ask])]));
    let seat = || Arc::new(Seat::new(access.clone(), Peer::Tcp(([127, 0, 0, 1], 9).into())));
    let (first, second, both, silent) = (seat(), seat(), seat(), seat());
    let show = |seat: &Seat, secret: &str| seat.bearer(&Secret::new(secret.into())).unwrap();
    assert_eq!(show(&first, "one").permissions, [ask, watch].into_iter().collect());
    uses(&first, show(&first, "one"), Need::Of(watch));
    uses(&second, show(&second, "two"), Need::Of(ask));
    uses(&both, show(&both, "one"), Need::Of(ask));
    uses(&both, show(&both, "two"), Need::Of(ask));
    let all = [&first, &second, &both, &silent];
    let lost = || all.map(|seat| seat.has_lost());
    access.adopt(&config(vec![token("two", &[ask, watch]), token("one", &[ask])]));
    assert_eq!(show(&first, "one").permissions, ask.into());
    assert_eq!(lost(), [true, false, false, false]);
    access.adopt(&config(vec![token("one", &[ask, watch])]));
    assert_eq!(lost(), [false, true, true, false]);
    assert!(second.bearer(&Secret::new("two".into())).is_none());
    access.adopt(&config(vec![]));
    assert_eq!(lost(), [true, true, true, false]);
}

fn permissions() -> impl Strategy<Value = Permissions> {
    proptest::sample::subsequence(Permission::ALL.to_vec(), 1..=4)
        .prop_map(|some| some.into_iter().collect())
}

fn ids() -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::vec(1_u32..6, 0..3)
}

fn some_rule() -> impl Strategy<Value = PeerRule> {
    (ids(), ids(), permissions()).prop_map(|(users, groups, permissions)| PeerRule {
        name: "query.allow.some".into(),
        users,
        groups,
        permissions,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// What a peer may do is exactly what some rule that names it says.
    #[test]
    fn nothing_is_permitted_that_no_rule_permits(
        all in proptest::collection::vec(some_rule(), 0..5),
        uid in 1_u32..6,
        gid in 1_u32..6,
        groups in ids(),
    ) {
        let names = |rule: &PeerRule| {
            rule.users.contains(&uid)
                || rule.groups.contains(&gid)
                || rule.groups.iter().any(|group| groups.contains(group))
        };
        let is_own = uid == rustix::process::geteuid().as_raw();
        let found = asked(&rules(Some(all.clone())), uid, gid, &groups).0;
        for one in Permission::ALL {
            let said = all.iter().any(|rule| names(rule) && rule.permissions.has(one));
            prop_assert_eq!(found.has(one), said || is_own, "{:?}", one);
        }
    }
}
