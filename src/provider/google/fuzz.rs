//! Feeds what reads pages of the Directory and Reports APIs.

use std::sync::OnceLock;

use super::config::GoogleConfig;
use super::map;
use super::wire::{ACTIVITIES, GROUPS, MEMBERS, Page, USERS};
use crate::fuzzing::{answer, settings};
use crate::provider::http::Quarantine;

/// A page of any list.
pub fn feed(bytes: &[u8]) {
    let Some(answer) = answer(bytes, "https://admin.googleapis.com/x") else { return };
    static CONFIG: OnceLock<Option<GoogleConfig>> = OnceLock::new();
    let read = || settings(CONFIGURATION, GoogleConfig::read);
    let Some(config) = CONFIG.get_or_init(read) else { return };
    let mut quarantine = Quarantine::new("Google");
    for list in [USERS, GROUPS, MEMBERS, ACTIVITIES] {
        let Ok(page) = Page::read(&answer, list).and_then(|page| page.whole(&answer, list)) else {
            continue;
        };
        for value in &page.objects {
            let _ = map::user(value, config, &mut quarantine);
            let _ = map::group(value, config, &mut quarantine);
            let _ = map::member(value).map(|member| (member.reference(), member.key()));
        }
    }
    let _ = quarantine.take_kept();
}

const CONFIGURATION: &str =
    "impersonate = \"admin@example.org\"\nservice_account = \"a@b.example\"\nkeep_raw = true";
