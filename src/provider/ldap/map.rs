//! From an entry to a user or a group.

use std::collections::BTreeSet;

use base64::Engine;

use super::config::LdapConfig;
use super::entry::Entry;
use super::root::Flavour;
use super::{dn, ids};
use crate::clock::Timestamp;
use crate::model::{Attributes, Group, Reference, User, Value};
use crate::provider::{GroupItem, UserItem};

/// Reads entries by the names of one configuration.
#[derive(Clone, Copy, Debug)]
pub struct Mapper<'a> {
    pub config: &'a LdapConfig,
    pub flavour: Flavour,
    /// When the crawl started: accounts expire without being changed.
    pub now: Timestamp,
}

/// Never kept, should a server show them.
const SECRET: [&str; 8] = [
    "userPassword",
    "unicodePwd",
    "sambaNTPassword",
    "sambaLMPassword",
    "krbPrincipalKey",
    "ms-Mcs-AdmPwd",
    "msLAPS-Password",
    "pwdHistory",
];
/// `userAccountControl` bit `ACCOUNTDISABLE`.
const ACCOUNT_DISABLED: i64 = 0x2;
/// `accountExpires` of accounts that never do.
const NEVER: [i64; 2] = [0, i64::MAX];
/// From 1601, where Windows counts from, to 1970.
const EPOCH_GAP_MILLIS: i64 = 11_644_473_600_000;

impl Mapper<'_> {
    /// What to ask of users.
    pub fn user_attributes(&self) -> Vec<String> {
        let names = &self.config.user;
        let mut wanted = BTreeSet::from([
            "objectClass",
            self.user_id(),
            &names.username,
            &names.email,
            &names.display_name,
            &names.given_name,
            &names.family_name,
            &names.title,
            &names.department,
            &names.manager,
            "cn",
        ]);
        wanted.extend(self.config.attributes.iter().map(String::as_str));
        wanted.extend(self.config.keep_raw.then_some("*"));
        wanted.extend(match self.flavour {
            Flavour::Ad => &[
                "userAccountControl",
                "accountExpires",
                "objectSid",
                "primaryGroupID",
                "proxyAddresses",
            ][..],
            _ => &["pwdAccountLockedTime", "nsAccountLock", "gidNumber"][..],
        });
        named(wanted)
    }

    /// What to ask of groups, members included.
    pub fn group_attributes(&self) -> Vec<String> {
        let mut wanted = self.group_head();
        wanted.extend(self.config.group.members.iter().map(String::as_str));
        wanted.insert(&self.config.group.member_names);
        named(wanted)
    }

    /// What to ask of groups, members left out.
    pub fn group_head_attributes(&self) -> Vec<String> {
        named(self.group_head())
    }

    fn group_head(&self) -> BTreeSet<&str> {
        let names = &self.config.group;
        let mut wanted = BTreeSet::from([
            "objectClass",
            self.group_id(),
            &names.name,
            &names.email,
            &names.description,
            "cn",
        ]);
        wanted.extend(self.config.attributes.iter().map(String::as_str));
        wanted.extend(self.config.keep_raw.then_some("*"));
        wanted.insert(if self.flavour == Flavour::Ad { "objectSid" } else { "gidNumber" });
        wanted
    }

    /// The name of the attribute that holds a user's id.
    pub fn user_id(&self) -> &str {
        named_or(&self.config.user.id, self.flavour.id_attribute())
    }

    /// The name of the attribute that holds a group's id.
    pub fn group_id(&self) -> &str {
        named_or(&self.config.group.id, self.flavour.id_attribute())
    }

    /// The id in `attribute`, or `None` when the entry has none or hides it.
    pub fn id(&self, entry: &Entry, attribute: &str) -> Option<String> {
        let value = entry.values(attribute).first().filter(|value| !value.is_empty())?;
        if attribute.eq_ignore_ascii_case("objectGUID") {
            return ids::guid(value);
        }
        let text = super::entry::text(value.clone());
        let is_uuid = attribute.eq_ignore_ascii_case("entryUUID");
        Some(if is_uuid { text.to_lowercase() } else { text })
    }

    /// The user that `entry` is; `None` when it has no id.
    pub fn user(&self, entry: &Entry) -> Option<UserItem> {
        let names = &self.config.user;
        let id = self.id(entry, self.user_id())?;
        let sid = entry.values("objectSid").first().and_then(|bytes| ids::sid(bytes));
        let username = self.username(entry);
        let (active, status) = self.state(entry);
        let mut aliases = vec![dn::normalise(plain(&entry.dn))];
        if !self.config.group.member_names.is_empty() {
            aliases.push(user_alias(&username));
        }
        let primary = if self.config.primary_group {
            self.primary_group(entry, sid.as_deref())
        } else {
            None
        };
        Some(UserItem {
            user: User {
                id,
                username,
                emails: self.emails(entry),
                display_name: entry.text(&names.display_name),
                given_name: entry.text(&names.given_name),
                family_name: entry.text(&names.family_name),
                active,
                status,
                title: entry.text(&names.title),
                department: entry.text(&names.department),
                manager: entry.text(&names.manager).map(|value| self.named_person(&value)),
                attributes: self.extra(entry),
                raw: self.raw(entry),
            },
            aliases,
            groups: primary.map(Reference::Alias).into_iter().collect(),
        })
    }

    /// The group that `entry` is; `None` when it has no id.
    pub fn group(&self, entry: &Entry) -> Option<GroupItem> {
        let names = &self.config.group;
        let mut aliases = vec![dn::normalise(plain(&entry.dn))];
        let sid = entry.values("objectSid").first().and_then(|bytes| ids::sid(bytes));
        aliases.extend(sid.map(|sid| format!("sid:{sid}")));
        aliases.extend(entry.number("gidNumber").map(|number| format!("gid:{number}")));
        let name = entry.text(&names.name).or_else(|| entry.text("cn"));
        Some(GroupItem {
            group: Group {
                id: self.id(entry, self.group_id())?,
                name: name.unwrap_or_else(|| plain(&entry.dn).to_owned()),
                email: entry.text(&names.email),
                description: entry.text(&names.description),
                attributes: self.extra(entry),
                raw: self.raw(entry),
            },
            aliases,
        })
    }

    /// Whom the group's own lists name, apart from ranges still to be read.
    pub fn members(&self, entry: &Entry) -> Vec<Reference> {
        let names = &self.config.group;
        let mut members: Vec<Reference> = names
            .members
            .iter()
            .flat_map(|name| entry.values(name))
            .map(|value| self.member(value))
            .collect();
        members.extend(
            entry.texts(&names.member_names).iter().map(|name| Reference::Alias(user_alias(name))),
        );
        members
    }

    /// Whom one value of a member attribute means: by id where the server
    /// tells it (extended names of AD), else by name.
    pub fn member(&self, value: &[u8]) -> Reference {
        let text = super::entry::text(value.to_vec());
        let by_guid =
            self.flavour == Flavour::Ad && self.user_id().eq_ignore_ascii_case("objectGUID");
        match extended_guid(&text) {
            Some(guid) if by_guid => Reference::Id(guid),
            _ => Reference::Alias(dn::normalise(without_uid(plain(&text)))),
        }
    }

    fn username(&self, entry: &Entry) -> String {
        let attribute = &self.config.user.username;
        let values = entry.texts(attribute);
        // Of several, the one in the entry's own name is the name.
        let own =
            if values.len() > 1 { dn::first_value(plain(&entry.dn), attribute) } else { None };
        own.filter(|own| values.contains(own))
            .or_else(|| values.into_iter().min())
            .or_else(|| entry.text("cn"))
            .unwrap_or_else(|| plain(&entry.dn).to_owned())
    }

    fn emails(&self, entry: &Entry) -> Vec<String> {
        let mut emails = entry.texts(&self.config.user.email);
        let mut proxies: Vec<(bool, String)> = entry
            .texts("proxyAddresses")
            .iter()
            .filter_map(|proxy| {
                let (kind, address) = proxy.split_once(':')?;
                // `SMTP:` in capitals is the primary one.
                kind.eq_ignore_ascii_case("smtp").then(|| (kind != "SMTP", address.to_owned()))
            })
            .collect();
        proxies.sort();
        emails.extend(proxies.into_iter().map(|(_, address)| address));
        let mut seen = BTreeSet::new();
        emails.retain(|email| !email.is_empty() && seen.insert(email.to_lowercase()));
        emails
    }

    /// Whether the account may sign in, and the server's own words for it.
    fn state(&self, entry: &Entry) -> (bool, Option<String>) {
        if entry.is_of_class("foreignSecurityPrincipal") {
            return (true, Some("foreignSecurityPrincipal".to_owned()));
        }
        if entry.number("userAccountControl").is_some_and(|bits| bits & ACCOUNT_DISABLED != 0) {
            return (false, Some("ACCOUNTDISABLE".to_owned()));
        }
        let expires = entry.number("accountExpires").filter(|moment| !NEVER.contains(moment));
        if expires.is_some_and(|moment| self.is_past(moment)) {
            return (false, Some("accountExpires".to_owned()));
        }
        if let Some(moment) = entry.text("pwdAccountLockedTime") {
            return (false, Some(format!("pwdAccountLockedTime {moment}")));
        }
        if entry.is_true("nsAccountLock") {
            return (false, Some("nsAccountLock".to_owned()));
        }
        (true, None)
    }

    /// `moment` counts tenths of microseconds from 1601.
    fn is_past(&self, moment: i64) -> bool {
        let millis = moment / 10_000 - EPOCH_GAP_MILLIS;
        u64::try_from(millis).map_or(true, |millis| millis <= self.now.0)
    }

    /// The group that the user's own record names.
    fn primary_group(&self, entry: &Entry, sid: Option<&str>) -> Option<String> {
        if self.flavour == Flavour::Ad {
            let group = ids::sibling_sid(sid?, entry.number("primaryGroupID")?)?;
            return Some(format!("sid:{group}"));
        }
        entry.number("gidNumber").map(|number| format!("gid:{number}"))
    }

    fn named_person(&self, value: &str) -> String {
        match self.member(value.as_bytes()) {
            Reference::Id(id) => id,
            _ => plain(value).to_owned(),
        }
    }

    /// The entry as JSON, without members (which have their own place) and
    /// without what is secret.
    fn raw(&self, entry: &Entry) -> Option<String> {
        if !self.config.keep_raw {
            return None;
        }
        let group = &self.config.group;
        let left_out = |name: &str| {
            let bare = name.split(';').next().unwrap_or_default();
            let is = |other: &&str| other.eq_ignore_ascii_case(bare);
            SECRET.iter().any(is) || group.members.iter().any(|member| is(&member.as_str()))
        };
        let shown = entry.attributes.iter().filter(|(name, _)| !left_out(name));
        let attributes: serde_json::Map<String, serde_json::Value> = shown
            .map(|(name, values)| {
                let values = values.iter().map(|value| readable_text(name, value).into());
                (name.clone(), serde_json::Value::Array(values.collect()))
            })
            .collect();
        Some(serde_json::json!({ "dn": plain(&entry.dn), "attributes": attributes }).to_string())
    }

    fn extra(&self, entry: &Entry) -> Attributes {
        let mut attributes = Attributes::new();
        for name in &self.config.attributes {
            let mut values: Vec<Value> =
                entry.values(name).iter().map(|value| readable(name, value)).collect();
            match values.len() {
                0 => {}
                1 => attributes.extend(values.pop().map(|value| (name.clone(), value))),
                _ => attributes.extend([(name.clone(), Value::List(values))]),
            }
        }
        attributes
    }
}

/// How an extended attribute's value is shown: as text, a SID or GUID by its
/// text form, other bytes as base64.
fn readable(name: &str, value: &[u8]) -> Value {
    Value::Text(readable_text(name, value))
}

fn readable_text(name: &str, value: &[u8]) -> String {
    let special = match name {
        name if name.eq_ignore_ascii_case("objectSid") => ids::sid(value),
        name if name.eq_ignore_ascii_case("objectGUID") => ids::guid(value),
        _ => None,
    };
    let text = special.or_else(|| String::from_utf8(value.to_vec()).ok());
    text.unwrap_or_else(|| base64::engine::general_purpose::STANDARD.encode(value))
}

/// How group lists that name users by name refer to one.
fn user_alias(username: &str) -> String {
    format!("uid:{}", username.to_lowercase())
}

fn named(wanted: BTreeSet<&str>) -> Vec<String> {
    wanted.into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn named_or<'a>(name: &'a str, default: &'a str) -> &'a str {
    if name.is_empty() { default } else { name }
}

/// The name itself of an extended name `<GUID=…>;<SID=…>;CN=…` (MS-ADTS
/// section 3.1.1.3.4.1.5).
pub fn plain(text: &str) -> &str {
    let mut rest = text;
    while rest.starts_with('<') {
        match rest.split_once(">;") {
            Some((_, after)) => rest = after,
            None => return rest,
        }
    }
    rest
}

/// The id in an extended name.
pub fn extended_guid(text: &str) -> Option<String> {
    let (guid, _) = text.strip_prefix("<GUID=")?.split_once('>')?;
    Some(guid.to_lowercase())
}

/// A name without the optional unique id of `uniqueMember`, `…#'0101'B`
/// (RFC 4517 section 3.3.21).
fn without_uid(text: &str) -> &str {
    match text.rsplit_once('#') {
        Some((name, bits)) if bits.starts_with('\'') && bits.ends_with("'B") => name,
        _ => text,
    }
}
