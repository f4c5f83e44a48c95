//! One `[opa.NAME]` block: an OPA that is kept current by pushes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use url::Url;

use super::scope::Scope;
use crate::config::Section;
use crate::secret::Secret;

/// Where the document goes when the configuration does not say.
const DEFAULT_PATH: &str = "/v1/data/rosterd";

/// One OPA, and what it is fed.
#[derive(Clone, Debug)]
pub struct OpaConfig {
    pub name: String,
    pub target: Target,
    /// Where the document goes, `/v1/data/…`.
    pub path: String,
    /// Sent as `Authorization: Bearer …`.
    pub token: Option<Secret>,
    pub scope: Scope,
    /// Authorities to trust instead of the system's, as PEM.
    pub ca: Option<Vec<u8>>,
}

/// Where an OPA listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Url(Url),
    Socket(PathBuf),
}

impl OpaConfig {
    /// Reads the block; `None` when it noted a mistake.
    pub fn read(section: &mut Section<'_>) -> Option<OpaConfig> {
        let name = section.name().to_owned();
        let target = read_target(section);
        let path = read_path(section);
        let token_is_given = section.has("token");
        let token = section.secret("token");
        let ca_is_given = section.has("ca");
        let ca = section.authorities("ca");
        let scope = read_scope(section);
        if token_is_given && token.is_none() || ca_is_given && ca.is_none() {
            return None;
        }
        Some(OpaConfig { name, target: target?, path: path?, token, scope, ca })
    }

    /// Whether the two write to one place, or one within the place of the other.
    pub fn overlaps(&self, other: &OpaConfig) -> bool {
        let ((host, mine), (other_host, theirs)) = (self.place(), other.place());
        let within = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        host == other_host && (within(&mine, &theirs) || within(&theirs, &mine))
    }

    /// Who listens, and the whole path there.
    fn place(&self) -> (String, String) {
        match &self.target {
            Target::Url(url) => {
                let path = url.path().trim_end_matches('/').to_owned() + &self.path;
                (url.origin().ascii_serialization(), path)
            }
            Target::Socket(socket) => (format!("unix:{}", socket.display()), self.path.clone()),
        }
    }
}

impl Target {
    /// For people.
    pub fn shown(&self) -> String {
        match self {
            Target::Url(url) => {
                let mut url = url.clone();
                url.set_query(None);
                url.set_fragment(None);
                url.to_string()
            }
            Target::Socket(path) => path.display().to_string(),
        }
    }
}

fn read_target(section: &mut Section<'_>) -> Option<Target> {
    let hint = "OPA listens on one of them: `opa run --server --addr …`".to_owned();
    match (section.has("url"), section.has("socket")) {
        (true, true) => {
            section.error("socket", "`url` and `socket` are both given", Some(hint));
            None
        }
        (false, false) => {
            section.missing("url", Some("give the address of OPA, or its `socket`".to_owned()));
            None
        }
        (true, false) => section.url("url").map(Target::Url),
        (false, true) => section.path("socket").map(Target::Socket),
    }
}

/// What stands there is replaced, so it must not be all of OPA's data.
fn read_path(section: &mut Section<'_>) -> Option<String> {
    if !section.has("path") {
        return Some(DEFAULT_PATH.to_owned());
    }
    let path = section.text("path")?;
    let keys = path.strip_prefix("/v1/data/").unwrap_or_default();
    let is_key = |key: &str| {
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    };
    if keys.is_empty() || !keys.split('/').all(is_key) {
        let hint = "write it like \"/v1/data/rosterd\": all that stands there is replaced";
        section.error("path", "`path` does not name a document of OPA", Some(hint.to_owned()));
        return None;
    }
    Some(path)
}

fn read_scope(section: &mut Section<'_>) -> Scope {
    let mut names = |key| section.texts(key).map(BTreeSet::from_iter);
    let (directories, tenants, products) =
        (names("directories"), names("tenants"), names("products"));
    let prefix = section.text("group_prefix");
    let scope = Scope { directories, tenants, products, group_prefix: None };
    scope.with_group_prefix(prefix.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::section;

    fn read(block: &str) -> Result<OpaConfig, String> {
        let text = format!("[opa.edge]\n{block}");
        section::read_text(&text, |root| {
            let (_, mut section) = root.sections("opa").pop()?;
            OpaConfig::read(&mut section)
        })
        .map_err(|report| report.to_string())
    }

    #[test]
    fn the_block_is_read_with_its_defaults() {
        let config = read("url = \"http://127.0.0.1:8181\"").unwrap();
        assert_eq!((config.name.as_str(), config.path.as_str()), ("edge", "/v1/data/rosterd"));
        assert_eq!(config.target.shown(), "http://127.0.0.1:8181/");
        assert_eq!(config.scope, Scope::default());
        let config = read("socket = \"/run/opa.sock\"\ngroup_prefix = \"App-\"").unwrap();
        assert_eq!(config.target, Target::Socket("/run/opa.sock".into()));
        assert_eq!(config.scope.group_prefix.as_deref(), Some("app-"), "folded");
    }

    #[test]
    fn every_mistake_is_noted() {
        for (block, expected) in [
            ("", "address of OPA"),
            ("url = \"http://127.0.0.1\"\nsocket = \"/x\"", "both given"),
            ("url = \"http://opa.example.org\"", "https"),
            ("socket = \"/x\"\npath = \"/v1/data\"", "is replaced"),
            ("socket = \"/x\"\npath = \"/v1/data/a//b\"", "is replaced"),
            ("socket = \"/x\"\npath = \"/v1/policies/a\"", "is replaced"),
            ("socket = \"/x\"\ntoken = \"abc\"", "token"),
            ("socket = \"/x\"\ngroup_prefx = \"a\"", "group_prefix"),
        ] {
            let report = read(block).unwrap_err();
            assert!(report.contains(expected), "{block}: {report}");
            assert!(!report.contains("abc"), "{report}");
        }
    }
}
