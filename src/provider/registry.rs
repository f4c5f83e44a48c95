//! The kinds of providers: one line each.

use super::{Settings, bundle, entra, github, google, ldap, okta};
use crate::config::Section;

/// Reads the `provider.KIND` block of a directory; `None` when it noted a mistake.
pub type Read = fn(&mut Section<'_>) -> Option<Box<dyn Settings>>;

/// Every kind by the name of its block.
pub const KINDS: &[(&str, Read)] = &[
    ("bundle", |section| boxed(bundle::BundleConfig::read(section))),
    ("entra", |section| boxed(entra::EntraConfig::read(section))),
    ("github", |section| boxed(github::GithubConfig::read(section))),
    ("google", |section| boxed(google::GoogleConfig::read(section))),
    ("ldap", |section| boxed(ldap::LdapConfig::read(section))),
    ("okta", |section| boxed(okta::OktaConfig::read(section))),
];

fn boxed(settings: Option<impl Settings + 'static>) -> Option<Box<dyn Settings>> {
    settings.map(|settings| Box::new(settings) as Box<dyn Settings>)
}
