//! One `[pomerium.NAME]` block.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use super::people::{IdMode, Scope};
use crate::config::Section;
use crate::secret::Secret;

/// HS256 wants a key of at least this length (RFC 7518, section 3.2).
const KEY_BYTES_MIN: usize = 32;

const DEFAULT_LEASE: &str = "rosterd";
const LEASE_DURATION: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const RESYNC_EVERY: Duration = Duration::from_hours(1);

/// Which databroker is written to, and what.
#[derive(Clone, Debug)]
pub struct PomeriumConfig {
    pub name: String,
    /// Scheme, host and port.
    pub url: Url,
    /// As the databroker has it: base64.
    pub shared_secret: Secret,
    /// Authorities to trust instead of the system's, as PEM.
    pub ca: Option<Vec<u8>>,
    /// `None` lets all through.
    pub directories: Option<BTreeSet<String>>,
    pub tenants: Option<BTreeSet<String>>,
    pub products: Option<BTreeSet<String>>,
    /// For the directories that `ids` does not name.
    pub id: IdMode,
    pub ids: Scope,
    /// Whoever holds it writes; it also marks the records as ours.
    pub lease: String,
    pub lease_duration: Duration,
    /// For one request.
    pub timeout: Duration,
    /// All records are read and compared this often.
    pub resync_every: Duration,
}

impl PomeriumConfig {
    /// Reads the block; `None` when it noted a mistake.
    pub fn read(section: &mut Section<'_>) -> Option<PomeriumConfig> {
        let name = section.name().to_owned();
        let url = read_url(section);
        let shared_secret = read_secret(section);
        let ca = section.authorities("ca");
        let mut names = |key| section.texts(key).map(BTreeSet::from_iter);
        let (directories, tenants, products) =
            (names("directories"), names("tenants"), names("products"));
        let id = section.text("id").map(|text| read_id(section, "id", &text));
        let ids = read_ids(section);
        let lease = read_lease(section);
        let second = Duration::from_secs(1);
        let lease_duration = section.duration_within("lease_duration", second..=second * 600);
        let timeout = section.duration_within("timeout", second..=second * 600);
        let day = Duration::from_hours(24);
        let resync_every = section.duration_within("resync_every", second..=day * 30);
        let id = match id {
            Some(id) => id?,
            None => IdMode::default(),
        };
        Some(PomeriumConfig {
            name,
            url: url?,
            shared_secret: shared_secret?,
            ca,
            directories,
            tenants,
            products,
            id,
            ids: ids?,
            lease: lease?,
            lease_duration: lease_duration.unwrap_or(LEASE_DURATION),
            timeout: timeout.unwrap_or(TIMEOUT),
            resync_every: resync_every.unwrap_or(RESYNC_EVERY),
        })
    }

    /// Which of these directories (name, tenant, product) it is about.
    pub fn scope<'a>(&self, all: impl Iterator<Item = (&'a str, &'a str, &'a str)>) -> Scope {
        let within = |names: &Option<BTreeSet<String>>, name: &str| {
            names.as_ref().is_none_or(|names| names.contains(name))
        };
        let chosen = all.filter(|(name, tenant, product)| {
            within(&self.directories, name)
                && within(&self.tenants, tenant)
                && within(&self.products, product)
        });
        let mode = |name: &str| self.ids.get(name).unwrap_or(&self.id).clone();
        chosen.map(|(name, ..)| (name.to_owned(), mode(name))).collect()
    }
}

fn read_url(section: &mut Section<'_>) -> Option<Url> {
    let url = section.required_url("url")?;
    let is_bare = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !is_bare {
        let hint = "write it like \"http://127.0.0.1:5443\"".to_owned();
        section.error("url", "`url` is more than scheme, host and port", Some(hint));
        return None;
    }
    Some(url)
}

fn read_secret(section: &mut Section<'_>) -> Option<Secret> {
    let secret = section.required_secret("shared_secret")?;
    let key = STANDARD.decode(secret.expose().trim()).ok();
    if key.is_none_or(|key| key.len() < KEY_BYTES_MIN) {
        let hint = "take the databroker's own: what `head -c32 /dev/urandom | base64` prints";
        let message = "`shared_secret` is not base64 of at least 32 bytes";
        section.error("shared_secret", message, Some(hint.to_owned()));
        return None;
    }
    Some(secret)
}

fn read_id(section: &mut Section<'_>, key: &str, text: &str) -> Option<IdMode> {
    let refuse = |error| section.error(key, error, Some(IdMode::HINT.to_owned()));
    IdMode::parse(text).map_err(refuse).ok()
}

fn read_ids(section: &mut Section<'_>) -> Option<Scope> {
    let Some(mut table) = section.section("ids") else { return Some(Scope::new()) };
    let keys = table.keys();
    let read = |name: String| {
        let text = table.text(&name)?;
        Some((name.clone(), read_id(&mut table, &name, &text)?))
    };
    keys.into_iter().map(read).collect()
}

fn read_lease(section: &mut Section<'_>) -> Option<String> {
    let Some(lease) = section.text("lease") else { return Some(DEFAULT_LEASE.to_owned()) };
    if lease.trim().is_empty() {
        section.error("lease", "`lease` is empty", None);
        return None;
    }
    Some(lease)
}
