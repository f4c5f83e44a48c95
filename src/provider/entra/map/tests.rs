//! From Graph's objects to ours.

use serde_json::json;

use super::*;

fn wanted() -> Wanted {
    Wanted {
        guests: true,
        service_principals: false,
        devices: false,
        security_enabled_only: false,
        group_kinds: Vec::new(),
        attributes: vec!["employeeId".into(), "onPremisesExtensionAttributes".into()],
        group_attributes: Vec::new(),
        keep_raw: false,
    }
}

fn adele() -> Json {
    json!({
        "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#users",
        "id": "87d349ed", "userPrincipalName": "AdeleV@contoso.com", "displayName": "Adele Vance",
        "givenName": "Adele", "surname": "Vance", "mail": "adele@contoso.com",
        "proxyAddresses": ["smtp:av@contoso.com", "SMTP:Adele@contoso.com", "SIP:adele@contoso.com"],
        "accountEnabled": true, "userType": "Member", "externalUserState": null,
        "jobTitle": "Retail Manager", "department": null, "employeeId": "17",
        "onPremisesExtensionAttributes": { "extensionAttribute1": "x", "extensionAttribute2": null },
    })
}

fn user(wanted: &Wanted, value: Json) -> Mapped<UserItem> {
    Mapper::new(wanted).user(Kind::Users, value).unwrap()
}

fn is(mapped: Mapped<UserItem>) -> User {
    match mapped {
        Mapped::Is(item) => item.user,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_user_is_read_by_its_properties() {
    let user = is(user(&wanted(), adele()));
    assert_eq!((user.id.as_str(), user.username.as_str()), ("87d349ed", "AdeleV@contoso.com"));
    assert_eq!(user.emails, ["adele@contoso.com", "av@contoso.com"]);
    assert_eq!(user.title.as_deref(), Some("Retail Manager"));
    assert_eq!((user.active, user.status, user.department), (true, None, None));
    let names: Vec<&str> = user.attributes.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["employeeId", "onPremisesExtensionAttributes.extensionAttribute1", "userType"]
    );
}

#[test]
fn r19_a_disabled_account_is_inactive_and_says_why() {
    let mut value = adele();
    value["accountEnabled"] = json!(false);
    let user = is(user(&wanted(), value));
    assert_eq!((user.active, user.status.as_deref()), (false, Some("accountEnabled=false")));
}

#[test]
fn nulls_for_want_of_permission_are_unknown_not_cleared() {
    let limited = json!({ "id": "1", "userPrincipalName": null, "accountEnabled": null });
    let wanted = wanted();
    let mut mapper = Mapper::new(&wanted);
    let kept = mapper.user(Kind::Users, limited).unwrap();
    assert_eq!(kept, Mapped::Kept(Reference::User("1".into())));
    let group = json!({ "id": "2", "displayName": null, "securityEnabled": null });
    assert_eq!(mapper.group(group).unwrap(), Mapped::Kept(Reference::Group("2".into())));
    assert_eq!((mapper.stripped, mapper.bad()), (2, 2));
}

#[test]
fn r12_a_malformed_user_is_kept_and_counted() {
    let wanted = wanted();
    let mut mapper = Mapper::new(&wanted);
    let mut value = adele();
    value["accountEnabled"] = json!("yes");
    let kept = mapper.user(Kind::Users, value).unwrap();
    assert_eq!(kept, Mapped::Kept(Reference::User("87d349ed".into())));
    assert_eq!(mapper.bad(), 1);
    assert!(mapper.user(Kind::Users, json!({ "accountEnabled": "yes" })).is_err());
}

#[test]
fn guests_can_be_left_out() {
    let mut value = adele();
    value["userType"] = json!("Guest");
    value["externalUserState"] = json!("PendingAcceptance");
    let guest = is(user(&wanted(), value.clone()));
    assert_eq!(guest.status.as_deref(), Some("PendingAcceptance"));
    let without = Wanted { guests: false, ..wanted() };
    assert_eq!(user(&without, value), Mapped::LeftOut("87d349ed".into()));
}

#[test]
fn kinds_of_groups_are_told_apart_and_can_be_chosen() {
    let group = |types: &[&str], security: bool, mail: bool| {
        json!({ "id": "g", "displayName": "G", "groupTypes": types,
                "securityEnabled": security, "mailEnabled": mail })
    };
    let chosen = |wanted: &Wanted, value: &Json| {
        matches!(Mapper::new(wanted).group(value.clone()).unwrap(), Mapped::Is(_))
    };
    let kinds = [
        (GroupKind::Security, group(&[], true, false)),
        (GroupKind::MailEnabledSecurity, group(&[], true, true)),
        (GroupKind::Microsoft365, group(&["Unified"], false, true)),
        (GroupKind::Distribution, group(&[], false, true)),
    ];
    for (kind, value) in &kinds {
        let only = Wanted { group_kinds: vec![*kind], ..wanted() };
        for (other, other_value) in &kinds {
            assert_eq!(chosen(&only, other_value), kind == other, "{kind:?} {other:?}");
        }
        assert!(chosen(&wanted(), value));
        let secure = Wanted { security_enabled_only: true, ..wanted() };
        assert_eq!(chosen(&secure, value), value["securityEnabled"] == true);
    }
}

#[test]
fn what_is_kept_raw_does_not_depend_on_the_request() {
    let raw = Wanted { keep_raw: true, ..wanted() };
    let mut other = adele();
    other.as_object_mut().unwrap().remove("@odata.context");
    assert_eq!(is(user(&raw, adele())).raw, is(user(&raw, other)).raw);
}
