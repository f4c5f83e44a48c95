//! `[authzen]` and `[ext_authz.NAME]`: by what rules decisions are made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderName;
use url::Url;

use crate::config::Section;

/// What the operator lays down for enforcement points.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    pub authzen: AuthzenConfig,
    /// By name.
    pub ext_authz: BTreeMap<String, Policy>,
}

/// `[authzen]`: the OpenID Authorization API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthzenConfig {
    /// For questions that do not say; `None`: any age will do.
    pub max_age: Option<Duration>,
    /// Whether users who are disabled are members all the same.
    pub allow_inactive: bool,
    /// The `https://` origin under which enforcement points reach us, without
    /// a slash at its end.
    pub url: Option<String>,
}

/// `[ext_authz.NAME]`: whom Envoy lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The header that names the user.
    pub header: HeaderName,
    /// A REF.
    pub group: String,
    /// Where both are looked for; `None`: anywhere.
    pub directory: Option<String>,
    /// Older knowledge lets nobody through.
    pub max_age: Duration,
    /// Whether users who are disabled are let through.
    pub allow_inactive: bool,
    /// Whether clients are told why they are not let through.
    pub explain: bool,
}

/// The policies in force; a reload replaces them. A cheap handle.
#[derive(Clone, Debug, Default)]
pub struct SharedPolicies(Arc<ArcSwap<Policies>>);

impl Policies {
    /// Reads both from the root of a configuration; `None` when it noted a mistake.
    pub fn read(root: &mut Section<'_>, directories: &[String]) -> Option<Policies> {
        let authzen =
            root.section_or_empty("authzen").and_then(|mut s| AuthzenConfig::read(&mut s));
        let mut ext_authz = BTreeMap::new();
        let mut whole = true;
        for (name, mut section) in root.sections("ext_authz") {
            check_name(&mut section);
            let policy = Policy::read(&mut section, directories);
            whole &= policy.is_some();
            ext_authz.extend(policy.map(|policy| (name, policy)));
        }
        Some(Policies { authzen: authzen?, ext_authz: whole.then_some(ext_authz)? })
    }
}

impl AuthzenConfig {
    fn read(section: &mut Section<'_>) -> Option<AuthzenConfig> {
        let max_age = optional(section, "max_age", Section::duration);
        let allow_inactive = section.boolean("allow_inactive").unwrap_or(false);
        let url = optional(section, "url", read_origin);
        Some(AuthzenConfig { max_age: max_age?, allow_inactive, url: url? })
    }
}

impl Policy {
    fn read(section: &mut Section<'_>, directories: &[String]) -> Option<Policy> {
        let header = read_header(section);
        let group = section.required_text("group");
        let directory =
            optional(section, "directory", |s, key| read_directory(s, key, directories));
        if !section.has("max_age") {
            let hint = "how old may the knowledge be that lets somebody in? say max_age = \"15m\"";
            section.missing("max_age", Some(hint.to_owned()));
        }
        let max_age = section.duration("max_age");
        let allow_inactive = section.boolean("allow_inactive").unwrap_or(false);
        let explain = section.boolean("explain").unwrap_or(false);
        Some(Policy {
            header: header?,
            group: group?,
            directory: directory?,
            max_age: max_age?,
            allow_inactive,
            explain,
        })
    }
}

impl SharedPolicies {
    /// These, until they are replaced.
    pub fn new(policies: Policies) -> SharedPolicies {
        SharedPolicies(Arc::new(ArcSwap::from_pointee(policies)))
    }

    /// From now on these.
    pub fn replace(&self, policies: Policies) {
        self.0.store(Arc::new(policies));
    }

    /// Those in force.
    pub fn load(&self) -> Arc<Policies> {
        self.0.load_full()
    }
}

/// A part of a path that nobody has to encode.
fn check_name(section: &mut Section<'_>) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if section.name().is_empty() || !section.name().bytes().all(is_plain) {
        let message = format!("`{}` is not a name", section.name().escape_debug());
        let hint = "letters, digits, `-`, `_` and `.` make a name";
        section.error_here(message, Some(hint.to_owned()));
    }
}

/// `Some(None)` when the key is not there; `None` when its value is a mistake.
fn optional<'a, T>(
    section: &mut Section<'a>,
    key: &str,
    read: impl FnOnce(&mut Section<'a>, &str) -> Option<T>,
) -> Option<Option<T>> {
    if section.has(key) { read(section, key).map(Some) } else { Some(None) }
}

fn read_header(section: &mut Section<'_>) -> Option<HeaderName> {
    let text = section.required_text("header")?;
    let header = HeaderName::from_bytes(text.as_bytes()).ok();
    if header.is_none() {
        let message = format!("`{}` is not the name of a header", text.escape_debug());
        section.error("header", message, Some("it is like \"x-auth-user\"".to_owned()));
    }
    header
}

fn read_directory(section: &mut Section<'_>, key: &str, known: &[String]) -> Option<String> {
    let name = section.text(key)?;
    if known.contains(&name) {
        return Some(name);
    }
    let hint = format!("known are {}", known.join(", "));
    section.error(key, format!("there is no directory `{}`", name.escape_debug()), Some(hint));
    None
}

fn read_origin(section: &mut Section<'_>, key: &str) -> Option<String> {
    let text = section.text(key)?;
    let url = Url::parse(&text).ok().filter(|url| {
        url.scheme() == "https"
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    });
    if url.is_none() {
        // Authorization API 1.0, section 9.1.1.
        let hint = "it is the https:// address of what ends TLS in front of `query.listen`, \
                    like \"https://pdp.example.org\"";
        section.error(key, "`url` is not an https:// origin", Some(hint.to_owned()));
    }
    url.map(|url| url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::section::read_text;

    fn read(text: &str) -> Result<Policies, String> {
        read_text(text, |root| Policies::read(root, &["corp".to_owned()]))
            .map_err(|report| report.render(false))
    }

    #[test]
    fn a_policy_names_header_group_and_age() {
        let text = "[ext_authz.admins]\nheader = \"X-Auth-User\"\ngroup = \"corp/admins\"\n\
                    max_age = \"15m\"\ndirectory = \"corp\"\n\
                    [authzen]\nmax_age = \"1h\"\nurl = \"https://pdp.example.org/\"\n";
        let policies = read(text).unwrap();
        let policy = &policies.ext_authz["admins"];
        assert_eq!(policy.header, "x-auth-user");
        assert_eq!(policy.group, "corp/admins");
        assert_eq!(policy.max_age, Duration::from_mins(15));
        assert_eq!(policy.directory.as_deref(), Some("corp"));
        assert!(!policy.explain && !policy.allow_inactive);
        assert_eq!(policies.authzen.url.as_deref(), Some("https://pdp.example.org"));
        assert_eq!(policies.authzen.max_age, Some(Duration::from_hours(1)));
        assert_eq!(read("").unwrap(), Policies::default());
    }

    #[test]
    fn what_would_let_in_too_many_is_a_mistake() {
        assert!(read("[ext_authz.\"a/b\"]\n").unwrap_err().contains("not a name"));
        let missing = read("[ext_authz.a]\n").unwrap_err();
        for key in ["header", "group", "max_age"] {
            assert!(missing.contains(key), "{missing}");
        }
        let text = "[ext_authz.a]\nheader = \":path\"\ngroup = \"\"\nmax_age = \"old\"\n\
                    directory = \"crop\"\nexplian = true\n";
        let wrong = read(text).unwrap_err();
        for word in ["not the name of a header", "group", "max_age", "`crop`", "explian"] {
            assert!(wrong.contains(word), "{word}: {wrong}");
        }
    }

    #[test]
    fn metadata_is_only_for_https_origins() {
        for url in ["http://x", "https://x/tenant", "https://x/?q", "https://u@x", "x"] {
            let report = read(&format!("[authzen]\nurl = \"{url}\"\n")).unwrap_err();
            assert!(report.contains("https:// origin"), "{url}: {report}");
        }
    }
}
