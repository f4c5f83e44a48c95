//! Feeds what reads pages of the Users and Groups APIs.

use std::sync::OnceLock;

use super::config::OktaConfig;
use super::map::{self, OktaGroup, OktaUser, group_reference, user_reference};
use crate::fuzzing::{json, settings};
use crate::provider::http::Quarantine;

/// A page of any list.
pub fn feed(bytes: &[u8]) {
    let Some(serde_json::Value::Array(objects)) = json(bytes) else { return };
    static CONFIG: OnceLock<Option<OktaConfig>> = OnceLock::new();
    let read = || settings(CONFIGURATION, OktaConfig::read);
    let Some(config) = CONFIG.get_or_init(read) else { return };
    let mut quarantine = Quarantine::new("Okta");
    for object in objects {
        let raw = map::raw(config, &object);
        if let Ok(Some(user)) = quarantine.decode::<OktaUser>(object.clone(), user_reference) {
            let _ = map::user(config, user, raw.clone());
        }
        if let Ok(Some(group)) = quarantine.decode::<OktaGroup>(object, group_reference) {
            let _ = (group.stamp(), group.changed_at());
            let _ = map::group(config, group, raw);
        }
    }
    let _ = quarantine.take_kept();
}

const CONFIGURATION: &str =
    "url = \"https://example.okta.com\"\ntoken = { env = \"PATH\" }\nkeep_raw = true";
