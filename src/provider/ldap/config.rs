//! The settings of one `provider.ldap` block.

use std::net::IpAddr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::Url;

use super::schema::{GroupNames, Schema, UserNames};
use crate::config::Section;
use crate::secret::Secret;

/// Where and how to read a directory by LDAP. Made by [`Draft::finish`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapConfig {
    /// Tried in this order; at least one.
    pub(super) servers: Vec<Server>,
    pub(super) base: String,
    pub(super) bind: Bind,
    /// The only authorities to trust, in PEM; `None` for those of the system.
    pub(super) ca: Option<Vec<u8>>,
    pub(super) schema: Schema,
    pub(super) user: UserNames,
    pub(super) group: GroupNames,
    pub(super) users: Scope,
    pub(super) groups: Scope,
    pub(super) primary_group: bool,
    pub(super) page_size: u32,
    /// Extra attributes of users and groups.
    pub(super) attributes: Vec<String>,
    pub(super) incremental: Incremental,
    pub(super) keep_raw: bool,
}

impl LdapConfig {
    /// Reads the block; `None` when it noted a mistake.
    pub fn read(section: &mut Section<'_>) -> Option<LdapConfig> {
        let draft = Draft::read(section);
        let checked = draft?.finish();
        let mistakes = match checked {
            Ok(config) => return Some(config),
            Err(mistakes) => mistakes,
        };
        for mistake in mistakes {
            section.error(mistake.key, mistake.message, mistake.hint);
        }
        None
    }
}

/// What is searched: everything below `base` that `filter` matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    pub base: String,
    pub filter: String,
}

/// One address of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// As configured; it holds no secret.
    pub url: String,
    pub place: Place,
    pub security: Security,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// How the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Security {
    /// Loopback and unix sockets only.
    Plain,
    StartTls,
    Tls,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bind {
    Anonymous,
    Simple {
        name: String,
        password: Secret,
    },
    /// SASL EXTERNAL: the server takes the uid of the process from the socket.
    External,
}

/// How changes are read between full crawls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Incremental {
    /// What the server offers: DirSync, else `uSNChanged`; or RFC 4533.
    #[default]
    Auto,
    /// Every crawl is full.
    Off,
    /// RFC 4533 only.
    Syncrepl,
    /// The DirSync control of Active Directory only.
    DirSync,
    /// `uSNChanged` and the deleted objects of Active Directory only.
    Usn,
}

impl Incremental {
    pub const WORDS: [(&'static str, Incremental); 5] = [
        ("auto", Incremental::Auto),
        ("off", Incremental::Off),
        ("syncrepl", Incremental::Syncrepl),
        ("dirsync", Incremental::DirSync),
        ("usn", Incremental::Usn),
    ];
}

/// The settings as written, not yet checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// `ldap://`, `ldaps://` or `ldapi://`; several for failover.
    pub urls: Vec<String>,
    pub base: String,
    pub bind_dn: Option<String>,
    pub bind_password: Option<Secret>,
    /// `sasl = "external"`.
    pub sasl_external: bool,
    /// Default: true. Only `ldap://` asks.
    pub starttls: Option<bool>,
    /// PEM.
    pub ca: Option<Vec<u8>>,
    pub schema: Option<Schema>,
    pub user: Option<UserNames>,
    pub group: Option<GroupNames>,
    pub users_base: Option<String>,
    pub users_filter: Option<String>,
    pub groups_base: Option<String>,
    pub groups_filter: Option<String>,
    pub primary_group: Option<bool>,
    pub page_size: Option<u32>,
    pub attributes: Vec<String>,
    pub incremental: Incremental,
    /// Keep every object as it was read.
    pub keep_raw: bool,
}

/// One thing wrong with a [`Draft`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub key: &'static str,
    pub message: String,
    pub hint: Option<String>,
}

impl Draft {
    /// Asks for every key; `None` when one that is needed, or that would not
    /// be missed, is of no use.
    fn read(section: &mut Section<'_>) -> Option<Draft> {
        if !section.has("url") {
            section.missing("url", Some("for example \"ldaps://dc1.example.org\"".to_owned()));
        }
        let urls = section.texts("url");
        let base = section.required_text("base");
        let has_password = section.has("bind_password");
        let bind_password = section.secret("bind_password");
        let has_ca = section.has("ca");
        let ca = section.file("ca").map(|file| file.content);
        let has_schema = section.has("schema");
        let schema = section.one_of("schema", &Schema::WORDS);
        let names = schema.unwrap_or(Schema::Rfc2307bis);
        let user = section.section("user_attributes");
        let user = user.map(|mut section| read_user_names(&mut section, names.user_names()));
        let group = section.section("group_attributes");
        let group = group.map(|mut section| read_group_names(&mut section, names.group_names()));
        let page_size = section.integer("page_size", 1..=100_000);
        let draft = Draft {
            bind_dn: section.text("bind_dn"),
            sasl_external: section.one_of("sasl", &[("external", true)]).unwrap_or(false),
            starttls: section.boolean("starttls"),
            user,
            group,
            users_base: section.text("users_base"),
            users_filter: section.text("users_filter"),
            groups_base: section.text("groups_base"),
            groups_filter: section.text("groups_filter"),
            primary_group: section.boolean("primary_group"),
            page_size: page_size.and_then(|size| u32::try_from(size).ok()),
            attributes: section.texts("attributes").unwrap_or_default(),
            incremental: section.one_of("incremental", &Incremental::WORDS).unwrap_or_default(),
            keep_raw: section.boolean("keep_raw").unwrap_or(false),
            ..Draft::default()
        };
        let is_lost = (has_password && bind_password.is_none())
            || (has_ca && ca.is_none())
            || (has_schema && schema.is_none());
        if is_lost {
            return None;
        }
        Some(Draft { urls: urls?, base: base?, bind_password, ca, schema, ..draft })
    }

    /// Checks everything and fills in what was left out.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn finish(self) -> Result<LdapConfig, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let servers = self.servers(&mut mistakes);
        let bind = self.bind(&servers, &mut mistakes);
        let schema = self.schema.unwrap_or(Schema::Rfc2307bis);
        let users = self.scope(
            self.users_base.as_deref(),
            self.users_filter.as_deref().unwrap_or(schema.users_filter()),
            "users_filter",
            &mut mistakes,
        );
        let groups = self.scope(
            self.groups_base.as_deref(),
            self.groups_filter.as_deref().unwrap_or(schema.groups_filter()),
            "groups_filter",
            &mut mistakes,
        );
        if self.base.trim().is_empty() {
            mistakes.push(mistake("base", "`base` is empty", "for example \"dc=example,dc=org\""));
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(LdapConfig {
            servers,
            base: self.base,
            bind,
            ca: self.ca,
            schema,
            user: self.user.unwrap_or_else(|| schema.user_names()),
            group: self.group.unwrap_or_else(|| schema.group_names()),
            users,
            groups,
            primary_group: self.primary_group.unwrap_or(schema.primary_group()),
            page_size: self.page_size.unwrap_or(PAGE_SIZE_DEFAULT),
            attributes: self.attributes,
            incremental: self.incremental,
            keep_raw: self.keep_raw,
        })
    }

    fn servers(&self, mistakes: &mut Vec<Mistake>) -> Vec<Server> {
        if self.urls.is_empty() {
            mistakes.push(mistake(
                "url",
                "`url` names no server",
                "for example \"ldaps://dc1.example.org\"",
            ));
        }
        let mut servers = Vec::new();
        for url in &self.urls {
            match Server::parse(url, self.starttls.unwrap_or(true)) {
                Ok(server) => servers.push(server),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        servers
    }

    fn bind(&self, servers: &[Server], mistakes: &mut Vec<Mistake>) -> Bind {
        if self.sasl_external {
            if self.bind_dn.is_some() || self.bind_password.is_some() {
                mistakes.push(mistake(
                    "sasl",
                    "`sasl` and `bind_dn` exclude each other",
                    "SASL EXTERNAL takes the identity from the socket; remove one of them",
                ));
            }
            if servers.iter().any(|server| !matches!(server.place, Place::Unix(_))) {
                mistakes.push(mistake(
                    "sasl",
                    "`sasl = \"external\"` needs a socket of this host",
                    "use an `ldapi://` address, or `bind_dn` and `bind_password`",
                ));
            }
            return Bind::External;
        }
        match (&self.bind_dn, &self.bind_password) {
            (None, None) => Bind::Anonymous,
            (Some(name), Some(password)) if !name.is_empty() && !password.expose().is_empty() => {
                Bind::Simple { name: name.clone(), password: password.clone() }
            }
            (Some(_), _) => {
                mistakes.push(mistake(
                    "bind_password",
                    "`bind_dn` needs a `bind_password` that is not empty",
                    "a server takes a name without a password for an anonymous caller (RFC 4513)",
                ));
                Bind::Anonymous
            }
            (None, Some(_)) => {
                mistakes.push(mistake(
                    "bind_dn",
                    "`bind_password` is there, `bind_dn` is not",
                    "name the account, for example \"cn=reader,dc=example,dc=org\"",
                ));
                Bind::Anonymous
            }
        }
    }

    fn scope(
        &self,
        base: Option<&str>,
        filter: &str,
        key: &'static str,
        mistakes: &mut Vec<Mistake>,
    ) -> Scope {
        if ldap3::parse_filter(filter).is_err() {
            mistakes.push(mistake(
                key,
                format!("`{filter}` is no search filter"),
                "write it as in RFC 4515, for example \"(objectClass=person)\"",
            ));
        }
        // RFC 4515 wants parentheses; filters get more conditions around them.
        let filter = match filter.trim() {
            bare if !bare.starts_with('(') => format!("({bare})"),
            whole => whole.to_owned(),
        };
        Scope { base: base.unwrap_or(&self.base).to_owned(), filter }
    }
}

fn read_user_names(section: &mut Section<'_>, default: UserNames) -> UserNames {
    let mut name = |key, default| section.text(key).unwrap_or(default);
    UserNames {
        id: name("id", default.id),
        username: name("username", default.username),
        email: name("email", default.email),
        display_name: name("display_name", default.display_name),
        given_name: name("given_name", default.given_name),
        family_name: name("family_name", default.family_name),
        title: name("title", default.title),
        department: name("department", default.department),
        manager: name("manager", default.manager),
    }
}

fn read_group_names(section: &mut Section<'_>, default: GroupNames) -> GroupNames {
    let members = section.texts("members").unwrap_or(default.members);
    let mut name = |key, default| section.text(key).unwrap_or(default);
    GroupNames {
        id: name("id", default.id),
        name: name("name", default.name),
        email: name("email", default.email),
        description: name("description", default.description),
        members,
        member_names: name("member_names", default.member_names),
    }
}

/// As many as Active Directory allows without further ado.
const PAGE_SIZE_DEFAULT: u32 = 1000;

impl Server {
    fn parse(text: &str, starttls: bool) -> Result<Server, Mistake> {
        let example = "for example \"ldaps://dc1.example.org\"";
        let url = Url::parse(text)
            .map_err(|error| mistake("url", format!("`{text}` is no address: {error}"), example))?;
        if !url.username().is_empty() || url.password().is_some() {
            let message = "credentials do not belong into the address".to_owned();
            return Err(mistake("url", message, "use `bind_dn` and `bind_password`"));
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            let message = format!("`{text}` says more than where the server is");
            return Err(mistake(
                "url",
                message,
                "put the base into `base` and the filter into `users_filter`",
            ));
        }
        let host = url.host_str().unwrap_or_default();
        if host.is_empty() {
            return Err(mistake("url", format!("`{text}` names no host"), example));
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tcp = |default| Place::Tcp { host: bare.clone(), port: url.port().unwrap_or(default) };
        let (place, security) = match url.scheme() {
            "ldaps" => (tcp(636), Security::Tls),
            "ldap" if starttls => (tcp(389), Security::StartTls),
            "ldap" if is_loopback(&bare) => (tcp(389), Security::Plain),
            "ldap" => {
                return Err(mistake(
                    "starttls",
                    format!("`{text}` would send the password in the clear"),
                    "`starttls = false` is accepted for loopback hosts only; remove it, or use `ldaps://`",
                ));
            }
            "ldapi" => {
                let path = percent_decode_str(host).decode_utf8_lossy().into_owned();
                (Place::Unix(PathBuf::from(path)), Security::Plain)
            }
            other => {
                let message = format!("`{other}://` is not LDAP");
                return Err(mistake("url", message, "use `ldaps://`, `ldap://` or `ldapi://`"));
            }
        };
        Ok(Server { url: text.to_owned(), place, security })
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn mistake(key: &'static str, message: impl Into<String>, hint: &str) -> Mistake {
    Mistake { key, message: message.into(), hint: Some(hint.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(url: &str) -> Draft {
        Draft { urls: vec![url.to_owned()], base: "dc=example,dc=org".into(), ..Draft::default() }
    }

    fn server(draft: Draft) -> Server {
        draft.finish().unwrap().servers.remove(0)
    }

    fn keys(draft: Draft) -> Vec<&'static str> {
        draft.finish().unwrap_err().iter().map(|mistake| mistake.key).collect()
    }

    fn read(text: &str) -> Result<LdapConfig, String> {
        crate::config::section::read_text(text, LdapConfig::read)
            .map_err(|report| report.to_string())
    }

    #[test]
    fn a_block_is_read_with_every_mistake_at_once() {
        let config = read(
            "url = [\"ldaps://a\", \"ldaps://b\"]\nbase = \"dc=x\"\nschema = \"ad\"\n\
             user_attributes.username = \"userPrincipalName\"\nincremental = \"usn\"\n",
        )
        .unwrap();
        assert_eq!(config.servers.len(), 2);
        assert_eq!(config.user.username, "userPrincipalName");
        assert_eq!(config.user.department, "department");
        assert_eq!((config.schema, config.incremental), (Schema::Ad, Incremental::Usn));
        let report = read(
            "url = \"ldap://a\"\nbase = \"dc=x\"\nstarttls = false\nuser_filter = \"(a=b)\"\n\
             groups_filter = \"a=b)\"\nbind_dn = \"cn=x\"\n",
        )
        .unwrap_err();
        for part in ["loopback", "users_filter", "RFC 4515", "bind_password"] {
            assert!(report.contains(part), "{part} in {report}");
        }
    }

    #[test]
    fn the_scheme_decides_the_protection() {
        let tls = server(draft("ldaps://dc1.example.org"));
        assert_eq!(tls.security, Security::Tls);
        assert_eq!(tls.place, Place::Tcp { host: "dc1.example.org".into(), port: 636 });
        assert_eq!(server(draft("ldap://dc1.example.org:3389")).security, Security::StartTls);
        let socket = server(draft("ldapi://%2Frun%2Fslapd%2Fldapi"));
        assert_eq!(socket.place, Place::Unix("/run/slapd/ldapi".into()));
        assert_eq!(socket.security, Security::Plain);
        let six = server(Draft { starttls: Some(false), ..draft("ldap://[::1]:1389") });
        assert_eq!(six.place, Place::Tcp { host: "::1".into(), port: 1389 });
        assert_eq!(six.security, Security::Plain);
    }

    #[test]
    fn starttls_may_be_off_for_loopback_only() {
        let off = |url| Draft { starttls: Some(false), ..draft(url) };
        assert_eq!(server(off("ldap://localhost")).security, Security::Plain);
        assert_eq!(keys(off("ldap://dc1.example.org")), ["starttls"]);
        assert_eq!(keys(off("ldap://10.0.0.1")), ["starttls"]);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let wrong = Draft {
            urls: vec!["https://a".into(), "ldap://a/dc=x".into(), "ldap://u:p@a".into()],
            bind_dn: Some("cn=x".into()),
            users_filter: Some("objectClass=*)".into()),
            ..Draft::default()
        };
        assert_eq!(keys(wrong), ["url", "url", "url", "bind_password", "users_filter", "base"]);
        assert_eq!(keys(Draft { urls: vec![], ..draft("") }), ["url"]);
        let external = Draft { sasl_external: true, ..draft("ldaps://a") };
        assert_eq!(keys(external), ["sasl"]);
    }
}
