//! The settings of one `provider.github` block.

use url::Url;

use crate::config::Section;
use crate::provider::http::{HttpConfig, url_or};
use crate::secret::Secret;

/// Which organizations to read, where, and under which credential.
#[derive(Clone, Debug, PartialEq)]
pub struct GithubConfig {
    pub(super) http: HttpConfig,
    /// The root of the REST API, without a slash at its end.
    pub(super) url: Url,
    /// Logins; at least one, and none twice.
    pub(super) organizations: Vec<String>,
    pub(super) account: Account,
    pub(super) api: Api,
    pub(super) outside_collaborators: Extra,
    pub(super) pending_invitations: Extra,
    pub(super) saml_identities: Extra,
    pub(super) secret_teams: bool,
    pub(super) incremental: Incremental,
    pub(super) keep_raw: bool,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// A personal access token, classic or fine-grained.
    Token(Secret),
    /// A GitHub App, installed in every organization. Its id or client id.
    App { id: String, key: Secret },
}

/// By which of GitHub's interfaces to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Api {
    /// GraphQL, and REST where the server has no GraphQL.
    #[default]
    Auto,
    Graphql,
    Rest,
}

/// Something beside members and teams that not every credential may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Extra {
    /// Read where it is visible.
    #[default]
    Auto,
    /// Being refused is an error.
    On,
    Off,
}

/// How changes are read between full crawls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Incremental {
    /// By the audit log where it is visible.
    #[default]
    Auto,
    AuditLog,
    /// Every crawl is full.
    Off,
}

const API_WORDS: [(&str, Api); 3] =
    [("auto", Api::Auto), ("graphql", Api::Graphql), ("rest", Api::Rest)];
const EXTRA_WORDS: [(&str, Extra); 3] =
    [("auto", Extra::Auto), ("on", Extra::On), ("off", Extra::Off)];
const INCREMENTAL_WORDS: [(&str, Incremental); 3] =
    [("auto", Incremental::Auto), ("audit_log", Incremental::AuditLog), ("off", Incremental::Off)];
const DEFAULT_URL: &str = "https://api.github.com";

impl GithubConfig {
    /// Reads the block; `None` when it noted a mistake.
    pub fn read(section: &mut Section<'_>) -> Option<GithubConfig> {
        let http = HttpConfig::read(section);
        let url = url_or(section, "url", DEFAULT_URL);
        let organizations = read_organizations(section);
        let account = read_account(section);
        let api = section.one_of("api", &API_WORDS);
        let outside_collaborators = section.one_of("outside_collaborators", &EXTRA_WORDS);
        let pending_invitations = section.one_of("pending_invitations", &EXTRA_WORDS);
        let saml_identities = section.one_of("saml_identities", &EXTRA_WORDS);
        let secret_teams = section.boolean("secret_teams");
        let incremental = section.one_of("incremental", &INCREMENTAL_WORDS);
        let keep_raw = section.boolean("keep_raw");
        Some(GithubConfig {
            http: http?,
            url: rest_root(section, url?)?,
            organizations: organizations?,
            account: account?,
            api: api.unwrap_or_default(),
            outside_collaborators: outside_collaborators.unwrap_or_default(),
            pending_invitations: pending_invitations.unwrap_or_default(),
            saml_identities: saml_identities.unwrap_or_default(),
            secret_teams: secret_teams.unwrap_or(true),
            incremental: incremental.unwrap_or_default(),
            keep_raw: keep_raw.unwrap_or(false),
        })
    }

    /// The address of a REST resource; `path` starts with a slash.
    pub(super) fn rest(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        let root = self.url.path().trim_end_matches('/');
        url.set_path(&format!("{root}{path}"));
        url
    }

    /// The address of GraphQL, which on a server of one's own lies beside
    /// `/api/v3` and not below it.
    pub(super) fn graphql(&self) -> Url {
        let mut url = self.url.clone();
        let root = self.url.path().trim_end_matches('/');
        let path = match root.strip_suffix("/v3") {
            Some(above) => format!("{above}/graphql"),
            None => format!("{root}/graphql"),
        };
        url.set_path(&path);
        url
    }

    /// Whether this is GitHub Enterprise Server.
    pub(super) fn is_server(&self) -> bool {
        self.url.path().trim_end_matches('/').ends_with("/api/v3")
    }
}

fn read_organizations(section: &mut Section<'_>) -> Option<Vec<String>> {
    if !section.has("organizations") {
        section.missing("organizations", Some("for example [\"acme\"]".to_owned()));
        return None;
    }
    let names = section.texts("organizations")?;
    let is_login = |name: &String| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    };
    if let Some(wrong) = names.iter().find(|name| !is_login(name)) {
        let message = format!("`{}` is not the name of an organization", wrong.escape_debug());
        let hint = "write the part of its address behind `https://github.com/`".to_owned();
        section.error("organizations", message, Some(hint));
        return None;
    }
    let mut seen: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() != names.len() || names.is_empty() {
        let message = "`organizations` must name at least one, and none twice";
        section.error("organizations", message, None);
        return None;
    }
    Some(names)
}

fn read_account(section: &mut Section<'_>) -> Option<Account> {
    let (has_token, has_app) = (section.has("token"), section.has("app_id"));
    let token = section.secret("token");
    let has_key = section.has("private_key");
    let key = section.secret("private_key");
    let app = match has_app {
        true => read_app_id(section),
        false => None,
    };
    match (has_token, has_app, has_key) {
        (true, false, false) => Some(Account::Token(token?)),
        (false, true, true) => Some(Account::App { id: app?, key: key? }),
        (false, false, false) => {
            let hint = "or `app_id` and `private_key` of a GitHub App".to_owned();
            section.missing("token", Some(hint));
            None
        }
        (false, true, false) => {
            section.missing("private_key", Some("the PEM file of the GitHub App".to_owned()));
            None
        }
        (false, false, true) => {
            section.missing("app_id", Some("that of `private_key`".to_owned()));
            None
        }
        (true, ..) => {
            let message = "`token` and a GitHub App exclude each other";
            section.error("token", message, Some("remove one of them".to_owned()));
            None
        }
    }
}

/// An id like `"12345"`, or a client id like `"Iv23li…"`.
fn read_app_id(section: &mut Section<'_>) -> Option<String> {
    let id = section.text("app_id")?;
    if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '.') {
        let hint = "write it as text, for example \"12345\"".to_owned();
        section.error("app_id", "`app_id` is not the id of a GitHub App", Some(hint));
        return None;
    }
    Some(id)
}

fn rest_root(section: &mut Section<'_>, mut url: Url) -> Option<Url> {
    if url.query().is_some() || url.fragment().is_some() {
        section.error("url", "`url` says more than where the API is", None);
        return None;
    }
    // The website's address is a common mistake; the API has a host of its own.
    if matches!(url.host_str(), Some("github.com" | "www.github.com")) {
        let hint = format!("write url = \"{DEFAULT_URL}\", or leave it out");
        section.error("url", "`url` is the website, not the API", Some(hint));
        return None;
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::section::read_text;

    fn read(text: &str) -> Result<GithubConfig, String> {
        read_text(text, GithubConfig::read).map_err(|report| report.to_string())
    }

    const TOKEN: &str = "organizations = [\"acme\"]\ntoken = { env = \"PATH\" }\n";

    #[test]
    fn a_block_needs_little() {
        let config = read(TOKEN).unwrap();
        assert_eq!(config.url.as_str(), "https://api.github.com/");
        assert_eq!(config.organizations, ["acme"]);
        assert!(matches!(config.account, Account::Token(_)));
        assert!(config.secret_teams && !config.keep_raw && !config.is_server());
        let app = "organizations = [\"acme\"]\napp_id = \"12\"\nprivate_key = { env = \"PATH\" }\n";
        assert!(matches!(read(app).unwrap().account, Account::App { id, .. } if id == "12"));
    }

    #[test]
    fn mistakes_are_told() {
        for (text, part) in [
            ("token = { env = \"PATH\" }", "`organizations` is missing"),
            ("organizations = [\"a/b\"]", "name of an organization"),
            ("organizations = [\"a\", \"A\"]", "none twice"),
            ("organizations = []", "at least one"),
            ("organizations = [\"acme\"]", "`token` is missing"),
            ("organizations = [\"acme\"]\napp_id = \"1\"", "private_key"),
            ("organizations = [\"acme\"]\nprivate_key = { env = \"PATH\" }", "app_id"),
            ("url = \"https://github.com\"", "the website"),
            ("outside_collaborators = \"yes\"", "outside_collaborators"),
        ] {
            let report = read(text).unwrap_err();
            assert!(report.contains(part), "{text}: {report}");
        }
        let both = format!("{TOKEN}app_id = \"1\"");
        assert!(read(&both).unwrap_err().contains("exclude"));
    }

    #[test]
    fn every_edition_has_its_addresses() {
        for (url, rest, graphql) in [
            (
                "https://api.github.com",
                "https://api.github.com/orgs",
                "https://api.github.com/graphql",
            ),
            (
                "https://git.example.org/api/v3/",
                "https://git.example.org/api/v3/orgs",
                "https://git.example.org/api/graphql",
            ),
            (
                "https://api.acme.ghe.com",
                "https://api.acme.ghe.com/orgs",
                "https://api.acme.ghe.com/graphql",
            ),
        ] {
            let config = read(&format!("{TOKEN}url = \"{url}\"")).unwrap();
            assert_eq!(config.rest("/orgs").as_str(), rest);
            assert_eq!(config.graphql().as_str(), graphql);
            assert_eq!(config.is_server(), url.ends_with("/v3/"));
        }
    }
}
