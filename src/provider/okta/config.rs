//! The settings of one `provider.okta` block.

use url::Url;

use crate::clock::Duration;
use crate::config::Section;
use crate::provider::http::HttpConfig;
use crate::provider::http::jwt::SigningKey;
use crate::secret::Secret;

/// Who may sign in, when the operator does not say: `LOCKED_OUT` passes by
/// itself or by an unlock, and `PASSWORD_EXPIRED` and `RECOVERY` end with a new
/// password. `STAGED` and `PROVISIONED` never signed in yet, `SUSPENDED` and
/// `DEPROVISIONED` may not; nor may any status unknown today.
pub const ACTIVE_STATUSES: [&str; 4] = ["ACTIVE", "PASSWORD_EXPIRED", "LOCKED_OUT", "RECOVERY"];

/// What a service app asks for.
pub const SCOPES: [&str; 3] = ["okta.users.read", "okta.groups.read", LOGS_SCOPE];

/// The scope that the System Log takes, which can be done without.
pub const LOGS_SCOPE: &str = "okta.logs.read";

/// Where and how to read an Okta org.
#[derive(Clone, Debug, PartialEq)]
pub struct OktaConfig {
    pub(super) http: HttpConfig,
    /// Scheme, host and port of the org.
    pub(super) url: Url,
    pub(super) login: Login,
    /// Users in one of these may sign in.
    pub(super) active_statuses: Vec<String>,
    /// Groups of these types are read; `None`: all.
    pub(super) group_types: Option<Vec<String>>,
    /// Profile attributes to keep beside those with a field of their own;
    /// `None`: all.
    pub(super) attributes: Option<Vec<String>>,
    pub(super) incremental: Incremental,
    /// How far behind the last crawl changes are asked for.
    pub(super) overlap: Duration,
    pub(super) keep_raw: bool,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Login {
    /// An API token (`SSWS`).
    Token(Secret),
    /// An OAuth service app.
    App(App),
}

/// An OAuth service app with a registered public key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct App {
    pub client_id: String,
    /// PEM, known to be good.
    pub private_key: Secret,
    /// The `kid` that Okta shows with the public key.
    pub key_id: Option<String>,
    pub scopes: Vec<String>,
    pub dpop: Dpop,
}

/// Whether requests carry a proof of possession (RFC 9449).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Dpop {
    /// As soon as Okta asks for it.
    #[default]
    Auto,
    Always,
    Never,
}

/// How changes are read between full crawls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Incremental {
    /// By the System Log where it may be read, and filters.
    #[default]
    Auto,
    /// By filters only.
    Filters,
    /// Every crawl is full.
    Off,
}

const INCREMENTAL: [(&str, Incremental); 3] =
    [("auto", Incremental::Auto), ("filters", Incremental::Filters), ("off", Incremental::Off)];

const GROUP_TYPES: [&str; 3] = ["OKTA_GROUP", "APP_GROUP", "BUILT_IN"];
const OVERLAP: Duration = Duration::from_mins(10);

impl OktaConfig {
    /// Reads the block; `None` when it noted a mistake.
    pub fn read(section: &mut Section<'_>) -> Option<OktaConfig> {
        let http = HttpConfig::read(section);
        let url = read_url(section);
        let login = read_login(section);
        let active_statuses = section.texts("active_statuses");
        let group_types = read_group_types(section);
        let attributes = section.texts("attributes");
        let incremental = match section.has("incremental") {
            true => section.one_of("incremental", &INCREMENTAL),
            false => Some(Incremental::default()),
        };
        let overlap = match section.has("overlap") {
            true => {
                let range = Duration::from_secs(1)..=Duration::from_hours(24);
                section.duration_within("overlap", range)
            }
            false => Some(OVERLAP),
        };
        let keep_raw = section.boolean("keep_raw").unwrap_or(false);
        Some(OktaConfig {
            http: http?,
            url: url?,
            login: login?,
            active_statuses: active_statuses
                .unwrap_or_else(|| ACTIVE_STATUSES.map(str::to_owned).to_vec()),
            group_types: group_types?,
            attributes,
            incremental: incremental?,
            overlap: overlap?,
            keep_raw,
        })
    }

    /// Whether the type of group is to be read.
    pub(super) fn wants_type(&self, kind: &str) -> bool {
        self.group_types.as_ref().is_none_or(|types| types.iter().any(|wanted| wanted == kind))
    }

    /// What tells this credential from others, for its share of the quota.
    pub(super) fn account(&self) -> &[u8] {
        match &self.login {
            Login::Token(token) => token.expose().as_bytes(),
            Login::App(app) => app.client_id.as_bytes(),
        }
    }
}

fn read_url(section: &mut Section<'_>) -> Option<Url> {
    if !section.has("url") {
        section.missing("url", Some("for example \"https://example.okta.com\"".to_owned()));
        return None;
    }
    let url = section.url("url")?;
    let host = url.host_str().unwrap_or_default();
    let first = host.split('.').next().unwrap_or_default();
    let is_console = first.ends_with("-admin") && host.contains(".okta");
    if is_console {
        let message = "`url` is the Admin Console, which has no API";
        let hint = format!("write \"https://{}\"", host.replacen("-admin.", ".", 1));
        section.error("url", message, Some(hint));
        return None;
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        let hint = format!("write \"{}\"", url.origin().ascii_serialization());
        section.error("url", "`url` says more than where the org is", Some(hint));
        return None;
    }
    Some(url)
}

fn read_login(section: &mut Section<'_>) -> Option<Login> {
    let (has_token, has_app) = (section.has("token"), section.has("client_id"));
    let token = section.secret("token");
    let client_id = section.text("client_id");
    let has_key = section.has("private_key");
    let private_key = section.secret("private_key");
    let key_id = section.text("key_id");
    let scopes = section.texts("scopes");
    let dpop = read_dpop(section);
    match (has_token, has_app) {
        (true, false) if !has_key => token.map(Login::Token),
        (false, true) if has_key => {
            let private_key = checked_key(section, private_key?)?;
            let scopes = scopes.unwrap_or_else(|| SCOPES.map(str::to_owned).to_vec());
            Some(Login::App(App {
                client_id: client_id?,
                private_key,
                key_id,
                scopes,
                dpop: dpop?,
            }))
        }
        (false, true) => {
            let hint = "the PEM file of the app's key: private_key = { file = \"…\" }";
            section.missing("private_key", Some(hint.to_owned()));
            None
        }
        (false, false) => {
            let hint = "an API token, or `client_id` and `private_key` of a service app";
            section.missing("token", Some(hint.to_owned()));
            None
        }
        (true, _) => {
            let message = "`token` and the keys of a service app exclude each other";
            section.error("token", message, Some("remove one of them".to_owned()));
            None
        }
    }
}

fn read_dpop(section: &mut Section<'_>) -> Option<Dpop> {
    if !section.has("dpop") {
        return Some(Dpop::default());
    }
    section.boolean_or("dpop", "auto").map(|dpop| match dpop {
        None => Dpop::Auto,
        Some(true) => Dpop::Always,
        Some(false) => Dpop::Never,
    })
}

fn checked_key(section: &mut Section<'_>, key: Secret) -> Option<Secret> {
    match SigningKey::from_pem(key.expose()) {
        Ok(_) => Some(key),
        Err(reason) => {
            let hint = "Okta shows the private key once, as JSON or PEM; take PEM";
            let message = format!("`private_key` is of no use: {reason}");
            section.error("private_key", message, Some(hint.to_owned()));
            None
        }
    }
}

/// `None`: a mistake. `Some(None)`: all types.
fn read_group_types(section: &mut Section<'_>) -> Option<Option<Vec<String>>> {
    let Some(types) = section.texts("group_types") else {
        return (!section.has("group_types")).then_some(None);
    };
    if let Some(other) = types.iter().find(|kind| !GROUP_TYPES.contains(&kind.as_str())) {
        let message = format!("`group_types` cannot hold \"{}\"", other.escape_debug());
        let hint =
            format!("known are {}", GROUP_TYPES.map(|kind| format!("\"{kind}\"")).join(", "));
        section.error("group_types", message, Some(hint));
        return None;
    }
    Some(Some(types))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::section::read_text;

    fn read(text: &str) -> Result<OktaConfig, String> {
        read_text(text, OktaConfig::read).map_err(|report| report.to_string())
    }

    fn refused(text: &str) -> String {
        read(text).unwrap_err()
    }

    #[test]
    fn a_token_is_enough() {
        let config =
            read("url = \"https://example.okta.com\"\ntoken = { env = \"PATH\" }").unwrap();
        assert_eq!(config.active_statuses, ACTIVE_STATUSES);
        assert!(config.wants_type("APP_GROUP") && config.wants_type("SOMETHING_NEW"));
        assert_eq!(config.incremental, Incremental::Auto);
        assert!(matches!(config.login, Login::Token(_)));
    }

    #[test]
    fn mistakes_are_told_with_their_cure() {
        let token = "token = { env = \"PATH\" }\n";
        let url = "url = \"https://example.okta.com\"\n";
        assert!(refused(token).contains("https://example.okta.com"));
        let console = format!("{token}url = \"https://acme-admin.okta.com\"");
        assert!(refused(&console).contains("https://acme.okta.com"));
        assert!(
            refused(&format!("{token}url = \"https://acme.okta.com/api/v1\"")).contains("more")
        );
        assert!(refused(url).contains("`client_id` and `private_key`"));
        assert!(refused(&format!("{url}client_id = \"0oa\"")).contains("private_key"));
        assert!(refused(&format!("{url}{token}client_id = \"0oa\"")).contains("exclude"));
        let types = format!("{url}{token}group_types = [\"OKTA\"]");
        assert!(refused(&types).contains("OKTA_GROUP"));
        let key = format!("{url}client_id = \"0oa\"\nprivate_key = {{ env = \"PATH\" }}");
        assert!(refused(&key).contains("of no use"));
        assert!(refused(&format!("{url}{token}dpop = \"maybe\"")).contains("dpop"));
    }
}
