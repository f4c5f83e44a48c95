//! The settings that every HTTP provider has.

use url::Url;

use crate::clock::Duration;
use crate::config::Section;
use crate::secret::Secret;
use crate::tls::Identity;

const DAY: Duration = Duration::from_hours(24);
const QUOTA_SHARE: f64 = 0.5;
const PARALLEL_REQUESTS: i64 = 10;

/// How to reach a vendor, and how much of its quota to use.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpConfig {
    /// The only authorities to trust, in PEM; `None` for those of the system.
    pub ca: Option<Vec<u8>>,
    pub proxy: Proxy,
    /// What to show a server that asks who connects.
    pub identity: Option<Identity>,
    /// Of what the vendor allows, over 0 and up to 1.
    pub quota_share: f64,
    /// Requests under way at once, for one credential of one directory.
    pub parallel_requests_max: usize,
    /// Within this time every user and group is read again, whatever the feed
    /// of changes says.
    pub verify_within: Duration,
}

/// The way out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proxy {
    /// As `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say.
    #[default]
    Environment,
    Direct,
    Through {
        url: Url,
        username: Option<String>,
        password: Option<Secret>,
    },
}

impl HttpConfig {
    /// Asks for every shared key; `None` when it noted a mistake.
    pub fn read(section: &mut Section<'_>) -> Option<HttpConfig> {
        let has_ca = section.has("ca");
        let ca = section.file("ca").map(|file| file.content);
        let proxy = read_proxy(section);
        let identity = read_identity(section);
        let quota_share = match section.has("quota_share") {
            true => section.fraction("quota_share"),
            false => Some(QUOTA_SHARE),
        };
        let parallel = match section.has("parallel_requests_max") {
            true => section.integer("parallel_requests_max", 1..=100),
            false => Some(PARALLEL_REQUESTS),
        };
        let verify_within = match section.has("verify_within") {
            true => section.duration_within("verify_within", Duration::from_secs(1)..=365 * DAY),
            false => Some(DAY),
        };
        if has_ca && ca.is_none() {
            return None;
        }
        Some(HttpConfig {
            ca,
            proxy: proxy?,
            identity: identity?,
            quota_share: quota_share?,
            parallel_requests_max: usize::try_from(parallel?).ok()?,
            verify_within: verify_within?,
        })
    }
}

impl Default for HttpConfig {
    fn default() -> HttpConfig {
        HttpConfig {
            ca: None,
            proxy: Proxy::Environment,
            identity: None,
            quota_share: QUOTA_SHARE,
            parallel_requests_max: PARALLEL_REQUESTS as usize,
            verify_within: DAY,
        }
    }
}

/// An `https://` address (`http://` for loopback hosts), or `default`.
pub fn url_or(section: &mut Section<'_>, key: &str, default: &str) -> Option<Url> {
    match section.has(key) {
        true => section.url(key),
        false => Url::parse(default).ok(),
    }
}

fn read_proxy(section: &mut Section<'_>) -> Option<Proxy> {
    let username = section.text("proxy_username");
    let has_password = section.has("proxy_password");
    let password = section.secret("proxy_password");
    if !section.has("proxy") {
        if username.is_some() || has_password {
            let hint = "write proxy = \"http://proxy.example.org:3128\"".to_owned();
            section.error("proxy", "a proxy's user needs `proxy` itself", Some(hint));
            return None;
        }
        return Some(Proxy::Environment);
    }
    let text = section.text("proxy")?;
    if text == "none" {
        return Some(Proxy::Direct);
    }
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some(url) = url.filter(|url| url.username().is_empty() && url.password().is_none()) else {
        let hint = "write it like \"http://proxy.example.org:3128\", or \"none\"; a user goes into \
                    `proxy_username` and `proxy_password`";
        section.error("proxy", "`proxy` is not the address of a proxy", Some(hint.to_owned()));
        return None;
    };
    if has_password && password.is_none() {
        return None;
    }
    Some(Proxy::Through { url, username, password })
}

/// `None`: a mistake. `Some(None)`: nothing is shown.
fn read_identity(section: &mut Section<'_>) -> Option<Option<Identity>> {
    let (has_certificate, has_key) = (section.has("client_certificate"), section.has("client_key"));
    let certificate = section.file("client_certificate").map(|file| file.content);
    let key = section.secret("client_key");
    match (has_certificate, has_key) {
        (false, false) => Some(None),
        (true, true) => Some(Some(Identity { certificate: certificate?, key: key? })),
        (true, false) => {
            section.missing("client_key", Some("the key of `client_certificate`".to_owned()));
            None
        }
        (false, true) => {
            section.missing("client_certificate", Some("that of `client_key`".to_owned()));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::section::read_text;

    #[test]
    fn r20_a_private_authority_and_a_proxy_can_be_configured() {
        let config =
            read_text("proxy = \"http://proxy.example.org:3128\"", HttpConfig::read).unwrap();
        assert!(matches!(config.proxy, Proxy::Through { url, .. } if url.port() == Some(3128)));
        let config = read_text("proxy = \"none\"", HttpConfig::read).unwrap();
        assert_eq!(config.proxy, Proxy::Direct);
    }

    #[test]
    fn mistakes_are_told() {
        for (text, part) in [
            ("proxy = \"ftp://x\"", "address of a proxy"),
            ("proxy = \"http://me:secret@x\"", "proxy_username"),
            ("proxy_username = \"me\"", "needs `proxy`"),
            ("quota_share = 0", "over 0"),
            ("quota_share = 1.5", "over 0"),
            ("parallel_requests_max = 0", "between 1 and 100"),
            ("client_key = { env = \"PATH\" }", "client_certificate"),
        ] {
            let report = read_text(text, HttpConfig::read).unwrap_err().to_string();
            assert!(report.contains(part), "{text}: {report}");
        }
    }
}
