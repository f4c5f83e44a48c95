//! Which values of a header name a user, and what is told of a denial.

use std::time::Duration;

use http::HeaderName;
use proptest::prelude::*;

use super::*;

fn policy() -> Policy {
    Policy {
        header: HeaderName::from_static("x-auth-user"),
        group: "eng".into(),
        directory: None,
        max_age: Duration::from_mins(15),
        allow_inactive: false,
        explain: false,
    }
}

fn reason(values: &[&[u8]], joined: bool) -> &'static str {
    match only_value(&policy(), values, joined) {
        Ok(_) => "ok",
        Err(denied) => denied.reason,
    }
}

#[test]
fn exactly_one_value_names_a_user() {
    assert_eq!(only_value(&policy(), &[b"ada"], true).unwrap(), "ada");
    assert_eq!(only_value(&policy(), &["Løvelace".as_bytes()], true).unwrap(), "Løvelace");
    // Nothing is decoded, trimmed or folded.
    for odd in ["ada%40example.org", " ada", "ada\t", "corp/ada", "\u{85}"] {
        assert_eq!(only_value(&policy(), &[odd.as_bytes()], true).unwrap(), odd);
    }
    assert_eq!(reason(&[], true), "no-user");
    assert_eq!(reason(&[b""], true), "no-user");
    assert_eq!(reason(&[b"ada", b"bob"], true), "several-users");
    assert_eq!(reason(&[b"ada", b"ada"], false), "several-users");
    assert_eq!(reason(&[b"", b"ada"], false), "several-users");
    assert_eq!(reason(&[b"ada,bob"], true), "several-users");
    assert_eq!(reason(&[b","], true), "several-users");
    assert_eq!(reason(&[b"\xff\xfe"], true), "not-text");
    // Where Envoy sends raw headers, a comma is part of the value.
    assert_eq!(reason(&[b"cn=Eve,dc=example"], false), "ok");
}

#[test]
fn a_denial_says_why_only_when_configured() {
    let secret = Denied::new("stale", "the directory corp was last confirmed 900 s ago");
    let told = secret.told();
    assert_eq!(told.status, 403);
    assert!(told.body.contains("access denied"), "{}", told.body);
    assert!(!told.body.contains("stale") && !told.body.contains("corp"), "{}", told.body);
    let told = Denied { explain: true, ..secret }.told();
    assert_eq!(told.status, 403);
    assert!(told.body.contains("\"reason\":\"stale\"") && told.body.contains("900 s"));
}

proptest! {
    #[test]
    fn what_the_upstream_is_told_is_one_plain_header_value(text in ".*") {
        let value = plain(&text);
        prop_assert!(value.bytes().all(|byte| (0x21..0x7f).contains(&byte)), "{value:?}");
        let undone = percent_encoding::percent_decode_str(&value).decode_utf8().unwrap();
        prop_assert_eq!(undone, text);
    }
}
