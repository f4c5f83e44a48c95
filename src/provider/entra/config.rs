//! The settings of one `provider.entra` block.

use std::path::PathBuf;

use url::{Host, Url};

use super::objects::{GroupKind, Kind};
use crate::config::{self, Section, section};
use crate::provider::http::jwt::SigningKey;
use crate::provider::http::{HttpConfig, jwt, url_or};
use crate::secret::Secret;

const AUTHORITY: &str = "https://login.microsoftonline.com";
const GRAPH: &str = "https://graph.microsoft.com";
/// The instance metadata service of Azure's machines.
const IMDS: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

/// Which tenant to read, as whom, and what of it.
#[derive(Clone, Debug, PartialEq)]
pub struct EntraConfig {
    /// A GUID or a domain; a managed identity needs none.
    pub(super) tenant_id: String,
    pub(super) proof: Proof,
    pub(super) authority: Url,
    pub(super) graph: Url,
    pub(super) http: HttpConfig,
    pub(super) incremental: bool,
    pub(super) wanted: Wanted,
}

/// What of the directory is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub guests: bool,
    pub service_principals: bool,
    pub devices: bool,
    pub security_enabled_only: bool,
    /// Empty: all.
    pub group_kinds: Vec<GroupKind>,
    /// More names for `$select`, of users and of groups.
    pub attributes: Vec<String>,
    pub group_attributes: Vec<String>,
    pub keep_raw: bool,
}

/// How it is proved who asks.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Proof {
    Secret {
        client_id: String,
        secret: Secret,
    },
    /// PEM texts; the key may stand in the first one.
    Certificate {
        client_id: String,
        certificate: Secret,
        key: Secret,
    },
    /// A token of another issuer (workload identity), read at every grant.
    Federated {
        client_id: String,
        file: PathBuf,
    },
    Managed(Managed),
}

/// An identity that the platform vouches for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Managed {
    pub endpoint: Url,
    /// App Service's, which makes its dialect differ from that of machines.
    pub header: Option<Secret>,
    /// Of a user-assigned identity.
    pub client_id: Option<String>,
}

impl EntraConfig {
    /// Reads the block; `None` when it noted a mistake.
    pub fn read(section: &mut Section<'_>) -> Option<EntraConfig> {
        let http = HttpConfig::read(section);
        let authority = url_or(section, "authority", AUTHORITY);
        let graph = url_or(section, "graph", GRAPH);
        let incremental = match section.has("incremental") {
            true => section.one_of("incremental", &[("auto", true), ("off", false)]),
            false => Some(true),
        };
        let wanted = Wanted::read(section);
        let proof = Proof::read(section);
        let tenant = section.text("tenant_id").filter(|tenant| !tenant.trim().is_empty());
        let is_managed = matches!(proof, Some(Proof::Managed(_)));
        if tenant.is_none() && !is_managed {
            let hint = "the Directory (tenant) ID on the overview of Microsoft Entra ID";
            section.missing("tenant_id", Some(hint.to_owned()));
            return None;
        }
        let tenant_id = tenant.unwrap_or_default();
        if !tenant_id.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)) {
            let hint = "it is a GUID, or a domain like contoso.onmicrosoft.com";
            section.error("tenant_id", "`tenant_id` names no tenant", Some(hint.to_owned()));
            return None;
        }
        Some(EntraConfig {
            tenant_id,
            proof: proof?,
            authority: authority?,
            graph: graph?,
            http: http?,
            incremental: incremental?,
            wanted: wanted?,
        })
    }

    /// `POST` there for a token.
    pub(super) fn token_url(&self) -> Url {
        let path = format!("{}/oauth2/v2.0/token", self.tenant_id);
        under(&self.authority, &path)
    }

    /// The permission that stands for all that were granted.
    pub(super) fn scope(&self) -> String {
        format!("{}/.default", self.resource())
    }

    /// What a token is for: Graph's address without a slash at its end.
    pub(super) fn resource(&self) -> String {
        self.graph.as_str().trim_end_matches('/').to_owned()
    }

    /// Other objects than users that may be members like users.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        let mut kinds = vec![Kind::Users];
        kinds.extend(self.wanted.service_principals.then_some(Kind::ServicePrincipals));
        kinds.extend(self.wanted.devices.then_some(Kind::Devices));
        kinds
    }
}

/// The address `path` below `base`, whether or not `base` ends with a slash.
pub(super) fn under(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

impl Wanted {
    fn read(section: &mut Section<'_>) -> Option<Wanted> {
        let flag = |section: &mut Section<'_>, key, default| match section.has(key) {
            true => section.boolean(key),
            false => Some(default),
        };
        let guests = flag(section, "guests", true);
        let service_principals = flag(section, "service_principals", false);
        let devices = flag(section, "devices", false);
        let security_enabled_only = flag(section, "security_enabled_only", false);
        let has_kinds = section.has("group_types");
        let group_kinds = read_group_kinds(section);
        let attributes = read_names(section, "attributes");
        let group_attributes = read_names(section, "group_attributes");
        let keep_raw = section.boolean("keep_raw").unwrap_or(false);
        if has_kinds && group_kinds.is_none() {
            return None;
        }
        Some(Wanted {
            guests: guests?,
            service_principals: service_principals?,
            devices: devices?,
            security_enabled_only: security_enabled_only?,
            group_kinds: group_kinds.unwrap_or_default(),
            attributes: attributes?,
            group_attributes: group_attributes?,
            keep_raw,
        })
    }
}

fn read_group_kinds(section: &mut Section<'_>) -> Option<Vec<GroupKind>> {
    let words = section.texts("group_types")?;
    let mut kinds = Vec::new();
    for word in &words {
        let Some((_, kind)) = GroupKind::WORDS.iter().find(|(known, _)| known == word) else {
            let known: Vec<&str> = GroupKind::WORDS.iter().map(|(word, _)| *word).collect();
            let message = format!("`group_types` cannot hold \"{}\"", word.escape_debug());
            section.error("group_types", message, Some(format!("known are {}", known.join(", "))));
            return None;
        };
        kinds.push(*kind);
    }
    Some(kinds)
}

/// Names of properties: they go into `$select`.
fn read_names(section: &mut Section<'_>, key: &str) -> Option<Vec<String>> {
    if !section.has(key) {
        return Some(Vec::new());
    }
    let names = section.texts(key)?;
    let is_name = |name: &String| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if let Some(name) = names.iter().find(|name| !is_name(name)) {
        let message = format!("\"{}\" is no name of a property", name.escape_debug());
        section.error(key, message, Some("for example \"employeeId\"".to_owned()));
        return None;
    }
    Some(names)
}

impl Proof {
    fn read(section: &mut Section<'_>) -> Option<Proof> {
        let client_id = section.text("client_id").filter(|id| !id.trim().is_empty());
        let ways = ["client_secret", "certificate", "federated_token_file", "managed_identity"];
        let given: Vec<&str> = ways.into_iter().filter(|key| section.has(key)).collect();
        let secret = section.secret("client_secret");
        let certificate = section.secret("certificate");
        let has_key = section.has("private_key");
        let key = section.secret("private_key");
        let file = section.path("federated_token_file");
        let managed = section.boolean("managed_identity");
        let identity = Managed::read(section, client_id.clone());
        let [way] = given.as_slice() else {
            let message = match given.as_slice() {
                [] => "nothing says who asks",
                _ => "more than one thing says who asks",
            };
            let hint = "give one of `client_secret`, `certificate`, `federated_token_file` and \
                        `managed_identity`";
            section.error_here(message, Some(hint.to_owned()));
            return None;
        };
        if has_key && *way != "certificate" {
            let hint = "it belongs to `certificate`".to_owned();
            section.error("private_key", "`private_key` is of no use here", Some(hint));
            return None;
        }
        if *way == "managed_identity" {
            if managed? {
                return Some(Proof::Managed(identity?));
            }
            let hint = "leave it out, and give another proof".to_owned();
            section.error("managed_identity", "then nothing says who asks", Some(hint));
            return None;
        }
        let Some(client_id) = client_id else {
            let hint = "the Application (client) ID on the overview of the app registration";
            section.missing("client_id", Some(hint.to_owned()));
            return None;
        };
        match *way {
            "client_secret" => Some(Proof::Secret { client_id, secret: secret? }),
            "federated_token_file" => Some(Proof::Federated { client_id, file: file? }),
            _ => {
                let certificate = certificate?;
                let key = if has_key { key? } else { certificate.clone() };
                check_certificate(section, &certificate, &key)?;
                Some(Proof::Certificate { client_id, certificate, key })
            }
        }
    }

    /// Who asks, for people and fingerprints.
    pub(super) fn client_id(&self) -> &str {
        match self {
            Proof::Secret { client_id, .. }
            | Proof::Certificate { client_id, .. }
            | Proof::Federated { client_id, .. } => client_id,
            Proof::Managed(identity) => identity.client_id.as_deref().unwrap_or_default(),
        }
    }
}

fn check_certificate(section: &mut Section<'_>, certificate: &Secret, key: &Secret) -> Option<()> {
    let hint = || Some("PEM with the certificate, and its RSA key behind it".to_owned());
    if let Err(reason) = jwt::certificate_thumbprint_sha256(certificate.expose()) {
        section.error("certificate", reason, hint());
        return None;
    }
    let at = if section.has("private_key") { "private_key" } else { "certificate" };
    match SigningKey::from_pem(key.expose()) {
        Ok(key) if key.natural() == jwt::Algorithm::Rs256 => Some(()),
        Ok(_) => {
            section.error(at, "Microsoft Entra ID takes RSA keys only", hint());
            None
        }
        Err(reason) => {
            section.error(at, reason, hint());
            None
        }
    }
}

impl Managed {
    fn read(section: &mut Section<'_>, client_id: Option<String>) -> Option<Managed> {
        let header = section.secret("managed_identity_header").or_else(|| {
            let text = config::variable("IDENTITY_HEADER")?.into_string().ok()?;
            Some(Secret::new(text))
        });
        let written = section.text("managed_identity_endpoint");
        let platform = || config::variable("IDENTITY_ENDPOINT")?.into_string().ok();
        // App Service gives both variables; other platforms set neither.
        let (text, header) = match (written, platform()) {
            (Some(text), _) => (text, header),
            (None, Some(text)) => (text, header),
            (None, None) => (IMDS.to_owned(), None),
        };
        match Url::parse(&text).ok().filter(is_near) {
            Some(endpoint) => Some(Managed { endpoint, header, client_id }),
            None => {
                let key = "managed_identity_endpoint";
                let hint = "plain http:// is for loopback and link-local hosts only".to_owned();
                section.error(key, format!("`{key}` is no safe address"), Some(hint));
                None
            }
        }
    }
}

/// Whether tokens may be fetched there: over TLS, or without leaving the machine.
fn is_near(url: &Url) -> bool {
    let link_local = matches!(url.host(), Some(Host::Ipv4(address)) if address.is_link_local());
    url.scheme() == "https" || (url.scheme() == "http" && (link_local || section::is_loopback(url)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "tenant_id = \"contoso.onmicrosoft.com\"\nclient_id = \"app\"\n";

    fn read(text: &str) -> Result<EntraConfig, String> {
        section::read_text(text, EntraConfig::read).map_err(|report| report.to_string())
    }

    #[test]
    fn a_block_has_the_documented_defaults() {
        let config = read(&format!("{BASE}client_secret = {{ env = \"PATH\" }}\n")).unwrap();
        assert_eq!(
            config.token_url().as_str(),
            "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token"
        );
        assert_eq!(config.scope(), "https://graph.microsoft.com/.default");
        assert!(config.incremental && config.wanted.guests);
        assert_eq!(config.kinds(), [Kind::Users]);
    }

    #[test]
    fn every_cloud_is_two_addresses() {
        let config = read(&format!(
            "{BASE}client_secret = {{ env = \"PATH\" }}\n\
             authority = \"https://login.partner.microsoftonline.cn/\"\n\
             graph = \"https://microsoftgraph.chinacloudapi.cn/\"\n"
        ))
        .unwrap();
        assert_eq!(
            config.token_url().as_str(),
            "https://login.partner.microsoftonline.cn/contoso.onmicrosoft.com/oauth2/v2.0/token"
        );
        assert_eq!(config.scope(), "https://microsoftgraph.chinacloudapi.cn/.default");
    }

    #[test]
    fn a_managed_identity_needs_no_names() {
        let config = read("managed_identity = true\n").unwrap();
        let Proof::Managed(identity) = config.proof else { panic!("{:?}", config.proof) };
        assert_eq!(
            identity,
            Managed { endpoint: IMDS.parse().unwrap(), header: None, client_id: None }
        );
    }

    #[test]
    fn mistakes_are_told() {
        let secret = "client_secret = { env = \"PATH\" }\n";
        for (text, part) in [
            (BASE.to_owned(), "nothing says who asks"),
            (format!("{BASE}{secret}managed_identity = true\n"), "more than one"),
            (format!("tenant_id = \"t\"\n{secret}"), "Application (client) ID"),
            (format!("client_id = \"c\"\n{secret}"), "Directory (tenant) ID"),
            (format!("tenant_id = \"a/b\"\nclient_id = \"c\"\n{secret}"), "names no tenant"),
            (format!("{BASE}{secret}group_types = [\"team\"]\n"), "microsoft365"),
            (format!("{BASE}{secret}attributes = [\"a,b\"]\n"), "no name of a property"),
            (format!("{BASE}certificate = {{ env = \"PATH\" }}\n"), "no certificate"),
            (format!("{BASE}managed_identity = false\n"), "nothing says who asks"),
            (
                "managed_identity = true\nmanaged_identity_endpoint = \"http://example.org/\"\n"
                    .to_owned(),
                "no safe address",
            ),
        ] {
            let report = read(&text).unwrap_err();
            assert!(report.contains(part), "{text}: {report}");
        }
    }
}
