//! The settings of one `provider.google` block.

use std::path::PathBuf;

use url::Url;

use super::key::{ServiceKey, Workload};
use crate::config::Section;
use crate::config::section::is_loopback;
use crate::provider::http::{HttpConfig, url_or};

const API: &str = "https://admin.googleapis.com";
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
const IAM: &str = "https://iamcredentials.googleapis.com";
const STS_URL: &str = "https://sts.googleapis.com/v1/token";
const METADATA: &str = "http://metadata.google.internal";

/// Where and how to read a Google Workspace.
#[derive(Clone, Debug, PartialEq)]
pub struct GoogleConfig {
    pub(super) http: HttpConfig,
    pub(super) coverage: Coverage,
    /// The administrator on whose behalf everything is read.
    pub(super) impersonate: String,
    pub(super) access: Access,
    pub(super) api: Url,
    pub(super) token_url: Url,
    pub(super) schemas: Schemas,
    /// More fields to keep of each user and group.
    pub(super) attributes: Vec<String>,
    pub(super) external_members: bool,
    pub(super) incremental: bool,
    pub(super) keep_raw: bool,
}

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Coverage {
    /// All domains of a customer, by id or as `my_customer`.
    Customer(String),
    Domains(Vec<String>),
}

/// How rosterd shows that it is the service account.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Access {
    Key(ServiceKey),
    /// IAM signs for whoever the platform says we are.
    Keyless {
        service_account: String,
        iam: Url,
        platform: Box<Platform>,
    },
}

/// Who says who we are when there is no key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Platform {
    /// The metadata server of Google Cloud.
    Metadata(Url),
    /// Workload identity federation: a token of another platform, exchanged.
    Workload { workload: Workload, sts: Url, token_file: PathBuf },
}

/// Which custom schemas are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Schemas {
    All,
    Named(Vec<String>),
    None,
}

impl GoogleConfig {
    /// Reads the block; `None` when it noted a mistake.
    pub fn read(section: &mut Section<'_>) -> Option<GoogleConfig> {
        let http = HttpConfig::read(section);
        let coverage = read_coverage(section);
        let impersonate = read_impersonate(section);
        let access = read_access(section);
        let api = url_or(section, "api", API);
        let token_url = url_or(section, "token_url", TOKEN_URL);
        let schemas = match section.has("custom_schemas") {
            true => section.texts("custom_schemas").map(Schemas::of),
            false => Some(Schemas::All),
        };
        let attributes = section.texts("attributes").unwrap_or_default();
        let external_members = section.boolean("external_members").unwrap_or(true);
        let words = [("auto", true), ("off", false)];
        let incremental = section.one_of("incremental", &words).unwrap_or(true);
        let keep_raw = section.boolean("keep_raw").unwrap_or(false);
        Some(GoogleConfig {
            http: http?,
            coverage: coverage?,
            impersonate: impersonate?,
            access: access?,
            api: api?,
            token_url: token_url?,
            schemas: schemas?,
            attributes,
            external_members,
            incremental,
            keep_raw,
        })
    }

    /// Whether users and groups with this address are to be read.
    pub(super) fn covers(&self, email: &str) -> bool {
        match &self.coverage {
            Coverage::Customer(_) => true,
            Coverage::Domains(domains) => {
                let domain = email.rsplit_once('@').map(|(_, domain)| domain.to_lowercase());
                domain.is_some_and(|domain| domains.contains(&domain))
            }
        }
    }

    /// Bytes that tell this credential from others, without a secret.
    pub(super) fn identity(&self) -> String {
        let account = match &self.access {
            Access::Key(key) => &key.client_email,
            Access::Keyless { service_account, .. } => service_account,
        };
        format!("{account} as {}", self.impersonate)
    }
}

impl Schemas {
    fn of(names: Vec<String>) -> Schemas {
        match names.as_slice() {
            [] => Schemas::None,
            names if names.iter().any(|name| name == "*") => Schemas::All,
            _ => Schemas::Named(names),
        }
    }
}

fn read_coverage(section: &mut Section<'_>) -> Option<Coverage> {
    let customer = section.has("customer").then(|| section.required_text("customer"));
    let domains = section.has("domains").then(|| section.texts("domains"));
    match (customer, domains) {
        (None, None) => Some(Coverage::Customer("my_customer".to_owned())),
        (Some(customer), None) => customer.map(Coverage::Customer),
        (Some(_), Some(_)) => {
            let hint = "`customer` reads all its domains, `domains` only those named";
            section.error("domains", "give `customer` or `domains`", Some(hint.to_owned()));
            None
        }
        (None, Some(domains)) => {
            let mut domains: Vec<String> =
                domains?.iter().map(|domain| domain.to_lowercase()).collect();
            domains.sort();
            domains.dedup();
            if domains.is_empty() {
                let hint = "leave it out to read all domains of the customer";
                section.error("domains", "`domains` is empty", Some(hint.to_owned()));
                return None;
            }
            Some(Coverage::Domains(domains))
        }
    }
}

fn read_impersonate(section: &mut Section<'_>) -> Option<String> {
    let address = section.required_text("impersonate")?;
    if !address.contains('@') {
        let hint =
            "name an administrator who may read users and groups, like \"admin@example.org\"";
        section.error("impersonate", "`impersonate` is not an e-mail address", Some(hint.into()));
        return None;
    }
    Some(address)
}

fn read_access(section: &mut Section<'_>) -> Option<Access> {
    let has_key = section.has("key");
    let key = section.secret("key");
    let has_workload = section.has("credential_configuration");
    let workload = section.secret("credential_configuration");
    let token_file = section.path("subject_token_file");
    let service_account = section.text("service_account");
    let iam = url_or(section, "iam", IAM);
    let sts = section.has("sts_url").then(|| section.url("sts_url"));
    let metadata = url_or(section, "metadata", METADATA);
    if has_key {
        if service_account.is_some() || has_workload {
            let hint = "`key` names its service account itself; the others are for doing without";
            let message = "give either `key`, or `service_account` and what goes with it";
            section.error_at_key("key", message, Some(hint.to_owned()));
            return None;
        }
        let read = ServiceKey::read(&key?);
        return read.map_err(|reason| wrong_key(section, reason)).ok().map(Access::Key);
    }
    let Some(service_account) = service_account else {
        let hint = "write key = { file = \"…\" }, or `service_account` to do without a key file";
        section.missing("key", Some(hint.to_owned()));
        return None;
    };
    let platform = Box::new(if has_workload {
        let read = Workload::read(&workload?);
        let workload = read.map_err(|reason| wrong_workload(section, reason)).ok()?;
        let token_file = token_file.or_else(|| workload.file.clone());
        let Some(token_file) = token_file else {
            let hint = "only `credential_source.file` is supported, or `subject_token_file` here";
            let message = "it names no file with the subject token";
            section.error("credential_configuration", message, Some(hint.to_owned()));
            return None;
        };
        let sts = match sts {
            Some(sts) => sts?,
            None => read_sts(section, workload.token_url.as_deref())?,
        };
        Platform::Workload { workload, sts, token_file }
    } else {
        Platform::Metadata(metadata?)
    });
    Some(Access::Keyless { service_account, iam: iam?, platform })
}

/// Where the platform's token is exchanged, by the configuration.
fn read_sts(section: &mut Section<'_>, text: Option<&str>) -> Option<Url> {
    let reason = match Url::parse(text.unwrap_or(STS_URL)) {
        Ok(url) if url.scheme() == "https" || is_loopback(&url) => return Some(url),
        Ok(_) => "its `token_url` must use https:// unless it is a loopback host".to_owned(),
        Err(error) => format!("its `token_url` is not an address: {error}"),
    };
    wrong_workload(section, reason);
    None
}

fn wrong_key(section: &mut Section<'_>, reason: String) {
    let hint =
        "it is the JSON file of the service account's key (IAM & Admin > Service Accounts > Keys)";
    section.error("key", format!("`key` cannot be used: {reason}"), Some(hint.to_owned()));
}

fn wrong_workload(section: &mut Section<'_>, reason: String) {
    let message = format!("`credential_configuration` cannot be used: {reason}");
    let hint = "download it with `gcloud iam workload-identity-pools create-cred-config`";
    section.error("credential_configuration", message, Some(hint.to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<GoogleConfig, String> {
        crate::config::section::read_text(text, GoogleConfig::read)
            .map_err(|report| report.to_string())
    }

    #[test]
    fn a_block_without_a_key_is_read_with_its_defaults() {
        let config = read(
            "impersonate = \"admin@example.org\"\nservice_account = \"sa@p.iam.gserviceaccount.com\"",
        )
        .unwrap();
        assert_eq!(config.coverage, Coverage::Customer("my_customer".into()));
        assert_eq!(config.schemas, Schemas::All);
        assert_eq!(
            (config.api.as_str(), config.incremental),
            ("https://admin.googleapis.com/", true)
        );
        let Access::Keyless { platform, .. } = config.access else { panic!("it has a key") };
        let Platform::Metadata(url) = *platform else { panic!("{platform:?}") };
        assert_eq!(url.as_str(), "http://metadata.google.internal/");
    }

    #[test]
    fn mistakes_are_told_at_once() {
        let account = "service_account = \"a@b\"\n";
        for (text, parts) in [
            ("", &["`impersonate` is missing", "`key` is missing"][..]),
            ("impersonate = \"admin\"\nservice_account = \"a@b\"", &["not an e-mail"]),
            ("impersonate = \"a@b\"\nkey = { env = \"PATH\" }", &["`key` cannot be used"]),
            ("impersonate = \"a@b\"\ncustomer = \"C1\"\ndomains = [\"x\"]", &["give `customer`"]),
            ("impersonate = \"a@b\"\ndomains = []", &["`domains` is empty"]),
            ("impersonate = \"a@b\"\napi = \"http://x\"", &["loopback"]),
        ] {
            let text = if text.contains("key") || text.is_empty() {
                text.to_owned()
            } else {
                format!("{account}{}", text.replace(account.trim(), ""))
            };
            let report = read(&text).unwrap_err();
            for part in parts {
                assert!(report.contains(part), "{part} in {report}");
            }
        }
    }

    #[test]
    fn the_subject_token_is_sent_nowhere_unprotected() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("workload.json");
        let told = |token_url: &str| {
            let workload = serde_json::json!({
                "type": "external_account",
                "audience": "//iam.googleapis.com/pool",
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                "token_url": token_url,
                "credential_source": { "file": "/token" },
            });
            std::fs::write(&file, workload.to_string()).unwrap();
            read(&format!(
                "impersonate = \"a@b\"\nservice_account = \"s@p\"\n\
                 credential_configuration = {{ file = {file:?} }}"
            ))
        };
        told("https://sts.googleapis.com/v1/token").unwrap();
        told("http://127.0.0.1:1/token").unwrap();
        let report = told("http://sts.example.org/token").unwrap_err();
        assert!(report.contains("`token_url` must use https://"), "{report}");
        let report = told("sts").unwrap_err();
        assert!(report.contains("`token_url` is not an address"), "{report}");
    }

    #[test]
    fn domains_are_one_set_whatever_their_order() {
        let config = read(
            "impersonate = \"a@b\"\nservice_account = \"s@p\"\ndomains = [\"B.org\", \"a.org\", \"b.org\"]",
        )
        .unwrap();
        assert_eq!(config.coverage, Coverage::Domains(vec!["a.org".into(), "b.org".into()]));
    }
}
