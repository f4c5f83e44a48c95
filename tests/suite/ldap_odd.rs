//! The LDAP provider against servers that are odd, hostile, limited or silent.

use std::collections::BTreeSet;
use std::time::Duration;

use rosterd::provider::ldap::{Draft, Incremental, Schema};
use rosterd::provider::{Directory, Patience, PullError, Settings, Start};
use rosterd::secret::Secret;

use crate::harness::copy::{Collector, Copy, PATIENCE};
use crate::harness::ldap_stub::{
    BIND, EXTENDED, PAGED, Reply, Request, Stub, bound, done, entry, message, nested, page_end,
    reference, result, tlv,
};

const OPENLDAP: &[(&str, &[&str])] =
    &[("objectClass", &["OpenLDAProotDSE"]), ("supportedControl", &[PAGED])];
const AD: &[(&str, &[&str])] =
    &[("supportedCapabilities", &["1.2.840.113556.1.4.800"]), ("supportedControl", &[PAGED])];

fn draft(stub: &Stub) -> Draft {
    Draft {
        urls: vec![stub.url()],
        base: "dc=org".into(),
        starttls: Some(false),
        bind_dn: Some("cn=reader".into()),
        bind_password: Some(Secret::new("a password".into())),
        ..Draft::default()
    }
}

fn open(draft: Draft) -> Box<dyn Directory> {
    draft.finish().unwrap().open(PATIENCE)
}

async fn failure(draft: Draft) -> PullError {
    open(draft).crawl(Start::Full, &mut Collector::default()).await.unwrap_err()
}

fn user(number: usize) -> Vec<u8> {
    let uid = format!("u{number}");
    let id = format!("00000000-0000-0000-0000-{number:012}");
    entry(&format!("uid={uid},dc=org"), &[("uid", &[&uid]), ("entryUUID", &[&id])])
}

fn asks_for_users(request: &Request) -> bool {
    request.attributes.iter().any(|attribute| attribute == "givenName")
}

fn nothing() -> Reply {
    Reply::Answer(vec![page_end(b"")])
}

#[tokio::test]
async fn the_hostile_reply_to_the_bind_is_an_error_and_nothing_more() {
    let reply = nested(50_000);
    assert_eq!(reply.len(), 300_000);
    let stub = Stub::start(move |_| Reply::Raw(reply.clone()));
    let error = failure(draft(&stub)).await;
    let PullError::Unreachable { what, reason } = &error else { panic!("{error}") };
    assert_eq!(*what, stub.url());
    assert!(reason.contains("nested deeper than 32 levels"), "{reason}");
}

#[tokio::test]
async fn no_answer_makes_anything_panic() {
    let odd = [
        nested(33),
        nested(5_000),
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        vec![0x30, 0x80, 0, 0],
        message(1, &tlv(0x61, b"")),
        message(1, &tlv(0x61, &[10, 1, 0, 4, 1, 0xff, 4, 0])),
        message(1, &tlv(0x7e, b"")),
        message(1, &[]),
        message(1, &[&bound(0, "")[..], &tlv(0xa0, &tlv(0x30, &tlv(2, b"x")))].concat()),
        // Answers to the bind that belong to something else.
        message(9, &bound(0, "")),
        message(1, &result(0x65, 0, "")),
    ];
    for bytes in odd {
        let stub = {
            let bytes = bytes.clone();
            Stub::start(move |request| {
                if request.operation == BIND { Reply::Raw(bytes.clone()) } else { Reply::Close }
            })
        };
        let patience = Patience { request_timeout: Duration::from_millis(500), ..PATIENCE };
        let mut directory = draft(&stub).finish().unwrap().open(patience);
        let error = directory.crawl(Start::Full, &mut Collector::default()).await.unwrap_err();
        assert!(matches!(error, PullError::Unreachable { .. }), "{bytes:02x?}: {error}");
    }
}

#[tokio::test]
async fn odd_answers_to_a_search_are_errors_too() {
    let entries = [
        tlv(0x64, b""),
        tlv(0x64, &tlv(0x30, b"")),
        tlv(0x64, &[tlv(4, b"uid=x"), tlv(0x30, &tlv(0x30, &tlv(4, b"uid")))].concat()),
        tlv(0x64, &[tlv(4, b"uid=x"), tlv(4, b"")].concat()),
        bound(0, ""),
        result(0x78, 0, ""),
        done(0, "", &[(PAGED, nested(50_000))]),
        done(0, "", &[(PAGED, b"".to_vec())]),
    ];
    for odd in entries {
        let stub = {
            let odd = odd.clone();
            Stub::directory(OPENLDAP, move |_| Reply::Answer(vec![odd.clone(), page_end(b"")]))
        };
        let error = failure(draft(&stub)).await;
        let known = matches!(error, PullError::Unreachable { .. } | PullError::Incomplete { .. });
        assert!(known, "{error}");
    }
}

#[tokio::test]
async fn r13_member_lists_in_ranges_are_read_to_their_end() {
    let dn = |number: usize| {
        format!("<GUID={number:08x}-0000-0000-0000-000000000000>;CN=u{number},dc=org")
    };
    let range = move |start: usize, end: usize, last: bool| {
        let members: Vec<String> = (start..=end).map(dn).collect();
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        let mark = if last { "*".to_owned() } else { end.to_string() };
        let name = format!("member;range={start}-{mark}");
        entry(
            "CN=big,dc=org",
            &[
                ("objectGUID", &["0123456789abcdef"]),
                ("sAMAccountName", &["big"]),
                ("member", &[]),
                (&name, &members),
            ],
        )
    };
    let ends_well = |well: bool| {
        Stub::directory(AD, move |request| {
            let asked = request.attributes.first().map(String::as_str);
            match asked.and_then(|name| name.strip_prefix("member;range=")) {
                Some("1500-*") => Reply::Answer(vec![range(1500, 2999, false), done(0, "", &[])]),
                Some("3000-*") if well => {
                    Reply::Answer(vec![range(3000, 3999, true), done(0, "", &[])])
                }
                Some(_) => Reply::Answer(vec![entry("CN=big,dc=org", &[]), done(0, "", &[])]),
                None if asks_for_users(request) => nothing(),
                None => Reply::Answer(vec![range(0, 1499, false), page_end(b"")]),
            }
        })
    };
    let ad = |stub: &Stub| Draft {
        schema: Some(Schema::Ad),
        incremental: Incremental::Off,
        ..draft(stub)
    };
    let stub = ends_well(true);
    let mut sink = Collector::default();
    let seal = open(ad(&stub)).crawl(Start::Full, &mut sink).await.unwrap();
    assert_eq!(seal.requests["range"], 2);
    let members = sink.items.iter().find_map(|item| match item {
        rosterd::provider::Item::Members { members, .. } => Some(members),
        _ => None,
    });
    let members: BTreeSet<_> = members.unwrap().iter().collect();
    assert_eq!(members.len(), 4000);
    let error = failure(ad(&ends_well(false))).await;
    assert!(
        matches!(&error, PullError::Incomplete { reason, .. } if reason.contains("end mark")),
        "{error}"
    );
}

#[tokio::test]
async fn a_refused_sign_in_says_why() {
    for (data, words) in [
        ("525", "no such account"),
        ("52e", "wrong account name or password"),
        ("530", "time of day"),
        ("531", "from this computer"),
        ("532", "password has expired"),
        ("533", "is disabled"),
        ("701", "account has expired"),
        ("773", "must change its password"),
        ("775", "locked out"),
    ] {
        let text = format!(
            "80090308: LdapErr: DSID-0C09041C, comment: AcceptSecurityContext error, data {data}, v4563\0"
        );
        let stub = Stub::start(move |_| Reply::Answer(vec![bound(49, &text)]));
        let error = failure(draft(&stub)).await;
        assert!(matches!(&error, PullError::Unauthorized { .. }), "{error}");
        assert!(error.to_string().contains(words), "{data}: {error}");
        assert!(!error.to_string().contains("a password"), "{error}");
    }
}

#[tokio::test]
async fn r3_no_result_code_but_success_seals() {
    for code in (1..=80).filter(|code| *code != 0) {
        for with_entries in [false, true] {
            let stub = Stub::directory(OPENLDAP, move |request| {
                let entries =
                    if with_entries && asks_for_users(request) { vec![user(1)] } else { vec![] };
                let end = done(code, "because", &[]);
                Reply::Answer(entries.into_iter().chain([end]).collect())
            });
            let error = failure(draft(&stub)).await;
            match code {
                3 | 4 | 11 => {
                    assert!(matches!(error, PullError::Incomplete { .. }), "{code}: {error}")
                }
                10 | 12 | 32 | 53 => {
                    assert!(matches!(error, PullError::Misconfigured { .. }), "{code}: {error}")
                }
                49 | 50 => {
                    assert!(matches!(error, PullError::Unauthorized { .. }), "{code}: {error}")
                }
                51 | 52 => {
                    assert!(matches!(error, PullError::Unreachable { .. }), "{code}: {error}")
                }
                _ => {}
            }
            assert!(error.to_string().contains("because"), "{code}: {error}");
        }
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_in_the_middle_is_unreachable_within_the_deadline() {
    for silence in [Reply::Silence, Reply::Close] {
        let stub = {
            let silence = silence.clone();
            let mut pages = 0;
            Stub::directory(OPENLDAP, move |_| {
                pages += 1;
                if pages == 1 {
                    Reply::Answer(vec![user(1), page_end(b"more")])
                } else {
                    silence.clone()
                }
            })
        };
        let patience = Patience { request_timeout: Duration::from_millis(300), ..PATIENCE };
        let mut directory = draft(&stub).finish().unwrap().open(patience);
        let error = directory.crawl(Start::Full, &mut Collector::default()).await.unwrap_err();
        let PullError::Unreachable { reason, .. } = &error else { panic!("{error}") };
        assert!(reason.contains("within 0.3 s") || reason.contains("closed"), "{reason}");
    }
}

#[tokio::test]
async fn r8_a_short_page_is_not_the_end_and_r11_an_endless_list_is_an_error() {
    let mut page = 0;
    let stub = Stub::directory(OPENLDAP, move |request| {
        if !asks_for_users(request) {
            return nothing();
        }
        page += 1;
        let cookie: &[u8] = if page < 4 { b"same" } else { b"" };
        // The second page is empty, and all have the same mark.
        let entries = if page == 2 { vec![] } else { vec![user(page)] };
        Reply::Answer(entries.into_iter().chain([page_end(cookie)]).collect())
    });
    let copy = Copy::full(&mut *open(draft(&stub))).await;
    assert_eq!(copy.usernames(), BTreeSet::from(["u1", "u3", "u4"]));
    let circle = Stub::directory(OPENLDAP, |_| Reply::Answer(vec![user(1), page_end(b"more")]));
    let error = failure(draft(&circle)).await;
    assert!(
        matches!(&error, PullError::Incomplete { reason, .. } if reason.contains("circles")),
        "{error}"
    );
    let void = Stub::directory(OPENLDAP, |_| Reply::Answer(vec![page_end(b"more")]));
    let error = failure(draft(&void)).await;
    assert!(
        matches!(&error, PullError::Incomplete { reason, .. } if reason.contains("circles")),
        "{error}"
    );
}

#[tokio::test]
async fn references_to_other_servers_are_told_and_not_followed() {
    let stub = Stub::directory(OPENLDAP, |request| {
        if asks_for_users(request) {
            Reply::Answer(vec![user(1), reference("ldap://127.0.0.1:1/dc=other"), page_end(b"")])
        } else {
            nothing()
        }
    });
    let mut sink = Collector::default();
    let seal = open(draft(&stub)).crawl(Start::Full, &mut sink).await.unwrap();
    assert!(
        seal.proof.ends.contains("1 references to other servers were not followed"),
        "{}",
        seal.proof.ends
    );
}

#[tokio::test]
async fn a_server_without_pages_is_read_at_once() {
    let plain: &[(&str, &[&str])] = &[("supportedControl", &["2.16.840.1.113730.3.4.2"])];
    let stub = Stub::directory(plain, |request| {
        assert!(request.controls.is_empty());
        let entries = if asks_for_users(request) { vec![user(1), user(2)] } else { vec![] };
        Reply::Answer(entries.into_iter().chain([done(0, "", &[])]).collect())
    });
    let copy = Copy::full(&mut *open(draft(&stub))).await;
    assert_eq!(copy.users.len(), 2);
}

#[tokio::test]
async fn an_id_that_cannot_be_read_fails_the_crawl_and_names_the_permission() {
    let stub = Stub::directory(OPENLDAP, |_| {
        Reply::Answer(vec![user(1), entry("uid=x,dc=org", &[("uid", &["x"])]), page_end(b"")])
    });
    let error = failure(draft(&stub)).await;
    let PullError::Unauthorized { permission, .. } = &error else { panic!("{error}") };
    assert_eq!(permission.as_deref(), Some("read `entryUUID`"));
}

#[tokio::test]
async fn without_tls_nothing_secret_is_sent() {
    for reply in [
        Reply::Answer(vec![result(0x78, 52, "not here")]),
        Reply::Answer(vec![result(0x78, 0, "")]),
        Reply::Raw([message(1, &result(0x78, 0, "")), message(2, &bound(0, ""))].concat()),
        Reply::Close,
    ] {
        let stub =
            {
                let reply = reply.clone();
                Stub::start(move |request| {
                    if request.operation == EXTENDED { reply.clone() } else { Reply::Close }
                })
            };
        let patience = Patience { request_timeout: Duration::from_millis(500), ..PATIENCE };
        let settings = Draft { starttls: None, ..draft(&stub) }.finish().unwrap();
        let error = settings.open(patience).crawl(Start::Full, &mut Collector::default()).await;
        assert!(matches!(error, Err(PullError::Unreachable { .. })), "{error:?}");
        assert!(stub.seen().iter().all(|request| request.operation != BIND));
    }
}
