//! Feeds what reads a server's bytes.

use std::sync::OnceLock;

use ldap3::asn1::{PL, StructureTag, parse_tag};

use super::config::LdapConfig;
use super::entry::Entry;
use super::map::Mapper;
use super::root::Flavour;
use super::{dn, guard, ids, ranges::Range, syncrepl};
use crate::clock::Timestamp;
use crate::fuzzing::settings;

/// Messages one after the other, as they come from the network; and names.
pub fn feed(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(Some(length)) = guard::first_message(rest) {
        let (message, after) = rest.split_at(length);
        message_of(message);
        rest = after;
    }
    names(&String::from_utf8_lossy(bytes));
    let _ =
        (ids::uuid(bytes), ids::guid(bytes), ids::sid(bytes), syncrepl::read_state(bytes).is_ok());
}

/// What passes the guard must not harm the parser behind it.
fn message_of(message: &[u8]) {
    let Ok((_, StructureTag { payload: PL::C(parts), .. })) = parse_tag(message) else { return };
    parts.into_iter().for_each(entry);
}

fn entry(tag: StructureTag) {
    let Ok(entry) = Entry::read(tag) else { return };
    static CONFIGS: OnceLock<Vec<LdapConfig>> = OnceLock::new();
    let read =
        || CONFIGURATIONS.iter().filter_map(|text| settings(text, LdapConfig::read)).collect();
    for config in CONFIGS.get_or_init(read) {
        for flavour in [Flavour::OpenLdap, Flavour::Ad] {
            let mapper = Mapper { config, flavour, now: Timestamp(0) };
            let _ = (mapper.user(&entry), mapper.group(&entry), mapper.members(&entry));
        }
    }
    for (name, _) in &entry.attributes {
        let _ = Range::read(name);
    }
}

const CONFIGURATIONS: [&str; 3] = [
    "url = \"ldap://127.0.0.1\"\nbase = \"dc=example\"\nstarttls = false\nkeep_raw = true",
    "url = \"ldap://127.0.0.1\"\nbase = \"dc=example\"\nstarttls = false\nschema = \"rfc2307\"",
    "url = \"ldap://127.0.0.1\"\nbase = \"dc=example\"\nstarttls = false\nschema = \"ad\"",
];

/// Normalising twice is normalising once, or names that are equal would differ.
fn names(text: &str) {
    let normal = dn::normalise(text);
    assert_eq!(dn::normalise(&normal), normal, "{text:?}");
    let _ = (dn::first_value(text, "cn"), dn::is_within(text, "dc=example"));
}
