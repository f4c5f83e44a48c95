//! The kinds of objects, and where Graph has them.

use super::config::Wanted;

/// What is read like users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Users,
    ServicePrincipals,
    Devices,
}

const USER: &[&str] = &[
    "id",
    "userPrincipalName",
    "displayName",
    "givenName",
    "surname",
    "mail",
    "proxyAddresses",
    "accountEnabled",
    "userType",
    "externalUserState",
    "jobTitle",
    "department",
];
const SERVICE_PRINCIPAL: &[&str] =
    &["id", "appId", "displayName", "accountEnabled", "servicePrincipalType"];
const DEVICE: &[&str] = &["id", "deviceId", "displayName", "accountEnabled", "operatingSystem"];
const GROUP: &[&str] = &[
    "id",
    "displayName",
    "mail",
    "description",
    "groupTypes",
    "securityEnabled",
    "mailEnabled",
    "visibility",
];

impl Kind {
    /// The name of the collection.
    pub(super) fn path(self) -> &'static str {
        match self {
            Kind::Users => "users",
            Kind::ServicePrincipals => "servicePrincipals",
            Kind::Devices => "devices",
        }
    }

    /// The kind of a member with this `@odata.type`.
    pub(super) fn of_type(name: &str) -> Option<Kind> {
        match name {
            "#microsoft.graph.user" => Some(Kind::Users),
            "#microsoft.graph.servicePrincipal" => Some(Kind::ServicePrincipals),
            "#microsoft.graph.device" => Some(Kind::Devices),
            _ => None,
        }
    }

    pub(super) fn list_endpoint(self) -> &'static str {
        match self {
            Kind::Users => "GET /users",
            Kind::ServicePrincipals => "GET /servicePrincipals",
            Kind::Devices => "GET /devices",
        }
    }

    pub(super) fn delta_endpoint(self) -> &'static str {
        match self {
            Kind::Users => "GET /users/delta",
            Kind::ServicePrincipals => "GET /servicePrincipals/delta",
            Kind::Devices => "GET /devices/delta",
        }
    }

    pub(super) fn count_endpoint(self) -> &'static str {
        match self {
            Kind::Users => "GET /users/$count",
            Kind::ServicePrincipals => "GET /servicePrincipals/$count",
            Kind::Devices => "GET /devices/$count",
        }
    }

    /// The least application permission that shows them.
    pub(super) fn permission(self) -> &'static str {
        match self {
            Kind::Users => "User.Read.All",
            Kind::ServicePrincipals => "Application.Read.All",
            Kind::Devices => "Device.Read.All",
        }
    }

    /// What of them is asked for.
    pub(super) fn select(self, wanted: &Wanted) -> String {
        match self {
            Kind::Users => joined(USER, &wanted.attributes),
            Kind::ServicePrincipals => joined(SERVICE_PRINCIPAL, &[]),
            Kind::Devices => joined(DEVICE, &[]),
        }
    }
}

/// What of groups is asked for.
pub(super) fn group_select(wanted: &Wanted) -> String {
    joined(GROUP, &wanted.group_attributes)
}

fn joined(fixed: &[&str], more: &[String]) -> String {
    let mut names = fixed.to_vec();
    names.extend(more.iter().map(String::as_str).filter(|name| !fixed.contains(name)));
    names.join(",")
}

/// Entra's four kinds of groups, as its admin center tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupKind {
    Security,
    MailEnabledSecurity,
    Microsoft365,
    Distribution,
}

impl GroupKind {
    pub(super) const WORDS: [(&str, GroupKind); 4] = [
        ("security", GroupKind::Security),
        ("mail_enabled_security", GroupKind::MailEnabledSecurity),
        ("microsoft365", GroupKind::Microsoft365),
        ("distribution", GroupKind::Distribution),
    ];

    /// By the three properties that decide it.
    pub(super) fn of(types: &[String], security: bool, mail: bool) -> GroupKind {
        match (types.iter().any(|kind| kind == "Unified"), security, mail) {
            (true, _, _) => GroupKind::Microsoft365,
            (false, true, true) => GroupKind::MailEnabledSecurity,
            (false, true, false) => GroupKind::Security,
            (false, false, _) => GroupKind::Distribution,
        }
    }
}
