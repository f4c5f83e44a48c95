//! What the server says about itself in its root entry (RFC 4512 section 5.1).

use super::entry::Entry;
use super::session::Session;
use crate::provider::PullError;

/// The kinds of servers that differ in what matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    Ad,
    OpenLdap,
    /// 389 Directory Server.
    Ds389,
    Other,
}

impl Flavour {
    /// The attribute that holds the immutable id.
    pub fn id_attribute(self) -> &'static str {
        match self {
            Flavour::Ad => "objectGUID",
            Flavour::Ds389 => "nsUniqueId",
            Flavour::OpenLdap | Flavour::Other => "entryUUID",
        }
    }

    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Flavour::Ad => "Active Directory",
            Flavour::OpenLdap => "OpenLDAP",
            Flavour::Ds389 => "389 Directory Server",
            Flavour::Other => "an LDAP server",
        }
    }
}

/// The root entry.
#[derive(Clone, Debug)]
pub struct Root {
    pub flavour: Flavour,
    entry: Entry,
}

/// `supportedCapabilities` of Active Directory (MS-ADTS section 3.1.1.3.4.3).
const ACTIVE_DIRECTORY: &str = "1.2.840.113556.1.4.800";

const WANTED: [&str; 10] = [
    "objectClass",
    "vendorName",
    "supportedControl",
    "supportedCapabilities",
    "namingContexts",
    "defaultNamingContext",
    "dsServiceName",
    "dnsHostName",
    "highestCommittedUSN",
    "contextCSN",
];

impl Root {
    /// Reads it. A server that hides it is taken for an ordinary one.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn read(session: &mut Session) -> Result<Root, PullError> {
        let wanted = WANTED.map(str::to_owned);
        let entry = session.entry("rootdse", "", &wanted, Vec::new()).await?.unwrap_or_default();
        let flavour = if entry.texts("supportedCapabilities").iter().any(|c| c == ACTIVE_DIRECTORY)
        {
            Flavour::Ad
        } else if entry.is_of_class("OpenLDAProotDSE") {
            Flavour::OpenLdap
        } else if entry.text("vendorName").is_some_and(|name| name.contains("389")) {
            Flavour::Ds389
        } else {
            Flavour::Other
        };
        Ok(Root { flavour, entry })
    }

    /// Whether a control is announced.
    pub fn supports(&self, control: &str) -> bool {
        self.entry.texts("supportedControl").iter().any(|announced| announced == control)
    }

    /// Whether any control is announced at all: a hidden list says nothing.
    pub fn tells_controls(&self) -> bool {
        !self.entry.values("supportedControl").is_empty()
    }

    /// AD: the last change that this server has finished.
    pub fn highest_usn(&self) -> Option<u64> {
        self.entry.text("highestCommittedUSN")?.trim().parse().ok()
    }

    /// AD: the name of the server's own settings, which is its identity.
    pub fn service(&self) -> Option<String> {
        self.entry.text("dsServiceName")
    }

    /// The naming context that holds `base`; the longest of several.
    pub fn context_of(&self, base: &str) -> Option<String> {
        let base = super::dn::normalise(base);
        self.entry
            .texts("namingContexts")
            .into_iter()
            .filter(|context| super::dn::is_within(&base, &super::dn::normalise(context)))
            .max_by_key(String::len)
    }
}
