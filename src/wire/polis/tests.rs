//! The body of every kind of event, whole.

use super::*;
use crate::clock::Timestamp;
use crate::model::{Attributes, EventKind, Previous};

fn event(kind: EventKind, payload: Payload) -> Event {
    Event {
        id: "evt_1".into(),
        seq: 812,
        kind,
        occurred_at: Timestamp(1),
        tenant: "acme".into(),
        product: "vpn".into(),
        directory: "corp".into(),
        payload,
    }
}

fn check(kind: EventKind, payload: Payload, data: &str) {
    let event = event(kind, payload);
    let text = String::from_utf8(PolisBody::from(&event).to_json()).unwrap();
    let head = format!(
        r#"{{"directory_id":"corp","event":"{}","tenant":"acme","product":"vpn","data":"#,
        kind.as_str()
    );
    assert_eq!(text, format!("{head}{data}}}"));
}

/// With `raw` as the provider sent it.
fn ada() -> User {
    User {
        id: "u1".into(),
        username: "ada".into(),
        given_name: Some("Ada".into()),
        family_name: Some("Lovelace".into()),
        emails: vec!["ada@x".into()],
        active: true,
        raw: Some(r#"{ "uid": "ada" }"#.into()),
        ..User::default()
    }
}

const ADA: &str = r#""id":"u1","first_name":"Ada","last_name":"Lovelace","email":"ada@x","active":true,"raw":{"uid":"ada"}"#;

fn ops() -> Group {
    Group { id: "g1".into(), name: "Ops".into(), ..Group::default() }
}

const OPS: &str = r#"{"id":"g1","name":"Ops","raw":{"displayName":"Ops","externalId":"g1","id":"g1","schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"]}}"#;

#[test]
fn users() {
    for kind in [EventKind::UserCreated, EventKind::UserUpdated, EventKind::UserDeleted] {
        let previous = (kind == EventKind::UserUpdated).then(|| Previous(User::default()));
        check(kind, Payload::User { user: ada(), previous }, &format!("{{{ADA}}}"));
    }
}

#[test]
fn groups() {
    for kind in [EventKind::GroupCreated, EventKind::GroupUpdated, EventKind::GroupDeleted] {
        let previous = (kind == EventKind::GroupUpdated).then(|| Previous(Group::default()));
        check(kind, Payload::Group { group: ops(), previous }, OPS);
    }
}

#[test]
fn memberships_are_the_user_with_its_group() {
    for kind in [EventKind::GroupUserAdded, EventKind::GroupUserRemoved] {
        let payload = Payload::Membership { group: ops(), member: MemberObject::User(ada()) };
        check(kind, payload, &format!("{{{ADA},\"group\":{OPS}}}"));
    }
}

#[test]
fn what_polis_has_no_event_for_looks_alike() {
    let payload = Payload::Membership { group: ops(), member: MemberObject::Group(ops()) };
    let member = OPS.strip_suffix('}').unwrap();
    check(EventKind::GroupGroupAdded, payload, &format!("{member},\"group\":{OPS}}}"));
    let details = [("users".to_owned(), crate::model::Value::Integer(3))].into();
    check(EventKind::DirectorySynced, Payload::Directory { details }, r#"{"users":3}"#);
}

#[test]
fn a_batch_is_an_array_also_of_one() {
    let payload = Payload::Group { group: ops(), previous: None };
    let event = event(EventKind::GroupCreated, payload);
    let one = String::from_utf8(PolisBody::from(&event).to_json()).unwrap();
    let batch = |count| {
        let events = vec![PolisBody::from(&event); count];
        String::from_utf8(PolisBody::batch_to_json(&events)).unwrap()
    };
    assert_eq!(batch(1), format!("[{one}]"));
    assert_eq!(batch(2), format!("[{one},{one}]"));
}

#[test]
fn without_the_provider_s_own_object_raw_is_what_scim_would_have() {
    let user = User {
        emails: vec!["ada@x".into(), "al@x".into()],
        display_name: Some("Ada L".into()),
        title: Some("Countess".into()),
        department: Some("Engines".into()),
        manager: Some("u0".into()),
        status: Some("ACTIVE".into()),
        attributes: [("locale".to_owned(), "en".into())].into(),
        raw: None,
        ..ada()
    };
    let expected = json!({
        "schemas": [SCIM_USER, SCIM_ENTERPRISE],
        "id": "u1", "externalId": "u1", "userName": "ada", "active": true,
        "name": { "givenName": "Ada", "familyName": "Lovelace" },
        "emails": [{ "value": "ada@x", "primary": true }, { "value": "al@x", "primary": false }],
        "displayName": "Ada L", "title": "Countess", "status": "ACTIVE",
        (SCIM_ENTERPRISE): { "department": "Engines", "manager": { "value": "u0" } },
        "attributes": { "locale": "en" },
    });
    assert_eq!(PolisUser::from(&user).raw.0, expected);
    let bare = User { id: "u2".into(), username: "bob".into(), ..User::default() };
    let bare = PolisUser::from(&bare);
    assert_eq!((bare.first_name, bare.last_name, bare.email, bare.active), ("", "", "bob", false));
    let expected = json!({
        "schemas": [SCIM_USER], "id": "u2", "externalId": "u2", "userName": "bob", "active": false,
    });
    assert_eq!(bare.raw.0, expected);
}

#[test]
fn a_raw_that_is_no_object_is_not_passed_on() {
    for raw in ["", "dn: cn=ada", "[1]", "\"text\"", r#"{"a":"\ud800"}"#] {
        let group = Group { raw: Some(raw.to_owned()), ..ops() };
        assert_eq!(PolisGroup::from(&group).raw.0, scim_group(&ops()), "{raw}");
    }
}

/// The right sides are what `JSON.stringify(JSON.parse(…))` gives for themselves;
/// `tests/clients/webhooks.mjs` asks JavaScript.
#[test]
fn what_javascript_writes_differently_is_written_its_way() {
    for (raw, written) in [
        (r#"{"b":1,"10":2,"9":3,"010":4,"-1":5}"#, r#"{"9":3,"10":2,"-1":5,"010":4,"b":1}"#),
        (r#"{"4294967294":1,"4294967295":2,"1":3}"#, r#"{"1":3,"4294967294":1,"4294967295":2}"#),
        (r#"{"a":[1.0, 1e3, -0.0, 2.50, 0.00001]}"#, r#"{"a":[1,1000,0,2.5,0.00001]}"#),
        (
            r#"{"a":[9007199254740991,9007199254740992,-9007199254740992]}"#,
            r#"{"a":[9007199254740991,"9007199254740992","-9007199254740992"]}"#,
        ),
        (r#"{"a":1e21}"#, r#"{"a":"1e+21"}"#),
        (r#"{"a":"\u00e9\u0001\/\n\u2028"}"#, "{\"a\":\"é\\u0001/\\n\u{2028}\"}"),
    ] {
        let plain = Plain(kept(Some(raw)).unwrap());
        assert_eq!(serde_json::to_string(&plain).unwrap(), written);
    }
    let tiny = serde_json::to_string(&Plain(json!([1e-7, u64::MAX]))).unwrap();
    assert!(tiny.starts_with("[\"1e-7\",\"18446744073709551615\"]"), "{tiny}");
}

#[test]
fn attributes_are_written_javascript_s_way_too() {
    let attributes: Attributes = [("7", i64::MAX), ("60", 1)]
        .map(|(key, value)| (key.to_owned(), crate::model::Value::Integer(value)))
        .into();
    let group = Group { attributes, ..ops() };
    let text = serde_json::to_string(&PolisGroup::from(&group)).unwrap();
    assert!(text.contains(r#""attributes":{"7":"9223372036854775807","60":1}"#), "{text}");
}
